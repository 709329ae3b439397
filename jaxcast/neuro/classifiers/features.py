"""Vectors of features from the correlations of each subject."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jaxcast.neuro.connectivity import correlations, lagged_correlations, matrix_logarithms, partial_correlations
from jaxcast.neuro.subjects import SubjectSeries

Features = Literal["correlation", "fisher_z", "partial", "logarithm", "lagged"]
"""Features of pairs of regions: correlations, their Fisher z, that of partial correlations, the
matrix logarithm of the shrunk correlations, or correlations with the other region one scan later."""
FEATURES: tuple[Features, ...] = ("correlation", "fisher_z", "partial", "logarithm", "lagged")

LARGEST = 1 - 1e-3
"""Correlations beyond this count as this: atanh(1) is infinite."""


def pair_features(subjects: SubjectSeries, kind: str, shrinkage: float) -> Float[np.ndarray, "subject pair"]:
    """Computes one kind of features of each subject, from that subject alone.

    Args:
        subjects: the subjects.
        kind: of the features.
        shrinkage: of the correlation matrix towards the identity, for "partial" and "logarithm".

    Returns:
        A vector for each subject, in single precision; see `as_matrix` for its order.
    """
    if kind == "lagged":
        found = lagged_correlations(subjects)
        return found.reshape(len(found), -1)
    if kind == "partial":
        return fisher_z(upper(partial_correlations(subjects, shrinkage=shrinkage)))
    if kind == "logarithm":
        return upper(matrix_logarithms(subjects, shrinkage=shrinkage))
    found = upper(correlations(subjects))
    return fisher_z(found) if kind == "fisher_z" else found


def as_matrix(vector: Float[np.ndarray, " pair"], kind: str, num_regions: int) -> Float[np.ndarray, "region region"]:
    """Returns one number for each pair of regions as a symmetric matrix.

    Args:
        vector: in the order of `pair_features`.
        kind: of the features.
        num_regions: number of regions.
    """
    if kind == "lagged":
        matrix = vector.reshape(num_regions, num_regions)
        return (matrix + matrix.T) / 2
    matrix = np.zeros((num_regions, num_regions), vector.dtype)
    matrix[np.triu_indices(num_regions, 1)] = vector
    return matrix + matrix.T


def upper(matrices: Float[np.ndarray, "subject region other_region"]) -> Float[np.ndarray, "subject pair"]:
    """Returns the upper triangle of each matrix, without the diagonal.

    Args:
        matrices: symmetric matrices.
    """
    return matrices[:, *np.triu_indices(matrices.shape[-1], 1)]


def fisher_z(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Returns atanh of correlations, whose spread hardly depends on their mean.

    Args:
        values: correlations.
    """
    transformed: Any = np.arctanh(np.clip(values, -LARGEST, LARGEST))
    return transformed

"""Functional connectivity: correlations between the regions of each subject."""

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.neuro.subjects import SubjectSeries


@checked
def correlations(subjects: SubjectSeries) -> Float[np.ndarray, "subject region other_region"]:
    """Computes Pearson's correlation between the regions of each subject.

    Args:
        subjects: their series.

    Returns:
        The correlations, 1 on the diagonal, in single precision. Those of a constant region with
        others are 0.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(2, 30, 3))
        >>> series[0, :, 1] = -series[0, :, 0]
        >>> series[1, :, 2] = 0.0
        >>> found = jaxcast.neuro.correlations(jaxcast.neuro.subject_series(series, [0, 1]))
        >>> round(float(found[0, 0, 1]), 4), float(found[1, 0, 2]), float(found[1, 2, 2])
        (-1.0, 0.0, 1.0)
    """
    return np.stack([_correlation(one) for one in subjects.series]).astype(np.float32)


@checked
def partial_correlations(
    subjects: SubjectSeries, *, shrinkage: float = 0.5
) -> Float[np.ndarray, "subject region other_region"]:
    """Computes the correlation of each two regions of a subject given all other regions.

    The correlations C are shrunk towards none, (1 - a) C + a I, and inverted to P. The partial
    correlation is -P_ij / sqrt(P_ii P_jj). With fewer scans than regions it does not exist without
    shrinkage.

    Args:
        subjects: their series.
        shrinkage: a, above 0 and at most 1.

    Returns:
        The partial correlations, 1 on the diagonal, in single precision. Those of a constant region
        are 0.

    Raises:
        InputError: for a shrinkage out of range.

    Example:
        >>> import numpy as np, jaxcast
        >>> first, noise = np.random.default_rng(0).normal(size=(2, 2, 2000))
        >>> second, third = first + noise, first + noise + np.random.default_rng(1).normal(size=(2, 2000))
        >>> subjects = jaxcast.neuro.subject_series(np.stack([first, second, third], -1), [0, 1])
        >>> found = jaxcast.neuro.partial_correlations(subjects, shrinkage=1e-6)
        >>> bool(abs(found[0, 0, 2]) < 0.1), bool(jaxcast.neuro.correlations(subjects)[0, 0, 2] > 0.5)
        (True, True)
    """
    check_number("shrinkage", shrinkage, above=0, most=1)
    return np.stack([_partial(one, shrinkage) for one in subjects.series]).astype(np.float32)


def _correlation(series: np.ndarray) -> np.ndarray:
    """Returns the correlations of one subject in double precision."""
    centred = series - series.mean(0, dtype=np.float64)
    # The rounded mean of a constant leaves a rest that is no signal.
    length = np.where(series.max(0) > series.min(0), np.sqrt(np.square(centred).sum(0)), np.inf)
    unit = centred / np.where(length > 0, length, np.inf)
    found = np.clip(unit.T @ unit, -1, 1)
    np.fill_diagonal(found, 1.0)
    return found


def _partial(series: np.ndarray, shrinkage: float) -> np.ndarray:
    """Returns the partial correlations of one subject in double precision."""
    correlation = _correlation(series)
    precision = np.linalg.inv((1 - shrinkage) * correlation + shrinkage * np.eye(len(correlation)))
    scale = 1 / np.sqrt(np.diag(precision))
    found = -precision * scale * scale[:, None]
    np.fill_diagonal(found, 1.0)
    return found

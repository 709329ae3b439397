"""Functional connectivity: correlations between the regions of each subject."""

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
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


@checked
def matrix_logarithms(
    subjects: SubjectSeries, *, shrinkage: float = 0.3
) -> Float[np.ndarray, "subject region other_region"]:
    """Computes the logarithm of each subject's matrix of correlations.

        log((1 - a) C + a I) = V diag(log l) V^T,    with V and l its eigenvectors and eigenvalues

    Positive definite matrices are a curved space; their logarithms are not, and distances between
    them are those of the log-Euclidean metric.

    Args:
        subjects: their series.
        shrinkage: a, above 0 and at most 1.

    Returns:
        The symmetric logarithms, in single precision. Entries of a constant region with others
        are 0.

    Raises:
        InputError: for a shrinkage out of range.

    Source:
        Arsigny et al. (2007), SIAM Journal on Matrix Analysis 29, 328-347.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(2, 30, 3))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1])
        >>> bool(abs(jaxcast.neuro.matrix_logarithms(subjects, shrinkage=1.0)).max() < 1e-6)
        True
    """
    check_number("shrinkage", shrinkage, above=0, most=1)
    return np.stack([_logarithm(one, shrinkage) for one in subjects.series])


@checked
def lagged_correlations(subjects: SubjectSeries, *, lag: int = 1) -> Float[np.ndarray, "subject region later_region"]:
    """Computes the correlation of each region with each other region some scans later.

    Args:
        subjects: their series.
        lag: number of scans.

    Returns:
        The covariances over the time that both see, divided by both standard deviations over all
        time, in single precision. They are not symmetric. Those of a constant region are 0.

    Raises:
        InputError: for a lag as long as the shortest series.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(2, 100, 2))
        >>> series[:, 1:, 1] = series[:, :-1, 0]
        >>> found = jaxcast.neuro.lagged_correlations(jaxcast.neuro.subject_series(series, [0, 1]))
        >>> bool(found[0, 0, 1] > 0.9), bool(abs(found[0, 1, 0]) < 0.3)
        (True, True)
    """
    check_whole("lag", lag, most=min(len(one) for one in subjects.series) - 2)
    units = (unit_series(one) * len(one) ** 0.5 for one in subjects.series)
    return np.stack([(one[:-lag].T @ one[lag:] / (len(one) - lag)).astype(np.float32) for one in units])


def _correlation(series: np.ndarray) -> np.ndarray:
    """Returns the correlations of one subject in double precision."""
    unit = unit_series(series)
    found = np.clip(unit.T @ unit, -1, 1)
    np.fill_diagonal(found, 1.0)
    return found


def unit_series(series: Float[np.ndarray, "time region"]) -> Float[np.ndarray, "time region"]:
    """Returns series with mean 0 and sum of squares 1, in double precision; zeros for constant ones.

    Args:
        series: of each region.
    """
    centred = series - series.mean(0, dtype=np.float64)
    # The rounded mean of a constant leaves a rest that is no signal.
    length = np.where(series.max(0) > series.min(0), np.sqrt(np.square(centred).sum(0)), np.inf)
    return centred / np.where(length > 0, length, np.inf)


def _partial(series: np.ndarray, shrinkage: float) -> np.ndarray:
    """Returns the partial correlations of one subject in double precision."""
    correlation = _correlation(series)
    precision = np.linalg.inv((1 - shrinkage) * correlation + shrinkage * np.eye(len(correlation)))
    scale = 1 / np.sqrt(np.diag(precision))
    found = -precision * scale * scale[:, None]
    np.fill_diagonal(found, 1.0)
    return found


def _logarithm(series: np.ndarray, shrinkage: float) -> np.ndarray:
    """Returns the logarithm of one subject's shrunk correlations, in single precision."""
    correlation = _correlation(series)
    values, vectors = np.linalg.eigh((1 - shrinkage) * correlation + shrinkage * np.eye(len(correlation)))
    # All are positive but for rounding.
    logarithms = np.log(np.maximum(values, shrinkage * 1e-3))
    return ((vectors * logarithms) @ vectors.T).astype(np.float32)

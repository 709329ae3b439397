"""Covariance of residuals, shrunk towards its diagonal."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown


class ShrunkCovariance(NamedTuple):
    """A covariance that is shrunk towards its diagonal.

    Args:
        covariance: (1 - shrinkage) times the covariance, plus shrinkage times its diagonal.
        shrinkage: from 0 for none to 1 for the diagonal alone.
    """

    covariance: Float[np.ndarray, "series series"]
    shrinkage: float


@checked
def shrunk_covariance(residuals: Float[Any, "sample series"]) -> ShrunkCovariance:
    """Estimates the covariance of residuals with correlations shrunk by their uncertainty.

        W = lambda diag(W_1) + (1 - lambda) W_1,    W_1 = (1/n) sum_t e_t e_t'
        lambda = sum_(i != j) Var(r_ij) / sum_(i != j) r_ij^2,    cut to [0, 1]

    with r the correlations. Residuals are not centred: the errors of a biased forecast count whole.
    The result can be inverted also where there are more series than samples.

    Args:
        residuals: errors of forecasts, all at one lead.

    Returns:
        The covariance, and the shrinkage lambda.

    Raises:
        InputError: for fewer than 2 samples, residuals that are not finite, or a series whose
            residuals are all 0.

    Source:
        Schaefer and Strimmer, Stat. Appl. Genet. Mol. Biol. 4, 32 (2005); Wickramasuriya,
        Athanasopoulos and Hyndman, J. Am. Stat. Assoc. 114, 804-819 (2019), section 2.4.

    Example:
        >>> import jaxcast, numpy as np
        >>> noise = np.random.default_rng(0).normal(size=(50, 3))
        >>> found = jaxcast.hierarchy.shrunk_covariance(noise)
        >>> found.covariance.shape, 0 < found.shrinkage <= 1
        ((3, 3), True)
    """
    errors = checked_residuals(residuals)
    without = ~errors.any(0)
    if without.any():
        raise InputError(
            f"the residuals of series number {int(np.argmax(without))} are all 0, so they have no correlations; leave "
            "the series out"
        )
    count = len(errors)
    covariance = errors.T @ errors / count
    deviations = np.sqrt(np.diag(covariance))
    scaled = errors / deviations
    correlations = scaled.T @ scaled / count
    variances = ((scaled**2).T @ scaled**2 - count * correlations**2) / (count * (count - 1))
    off = ~np.eye(len(correlations), dtype=bool)
    size = float((correlations[off] ** 2).sum())
    shrinkage = float(np.clip(variances[off].sum() / size, 0, 1)) if size > 0 else 1.0
    shrunk = (1 - shrinkage) * correlations
    np.fill_diagonal(shrunk, 1.0)
    return ShrunkCovariance(shrunk * np.outer(deviations, deviations), shrinkage)


def checked_residuals(residuals: Any, names: tuple[str, ...] = ()) -> Float[np.ndarray, "sample series"]:
    """Returns residuals as an array of float64.

    Args:
        residuals: errors of forecasts, all at one lead.
        names: of the series, for a message; numbers by default.

    Raises:
        InputError: for fewer than 2 samples, or residuals that are not finite.
    """
    errors = np.asarray(residuals, float)
    if errors.ndim != 2 or len(errors) < 2:
        raise InputError(f"expected residuals (sample, series) of at least 2 samples, got shape {errors.shape}")
    if not np.isfinite(errors).all():
        sample, series = np.argwhere(~np.isfinite(errors))[0]
        raise InputError(
            f"residuals must be finite, got {errors[sample, series]} in sample {sample} of "
            f"{shown(repr(names[series])) if names else f'series number {series}'}; leave such samples out"
        )
    return errors

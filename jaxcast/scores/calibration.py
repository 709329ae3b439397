"""Calibration of quantile forecasts: bias and quantile coverage."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped
from scipy.special import bdtr, bdtrik

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.scores.quantiles import check_quantiles, check_rising, is_missing


class CoverageCurve(NamedTuple):
    """Share of the truths at or below the quantile of each level.

    Args:
        levels: levels of the quantiles, which are the ideal shares.
        share: share of the truths at or below the quantile.
        share_below: share of the truths below it; less where truths equal a quantile, as counts do.
            A calibrated forecaster has its level between the two.
        low: lower end of the confidence interval of `share` over weeks.
        high: upper end.
        band_low: lower end of the range in which the share of a calibrated forecaster lies, if all
            tasks were independent.
        band_high: upper end.
        num_tasks: number of tasks with a forecast and a truth.
        num_weeks: number of weeks with such a task.
    """

    levels: Float[Array, " quantile"]
    share: Float[Array, " quantile"]
    share_below: Float[Array, " quantile"]
    low: Float[Array, " quantile"]
    high: Float[Array, " quantile"]
    band_low: Float[Array, " quantile"]
    band_high: Float[Array, " quantile"]
    num_tasks: int
    num_weeks: int


@checked
def quantile_bias(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
) -> Float[Array, "*batch"]:
    """Returns the bias of each forecast: from -1, far too low, to 1, far too high.

        B = 1 - 2 max {tau: q_tau <= y}   if y < m
        B = 1 - 2 min {tau: q_tau >= y}   if y > m
        B = 0                             if y = m

    where m is the median, and levels 0 and 1 have the quantiles -inf and inf. With ever more levels
    it becomes 1 - 2 F(y).

    Args:
        forecast: quantiles of each task, not decreasing; NaN for a missing forecast.
        truth: observed value y of each task; NaN where it is missing.
        levels: level tau of each quantile, some of them at most and some at least 0.5. Without a
            level 0.5 the median is interpolated between the two levels next to it.

    Returns:
        The bias of each task; NaN for a task without forecast or truth.

    Raises:
        InputError: for shapes that do not match, levels that do not increase within (0, 1), levels
            that are all on one side of 0.5, or quantiles that cross.

    Source:
        Funk et al., PLoS Comput. Biol. 15, e1006785 (2019); for quantiles as in Bosse et al.,
        arXiv:2205.07090 (2022), scoringutils.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([1.0, 2.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> [float(jaxcast.scores.quantile_bias(forecast, truth, levels)) for truth in (0.0, 1.5, 2.0, 2.5)]
        [1.0, 0.5, 0.0, -0.5]
    """
    forecast, truth, levels = check_rising(forecast, truth, levels)
    known = np.asarray(levels)
    if not (known[0] <= 0.5 <= known[-1]):
        raise InputError(f"bias needs levels on both sides of 0.5, got {shown(np.round(known, 4).tolist())}")
    return _bias(forecast, truth, levels)


@jax.jit
def _bias(forecast: Array, truth: Array, levels: Array) -> Array:
    median = jax.vmap(lambda q: jnp.interp(0.5, levels, q))(forecast.reshape(-1, levels.shape[0])).reshape(truth.shape)
    exact = jnp.isclose(levels, 0.5, rtol=0, atol=1e-6)  # interpolation would round it
    median = jnp.where(exact.any(), forecast[..., jnp.argmax(exact)], median)
    y = truth[..., None]
    below = jnp.where(forecast <= y, levels, 0).max(-1)
    above = jnp.where(forecast >= y, levels, 1).min(-1)
    bias = jnp.where(truth < median, 1 - 2 * below, jnp.where(truth > median, 1 - 2 * above, 0))
    return jnp.where(is_missing(forecast, truth), jnp.nan, bias)


@checked
def quantile_coverage(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
) -> Float[Array, "*batch quantile"]:
    """Checks for each task and level whether the truth is at or below the quantile.

    Args:
        forecast: quantiles of each task; NaN for a missing forecast.
        truth: observed value of each task; NaN where it is missing.
        levels: level of each quantile, increasing within (0, 1).

    Returns:
        1 at or below, 0 above, NaN for a task without forecast or truth. Their mean over tasks is
        the level where forecasts are calibrated.

    Raises:
        InputError: for shapes that do not match, or levels that do not increase within (0, 1).

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([1.0, 2.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> jaxcast.scores.quantile_coverage(forecast, 2.0, levels).tolist()
        [0.0, 1.0, 1.0]
    """
    forecast, truth, _ = check_quantiles(forecast, truth, levels)
    return jnp.where(is_missing(forecast, truth)[..., None], jnp.nan, truth[..., None] <= forecast)


@checked
def coverage_curve(
    forecast: Shaped[ArrayLike, "location week quantile"],
    truth: Shaped[ArrayLike, "location week"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    key: Key[Array, ""] | None = None,
    nominal: float | int = 0.9,
    num_resamples: int = 1000,
) -> CoverageCurve:
    """Returns the share of truths at or below the quantile of each level, with its uncertainty.

    The interval of the share resamples whole weeks, as the locations of a week err together. The
    band, the central interval of a binomial distribution, is what a calibrated forecaster of
    independent tasks would show. Where tasks depend on each other, it is too narrow.

    Args:
        forecast: quantiles of each task; NaN for a missing forecast.
        truth: observed value of each task; NaN where it is missing.
        levels: level of each quantile, increasing within (0, 1).
        key: for the resampling; by default the one of seed 0.
        nominal: coverage of the interval and of the band, within (0, 1).
        num_resamples: number of bootstrap samples.

    Returns:
        The curve.

    Raises:
        InputError: for shapes that do not match, levels that do not increase within (0, 1), a
            coverage outside of it, no resamples, or no task.

    Source:
        Gneiting, Wolffram, Resin, Kraus, Bracher, Dimitriadis, Hagenmeyer, Jordan, Lerch, Phipps
        and Schienle, Annu. Rev. Stat. Appl. 10, 597-621 (2023).

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([[[1.0, 2.0, 3.0]] * 4]), np.asarray([0.25, 0.5, 0.75])
        >>> curve = jaxcast.scores.coverage_curve(forecast, np.asarray([[0.5, 1.5, 2.5, 3.5]]), levels)
        >>> curve.share.tolist(), curve.num_weeks
        ([0.25, 0.5, 0.75], 4)
    """
    if not 0 < nominal < 1:
        raise InputError(f"nominal must be within (0, 1), got {shown(nominal)}")
    check_whole("num_resamples", num_resamples)
    check_arrays(f"{num_resamples} resamples of {np.shape(truth)[1]} weeks", (num_resamples, np.shape(truth)[1]))
    forecast, truth, levels = check_quantiles(forecast, truth, levels)
    known = ~np.asarray(is_missing(forecast, truth))
    if not known.any():
        raise InputError("no task has both a forecast and a truth; a coverage curve needs one")
    weeks = known.any(0)
    counts = known.sum(0)[weeks]
    sums = np.stack(
        [
            np.where(known[..., None], np.asarray(at), 0.0).sum(0)[weeks]
            for at in (truth[..., None] <= forecast, truth[..., None] < forecast)
        ]
    )
    key = jax.random.key(0) if key is None else key
    # One program serves every number of weeks up to a power of two.
    rest = 2 ** math.ceil(math.log2(len(counts))) - len(counts)
    padded = np.pad(sums[0], ((0, rest), (0, 0))), np.pad(counts, (0, rest))
    resampled = np.asarray(_resampled_shares(*map(jnp.asarray, padded), jnp.asarray(len(counts)), key, num_resamples))
    tails = [(1 - nominal) / 2, (1 + nominal) / 2]
    low, high = np.quantile(resampled, tails, axis=0)
    num_tasks = int(counts.sum())
    share, below = sums.sum(1) / num_tasks
    band = [jnp.asarray(_binomial_quantile(num_tasks, np.asarray(levels, float), tail) / num_tasks) for tail in tails]
    share, below, low, high = (jnp.asarray(a) for a in (share, below, low, high))
    return CoverageCurve(levels, share, below, low, high, band[0], band[1], num_tasks, int(weeks.sum()))


@partial(jax.jit, static_argnames="num_resamples")
def _resampled_shares(
    sums: Float[Array, "week quantile"], counts: Array, num_weeks: Array, key: Key[Array, ""], num_resamples: int
) -> Float[Array, "resample quantile"]:
    drawn = jax.random.randint(key, (num_resamples, len(counts)), 0, num_weeks)
    is_drawn = (jnp.arange(len(counts)) < num_weeks).astype(sums.dtype)
    times = jax.vmap(lambda weeks: jnp.bincount(weeks, is_drawn, length=len(counts)))(drawn)
    return (times @ sums) / (times @ counts)[:, None]


def _binomial_quantile(num_trials: int, share: np.ndarray, level: float) -> np.ndarray:
    """Returns the least number of successes whose binomial distribution function reaches a level."""
    found = np.ceil(bdtrik(level, num_trials, share))
    fewer = np.maximum(found - 1, 0)  # The inverse may be a rounding error above a whole number.
    return np.where(bdtr(fewer, num_trials, share) >= level, fewer, found)

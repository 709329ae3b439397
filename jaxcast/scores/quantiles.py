"""Scores of quantile forecasts: pinball, (weighted) interval score and its parts, coverage."""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.numerics.levels import pinball_of
from jaxcast.tracing import is_traced

Scale = Literal["natural", "log"]


class IntervalScore(NamedTuple):
    """Weighted interval score of each task and the three parts that add up to it.

    All are in the unit of the truth, or of its logarithm.

    Args:
        wis: weighted interval score.
        dispersion: part for the width of the intervals.
        overprediction: penalty for a truth below the intervals.
        underprediction: penalty for a truth above the intervals.
    """

    wis: Float[Array, "*batch"]
    dispersion: Float[Array, "*batch"]
    overprediction: Float[Array, "*batch"]
    underprediction: Float[Array, "*batch"]


@checked
def pinball_loss(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
) -> Float[Array, "*batch quantile"]:
    """Returns the pinball loss of each quantile, (tau - 1[y < q]) (y - q).

    Args:
        forecast: quantiles of each task.
        truth: observed value of each task.
        levels: level tau of each quantile, increasing within (0, 1); any set of levels.

    Returns:
        The loss of each quantile, in the unit of the truth; NaN where forecast or truth is NaN.

    Raises:
        InputError: for shapes that do not match, or levels that do not increase within (0, 1).

    Source:
        Koenker and Bassett, Econometrica 46, 33-50 (1978).

    Example:
        >>> import jaxcast, numpy as np
        >>> losses = jaxcast.scores.pinball_loss(np.asarray([1.0, 3.0]), 2.0, np.asarray([0.1, 0.9]))
        >>> [round(float(loss), 2) for loss in losses]
        [0.1, 0.1]
    """
    forecast, truth, levels = check_quantiles(forecast, truth, levels)
    return pinball_of(truth[..., None] - forecast, levels)


@checked
def interval_score(
    lower: Shaped[ArrayLike, "*batch"],
    upper: Shaped[ArrayLike, "*batch"],
    truth: Shaped[ArrayLike, "*batch"],
    alpha: Shaped[ArrayLike, "..."],
) -> Float[Array, "*batch"]:
    """Scores the central 1 - alpha interval [l, u] of each task.

        (u - l) + (2 / alpha) (l - y) 1[y < l] + (2 / alpha) (y - u) 1[y > u]

    Args:
        lower: lower end l of each interval.
        upper: upper end u of each interval.
        truth: observed value y of each task.
        alpha: one minus the nominal coverage; one number, or one per task.

    Returns:
        The interval score of each task, in the unit of the truth; lower is better.

    Source:
        Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359-378 (2007), eq. 43.

    Example:
        >>> import jaxcast
        >>> float(jaxcast.scores.interval_score(1.0, 3.0, 4.0, 0.5))
        6.0
    """
    lower, upper, truth, alpha = (jnp.asarray(a, float) for a in (lower, upper, truth, alpha))
    below, above = jnp.maximum(lower - truth, 0), jnp.maximum(truth - upper, 0)
    return upper - lower + 2 / alpha * (below + above)


@checked
def weighted_interval_score(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    scale: Scale = "natural",
) -> IntervalScore:
    """Computes the weighted interval score (WIS) of each task and its three parts.

        WIS = (1 / (K + 1/2)) (|y - m| / 2 + sum_k (alpha_k / 2) IS_(alpha_k))

    over the K central intervals and the median m. It is twice the mean pinball loss. If 0.5 is not
    a level, the first 1/2 and |y - m| drop out.

    Args:
        forecast: quantiles of each task; NaN for a missing forecast.
        truth: observed value y of each task; NaN where it is missing.
        levels: increasing and symmetric around 0.5; any number of them.
        scale: "natural", or "log" to score log(1 + max(x, 0)) of forecast and truth, which compares
            growth rates.

    Returns:
        The score of each task and its parts; NaN for a task without forecast or truth.

    Raises:
        InputError: for shapes that do not match, levels that are not increasing, symmetric and
            within (0, 1), or an unknown scale.

    Source:
        Bracher, Ray, Gneiting and Reich, PLoS Comput. Biol. 17, e1008618 (2021); for the log scale
        Bosse et al., PLoS Comput. Biol. 19, e1011393 (2023).

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([1.0, 2.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> score = jaxcast.scores.weighted_interval_score(forecast, 4.0, levels)
        >>> [round(float(part), 3) for part in score]
        [1.667, 0.333, 0.0, 1.333]
    """
    forecast, truth, levels = check_quantiles(forecast, truth, levels)
    if scale not in ("natural", "log"):
        raise InputError(f"scale must be 'natural' or 'log', got {shown(repr(scale))}")
    if not is_traced(levels) and not np.allclose(levels + levels[::-1], 1, atol=1e-6):
        raise InputError(
            "the intervals of WIS need levels symmetric around 0.5, got "
            f"{shown(np.round(np.asarray(levels, float), 4).tolist())}; pinball_loss takes any"
        )
    return IntervalScore(*_parts(forecast, truth, levels, scale))


@partial(jax.jit, static_argnames="scale")
def _parts(forecast: Array, truth: Array, levels: Array, scale: Scale) -> tuple[Array, ...]:
    # XLA's maximum on CPUs can lose NaN in long arrays.
    missing = jnp.isnan(truth) | jnp.isnan(forecast).any(-1)
    if scale == "log":
        forecast, truth = (jnp.log1p(jnp.maximum(a, 0)) for a in (forecast, truth))
    num_levels = levels.shape[0]
    lower, upper = (side[..., : (num_levels + 1) // 2] for side in (forecast, forecast[..., ::-1]))
    # A median is its own mirror image, an interval of no width that counts half.
    counts = jnp.ones(lower.shape[-1], lower.dtype).at[-1].set(0.5 if num_levels % 2 else 1.0)
    dispersion = counts * levels[: lower.shape[-1]] * (upper - lower)
    above, below = jnp.maximum(lower - truth[..., None], 0), jnp.maximum(truth[..., None] - upper, 0)
    parts = [part.sum(-1) * 2 / num_levels for part in (dispersion, counts * above, counts * below)]
    wis = parts[0] + parts[1] + parts[2]
    missing |= jnp.isnan(wis)
    return jnp.where(missing, jnp.nan, wis), *(jnp.where(missing, jnp.nan, part) for part in parts)


@checked
def interval_coverage(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    nominal: float,
) -> Float[Array, "*batch"]:
    """Checks for each task whether the truth lies within a central interval of the forecast.

    Args:
        forecast: quantiles of each task; NaN for a missing forecast.
        truth: observed value of each task; NaN where it is missing.
        levels: level of each quantile, increasing within (0, 1).
        nominal: coverage that the interval promises, such as 0.95.

    Returns:
        1 inside, 0 outside, NaN for a task without forecast or truth.

    Raises:
        InputError: for a forecast without the two levels of that interval, or shapes that do not
            match.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([1.0, 2.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> float(jaxcast.scores.interval_coverage(forecast, 2.5, levels, nominal=0.5))
        1.0
    """
    forecast, truth, levels = check_quantiles(forecast, truth, levels)
    ends = [(1 - nominal) / 2, (1 + nominal) / 2]
    index = [int(np.argmin(np.abs(np.asarray(levels) - end))) for end in ends]
    if not np.allclose(np.asarray(levels)[index], ends, atol=1e-6):
        raise InputError(
            f"a {nominal:.0%} interval needs the levels {ends[0]:g} and {ends[1]:g}; the forecast lacks them"
        )
    return _is_within(forecast[..., index[0]], forecast[..., index[1]], truth)


@jax.jit
def _is_within(lower: Array, upper: Array, truth: Array) -> Array:
    missing = jnp.isnan(lower) | jnp.isnan(upper) | jnp.isnan(truth)
    return jnp.where(missing, jnp.nan, (truth >= lower) & (truth <= upper))


@checked
def count_crossings(forecast: Shaped[ArrayLike, "*batch quantile"]) -> int:
    """Counts the tasks in which a quantile lies above the next one by more than rounding.

    Args:
        forecast: quantiles of each task, in the order of their levels.

    Returns:
        The number of such tasks.

    Example:
        >>> import jaxcast, numpy as np
        >>> jaxcast.scores.count_crossings(np.asarray([[1.0, 2.0], [2.0, 1.0]]))
        1
    """
    forecast = np.asarray(forecast)
    slack = 1e-9 * np.abs(forecast).max(-1, keepdims=True, initial=0.0)
    return int((np.diff(forecast, axis=-1) < -slack).any(-1).sum())


def check_quantiles(forecast: ArrayLike, truth: ArrayLike, levels: ArrayLike) -> tuple[Array, Array, Array]:
    """Checks quantile forecasts against their truth and levels.

    Args:
        forecast: quantiles of each task.
        truth: observed value of each task.
        levels: level of each quantile.

    Returns:
        The three as arrays of one type.

    Raises:
        InputError: for shapes that do not match, or levels that do not increase within (0, 1).
    """
    forecast = jnp.asarray(forecast)
    is_floating = jnp.issubdtype(forecast.dtype, jnp.floating)
    forecast = forecast.astype(jnp.result_type(forecast, jnp.float32) if is_floating else float)
    truth, levels = jnp.asarray(truth, forecast.dtype), jnp.asarray(levels, forecast.dtype)
    if levels.ndim != 1 or forecast.shape[-1:] != levels.shape or truth.shape != forecast.shape[:-1]:
        raise InputError(
            "expected forecasts (*batch, quantile), truth (*batch) and levels (quantile), "
            f"got {forecast.shape}, {truth.shape} and {levels.shape}"
        )
    if not is_traced(levels):
        inside = np.concatenate([[0.0], np.asarray(levels), [1.0]])
        if not (np.diff(inside) > 0).all():
            raise InputError(f"levels must increase within (0, 1), got {shown(np.asarray(levels).tolist())}")
    return forecast, truth, levels


def check_rising(forecast: ArrayLike, truth: ArrayLike, levels: ArrayLike) -> tuple[Array, Array, Array]:
    """Checks quantile forecasts whose quantiles must not decrease, and takes out rounding.

    Args:
        forecast: quantiles of each task.
        truth: observed value of each task.
        levels: level of each quantile.

    Returns:
        The three as arrays of one type; the quantiles do not decrease.

    Raises:
        InputError: as `check_quantiles`, and for quantiles that cross by more than a millionth, the
            rounding that tables of hubs are allowed.
    """
    forecast, truth, levels = check_quantiles(forecast, truth, levels)
    if not is_traced(forecast):
        values = np.asarray(forecast)
        crossing = (np.diff(values, axis=-1) < -1e-6 * (1 + np.abs(values[..., :-1]))).any(-1)
        if crossing.any():
            raise InputError(f"quantiles must not decrease, and those of {crossing.sum()} tasks do; sort them")
    return jax.lax.cummax(forecast, axis=forecast.ndim - 1), truth, levels


def is_missing(forecast: Array, truth: Array) -> Array:
    """Returns which tasks lack a quantile or the truth.

    Args:
        forecast: quantiles of each task.
        truth: observed value of each task.
    """
    return jnp.isnan(forecast).any(-1) | jnp.isnan(truth)

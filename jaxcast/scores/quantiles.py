"""Scores of quantile forecasts: pinball, interval score, weighted interval score with its parts, coverage."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced

Scale = Literal["natural", "log"]


class IntervalScore(NamedTuple):
    """The weighted interval score of each task and the parts that it is the sum of, (*batch,), in the unit of the truth.

    dispersion: the width of the intervals. overprediction, underprediction: penalties for a truth below and above them.
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
    """The loss of every quantile, (tau - 1[y < q]) (y - q), for any level set; NaN where a value is.

    Shapes (*batch, quantile), (*batch,) and (quantile,), in the unit of the truth. Source: Koenker and Bassett (1978).

    Raises:
        InputError: for shapes that do not match, or levels that are not increasing within (0, 1).

    Example:
        >>> import jaxcast, numpy as np
        >>> losses = jaxcast.scores.pinball_loss(np.asarray([1.0, 3.0]), 2.0, np.asarray([0.1, 0.9]))
        >>> [round(float(loss), 2) for loss in losses]
        [0.1, 0.1]
    """
    forecast, truth, levels = _checked(forecast, truth, levels)
    above = truth[..., None] - forecast
    return jnp.maximum(levels * above, (levels - 1) * above)


@checked
def interval_score(
    lower: Shaped[ArrayLike, "*batch"],
    upper: Shaped[ArrayLike, "*batch"],
    truth: Shaped[ArrayLike, "*batch"],
    alpha: Shaped[ArrayLike, "..."],
) -> Float[Array, "*batch"]:
    """(u - l) + (2 / alpha) (l - y) 1[y < l] + (2 / alpha) (y - u) 1[y > u] of the central 1 - alpha interval [l, u].

    Source: Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359-378 (2007), eq. 43.

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
    """The WIS of every task with its three parts.

        WIS = (1 / (K + 1/2)) (|y - m| / 2 + sum_k (alpha_k / 2) IS_(alpha_k)) = twice the mean pinball loss

    over the K central intervals and, where 0.5 is a level, the median m (without it the first 1/2 and |y - m| drop out).
    NaN marks a task without forecast or truth.

    Args:
        levels: increasing and symmetric around 0.5; any number of them. scale: log scores log(1 + max(x, 0)) of forecast
            and truth, which are then compared as growth rates.

    Raises:
        InputError: for shapes that do not match, levels that are not increasing, symmetric and within (0, 1), or an unknown scale.

    Source: Bracher, Ray, Gneiting and Reich, PLoS Comput. Biol. 17, e1008618 (2021); for the log scale Bosse et al.,
    PLoS Comput. Biol. 19, e1011393 (2023).

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([1.0, 2.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> score = jaxcast.scores.weighted_interval_score(forecast, 4.0, levels)
        >>> [round(float(part), 3) for part in score]
        [1.667, 0.333, 0.0, 1.333]
    """
    forecast, truth, levels = _checked(forecast, truth, levels)
    if scale not in ("natural", "log"):
        raise InputError(f"scale must be 'natural' or 'log', got {shown(repr(scale))}")
    if not is_traced(levels) and not np.allclose(levels + levels[::-1], 1, atol=1e-6):
        raise InputError(
            f"the intervals of WIS need levels symmetric around 0.5, got {shown(np.round(np.asarray(levels), 4).tolist())}; "
            "pinball_loss takes any"
        )
    return IntervalScore(*_parts(forecast, truth, levels, scale))


@partial(jax.jit, static_argnames="scale")
def _parts(forecast: Array, truth: Array, levels: Array, scale: Scale) -> tuple[Array, ...]:
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
    return wis, *(jnp.where(jnp.isnan(wis), jnp.nan, part) for part in parts)


@checked
def interval_coverage(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    nominal: float,
) -> Float[Array, "*batch"]:
    """Whether the truth lies within the central interval of a nominal coverage: 1, 0, or NaN for a task that is not there.

    Raises:
        InputError: where the two levels of that interval are not among those of the forecast.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([1.0, 2.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> float(jaxcast.scores.interval_coverage(forecast, 2.5, levels, nominal=0.5))
        1.0
    """
    forecast, truth, levels = _checked(forecast, truth, levels)
    ends = [(1 - nominal) / 2, (1 + nominal) / 2]
    index = [int(np.argmin(np.abs(np.asarray(levels) - end))) for end in ends]
    if not np.allclose(np.asarray(levels)[index], ends, atol=1e-6):
        raise InputError(f"a {nominal:.0%} interval needs levels {ends[0]:g} and {ends[1]:g}, which are not there")
    lower, upper = forecast[..., index[0]], forecast[..., index[1]]
    missing = jnp.isnan(lower) | jnp.isnan(upper) | jnp.isnan(truth)
    return jnp.where(missing, jnp.nan, (truth >= lower) & (truth <= upper))


@checked
def count_crossings(forecast: Shaped[ArrayLike, "*batch quantile"]) -> int:
    """How many tasks have a quantile above the next one, but for rounding.

    Example:
        >>> import jaxcast, numpy as np
        >>> jaxcast.scores.count_crossings(np.asarray([[1.0, 2.0], [2.0, 1.0]]))
        1
    """
    forecast = np.asarray(forecast)
    slack = 1e-9 * np.abs(forecast).max(-1, keepdims=True, initial=0.0)
    return int((np.diff(forecast, axis=-1) < -slack).any(-1).sum())


def _checked(forecast: ArrayLike, truth: ArrayLike, levels: ArrayLike) -> tuple[Array, Array, Array]:
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


def middle_of(levels: Sequence[float]) -> int:
    """Which level is nearest to 0.5."""
    return min(range(len(levels)), key=lambda k: abs(levels[k] - 0.5))


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """The levels.

    Raises:
        InputError: unless there is one, and they rise within (0, 1).
    """
    levels = tuple(map(float, levels))
    if not levels or not all(0 < level < 1 for level in levels) or sorted(set(levels)) != list(levels):
        raise InputError(f"levels must rise and lie between 0 and 1, got {levels}")
    return levels

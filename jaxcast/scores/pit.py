"""The probability integral transform (PIT) of quantile forecasts, and its histogram."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.scores.quantiles import check_rising, is_missing


class PitHistogram(NamedTuple):
    """Histogram of the probability integral transform (PIT).

    Args:
        edges: ends of the bins, from 0 to 1.
        density: share of the tasks in each bin over its width; 1 everywhere where forecasts are
            calibrated.
        num_tasks: number of tasks with a forecast and a truth.
    """

    edges: Float[Array, " edge"]
    density: Float[Array, " bin"]
    num_tasks: int


@checked
def pit_interval(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
) -> Float[Array, "*batch 2"]:
    """Returns the interval in which the probability integral transform (PIT) of each task lies.

    Quantiles tell the distribution F at their values alone. A truth between two quantiles has its
    F(y) between their levels; below the first it is between 0 and that level, above the last
    between that level and 1. A truth that equals one quantile lies between the level before it and
    its own; if it equals several, as counts do, between the level before the first and the level of
    the last.

    Args:
        forecast: quantiles of each task, not decreasing; NaN for a missing forecast.
        truth: observed value y of each task; NaN where it is missing.
        levels: level of each quantile, increasing within (0, 1).

    Returns:
        The lower and upper end of each task; NaN for a task without forecast or truth.

    Raises:
        InputError: for shapes that do not match, levels that do not increase within (0, 1), or
            quantiles that cross.

    Source:
        Czado, Gneiting and Held, Biometrics 65, 1254-1261 (2009), on the PIT of counts.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([0.0, 0.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> [jaxcast.scores.pit_interval(forecast, truth, levels).tolist() for truth in (0.0, 1.0, 9.0)]
        [[0.0, 0.5], [0.5, 0.75], [0.75, 1.0]]
    """
    return _interval(*check_rising(forecast, truth, levels))


@jax.jit
def _interval(forecast: Array, truth: Array, levels: Array) -> Array:
    y = truth[..., None]
    low = jnp.where(forecast < y, levels, 0).max(-1)
    first = jnp.where(forecast >= y, levels, 1).min(-1)
    last = jnp.where(forecast <= y, levels, 0).max(-1)
    ends = jnp.stack([low, jnp.maximum(first, last)], -1)
    return jnp.where(is_missing(forecast, truth)[..., None], jnp.nan, ends)


@checked
def pit_values(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    key: Key[Array, ""],
) -> Float[Array, "*batch"]:
    """Draws a randomised probability integral transform (PIT) of each task.

    It is drawn uniformly from `pit_interval`. If forecasts are calibrated, the values are uniform
    between 0 and 1; if intervals are too narrow, too many lie near the ends.

    Args:
        forecast: quantiles of each task, not decreasing; NaN for a missing forecast.
        truth: observed value of each task; NaN where it is missing.
        levels: level of each quantile, increasing within (0, 1).
        key: for the draws.

    Returns:
        A value of each task from 0 to 1; NaN for a task without forecast or truth.

    Raises:
        InputError: for shapes that do not match, levels that do not increase within (0, 1), or
            quantiles that cross.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> forecast, levels = np.asarray([1.0, 2.0, 3.0]), np.asarray([0.25, 0.5, 0.75])
        >>> 0.5 < float(jaxcast.scores.pit_values(forecast, 2.4, levels, key=jax.random.key(0))) < 0.75
        True
    """
    ends = pit_interval(forecast, truth, levels)
    return ends[..., 0] + jax.random.uniform(key, ends.shape[:-1], ends.dtype) * (ends[..., 1] - ends[..., 0])


@checked
def pit_histogram(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    num_bins: int | None = None,
) -> PitHistogram:
    """Returns the histogram of the probability integral transform (PIT) over all tasks.

    Nothing is drawn: each task is spread evenly over its `pit_interval`. A histogram that is high
    at both ends belongs to intervals that are too narrow, a hump to ones that are too wide, a slope
    to bias: upwards to forecasts that are too low.

    Args:
        forecast: quantiles of each task, not decreasing; NaN for a missing forecast.
        truth: observed value of each task; NaN where it is missing.
        levels: level of each quantile, increasing within (0, 1).
        num_bins: number of bins of equal width; by default the bins lie between the levels.

    Returns:
        The histogram.

    Raises:
        InputError: for shapes that do not match, levels that do not increase within (0, 1),
            quantiles that cross, no task, or no bins.

    Source:
        Czado, Gneiting and Held, Biometrics 65, 1254-1261 (2009): the nonrandomised histogram.
        Without ties and between the levels it is that of scoringutils.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, levels = np.asarray([[1.0, 2.0, 3.0]] * 4), np.asarray([0.25, 0.5, 0.75])
        >>> jaxcast.scores.pit_histogram(forecast, [0.0, 0.5, 1.5, 9.0], levels).density.tolist()
        [2.0, 1.0, 0.0, 1.0]
    """
    ends = np.asarray(pit_interval(forecast, truth, levels)).reshape(-1, 2)
    ends = ends[~np.isnan(ends).any(1)]
    if not len(ends):
        raise InputError("no task has both a forecast and a truth; a histogram needs one")
    if num_bins is None:
        edges = np.concatenate([[0.0], np.asarray(levels, float), [1.0]])
    else:
        check_whole("num_bins", num_bins)
        edges = np.linspace(0, 1, num_bins + 1)
    kinds, counts = np.unique(ends, axis=0, return_counts=True)
    reached = np.clip((edges - kinds[:, :1]) / (kinds[:, 1:] - kinds[:, :1]), 0, 1)
    share = counts / len(ends) @ np.diff(reached, axis=1)
    return PitHistogram(jnp.asarray(edges), jnp.asarray(share / np.diff(edges)), len(ends))

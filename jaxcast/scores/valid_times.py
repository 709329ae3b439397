"""How long a forecast stays true, how sure we are of that, and the time scale on which it cannot."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.types import Scalar


class ValidTime(NamedTuple):
    """time: in the unit of dt, or in Lyapunov times. censored: whether the forecast was still valid when the window ended."""

    time: Float[Array, ""]
    censored: Shaped[Array, ""]


class MedianInterval(NamedTuple):
    """A median with its distribution-free interval, and the probability that such an interval covers it."""

    median: float
    low: float
    high: float
    coverage: float


@checked
def squared_error(
    forecast: Float[Array, "lead dim"],
    truth: Float[Array, "lead dim"],
    *,
    norm: Literal["mean", "sum"] = "mean",
    scale: Shaped[ArrayLike, "..."] = 1.0,
) -> Float[Array, " lead"]:
    """The squared error at every lead, as the mean or the sum over components of ((forecast - truth) / scale)^2.

    Raises:
        InputError: for shapes other than (lead, dim) or different ones, or an unknown norm.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.scores.squared_error(jnp.asarray([[1.0, 3.0]]), jnp.zeros((1, 2))).tolist()
        [5.0]
    """
    forecast, truth, scale = jnp.asarray(forecast), jnp.asarray(truth), jnp.asarray(scale)
    if forecast.ndim != 2 or forecast.shape != truth.shape:
        raise InputError(
            f"expected forecast and truth of one window, both (lead, dim), got {forecast.shape} and {truth.shape}; "
            "use jax.vmap over windows"
        )
    if scale.shape not in ((), forecast.shape[1:]):
        raise InputError(f"scale must be a number or one for each of {forecast.shape[1]} components, got {scale.shape}")
    if norm not in ("mean", "sum"):
        raise InputError(f"norm must be 'mean' or 'sum', got {shown(repr(norm))}")
    squares = ((forecast - truth) / scale) ** 2
    return squares.mean(-1) if norm == "mean" else squares.sum(-1)


@checked
def valid_time(
    forecast: Float[Array, "lead dim"],
    truth: Float[Array, "lead dim"],
    *,
    dt: Scalar,
    threshold: Scalar,
    norm: Literal["mean", "sum"] = "mean",
    scale: Shaped[ArrayLike, "..."] = 1.0,
    lyapunov_exponent: Scalar = 1.0,
    convention: Literal["first_invalid", "last_valid"] = "first_invalid",
) -> ValidTime:
    """Returns how long a forecast stays within a threshold of the truth, and whether it still does at the end.

    With leads counted from 0 and k the first of them whose error reaches the threshold, valid time is k dt by
    default: the number of leads that come before any failure, times dt. NaN and infinity are failures, too. A
    forecast that never fails within its n leads has k = n, and is marked as censored. `jax.vmap` over windows.

    Args:
        forecast: the forecast of one window.
        truth: the true states at the same leads.
        dt: interval between leads, in the system's time unit.
        threshold: in squared units of the state. The paper's is 40, for the mean over the components of its
            Lorenz '63 system; it has no meaning for other systems: take 0.175 of `saturation_error` there.
        norm: whether squared errors are averaged over the components or summed.
        scale: divides the errors, one number or one per component, such as the standard deviations.
        lyapunov_exponent: per time unit. Where it is given, the result is in Lyapunov times; by default it is in
            the unit of dt.
        convention: which lead's index, counted from 0, is the result: "first_invalid" for k, or "last_valid" for
            max(k - 1, 0), which is what the code behind the published tables returns. Compare published values
            with "last_valid" only: they are one sample lower for the same forecast.

    Returns:
        The valid time, and whether the forecast was still valid when the window ended.

    Raises:
        InputError: for shapes other than (lead, dim) or different ones, or an unknown norm or convention.

    Source:
        Patel and Wikner (2023), eq. 9, read as the first exceedance.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> truth = jnp.zeros((4, 1))
        >>> forecast = jnp.asarray([[1.0], [2.0], [9.0], [0.0]])
        >>> valid, censored = jaxcast.valid_time(forecast, truth, dt=0.1, threshold=40.0)
        >>> round(float(valid), 3), bool(censored)
        (0.2, False)
        >>> as_published = jaxcast.valid_time(forecast, truth, dt=0.1, threshold=40.0, convention="last_valid")
        >>> round(float(as_published.time), 3)
        0.1
    """
    if convention not in ("first_invalid", "last_valid"):
        raise InputError(f"convention must be 'first_invalid' or 'last_valid', got {shown(repr(convention))}")
    valid = squared_error(forecast, truth, norm=norm, scale=scale) < threshold
    censored = jnp.all(valid)
    index = jnp.where(censored, len(valid), jnp.argmin(valid))
    if convention == "last_valid":
        index = jnp.maximum(index - 1, 0)
    return ValidTime(index * jnp.asarray(dt, forecast.dtype) * lyapunov_exponent, censored)


@checked
def saturation_error(states: Float[Array, "time dim"]) -> Float[Array, ""]:
    """The mean squared difference per component of two states far apart in time: twice the mean variance.

    A forecast whose error reaches it knows nothing any more. Shape (time, dim) -> (), in squared units of the state.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> float(jaxcast.saturation_error(jnp.asarray([[1.0], [-1.0]])))
        2.0
    """
    return 2 * states.var(0).mean()


@checked
def median_interval(values: Shaped[ArrayLike, " sample"], confidence: float = 0.95) -> MedianInterval:
    """The median of a sample and its distribution-free interval from order statistics.

    The interval from the l-th to the u-th of the n sorted values (counted from 1) covers the median of a continuous
    distribution with probability sum_(k=l)^(u-1) C(n, k) / 2^n. Of the pairs that reach `confidence`, the one with
    the fewest ranks in between and then the most coverage and then the lowest ranks is taken. Below six values
    none reaches 95 %: the range is returned, with its coverage.

    Raises:
        InputError: for an empty sample, NaN, or more than one axis.

    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.

    Example:
        >>> import jaxcast, numpy as np
        >>> interval = jaxcast.median_interval(np.arange(1, 201))
        >>> interval.median, interval.low, interval.high, round(interval.coverage, 3)
        (100.5, 86.0, 114.0, 0.952)
    """
    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    if ordered.ndim != 1 or n < 1 or np.isnan(ordered).any():
        raise InputError(f"expected a non-empty one-dimensional sample without NaN, got shape {ordered.shape}")
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    pmf = np.exp(log_factorial[n] - log_factorial - log_factorial[::-1] - n * np.log(2.0))
    cumulative = np.concatenate([[0.0], np.cumsum(pmf)])
    for width in range(1, n):
        low = np.arange(1, n - width + 1)
        coverage = cumulative[low + width] - cumulative[low]
        best = int(np.argmax(np.round(coverage, 12)))
        if coverage[best] >= confidence:
            break
    else:
        return MedianInterval(float(np.median(ordered)), ordered[0], ordered[-1], float(1 - 2 * pmf[0]))
    return MedianInterval(
        float(np.median(ordered)), float(ordered[best]), float(ordered[best + width]), float(coverage[best])
    )

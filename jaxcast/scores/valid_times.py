"""Valid time of forecasts, confidence intervals of its median, and the error at saturation."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.types import Scalar

VALID_SHARE = 0.175
"""Share of `saturation_error` below which a squared error counts as valid, on any system."""


class ValidTime(NamedTuple):
    """Valid time of a forecast.

    Args:
        time: in the unit of dt, or in Lyapunov times.
        censored: whether the forecast was still valid when the window ended, so that its valid time
            is only a lower bound.
    """

    time: Float[Array, ""]
    censored: Shaped[Array, ""]


class MedianInterval(NamedTuple):
    """Median of a sample with its distribution-free confidence interval.

    Args:
        median: median of the sample.
        low: lower end of the interval.
        high: upper end of the interval.
        coverage: probability that such an interval covers the median of the distribution.
    """

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
    """Returns the squared error at each lead.

    It is the mean or the sum over components of ((forecast - truth) / scale)^2.

    Args:
        forecast: forecast of one window.
        truth: true states at the same leads.
        norm: whether squared errors are averaged over the components or summed.
        scale: divides the errors; one number or one per component, such as the standard deviations.

    Returns:
        The squared error at each lead, in squared units of the state where scale is 1.

    Raises:
        InputError: for shapes that are not (lead, dim) or differ, or an unknown norm.

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
    """Measures how long a forecast stays valid: how long its error stays below a threshold.

    Count the leads from 0, and let k be the first whose error reaches the threshold. By default the
    valid time is k dt: dt times the number of leads before the first failure. NaN and infinity are
    failures. A forecast of n leads that never fails has k = n and is marked as censored. Use
    `jax.vmap` for several windows.

    Args:
        forecast: forecast of one window.
        truth: true states at the same leads.
        dt: interval between leads, in the system's time unit.
        threshold: in squared units of the state. The paper uses 40, for the mean over the
            components of its Lorenz '63 system. On other systems that value has no meaning; use
            0.175 times `saturation_error`.
        norm: whether squared errors are averaged over the components or summed.
        scale: divides the errors; one number or one per component, such as the standard deviations.
        lyapunov_exponent: per time unit; the result is then in Lyapunov times. By default it is in
            the unit of dt.
        convention: which lead's index, counted from 0, is multiplied by dt. "first_invalid" takes
            the first invalid lead, k. "last_valid" takes the last valid one, max(k - 1, 0), as the
            code behind the published tables does: one sample less for the same forecast. Use it
            where a value is compared with a published one.

    Returns:
        The valid time, and whether the forecast was still valid when the window ended.

    Raises:
        InputError: for shapes that are not (lead, dim) or differ, or an unknown norm or convention.

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
    """Returns the mean squared difference of two states far apart in time: twice the mean variance.

    A forecast whose error reaches it has no skill left.

    Args:
        states: a long trajectory of the system.

    Returns:
        The mean over components, in squared units of the state.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> float(jaxcast.saturation_error(jnp.asarray([[1.0], [-1.0]])))
        2.0
    """
    return 2 * states.var(0).mean()


def usual_threshold(states: Shaped[ArrayLike, "time dim"]) -> float:
    """Returns the usual threshold of a valid time: 0.175 times `saturation_error`.

    Args:
        states: a long trajectory of the system; NaN where it is not known. Components that are
            never known do not count.

    Returns:
        The threshold, 0 for states that are constant.
    """
    columns = np.asarray(states).T
    known = [values for column in columns if (values := column[~np.isnan(column)]).size]
    if not any(np.ptp(values) for values in known):
        return 0.0  # where rounding can leave a variance
    if sum(values.size for values in known) == columns.size:
        return VALID_SHARE * float(saturation_error(jnp.asarray(states)))
    return VALID_SHARE * float(np.mean([saturation_error(jnp.asarray(values)[:, None]) for values in known]))


def lost_share(squares: Float[Array, "..."], threshold: Scalar = 2 * VALID_SHARE) -> Float[Array, ""]:
    """Computes how much of the leads forecasts lose: the mean of e^2 / (e^2 + threshold).

    Like a valid time it is bounded, but it changes smoothly. What is not finite counts as 1.

    Args:
        squares: e^2, squared errors of windows and leads, means over components.
        threshold: at which a lead is half lost; the default is the usual threshold of errors in
            deviations of the state.
    """
    return jnp.mean(jnp.where(jnp.isfinite(squares), squares / (squares + threshold), 1))


@checked
def median_interval(values: Shaped[ArrayLike, " sample"], confidence: float = 0.95) -> MedianInterval:
    """Returns the median of a sample and its distribution-free interval from order statistics.

    The interval from the l-th to the u-th of the n sorted values (counted from 1) covers the median
    of a continuous distribution with probability sum_(k=l)^(u-1) C(n, k) / 2^n. Of the pairs that
    reach `confidence`, the one with the fewest ranks between them is taken; ties are decided by
    higher coverage, then by lower ranks. With fewer than six values no pair reaches 95 %; the range
    is then returned with its coverage.

    Args:
        values: the sample, such as the valid times of all windows.
        confidence: least coverage of the interval.

    Returns:
        The median, both ends of the interval, and its coverage.

    Raises:
        InputError: for an empty sample, NaN, or more than one axis.

    Source:
        Conover, Practical Nonparametric Statistics (1999), section 3.2.

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

"""Tests of whether the stretches before two moments look alike."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.distributions import StudentT

KPSS_QUANTILE = 0.463
"""The 95 % quantile of the KPSS statistic around a level."""


class Stretches(NamedTuple):
    """The first differences before each moment of a series, by their statistics.

    Args:
        is_stationary: whether the KPSS test does not reject stationarity around a level at 5 %; not
            where a value is missing, or before the series is long enough.
        mean: of the differences.
        variance: of the differences, unbiased.
    """

    is_stationary: Bool[Array, " time"]
    mean: Float[Array, " time"]
    variance: Float[Array, " time"]


def kpss_statistic(values: Float[Array, "*batch time"], num_lags: int) -> Float[Array, "*batch"]:
    """Computes the statistic of the KPSS test of stationarity around a level.

        eta = sum_t S_t^2 / (n^2 s^2),    S_t = sum_(i<=t) e_i,    e = x - mean(x)
        n s^2 = sum_t e_t^2 + 2 sum_(l=1..L) (1 - l / (L + 1)) sum_t e_t e_(t-l)

    Args:
        values: series.
        num_lags: L, lags of the variance.

    Returns:
        The statistic; 0 for a series that never changes.

    Source:
        Kwiatkowski, Phillips, Schmidt and Shin (1992), eq. 10 to 13.
    """
    size = values.shape[-1]
    off = values - values.mean(-1, keepdims=True)
    variance = jnp.sum(off**2, -1)
    for lag in range(1, num_lags + 1):
        variance += 2 * (1 - lag / (num_lags + 1)) * jnp.sum(off[..., lag:] * off[..., : size - lag], -1)
    sums = jnp.sum(jnp.cumsum(off, -1) ** 2, -1)
    return jnp.where(variance > 0, sums / (size * jnp.where(variance > 0, variance, 1)), 0)


def usual_lags(size: int) -> int:
    """Returns the usual number of lags of the KPSS test, 12 (n / 100)^(1/4) rounded up, at most n / 2.

    With n - 1 lags, the statistic is the same for all series.

    Args:
        size: n, the length of a series.
    """
    return min(math.ceil(12 * (size / 100) ** 0.25), size // 2)


@partial(jax.jit, static_argnames="length")
def stretches(values: Float[Array, " time"], *, length: int) -> Stretches:
    """Finds the statistics of the first differences of the stretch before each moment.

    Args:
        values: a series; NaN where one is missing.
        length: steps of a stretch, whose last one is that before the moment.

    Returns:
        The statistics of all moments.
    """
    size = length - 1
    rows = jnp.arange(len(values))[:, None] - length + jnp.arange(size)
    differences = jnp.diff(values)[jnp.clip(rows, 0, len(values) - 2)]
    known = (rows[:, 0] >= 0) & jnp.isfinite(differences).all(-1)
    differences = jnp.where(known[:, None], differences, 0)
    is_stationary = kpss_statistic(differences, usual_lags(size)) < KPSS_QUANTILE
    return Stretches(known & is_stationary, differences.mean(-1), differences.var(-1, ddof=1))


def t_statistic(mean: Array, variance: Array, count: Array, other: tuple[Array, Array, Array]) -> Array:
    """Returns the square of the t statistic of two samples of equal variance.

        t^2 = (m_1 - m_2)^2 / (s^2 (1 / n_1 + 1 / n_2))
        s^2 = ((n_1 - 1) s_1^2 + (n_2 - 1) s_2^2) / (n_1 + n_2 - 2)

    Args:
        mean: of the first sample.
        variance: of the first sample, unbiased.
        count: of the first sample.
        other: the same of the second.

    Returns:
        The square; 0 where both never change and are the same, infinite where they differ.
    """
    second, spread, number = other
    pooled = ((count - 1) * variance + (number - 1) * spread) / jnp.maximum(count + number - 2, 1)
    error = pooled * (1 / jnp.maximum(count, 1) + 1 / jnp.maximum(number, 1))
    difference = (mean - second) ** 2
    return jnp.where(difference > 0, difference / error, 0)


def t_quantiles(freedom: Float[Array, "*batch"], significance: float) -> Float[Array, "*batch"]:
    """Returns the values that |t| exceeds with a probability; infinite without degrees of freedom.

    Args:
        freedom: degrees of freedom.
        significance: the probability.
    """
    standard = StudentT(jnp.maximum(freedom, 1), 0.0, 1.0)
    return jnp.where(freedom > 0, -standard.quantiles(jnp.asarray([significance / 2]))[..., 0], jnp.inf)

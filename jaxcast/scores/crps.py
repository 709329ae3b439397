"""The continuous ranked probability score: closed forms, from samples and from quantiles."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.negative_binomial import NegativeBinomial
from jaxcast.distributions.normal import Normal
from jaxcast.distributions.poisson import Poisson
from jaxcast.distributions.student_t import StudentT
from jaxcast.errors import InputError
from jaxcast.precision import highest
from jaxcast.scores.quantiles import pinball_loss


@checked
def crps_normal(
    loc: Shaped[ArrayLike, "..."], scale: Shaped[ArrayLike, "..."], truth: Shaped[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """Returns the CRPS of normal distributions.

        CRPS = s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)),    z = (y - loc) / s

    Args:
        loc: the means.
        scale: the standard deviations s, positive.
        truth: observed values y; NaN where one is missing.

    Returns:
        The score of each value, in its unit; NaN for a missing one.

    Source:
        Gneiting, Raftery, Westveld and Goldman, Mon. Weather Rev. 133, 1098-1118 (2005).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.crps_normal(0.0, 1.0, 0.0)), 4)
        0.2337
    """
    return _distance_to_normal(jnp.asarray(truth) - loc, scale) - jnp.asarray(scale) / math.sqrt(math.pi)


@checked
def crps_student_t(
    df: Shaped[ArrayLike, "..."],
    loc: Shaped[ArrayLike, "..."],
    scale: Shaped[ArrayLike, "..."],
    truth: Shaped[ArrayLike, "..."],
) -> Float[Array, "..."]:
    """Returns the CRPS of Student's t distributions.

        CRPS = s (z (2 F(z) - 1) + 2 f(z) (df + z^2) / (df - 1)
                  - 2 sqrt(df) / (df - 1) B(1/2, df - 1/2) / B(1/2, df/2)^2),    z = (y - loc) / s

    with the density f and the distribution function F of the standard t distribution.

    Args:
        df: degrees of freedom, above 1; for others the score is infinite.
        loc: the medians.
        scale: the scales s, positive.
        truth: observed values y; NaN where one is missing.

    Returns:
        The score of each value, in its unit; NaN for a missing one.

    Source:
        Jordan, Krüger and Lerch, J. Stat. Softw. 90, 12 (2019).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.crps_student_t(5.0, 0.0, 1.0, 0.0)), 4)
        0.257
    """
    z = (jnp.asarray(truth) - loc) / scale
    df = jnp.asarray(df, z.dtype)
    standard, over = StudentT(df, 0.0, 1.0), jnp.where(df > 1, df, 2) - 1
    distance = z * (2 * standard.cdf(z) - 1) + 2 * jnp.exp(standard.log_prob(z)) * (df + z**2) / over
    betaln, half = jax.scipy.special.betaln, jnp.asarray(0.5, z.dtype)
    spread = 2 * jnp.sqrt(df) / over * jnp.exp(betaln(half, over + 0.5) - 2 * betaln(half, df / 2))
    return jnp.where(df > 1, scale * (distance - spread), jnp.where(jnp.isnan(z), jnp.nan, jnp.inf))


@checked
def crps_poisson(rate: Shaped[ArrayLike, "..."], truth: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Returns the CRPS of Poisson distributions.

        CRPS = (y - m) (2 F(y) - 1) + 2 m P(y) - m exp(-2 m) (I_0(2 m) + I_1(2 m))

    Args:
        rate: the means m, positive.
        truth: observed counts y; NaN where one is missing.

    Returns:
        The score of each count; NaN for a missing one.

    Source:
        Wei and Held, Test 23, 787-805 (2014).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.crps_poisson(4.0, 4.0)), 4)
        0.4526
    """
    rate, truth = jnp.asarray(rate), jnp.asarray(truth)
    poisson, count = Poisson(rate), jnp.floor(truth)
    probability = jnp.exp(poisson.log_prob(count))
    distance = (truth - rate) * (2 * poisson.cdf(truth) - 1) + 2 * rate * probability
    return distance - rate * (jax.scipy.special.i0e(2 * rate) + jax.scipy.special.i1e(2 * rate))


@checked
def crps_negative_binomial(
    rate: Shaped[ArrayLike, "..."], dispersion: Shaped[ArrayLike, "..."], truth: Shaped[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """Returns the CRPS of negative binomial distributions of mean m and dispersion a.

        CRPS = (y - m) (2 F(y) - 1) + 2 m (1 + a y) P(y) - E|X - X'| / 2
        E|X - X'| = (1 / pi) int_0^pi (1 - |phi(t)|^2) / (1 - cos t) dt

    with the characteristic function phi. Unlike the hypergeometric function that is usual for the
    expected difference of two draws, the integral is stable for any mean and dispersion.

    Args:
        rate: the means m, positive.
        dispersion: a, positive; the variance is m + a m^2.
        truth: observed counts y; NaN where one is missing.

    Returns:
        The score of each count; NaN for a missing one.

    Source:
        Wei and Held, Test 23, 787-805 (2014).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.crps_negative_binomial(4.0, 0.5, 4.0)), 4)
        0.8097
    """
    rate, dispersion, truth = jnp.broadcast_arrays(*map(jnp.asarray, (rate, dispersion, truth)))
    counts, count = NegativeBinomial(rate, dispersion), jnp.floor(truth)
    probability = jnp.exp(counts.log_prob(count))
    distance = (truth - rate) * (2 * counts.cdf(truth) - 1) + 2 * rate * (1 + dispersion * count) * probability
    return distance - _difference_of_counts(rate, dispersion) / 2


NODES_PER_UNIT = 4
"""Nodes of the trapezoid rule in units of ln t; its error falls as exp(-pi^2 times this)."""
NUM_UNITS = 40
"""What is cut off is below exp(-40) of the integral."""


def _difference_of_counts(rate: Array, dispersion: Array) -> Array:
    """Returns E|X - X'| of two draws, by the trapezoid rule in v = ln t - ln(pi - t)."""
    # |phi(t)|^2 = (1 + dispersion kappa sin(t / 2)^2)^(-1 / dispersion)
    kappa = 4 * rate * (1 + dispersion * rate)
    width = jnp.log(jnp.minimum(1 / jnp.sqrt(kappa), 1))
    low, high = width - NUM_UNITS, float(NUM_UNITS)
    num_nodes = 2 * NUM_UNITS * NODES_PER_UNIT
    step, tiny = (high - low) / num_nodes, jnp.finfo(width.dtype).tiny

    def added(total: Array, number: Array) -> tuple[Array, None]:
        v = low + number * step
        share = jax.nn.sigmoid(v)
        half = math.pi / 2 * share
        sine = jnp.sin(half) ** 2
        lost = -jnp.expm1(-jnp.log1p(dispersion * kappa * sine) / dispersion)
        # Where the sine is too small to divide by, the limit.
        slope = jnp.where(sine > tiny, lost / jnp.maximum(sine, tiny), kappa)
        return total + slope / 2 * math.pi * share * jax.nn.sigmoid(-v), None

    total, _ = jax.lax.scan(added, jnp.zeros_like(width), jnp.arange(num_nodes + 1, dtype=width.dtype))
    return total * step / math.pi


@checked
@highest
def crps_normal_mixture(
    loc: Shaped[ArrayLike, "*batch component"],
    scale: Shaped[ArrayLike, "*batch component"],
    weights: Shaped[ArrayLike, "*batch component"],
    truth: Shaped[ArrayLike, "*batch"],
) -> Float[Array, "*batch"]:
    """Returns the CRPS of mixtures of normal distributions.

        CRPS = sum_i w_i A(y - m_i, s_i) - sum_ij w_i w_j A(m_i - m_j, sqrt(s_i^2 + s_j^2)) / 2

    where A(d, s) = d (2 Phi(d / s) - 1) + 2 s phi(d / s) is the expected absolute value of a normal
    variable.

    Args:
        loc: mean m_i of each component.
        scale: standard deviation s_i of each component, positive.
        weights: share w_i of each component; they sum to 1.
        truth: observed values y; NaN where one is missing.

    Returns:
        The score of each value, in its unit; NaN for a missing one.

    Source:
        Grimit, Gneiting, Berrocal and Johnson, Q. J. R. Meteorol. Soc. 132, 2925-2942 (2006).

    Example:
        >>> import jaxcast
        >>> score = jaxcast.scores.crps_normal_mixture([-1.0, 1.0], [1.0, 1.0], [0.5, 0.5], 0.0)
        >>> round(float(score), 4)
        0.3594
    """
    loc, scale, weights = (jnp.asarray(a) for a in (loc, scale, weights))
    distance = (weights * _distance_to_normal(jnp.asarray(truth)[..., None] - loc, scale)).sum(-1)
    both = jnp.sqrt(scale[..., :, None] ** 2 + scale[..., None, :] ** 2)
    between = _distance_to_normal(loc[..., :, None] - loc[..., None, :], both)
    return distance - 0.5 * jnp.einsum("...i,...ij,...j->...", weights, between, weights)


def _distance_to_normal(difference: Array, scale: ArrayLike) -> Array:
    """Returns the expected absolute value of a normal variable of this mean and deviation."""
    z = difference / scale
    standard = Normal(0.0, 1.0)
    return jnp.asarray(scale) * (z * (2 * standard.cdf(z) - 1) + 2 * jnp.exp(standard.log_prob(z)))


@checked
def crps_samples(
    samples: Shaped[ArrayLike, " sample *batch"], truth: Shaped[ArrayLike, "*batch"], *, fair: bool = False
) -> Float[Array, "*batch"]:
    """Returns the CRPS of samples.

        CRPS = mean_i |x_i - y| - sum_ij |x_i - x_j| / (2 n^2)

    Args:
        samples: x, draws of each forecast; they need no order.
        truth: observed values y; NaN where one is missing.
        fair: whether to divide the second sum by 2 n (n - 1) instead. Then the expected score is
            that of the distribution that was drawn from, whatever the number of draws. By default
            it is that of the draws, as a forecast in their own right.

    Returns:
        The score of each value, in its unit; NaN for a missing one.

    Raises:
        InputError: for shapes that do not match, or a fair score of a single sample.

    Source:
        Ferro, Q. J. R. Meteorol. Soc. 140, 1917-1923 (2014).

    Example:
        >>> import jaxcast
        >>> float(jaxcast.scores.crps_samples([1.0, 3.0], 2.0)), float(jaxcast.scores.crps_samples([1.0, 3.0], 2.0, fair=True))
        (0.5, 0.0)
    """
    samples, truth = jnp.asarray(samples, float), jnp.asarray(truth, float)
    if samples.ndim == 0 or samples.shape[1:] != truth.shape:
        raise InputError(f"expected samples (sample, *batch) of truth {truth.shape}, got shape {samples.shape}")
    size = len(samples)
    check_fair(size, fair)
    # Sorted, the sum over all pairs is one over the samples.
    ranks = jnp.arange(1 - size, size, 2.0).reshape(-1, *[1] * truth.ndim)
    between = (ranks * jnp.sort(samples, axis=0)).sum(0) / (size * (size - fair))
    return jnp.abs(samples - truth).mean(0) - between


def check_fair(size: int, fair: bool) -> None:
    """Refuses a fair score of a single sample.

    Args:
        size: the number of samples.
        fair: whether the score is to be fair.

    Raises:
        InputError: where it cannot be.
    """
    if fair and size < 2:
        raise InputError("a fair score needs at least two samples, got one; draw more, or give fair=False")


@checked
def crps_quantiles(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
) -> Float[Array, "*batch"]:
    """Returns the CRPS that some quantiles stand for: twice their mean pinball loss.

    The CRPS is twice the integral of the pinball loss over all levels. With levels at the middles
    of n equal parts of (0, 1) this is the midpoint rule; of symmetric levels it is the weighted
    interval score.

    Args:
        forecast: quantiles of each task.
        truth: observed values; NaN where one is missing.
        levels: level of each quantile, increasing within (0, 1), evenly spaced for a close result.

    Returns:
        The score of each value, in its unit; NaN for a missing one.

    Raises:
        InputError: for shapes that do not match, or levels that do not increase within (0, 1).

    Source:
        Gneiting and Ranjan, J. Bus. Econ. Stat. 29, 411-422 (2011).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.crps_quantiles([1.0, 2.0, 4.0], 2.0, [0.25, 0.5, 0.75])), 3)
        0.5
    """
    return 2 * pinball_loss(forecast, truth, levels).mean(-1)

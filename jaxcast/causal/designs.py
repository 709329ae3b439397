"""Simulated data in which treatment and outcome share causes, and the true effect is known."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.types import Scalar


class ConfoundedSamples(NamedTuple):
    """Samples with a known effect.

    Args:
        outcome: Y.
        treatment: D.
        covariates: X.
        effect: theta.
    """

    outcome: Float[Array, " sample"]
    treatment: Float[Array, " sample"]
    covariates: Float[Array, "sample covariate"]
    effect: Scalar


@checked
def simulate_confounded(num_samples: int, *, effect: Scalar = 0.5, key: Key[Array, ""]) -> ConfoundedSamples:
    """Simulates independent samples in which one covariate drives treatment and outcome.

        X ~ N(0, S) in 20 dimensions, S_ij = 0.7^|i - j|
        D = X_1 + 0.25 sigmoid(X_3) + v,    Y = theta D + sigmoid(X_1) + 0.25 X_3 + e

    with v and e standard normal. Regression of Y on D alone finds about 0.67 for theta = 0.5.

    Args:
        num_samples: number of samples.
        effect: theta.
        key: random key.

    Returns:
        The samples.

    Raises:
        InputError: for fewer than one sample.

    Source:
        The design that the package DoubleML calls CCDDHNR2018, after Chernozhukov et al.,
        Econometrics Journal 21, C1-C68 (2018).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> data = jaxcast.causal.simulate_confounded(4000, key=jax.random.key(0))
        >>> covariance = jnp.cov(data.treatment, data.outcome)
        >>> bool(abs(covariance[0, 1] / covariance[0, 0] - 0.67) < 0.05)
        True
    """
    check_whole("num_samples", num_samples)
    return _confounded(num_samples, jnp.asarray(effect, float), key)


@partial(jax.jit, static_argnums=0)
def _confounded(num_samples: int, effect: Array, key: Array) -> ConfoundedSamples:
    noise_of_x, noise_of_d, noise_of_y = jax.random.split(key, 3)
    shocks = jax.random.normal(noise_of_x, (20, num_samples), effect.dtype)
    # Correlations of 0.7^|i - j| are those of a stationary autoregression from one covariate to the next.
    follow = lambda x, shock: (0.7 * x + jnp.sqrt(1 - 0.7**2) * shock,) * 2  # noqa: E731
    _, others = jax.lax.scan(follow, shocks[0], shocks[1:])
    x = jnp.concatenate([shocks[:1], others]).T
    treatment = x[:, 0] + jax.nn.sigmoid(x[:, 2]) / 4 + jax.random.normal(noise_of_d, (num_samples,), effect.dtype)
    base = jax.nn.sigmoid(x[:, 0]) + x[:, 2] / 4 + jax.random.normal(noise_of_y, (num_samples,), effect.dtype)
    return ConfoundedSamples(effect * treatment + base, treatment, x, effect)


@checked
def simulate_confounded_series(
    num_steps: int, *, effect: Scalar = 0.5, season: int = 24, key: Key[Array, ""]
) -> ConfoundedSamples:
    """Simulates a seasonal series that is treated more often after high values.

        y_t = sin(2 pi t / s) + 0.6 y_(t-1) + theta D_t + e_t
        D_t ~ Bernoulli(sigmoid(y_(t-1) + cos(2 pi t / s)))

    with e standard normal. The covariates are y_(t-1), sin(2 pi t / s) and cos(2 pi t / s). The
    means of treated and untreated steps differ by more than theta, as treatment follows high
    values and these persist.

    Args:
        num_steps: number of steps.
        effect: theta, of a treatment on the same step.
        season: s, in steps.
        key: random key.

    Returns:
        The samples in the order of time.

    Raises:
        InputError: for fewer than one step, or a season below 2.

    Source:
        Own design.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.causal.simulate_confounded_series(4000, key=jax.random.key(0))
        >>> means = [data.outcome[data.treatment == level].mean() for level in (0, 1)]
        >>> bool(means[1] - means[0] > 2 * data.effect)
        True
    """
    check_whole("num_steps", num_steps)
    check_whole("season", season, least=2)
    return _confounded_series(num_steps, season, jnp.asarray(effect, float), key)


@partial(jax.jit, static_argnums=(0, 1))
def _confounded_series(num_steps: int, season: int, effect: Array, key: Array) -> ConfoundedSamples:
    burn_in = 4 * season
    phase = 2 * jnp.pi * jnp.arange(-burn_in, num_steps) / season
    waves = jnp.stack([jnp.sin(phase), jnp.cos(phase)], -1).astype(effect.dtype)
    draws, noise = jax.random.split(key)
    uniform = jax.random.uniform(draws, (len(waves),), effect.dtype)
    shocks = jax.random.normal(noise, (len(waves),), effect.dtype)

    def step(last: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, tuple[Array, Array, Array]]:
        wave, draw, shock = inputs
        treated = (draw < jax.nn.sigmoid(last + wave[1])).astype(effect.dtype)
        value = wave[0] + 0.6 * last + effect * treated + shock
        return value, (value, treated, last)

    _, each = jax.lax.scan(step, jnp.zeros((), effect.dtype), (waves, uniform, shocks))
    outcome, treatment, last = (a[burn_in:] for a in each)
    return ConfoundedSamples(outcome, treatment, jnp.concatenate([last[:, None], waves[burn_in:]], -1), effect)

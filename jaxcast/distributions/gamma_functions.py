"""Gamma functions without the cancellation that float32 does not bear."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LARGE = 12.0
"""From here on, asymptotic series are exact to rounding."""
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
HALF_STEP = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224)


def _series(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Returns c_0 / x + c_1 / x^3 + c_2 / x^5 + ..."""
    inverse = 1 / x
    square, found = inverse**2, jnp.zeros_like(x)
    for coefficient in reversed(coefficients):
        found = found * square + coefficient
    return inverse * found


def stirling_error(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns ln Gamma(x + 1) - (x + 1/2) ln x + x - ln(2 pi) / 2.

    Args:
        x: positive numbers.
    """
    small = jnp.minimum(x, LARGE)
    direct = jax.scipy.special.gammaln(small + 1) - (small + 0.5) * jnp.log(small) + small - HALF_LOG_2PI
    return jnp.where(x < LARGE, direct, _series(jnp.maximum(x, LARGE), STIRLING))


def log_gamma_half_step(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns ln Gamma(x + 1/2) - ln Gamma(x) - ln(x) / 2.

    Args:
        x: positive numbers.
    """
    small, gammaln = jnp.minimum(x, LARGE), jax.scipy.special.gammaln
    direct = gammaln(small + 0.5) - gammaln(small) - 0.5 * jnp.log(small)
    return jnp.where(x < LARGE, direct, _series(jnp.maximum(x, LARGE), HALF_STEP))


def half_deviance(
    x: Float[Array, "..."], relative: Float[Array, "..."], ratio: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Returns x ln(x / m) + m - x, exactly wherever m is.

    Args:
        x: positive numbers.
        relative: (m - x) / x, which is exact where m is near x.
        ratio: m / x, positive, which is exact where m is far from x.

    Source:
        Loader, Fast and accurate computation of binomial probabilities (2000).
    """
    # Near 0 by the series of ln((1 + v) / (1 - v)), as the difference would cancel.
    near = jnp.abs(relative) < 0.2
    v = jnp.where(near, relative / (2 + relative), 0)
    series, square = jnp.zeros_like(v), v**2
    for k in reversed(range(8)):
        series = series * square + 1 / (2 * k + 3)
    return x * jnp.where(near, 2 * square * (1 / (1 - v) - v * series), relative - jnp.log(ratio))

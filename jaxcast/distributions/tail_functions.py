"""Tail probabilities that stay exact for large parameters, also in float32.

`jax.scipy.special` loses digits there: in float32 `gammaincc(1e6, 1e6)` and `betainc(1e6, 0.5, x)` have none.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.distributions.gamma_functions import half_deviance

CORRECTIONS = (
    (-1 / 3, 1 / 12, -2 / 135, 1 / 864, 1 / 2835, -139 / 777600, 1 / 25515),
    (-1 / 540, -1 / 288, 25 / 12096, -223 / 1088640),
    (25 / 6048, -139 / 51840, 101 / 311040),
)
"""Temme's series of the gamma distribution: by powers of 1 / a, and of eta."""


def _is_short(array: Array) -> bool:
    return bool(jnp.finfo(array.dtype).bits < 64)


def _deviance_of(x: Array, relative: Array) -> Array:
    """Returns the half deviance; far from the middle, where the tail is 0, it may be too small."""
    relative = jnp.maximum(relative, -1 + 1e-6)
    return half_deviance(x, relative, 1 + relative)


def upper_gamma(a: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns the probability that a gamma variable of shape a exceeds x.

    Args:
        a: positive numbers.
        x: numbers of at least 0.

    Source:
        Temme, SIAM J. Math. Anal. 10, 757-766 (1979), for large a.
    """
    a, x = jnp.broadcast_arrays(a, x)
    is_large = a > (200 if _is_short(a) else 1e5)
    direct = jax.scipy.special.gammaincc(jnp.where(is_large, 1, a), jnp.where(is_large, 1, x))
    a = jnp.where(is_large, a, 1e6)
    relative = jnp.where(is_large, (x - a) / a, 0)
    half = _deviance_of(a, relative)
    eta = jnp.sign(relative) * jnp.sqrt(jnp.maximum(2 * half / a, 1e-30))
    correction = jnp.zeros_like(eta)
    for series in reversed(CORRECTIONS):
        correction = correction / a + jnp.polyval(jnp.asarray(series[::-1], eta.dtype), eta)
    tail = jax.scipy.special.ndtr(-jnp.sign(eta) * jnp.sqrt(jnp.maximum(2 * half, 1e-30)))
    large = tail + jnp.exp(-half) / jnp.sqrt(2 * math.pi * a) * correction
    return jnp.where(is_large, jnp.clip(large, 0, 1), direct)


def lower_beta(a: Array, b: Array, x: Array, y: Array, excess: Array) -> Float[Array, "..."]:
    """Returns the probability that a beta variable lies below x.

    Args:
        a: the first parameter, positive.
        b: the second parameter, positive.
        x: within (0, 1).
        y: 1 - x.
        excess: b x - a y, which may be known better than by subtraction.

    Source:
        DLMF 8.18.9 where both parameters are large. Wise, Biometrika 37, 208-218 (1950), where one is.
    """
    a, b, x, y, excess = jnp.broadcast_arrays(a, b, x, y, excess)
    swapped = a > b
    a, b, x, y = (jnp.where(swapped, one, other) for one, other in ((b, a), (a, b), (y, x), (x, y)))
    excess = jnp.where(swapped, -excess, excess)
    largest, least = (300.0, 50.0) if _is_short(a) else (1e5, 1e3)
    is_direct, is_normal = b <= largest, a >= least
    direct = jax.scipy.special.betainc(*(jnp.where(is_direct, value, 0.5) for value in (a, b, x)))
    log_y = jnp.where(x < 0.5, jnp.log1p(-jnp.minimum(x, 0.5)), jnp.log(y))
    gamma = 1 - upper_gamma(jnp.where(is_normal, 1, a), -(b + (a - 1) / 2) * log_y)
    normal = _normal_beta(jnp.where(is_normal, a, 1.0), jnp.where(is_normal, b, 1.0), jnp.where(is_normal, excess, 0.1))
    found = jnp.where(is_direct, direct, jnp.where(is_normal, normal, gamma))
    return jnp.where(swapped, 1 - found, found)


def _normal_beta(a: Array, b: Array, excess: Array) -> Array:
    """Returns the leading terms of Temme's expansion, by sqrt(a + b) eta."""
    total = a + b
    half = _deviance_of(a, excess / a) + _deviance_of(b, -excess / b)
    score = jnp.sign(excess) * jnp.sqrt(jnp.maximum(2 * half, 1e-30))
    spread = jnp.sqrt(a / total * b)
    is_middle = jnp.abs(score) < 0.02
    apart = 1 / jnp.where(is_middle, 1, score) - spread / jnp.where(is_middle, 1, excess)
    correction = jnp.where(is_middle, (b - a) / total / (3 * spread), apart)
    return jnp.clip(jax.scipy.special.ndtr(score) + jnp.exp(-half) / math.sqrt(2 * math.pi) * correction, 0, 1)


def upper_student(z: Float[Array, "..."], df: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns the probability that Student's t exceeds z.

    Args:
        z: numbers of at least 0.
        df: degrees of freedom.

    Source:
        Hill, Commun. ACM 13, 617-619 (1970), for many degrees of freedom.
    """
    z, df = jnp.broadcast_arrays(z, df)
    is_large = df > (6 if _is_short(z) else 50)
    few: Any = jnp.where(is_large, 1, df)
    direct = 0.5 * jax.scipy.special.betainc(few / 2, jnp.full_like(z, 0.5), few / (few + z**2))
    many = jnp.where(is_large, df, 50)
    size = 48 * (many - 0.5) ** 2
    w = jnp.sqrt((many - 0.5) * jnp.log1p(jnp.maximum(z, 1e-15) ** 2 / many))
    square = w**2
    last = w * (4 * square**3 + 33 * square**2 + 240 * square + 855) / (10 * size * (size + 0.8 * square**2 + 100))
    score = w + w * (square + 3) / size - last
    return jnp.where(is_large, jax.scipy.special.ndtr(-score), direct)

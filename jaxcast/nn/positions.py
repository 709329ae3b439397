"""Encodings of positions in a sequence."""

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float


def sinusoidal_positions(num_steps: int, size: int, dtype: DTypeLike) -> Float[Array, "step size"]:
    """Returns sinusoidal encodings of positions, sines at even and cosines at odd components.

    Args:
        num_steps: how many positions.
        size: components of each.
        dtype: of the result.

    Source:
        Vaswani et al. (2017), section 3.5.
    """
    rates = 10000.0 ** (-2 * jnp.arange((size + 1) // 2) / size)
    angles = jnp.arange(num_steps)[:, None] * rates
    both = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
    return both.reshape(num_steps, -1)[:, :size].astype(dtype)

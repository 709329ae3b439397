"""Shapes of distributions: parameters beside levels and samples."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def sample_shape(first: tuple[int, ...], *parameters: Any) -> tuple[int, ...]:
    """Returns the shape of samples: some axes in front of the batch.

    Args:
        first: the sizes of these axes.
        parameters: of the distributions, which broadcast against each other.
    """
    return first + jnp.broadcast_shapes(*map(jnp.shape, parameters))


def at_levels(levels: Any, *parameters: Any) -> tuple[Array, ...]:
    """Returns levels, in the precision of the parameters, and these with a last axis of size 1.

    Args:
        levels: (level).
        parameters: of the distributions.
    """
    dtype = jnp.result_type(*parameters, jnp.float32)
    return jnp.asarray(levels, dtype), *(jnp.expand_dims(jnp.asarray(a, dtype), -1) for a in parameters)

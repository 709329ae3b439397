"""What the kernels of both platforms share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array


class Steps(NamedTuple):
    """An array with a part for each step.

    Args:
        array: (batch, time, parts * hidden), or time first; of outputs only its shape matters.
        time_first: which of them.
    """

    array: Any
    time_first: bool


def varying_like(a: Array, shape: tuple[int, ...]) -> Any:
    """Returns what stands for an array of another shape that varies over the same devices under `jax.shard_map`."""
    return jax.eval_shape(lambda a: jnp.zeros_like(a, shape=shape), a)

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
    """Returns what stands for an array of another shape; under `jax.shard_map` it varies over the same devices.

    Args:
        a: the array.
        shape: the other one.
    """
    return jax.eval_shape(lambda a: jnp.zeros_like(a, shape=shape), a)

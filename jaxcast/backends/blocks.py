"""Computes part after part on a CPU, whose caches hold one at a time, and all at once elsewhere."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

Result = TypeVar("Result")


def map_chunks(function: Callable[[Any], Result], chunks: Any) -> Result:
    """Computes function(chunk) for each chunk; on a CPU one after the other, elsewhere at once.

    Args:
        function: of one chunk.
        chunks: a tree of arrays with a leading axis of chunks, each of which fits a CPU's cache.

    Returns:
        The results, stacked.
    """
    result: Result = jax.lax.platform_dependent(chunks, cpu=partial(jax.lax.map, function), default=jax.vmap(function))
    return result


def in_blocks(function: Callable[[Array, int | Array], Array], values: Array, *, size: int, axis: int = 0) -> Array:
    """Computes function(values, 0); on a CPU of blocks along an axis, which stay in a core's cache.

    A network of many windows spends its time on writing and reading what lies between its layers.
    The derivative computes that of a block anew, so little of it is kept.

    Args:
        function: of a block and its number, which makes random numbers differ from block to block.
            What it returns has the axis, too, and depends along it on the same entries only.
        values: of all blocks.
        size: entries of a block, at most.
        axis: along which blocks are cut.

    Returns:
        The result.
    """
    length = values.shape[axis]
    num_blocks = -(-length // size)
    if length < 2 * size:
        return function(values, 0)

    def one_by_one(values: Array) -> Array:
        each = -(-length // num_blocks)
        more = [(0, num_blocks * each - length if n == axis else 0) for n in range(values.ndim)]
        # The same entry over again: zeros could have no derivative.
        rows = jnp.moveaxis(jnp.pad(values, more, mode="edge"), axis, 0)
        blocks = jnp.moveaxis(rows.reshape(num_blocks, each, *rows.shape[1:]), 1, axis + 1)
        found = jax.lax.map(
            jax.checkpoint(lambda block: function(*block), prevent_cse=False), (blocks, jnp.arange(num_blocks))
        )
        rows = jnp.moveaxis(found, axis + 1, 1)
        return jnp.moveaxis(rows.reshape(-1, *rows.shape[2:])[:length], 0, axis)

    result: Array = jax.lax.platform_dependent(values, cpu=one_by_one, default=lambda values: function(values, 0))
    return result

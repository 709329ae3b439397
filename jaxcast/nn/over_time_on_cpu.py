"""How a CPU runs a recurrent layer over time, forward and backward: `over_time` says why."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from jaxcast.nn.equations import Equations, Weights, gradients, select

_BLOCK_BYTES = 2**20
"""Of the gates of a block at one step, on a CPU: the caches hold it, and two cores can still share it."""
_LEAST_BLOCK = 128
"""Sequences of a block; with fewer, the weights are read too often."""


def _block_size(weights: Weights, batch: int) -> int:
    """Returns how many sequences are run at once; all of them, unless they fill two blocks."""
    most = max(_LEAST_BLOCK, _BLOCK_BYTES // (weights.recurrent.shape[1] * weights.recurrent.dtype.itemsize))
    return batch if batch < 2 * most else -(-batch // -(-batch // most))


def forward_on_cpu(
    weights: Weights, carry: Any, xs: Array, mask: Array | None, *, equations: Equations, save: bool
) -> tuple[Any, Any]:
    """Runs a layer forward, in blocks of sequences where there are many.

    Args:
        weights: of the layer.
        carry: before the first step.
        xs: the inputs, (batch, time, in).
        mask: which steps exist, (batch, time); None for all.
        equations: of the layer.
        save: whether a backward pass follows.

    Returns:
        The carry after the last step and the outputs; and, time first, the carry before each step
        and the gates, or None if nothing is saved. Blocks leave the gates at zero.
    """
    size, inputs = _block_size(weights, len(xs)), (carry, xs, mask)
    if size == len(xs):
        return forward_of_block(weights, *inputs, equations=equations, save=save)

    def block(n: Array, results: Any) -> Any:
        outputs, before = results
        first = jnp.minimum(n * size, len(xs) - size)  # the last block repeats sequences of the one before
        found, saved = forward_of_block(weights, *_rows(inputs, first, size), equations=equations, save=save)
        return _with_rows(outputs, found, first), _with_rows(before, saved[0], first, axis=1) if save else None

    outputs, saved = jax.eval_shape(partial(forward_of_block, equations=equations, save=save), weights, *inputs)
    before, gates = zeros(saved) if save else (None, None)
    outputs, before = jax.lax.fori_loop(0, -(-len(xs) // size), block, (zeros(outputs), before))
    # XLA leaves out `before`, too, where nothing but the backward pass of a CPU reads it.
    return outputs, (before, gates) if save else None


def _rows(arrays: Any, first: Array, size: int) -> Any:
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, size), arrays)


def _with_rows(arrays: Any, rows: Any, first: Array, axis: int = 0) -> Any:
    return jax.tree.map(lambda a, part: jax.lax.dynamic_update_slice_in_dim(a, part, first, axis), arrays, rows)


def zeros(shapes: Any) -> Any:
    """Returns zeros of these shapes and types.

    Args:
        shapes: a tree of arrays, or of what stands for them.
    """
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)


def forward_of_block(
    weights: Weights, carry: Any, xs: Array, mask: Array | None, *, equations: Equations, save: bool
) -> tuple[Any, Any]:
    """Runs a layer forward over some sequences.

    Args:
        weights: of the layer.
        carry: before the first step.
        xs: the inputs, (batch, time, in).
        mask: which steps exist, (batch, time); None for all.
        equations: of the layer.
        save: whether a backward pass follows.

    Returns:
        As `forward_on_cpu`, with all gates.
    """
    batch, num_steps, _ = xs.shape

    # Inputs and outputs keep the batch first and are indexed at their second axis: a scan over time
    # takes and gives time first, and to transpose whole sequences costs more.
    def step(state: tuple[Any, Array], n: Array) -> tuple[Any, Any]:
        before, hs = state
        carry, h, gates = equations.forward(weights, before, _at(xs, n) @ weights.input)
        carry, h = _where(mask, n, (carry, h), (before, jnp.zeros_like(h)))
        hs = jax.lax.dynamic_update_index_in_dim(hs, h, n, 1)
        return (carry, hs), (before, gates) if save else None

    hs = jnp.zeros((batch, num_steps, len(weights.recurrent)), xs.dtype)
    return jax.lax.scan(step, (carry, hs), jnp.arange(num_steps))


def backward_on_cpu(residuals: Any, cotangents: Any, *, equations: Equations) -> tuple[Weights, Any, Array]:
    """Runs a layer backward, in blocks of sequences where there are many.

    Args:
        residuals: weights, (carry, xs), mask and what the forward pass saved.
        cotangents: of the carry after the last step and of the outputs.
        equations: of the layer.

    Returns:
        The cotangents of the weights, of the carry before the first step and of the inputs.
    """
    weights, (carry, xs), mask, saved = residuals
    size = _block_size(weights, len(xs))
    if size == len(xs):
        d_carry, d_products = backward_of_block(weights, mask, saved, cotangents, equations=equations)
        return gradients(equations, weights, xs, saved, d_carry, d_products)
    num_blocks = -(-len(xs) // size)

    def block(n: Array, sums: Any) -> Any:
        d_weights, *of_rows = sums
        # The last block comes first. Of the sequences that it shares with the next one it knows nothing: their
        # cotangents are zero, and what it writes is written again.
        n = num_blocks - 1 - n
        first = jnp.minimum(n * size, len(xs) - size)
        some_carry, some_xs, some_mask, cotangents_here = _rows((carry, xs, mask, cotangents), first, size)
        own = first + jnp.arange(size) >= n * size
        cotangents_here = select(own, cotangents_here, jax.tree.map(jnp.zeros_like, cotangents_here))
        _, saved = forward_of_block(weights, some_carry, some_xs, some_mask, equations=equations, save=True)
        d_carry, d_products = backward_of_block(weights, some_mask, saved, cotangents_here, equations=equations)
        more, *found = gradients(equations, weights, some_xs, saved, d_carry, d_products)
        return jax.tree.map(jnp.add, d_weights, more), *_with_rows(of_rows, found, first)

    return jax.lax.fori_loop(0, num_blocks, block, zeros((weights, carry, xs)))


def backward_of_block(
    weights: Weights, mask: Array | None, saved: Any, cotangents: Any, *, equations: Equations
) -> tuple[Any, Any]:
    """Passes cotangents through all steps, from the last one on.

    Args:
        weights: of the layer.
        mask: which steps exist, (batch, time); None for all.
        saved: by the forward pass, time first.
        cotangents: of the carry after the last step and of the outputs.
        equations: of the layer.

    Returns:
        The cotangents of the carry before the first step, and of the products with the weights,
        time first.
    """
    d_carry, d_hs = cotangents

    def step(d_carry: Any, at: tuple[Array, Any]) -> tuple[Any, Any]:
        n, saved = at
        before, d_products = equations.backward(weights, saved, d_carry, _at(d_hs, n))
        return _where(mask, n, (before, d_products), (d_carry, jax.tree.map(jnp.zeros_like, d_products)))

    return jax.lax.scan(step, d_carry, (jnp.arange(d_hs.shape[1]), saved), reverse=True)


def _at(sequences: Shaped[Array, "batch time ..."], n: Array) -> Shaped[Array, "batch ..."]:
    return jax.lax.dynamic_index_in_dim(sequences, n, 1, keepdims=False)


def _where(mask: Array | None, n: Array, inside: Any, outside: Any) -> Any:
    """Selects `inside` where step n exists, else `outside`."""
    return select(None if mask is None else _at(mask, n), inside, outside)

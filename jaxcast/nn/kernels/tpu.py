"""A loop over time in one kernel of a TPU, which Mosaic compiles."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.nn.kernels.steps import Steps, varying_like

MOST_UNITS = 256
"""The most hidden units: the weights of all gates must fit the vector memory."""
_MOST_ROWS = 128
"""The most sequences of one block."""
_MOST_NUMBERS = 2**20
"""The most numbers of inputs and outputs in vector memory at once; the next ones are read meanwhile."""


def scan_on_tpu(
    step: Callable[..., tuple[list[Array], list[Array]]],
    recurrent: Array,
    recurrent_bias: Array | None,
    carry: Sequence[Array],
    inputs: Sequence[Steps],
    exists: Array | None,
    outputs: Sequence[Steps],
    *,
    backward: bool = False,
    interpret: bool = False,
) -> tuple[list[Array], list[Array]]:
    """Takes all steps of a recurrent layer in one kernel.

    The grid of a TPU runs in order: the carry stays in vector memory from one chunk of steps to the next.

    Args:
        step: as for `scan_on_gpu`, like all of these.
        recurrent: weights (hidden, gates * hidden).
        recurrent_bias: (hidden,), or None.
        carry: before the first step, (batch, hidden) each.
        inputs: of all steps.
        exists: (batch, time), which steps exist; or None.
        outputs: what they are like.
        backward: whether to go from the last step to the first.
        interpret: whether to run the kernel on a CPU, for a test.

    Returns:
        The carry after the last step, and the outputs.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    batch, hidden = carry[0].shape
    parts = [part for of in inputs for part in _parts(of, hidden)]
    num_steps, rows = len(parts[0]), min(batch, _MOST_ROWS)
    num_parts = [of.array.shape[-1] // hidden for of in outputs]
    numbers_of_step = rows * max(hidden, 128) * (len(parts) + sum(num_parts))
    chunk = max(1, min(num_steps, _MOST_NUMBERS // numbers_of_step))
    num_chunks = -(-num_steps // chunk)

    def kernel(gates: Any, bias: Any, carry: Any, refs: Any, exists: Any, last: Any, outs: Any, carried: Any) -> None:
        @pl.when(pl.program_id(1) == 0)
        def _() -> None:
            for ref, start in zip(carried, carry, strict=True):
                ref[...] = start[...]

        def product(a: Any, k: int) -> Any:
            return jax.lax.dot_general(a, gates[k][...], (((1,), (1 if backward else 0,)), ((), ())))

        size = jnp.minimum(chunk, num_steps - chunk_of(pl.program_id(1)) * chunk)
        of_past = None if bias is None else bias[...]

        def one_step(n: Any, carry: list[Any]) -> list[Any]:
            time = size - 1 - n if backward else n
            here = None if exists is None else exists[time] > 0
            carry, results = step(product, of_past, carry, [ref[time] for ref in refs], here)
            for ref, result in zip(outs, results, strict=True):
                ref[time] = result
            return carry

        end = jax.lax.fori_loop(0, size, one_step, [ref[...] for ref in carried])
        for ref, out, one in zip(carried, last, end, strict=True):
            ref[...] = out[...] = one

    def chunk_of(j: Any) -> Any:
        return num_chunks - 1 - j if backward else j

    def whole(*shape: int) -> Any:
        return pl.BlockSpec(shape, lambda i, j: (0,) * len(shape))

    block = pl.BlockSpec((rows, hidden), lambda i, j: (i, 0))
    sequence = partial(pl.BlockSpec, index_map=lambda i, j: (chunk_of(j), i, 0))
    part = sequence((chunk, rows, hidden))
    bias = None if recurrent_bias is None else recurrent_bias[None]
    here = None if exists is None else exists.T[..., None].astype(recurrent.dtype)
    num_gates = recurrent.shape[1] // hidden
    with jax.enable_x64(False):  # a TPU counts with 32 bits
        last, outs = pl.pallas_call(
            kernel,
            grid=(-(-batch // rows), num_chunks),
            in_specs=(
                [whole(hidden, hidden)] * num_gates,
                None if bias is None else whole(1, hidden),
                [block] * len(carry),
                [part] * len(parts),
                None if here is None else sequence((chunk, rows, 1)),
            ),
            out_specs=([block] * len(carry), [part] * sum(num_parts)),
            out_shape=(
                [varying_like(parts[0], one.shape) for one in carry],
                [varying_like(parts[0], parts[0].shape)] * sum(num_parts),
            ),
            scratch_shapes=[[pltpu.VMEM((rows, hidden), recurrent.dtype)] * len(carry)],
            interpret=interpret,
            name="jaxcast_recurrent",
        )(jnp.split(recurrent, num_gates, -1), bias, list(carry), parts, here)
    left = iter(outs)
    joined = [jnp.concatenate([next(left) for _ in range(num)], -1) for num in num_parts]
    return last, [one if of.time_first else jnp.swapaxes(one, 0, 1) for one, of in zip(joined, outputs, strict=True)]


def _parts(of: Steps, hidden: int) -> list[Array]:
    array = of.array if of.time_first else jnp.swapaxes(of.array, 0, 1)
    return jnp.split(array, array.shape[-1] // hidden, -1)

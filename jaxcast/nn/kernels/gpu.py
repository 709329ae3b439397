"""A loop over time in one kernel of a GPU, which Triton compiles."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.nn.kernels.steps import Steps, varying_like

MOST_UNITS = 128
"""The most hidden units: the weights of a gate must fit shared memory."""
MOST_UNITS_PRECISELY = 64
"""The same for products in full precision, which need more registers, and for the weights of all gates at once."""
_ROWS = 16
"""Sequences of one block: the fewest that a product of tensor cores takes."""


def scan_on_gpu(
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

    Args:
        step: (product, recurrent_bias, carry, inputs, here) -> (carry, outputs), with lists of blocks
            (sequences, units), one for each part of an array; here tells which sequences have the step, or is None.
            product(a, k) multiplies a block with the recurrent weights of gate k; if backward, transposed.
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
    from jax.experimental import pallas as pl  # a third of a second, which only a GPU pays
    from jax.experimental.pallas import triton

    batch, hidden = carry[0].shape
    num_steps = inputs[0].array.shape[0 if inputs[0].time_first else 1]
    num_gates, width = recurrent.shape[1] // hidden, max(_ROWS, pl.next_power_of_2(hidden))

    def kernel(matrix: Any, bias: Any, carry: Any, refs: Any, exists: Any, last: Any, out_refs: Any) -> None:
        rows = (pl.program_id(0) * _ROWS + jnp.arange(_ROWS, dtype=jnp.int32))[:, None]
        units = jnp.arange(width, dtype=jnp.int32)
        across, down = units[None], units[:, None]
        inside = (rows < batch) & (across < hidden)

        def part(ref: Any, k: int, *index: Any) -> Any:
            return ref.at[(*index, k * hidden + across)]

        def parts(ref: Any, mask: Any, *index: Any) -> list[Any]:
            loaded = range(ref.shape[-1] // hidden)
            return [triton.load(part(ref, k, *index), mask=mask, other=0.0) for k in loaded]

        def weights(k: int) -> Any:
            index = (across, k * hidden + down) if backward else (k * hidden + across, down)
            return triton.load(matrix.at[index], mask=(across < hidden) & (down < hidden), other=0.0)

        held = [weights(k) for k in range(num_gates)] if width <= MOST_UNITS_PRECISELY else []

        def product(a: Any, k: int) -> Any:
            return jnp.dot(a, held[k] if held else weights(k))

        bias_block = None if bias is None else parts(bias, across < hidden, 0)[0]

        def one_step(n: Any, carried: list[Any]) -> list[Any]:
            time = num_steps - 1 - n if backward else n
            indices = {True: (time, rows), False: (rows, time)}
            at = [
                one for ref, of in zip(refs, inputs, strict=True) for one in parts(ref, inside, *indices[of.time_first])
            ]
            here = None if exists is None else triton.load(exists.at[rows, time], mask=rows < batch, other=False)
            carried, results = step(product, bias_block, carried, at, here)
            left = iter(results)
            for ref, of in zip(out_refs, outputs, strict=True):
                for k in range(ref.shape[-1] // hidden):
                    triton.store(part(ref, k, *indices[of.time_first]), next(left), mask=inside)
            return carried

        carried = [parts(ref, inside, rows)[0] for ref in carry]
        for ref, one in zip(last, jax.lax.fori_loop(np.int32(0), np.int32(num_steps), one_step, carried), strict=True):
            triton.store(part(ref, 0, rows), one, mask=inside)

    # The terms of a sum have to lie side by side: tensor cores then load several at once.
    matrix = recurrent if backward else recurrent.T
    bias = None if recurrent_bias is None else recurrent_bias[None]

    like = partial(varying_like, inputs[0].array)
    result: tuple[list[Array], list[Array]] = pl.pallas_call(
        kernel,
        grid=(-(-batch // _ROWS),),
        out_shape=([like(one.shape) for one in carry], [like(of.array.shape) for of in outputs]),
        compiler_params=triton.CompilerParams(num_warps=min(8, width // 8), num_stages=1),
        interpret=interpret,
        name="jaxcast_recurrent",
    )(matrix, bias, list(carry), [of.array for of in inputs], exists)
    return result

"""The kernel of a TPU, which Mosaic compiles: a block of states stays in its vector memory."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.dynamics.kernels.steps import (
    KernelStep,
    advance_all,
    as_lanes,
    enter_steps,
    filled,
    make_kernel_step,
    state_of,
)
from jaxcast.dynamics.noise import AnySystem
from jaxcast.dynamics.plan import SolvePlan

_LANES = 128
_MOST_STEPS = 1024
"""The most steps whose values of schedules are in scalar memory at once."""
_MOST_SCALARS = 2**16
"""The most numbers in scalar memory."""


def solve_on_tpu(
    plan: SolvePlan, system: AnySystem, is_own: Any, u0: Array, t0: Any, h: Any, *, interpret: bool = False
) -> Array:
    """Simulates many states in one kernel of a TPU; a transient is another one.

    Args:
        plan: the numbers of steps.
        system: shared numbers, and arrays with a number for each state.
        is_own: which leaves of the system have a number for each state.
        u0: the states (n, dim).
        t0: one time, or one for each state.
        h: the step.
        interpret: whether to run the kernel on a CPU, step by step, for a test.

    Returns:
        The states (n, time, dim), or the last ones (n, dim).

    Raises:
        NotImplementedError: for a step that is not made of operations on single numbers, and for
            other dtypes than float32.
    """
    if u0.dtype != jnp.float32:
        raise NotImplementedError("other dtypes than float32")
    kernel_step = partial(make_kernel_step, plan.solver, system, is_own)
    if plan.num_samples is None:
        return _on_tpu(kernel_step(u0, t0, h, range(plan.num_substeps)), u0, _in_chunks(plan.num_substeps), interpret)
    if plan.num_transient:
        before = kernel_step(u0, t0, h, range(-plan.num_transient, 0))
        u0 = _on_tpu(before, u0, _in_chunks(plan.num_transient), interpret)
    chunks = range(0, (plan.num_samples - 1) * plan.num_substeps, plan.num_substeps)
    if not chunks:
        return u0[:, None]
    return _on_tpu(kernel_step(u0, t0, h, range(chunks.stop)), u0, chunks, interpret, records=True)


def _in_chunks(num_steps: int) -> range:
    """Returns the numbers of the steps with which chunks of about equal length begin."""
    num_chunks = -(-num_steps // _MOST_STEPS)
    return range(0, num_steps, -(-num_steps // num_chunks))


def _on_tpu(kernel_step: KernelStep, u0: Array, chunks: range, interpret: bool, *, records: bool = False) -> Array:
    """Takes the steps in chunks; returns the last states, or those at first and after each chunk.

    The grid of a TPU runs in order: a block of states stays in memory from one chunk to the next.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    if chunks.step * sum(leaf.shape[1] for leaf in kernel_step.scheduled) > _MOST_SCALARS:
        raise NotImplementedError("too many values of schedules between two samples")
    n, dim = u0.shape
    rows = 32 if dim <= 4 and n > 8 * _LANES else 8
    num_blocks, num_chunks = -(-n // (rows * _LANES)), len(chunks) + records

    def in_rows(leaf: Array) -> Array:
        padding = ((0, 0), (0, num_blocks * rows * _LANES - n))
        return jnp.pad(leaf.reshape(n, -1).T, padding, mode="edge").reshape(-1, num_blocks * rows, _LANES)

    def table(leaf: Array) -> Array:
        missing = len(chunks) * chunks.step - len(leaf)
        return jnp.pad(leaf, ((chunks.step * records, missing), (0, 0))).reshape(num_chunks, 1, -1)

    vectors = [in_rows(leaf) for leaf in (u0, *kernel_step.own)]
    scheduled = [table(leaf) for leaf in kernel_step.scheduled]
    block = partial(pl.BlockSpec, index_map=lambda i, j: (0, i, 0))
    row = partial(pl.BlockSpec, index_map=lambda i, j: (j, 0, 0), memory_space=pltpu.SMEM)
    sample = pl.BlockSpec((None, dim, rows, _LANES), lambda i, j: (j, 0, i, 0))
    shape = (*((num_chunks,) if records else ()), dim, num_blocks * rows, _LANES)
    call = pl.pallas_call(
        partial(_kernel, kernel_step, chunks, records, (rows, _LANES)),
        grid=(num_blocks, num_chunks),
        in_specs=[
            *[block((len(leaf), rows, _LANES)) for leaf in vectors],
            *[pl.BlockSpec(memory_space=pltpu.SMEM) for _ in kernel_step.shared],
            *[row((None, 1, leaf.shape[-1])) for leaf in scheduled],
        ],
        out_specs=sample if records else block((dim, rows, _LANES)),
        out_shape=jax.eval_shape(lambda u: jnp.zeros_like(u, shape=shape), u0),
        scratch_shapes=[pltpu.VMEM((sum(aval.size for aval in kernel_step.enter.out_avals), rows, _LANES), u0.dtype)],
        interpret=interpret,
        name="jaxcast_ensemble",
    )
    with jax.enable_x64(False):  # a TPU counts with 32 bits
        states = call(*vectors, *[leaf.reshape(-1) for leaf in kernel_step.shared], *scheduled)
    return jnp.moveaxis(states.reshape(*shape[:-2], -1)[..., :n], -1, 0)


def _kernel(kernel_step: KernelStep, chunks: range, records: bool, lanes: tuple[int, int], u0: Any, *refs: Any) -> None:
    """Takes the steps of one chunk with the states of one block."""
    from jax.experimental import pallas as pl

    *inputs, out, carried = refs
    num_own, num_shared = len(kernel_step.own), len(kernel_step.shared)
    shared_refs, scheduled = inputs[num_own:][:num_shared], inputs[num_own + num_shared :]
    own = [_rows(ref, leaf.shape[1:]) for ref, leaf in zip(inputs[:num_own], kernel_step.own, strict=True)]
    shared = [_rows(ref, leaf.shape) for ref, leaf in zip(shared_refs, kernel_step.shared, strict=True)]
    chunk = pl.program_id(1)
    start = (chunk - int(records)) * chunks.step

    @pl.when(chunk == 0)
    def _() -> None:
        for i, number in enumerate(enter_steps(kernel_step, own, shared, _rows(u0, (len(u0),)), lanes)):
            carried[i] = number

    def values(number: Any) -> list[Any]:
        sizes = [leaf.shape[1] for leaf in kernel_step.scheduled]
        return [
            filled((size,), lambda index, ref=ref, size=size: ref[0, (number - start) * size + index[0]])
            for ref, size in zip(scheduled, sizes, strict=True)
        ]

    num_steps: Any = chunks.step
    if records:
        num_steps = jnp.where(chunk == 0, 0, chunks.step)
    elif len(chunks) * chunks.step > chunks.stop:
        num_steps = jnp.minimum(chunks.step, chunks.stop - start)
    numbers = [carried[i] for i in range(len(carried))]
    numbers = advance_all(kernel_step, own, shared, values, lanes, numbers, start, num_steps)
    for i, number in enumerate(numbers):
        carried[i] = number
    for i, component in enumerate(state_of(kernel_step, numbers)):
        out[i] = as_lanes(component, lanes, out.dtype)


def _rows(ref: Any, shape: tuple[int, ...]) -> Any:
    """Returns the components of an array, whose numbers lie one after the other."""
    order = iter(range(len(ref)))
    return filled(shape, lambda _: ref[next(order)])

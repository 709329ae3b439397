"""The kernel of a TPU, which Mosaic compiles: a block of states stays in its vector memory."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.dynamics.kernels.steps import Problem, advance_all, as_lanes, enter_steps, filled, make_problem, state_of
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
    problem = partial(make_problem, plan.solver, system, is_own)
    if plan.num_samples is None:
        return _on_tpu(problem(u0, t0, h, range(plan.num_substeps)), u0, _in_chunks(plan.num_substeps), interpret)
    if plan.num_transient:
        before = problem(u0, t0, h, range(-plan.num_transient, 0))
        u0 = _on_tpu(before, u0, _in_chunks(plan.num_transient), interpret)
    chunks = range(0, (plan.num_samples - 1) * plan.num_substeps, plan.num_substeps)
    if not chunks:
        return u0[:, None]
    return _on_tpu(problem(u0, t0, h, range(chunks.stop)), u0, chunks, interpret, records=True)


def _in_chunks(num_steps: int) -> range:
    """Returns the numbers of the steps with which chunks of about equal length begin."""
    num_chunks = -(-num_steps // _MOST_STEPS)
    return range(0, num_steps, -(-num_steps // num_chunks))


def _on_tpu(problem: Problem, u0: Array, chunks: range, interpret: bool, *, records: bool = False) -> Array:
    """Takes the steps in chunks; returns the last states, or those at first and after each chunk.

    The grid of a TPU runs in order: a block of states stays in memory from one chunk to the next.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    if chunks.step * sum(leaf.shape[1] for leaf in problem.known) > _MOST_SCALARS:
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

    vectors = [in_rows(leaf) for leaf in (u0, *problem.own)]
    known = [table(leaf) for leaf in problem.known]
    block = partial(pl.BlockSpec, index_map=lambda i, j: (0, i, 0))
    row = partial(pl.BlockSpec, index_map=lambda i, j: (j, 0, 0), memory_space=pltpu.SMEM)
    sample = pl.BlockSpec((None, dim, rows, _LANES), lambda i, j: (j, 0, i, 0))
    shape = (*((num_chunks,) if records else ()), dim, num_blocks * rows, _LANES)
    call = pl.pallas_call(
        partial(_kernel, problem, chunks, records, (rows, _LANES)),
        grid=(num_blocks, num_chunks),
        in_specs=[
            *[block((len(leaf), rows, _LANES)) for leaf in vectors],
            *[pl.BlockSpec(memory_space=pltpu.SMEM) for _ in problem.shared],
            *[row((None, 1, leaf.shape[-1])) for leaf in known],
        ],
        out_specs=sample if records else block((dim, rows, _LANES)),
        out_shape=jax.eval_shape(lambda u: jnp.zeros_like(u, shape=shape), u0),
        scratch_shapes=[pltpu.VMEM((sum(aval.size for aval in problem.enter.out_avals), rows, _LANES), u0.dtype)],
        interpret=interpret,
        name="jaxcast_ensemble",
    )
    with jax.enable_x64(False):  # a TPU counts with 32 bits
        states = call(*vectors, *[leaf.reshape(-1) for leaf in problem.shared], *known)
    return jnp.moveaxis(states.reshape(*shape[:-2], -1)[..., :n], -1, 0)


def _kernel(problem: Problem, chunks: range, records: bool, lanes: tuple[int, int], u0: Any, *refs: Any) -> None:
    """Takes the steps of one chunk with the states of one block."""
    from jax.experimental import pallas as pl

    *inputs, out, carried = refs
    num_own, num_shared = len(problem.own), len(problem.shared)
    shared_refs, known = inputs[num_own:][:num_shared], inputs[num_own + num_shared :]
    own = [_rows(ref, leaf.shape[1:]) for ref, leaf in zip(inputs[:num_own], problem.own, strict=True)]
    shared = [_rows(ref, leaf.shape) for ref, leaf in zip(shared_refs, problem.shared, strict=True)]
    chunk = pl.program_id(1)
    start = (chunk - int(records)) * chunks.step

    @pl.when(chunk == 0)
    def _() -> None:
        for i, number in enumerate(enter_steps(problem, own, shared, _rows(u0, (len(u0),)), lanes)):
            carried[i] = number

    def values(number: Any) -> list[Any]:
        sizes = [leaf.shape[1] for leaf in problem.known]
        return [
            filled((size,), lambda index, ref=ref, size=size: ref[0, (number - start) * size + index[0]])
            for ref, size in zip(known, sizes, strict=True)
        ]

    num_steps: Any = chunks.step
    if records:
        num_steps = jnp.where(chunk == 0, 0, chunks.step)
    elif len(chunks) * chunks.step > chunks.stop:
        num_steps = jnp.minimum(chunks.step, chunks.stop - start)
    numbers = [carried[i] for i in range(len(carried))]
    numbers = advance_all(problem, own, shared, values, lanes, numbers, start, num_steps)
    for i, number in enumerate(numbers):
        carried[i] = number
    for i, component in enumerate(state_of(problem, numbers)):
        out[i] = as_lanes(component, lanes, out.dtype)


def _rows(ref: Any, shape: tuple[int, ...]) -> Any:
    """Returns the components of an array, whose numbers lie one after the other."""
    order = iter(range(len(ref)))
    return filled(shape, lambda _: ref[next(order)])

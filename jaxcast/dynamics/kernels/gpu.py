"""The kernel of a GPU, which Triton compiles: a thread holds one state or two."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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

_WARPS = 4


def solve_on_gpu(
    plan: SolvePlan,
    system: AnySystem,
    is_own: Any,
    u0: Array,
    t0: Any,
    h: Any,
    *,
    models: int | None = None,
    interpret: bool = False,
) -> Array:
    """Simulates many states in one kernel of a GPU.

    Args:
        plan: the numbers of steps.
        system: shared numbers, and arrays with a number for each state; for a stack, for each model.
        is_own: which leaves of the system have such numbers.
        u0: the states (n, dim).
        t0: one time, or one for each state.
        h: the step.
        models: of a stack, each of which starts from each state.
        interpret: whether to run the kernel on a CPU, step by step, for a test.

    Returns:
        The states (n, time, *model, dim), or the last ones (n, *model, dim).

    Raises:
        NotImplementedError: for a step that is not made of operations on single numbers.
    """
    from jax.experimental import pallas as pl  # a third of a second, which only a GPU pays
    from jax.experimental.pallas import triton

    first, num_steps = -plan.num_transient, (plan.num_samples or 1) * plan.num_substeps - plan.num_substeps
    if plan.num_samples is None:
        first, num_steps = 0, plan.num_substeps
    kernel_step = make_kernel_step(plan.solver, system, is_own, u0, t0, h, range(first, num_steps))
    dim = u0.shape[1]
    of_model = () if models is None else (models,)
    n = len(u0) * math.prod(of_model)
    # Stacks are small: more blocks, for more of the processors.
    size = 256 if dim * u0.dtype.itemsize <= 16 and not of_model else 128
    recorded = () if plan.num_samples is None else (plan.num_samples,)
    kernel = partial(_gpu_kernel, plan, kernel_step, n, size, None if interpret else _fused, of_model)
    result: Array = pl.pallas_call(
        kernel,
        grid=(-(-n // size),),
        # Like u0, as under shard_map it must vary over the same devices.
        out_shape=jax.eval_shape(lambda u: jnp.zeros_like(u, shape=(len(u0), *recorded, *of_model, dim)), u0),
        compiler_params=triton.CompilerParams(num_warps=_WARPS),
        interpret=interpret,
        name="jaxcast_ensemble",
    )(u0, *kernel_step.own, *kernel_step.shared, *kernel_step.scheduled)
    return result


def _fused(a: Any, b: Any, c: Any) -> Any:
    """Computes a b + c with one rounding; Triton as it is called here forbids the compiler to do so."""
    from jax.experimental.pallas import triton

    letter = {4: "f", 8: "d"}[c.dtype.itemsize]
    (result,) = triton.elementwise_inline_asm(
        f"fma.rn.f{8 * c.dtype.itemsize} $0, $1, $2, $3;",
        args=[a, b, c],
        constraints=f"={letter},{letter},{letter},{letter}",
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(c.shape, c.dtype)],
    )
    return result


def _gpu_kernel(
    plan: SolvePlan,
    kernel_step: KernelStep,
    n: int,
    size: int,
    fused: Any,
    of_model: tuple[int, ...],
    u0: Any,
    *refs: Any,
) -> None:
    """Simulates the states of one block; of a stack, the system's arrays have a row for each model."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    *inputs, out = refs
    rows = pl.program_id(0) * size + jnp.arange(size, dtype=jnp.int32)
    exists = rows < n
    model = tuple(rows % count for count in of_model)
    states = rows // math.prod(of_model)

    def column(ref: Any, rows: Any, index: Any) -> Any:
        return triton.load(ref.at[(rows, *index)], mask=exists, other=0)

    num_own, num_shared = len(kernel_step.own), len(kernel_step.shared)
    of_system = kernel_step.num_own_of_system
    rows_of = [*(model or (states,)) * of_system, *[states] * (num_own - of_system)]
    own = [filled(ref.shape[1:], partial(column, ref, at)) for ref, at in zip(inputs, rows_of, strict=False)]
    shared = [filled(ref.shape, lambda index, ref=ref: ref[index or ...]) for ref in inputs[num_own:][:num_shared]]
    scheduled = inputs[num_own + num_shared :]

    def values(number: Any) -> list[Any]:
        return [filled(ref.shape[1:], lambda index, ref=ref: ref[(number, *index)]) for ref in scheduled]

    def put(sample: tuple[Any, ...], carried: list[Any]) -> None:
        for number, component in enumerate(state_of(kernel_step, carried)):
            triton.store(
                out.at[(states, *sample, *model, number)], as_lanes(component, (size,), out.dtype), mask=exists
            )

    advance = partial(advance_all, kernel_step, own, shared, values, (size,), fused=fused)
    carried = enter_steps(kernel_step, own, shared, filled(u0.shape[1:], partial(column, u0, states)), (size,))
    if plan.num_samples is None:
        put((), advance(carried, 0, plan.num_substeps))
        return
    carried = advance(carried, 0, plan.num_transient)
    put((0,), carried)

    def sample(number: Any, carried: list[Any]) -> list[Any]:
        carried = advance(carried, plan.num_transient + (number - 1) * plan.num_substeps, plan.num_substeps)
        put((number,), carried)
        return carried

    jax.lax.fori_loop(np.int32(1), np.int32(plan.num_samples), sample, carried)

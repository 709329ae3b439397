"""Solves systems in time: on a CPU one trajectory as fast as a loop in C, many at once in vectors.

`solve` is written for one state. Under `jax.vmap` it does not become the same program with longer
arrays, which would stream them through memory at every step: it runs tile by tile on a CPU
(`tiles`), and in one kernel on a GPU or TPU (`kernels`). Its derivatives are those of
`solve_reference`, the plain program, which is also its test, or on a GPU those of blocks of steps.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.backends.cpu import MOST_WORK, has_kernels
from jaxcast.backends.dispatch import batched_in_front, by_platform, differentiable_by_platform
from jaxcast.dynamics.kernels.gpu import solve_on_gpu
from jaxcast.dynamics.kernels.tpu import solve_on_tpu
from jaxcast.dynamics.loops import advance, advance_in_blocks, advance_unrolled, as_state, components_of
from jaxcast.dynamics.noise import AnySystem, NoisySystem
from jaxcast.dynamics.plan import SolvePlan, first_of, has_axis, in_dtype, model_axes, num_models, run_plan
from jaxcast.dynamics.tiles import kernels_for, solve_tiles, work_of

_WORTH_UNROLLING = 10_000
"""The least number of steps for which unrolling pays for its longer compilation."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def solve(plan: SolvePlan, system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
    """Simulates one state.

    Args:
        plan: the numbers of steps.
        system: one system, or a stack.
        u0: the state (dim,).
        t0: the time of the first sample.
        h: the step.

    Returns:
        The states (time, *model, dim), or the last one (*model, dim).
    """
    return _for_one(plan)(in_dtype(system, u0.dtype), u0, t0, h)


@solve.defjvp
def _solve_jvp(plan: SolvePlan, primals: Any, tangents: Any) -> Any:
    plain = partial(solve_reference, plan)
    system, u0, *_ = primals
    # Steps of arrays are not one kernel, and random numbers are long to compute again.
    is_fused = not isinstance(system, NoisySystem) and isinstance(jax.eval_shape(components_of, system, u0), tuple)
    in_blocks = partial(differentiable_by_platform, plain, cuda=partial(_solve_in_blocks, plan))
    # jax.vmap expects these batched in front, as `solve` is; solve_reference batches elsewhere.
    return jax.tree.map(batched_in_front, jax.jvp(in_blocks if is_fused else plain, primals, tangents))


def solve_reference(plan: SolvePlan, system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
    """Returns what `solve` does, from the plain program.

    Args:
        plan: the numbers of steps.
        system: one system, or a stack.
        u0: the state (dim,).
        t0: the time of the first sample.
        h: the step.

    Returns:
        The states (time, *model, dim), or the last one (*model, dim).
    """
    system = in_dtype(system, u0.dtype)
    return run_plan(plan, system, t0, components_of(system, u0), h, emit=as_state)


def _solve_in_blocks(plan: SolvePlan, system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
    """Does the same; its derivatives take several steps in a kernel."""
    system = in_dtype(system, u0.dtype)
    return run_plan(plan, system, t0, components_of(system, u0), h, emit=as_state, advance=advance_in_blocks)


@cache
def _for_one(plan: SolvePlan) -> Callable[..., Array]:
    """Returns `solve` with its own rule for `jax.vmap`."""

    @jax.custom_batching.custom_vmap
    def one(system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
        models = num_models(system, u0.dtype)
        if models is not None:
            u0 = jnp.broadcast_to(u0, (models, *u0.shape))
            return jnp.moveaxis(_solve_many(plan, system, model_axes(system), u0, t0, h), 0, -2)
        return by_platform(partial(solve_reference, plan), system, u0, t0, h, cpu=partial(_one_on_cpu, plan))

    @one.def_vmap
    def _(size: int, batched: Any, system: AnySystem, u0: Array, t0: Any, h: Any) -> tuple[Array, bool]:
        axes, t0_axis, h_axis = (jax.tree.map(lambda yes: 0 if yes else None, batched[i]) for i in (0, 2, 3))
        u0 = u0 if batched[1] else jnp.broadcast_to(u0, (size, *u0.shape))
        models = num_models(first_of(system, axes), u0.dtype)
        t0 = _all_or_none(size, batched[2], t0)
        t0_axis = jax.tree.map(lambda _: 0 if _any(batched[2]) else None, batched[2])
        if _any(batched[3]) or (models is not None and any(jax.tree.leaves(batched[0]))):
            return jax.vmap(partial(solve_reference, plan), in_axes=(axes, 0, t0_axis, h_axis))(system, u0, t0, h), True
        if models is None:
            return _solve_many(plan, system, axes, u0, t0, h), True
        return _stack_from_many(plan, models, system, u0, t0, h), True

    return one


def _stack_from_many(plan: SolvePlan, models: int, system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
    """Simulates each of a stack's models from each of many states: (n, time, model, dim) or (n, model, dim)."""
    size = len(u0)
    axes = model_axes(system)

    def flat(system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
        # The models of a stack before the states: long vectors of equal parameters.
        system = jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0) if jnp.ndim(leaf) else leaf, system)
        t0 = jax.tree.map(lambda t: jnp.tile(t, models), t0) if has_axis(t0) else t0
        many = _solve_many(plan, system, axes, jnp.tile(u0, (models, 1)), t0, h)
        return jnp.moveaxis(many.reshape(models, size, *many.shape[1:]), 0, -2)

    @jax.custom_batching.custom_vmap
    def on_gpu(system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
        is_own = jax.tree.map(lambda leaf: jnp.ndim(leaf) > 0, system)
        return solve_on_gpu(plan, system, is_own, u0, t0, h, models=models)

    @on_gpu.def_vmap
    def _(*_: Any) -> Any:
        raise NotImplementedError("batches of batches in this kernel; the flat program has one for them")

    return by_platform(flat, system, u0, t0, h, cuda=on_gpu)


def _one_on_cpu(plan: SolvePlan, system: AnySystem, u0: Array, t0: Any, h: Any) -> Array:
    """Simulates one state of one system: (time, dim) or (dim,)."""
    u = components_of(system, u0)
    num_steps = plan.num_transient + (plan.num_samples or 1) * plan.num_substeps
    is_worth_it = has_kernels() and isinstance(u, tuple) and num_steps >= _WORTH_UNROLLING
    step = advance_unrolled if is_worth_it else advance
    how = kernels_for(plan, u0.nbytes) if work_of(plan, system, u0, 0) <= MOST_WORK else {}
    return run_plan(plan, system, t0, u, h, emit=as_state, advance=step, **how)


def _solve_many(plan: SolvePlan, system: AnySystem, axes: Any, u0: Array, t0: Any, h: Any) -> Array:
    """Simulates n states: (n, time, dim) or (n, dim).

    `axes` is 0 for the leaves of the system with a number for each state, and None for shared ones.
    """
    structure: Any
    leaves, structure = jax.tree.flatten(system)
    is_own = tuple(axis == 0 for axis in structure.flatten_up_to(axes))
    return _for_many(plan, structure, is_own, has_axis(t0))(leaves, u0, t0, h)


@cache
def _for_many(plan: SolvePlan, structure: Any, is_own: tuple[bool, ...], has_own_t0: bool) -> Callable[..., Array]:
    """Returns `_solve_many` with its own rule for `jax.vmap`: more states, not longer tiles."""

    @jax.custom_batching.custom_vmap
    def many(leaves: list[Array], u0: Array, t0: Any, h: Any) -> Array:
        def of_leaves(solve: Callable[..., Array]) -> Callable[..., Array]:
            shared = structure.unflatten(is_own)
            return lambda leaves, *rest: solve(plan, structure.unflatten(leaves), shared, *rest)

        return by_platform(
            _plain_many(plan, structure, is_own, has_own_t0),
            leaves,
            u0,
            t0,
            h,
            cpu=of_leaves(solve_tiles),
            cuda=of_leaves(solve_on_gpu),
            tpu=of_leaves(solve_on_tpu),
        )

    @many.def_vmap
    def _(size: int, batched: Any, leaves: list[Array], u0: Array, t0: Any, h: Any) -> tuple[Array, bool]:
        t0 = _all_or_none(size, batched[2], t0)
        own_t0 = _any(batched[2])
        batched = [*batched[:2], jax.tree.map(lambda _: own_t0, batched[2]), batched[3]]
        if _any(batched[3]):  # with other steps each tile would need other times
            in_axes = jax.tree.map(lambda yes: 0 if yes else None, batched)
            inner = _plain_many(plan, structure, is_own, has_own_t0)
            return jax.vmap(inner, in_axes=tuple(in_axes))(leaves, u0, t0, h), True
        n = u0.shape[1 if batched[1] else 0]

        def flat(a: Array, is_batched: bool, has_own: bool) -> Array:
            """Returns one entry for each state of each batch."""
            if not is_batched:
                return jnp.tile(a, (size, *[1] * (a.ndim - 1)))
            return a.reshape(size * n, *a.shape[2:]) if has_own else jnp.repeat(a, n, axis=0)

        own = [yes or own for yes, own in zip(batched[0], is_own, strict=True)]
        leaves = [
            flat(leaf, yes, mine) if either else leaf
            for leaf, yes, mine, either in zip(leaves, batched[0], is_own, own, strict=True)
        ]
        u0 = flat(u0, batched[1], True)
        t0 = jax.tree.map(lambda t: flat(t, own_t0, has_own_t0), t0) if own_t0 or has_own_t0 else t0
        system, axes = structure.unflatten(leaves), structure.unflatten([0 if yes else None for yes in own])
        states = _solve_many(plan, system, axes, u0, t0, h)
        return states.reshape(size, n, *states.shape[1:]), True

    return many


def _plain_many(plan: SolvePlan, structure: Any, is_own: tuple[bool, ...], has_own_t0: bool) -> Callable[..., Array]:
    """Returns the plain program of many states."""
    own = [0 if yes else None for yes in is_own]
    return jax.vmap(
        lambda leaves, u0, t0, h: solve_reference(plan, structure.unflatten(leaves), u0, t0, h),
        in_axes=(own, 0, 0 if has_own_t0 else None, None),
    )


def _any(flags: Any) -> bool:
    return any(jax.tree.leaves(flags))


def _all_or_none(size: int, is_batched: Any, t0: Any) -> Any:
    """Batches both parts of a time if one is."""
    if not _any(is_batched):
        return t0
    return jax.tree.map(lambda t, yes: t if yes else jnp.broadcast_to(t, (size, *jnp.shape(t))), t0, is_batched)

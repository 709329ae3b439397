"""How trajectories are computed: one as fast as a loop in C, many at once in vectors, tile by tile.

`solve` is written for one state. Under `jax.vmap` it does not become the same program with longer arrays, which would
stream them through memory at every step: as many states as fit a core's cache make a tile, and a tile's whole time loop
runs before the next begins. Derivatives are those of the plain program, `plain`, which is also its test.
"""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.clock import is_narrow
from jaxcast.dynamics.runge_kutta import (
    advance,
    advance_together,
    advance_unrolled,
    as_state,
    components_of,
    record,
    rk4_step,
)
from jaxcast.dynamics.systems import Components, System
from jaxcast.errors import InputError
from jaxcast.xla_cpu import MOST_WORK, has_kernels, num_operations, one_kernel

TILE_BYTES = 8192
"""Of the states in a tile by default: with what a Runge-Kutta step needs, about a first-level cache."""
_KERNEL_BYTES = 131_072
_LEAST_LANES = 16
_LANES_WITHOUT_KERNEL = 1024
_WORTH_UNROLLING = 10_000
"""Steps: fewer are done sooner than the longer program is compiled."""


class Plan(NamedTuple):
    """What is static: steps before t0, samples to record (None: only the last state), steps between or to it."""

    num_transient: int
    num_samples: int | None
    num_substeps: int
    tile_size: int | None = None


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def solve(plan: Plan, system: System, u0: Array, t0: Any, h: Any) -> Array:
    """The states from u0 (dim,) on, (time, *model, dim), or the last one, (*model, dim)."""
    return _for_one(plan)(_in_dtype(system, u0.dtype), u0, t0, h)


@solve.defjvp
def _solve_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    # jax.vmap takes what this returns for batched where `solve` is, in front; plain's own results are batched elsewhere.
    return jax.tree.map(_batched_in_front, jax.jvp(partial(plain, plan), primals, tangents))


def _batched_in_front(a: Array) -> Array:
    return jax.lax.reshape(jax.lax.reshape(a, (1, *a.shape)), a.shape)


def plain(plan: Plan, system: System, u0: Array, t0: Any, h: Any) -> Array:
    """What `solve` returns, by a program without any art."""
    system = _in_dtype(system, u0.dtype)
    return _run(plan, system, t0, components_of(system, u0), h, emit=as_state)


def _run(plan: Plan, system: System, t0: Any, u: Components, h: Any, **how: Any) -> Any:
    if plan.num_samples is None:
        kernel = how.get("kernel", lambda function, *args: function(*args))
        steps = partial(how.get("advance", advance), first=0, num_steps=plan.num_substeps)
        return how.get("emit", lambda u: u)(kernel(steps, system, t0, u, h))
    return record(
        system,
        t0,
        u,
        h,
        num_transient=plan.num_transient,
        num_samples=plan.num_samples,
        num_substeps=plan.num_substeps,
        **how,
    )


@cache
def _for_one(plan: Plan) -> Callable[..., Array]:
    """solve, with what `jax.vmap` is to make of it."""

    @jax.custom_batching.custom_vmap
    def one(system: System, u0: Array, t0: Any, h: Any) -> Array:
        models = num_models(system, u0.dtype)
        if models is not None:
            u0 = jnp.broadcast_to(u0, (models, *u0.shape))
            return jnp.moveaxis(_solve_many(plan, system, model_axes(system), u0, t0, h), 0, -2)
        u = components_of(system, u0)
        num_steps = plan.num_transient + (plan.num_samples or 1) * plan.num_substeps
        is_worth_it = has_kernels() and isinstance(u, tuple) and num_steps >= _WORTH_UNROLLING
        step = advance_unrolled if is_worth_it else advance
        how = _kernels(plan, u0.nbytes) if _work(system, u0, 0) <= MOST_WORK else {}
        return _run(plan, system, t0, u, h, emit=as_state, advance=step, **how)

    @one.def_vmap
    def _(size: int, batched: Any, system: System, u0: Array, t0: Any, h: Any) -> tuple[Array, bool]:
        axes, t0_axis, h_axis = (jax.tree.map(lambda yes: 0 if yes else None, batched[i]) for i in (0, 2, 3))
        u0 = u0 if batched[1] else jnp.broadcast_to(u0, (size, *u0.shape))
        models = num_models(_first(system, axes), u0.dtype)
        t0 = _all_or_none(size, batched[2], t0)
        t0_axis = jax.tree.map(lambda _: 0 if _any(batched[2]) else None, batched[2])
        if _any(batched[3]) or (models is not None and any(jax.tree.leaves(batched[0]))):
            return jax.vmap(partial(plain, plan), in_axes=(axes, 0, t0_axis, h_axis))(system, u0, t0, h), True
        if models is None:
            return _solve_many(plan, system, axes, u0, t0, h), True
        # The models of a stack before the states: long vectors of equal parameters.
        system = jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0) if jnp.ndim(leaf) else leaf, system)
        t0 = jax.tree.map(lambda t: jnp.tile(t, models), t0) if _any(batched[2]) else t0
        flat = _solve_many(plan, system, model_axes(system), jnp.tile(u0, (models, 1)), t0, h)
        return jnp.moveaxis(flat.reshape(models, size, *flat.shape[1:]), 0, -2), True

    return one


def _solve_many(plan: Plan, system: System, axes: Any, u0: Array, t0: Any, h: Any) -> Array:
    """The states from each of u0 (n, dim) on, (n, time, dim) or (n, dim).

    Args:
        axes: 0 for the leaves of the system that hold a value for each state, None for those shared. t0: () or (n,).
    """
    structure: Any
    leaves, structure = jax.tree.flatten(system)
    is_own = tuple(axis == 0 for axis in structure.flatten_up_to(axes))
    return _for_many(plan, structure, is_own, _has_axis(t0))(leaves, u0, t0, h)


@cache
def _for_many(plan: Plan, structure: Any, is_own: tuple[bool, ...], has_own_t0: bool) -> Callable[..., Array]:
    """_solve_many, with what `jax.vmap` is to make of it: more states, not longer tiles."""

    @jax.custom_batching.custom_vmap
    def many(leaves: list[Array], u0: Array, t0: Any, h: Any) -> Array:
        return _tiles(plan, structure.unflatten(leaves), structure.unflatten(is_own), u0, t0, h)

    @many.def_vmap
    def _(size: int, batched: Any, leaves: list[Array], u0: Array, t0: Any, h: Any) -> tuple[Array, bool]:
        t0 = _all_or_none(size, batched[2], t0)
        own_t0 = _any(batched[2])
        batched = [*batched[:2], jax.tree.map(lambda _: own_t0, batched[2]), batched[3]]
        if _any(batched[3]):  # other steps are other times for every tile
            in_axes = jax.tree.map(lambda yes: 0 if yes else None, batched)
            axes = structure.unflatten([0 if yes else None for yes in is_own])
            inner = jax.vmap(
                lambda leaves, u0, t0, h: plain(plan, structure.unflatten(leaves), u0, t0, h),
                in_axes=(jax.tree.leaves(axes, is_leaf=lambda a: a is None), 0, 0 if has_own_t0 else None, None),
            )
            return jax.vmap(inner, in_axes=tuple(in_axes))(leaves, u0, t0, h), True
        n = u0.shape[1 if batched[1] else 0]

        def flat(a: Array, is_batched: bool, has_own: bool) -> Array:
            """One entry for every state of every batch."""
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


def _any(flags: Any) -> bool:
    return any(jax.tree.leaves(flags))


def _has_axis(t0: Any) -> bool:
    return jnp.ndim(jax.tree.leaves(t0)[0]) > 0


def _all_or_none(size: int, is_batched: Any, t0: Any) -> Any:
    """The time with both parts batched where one is."""
    if not _any(is_batched):
        return t0
    return jax.tree.map(lambda t, yes: t if yes else jnp.broadcast_to(t, (size, *jnp.shape(t))), t0, is_batched)


def _tiles(plan: Plan, system: System, is_own: Any, u0: Array, t0: Any, h: Any) -> Array:
    """Tile after tile."""
    axes = jax.tree.map(lambda yes: 0 if yes else None, is_own)
    fitting = _most_lanes(_first(system, axes), u0, sum(jax.tree.leaves(is_own)))
    n = len(u0)
    tile_size = min(n, plan.tile_size or _even_lanes(n, fitting or _LANES_WITHOUT_KERNEL))
    run = partial(_tile, plan, axes=axes, in_kernel=tile_size <= fitting)
    if n == tile_size:
        return run(system, u0, t0, h)

    def all_tiles(system: System, u0: Array, t0: Any, h: Any, states: Array) -> Array:
        def tile(i: Array, states: Array) -> Array:
            first = jnp.minimum(i * tile_size, n - tile_size)  # the last tile overlaps the one before it
            cut = partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=tile_size)
            mine = jax.tree.map(lambda leaf, yes: cut(leaf) if yes else leaf, system, is_own)
            new = run(mine, cut(u0), jax.tree.map(cut, t0) if _has_axis(t0) else t0, h)
            return jax.lax.dynamic_update_slice_in_dim(states, new, first, 0)

        return jax.lax.fori_loop(0, -(-n // tile_size), tile, states)

    recorded = () if plan.num_samples is None else (plan.num_samples,)
    states = jnp.zeros_like(u0, shape=(n, *recorded, system.dim))  # like u0: under shard_map, varying where it does
    kernel = one_kernel if tile_size <= fitting and not recorded else lambda function, *args: function(*args)
    return kernel(all_tiles, system, u0, t0, h, states)


def _even_lanes(n: int, most: int) -> int:
    """Of the tiles that n states are cut into, so that the last one overlaps little; on accelerators there is one tile."""
    if jax.default_backend() != "cpu":
        return n
    return -(-n // (-(-n // most) * _LEAST_LANES)) * _LEAST_LANES


def _most_lanes(system: System, u0: Array, num_own: int) -> int:
    """How many states of a system, with num_own numbers of their own, fit a cache and one kernel; 0 if too few do."""
    lanes = min(TILE_BYTES // (system.dim * u0.dtype.itemsize), MOST_WORK // _work(system, u0[0], num_own))
    return lanes // _LEAST_LANES * _LEAST_LANES


def _work(system: System, u0: Array, num_own: int) -> int:
    """Of a step of one state (dim,), as MOST_WORK counts."""
    scalar = jnp.zeros((), u0.dtype)
    u = components_of(system, u0)
    operations = num_operations(lambda system, u: rk4_step(system, scalar, u, scalar), system, u)
    if not isinstance(u, tuple):
        operations *= system.dim
    return operations + 10 * (2 * system.dim + num_own) * u0.dtype.itemsize


def _tile(plan: Plan, system: System, u0: Array, t0: Any, h: Any, *, axes: Any, in_kernel: bool) -> Array:
    """All states of u0 (n, dim) side by side, components apart: (n, time, dim) or (n, dim)."""
    one = _first(system, axes)
    is_split = isinstance(jax.eval_shape(one, jnp.zeros((), u0.dtype), u0[0]), tuple | list)
    in_axes = (axes, 0 if _has_axis(t0) else None, 0, None)
    how, run_plan = _kernels(plan, u0.nbytes) if in_kernel else {}, partial(_run, plan)
    if is_split:
        run = partial(run_plan, advance=advance_together if in_kernel else advance, **how)
        parts = jax.vmap(run, in_axes=in_axes, out_axes=-1)(system, t0, tuple(u0.T), h)
        return jnp.moveaxis(jnp.stack(parts, -1), -2, 0)
    if not _has_axis(t0) and _broadcasts(one):
        return jnp.moveaxis(run_plan(system, t0, u0.T, h, **how), -1, 0)
    return jax.vmap(partial(run_plan, emit=as_state), in_axes=in_axes)(system, t0, u0, h)


def _kernels(plan: Plan, state_bytes: int) -> dict[str, Any]:
    """How `record` is to use `one_kernel`, in which nothing large may be computed at once: XLA would spread it over threads, and fail."""
    if state_bytes > _KERNEL_BYTES:
        return {}
    fitting = max(1, _KERNEL_BYTES // state_bytes)
    num_later = max(1, (plan.num_samples or 1) - 1)
    if plan.num_samples is None:
        return {"kernel": one_kernel}
    num_blocks = -(-num_later // fitting)
    return {"kernel": one_kernel, "block_size": -(-num_later // num_blocks)}


def num_models(system: System, dtype: Any) -> int | None:
    """How many systems a stack holds; None for one system.

    Raises:
        InputError: for a vector field of the wrong length, or a stack of stacks.
    """
    u = jax.eval_shape(lambda system: components_of(system, jnp.zeros(system.dim, dtype)), system)
    shape = u[0].shape if isinstance(u, tuple) else u.shape[1:]
    if len(shape) > 1:
        raise InputError(f"expected a system or a stack of systems, got one with parameters of shape {shape}")
    return shape[0] if shape else None


def model_axes(system: System) -> Any:
    """Which axis of each leaf of a stack counts its systems, for `jax.vmap`: the first, and none of plain numbers."""
    return jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, system)


def _first(system: System, axes: Any) -> System:
    """The first of the systems that leaves with an axis hold."""
    structure: Any
    leaves, structure = jax.tree.flatten(system)
    first = [
        leaf if axis is None else leaf[0] for leaf, axis in zip(leaves, structure.flatten_up_to(axes), strict=True)
    ]
    return structure.unflatten(first)


def _in_dtype(system: System, dtype: Any) -> System:
    """So that float64 numbers among float32 states do not make the arithmetic float64."""
    if is_narrow(dtype):
        system = system.with_all_digits()
        keep = {name: jax.tree.map(lambda a: _float32(a, dtype), s) for name, s in system.schedules.items()}
        return dataclasses.replace(_cast(system, dtype), **keep)
    return _cast(system, dtype)


def _float32(leaf: Any, dtype: Any) -> Any:
    """Schedules are evaluated in float32 at least."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jnp.asarray(leaf, wide if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None)


def _cast(system: System, dtype: Any) -> System:
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None), system
    )


def _broadcasts(system: System) -> bool:
    """Whether a vector field on one array of components does the same to two states side by side as to each alone.

    One that rolls or sums over its whole argument does not. Tried on random numbers, whatever is being traced.
    """
    rng = np.random.default_rng(0)
    with jax.ensure_compile_time_eval():
        tree: Any
        leaves, tree = jax.tree.flatten(system)
        random = tree.unflatten([np.asarray(rng.uniform(0.5, 1.5, np.shape(leaf))) for leaf in leaves])
        states = jnp.asarray(rng.uniform(0.5, 1.5, (system.dim, 2)))
        try:
            together = np.asarray(random(0.25, states))
        except (TypeError, ValueError):
            return False
        alone = np.stack([np.asarray(random(0.25, states[:, i])) for i in range(2)], -1)
        return together.shape == alone.shape and np.allclose(together, alone, rtol=1e-4, equal_nan=True)

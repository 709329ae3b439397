"""Many states at once, tile by tile.

As many states as fit into a core's cache make a tile, and a tile's whole time loop runs before the
next one starts. The states of a tile are computed side by side, in vectors.
"""

import operator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.backends.cpu import MOST_WORK, num_operations, one_kernel
from jaxcast.dynamics.loops import advance, advance_together, as_state, components_of
from jaxcast.dynamics.noise import AnySystem, NoisySystem
from jaxcast.dynamics.plan import SolvePlan, first_of, has_axis, run_plan
from jaxcast.dynamics.solvers import stepper_of

TILE_BYTES = 8192
"""The states in a tile by default; with what a Runge-Kutta step needs, about a first-level cache."""
_KERNEL_BYTES = 131_072
_LEAST_LANES = 16
_LANES_WITHOUT_KERNEL = 1024


def solve_tiles(plan: SolvePlan, system: AnySystem, is_own: Any, u0: Array, t0: Any, h: Any) -> Array:
    """Simulates many states, tile after tile.

    Args:
        plan: the numbers of steps.
        system: shared numbers, and arrays with a number for each state.
        is_own: which leaves of the system have a number for each state.
        u0: the states (n, dim).
        t0: one time, or one for each state.
        h: the step.

    Returns:
        The states (n, time, dim), or the last ones (n, dim).
    """
    axes = jax.tree.map(lambda yes: 0 if yes else None, is_own)
    fitting = _most_lanes(plan, first_of(system, axes), u0, sum(jax.tree.leaves(is_own)))
    n = len(u0)
    tile_size = min(n, plan.tile_size or _even_lanes(n, fitting or _LANES_WITHOUT_KERNEL))
    run = partial(_tile, plan, axes=axes, in_kernel=tile_size <= fitting)
    if n == tile_size:
        return run(system, u0, t0, h)

    def all_tiles(system: AnySystem, u0: Array, t0: Any, h: Any, states: Array) -> Array:
        def tile(i: Array, states: Array) -> Array:
            first = jnp.minimum(i * tile_size, n - tile_size)  # the last tile overlaps its neighbour
            cut = partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=tile_size)
            mine = jax.tree.map(lambda leaf, yes: cut(leaf) if yes else leaf, system, is_own)
            new = run(mine, cut(u0), jax.tree.map(cut, t0) if has_axis(t0) else t0, h)
            return jax.lax.dynamic_update_slice_in_dim(states, new, first, 0)

        return jax.lax.fori_loop(0, -(-n // tile_size), tile, states)

    recorded = () if plan.num_samples is None else (plan.num_samples,)
    # Like u0, as under shard_map it must vary over the same devices.
    states = jnp.zeros_like(u0, shape=(n, *recorded, system.dim))
    kernel = one_kernel if tile_size <= fitting and not recorded else operator.call
    return kernel(all_tiles, system, u0, t0, h, states)


def _even_lanes(n: int, most: int) -> int:
    """Sizes the tiles for n states so that the last one overlaps little."""
    return -(-n // (-(-n // most) * _LEAST_LANES)) * _LEAST_LANES


def _most_lanes(plan: SolvePlan, system: AnySystem, u0: Array, num_own: int) -> int:
    """Counts the states that fit a cache and one kernel, with num_own numbers each; 0 if too few."""
    lanes = min(TILE_BYTES // (system.dim * u0.dtype.itemsize), MOST_WORK // work_of(plan, system, u0[0], num_own))
    return lanes // _LEAST_LANES * _LEAST_LANES


def work_of(plan: SolvePlan, system: AnySystem, u0: Array, num_own: int) -> int:
    """Estimates the work of one step of one state, in the unit of `MOST_WORK`.

    Args:
        plan: with the method.
        system: one system.
        u0: one state, (dim,).
        num_own: how many of the system's numbers belong to this state.

    Returns:
        The work.
    """
    scalar = jnp.zeros((), u0.dtype)
    u = components_of(system, u0)

    def step(system: AnySystem, u: Any) -> Any:
        steps = stepper_of(system, plan.solver, scalar)
        return steps.step_after(
            scalar, scalar, steps.enter(u, system.seed if isinstance(system, NoisySystem) else None), scalar
        )

    operations = num_operations(step, system, u)
    if not isinstance(u, tuple):
        operations *= system.dim
    return operations + 10 * (2 * system.dim + num_own) * u0.dtype.itemsize


def _tile(plan: SolvePlan, system: AnySystem, u0: Array, t0: Any, h: Any, *, axes: Any, in_kernel: bool) -> Array:
    """Simulates the states of u0 (n, dim) side by side: (n, time, dim) or (n, dim)."""
    one: Any = first_of(system, axes)
    is_split = isinstance(jax.eval_shape(one, jnp.zeros((), u0.dtype), u0[0]), tuple | list)
    in_axes = (axes, 0 if has_axis(t0) else None, 0, None)
    how, run_all = kernels_for(plan, u0.nbytes) if in_kernel else {}, partial(run_plan, plan)
    if is_split:
        run = partial(run_all, advance=advance_together if in_kernel else advance, **how)
        parts = jax.vmap(run, in_axes=in_axes, out_axes=-1)(system, t0, tuple(u0.T), h)
        return jnp.moveaxis(jnp.stack(parts, -1), -2, 0)
    if not has_axis(t0) and _broadcasts(one):
        return jnp.moveaxis(run_all(system, t0, u0.T, h, **how), -1, 0)
    return jax.vmap(partial(run_all, emit=as_state), in_axes=in_axes)(system, t0, u0, h)


def kernels_for(plan: SolvePlan, state_bytes: int) -> dict[str, Any]:
    """Chooses how `record` uses `one_kernel`.

    A kernel must not compute anything large at once: XLA would spread it over threads, and fail.

    Args:
        plan: the numbers of steps.
        state_bytes: the size of all states in the kernel.

    Returns:
        Options of `record`; none if the states are too large.
    """
    if state_bytes > _KERNEL_BYTES:
        return {}
    fitting = max(1, _KERNEL_BYTES // state_bytes)
    num_later = max(1, (plan.num_samples or 1) - 1)
    if plan.num_samples is None:
        return {"kernel": one_kernel}
    num_blocks = -(-num_later // fitting)
    return {"kernel": one_kernel, "block_size": -(-num_later // num_blocks)}


def _broadcasts(system: AnySystem) -> bool:
    """Tells whether a vector field treats two states side by side as it treats each alone.

    One that rolls or sums over its whole argument does not. It is tried on random numbers.
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

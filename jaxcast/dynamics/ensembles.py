"""Ensembles: many trajectories, of one system or one each, on all devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.backends.dispatch import wide_jit
from jaxcast.backends.tpu import no_float64_on_tpu
from jaxcast.clock import is_narrow, split
from jaxcast.dynamics.noise import AnySystem, Noise, NoisySystem, with_noise
from jaxcast.dynamics.plan import SolvePlan, model_axes, num_models
from jaxcast.dynamics.solve import solve
from jaxcast.dynamics.solvers import check_solver
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import Trajectory, check_jumps, num_steps_in, sample_times
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.sharding import devices_for, map_shards, with_repeated, without_repeated


@checked
def simulate_ensemble(
    system: System,
    u0: Shaped[ArrayLike, "trajectory dim"],
    *,
    num_samples: int,
    dt: float = 0.1,
    h: float = 0.01,
    t0: float = 0.0,
    transient: float = 0.0,
    tile_size: int | None = None,
    mesh: Mesh | None = None,
    noise: Noise | None = None,
    key: Key[Array, "*trajectory"] | None = None,
    solver: str | None = None,
) -> Trajectory:
    """Simulates many trajectories by RK4: `simulate` for each of u0, spread over all devices.

    Each is what it would be alone, to rounding, for any tiles and devices. For more trajectories
    than fit into memory, call it batch by batch with a `TrajectoryWriter`, as `jaxcast simulate`
    does. On one device `jax.vmap` of `simulate` is as fast.

    Args:
        system: one for all, or a stack with one for each trajectory; plain numbers in a stack are
            shared (see `stack_systems`).
        u0: the states at t0 - transient; their dtype is the dtype of the result.
        num_samples: how many states of each to record.
        dt: the time between samples, a whole multiple of h.
        h: the step.
        t0: the time of the first sample.
        transient: time before t0 in which nothing is recorded, a whole multiple of h.
        tile_size: how many trajectories run through all their steps before the next ones start. By
            default as many as fit into a core's first-level cache; on accelerators all.
        mesh: the devices to spread over. By default all, including those of other processes
            (`jax.distributed`); the result stays spread. Under `jax.jit` and `jax.grad` it is one.
        noise: makes the system a stochastic one.
        key: for the noise; one, or one for each trajectory.
        solver: the method of a step, as in `simulate`.

    Returns:
        A trajectory with times (time,) and states (trajectory, time, dim).

    Raises:
        InputError: for states of the wrong shape, a stack of another length, a step that does not
            divide dt or transient, a jump between steps, or no samples.

    Example:
        >>> import jax, jaxcast
        >>> starts = jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 1000, key=jax.random.key(0))
        >>> times, states = jaxcast.simulate_ensemble(jaxcast.Lorenz63(), starts, num_samples=5)
        >>> states.shape
        (1000, 5, 3)
        >>> import jax.numpy as jnp
        >>> rhos = jaxcast.Lorenz63(rho=jnp.linspace(28.0, 48.0, 1000))  # one for each
        >>> jaxcast.simulate_ensemble(rhos, starts, num_samples=5).states.shape
        (1000, 5, 3)
    """
    if num_samples < 1 or int(num_samples) != num_samples:
        raise InputError(f"num_samples must be a whole number of at least 1, got {num_samples}")
    num_transient = num_steps_in(transient, h, "transient") if transient else 0
    plan = SolvePlan(num_transient, int(num_samples), num_steps_in(dt, h, "dt"), _checked_tile(tile_size), solver)
    _check_memory(system, u0, num_samples)
    states = _ensemble(system, u0, plan, h, t0, mesh, noise, key)
    if is_narrow(states.dtype):
        return Trajectory(sample_times(t0, dt, int(num_samples)), states)
    return Trajectory(t0 + jnp.arange(int(num_samples)) * jnp.asarray(dt, states.dtype), states)


@checked
def final_states(
    system: System,
    u0: Shaped[ArrayLike, "trajectory dim"],
    *,
    duration: float,
    h: float = 0.01,
    t0: float = 0.0,
    tile_size: int | None = None,
    mesh: Mesh | None = None,
    noise: Noise | None = None,
    key: Key[Array, "*trajectory"] | None = None,
    solver: str | None = None,
) -> Float[Array, "trajectory dim"]:
    """Simulates many trajectories by RK4 and returns their final states alone.

    Args:
        system: one for all, or a stack with one for each trajectory.
        u0: the states at t0; their dtype is the dtype of the result.
        duration: the time from t0 to the end, a whole multiple of h.
        h: the step.
        t0: the time of the first states.
        tile_size: how many trajectories run through all their steps before the next ones start; by
            default as in `simulate_ensemble`.
        mesh: the devices to spread over; by default as in `simulate_ensemble`.
        noise: makes the system a stochastic one.
        key: for the noise; one, or one for each trajectory.
        solver: the method of a step, as in `simulate`.

    Returns:
        The states at t0 + duration.

    Raises:
        InputError: for states of the wrong shape, a stack of another length, a step that does not
            divide duration, or a jump between steps.

    Example:
        >>> import jax, jaxcast
        >>> starts = jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 1000, key=jax.random.key(0))
        >>> jaxcast.final_states(jaxcast.Lorenz63(), starts, duration=1.0).shape
        (1000, 3)
    """
    plan = SolvePlan(0, None, num_steps_in(duration, h, "duration"), _checked_tile(tile_size), solver)
    return _ensemble(system, u0, plan, h, t0, mesh, noise, key)


def _check_memory(system: System, u0: Any, num_samples: int) -> None:
    num, dtype = np.shape(u0)[0] if np.ndim(u0) else 1, u0.dtype if isinstance(u0, jax.Array | np.ndarray) else float
    check_arrays(
        f"{num} x {num_samples} samples of {system.dim} components", (num, num_samples, system.dim), dtype=dtype
    )


def _ensemble(
    system: System, u0: Any, plan: SolvePlan, h: Any, t0: Any, mesh: Mesh | None, noise: Noise | None, key: Any
) -> Array:
    states = jnp.asarray(u0)
    if states.ndim != 2 or not len(states):
        raise InputError(f"expected states of shape (trajectory, {system.dim}), got {states.shape}")
    system.check_dim(states.shape[1])
    check_jumps(system, h, t0)
    check_solver(plan.solver, system, noise)
    if not jnp.issubdtype(states.dtype, jnp.floating):
        states = states.astype(jnp.result_type(float))
    if is_narrow(states.dtype):
        system, h, t0 = system.with_all_digits(), split(h, states.dtype), split(t0, states.dtype)
    noisy = with_noise(system, noise, keys_for(key, len(states)))
    devices = devices_for(mesh, noisy, states, h, t0)
    spread = _spread(*_evenly(noisy, states, devices), h, t0, plan=plan, mesh=devices)
    found: Array = without_repeated(spread, len(states))
    return found


def _evenly(system: AnySystem, u0: Array, mesh: Mesh) -> tuple[AnySystem, Array]:
    """Repeats the last state, with the numbers of its system, where devices do not share all evenly."""
    if not len(u0) % mesh.size:
        return system, u0
    own, shared, joined = _divided(system, _axes_of(system, u0))
    own, u0 = with_repeated((own, u0), mesh)
    return joined(own, shared), u0


def _axes_of(system: AnySystem, u0: Array) -> Any:
    """Finds the axes of a system over which trajectories have numbers of their own."""
    models = num_models(system, u0.dtype)
    if models not in (None, len(u0)):
        raise InputError(f"expected one system, or a stack of one for each of {len(u0)} states, got {models} systems")
    axes = jax.tree.map(lambda _: None, system) if models is None else model_axes(system)
    return axes._replace(seed=(0, 0)) if isinstance(axes, NoisySystem) else axes


def _divided(system: AnySystem, axes: Any) -> tuple[list[Any], list[Any], Callable[[list[Any], list[Any]], AnySystem]]:
    """Returns the numbers that each trajectory has of its own, those that all share, and what joins them."""
    structure: Any
    leaves, structure = jax.tree.flatten(system)
    is_own = [axis == 0 for axis in structure.flatten_up_to(axes)]

    def joined(own: list[Any], shared: list[Any]) -> AnySystem:
        mine, ours = iter(own), iter(shared)
        system: AnySystem = structure.unflatten([next(mine) if yes else next(ours) for yes in is_own])
        return system

    own = [leaf for leaf, yes in zip(leaves, is_own, strict=True) if yes]
    return own, [leaf for leaf, yes in zip(leaves, is_own, strict=True) if not yes], joined


def keys_for(key: Any, num: int) -> Any:
    """Returns a key for each of some trajectories.

    Args:
        key: None, one, or one for each.
        num: the number of trajectories.

    Returns:
        None, or the keys.

    Raises:
        InputError: for another number of keys.
    """
    if key is None:
        return None
    typed = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    if typed.ndim and len(typed) != num:
        raise InputError(f"expected one key, or one for each of {num} trajectories, got {len(typed)}")
    return typed if typed.ndim else jax.random.split(typed, num)


def _checked_tile(tile_size: int | None) -> int | None:
    if tile_size is not None and tile_size < 1:
        raise InputError(f"tile_size must be at least 1, got {tile_size}")
    return tile_size


@partial(wide_jit, static_argnames=("plan", "mesh"))
def _spread(system: AnySystem, u0: Array, h: Any, t0: Any, *, plan: SolvePlan, mesh: Mesh) -> Array:
    u0, h, t0 = no_float64_on_tpu(u0), split(h, u0.dtype), split(t0, u0.dtype)
    axes = _axes_of(system, u0)
    own, shared, joined = _divided(system, axes)

    def on_one_device(own: tuple[list[Any], Array], shared: tuple[list[Any], Any, Any]) -> Array:
        (own_leaves, u0), (shared_leaves, h, t0) = own, shared
        return jax.vmap(partial(solve, plan), in_axes=(axes, 0, None, None))(
            joined(own_leaves, shared_leaves), u0, t0, h
        )

    return map_shards(on_one_device, (own, u0), (shared, h, t0), mesh)

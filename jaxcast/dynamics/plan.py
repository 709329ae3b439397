"""Plans of steps, and systems prepared for them: in one dtype, one or a stack."""

import operator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcast.clock import is_narrow
from jaxcast.dynamics.loops import advance, components_of, record
from jaxcast.dynamics.noise import AnySystem, NoisySystem
from jaxcast.dynamics.solvers import stepper_of
from jaxcast.dynamics.systems import Components
from jaxcast.errors import InputError


class SolvePlan(NamedTuple):
    """The static part of a simulation: numbers of steps.

    Args:
        num_transient: steps before the first sample.
        num_samples: how many to record; None for the last state alone.
        num_substeps: steps between samples, or to the last state.
        tile_size: states in a tile; by default as many as fit a cache.
        solver: the method of a step; None for the system's usual one.
    """

    num_transient: int
    num_samples: int | None
    num_substeps: int
    tile_size: int | None = None
    solver: str | None = None


def run_plan(plan: SolvePlan, system: AnySystem, t0: Any, u: Components, h: Any, **how: Any) -> Any:
    """Carries out a plan.

    Args:
        plan: the numbers of steps.
        system: one system, or a stack.
        t0: the time of the first sample.
        u: the components num_transient steps before t0.
        h: the step.
        how: `emit`, `advance`, `kernel` and `block_size` of `record`.

    Returns:
        The records with a leading time axis, or that of the last state.
    """
    steps = stepper_of(system, plan.solver, h)
    carried = steps.enter(u, system.seed if isinstance(system, NoisySystem) else None)
    if plan.num_samples is None:
        kernel = how.get("kernel", operator.call)
        last = partial(how.get("advance", advance), first=0, num_steps=plan.num_substeps)
        return how.get("emit", lambda u: u)(steps.leave(kernel(last, steps, t0, carried, h)))
    return record(
        steps,
        t0,
        carried,
        h,
        num_transient=plan.num_transient,
        num_samples=plan.num_samples,
        num_substeps=plan.num_substeps,
        **how,
    )


def num_models(system: AnySystem, dtype: Any) -> int | None:
    """Counts the systems in a stack.

    Args:
        system: one system, or a stack.
        dtype: of the states.

    Returns:
        The number; None for one system.

    Raises:
        InputError: for a vector field of the wrong length, or a stack of stacks.
    """
    # JAX keeps what it traced of a function that is the same one in each call.
    u = jax.eval_shape(components_of, system, jax.ShapeDtypeStruct((system.dim,), dtype))
    shape = u[0].shape if isinstance(u, tuple) else u.shape[1:]
    if len(shape) > 1:
        raise InputError(f"expected a system or a stack of systems, got one with parameters of shape {shape}")
    return shape[0] if shape else None


def model_axes(system: AnySystem) -> Any:
    """Finds the axes over which `jax.vmap` maps a stack: the first of arrays, none of numbers.

    Args:
        system: a stack.

    Returns:
        A tree like the system, with 0 or None for each leaf.
    """
    return jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, system)


def first_of(system: AnySystem, axes: Any) -> AnySystem:
    """Takes the first system out of a stack.

    Args:
        system: a stack.
        axes: 0 for leaves with an axis of systems, None for shared ones.

    Returns:
        One system.
    """
    structure: Any
    leaves, structure = jax.tree.flatten(system)
    first = [
        leaf if axis is None else leaf[0] for leaf, axis in zip(leaves, structure.flatten_up_to(axes), strict=True)
    ]
    return structure.unflatten(first)


def has_axis(t0: Any) -> bool:
    """Tells whether there are several times.

    Args:
        t0: a time or an `Instant`.

    Returns:
        Whether it has an axis.
    """
    return jnp.ndim(jax.tree.leaves(t0)[0]) > 0


def in_dtype(system: AnySystem, dtype: Any) -> AnySystem:
    """Converts a system's numbers to the dtype of the states, in which the arithmetic then is.

    Args:
        system: one system, or a stack.
        dtype: of the states.

    Returns:
        The system.
    """
    if isinstance(system, NoisySystem):
        drift: Any = in_dtype(system.system, dtype)
        return system._replace(system=drift, noise=_cast(system.noise, dtype))
    if not is_narrow(dtype):
        return _cast(system, dtype)
    schedules = iter(system.with_all_digits().schedules.values())
    cast: AnySystem = _cast(system, dtype).map_schedules(
        lambda _: jax.tree.map(lambda a: _float32(a, dtype), next(schedules))
    )
    return cast


def _float32(leaf: Any, dtype: Any) -> Any:
    """Converts a number of a schedule, which is evaluated in float32 at least."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jnp.asarray(leaf, wide if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None)


def _cast(system: Any, dtype: Any) -> Any:
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else None), system
    )

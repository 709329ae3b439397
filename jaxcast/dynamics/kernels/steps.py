"""A step of one state as a program of single numbers, and what runs it on blocks of states."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.backends.components import MOST_OPERATIONS, as_components, evaluate, num_operations
from jaxcast.clock import Instant, after_steps, shifted
from jaxcast.dynamics.loops import as_state, components_of
from jaxcast.dynamics.noise import AnySystem, NoisySystem
from jaxcast.dynamics.plan import first_of, has_axis
from jaxcast.dynamics.schedules import Schedule, SmoothSchedule
from jaxcast.dynamics.solvers import stepper_of
from jaxcast.dynamics.systems import System

_MOST_KNOWN = 2**24
"""The most values of schedules that are computed before the steps."""


class _Known(SmoothSchedule):
    """A schedule during one step, whose three values are known."""

    start: Any
    middle: Any
    end: Any

    def __call__(self, t: Any) -> Any:
        raise NotImplementedError("the values of a step are known, not those of a time")

    def over_step(self, start: Any, middle: Any, end: Any) -> tuple[Any, Any, Any]:
        return self.start, self.middle, self.end


@dataclasses.dataclass(frozen=True)
class Problem:
    """A step of one state as a program of single numbers, and all that it needs.

    Args:
        step: (own, shared, known, t0, h, k, carried) -> carried, as a closed jaxpr.
        enter: (own, shared, u) -> carried.
        leave: carried -> u.
        own: arrays with a row of numbers for each state.
        shared: arrays that all states share.
        known: values of the schedules in every step, (step, value).
        first: the number of the first step.
    """

    step: Any
    enter: Any
    leave: Any
    own: list[Array]
    shared: list[Array]
    known: list[Array]
    first: int


def filled(shape: tuple[int, ...], number: Any) -> Any:
    """Returns components, each as a function of its index."""
    components = np.empty(shape, object)
    for index in np.ndindex(shape):
        components[index] = number(index)
    return components


def as_lanes(number: Any, lanes: tuple[int, ...], dtype: Any) -> Any:
    """Returns one number for each state of a block."""
    return jnp.broadcast_to(jnp.asarray(number, dtype), lanes)


def enter_steps(problem: Problem, own: list[Any], shared: list[Any], u: Any, lanes: tuple[int, ...]) -> list[Any]:
    """Returns the numbers that the steps carry."""
    found = evaluate(problem.enter, *own, *shared, u)
    return _flat(problem, found, lanes)


def _flat(problem: Problem, carried: list[Any], lanes: tuple[int, ...]) -> list[Any]:
    dtypes = [aval.dtype for aval in problem.enter.out_avals]
    return [as_lanes(x, lanes, dtype) for a, dtype in zip(carried, dtypes, strict=True) for x in a.ravel()]


def _unflat(problem: Problem, numbers: list[Any]) -> list[Any]:
    given = iter(numbers)
    return [filled(aval.shape, lambda _: next(given)) for aval in problem.enter.out_avals]


def state_of(problem: Problem, numbers: list[Any]) -> list[Any]:
    (u,) = evaluate(problem.leave, *_unflat(problem, numbers))
    return list(u)


def advance_all(
    problem: Problem,
    own: list[Any],
    shared: list[Any],
    values: Any,
    lanes: tuple[int, ...],
    numbers: list[Any],
    start: Any,
    num_steps: Any,
    fused: Callable[[Any, Any, Any], Any] | None = None,
) -> list[Any]:
    """Takes steps number start, start + 1, ... of all."""

    def step(i: Any, numbers: list[Any]) -> list[Any]:
        number = start + i
        k = as_components(
            jnp.asarray(problem.first + number, problem.step.in_avals[-len(problem.enter.out_avals) - 1].dtype)
        )
        found = evaluate(problem.step, *own, *shared, *values(number), k, *_unflat(problem, numbers), fused=fused)
        return _flat(problem, found, lanes)

    if isinstance(num_steps, int):
        # Counters of 32 bits: a TPU has no others.
        return jax.lax.fori_loop(np.int32(0), np.int32(num_steps), step, numbers) if num_steps else numbers
    return jax.lax.fori_loop(np.int32(0), num_steps, step, numbers)


def make_problem(
    solver: str | None, system: AnySystem, is_own: Any, u0: Array, t0: Any, h: Any, numbers: range
) -> Problem:
    """Makes the programs of one state.

    The values of schedules that all states share are computed before, once for each step.
    """
    if isinstance(system, NoisySystem):
        raise NotImplementedError("random numbers in a kernel")
    axes = jax.tree.map(lambda yes: 0 if yes else None, is_own)
    is_known = _known_schedules(is_own, has_axis(t0))
    ks = numbers.start + jnp.arange(len(numbers))
    values = jax.vmap(lambda k: _stages(system, is_known, t0, h, k))(ks) if any(is_known) else []
    known, of_known = _as_table(values, len(numbers))
    one_t0 = jax.tree.map(lambda t: t[0], t0) if has_axis(t0) else t0
    one = first_of(system, axes)
    of_arguments: Any = jax.tree.structure((one, one_t0, h))
    own_flags = [
        *jax.tree.leaves(is_own),
        *[has_axis(t0)] * len(jax.tree.leaves(t0)),
        *[False] * len(jax.tree.leaves(h)),
    ]
    every = jax.tree.leaves((system, t0, h))
    own = [leaf for leaf, yes in zip(every, own_flags, strict=True) if yes]
    shared = [leaf for leaf, yes in zip(every, own_flags, strict=True) if not yes]

    def restored(own: Any, shared: Any) -> Any:
        mine, ours = iter(own), iter(shared)
        return of_arguments.unflatten([next(mine) if yes else next(ours) for yes in own_flags])

    def enter(own: Any, shared: Any, u: Any) -> Any:
        system, _, h = restored(own, shared)
        return stepper_of(system, solver, h).enter(components_of(system, u))

    def step(own: Any, shared: Any, values: Any, k: Any, carried: Any) -> Any:
        system, t0, h = restored(own, shared)
        system = _with_values(system, is_known, of_known(values))
        return stepper_of(system, solver, h).step_after(t0, k, carried, h)

    def leave(carried: Any) -> Any:
        return as_state(stepper_of(one, solver, h).leave(carried))

    one_of_each = [leaf[0] for leaf in own]
    carried = jax.eval_shape(enter, one_of_each, shared, u0[0])
    k = jnp.zeros((), jnp.int32 if isinstance(h, Instant) else h.dtype)
    row = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in known]
    problem = Problem(
        jax.make_jaxpr(step)(one_of_each, shared, row, k, carried),
        jax.make_jaxpr(enter)(one_of_each, shared, u0[0]),
        jax.make_jaxpr(leave)(carried),
        own,
        shared,
        known,
        numbers.start,
    )
    if num_operations(problem.step) > MOST_OPERATIONS:
        raise NotImplementedError("too many operations for one kernel")
    return problem


def _known_schedules(is_own: Any, has_own_t0: bool) -> list[bool]:
    """Tells for each schedule whether its values are the same for all states."""
    return [not has_own_t0 and not any(jax.tree.leaves(flags)) for flags in is_own.schedules.values()]


def _as_table(values: Any, num_steps: int) -> tuple[list[Array], Callable[[Any], Any]]:
    """Joins values into a table with a row for each step, and returns what splits a row again."""
    structure: Any
    leaves, structure = jax.tree.flatten(values)
    if len({leaf.dtype for leaf in leaves}) > 1 or sum(leaf.size for leaf in leaves) > _MOST_KNOWN:
        raise NotImplementedError("too many values of schedules, or several dtypes")
    ends = np.cumsum([leaf[0].size for leaf in leaves])[:-1]
    shapes = [leaf.shape[1:] for leaf in leaves]

    def split(rows: Any) -> Any:
        parts = jnp.split(rows[0], ends) if leaves else []
        return structure.unflatten([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])

    return [jnp.concatenate([leaf.reshape(num_steps, -1) for leaf in leaves], 1)] if leaves else [], split


def _stages(system: System, is_known: list[bool], t0: Any, h: Any, k: Any) -> list[Any]:
    """Returns the three values of each known schedule in step number k."""
    step = h.hi if isinstance(h, Instant) else h
    t = after_steps(t0, k if isinstance(t0, Instant) else k.astype(step.dtype), h)
    times = t, shifted(t, step / 2), shifted(t, step)
    pairs = zip(system.schedules.values(), is_known, strict=True)
    return [tuple(map(jnp.asarray, schedule.stages(*times))) for schedule, yes in pairs if yes]


def _with_values(system: System, is_known: list[bool], values: list[Any]) -> System:
    """Replaces the known schedules by their values."""
    flags, given = iter(is_known), iter(values)

    def replaced(schedule: Schedule) -> Any:
        return _Known(*next(given)) if next(flags) else schedule

    return system.map_schedules(replaced)

"""A step of one state as a program of single numbers, and what runs it on blocks of states."""

import dataclasses
import math
from collections.abc import Callable
from itertools import compress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.backends.components import (
    MOST_NUMBERS,
    MOST_OPERATIONS,
    are_read,
    as_components,
    evaluate,
    num_kernel_operations,
)
from jaxcast.clock import Instant, after_steps, shifted
from jaxcast.dynamics.loops import as_state, components_of
from jaxcast.dynamics.noise import AnySystem, NoisySystem
from jaxcast.dynamics.plan import first_of, has_axis
from jaxcast.dynamics.schedules import Schedule, SmoothSchedule
from jaxcast.dynamics.solvers import stepper_of
from jaxcast.dynamics.systems import System

_MOST_SCHEDULED = 2**24
"""The most values of schedules that are computed before the steps."""


class _Scheduled(SmoothSchedule):
    """A schedule during one step, whose three values were computed before."""

    start: Any
    middle: Any
    end: Any

    def __call__(self, t: Any) -> Any:
        raise NotImplementedError("only the values of a step were computed, not that of any time")

    def over_step(self, start: Any, middle: Any, end: Any) -> tuple[Any, Any, Any]:
        return self.start, self.middle, self.end


@dataclasses.dataclass(frozen=True)
class KernelStep:
    """A step of one state as a program of single numbers, and all that it needs.

    Args:
        step: (own, shared, a row of scheduled, k, carried) -> carried, as a closed jaxpr.
        enter: (own, shared, u) -> carried.
        leave: carried -> u.
        is_read: which arrays of own and shared, as step and enter take them, these read.
        own: arrays with a row of numbers for each state; only those that are read.
        shared: arrays that all states share; only those that are read.
        num_own_of_system: how many of own, the first ones, are numbers of the system.
        scheduled: values of the schedules in every step, (step, value).
        first: the number of the first step.
    """

    step: Any
    enter: Any
    leave: Any
    is_read: list[bool]
    own: list[Array]
    shared: list[Array]
    num_own_of_system: int
    scheduled: list[Array]
    first: int

    def arguments(self, own: list[Any], shared: list[Any]) -> list[Any]:
        """Returns the first arguments of step and enter; None is what neither reads."""
        read = iter([*own, *shared])
        return [next(read) if yes else None for yes in self.is_read]


def filled(shape: tuple[int, ...], number: Any) -> Any:
    """Returns components, each as a function of its index."""
    components = np.empty(shape, object)
    for index in np.ndindex(shape):
        components[index] = number(index)
    return components


def as_lanes(number: Any, lanes: tuple[int, ...], dtype: Any) -> Any:
    """Returns one number for each state of a block."""
    return jnp.broadcast_to(jnp.asarray(number, dtype), lanes)


def enter_steps(
    kernel_step: KernelStep, own: list[Any], shared: list[Any], u: Any, lanes: tuple[int, ...]
) -> list[Any]:
    """Returns the numbers that the steps carry."""
    found = evaluate(kernel_step.enter, *kernel_step.arguments(own, shared), u)
    return _flat(kernel_step, found, lanes)


def _flat(kernel_step: KernelStep, carried: list[Any], lanes: tuple[int, ...]) -> list[Any]:
    dtypes = [aval.dtype for aval in kernel_step.enter.out_avals]
    return [as_lanes(x, lanes, dtype) for a, dtype in zip(carried, dtypes, strict=True) for x in a.ravel()]


def _unflat(kernel_step: KernelStep, numbers: list[Any]) -> list[Any]:
    given = iter(numbers)
    return [filled(aval.shape, lambda _: next(given)) for aval in kernel_step.enter.out_avals]


def state_of(kernel_step: KernelStep, numbers: list[Any]) -> list[Any]:
    (u,) = evaluate(kernel_step.leave, *_unflat(kernel_step, numbers))
    return list(u)


def advance_all(
    kernel_step: KernelStep,
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
    dtype = kernel_step.step.in_avals[-len(kernel_step.enter.out_avals) - 1].dtype
    arguments = kernel_step.arguments(own, shared)

    def step(i: Any, numbers: list[Any]) -> list[Any]:
        number = start + i
        k = as_components(jnp.asarray(kernel_step.first + number, dtype))
        carried = _unflat(kernel_step, numbers)
        found = evaluate(kernel_step.step, *arguments, *values(number), k, *carried, fused=fused)
        return _flat(kernel_step, found, lanes)

    if isinstance(num_steps, int):
        # Counters of 32 bits: a TPU has no others.
        return jax.lax.fori_loop(np.int32(0), np.int32(num_steps), step, numbers) if num_steps else numbers
    return jax.lax.fori_loop(np.int32(0), num_steps, step, numbers)


def make_kernel_step(
    solver: str | None, system: AnySystem, is_own: Any, u0: Array, t0: Any, h: Any, numbers: range
) -> KernelStep:
    """Makes the programs of one state, and refuses those that are too long for a kernel.

    The values of schedules that all states share are computed before, once for each step.
    """
    if isinstance(system, NoisySystem):
        raise NotImplementedError("random numbers in a kernel")
    axes = jax.tree.map(lambda yes: 0 if yes else None, is_own)
    is_shared = _shared_schedules(is_own, has_axis(t0))
    ks = numbers.start + jnp.arange(len(numbers))
    values = jax.vmap(lambda k: _stages(system, is_shared, t0, h, k))(ks) if any(is_shared) else []
    scheduled, of_row = _as_table(values, len(numbers))
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
        system = _with_values(system, is_shared, of_row(values))
        return stepper_of(system, solver, h).step_after(t0, k, carried, h)

    def leave(carried: Any) -> Any:
        return as_state(stepper_of(one, solver, h).leave(carried))

    one_of_each = [leaf[0] for leaf in own]
    carried = jax.eval_shape(enter, one_of_each, shared, u0[0])
    k = jnp.zeros((), jnp.int32 if isinstance(h, Instant) else h.dtype)
    row = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in scheduled]
    kernel_step = KernelStep(
        jax.make_jaxpr(step)(one_of_each, shared, row, k, carried),
        jax.make_jaxpr(enter)(one_of_each, shared, u0[0]),
        jax.make_jaxpr(leave)(carried),
        [True] * (len(own) + len(shared)),
        own,
        shared,
        sum(jax.tree.leaves(is_own)),
        scheduled,
        numbers.start,
    )
    return _within_limits(_of_what_is_read(kernel_step))


def _of_what_is_read(kernel_step: KernelStep) -> KernelStep:
    """Drops the arrays that no program reads, such as those of schedules whose values are scheduled."""
    num = len(kernel_step.own)
    pairs = zip(are_read(kernel_step.step), are_read(kernel_step.enter), strict=False)
    is_read = [any(pair) for pair in pairs][: len(kernel_step.is_read)]
    return dataclasses.replace(
        kernel_step,
        is_read=is_read,
        own=list(compress(kernel_step.own, is_read[:num])),
        shared=list(compress(kernel_step.shared, is_read[num:])),
        num_own_of_system=sum(is_read[: kernel_step.num_own_of_system]),
    )


def _within_limits(kernel_step: KernelStep) -> KernelStep:
    """Refuses what would take minutes to compile."""
    rows = [leaf.shape[1:] for leaf in (*kernel_step.own, *kernel_step.scheduled)]
    num_numbers = sum(map(math.prod, [*rows, *[leaf.shape for leaf in kernel_step.shared]]))
    if num_kernel_operations(kernel_step.step) > MOST_OPERATIONS or num_numbers > MOST_NUMBERS:
        raise NotImplementedError("too many operations or numbers for one kernel")
    return kernel_step


def _shared_schedules(is_own: Any, has_own_t0: bool) -> list[bool]:
    """Tells for each schedule whether its values are the same for all states."""
    return [not has_own_t0 and not any(jax.tree.leaves(flags)) for flags in is_own.schedules.values()]


def _as_table(values: Any, num_steps: int) -> tuple[list[Array], Callable[[Any], Any]]:
    """Joins values into a table with a row for each step, and returns what splits a row again."""
    structure: Any
    leaves, structure = jax.tree.flatten(values)
    if len({leaf.dtype for leaf in leaves}) > 1 or sum(leaf.size for leaf in leaves) > _MOST_SCHEDULED:
        raise NotImplementedError("too many values of schedules, or several dtypes")
    ends = np.cumsum([leaf[0].size for leaf in leaves])[:-1]
    shapes = [leaf.shape[1:] for leaf in leaves]

    def split(rows: Any) -> Any:
        parts = jnp.split(rows[0], ends) if leaves else []
        return structure.unflatten([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])

    return [jnp.concatenate([leaf.reshape(num_steps, -1) for leaf in leaves], 1)] if leaves else [], split


def _stages(system: System, is_shared: list[bool], t0: Any, h: Any, k: Any) -> list[Any]:
    """Returns the three values of each shared schedule in step number k."""
    step = h.hi if isinstance(h, Instant) else h
    t = after_steps(t0, k if isinstance(t0, Instant) else k.astype(step.dtype), h)
    times = t, shifted(t, step / 2), shifted(t, step)
    pairs = zip(system.schedules.values(), is_shared, strict=True)
    return [tuple(map(jnp.asarray, schedule.stages(*times))) for schedule, yes in pairs if yes]


def _with_values(system: System, is_shared: list[bool], values: list[Any]) -> System:
    """Replaces the shared schedules by their values."""
    flags, given = iter(is_shared), iter(values)

    def replaced(schedule: Schedule) -> Any:
        return _Scheduled(*next(given)) if next(flags) else schedule

    return system.map_schedules(replaced)

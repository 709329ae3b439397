"""Schedules: how a parameter of a system depends on time.

Like systems they are frozen dataclasses and pytrees, and their numbers are leaves.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from jaxcast.arguments import checked
from jaxcast.clock import HasTimes, Instant, difference, joined, split_number, turns
from jaxcast.conversion import as_parameter
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.types import Scalar

Parameter: TypeAlias = Any
"""A number, an array of numbers, a `Schedule`, or a plain function of time.

A plain function becomes a `FunctionOfTime`.
"""

_PACKAGE = f"{__name__.partition('.')[0]}."
_MOST_SELECTED = 64
"""The largest number of jumps for which a value is chosen by comparisons."""


class Schedule(FrozenPytree, HasTimes):
    """A parameter that depends on time: a callable t -> value.

    Derive your own from `SmoothSchedule` or, if it jumps, from `JumpingSchedule`; list its numbers
    as fields and write `__call__`. With float32 states, the schedules of jaxcast know their phase
    at any time. Your own gets the time rounded to float32, unless JAX is set to float64.

    Raises:
        InputError: for a parameter that is not a number, or a period of 0.
    """

    times_within: ClassVar[tuple[str, ...]] = ()
    """The fields that are compared with times."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not field.metadata.get("static"):
                # A list would be many leaves; whole numbers would stay integers.
                value = as_parameter(field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
                if field.name in ("period", "periods") and _is_zero_anywhere(value):
                    raise InputError(f"{field.name} must not be 0, got {shown(value)}")

    @abc.abstractmethod
    def __call__(self, t: Any) -> Shaped[Array, "..."]:
        """Evaluates the schedule.

        Args:
            t: the time, in the system's unit.

        Returns:
            The parameter's value, in the unit of the parameter.
        """

    @abc.abstractmethod
    def over_step(self, start: Any, middle: Scalar | Instant, end: Scalar | Instant) -> tuple[Any, Any, Any]:
        """Evaluates the schedule at the three stage times of one Runge-Kutta step.

        Args:
            start: the time at the start of the step.
            middle: the time half a step later.
            end: the time at the end of the step.

        Returns:
            The three values.
        """

    @property
    @abc.abstractmethod
    def jumps(self) -> Any:
        """The times at which the value jumps, (jump,); integrators refuse jumps inside a step."""

    def stages(self, start: Any, middle: Any, end: Any) -> tuple[Any, Any, Any]:
        """Calls `over_step` with stage times that may be instants.

        Only the schedules of jaxcast get instants; others get rounded numbers.

        Args:
            start: the time at the start of the step.
            middle: the time half a step later.
            end: the time at the end of the step.

        Returns:
            The three values.
        """
        if self._knows_instants or not isinstance(start, Instant):
            return self.over_step(start, middle, end)
        dtype = start.hi.dtype
        first, second, third = self.over_step(*map(joined, (start, middle, end)))
        return jnp.asarray(first, dtype), jnp.asarray(second, dtype), jnp.asarray(third, dtype)

    @property
    def _knows_instants(self) -> bool:
        # A user's own class gets plain numbers.
        own = (type(self).__call__, type(self).over_step)
        return all(method.__module__.startswith(_PACKAGE) for method in own) and not isinstance(self, FunctionOfTime)

    def with_all_digits(self) -> "Schedule":
        """Returns the schedule with times and periods as instants, before JAX cuts them to float32."""
        if not self._knows_instants:
            return self
        changes = {name: getattr(self, name) for name in self.times_within}
        changes = {name: split_number(value) for name, value in changes.items() if _has_digits(value)}
        return dataclasses.replace(self, **changes) if changes else self


class SmoothSchedule(Schedule):
    """A schedule without jumps; a subclass writes `__call__`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> class Ramp(jaxcast.dynamics.SmoothSchedule):
        ...     start: jaxcast.dynamics.Parameter
        ...     rate: jaxcast.dynamics.Parameter
        ...     def __call__(self, t):
        ...         return self.start + self.rate * jnp.maximum(t, 0.0)
        >>> float(Ramp(28.0, 0.5)(4.0))
        30.0
    """

    def over_step(self, start: Any, middle: Scalar | Instant, end: Scalar | Instant) -> tuple[Any, Any, Any]:
        """Evaluates the schedule at each of the three stage times.

        Args:
            start: the time at the start of the step.
            middle: the time half a step later.
            end: the time at the end of the step.

        Returns:
            The three values.
        """
        return self(start), self(middle), self(end)

    @property
    def jumps(self) -> Any:
        """None: an empty tuple."""
        return ()


class JumpingSchedule(Schedule):
    """A schedule that jumps between steps and is constant over each.

    A jump inside a step would reduce Runge-Kutta to order one. A subclass writes `__call__` and
    `jumps`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> class Switch(jaxcast.dynamics.JumpingSchedule):
        ...     at: jaxcast.dynamics.Parameter
        ...     @property
        ...     def jumps(self):
        ...         return (self.at,)
        ...     def __call__(self, t):
        ...         return jnp.where(t < self.at, 28.0, 48.0)
        >>> [float(value) for value in Switch(at=1.0).over_step(0.95, 1.0, 1.05)]
        [48.0, 48.0, 48.0]
    """

    def over_step(self, start: Any, middle: Scalar | Instant, end: Scalar | Instant) -> tuple[Any, Any, Any]:
        """Evaluates the schedule in the middle of the step, for all three stage times.

        Args:
            start: the time at the start of the step.
            middle: the time half a step later.
            end: the time at the end of the step.

        Returns:
            The same value three times.
        """
        value = self(middle)
        return value, value, value


def _is_zero_anywhere(value: Any) -> bool:
    return isinstance(value, float | np.ndarray | np.generic) and bool(np.any(np.asarray(value) == 0))


class Constant(SmoothSchedule, name="constant"):
    """The same value at every time, for code that expects a schedule.

    Args:
        value: the parameter's value.

    Example:
        >>> import jaxcast
        >>> float(jaxcast.dynamics.Constant(28.0)(t=3.0))
        28.0
    """

    value: Parameter

    @checked
    def __call__(self, t: Scalar | Instant) -> Shaped[Array, "..."]:
        return jnp.asarray(self.value)


class Cosine(SmoothSchedule, name="cosine"):
    """A cosine: mean + amplitude cos(2 pi t / period + phase).

    Args:
        mean: the parameter's mean over a period.
        amplitude: the largest deviation from the mean; negative to start at the minimum.
        period: in the system's time unit.
        phase: in radians.

    Example:
        >>> import jaxcast
        >>> rho = jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132)
        >>> round(float(rho(0.0)), 3)
        28.0
    """

    times_within = ("period",)
    mean: Parameter
    amplitude: Parameter
    period: Parameter
    phase: Parameter = 0.0

    @checked
    def __call__(self, t: Scalar | Instant) -> Shaped[Array, "..."]:
        if isinstance(t, Instant):
            return self.mean + self.amplitude * jnp.cos(2 * jnp.pi * turns(t, self.period) + self.phase)
        return self.mean + self.amplitude * jnp.cos(2 * jnp.pi * t / joined(self.period) + self.phase)


class SumOfCosines(SmoothSchedule, name="sum_of_cosines"):
    """A sum of cosines: mean + sum_k amplitudes_k cos(2 pi t / periods_k + phases_k).

    Args:
        mean: the parameter's mean.
        amplitudes: one for each cosine.
        periods: one for each cosine, in the system's time unit.
        phases: one for each cosine, in radians.

    Raises:
        InputError: when called, unless there is one amplitude, period and phase for each cosine.

    Example:
        >>> import jaxcast
        >>> rho = jaxcast.SumOfCosines(mean=38.0, amplitudes=[6.0, 4.0], periods=[1.6, 2.7], phases=[0.0, 0.0])
        >>> float(rho(0.0))
        48.0
    """

    times_within = ("periods",)
    mean: Parameter
    amplitudes: Parameter
    periods: Parameter
    phases: Parameter

    @checked
    def __call__(self, t: Scalar | Instant) -> Shaped[Array, "..."]:
        amplitudes, phases = (jnp.asarray(a) for a in (self.amplitudes, self.phases))
        periods = self.periods if isinstance(self.periods, Instant) else jnp.asarray(self.periods)
        if not amplitudes.shape == periods.shape == phases.shape or not amplitudes.ndim:
            raise InputError(
                "expected an amplitude, a period and a phase for each cosine, "
                f"got shapes {amplitudes.shape}, {periods.shape}, {phases.shape}"
            )
        if isinstance(t, Instant):
            angles = 2 * jnp.pi * turns(t, periods) + phases
            return self.mean + (amplitudes * jnp.cos(angles)).sum(-1)
        return self.mean + (amplitudes * jnp.cos(2 * jnp.pi * t / joined(periods) + phases)).sum(-1)


class LinearRamp(SmoothSchedule, name="linear_ramp"):
    """A linear change from one value to another.

    It has kinks at `begin` and `end`; these are best placed on the integrator's steps.

    Args:
        start: the value until `begin`.
        stop: the value from `end` on.
        begin: the time at which the change starts.
        end: the time at which it ends.

    Example:
        >>> import jaxcast
        >>> rho = jaxcast.LinearRamp(start=28.0, stop=48.0, begin=0.0, end=400.0)
        >>> float(rho(-1.0)), float(rho(100.0)), float(rho(500.0))
        (28.0, 33.0, 48.0)
    """

    times_within = ("begin", "end")
    start: Parameter
    stop: Parameter
    begin: Parameter
    end: Parameter

    @checked
    def __call__(self, t: Scalar | Instant) -> Shaped[Array, "..."]:
        share = jnp.clip(difference(t, self.begin) / difference(self.end, self.begin), 0.0, 1.0)
        return self.start + (self.stop - self.start) * share


class PiecewiseConstant(JumpingSchedule, name="piecewise_constant"):
    """A value that jumps at given times: regime switching.

    Its value is values_0 before times_0, and values_k from times_(k-1) on. The jumps must lie on
    the integrator's steps; `simulate` and `flow_map` refuse others.

    Args:
        times: of the jumps, in increasing order.
        values: one before the first jump and one after each.

    Raises:
        InputError: when called, unless there is one value more than times.

    Example:
        >>> import jaxcast
        >>> rho = jaxcast.PiecewiseConstant(times=[10.0, 25.0], values=[28.0, 40.0, 33.0])
        >>> float(rho(9.99)), float(rho(10.0)), float(rho(30.0))
        (28.0, 40.0, 33.0)
    """

    times_within = ("times",)
    times: Parameter
    values: Parameter

    @checked
    def __call__(self, t: Scalar | Instant) -> Shaped[Array, "..."]:
        if isinstance(t, Instant):
            return self._value(0.0, -difference(t, self.times))
        return self._value(t, jnp.asarray(joined(self.times)))

    def _value(self, t: Any, times: Array) -> Shaped[Array, "..."]:
        values = jnp.asarray(self.values)
        if not times.ndim or values.shape != (*times.shape[:-1], times.shape[-1] + 1):
            raise InputError(f"expected one value more than times, got shapes {values.shape} and {times.shape}")
        if times.shape[-1] > _MOST_SELECTED:
            return jnp.take_along_axis(values, (t >= times).sum(-1)[..., None], -1)[..., 0]
        # Comparisons, because a lookup by index keeps a time loop from becoming one kernel on CPU.
        value, *later = jnp.unstack(values, axis=-1)
        for time, next_value in zip(jnp.unstack(times, axis=-1), later, strict=True):
            value = jnp.where(t >= time, next_value, value)
        return value

    @property
    def jumps(self) -> Any:
        return self.times


class FunctionOfTime(SmoothSchedule):
    """Your own function t -> value; a plain function given as a parameter becomes one.

    It must be smooth; for jumps see `JumpingSchedule`. Its numbers are constants of the compiled
    program. To tune them or differentiate by them, subclass `SmoothSchedule` instead.

    Args:
        function: of the time, made of JAX operations.

    Example:
        >>> import jaxcast
        >>> system = jaxcast.Lorenz63(rho=lambda t: 28.0 + t)
        >>> type(system.rho).__name__, float(system.at(2.0).rho)
        ('FunctionOfTime', 30.0)
    """

    function: Callable[[Any], Any] = static()

    @checked
    def __call__(self, t: Scalar | Instant) -> Shaped[Array, "..."]:
        return jnp.asarray(self.function(t))


def _has_digits(value: Any) -> bool:
    """Tells whether a number has more digits than float32."""
    if isinstance(value, jax.Array):
        return value.dtype == jnp.float64
    return isinstance(value, float | int | np.ndarray | np.generic)

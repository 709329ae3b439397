"""Vector fields du/dt = f(t, u), and the schedules that their parameters may follow.

Systems and schedules are frozen dataclasses and pytrees: their numbers are leaves, so `jax.grad`, `jax.vmap`
and `jax.jit` see them, and calling again with other numbers compiles nothing. A leaf may be an array, which
makes many systems one (`jaxcast.stack`).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Shaped

from jaxcast.errors import InputError

Scalar: TypeAlias = Shaped[ArrayLike, ""]
StateLike: TypeAlias = Shaped[ArrayLike, " dim"] | Sequence[float]
"""One state, (dim,)."""
Components: TypeAlias = Sequence[Any]
"""The components of a state as separate arrays of one shape: () for one state, (n,) for a tile of n states."""
Parameter: TypeAlias = Any
"""A number, an array of numbers, a `Schedule`, or a plain function of time, which becomes a `FunctionOfTime`."""

T = TypeVar("T", bound="System")


@dataclass_transform(frozen_default=True)
class _FrozenPytree:
    """Makes every subclass a frozen dataclass and a pytree whose fields are leaves unless marked static."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True)(cls)
        jax.tree_util.register_dataclass(cls)


class Schedule(_FrozenPytree):
    """A parameter that depends on time: a callable t -> value, in the unit of the parameter.

    A subclass lists its numbers as fields and defines `__call__`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> class Ramp(jaxcast.Schedule):
        ...     start: jaxcast.Parameter
        ...     rate: jaxcast.Parameter
        ...     def __call__(self, t):
        ...         return self.start + self.rate * jnp.maximum(t, 0.0)
        >>> float(Ramp(28.0, 0.5)(4.0))
        30.0
    """

    def __call__(self, t: Scalar) -> Shaped[Array, "..."]:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, t)")

    def over_step(self, start: Scalar, middle: Scalar, end: Scalar) -> tuple[Any, Any, Any]:
        """The values at the three stage times of one Runge-Kutta step.

        A schedule that jumps overrides this and holds its value at `middle` for the whole step, and jumps between
        steps only: looked up at the stage times, or inside a step, a jump takes Runge-Kutta down to order one.
        """
        return self(start), self(middle), self(end)


class Constant(Schedule):
    """value at every time; the same as a plain number, for code that expects a schedule.

    Example:
        >>> import jaxcast
        >>> float(jaxcast.Constant(28.0)(t=3.0))
        28.0
    """

    value: Parameter

    def __call__(self, t: Scalar) -> Shaped[Array, "..."]:
        return jnp.asarray(self.value)


class Cosine(Schedule):
    """mean + amplitude cos(2 pi t / period + phase), with the period in time units and the phase in radians.

    Example:
        >>> import jaxcast
        >>> rho = jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132)  # Patel and Wikner (2023), eq. 6
        >>> round(float(rho(0.0)), 3)
        28.0
    """

    mean: Parameter
    amplitude: Parameter
    period: Parameter
    phase: Parameter = 0.0

    def __call__(self, t: Scalar) -> Shaped[Array, "..."]:
        return self.mean + self.amplitude * jnp.cos(2 * jnp.pi * t / self.period + self.phase)


class FunctionOfTime(Schedule):
    """A user's own function t -> value, of JAX operations; a plain function given as a parameter becomes one.

    It must be smooth; for jumps see `Schedule.over_step`. Its numbers are constants of the compiled program; to tune
    them or differentiate by them, subclass `Schedule`.

    Example:
        >>> import jaxcast
        >>> system = jaxcast.Lorenz63(rho=lambda t: 28.0 + t)
        >>> type(system.rho).__name__, float(system.at(2.0).rho)
        ('FunctionOfTime', 30.0)
    """

    function: Callable[[Any], Any] = dataclasses.field(metadata={"static": True})

    def __call__(self, t: Scalar) -> Shaped[Array, "..."]:
        return jnp.asarray(self.function(t))


class System(_FrozenPytree):
    """A dynamical system du/dt = f(t, u).

    A subclass names its `components`, lists its parameters as fields, and writes `vector_field` for one state.
    Inside it every parameter is a number, whether the user gave a number or a schedule. Components come first
    and only elementwise operations are used, so the same lines run on one state and on a tile of thousands.

    Raises:
        InputError: where the state given has another number of components.

    Example:
        >>> import jaxcast
        >>> class Rossler(jaxcast.System):
        ...     components = ("x", "y", "z")
        ...     a: jaxcast.Parameter = 0.2
        ...     b: jaxcast.Parameter = 0.2
        ...     c: jaxcast.Parameter = 5.7
        ...     def vector_field(self, t, u):
        ...         x, y, z = u
        ...         return -y - z, x + self.a * y, self.b + z * (x - self.c)
        >>> driven = Rossler(c=jaxcast.Cosine(mean=5.7, amplitude=1.0, period=20.0))
        >>> [round(float(v), 3) for v in driven(0.0, (1.0, 2.0, 3.0))]
        [-5.0, 1.4, -16.9]
    """

    components: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            # Arrays and tracers are not callable; what is left are the user's plain functions of time.
            if callable(value) and not isinstance(value, Schedule) and not field.metadata.get("static"):
                object.__setattr__(self, field.name, FunctionOfTime(value))

    @property
    def dim(self) -> int:
        """The number of components of a state."""
        return len(self.components)

    def vector_field(self, t: Scalar, u: Components) -> Components:
        """du/dt at time t and state u, component by component."""
        raise NotImplementedError(f"{type(self).__name__} must define vector_field(self, t, u)")

    def __call__(self, t: Scalar, u: Components) -> Components:
        """du/dt at time t and state u, with every schedule evaluated at t."""
        self.check_dim(len(u))
        return self.at(t).vector_field(t, u)

    def check_dim(self, dim: int) -> None:
        """Raises InputError unless a state has `dim` components."""
        if dim != self.dim:
            raise InputError(
                f"{type(self).__name__} expects a state of {self.dim} components {self.components}, got {dim}"
            )

    @property
    def is_autonomous(self) -> bool:
        """Whether no parameter follows a schedule."""
        return not self._schedules()

    def at(self: T, t: Scalar) -> T:
        """The system with every schedule replaced by its value at time t."""
        return dataclasses.replace(self, **{name: schedule(t) for name, schedule in self._schedules().items()})

    def over_step(self: T, start: Scalar, middle: Scalar, end: Scalar) -> tuple[T, T, T]:
        """The system at the three stage times of one Runge-Kutta step; see `Schedule.over_step`."""
        values = {name: schedule.over_step(start, middle, end) for name, schedule in self._schedules().items()}
        first, second, third = (
            dataclasses.replace(self, **{name: stages[i] for name, stages in values.items()}) for i in range(3)
        )
        return first, second, third

    def _schedules(self) -> dict[str, Schedule]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Schedule)}


class Lorenz63(System):
    """The Lorenz '63 equations (Lorenz, J. Atmos. Sci. 20, 130-141, 1963), time in model time units (MTU).

        du1/dt = sigma (u2 - u1)
        du2/dt = u1 (rho - u3) - u2
        du3/dt = u1 u2 - beta u3

    Example:
        >>> import jaxcast
        >>> system = jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))
        >>> [round(float(v), 3) for v in system(0.0, (1.0, 2.0, 3.0))]
        [10.0, 23.0, -6.0]
    """

    components = ("u1", "u2", "u3")

    sigma: Parameter = 10.0
    rho: Parameter = 28.0
    beta: Parameter = 8.0 / 3.0

    def vector_field(self, t: Scalar, u: Components) -> Components:
        u1, u2, u3 = u
        return self.sigma * (u2 - u1), u1 * (self.rho - u3) - u2, u1 * u2 - self.beta * u3

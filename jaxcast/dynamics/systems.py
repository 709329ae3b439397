"""Vector fields du/dt = f(t, u).

Systems are frozen dataclasses and pytrees. Their numbers are leaves, so `jax.grad`, `jax.vmap` and
`jax.jit` see them, and calling again with other numbers compiles nothing. A leaf may be an array:
then one system stands for many (`jaxcast.stack_systems`).
"""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import Checked
from jaxcast.conversion import as_parameter
from jaxcast.dynamics.schedules import FunctionOfTime, Parameter, Schedule
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.types import Scalar

Components: TypeAlias = Sequence[Any] | Array
"""The components of a state as separate arrays of one shape: () for one state, (n,) for n states.

For systems of many components it is one array with the components first.
"""
T = TypeVar("T", bound="System")


class System(FrozenPytree):
    """A dynamical system du/dt = f(t, u).

    A subclass names its `components`, lists its parameters as fields, and writes `vector_field` for
    one state. There every parameter is a number, even if the user gave a schedule. Components come
    first and operations are elementwise, so the same lines run on one state and on thousands.

    Raises:
        InputError: for a state with another number of components.

    Example:
        >>> import jaxcast
        >>> class Lorenz84(jaxcast.System):
        ...     components = ("x", "y", "z")
        ...     a: jaxcast.dynamics.Parameter = 0.25
        ...     b: jaxcast.dynamics.Parameter = 4.0
        ...     f: jaxcast.dynamics.Parameter = 8.0
        ...     g: jaxcast.dynamics.Parameter = 1.0
        ...     def vector_field(self, t, u):
        ...         x, y, z = u
        ...         dx = -y * y - z * z - self.a * x + self.a * self.f
        ...         return dx, x * y - self.b * x * z - y + self.g, self.b * x * y + x * z - z
        >>> seasonal = Lorenz84(f=jaxcast.Cosine(mean=7.0, amplitude=2.0, period=73.0))
        >>> [round(float(v), 3) for v in seasonal(0.0, (1.0, 2.0, 3.0))]
        [-11.0, -11.0, 8.0]
    """

    center: ClassVar[tuple[float, ...]] = ()
    """A point near its states, for `random_starts`; the origin by default."""
    spread: ClassVar[tuple[float, ...]] = ()
    """Standard deviations of `random_starts` around the center; one by default."""

    @property
    @abc.abstractmethod
    def components(self) -> tuple[str, ...]:
        """The names of the components of a state; a subclass writes them as a plain tuple."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            # Arrays and tracers are not callable: what is left are plain functions of time.
            if callable(value) and not isinstance(value, Schedule | System) and not field.metadata.get("static"):
                object.__setattr__(self, field.name, FunctionOfTime(value))
            elif not field.metadata.get("static") and not isinstance(value, Schedule | System):
                object.__setattr__(self, field.name, as_parameter(field.name, value))
        if isinstance(self, Checked):
            self.check()

    @property
    def dim(self) -> int:
        """The number of components of a state."""
        return len(self.components)

    @abc.abstractmethod
    def vector_field(self, t: Scalar, u: Components) -> Components:
        """Computes du/dt from parameters that are numbers.

        Args:
            t: the time.
            u: the state.

        Returns:
            The derivative, component by component.
        """

    def __call__(self, t: Scalar, u: Components) -> Components:
        """Computes du/dt, with every schedule evaluated at t.

        Args:
            t: the time.
            u: the state.

        Returns:
            The derivative, component by component.
        """
        self.check_dim(len(u))
        return self.at(t).vector_field(t, u)

    def check_dim(self, dim: int) -> None:
        """Refuses a state with another number of components.

        Args:
            dim: the number of components.

        Raises:
            InputError: unless it is the system's.
        """
        if dim != self.dim:
            raise InputError(
                f"{type(self).__name__} expects a state of {self.dim} components {shown(self.components)}, got {dim}"
            )

    @property
    def is_autonomous(self) -> bool:
        """Whether no parameter follows a schedule."""
        return not self.schedules

    def at(self: T, t: Scalar) -> T:
        """Replaces every schedule by its value at one time.

        Args:
            t: the time.

        Returns:
            A system without schedules.
        """
        return self.map_schedules(lambda schedule: schedule(t))

    def over_step(self: T, start: Any, middle: Any, end: Any) -> tuple[T, T, T]:
        """Replaces every schedule by its values at the stage times of one Runge-Kutta step.

        Args:
            start: the time at the start of the step.
            middle: the time half a step later.
            end: the time at the end of the step.

        Returns:
            The system at each of the three times; see `Schedule.over_step`.
        """
        stages = [schedule.stages(start, middle, end) for schedule in self.schedules.values()]
        values = [iter(each) for each in zip(*stages, strict=True)] if stages else [iter(()) for _ in range(3)]
        first, second, third = (self.map_schedules(partial(_next_of, each)) for each in values)
        return first, second, third

    def with_all_digits(self: T) -> T:
        """Returns the system with the times in its schedules as instants."""
        return self.map_schedules(lambda schedule: schedule.with_all_digits())

    def map_schedules(self: T, function: Callable[[Schedule], Any]) -> T:
        """Replaces every schedule, also those of systems within.

        Args:
            function: of a schedule, in the order of `schedules`.

        Returns:
            The system.
        """
        return jax.tree.map(
            lambda leaf: function(leaf) if isinstance(leaf, Schedule) else leaf, self, is_leaf=_is_schedule
        )

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The parameters that follow a schedule, by name; those of a system within as system.name."""
        leaves, _ = jax.tree_util.tree_flatten_with_path(self, is_leaf=_is_schedule)
        named = ((jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves)
        return {name: leaf for name, leaf in named if isinstance(leaf, Schedule)}


def _next_of(values: Iterator[Any], _: Schedule) -> Any:
    return next(values)


def _is_schedule(value: Any) -> bool:
    return isinstance(value, Schedule)


class Lorenz63(System, name="lorenz63"):
    """The Lorenz '63 equations, with time in model time units (MTU).

        du1/dt = sigma (u2 - u1)
        du2/dt = u1 (rho - u3) - u2
        du3/dt = u1 u2 - beta u3

    Args:
        sigma: the Prandtl number.
        rho: the Rayleigh number relative to its critical value.
        beta: a geometric factor.

    Source:
        Lorenz, Journal of the Atmospheric Sciences 20, 130-141 (1963).

    Example:
        >>> import jaxcast
        >>> system = jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))
        >>> [round(float(v), 3) for v in system(0.0, (1.0, 2.0, 3.0))]
        [10.0, 23.0, -6.0]
    """

    components = ("u1", "u2", "u3")
    center = (0.0, 0.0, 25.0)

    sigma: Parameter = 10.0
    rho: Parameter = 28.0
    beta: Parameter = 8.0 / 3.0

    def vector_field(self, t: Scalar, u: Components) -> Components:
        u1, u2, u3 = u
        return self.sigma * (u2 - u1), u1 * (self.rho - u3) - u2, u1 * u2 - self.beta * u3


class Lorenz96(System, Checked, name="lorenz96"):
    """The Lorenz '96 equations on a ring of sites.

        du_k/dt = (u_(k+1) - u_(k-2)) u_(k-1) - u_k + forcing

    Args:
        dim: the number of sites, at least four.
        forcing: the same at all sites; chaotic at the default.

    Raises:
        InputError: for fewer than four sites.

    Source:
        Lorenz, Proceedings of the Seminar on Predictability, ECMWF (1996), equation 1.

    Example:
        >>> import jaxcast
        >>> system = jaxcast.Lorenz96(dim=5, forcing=8.0)
        >>> [float(v) for v in system(0.0, (1.0, 2.0, 3.0, 4.0, 5.0))]
        [-3.0, 4.0, 11.0, 13.0, -5.0]
    """

    dim: int = static(default=8)
    forcing: Parameter = 8.0

    def check(self) -> None:
        if self.dim < 4:
            raise InputError(f"Lorenz96 needs a dim of at least 4 sites, got {self.dim}")

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(f"u{k + 1}" for k in range(self.dim))

    def vector_field(self, t: Scalar, u: Components) -> Components:
        u = jnp.asarray(u)
        u = u.reshape(*u.shape, *[1] * (jnp.ndim(self.forcing) + 1 - u.ndim))
        # Slices of one padded copy; on a CPU, rolls are several times slower.
        ring = jnp.concatenate([u[-2:], u, u[:1]])
        return (ring[3:] - ring[:-3]) * ring[1:-2] - u + self.forcing


class Rossler(System, name="rossler"):
    """The Roessler equations.

        dx/dt = -y - z
        dy/dt = x + a y
        dz/dt = b + z (x - c)

    Args:
        a: growth of the spiral.
        b: inflow to z.
        c: the x above which z grows.

    Source:
        Roessler, Physics Letters A 57, 397-398 (1976).

    Example:
        >>> import jaxcast
        >>> [round(float(v), 3) for v in jaxcast.Rossler()(0.0, (1.0, 2.0, 3.0))]
        [-5.0, 1.4, -13.9]
    """

    components = ("x", "y", "z")

    a: Parameter = 0.2
    b: Parameter = 0.2
    c: Parameter = 5.7

    def vector_field(self, t: Scalar, u: Components) -> Components:
        x, y, z = u
        return -y - z, x + self.a * y, self.b + z * (x - self.c)


@checked
def random_starts(system: System, num: int, *, key: Key[Array, ""]) -> Float[Array, "num dim"]:
    """Draws states around the system's `center`, from which transients can start.

    Args:
        system: whose states they are.
        num: how many.
        key: for the normal deviations from the center.

    Returns:
        The states.

    Raises:
        InputError: for more states than fit into memory.

    Example:
        >>> import jax, jaxcast
        >>> jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 5, key=jax.random.key(0)).shape
        (5, 3)
    """
    check_arrays(f"{num} states of {system.dim} components", (num, system.dim))
    center = jnp.asarray(system.center or (0.0,) * system.dim)
    spread = jnp.asarray(system.spread or (1.0,) * system.dim)
    return spread * jax.random.normal(key, (num, system.dim)) + center

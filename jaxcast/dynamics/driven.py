"""A system with a parameter that another system moves: a regime with dynamics of its own."""

import dataclasses
import itertools
from typing import Any

import jax.numpy as jnp

from jaxcast.checks import Checked
from jaxcast.dynamics.schedules import Parameter
from jaxcast.dynamics.systems import Components, System
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import static
from jaxcast.types import Scalar


class DrivenSystem(System, Checked, name="driven"):
    """A system with a parameter that follows a component of another system, its driver.

        du/dt = f(t, u; parameter = offset + gain v_component)
        dv/dt = time_scale g(t, v)

    A state is that of the system and then that of the driver, so all is integrated together. What
    is seen is usually the first part alone, `Trajectory(times, states[:, :3])`: the regime is then
    hidden, and chaotic if the driver is.

    Args:
        system: the f, one system.
        driver: the g, one system.
        parameter: of the system; what it was given does not count.
        component: number of the driver's component.
        offset: the parameter where the component is 0.
        gain: its change for a unit of the component.
        time_scale: how fast the driver runs, below 1 for a slow one.

    Raises:
        InputError: for a parameter or component that there is not.

    Example:
        >>> import jaxcast
        >>> hidden_chaos = jaxcast.dynamics.DrivenSystem(
        ...     jaxcast.Lorenz63(), jaxcast.Lorenz63(), parameter="rho", offset=38.0, gain=0.45, time_scale=0.15
        ... )
        >>> start = [1.0, 1.0, 20.0, 2.0, 2.0, 25.0]
        >>> times, states = jaxcast.simulate(hidden_chaos, start, num_samples=50, transient=20.0)
        >>> truth = jaxcast.Trajectory(times, states[:, :3])
        >>> truth.states.shape
        (50, 3)
    """

    system: System
    driver: System
    parameter: str = static()
    component: int = static(default=0)
    offset: Parameter = 0.0
    gain: Parameter = 1.0
    time_scale: Parameter = 1.0

    def check(self) -> None:
        names = [field.name for field in dataclasses.fields(self.system) if not field.metadata.get("static")]
        if self.parameter not in names:
            raise InputError(
                f"parameter must be one of {', '.join(names)} of {type(self.system).__name__}, got "
                f"{shown(repr(self.parameter))}"
            )
        if not 0 <= self.component < self.driver.dim:
            raise InputError(f"component must be from 0 to {self.driver.dim - 1}, got {self.component}")

    @property
    def components(self) -> tuple[str, ...]:
        own = self.system.components
        for number in itertools.count(1):  # another one where the system is a driven one itself
            prefix = "driver" if number == 1 else f"driver{number}"
            driving = tuple(f"{prefix}_{name}" for name in self.driver.components)
            if not set(own) & set(driving):
                break
        return own + driving

    def vector_field(self, t: Scalar, u: Components) -> Components:
        own, driving = u[: self.system.dim], u[self.system.dim :]
        value = self.offset + self.gain * driving[self.component]
        moved: Any = dataclasses.replace(self.system, **{self.parameter: value})
        du, dv = moved.vector_field(t, own), self.driver.vector_field(t, driving)
        if isinstance(du, tuple | list) and isinstance(dv, tuple | list):
            return (*du, *(self.time_scale * x for x in dv))
        return jnp.concatenate([jnp.stack(du), self.time_scale * jnp.stack(dv)])

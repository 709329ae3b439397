"""Unknown parameters of a filter's model: where they start, and how they change."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.assimilation.checks import check_all, check_range
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import FlowMap, flow_map
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static


class ParameterDynamics(ABC):
    """Base of the dynamics of one unknown parameter.

    A filter appends the parameter's variables to the state of each member and estimates them with
    it. A subclass is a `FrozenPytree`.
    """

    @property
    @abstractmethod
    def num_variables(self) -> int:
        """The number of variables that describe the parameter."""

    @abstractmethod
    def initial(self, uniform: Float[Array, " variable"]) -> Float[Array, " variable"]:
        """Returns the variables of one member at the start.

        Args:
            uniform: independent numbers, uniform between 0 and 1.

        Returns:
            The variables.
        """

    @abstractmethod
    def value(self, variables: Float[Array, " variable"]) -> Float[Array, ""]:
        """Returns the parameter that the model gets.

        Args:
            variables: of one member.

        Returns:
            The parameter.
        """

    @abstractmethod
    def step(self, variables: Float[Array, " variable"], noise: Float[Array, " variable"]) -> Float[Array, " variable"]:
        """Returns the variables one step later.

        Args:
            variables: of one member.
            noise: independent standard normal numbers; zeros in closed loop.

        Returns:
            The variables.
        """


class RandomWalk(FrozenPytree, ParameterDynamics, name="random_walk"):
    """A parameter that takes a random step at each step of the history, p <- p + deviation * noise.

    Args:
        low: lower end of the range from which each member's parameter is drawn at the start.
        high: the upper end.
        deviation: standard deviation of a step; 0 for a parameter that stays as it is.

    Raises:
        InputError: for a range whose ends are the wrong way round, or a negative deviation.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> walk = jaxcast.assimilation.RandomWalk(25.0, 40.0, deviation=0.5)
        >>> walk.step(jnp.asarray([30.0]), jnp.asarray([2.0])).tolist()
        [31.0]
    """

    low: Any
    high: Any
    deviation: Any

    def __post_init__(self) -> None:
        check_range("low", self.low, "high", self.high)
        check_all("deviation", self.deviation, least=0)

    @property
    def num_variables(self) -> int:
        return 1

    def initial(self, uniform: Float[Array, " variable"]) -> Float[Array, " variable"]:
        return _between(self.low, self.high, uniform)

    def value(self, variables: Float[Array, " variable"]) -> Float[Array, ""]:
        return variables[0]

    def step(self, variables: Float[Array, " variable"], noise: Float[Array, " variable"]) -> Float[Array, " variable"]:
        return variables + jnp.asarray(self.deviation, noise.dtype) * noise


class ConstantParameter(FrozenPytree, ParameterDynamics, name="constant_parameter"):
    """A parameter that does not change.

    Args:
        low: lower end of the range from which each member's parameter is drawn at the start.
        high: the upper end.

    Raises:
        InputError: for a range whose ends are the wrong way round.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> constant = jaxcast.assimilation.ConstantParameter(25.0, 45.0)
        >>> constant.initial(jnp.asarray([0.5])).tolist()
        [35.0]
    """

    low: Any
    high: Any

    def __post_init__(self) -> None:
        check_range("low", self.low, "high", self.high)

    @property
    def num_variables(self) -> int:
        return 1

    def initial(self, uniform: Float[Array, " variable"]) -> Float[Array, " variable"]:
        return _between(self.low, self.high, uniform)

    def value(self, variables: Float[Array, " variable"]) -> Float[Array, ""]:
        return variables[0]

    def step(self, variables: Float[Array, " variable"], noise: Float[Array, " variable"]) -> Float[Array, " variable"]:
        return variables


class HarmonicParameter(FrozenPytree, ParameterDynamics, name="harmonic_parameter"):
    """A parameter that oscillates about a mean with an unknown period, amplitude and phase.

        p = mean + c,    c + i s <- (c + i s) exp(i omega)

    The variables are the mean, c, s and log omega. Mean, c and s also take random steps, so that
    an oscillation that is not quite harmonic can be followed.

    Args:
        low: lower end of the range from which each member's mean is drawn at the start.
        high: the upper end.
        amplitude: largest amplitude at the start.
        shortest: shortest period at the start, in steps of the filter.
        longest: the longest.
        deviation: standard deviation of the random steps.
        least_amplitude: smallest amplitude at the start.

    Raises:
        InputError: for ranges whose ends are the wrong way round, a period that is not positive, or
            a negative amplitude or deviation.

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> harmonic = jaxcast.assimilation.HarmonicParameter(30.0, 46.0, 12.0, shortest=10.0, longest=30.0)
        >>> start = jnp.asarray([38.0, 10.0, 0.0, np.log(2 * np.pi / 20)])
        >>> later = start
        >>> for _ in range(10):
        ...     later = harmonic.step(later, jnp.zeros(4))
        >>> round(float(harmonic.value(start))), round(float(harmonic.value(later)))
        (48, 28)
    """

    low: Any
    high: Any
    amplitude: Any
    shortest: Any
    longest: Any
    deviation: Any = 0.0
    least_amplitude: Any = 0.0

    def __post_init__(self) -> None:
        check_all("shortest", self.shortest, above=0)
        check_all("least_amplitude", self.least_amplitude, least=0)
        check_range("low", self.low, "high", self.high)
        check_range("shortest", self.shortest, "longest", self.longest)
        check_range("least_amplitude", self.least_amplitude, "amplitude", self.amplitude)
        check_all("deviation", self.deviation, least=0)

    @property
    def num_variables(self) -> int:
        return 4

    def initial(self, uniform: Float[Array, " variable"]) -> Float[Array, " variable"]:
        mean = _between(self.low, self.high, uniform[0])
        size = _between(self.least_amplitude, self.amplitude, uniform[1])
        phase = 2 * jnp.pi * uniform[2]
        longest, shortest = (jnp.asarray(period, uniform.dtype) for period in (self.longest, self.shortest))
        log_omega = _between(jnp.log(2 * jnp.pi / longest), jnp.log(2 * jnp.pi / shortest), uniform[3])
        return jnp.stack([mean, size * jnp.cos(phase), size * jnp.sin(phase), log_omega])

    def value(self, variables: Float[Array, " variable"]) -> Float[Array, ""]:
        return variables[0] + variables[1]

    def step(self, variables: Float[Array, " variable"], noise: Float[Array, " variable"]) -> Float[Array, " variable"]:
        mean, c, s, log_omega = variables
        cosine, sine = jnp.cos(jnp.exp(log_omega)), jnp.sin(jnp.exp(log_omega))
        turned = jnp.stack([mean, cosine * c - sine * s, sine * c + cosine * s, log_omega])
        return turned + jnp.asarray(self.deviation, noise.dtype) * noise * jnp.asarray(
            [1.0, 1.0, 1.0, 0.0], noise.dtype
        )


def _between(low: Any, high: Any, share: Array) -> Array:
    """Returns low + (high - low) share, in the precision of the share."""
    low, high = jnp.asarray(low, share.dtype), jnp.asarray(high, share.dtype)
    return low + (high - low) * share


class ParameterMap(FrozenPytree, name="parameter_map"):
    """The flow map of a family of systems: (u, parameters) -> u after dt.

    `parameter_map` returns it.

    Args:
        flow: the flow map of one of the systems.
        names: of the parameters that vary.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> step = jaxcast.assimilation.parameter_map(jaxcast.Lorenz63(), ["rho"])
        >>> step(jnp.asarray([1.0, 1.0, 20.0]), jnp.asarray([35.0])).shape
        (3,)
    """

    flow: FlowMap
    names: tuple[str, ...] = static()

    @checked
    def __call__(self, u: Float[Array, " dim"], parameters: Float[Array, " parameter"]) -> Float[Array, " dim"]:
        """Returns the state after dt.

        Args:
            u: the state.
            parameters: values of the parameters that vary, in the order of their names.

        Returns:
            The state.
        """
        given = dict(zip(self.names, parameters, strict=True))
        return dataclasses.replace(self.flow, system=dataclasses.replace(self.flow.system, **given))(u)


@checked
def parameter_map(system: System, names: Sequence[str], *, dt: float = 0.1, h: float = 0.01) -> ParameterMap:
    """Makes the flow map of a family of systems, a function of state and parameters.

    Args:
        system: that has all other parameters.
        names: of the parameters that vary, in their order.
        dt: duration of a step.
        h: step of the Runge-Kutta integrator; dt is a whole multiple of it.

    Returns:
        The function.

    Raises:
        InputError: for names that the system does not have, schedules, or dt off the h grid.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> step = jaxcast.assimilation.parameter_map(jaxcast.Lorenz63(), ["rho", "sigma"])
        >>> u = jnp.asarray([1.0, 1.0, 20.0])
        >>> same = jaxcast.flow_map(jaxcast.Lorenz63(rho=35.0, sigma=9.0))(u)
        >>> bool(abs(step(u, jnp.asarray([35.0, 9.0])) - same).max() < 1e-5)
        True
    """
    known = [field.name for field in dataclasses.fields(system)]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{type(system).__name__} has the parameters {known}, got {shown(unknown)}")
    if left := sorted(set(system.schedules) - set(names)):
        raise InputError(f"the other parameters must be numbers, got schedules of {left}")
    # A schedule that is to be replaced leaves nothing behind.
    plain = dataclasses.replace(system, **dict.fromkeys(names, 0.0))
    return ParameterMap(flow_map(plain, dt=dt, h=h), tuple(names))

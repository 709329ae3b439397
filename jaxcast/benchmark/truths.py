"""Truths of the benchmark that the library has no name for: jumping schedules, hidden chaos, sines."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcast.dynamics.parse import parse_system
from jaxcast.dynamics.schedules import Parameter, PiecewiseConstant, Schedule
from jaxcast.dynamics.systems import Components, Lorenz63, System
from jaxcast.types import Scalar

MEAN_HOLD, SHORTEST_HOLD = 10.0, 1.0


class Sawtooth(Schedule):
    """The schedule low + (high - low) (t mod period) / period.

    Its jumps should lie on the integrator's steps.

    Args:
        low: value after a jump.
        high: value before a jump.
        period: time between jumps.

    Example:
        >>> import jaxcast
        >>> tooth = jaxcast.benchmark.Sawtooth(low=28.0, high=48.0, period=2.0)
        >>> [float(tooth(t)) for t in (0.0, 1.0, 2.5)]
        [28.0, 38.0, 33.0]
    """

    low: Parameter
    high: Parameter
    period: Parameter

    def __call__(self, t: Any) -> Any:
        return self._since(t, jnp.floor(t / self.period))

    @property
    def jumps(self) -> Any:
        return ()

    def over_step(self, start: Any, middle: Any, end: Any) -> tuple[Any, Any, Any]:
        tooth = jnp.floor(middle / self.period)
        return self._since(start, tooth), self._since(middle, tooth), self._since(end, tooth)

    def _since(self, t: Any, tooth: Any) -> Any:
        return self.low + (self.high - self.low) * (t / self.period - tooth)


# Recorded scores are of truths by `Thomas` and `HiddenChaos`. The system of this name in the catalogue
# starts elsewhere, and a `DrivenSystem` rounds differently, which chaos amplifies.
class Thomas(System):
    """The cyclically symmetric system of Thomas, whose vector field is no polynomial.

        dx/dt = sin y - b x,  dy/dt = sin z - b y,  dz/dt = sin x - b z

    Args:
        b: friction.

    Source:
        Thomas, International Journal of Bifurcation and Chaos 9, 1889-1905 (1999).

    Example:
        >>> import jaxcast
        >>> [round(float(v), 2) for v in jaxcast.benchmark.Thomas(b=0.5)(0.0, (1.0, 0.0, 0.0))]
        [-0.5, 0.0, 0.84]
    """

    components = ("x", "y", "z")

    b: Parameter = 0.18

    def vector_field(self, t: Scalar, u: Components) -> Components:
        x, y, z = u
        return jnp.sin(y) - self.b * x, jnp.sin(z) - self.b * y, jnp.sin(x) - self.b * z


class HiddenChaos(System):
    """The Lorenz '63 equations, whose rho follows a slower Lorenz '63 system that is not seen.

        du/dt = lorenz63(u; rho = mean + gain v1),  dv/dt = rate lorenz63(v; rho = 28)

    Args:
        mean: of rho.
        gain: change of rho with v1.
        rate: speed of the hidden system.

    Example:
        >>> import jaxcast
        >>> system = jaxcast.benchmark.HiddenChaos(mean=38.0, gain=0.5, rate=0.1)
        >>> [round(float(v), 2) for v in system(0.0, (1.0, 2.0, 3.0, 4.0, 4.0, 3.0))]
        [10.0, 35.0, -6.0, 0.0, 9.6, 0.8]
    """

    components = ("u1", "u2", "u3", "v1", "v2", "v3")
    center = (0.0, 0.0, 25.0, 0.0, 0.0, 25.0)

    mean: Parameter = 38.0
    gain: Parameter = 0.45
    rate: Parameter = 0.15

    def vector_field(self, t: Scalar, u: Components) -> Components:
        fast = Lorenz63(rho=self.mean + self.gain * u[3]).vector_field(t, u[:3])
        slow = Lorenz63().vector_field(t, u[3:])
        return (*fast, *(self.rate * each for each in slow))


def always(truth: str | System) -> Callable[[int], System]:
    """Returns a function that gives the same truth for every seed.

    Args:
        truth: the system; text is parsed on call, because an import must not compute.
    """
    return lambda seed: parse_system(truth) if isinstance(truth, str) else truth


def switching(seed: int) -> System:
    """Makes a truth whose rho holds random values for random times of at least one time unit.

    Args:
        seed: of the values and times.
    """
    rng = np.random.default_rng(seed)
    holds = SHORTEST_HOLD + rng.exponential(MEAN_HOLD - SHORTEST_HOLD, 700)
    return _stepwise(np.cumsum(holds).round(2), rng.uniform(28, 48, 701).round(2))


def square_wave(seed: int) -> System:
    """Makes a truth whose rho alternates between 31 and 45 every 0.8 time units.

    Args:
        seed: not used.
    """
    return _stepwise((0.8 * np.arange(1, 7501)).round(2), np.resize([31.0, 45.0], 7501))


def _stepwise(times: np.ndarray, values: np.ndarray) -> System:
    return Lorenz63(rho=PiecewiseConstant(times=times, values=values))

"""The methods of a step."""

from typing import Any

from jaxcast.dynamics.exponential import exponential_steps
from jaxcast.dynamics.runge_kutta import RungeKuttaSteps
from jaxcast.dynamics.spectral import SpectralSystem
from jaxcast.dynamics.stepper import Stepper
from jaxcast.dynamics.systems import System


def stepper_of(system: System, solver: str | None, h: Any) -> Stepper:
    """Prepares a system for the steps of a method.

    Args:
        system: one system, or a stack.
        solver: the method; None for the system's usual one.
        h: the step, a number or an `Instant`.

    Returns:
        What takes the steps.
    """
    return exponential_steps(system, h) if isinstance(system, SpectralSystem) else RungeKuttaSteps(system)

"""The methods of a step."""

from typing import Any

from jaxcast.dynamics.exponential import exponential_steps
from jaxcast.dynamics.noise import AdditiveNoise, AnySystem, Noise, NoisySystem
from jaxcast.dynamics.noisy_steps import AdditiveSteps, NoisySteps
from jaxcast.dynamics.runge_kutta import EulerSteps, RungeKuttaSteps
from jaxcast.dynamics.spectral import SpectralSystem
from jaxcast.dynamics.stepper import Stepper
from jaxcast.dynamics.systems import System
from jaxcast.errors import InputError, shown

SOLVERS = {
    "rk4": "classical Runge-Kutta of order 4",
    "etdrk4": "exponential Runge-Kutta of order 4",
    "euler_maruyama": "Euler-Maruyama, of strong order 1 for additive noise and 1/2 otherwise",
    "milstein": "Milstein, of strong order 1",
    "sra": "stochastic Runge-Kutta of strong order 1.5",
}
"""The methods of a step. With noise, the first two are followed by a kick as in Milstein's method."""
_EULER = ("euler_maruyama", "milstein")


def usual_solver(system: System) -> str:
    """Returns the method of a step that a system has without asking."""
    return "etdrk4" if isinstance(system, SpectralSystem) else "rk4"


def check_solver(solver: str | None, system: System, noise: Noise | None) -> None:
    """Refuses a method that a system does not have.

    Args:
        solver: the method; None for the usual one.
        system: one system, or a stack.
        noise: of the system.

    Raises:
        InputError: with those that it has.
    """
    known = [usual_solver(system)]
    if noise is not None and known == ["rk4"]:
        known += [*_EULER, "sra"] if isinstance(noise, AdditiveNoise) else _EULER
    if solver is not None and solver not in known:
        kind = "system" if noise is None else "system with this noise"
        raise InputError(f"the solver of this {kind} must be one of {', '.join(known)}, got {shown(repr(solver))}")


def stepper_of(system: AnySystem, solver: str | None, h: Any) -> Stepper:
    """Prepares a system for the steps of a method.

    Args:
        system: one system, or a stack.
        solver: the method; None for the system's usual one.
        h: the step, a number or an `Instant`.

    Returns:
        What takes the steps.
    """
    if not isinstance(system, NoisySystem):
        return _plain(system, h)
    if solver == "sra" and isinstance(system.noise, AdditiveNoise):
        return AdditiveSteps(system.system, system.noise)
    base = EulerSteps(system.system) if solver in _EULER else _plain(system.system, h)
    return NoisySteps(base, system.noise, has_correction=solver != "euler_maruyama")


def _plain(system: System, h: Any) -> Stepper:
    return exponential_steps(system, h) if isinstance(system, SpectralSystem) else RungeKuttaSteps(system)

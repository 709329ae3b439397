"""The methods of a step."""

from typing import Any

from jaxcast.checks import check_number
from jaxcast.dynamics.adaptive import ADAPTIVE
from jaxcast.dynamics.exponential import exponential_steps
from jaxcast.dynamics.implicit import implicit_explicit_steps
from jaxcast.dynamics.noise import AdditiveNoise, AnySystem, Noise, NoisySystem
from jaxcast.dynamics.noisy_steps import AdditiveSteps, NoisySteps
from jaxcast.dynamics.runge_kutta import EulerSteps, RungeKuttaSteps
from jaxcast.dynamics.semilinear import SplitSystem
from jaxcast.dynamics.stepper import Stepper
from jaxcast.dynamics.systems import System
from jaxcast.errors import InputError, shown

SOLVERS = {
    "rk4": "classical Runge-Kutta of order 4",
    "etdrk4": "exponential Runge-Kutta of order 4",
    "imex": "implicit-explicit Runge-Kutta of order 3",
    "euler_maruyama": "Euler-Maruyama, of strong order 1 for additive noise and 1/2 otherwise",
    "milstein": "Milstein, of strong order 1",
    "sra": "stochastic Runge-Kutta of strong order 1.5",
    "tsit5": "Tsit5 of diffrax, adaptive",
    "dopri5": "Dopri5 of diffrax, adaptive",
    "dopri8": "Dopri8 of diffrax, adaptive",
    "kvaerno5": "Kvaerno5 of diffrax, adaptive and implicit",
}
"""The methods of a step. With noise, the first three are followed by a kick as in Milstein's."""
_EULER = ("euler_maruyama", "milstein")


def usual_solver(system: System) -> str:
    """Returns the method of a step that a system has without asking."""
    return "etdrk4" if isinstance(system, SplitSystem) else "rk4"


def check_solver(solver: str | None, system: System, noise: Noise | None, *, is_adaptive: bool = False) -> None:
    """Refuses a method that a system does not have.

    Args:
        solver: the method; None for the usual one.
        system: one system, or a stack.
        noise: of the system.
        is_adaptive: whether adaptive solvers are possible.

    Raises:
        InputError: with those that it has.
    """
    known = ["etdrk4", "imex", "rk4"] if isinstance(system, SplitSystem) else ["rk4"]
    if noise is not None and known == ["rk4"]:
        known += [*_EULER, "sra"] if isinstance(noise, AdditiveNoise) else _EULER
    known += ADAPTIVE if is_adaptive and noise is None else ()
    if solver is not None and solver not in known:
        kind = "system without noise" if noise is None else "system with this noise"
        raise InputError(f"the solver of a {kind} must be one of {', '.join(known)}, got {shown(repr(solver))}")


def check_tolerances(solver: str | None, rtol: float | None, atol: float | None) -> None:
    """Refuses tolerances that are not positive, or that no adaptive solver gets.

    Args:
        solver: the method.
        rtol: the relative tolerance.
        atol: the absolute tolerance.

    Raises:
        InputError: with the tolerance.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is not None:
            check_number(name, value, above=0)
            if solver not in ADAPTIVE:
                got = "no solver" if solver is None else f"solver {shown(repr(solver))}"
                raise InputError(f"{name} is for adaptive solvers, {', '.join(ADAPTIVE)}, got {got}")


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
        return _plain(system, solver, h)
    if solver == "sra" and isinstance(system.noise, AdditiveNoise):
        return AdditiveSteps(system.system, system.noise)
    base = EulerSteps(system.system) if solver in _EULER else _plain(system.system, solver, h)
    return NoisySteps(base, system.noise, has_correction=solver != "euler_maruyama")


def _plain(system: System, solver: str | None, h: Any) -> Stepper:
    if not isinstance(system, SplitSystem) or solver == "rk4":
        return RungeKuttaSteps(system)
    return implicit_explicit_steps(system, h) if solver == "imex" else exponential_steps(system, h)

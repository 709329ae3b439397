"""The classical Runge-Kutta step."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcast.arguments import checked
from jaxcast.clock import Instant, after_steps, joined, shifted
from jaxcast.dynamics.stepper import Finish, Stepper, as_it_is
from jaxcast.dynamics.systems import Components, System
from jaxcast.types import Scalar


@checked
def rk4_step(system: System, t: Scalar, u: Components, h: Scalar) -> Components:
    """Takes one step of the classical fourth-order Runge-Kutta method, from t to t + h.

        k1 = f(t, u)                    k2 = f(t + h/2, u + h/2 k1)
        k3 = f(t + h/2, u + h/2 k2)     k4 = f(t + h, u + h k3)
        u(t + h) = u + h/6 (k1 + 2 k2 + 2 k3 + k4) + O(h^5)

    Args:
        system: one system, or a stack.
        t: the time at the start of the step.
        u: the components of one state or of many, separate or as one array with components first.
        h: the step.

    Returns:
        The components at t + h.

    Source:
        Kutta (1901); Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I,
        table 1.2.

    Example:
        >>> import jaxcast
        >>> [round(float(v), 4) for v in jaxcast.dynamics.rk4_step(jaxcast.Lorenz63(), 0.0, (1.0, 1.0, 20.0), 0.01)]
        [1.0035, 1.0723, 19.4839]
    """

    return step_between(system, (t, t + h / 2, t + h), u, h)


def step_between(
    system: System, times: tuple[Any, Any, Any], u: Components, h: Any, shifts: tuple[Components, ...] = ()
) -> Components:
    """Takes one step of the classical Runge-Kutta method; with shifts, of a noisy system.

    Args:
        system: one system, or a stack.
        times: at the start, in the middle and at the end of the step.
        u: the components at the start.
        h: the step.
        shifts: what is added to the states of the stages at each of the times, and to the result.

    Returns:
        The components at the end.
    """

    def moved(base: Components, step: Any, slope: Components) -> Components:
        if isinstance(slope, tuple | list):
            return tuple(x + step * k for x, k in zip(base, slope, strict=True))
        return jnp.asarray(base) + step * slope

    def shifted_by(i: int, u: Components) -> Components:
        return jax.tree.map(lambda x, shift: x + shift, u, shifts[i]) if shifts else u

    start, middle, end = system.over_step(*times)
    k1 = slopes_at(start, times[0], shifted_by(0, u), h)
    total = moved(u, h / 6, k1)
    k2 = slopes_at(middle, times[1], shifted_by(1, moved(u, h / 2, k1)), h)
    k3 = slopes_at(middle, times[1], shifted_by(1, moved(u, h / 2, k2)), h)
    total = moved(total, h / 3, jax.tree.map(lambda b, c: b + c, k2, k3))
    # The sum grows with the slopes: only one operation lies between k4 and the next step.
    return shifted_by(3, moved(total, h / 6, slopes_at(end, times[2], shifted_by(2, moved(u, h, k3)), h)))


def slopes_at(system: System, t: Any, u: Components, h: Any) -> Components:
    """Evaluates a vector field whose schedules are numbers already.

    Args:
        system: one system, or a stack.
        t: a number or an `Instant`.
        u: the components.
        h: the step, of the dtype of the states.

    Returns:
        The derivative, component by component.
    """
    slopes = system.vector_field(joined(t), u)
    if not isinstance(t, Instant):
        return slopes
    # A field that uses the time may have more digits than its states.
    return jax.tree.map(lambda slope: jnp.asarray(slope, h.dtype), slopes)


class RungeKuttaSteps(Stepper):
    """Steps of the classical fourth-order Runge-Kutta method.

    Args:
        system: one system, or a stack.
    """

    system: System

    def enter(self, u: Components, seed: Any = None) -> Components:
        return u

    def leave(self, carried: Components) -> Components:
        return carried

    def step_after(self, t0: Any, num_steps: Any, carried: Components, h: Any, finish: Finish = as_it_is) -> Components:
        t = after_steps(t0, num_steps, h)
        step = h.hi.astype(dtype_of(carried)) if isinstance(h, Instant) else h
        new = step_between(self.system, (t, shifted(t, step / 2), shifted(t, step)), carried, step)
        return finish(rounded(new, step))


class EulerSteps(Stepper):
    """Steps of Euler's method, of order one.

    Args:
        system: one system, or a stack.
    """

    system: System

    def enter(self, u: Components, seed: Any = None) -> Components:
        return u

    def leave(self, carried: Components) -> Components:
        return carried

    def step_after(self, t0: Any, num_steps: Any, carried: Components, h: Any, finish: Finish = as_it_is) -> Components:
        t = after_steps(t0, num_steps, h)
        step = h.hi.astype(dtype_of(carried)) if isinstance(h, Instant) else h
        start, _, _ = self.system.over_step(t, shifted(t, step / 2), shifted(t, step))
        slopes = slopes_at(start, t, carried, step)
        if isinstance(slopes, tuple | list):
            return finish(rounded(tuple(x + step * k for x, k in zip(carried, slopes, strict=True)), step))
        return finish(rounded(jnp.asarray(carried) + step * slopes, step))


def dtype_of(u: Components) -> Any:
    """Returns the dtype of the components of a state."""
    return jax.tree.leaves(u)[0].dtype


def rounded(u: Components, h: Any) -> Components:
    """Returns the components of a state in the dtype of the step."""
    return jax.tree.map(lambda x: x.astype(h.dtype), tuple(u) if isinstance(u, list) else u)

"""Steps that are implicit in the linear part of a system and explicit in the rest."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.clock import after_steps, shifted
from jaxcast.dynamics.exponential import slopes_beside, step_in
from jaxcast.dynamics.semilinear import SplitSystem
from jaxcast.dynamics.stepper import Finish, Stepper, as_it_is
from jaxcast.dynamics.systems import Components

_IMPLICIT = ((), (1 / 6,), (-1 / 2, 1 / 2), (3 / 2, -3 / 2, 1 / 2))
"""Weights of the earlier slopes of the linear part; that of a stage itself is 1/2."""
_EXPLICIT = ((1 / 2,), (11 / 18, 1 / 18), (5 / 6, -5 / 6, 1 / 2), (1 / 4, 7 / 4, 3 / 4, -7 / 4))


class ImplicitExplicitSteps(Stepper):
    """Steps of the third-order method ARS(4, 4, 3), which carry the coordinates of a state.

    A stage solves (1 - h L / 2) v = w, always with the same matrix. The method is L-stable in the
    linear part: what decays fast is damped whatever h is. Where parameters follow schedules, see
    `ExponentialSteps`.

    Args:
        system: one system, or a stack.
        operators: L and the inverse of 1 - h L / 2; None if they may depend on time.

    Source:
        Ascher, Ruuth and Spiteri, Applied Numerical Mathematics 25, 151-167 (1997), section 2.8.
    """

    system: SplitSystem
    operators: Any

    def enter(self, u: Components, seed: Any = None) -> Array:
        return self.system.to_modes(jnp.asarray(u))

    def leave(self, carried: Array) -> Components:
        return self.system.to_points(carried)

    def step_after(self, t0: Any, num_steps: Any, carried: Array, h: Any, finish: Finish = as_it_is) -> Array:
        t, step = after_steps(t0, num_steps, h), step_in(h)
        at_middle, at_third = shifted(t, step / 2), shifted(t, step * (2 / 3))
        start, middle, _ = self.system.over_step(t, at_middle, shifted(t, step))
        _, third, _ = self.system.over_step(t, at_third, shifted(t, step))
        operator, inverse = self.operators or operators_of(middle, step)
        other = None if self.operators is not None else operator
        stages = ((start, t), (middle, at_middle), (third, at_third), (middle, at_middle))
        modes, linear, rest = carried, list[Array](), list[Array]()
        for (system, time), implicit, explicit in zip(stages, _IMPLICIT, _EXPLICIT, strict=True):
            rest.append(slopes_beside(system, time, modes, other))
            weighted = zip((*explicit, *implicit), (*rest, *linear), strict=True)
            sum_of_slopes: Any = sum(weight * slope for weight, slope in weighted)
            modes = self.system.product(inverse, carried + step * sum_of_slopes).astype(carried.dtype)
            linear.append(self.system.product(operator, modes))
        return finish(modes)


def operators_of(system: SplitSystem, h: Array) -> tuple[Array, Array]:
    """Computes L and the inverse of 1 - h L / 2.

    Args:
        system: one system, or a stack, with parameters that are numbers.
        h: the step.

    Returns:
        Both operators.
    """
    operator = system.linear_operator()
    if system.is_diagonal:
        return operator, 1 / (1 - h / 2 * operator)

    def inverse(matrix: Array) -> Array:
        return jnp.linalg.inv(jnp.eye(len(matrix), dtype=matrix.dtype) - h / 2 * matrix)

    return operator, inverse(operator) if operator.ndim == 2 else jax.vmap(inverse, -1, -1)(operator)


def implicit_explicit_steps(system: SplitSystem, h: Any) -> ImplicitExplicitSteps:
    """Prepares a system for steps of ARS(4, 4, 3).

    Args:
        system: one system, or a stack.
        h: the step, a number or an `Instant`.

    Returns:
        The prepared system.
    """
    return ImplicitExplicitSteps(system, operators_of(system, step_in(h)) if system.is_autonomous else None)

"""Steps of an exponential Runge-Kutta method, which solves the linear part of a system exactly."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.clock import Instant, after_steps, joined, shifted
from jaxcast.dynamics.semilinear import SplitSystem
from jaxcast.dynamics.stepper import Finish, Stepper, as_it_is
from jaxcast.dynamics.systems import Components

_NUM_TERMS = 19


class Coefficients(NamedTuple):
    """What a step multiplies modes and slopes with; functions of h L.

    Args:
        operator: the L.
        whole: exp(h L).
        half: exp(h L / 2).
        stage: of the slope in a stage.
        first: of the slope at the start.
        middle: of the sum of the two slopes in the middle.
        last: of the slope at the end.
    """

    operator: Array
    whole: Array
    half: Array
    stage: Array
    first: Array
    middle: Array
    last: Array


def coefficients_of(system: SplitSystem, operator: Array, h: Array) -> Coefficients:
    """Computes the coefficients of ETDRK4.

    Args:
        system: whose L it is.
        operator: the L.
        h: the step.

    Returns:
        The coefficients.
    """
    if operator.ndim == 3:
        return jax.vmap(lambda one: coefficients_of(system, one, h), in_axes=-1, out_axes=-1)(operator)
    functions = functions_of_numbers if system.is_diagonal else functions_of_matrix
    whole, phi1, phi2, phi3 = functions(h * operator)
    half, half_phi1, _, _ = functions(h / 2 * operator)
    return Coefficients(
        operator,
        whole,
        half,
        h / 2 * half_phi1,
        h * (phi1 - 3 * phi2 + 4 * phi3),
        2 * h * (phi2 - 2 * phi3),
        h * (4 * phi3 - phi2),
    )


def functions_of_numbers(z: Array) -> tuple[Array, Array, Array, Array]:
    """Computes exp(z) and phi_1, phi_2, phi_3 with all their digits.

        phi_k(z) = (phi_(k-1)(z) - 1 / (k-1)!) / z,   phi_0 = exp

    Where z is small these formulas lose all digits, and a series takes their place. Means over a
    circle, as Kassam and Trefethen take, are the same numbers for thirty times the work, which
    counts where each state has its own L, or L changes in time.

    Args:
        z: real or complex.

    Returns:
        The four functions.

    Source:
        Kassam and Trefethen, SIAM Journal on Scientific Computing 26, 1214-1233 (2005).
    """
    is_small = jnp.abs(z) < 1
    near = jnp.where(is_small, z, 0)
    series = jnp.zeros_like(near)
    for k in range(_NUM_TERMS, 2, -1):
        series = series * near + 1 / math.factorial(k)
    far = jnp.where(is_small, 1, z)
    whole = jnp.exp(z)
    phi3 = jnp.where(is_small, series, (((whole - 1) / far - 1) / far - 0.5) / far)
    phi2 = jnp.where(is_small, 0.5 + near * series, ((whole - 1) / far - 1) / far)
    phi1 = jnp.where(is_small, 1 + near * (0.5 + near * series), (whole - 1) / far)
    return whole, phi1, phi2, phi3


def functions_of_matrix(a: Array) -> tuple[Array, Array, Array, Array]:
    """Computes exp(A) and phi_1, phi_2, phi_3 of a matrix, from one exponential of a larger one.

    They are the first rows of exp([[A, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).

    Args:
        a: the matrix.

    Returns:
        The four functions.

    Source:
        Saad, SIAM Journal on Numerical Analysis 29, 209-228 (1992).
    """
    dim = len(a)
    steps_up = jnp.kron(jnp.eye(4, k=1, dtype=a.dtype), jnp.eye(dim, dtype=a.dtype))
    whole = jax.scipy.linalg.expm(steps_up.at[:dim, :dim].add(a), max_squarings=48)
    first, second, third, fourth = jnp.split(whole[:dim], 4, axis=1)
    return first, second, third, fourth


class ExponentialSteps(Stepper):
    """Steps of ETDRK4, which carry the coordinates of a state.

    Where parameters follow schedules, the linear part is that in the middle of the step, and what
    it differs from that at a stage counts as nonlinear.

    Args:
        system: one system, or a stack.
        coefficients: for its linear part; None if that may depend on time.
    """

    system: SplitSystem
    coefficients: Any

    def enter(self, u: Components, seed: Any = None) -> Array:
        return self.system.to_modes(jnp.asarray(u))

    def leave(self, carried: Array) -> Components:
        return self.system.to_points(carried)

    def step_after(self, t0: Any, num_steps: Any, carried: Array, h: Any, finish: Finish = as_it_is) -> Array:
        t, step = after_steps(t0, num_steps, h), step_in(h)
        times = t, shifted(t, step / 2), shifted(t, step)
        start, middle, end = self.system.over_step(*times)
        c = self.coefficients
        if c is None:
            c = coefficients_of(middle, middle.linear_operator(), step)
        operator = None if self.coefficients is not None else c.operator
        times_modes = self.system.product
        k1 = slopes_beside(start, times[0], carried, operator)
        decayed = times_modes(c.half, carried)
        a = decayed + times_modes(c.stage, k1)
        k2 = slopes_beside(middle, times[1], a, operator)
        k3 = slopes_beside(middle, times[1], decayed + times_modes(c.stage, k2), operator)
        k4 = slopes_beside(end, times[2], times_modes(c.half, a) + times_modes(c.stage, 2 * k3 - k1), operator)
        new = times_modes(c.whole, carried) + times_modes(c.first, k1)
        new = new + times_modes(c.middle, k2 + k3) + times_modes(c.last, k4)
        return finish(new.astype(carried.dtype))


def slopes_beside(system: SplitSystem, t: Any, modes: Array, operator: Array | None) -> Array:
    """Computes the derivative without some linear part.

    Args:
        system: with parameters that are numbers.
        t: a number or an `Instant`.
        modes: the coordinates.
        operator: the linear part; None for the system's own.

    Returns:
        The coordinates of the derivative.
    """
    slopes = system.nonlinear_slopes(joined(t), modes)
    if operator is not None:
        slopes = slopes + system.product(system.linear_operator() - operator, modes)
    return slopes.astype(modes.dtype)


def exponential_steps(system: SplitSystem, h: Any) -> ExponentialSteps:
    """Prepares a system for steps of ETDRK4.

    Args:
        system: one system, or a stack.
        h: the step, a number or an `Instant`.

    Returns:
        The prepared system.
    """
    if not system.is_autonomous:
        return ExponentialSteps(system, None)
    return ExponentialSteps(system, coefficients_of(system, system.linear_operator(), step_in(h)))


def step_in(h: Any) -> Any:
    """Returns a step as one number.

    Args:
        h: a number or an `Instant`.

    Returns:
        The number.
    """
    return h.hi if isinstance(h, Instant) else jnp.asarray(h)

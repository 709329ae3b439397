"""Steps of an exponential Runge-Kutta method, which solves the linear part of a system exactly."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.clock import Instant, after_steps, joined, shifted
from jaxcast.dynamics.semilinear import SplitSystem
from jaxcast.dynamics.stepper import Finish, Stepper, as_it_is
from jaxcast.dynamics.systems import Components

_NUM_CONTOUR_POINTS = 32


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
    if system.is_diagonal:
        return _of_diagonal(operator, h)
    if operator.ndim == 2:
        return _of_matrix(operator, h)
    return jax.vmap(_of_matrix, in_axes=(-1, None), out_axes=-1)(operator, h)


def _of_diagonal(rates: Array, h: Array) -> Coefficients:
    """Computes the coefficients for the eigenvalues of L.

    Their formulas lose all digits where h L is small. So each is the mean of its formula over a
    circle around h L, which for a function without poles is its value in the centre.

    Source:
        Kassam and Trefethen, SIAM Journal on Scientific Computing 26, 1214-1233 (2005).
    """
    is_complex = jnp.iscomplexobj(rates)
    share = (np.arange(_NUM_CONTOUR_POINTS) + 0.5) / _NUM_CONTOUR_POINTS
    circle = np.exp((2j if is_complex else 1j) * np.pi * share)  # half of it where the other is conjugate
    z = (h * rates)[..., None] + jnp.asarray(circle, jnp.promote_types(jnp.result_type(rates), jnp.complex64))
    ez = jnp.exp(z)

    def mean(values: Array) -> Array:
        average = values.mean(-1)
        return h * (average if is_complex else average.real)

    return Coefficients(
        rates,
        jnp.exp(h * rates),
        jnp.exp(h * rates / 2),
        mean((jnp.exp(z / 2) - 1) / z),
        mean((-4 - z + ez * (4 - 3 * z + z**2)) / z**3),
        2 * mean((2 + z + ez * (z - 2)) / z**3),
        mean((-4 - 3 * z - z**2 + ez * (4 - z)) / z**3),
    )


def _of_matrix(matrix: Array, h: Array) -> Coefficients:
    """Computes the coefficients for a matrix L, from one exponential of a larger one.

    The first rows of exp([[A, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]) are exp(A) and
    the functions phi_1, phi_2, phi_3 of A.

    Source:
        Saad, SIAM Journal on Numerical Analysis 29, 209-228 (1992).
    """
    dim = len(matrix)
    steps_up = jnp.kron(jnp.eye(4, k=1, dtype=matrix.dtype), jnp.eye(dim, dtype=matrix.dtype))

    def functions(a: Array) -> list[Array]:
        whole = jax.scipy.linalg.expm(steps_up.at[:dim, :dim].add(a), max_squarings=48)
        return jnp.split(whole[:dim], 4, axis=1)

    whole, phi1, phi2, phi3 = functions(h * matrix)
    half, half_phi1, _, _ = functions(h * matrix / 2)
    return Coefficients(
        matrix,
        whole,
        half,
        h / 2 * half_phi1,
        h * (phi1 - 3 * phi2 + 4 * phi3),
        2 * h * (phi2 - 2 * phi3),
        h * (4 * phi3 - phi2),
    )


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

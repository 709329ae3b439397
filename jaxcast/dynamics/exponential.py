"""Steps of an exponential Runge-Kutta method, which solves the linear part of a system exactly."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.clock import Instant, after_steps, joined, shifted
from jaxcast.dynamics.spectral import SpectralSystem
from jaxcast.dynamics.stepper import Finish, Stepper, as_it_is
from jaxcast.dynamics.systems import Components

_NUM_CONTOUR_POINTS = 32


class Coefficients(NamedTuple):
    """What a step multiplies modes and slopes with; functions of h L.

    Args:
        rates: the eigenvalues of L.
        whole: exp(h L).
        half: exp(h L / 2).
        stage: of the slope in a stage.
        first: of the slope at the start.
        middle: of the sum of the two slopes in the middle.
        last: of the slope at the end.
    """

    rates: Array
    whole: Array
    half: Array
    stage: Array
    first: Array
    middle: Array
    last: Array


def coefficients_of(rates: Array, h: Array) -> Coefficients:
    """Computes the coefficients of ETDRK4.

    Their formulas lose all digits where h L is small. So each is the mean of its formula over a
    circle around h L, which a function without poles has in the centre too.

    Args:
        rates: the eigenvalues of L.
        h: the step.

    Returns:
        The coefficients.

    Source:
        Kassam and Trefethen, SIAM Journal on Scientific Computing 26, 1214-1233 (2005).
    """
    is_complex = jnp.iscomplexobj(rates)
    share = (np.arange(_NUM_CONTOUR_POINTS) + 0.5) / _NUM_CONTOUR_POINTS
    circle = np.exp((2j if is_complex else 1j) * np.pi * share)  # half of it where the other is conjugate
    dtype = jnp.promote_types(jnp.result_type(rates), jnp.complex64)
    hl = (h * rates)[..., None]
    z = hl + jnp.asarray(circle, dtype)
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


class ExponentialSteps(Stepper):
    """Steps of ETDRK4, which carry Fourier coefficients.

    Where parameters follow schedules, the linear part is that in the middle of the step, and what
    it differs from that at a stage counts as nonlinear.

    Args:
        system: one system, or a stack.
        coefficients: for its linear part; None if that may depend on time.
    """

    system: SpectralSystem
    coefficients: Any

    def enter(self, u: Components, seed: Any = None) -> Array:
        return self.system.to_modes(jnp.asarray(u))

    def leave(self, carried: Array) -> Components:
        return self.system.to_points(carried)

    def step_after(self, t0: Any, num_steps: Any, carried: Array, h: Any, finish: Finish = as_it_is) -> Array:
        modes = carried
        t = after_steps(t0, num_steps, h)
        step = step_in(h)
        times = t, shifted(t, step / 2), shifted(t, step)
        start, middle, end = self.system.over_step(*times)
        c = self.coefficients
        if c is None:
            c = coefficients_of(middle.linear_rates(), step)

        def slope(system: SpectralSystem, t: Any, modes: Array) -> Array:
            rates = 0.0 if self.coefficients is not None else system.linear_rates() - c.rates
            return system.derivative(joined(t), modes, rates).astype(modes.dtype)

        k1 = slope(start, times[0], modes)
        decayed = c.half * modes
        a = decayed + c.stage * k1
        k2 = slope(middle, times[1], a)
        k3 = slope(middle, times[1], decayed + c.stage * k2)
        k4 = slope(end, times[2], c.half * a + c.stage * (2 * k3 - k1))
        return finish((c.whole * modes + c.first * k1 + c.middle * (k2 + k3) + c.last * k4).astype(modes.dtype))


def exponential_steps(system: SpectralSystem, h: Any) -> ExponentialSteps:
    """Prepares a system for steps of ETDRK4.

    Args:
        system: one system, or a stack.
        h: the step, a number or an `Instant`.

    Returns:
        The prepared system.
    """
    return ExponentialSteps(
        system, coefficients_of(system.linear_rates(), step_in(h)) if system.is_autonomous else None
    )


def step_in(h: Any) -> Any:
    """Returns a step as one number.

    Args:
        h: a number or an `Instant`.

    Returns:
        The number.
    """
    return h.hi if isinstance(h, Instant) else jnp.asarray(h)

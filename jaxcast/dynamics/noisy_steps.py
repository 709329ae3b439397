"""Steps of stochastic differential equations with diagonal noise."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.clock import Instant, after_steps, shifted
from jaxcast.dynamics.gaussian import Generator, normal_pair, seeded
from jaxcast.dynamics.noise import AdditiveNoise, Noise
from jaxcast.dynamics.runge_kutta import dtype_of, rounded, step_between
from jaxcast.dynamics.stepper import Finish, Stepper, as_it_is
from jaxcast.dynamics.systems import Components, System
from jaxcast.pytrees import static

_OUTER, _INNER = 1 - math.sqrt(2), 1 + math.sqrt(0.5)
"""Weights of the path's area in the first and last stage, and in the two in the middle.

With the weights 1/6, 1/3, 1/3, 1/6 of the stages their mean is 1 and their mean square 2.
"""


class Increments(NamedTuple):
    """What a step needs of a Brownian path, component by component.

    Args:
        change: W(t + h) - W(t), of variance h.
        area: the mean over the step of W(s) - W(t), less half the change; of variance h / 12, and
            independent of the change.
    """

    change: Components
    area: Components


class Noisy(NamedTuple):
    """What steps with noise carry.

    Args:
        state: what steps without noise carry.
        generator: of normal numbers.
    """

    state: Any
    generator: Generator


class NoisySteps(Stepper):
    """Steps of a method for ordinary differential equations, each followed by a kick of noise.

    The strong order is that of Milstein's method, one, and the numbers without noise are those of
    the method alone.

    Args:
        base: the method, for the system without noise.
        noise: how much.
        has_correction: whether Milstein's term is added; Euler and Maruyama do without.
    """

    base: Stepper
    noise: Noise
    has_correction: bool = static(default=True)

    def enter(self, u: Components, seed: Any = None) -> Noisy:
        return Noisy(self.base.enter(u), generator_for(u, seed))

    def leave(self, carried: Noisy) -> Components:
        return self.base.leave(carried.state)

    def step_after(self, t0: Any, num_steps: Any, carried: Noisy, h: Any, finish: Finish = as_it_is) -> Noisy:
        u = self.leave(carried)
        step = step_for(u, h)
        generator, change = increments(carried.generator, u, step)
        kick = kick_of(self.noise, u, step, change, has_correction=self.has_correction)
        # Apart from the step: together they would be more than XLA for CPU turns into vectors.
        kick, generator = finish((self.base.enter(kick), generator))
        new = self.base.step_after(t0, num_steps, carried.state, h)
        return Noisy(finish(jax.tree.map(lambda x, k: (x + k).astype(x.dtype), new, kick)), generator)


class AdditiveSteps(Stepper):
    """Steps of a Runge-Kutta method of strong order 1.5 for additive noise.

    Args:
        system: one system, or a stack.
        noise: how much.
    """

    system: System
    noise: AdditiveNoise

    def enter(self, u: Components, seed: Any = None) -> Noisy:
        return Noisy(u, generator_for(u, seed))

    def leave(self, carried: Noisy) -> Components:
        return carried.state

    def step_after(self, t0: Any, num_steps: Any, carried: Noisy, h: Any, finish: Finish = as_it_is) -> Noisy:
        u = carried.state
        step = step_for(u, h)
        # Each apart from the step: together they would be more than XLA for CPU turns into vectors.
        generator, change = finish(increments(carried.generator, u, step))
        generator, area = finish(increments(generator, u, step / 12))
        t = after_steps(t0, num_steps, h)
        times = t, shifted(t, step / 2), shifted(t, step)
        new = runge_kutta_step(self.system, self.noise, times, u, step, Increments(change, area))
        return Noisy(finish(new), generator)


def generator_for(u: Components, seed: Any) -> Generator:
    """Makes the generator of a state's noise: one, or for many components one for each two.

    Args:
        u: the components.
        seed: two words.

    Returns:
        The generator.
    """
    if isinstance(u, tuple | list):
        return seeded(seed)
    return seeded(seed, jnp.arange(-(-len(u) // 2)).reshape(-1, *[1] * (jnp.asarray(u).ndim - 1)))


def step_for(u: Components, h: Any) -> Array:
    """Returns a step in the dtype of a state.

    Args:
        u: the components.
        h: a number or an `Instant`.

    Returns:
        The number.
    """
    return h.hi.astype(dtype_of(u)) if isinstance(h, Instant) else jnp.asarray(h)


def runge_kutta_step(
    system: System, noise: AdditiveNoise, times: tuple[Any, Any, Any], u: Components, h: Array, path: Increments
) -> Components:
    """Takes one step of a Runge-Kutta method of strong order 1.5 for additive noise.

    Without noise it is the classical method of order four. The stages see the noise

        g (c_i W + b_i A),   c = (0, 1/2, 1/2, 1),   b = (1 - sqrt 2, 1 + sqrt 1/2, the same, 1 - sqrt 2)

    for the change W and the area A of the path. So sum w_i c_i = 1/2 and sum w_i b_i = 1, which
    makes the effect of the noise on the drift exact to order 1.5, and the mean of
    sum w_i (c_i W + b_i A)^2 is h / 2, as it should be.

    Args:
        system: one system, or a stack.
        noise: how much.
        times: at the start, in the middle and at the end of the step.
        u: the components at the start.
        h: the step.
        path: the increments of the noise.

    Returns:
        The components at the end.

    Source:
        Roessler, SIAM Journal on Numerical Analysis 48, 922-952 (2010), for the conditions of
        order.
    """
    amplitude = noise.amplitude(u)

    def shift(share: float, weight: float) -> Components:
        return _mapped(lambda g, w, a: g * (share * w + weight * a), amplitude, *path)

    kick = _mapped(lambda g, w: g * w, amplitude, path.change)
    shifts = shift(0.0, _OUTER), shift(0.5, _INNER), shift(1.0, _OUTER), kick
    return rounded(step_between(system, times, u, h, shifts), h)


def kick_of(noise: Noise, u: Components, h: Array, change: Components, *, has_correction: bool) -> Components:
    """Computes what noise adds in a step: g W + g g' (W^2 - h) / 2, or g W alone.

    Args:
        noise: its amplitude.
        u: the components at the start.
        h: the step.
        change: of the path.
        has_correction: whether the second term is added.

    Returns:
        The components.

    Source:
        Milstein, Theory of Probability and its Applications 19, 557-562 (1975).
    """
    if not has_correction or isinstance(noise, AdditiveNoise):
        return _mapped(lambda g, w: g * w, noise.amplitude(u), change)
    ones = jax.tree.map(jnp.ones_like, u)
    amplitude, slope = jax.jvp(noise.amplitude, (u,), (ones,))
    return _mapped(lambda g, s, w: g * (w + s * (w**2 - h) / 2), amplitude, slope, change)


def _mapped(function: Any, *trees: Components) -> Components:
    """Maps components in either form."""
    if isinstance(trees[0], tuple | list):
        return tuple(map(function, *trees))
    return jnp.asarray(function(*trees))


def increments(generator: Generator, u: Components, variance: Array) -> tuple[Generator, Components]:
    """Draws a normal number for each component: one after the other, or all at once.

    Args:
        generator: of the noise.
        u: the components.
        variance: of the numbers.

    Returns:
        The next state of the generator, and the numbers.
    """
    scale = jnp.sqrt(variance)
    if not isinstance(u, tuple | list):
        generator, first, second = normal_pair(generator)
        return generator, scale * jnp.concatenate([first, second])[: len(u)].astype(scale.dtype)
    numbers = list[Array]()
    for _ in range(-(-len(u) // 2)):
        generator, first, second = normal_pair(generator)
        numbers += [first, second]
    return generator, tuple(scale * number.astype(scale.dtype) for number in numbers[: len(u)])

"""Schedules of a hidden regime, and the estimate of the regime from residuals."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jaxcast.dynamics.schedules import Parameter, SmoothSchedule
from jaxcast.precision import highest
from jaxcast.regime.emulator import Emulator
from jaxcast.types import Scalar

NUM_IMPROVEMENTS = 5


class HarmonicSchedule(SmoothSchedule):
    """A schedule of a level, a trend and oscillations.

        c(t) = level + slope t
               + sum_k [cosines_k cos(frequencies_k t) + sines_k sin(frequencies_k t)]

    It solves a linear differential equation: a shift of time changes all numbers linearly, except
    the frequencies, which stay.

    Args:
        level: coordinates at time 0 without oscillations, (coordinate,).
        slope: their change in a unit of time, (coordinate,).
        frequencies: angular frequencies of the oscillations, (oscillation,).
        cosines: amplitudes of the cosines, (oscillation, coordinate).
        sines: amplitudes of the sines, (oscillation, coordinate).

    Source:
        Own design, studied in experiments/lorenz_skill/README.md.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> waves = jnp.ones((1, 1)), jnp.zeros((1, 1))
        >>> schedule = jaxcast.regime.HarmonicSchedule(jnp.ones(1), jnp.zeros(1), jnp.ones(1), *waves)
        >>> bool(jnp.allclose(schedule.later(0.3)(0.5), schedule(0.8)))
        True
    """

    level: Parameter
    slope: Parameter
    frequencies: Parameter
    cosines: Parameter
    sines: Parameter

    @highest
    def __call__(self, t: Scalar) -> Float[Array, " coordinate"]:
        angles = self.frequencies * t
        return self.level + self.slope * t + jnp.cos(angles) @ self.cosines + jnp.sin(angles) @ self.sines

    def trimmed(self) -> "HarmonicSchedule":
        """Returns the schedule without oscillations that are zero; not under `jax.jit`."""
        waves = [np.asarray(leaf) for leaf in (self.frequencies, self.cosines, self.sines)]
        kept = np.any((waves[1] != 0) | (waves[2] != 0), 1)
        frequencies, cosines, sines = (jnp.asarray(leaf[kept]) for leaf in waves)
        return dataclasses.replace(self, frequencies=frequencies, cosines=cosines, sines=sines)

    def padded(self, num_oscillations: int) -> "HarmonicSchedule":
        """Returns the schedule with further oscillations that are zero.

        Args:
            num_oscillations: in all.
        """
        lacks = num_oscillations - len(self.frequencies)
        pad = lambda leaf: jnp.pad(leaf, [(0, lacks)] + [(0, 0)] * (leaf.ndim - 1))  # noqa: E731
        return dataclasses.replace(
            self, frequencies=pad(self.frequencies), cosines=pad(self.cosines), sines=pad(self.sines)
        )

    def later(self, t: Scalar) -> "HarmonicSchedule":
        """Returns the same schedule with time counted from t.

        Args:
            t: the new origin of time.
        """
        cos, sin = jnp.cos(self.frequencies * t)[:, None], jnp.sin(self.frequencies * t)[:, None]
        return dataclasses.replace(
            self,
            level=self.level + self.slope * t,
            cosines=self.cosines * cos + self.sines * sin,
            sines=self.sines * cos - self.cosines * sin,
        )


class Steps(NamedTuple):
    """The steps of a trajectory, to which a schedule is fitted.

    Args:
        time: at the start of the step.
        before: the state at this time.
        after: the state dt later.
        weight: of the step.
    """

    time: Float[Array, " step"]
    before: Float[Array, "step dim"]
    after: Float[Array, "step dim"]
    weight: Float[Array, " step"]


class Allowed(NamedTuple):
    """The numbers of a schedule that a fit may change.

    Args:
        slope: 1 where it may, else 0.
        oscillations: the same of each oscillation.
    """

    slope: Any
    oscillations: Float[Array, " oscillation"]


def misfit(schedule: HarmonicSchedule, constants: tuple[Emulator, Allowed], step: Any) -> Float[Array, " dim"]:
    """Computes the residual of one step, in standard deviations of the state.

    Args:
        schedule: the schedule.
        constants: the emulator, and what the fit may change.
        step: time, state before and after, and weight.
    """
    emulator, allowed = constants
    time, before, after, weight = step
    schedule = restricted(schedule, allowed).later(time)
    return weight * (emulator(before, schedule) - after) / emulator.system.scale


@jax.jit
@highest
def fit_deviations(emulator: Emulator, schedule: HarmonicSchedule, steps: Steps) -> HarmonicSchedule:
    """Computes standard errors of a fitted schedule's numbers, as if the misfits were independent.

    Args:
        emulator: of the ensemble.
        schedule: the schedule.
        steps: of the trajectory; their weight does not count.
    """
    flat, unravel = ravel_pytree(schedule)
    everything = Allowed(1.0, jnp.ones_like(schedule.frequencies))

    def one(step: Any) -> tuple[Array, Array]:
        def missed(flat: Array) -> tuple[Array, Array]:
            value = misfit(unravel(flat), (emulator, everything), step)
            return value, value

        return jax.jacfwd(missed, has_aux=True)(flat)

    slopes, misfits = jax.vmap(one)(steps._replace(weight=jnp.ones_like(steps.weight)))
    information = jnp.einsum("ndk,d,ndl->kl", slopes, 1 / jnp.mean(misfits**2, 0), slopes)
    size = jnp.sqrt(jnp.maximum(jnp.diagonal(information), jnp.finfo(flat.dtype).tiny))
    scaled = information / size[:, None] / size
    covariance = jnp.linalg.pinv(scaled, hermitian=True)
    return unravel(jnp.sqrt(jnp.diagonal(covariance)) / size)


def restricted(schedule: HarmonicSchedule, allowed: Allowed) -> HarmonicSchedule:
    """Returns a schedule in which all that may not change is zero.

    Args:
        schedule: the schedule.
        allowed: what a fit may change.
    """
    on = allowed.oscillations[:, None]
    return dataclasses.replace(
        schedule, slope=schedule.slope * allowed.slope, cosines=schedule.cosines * on, sines=schedule.sines * on
    )


@jax.jit
@highest
def revealed(schedule: HarmonicSchedule, emulator: Emulator, steps: Steps) -> tuple[Array, Array, Array]:
    """Estimates the regime at each step from the residuals, by Gauss-Newton.

    Args:
        schedule: the schedule so far.
        emulator: of the ensemble.
        steps: of the trajectory.

    Returns:
        The shift of the regime, (step, coordinate), its information, (step, coordinate,
        coordinate), and the residuals that no shift explains, (step, dim).
    """

    def one(step: Any) -> tuple[Array, Array, Array]:
        seen = schedule.later(step.time)

        def missed(shift: Array) -> Array:
            moved = dataclasses.replace(seen, level=seen.level + shift)
            return (step.after - emulator(step.before, moved)) / emulator.system.scale

        def improve(_: Any, found: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            shift, _, left = found
            slope = -jax.jacfwd(missed)(shift)
            information = slope.T @ slope
            tiny = jnp.finfo(left.dtype).eps * jnp.trace(information) + jnp.finfo(left.dtype).tiny
            onward = shift + jnp.linalg.solve(
                information + tiny * jnp.eye(len(shift), dtype=left.dtype), slope.T @ left
            )
            closer = missed(onward)
            is_closer = jnp.sum(closer**2) < jnp.sum(left**2)
            return jnp.where(is_closer, onward, shift), information, jnp.where(is_closer, closer, left)

        zero = jnp.zeros_like(seen.level)
        blank = jnp.zeros((len(zero), len(zero)), zero.dtype)
        return jax.lax.fori_loop(0, NUM_IMPROVEMENTS, improve, (zero, blank, missed(zero)))

    return jax.vmap(one)(steps)


@jax.jit
@highest
def certain(shift: Float[Array, "step coordinate"], information: Array) -> tuple[Array, Array]:
    """Shrinks shifts with little information.

        W shift,    W = (information + its median)^-1 information

    Args:
        shift: of the regime at each step.
        information: of these shifts.

    Returns:
        The shrunk shifts, (step, coordinate), and W, (step, coordinate, coordinate).
    """
    typical = jnp.diag(jnp.median(jnp.diagonal(information, axis1=1, axis2=2), 0) + jnp.finfo(shift.dtype).tiny)
    weight = jnp.linalg.solve(information + typical, information)
    shrunk = jnp.einsum("ncd,nd->nc", weight, shift)
    bound = 20 * jnp.median(jnp.abs(shrunk), 0)
    return jnp.clip(shrunk, -bound, bound), weight


def steps_of(emulator: Emulator, states: Float[Array, "time dim"]) -> Steps:
    """Makes the steps of a trajectory; only those of its first three quarters have weight.

    Args:
        emulator: whose dt is used.
        states: of the trajectory; time 0 is at its middle.
    """
    num_steps = len(states) - 1
    time = emulator.dt * (jnp.arange(num_steps) - num_steps // 2)
    return Steps(time, states[:-1], states[1:], (jnp.arange(num_steps) < 3 * num_steps // 4).astype(states.dtype))

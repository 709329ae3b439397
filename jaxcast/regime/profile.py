"""A regime that repeats a profile of any shape, such as a square wave."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.dynamics.schedules import Parameter, Schedule
from jaxcast.numerics.least_squares import levenberg_marquardt
from jaxcast.pytrees import FrozenPytree
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.harmonics import HarmonicSchedule, Steps
from jaxcast.regime.kalman import GaussianState
from jaxcast.regime.motions import Motion

MOST_PARTS = 80
MOST_PHASES = 48
LEAST_PERIODS = 4
"""Periods in a trajectory that let a profile be told from chance."""
REPEATS = 0.5
"""Share of the variance that a profile must not leave."""
ALIGNED = 1e-3
"""Share of a step by which a period may miss whole steps and still count as so many."""


class ProfilePath(Schedule):
    """A profile of straight pieces, one after another, repeated.

        c(t) = levels_k + slopes_k (tau - middle of part k),   tau = (phase + t) mod period

    A Runge-Kutta step takes the piece at its middle for all its stages.

    Args:
        phase: time since the beginning of the profile at time 0.
        period: of the profile.
        levels: in the middle of each part, (part, coordinate).
        slopes: of each part.
    """

    phase: Parameter
    period: Parameter
    levels: Parameter
    slopes: Parameter

    def __call__(self, t: Any) -> Float[Array, " coordinate"]:
        return self._piece(t, t)

    def over_step(self, start: Any, middle: Any, end: Any) -> tuple[Any, Any, Any]:
        return self._piece(start, middle), self._piece(middle, middle), self._piece(end, middle)

    @property
    def jumps(self) -> Any:
        return ()

    def _piece(self, t: Any, within: Any) -> Array:
        num_parts = len(self.levels)
        width = self.period / num_parts
        count = jnp.floor((self.phase + within) / width + 1e-6)
        part = jnp.mod(count, num_parts).astype(int)
        return self.levels[part] + self.slopes[part] * (self.phase + t - (count + 0.5) * width)


class ProfileMotion(Motion, FrozenPytree, name="profile_motion"):
    """A regime that repeats a profile; its one number is the time since the profile's beginning.

    Args:
        period: of the profile.
        levels: in the middle of each part, (part, coordinate).
        slopes: of each part.
        dt: interval between samples.
        origin: a time at which the profile began.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md.
    """

    period: Float[Array, ""]
    levels: Float[Array, "part coordinate"]
    slopes: Float[Array, "part coordinate"]
    dt: Float[Array, ""]
    origin: Float[Array, ""]

    def described(self) -> str:
        return f"repeats a profile of {len(self.levels)} parts with period {float(self.period):.6g}"

    def at(self, time: Any) -> tuple[Array, Array] | None:
        if time is None:
            return None
        since = jnp.mod(jnp.asarray(time - self.origin, self.period.dtype), self.period)
        return since[None], jnp.zeros((1, 1), since.dtype)

    def path(self, numbers: Float[Array, " number"]) -> Schedule:
        return ProfilePath(numbers[0], self.period, self.levels, self.slopes)

    def later(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        return numbers + self.dt


def find_period(
    values: Float[np.ndarray, "step coordinate"],
    weights: Float[np.ndarray, "step coordinate"],
    schedule: HarmonicSchedule,
    dt: float,
) -> float | None:
    """Returns the period with which values repeat themselves best.

    Fundamentals of the oscillations that were found are tried, and whole numbers of steps.

    Args:
        values: of the regime in every step.
        weights: of these values.
        schedule: with oscillations.
        dt: length of a step.

    Returns:
        The period; None if none explains the values better than chance.
    """
    trimmed = schedule.trimmed()
    longest = min(len(values) / LEAST_PERIODS, MOST_PARTS)
    tried = [float(k) for k in range(3, int(longest) + 1)]
    for period in 2 * np.pi / np.abs(np.asarray(trimmed.frequencies)) / dt:
        for multiple in (1, 2, 3):
            if 3 <= (own := period * multiple) <= longest:
                # One step more or less in all of the trajectory.
                tried += (own * (1 + np.linspace(-1, 1, 41) / len(values))).tolist()
    # Scores of rounding are alike, and whole numbers of steps come first.
    scores = [max(_dispersion(values, weights, period), 1e-9) for period in tried]
    least = min(scores, default=np.inf)
    if not least < REPEATS:
        return None
    good = [(score, period) for period, score in zip(tried, scores, strict=True) if score <= 1.2 * least]
    # A multiple of the period is one, too: of the shortest the best.
    shortest = min(period for _, period in good)
    return min((one for one in good if one[1] < 1.2 * shortest), key=lambda one: one[0])[1] * dt


def _dispersion(values: np.ndarray, weights: np.ndarray, period: float) -> float:
    """Returns the variance within parts of a period of so many steps, relative to all."""
    num_parts = max(round(period), 1)
    phase = np.arange(len(values)) * (num_parts / period)
    part = (np.floor(phase + 1e-6) % num_parts).astype(int)
    if np.bincount(part, minlength=num_parts).min() < 2:
        return np.inf
    within = total = 0.0
    for column, weight in zip(values.T, weights.T, strict=True):
        column = column - np.average(column, weights=weight)
        sums = np.bincount(part, weight * column, num_parts)
        least = sums**2 / np.maximum(np.bincount(part, weight, num_parts), np.finfo(float).tiny)
        whole = float(weight @ column**2)
        within += (whole - float(least.sum())) * len(values) / (len(values) - num_parts)
        total += whole
    return within / max(total, np.finfo(float).tiny)


def _misfit(params: tuple[Array, Array], constants: tuple[Emulator, Array], step: Any) -> Array:
    levels, slopes = params
    emulator, period = constants
    time, before, after, weight = step
    path = ProfilePath(time, period, levels, slopes)
    return weight * (emulator(before, path) - after) / emulator.system.scale


def misfits_of(motion: ProfileMotion, emulator: Emulator, steps: Steps) -> np.ndarray:
    """Returns the misfit of every step, in standard deviations of the state, (step, dim).

    Args:
        motion: a motion with the clock of the steps.
        emulator: of the ensemble.
        steps: of the trajectory; their weight does not count.
    """
    return np.asarray(_misfits(motion, emulator, steps._replace(weight=jnp.ones_like(steps.weight))))


@jax.jit
def _misfits(motion: ProfileMotion, emulator: Emulator, steps: Steps) -> Array:
    params = motion.levels, motion.slopes
    return jax.vmap(lambda step: _misfit(params, (emulator, motion.period), step))(steps)


def fit_profile(
    emulator: Emulator, steps: Steps, values: Float[np.ndarray, "step coordinate"], period: float, origin: Any = 0.0
) -> tuple[ProfileMotion, np.ndarray]:
    """Fits a profile of as many parts as the period has steps, through the emulator's flow.

    Args:
        emulator: of the ensemble.
        steps: of the trajectory; those without weight are left out.
        values: of the regime in every step, to start from.
        period: of the profile.
        origin: the time at which the steps' time is 0.

    Returns:
        The motion, and the misfit of every step in standard deviations of the state.
    """
    dt = float(emulator.dt)
    num_parts = round(period / dt)
    kept = np.asarray(steps.weight) > 0
    middle = (np.asarray(steps.time) / dt + 0.5) * num_parts / (period / dt)
    part = (np.floor(middle) % num_parts).astype(int)
    counts = np.maximum(np.bincount(part[kept], minlength=num_parts), 1)
    levels = np.stack([np.bincount(part[kept], column[kept], num_parts) / counts for column in values.T], 1)
    begin = (jnp.asarray(levels), jnp.zeros_like(jnp.asarray(levels)))
    constants = (emulator, jnp.asarray(period))
    target = steps.before.size * (10 * float(jnp.finfo(steps.before.dtype).eps)) ** 2
    (levels, slopes), _ = levenberg_marquardt(_misfit, begin, constants, steps, target=target)
    motion = ProfileMotion(jnp.asarray(period), levels, slopes, emulator.dt, jnp.asarray(origin, levels.dtype))
    return motion, misfits_of(motion, emulator, steps)[kept]


def starting_phases(motion: ProfileMotion) -> GaussianState:
    """Returns beliefs that cover the phases: those of the samples, where the period is whole steps.

    Args:
        motion: the motion.
    """
    steps = float(motion.period / motion.dt)
    is_aligned = abs(steps - round(steps)) < ALIGNED
    num = min(round(steps) if is_aligned else int(np.ceil(2 * steps)), MOST_PHASES)
    phases = np.arange(num) * float(motion.period) / num
    width = 0.0 if is_aligned and num == round(steps) else float(motion.period) / num / 12**0.5
    return GaussianState(jnp.asarray(phases)[:, None], jnp.full((num, 1, 1), width))

"""Motions learned from a trajectory whose regime moves as neither oscillations nor a random walk do."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcast.regime.delays import choose_delays, fit_delays, starting_beliefs
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.harmonics import HarmonicSchedule, Steps, certain, revealed
from jaxcast.regime.inferred import infer_regime
from jaxcast.regime.kalman import GaussianState
from jaxcast.regime.motions import Motion
from jaxcast.regime.profile import find_period, fit_profile, misfits_of, starting_phases

NUM_BELIEFS = 1
MOST_DEVIATIONS = 20


class LearnedMotion(NamedTuple):
    """A motion learned from a trajectory, and what is left over.

    Args:
        motion: the motion.
        starts: beliefs about its numbers before anything is seen.
        log_weights: of the beliefs.
        wander: standard deviations that each step adds to the numbers.
        value: standard deviations of observed values, in those of the state.
        model: of steps.
    """

    motion: Motion
    starts: GaussianState
    log_weights: np.ndarray
    wander: np.ndarray
    value: np.ndarray
    model: np.ndarray


MotionFitter = Callable[[Steps], list[LearnedMotion]]


def motion_fitters(emulator: Emulator, schedule: HarmonicSchedule, steps: Steps, origin: Any) -> list[MotionFitter]:
    """Returns functions that learn motions from the steps with weight; settings come from the given steps.

    Args:
        emulator: of the ensemble.
        schedule: the best of oscillations.
        steps: of the trajectory, those of the last quarter without weight.
        origin: the time at which the steps' time is 0.
    """
    found: list[MotionFitter] = []
    dt = float(emulator.dt)
    kept = np.asarray(steps.weight) > 0
    seen = _in_steps(emulator, steps)
    if (period := find_period(seen.values[kept], seen.weights[kept], schedule, dt)) is not None:
        found.append(lambda given: _profiles(emulator, given, period, origin))
    start = Steps(*(part[kept] for part in steps))
    settings = choose_delays(infer_regime(emulator, start, seen.shrunk[kept]).values, dt)
    if settings is not None:
        found.append(lambda given: _delays(emulator, given, settings))
    return found


def exact_profile(emulator: Emulator, schedule: HarmonicSchedule, steps: Steps, origin: Any) -> LearnedMotion | None:
    """Returns a profile fitted to a whole trajectory, if the first quarters foretell the last to rounding.

    Args:
        emulator: of the ensemble.
        schedule: the best of oscillations.
        steps: of the trajectory, those of the last quarter without weight.
        origin: the time at which the steps' time is 0.
    """
    kept = np.asarray(steps.weight) > 0
    seen = _in_steps(emulator, steps)
    period = find_period(seen.values[kept], seen.weights[kept], schedule, float(emulator.dt))
    if period is None:
        return None
    motion, _ = fit_profile(emulator, steps, seen.shrunk, period)
    late = misfits_of(motion, emulator, steps)[~kept]
    if not np.sqrt(np.mean(late**2)) < 1e5 * np.finfo(late.dtype).eps:
        return None
    return _profiles(emulator, steps._replace(weight=jnp.ones_like(steps.weight)), period, origin)[0]


class StepValues(NamedTuple):
    """The regime in every step, taken as constant there.

    Args:
        values: as the steps tell it, (step, coordinate).
        weights: between 0 and 1, how much each step tells of it.
    """

    values: np.ndarray
    weights: np.ndarray

    @property
    def shrunk(self) -> np.ndarray:
        """Values of steps that tell little are near the level."""
        return self.values * self.weights


def _in_steps(emulator: Emulator, steps: Steps) -> StepValues:
    still = jnp.zeros(emulator.system.coordinates.shape[1], emulator.system.theta.dtype)
    none = jnp.zeros((0, len(still)), still.dtype)
    level = HarmonicSchedule(still, still, none[:, 0], none, none)
    shift, information, _ = revealed(level, emulator, steps)
    weights = np.diagonal(np.asarray(certain(shift, information)[1]), axis1=1, axis2=2)
    shift = np.asarray(shift)
    bound = MOST_DEVIATIONS * np.median(np.abs(shift), 0)
    return StepValues(np.clip(shift, -bound, bound), np.clip(weights, 0, 1))


def _profiles(emulator: Emulator, steps: Steps, period: float, origin: Any) -> list[LearnedMotion]:
    motion, misfits = fit_profile(emulator, steps, _in_steps(emulator, steps).shrunk, period, origin)
    starts = starting_phases(motion)
    log_weights = np.full(len(starts.mean), -np.log(len(starts.mean)))
    return _with_noise(motion, starts, log_weights, np.zeros(1), misfits)


def _delays(emulator: Emulator, steps: Steps, settings: dict[str, Any]) -> list[LearnedMotion]:
    kept = np.asarray(steps.weight) > 0
    steps = Steps(*(part[kept] for part in steps))
    inferred = infer_regime(emulator, steps, _in_steps(emulator, steps).shrunk)
    settings = dict(settings)
    penalty = settings.pop("penalty")
    motion, left = fit_delays(inferred.values, dt=emulator.dt, **settings)[penalty]
    starts, log_weights = starting_beliefs(inferred.values, motion.memory, NUM_BELIEFS)
    wander = np.zeros(starts.mean.shape[1])
    wander[: len(left)] = left
    return _with_noise(motion, starts, log_weights, wander, inferred.misfits)


def _with_noise(
    motion: Motion, starts: GaussianState, log_weights: np.ndarray, wander: np.ndarray, misfits: np.ndarray
) -> list[LearnedMotion]:
    """Returns the motion with two kinds of noise: all misfits are due to steps, or to values, of which each step has two."""
    size = np.sqrt(np.mean(misfits**2, 0))
    none = np.zeros_like(size)
    sizes = [(none, size), (size / 2**0.5, none)]
    return [LearnedMotion(motion, starts, log_weights, wander, value, model) for value, model in sizes]

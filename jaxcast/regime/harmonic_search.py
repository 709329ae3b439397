"""The forward search for the oscillations of a hidden regime's schedule."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_finite
from jaxcast.errors import InputError
from jaxcast.numerics.least_squares import levenberg_marquardt, sum_of_squares
from jaxcast.regime.checks import NUM_BLOCKS, check_length, check_states
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.harmonics import (
    Allowed,
    HarmonicSchedule,
    Steps,
    certain,
    misfit,
    restricted,
    revealed,
    steps_of,
)

MOST_OSCILLATIONS = 8
NUM_PEAKS = 3
MOST_ON_TRUST = 3


@checked
def fit_harmonics(
    states: Float[Array, "time dim"], *, emulator: Emulator, most_oscillations: int = MOST_OSCILLATIONS
) -> HarmonicSchedule:
    """Fits the schedule that the coordinates followed along a trajectory.

    It is a forward selection: a trend, then one oscillation after another at a peak of the spectrum
    of the residuals. Each is refined with all others, by nonlinear least squares through the
    emulator's flow, on the first three quarters of the trajectory. It is kept if it improves the
    forecast of the last quarter by more than three standard errors of its blocks, possibly together
    with up to two later ones.

    Args:
        states: of the trajectory, evenly sampled by the emulator's dt.
        emulator: of the ensemble.
        most_oscillations: to find.

    Returns:
        The schedule, with time 0 at the middle of the trajectory; oscillations not found are zero.

    Raises:
        InputError: for too few states, NaN, or states of another dimension than the emulator's.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md.

    Example:
        >>> import jaxcast, numpy as np
        >>> candidates = [jaxcast.Rossler(c=c) for c in (4.0, 6.0)]
        >>> ensemble = jaxcast.flow_map(jaxcast.stack_systems(candidates), dt=0.4, h=0.1)
        >>> truth = jaxcast.simulate(
        ...     jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=120, dt=0.4, h=0.1, transient=20.0
        ... )
        >>> forecasts = jaxcast.dynamics.forecasts_along(ensemble, truth)
        >>> emulator = jaxcast.regime.fit_emulator(
        ...     truth.states, forecasts=forecasts, dt=0.4, coordinates=np.array([4.0, 6.0]), num_substeps=4
        ... )
        >>> schedule = jaxcast.regime.fit_harmonics(truth.states, emulator=emulator, most_oscillations=0)
        >>> round(float(emulator.offset[0] + emulator.unit[0] * schedule.level[0]), 3)
        5.0
    """
    return find_schedules(states, emulator=emulator, most_oscillations=most_oscillations)[0].whole


class FittedHarmonics(NamedTuple):
    """A schedule found by forward selection.

    Args:
        head: fitted to the first three quarters of a trajectory.
        whole: fitted to all of it.
        allowed: what the fit could change.
        is_exact: whether the residuals of the last quarter are rounding.
    """

    head: HarmonicSchedule
    whole: HarmonicSchedule
    allowed: Allowed
    is_exact: bool


def find_schedules(
    states: Float[Array, "time dim"], *, emulator: Emulator, most_oscillations: int = MOST_OSCILLATIONS
) -> list[FittedHarmonics]:
    """Finds the schedule of `fit_harmonics`, and a level or trend where it is not exact.

    Args:
        states: of the trajectory.
        emulator: of the ensemble.
        most_oscillations: to find.

    Raises:
        InputError: for states that cannot be fitted.
    """
    if states.ndim != 2 or states.shape[1:] != emulator.system.scale.shape:
        raise InputError(f"expected states (time, {len(emulator.system.scale)}) as the emulator's, got {states.shape}")
    check_finite({"states": states})
    check_length(states)
    check_states(states)
    search = Search(emulator, steps_of(emulator, states))
    num_coordinates = emulator.system.coordinates.shape[1]
    none = jnp.zeros(most_oscillations, states.dtype)
    zero = jnp.zeros(num_coordinates, states.dtype)
    waves = jnp.zeros((most_oscillations, num_coordinates), states.dtype)
    level = search.refine(HarmonicSchedule(zero, zero, none, waves, waves), Allowed(jnp.zeros((), states.dtype), none))
    trend = level
    if not search.is_exact(level):
        sloping = search.refine(level.schedule, level.allowed._replace(slope=jnp.ones((), states.dtype)))
        trend = sloping if search.is_gain(level, sloping) else level
    best = search.with_oscillations(trend)
    if best is trend:
        return [search.finished(trend)]
    found = search.finished(best)
    return [found] if found.is_exact else [found, search.finished(trend)]


def improve_schedule(emulator: Emulator, steps: Steps, found: FittedHarmonics) -> FittedHarmonics:
    """Refits a schedule to another emulator, and adds the oscillations that this reveals.

    Args:
        emulator: the other emulator.
        steps: of the trajectory.
        found: the schedule so far.
    """
    search = Search(emulator, steps)
    return search.finished(search.with_oscillations(search.refine(found.head, found.allowed)))


class Candidate(NamedTuple):
    """A schedule that is tried.

    Args:
        schedule: the schedule, fitted to the first three quarters.
        allowed: what the fit could change.
        head: its misfit there.
        tail: squared misfit of every step of the last quarter.
    """

    schedule: HarmonicSchedule
    allowed: Allowed
    head: float
    tail: np.ndarray


class Search:
    """A forward selection: its fits, and the rule that keeps or drops an addition."""

    def __init__(self, emulator: Emulator, steps: Steps):
        self.emulator, self.steps = emulator, steps
        self.num_head = int(np.sum(np.asarray(steps.weight) > 0))

    def refine(self, schedule: HarmonicSchedule, allowed: Allowed) -> Candidate:
        """Fits a schedule to the head."""
        schedule, head = self._fit(schedule, allowed, self.steps)
        squares = sum_of_squares(misfit, schedule, (self.emulator, allowed), self._all_steps())
        return Candidate(restricted(schedule, allowed), allowed, head, np.asarray(squares)[self.num_head :])

    def finished(self, tried: Candidate) -> FittedHarmonics:
        """Returns a schedule with its refit to the whole trajectory."""
        whole, _ = self._fit(tried.schedule, tried.allowed, self._all_steps())
        return FittedHarmonics(tried.schedule, restricted(whole, tried.allowed), tried.allowed, self.is_exact(tried))

    def with_oscillations(self, best: Candidate) -> Candidate:
        """Adds oscillations as long as they forecast the tail better.

        A few are added on trust: of several with similar amplitudes the first alone may be no clear
        gain.
        """
        ahead, num_on_trust = best, 0
        for k in range(int(best.allowed.oscillations.sum()), len(best.allowed.oscillations)):
            if self.is_exact(best) or num_on_trust == MOST_ON_TRUST:
                break
            more = ahead.allowed._replace(oscillations=ahead.allowed.oscillations.at[k].set(1))
            tried = []
            for schedule in self.with_peaks(ahead.schedule, k):
                tried.append(self.refine(schedule, more))
                if self.is_gain(best, tried[-1]):
                    best = ahead = tried[-1]
                    num_on_trust = 0
                    break
            else:
                if not tried:
                    break
                ahead = min(tried, key=lambda one: one.head)
                num_on_trust += 1
        return best

    def is_exact(self, tried: Candidate) -> bool:
        """Returns whether the residuals are rounding."""
        return bool(np.sqrt(tried.tail.mean()) < 1e5 * np.finfo(tried.tail.dtype).eps)

    def is_gain(self, before: Candidate, tried: Candidate) -> bool:
        """Returns whether the tail is forecast better, by three standard errors of its blocks.

        Residuals that fall to rounding are no matter of chance, however much the blocks differ.
        """
        if self.is_exact(tried):
            return not self.is_exact(before)
        blocks = np.array([block.mean() for block in np.array_split(before.tail - tried.tail, NUM_BLOCKS)])
        error = blocks.std(ddof=1) / np.sqrt(NUM_BLOCKS)
        return bool(blocks.mean() > max(3 * error, 0.01 * before.tail.mean()))

    def _all_steps(self) -> Steps:
        return self.steps._replace(weight=jnp.ones_like(self.steps.weight))

    def _fit(self, schedule: HarmonicSchedule, allowed: Allowed, steps: Steps) -> tuple[HarmonicSchedule, float]:
        target = steps.before.size * (10 * float(jnp.finfo(steps.before.dtype).eps)) ** 2
        return levenberg_marquardt(misfit, schedule, (self.emulator, allowed), steps, target=target)

    def with_peaks(self, schedule: HarmonicSchedule, k: int) -> list[HarmonicSchedule]:
        """Returns schedules with a k-th oscillation at peaks of the residuals' spectrum."""
        shift, information, _ = revealed(schedule, self.emulator, self.steps)
        shift, weight = certain(shift, information)
        shift, weight = (np.asarray(a)[: self.num_head] for a in (shift, weight))
        length = 8 * len(self.steps.time)
        power = (np.abs(np.fft.rfft(shift, length, axis=0)) ** 2).sum(1)
        power[:8] = 0  # less than a period in the trajectory is a trend
        is_peak = np.flatnonzero((power[1:-1] > power[:-2]) & (power[1:-1] >= power[2:])) + 1
        peaks: list[int] = []
        for peak in is_peak[np.argsort(power[is_peak])[::-1]]:
            if all(abs(peak - other) > 12 for other in peaks):
                peaks.append(int(peak))
            if len(peaks) == NUM_PEAKS:
                break
        return [
            self._with(schedule, k, 2 * np.pi * peak / length / float(self.emulator.dt), shift, weight)
            for peak in peaks
        ]

    def _with(
        self, schedule: HarmonicSchedule, k: int, frequency: float, shift: np.ndarray, weight: np.ndarray
    ) -> HarmonicSchedule:
        angles = frequency * (np.asarray(self.steps.time)[: len(shift)] + float(self.emulator.dt) / 2)
        waves = np.stack([np.cos(angles), np.sin(angles)], 1)
        num = shift.shape[1]
        both = np.einsum("nw,nv,ncd->wcvd", waves, waves, weight).reshape(2 * num, 2 * num)
        seen = np.einsum("nw,nc->wc", waves, shift).ravel()
        cosines, sines = np.linalg.lstsq(both, seen, rcond=None)[0].reshape(2, num)
        return dataclasses.replace(
            schedule,
            frequencies=schedule.frequencies.at[k].set(frequency),
            cosines=schedule.cosines.at[k].set(cosines),
            sines=schedule.sines.at[k].set(sines),
        )

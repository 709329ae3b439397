"""Schedules of a hidden regime: a level, a trend and oscillations, found in residuals."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_finite
from jaxcast.dynamics.schedules import Parameter, SmoothSchedule
from jaxcast.errors import InputError
from jaxcast.numerics.least_squares import levenberg_marquardt, sum_of_squares
from jaxcast.regime.checks import NUM_BLOCKS, check_length, check_states
from jaxcast.regime.emulator import Emulator
from jaxcast.types import Scalar

MOST_OSCILLATIONS = 8
NUM_PEAKS = 3
NUM_IMPROVEMENTS = 5
MOST_ON_TRUST = 3


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

    Source: own design, studied in experiments/lorenz_skill/README.md.

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
    schedule = _restricted(schedule, allowed).later(time)
    return weight * (emulator(before, schedule) - after) / emulator.system.scale


def _restricted(schedule: HarmonicSchedule, allowed: Allowed) -> HarmonicSchedule:
    on = allowed.oscillations[:, None]
    return dataclasses.replace(
        schedule, slope=schedule.slope * allowed.slope, cosines=schedule.cosines * on, sines=schedule.sines * on
    )


@jax.jit
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

    Source: own design, studied in experiments/lorenz_skill/README.md.

    Example:
        >>> import jaxcast, numpy as np
        >>> candidates = [jaxcast.Rossler(c=c) for c in (4.0, 6.0)]
        >>> ensemble = jaxcast.flow_map(jaxcast.stack_systems(candidates), dt=0.4, h=0.1)
        >>> truth = jaxcast.simulate(jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=120, dt=0.4, h=0.1, transient=20.0)
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


def steps_of(emulator: Emulator, states: Float[Array, "time dim"]) -> Steps:
    """Makes the steps of a trajectory; only those of its first three quarters have weight.

    Args:
        emulator: whose dt is used.
        states: of the trajectory; time 0 is at its middle.
    """
    num_steps = len(states) - 1
    time = emulator.dt * (jnp.arange(num_steps) - num_steps // 2)
    return Steps(time, states[:-1], states[1:], (jnp.arange(num_steps) < 3 * num_steps // 4).astype(states.dtype))


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
        return Candidate(_restricted(schedule, allowed), allowed, head, np.asarray(squares)[self.num_head :])

    def finished(self, tried: Candidate) -> FittedHarmonics:
        """Returns a schedule with its refit to the whole trajectory."""
        whole, _ = self._fit(tried.schedule, tried.allowed, self._all_steps())
        return FittedHarmonics(tried.schedule, _restricted(whole, tried.allowed), tried.allowed, self.is_exact(tried))

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
        """Returns whether the tail is forecast better, by three standard errors of its blocks."""
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

"""The course of a hidden regime: a level, a trend and oscillations, found in how the candidates err."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_finite
from jaxcast.dynamics.schedules import Parameter, Schedule
from jaxcast.errors import InputError
from jaxcast.numerics.least_squares import levenberg_marquardt, sum_of_squares
from jaxcast.regime.checks import NUM_BLOCKS, check_length, check_states
from jaxcast.regime.emulator import Emulator
from jaxcast.types import Scalar

MOST_OSCILLATIONS = 8
NUM_PEAKS = 3
NUM_IMPROVEMENTS = 5
MOST_ON_TRUST = 3


class HarmonicSchedule(Schedule):
    """c(t) = level + slope t + sum_k [cosines_k cos(frequencies_k t) + sines_k sin(frequencies_k t)].

    Solutions of a linear differential equation: seen from another moment, its numbers but the frequencies change linearly.

    Source: own design; experiments/lorenz_skill/README.md has the study of it.

    Args:
        level, slope: (coordinate,). frequencies: angular, (oscillation,). cosines, sines: (oscillation, coordinate).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcast.regime.course import Course
        >>> course = Course(jnp.ones(1), jnp.zeros(1), jnp.ones(1), jnp.ones((1, 1)), jnp.zeros((1, 1)))
        >>> bool(jnp.allclose(course.later(0.3)(0.5), course(0.8)))
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
        """Without the oscillations that are zero; not under jit."""
        waves = [np.asarray(leaf) for leaf in (self.frequencies, self.cosines, self.sines)]
        kept = np.any((waves[1] != 0) | (waves[2] != 0), 1)
        frequencies, cosines, sines = (jnp.asarray(leaf[kept]) for leaf in waves)
        return dataclasses.replace(self, frequencies=frequencies, cosines=cosines, sines=sines)

    def padded(self, num_oscillations: int) -> "HarmonicSchedule":
        """With so many oscillations, those that it lacks being zero."""
        lacks = num_oscillations - len(self.frequencies)
        pad = lambda leaf: jnp.pad(leaf, [(0, lacks)] + [(0, 0)] * (leaf.ndim - 1))  # noqa: E731
        return dataclasses.replace(
            self, frequencies=pad(self.frequencies), cosines=pad(self.cosines), sines=pad(self.sines)
        )

    def later(self, t: Scalar) -> "HarmonicSchedule":
        """The same course, told from time t."""
        cos, sin = jnp.cos(self.frequencies * t)[:, None], jnp.sin(self.frequencies * t)[:, None]
        return dataclasses.replace(
            self,
            level=self.level + self.slope * t,
            cosines=self.cosines * cos + self.sines * sin,
            sines=self.sines * cos - self.cosines * sin,
        )


class Steps(NamedTuple):
    """What a course is fitted to: time, state, the state dt later, and how much the step counts."""

    time: Float[Array, " step"]
    before: Float[Array, "step dim"]
    after: Float[Array, "step dim"]
    weight: Float[Array, " step"]


class Allowed(NamedTuple):
    """Which numbers of a course a fit may move."""

    slope: Any
    oscillations: Float[Array, " oscillation"]


def misfit(course: HarmonicSchedule, constants: tuple[Emulator, Allowed], step: Any) -> Float[Array, " dim"]:
    """What the emulator misses of one step, in deviations of the state."""
    emulator, allowed = constants
    time, before, after, weight = step
    course = _restricted(course, allowed).later(time)
    return weight * (emulator(before, course) - after) / emulator.system.scale


def _restricted(course: HarmonicSchedule, allowed: Allowed) -> HarmonicSchedule:
    on = allowed.oscillations[:, None]
    return dataclasses.replace(
        course, slope=course.slope * allowed.slope, cosines=course.cosines * on, sines=course.sines * on
    )


@jax.jit
def revealed(course: HarmonicSchedule, emulator: Emulator, steps: Steps) -> tuple[Array, Array, Array]:
    """By how much each step says that the course is off, (step, coordinate), how surely, (step, coordinate,
    coordinate), and what no shift of it explains, (step, dim): Gauss-Newton on what the emulator misses."""

    def one(step: Any) -> tuple[Array, Array, Array]:
        seen = course.later(step.time)

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
    """What steps reveal, shrunk to nothing where they say little, (step, coordinate), and by what, (step, coordinate,
    coordinate): W shift, W = (information + its median)^-1 information."""
    typical = jnp.diag(jnp.median(jnp.diagonal(information, axis1=1, axis2=2), 0) + jnp.finfo(shift.dtype).tiny)
    weight = jnp.linalg.solve(information + typical, information)
    shrunk = jnp.einsum("ncd,nd->nc", weight, shift)
    bound = 20 * jnp.median(jnp.abs(shrunk), 0)
    return jnp.clip(shrunk, -bound, bound), weight


@checked
def fit_harmonics(
    states: Float[Array, "time dim"], *, emulator: Emulator, most_oscillations: int = MOST_OSCILLATIONS
) -> HarmonicSchedule:
    """The course that the coordinates took along a trajectory, told from its middle; oscillations not found are zero.

    Forward selection: a trend, then one oscillation after another at a peak of the spectrum of what is left, each
    refined with all the others by nonlinear least squares through the emulator's flow on the first three quarters of the
    trajectory, and kept if it forecasts the last quarter better, by more than three standard errors of blocks of it, be it
    together with up to two that come after it.

    Source: own design; experiments/lorenz_skill/README.md has the study of it.

    Raises:
        InputError: for too few states, NaN, or states of another dimension than the emulator's.

    Example:
        >>> import jaxcast, numpy as np
        >>> candidates = [jaxcast.Rossler(c=c) for c in (4.0, 6.0)]
        >>> ensemble = jaxcast.flow_map(jaxcast.stack_systems(candidates), dt=0.4, h=0.1)
        >>> truth = jaxcast.simulate(jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=120, dt=0.4, h=0.1, transient=20.0)
        >>> forecasts = jaxcast.dynamics.forecasts_along(ensemble, truth)
        >>> emulator = jaxcast.regime.fit_emulator(
        ...     truth.states, forecasts=forecasts, dt=0.4, coordinates=np.array([4.0, 6.0]), num_substeps=4
        ... )
        >>> course = jaxcast.regime.fit_harmonics(truth.states, emulator=emulator, most_oscillations=0)
        >>> round(float(emulator.offset[0] + emulator.unit[0] * course.level[0]), 3)
        5.0
    """
    return find_courses(states, emulator=emulator, most_oscillations=most_oscillations)[0].whole


class FittedHarmonics(NamedTuple):
    """A course fitted to the first three quarters of a trajectory, the same fitted to all of it, what it was allowed, and
    whether nothing but rounding is left of the last quarter."""

    head: HarmonicSchedule
    whole: HarmonicSchedule
    allowed: Allowed
    is_exact: bool


def find_courses(
    states: Float[Array, "time dim"], *, emulator: Emulator, most_oscillations: int = MOST_OSCILLATIONS
) -> list[FittedHarmonics]:
    """What `fit_harmonics` finds, and where that oscillates and is not exact, the level or trend that was found before."""
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
        sloping = search.refine(level.course, level.allowed._replace(slope=jnp.ones((), states.dtype)))
        trend = sloping if search.is_gain(level, sloping) else level
    best = search.with_oscillations(trend)
    if best is trend:
        return [search.finished(trend)]
    found = search.finished(best)
    return [found] if found.is_exact else [found, search.finished(trend)]


def improve_course(emulator: Emulator, steps: Steps, found: FittedHarmonics) -> FittedHarmonics:
    """A course found with another emulator, fitted to this one's, with what oscillations that reveals."""
    search = Search(emulator, steps)
    return search.finished(search.with_oscillations(search.refine(found.head, found.allowed)))


def steps_of(emulator: Emulator, states: Float[Array, "time dim"]) -> Steps:
    """Of a trajectory, told from its middle; only those of its first three quarters count in a fit."""
    num_steps = len(states) - 1
    time = emulator.dt * (jnp.arange(num_steps) - num_steps // 2)
    return Steps(time, states[:-1], states[1:], (jnp.arange(num_steps) < 3 * num_steps // 4).astype(states.dtype))


class Candidate(NamedTuple):
    """A course fitted to the head, what it was allowed, its misfit there, and the squared misfit of every step of the tail."""

    course: HarmonicSchedule
    allowed: Allowed
    head: float
    tail: np.ndarray


class Search:
    """The fits of a forward selection, and the rule that keeps or drops what was added."""

    def __init__(self, emulator: Emulator, steps: Steps):
        self.emulator, self.steps = emulator, steps
        self.num_head = int(np.sum(np.asarray(steps.weight) > 0))

    def refine(self, course: HarmonicSchedule, allowed: Allowed) -> Candidate:
        """The course fitted to the head."""
        course, head = self._fit(course, allowed, self.steps)
        squares = sum_of_squares(misfit, course, (self.emulator, allowed), self._all_steps())
        return Candidate(_restricted(course, allowed), allowed, head, np.asarray(squares)[self.num_head :])

    def finished(self, tried: Candidate) -> FittedHarmonics:
        """The course as it is, and refined on all."""
        whole, _ = self._fit(tried.course, tried.allowed, self._all_steps())
        return FittedHarmonics(tried.course, _restricted(whole, tried.allowed), tried.allowed, self.is_exact(tried))

    def with_oscillations(self, best: Candidate) -> Candidate:
        """With one oscillation after another, as long as they forecast the tail better; a few are taken on trust, since
        of several that are alike in size the first alone may be no clear gain."""
        ahead, num_on_trust = best, 0
        for k in range(int(best.allowed.oscillations.sum()), len(best.allowed.oscillations)):
            if self.is_exact(best) or num_on_trust == MOST_ON_TRUST:
                break
            more = ahead.allowed._replace(oscillations=ahead.allowed.oscillations.at[k].set(1))
            tried = []
            for course in self.with_peaks(ahead.course, k):
                tried.append(self.refine(course, more))
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
        """Whether what is left is rounding."""
        return bool(np.sqrt(tried.tail.mean()) < 1e5 * np.finfo(tried.tail.dtype).eps)

    def is_gain(self, before: Candidate, tried: Candidate) -> bool:
        """Whether the tail is forecast better, by more than three standard errors of blocks of it."""
        blocks = np.array([block.mean() for block in np.array_split(before.tail - tried.tail, NUM_BLOCKS)])
        error = blocks.std(ddof=1) / np.sqrt(NUM_BLOCKS)
        return bool(blocks.mean() > max(3 * error, 0.01 * before.tail.mean()))

    def _all_steps(self) -> Steps:
        return self.steps._replace(weight=jnp.ones_like(self.steps.weight))

    def _fit(self, course: HarmonicSchedule, allowed: Allowed, steps: Steps) -> tuple[HarmonicSchedule, float]:
        target = steps.before.size * (10 * float(jnp.finfo(steps.before.dtype).eps)) ** 2
        return levenberg_marquardt(misfit, course, (self.emulator, allowed), steps, target=target)

    def with_peaks(self, course: HarmonicSchedule, k: int) -> list[HarmonicSchedule]:
        """The course with a k-th oscillation at each of the highest peaks in the spectrum of what the head still misses."""
        shift, information, _ = revealed(course, self.emulator, self.steps)
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
            self._with(course, k, 2 * np.pi * peak / length / float(self.emulator.dt), shift, weight) for peak in peaks
        ]

    def _with(
        self, course: HarmonicSchedule, k: int, frequency: float, shift: np.ndarray, weight: np.ndarray
    ) -> HarmonicSchedule:
        angles = frequency * (np.asarray(self.steps.time)[: len(shift)] + float(self.emulator.dt) / 2)
        waves = np.stack([np.cos(angles), np.sin(angles)], 1)
        num = shift.shape[1]
        both = np.einsum("nw,nv,ncd->wcvd", waves, waves, weight).reshape(2 * num, 2 * num)
        seen = np.einsum("nw,nc->wc", waves, shift).ravel()
        cosines, sines = np.linalg.lstsq(both, seen, rcond=None)[0].reshape(2, num)
        return dataclasses.replace(
            course,
            frequencies=course.frequencies.at[k].set(frequency),
            cosines=course.cosines.at[k].set(cosines),
            sines=course.sines.at[k].set(sines),
        )

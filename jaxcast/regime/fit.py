"""Fits of regime forecasters: emulator, schedule and noise, selected by closed loops."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.dynamics.candidates import ForecastMap, forecasts_along
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.numerics.least_squares import levenberg_marquardt
from jaxcast.regime.cells import make_forecaster, make_learned
from jaxcast.regime.checks import check_trajectory
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.fields import emulated
from jaxcast.regime.forecaster import RegimeForecaster
from jaxcast.regime.harmonic_search import FittedHarmonics, find_schedules, improve_schedule
from jaxcast.regime.harmonics import Allowed, HarmonicSchedule, Steps, misfit, steps_of
from jaxcast.regime.learned import LearnedRegimeForecaster
from jaxcast.regime.learned_motions import LearnedMotion, MotionFitter, exact_profile, motion_fitters
from jaxcast.regime.noise import Residuals, explanations
from jaxcast.regime.trials import losses_of, num_late, trial_windows
from jaxcast.windows import Windows

CLEARLY, NEGLIGIBLE = 1.05, 1e-3
"""Loss of the trial that a learned motion must take off: a share, and what is too small to see."""
AnyRegimeForecaster: TypeAlias = RegimeForecaster | LearnedRegimeForecaster


@checked
def fit_regime(
    trajectory: Trajectory,
    *,
    forecast_map: ForecastMap,
    coordinates: Shaped[ArrayLike, "..."] | None = None,
    interpolation_degree: int = 3,
    **emulator_settings: Any,
) -> AnyRegimeForecaster:
    """Fits a `RegimeForecaster` to one trajectory of the truth and to the candidates.

    The emulator is fitted to the candidates alone, the schedule of the regime to the truth through
    the emulator's flow, and the noise to the residuals. No period, phase or shape of the schedule
    is given; only the coordinates, if any, say what varies. Residuals larger than rounding are
    explained in several ways: an oscillating schedule or a wandering level, a profile of any shape
    that repeats itself, or a motion learned from the inferred regime; observation or model
    noise; and candidates with an error that no coordinate changes, which the truth then corrects in
    the emulator. Each explanation forecasts the last quarter of the trajectory in closed loop, and
    the best is selected.

    Args:
        trajectory: of the truth, possibly observed with noise.
        forecast_map: of the candidates.
        coordinates: (model,) or (model, coordinate), one number or more for every candidate, such
            as the value of the parameter in which they differ; by default found from their
            forecasts.
        interpolation_degree: highest degree of the polynomial that interpolates between candidates.
        **emulator_settings: of `fit_emulator`, such as `num_substeps`.

    Returns:
        The forecaster; a `LearnedRegimeForecaster` for a profile or a learned motion.

    Raises:
        InputError: for a trajectory that is not finite, not evenly sampled or shorter than 78
            samples, candidates that diverge, do not differ or are fewer than two, or coordinates
            without a row for each of them.

    Source:
        Own design, studied in experiments/lorenz_skill/README.md.

    Example:
        >>> import jaxcast, numpy as np
        >>> candidates = jaxcast.flow_map(
        ...     jaxcast.stack_systems([jaxcast.Rossler(c=c) for c in (4.0, 6.0)]), dt=0.4, h=0.1
        ... )
        >>> truth = jaxcast.simulate(
        ...     jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=120, dt=0.4, h=0.1, transient=20.0
        ... )
        >>> cell = jaxcast.fit_regime(truth, forecast_map=candidates, coordinates=np.array([4.0, 6.0]), num_substeps=4)
        >>> output = jaxcast.forecast(cell, truth.states[:6], 10, truth.times[:15])
        >>> bool(abs(output.forecast - truth.states[6:16]).max() < 1e-2)
        True
    """
    return fit_and_trial(
        trajectory,
        forecast_map=forecast_map,
        coordinates=coordinates,
        interpolation_degree=interpolation_degree,
        **emulator_settings,
    )[0]


class RegimeTrial(NamedTuple):
    """The trial in which all explanations forecast the last quarter of a trajectory.

    Args:
        cell: of the best explanation, fitted to the first `num_samples` samples alone.
        num_samples: samples before the last quarter.
        windows: that it forecast, after these samples.
    """

    cell: AnyRegimeForecaster
    num_samples: int
    windows: Windows


def fit_and_trial(
    trajectory: Trajectory,
    *,
    forecast_map: ForecastMap,
    coordinates: Shaped[ArrayLike, "..."] | None = None,
    interpolation_degree: int = 3,
    **emulator_settings: Any,
) -> tuple[AnyRegimeForecaster, RegimeTrial | None]:
    """Fits as `fit_regime` does, and returns the trial too.

    Args:
        trajectory: of the truth.
        forecast_map: of the candidates.
        coordinates: of the candidates, or None.
        interpolation_degree: of the interpolation between candidates.
        **emulator_settings: of `fit_emulator`.

    Returns:
        The forecaster, and the trial; None for a trial where the residuals are rounding.
    """
    check_trajectory(trajectory)
    states = jnp.asarray(trajectory.states)
    forecasts = forecasts_along(forecast_map, trajectory)
    dt = float((trajectory.times[-1] - trajectory.times[0]) / (len(trajectory.times) - 1))
    emulator = emulated(forecast_map, states, forecasts=forecasts, dt=dt, coordinates=coordinates, **emulator_settings)
    make = partial(
        make_forecaster,
        num_steps=len(states) - 1,
        forecast_map=forecast_map,
        degree=interpolation_degree,
        steps=steps_of(emulator, states),
        origin=_origin(trajectory),
    )
    make_of = partial(make_learned, forecast_map=forecast_map, degree=interpolation_degree)
    return _read(trajectory._replace(states=states), emulator, make, make_of)


def _read(
    trajectory: Trajectory,
    emulator: Emulator,
    make: Callable[..., RegimeForecaster],
    make_of: Callable[..., LearnedRegimeForecaster],
) -> tuple[AnyRegimeForecaster, RegimeTrial | None]:
    """Returns the forecaster of the best explanation, and the trial that selected it."""
    steps = steps_of(emulator, trajectory.states)
    found = find_schedules(trajectory.states, emulator=emulator)
    if found[0].is_exact:
        return make(emulator, found[0].whole.trimmed(), explanations(emulator, found[0].whole, steps)[0]), None
    if (repeated := exact_profile(emulator, found[0].head, steps, _origin(trajectory))) is not None:
        return make_of(emulator, repeated), None
    schedules = [(emulator, schedule) for schedule in found]
    if (corrected := _corrected(emulator, found[0].head, steps)) is not None:
        schedules.append((corrected, improve_schedule(corrected, steps, found[0])))
    fitted_schedules = [
        _FittedSchedule(fitted, schedule, left, is_corrected=fitted is corrected)
        for fitted, schedule in schedules
        for left in explanations(fitted, schedule.head, steps)
    ]
    # One shape for all, so that one program runs them. Where the emulator is exact, the candidates
    # add nothing.
    most = max(len(one.schedule.head.trimmed().frequencies) for one in fitted_schedules)
    cells: list[AnyRegimeForecaster] = [
        make(fitted, schedule.head.trimmed().padded(most), left, is_corrected or emulator.is_exact)
        for fitted, schedule, left, is_corrected in fitted_schedules
    ]
    learned = _learned(fitted_schedules, steps, _origin(trajectory))
    cells += [make_of(of, motion, is_corrected or of.is_exact) for of, is_corrected, _, _, motion in learned]
    windows = trial_windows(trajectory)
    losses = np.asarray(losses_of(cells, windows))
    # What was learned must forecast clearly better than what is simpler.
    losses[len(fitted_schedules) :] = CLEARLY * losses[len(fitted_schedules) :] + NEGLIGIBLE
    number = int(np.argmin(losses))
    trial = RegimeTrial(cells[number], len(trajectory.states) - num_late(trajectory), windows)
    if number < len(fitted_schedules):
        best = fitted_schedules[number]
        return make(best.emulator, best.schedule.whole.trimmed(), best.left, best.is_corrected), trial
    of, is_corrected, fitter, kind, _ = learned[number - len(fitted_schedules)]
    everything = steps._replace(weight=jnp.ones_like(steps.weight))
    return make_of(of, fitter(everything)[kind], is_corrected), trial


def _learned(
    fitted_schedules: list["_FittedSchedule"], steps: Steps, origin: float
) -> list[tuple[Emulator, bool, MotionFitter, int, LearnedMotion]]:
    """Learns motions where the best schedules leave a regime that moves; none where they do not."""
    learned = []
    for is_corrected in (False, True):
        own = [one for one in fitted_schedules if one.is_corrected is is_corrected]
        if own and np.any(np.asarray(own[0].left.wander) > 0):
            of = own[0].emulator
            for fitter in motion_fitters(of, own[0].schedule.head, steps, origin):
                learned += [(of, is_corrected, fitter, kind, motion) for kind, motion in enumerate(fitter(steps))]
    return learned


def _origin(trajectory: Trajectory) -> float:
    """Returns the time at which that of `steps_of` is zero."""
    return float(trajectory.times[(len(trajectory.states) - 1) // 2])


class _FittedSchedule(NamedTuple):
    """One explanation of a trajectory."""

    emulator: Emulator
    schedule: FittedHarmonics
    left: Residuals
    is_corrected: bool = False


def _corrected(emulator: Emulator, schedule: HarmonicSchedule, steps: Steps) -> Emulator | None:
    """Fits to the truth what no coordinate changes in the emulator; None for too few steps.

    The level of the schedule, which could take its place, is held.
    """
    change = jnp.zeros_like(emulator.system.theta[:, 0])
    if 2 * change.size > steps.before[steps.weight > 0].size:
        return None
    (change, _), _ = levenberg_marquardt(_misfit_when_corrected, (change, schedule), emulator, steps)
    return _changed(emulator, change)


def _misfit_when_corrected(params: tuple[Array, HarmonicSchedule], emulator: Emulator, step: Any) -> Array:
    change, schedule = params
    schedule = dataclasses.replace(schedule, level=jax.lax.stop_gradient(schedule.level))
    everything = Allowed(jnp.ones(()), jnp.ones(len(schedule.frequencies)))
    return misfit(schedule, (_changed(emulator, change), everything), step)


def _changed(emulator: Emulator, change: Array) -> Emulator:
    system = dataclasses.replace(emulator.system, theta=emulator.system.theta.at[:, 0].add(change))
    return dataclasses.replace(emulator, system=system)

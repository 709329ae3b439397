"""Fits of regime forecasters: emulator, schedule and noise, selected by closed loops."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.dynamics.candidates import ForecastMap, forecasts_along
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.numerics.least_squares import levenberg_marquardt
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.regime.checks import check_trajectory
from jaxcast.regime.emulator import Emulator, fit_emulator
from jaxcast.regime.forecaster import RegimeForecaster
from jaxcast.regime.harmonic_search import FittedHarmonics, find_schedules, improve_schedule
from jaxcast.regime.harmonics import Allowed, HarmonicSchedule, Steps, misfit, steps_of
from jaxcast.regime.noise import Residuals, explanations
from jaxcast.sampling import exact_times, with_all_digits
from jaxcast.sharding import devices_for
from jaxcast.windows import Windows, run_windows, windows_at

LEVEL_DEVIATION = 0.5
"""Change of the level since training, in standard deviations of the candidates' coordinates."""
MOST_WINDOWS = 32
TOLERABLE = 0.35
"""Mean squared error, in deviations of the state, at which a forecast is half lost.

It is 0.175 of the error between two states drawn at random.
"""


@checked
def fit_regime(
    trajectory: Trajectory,
    *,
    forecast_map: ForecastMap,
    coordinates: Shaped[ArrayLike, "..."] | None = None,
    interpolation_degree: int = 3,
    **emulator_settings: Any,
) -> RegimeForecaster:
    """Fits a `RegimeForecaster` to one trajectory of the truth and to the candidates.

    The emulator is fitted to the candidates alone, the schedule of the regime to the truth through
    the emulator's flow, and the noise to the residuals. No period, phase or shape of the schedule
    is given; only the coordinates, if any, say what varies. Residuals larger than rounding are
    explained in several
    ways: an oscillating schedule or a wandering level, observation or model noise, and candidates
        with an
    error that no coordinate changes, which the truth then corrects in the emulator. Each
    explanation forecasts the last quarter of the trajectory in closed loop, and the best is
    selected.

    Args:
        trajectory: of the truth, possibly observed with noise.
        forecast_map: of the candidates.
        coordinates: (model,) or (model, coordinate), one number or more for every candidate, such
            as the value of the parameter in which they differ; by default found from their
            forecasts.
        interpolation_degree: highest degree of the polynomial that interpolates between candidates.
        **emulator_settings: of `fit_emulator`, such as `num_substeps`.

    Returns:
        The forecaster.

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


class Trial(NamedTuple):
    """The trial in which all explanations forecast the last quarter of a trajectory.

    Args:
        cell: of the best explanation, fitted to the first `num_samples` samples alone.
        num_samples: samples before the last quarter.
        windows: that it forecast, after these samples.
    """

    cell: RegimeForecaster
    num_samples: int
    windows: Windows


def fit_and_trial(
    trajectory: Trajectory,
    *,
    forecast_map: ForecastMap,
    coordinates: Shaped[ArrayLike, "..."] | None = None,
    interpolation_degree: int = 3,
    **emulator_settings: Any,
) -> tuple[RegimeForecaster, Trial | None]:
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
    emulator = fit_emulator(states, forecasts=forecasts, dt=dt, coordinates=coordinates, **emulator_settings)
    make = partial(_make, num_steps=len(states) - 1, forecast_map=forecast_map, degree=interpolation_degree)
    return _read(trajectory._replace(states=states), emulator, make)


def _read(
    trajectory: Trajectory, emulator: Emulator, make: Callable[..., RegimeForecaster]
) -> tuple[RegimeForecaster, Trial | None]:
    """Returns the forecaster of the best explanation, and the trial that selected it."""
    steps = steps_of(emulator, trajectory.states)
    found = find_schedules(trajectory.states, emulator=emulator)
    if found[0].is_exact:
        return make(emulator, found[0].whole.trimmed(), explanations(emulator, found[0].whole, steps)[0]), None
    schedules = [(emulator, schedule) for schedule in found]
    if (corrected := _corrected(emulator, found[0].head, steps)) is not None:
        schedules.append((corrected, improve_schedule(corrected, steps, found[0])))
    readings = [
        _Reading(fitted, schedule, left, is_corrected=fitted is corrected)
        for fitted, schedule in schedules
        for left in explanations(fitted, schedule.head, steps)
    ]
    # One shape for all, so that one program runs them. Where the emulator is exact, the candidates
    # add nothing.
    most = max(len(reading.schedule.head.trimmed().frequencies) for reading in readings)
    cells = [
        make(fitted, schedule.head.trimmed().padded(most), left, is_corrected or emulator.is_exact)
        for fitted, schedule, left, is_corrected in readings
    ]
    windows = _late_windows(trajectory)
    number = int(np.argmin(_losses(cells, windows)))
    best = readings[number]
    trial = Trial(cells[number], len(trajectory.states) - _num_late(trajectory), windows)
    return make(best.emulator, best.schedule.whole.trimmed(), best.left, best.is_corrected), trial


def _num_late(trajectory: Trajectory) -> int:
    return len(trajectory.states) // 4


class _Reading(NamedTuple):
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


def _late_windows(trajectory: Trajectory) -> Windows:
    """Cuts overlapping windows out of the last quarter, to which no schedule was fitted."""
    tail = _num_late(trajectory)
    history_size, num_leads = max(3, tail // 20), max(3, tail // 20 + min(tail // 10, 20))
    last = len(trajectory.states) - history_size - num_leads
    first = len(trajectory.states) - tail
    starts = np.unique(np.linspace(first, last, MOST_WINDOWS).astype(int))
    return windows_at(trajectory, starts, history_size=history_size, num_leads=num_leads)


def _losses(cells: list[RegimeForecaster], windows: Windows) -> list[float]:
    """Computes the mean of e^2 / (e^2 + TOLERABLE), e in standard deviations; NaN counts as 1."""
    windows = windows._replace(times=exact_times(windows.times, cells[0]))
    cells = [with_all_digits(cell) for cell in cells]
    alike = defaultdict(list)
    for n, cell in enumerate(cells):
        alike[jax.tree.structure(cell)].append(n)
    losses = [np.inf] * len(cells)
    for numbers in alike.values():
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(cells[n] for n in numbers))
        for n, loss in zip(numbers, np.asarray(_lost(stacked, windows)), strict=True):
            losses[n] = float(loss)
    return losses


@jax.jit
def _lost(cells: RegimeForecaster, windows: Windows) -> Float[Array, " cell"]:
    def one(cell: RegimeForecaster) -> Array:
        scale = cell.emulator.system.scale
        forecasts = run_windows(cell, windows, mesh=devices_for(None, cell, windows)).forecast
        squares = jnp.mean(((forecasts - windows.truth) / scale) ** 2, -1)
        return jnp.mean(jnp.where(jnp.isfinite(squares), squares / (squares + TOLERABLE), 1))

    return jax.lax.map(one, cells)


def _make(
    emulator: Emulator,
    schedule: HarmonicSchedule,
    left: Residuals,
    is_corrected: bool = False,
    *,
    num_steps: int,
    forecast_map: ForecastMap,
    degree: int,
) -> RegimeForecaster:
    """Makes the forecaster of a schedule, with noise of the size of the residuals."""
    scale = emulator.system.scale
    floor = 4096 * float(jnp.finfo(scale.dtype).eps)
    amplitude = jnp.sqrt((schedule.cosines**2 + schedule.sines**2) / 2)
    still = jnp.zeros_like(schedule.level)
    nowhere = dataclasses.replace(schedule, level=still, slope=still, cosines=0 * amplitude, sines=0 * amplitude)
    duration = num_steps * emulator.dt
    deviation = dataclasses.replace(
        nowhere,
        level=jnp.hypot(jnp.hypot(left.regime, LEVEL_DEVIATION), schedule.slope * duration / 12**0.5),
        cosines=amplitude,
        sines=amplitude,
    )
    wander = dataclasses.replace(nowhere, level=left.wander)
    deviation, wander = jax.tree.map(lambda leaf: leaf + floor, (deviation, wander))
    degree = min(degree, _highest_degree(emulator))
    features = jax.vmap(lambda c: products(c, monomials(len(c), degree)))(emulator.system.coordinates)
    return RegimeForecaster(
        emulator,
        dataclasses.replace(schedule, cosines=0 * amplitude, sines=0 * amplitude),
        deviation,
        wander,
        (left.value + floor) * scale,
        (left.model + floor) * scale,
        jnp.linalg.pinv(features),
        forecast_map,
        degree,
        is_corrected,
    )


def _highest_degree(emulator: Emulator) -> int:
    """Returns the highest degree with no more features than candidates."""
    num_models, num_coordinates = emulator.system.coordinates.shape
    degree = 1
    while len(monomials(num_coordinates, degree + 1)) <= num_models:
        degree += 1
    return degree

"""Trains a regime for `jaxcast pool train`: checks input, fits, and reports the result."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.dynamics.candidates import forecasts_along
from jaxcast.dynamics.coordinates import varying_parameters
from jaxcast.dynamics.trajectories import FlowMap, Trajectory
from jaxcast.errors import InputError
from jaxcast.pooling.cell import Forecaster
from jaxcast.pooling.corrected import fit_correction
from jaxcast.pooling.interpolation import fit_regime_interpolation
from jaxcast.pooling.samples import one_step_samples
from jaxcast.regime.checks import check_trajectory
from jaxcast.regime.emulator import check_ensemble
from jaxcast.regime.fields import tried
from jaxcast.regime.fit import AnyRegimeForecaster, RegimeTrial, fit_and_trial
from jaxcast.regime.learned import LearnedRegimeForecaster
from jaxcast.rollout import Cell, open_loop
from jaxcast.scores.valid_times import usual_threshold, valid_time
from jaxcast.windows import Windows, forecast_windows

NEGLIGIBLE = 1e-9
"""Of the candidates' standard deviation in the regime: a wander that is rounding."""
NUM_DELAYS = 5
"""Of corrected interpolation in the trial, as by default of the command."""
CLEARLY = 1.25
"""How many times as long as the regime's the other's median valid time must be to be recommended."""
NUM_SETTLING = 6
"""Samples before the errors count: those that the published pool sees before its first forecast."""


def check_input(trajectory: Trajectory, candidates: FlowMap) -> None:
    """Checks a trajectory and candidates before anything is written.

    Args:
        trajectory: Training trajectory.
        candidates: The candidates.

    Raises:
        InputError: for what the fit would refuse.
    """
    check_trajectory(trajectory)
    found = varying_parameters(candidates)
    check_ensemble(
        trajectory.states,
        forecasts_along(candidates, trajectory),
        None if found is None else found[1],
        neighbourhood=tried(candidates, jnp.asarray(trajectory.states))[0],
    )


def fitted(trajectory: Trajectory, candidates: FlowMap) -> tuple[AnyRegimeForecaster, RegimeTrial | None]:
    """Fits the regime forecaster, with the numbers in which the candidates differ, if there are any.

    Args:
        trajectory: Training trajectory.
        candidates: The candidates.

    Returns:
        The forecaster, and its trial.

    Raises:
        InputError: where the result of the fit is not finite.
    """
    found = varying_parameters(candidates)
    cell, trial = fit_and_trial(trajectory, forecast_map=candidates, coordinates=None if found is None else found[1])
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(cell)):
        raise InputError(
            "the fit of the regime is not finite; give a longer trajectory or candidates closer to it, or choose "
            "another --pool"
        )
    return cell, trial


def compare_on_trial(trial: RegimeTrial, trajectory: Trajectory, candidates: FlowMap) -> dict[str, Any]:
    """Compares the regime with corrected interpolation by valid times in the trial's windows.

    Corrected interpolation is fitted to what comes before these windows.

    Args:
        trial: Trial of the regime.
        trajectory: Training trajectory.
        candidates: The candidates.

    Returns:
        Median valid time by the name of the pool; the shares of windows that corrected
        interpolation forecasts longer and less long; the duration of a window, beyond which nothing
        is known; and the number of windows.
    """
    before = Trajectory(*(part[: trial.num_samples] for part in trajectory))
    samples = one_step_samples(before, min(NUM_DELAYS, trial.num_samples // 4), candidates)
    pool = fit_correction(samples, pool=fit_regime_interpolation(samples))
    dt = float(trajectory.times[-1] - trajectory.times[0]) / (len(trajectory.times) - 1)
    threshold = usual_threshold(trajectory.states)
    times = {
        name: _valid_times(cell, trial.windows, dt, threshold)
        for name, cell in (("regime", trial.cell), ("corrected_interpolation", Forecaster(pool, candidates)))
    }
    longer = times["corrected_interpolation"] - times["regime"]
    return {
        "valid_time_median": {name: float(np.median(values)) for name, values in times.items()},
        "share_longer": float((longer > 0).mean()),
        "share_shorter": float((longer < 0).mean()),
        "window": dt * trial.windows.truth.shape[1],
        "num_windows": len(longer),
    }


def _valid_times(cell: Any, windows: Windows, dt: float, threshold: float) -> np.ndarray:
    forecast = forecast_windows(cell, windows).forecast
    score = jax.vmap(lambda forecast, truth: valid_time(forecast, truth, dt=dt, threshold=threshold).time)
    return np.asarray(score(forecast, windows.truth))


def advice_from(tried: dict[str, Any]) -> str | None:
    """Recommends corrected interpolation where it was clearly better than the regime.

    Args:
        tried: Result of `compare_on_trial`.

    Returns:
        One line; None for no advice.
    """
    medians = tried["valid_time_median"]
    own, other = medians["regime"], medians["corrected_interpolation"]
    if not (other >= CLEARLY * own and tried["share_longer"] >= 2 * tried["share_shorter"] and other > 0):
        return None
    more = " or more" if other >= tried["window"] * (1 - 1e-9) else ""
    return (
        "consider --pool corrected_interpolation: on the last quarter of this trajectory its forecasts stay valid "
        f"for {other:.3g}{more} in the median, those of --pool regime for {own:.3g} ({tried['num_windows']} windows "
        "held out)"
    )


def one_step_error(cell: Cell, trajectory: Trajectory) -> tuple[float, int]:
    """Computes the mean squared one-step error along the training trajectory.

    Args:
        cell: The forecaster.
        trajectory: The trajectory.

    Returns:
        The error where the trajectory is known, and the number of its samples.
    """
    forecasts = open_loop(cell, trajectory.states, trajectory.times).forecast
    first = max(NUM_SETTLING, cell.warmup + 1)
    truth = trajectory.states[first:]
    known = ~jnp.isnan(truth)
    errors = jnp.where(known, forecasts[first - 1 : -1] - truth, 0)
    return float((errors**2).sum() / known.sum()), int(known.any(1).sum())


def findings(cell: AnyRegimeForecaster) -> dict[str, Any]:
    """Returns what the fit found, as JSON values.

    The regime is in the user's coordinates, its largest oscillation first; noise is in units of the
    state. `unit` is the standard deviation of the candidates' own coordinates.

    Args:
        cell: The forecaster.
    """
    emulator = cell.emulator
    found = varying_parameters(cell.forecast_map)
    shared = {
        "parameter": None if found is None else ", ".join(found[0]),
        "emulator_error": float(emulator.error),
        "is_corrected": cell.is_corrected,
        "unit": emulator.unit.tolist(),
        "value_noise": cell.value_noise.tolist(),
        "model_noise": cell.model_noise.tolist(),
    }
    if isinstance(cell, LearnedRegimeForecaster):
        return shared | {"motion": cell.motion.described(), "num_beliefs": len(cell.starts.mean)}
    schedule = cell.schedule
    amplitudes = np.asarray(cell.amplitudes)
    order = np.argsort(-np.abs(amplitudes / np.asarray(emulator.unit)).max(1, initial=0))
    return shared | {
        "level": (emulator.offset + emulator.unit * schedule.level).tolist(),
        "slope": (emulator.unit * schedule.slope).tolist(),
        "oscillations": [
            {"period": float(cell.periods[k]), "amplitude": amplitudes[k].tolist()} for k in order.tolist()
        ],
        "deviation": (emulator.unit * cell.schedule_deviation.level).tolist(),
        "wander": (emulator.unit * cell.wander.level).tolist(),
    }


def described(found: dict[str, Any], scale: Any) -> list[str]:
    """Describes the findings in lines; noise and misfit are in standard deviations of the state.

    Args:
        found: Result of `findings`.
        scale: Standard deviation of each component of the state.
    """
    name = found["parameter"] or "regime (in a unit of its own)"
    return [
        f"emulator of the candidates: root mean squared misfit {found['emulator_error']:.2g} deviations of the "
        f"state{', then corrected by the truth, which no candidate could be' if found['is_corrected'] else ''}",
        f"{name}: {found['motion'] if 'motion' in found else _schedule_of(found)}",
        _noise_of(found, scale),
    ]


def _noise_of(found: dict[str, Any], scale: Any) -> str:
    noise = {kind: max(np.asarray(found[f"{kind}_noise"]) / scale) for kind in ("value", "model")}
    return f"noise, in deviations of the state: {noise['value']:.2g} of a value, {noise['model']:.2g} of a step"


def _schedule_of(found: dict[str, Any]) -> str:
    shown = lambda values: ", ".join(f"{value:.4g}" for value in values)  # noqa: E731
    schedule = f"{shown(found['level'])} halfway"
    if any(found["slope"]):
        schedule += f", rising by {shown(found['slope'])} a time unit"
    for wave in found["oscillations"]:
        schedule += f", oscillating with period {wave['period']:.6g} and amplitude {shown(wave['amplitude'])}"
    if any(wander > NEGLIGIBLE * unit for wander, unit in zip(found["wander"], found["unit"], strict=True)):
        schedule += f"; wanders by {shown(found['wander'])} a step"
    return schedule

"""What `jaxcast train` does for a regime: looks at its input, fits it, and says what was found."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.candidates import forecasts_along
from jaxcast.cli.hidden import coordinates_of
from jaxcast.errors import InputError
from jaxcast.integrate import FlowMap, Trajectory
from jaxcast.regime.checks import check_trajectory
from jaxcast.regime.emulator import check_ensemble
from jaxcast.regime.fit import fit_regime
from jaxcast.regime.forecaster import RegimeForecaster
from jaxcast.rollout import open_loop

NEGLIGIBLE = 1e-9
"""Of the candidates' standard deviation in the regime: a wander that is rounding."""
NUM_SETTLING = 6
"""Samples before the errors count: those that the published pool sees before its first forecast."""


def check_input(trajectory: Trajectory, candidates: FlowMap) -> None:
    """Raises InputError for what the fit would refuse, before anything is written."""
    check_trajectory(trajectory)
    found = coordinates_of(candidates)
    check_ensemble(trajectory.states, forecasts_along(candidates, trajectory), None if found is None else found[1])


def fitted(trajectory: Trajectory, candidates: FlowMap) -> RegimeForecaster:
    """The forecaster, told the number in which the candidates differ where it is one.

    Raises:
        InputError: where the fit has no finite result.
    """
    found = coordinates_of(candidates)
    cell = fit_regime(trajectory, candidates, coordinates=None if found is None else found[1])
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(cell)):
        raise InputError(
            "the fit of the regime is not finite; give a longer trajectory or candidates closer to it, or choose another --pool"
        )
    return cell


def one_step_error(cell: RegimeForecaster, trajectory: Trajectory) -> tuple[float, int]:
    """The mean squared one-step error along the training trajectory, and of how many samples."""
    forecasts = open_loop(cell, trajectory.states, trajectory.times).forecast
    errors = forecasts[NUM_SETTLING - 1 : -1] - trajectory.states[NUM_SETTLING:]
    return float(jnp.mean(errors**2)), len(errors)


def findings(cell: RegimeForecaster) -> dict[str, Any]:
    """What was found, as JSON: the regime in the user's coordinates, largest oscillation first; noise in units of the state.

    unit: the standard deviation of the candidates' own coordinates.
    """
    emulator, course = cell.emulator, cell.course
    found = coordinates_of(cell.forecast_map)
    amplitudes = np.asarray(cell.amplitudes)
    order = np.argsort(-np.abs(amplitudes / np.asarray(emulator.unit)).max(1, initial=0))
    return {
        "parameter": None if found is None else found[0],
        "emulator_error": float(emulator.error),
        "is_corrected": cell.is_corrected,
        "level": (emulator.offset + emulator.unit * course.level).tolist(),
        "slope": (emulator.unit * course.slope).tolist(),
        "oscillations": [
            {"period": float(cell.periods[k]), "amplitude": amplitudes[k].tolist()} for k in order.tolist()
        ],
        "deviation": (emulator.unit * cell.course_deviation.level).tolist(),
        "wander": (emulator.unit * cell.wander.level).tolist(),
        "unit": emulator.unit.tolist(),
        "value_noise": cell.value_noise.tolist(),
        "model_noise": cell.model_noise.tolist(),
    }


def described(found: dict[str, Any], scale: Any) -> list[str]:
    """The findings in lines for a person; noise and misfit in standard deviations of the state."""
    name = found["parameter"] or "regime (in a unit of its own)"
    shown = lambda values: ", ".join(f"{value:.4g}" for value in values)  # noqa: E731
    course = f"{name}: {shown(found['level'])} halfway"
    if any(found["slope"]):
        course += f", rising by {shown(found['slope'])} a time unit"
    for wave in found["oscillations"]:
        course += f", oscillating with period {wave['period']:.6g} and amplitude {shown(wave['amplitude'])}"
    if any(wander > NEGLIGIBLE * unit for wander, unit in zip(found["wander"], found["unit"], strict=True)):
        course += f"; wanders by {shown(found['wander'])} a step"
    noise = {kind: max(np.asarray(found[f"{kind}_noise"]) / scale) for kind in ("value", "model")}
    corrected = ", then corrected by the truth, which no candidate could be" if found["is_corrected"] else ""
    return [
        f"emulator of the candidates: root mean squared misfit {found['emulator_error']:.2g} deviations of the state{corrected}",
        course,
        f"noise, in deviations of the state: {noise['value']:.2g} of a value, {noise['model']:.2g} of a step",
    ]

"""The parameter that a truth hides from its forecasters: how well weights or a regime follow it."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcast.dynamics.coordinates import coordinates_of
from jaxcast.dynamics.parse import parse_system
from jaxcast.dynamics.trajectory_checks import StoredTrajectory
from jaxcast.errors import InputError
from jaxcast.rollout import Output
from jaxcast.scores.tracking import parameter_tracking
from jaxcast.windows import Windows


class HiddenParameter(NamedTuple):
    """The parameter in which the candidates differ.

    Args:
        name: Its name.
        values: Its value in each candidate.
        value_at: Function from times to its true values.
    """

    name: str
    values: np.ndarray
    value_at: Any


def candidate_names(forecast_map: Any, num_models: int) -> list[str]:
    """Names the candidates by the parameter in which they differ ("rho=28"), else by their numbers.

    Args:
        forecast_map: The candidates.
        num_models: Number of candidates.
    """
    found = coordinates_of(forecast_map)
    if found is None:
        return [f"candidate{i}" for i in range(num_models)]
    return [f"{found[0]}={value:.9g}" for value in found[1]]


def regime_name(forecast_map: Any) -> str:
    """Returns a name for the regime: the parameter in which the candidates differ, if there is one.

    Args:
        forecast_map: The candidates.
    """
    found = coordinates_of(forecast_map)
    return "regime" if found is None else found[0]


def hidden_parameter(forecast_map: Any, stored: StoredTrajectory) -> HiddenParameter | None:
    """Finds the true values of the parameter in which the candidates differ.

    Args:
        forecast_map: The candidates.
        stored: Trajectory of a file, with its attributes.

    Returns:
        The parameter; None where the file does not tell it.
    """
    found = coordinates_of(forecast_map)
    if found is None or "system" not in stored.attributes:
        return None
    try:
        schedule = parse_system(stored.attributes["system"]).schedules.get(found[0])
    except InputError:
        return None
    if schedule is None:
        return None
    return HiddenParameter(*found, lambda times: np.asarray(jnp.vectorize(lambda t: schedule(t))(jnp.asarray(times))))


def track(output: Output, windows: Windows, hidden: HiddenParameter, dt: float) -> dict[str, Any]:
    """Measures how well the regime, or else the highest weight, follows the hidden parameter.

    Args:
        output: Closed-loop forecasts of whole windows.
        windows: The windows.
        hidden: The parameter.
        dt: Interval between samples.

    Returns:
        Correlation and mean distance, and by what they were measured.
    """
    history = windows.history.shape[1]
    if "regime" in output.info:
        followed, truth = np.asarray(output.info["regime"])[..., 0], hidden.value_at(windows.times[:, history - 1 : -1])
        is_finite = np.isfinite(followed)
        followed, truth = followed[is_finite], truth[is_finite]
        varies = len(truth) > 1 and np.ptp(followed) > 0 and np.ptp(truth) > 0
        correlation = float(np.corrcoef(followed, truth)[0, 1]) if varies else math.nan
        distance = float(abs(followed - truth).mean()) if len(truth) else math.nan
    else:
        truth = hidden.value_at(windows.times[:, history:] - dt / 2)
        found = parameter_tracking(output.info["weights"], hidden.values, truth)
        correlation, distance = float(found.correlation), float(found.mean_distance)
    return {
        "parameter": hidden.name,
        "by": "regime" if "regime" in output.info else "highest weight",
        "correlation": finite_or_none(correlation),  # NaN where the weights never change
        "mean_distance": finite_or_none(distance),
    }


def spread_by_lead(output: Output, windows: Windows) -> dict[str, list[float | None]]:
    """Computes the forecasts' spread and error at each lead, medians over the windows.

    Failed windows do not count.

    Args:
        output: Forecasts of the windows.
        windows: The windows.

    Returns:
        Spread and error by lead.
    """
    spread = np.sqrt((np.asarray(output.info["spread"]) ** 2).mean(-1))
    error = np.sqrt(np.asarray((output.forecast - windows.truth) ** 2).mean(-1))
    medians = {
        name: np.median(np.where(np.isfinite(values), values, np.inf), axis=0)
        for name, values in (("spread", spread), ("error", error))
    }
    return {name: [finite_or_none(float(value)) for value in values] for name, values in medians.items()}


def finite_or_none(value: float) -> float | None:
    """Returns a number, or None where it is not finite, as JSON has no NaN.

    Args:
        value: The number.
    """
    return value if math.isfinite(value) else None

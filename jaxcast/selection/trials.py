"""Trials: methods forecast held-out windows in closed loop, and are compared on them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.rollout import Cell
from jaxcast.scores.paired import paired_test
from jaxcast.scores.valid_times import valid_time
from jaxcast.windows import Windows, forecast_windows, windows_at


class Trial(NamedTuple):
    """How one method did on the held-out windows.

    Args:
        method: its name.
        setting: the best of its settings.
        mean: mean valid time, by which methods are ranked.
        median: median valid time.
        difference: its median minus that of the chosen method.
        p: two-sided p-value of Wilcoxon's signed-rank test against the chosen method. The test
            takes the windows for independent. They overlap, and the method was chosen on them, so
            the p-value is too small: it ranks differences, and proves none.
        seconds: that fitting and forecasting took, compilation included.
        reason: why it was left out; empty if it was not.
    """

    method: str
    setting: dict[str, Any]
    mean: float
    median: float
    difference: float
    p: float
    seconds: float
    reason: str = ""


class Times(NamedTuple):
    """Valid times of a cell on the held-out windows.

    Args:
        times: of each window.
        censored: whether each of them is only a lower bound.
        error: mean of e^2 / (e^2 + threshold) over windows and leads, e^2 the mean squared error; it
            decides between equal times, and is 1 where no forecast is finite.
    """

    times: np.ndarray
    censored: np.ndarray
    error: float

    @property
    def rank(self) -> tuple[float, float]:
        """What the best cell has the most of."""
        return (round(float(self.times.mean()), 9), -self.error)


def held_out(trajectory: Trajectory, num_fit: int, *, history_size: int, num_leads: int, num_windows: int) -> Windows:
    """Cuts overlapping windows, whose truth no fit has seen, from the end of a trajectory.

    Args:
        trajectory: evenly sampled.
        num_fit: samples that methods are fitted to.
        history_size: samples before each window; they may be among those.
        num_leads: leads of each.
        num_windows: the most windows.

    Returns:
        The windows.

    Raises:
        InputError: for an end that is shorter than a window, or a history that is too long.
    """
    size = len(trajectory.states)
    first, last = max(0, num_fit - history_size), size - history_size - num_leads
    if size - num_fit < num_leads:
        raise InputError(
            f"expected at least {num_leads} samples after the first {num_fit} to try methods on, got {size - num_fit}; "
            "give a longer trajectory or fewer num_leads"
        )
    if last < 0:
        raise InputError(
            f"history_size must be at most {size - num_leads}, as windows need {num_leads} of the {size} samples for "
            f"their leads, got {history_size}"
        )
    starts = np.unique(np.linspace(first, last, min(num_windows, last - first + 1)).astype(int))
    return windows_at(trajectory, starts, history_size=history_size, num_leads=num_leads)


def valid_times(cell: Cell, windows: Windows, *, dt: float, threshold: float) -> Times:
    """Forecasts windows and measures how long the forecasts stay valid.

    Args:
        cell: the forecaster.
        windows: to forecast.
        dt: interval between samples.
        threshold: of the mean squared error.

    Returns:
        The times.
    """
    forecast = forecast_windows(cell, windows).forecast
    times, censored, error = _times(forecast, windows.truth, dt, threshold)
    return Times(np.asarray(times, float), np.asarray(censored), float(error))


@jax.jit
def _times(forecast: Any, truth: Any, dt: Any, threshold: Any) -> Any:
    score = jax.vmap(lambda f, t: tuple(valid_time(f, t, dt=dt, threshold=threshold)))
    squares = ((forecast - truth) ** 2).mean(-1)
    return (*score(forecast, truth), jnp.where(jnp.isfinite(squares), squares / (squares + threshold), 1).mean())


def trial_of(method: str, setting: dict[str, Any], own: Times, best: Times, seconds: float) -> Trial:
    """Compares a method with the chosen one.

    Args:
        method: its name.
        setting: of the method.
        own: its valid times.
        best: those of the chosen method.
        seconds: that it took.

    Returns:
        The trial.
    """
    test = paired_test(
        own.times,
        best.times,
        first_censored=own.censored,
        second_censored=best.censored,
        key=jax.random.key(0),
        num_resamples=1000,
    )
    return Trial(
        method,
        setting,
        float(own.times.mean()),
        float(np.median(own.times)),
        test.difference,
        test.wilcoxon,
        seconds,
    )


def left_out(method: str, reason: str, seconds: float = 0.0) -> Trial:
    """Returns the trial of a method that is not compared.

    Args:
        method: its name.
        reason: why not.
        seconds: spent on it.
    """
    nothing = float("nan")
    return Trial(method, {}, nothing, nothing, nothing, nothing, seconds, reason)


def threshold_of(states: Any) -> float:
    """Returns 0.175 times the squared error of two states drawn at random.

    Args:
        states: of a trajectory.
    """
    return float(0.35 * jnp.var(jnp.asarray(states), axis=0).mean())

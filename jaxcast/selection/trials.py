"""Trials: methods forecast held-out windows in closed loop, and are compared on them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.rollout import Cell
from jaxcast.scores.by_lead import spread_factors
from jaxcast.scores.paired import paired_test
from jaxcast.scores.valid_times import lost_share, valid_time
from jaxcast.windows import Windows, forecast_windows

MOST_TESTED = 60
"""Windows of a paired test, which takes them for independent."""


class Trial(NamedTuple):
    """How one method did on the held-out windows.

    Args:
        method: its name.
        setting: the best of its settings.
        mean: mean valid time, by which methods are ranked.
        median: median valid time.
        difference: its median minus that of the chosen method.
        p: two-sided p-value of Wilcoxon's signed-rank test against the chosen method, on 60 of the
            windows at most. The test takes them for independent. They overlap, and the method was
            chosen on them, so the p-value is too small: it ranks differences, and proves none.
        seconds: that fitting and forecasting took, compilation included.
        reason: why it was left out; empty if it was not.
        num_untried: settings of the method for which the budget was spent.
    """

    method: str
    setting: dict[str, Any]
    mean: float
    median: float
    difference: float
    p: float
    seconds: float
    reason: str = ""
    num_untried: int = 0


class Times(NamedTuple):
    """Valid times of a cell on the held-out windows.

    Args:
        times: of each window.
        censored: whether each of them is only a lower bound.
        error: `lost_share` at the threshold; it decides between equal times, and is 1 where no
            forecast is finite.
        spread_factors: what the cell's spread is to be multiplied by at each lead; None for a cell
            without one.
    """

    times: np.ndarray
    censored: np.ndarray
    error: float
    spread_factors: np.ndarray | None = None

    @property
    def rank(self) -> tuple[float, float]:
        """What the best cell has the most of."""
        return (round(float(self.times.mean()), 9), -self.error)


class BestSetting(NamedTuple):
    """A method's best setting.

    Args:
        setting: the setting.
        times: valid times with it.
        seconds: that all settings took.
        num_untried: settings that were not tried.
    """

    setting: dict[str, Any]
    times: Times
    seconds: float
    num_untried: int = 0


def valid_times(cell: Cell, windows: Windows, *, dt: float, threshold: float) -> Times:
    """Forecasts windows and measures how long the forecasts stay valid.

    Args:
        cell: the forecaster.
        windows: to forecast. Where their truth is NaN nothing is judged.
        dt: interval between samples.
        threshold: of the mean squared error.

    Returns:
        The times.
    """
    forecast, info = forecast_windows(cell, windows)
    times, censored, error = _times(forecast, windows.truth, dt, threshold)
    factors = None
    if "spread" in info and info["spread"].shape == forecast.shape:
        factors = np.asarray(spread_factors(forecast, info["spread"], jnp.asarray(windows.truth)), float)
    return Times(np.asarray(times, float), np.asarray(censored), float(error), factors)


def time_of_last_value(windows: Windows, *, dt: float, threshold: float) -> float:
    """Returns how long a value stays valid as the forecast of what follows, on average.

    Args:
        windows: whose first truths are held.
        dt: interval between samples.
        threshold: of the mean squared error.
    """
    truth = jnp.asarray(windows.truth)
    # A component whose first value is not known is not judged.
    held = jnp.where(jnp.isnan(truth[:, :1]), jnp.nan_to_num(truth), truth[:, :1])
    return float(_times(held, truth, dt, threshold)[0].mean())


@jax.jit
def _times(forecast: Any, truth: Any, dt: Any, threshold: Any) -> Any:
    is_known = ~jnp.isnan(truth)
    shares = is_known.mean(-1, keepdims=True)
    # The mean of squares is over the components that are known.
    errors = jnp.where(is_known | jnp.isnan(forecast), forecast - truth, 0) / jnp.sqrt(jnp.where(shares > 0, shares, 1))
    nothing = jnp.zeros_like(truth)
    score = jax.vmap(lambda error, zero: tuple(valid_time(error, zero, dt=dt, threshold=threshold)))
    return (*score(errors, nothing), lost_share((errors**2).mean(-1), threshold))


def trial_of(method: str, found: BestSetting, best: Times) -> Trial:
    """Compares a method with the chosen one.

    Args:
        method: its name.
        found: its best setting.
        best: valid times of the chosen method.

    Returns:
        The trial.
    """
    own = found.times
    num = len(own.times)
    tested = np.linspace(0, num - 1, min(num, MOST_TESTED)).round().astype(int)
    test = paired_test(
        own.times[tested],
        best.times[tested],
        first_censored=own.censored[tested],
        second_censored=best.censored[tested],
        key=jax.random.key(0),
        num_resamples=1000,
    )
    return Trial(
        method,
        found.setting,
        float(own.times.mean()),
        float(np.median(own.times)),
        float(np.median(own.times) - np.median(best.times)),
        test.wilcoxon,
        found.seconds,
        num_untried=found.num_untried,
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

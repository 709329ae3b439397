"""Plain methods: the season before, and ridge autoregressions that are rolled out."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.probabilistic.data import Task
from jaxcast.numerics.levels import row_quantiles
from jaxcast.series.panel_models.aligned import filled_steps
from jaxcast.series.panel_models.held_out import LARGEST_SHARE, LEAST_OF_EACH, LEAST_WINDOWS
from jaxcast.series.panel_models.recalibration import recalibrated, spread_shifts
from jaxcast.series.panels.windows import PanelWindows

NUM_ERRORS = 14
"""Seasons of errors at the end of the training part, whose quantiles are those of a forecast."""
LEAST_ERRORS = 20
"""With fewer, rolled errors begin at every step."""
LEAST_CHANGES = 8
"""Seasonal changes that a series must hold to be forecast by its season."""
PENALTY = 0.1


def seasonal_naive(task: Task, levels: tuple[float, ...]) -> Float[np.ndarray, "origin series lead level"]:
    """Repeats the last season; around it lie quantiles of its errors at the end of the training part.

    A series that is too short for its season repeats its last value.

    Args:
        task: with the series.
        levels: of the quantiles; the middle one is the value a season before.
    """
    season, lengths = task.seasons[0] if task.seasons else 1, task.train.lengths[:, None]
    leads = np.arange(1, task.horizon + 1)
    back = season * -(-leads // season)
    gaps = np.where(lengths >= back + LEAST_CHANGES, back, np.minimum(leads, np.maximum(lengths // 2, 1)))
    middle = task.values(task.last_known(task.origins[..., None] + np.minimum(leads - gaps, 0)))
    steps = task.origins[0, :, None] - np.arange(NUM_ERRORS * max(season, 12))
    found = np.empty((*middle.shape, len(levels)))
    for k in range(task.horizon):
        errors = (task.values(steps[None]) - task.values((steps - gaps[:, k, None])[None]))[0]
        spread = row_quantiles(errors, levels)
        found[:, :, k] = middle[..., k, None] + spread - spread[:, levels.index(0.5), None]
    return above(task.lower, found)


def above(lower: float | None, quantiles: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Returns quantiles that are not below the least value of a series.

    Args:
        lower: that value, or None.
        quantiles: any.
    """
    return quantiles if lower is None else np.maximum(quantiles, lower)


class Autoregression(NamedTuple):
    """A linear autoregression of one series.

    Args:
        lags: steps back.
        weights: of the lags.
        mean: taken off the values.
        least: the smallest value of a forecast, so that it cannot diverge.
        most: the largest one.
    """

    lags: np.ndarray
    weights: np.ndarray
    mean: float
    least: float
    most: float

    def roll(self, values: np.ndarray, horizon: int) -> np.ndarray:
        """Forecasts step by step.

        Args:
            values: up to the newest.
            horizon: steps ahead.
        """
        longest = int(self.lags[-1])
        seen = np.concatenate([values[-longest:] - self.mean, np.zeros(horizon)])
        least, most = self.least - self.mean, self.most - self.mean
        for step in range(longest, longest + horizon):
            seen[step] = min(max(self.weights @ seen[step - self.lags], least), most)
        return np.asarray(seen[longest:] + self.mean)


def lags_of(task: Task, length: int) -> np.ndarray:
    """Returns the lags of an autoregression: a season and one step more, and past seasons.

    Args:
        task: with the seasons.
        length: of the series.
    """
    if not task.seasons:
        return np.arange(1, min(25, max(2, length // 3)))
    short, *longer = task.seasons
    lags = {*range(1, short + 2), *(2 * short + k for k in (-1, 0, 1)), *(short * k for k in (3, 4, 5, 6))}
    lags |= {season + k for season in longer for k in (-1, 0, 1)}
    return np.asarray(sorted(lag for lag in lags if lag <= max(1, length // 3)))


def fit_autoregression(values: np.ndarray, lags: np.ndarray) -> Autoregression:
    """Fits an autoregression by ridge, in units of the mean size of the values.

    A forecast leaves the range of the values by at most that range.

    Args:
        values: of a series, without gaps.
        lags: steps back.
    """
    size = float(np.abs(values).mean()) or 1.0
    longest, spread = int(lags[-1]), float(np.ptp(values))
    bounds = float(values.min()) - spread, float(values.max()) + spread
    if len(values) <= longest:
        return Autoregression(lags, np.zeros(len(lags)), float(values[-1]), *bounds)
    inputs = np.stack([values[longest - lag : len(values) - lag] for lag in lags], 1) / size
    mean = float(values[longest:].mean() / size)
    centred, targets = inputs - mean, values[longest:] / size - mean
    weights = np.linalg.solve(centred.T @ centred + PENALTY * np.eye(len(lags)), centred.T @ targets)
    return Autoregression(lags, weights, mean * size, *bounds)


def recursive_ridge(task: Task, levels: tuple[float, ...]) -> Float[np.ndarray, "origin series lead level"]:
    """Rolls an autoregression of each series; quantiles are those of rolled errors at the end of training.

    Args:
        task: with the series.
        levels: of the quantiles.
    """
    panel, season = task.panel, task.seasons[0] if task.seasons else 12
    found = np.zeros((*task.origins.shape, task.horizon, len(levels)))
    for number, (offset, length) in enumerate(zip(panel.offsets, panel.lengths, strict=True)):
        later = max(0, int(task.origins[-1, number]) + 1 - int(length))
        values: Any = np.pad(panel.values[offset : offset + length], (0, later), constant_values=np.nan)
        values = filled_steps(values[None])[0]
        train = values[: task.origins[0, number] + 1]
        model = fit_autoregression(train, lags_of(task, len(train)))
        spread = row_quantiles(_rolled_errors(model, train, task.horizon, season).T, levels)
        for k, origin in enumerate(task.origins[:, number]):
            found[k, number] = model.roll(values[: origin + 1], task.horizon)[:, None] + spread
    return above(task.lower, found)


def calibrated_ridge(task: Task, levels: tuple[float, ...]) -> Float[np.ndarray, "origin series lead level"]:
    """Rolls autoregressions, with quantiles that are recalibrated on windows before the first origin.

    The fit that forecasts these windows has not seen them. All series share the shifts, in units of
    the spread of a forecast.

    Args:
        task: with the series.
        levels: of the quantiles.
    """
    num_series, typical = len(task.panel.names), float(np.median(task.train.lengths))
    wanted = max(-(-LEAST_WINDOWS // num_series), LEAST_OF_EACH)
    num = max(1, min(wanted, int(LARGEST_SHARE * typical / task.horizon)))
    origins = task.origins[0] - task.horizon * np.arange(num, 0, -1)[:, None]
    held_out = np.flatnonzero(origins[0] >= 0)
    found = recursive_ridge(task, levels)
    if not len(held_out):
        return found
    before = task._replace(panel=task.panel.select(held_out), origins=origins[:, held_out])
    quantiles, history = (_flat(a) for a in (recursive_ridge(before, levels), _newest_values(before)))
    shifts = spread_shifts(quantiles, PanelWindows.plain(history, _flat(before.truth())), levels)
    shifts -= shifts[:, levels.index(0.5), None]  # what all series missed at the same steps is chance
    moved = recalibrated(_flat(found), _flat(_newest_values(task)), shifts, task.lower)
    return moved.reshape(found.shape)


def _flat(values: Float[np.ndarray, "origin series ..."]) -> Float[np.ndarray, "window ..."]:
    return values.reshape(-1, *values.shape[2:])


def _newest_values(task: Task) -> Float[np.ndarray, "origin series step"]:
    return task.values(task.origins[..., None] - np.arange(task.horizon)[::-1])


def _rolled_errors(
    model: Autoregression, train: np.ndarray, horizon: int, season: int
) -> Float[np.ndarray, "start lead"]:
    """Returns the errors of forecasts from several steps; of a series too short for them, its changes."""
    newest, longest = len(train) - horizon, int(model.lags[-1])
    ends = np.arange(newest, longest, -max(1, season // 4))[: 4 * NUM_ERRORS]
    if len(ends) < LEAST_ERRORS:
        ends = np.arange(newest, longest, -1)[: 4 * NUM_ERRORS]
    if len(ends):
        return np.stack([train[end : end + horizon] - model.roll(train[:end], horizon) for end in ends])
    changes = np.diff(train)[-4 * NUM_ERRORS :, None] * np.sqrt(np.arange(1, horizon + 1))
    return np.concatenate([changes, -changes, np.zeros((1, horizon))])

"""Plain methods: the season before, and ridge autoregressions that are rolled out."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.probabilistic.data import Task
from jaxcast.series.panel_models.aligned import filled_steps

NUM_ERRORS = 14
"""Seasons of errors at the end of the training part, whose quantiles are those of a forecast."""
PENALTY = 0.1


def seasonal_naive(task: Task, levels: tuple[float, ...]) -> Float[np.ndarray, "origin series lead level"]:
    """Repeats the last season; around it lie quantiles of its errors at the end of the training part.

    Args:
        task: with the series.
        levels: of the quantiles; the middle one is the value a season before.
    """
    season = task.seasons[0] if task.seasons else 1
    leads = np.arange(1, task.horizon + 1)
    back = season * -(-leads // season)
    steps = task.origins[:1, :, None] - np.arange(NUM_ERRORS * max(season, 12))
    found = []
    for lead, gap in zip(leads, back, strict=True):
        errors = task.values(steps) - task.values(steps - gap)
        middle = task.values(task.origins[..., None] + lead - gap)
        spread = np.nanquantile(_known(errors[0]), levels, axis=1).T
        found.append(_filled(middle, task) + spread - spread[:, levels.index(0.5), None])
    return np.stack(found, 2)


def _filled(values: Float[np.ndarray, "origin series one"], task: Task) -> np.ndarray:
    """Replaces what is missing by the mean of the series."""
    means = np.asarray([np.nanmean(task.train.of(name)) for name in task.panel.names])
    return np.where(np.isfinite(values), values, means[:, None])


def _known(errors: Float[np.ndarray, "series step"]) -> np.ndarray:
    """Returns the errors, 0 for a series of which none is known."""
    return np.where(np.isfinite(errors).any(1)[:, None], errors, 0)


class Autoregression(NamedTuple):
    """A linear autoregression of one series.

    Args:
        lags: steps back.
        weights: of the lags.
        mean: taken off the values.
    """

    lags: np.ndarray
    weights: np.ndarray
    mean: float

    def roll(self, values: np.ndarray, horizon: int) -> np.ndarray:
        """Forecasts step by step.

        Args:
            values: up to the newest.
            horizon: steps ahead.
        """
        longest = int(self.lags[-1])
        seen = np.concatenate([values[-longest:] - self.mean, np.zeros(horizon)])
        for step in range(longest, longest + horizon):
            seen[step] = self.weights @ seen[step - self.lags]
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

    Args:
        values: of a series, without gaps.
        lags: steps back.
    """
    size = float(np.abs(values).mean()) or 1.0
    longest = int(lags[-1])
    inputs = np.stack([values[longest - lag : len(values) - lag] for lag in lags], 1) / size
    mean = float(values[longest:].mean() / size)
    centred, targets = inputs - mean, values[longest:] / size - mean
    weights = np.linalg.solve(centred.T @ centred + PENALTY * np.eye(len(lags)), centred.T @ targets)
    return Autoregression(lags, weights, mean * size)


def recursive_ridge(task: Task, levels: tuple[float, ...]) -> Float[np.ndarray, "origin series lead level"]:
    """Rolls an autoregression of each series; quantiles are those of rolled errors at the end of training.

    Args:
        task: with the series.
        levels: of the quantiles.
    """
    horizon, season = task.horizon, task.seasons[0] if task.seasons else 12
    found = np.zeros((*task.origins.shape, horizon, len(levels)))
    for number, name in enumerate(task.panel.names):
        values = task.panel.of(name)
        later = max(0, int(task.origins[-1, number]) + 1 - len(values))
        values = filled_steps(np.pad(values, (0, later), constant_values=np.nan)[None])[0]
        train = values[: task.origins[0, number] + 1]
        model = fit_autoregression(train, lags_of(task, len(train)))
        ends = len(train) - horizon - np.arange(0, NUM_ERRORS * season, max(1, season // 4))
        ends = ends[ends > model.lags[-1]]
        errors = [train[end : end + horizon] - model.roll(train[:end], horizon) for end in ends]
        spread = np.quantile(np.asarray(errors or [np.zeros(horizon)]), levels, axis=0).T
        for k, origin in enumerate(task.origins[:, number]):
            found[k, number] = model.roll(values[: origin + 1], horizon)[:, None] + spread
    return found

"""Scores of a trained method's forecasts of all windows, and its data for the pictures."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.lorenz_skill.cases import FIGURE_KNOWN, SkillTask
from jaxcast.io.reading import Arrays

DIVERGED = 1e30


class Trained:
    """Trained method: its cells, one per seed, and how many true samples it uses (None: all)."""

    def __init__(
        self, make_cell: Callable[[Any, Any], Any], models: Any, num_seeds: int, seen: int | None = None, **notes: Any
    ):
        self.make_cell, self.models, self.num_seeds, self.seen, self.notes = make_cell, models, num_seeds, seen, notes


def single(cell: Any, seen: int | None = None, **notes: Any) -> Trained:
    """Wraps a method without seeds."""
    return Trained(_itself, jax.tree.map(lambda a: jnp.asarray(a)[None], cell), 1, seen, **notes)


def _itself(cell: Any, candidates: Any) -> Any:
    return cell


def pooled(pool: Any, candidates: Any) -> Any:
    """Returns the cell of a pool."""
    return jaxcast.Forecaster(pool, candidates)


def score(trained: Trained, task: SkillTask, dt: float) -> Arrays:
    """Scores a trained method on all windows.

    Returns:
        Valid times (seed, window), squared errors in deviations (seed, window, lead), spread and error
        (lead,) for methods with a spread, and the data of the pictures.
    """
    rolled = _rolled(trained.make_cell, trained.models, task.candidates, task.windows)
    valid = partial(jaxcast.valid_time, dt=dt, threshold=task.rules.threshold)
    result = jax.vmap(lambda forecast: jax.vmap(valid)(forecast, task.windows.truth))(rolled.forecast)
    forecasts = np.asarray(rolled.forecast)
    square = _squares(forecasts, task)
    arrays = {
        "valid_time": np.asarray(result.time),
        "censored": np.asarray(result.censored),
        "square_error": np.where(square < DIVERGED, square, np.inf).astype(np.float32),
    }
    if trained.num_seeds > 2:
        variance = ((forecasts / task.scale).var(0, ddof=1)).mean(-1) * (1 + 1 / trained.num_seeds)
        arrays |= spread_and_error(variance, _squares(forecasts.mean(0), task))
    elif "spread" in rolled.info:
        variance = ((np.asarray(rolled.info["spread"][0]) / task.scale) ** 2).mean(-1)
        arrays |= spread_and_error(variance, square[0])
    return arrays | _figure(trained, task)


@partial(jax.jit, static_argnames="make_cell")
def _rolled(
    make_cell: Callable[[Any, Any], Any], models: Any, candidates: Any, windows: jaxcast.Windows
) -> jaxcast.Output:
    """Forecasts all windows, with a leading seed axis."""
    return jax.lax.map(lambda model: jaxcast.forecast_windows(make_cell(model, candidates), windows), models)


def _squares(forecasts: np.ndarray, task: SkillTask) -> np.ndarray:
    with np.errstate(over="ignore"):  # forecasts that diverge
        return np.asarray(np.mean(((forecasts - np.asarray(task.windows.truth)) / task.scale) ** 2, -1))


def spread_and_error(variance: np.ndarray, square: np.ndarray) -> Arrays:
    """Returns root mean squares over windows of expected and actual errors, (lead,); equal for a correct spread.

    Windows that diverged are left out.
    """
    kept = (variance < DIVERGED) & (square < DIVERGED)
    counts = np.maximum(kept.sum(0), 1)
    spread, error = (np.sqrt(np.where(kept, part, 0).sum(0) / counts) for part in (variance, square))
    return {"spread": spread, "spread_error": error, "median_spread": np.sqrt(np.median(variance, 0))}


def _figure(trained: Trained, task: SkillTask) -> Arrays:
    """Returns the regime and weights of one forecast: known values first, as noisy as the training, then none."""
    known = jnp.arange(len(task.shown.states)) < FIGURE_KNOWN
    model = jax.tree.map(lambda a: a[0], trained.models)
    inputs = jaxcast.Input(task.shown.states, known, task.shown.times)
    _, output = jaxcast.roll(trained.make_cell(model, task.candidates), inputs)
    info = dict(output.info)
    names = ("regime", "regime_deviation", "weights")
    return {f"figure_{name}": np.asarray(info[name]) for name in names if name in info}

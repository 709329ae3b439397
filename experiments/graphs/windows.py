"""The windows from which methods of `experiments.graphs` learn, and the graphs that they see."""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

import jaxcast
from experiments.graphs.data import Problem

MOST_STEPS = 60
"""Steps of past days and weeks at most; beyond, 4 days and 2 weeks are seen."""


class Parts(NamedTuple):
    """Windows of a problem.

    Args:
        early: of the training part before the validation part.
        validation: whose targets lie in the validation part.
        whole: of the training part.
        test: those that are forecast in the end.
    """

    early: jaxcast.series.SeriesWindows
    validation: jaxcast.series.SeriesWindows
    whole: jaxcast.series.SeriesWindows
    test: jaxcast.series.SeriesWindows


def usual_lags(problem: Problem) -> tuple[int, ...]:
    """Returns recent steps and the targets' slots on past days and in past weeks, newest first."""
    num_recent = 12 if problem.is_short or problem.slots_per_day > 48 else 6
    num_days = min(7, problem.middle // problem.slots_per_day - 2)
    num_weeks = 4 if problem.middle > 6 * 7 * problem.slots_per_day else 0
    if problem.is_short:
        num_days = num_weeks = 0
    if (num_days + num_weeks) * len(problem.leads) > MOST_STEPS:
        num_days, num_weeks = 4, 2
    lags = jaxcast.series.calendar_lags(
        num_recent=num_recent,
        num_days=num_days,
        num_weeks=num_weeks,
        slots_per_day=problem.slots_per_day,
        leads=problem.leads,
    )
    return tuple(sorted(lags))


@lru_cache(maxsize=1)  # windows of large data are gigabytes
def parts_of(problem: Problem, lags: tuple[int, ...]) -> Parts:
    """Cuts the windows of all parts."""
    values = problem.values.astype(np.float32)
    cut: Any = lambda start, stop: jaxcast.series.series_windows(  # noqa: E731
        values, lags=lags, leads=problem.leads, start=start, stop=stop
    )
    rest = cut(problem.stop, None)
    newest = np.asarray(rest.rows)[:, 0] - problem.leads[0]
    asked = np.flatnonzero(np.isin(newest, problem.newest))
    if len(asked) != len(problem.newest):
        raise jaxcast.InputError(f"{problem.name} has test windows that no history reaches")
    test = rest._replace(**{name: getattr(rest, name)[asked] for name in ("history", "targets", "weights", "rows")})
    return Parts(cut(0, problem.middle), cut(problem.middle, problem.stop), cut(0, problem.stop), test)


def slots_of(windows: jaxcast.series.SeriesWindows, problem: Problem) -> Float[np.ndarray, "sample covariate"]:
    """Returns the slot of the week of each window's newest step, as its covariate."""
    newest = np.asarray(windows.rows)[:, 0] - problem.leads[0]
    return (newest % (7 * problem.slots_per_day))[:, None].astype(np.float32)


@cache
def graphs_of(problem: Problem) -> Float[np.ndarray, "graph series series"]:
    """Returns the graphs that come with the data, or of places, and the graph of correlations.

    Of places, each listens to the ten nearest; of correlations above 0.1 over the last 30 days
    before the validation part, to the ten largest.
    """
    found = list(problem.graphs.values())
    if problem.places is not None and not found:
        apart = jaxcast.series.great_circle_distances(*problem.places)
        found.append(_of_nearest(1 / (1 + apart)))
    start = max(0, problem.middle - 30 * problem.slots_per_day)
    recent = problem.values[start : problem.middle]
    known = np.isfinite(recent)
    mean = np.where(known, recent, 0).sum(0) / np.maximum(known.sum(0), 1)
    recent = np.where(known, recent - mean, 0)
    size = np.sqrt((recent**2).sum(0))
    going = recent.T @ recent / np.maximum(np.outer(size, size), 1e-9)
    found.append(_of_nearest(np.where(going > 0.1, going, 0)))
    return np.stack([np.where(np.eye(len(graph)) > 0, 0, graph) for graph in found]).astype(np.float32)


def _of_nearest(weights: np.ndarray, most: int = 10) -> np.ndarray:
    """Keeps the largest weights of each node, in both directions."""
    if len(weights) == 1:
        return np.zeros_like(weights)
    apart = np.where(weights > 0, 1 / np.maximum(weights, 1e-12), np.inf)
    return weights * jaxcast.series.nearest_neighbours_graph(apart, min(most, len(weights) - 1), either=True)

"""The plain methods of `fit_series` beside ridge: historical averages, LASSO, VAR and STAR."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxcast.series.graphs.structure import neighbour_weights
from jaxcast.series.historical_average import HistoricalAverage
from jaxcast.series.network_methods import training_graph
from jaxcast.series.problem import SeriesProblem, TrainingPart
from jaxcast.series.regressions.autoregression import fit_var_path
from jaxcast.series.regressions.lags import lag_inputs
from jaxcast.series.regressions.lasso import fit_lasso_path
from jaxcast.series.regressions.space_time import fit_star

RECENT = (1, 2, 3, 6)
SEASONS_BACK = (0, 1, 2, 4)
LASSO_PENALTIES = np.logspace(0, -4, 9)
VAR_PENALTIES = np.logspace(-3, 2, 6)
MOST_LAGGED = 600
"""Lags of all series together that a vector autoregression sees; but at least one of each."""
STEPS_AWAY = (1, 2)


class PlainFit(NamedTuple):
    """The variants of a plain method.

    Args:
        names: of the variants.
        models: the forecasters.
    """

    names: tuple[str, ...]
    models: tuple[Any, ...]


def _historical_averages(method: str, problem: SeriesProblem, part: TrainingPart) -> PlainFit:
    """Means of recent values and of the target's place in past seasons, as far as histories reach."""
    most = problem.history_size // problem.season if problem.season else 0
    found = {}
    for recent in (0, *RECENT):
        for seasons in SEASONS_BACK:
            if recent + seasons and recent <= problem.history_size and seasons <= most:
                name = f"{recent} recent, {seasons} seasons" if seasons else f"{recent} recent"
                found[name] = HistoricalAverage(
                    problem.leads, num_recent=recent, num_days=seasons, slots_per_day=problem.season or 1
                )
    return PlainFit(tuple(found), tuple(found.values()))


def _lasso(method: str, problem: SeriesProblem, part: TrainingPart) -> PlainFit:
    """A sparse regression for each penalty, of the same features as ridge."""
    num_series = part.windows.history.shape[-1]
    everyone = problem.adjacency is None and num_series > 1
    weights = neighbour_weights(num_series, problem.adjacency, everyone=everyone)
    path = fit_lasso_path(
        part.windows,
        inputs=lag_inputs(part.own, lags=problem.lags, neighbour_weights=weights, centred=True),
        penalties=LASSO_PENALTIES,
        error_weighting=0.0,
        each_region=method == "lasso_each_series",
        predict_change=True,
    )
    return _of_penalties(path, LASSO_PENALTIES)


def _var(method: str, problem: SeriesProblem, part: TrainingPart) -> PlainFit:
    """A vector autoregression for each penalty, of as many of the newest lags as there is room for."""
    num_lags = max(1, MOST_LAGGED // len(problem.table.names))
    path = fit_var_path(part.windows, penalties=VAR_PENALTIES, lags=problem.lags[:num_lags])
    return _of_penalties(path, VAR_PENALTIES)


def _of_penalties(path: Any, penalties: np.ndarray) -> PlainFit:
    models = tuple(path.pick(number) for number in range(len(penalties)))
    return PlainFit(tuple(f"penalty {penalty:.1e}" for penalty in penalties), models)


def _star(method: str, problem: SeriesProblem, part: TrainingPart) -> PlainFit:
    """A space-time autoregression for neighbours at one step, and at up to two."""
    graph = training_graph(problem)
    models = tuple(fit_star(part.windows, graph=graph, num_hops=hops, lags=problem.lags) for hops in STEPS_AWAY)
    return PlainFit(tuple(f"up to {hops} steps away" for hops in STEPS_AWAY), models)


PLAIN_METHODS: dict[str, Callable[[str, SeriesProblem, TrainingPart], PlainFit]] = {
    "historical_average": _historical_averages,
    "lasso": _lasso,
    "lasso_each_series": _lasso,
    "var": _var,
    "star": _star,
}

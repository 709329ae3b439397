"""Methods of `fit_series` beside ridge and networks: averages, LASSO, VAR, STAR, trees, the seasonal forecaster."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcast.errors import InputError
from jaxcast.series.graphs.structure import neighbour_weights
from jaxcast.series.historical_average import HistoricalAverage
from jaxcast.series.network_methods import training_graphs
from jaxcast.series.problem import SeriesProblem, TrainingPart, with_targets
from jaxcast.series.regressions.autoregression import fit_var_path
from jaxcast.series.regressions.boosted_trees import fit_boosted_trees
from jaxcast.series.regressions.lags import lag_inputs
from jaxcast.series.regressions.lasso import fit_lasso_path
from jaxcast.series.regressions.space_time import fit_star
from jaxcast.series.samples import SeriesWindows, with_slots
from jaxcast.series.seasonal.fit import fit_seasonal_forecaster

RECENT = (1, 2, 3, 6)
SEASONS_BACK = (0, 1, 2, 4)
LASSO_PENALTIES = np.logspace(0, -4, 9)
VAR_PENALTIES = np.logspace(-3, 2, 6)
MOST_LAGGED = 600
"""Lags of all series together that a vector autoregression sees; but at least one of each."""
STEPS_AWAY = (1, 2)
NUMBERS_OF_TREES = (25, 50, 100, 200)
MOST_ROWS = 200_000
"""Windows times series that the trees of a lead are grown from."""
NUM_SEASONAL_NETWORKS = 3


class PlainFit(NamedTuple):
    """The variants of a plain method.

    Args:
        names: of the variants.
        models: the forecasters.
        windows: all of the problem, as they see them; by default as they are.
        sees_calendar: whether their first covariate is the slot of the week.
    """

    names: tuple[str, ...]
    models: tuple[Any, ...]
    windows: SeriesWindows | None = None
    sees_calendar: bool = False


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
    graph = training_graphs(problem)[0] if problem.adjacency is None else problem.adjacency
    models = tuple(fit_star(part.windows, graph=graph, num_hops=hops, lags=problem.lags) for hops in STEPS_AWAY)
    return PlainFit(tuple(f"up to {hops} steps away" for hops in STEPS_AWAY), models)


def _boosted_trees(method: str, problem: SeriesProblem, part: TrainingPart) -> PlainFit:
    """Boosted trees of several numbers, which are the first of the most; they see the features of ridge."""
    windows, calendar = part.windows, problem.table.calendar
    if calendar.slots_per_day:
        windows = with_slots(windows, calendar.slots(np.asarray(windows.rows)[:, 0] - problem.leads[0]))
    own, num_series = with_targets(windows), windows.history.shape[-1]
    everyone = problem.adjacency is None and num_series > 1
    weights = neighbour_weights(num_series, problem.adjacency, everyone=everyone)
    most = fit_boosted_trees(
        own,
        inputs=lag_inputs(own, lags=problem.lags, neighbour_weights=weights, centred=True),
        num_trees=NUMBERS_OF_TREES[-1],
        slots_per_day=calendar.slots_per_day,
        error_weighting=0.0,
        predict_change=True,
        max_rows=MOST_ROWS,
        seed=problem.seed,
    )
    models = tuple(most.first(number) for number in NUMBERS_OF_TREES)
    names = tuple(f"{number} trees" for number in NUMBERS_OF_TREES)
    return PlainFit(names, models, windows, sees_calendar=calendar.slots_per_day > 0)


def _seasonal(method: str, problem: SeriesProblem, part: TrainingPart) -> PlainFit:
    """A seasonal regression corrected by networks, which chooses its own settings on the end of the part."""
    calendar = problem.table.calendar
    if not calendar.slots_per_day:
        raise InputError(f"seasonal needs steps that share a day evenly, such as 1 hour, got {calendar.step}")
    if part.windows.covariates is not None:
        raise InputError("seasonal sees no covariates but the calendar; leave them or the method out")
    fitted = fit_seasonal_forecaster(
        problem.table.values[: part.end],
        slots_per_day=calendar.slots_per_day,
        leads=problem.leads,
        keys=jax.random.split(jax.random.key(problem.seed), NUM_SEASONAL_NETWORKS),
        first_slot=int(calendar.slots(0)),
        history_size=problem.history_size,
    )
    windows = with_slots(part.windows, calendar.slots(np.asarray(part.windows.rows)[:, 0] - problem.leads[0]))
    name = f"penalty {fitted.penalty:g}, {fitted.num_epochs} epochs"
    return PlainFit((name,), (fitted.model,), windows, sees_calendar=True)


PLAIN_METHODS: dict[str, Callable[[str, SeriesProblem, TrainingPart], PlainFit]] = {
    "historical_average": _historical_averages,
    "lasso": _lasso,
    "lasso_each_series": _lasso,
    "var": _var,
    "star": _star,
    "boosted_trees": _boosted_trees,
    "seasonal": _seasonal,
}

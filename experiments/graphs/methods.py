"""Plain methods of `experiments.graphs`, our own, and the published networks."""

import dataclasses
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import jaxcast
from experiments.graphs import grids
from experiments.graphs.data import Problem
from experiments.graphs.networks import RECIPES, forecasts
from experiments.graphs.windows import Parts, graphs_of, parts_of, usual_lags

Arrays = dict[str, np.ndarray]
Forecaster = Callable[[Problem, int, Any], Arrays]
PENALTIES = np.logspace(-4, 1, 6)
LASSO_PENALTIES = np.logspace(0, -4, 9)
LASSO_ROWS = 300_000
"""Windows times series that the LASSO learns from, about."""
MOST_VECTOR = 1500
"""Series times lags of a vector autoregression, at most."""
GBM_ROWS = 50_000
CHUNK = 64


Kind = Literal["plain", "own", "network", "slow", "rival"]


class Method(NamedTuple):
    """A method of the experiment.

    Args:
        forecast: (problem, seed, settings) -> "forecast" of the test windows, (sample, lead,
            series), and what else a picture shows.
        kind: tells which setting says how often it is run; a plain method, whose seed does not
            matter, once.
        on: names of the data sets that it is run on; None for all.
    """

    forecast: Forecaster
    kind: Kind = "plain"
    on: tuple[str, ...] | None = None


def on_changing(method: Forecaster) -> Forecaster:
    """Runs a method on the series that change before the validation part; the others stay."""

    def forecast(problem: Problem, seed: int, config: Any) -> Arrays:
        before = problem.values[: problem.middle]
        changing = np.flatnonzero(np.fmax.reduce(before, 0) > np.fmin.reduce(before, 0))
        if len(changing) == problem.values.shape[1]:
            return method(problem, seed, config)
        if not len(changing):
            return last_value(problem, seed, config)
        found = method(_of_series(problem, tuple(changing.tolist())), seed, config)
        if "forecast" not in found:
            return found
        whole = last_value(problem, seed, config)["forecast"]
        whole[..., changing] = found["forecast"]
        return found | {"forecast": whole, "changing": changing}

    return forecast


@lru_cache(maxsize=1)
def _of_series(problem: Problem, series: tuple[int, ...]) -> Problem:
    """Returns the problem of some series alone, as one object, so that its windows are cut once."""
    kept = np.asarray(series)
    graphs = {name: graph[np.ix_(kept, kept)] for name, graph in problem.graphs.items()}
    places = None if problem.places is None else (problem.places[0][kept], problem.places[1][kept])
    names = tuple(problem.name_of(number) for number in series)
    return dataclasses.replace(problem, values=problem.values[:, kept], graphs=graphs, places=places, names=names)


def _at(problem: Problem, back: int) -> Float[np.ndarray, "sample lead series"]:
    """Returns the newest known value a number of steps before each target, or multiples of it."""
    leads = np.asarray(problem.leads)
    rows = problem.newest[:, None] + leads - back * -(-leads // back)
    return _known(problem)[rows]


@cache
def _known(problem: Problem) -> Float[np.ndarray, "time series"]:
    """Returns the values, with the last known one where one is missing."""
    values = problem.values
    rows = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values))[:, None], 0), 0)
    return np.nan_to_num(np.take_along_axis(values, rows, 0))


def last_value(problem: Problem, seed: int, config: Any) -> Arrays:
    """Repeats the newest value."""
    return {"forecast": np.repeat(_known(problem)[problem.newest][:, None], len(problem.leads), 1)}


def same_slot(days: int, problem: Problem, seed: int, config: Any) -> Arrays:
    """Repeats the value of the same slot some days before."""
    back = days * problem.slots_per_day
    return {"forecast": _at(problem, back)} if problem.newest[0] >= back and not problem.is_short else {}


def slot_mean(problem: Problem, seed: int, config: Any) -> Arrays:
    """Forecasts the mean of the training part by slot of the week, or the day if short."""
    week = 7 * problem.slots_per_day
    period = week if problem.stop >= 2 * week else problem.slots_per_day
    values = _known(problem)
    options: dict[str, Any] = {"slots_per_day": problem.slots_per_day, "leads": problem.leads, "stop": problem.stop}
    model = jaxcast.series.fit_slot_mean(values, np.arange(len(values)) % period, **options)
    newest = jnp.asarray(problem.newest % period, float)[:, None]
    return {"forecast": np.asarray(model(jnp.asarray(values[problem.newest])[:, None], newest).forecast)}


def historical_average(problem: Problem, seed: int, config: Any) -> Arrays:
    """Averages the last two values and the same slot one and two weeks (or days) ago."""
    weeks = problem.stop > 4 * 7 * problem.slots_per_day
    if problem.is_short:
        return {}
    counts: Any = {"num_recent": 2, "num_weeks": 2} if weeks else {"num_recent": 2, "num_days": 2}
    model = jaxcast.series.HistoricalAverage(problem.leads, slots_per_day=problem.slots_per_day, **counts)
    size = model.signature.least_history
    values = _known(problem).astype(np.float32)
    pieces = np.array_split(problem.newest, max(1, len(problem.newest) // 256))
    windows = (jnp.asarray(values[piece[:, None] + np.arange(1 - size, 1)]) for piece in pieces)
    return {"forecast": np.concatenate([np.asarray(model(window).forecast) for window in windows])}


def _chosen(paths: list[Any], parts: Parts, **options: Any) -> Arrays:
    """Forecasts the test windows with the penalty of the smallest validation error at each lead."""
    early, whole = paths
    valid = early.forecasts(parts.validation, **options)
    best = jaxcast.series.best_by_lead(jnp.asarray(valid), parts.validation)
    test = np.asarray(whole.forecasts(parts.test, **options))
    return {"forecast": np.stack([test[number, :, k] for k, number in enumerate(best)], 1)}


def regression(problem: Problem, seed: int, config: Any, *, each: bool) -> Arrays:
    """Fits ridge regressions on lags and lags of the mean of all, shared or one for each series."""
    parts = parts_of(problem, usual_lags(problem))
    num_lags, num_series = parts.whole.history.shape[1:3]
    weights = jaxcast.series.neighbour_weights(num_series, everyone=True)
    fitted = []
    for windows in (parts.early, parts.whole):
        inputs = jaxcast.series.lag_inputs(
            windows, lags=range(num_lags), neighbour_weights=weights, neighbour_lags=range(4)
        )
        fitted.append(
            jaxcast.series.fit_regression_path(
                windows,
                inputs=inputs,
                expansion=jaxcast.series.LinearFeatures(),
                penalties=PENALTIES if each else PENALTIES[:1],
                each_region=each,
                nonnegative=True,
                chunk_size=CHUNK,
            )
        )
    return _chosen(fitted, parts, chunk_size=CHUNK)


def lasso(problem: Problem, seed: int, config: Any) -> Arrays:
    """Fits the LASSO on lags, one for all series, on every n-th window of large data."""
    parts = parts_of(problem, usual_lags(problem))
    num_lags, num_series = parts.whole.history.shape[1:3]
    fitted = []
    for windows in (parts.early, parts.whole):
        every = -(-len(windows.history) * num_series // LASSO_ROWS)
        some = jax.tree.map(lambda a, every=every: a[::every], windows)
        inputs = jaxcast.series.lag_inputs(some, lags=range(num_lags))
        fitted.append(jaxcast.series.fit_lasso_path(some, inputs=inputs, penalties=LASSO_PENALTIES, nonnegative=True))
    return _chosen(fitted, parts, chunk_size=CHUNK)


def vector_autoregression(problem: Problem, seed: int, config: Any) -> Arrays:
    """Fits a ridge vector autoregression on as many recent steps as fit into memory."""
    num_series = problem.values.shape[1]
    parts = parts_of(problem, tuple(range(int(np.clip(MOST_VECTOR // num_series, 1, 6)))))
    fitted = [
        jaxcast.series.fit_var_path(windows, penalties=PENALTIES, nonnegative=True)
        for windows in (parts.early, parts.whole)
    ]
    return _chosen(fitted, parts)


def space_time_autoregression(problem: Problem, seed: int, config: Any) -> Arrays:
    """Fits numbers that all series share, on lags of each and of neighbours in the first graph."""
    parts = parts_of(problem, usual_lags(problem))
    model = jaxcast.series.fit_star(
        parts.whole, graph=graphs_of(problem)[0], neighbour_lags=range(3), nonnegative=True, chunk_size=CHUNK
    )
    return {"forecast": _in_pieces(model, parts.test)}


def _in_pieces(model: Any, windows: Any) -> np.ndarray:
    run = jax.jit(lambda history: model(history).forecast)
    pieces = np.array_split(np.arange(len(windows.history)), max(1, len(windows.history) // CHUNK))
    return np.concatenate([np.asarray(run(windows.history[piece])) for piece in pieces])


def boosting(problem: Problem, seed: int, config: Any, *, weather: bool = False) -> Arrays:
    """Boosts trees on lags, the mean of the series, slot, weekday and perhaps the weather."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    if weather and problem.weather is None:
        return {}
    parts = parts_of(problem, usual_lags(problem))
    mean = np.nanmean(problem.values[: problem.stop], 0)

    def features(windows: Any) -> np.ndarray:
        history = np.moveaxis(np.asarray(windows.history), 1, 2)
        rows = np.asarray(windows.rows)[:, 0]
        slots = rows % (7 * problem.slots_per_day)
        known = np.stack([slots % problem.slots_per_day, slots // problem.slots_per_day], -1)
        if weather:
            known = np.concatenate([known, np.asarray(problem.weather)[rows - problem.leads[0]]], -1)
        known = np.broadcast_to(known[:, None], (*history.shape[:2], known.shape[-1]))
        return np.concatenate([history, np.broadcast_to(mean[:, None], (*history.shape[:2], 1)), known], -1)

    rng = np.random.default_rng(seed)
    size = parts.whole.history.shape[0] * parts.whole.history.shape[2]
    drawn = np.sort(rng.choice(size, min(size, GBM_ROWS), replace=False))
    windows, series = np.divmod(drawn, parts.whole.history.shape[2])
    some = features(jax.tree.map(lambda a: a[np.unique(windows)], parts.whole))
    x = some[np.searchsorted(np.unique(windows), windows), series]
    test, found = features(parts.test), []
    for k in range(len(problem.leads)):
        known = np.asarray(parts.whole.weights)[windows, k, series] > 0
        model = HistGradientBoostingRegressor(max_iter=100, random_state=seed)
        model.fit(x[known], np.asarray(parts.whole.targets)[windows, k, series][known])
        found.append(model.predict(test.reshape(-1, test.shape[-1])).reshape(test.shape[:2]))
    return {"forecast": np.maximum(np.stack(found, 1), 0)}


@lru_cache(maxsize=1)
def seasonal(problem: Problem, first_seed: int, num_seeds: int, num_epochs: tuple[int, ...]) -> Any:
    """Fits our own forecaster, with one network for each seed."""
    return jaxcast.series.fit_seasonal_forecaster(
        problem.values[: problem.stop].astype(np.float32),
        slots_per_day=problem.slots_per_day,
        leads=problem.leads,
        keys=jax.vmap(jax.random.key)(jnp.arange(first_seed, first_seed + num_seeds)),
        validation_share=1 - problem.middle / problem.stop,
        num_days=0 if problem.is_short else None,
        num_epochs=num_epochs,
    )


def own(kind: str, problem: Problem, seed: int, config: Any) -> Arrays:
    """Forecasts with the regression of our own forecaster, with one network, or with all."""
    found = seasonal(problem, config.seed, config.num_seeds, config.num_epochs)
    model = found.model.regression if kind == "regression" else found.model
    if kind == "one":
        number = seed - config.seed
        model = model.pick(number)
    run = partial(jaxcast.series.forecast_rows, values=problem.values.astype(np.float32), newest=problem.newest)
    chosen = {"shares": np.asarray(found.model.shares), "penalty": np.asarray(found.penalty)}
    return {"forecast": run(model), **chosen, "num_epochs": np.asarray(found.num_epochs)}


def _network(name: str, problem: Problem, seed: int, config: Any) -> Arrays:
    return forecasts(RECIPES[name], problem, seed, config.num_network_epochs)


NETWORKS_ON: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "STGCN": ("rival", ("generated",)),
    "ST-MGCN": ("network", ("ev_beijing", "generated")),
    "D2STGNN, reduced": ("slow", ("los_loop", "generated")),
    "Graph WaveNet, reduced": ("rival", ("los_loop",)),
    "DCRNN, reduced": ("rival", ("los_loop",)),
}
"""Kinds of networks, and on which data sets each is run."""

METHODS: dict[str, Method] = {
    "last value": Method(last_value),
    "same slot yesterday": Method(partial(same_slot, 1)),
    "same slot last week": Method(partial(same_slot, 7)),
    "mean of the slot of the week": Method(slot_mean),
    "historical average": Method(historical_average),
    "least squares, shared": Method(on_changing(partial(regression, each=False))),
    "ridge, each series": Method(on_changing(partial(regression, each=True))),
    "LASSO": Method(on_changing(lasso)),
    "VAR": Method(on_changing(vector_autoregression)),
    "STAR": Method(on_changing(space_time_autoregression)),
    "gradient boosting": Method(on_changing(boosting)),
    "gradient boosting and weather": Method(on_changing(partial(boosting, weather=True))),
    **{name: Method(on_changing(partial(_network, name)), *where) for name, where in NETWORKS_ON.items()},
    **{name: Method(partial(grids.forecasts, name), "rival", ("jonas_nyc",)) for name in grids.NETWORKS},
    "seasonal ridge": Method(on_changing(partial(own, "regression"))),
    "seasonal ridge and a network": Method(on_changing(partial(own, "one")), "own"),
    "seasonal ridge and networks": Method(on_changing(partial(own, "all"))),
}

"""ST-ResNet and DMVST-Net in `experiments.graphs`: on a grid, all channels of a cell together."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import jaxcast
from experiments.graphs.data import Problem
from experiments.graphs.networks import optimizer
from experiments.graphs.windows import slots_of

Arrays = dict[str, np.ndarray]
NUM_RECENT, NUM_DAYS = 6, 3
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
RELATIVE = 1e-3
"""The weight of the squared relative error in the loss of DMVST-Net."""


def forecasts(name: str, problem: Problem, seed: int, config: Any) -> Arrays:
    """Trains before the validation part, which chooses the epoch; forecasts the test windows.

    Cells of the grid that no series has are missing values.
    """
    if problem.cells is None:
        return {}
    make, loss, lags = NETWORKS[name]
    steps = _lags(problem) if lags else tuple(range(NUM_RECENT + 2))
    early, validation, rest = (
        _windows(problem, steps, *part)
        for part in ((0, problem.middle), (problem.middle, problem.stop), (problem.stop, None))
    )
    found = jaxcast.fit(
        early,
        init=partial(make, problem, early),
        loss=loss,
        keys=jax.random.key(seed)[None],
        with_key=True,
        optimizer=optimizer(LEARNING_RATE, config.num_network_epochs * (len(early.history) // BATCH_SIZE)),
        num_epochs=config.num_network_epochs,
        batch_size=BATCH_SIZE,
        validation=validation,
    )
    model = jax.tree.map(lambda a: a[0], found.models)
    newest = np.asarray(rest.rows)[:, 0] - problem.leads[0]
    asked = np.flatnonzero(np.isin(newest, problem.newest))
    run = jax.jit(lambda history, covariates: model(history, covariates, lags=rest.lags).forecast)
    pieces = np.array_split(asked, max(1, len(asked) // 64))
    outputs = [np.asarray(run(rest.history[piece], rest.covariates[piece])) for piece in pieces]
    forecast = np.concatenate(outputs)[:, :, _nodes(problem)]
    forecast = np.moveaxis(forecast, 3, 2).reshape(*forecast.shape[:2], -1)
    return {"forecast": np.maximum(forecast, 0), "validation_loss": np.asarray(found.validation_losses)}


def _shape(problem: Problem) -> tuple[int, int]:
    rows, columns = np.asarray(problem.cells).max(0) + 1
    return int(rows), int(columns)


def _nodes(problem: Problem) -> np.ndarray:
    """Returns the number of each cell on the whole grid."""
    return np.ravel_multi_index(np.asarray(problem.cells).T, _shape(problem))


@cache
def _on_grid(problem: Problem) -> Float[np.ndarray, "time node channel"]:
    """Returns the values on the whole grid; series are channel * cells + cell."""
    nodes = _nodes(problem)
    values = problem.values.reshape(len(problem.values), -1, len(nodes))
    grid = np.full((len(values), np.prod(_shape(problem)), values.shape[1]), np.nan, np.float32)
    grid[:, nodes] = np.moveaxis(values, 1, 2)
    return grid


def _lags(problem: Problem) -> tuple[int, ...]:
    """Returns recent steps, and the targets' slots on the days before and in the last week."""
    days = [back * problem.slots_per_day - lead for back in (*range(1, NUM_DAYS + 1), 7) for lead in problem.leads]
    return (*range(NUM_RECENT), *days)


def _windows(problem: Problem, lags: tuple[int, ...], start: int, stop: int | None) -> jaxcast.series.SeriesWindows:
    windows = jaxcast.series.series_windows(_on_grid(problem), lags=lags, leads=problem.leads, start=start, stop=stop)
    return windows._replace(covariates=jnp.asarray(slots_of(windows, problem)))


def _st_resnet(problem: Problem, windows: Any, key: Any) -> Any:
    return jaxcast.series.STResNet(
        windows,
        rows=_shape(problem)[0],
        branches=(len(problem.leads), NUM_DAYS * len(problem.leads), NUM_RECENT),
        slots_per_day=problem.slots_per_day,
        key=key,
    )


@cache
def _similarity(problem: Problem) -> Float[np.ndarray, "node node"]:
    """Returns how alike cells are before the validation part, 0 for cells without series."""
    nodes, grid = _nodes(problem), _on_grid(problem)
    graph = np.zeros((grid.shape[1],) * 2)
    demand = grid[: problem.middle, nodes].sum(-1)
    graph[np.ix_(nodes, nodes)] = jaxcast.series.demand_similarity_graph(demand, season=problem.slots_per_day)
    return graph


def _dmvst_net(problem: Problem, windows: Any, key: Any) -> Any:
    return jaxcast.series.DMVSTNet(
        windows,
        rows=_shape(problem)[0],
        graphs=_similarity(problem),
        slots_per_day=problem.slots_per_day,
        key=key,
    )


NETWORKS: dict[str, tuple[Any, Any, bool]] = {
    "ST-ResNet": (_st_resnet, jaxcast.series.WindowLoss(), True),
    "DMVST-Net": (_dmvst_net, jaxcast.series.WindowLoss(relative=RELATIVE), False),
}
"""How each network is made, its loss, and whether it sees days and a week ago, too."""

"""The published networks of `experiments.graphs`, at sizes that two CPU cores train in minutes."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcast
from experiments.graphs.data import Problem
from experiments.graphs.windows import graphs_of, parts_of, slots_of, usual_lags
from jaxcast.training import make_optimizer

Make = Callable[[jaxcast.series.SeriesWindows, Problem, Any], Any]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is made and trained.

    Args:
        make: (training windows, problem, key) -> network.
        consecutive: whether it sees consecutive steps instead of recent ones, days and weeks.
        error: of the loss.
        learning_rate: of Adam.
        batch_size: windows of a minibatch.
        num_epochs: passes over the data, of which the validation part chooses the best.
    """

    make: Make
    consecutive: bool = False
    error: Any = "huber"
    learning_rate: float = 2e-3
    batch_size: int = 16
    num_epochs: int = 12


def forecasts(recipe: Recipe, problem: Problem, seed: int, most_epochs: int) -> dict[str, np.ndarray]:
    """Trains before the validation part, which chooses the epoch; forecasts the test windows."""
    num_epochs = min(recipe.num_epochs, most_epochs)
    lags = tuple(range(12)) if recipe.consecutive else usual_lags(problem)
    parts = parts_of(problem, lags)
    early, validation, test = (
        windows._replace(covariates=jnp.asarray(slots_of(windows, problem)))
        for windows in (parts.early, parts.validation, parts.test)
    )
    batch_size = min(recipe.batch_size, len(early.history))
    found = jaxcast.fit(
        early,
        init=partial(recipe.make, early, problem),
        loss=jaxcast.series.WindowLoss(recipe.error),
        keys=jax.random.key(seed)[None],
        with_key=True,
        optimizer=optimizer(recipe.learning_rate, num_epochs * (len(early.history) // batch_size)),
        num_epochs=num_epochs,
        batch_size=batch_size,
        validation=validation,
    )
    model = jax.tree.map(lambda a: a[0], found.models)
    pieces = np.array_split(np.arange(len(test.history)), max(1, len(test.history) // 64))
    run = jax.jit(lambda history, covariates: model(history, covariates, lags=test.lags))
    outputs = [run(test.history[piece], test.covariates[piece]) for piece in pieces]
    forecast = np.maximum(np.concatenate([np.asarray(output.forecast) for output in outputs]), 0)
    result = {"forecast": forecast, "validation_loss": np.asarray(found.validation_losses)}
    info: Any = outputs[-1].info
    graph = info.get("graph", info.get("graphs"))  # learned ones first
    return result | ({} if graph is None else {"graph": np.asarray(graph).reshape(-1, *np.shape(graph)[-2:])[-1]})


def optimizer(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    """Makes the optimizer of all networks."""
    return make_optimizer(
        learning_rate, schedule="cosine", num_optimizer_steps=max(num_steps, 1), weight_decay=1e-4, clip_norm=5.0
    )


def _st_mgcn(windows: Any, problem: Problem, key: Any) -> Any:
    return jaxcast.series.STMGCN(
        windows,
        graphs=graphs_of(problem),
        hidden_size=32,
        num_layers=1,
        output_size=32,
        kind="gru",
        scaling="all",
        slots_per_day=problem.slots_per_day,
        key=key,
    )


def _stgcn(windows: Any, problem: Problem, key: Any) -> Any:
    return jaxcast.series.STGCN(
        windows,
        graphs=graphs_of(problem)[0],
        channels=((16, 32), (16, 32)),
        scaling="series",
        start="newest",
        slots_per_day=problem.slots_per_day,
        key=key,
    )


def _d2stgnn(windows: Any, problem: Problem, key: Any) -> Any:
    return jaxcast.series.D2STGNN(
        windows,
        graphs=graphs_of(problem)[0],
        hidden_size=16,
        num_layers=2,
        spatial_order=1,
        forecast_size=64,
        output_size=128,
        dropout=0.0,
        scaling="series",
        start="newest",
        slots_per_day=problem.slots_per_day,
        key=key,
    )


def _graph_wavenet(windows: Any, problem: Problem, key: Any) -> Any:
    return jaxcast.series.GraphWaveNet(
        windows,
        graphs=graphs_of(problem)[0],
        hidden_size=16,
        skip_size=64,
        output_size=128,
        scaling="series",
        start="newest",
        slots_per_day=problem.slots_per_day,
        key=key,
    )


def _dcrnn(windows: Any, problem: Problem, key: Any) -> Any:
    return jaxcast.series.DCRNN(
        windows,
        graphs=graphs_of(problem)[0],
        hidden_size=16,
        num_layers=1,
        scaling="series",
        start="newest",
        slots_per_day=problem.slots_per_day,
        key=key,
    )


RECIPES = {
    "STGCN": Recipe(_stgcn, consecutive=True),
    "ST-MGCN": Recipe(_st_mgcn, error="squared", num_epochs=20),
    "D2STGNN, reduced": Recipe(_d2stgnn, consecutive=True, batch_size=32),
    "Graph WaveNet, reduced": Recipe(_graph_wavenet, consecutive=True, batch_size=32),
    "DCRNN, reduced": Recipe(_dcrnn, consecutive=True, batch_size=32),
}

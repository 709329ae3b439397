"""The networks of `fit_series`: how each is made for a problem, and how it is trained."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.errors import InputError
from jaxcast.nn.layers import Buffer
from jaxcast.series.global_network import GlobalNetwork
from jaxcast.series.graph_networks.d2stgnn import D2STGNN
from jaxcast.series.graph_networks.dcrnn import DCRNN
from jaxcast.series.graph_networks.graph_wavenet import GraphWaveNet
from jaxcast.series.graph_networks.st_mgcn import STMGCN
from jaxcast.series.graph_networks.stgcn import STGCN
from jaxcast.series.graphs.similarity import graph_from_correlation
from jaxcast.series.problem import SeriesProblem, TrainingPart, with_targets
from jaxcast.series.recurrent_networks import AttentionNetwork, HierarchicalNetwork, IndependentNetwork
from jaxcast.series.samples import SeriesWindows, at_lags, with_slots
from jaxcast.series.scaling import series_scale
from jaxcast.series.window_loss import WindowLoss
from jaxcast.training.fitting import FitResult, fit
from jaxcast.training.optimizers import make_optimizer

NUM_NEIGHBOURS = 5
"""Series that each listens to where no graph is given."""
LEARNING_RATE, WARM_LEARNING_RATE = 3e-3, 1e-3
"""Of new networks, and of those that go on from trained weights."""


Sees = Literal["all", "lags", "newest"]


class NetworkMethod(NamedTuple):
    """A network of `fit_series`.

    Args:
        make: (training windows, problem, key) -> network.
        sees: the steps of a history that it takes: "all", "lags", those of regressions, or
            "newest", the consecutive ones of these.
        sees_calendar: whether its first covariate is the slot of the week, where the table has one.
        has_dropout: whether training drops components.
    """

    make: Callable[[SeriesWindows, SeriesProblem, Any], Any]
    sees: Sees = "all"
    sees_calendar: bool = False
    has_dropout: bool = False


class TrainedNetwork(NamedTuple):
    """A network that has learned from a part.

    Args:
        network: the network.
        windows: all of the problem, as it sees them.
        num_epochs: passes over its windows.
    """

    network: Any
    windows: SeriesWindows
    num_epochs: int


def _recurrent(network: Any) -> NetworkMethod:
    return NetworkMethod(
        lambda windows, problem, key: network(
            windows, hidden_size=problem.hidden_size, kind="gru", levels=problem.levels, key=key, dtype=jnp.float32
        )
    )


def _on_graph(network: Any, sees: Sees, options: Callable[[SeriesProblem], dict[str, Any]]) -> NetworkMethod:
    """Returns a network on the graph of a problem, which sees the calendar."""

    def make(windows: SeriesWindows, problem: SeriesProblem, key: Any) -> Any:
        own = {"graphs": training_graphs(problem), "slots_per_day": problem.table.calendar.slots_per_day}
        return network(windows, levels=problem.levels, key=key, **(own | options(problem)))

    return NetworkMethod(make, sees, sees_calendar=True, has_dropout=True)


def _of_d2stgnn(problem: SeriesProblem) -> dict[str, Any]:
    size = problem.hidden_size
    return {
        "hidden_size": size,
        "num_layers": 2,
        "spatial_order": 1,
        "forecast_size": 4 * size,
        "output_size": 8 * size,
    }


def _of_stgcn(problem: SeriesProblem) -> dict[str, Any]:
    return {"channels": ((problem.hidden_size,) * 2,) * 2}


def _of_st_mgcn(problem: SeriesProblem) -> dict[str, Any]:
    sizes = {"hidden_size": problem.hidden_size, "output_size": problem.hidden_size, "num_layers": 1}
    if problem.graphs is None:
        return sizes
    return {"graphs": np.concatenate([training_graphs(problem), correlation_graph(problem)[None]])} | sizes


def _of_graph_wavenet(problem: SeriesProblem) -> dict[str, Any]:
    size = problem.hidden_size
    return {"hidden_size": size, "skip_size": 4 * size, "output_size": 8 * size}


def _of_dcrnn(problem: SeriesProblem) -> dict[str, Any]:
    return {"hidden_size": problem.hidden_size, "num_layers": 1}


NETWORKS: dict[str, NetworkMethod] = {
    "independent_network": _recurrent(IndependentNetwork),
    "hierarchical_network": _recurrent(HierarchicalNetwork),
    "attention_network": _recurrent(AttentionNetwork),
    "global_network": _recurrent(GlobalNetwork),
    "stgcn": _on_graph(STGCN, "newest", _of_stgcn),
    "graph_wavenet": _on_graph(GraphWaveNet, "newest", _of_graph_wavenet),
    "dcrnn": _on_graph(DCRNN, "newest", _of_dcrnn),
    "d2stgnn": _on_graph(D2STGNN, "newest", _of_d2stgnn),
    "st_mgcn": _on_graph(STMGCN, "lags", _of_st_mgcn),
}


def training_graphs(problem: SeriesProblem) -> Float[np.ndarray, "graph node node"]:
    """Returns the graphs of a problem; without any, that of correlations over the first part.

    Args:
        problem: with graphs or without.
    """
    if problem.graphs is None:
        return correlation_graph(problem)[None]
    return np.where(np.eye(problem.graphs.shape[-1]) > 0, 0, problem.graphs)


def correlation_graph(problem: SeriesProblem) -> Float[np.ndarray, "node node"]:
    """Returns the graph in which each series listens to those that correlate with it most.

    Args:
        problem: with the values; only rows before the validation part count.
    """
    num_series = problem.table.values.shape[1]
    if num_series == 1:
        return np.zeros((1, 1))
    count = min(NUM_NEIGHBOURS, num_series - 1)
    return graph_from_correlation(problem.table.values, stop=problem.bounds[0], num_neighbours=count)


def train_network(
    method: str,
    problem: SeriesProblem,
    part: TrainingPart,
    validation: SeriesWindows | None,
    num_epochs: int,
    start: Any = None,
) -> TrainedNetwork:
    """Trains a network; it stops by the validation windows, or after all epochs where there are none.

    Args:
        method: its name.
        problem: with the windows.
        part: that is learned from.
        validation: windows by which it stops; None to learn for all epochs.
        num_epochs: the most passes over its windows.
        start: a trained network whose weights and scales are the start, at a smaller learning rate;
            None for new ones.

    Returns:
        The network.

    Raises:
        InputError: for losses that are not finite.
    """
    windows = seen_by(NETWORKS[method], part.windows, problem)
    own = with_targets(windows)
    mean, std = series_scale(own) if start is None else (start.mean[...], start.std[...])
    learned = float32(_in_units(own, mean, std))
    held_out = None
    if validation is not None:
        held_out = float32(_in_units(seen_by(NETWORKS[method], validation, problem), mean, std))

    def init(key: Any) -> Any:
        return NETWORKS[method].make(learned, problem, key)

    network, best = fitted(
        method,
        problem,
        part,
        learned,
        held_out,
        init=init if start is None else _as_fit(start),
        num_epochs=num_epochs,
        learning_rate=LEARNING_RATE if start is None else WARM_LEARNING_RATE,
        with_key=NETWORKS[method].has_dropout,
    )
    network.mean, network.std = Buffer(mean + std * network.mean[...]), Buffer(std * network.std[...])
    return TrainedNetwork(network, windows, best)


def fitted(
    method: str,
    problem: SeriesProblem,
    part: TrainingPart,
    learned: SeriesWindows,
    held_out: SeriesWindows | None,
    *,
    init: Any,
    num_epochs: int,
    learning_rate: float = LEARNING_RATE,
    with_key: bool = False,
) -> tuple[Any, int]:
    """Trains a network on windows as it sees them.

    Args:
        method: its name.
        problem: with the seed and the folder of checkpoints.
        part: that the windows are of.
        learned: windows to learn from.
        held_out: windows by which it stops; None to learn for all epochs.
        init: key -> network, or a trained one.
        num_epochs: the most passes over the windows.
        learning_rate: of Adam.
        with_key: whether training drops components.

    Returns:
        The network, and the number of its epochs.

    Raises:
        InputError: for losses that are not finite.
    """
    run = fit(
        learned,
        init=init,
        keys=jax.random.key(problem.seed)[None],
        optimizer=make_optimizer(learning_rate, clip_norm=1.0),
        num_epochs=num_epochs,
        batch_size=min(32, len(learned.targets)),
        loss=WindowLoss(),
        with_key=with_key,
        validation=held_out,
        patience=None if held_out is None else 20,
        checkpoint=problem.checkpoint(method, part.end, chooses=held_out is not None),
    )
    losses = np.asarray(run.losses if held_out is None else run.validation_losses)[0]
    if not np.isfinite(losses).any():
        raise InputError(f"{method} does not learn: its losses are not finite; leave it out")
    best = num_epochs if held_out is None else int(np.nanargmin(losses)) + 1
    return jax.tree.map(lambda a: a[0], run.models), best


def _as_fit(network: Any) -> FitResult:
    """Returns a trained network as the result of a fit, in units of its own scales."""
    graph, state = nnx.split(network)
    copy = nnx.merge(graph, state)
    copy.mean = Buffer(jnp.zeros_like(network.mean[...], jnp.float32))
    copy.std = Buffer(jnp.ones_like(network.std[...], jnp.float32))
    return FitResult(jax.tree.map(lambda a: jnp.asarray(a)[None], copy), jnp.zeros((1, 0)))


def seen_by(method: NetworkMethod, windows: SeriesWindows, problem: SeriesProblem) -> SeriesWindows:
    """Returns windows as a network takes them: some steps of history, and perhaps the calendar.

    Args:
        method: the network.
        windows: of the problem.
        problem: with the lags and the calendar.
    """
    if method.sees != "all":
        newest = next(k for k in range(len(problem.lags) + 1) if k not in problem.lags)
        windows = at_lags(windows, problem.lags if method.sees == "lags" else range(newest))
    calendar = problem.table.calendar
    if not method.sees_calendar or not calendar.slots_per_day:
        return windows
    return with_slots(windows, calendar.slots(np.asarray(windows.rows)[:, 0] - problem.leads[0]))


def _in_units(windows: SeriesWindows, mean: Array, std: Array) -> SeriesWindows:
    """Standardises every series, so that float32 rounds none by its level."""
    targets = jnp.where(windows.weights > 0, (windows.targets - mean) / std, 0)
    return windows._replace(history=(windows.history - mean) / std, targets=targets)


def float32(windows: SeriesWindows) -> SeriesWindows:
    """Returns windows in single precision.

    Args:
        windows: in any.
    """
    return jax.tree.map(lambda a: a.astype(jnp.float32) if jnp.issubdtype(a.dtype, jnp.floating) else a, windows)

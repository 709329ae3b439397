"""The networks of grids and of trips as methods of `fit_series`: they see all cells or pairs of zones."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError
from jaxcast.series.files.sensors import RegionKind
from jaxcast.series.grid_networks.dmvst_net import DMVSTNet
from jaxcast.series.grid_networks.st_resnet import STResNet
from jaxcast.series.network_methods import NetworkMethod, TrainedNetwork, correlation_graph, fitted, float32, seen_by
from jaxcast.series.od.cstn import CSTN
from jaxcast.series.od.geml import GEML
from jaxcast.series.od.mrstn import MRSTN
from jaxcast.series.od.od_ced import ODCED
from jaxcast.series.problem import SeriesProblem, TrainingPart, with_targets
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.whole_regions import PartOfRegions, WholeRegions

Options = dict[str, Any]


class RegionMethod(NamedTuple):
    """A network of all regions.

    Args:
        kind: of regions that it is for.
        network: how it is made, and what it sees.
    """

    kind: RegionKind
    network: NetworkMethod


def _method(kind: RegionKind, network: Any, options: Callable[[SeriesProblem, SeriesWindows], Options]) -> RegionMethod:
    def make(windows: SeriesWindows, problem: SeriesProblem, key: Any) -> Any:
        usual: Options = {"levels": problem.levels, "slots_per_day": problem.table.calendar.slots_per_day}
        return network(windows, hidden_size=problem.hidden_size, key=key, **usual, **options(problem, windows))

    return RegionMethod(kind, NetworkMethod(make, "lags", sees_calendar=True))


def whole_of(problem: SeriesProblem) -> WholeRegions:
    """Returns the regions of a problem.

    Args:
        problem: with a grid or trips.

    Raises:
        InputError: for a problem without.
    """
    if problem.whole is None:
        raise InputError("expected a problem with the regions of a grid or of trips, got none")
    return problem.whole


def _zones(problem: SeriesProblem, windows: SeriesWindows) -> Options:
    return {"adjacency": whole_of(problem).adjacency}


def _of_od_ced(problem: SeriesProblem, windows: SeriesWindows) -> Options:
    return {"leads": problem.leads} | _zones(problem, windows)


def _of_geml(problem: SeriesProblem, windows: SeriesWindows) -> Options:
    return {"embedding_size": problem.hidden_size} | _zones(problem, windows)


def _of_st_resnet(problem: SeriesProblem, windows: SeriesWindows) -> Options:
    """Recent steps and those of a season before are a branch each."""
    newest = next(k for k in range(len(problem.lags) + 1) if k not in problem.lags)
    branches = [number for number in (len(problem.lags) - newest, newest) if number]
    return {"rows": whole_of(problem).rows, "branches": branches, "num_units": 1}


def _of_dmvst_net(problem: SeriesProblem, windows: SeriesWindows) -> Options:
    """Cells that correlate are alike."""
    whole = whole_of(problem)
    kept, size = whole.kept, len(whole.fill)
    graph = np.zeros((size, size))
    graph[np.ix_(kept, kept)] = correlation_graph(problem)
    return {"rows": whole.rows, "graphs": graph}


REGION_NETWORKS: dict[str, RegionMethod] = {
    "st_resnet": _method("grid", partial(STResNet, scaling="all"), _of_st_resnet),
    "dmvst_net": _method("grid", partial(DMVSTNet, scaling="all"), _of_dmvst_net),
    "od_ced": _method("trips", ODCED, _of_od_ced),
    "geml": _method("trips", GEML, _of_geml),
    "cstn": _method("trips", CSTN, _zones),
    "mrstn": _method("trips", MRSTN, lambda problem, windows: {}),
}


def check_regions(method: str, problem: SeriesProblem) -> None:
    """Refuses a network of grids or trips for other data.

    Args:
        method: its name; those of other methods pass.
        problem: that it is for.

    Raises:
        InputError: that says what data it is for.
    """
    if method not in REGION_NETWORKS:
        return
    kind = REGION_NETWORKS[method].kind
    if problem.whole is None or problem.whole.kind != kind:
        form = "(time, row, column, channel)" if kind == "grid" else "`od` (time, origin, destination)"
        raise InputError(
            f"{method} is for a {'grid' if kind == 'grid' else 'file of trips'}: give `jaxcast series train --data` a "
            f".npz with {form}"
        )


def train_region_network(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> TrainedNetwork:
    """Trains a network on all cells or pairs; it stops by the validation windows, or after all epochs.

    Args:
        method: its name.
        problem: with the windows and the regions.
        part: that is learned from.
        validation: windows by which it stops; None to learn for all epochs.
        num_epochs: the most passes over its windows.

    Returns:
        A forecaster of the series of the table.

    Raises:
        InputError: for losses that are not finite, and negative trips.
    """
    spec, whole = REGION_NETWORKS[method].network, whole_of(problem)
    windows = seen_by(spec, part.windows, problem)
    learned = float32(whole.spread(with_targets(windows)))
    held_out = None if validation is None else float32(whole.spread(seen_by(spec, validation, problem)))
    network, best = fitted(
        method,
        problem,
        part,
        learned,
        held_out,
        init=lambda key: spec.make(learned, problem, key),
        num_epochs=num_epochs,
    )
    return TrainedNetwork(PartOfRegions(network, jnp.asarray(whole.fill, jnp.float32), whole.kept), windows, best)

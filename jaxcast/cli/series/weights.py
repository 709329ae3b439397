"""What a forecast weighed: its attention, gates and graphs, as arrays and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.cli.figures import figure_of
from jaxcast.errors import InputError, shown
from jaxcast.io.files import save_figure, write_arrays
from jaxcast.plotting.graphs import plot_graph
from jaxcast.series.model import SeriesForecast

KINDS = {"graph": "learned graph", "weights": "attention between series", "graphs": "graph"}


def check_weights(found: SeriesForecast, option: str, method: str) -> None:
    """Refuses a forecast that weighed nothing.

    Args:
        found: the forecast.
        option: that asks for the weights.
        method: of the forecaster, for the message.

    Raises:
        InputError: with methods that weigh something.
    """
    if not found.info:
        raise InputError(
            f"{option} needs a forecaster with attention, gates or graphs, such as d2stgnn, st_mgcn or "
            f"attention_network; {method} has none"
        )


def write_weights(path: Path, found: SeriesForecast) -> None:
    """Writes the arrays of a forecast's weights, with the names of the series.

    Args:
        path: a .npz.
        found: the forecast.
    """
    write_arrays(path, {"names": np.asarray(found.names), **found.info})


def draw_graph(path: Path, found: SeriesForecast, places: tuple[np.ndarray, np.ndarray] | None, method: str) -> None:
    """Draws the graph of a forecast: a map where there are places, else a matrix.

    Args:
        path: a .png.
        found: the forecast.
        places: latitudes and longitudes of its series, or None.
        method: of the forecaster.

    Raises:
        InputError: for a forecaster without a graph.
    """
    kind, graph = _graph_of(found.info, len(found.names), method)
    latitude, longitude = places or (None, None)
    figure = figure_of(width=7.0, height=6.0)
    ax = plot_graph(figure.subplots(), graph, names=found.names, latitude=latitude, longitude=longitude)
    ax.set_title(f"{kind.capitalize()} of {method}, forecast from {found.origin}", fontsize=10)
    save_figure(path, figure)


def _graph_of(info: Mapping[str, Any], num_series: int, method: str) -> tuple[str, Float[np.ndarray, "node node"]]:
    for name, kind in KINDS.items():
        array = np.asarray(info.get(name, 0.0))
        if array.shape[-2:] == (num_series, num_series):
            each = array.reshape(-1, num_series, num_series)
            several = name == "graphs" and len(each) > 1  # the given one, and that of correlations
            return f"mean of {len(each)} graphs" if several else kind, each.mean(0)
    raise InputError(
        f"--plot-graph needs a forecaster with a graph or attention between series; {shown(method)} tells "
        f"{shown(', '.join(info))} only"
    )

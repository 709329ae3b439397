"""What the commands of series read: tables, files of sensors, and the graphs between series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.series.files.graphs import read_adjacency, read_coordinates, read_distances
from jaxcast.series.files.sensors import SensorData, read_sensors
from jaxcast.series.graphs.places import graph_from_coordinates, graph_from_distances
from jaxcast.series.graphs.structure import describe_graph
from jaxcast.series.table_reader import read_series
from jaxcast.series.tables import SeriesTable, series_table

SENSOR_FILES = (".npz", ".npy", ".h5", ".hdf5")
COLUMNS = ("time", "series", "value")
COVARIATES = ("past_covariates", "future_covariates", "static_covariates")


class SensorDates(NamedTuple):
    """How to read a file of sensors as a table.

    Args:
        first_date: of the first row, where the file has no dates.
        minutes: between two rows, where the file has no dates.
        feature: number of the feature that is forecast, where sensors have several.
        missing: the number that stands for a missing value, if there is one.
    """

    first_date: str | None = None
    minutes: float | int | None = None
    feature: int = 0
    missing: float | int | None = None

    def check(self) -> None:
        """Raises InputError for numbers out of range."""
        if self.minutes is not None:
            check_number("minutes", self.minutes, above=0)
        check_whole("feature", self.feature, least=0)
        if self.missing is not None:
            check_number("missing", self.missing)


class SeriesGraph(NamedTuple):
    """One or several graphs between series.

    Args:
        adjacency: how close series are, (series, series), or (graph, series, series) for several;
            rows listen to columns.
        notes: what each graph is, in words.
    """

    adjacency: Any
    notes: tuple[str, ...]


def read_data(
    path: Path,
    columns: dict[str, Any],
    covariates: dict[str, Any],
    dates: SensorDates,
) -> tuple[SeriesTable, SensorData | None]:
    """Reads the series of a command: of a table, or of a file of sensors.

    Args:
        path: .csv or .parquet for a table, else values of sensors.
        columns: time, series, value and business_days, as `read_series` takes them.
        covariates: names of columns, by their kind.
        dates: how to read a file of sensors.

    Returns:
        The table, and what a file of sensors has besides.

    Raises:
        InputError: for files that cannot be read so.
    """
    if path.suffix not in SENSOR_FILES:
        return read_series(path, **columns, **covariates), None
    named = [name for name in COLUMNS if columns[name]] + [name for name in COVARIATES if covariates.get(name)]
    if named:
        raise InputError(
            f"--{named[0].replace('_', '-')} names a column, and {shown(path)} has none; give a table, .csv or .parquet"
        )
    sensors = read_sensors(path, missing=dates.missing)
    values = sensors.values
    if values.ndim == 3:
        if dates.feature >= values.shape[2]:
            raise InputError(f"--feature must be below the {values.shape[2]} of {shown(path)}, got {dates.feature}")
        values = values[..., dates.feature]
    table = series_table(
        values, _dates(path, sensors, dates), names=sensors.names, business_days=columns["business_days"]
    )
    return table._replace(missing=sensors.notes), sensors


def _dates(path: Path, sensors: SensorData, dates: SensorDates) -> np.ndarray:
    if sensors.dates is not None:
        return np.asarray(sensors.dates, "datetime64[s]")
    if dates.first_date is None or dates.minutes is None:
        raise InputError(
            f"{shown(path)} has no dates; give --first-date, such as 2016-07-01, and --minutes between two rows"
        )
    first: Any = parse_date(dates.first_date, "--first-date")
    steps = np.round(60 * float(dates.minutes) * np.arange(len(sensors.values))).astype(int)
    return np.asarray(first.astype("datetime64[s]") + steps.astype("timedelta64[s]"))


def read_graph(
    names: Sequence[str],
    sensors: SensorData | None,
    *,
    adjacency: Path | None,
    distances: Path | None,
    coordinates: Path | None,
    graph: Sequence[str] = (),
    others: bool = False,
) -> SeriesGraph | None:
    """Reads the graph between series: of the file that is given, else of a file of sensors.

    Args:
        names: of the series.
        sensors: with graphs and places, or None.
        adjacency: a file of weights.
        distances: a table of distances.
        coordinates: a table of places.
        graph: names of graphs in a file of sensors.
        others: whether distances may be of other sensors too.

    Returns:
        The graph, None where there is none.

    Raises:
        InputError: for files of other series, for two sources of graphs, and for a file with
            several graphs of which none is named.
    """
    given = [
        f"--{name}" for name, file in (("adjacency", adjacency), ("distances", distances), ("graph", graph)) if file
    ]
    if len(given) > 1:
        raise InputError(f"give one of --adjacency, --distances and --graph, got {' and '.join(given)}; leave one out")
    latitude, longitude = (None, None) if sensors is None else (sensors.latitude, sensors.longitude)
    if coordinates is not None:
        latitude, longitude = read_coordinates(coordinates, names)
    if adjacency is not None:
        weights, source = read_adjacency(adjacency, names), str(adjacency)
    elif distances is not None:
        apart = _to_each(read_distances(distances, names, others=others))
        weights, source = graph_from_distances(apart), str(distances)
    elif graph or (sensors is not None and sensors.graphs and coordinates is None):
        own = {} if sensors is None else sensors.graphs
        found = _names_of(graph, tuple(own))
        notes = tuple(f"graph of graph_{name}: {describe_graph(own[name])}" for name in found)
        return SeriesGraph(np.stack([own[name] for name in found]) if len(found) > 1 else own[found[0]], notes)
    elif latitude is not None:
        weights, source = graph_from_coordinates(latitude, longitude), "places"
    else:
        return None
    return SeriesGraph(weights, (f"graph of {source}: {describe_graph(weights)}",))


def _names_of(graphs: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of the graphs that are meant, of those that a file of sensors has."""
    if not known:
        raise InputError("--graph names a graph of a file of sensors, and --data has none; give --adjacency")
    if not graphs and len(known) > 1:
        raise InputError(f"--data has the graphs {shown(', '.join(known))}; name one or more with --graph")
    for name in graphs:
        if name not in known:
            raise InputError(f"--graph must be of {shown(', '.join(known))}, got {shown(name)}")
    if len(set(graphs)) < len(graphs):
        raise InputError(f"name each --graph once, got {shown(', '.join(graphs))}")
    return tuple(graphs) or known[:1]


def _to_each(distances: np.ndarray) -> np.ndarray:
    """Returns distances to the row from the column; both ways where every pair is listed once."""
    is_listed = np.isfinite(distances) & ~np.eye(len(distances), dtype=bool)
    return distances.T if (is_listed & is_listed.T).any() else np.minimum(distances, distances.T)

"""What the commands of series read: tables, files of sensors, and the graphs between series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import are_dates, parse_date
from jaxcast.io.tables import read_columns
from jaxcast.series.files.graphs import read_adjacency, read_coordinates, read_distances
from jaxcast.series.files.regions import read_regions
from jaxcast.series.files.sensors import SensorData
from jaxcast.series.graphs.places import graph_from_distances, great_circle_distances, nearest_neighbours_graph
from jaxcast.series.graphs.structure import describe_graph
from jaxcast.series.table_reader import TIME_NAMES, read_series
from jaxcast.series.tables import CovariateNames, SeriesTable, series_table
from jaxcast.series.whole_regions import WholeRegions

SENSOR_FILES = (".npz", ".npy", ".h5", ".hdf5")
COLUMNS = ("time", "series", "value")
COVARIATES = ("past_covariates", "future_covariates", "static_covariates")


class SensorOptions(NamedTuple):
    """How to read a file of sensors as a table.

    Args:
        first_date: of the first row, where the file has no dates.
        minutes: between two rows, where the file has no dates.
        feature: number of the feature that is forecast, where sensors have several.
        missing: the number that stands for a missing value, if there is one.
        names: of the sensors, in the order of the values, where the file has none.
    """

    first_date: str | None = None
    minutes: float | int | None = None
    feature: int = 0
    missing: float | int | None = None
    names: tuple[str, ...] | None = None

    def check(self) -> None:
        """Raises InputError for numbers out of range."""
        if self.minutes is not None:
            check_number("minutes", self.minutes, above=0)
        check_whole("feature", self.feature, least=0)
        if self.missing is not None:
            check_number("missing", self.missing)

    def refuse(self, path: Path) -> None:
        """Raises InputError where an option is given with a table, which none of them is for.

        Args:
            path: of the table.
        """
        given = [name for name, value in self._asdict().items() if value != self._field_defaults[name]]
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')} is for files of sensors, and {shown(path)} is a table with dates; "
                "leave it out"
            )


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
    options: SensorOptions,
) -> tuple[SeriesTable, SensorData | None]:
    """Reads the series of a command: of a table, or of a file of sensors, of a grid or of trips.

    Args:
        path: .csv or .parquet for a table, else values of sensors; a .csv with a first date, too.
        columns: time, series, value and business_days, as `read_series` takes them.
        covariates: names of columns, by their kind.
        options: how to read a file of sensors.

    Returns:
        The table, and what a file of sensors has besides.

    Raises:
        InputError: for files that cannot be read so.
    """
    if path.suffix not in SENSOR_FILES and (options.first_date is None or _has_dates(path, columns["time"])):
        return read_series(path, **columns, **covariates), None
    named = [name for name in COLUMNS if columns[name]]
    named += [name for name in COVARIATES[1:] if covariates.get(name)]
    if named:
        raise InputError(
            f"--{named[0].replace('_', '-')} names a column, and {shown(path)} has none; give a table, .csv or .parquet"
        )
    sensors = read_regions(path, names=options.names, missing=options.missing)
    values = sensors.values
    if values.ndim == 3:
        if options.feature >= values.shape[2]:
            raise InputError(f"--feature must be below the {values.shape[2]} of {shown(path)}, got {options.feature}")
        values = values[..., options.feature]
    kept, weather = _weather(path, sensors, covariates.get("past_covariates", ()))
    table = series_table(
        values,
        _dates(path, sensors, options),
        names=sensors.names,
        past_covariates=weather,
        business_days=columns["business_days"],
    )
    return table._replace(missing=sensors.notes, covariates=CovariateNames(kept)), sensors


def _has_dates(path: Path, time: str | None) -> bool:
    """Returns whether a table has a column of dates, by its name or its cells."""
    cells = read_columns(path).by_name
    return time is not None or any(name.lower() in TIME_NAMES or are_dates(texts) for name, texts in cells.items())


def _weather(
    path: Path, sensors: SensorData, wanted: Sequence[str]
) -> tuple[tuple[str, ...], Float[np.ndarray, "time region covariate"] | None]:
    """Returns the columns of the weather of a file that are asked for, and their values for each series.

    They are called "weather 1", "weather 2" and so on; "weather" is all of them.
    """
    if not wanted:
        return (), None
    if sensors.past_covariates is None:
        raise InputError(
            f"--past-covariates names a column, and {shown(path)} has none; give a table, or an .npz with an array "
            "weather (time, covariate)"
        )
    known = tuple(f"weather {number + 1}" for number in range(sensors.past_covariates.shape[1]))
    names = known if tuple(wanted) == ("weather",) else tuple(wanted)
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"--past-covariates must be weather, or of {shown(', '.join(known))} for {shown(path)}, got "
            f"{shown(repr(unknown[0]))}"
        )
    values = sensors.past_covariates[:, [known.index(name) for name in names]]
    return names, np.broadcast_to(values[:, None], (len(values), len(sensors.names), len(names)))


def _dates(path: Path, sensors: SensorData, options: SensorOptions) -> np.ndarray:
    if sensors.dates is not None:
        return np.asarray(sensors.dates, "datetime64[s]")
    if options.first_date is None or options.minutes is None:
        raise InputError(
            f"{shown(path)} has no dates; give --first-date, such as 2016-07-01, and --minutes between two rows"
        )
    first: Any = parse_date(options.first_date, "--first-date")
    steps = np.round(60 * float(options.minutes) * np.arange(len(sensors.values))).astype(int)
    return np.asarray(first.astype("datetime64[s]") + steps.astype("timedelta64[s]"))


class Learnable(NamedTuple):
    """What of a file of sensors can be learned from.

    Args:
        table: of the series that change.
        graph: between them, or None.
        whole: the regions of a grid or of trips that they belong to, or None.
    """

    table: SeriesTable
    graph: SeriesGraph | None
    whole: WholeRegions | None


def learnable(
    table: SeriesTable, graph: SeriesGraph | None, sensors: SensorData, end: int, adjacency: Any = None
) -> Learnable:
    """Leaves out series from which nothing can be learned: files of sensors have dead ones.

    Args:
        table: with the series.
        graph: between them, or None.
        sensors: as they were read.
        end: the row after the last that is learned from at first.
        adjacency: which zones touch, or None.

    Returns:
        What is left.

    Raises:
        InputError: where no series changes before that row.
    """
    known = table.values[:end]
    moves = np.fmax.reduce(known, 0) > np.fmin.reduce(known, 0)
    if not moves.any():
        raise InputError(
            f"expected values that change before {table.date(end)}, where the validation part begins; all "
            f"{len(moves)} series are unknown or the same until then; give others"
        )
    kept = np.flatnonzero(moves)
    whole = None
    if sensors.layout is not None:
        fill = np.nan_to_num(np.fmax.reduce(known, 0))
        whole = WholeRegions(sensors.layout.kind, sensors.layout.rows, fill, tuple(kept.tolist()), adjacency)
    if moves.all():
        return Learnable(table, graph, whole)
    still = [table.names[number] for number in np.flatnonzero(~moves).tolist()]
    more = f" and {len(still) - 5} more" if len(still) > 5 else ""
    note = f"{len(still)} series left out, unknown or the same until {table.date(end - 1)}: "
    table = table.of_series(kept.tolist())
    table = table._replace(missing=(*table.missing, note + shown(", ".join(still[:5])) + more))
    return Learnable(table, None if graph is None else _among(graph, kept), whole)


def _among(graph: SeriesGraph, kept: np.ndarray) -> SeriesGraph:
    """Returns a graph among some of its series, described anew."""
    adjacency = graph.adjacency[..., kept[:, None], kept]
    each = adjacency.reshape(-1, len(kept), len(kept))
    sources = (note.rpartition(": ")[0] for note in graph.notes)
    notes = tuple(f"{source}: {describe_graph(one)}" for source, one in zip(sources, each, strict=True))
    return SeriesGraph(adjacency, notes)


def read_graph(
    names: Sequence[str],
    sensors: SensorData | None,
    *,
    adjacency: Path | None,
    distances: Path | None,
    coordinates: Path | None,
    graph: Sequence[str] = (),
    others: bool = False,
    nearest: int | None = None,
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
        nearest: to how many nearest series each is joined; None for all that are close.

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
    if nearest is not None and (adjacency is not None or graph):
        raise InputError("--nearest is for --distances and places; leave it out with --adjacency and --graph")
    latitude, longitude = (None, None) if sensors is None else (sensors.latitude, sensors.longitude)
    if coordinates is not None:
        latitude, longitude = read_coordinates(coordinates, names)
    if adjacency is not None:
        weights, source = read_adjacency(adjacency, names), str(adjacency)
    elif distances is not None:
        apart = _to_each(read_distances(distances, names, others=others))
        weights, source = _of_distances(apart, nearest), str(distances)
    elif graph or (sensors is not None and sensors.graphs and coordinates is None and nearest is None):
        own = {} if sensors is None else sensors.graphs
        found = _names_of(graph, tuple(own))
        notes = tuple(f"graph of graph_{name}: {describe_graph(own[name])}" for name in found)
        return SeriesGraph(np.stack([own[name] for name in found]) if len(found) > 1 else own[found[0]], notes)
    elif latitude is not None:
        weights, source = _of_distances(great_circle_distances(latitude, longitude), nearest), "places"
    else:
        if nearest is not None:
            raise InputError("--nearest needs --distances or --coordinates; give one of them")
        return None
    return SeriesGraph(weights, (f"graph of {source}: {describe_graph(weights)}",))


def _of_distances(distances: np.ndarray, nearest: int | None) -> np.ndarray:
    if nearest is None:
        return graph_from_distances(distances)
    check_whole("nearest", nearest, most=max(len(distances) - 1, 1))
    return nearest_neighbours_graph(distances, nearest, either=True)


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

"""Reads values of sensors from .npz, .npy, .h5 and .csv files, with their places and graphs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.archives import Archive, check_is_file, read_archive, refuse_pickle
from jaxcast.io.hdf5 import read_frame
from jaxcast.io.tables import ZIPPED, numbers_of, read_columns
from jaxcast.series.files.checks import (
    ZERO,
    as_measured,
    check_weights,
    missing_notes,
    texts_of,
    zero_notes,
)
from jaxcast.series.files.graphs import read_distances

VALUE_KEYS = ("counts", "data", "values", "arr_0", "array")
NAME_KEYS = ("names", "ids")
GRAPH = "graph_"


RegionKind = Literal["grid", "trips"]


class RegionLayout(NamedTuple):
    """How the series of a file lie: the cells of a grid, or the pairs of zones.

    Args:
        kind: "grid" or "trips".
        rows: of the grid; the number of zones.
        zones: names of the zones; () for a grid.
    """

    kind: RegionKind
    rows: int
    zones: tuple[str, ...] = ()


class SensorData(NamedTuple):
    """Values of sensors, with what is known of the sensors.

    Args:
        values: of the sensors, NaN where one is missing; with a last axis of features where the
            file has one.
        names: of the sensors.
        dates: of the rows, or None.
        latitude: in degrees, or None.
        longitude: in degrees, or None.
        distances: along roads, from row to column, infinite where none is listed; or None.
        graphs: weights between sensors by name; rows listen to columns.
        past_covariates: known up to a row and the same for all sensors, such as the weather; or
            None.
        notes: what is missing, and sensors that are 0 at all times, in words.
        layout: of the cells of a grid or the pairs of zones; None for sensors.
    """

    values: Float[np.ndarray, "time node *feature"]
    names: tuple[str, ...]
    dates: np.ndarray | None
    latitude: Float[np.ndarray, " node"] | None
    longitude: Float[np.ndarray, " node"] | None
    distances: Float[np.ndarray, "node node"] | None
    graphs: dict[str, Float[np.ndarray, "node node"]]
    past_covariates: Float[np.ndarray, "time covariate"] | None
    notes: tuple[str, ...]
    layout: RegionLayout | None = None


@checked
def read_sensors(
    path: Path | str,
    distances: Path | str | None = None,
    *,
    key: str | None = None,
    names: Sequence[str] | None = None,
    missing: float | int | None = None,
) -> SensorData:
    """Reads the values of sensors, and the distances between them.

    - .npz, such as PEMS08.npz: `data`, `counts` or `values`, (time, node) or (time, node, feature).
      Read as well where they are there: `latitude`, `longitude` (node,); `weather` (time,
      covariate); any `graph_NAME` (node, node); `names` (node,); `dates` (time,), as datetime64.
    - .npy: the values alone.
    - .h5, such as metr-la.h5: a table that pandas wrote in its "fixed" format, with names and
      dates. This needs h5py.
    - .csv or .csv.gz: one column for each sensor and no dates; `read_series` reads tables with
      dates.

    Args:
        path: the file.
        distances: a .csv of distances, as `read_distances` reads it.
        key: name of the array of values in a .npz, if it has another.
        names: of the sensors, in the order of the values; by default those of the file, else "0",
            "1" and so on, which is how the distances of PEMS04, PEMS07 and PEMS08 call them.
        missing: the number that stands for a missing value, such as 0 in METR-LA.

    Returns:
        The values with their notes.

    Raises:
        InputError: for a file that is cut off, pickled, or has no such array; for arrays of other
            sensors or rows; for weights that are negative or not finite.

    Example:
        >>> import jaxcast, numpy as np, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "PEMS00.npz"
        >>> np.savez(file, data=np.arange(12.0).reshape(3, 2, 2))
        >>> _ = file.with_suffix(".csv").write_text("from,to,cost\\n0,1,300.5\\n")
        >>> sensors = jaxcast.series.read_sensors(file, file.with_suffix(".csv"))
        >>> sensors.values.shape, sensors.names, sensors.distances.tolist()
        ((3, 2, 2), ('0', '1'), [[0.0, 300.5], [inf, 0.0]])
    """
    path = Path(path)
    refuse_pickle(path)
    check_is_file(path, "a .npz, .npy, .h5 or .csv")
    if path.suffix in (".npz", ".npy"):
        found = sensors_of(read_archive(path), key=key, missing=missing)
    elif path.suffix in (".h5", ".hdf5"):
        frame = read_frame(path)
        found = _plain(as_measured(path, "values", frame.values, missing), frame.columns)._replace(dates=frame.dates)
    elif path.suffix == ".csv" or path.name.endswith(ZIPPED):
        columns = read_columns(path)
        cells = np.stack([numbers_of(columns, name) for name in columns.by_name], 1)
        found = _plain(as_measured(path, "values", cells, missing), tuple(columns.by_name))
    else:
        raise InputError(f"expected values of sensors, .npz, .npy, .h5 or .csv, got {shown(path)}")
    found = described(found, path, names)
    return found if distances is None else found._replace(distances=read_distances(distances, found.names))


def described(found: SensorData, path: Path, names: Sequence[str] | None) -> SensorData:
    """Returns sensors by the names that are given, with notes on what is missing.

    Args:
        found: the sensors.
        path: of their file, for a message.
        names: of the sensors, or None for those of the file.

    Raises:
        InputError: unless there is a different name for each.
    """
    called = found.names if names is None else texts_of(path, "names", list(names), len(found.names))
    notes = (*missing_notes(found.values), *zero_notes(found.values, called, "sensor", ZERO))
    return found._replace(names=called, notes=notes)


def _plain(values: np.ndarray, names: tuple[str, ...]) -> SensorData:
    return SensorData(values, names, None, None, None, None, {}, None, ())


def sensors_of(archive: Archive, *, key: str | None = None, missing: float | int | None = None) -> SensorData:
    """Returns the sensors of an archive, without notes; see `read_sensors`.

    Args:
        archive: that was read.
        key: name of the array of values.
        missing: the number that stands for a missing value.

    Raises:
        InputError: as `read_sensors` does.
    """
    path = archive.path
    key = archive.chosen(key, VALUE_KEYS, (2, 3))
    values = as_measured(path, key, archive.named(key), missing)
    length, count = values.shape[:2]
    called = [name for name in NAME_KEYS if name in archive.arrays]
    names = texts_of(path, called[0], archive.arrays[called[0]], count) if called else tuple(map(str, range(count)))
    places = {name: _place(archive, name, count) for name in ("latitude", "longitude") if name in archive.arrays}
    if len(places) == 1:
        raise InputError(f"{shown(path)}: expected latitude and longitude, got {next(iter(places))} alone; give both")
    graphs = {
        name.removeprefix(GRAPH): check_weights(
            f"{shown(path)}, {shown(repr(name))}", _of_shape(archive, name, (count, count), "each node"), names
        )
        for name in (*archive.arrays, *archive.pickled)
        if name.startswith(GRAPH)
    }
    weather = None
    if "weather" in archive.arrays:
        weather = as_measured(path, "weather", archive.named("weather"), None)
        if weather.ndim != 2 or len(weather) != length:
            raise InputError(
                f"{shown(path)}: expected 'weather' (time, covariate) with the {counted(length, 'row')} of "
                f"{shown(repr(key))}, got {weather.shape}; cut or fill it"
            )
    return SensorData(
        values,
        names,
        _dates(archive, length),
        places.get("latitude"),
        places.get("longitude"),
        None,
        graphs,
        weather,
        (),
    )


def _of_shape(archive: Archive, name: str, shape: tuple[int, ...], each: str) -> Any:
    array = archive.named(name)
    if array.shape != shape:
        raise InputError(
            f"{shown(archive.path)}: expected shape {shape} in {shown(repr(name))}, a number for {each} of the "
            f"values, got {array.shape}; give them in the order of the values"
        )
    return array


def _place(archive: Archive, name: str, count: int) -> Float[np.ndarray, " node"]:
    degrees = np.asarray(_of_shape(archive, name, (count,), "each node"), float)
    most = 90 if name == "latitude" else 360
    if not (np.abs(degrees) <= most).all():
        at = int(np.argmax(~(np.abs(degrees) <= most)))
        raise InputError(
            f"{shown(archive.path)}: expected degrees of at most {most} in {name}, got {degrees[at]} for node {at}; "
            "fix it"
        )
    return degrees


def _dates(archive: Archive, length: int) -> np.ndarray | None:
    dates = archive.arrays.get("dates")
    if dates is None or dates.dtype.kind != "M":
        return None
    if dates.shape != (length,):
        raise InputError(
            f"{shown(archive.path)}: expected {counted(length, 'date')}, one for each row, got shape {dates.shape}"
        )
    return np.asarray(dates)

"""Reads graphs of series: how close they are, the distances between them, and their places."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.archives import check_is_file, read_archive, refuse_pickle
from jaxcast.io.tables import Columns, numbers_of, read_columns
from jaxcast.series.files.checks import check_weights

ORIGIN_NAMES, TARGET_NAMES, COST_NAMES = ("from", "origin"), ("to", "destination"), ("cost", "distance", "dist")
LATITUDE_NAMES, LONGITUDE_NAMES = ("latitude", "lat"), ("longitude", "lon", "lng", "long")


def read_adjacency(path: Path | str, names: Sequence[str]) -> Float[np.ndarray, "region region"]:
    """Reads how close series are to each other.

    Args:
        path: a .csv whose header names the series in any order; the rows are in the order of the
            header, and a first column may name them. Or a matrix in the order of `names`: a .npy,
            or a .csv of as many lines as columns, all of numbers.
        names: of the series, in the order that is wanted.

    Returns:
        The closeness of each series to every other.

    Raises:
        InputError: for a table that is not square, or of other series, for negative numbers, and
            for a pickle, which could run code.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "adjacency.csv"
        >>> _ = file.write_text("south,north\\n1,0.5\\n0.25,1\\n")
        >>> jaxcast.series.read_adjacency(file, ("north", "south")).tolist()
        [[1.0, 0.25], [0.5, 1.0]]
    """
    path = Path(path)
    refuse_pickle(path)
    if path.suffix == ".npy":
        check_is_file(path, "a .csv or .npy")
        return check_weights(shown(path), read_archive(path).named("array"), names)
    columns = read_columns(path, has_index=True, unnamed=names, num_rows=len(names))
    header = list(columns.by_name)
    if len(header) == len(names) + 1 and header[0] not in names:
        rows = [text.strip() for text in columns.by_name[header[0]]]
        header = header[1:]
        if rows != header:
            raise InputError(
                f"{shown(path)}: rows and columns must have the same names in the same order; sort one of them"
            )
    if sorted(header) != sorted(names):
        missing, unknown = sorted({*names} - {*header})[:5], sorted({*header} - {*names})[:5]
        raise InputError(
            f"{shown(path)} is for other series than the data: "
            f"{shown(_listed('it lacks', missing))}{shown(_listed('it also has', unknown))}give one column for each"
        )
    closeness = np.stack([numbers_of(columns, name) for name in header], 1)
    if closeness.shape[0] != closeness.shape[1]:
        raise InputError(
            f"{shown(path)}: expected {len(names)} rows of numbers that are not negative, got {closeness.shape[0]}; "
            "fix it"
        )
    closeness = check_weights(shown(path), closeness, header)
    order = [header.index(name) for name in names]
    return closeness[np.ix_(order, order)]


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what} {', '.join(names)}; " if names else ""


@checked
def read_distances(
    path: Path | str, names: Sequence[str], *, symmetric: bool = False, others: bool = False
) -> Float[np.ndarray, "node node"]:
    """Reads distances between sensors from a table of from, to and cost.

    Such a table comes with PEMS03 to PEMS08 and, as distances_la_2012.csv, with METR-LA. Where a
    pair is listed twice, the shorter distance counts.

    Args:
        path: a .csv with the columns from, to and cost (or distance); without a header, as that of
            PEMS-BAY, in this order.
        names: of the sensors, in the order that is wanted.
        symmetric: whether a distance holds in both directions, as in PEMS03 to PEMS08, which list
            each pair once.
        others: whether the table may hold sensors besides these, as that of METR-LA does; they are
            left out.

    Returns:
        The distance from row to column: 0 on the diagonal, infinite for pairs that are not listed.

    Raises:
        InputError: for sensors that are not known, with the line, distances that are negative or
            missing, and a table that has none between these sensors.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "distances.csv"
        >>> _ = file.write_text("from,to,cost\\n9,7,1.5\\n7,8,2\\n")
        >>> jaxcast.series.read_distances(file, ("7", "8", "9"), symmetric=True).tolist()
        [[0.0, 2.0, 1.5], [2.0, 0.0, inf], [1.5, inf, 0.0]]
    """
    path, names = Path(path), tuple(names)
    refuse_pickle(path)
    columns = read_columns(path, unnamed=("from", "to", "cost"))
    called = [_column(columns, path, usual, "from, to and cost") for usual in (ORIGIN_NAMES, TARGET_NAMES, COST_NAMES)]
    costs = numbers_of(columns, called[2])
    if (bad := ~(costs >= 0)).any():
        at = int(np.argmax(bad))
        raise InputError(f"{columns.where(at)}: expected a distance that is not negative, got {costs[at]}; fix it")
    number = {name: k for k, name in enumerate(names)}
    ends = np.stack([_numbers(columns.by_name[name], number) for name in called[:2]], 1)
    known = (ends >= 0).all(1)
    if not known.all() and not others:
        at = int(np.argmin(known))
        text = columns.by_name[called[int(np.argmax(ends[at] < 0))]][at]
        raise InputError(
            f"{columns.where(at)}: {shown(repr(text))} is none of the {counted(len(names), 'sensor')}; remove that "
            "line, or leave such lines out with others=True"
        )
    if not known.any():
        raise InputError(
            f"{shown(path)} holds no distance between the {counted(len(names), 'sensor')}, which are called "
            f"{shown(', '.join(names[:3]))} ...; give its sensors the same names"
        )
    distances = np.full((len(names), len(names)), np.inf)
    np.minimum.at(distances, tuple(ends[known].T), costs[known])
    if symmetric:
        distances = np.minimum(distances, distances.T)
    np.fill_diagonal(distances, 0.0)
    return distances


def _numbers(texts: Sequence[str], number: dict[str, int]) -> np.ndarray:
    return np.asarray([number.get(text.strip(), -1) for text in texts])


@checked
def read_coordinates(
    path: Path | str, names: Sequence[str]
) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Reads where sensors are, from a table with a row for each.

    Args:
        path: a .csv with the columns latitude and longitude, in degrees, and one more with the
            names of the sensors, the first of the others in which they are. It may hold other
            sensors too. Without a header, as that of PEMS-BAY, the columns are name, latitude,
            longitude.
        names: of the sensors, in the order that is wanted.

    Returns:
        The latitudes and the longitudes.

    Raises:
        InputError: for a table without these columns, a sensor that it lacks or has twice, and
            positions that are not finite or out of range.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "places.csv"
        >>> _ = file.write_text("id,latitude,longitude\\nb,40.5,116.1\\na,39.9,116.4\\n")
        >>> jaxcast.series.read_coordinates(file, ("a", "b"))[0].tolist()
        [39.9, 40.5]
    """
    path = Path(path)
    columns = read_columns(path, unnamed=("name", "latitude", "longitude"))
    latitude, longitude = (
        _column(columns, path, usual, "id, latitude and longitude") for usual in (LATITUDE_NAMES, LONGITUDE_NAMES)
    )
    others = [name for name in columns.by_name if name not in (latitude, longitude)]
    if not others:
        raise InputError(f"{shown(path)}: expected a column with the names of the sensors; add one")
    cells = {name: [text.strip() for text in columns.by_name[name]] for name in others}
    called = next((name for name in others if {*names} <= {*cells[name]}), others[0])
    rows = {name: k for k, name in enumerate(cells[called])}
    if len(rows) < len(cells[called]):
        raise InputError(f"{shown(path)}: expected each sensor once in the column {shown(called)}; remove duplicates")
    if missing := [name for name in names if name not in rows]:
        raise InputError(
            f"{shown(path)} lacks {counted(len(missing), 'sensor')}, the first {shown(repr(missing[0]))}; add a row "
            "for each"
        )
    index = [rows[name] for name in names]
    places = [numbers_of(columns, name)[index] for name in (latitude, longitude)]
    for what, found, most in (("latitude", places[0], 90), ("longitude", places[1], 360)):
        if (bad := ~(np.abs(found) <= most)).any():
            at = int(np.argmax(bad))
            raise InputError(f"{columns.where(index[at])}: expected a {what} in degrees, got {found[at]}; fix it")
    return places[0], places[1]


def _column(columns: Columns, path: Path, usual: Sequence[str], expected: str) -> str:
    """Returns the column with one of the usual names."""
    found = [name for name in columns.by_name if name.lower() in usual]
    if not found:
        raise InputError(
            f"{shown(path)}: expected columns {expected}, got {shown(', '.join(columns.by_name))}; rename "
            f"the one that is {usual[0]}"
        )
    return found[0]

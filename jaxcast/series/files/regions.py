"""Reads sensors, cells of a grid or pairs of zones as series, whichever a file holds."""

import re
from collections.abc import Sequence
from pathlib import Path

from jaxcast.errors import InputError, shown
from jaxcast.io.archives import Archive, check_is_file, read_archive
from jaxcast.series.files.grids import GRID_KEYS, grid_of
from jaxcast.series.files.sensors import RegionLayout, SensorData, described, read_sensors, sensors_of
from jaxcast.series.files.trips import trips_of
from jaxcast.series.graphs.places import grid_graph

ARCHIVES = (".npz", ".npy")
LARGEST_NAMES = 10_000_000
"""Bytes of a list of names, at most."""


def read_regions(path: Path, *, names: Sequence[str] | None = None, missing: float | int | None = None) -> SensorData:
    """Reads the series of a file of sensors, of a grid or of trips.

    A .npz with `od`, or one of a sparse matrix, holds trips: its series are pairs of zones, named
    "origin to destination". An array of four axes is a grid (time, row, column, channel): its
    series are cells, named "row,column", with the graph of cells that touch. All else is sensors.

    Args:
        path: of a file that `read_sensors`, `read_grid` or `read_od` reads.
        names: of the sensors, in the order of the values, or of the zones.
        missing: the number that stands for a missing value, if there is one.

    Returns:
        The values, with what is known of the series.

    Raises:
        InputError: as these readers do.
    """
    if path.suffix not in ARCHIVES:
        return read_sensors(path, names=names, missing=missing)
    check_is_file(path, "a .npz, .npy, .h5 or .csv")
    archive = read_archive(path)
    if "format" in archive.arrays or "od" in archive.arrays:
        trips = trips_of(archive, names=names, missing=missing)
        pairs = tuple(f"{origin} to {destination}" for origin in trips.names for destination in trips.names)
        layout = RegionLayout("trips", len(trips.names), trips.names)
        return SensorData(trips.pairs, pairs, None, None, None, None, {}, None, trips.notes, layout)
    if keys := _grids_in(archive):
        grid = grid_of(archive, keys=keys, missing=missing)
        rows, columns = grid.values.shape[1:3]
        graphs = {"grid": grid_graph(rows, columns, corners=True)}
        layout = RegionLayout("grid", rows)
        return SensorData(grid.nodes, grid.names, None, None, None, None, graphs, None, grid.notes, layout)
    return described(sensors_of(archive, missing=missing), path, names)


def _grids_in(archive: Archive) -> list[str]:
    """Returns the names of the arrays of four axes: the one that is called as usual, or all of them."""
    found = [name for name, array in archive.arrays.items() if array.ndim == 4 and array.dtype.kind in "biuf"]
    return [name for name in GRID_KEYS if name in found][:1] or found


def read_names(path: Path) -> tuple[str, ...]:
    """Reads names, one a line as in PEMS03.txt, or in one line with commas as in graph_sensor_ids.txt.

    Args:
        path: a text file.

    Raises:
        InputError: for a file that is missing, large or no text, or holds no names.
    """
    check_is_file(path, "a text file with a name a line")
    try:
        if path.stat().st_size > LARGEST_NAMES:
            raise InputError(f"{shown(path)} is larger than a list of names; give a text file with a name a line")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{shown(path)} is not a text file of names ({shown(error)}); write a name a line") from None
    names = tuple(name for name in (one.strip() for one in re.split(r"[\n,]", text)) if name)
    if not names:
        raise InputError(f"{shown(path)} holds no names; write a name a line")
    return names

"""Reads values on a grid of cells over time from .npz, .npy and .h5 files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import Archive, check_is_file, read_archive
from jaxcast.io.hdf5 import read_datasets
from jaxcast.series.files.checks import ZERO, as_measured, missing_notes, zero_notes

GRID_KEYS = ("data", "values", "arr_0", "array")


class GridData(NamedTuple):
    """Values on a grid of cells over time.

    Args:
        values: of the cells, NaN where one is missing.
        channels: names of the channels.
        notes: what is missing, and cells that are 0 at all times, in words.
    """

    values: Float[np.ndarray, "time row column channel"]
    channels: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cells, "row,column", one row of the grid after the other."""
        return tuple(f"{row},{column}" for row, column in np.ndindex(self.values.shape[1:3]))

    @property
    def nodes(self) -> Float[np.ndarray, "time node channel"]:
        """The values with one axis of cells, in the order of the names, as forecasters take them."""
        length, rows, columns, channels = self.values.shape
        return self.values.reshape(length, rows * columns, channels)


@checked
def read_grid(
    path: Path | str,
    *,
    keys: Sequence[str] | None = None,
    channels_last: bool = True,
    missing: float | int | None = None,
) -> GridData:
    """Reads values on a grid: (time, row, column, channel), or (time, row, column) of one channel.

    Args:
        path: a .npz, .npy or .h5 file; the last needs h5py.
        keys: names of the arrays, whose channels are joined; by default `data`, `values` or the
            only array of three or four axes.
        channels_last: whether the channel is the last axis; in TaxiBJ (time, channel, row, column)
            it is the second.
        missing: the number that stands for a missing value, if there is one.

    Returns:
        The values with their notes.

    Raises:
        InputError: for a file that is cut off or pickled, has no such array, or arrays of other
            rows, columns or times.

    Example:
        >>> import jaxcast, numpy as np, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "trips.npz"
        >>> np.savez(file, taxi=np.ones((5, 2, 3, 2)), bike=np.ones((5, 2, 3), int))
        >>> grid = jaxcast.series.read_grid(file, keys=("taxi", "bike"))
        >>> grid.values.shape, grid.channels, grid.nodes.shape
        ((5, 2, 3, 3), ('taxi 1', 'taxi 2', 'bike'), (5, 6, 3))
    """
    path = Path(path)
    check_is_file(path, "a .npz, .npy or .h5")
    if path.suffix not in (".npz", ".npy", ".h5", ".hdf5"):
        raise InputError(f"expected values on a grid, .npz, .npy or .h5, got {shown(path)}")
    archive = read_archive(path) if path.suffix in (".npz", ".npy") else read_datasets(path)
    return grid_of(archive, keys=keys, channels_last=channels_last, missing=missing)


def grid_of(
    archive: Archive,
    *,
    keys: Sequence[str] | None = None,
    channels_last: bool = True,
    missing: float | int | None = None,
) -> GridData:
    """Returns the grid of an archive; see `read_grid`.

    Args:
        archive: that was read.
        keys: names of the arrays.
        channels_last: whether the channel is the last axis.
        missing: the number that stands for a missing value.

    Raises:
        InputError: as `read_grid` does.
    """
    path = archive.path
    chosen = [archive.chosen(key, GRID_KEYS, (3, 4)) for key in keys or (None,)]
    parts: list[np.ndarray] = []
    channels: list[str] = []
    for key in chosen:
        part = _on_grid(archive, key, channels_last, missing)
        if parts and part.shape[:3] != parts[0].shape[:3]:
            raise InputError(
                f"{shown(path)}: {shown(repr(key))} has {part.shape[:3]} times, rows and columns, "
                f"{shown(repr(chosen[0]))} has {parts[0].shape[:3]}; join arrays of one grid only"
            )
        parts.append(part)
        count = part.shape[3]
        channels += [key] if count == 1 else [f"{key} {n + 1}" for n in range(count)]
    data = GridData(np.concatenate(parts, 3), tuple(channels), ())
    return data._replace(notes=(*missing_notes(data.values), *zero_notes(data.nodes, data.names, "cell", ZERO)))


def _on_grid(archive: Archive, key: str, channels_last: bool, missing: float | int | None) -> np.ndarray:
    values = as_measured(archive.path, key, archive.named(key), missing)
    if values.ndim == 3:
        return values[..., None]
    return values if channels_last else np.moveaxis(values, 1, 3)

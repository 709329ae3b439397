"""Reads matrices of trips between zones over time from .npz and .npy files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import Archive, check_is_file, read_archive
from jaxcast.limits import check_memory
from jaxcast.series.files.checks import as_measured, missing_notes, texts_of, zero_notes

OD_KEYS = ("od", "data", "values", "arr_0", "array")
COMPRESSED = ("data", "indices", "indptr", "shape", "format")
COORDINATES = ("data", "row", "col", "shape", "format")


class ODData(NamedTuple):
    """Trips between zones over time.

    Args:
        values: trips from origin to destination, NaN where one is missing.
        names: of the zones.
        notes: what is missing, and zones from or to which nobody travels, in words.
    """

    values: Float[np.ndarray, "time origin destination"]
    names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def pairs(self) -> Float[np.ndarray, "time pair"]:
        """The values with one axis of pairs: pair = origin * number of zones + destination."""
        return self.values.reshape(len(self.values), -1)


@checked
def read_od(
    path: Path | str,
    *,
    key: str | None = None,
    names: Sequence[str] | None = None,
    missing: float | int | None = None,
) -> ODData:
    """Reads trips between zones over time.

    The file holds (time, origin, destination), or (time, pair) with pair = origin * number of zones
    + destination. A .npz of `scipy.sparse.save_npz` in the formats csr, csc or coo is read too,
    without SciPy: its matrix is (time, pair).

    Args:
        path: a .npz or .npy file.
        key: name of the array in a .npz; by default `od`, `data`, or the only one of two or three
            axes.
        names: of the zones; by default the array `names` of a .npz, else "0", "1" and so on.
        missing: the number that stands for a missing value, if there is one.

    Returns:
        The trips with their notes.

    Raises:
        InputError: for a file that is cut off or pickled, has no such array, negative trips, or a
            number of pairs that is not a square.

    Example:
        >>> import jaxcast, numpy as np, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "trips.npz"
        >>> trips = np.zeros((4, 3, 3), np.uint8)
        >>> trips[:, 0, 1] = 7
        >>> np.savez(file, od=trips)
        >>> od = jaxcast.series.read_od(file, names=("centre", "north", "south"))
        >>> od.pairs.shape, od.notes
        ((4, 9), ('2 zones without trips from it: north, south', '2 zones without trips to it: centre, south'))
    """
    path = Path(path)
    check_is_file(path, "a .npz or .npy")
    if path.suffix not in (".npz", ".npy"):
        raise InputError(f"expected trips between zones, .npz or .npy, got {shown(path)}")
    return trips_of(read_archive(path), key=key, names=names, missing=missing)


def trips_of(
    archive: Archive, *, key: str | None = None, names: Sequence[str] | None = None, missing: float | int | None = None
) -> ODData:
    """Returns the trips of an archive; see `read_od`.

    Args:
        archive: that was read.
        key: name of the array.
        names: of the zones.
        missing: the number that stands for a missing value.

    Raises:
        InputError: as `read_od` does.
    """
    path = archive.path
    if "format" in archive.arrays and key is None:
        key, trips = "data", _from_sparse(archive)
    else:
        key = archive.chosen(key, OD_KEYS, (2, 3))
        trips = archive.named(key)
    values = as_measured(path, key, trips, missing)
    if values.ndim == 2:
        zones = math.isqrt(values.shape[1])
        if zones**2 != values.shape[1]:
            raise InputError(
                f"{shown(path)}: expected a column for each pair of zones, a square number, got {values.shape[1]} in "
                f"{shown(repr(key))}; give (time, origin, destination)"
            )
        values = values.reshape(-1, zones, zones)
    if values.shape[1] != values.shape[2]:
        raise InputError(
            f"{shown(path)}: expected as many destinations as origins in {shown(repr(key))}, got shape "
            f"{values.shape}; give (time, origin, destination)"
        )
    if (negative := values < 0).any():
        at = tuple(int(k) for k in np.argwhere(negative)[0])
        raise InputError(
            f"{shown(path)}: expected trips that are not negative, got {values[at]:g} at time {at[0]} from zone "
            f"{at[1]} to zone {at[2]}; fix it, or name the number of missing values with missing="
        )
    zones = values.shape[1]
    given = archive.arrays.get("names") if names is None else list(names)
    called = tuple(map(str, range(zones))) if given is None else texts_of(path, "names", given, zones)
    return ODData(values, called, _notes(values, called))


def _notes(values: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """What is missing, and zones from or to which nobody travels."""
    from_each, to_each = np.nansum(values, 2), np.nansum(values, 1)
    return (
        *missing_notes(values),
        *zero_notes(from_each, names, "zone", "without trips from it"),
        *zero_notes(to_each, names, "zone", "without trips to it"),
    )


def _from_sparse(archive: Archive) -> np.ndarray:
    """Returns the matrix of `scipy.sparse.save_npz` in full; entries that are listed twice add up."""
    path = archive.path
    kind = archive.arrays["format"]
    kind = kind.item().decode() if kind.dtype.kind == "S" else str(kind)
    if kind not in ("csr", "csc", "coo"):
        raise InputError(f"{shown(path)}: expected a sparse matrix as csr, csc or coo, got {shown(kind)}; convert it")
    data, first, second, shape = (archive.named(name) for name in (COORDINATES if kind == "coo" else COMPRESSED)[:4])
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or (shape < 1).any():
        raise InputError(f"{shown(path)}: expected a sparse matrix (time, pair), got shape {shown(shape.tolist())}")
    length, pairs = map(int, shape)
    check_memory(length * pairs * data.dtype.itemsize, f"{shown(path)}: a matrix of shape {(length, pairs)}")
    if kind == "coo":
        rows, columns = first, second
    else:
        major = length if kind == "csr" else pairs
        _check_pointers(path, second, major, len(data))
        own = np.repeat(np.arange(major), np.diff(second))
        rows, columns = (own, first) if kind == "csr" else (first, own)
    for name, numbers, size in (("rows", rows, length), ("columns", columns, pairs)):
        if numbers.shape != data.shape or numbers.dtype.kind not in "iu" or ((numbers < 0) | (numbers >= size)).any():
            raise InputError(
                f"{shown(path)}: its {name} are not those of a sparse matrix {(length, pairs)}; write it again"
            )
    dense = np.zeros((length, pairs), data.dtype)
    np.add.at(dense, (rows, columns), data)
    return dense


def _check_pointers(path: Path, pointers: Any, major: int, count: int) -> None:
    whole = pointers.shape == (major + 1,) and pointers.dtype.kind in "iu"
    if not whole or pointers[0] != 0 or pointers[-1] != count or (np.diff(pointers.astype(np.int64)) < 0).any():
        raise InputError(f"{shown(path)}: its 'indptr' is not that of a sparse matrix; write it again")

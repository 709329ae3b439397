"""Tables in HDF5 as pandas writes them in its "fixed" format, read without pandas."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError, shown
from jaxcast.io.archives import Archive
from jaxcast.limits import check_memory

BROKEN_HDF5 = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError)
"""All that h5py was seen to raise on files that are cut off, overwritten or of other layouts."""


class Frame(NamedTuple):
    """A table of numbers.

    Args:
        values: Its cells, NaN where one is missing.
        columns: Names of the columns.
        dates: Those of the rows, or None where the rows have none.
    """

    values: Float[np.ndarray, "row column"]
    columns: tuple[str, ...]
    dates: np.ndarray | None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens an HDF5 file; errors within become one line."""
    try:
        import h5py
    except ImportError:
        raise InputError("HDF5 files need the package h5py, not installed; pip install 'jaxcast[graphs]'") from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except BROKEN_HDF5 as error:
        raise InputError(f"{shown(path)} cannot be read as HDF5 ({shown(error)}); write it again") from None


def read_frame(path: Path) -> Frame:
    """Reads the table of an HDF5 file that `DataFrame.to_hdf` wrote, such as metr-la.h5.

    Its "fixed" format keeps one group with `axis0` (columns), `axis1` (rows), and for each dtype
    the arrays `block0_items` (some of the columns) and `block0_values` (row, column).

    Args:
        path: The file.

    Returns:
        The table.

    Raises:
        InputError: without h5py, or for a file of another layout, with the names it holds.
    """
    with _opened(path) as file:
        inner = {name: item for name, item in file.items() if isinstance(item, Mapping)}
        groups = [name for name, item in inner.items() if "axis0" in item and "block0_values" in item]
        if len(groups) != 1:
            raise InputError(
                f"{shown(path)}: expected one table in pandas' fixed format, "
                f"found {shown(', '.join(file) or 'nothing')}"
                "; save it with DataFrame.to_hdf(format='fixed')"
            )
        group = file[groups[0]]
        columns = _texts(group["axis0"])
        rows = group["axis1"]
        values = np.full((_checked(path, rows).shape[0], len(columns)), np.nan)
        number = {name: k for k, name in enumerate(columns)}
        for block in sorted(name for name in group if name.startswith("block") and name.endswith("_values")):
            cells = _checked(path, group[block])
            if cells.dtype.kind not in "biuf":
                raise InputError(
                    f"{shown(path)}: expected numbers in {block}, got {cells.dtype}; leave other columns out"
                )
            values[:, [number[name] for name in _texts(group[block.replace("values", "items")])]] = cells[...]
        return Frame(values, columns, _dates(rows))


def read_datasets(path: Path) -> Archive:
    """Reads the arrays of an HDF5 file that are not within groups, such as those of TaxiBJ.

    Args:
        path: The file.

    Returns:
        The arrays by name.

    Raises:
        InputError: without h5py, or for a file that cannot be read.
    """
    with _opened(path) as file:
        arrays = {}
        for name in file:
            if not isinstance(file[name], Mapping) and file[name].dtype.kind in "biufS":  # a group is a mapping
                arrays[name] = _checked(path, file[name])[...]
        return Archive(path, arrays)


def _checked(path: Path, dataset: Any) -> Any:
    """Refuses a dataset that promises more than there is memory, before reading it."""
    check_memory(dataset.size * dataset.dtype.itemsize, f"{shown(path)}: an array of shape {dataset.shape}")
    return dataset


def _texts(dataset: Any) -> tuple[str, ...]:
    return tuple(text.decode() if isinstance(text, bytes) else str(text) for text in dataset[...].tolist())


def _dates(rows: Any) -> np.ndarray | None:
    kind = rows.attrs.get("kind", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if not kind.startswith("datetime64"):
        return None
    unit = kind.removeprefix("datetime64").strip("[]") or "ns"
    return np.asarray(rows[...].astype(f"datetime64[{unit}]"))

"""The layout of our zarr stores, and how they are made.

A store is in zarr format 3: `states` (trajectory, time, component) or (time, component) in chunks
that hold whole trajectories, coordinates `time` and `component`, and every setting as an attribute
of the group. One attribute, MARK, is the store's own: how far it is written. zarr and xarray are
imported when used.
"""

import json
import lzma
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcast.dynamics.trajectory_checks import StoredTrajectory
from jaxcast.errors import InputError, shown
from jaxcast.io.files import partial_path, unfinished, writing
from jaxcast.io.locks import Lock, is_held
from jaxcast.io.ownership import STORE_MARK, is_ours, note_written, refuse_replacing

if TYPE_CHECKING:
    import zarr

MARK = STORE_MARK
OUR_ARRAYS = ("states", "time", "component")
# An absent chunk reads as the fill value without a word, so every chunk is written, and counted
# when read.
WRITE_ALL = {"write_empty_chunks": True}
# All that zarr, its codecs and xarray were seen to raise on stores with files cut off, overwritten
# or missing.
BROKEN_STORE = (
    ValueError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    MemoryError,
    OverflowError,
    EOFError,
    ArithmeticError,
    zlib.error,
    lzma.LZMAError,
)


def require_zarr() -> None:
    """Refuses where the packages that read and write zarr are missing.

    Raises:
        InputError: naming the extra that brings them.
    """
    try:
        import xarray  # noqa: F401
        import zarr  # noqa: F401
    except ImportError:
        raise InputError(
            "zarr stores need the packages xarray and zarr, which are not installed; pip install 'jaxcast[storage]'"
        ) from None


@contextmanager
def quietly() -> Iterator[None]:
    """Silences warnings of zarr and xarray on what is meant here, such as metadata in format 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def create_store(
    path: Path, record: StoredTrajectory, shape: tuple[int, ...], chunks: tuple[int, ...], *, compress: bool = False
) -> None:
    """Makes a store with coordinates and attributes, and room for states.

    Args:
        path: The store.
        record: Its times, components and attributes; its states give the dtype.
        shape: Shape of the states.
        chunks: Shape of a chunk.
        compress: Whether to compress the states.

    Raises:
        InputError: for a store of that name that is not ours.
    """
    import zarr

    if os.path.lexists(path):
        if not is_ours(path):
            raise InputError(
                f"{shown(path)} is in the way and was not written by jaxcast; move it, or choose another name"
            )
        remove_store(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    times, states = record.trajectory
    layout: dict[str, Any] = dict(config=WRITE_ALL, compressors=None)
    with quietly():
        group = zarr.create_group(path, zarr_format=3, attributes=record.attributes | {MARK: {"complete": False}})
        group.create_array(
            "states",
            shape=shape,
            chunks=chunks,
            dtype=states.dtype,
            fill_value=np.nan,
            dimension_names=("trajectory", "time", "component")[-len(shape) :],
            attributes={"long_name": "state of the system, in its own units"},
            **layout | ({"compressors": "auto"} if compress else {}),
        )
        group.create_array(
            "time",
            data=np.asarray(times),
            chunks=times.shape,
            fill_value=np.nan,
            dimension_names=("time",),
            attributes={"units": record.time_unit},
            **layout,
        )
        names = group.create_array("component", shape=(shape[-1],), dtype=str, dimension_names=("component",), **layout)
        names[:] = np.asarray(record.components, dtype=object)


def open_states(path: Path) -> "zarr.Array[Any]":
    """Opens the states of our own store, to write to.

    Args:
        path: The store.

    Raises:
        InputError: for a store without them.
    """
    import zarr

    try:
        # Not kept in the store, and zarr ignores a config given to open_array.
        with zarr.config.set({"array.write_empty_chunks": True}):
            return zarr.open_array(path / "states", mode="r+")
    except BROKEN_STORE as error:
        raise InputError(
            f"{shown(path)} is not a whole zarr store ({shown(reason_of(error))}); delete it to start afresh"
        ) from None


def reason_of(error: BaseException) -> str:
    """Writes an error in one short line.

    Args:
        error: The error.
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def read_attributes(path: Path) -> dict[str, Any]:
    """Reads the attributes of a format 3 group.

    Args:
        path: The store.

    Returns:
        The attributes, {} where there is no group.

    Raises:
        InputError: for a file that is not a group's.
    """
    file = path / "zarr.json"
    try:
        attributes = json.loads(file.read_text())["attributes"] if file.exists() else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise InputError(f"{shown(file)} is not a zarr group's; delete {shown(path)} to start afresh") from None
    return attributes if isinstance(attributes, dict) else {}


def mark(path: Path, **entries: Any) -> None:
    """Records how far our own store is written.

    A process killed at any moment leaves the old record or the new one.

    Args:
        path: The store.
        entries: JSON values by name.
    """
    file = path / "zarr.json"
    group = json.loads(file.read_text())
    group["attributes"][MARK] = group["attributes"].get(MARK, {}) | entries
    partial = unfinished(file)
    partial.write_text(json.dumps(group, indent=2))
    os.replace(partial, file)


def finish(partial: Path, path: Path) -> None:
    """Consolidates a written store, marks it complete, and gives it its name.

    A store that had this name is removed after that.

    Args:
        partial: The written store.
        path: Its name.
    """
    import zarr

    with quietly():
        zarr.consolidate_metadata(partial)
    mark(partial, complete=True)
    old = path.with_name(f".{path.name}.jaxcast-old")
    note_written(path, partial)
    if os.path.lexists(path):
        _remove_old(old)
        os.rename(path, old)
    os.rename(partial, path)
    _remove_old(old)


def _remove_old(path: Path) -> None:
    """Removes a store that was replaced; what is not ours stays, and is refused."""
    if os.path.lexists(path):
        if not is_ours(path):
            raise InputError(f"{shown(path)} is in the way and was not written by jaxcast; move it")
        remove_store(path)


def remove_store(path: Path) -> None:
    """Removes a store of ours, its mark last: what a kill leaves of it is still known as ours.

    Args:
        path: The store.
    """
    marked = path / "zarr.json"
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry != marked:
            entry.unlink()
    marked.unlink(missing_ok=True)
    path.rmdir()


def save_zarr(path: Path, record: StoredTrajectory, *, overwrite: bool) -> None:
    """Writes a trajectory as a whole zarr store.

    Args:
        path: The store.
        record: The trajectory.
        overwrite: Whether to replace a store of that name that jaxcast wrote.

    Raises:
        InputError: for a store that may not be replaced, or an error of the disk.
    """
    require_zarr()
    partial, shape = partial_path(path), record.trajectory.states.shape
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = None if is_held(path) else Lock(path)
        try:
            refuse_replacing(path, overwrite=overwrite)
            if not overwrite and "sizes" in read_attributes(partial).get(MARK, {}):
                raise InputError(
                    f"{shown(partial)} is a run that is not finished; choose another name, or overwrite it "
                    "(--overwrite, overwrite=True)"
                )
            create_store(partial, record, shape, shape)
            open_states(partial)[:] = record.trajectory.states
            finish(partial, path)
        finally:
            if lock is not None:
                lock.release()

"""Reads one trajectory of a zarr store, ours or anyone's, by xarray; refuses a store that is cut off."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcast.dynamics.trajectory_checks import StoredTrajectory, default_components, stored
from jaxcast.errors import InputError, shown
from jaxcast.io.conventions import STATE_NAMES, TIME_NAMES, check_index
from jaxcast.io.zarr_store import BROKEN_STORE, MARK, OUR_ARRAYS, quietly, reason_of, require_zarr

if TYPE_CHECKING:
    import xarray
    import zarr


def load_zarr(path: Path, index: int, with_gaps: bool) -> StoredTrajectory:
    """Reads a trajectory from a zarr store.

    Args:
        path: The store.
        index: Which trajectory, where the store holds several.
        with_gaps: Whether NaN is a gap.

    Returns:
        The trajectory.

    Raises:
        InputError: for a store that is cut off or not finished, or has no times or no states.
    """
    require_zarr()
    import xarray
    import zarr

    try:
        with quietly():
            # Not the consolidated copy, so that metadata that is missing is missed.
            group = zarr.open_group(path, mode="r", use_consolidated=False)
            ours = _check_metadata(path, group)
            _check_blosc(path, group)
            # Without decoding times, "days" stay numbers.
            with xarray.open_zarr(path, chunks=None, decode_times=False) as dataset:
                return _read(path, group, dataset, index, ours, with_gaps)
    except InputError:
        raise
    except BROKEN_STORE as error:
        raise InputError(
            f"{shown(path)} is not a whole zarr store ({shown(reason_of(error))}); write it again, or copy it again"
        ) from None


def _check_metadata(path: Path, group: "zarr.Group") -> bool:
    bare = [file.name for file in path.iterdir() if file.is_dir() and file.name[0] != "." and file.name not in group]
    if bare:
        raise InputError(
            f"{shown(path)} is cut off: the metadata of {shown(', '.join(bare))} are missing; copy it again"
        )
    progress = group.attrs.get(MARK)
    if progress is None:
        return False
    if not (isinstance(progress, dict) and progress.get("complete") is True):
        raise InputError(f"{shown(path)} is not complete; run the command that writes it again; it resumes")
    if missing := [name for name in OUR_ARRAYS if name not in group]:
        raise InputError(
            f"{shown(path)} is cut off: expected the arrays {shown(', '.join(OUR_ARRAYS))}, {shown(missing)} "
            "missing; copy it again"
        )
    return True


def _read(
    path: Path, group: "zarr.Group", dataset: "xarray.Dataset", index: int, ours: bool, with_gaps: bool
) -> StoredTrajectory:
    time = next((name for name in TIME_NAMES if name in dataset.variables and dataset[name].ndim == 1), None)
    if time is None:
        raise InputError(
            f"{shown(path)}: expected a 1-D coordinate called {', '.join(TIME_NAMES)}, found {_listing(dataset)}; "
            "rename or add it"
        )
    time_dim = str(dataset[time].dims[0])
    names = _state_names(path, dataset, time, time_dim)
    trajectory_dim, state_dim = _other_dims(dataset[names[0]].dims, time_dim)
    _check_chunks(path, group, [time, *names, *([state_dim] if state_dim in dataset.variables else [])])
    check_index(path, index, dataset.sizes[trajectory_dim] if trajectory_dim else 1)
    picked = dataset[names].isel({trajectory_dim: index} if trajectory_dim else {})
    if state_dim is None:
        states, components = np.stack([picked[name].values for name in names], -1), tuple(names)
    else:
        states = picked[names[0]].transpose(time_dim, state_dim).values
        components = default_components(states.shape[1])
        if state_dim in dataset.variables:
            components = tuple(str(name) for name in dataset[state_dim].values)
    attributes = {name: value for name, value in group.attrs.items() if name != MARK} if ours else {}
    unit = str(dataset[time].attrs.get("units", ""))
    return stored(path, dataset[time].values, states, components, attributes, unit, with_gaps=with_gaps)


def _state_names(path: Path, dataset: "xarray.Dataset", time: str, time_dim: str) -> list[str]:
    """The variable that holds the states, or the several that hold a component each."""
    along = {
        str(name): len([dim for dim in values.dims if dim not in (time_dim, "trajectory")])
        for name, values in dataset.data_vars.items()
        if name != time and time_dim in values.dims and values.dtype.kind in "fiu" and values.ndim <= 3
    }
    fields = [name for name, num_dims in along.items() if num_dims]
    named = [name for name in STATE_NAMES if name in fields]
    if len(named) == 1 or len(fields) == 1:
        return (named if len(named) == 1 else fields)[:1]
    scalars = [name for name in along if name not in fields]
    alike = len({dataset[name].dims for name in scalars}) == 1
    if fields or not alike:
        raise InputError(
            f"{shown(path)}: expected one variable of states with the dimension {shown(repr(time_dim))} and one "
            f"more, or one variable for each component, found {_listing(dataset)}; drop or rename the others"
        )
    # A store without consolidated metadata keeps no order.
    return sorted(scalars)


def _other_dims(dims: tuple[Any, ...], time_dim: str) -> tuple[Any, Any]:
    """The dimensions, besides time, of the trajectory and of the state; None for one that is not there."""
    others = [dim for dim in dims if dim != time_dim]
    trajectory = "trajectory" if "trajectory" in others else others[0] if len(others) == 2 else None
    return trajectory, next((dim for dim in others if dim != trajectory), None)


def _listing(dataset: "xarray.Dataset") -> str:
    return ", ".join(f"{name} {values.dims}" for name, values in dataset.variables.items()) or "no variables"


def _check_chunks(path: Path, group: "zarr.Group", names: list[str]) -> None:
    import zarr

    for name in names:
        values = group[name]
        assert isinstance(values, zarr.Array)
        if values.nchunks_initialized < values.nchunks:
            raise InputError(
                f"{shown(path)} is cut off: expected {values.nchunks} chunks of {shown(repr(name))}, got "
                f"{values.nchunks_initialized}; copy it again (or write chunks that hold nothing but the fill value "
                "too: write_empty_chunks=True)"
            )


def _check_blosc(path: Path, group: "zarr.Group") -> None:
    """Refuses chunks that are cut off, which Blosc, alone among the codecs, fills with zeros."""
    for name, values in group.arrays():
        codecs = () if values.shards else values.compressors
        if not any(type(codec).__name__.startswith("Blosc") for codec in codecs):
            continue
        for file in (path / name).rglob("*"):
            if file.is_dir() or file.name[0] == "." or file.name == "zarr.json":
                continue
            with file.open("rb") as chunk:
                header = chunk.read(16)
            if int.from_bytes(header[12:], "little") != file.stat().st_size:
                raise InputError(
                    f"{shown(path)} is cut off: {shown(file.relative_to(path))} is too short; copy it again"
                )

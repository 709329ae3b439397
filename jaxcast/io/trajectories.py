"""Trajectories on disk: saved whole or not at all, loaded from our own files and other programs'."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jaxcast.arguments import checked
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import StoredTrajectory, default_components, stored
from jaxcast.errors import InputError, shown
from jaxcast.io.conventions import plain_attributes
from jaxcast.io.files import check_name, partial_path, whole_file
from jaxcast.io.flat_files import load_csv, load_npz, save_csv, save_npz
from jaxcast.io.ownership import refuse_replacing
from jaxcast.io.zarr_reader import load_zarr
from jaxcast.io.zarr_store import save_zarr

LOADERS = {".npz": load_npz, ".csv": load_csv, ".zarr": load_zarr}
SAVERS = {".npz": save_npz, ".csv": save_csv}


@checked
def save_trajectory(
    path: str | os.PathLike[str],
    trajectory: Trajectory,
    *,
    components: Sequence[str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    time_unit: str = "MTU",
    overwrite: bool = False,
) -> None:
    """Saves one trajectory, times (time,) and states (time, dim), to an .npz, .csv or .zarr file.

    Numbers are kept to the bit. The file gets its name when it is whole; until then it has a hidden
    name beside it. A file that is there already is replaced only with `overwrite`, and only where
    jaxcast wrote it.

    Args:
        path: The file; its suffix decides the format.
        trajectory: The trajectory.
        components: Names of the states' columns; u0, u1, ... by default.
        attributes: How the states were made: system, solver, h, dt, seed, versions. Any JSON
            values.
        time_unit: Unit of the times; MTU is the model time unit.
        overwrite: Whether to replace a file of that name that jaxcast wrote.

    Raises:
        InputError: for another suffix, a file that exists, a trajectory that could not be loaded
            again (see `load_trajectory`), attributes that JSON cannot hold, or an error of the
            disk.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> from jaxcast.io import load_trajectory, save_trajectory
        >>> trajectory = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "lorenz.csv"
        ...     save_trajectory(path, trajectory, components=("x", "y", "z"), attributes={"solver": "rk4", "h": 0.01})
        ...     load_trajectory(path).attributes
        {'solver': 'rk4', 'h': 0.01}
    """
    path = Path(path)
    _check_suffix(path)
    refuse_replacing(path, overwrite=overwrite)
    shape = trajectory.states.shape
    names = default_components(shape[-1]) if components is None else tuple(components)
    record = stored(path, *trajectory, names, plain_attributes(attributes), time_unit)
    if path.suffix == ".zarr":
        save_zarr(path, record, overwrite=overwrite)
        return
    with whole_file(path, partial(refuse_replacing, path, overwrite=overwrite)) as unfinished:
        SAVERS[path.suffix](unfinished, record)


@checked
def load_trajectory(path: str | os.PathLike[str], *, index: int = 0, with_gaps: bool = False) -> StoredTrajectory:
    """Loads one trajectory, times (time,) and states (time, dim), from an .npz, .csv or .zarr file.

    Files of other programs are read too:

    - .npz: a 1-D array called time, times or t, and one array (time, dim) or (trajectory, time,
      dim);
    - .csv: the column called time, times or t, else the first, and the others as states; a header
      is optional;
    - .zarr, as xarray writes it: a coordinate called time, times or t, and either one variable with
      the time's dimension, one more for the state and perhaps one in front for the trajectory, or a
      variable for each component (in alphabetical order).

    Args:
        path: The file; its suffix decides the format.
        index: Which trajectory, where the file holds several; of a zarr store only its chunk is
            read.
        with_gaps: Whether states may have gaps: NaN, or an empty field of a .csv.

    Returns:
        The trajectory, with the names of its components, its attributes and the unit of its times.

    Raises:
        InputError: for a file that is missing, broken or cut off; without times or states; with
            times that do not increase in even steps (to 1e-6), fewer than two samples, or states
            that are infinite, or NaN unless gaps are allowed; for an index out of range; for a zarr
            store where the packages that read it are not installed.

    Example:
        >>> import numpy as np, pathlib, tempfile
        >>> from jaxcast.io import load_trajectory
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "foreign.npz"
        ...     np.savez(path, t=np.arange(4) * 0.5, temperature=np.ones((4, 2)))
        ...     stored = load_trajectory(path)
        >>> stored.trajectory.states.shape, stored.components
        ((4, 2), ('u0', 'u1'))
    """
    path = Path(path)
    _check_suffix(path)
    if not path.exists():
        begun = partial_path(path)
        hint = f"{begun} is not finished: run the command that writes it again" if begun.exists() else "check the name"
        raise InputError(f"{shown(path)} does not exist, expected a file ending in {shown(', '.join(LOADERS))}; {hint}")
    return LOADERS[path.suffix](path, index, with_gaps)


def _check_suffix(path: Path) -> None:
    check_name(path)
    if path.suffix not in LOADERS:
        raise InputError(
            f"expected a file ending in {shown(', '.join(LOADERS))}, got {shown(path)}"
            + (
                "; it is not finished: run the command that writes it again"
                if path.suffix == ".partial"
                else "; rename or convert it"
            )
        )

"""Checks of trajectories: times, components, finite values."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError, counted, shown
from jaxcast.sampling import SPACING_TOLERANCE, rounding_of
from jaxcast.tracing import is_traced


class StoredTrajectory(NamedTuple):
    """One trajectory from a file, and how it was made.

    Args:
        trajectory: NumPy arrays in the file's dtype.
        components: the name of each column of the states.
        attributes: the settings saved with the states, as JSON returns them (tuples are lists);
            empty for a file of another program.
        time_unit: empty if the file does not say.
    """

    trajectory: Trajectory
    components: tuple[str, ...]
    attributes: dict[str, Any]
    time_unit: str = ""


def array_row(i: int) -> str:
    """Names sample i of a file of arrays, for a message."""
    return f"row {i} (counted from 0)"


def stored(
    path: Path | str,
    times: Any,
    states: Any,
    components: Sequence[str],
    attributes: Mapping[str, Any] | None = None,
    time_unit: str = "",
    row: Callable[[int], str] = array_row,
    *,
    with_gaps: bool = False,
) -> StoredTrajectory:
    """Checks a trajectory that was read from a file or will be written to one.

    Args:
        path: of the file, for messages.
        times: times of the samples, (time,).
        states: states at these times, (time, dim).
        components: the name of each column of the states.
        attributes: the settings saved with the states.
        time_unit: of the times.
        row: names a sample, for messages.
        with_gaps: whether NaN in the states is a gap; else it is refused.

    Returns:
        The trajectory.

    Raises:
        InputError: unless times are finite, increasing and evenly spaced, and states finite.
    """
    times, states = as_floats(path, "times", times), as_floats(path, "states", states)
    if times.ndim != 1 or states.ndim != 2 or len(times) != len(states):
        raise InputError(
            f"{shown(path)}: expected times (time,) and states (time, dim) of one trajectory, "
            f"got shapes {times.shape} and {states.shape}; pick or reshape one"
        )
    check_times(path, times, row)
    check_components(path, components, states.shape[1])
    bad = np.isinf(states) if with_gaps else ~np.isfinite(states)
    if bad.any():
        i, k = np.argwhere(bad)[0]
        are = "infinite" if with_gaps else "NaN or infinite"
        raise InputError(
            f"{shown(path)}: states must be finite, got {bad.sum()} of {bad.size} that are {are}, the first at "
            f"{row(int(i))}, {shown(repr(components[k]))}; cut the series there, or fill the gap"
        )
    return StoredTrajectory(Trajectory(times, states), tuple(components), dict(attributes or {}), time_unit)


def as_floats(path: Path | str, name: str, values: Any) -> Any:
    """Converts values to a floating-point array in the machine's byte order.

    Args:
        path: of the file, for messages.
        name: of the values, for messages.
        values: integers become float64; floats keep their precision.

    Returns:
        The array.

    Raises:
        InputError: for anything else.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.float64)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise InputError(
            f"{shown(path)}: {name} must be float16, float32 or float64, got {array.dtype}; convert them first"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_times(path: Path | str, times: Any, row: Callable[[int], str] = array_row) -> None:
    """Refuses times without one recording interval.

    Args:
        path: of the file, for messages.
        times: times of the samples, (time,).
        row: names a sample, for messages.

    Raises:
        InputError: unless there are two or more, finite, increasing and evenly spaced.
    """
    if len(times) < 2:
        raise InputError(f"{shown(path)}: expected at least two samples, got {len(times)}; record more")
    if not np.isfinite(times).all():
        i = int(np.argmin(np.isfinite(times)))
        raise InputError(f"{shown(path)}: times must be finite, got {times[i]} at {row(i)}; drop that sample")
    steps = np.diff(times.astype(np.float64))
    if (steps <= 0).any():
        i = int(np.argmax(steps <= 0))
        raise InputError(
            f"{shown(path)}: times must increase, got {times[i + 1]} after {times[i]} at {row(i + 1)}; "
            "sort the samples and drop repeated ones"
        )
    dt = float(np.median(steps))
    uneven = np.abs(steps - dt) > SPACING_TOLERANCE * dt + rounding_of(times)
    if uneven.any():
        i = int(np.argmax(uneven))
        raise InputError(
            f"{shown(path)}: times must be evenly spaced, got a step of {steps[i]:.9g} before {row(i + 1)} where "
            f"most are {dt:.9g}; interpolate to a regular grid, or cut the series at the gap"
        )


def check_components(path: Path | str, components: Sequence[str], dim: int) -> None:
    """Refuses names that do not match the columns of the states one to one.

    Args:
        path: of the file, for messages.
        components: the names.
        dim: the number of columns.

    Raises:
        InputError: unless there is one name for each column, all different.
    """
    if len(components) != dim or len(set(components)) != dim or "" in components:
        raise InputError(
            f"{shown(path)}: expected {dim} different component names, one for each column of the states, "
            f"got {shown(list(components))}; name each column"
        )


def default_components(dim: int) -> tuple[str, ...]:
    """Names components u0, u1, ...

    Args:
        dim: how many.

    Returns:
        The names.
    """
    return tuple(f"u{i}" for i in range(dim))


def check_trajectory(trajectory: Trajectory) -> None:
    """Refuses anything but one trajectory of finite numbers; traced numbers pass.

    Args:
        trajectory: what the user gave.

    Raises:
        InputError: for other shapes, or with the first bad sample.
    """
    _check_numbers(trajectory, np.isfinite, "NaN or infinity")


def _check_numbers(trajectory: Trajectory, is_good: Callable[[Any], Any], others: str) -> None:
    if not isinstance(trajectory, Trajectory):
        raise InputError(f"expected a Trajectory(times, states), got {type(trajectory).__name__}")
    shapes = np.shape(trajectory.times), np.shape(trajectory.states)
    if len(shapes[1]) != 2 or shapes[0] != shapes[1][:1]:
        raise InputError(
            f"expected times (time,) and states (time, dim) of one trajectory, got shapes {shapes[0]} and {shapes[1]}; "
            "pick or reshape one"
        )
    if is_traced(trajectory.states):
        return
    bad = np.flatnonzero(~is_good(np.asarray(trajectory.states)).all(1))
    if bad.size:
        raise InputError(
            f"the trajectory must be finite, got {others} in {counted(bad.size, 'sample')}, first in {bad[0]} (counted "
            "from 0); cut the series there, or fill the gap"
        )


def check_trajectory_with_gaps(trajectory: Trajectory) -> None:
    """Refuses anything but a trajectory of finite numbers and of NaN, where nothing is known.

    Args:
        trajectory: what the user gave.

    Raises:
        InputError: with the first sample that is infinite, or where all is NaN.
    """
    _check_numbers(trajectory, lambda states: ~np.isinf(states), "infinity")
    states = trajectory.states
    if not is_traced(states) and np.isnan(states).all():
        raise InputError(f"the trajectory must hold numbers, got NaN in all of {len(states)} samples")

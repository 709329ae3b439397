"""Names and attributes that make the arrays in a file a trajectory, in every format."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcast.dynamics.trajectory_checks import (
    StoredTrajectory,
    default_components,
)
from jaxcast.errors import InputError, shown

TIME_NAMES = ("time", "times", "t")
STATE_NAMES = ("states", "state", "u", "x", "y", "values", "data")


def in_order(stored: StoredTrajectory, names: Sequence[str], path: Path | str, whose: str) -> StoredTrajectory:
    """Puts the columns of a file in the order of some names.

    Args:
        stored: Trajectory of the file.
        names: Names in the order wanted. Where these or the file's are the default ones, columns
            are taken as they stand.
        path: The file, for the message.
        whose: What has these names, for the message, such as "the pool was trained on".

    Returns:
        The trajectory with its columns in that order.

    Raises:
        InputError: where the file has other names.
    """
    have, want = stored.components, tuple(names)
    if have == want:
        return stored
    if sorted(have) != sorted(want):
        if len(have) == len(want) and default_components(len(have)) in (have, want):
            return stored
        raise InputError(
            f"{shown(path)} has {len(have)} components ({shown(', '.join(have))}), {whose} {len(want)} "
            f"({shown(', '.join(want))}); give a file with the same names, or rename its columns"
        )
    states = stored.trajectory.states[:, [have.index(name) for name in want]]
    return stored._replace(trajectory=stored.trajectory._replace(states=states), components=want)


def check_index(path: Path, index: int, num_trajectories: int) -> None:
    """Checks the index of a trajectory in a file.

    Args:
        path: The file, for the message.
        index: The index.
        num_trajectories: Trajectories in the file.

    Raises:
        InputError: for an index out of range.
    """
    if not 0 <= index < num_trajectories:
        raise InputError(
            f"{shown(path)} holds {num_trajectories} trajectories, got index {index}; choose one of 0 to "
            f"{num_trajectories - 1}"
        )


def plain_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns attributes as JSON gives them back, so that read ones equal those compared with.

    Args:
        attributes: Attributes by name.

    Raises:
        InputError: for a value that JSON cannot hold.
    """
    plain = {}
    for name, value in (attributes or {}).items():
        try:
            # Numbers of numpy and JAX know how to become Python's.
            plain[str(name)] = json.loads(json.dumps(value, allow_nan=False, default=lambda x: x.tolist()))
        except (TypeError, ValueError, AttributeError):
            raise InputError(
                f"attribute {shown(repr(name))} must be text, finite numbers, or lists and dictionaries of those, "
                f"got {type(value).__name__}; convert it with str() or leave it out"
            ) from None
    return plain

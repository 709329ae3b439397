"""What makes the arrays in a file a trajectory, whichever format they are kept in."""

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
        stored: what the file holds.
        names: the names in the order that is wanted. Where these or the file's are the default ones, which only count, columns
            are taken as they stand.
        path: of the file.
        whose: what has these names, for the message, such as "the pool was trained on".

    Returns:
        The record with its columns in that order.

    Raises:
        InputError: where the names are not the file's.
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
    if not 0 <= index < num_trajectories:
        raise InputError(
            f"{shown(path)} holds {num_trajectories} trajectories, got index {index}; choose one of 0 to {num_trajectories - 1}"
        )


def plain_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The attributes as JSON gives them back, so that what is read equals what was compared.

    Raises:
        InputError: for a value that JSON has no form for.
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

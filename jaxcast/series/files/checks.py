"""Checks of the numbers in files of sensors, grids and trips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError, counted, shown
from jaxcast.io.tables import LARGEST

ZERO = "with 0 at all times"


def as_measured(path: Path, key: str, array: np.ndarray, missing: float | int | None) -> Float[np.ndarray, "..."]:
    """Returns the numbers of a file as floats, NaN where one is missing.

    Args:
        path: The file, for a message.
        key: Name of the array, for a message.
        array: Its numbers; short whole numbers become float32, others float64.
        missing: The number that stands for a missing value, if there is one.

    Raises:
        InputError: for an empty array, and for infinite numbers.
    """
    if not array.size:
        raise InputError(f"{shown(path)}: {shown(repr(key))} is empty, shape {array.shape}; write it again")
    values = array.astype(np.result_type(array.dtype, np.float32))
    largest = min(LARGEST, float(np.finfo(values.dtype).max))
    if (beyond := np.abs(values) > largest).any():
        at = tuple(int(k) for k in np.argwhere(beyond)[0])
        raise InputError(
            f"{shown(path)}: expected numbers of at most {largest:g} in {shown(repr(key))}, got {values[at]} at {at}; "
            "write NaN where a value is missing"
        )
    if missing is not None:
        values[values == missing] = np.nan
    return values


def check_weights(where: str, weights: np.ndarray, names: Sequence[str]) -> Float[np.ndarray, "node node"]:
    """Returns the weights of a graph as float64.

    Args:
        where: File and key, for a message.
        weights: What the file holds.
        names: of the nodes.

    Raises:
        InputError: for weights of other nodes, negative or not finite, with the first pair.
    """
    count = len(names)
    if weights.shape != (count, count):
        raise InputError(
            f"{where}: expected weights between the {counted(count, 'node')} of the values, shape {(count, count)}, "
            f"got {weights.shape}; give one row and one column for each node, in the order of the values"
        )
    weights = weights.astype(float)
    if (bad := ~(np.isfinite(weights) & (weights >= 0))).any():
        i, j = np.argwhere(bad)[0]
        raise InputError(
            f"{where}: expected finite weights that are not negative, got {weights[i, j]:g} between "
            f"{shown(repr(names[i]))} and {shown(repr(names[j]))}; write 0 where there is no edge"
        )
    return weights


def missing_notes(values: np.ndarray) -> tuple[str, ...]:
    """Describes how many values are missing.

    Args:
        values: NaN where one is missing.

    Returns:
        One line, or none.
    """
    count = int(np.isnan(values).sum())
    return (f"{counted(count, 'value')} missing ({100 * count / values.size:.2g} %)",) if count else ()


def zero_notes(values: np.ndarray, names: Sequence[str], what: str, how: str) -> tuple[str, ...]:
    """Lists the nodes without any value, and those that are 0 at all times.

    Args:
        values: (time, node) or (time, node, feature).
        names: of the nodes.
        what: a node is called, such as "sensor".
        how: to say that one is 0 at all times.

    Returns:
        One line for each of both.
    """
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    unknown, zero = np.isnan(values).all(axes), ((values == 0) | np.isnan(values)).all(axes)
    notes = []
    for found, are in ((unknown, "without any value"), (zero & ~unknown, how)):
        if found.any():
            listed = [names[k] for k in np.flatnonzero(found).tolist()]
            more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
            notes.append(f"{counted(len(listed), what)} {are}: {shown(', '.join(listed[:5]))}{more}")
    return tuple(notes)


def texts_of(path: Path, key: str, array: Any, count: int) -> tuple[str, ...]:
    """Reads the names of nodes from an array of text or whole numbers.

    Args:
        path: The file, for a message.
        key: Name of the array, for a message.
        array: What the file holds.
        count: How many nodes there are.

    Raises:
        InputError: unless there is a different name for each.
    """
    names = tuple(text.decode() if isinstance(text, bytes) else str(text) for text in np.ravel(array).tolist())
    if len(names) != count or len(set(names)) < count:
        raise InputError(
            f"{shown(path)}: expected {counted(count, 'different name')} in {shown(repr(key))}, got {len(set(names))}; "
            "name each node once"
        )
    return names

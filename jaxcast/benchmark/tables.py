"""Forecasts in a table, for tools that write no NumPy arrays."""

from pathlib import Path

import numpy as np

from jaxcast.errors import InputError, counted, shown
from jaxcast.io.tables import Columns, number_in, read_columns

AXES = {"truth": 0, "window": 0, "lead": 1}
"""Columns that number the rows, and the first number of each."""


def forecasts_in_table(path: Path) -> np.ndarray:
    """Reads forecasts from a table with a row for each window and lead.

    Args:
        path: a .csv with the columns truth (which may be left out for the first truth alone),
            window, both counted from 0, and lead, counted from 1. The others are the components,
            in their order. An empty cell, NaN and infinity are failures.

    Returns:
        The forecasts, (truth, window, lead, dim).

    Raises:
        InputError: for a table without these columns, rows that are missing or given twice, or text
            that is not a number.
    """
    columns = read_columns(path)
    missing = [name for name in ("window", "lead") if name not in columns.by_name]
    components = [name for name in columns.by_name if name not in AXES]
    if missing or not components:
        raise InputError(
            f"{shown(path)} must have columns window, lead and one for each component, got "
            f"{shown(', '.join(columns.by_name))}"
        )
    num_rows = len(columns.by_name["window"])
    places = [
        _places(columns, name, first) if name in columns.by_name else np.zeros(num_rows, int)
        for name, first in AXES.items()
    ]
    shape = tuple(int(place.max()) + 1 for place in places)
    counts = np.zeros(shape, int) if np.prod(shape, dtype=float) <= 2 * num_rows else None
    if counts is not None:
        np.add.at(counts, tuple(places), 1)
    if counts is None or (counts != 1).any():
        sizes = [counted(size, name) for size, name in zip(shape, AXES, strict=True)]
        raise InputError(
            f"{shown(path)} must have one row for each window and lead, for {sizes[0]}, {sizes[1]} (counted from 0) "
            f"and {sizes[2]} (from 1), got {counted(num_rows, 'row')}{_first_fault(counts)}; add what is missing, as "
            "NaN where there is no forecast, and remove duplicates"
        )
    forecasts = np.empty((*shape, len(components)))
    forecasts[tuple(places)] = np.stack([_numbers(columns, name) for name in components], -1)
    return forecasts


def _first_fault(counts: np.ndarray | None) -> str:
    """Returns which row is missing or given twice, where not most of them are missing."""
    if counts is None:
        return ""
    place = np.argwhere(counts != 1)[0]
    numbers = ", ".join(f"{name} {at + first}" for at, (name, first) in zip(place, AXES.items(), strict=True))
    return f", {counts[tuple(place)] or 'none'} of them for {numbers}"


def _places(columns: Columns, name: str, first: int) -> np.ndarray:
    numbers = _numbers(columns, name)
    bad = np.flatnonzero(~((numbers >= first) & (numbers == np.floor(numbers)) & (numbers < 1e9)))
    if bad.size:
        raise InputError(
            f"{columns.where(int(bad[0]))}: {name} must be a whole number from {first}, got {numbers[bad[0]]:g}"
        )
    return numbers.astype(int) - first


def _numbers(columns: Columns, name: str) -> np.ndarray:
    found = [number_in(text) for text in columns.by_name[name]]
    if None in found:
        row = found.index(None)
        raise InputError(
            f"{columns.where(row)}: expected a number in column {shown(repr(name))}, got "
            f"{shown(repr(columns.by_name[name][row]), 60)}"
        )
    return np.asarray(found, float)

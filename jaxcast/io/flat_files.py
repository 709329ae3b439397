"""One trajectory in one file: .npz archives and .csv tables, ours and those of other programs."""

import contextlib
import csv
import json
import os
from array import array
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.dynamics.trajectory_checks import StoredTrajectory, default_components, stored
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import read_archive
from jaxcast.io.conventions import STATE_NAMES, TIME_NAMES, check_index
from jaxcast.io.reading import parse_json
from jaxcast.io.table_text import encoding_of, separator_in


def save_npz(path: Path, record: StoredTrajectory) -> None:
    """Writes a trajectory as an .npz archive.

    Args:
        path: The file.
        record: The trajectory.
    """
    with path.open("wb") as file:
        np.savez(
            file,
            times=record.trajectory.times,
            states=record.trajectory.states,
            components=np.asarray(record.components),
            attributes=np.asarray(json.dumps(record.attributes)),
            time_unit=np.asarray(record.time_unit),
        )


def load_npz(path: Path, index: int, with_gaps: bool) -> StoredTrajectory:
    """Reads a trajectory from an .npz archive, ours or another program's.

    Args:
        path: The file.
        index: Which trajectory, where the file holds several.
        with_gaps: Whether NaN is a gap.

    Returns:
        The trajectory.

    Raises:
        InputError: for a file that is cut off, or has no times or no states.
    """
    arrays = read_archive(path).arrays
    found = [name for name in TIME_NAMES if name in arrays and arrays[name].ndim == 1]
    if len(found) != 1:
        raise InputError(
            f"{shown(path)}: expected one array of times (time,) called {', '.join(TIME_NAMES)}, "
            f"found {len(found)} among {_listing(arrays)}; rename or add it"
        )
    times = arrays[found[0]]
    states = arrays[_states_name(path, arrays, len(times))]
    if states.ndim == 3:
        check_index(path, index, len(states))
        states = states[index]
    else:
        check_index(path, index, 1)
    components = default_components(states.shape[1])
    names = arrays.get("components")
    if names is not None and names.dtype.kind == "U" and names.shape == states.shape[1:]:
        components = tuple(str(name) for name in names)
    return stored(path, times, states, components, *_settings_of(arrays), with_gaps=with_gaps)


def _states_name(path: Path, arrays: dict[str, Any], num_samples: int) -> str:
    fits = [
        name
        for name, values in arrays.items()
        if values.dtype.kind in "fiu" and values.ndim in (2, 3) and values.shape[-2] == num_samples
    ]
    named = [name for name in STATE_NAMES if name in fits]
    if 1 not in (len(named), len(fits)):
        raise InputError(
            f"{shown(path)}: expected one array of states (time, dim) or (trajectory, time, dim) with time = "
            f"{num_samples}, found {len(fits)} among {_listing(arrays)}; transpose it, or call it states"
        )
    return (named if len(named) == 1 else fits)[0]


def _listing(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{name} {values.shape}" for name, values in arrays.items()) or "no arrays"


def _settings_of(arrays: dict[str, Any]) -> tuple[dict[str, Any], str]:
    try:
        attributes = parse_json(str(arrays["attributes"]))
        return (attributes, str(arrays["time_unit"])) if isinstance(attributes, dict) else ({}, "")
    except (KeyError, ValueError):
        return {}, ""


def save_csv(path: Path, record: StoredTrajectory) -> None:
    """Writes a trajectory as a .csv table, with its attributes in a first line of comment.

    Args:
        path: The file.
        record: The trajectory.
    """
    times, states = record.trajectory
    # The number of samples tells a table that is cut off at the end of a line from a whole one.
    note = dict(
        attributes=record.attributes,
        time_unit=record.time_unit,
        num_samples=len(times),
        dtypes=[str(times.dtype), str(states.dtype)],
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {json.dumps(note)}\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["time", *record.components])
        table.writerows(np.column_stack([times, states]).tolist())


class _Table(NamedTuple):
    names: list[str] | None
    values: Any
    first_line: int
    note: dict[str, Any] | None


def load_csv(path: Path, index: int, with_gaps: bool) -> StoredTrajectory:
    """Reads a trajectory from a .csv table, ours or another program's.

    Args:
        path: The file.
        index: 0, as a table holds one trajectory.
        with_gaps: Whether NaN or an empty field is a gap.

    Returns:
        The trajectory.

    Raises:
        InputError: for a table that is cut off or cannot be read, with the line.
    """
    check_index(path, index, 1)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = _read_table(path, file, with_gaps)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(_why_unread(path, error)) from None
    time, components = _columns(path, table)
    times, states = table.values[:, time], np.delete(table.values, time, 1)
    attributes, time_unit = {}, ""
    if table.note is not None:
        _check_whole(path, table.note, len(times))
        times, states = (x.astype(kind) for x, kind in zip((times, states), table.note["dtypes"], strict=True))
        attributes, time_unit = table.note["attributes"], table.note["time_unit"]
    named = lambda i: f"line {table.first_line + i}"  # noqa: E731
    return stored(path, times, states, components, attributes, time_unit, named, with_gaps=with_gaps)


def _why_unread(path: Path, error: Exception) -> str:
    """Explains an error of the reader: other bytes, NULs or quotes out of place."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if is_what := encoding_of(file.read(1000)):
            return f"{shown(path)}: expected text in UTF-8, got {is_what}; save it as a CSV in UTF-8"
    if isinstance(error, UnicodeDecodeError):
        return (
            f"{shown(path)}: expected text in UTF-8, got another encoding, such as Latin-1; save it as a CSV in UTF-8"
        )
    return f"{shown(path)} cannot be read as a table ({shown(error)}); write it again, or copy it again"


def _check_separator(path: Path, first: list[str]) -> None:
    """Raises InputError for a first line that commas do not separate."""
    line = first[0].strip() if len(first) == 1 else ""
    is_blank = len(line.split()) > 1 and _is_numbers(line.split())
    if name := separator_in(line) or ("blanks" if is_blank else ""):
        raise InputError(
            f"{shown(path)}: its columns are separated by {name}, expected commas; save it with commas, and points as "
            "decimal marks"
        )


def _read_table(path: Path, lines: Iterator[str], with_gaps: bool) -> _Table:
    note, num_comments, line = None, 0, next(lines, "")
    while line.startswith("#"):
        note, num_comments, line = note or _note(line), num_comments + 1, next(lines, "")
    rows = csv.reader(chain([line], lines))
    first = next(rows, [])
    _check_separator(path, first)
    # Only states may be missing: where a time would stand, an empty field is a name that an index lacks.
    is_data = _is_numbers(first[:1]) and _is_numbers(first[1:], with_gaps)
    names = None if is_data else [name.strip() for name in first]
    first_line = num_comments + (1 if names is None else rows.line_num + 1)
    values, gap = array("d"), 0
    number: Callable[[str], float] = _number_or_gap if with_gaps else float
    for row in rows if names is not None else chain([first], rows):
        line_number = num_comments + rows.line_num
        if not row:  # blank lines are common at the end, and nowhere else
            gap = gap or line_number
            continue
        if gap or len(row) != len(first):
            came = f"line {gap} is blank" if gap else f"line {line_number} has {len(row)}"
            raise InputError(f"{shown(path)}: expected {len(first)} columns in every line, {came}; fix or drop it")
        try:
            if not (joined := "".join(row)).isascii() or "_" in joined:  # float takes 1_234 and digits of all scripts
                raise ValueError
            values.extend(map(number, row))
        except ValueError:
            if "\0" in joined:
                raise csv.Error("it holds NUL characters") from None
            k = next(k for k, text in enumerate(row) if not _is_numbers([text], with_gaps))
            column = f"column {k + 1}" if names is None else f"column '{shown(names[k], 40)}'"
            raise InputError(
                f"{shown(path)}: expected a number in line {line_number}, {column}, got '{shown(row[k], 40)}'; fix or "
                "drop that line" + ("; a table with dates is for jaxcast series" if row[k][4:5] == "-" else "")
            ) from None
    return _Table(names, np.asarray(values).reshape(-1, max(1, len(first))), first_line, note)


def _number_or_gap(text: str) -> float:
    return float(text.strip() or "nan")


def _is_numbers(texts: list[str], with_gaps: bool = False) -> bool:
    number: Callable[[str], float] = _number_or_gap if with_gaps else float
    try:
        return all(number(text) is not None and text.isascii() and "_" not in text for text in texts)
    except ValueError:
        return False


def _note(comment: str) -> dict[str, Any] | None:
    """The settings in our own comment line, None in another's."""
    try:
        note = parse_json(comment[1:])
        kinds = dict(attributes=dict, time_unit=str, num_samples=int, dtypes=list)
        ours = note.keys() == kinds.keys() and all(isinstance(note[name], kind) for name, kind in kinds.items())
        return note if ours and all(np.dtype(kind).kind == "f" for kind in note["dtypes"]) else None
    except (ValueError, TypeError, AttributeError):
        return None


def _columns(path: Path, table: _Table) -> tuple[int, tuple[str, ...]]:
    """Returns which column is time, and the names of the others."""
    names, num_columns = table.names, table.values.shape[1]
    if num_columns < 2:
        raise InputError(
            f"{shown(path)}: expected a column of times and one or more of states, separated by commas, "
            f"got {num_columns} column; write commas between the columns"
        )
    if names is None:
        return 0, default_components(num_columns - 1)
    found = [names.index(name) for name in TIME_NAMES if name in names]
    time = found[0] if found else 0
    return time, tuple(name for k, name in enumerate(names) if k != time)


def _check_whole(path: Path, note: dict[str, Any], num_samples: int) -> None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        ended = file.read() == b"\n"
    if not ended or num_samples != note["num_samples"]:
        raise InputError(
            f"{shown(path)} is cut off: expected {note['num_samples']} lines of samples, got {num_samples}"
            f"{'' if ended else ', the last one not ended'}; copy it again, or delete its first line to use it as it is"
        )

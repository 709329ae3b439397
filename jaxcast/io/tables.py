"""Columns of a .csv or .parquet table, and what their cells mean; errors say where."""

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError, shown
from jaxcast.io.dates import Dates, are_dates, dates_in
from jaxcast.io.table_text import encoding_of, separator_in


@contextmanager
def without_reports() -> Iterator[None]:
    """Silences the pages that the reader of a damaged file writes to standard error."""
    try:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # it is closed already
        yield
        return
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def polars() -> ModuleType:
    """Returns the package that reads tables.

    Raises:
        InputError: where it is not installed.
    """
    try:
        import polars
    except ImportError:
        raise InputError("tables of a hub and .parquet files need polars: pip install 'jaxcast[hub]'") from None
    return polars


MISSING = {"", "na", "nan", "null", "none"}
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
ZIPPED = ".csv.gz"
LARGEST = 1e100
"""Values beyond this leave no room for their squares."""


class Columns(NamedTuple):
    """The columns of a table.

    Args:
        by_name: Texts of each column by its name.
        where: Function from a row to its name in messages.
        numbers: Columns that the file keeps as numbers.
    """

    by_name: dict[str, list[str]]
    where: Callable[[int], str]
    numbers: dict[str, np.ndarray]


def read_columns(
    path: Path, *, has_index: bool = False, unnamed: Sequence[str] = (), num_rows: int | None = None
) -> Columns:
    """Reads the columns of a table.

    Args:
        path: a .csv, a .csv.gz or a .parquet.
        has_index: whether the first column of a .csv may have no name, as pandas writes an index.
        unnamed: names of the columns where a .csv has no header: its first line holds as many
            numbers.
        num_rows: how many rows a .csv without a header has; by default any number.

    Returns:
        Its columns, which hold at least one row.

    Raises:
        InputError: for a file that is missing, empty or no table.
    """
    if path.suffix not in (".csv", ".parquet") and not path.name.endswith(ZIPPED):
        raise InputError(f"expected a table of series, .csv or .parquet, got {shown(path)}")
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        raise InputError(f"there is no table {shown(path)}; give a .csv or .parquet")
    of_csv = partial(_read_csv, has_index=has_index, unnamed=tuple(unnamed), num_rows=num_rows)
    columns = _read_parquet(path) if path.suffix == ".parquet" else of_csv(path)
    if not columns.by_name or not len(next(iter(columns.by_name.values()))):
        raise InputError(f"{shown(path)} holds no rows; give a header and rows below it")
    return columns


def _read_csv(path: Path, has_index: bool, unnamed: tuple[str, ...], num_rows: int | None) -> Columns:
    table = list(_lines(path, _text(path)))
    while table and not table[-1]:
        table.pop()
    if not table:
        return Columns({}, str, {})
    if _lacks_header(table, unnamed, num_rows):
        table.insert(0, list(unnamed))
        first_line = 1
    else:
        first_line = 2
    header, *rows = table
    header = _header(header, path, has_index)
    if len(header) == 1:
        _check_separator(header[0], path)
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"{shown(path)}: expected {len(header)} columns in every line, line {i + first_line} has {len(row)}; "
                "fix that line"
            )
    texts = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in header]
    return Columns(dict(zip(header, texts, strict=True)), lambda i: f"{shown(path)}, line {i + first_line}", {})


def _lacks_header(table: list[list[str]], unnamed: tuple[str, ...], num_rows: int | None) -> bool:
    """Whether the first line holds numbers of as many columns as a table without a header has."""
    first = [cell.strip() for cell in table[0]]
    return (
        len(first) == len(unnamed)
        and num_rows in (None, len(table))
        and {*first} != {*unnamed}
        and all(NUMBER.fullmatch(cell) for cell in first)
    )


def _text(path: Path) -> str:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.name.endswith(ZIPPED) else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{shown(path)} cannot be unpacked ({shown(error)}); write it again") from None
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read ({error.strerror}); give a .csv that you can read") from None
    encoding = encoding_of(raw)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        encoding = encoding or "text in another encoding, such as Latin-1"
        raise InputError(
            f"{shown(path)}, line {line}: expected text in UTF-8, got {encoding}; save it as a CSV in UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        cause = f"expected text in UTF-8, got {encoding}" if encoding else "there is a NUL character"
        raise InputError(f"{shown(path)}, line {line}: {cause}; save it as a CSV in UTF-8")
    return text


def _lines(path: Path, text: str) -> Any:
    """The cells of each line; a cell that holds a line break is a quote that was not closed."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{shown(path)}, line {reader.line_num}: a quote is not closed, or out of place ({shown(error)}); "
                "fix the quotes"
            ) from None
        if any("\n" in cell or "\r" in cell for cell in row):
            raise InputError(
                f"{shown(path)}, line {reader.line_num}: a quoted cell goes over several lines; close its quote"
            )
        yield row


def _header(header: list[str], path: Path, has_index: bool = False) -> list[str]:
    header = [name.strip() for name in header]
    if len(set(header)) < len(header) or "" in header[int(has_index) :]:
        raise InputError(
            f"{shown(path)}: expected a different name for each column, got {shown(', '.join(header))}; name each"
        )
    return header


def _check_separator(header: str, path: Path) -> None:
    if name := separator_in(header):
        raise InputError(
            f"{shown(path)}: its columns are separated by {name}, expected commas; save it with commas, and points as "
            "decimal marks"
        )


def _read_parquet(path: Path) -> Columns:
    frame = _frame(path)
    header = _header(list(frame.columns), path)
    by_name, numbers = {}, {}
    for name, column in zip(header, frame, strict=True):
        by_name[name] = _texts(column, path, name)
        if column.dtype.is_numeric():
            numbers[name] = column.cast(polars().Float64).to_numpy()
    return Columns(by_name, lambda i: f"{shown(path)}, row {i + 1}", numbers)


def _frame(path: Path) -> Any:
    pl = polars()
    try:
        with without_reports():
            return pl.read_parquet(path)
    except BaseException as error:
        # A damaged file can make polars panic, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{shown(path)} is not a table that can be read ({shown(cause)}); write it again") from None


def _texts(column: Any, path: Path, name: str) -> list[str]:
    """The texts that polars writes for a column into a .csv, so that both kinds of file mean the same."""
    pl = polars()
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        texts = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
        return [text or "" for text in texts.to_list()]
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise InputError(
            f"{shown(path)}: the column {shown(repr(name))} holds {column.dtype}; leave it out of the table"
        )
    if column.dtype == pl.String:
        return [text or "" for text in column.to_list()]
    written = column.to_frame().write_csv(include_header=False)
    return [row[0] if row else "" for row in csv.reader(io.StringIO(written))]


def column_called(columns: Columns, path: Path, what: str, name: str | None, usual: tuple[str, ...]) -> str:
    """Finds the column that was asked for, or that is called as usual.

    Args:
        columns: of the table.
        path: the table, for a message.
        what: the option that names the column.
        name: the name that was asked for.
        usual: the names to look for otherwise.

    Returns:
        The name of the column.

    Raises:
        InputError: where there is none.
    """
    found = [name] if name is not None else [name for name in columns.by_name if name.lower() in usual]
    if not found or found[0] not in columns.by_name:
        wanted = f"no column {shown(repr(name))}" if name is not None else f"no column called {', '.join(usual)}"
        raise InputError(
            f"{shown(path)} has {wanted} for --{what}; its columns are {shown(', '.join(columns.by_name))}"
        )
    return found[0]


def time_column(columns: Columns, path: Path, name: str | None, usual: tuple[str, ...]) -> str:
    """Finds the column of dates: the one asked for, one with a usual name, or the only one with dates.

    Args:
        columns: The table.
        path: The table's file, for messages.
        name: Name that was asked for.
        usual: Names to look for otherwise.

    Returns:
        The name of the column.

    Raises:
        InputError: where there is none, or several and none has a usual name.
    """
    if name is not None:
        return column_called(columns, path, "time", name, usual)
    called = [name for name in columns.by_name if name.lower() in usual]
    if called:
        return next((name for name in called if are_dates(columns.by_name[name])), called[0])
    of_dates = [name for name, texts in columns.by_name.items() if are_dates(texts)]
    if len(of_dates) > 1:
        raise InputError(
            f"{shown(path)} has several columns of dates, {shown(', '.join(of_dates))}; choose one with --time"
        )
    return of_dates[0] if of_dates else column_called(columns, path, "time", None, usual)


def dates_of(columns: Columns, name: str) -> Dates:
    """Reads the dates of a column.

    Args:
        columns: The table.
        name: Name of the column.

    Returns:
        The dates.

    Raises:
        InputError: for a cell that is not a date, with its row.
    """
    return dates_in(columns.by_name[name], lambda i: f"{columns.where(i)}, column {shown(repr(name))}")


def numbers_of(columns: Columns, name: str) -> Float[np.ndarray, " row"]:
    """Reads the numbers of a column.

    Args:
        columns: The table.
        name: Name of the column.

    Returns:
        The numbers, NaN where one is missing.

    Raises:
        InputError: for a cell that is not a number, or infinite or too large, with its row.
    """
    column = columns.numbers.get(name)
    if column is None:
        column = np.asarray([_number(columns, name, i, text) for i, text in enumerate(columns.by_name[name])])
    beyond = np.abs(column) > LARGEST
    if beyond.any():
        at = int(np.argmax(beyond))
        what = "infinite" if np.isinf(column[at]) else f"{column[at]:g}"
        raise InputError(
            f"{columns.where(at)}: {shown(repr(name))} is {what}, expected numbers of at most {LARGEST:g}; leave the "
            "cell empty, or give the column in another unit"
        )
    return column


def number_in(text: str) -> float | None:
    """Reads a cell: a number in ASCII digits, NaN where it is missing, None for what is neither.

    Args:
        text: of the cell.

    Returns:
        The number; Python's own reading would also take 1_234 and the digits of other scripts.
    """
    bare = text.strip(" \t")
    if bare.lower() in MISSING:
        return float("nan")
    if NUMBER.fullmatch(bare):
        return float(bare)
    return float("inf") if INFINITE.fullmatch(bare) else None


def _number(columns: Columns, name: str, i: int, text: str) -> float:
    number = number_in(text)
    if number is None:
        raise InputError(
            f"{columns.where(i)}: expected a number in column {shown(repr(name))}, got {shown(repr(text), 60)}; "
            "leave the cell empty where it is not known, or the column out (a long table needs columns series and "
            "value, or --series and --value)"
        )
    return number

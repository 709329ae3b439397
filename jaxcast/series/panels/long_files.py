"""Reads the rows of a long .parquet table in blocks, none of which holds the others."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast.errors import InputError, shown
from jaxcast.io.dates import dates_in
from jaxcast.io.tables import LARGEST, Columns, polars, without_reports

SAMPLE_SIZE = 100
"""Rows by which columns are recognised."""


class LongColumns(NamedTuple):
    """The names of the columns of a long table.

    Args:
        time: of the dates.
        series: of the names of series.
        value: of the values.
        past_covariates: known up to a date.
        future_covariates: known in advance.
        static_covariates: one number for each series.
        categories: one text for each series.
    """

    time: str
    series: str
    value: str
    past_covariates: tuple[str, ...]
    future_covariates: tuple[str, ...]
    static_covariates: tuple[str, ...]
    categories: tuple[str, ...]


class LongBlock(NamedTuple):
    """Some rows of a long table.

    Args:
        names: of the series that are in it, in the order in which they come.
        numbers: of each row's series, among these names.
        times: date of each row, or its step.
        values: of each row; NaN where it is missing.
        past: past covariates.
        future: future covariates.
        static: static covariates.
        texts: of each category, one for each row.
        where: what to call a row in a message.
    """

    names: tuple[str, ...]
    numbers: Int[np.ndarray, " row"]
    times: np.ndarray
    values: Float[np.ndarray, " row"]
    past: Float[np.ndarray, "row past"]
    future: Float[np.ndarray, "row future"]
    static: Float[np.ndarray, "row static"]
    texts: tuple[list[str], ...]
    where: Callable[[int], str]


def parquet_files(path: Path) -> list[Path]:
    """Returns the files of a table: a .parquet, or all of a folder, by name.

    Args:
        path: of the table.

    Returns:
        The files.

    Raises:
        InputError: where there is none.
    """
    try:
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
    except (OSError, ValueError):
        files = []
    if not files and not os.path.lexists(path):
        raise InputError(f"there is no {shown(path)}; give a panel, a .csv, .parquet or .npz or a folder of .parquet")
    if not files or any(file.suffix != ".parquet" for file in files):
        raise InputError(f"expected a panel, a .csv, .parquet or .npz or a folder of .parquet files, got {shown(path)}")
    return files


def parquet_sample(path: Path) -> Columns:
    """Returns the columns of a table with their first cells as texts.

    Args:
        path: a .parquet or a folder of such.

    Returns:
        The columns.

    Raises:
        InputError: for files that are missing, or no table.
    """
    file = parquet_files(path)[0]
    frame = _collected(file, 0, SAMPLE_SIZE, None)
    texts = {name: ["" if cell is None else str(cell) for cell in frame[name].to_list()] for name in frame.columns}
    return Columns(texts, lambda i: f"{shown(path)}, row {i + 1}", {})


def parquet_blocks(path: Path, columns: LongColumns, size: int | None) -> Iterator[LongBlock]:
    """Reads the rows of a table, block by block.

    Args:
        path: a .parquet or a folder of such.
        columns: that are read; others are not.
        size: the most rows of a block; None for a file at once.

    Yields:
        The rows, in their order.

    Raises:
        InputError: for files that are not tables or lack a column, and cells of another kind.
    """
    for file in parquet_files(path):
        length = _length(file)
        for start in range(0, length, size or max(length, 1)):
            frame = _collected(file, start, size or length, columns)
            yield _block(frame, columns, file, start)


def _length(file: Path) -> int:
    pl = polars()
    return int(_read(file, lambda: pl.scan_parquet(file).select(pl.len()).collect()).item())


def _collected(file: Path, start: int, size: int, columns: LongColumns | None) -> Any:
    pl = polars()
    wanted = None if columns is None else _wanted(columns)

    def read() -> Any:
        frame = pl.scan_parquet(file)
        if wanted is not None:
            lacking = [name for name in wanted if name not in frame.collect_schema().names()]
            if lacking:
                raise InputError(f"{shown(file)} has no column {shown(repr(lacking[0]))}, as other files have")
            frame = frame.select(wanted)
        return frame.slice(start, size).collect()

    return _read(file, read)


def _wanted(columns: LongColumns) -> list[str]:
    first = [columns.time, columns.series, columns.value]
    return [*first, *(name for kind in columns[3:] for name in kind)]


def _read(file: Path, read: Callable[[], Any]) -> Any:
    """Reads with polars, whose errors become one line."""
    try:
        with without_reports():
            return read()
    except InputError:
        raise
    except BaseException as error:
        # A damaged file can make polars panic, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{shown(file)} is not a table that can be read ({shown(cause)}); write it again") from None


def _block(frame: Any, columns: LongColumns, file: Path, start: int) -> LongBlock:
    def where(row: int) -> str:
        return f"{shown(file)}, row {start + row + 1}"

    def stacked(names: tuple[str, ...]) -> np.ndarray:
        own = [_numbers(frame[name], name, where) for name in names]
        return np.stack(own, 1) if own else np.empty((len(frame), 0))

    names, numbers = _codes(_texts(frame[columns.series], columns.series, where))
    return LongBlock(
        names,
        numbers,
        _times(frame[columns.time], columns.time, where),
        _numbers(frame[columns.value], columns.value, where),
        stacked(columns.past_covariates),
        stacked(columns.future_covariates),
        stacked(columns.static_covariates),
        tuple(_texts(frame[name], name, where).to_list() for name in columns.categories),
        where,
    )


def _texts(column: Any, name: str, where: Callable[[int], str]) -> Any:
    pl = polars()
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise InputError(f"{where(0)}: the column {shown(repr(name))} holds {column.dtype}, expected texts")
    return column.cast(pl.String).fill_null("").str.strip_chars()


def _codes(column: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the different texts of a column in the order in which they come, and the number of each row's."""
    pl = polars()
    names = column.unique(maintain_order=True)
    numbers = column.replace_strict(names, pl.Series(range(len(names))), return_dtype=pl.Int64)
    return tuple(names.to_list()), numbers.to_numpy()


def _numbers(column: Any, name: str, where: Callable[[int], str]) -> Float[np.ndarray, " row"]:
    pl = polars()
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise InputError(f"{where(0)}: expected numbers in column {shown(repr(name))}, got {column.dtype}")
    numbers: np.ndarray = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    beyond = np.abs(numbers) > LARGEST
    if beyond.any():
        at = int(np.argmax(beyond))
        raise InputError(
            f"{where(at)}: {shown(repr(name))} is {numbers[at]:g}, expected numbers of at most {LARGEST:g}; leave the "
            "cell empty, or give the column in another unit"
        )
    return numbers


def _times(column: Any, name: str, where: Callable[[int], str]) -> np.ndarray:
    """Returns dates in seconds, in UTC where they have an offset, or whole numbers of steps."""
    pl = polars()
    if column.null_count():
        at = int(np.argmax(column.is_null().to_numpy()))
        raise InputError(f"{where(at)}: the column {shown(repr(name))} is empty; give the date of each row")
    if column.dtype.is_integer():
        steps: np.ndarray = column.cast(pl.Int64).to_numpy()
        return steps
    if column.dtype == pl.String:
        texts = column.unique(maintain_order=True)
        dates = dates_in(texts.to_list(), lambda i: f"{where(0)} on, column {shown(repr(name))}").dates
        seconds = pl.Series(dates.astype("datetime64[s]").astype(np.int64))
        found: np.ndarray = column.replace_strict(texts, seconds, return_dtype=pl.Int64).to_numpy()
        return found.astype("datetime64[s]")
    if column.dtype not in (pl.Date, pl.Datetime):
        raise InputError(f"{where(0)}: expected dates in column {shown(repr(name))}, got {column.dtype}")
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    result: np.ndarray = column.to_numpy().astype("datetime64[s]")
    return result

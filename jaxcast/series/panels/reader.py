"""Reads panels from .csv, .parquet and .npz files."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.arguments import checked
from jaxcast.checks import check_texts, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import check_is_file, read_archive
from jaxcast.io.dates import are_dates
from jaxcast.io.tables import (
    ZIPPED,
    Columns,
    column_called,
    dates_of,
    numbers_of,
    read_columns,
    time_column,
)
from jaxcast.series.calendars import Calendar, calendar_of
from jaxcast.series.panels.assembly import Rows
from jaxcast.series.panels.long_files import LongBlock, LongColumns, parquet_blocks, parquet_sample
from jaxcast.series.panels.panel import SeriesPanel, panel_of_blocks, panel_of_table, series_panel
from jaxcast.series.table_reader import SERIES_NAMES, TIME_NAMES, VALUE_NAMES, read_series
from jaxcast.series.tables import CovariateNames

STEPS = re.compile(r"\s*[+-]?[0-9]+\s*")
ARCHIVE_ARRAYS = ("train", "length", "series")


@checked
def read_panel(
    path: Path | str,
    *,
    time: str | None = None,
    series: str | None = None,
    value: str | None = None,
    past_covariates: Sequence[str] = (),
    future_covariates: Sequence[str] = (),
    static_covariates: Sequence[str] = (),
    categories: Sequence[str] = (),
    business_days: bool | None = None,
    with_test: bool = False,
    in_memory: bool = True,
    block_size: int = 2**20,
) -> SeriesPanel:
    """Reads a panel from a long table, .csv or .parquet, or from an archive, .npz.

    A long table has a row for each series and date, in any order. Dates may also be whole numbers,
    which count steps. A folder of .parquet files is one table. A table without a column of names is
    wide, with a column for each series, and read by `read_series`.

    An archive holds `train`, the values of all series one after another, `length`, how many are
    of each, `series`, their names in a line each, and perhaps `test`, (series, time).

    With `in_memory=False` a .parquet is read in blocks of rows, and only one of them is held: the
    values go into memory-mapped temporary files, of which the windows of an epoch touch but a few
    pages. So a table may be larger than memory, and yet all of its windows are drawn with the same
    probability. The files lie in the folder of `tempfile` (TMPDIR), and vanish with the process.

    Args:
        path: a .csv (or .csv.gz), .parquet or .npz, a folder of .parquet files, or one with a
            single .npz.
        time: column of the dates, if it is not called date, time or ds.
        series: column of the names, if it is not called series, unique_id or the like.
        value: column of the values, if it is not called value, y or target.
        past_covariates: columns that are known up to the newest date.
        future_covariates: columns that are known in advance; their rows may come after the newest
            value.
        static_covariates: columns of one number for each series.
        categories: columns of one text for each series.
        business_days: whether daily dates skip weekends; by default if none of them is on a
            weekend.
        with_test: whether the values of `test` follow those of `train`, to score forecasts of them.
        in_memory: whether all values are held in memory.
        block_size: rows of a .parquet that are read at once.

    Returns:
        The panel.

    Raises:
        InputError: for files that are missing or no table, columns that are not there, dates that
            are repeated or off the grid, cells that are not numbers, series without a value, and
            static covariates or categories that change.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "sales.csv"
        >>> rows = "2024-01-01,a,1,food 2024-01-02,a,2,food 2024-01-03,a,4,food 2024-01-03,b,5,toys"
        >>> _ = file.write_text("date,series,value,kind\\n" + rows.replace(" ", "\\n") + "\\n")
        >>> panel = jaxcast.series.read_panel(file, categories=["kind"])
        >>> panel.names, panel.lengths.tolist(), panel.date(1, 0), panel.category_values
        (('a', 'b'), [3, 1], '2024-01-03', (('food', 'toys'),))
    """
    path = Path(path)
    check_whole("block_size", block_size)
    kinds = (past_covariates, future_covariates, static_covariates, categories)
    path = _only_archive(path)
    if path.suffix == ".npz":
        given = [name for name in (time, series, value) if name is not None] + [name for kind in kinds for name in kind]
        if given or not in_memory:
            raise InputError(f"{shown(path)} has no columns; leave out names of columns and in_memory")
        return _read_archive(path, with_test)
    if with_test:
        raise InputError(f"with_test is for an .npz with an array test, got {shown(path)}")
    named = [name for kind in kinds for name in kind]
    check_texts("covariates and categories", named, least=0)
    if path.name.endswith((".csv", ZIPPED)):
        if not in_memory:
            raise InputError(f"in_memory=False is for .parquet, got {shown(path)}; write the table as .parquet")
        columns = read_columns(path)
        if series is None and not _has_series(columns):
            return _read_wide(path, time, value, kinds, business_days)
        own = _columns_of(columns, path, (time, series, value), kinds)
        blocks: Callable[[], Iterator[LongBlock]] = lambda: iter([_csv_block(columns, own)])  # noqa: E731
    else:
        sample = parquet_sample(path)
        if series is None and not _has_series(sample) and path.is_file() and in_memory:
            return _read_wide(path, time, value, kinds, business_days)
        own = _columns_of(sample, path, (time, series, value), kinds)
        size = None if in_memory else block_size

        def blocks() -> Iterator[LongBlock]:
            return parquet_blocks(path, own, size)

    return _panel(blocks, own, business_days, on_disk=not in_memory)


def _only_archive(path: Path) -> Path:
    """Returns the .npz of a folder that holds no table, or the path itself."""
    try:
        archives = sorted(path.glob("*.npz")) if path.is_dir() and not any(path.glob("*.parquet")) else []
    except (OSError, ValueError):
        archives = []
    return archives[0] if len(archives) == 1 else path


def _has_series(columns: Columns) -> bool:
    return any(name.lower() in SERIES_NAMES for name in columns.by_name)


def _read_wide(
    path: Path, time: str | None, value: str | None, kinds: tuple[Sequence[str], ...], business_days: bool | None
) -> SeriesPanel:
    past, future, static, categories = kinds
    if value is not None or static or categories:
        raise InputError(
            f"{shown(path)} has no column called {', '.join(SERIES_NAMES)}; a value, static covariates and categories "
            "need a long table, with a row for each series and date"
        )
    table = read_series(path, time=time, past_covariates=past, future_covariates=future, business_days=business_days)
    return panel_of_table(table)


def _columns_of(
    columns: Columns, path: Path, names: tuple[str | None, ...], kinds: tuple[Sequence[str], ...]
) -> LongColumns:
    time, series, value = names
    time = time_column(columns, path, time, TIME_NAMES)
    series = column_called(columns, path, "series", series, SERIES_NAMES)
    value = column_called(columns, path, "value", value, VALUE_NAMES)
    options = ("past-covariates", "future-covariates", "static-covariates", "categories")
    for option, kind in zip(options, kinds, strict=True):
        for name in kind:
            column_called(columns, path, option, name, ())
    used = [time, series, value, *(name for kind in kinds for name in kind)]
    if len(set(used)) < len(used):
        raise InputError("time, series, value, covariates and categories must be different columns; name each once")
    return LongColumns(time, series, value, *map(tuple, kinds))


def _csv_block(columns: Columns, own: LongColumns) -> LongBlock:
    names = [text.strip() for text in columns.by_name[own.series]]
    texts = columns.by_name[own.time]
    is_steps = not are_dates(texts) and all(STEPS.fullmatch(text) for text in texts)
    times: Any = np.asarray([int(text) for text in texts]) if is_steps else dates_of(columns, own.time).dates
    found: dict[str, int] = {}
    numbers = np.asarray([found.setdefault(name, len(found)) for name in names])

    def stacked(wanted: Sequence[str]) -> np.ndarray:
        return np.stack([numbers_of(columns, name) for name in wanted], 1) if wanted else np.empty((len(names), 0))

    return LongBlock(
        tuple(found),
        numbers,
        times,
        numbers_of(columns, own.value),
        stacked(own.past_covariates),
        stacked(own.future_covariates),
        stacked(own.static_covariates),
        tuple([text.strip() for text in columns.by_name[name]] for name in own.categories),
        columns.where,
    )


class _Seen(NamedTuple):
    """Series and dates, as a first pass over the rows finds them."""

    numbers: dict[str, int]
    static: dict[str, np.ndarray]
    texts: dict[str, tuple[str, ...]]
    times: np.ndarray


def _panel(
    blocks: Callable[[], Iterator[LongBlock]], own: LongColumns, business_days: bool | None, *, on_disk: bool
) -> SeriesPanel:
    seen = _first_pass(blocks, own)
    calendar = None
    first = 0
    if seen.times.dtype.kind == "M":
        calendar = calendar_of(seen.times, lambda row: "the table", weeks=False, business_days=business_days)
    else:
        first = int(seen.times.min())

    def rows() -> Iterator[Rows]:
        for block in blocks():
            numbers = np.asarray([seen.numbers[name] for name in block.names])[block.numbers]
            places = _rows_of(block.times, calendar, first)
            yield Rows(numbers, places, block.values, block.past, block.future)

    names = tuple(seen.numbers)
    return panel_of_blocks(
        rows,
        names,
        static=np.stack([seen.static[name] for name in names]),
        texts={name: tuple(seen.texts[one][k] for one in names) for k, name in enumerate(own.categories)},
        calendar=calendar,
        covariates=CovariateNames(own.past_covariates, own.future_covariates, own.static_covariates),
        on_disk=on_disk,
    )


def _rows_of(times: np.ndarray, calendar: Calendar | None, first: int) -> np.ndarray:
    rows: np.ndarray = times - first if calendar is None else calendar.rows(times)
    return rows


def _first_pass(blocks: Callable[[], Iterator[LongBlock]], own: LongColumns) -> _Seen:
    numbers: dict[str, int] = {}
    static: dict[str, np.ndarray] = {}
    texts: dict[str, tuple[str, ...]] = {}
    times: np.ndarray | None = None
    for block in blocks():
        if "" in block.names:
            at = int(np.argmax(block.numbers == block.names.index("")))
            raise InputError(f"{block.where(at)}: the column {shown(repr(own.series))} is empty; name the series")
        unique = np.unique(block.times)
        times = unique if times is None else np.union1d(times, unique)
        _, firsts = np.unique(block.numbers, return_index=True)
        for name, at in zip(block.names, firsts, strict=True):
            numbers.setdefault(name, len(numbers))
            static.setdefault(name, block.static[at])
            texts.setdefault(name, tuple(column[at] for column in block.texts))
        _check_constant(block, own, static, texts)
    if times is None or not numbers:
        raise InputError("the table holds no rows; give a header and a row for each series and date")
    return _Seen(numbers, static, texts, times)


def _check_constant(
    block: LongBlock, own: LongColumns, static: dict[str, np.ndarray], texts: dict[str, tuple[str, ...]]
) -> None:
    """Raises InputError unless static covariates and categories are the same in all rows of a series."""
    for k, name in enumerate(own.static_covariates):
        known = np.asarray([static[one][k] for one in block.names])[block.numbers]
        differs = ~(block.static[:, k] == known)
        if differs.any():
            at = int(np.argmax(differs))
            kind = "is not known" if np.isnan(block.static[at, k]) else "changes"
            raise InputError(
                f"the static covariate {shown(repr(name))} of {shown(repr(block.names[block.numbers[at]]))} {kind}; "
                "name it as another kind, or fix it"
            )
    for k, name in enumerate(own.categories):
        known = np.asarray([texts[one][k] for one in block.names], object)[block.numbers]
        given = np.asarray(block.texts[k], object)
        differs = given != known
        if differs.any():
            at = int(np.argmax(differs))
            raise InputError(
                f"the category {shown(repr(name))} of {shown(repr(block.names[block.numbers[at]]))} changes from "
                f"{shown(repr(known[at]))} to {shown(repr(given[at]))}; leave it out, or fix it"
            )


def _read_archive(path: Path, with_test: bool) -> SeriesPanel:
    check_is_file(path, "an .npz with train, length and series")
    archive = read_archive(path)
    wanted = (*ARCHIVE_ARRAYS, *(("test",) if with_test else ()))
    archive.refuse_pickled(wanted)
    lacking = [name for name in wanted if name not in archive.arrays]
    if lacking:
        raise InputError(
            f"{shown(path)} lacks {', '.join(lacking)}; a panel has train (all values), length (of each series), "
            f"series (names) and perhaps test, found {shown(archive.listing)}"
        )
    train, lengths = archive.named("train"), archive.named("length")
    if train.ndim != 1 or lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise InputError(
            f"{shown(path)}: expected train (value) and length (series), whole numbers, got shapes {train.shape} and "
            f"{lengths.shape} of {lengths.dtype}"
        )
    if (lengths < 0).any() or int(lengths.sum()) != len(train):
        raise InputError(
            f"{shown(path)}: length must add up to the {len(train)} values of train, and not be negative, got the sum "
            f"{lengths.sum()}"
        )
    names = _archive_names(archive.arrays["series"])
    if len(names) != len(lengths):
        raise InputError(f"{shown(path)}: expected {len(lengths)} names in series, one a line, got {len(names)}")
    values = np.split(train.astype(float), np.cumsum(lengths)[:-1])
    if with_test:
        test = archive.named("test")
        if test.ndim != 2 or len(test) != len(values):
            raise InputError(f"{shown(path)}: expected test ({len(values)}, time), got shape {test.shape}")
        values = [np.concatenate(pair) for pair in zip(values, test.astype(float), strict=True)]
    return series_panel(values, names=names)


def _archive_names(names: np.ndarray) -> list[str]:
    """Returns the names of series, which are texts in an array, or the lines of a single one."""
    texts = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names.astype(str)
    return str(texts).strip("\n").split("\n") if texts.ndim == 0 else list(map(str, texts.ravel()))

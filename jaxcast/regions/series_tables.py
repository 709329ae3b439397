"""Tables of dated series, wide or long, from .csv or .parquet: what is missing is NaN, and told."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError
from jaxcast.hub.tables import polars
from jaxcast.regions.calendars import Calendar, calendar_of

TIME_NAMES = ("time", "date", "ds", "datetime", "timestamp", "week", "month", "day")
SERIES_NAMES = ("series", "unique_id", "region", "location", "id")
VALUE_NAMES = ("value", "y", "target")
MISSING = {"", "na", "nan", "null", "none"}
DATE = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.0*)?)?Z?)?)?")


class SeriesTable(NamedTuple):
    """Several series on a calendar without holes, with their covariates; NaN where the file had no number.

    names: of the series. calendar: of the rows. values: (time, region). past: covariates known up to a row, (time, region,
    feature). ahead: those known of later rows too. static: one number for each region, (region, feature). missing: what the
    file lacks, in words.
    """

    names: tuple[str, ...]
    calendar: Calendar
    values: Float[np.ndarray, "time region"]
    past: Float[np.ndarray, "time region feature"]
    ahead: Float[np.ndarray, "time region feature"]
    static: Float[np.ndarray, "region feature"]
    missing: tuple[str, ...]

    def date(self, row: int) -> str:
        """The date of a row as text, also of one after the last."""
        return self.calendar.text(self.calendar.dates(np.asarray(row)))


class _Columns(NamedTuple):
    """Texts, or numbers where the file keeps them as such, by name; and what to call a row in a message."""

    by_name: dict[str, Any]
    where: Callable[[int], str]


def read_series(
    path: Path | str,
    *,
    time: str | None = None,
    series: str | None = None,
    value: str | None = None,
    past: Sequence[str] = (),
    ahead: Sequence[str] = (),
    static: Sequence[str] = (),
) -> SeriesTable:
    """The series of a table: wide, a date and a column for each series, or long, rows of date, series and value.

    A table is long where it has columns for series and value. Dates are ISO ones, in rising order, a step apart that is the
    most common one (months count as equal); rows that are left out are gaps. Empty cells, NA and NaN are missing values.

    Args:
        path: a .csv, or a .parquet, which needs polars. time, series, value: names of columns, where they are not among
            the usual ones (date, time, ds; series, region, location, unique_id; value, y, target).
        past, ahead, static: names of columns that are covariates: known up to now, known beforehand, constant.

    Raises:
        InputError: for files that are missing or no table, columns that are not there, dates that are no ISO dates, unsorted,
            repeated or off the grid, cells that are no number, and static covariates that change.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "cases.csv"
        >>> _ = file.write_text("date,north,south\\n2024-01-07,1,2\\n2024-01-14,,3\\n2024-01-28,4,5\\n2024-02-04,6,7\\n")
        >>> table = jaxcast.read_series(file)
        >>> table.calendar.step, table.values[:, 0].tolist()
        ('1 week', [1.0, nan, nan, 4.0, 6.0])
        >>> table.missing
        ('1 date of 5 is left out, the first 2024-01-21', "1 value of 'north' is missing, the first of 2024-01-14")
    """
    path = Path(path)
    columns = _read(path)
    time = _column(columns, path, "time", time, TIME_NAMES)
    dates = _dates(columns, time)
    calendar = calendar_of(dates, columns.where)
    rows = calendar.rows(dates)
    covariates = [*past, *ahead, *static]
    for name in covariates:
        _column(columns, path, "covariates", name, ())
    is_long = series is not None or any(name in columns.by_name for name in SERIES_NAMES)
    if is_long:
        series = _column(columns, path, "series", series, SERIES_NAMES)
        value = _column(columns, path, "value", value, VALUE_NAMES)
        if len({time, series, value, *covariates}) < 3 + len(covariates):
            raise InputError("time, series, value and covariates must be different columns; name each once")
        texts = np.asarray(columns.by_name[series]).astype(str)
        names, own = _names(texts)
    else:
        names = tuple(name for name in columns.by_name if name not in (time, *covariates))
        if not names:
            raise InputError(f"{path} has no column of a series beside {', '.join(columns.by_name)}; add one")
        own = np.zeros(len(rows), int)
    _check_order(rows, own, names if is_long else ("",), calendar, columns.where)

    def on_grid(wanted: Sequence[str]) -> Float[np.ndarray, "time region column"]:
        grid = np.full((int(rows.max()) + 1, int(own.max()) + 1, len(wanted)), np.nan)
        for k, name in enumerate(wanted):
            grid[rows, own, k] = _numbers(columns, name)
        return grid

    def of_regions(wanted: Sequence[str]) -> Float[np.ndarray, "time region column"]:
        grid = on_grid(wanted)
        return np.broadcast_to(grid, (len(grid), len(names), len(wanted)))

    values = on_grid([value])[..., 0] if is_long and value else on_grid(names)[:, 0]
    table = SeriesTable(names, calendar, values, of_regions(past), of_regions(ahead), np.empty((len(names), 0)), ())
    if static:
        table = table._replace(static=_static(of_regions(static), names, static))
    return table._replace(missing=_missing(table, rows))


def _read(path: Path) -> _Columns:
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"expected a table of series, .csv or .parquet, got {path}")
    if not path.is_file():
        raise InputError(f"there is no table {path}; give a .csv or .parquet")
    columns = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    if not columns.by_name or not len(next(iter(columns.by_name.values()))):
        raise InputError(f"{path} holds no rows; give a header and a row for each date")
    return columns


def _read_csv(path: Path) -> _Columns:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = csv.reader(file)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); save it as a CSV in UTF-8") from None
    except ValueError:
        return _Columns({}, str)
    while rows and not rows[-1]:
        rows.pop()
    header = [name.strip() for name in header]
    if len(set(header)) < len(header) or "" in header:
        raise InputError(f"{path}: expected a different name for each column, got {', '.join(header)}; name each")
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"{path}: expected {len(header)} columns in every line, line {i + 2} has {len(row)}; mend it"
            )
    texts = zip(*rows, strict=True) if rows else ([] for _ in header)
    return _Columns(dict(zip(header, texts, strict=True)), lambda i: f"{path}, line {i + 2}")


def _read_parquet(path: Path) -> _Columns:
    pl = polars()
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is not a table that can be read ({str(error).splitlines()[0]})") from None
    by_name = {
        column.name: column.cast(pl.Float64).to_numpy()
        if column.dtype.is_numeric()
        else [text or "" for text in column.cast(pl.String).to_list()]
        for column in frame
    }
    return _Columns(by_name, lambda i: f"{path}, row {i + 1}")


def _column(columns: _Columns, path: Path, what: str, name: str | None, usual: tuple[str, ...]) -> str:
    """The name of the column that was asked for, or that is called as usual."""
    found = [name] if name is not None else [name for name in columns.by_name if name.lower() in usual]
    if not found or found[0] not in columns.by_name:
        wanted = f"no column {name!r}" if name is not None else f"no column called {', '.join(usual)}"
        raise InputError(f"{path} has {wanted} for --{what}; its columns are {', '.join(columns.by_name)}")
    return found[0]


def _dates(columns: _Columns, name: str) -> np.ndarray:
    texts = columns.by_name[name]
    return np.asarray([parse_date(str(text), f"{columns.where(i)}, column {name!r}") for i, text in enumerate(texts)])


def parse_date(text: str, where: str) -> np.datetime64:
    """A date, with or without a time of day (UTC).

    Raises:
        InputError: for what is no ISO date.
    """
    text = text.strip()
    try:
        if not DATE.fullmatch(text):
            raise ValueError
        return np.datetime64(text.removesuffix("Z"), "s")
    except ValueError:
        raise InputError(f"{where}: expected a date such as 2024-01-31, got {text[:40]!r}") from None


def _numbers(columns: _Columns, name: str) -> Float[np.ndarray, " row"]:
    column = columns.by_name[name]
    if not isinstance(column, np.ndarray):
        column = np.asarray([_number(columns, name, i, text) for i, text in enumerate(column)])
    if np.isinf(column).any():
        raise InputError(
            f"{columns.where(int(np.argmax(np.isinf(column))))}: {name!r} is infinite; leave the cell empty"
        )
    return column


def _number(columns: _Columns, name: str, i: int, text: str) -> float:
    try:
        return np.nan if text.strip().lower() in MISSING else float(text)
    except ValueError:
        raise InputError(
            f"{columns.where(i)}: expected a number in column {name!r}, got {text[:40]!r}; leave the cell empty where it is "
            "not known, or the column out (a long table needs columns series and value, or --series and --value)"
        ) from None


def _names(texts: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of series in the order in which they come, and the number of each row's."""
    names, first, own = np.unique(texts, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return tuple(map(str, names[order])), np.argsort(order)[own]


def _check_order(
    rows: np.ndarray, own: np.ndarray, names: tuple[str, ...], calendar: Calendar, where: Callable[[int], str]
) -> None:
    """Raises InputError unless the dates of each series increase."""
    order = np.argsort(own, kind="stable")
    same = np.diff(own[order]) == 0
    steps = np.diff(rows[order])
    bad = same & (steps <= 0)
    if not bad.any():
        return
    at = int(np.argmax(bad))
    last, this = (calendar.text(calendar.dates(rows[order[k]])) for k in (at, at + 1))
    name = f" of {names[own[order[at]]]!r}" if names[own[order[at]]] else ""
    if steps[at] == 0:
        raise InputError(f"{where(int(order[at + 1]))}: {this}{name} comes twice; keep one row for each date")
    raise InputError(f"{where(int(order[at + 1]))}: {this}{name} comes after {last}; sort the rows by date")


def _static(grid: np.ndarray, names: tuple[str, ...], wanted: Sequence[str]) -> Float[np.ndarray, "region feature"]:
    low, high = np.fmin.reduce(grid, 0), np.fmax.reduce(grid, 0)
    if not (low == high).all():
        region, k = np.argwhere(~(low == high))[0]
        kind = "is not known" if np.isnan(low[region, k]) else "changes"
        raise InputError(
            f"the static covariate {wanted[k]!r} of {names[region]!r} {kind}; name it as another kind, or mend it"
        )
    return low


def _missing(table: SeriesTable, rows: np.ndarray) -> tuple[str, ...]:
    """What a file lacks, in words; rows at the end that hold covariates only lack nothing."""
    notes = []
    there = np.zeros(len(table.values), bool)
    there[rows] = True
    if not there.all():
        count = int((~there).sum())
        notes.append(
            f"{count} date{'s' * (count > 1)} of {len(there)} {'are' if count > 1 else 'is'} left out, the first "
            f"{table.date(int(np.argmin(there)))}"
        )
    until = newest_row(table.values) + 1
    empty = np.isnan(table.values[:until]) & there[:until, None]
    for k in np.argsort(-empty.sum(0), kind="stable")[:5]:
        if count := int(empty[:, k].sum()):
            notes.append(
                f"{count} value{'s' * (count > 1)} of {table.names[k]!r} {'are' if count > 1 else 'is'} missing, the first of "
                f"{table.date(int(np.argmax(empty[:, k])))}"
            )
    others = np.sort(empty.any(0))[::-1][5:].sum()
    return (*notes, f"{others} more series have missing values") if others else tuple(notes)


def newest_row(values: Float[np.ndarray, "time region"]) -> int:
    """The last row in which any series is known, -1 where there is none."""
    known = np.isfinite(values).any(1)
    return int(np.max(np.nonzero(known)[0], initial=-1))


def read_adjacency(path: Path | str, names: Sequence[str]) -> Float[np.ndarray, "region region"]:
    """How close series are, of a .csv whose header names them, in any order, the rows in that of the header.

    A first column may name the rows.

    Raises:
        InputError: for a table that is no square, or of other series than these.
    """
    columns = _read(Path(path))
    header = list(columns.by_name)
    if len(header) == len(names) + 1 and header[0] not in names:
        rows = [str(text).strip() for text in columns.by_name[header[0]]]
        header = header[1:]
        if rows != header:
            raise InputError(f"{path}: rows and columns must have the same names in the same order; sort one of them")
    if sorted(header) != sorted(names):
        missing, unknown = sorted({*names} - {*header})[:5], sorted({*header} - {*names})[:5]
        raise InputError(
            f"{path} is for other series than the data: {_listed('it lacks', missing)}{_listed('it also has', unknown)}"
            "give one column for each"
        )
    closeness = np.stack([_numbers(columns, name) for name in header], 1)
    if closeness.shape[0] != closeness.shape[1] or not (closeness >= 0).all():
        raise InputError(
            f"{path}: expected {len(names)} rows of numbers that are not negative, got {closeness.shape[0]}; mend it"
        )
    order = [header.index(name) for name in names]
    return closeness[np.ix_(order, order)]


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what} {', '.join(names)}; " if names else ""

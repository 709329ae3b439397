"""Reads tables of dated series, wide or long, from .csv or .parquet files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.io.tables import Columns, column_called, dates_of, numbers_of, read_columns, time_column
from jaxcast.series.calendars import DAY, Calendar, calendar_of
from jaxcast.series.tables import CovariateNames, SeriesTable, newest_row

TIME_NAMES = ("time", "date", "ds", "datetime", "timestamp", "week", "month", "day")
SERIES_NAMES = ("series", "unique_id", "region", "location", "id")
VALUE_NAMES = ("value", "y", "target")


@checked
def read_series(
    path: Path | str,
    *,
    time: str | None = None,
    series: str | None = None,
    value: str | None = None,
    past_covariates: Sequence[str] = (),
    future_covariates: Sequence[str] = (),
    static_covariates: Sequence[str] = (),
    business_days: bool | None = None,
) -> SeriesTable:
    """Reads the series of a table: one column for each series, or rows of date, series, value.

    A table is long where it has columns for series and value; else it is wide, with a column of
    dates and one for each series. Dates are ISO dates or ISO weeks in rising order. Their step is
    the most common one: months count as equal, and so do business days, whose weekends are no
    gaps. Dates with an offset from UTC become UTC. Rows that are left out are gaps. Empty cells,
    NA and NaN are missing values.

    Args:
        path: a .csv, or a .parquet, which needs polars.
        time: column of the dates, if it is not called date, time or ds and other columns hold
            dates too.
        series: column of the names in a long table, if it is not called series, region, location
            or unique_id.
        value: column of the values in a long table, if it is not called value, y or target.
        past_covariates: columns that are known up to the newest date.
        future_covariates: columns that are known in advance.
        static_covariates: columns of a long table that are one number for each series.
        business_days: whether daily dates skip weekends; by default if none of them is on a
            weekend.

    Returns:
        The series on their calendar, with what is missing.

    Raises:
        InputError: for files that are missing or no table, columns that are not there, dates that
            are not ISO dates, unsorted, repeated or off the grid, cells that are not numbers, and
            static covariates that change.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "cases.csv"
        >>> _ = file.write_text(
        ...     "date,north,south\\n2024-01-07,1,2\\n2024-01-14,,3\\n2024-01-28,4,5\\n2024-02-04,6,7\\n"
        ... )
        >>> table = jaxcast.read_series(file)
        >>> table.calendar.step, table.values[:, 0].tolist()
        ('1 week', [1.0, nan, nan, 4.0, 6.0])
        >>> table.missing
        ('1 date of 5 is left out, the first 2024-01-21', "1 value of 'north' is missing, the first of 2024-01-14")
    """
    path = Path(path)
    columns = read_columns(path)
    time = time_column(columns, path, time, TIME_NAMES)
    dates, are_weeks, notes = dates_of(columns, time)
    calendar = calendar_of(dates, columns.where, weeks=are_weeks, business_days=business_days)
    if calendar.weekdays and not calendar.months and business_days is None:
        notes = (*notes, "no date is on a weekend: steps are business days, and no weekend is forecast")
    rows = calendar.rows(dates)
    covariates = []
    for kind, named in (("past", past_covariates), ("future", future_covariates), ("static", static_covariates)):
        covariates += [column_called(columns, path, f"{kind}-covariates", name, ()) for name in named]
    names, own, wanted = _layout(columns, path, time, series, value, covariates)
    is_long = wanted != names
    _check_order(rows, own, names if is_long else ("",), calendar, columns.where)
    grid = _on_grid(columns, wanted, rows, own)

    def of_regions(wanted: Sequence[str]) -> Float[np.ndarray, "time region column"]:
        grid = _on_grid(columns, wanted, rows, own)
        return np.broadcast_to(grid, (len(grid), len(names), grid.shape[2]))

    constant = _static(of_regions(static_covariates), names, static_covariates)
    values = grid[..., 0] if is_long else grid[:, 0]
    covariate_names = CovariateNames(tuple(past_covariates), tuple(future_covariates), tuple(static_covariates))
    table = SeriesTable(
        names,
        calendar,
        values,
        of_regions(past_covariates),
        of_regions(future_covariates),
        constant,
        (),
        notes,
        covariate_names,
    )
    return table._replace(missing=_missing(table, rows))


def _layout(
    columns: Columns, path: Path, time: str, series: str | None, value: str | None, covariates: list[str]
) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """Returns the names of the series, the series of each row, and the columns of values."""
    if series is None and not any(name.lower() in SERIES_NAMES for name in columns.by_name):
        names = tuple(name for name in columns.by_name if name not in (time, *covariates))
        if not names:
            raise InputError(
                f"{shown(path)} has no column of a series beside {shown(', '.join(columns.by_name))}; add one"
            )
        return names, np.zeros(len(columns.by_name[time]), int), names
    series = column_called(columns, path, "series", series, SERIES_NAMES)
    value = column_called(columns, path, "value", value, VALUE_NAMES)
    if len({time, series, value, *covariates}) < 3 + len(covariates):
        raise InputError("time, series, value and covariates must be different columns; name each once")
    names, own = _names(columns, series)
    return names, own, (value,)


def _on_grid(
    columns: Columns, wanted: Sequence[str], rows: np.ndarray, own: np.ndarray
) -> Float[np.ndarray, "time region column"]:
    grid = np.full((int(rows.max()) + 1, int(own.max()) + 1, len(wanted)), np.nan)
    for k, name in enumerate(wanted):
        grid[rows, own, k] = numbers_of(columns, name)
    return grid


def _names(columns: Columns, series: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of series in the order in which they come, and the number of each row's."""
    texts = [text.strip() for text in columns.by_name[series]]
    if "" in texts:
        at = texts.index("")
        raise InputError(f"{columns.where(at)}: the column {shown(repr(series))} is empty; name the series of that row")
    numbers: dict[str, int] = {}
    own = np.asarray([numbers.setdefault(text, len(numbers)) for text in texts])
    return tuple(numbers), own


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
    name = names[own[order[at]]]
    this = f"{this} of {shown(repr(name))}" if name else this
    what, fix = (
        ("comes twice", "keep one row for each date")
        if steps[at] == 0
        else (f"comes after {last}", "sort the rows by date")
    )
    # Clocks that go back repeat an hour.
    repeats = 0 < calendar.seconds < DAY and -steps[at] * calendar.seconds <= 3600
    hint = ", or use UTC where clocks were set back then" if repeats else ""
    raise InputError(f"{where(int(order[at + 1]))}: {this} {what}; {fix}{hint}")


def _static(grid: np.ndarray, names: tuple[str, ...], wanted: Sequence[str]) -> Float[np.ndarray, "region feature"]:
    low, high = np.fmin.reduce(grid, 0), np.fmax.reduce(grid, 0)
    if not (low == high).all():
        region, k = np.argwhere(~(low == high))[0]
        kind = "is not known" if np.isnan(low[region, k]) else "changes"
        raise InputError(
            f"the static covariate {shown(repr(wanted[k]))} of {shown(repr(names[region]))} {kind}; name it as "
            "another kind, or fix it"
        )
    return low


def _missing(table: SeriesTable, rows: np.ndarray) -> tuple[str, ...]:
    """Says what a file lacks; rows at the end that hold covariates only lack nothing."""
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
                f"{count} value{'s' * (count > 1)} of {shown(repr(table.names[k]))} {'are' if count > 1 else 'is'} "
                f"missing, the first of {table.date(int(np.argmax(empty[:, k])))}"
            )
    others = np.sort(empty.any(0))[::-1][5:].sum()
    return (*notes, f"{others} more series have missing values") if others else tuple(notes)

"""Panels: many series of unequal length, with covariates and categories, without padding."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.series.calendars import Calendar, calendar_of
from jaxcast.series.panels.assembly import Rows, assembled, numbered
from jaxcast.series.tables import CovariateNames, SeriesTable


class SeriesPanel(NamedTuple):
    """Many series of unequal length, one after another in flat arrays.

    Each series has a row for every step from its first known value on. Rows after its last one
    hold covariates that are known in advance. A date is a row of the calendar; without a calendar,
    rows are steps that are counted from the first of each series, or from a common one.

    Args:
        names: of the series.
        values: of all series, one after another; NaN where one is missing.
        offsets: the first row of each series in the flat arrays.
        lengths: the rows of each series up to its last value.
        num_rows: its rows with those after the last value.
        starts: the row of the calendar at which it begins.
        past_covariates: known up to a row.
        future_covariates: known of later rows too.
        static_covariates: numbers that each series has once.
        categories: number of each category of a series, from 1 on, in the order of its values; 0
            where it is not known.
        calendar: of the rows; None without dates.
        covariates: the names of the covariates.
        category_names: the names of the categories.
        category_values: the values of each category.

    Raises:
        InputError: when asked for a series that is not there.

    Example:
        >>> import jaxcast, numpy as np
        >>> panel = jaxcast.series.series_panel([np.arange(5.0), np.asarray([np.nan, 1.0, 2.0])])
        >>> panel.lengths.tolist(), panel.values.tolist()
        ([5, 2], [0.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0])
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, " row"]
    offsets: Int[np.ndarray, " series"]
    lengths: Int[np.ndarray, " series"]
    num_rows: Int[np.ndarray, " series"]
    starts: Int[np.ndarray, " series"]
    past_covariates: Float[np.ndarray, "row past"]
    future_covariates: Float[np.ndarray, "row future"]
    static_covariates: Float[np.ndarray, "series static"]
    categories: Int[np.ndarray, "series category"]
    calendar: Calendar | None = None
    covariates: CovariateNames = CovariateNames()
    category_names: tuple[str, ...] = ()
    category_values: tuple[tuple[str, ...], ...] = ()

    @property
    def newest(self) -> Int[np.ndarray, " series"]:
        """The position of the last value of each series, counted from its first."""
        return self.lengths - 1

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of values of each category."""
        return tuple(map(len, self.category_values))

    def of(self, name: str) -> Float[np.ndarray, " row"]:
        """Returns the values of one series.

        Args:
            name: of the series.

        Raises:
            InputError: for a name that is not in the panel.
        """
        if name not in self.names:
            raise InputError(f"the panel has no series {shown(repr(name))}; its names are {shown(self.names[:5])}")
        number = self.names.index(name)
        return self.values[self.offsets[number] :][: self.lengths[number]]

    def select(self, series: Sequence[int] | Int[np.ndarray, " some"]) -> "SeriesPanel":
        """Returns some of the series; no value is copied.

        Args:
            series: their numbers, from 0.
        """
        own = np.asarray(series, int)
        arrays = ("offsets", "lengths", "num_rows", "starts", "static_covariates", "categories")
        fields = self._asdict()
        return self._replace(names=tuple(self.names[k] for k in own), **{name: fields[name][own] for name in arrays})

    def without_last(self, num: int) -> "SeriesPanel":
        """Returns the panel without the last values of each series; no value is copied.

        Covariates that are known in advance stay. A series that has no more values is left with a
        length of 0.

        Args:
            num: how many steps to leave out.

        Raises:
            InputError: for a number that is not whole.
        """
        check_whole("num", num, least=0)
        return self._replace(lengths=np.maximum(self.lengths - num, 0))

    def date(self, series: int, position: int) -> str:
        """Returns the date of a row of a series as text; without a calendar, its number.

        Args:
            series: number of the series.
            position: counted from its first row, also after its last.
        """
        row = int(self.starts[series]) + position
        return str(row) if self.calendar is None else self.calendar.text(self.calendar.dates(np.asarray(row)))


@checked
def series_panel(
    series: Any,
    *,
    names: Sequence[str] | None = None,
    dates: Any = None,
    past_covariates: Any = None,
    future_covariates: Any = None,
    static_covariates: Float[Any, "series covariate"] | None = None,
    categories: Mapping[str, Any] | None = None,
    covariates: CovariateNames | None = None,
    business_days: bool | None = None,
) -> SeriesPanel:
    """Makes a panel of a list of arrays.

    Args:
        series: the values of each, oldest first; NaN where one is missing. What precedes the first
            known value is left out.
        names: of the series; by default "1", "2" and so on.
        dates: of the values of each series, rising, as NumPy's datetime64 or as texts that it
            reads; dates that are left out are gaps. By default the first values of all series are
            of one step.
        past_covariates: of each series, (time, covariate), known up to a row.
        future_covariates: of each series, known of later rows too, which may come after its last
            value; with dates, one for each.
        static_covariates: numbers that each series has once.
        categories: by name, one text for each series, empty where it is not known.
        covariates: the names of the covariates; by default "past 1", "future 1", "static 1" and so
            on.
        business_days: whether daily dates leave weekends out; by default where none of them is on
            a weekend.

    Returns:
        The panel.

    Raises:
        InputError: for a series without any value or with infinity, names that are not one for
            each, covariates or dates of other lengths, or dates off a grid.

    Example:
        >>> import jaxcast, numpy as np
        >>> panel = jaxcast.series.series_panel(
        ...     [np.ones(5), np.ones(3)], names=["north", "south"], categories={"kind": ["bus", "tram"]}
        ... )
        >>> panel.category_values, panel.categories.tolist()
        ((('bus', 'tram'),), [[1], [2]])
    """
    values = [np.asarray(one, float) for one in series]
    if not values or any(one.ndim != 1 for one in values):
        raise InputError("expected a list of arrays of values, (time,), one for each series")
    names = tuple(map(str, range(1, len(values) + 1))) if names is None else tuple(names)
    if len(names) != len(values):
        raise InputError(f"expected a name for each of {len(values)} series, got {len(names)}")
    for name, one in zip(names, values, strict=True):
        if np.isinf(one).any():
            raise InputError(f"series {shown(repr(name))} holds infinity; give NaN where a value is missing")
    past, future = (
        _of_each("past_covariates", past_covariates, values),
        _of_each("future_covariates", future_covariates, values),
    )
    sizes = [max(len(one), len(a), len(b)) for one, a, b in zip(values, past, future, strict=True)]
    rows, calendar = _dated(dates, sizes, business_days)
    block = Rows(
        np.repeat(np.arange(len(values)), sizes),
        rows,
        _stacked([one[:, None] for one in values], sizes)[:, 0],
        _stacked(past, sizes),
        _stacked(future, sizes),
    )
    static = np.empty((len(values), 0)) if static_covariates is None else np.asarray(static_covariates, float)
    texts = {name: tuple(map(str, given)) for name, given in (categories or {}).items()}
    return panel_of_blocks(
        lambda: iter([block]),
        names,
        static=static,
        texts=texts,
        calendar=calendar,
        covariates=covariates or _default_names(past[0].shape[1], future[0].shape[1], static.shape[1]),
    )


@checked
def panel_of_table(table: SeriesTable) -> SeriesPanel:
    """Makes a panel of a table; a series begins at its first known value.

    Args:
        table: by `read_series` or `series_table`.

    Returns:
        The panel, with the calendar and the covariates of the table.

    Raises:
        InputError: for a series without any value.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2024-01", "2024-05", dtype="datetime64[M]")
        >>> values = np.asarray([[1.0, np.nan], [2.0, np.nan], [3.0, 3.0], [4.0, 4.0]])
        >>> panel = jaxcast.series.panel_of_table(jaxcast.series.series_table(values, dates))
        >>> panel.lengths.tolist(), panel.date(1, 0)
        ([4, 2], '2024-03-01')
    """
    length, num_series = table.values.shape
    block = Rows(
        np.repeat(np.arange(num_series), length),
        np.tile(np.arange(length), num_series),
        table.values.T.ravel(),
        *(
            np.moveaxis(a, 1, 0).reshape(num_series * length, -1)
            for a in (table.past_covariates, table.future_covariates)
        ),
    )
    return panel_of_blocks(
        lambda: iter([block]),
        table.names,
        static=table.static_covariates,
        texts={},
        calendar=table.calendar,
        covariates=table.covariates,
    )


def panel_of_blocks(
    blocks: Any,
    names: tuple[str, ...],
    *,
    static: Float[np.ndarray, "series static"],
    texts: Mapping[str, tuple[str, ...]],
    calendar: Calendar | None,
    covariates: CovariateNames,
    on_disk: bool = False,
) -> SeriesPanel:
    """Makes a panel of rows that come in blocks, in any order.

    Args:
        blocks: returns an iterator over `Rows`; called twice, to count and to fill.
        names: of the series.
        static: numbers of each series.
        texts: categories by name, one text for each series.
        calendar: of the rows.
        covariates: the names of the covariates.
        on_disk: whether flat arrays are memory-mapped files instead of arrays in memory.

    Returns:
        The panel.

    Raises:
        InputError: for a series without any value, or with two values of one date.
    """
    if len(set(names)) < len(names):
        ((name, count),) = Counter(names).most_common(1)
        raise InputError(f"expected a different name for each series, got {count} called {shown(repr(name))}")
    for what, given in ((f"the category {name!r}", one) for name, one in texts.items()):
        if len(given) != len(names) or not any(given):
            raise InputError(f"expected one text of {what} for each of {len(names)} series, got {shown(given)}")
    if len(static) != len(names):
        raise InputError(f"expected static covariates of {len(names)} series, got {len(static)}")

    def where(series: int, row: int) -> str:
        date = f"step {row}" if calendar is None else calendar.text(calendar.dates(np.asarray(row)))
        return f"series {shown(repr(names[series]))} at {date}"

    arrays = assembled(blocks, names, where=where, on_disk=on_disk)
    numbers = {name: numbered(given) for name, given in texts.items()}
    categories = [found.numbers for found in numbers.values()]
    return SeriesPanel(
        names,
        *arrays,
        static,
        np.stack(categories, 1) if categories else np.empty((len(names), 0), int),
        calendar,
        covariates,
        tuple(numbers),
        tuple(found.values for found in numbers.values()),
    )


def _default_names(past: int, future: int, static: int) -> CovariateNames:
    kinds = (("past", past), ("future", future), ("static", static))
    return CovariateNames(*(tuple(f"{kind} {n + 1}" for n in range(count)) for kind, count in kinds))


def _of_each(name: str, given: Any, values: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the covariates of each series, (time, covariate)."""
    if given is None:
        return [np.empty((len(one), 0)) for one in values]
    arrays = [np.asarray(one, float) for one in given]
    axes = {one.shape[1:] for one in arrays}
    if len(arrays) != len(values) or len(axes) != 1 or len(next(iter(axes))) != 1:
        raise InputError(f"expected {name} as {len(values)} arrays (time, covariate) with the same covariates")
    for number, (one, own) in enumerate(zip(arrays, values, strict=True)):
        if len(one) < len(own) or (name == "past_covariates" and len(one) > len(own)):
            raise InputError(
                f"expected {name} of {len(own)} rows for series number {number}, as its values, got {len(one)}"
            )
    return arrays


def _stacked(arrays: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """Joins the arrays of all series, each filled up with NaN to its size."""
    stacked = np.full((sum(sizes), arrays[0].shape[1]), np.nan)
    start = 0
    for array, size in zip(arrays, sizes, strict=True):
        stacked[start : start + len(array)] = array
        start += size
    return stacked


def _dated(dates: Any, sizes: list[int], business_days: bool | None) -> tuple[np.ndarray, Calendar | None]:
    """Returns the row of each value, and the calendar."""
    if dates is None:
        return np.concatenate([np.arange(size) for size in sizes]), None
    try:
        seconds = [np.asarray(one, "datetime64[s]") for one in dates]
    except ValueError as error:
        raise InputError(f"expected dates that NumPy reads, such as 2024-01-31 ({shown(error)})") from None
    if [one.shape for one in seconds] != [(size,) for size in sizes]:
        raise InputError("expected dates of each series, one for each of its values and future covariates")
    flat = np.concatenate(seconds)
    calendar = calendar_of(flat, lambda row: f"row {row}", weeks=False, business_days=business_days)
    return calendar.rows(flat), calendar

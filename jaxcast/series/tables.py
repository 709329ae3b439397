"""Tables of dated series with their covariates."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.series.calendars import Calendar, calendar_of


class CovariateNames(NamedTuple):
    """The names of the covariates of a table.

    Args:
        past_covariates: of those that are known up to a row.
        future_covariates: of those that are known of later rows too.
        static_covariates: of those that are one number for each series.
    """

    past_covariates: tuple[str, ...] = ()
    future_covariates: tuple[str, ...] = ()
    static_covariates: tuple[str, ...] = ()


class SeriesTable(NamedTuple):
    """Several series on a calendar without gaps, with their covariates; NaN where no number is known.

    Args:
        names: of the series.
        calendar: of the rows.
        values: of the series.
        past_covariates: those known up to a row.
        future_covariates: those known of later rows too.
        static_covariates: one number for each region.
        missing: what the file lacks, in words.
        notes: how its dates were read, in words, where that is not plain.
        covariates: the names of the covariates.
    """

    names: tuple[str, ...]
    calendar: Calendar
    values: Float[np.ndarray, "time region"]
    past_covariates: Float[np.ndarray, "time region feature"]
    future_covariates: Float[np.ndarray, "time region feature"]
    static_covariates: Float[np.ndarray, "region feature"]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    covariates: CovariateNames = CovariateNames()

    @property
    def covariate_names(self) -> dict[str, tuple[str, ...]]:
        """The names of the covariates of each kind."""
        return self.covariates._asdict()

    def date(self, row: int) -> str:
        """Returns the date of a row as text, also of a row after the last.

        Args:
            row: its number, from 0.
        """
        return self.calendar.text(self.calendar.dates(np.asarray(row)))

    def of_series(self, numbers: Sequence[int]) -> "SeriesTable":
        """Returns the table of some of its series, in another order if wished.

        Args:
            numbers: of the series, from 0.
        """
        index = list(numbers)
        return self._replace(
            names=tuple(self.names[number] for number in index),
            values=self.values[:, index],
            past_covariates=self.past_covariates[:, index],
            future_covariates=self.future_covariates[:, index],
            static_covariates=self.static_covariates[index],
        )


@checked
def series_table(
    values: Float[Any, "time region"],
    dates: Any,
    *,
    names: Sequence[str] | None = None,
    past_covariates: Float[Any, "time region past"] | None = None,
    future_covariates: Float[Any, "later_time region future"] | None = None,
    static_covariates: Float[Any, "region static"] | None = None,
    business_days: bool | None = None,
) -> SeriesTable:
    """Makes a table of arrays, as `read_series` makes it of a file.

    Args:
        values: of the series; NaN where one is missing.
        dates: of the rows, in rising order, as NumPy's datetime64 or as texts that it reads. Dates
            that are left out are gaps.
        names: of the series; by default "1", "2" and so on.
        past_covariates: known up to a row.
        future_covariates: known of later rows too, which may come after the last of the values.
        static_covariates: one number for each series.
        business_days: whether daily dates leave weekends out; by default where none of them is on a
            weekend.

    Returns:
        The table.

    Raises:
        InputError: for dates that do not rise or are off a grid, names that are not one for each
            series, or covariates of other rows or series.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.asarray(["2024-01-07", "2024-01-14", "2024-01-28"], "datetime64[D]")
        >>> table = jaxcast.series.series_table(np.asarray([[1.0], [2.0], [4.0]]), dates, names=("north",))
        >>> table.calendar.step, table.values[:, 0].tolist()
        ('1 week', [1.0, 2.0, nan, 4.0])
    """
    values = np.asarray(values, float)
    try:
        seconds = np.asarray(dates, "datetime64[s]")
    except ValueError as error:
        raise InputError(f"expected dates that NumPy reads, such as 2024-01-31 ({shown(error)})") from None
    length, num_series = values.shape
    if seconds.shape != (length,) or not (np.diff(seconds).astype(int) > 0).all():
        raise InputError(f"expected {length} rising dates, one for each row of the values, got shape {seconds.shape}")
    names = tuple(map(str, range(1, num_series + 1))) if names is None else tuple(names)
    if len(names) != num_series or len(set(names)) < num_series:
        raise InputError(f"expected {num_series} different names, got {shown(names)}")
    calendar = calendar_of(seconds, lambda row: f"row {row}", weeks=False, business_days=business_days)
    rows = calendar.rows(seconds)

    def on_grid(array: Any, name: str) -> Float[np.ndarray, "time region covariate"]:
        if array is None:
            return np.empty((int(rows[-1]) + 1, num_series, 0))
        array = np.asarray(array, float)
        if len(array) < length:
            raise InputError(f"expected {name} of at least {length} rows, as the values, got {len(array)}")
        later = np.arange(len(array) - length) + 1 + rows[-1]
        own = np.concatenate([rows, later])
        grid = np.full((int(own[-1]) + 1, *array.shape[1:]), np.nan)
        grid[own] = array
        return grid

    past, future = on_grid(past_covariates, "past_covariates"), on_grid(future_covariates, "future_covariates")
    static = np.empty((num_series, 0)) if static_covariates is None else np.asarray(static_covariates, float)
    size = max(len(past), len(future))
    whole = [np.concatenate([a, np.full((size - len(a), *a.shape[1:]), np.nan)]) for a in (past, future)]
    grid = np.full((size, num_series), np.nan)
    grid[rows] = values
    numbered = (
        tuple(f"{kind} {n + 1}" for n in range(count))
        for kind, count in (
            ("past", past.shape[2]),
            ("future", future.shape[2]),
            ("static", static.shape[1]),
        )
    )
    return SeriesTable(names, calendar, grid, whole[0], whole[1], static, (), (), CovariateNames(*numbered))


def newest_row(values: Float[np.ndarray, "time region"]) -> int:
    """Returns the last row in which any series is known, -1 for none.

    Args:
        values: of the series.
    """
    known = np.isfinite(values).any(1)
    return int(np.max(np.nonzero(known)[0], initial=-1))

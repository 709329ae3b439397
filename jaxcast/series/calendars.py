"""Dates of a table on a grid of equal steps, weekdays or months, which may have gaps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxcast.errors import InputError
from jaxcast.io.dates import iso_week

Second, Day, Month = "datetime64[s]", "datetime64[D]", "datetime64[M]"
DAY = 86400
ONE_MONTH = np.timedelta64(1, "M")
DAYS_FROM_MONDAY = 3
"""The first day of 1970 was a Thursday."""
UNITS = ((7 * DAY, "week"), (DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
LEAST_WEEKENDS = 2
"""Weekends without a date between the first and the last, from which on a daily table is one of business days."""


class Calendar(NamedTuple):
    """The dates of the rows of a table: equal steps of seconds, weekdays or months.

    In a shorter month the date is the last day. With `weekdays`, steps are business days, and
    months end on their last one.

    Args:
        first: the date of row 0.
        seconds: between two rows; 0 where steps are months.
        months: between two rows; 0 where steps are seconds.
        day: seconds after the beginning of a month or, with `from_end`, before its end.
        from_end: whether dates are counted from the end of their months.
        weekdays: whether there are no dates on weekends.
        weeks: whether dates are written as ISO weeks.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.asarray(["2024-01-31", "2024-02-29", "2024-03-31"], "datetime64[D]")
        >>> table = jaxcast.series.series_table(np.ones((3, 1)), dates)
        >>> table.calendar.step, table.calendar.text(table.calendar.dates(np.asarray(3)))
        ('1 month', '2024-04-30')
    """

    first: np.datetime64
    seconds: int
    months: int = 0
    day: int = 0
    from_end: bool = False
    weekdays: bool = False
    weeks: bool = False

    @property
    def step(self) -> str:
        """The step in words, such as "1 week" or "3 months"."""
        size, name = (self.months, "month") if self.months else (self.seconds, "second")
        if not self.months:
            unit, name = next(pair for pair in UNITS if size % pair[0] == 0)
            size //= unit
        if self.weekdays and not self.months:
            name = f"business {name}"
        return f"{size} {name}{'s' if size > 1 else ''}"

    @property
    def slots_per_day(self) -> int:
        """The rows of a day; 0 where steps are business days, months, or no share of a day."""
        regular = self.seconds and not self.weekdays and DAY % self.seconds == 0
        return DAY // self.seconds if regular else 0

    def slots(self, rows: Any) -> Any:
        """Returns the slot of the week of each row, 0 on Monday at midnight, for rows of a share of a day.

        Args:
            rows: their numbers, from 0.
        """
        seconds = self.dates(rows).astype(Second).astype(int) + DAYS_FROM_MONDAY * DAY
        return seconds // self.seconds % (7 * self.slots_per_day)

    def dates(self, rows: Any) -> Any:
        """Returns the dates of rows, also of those after the last of the table.

        Args:
            rows: their numbers, from 0.
        """
        if self.months:
            return self._monthly(self.first.astype(Month) + rows * (self.months * ONE_MONTH))
        if self.weekdays:
            days = np.busday_offset(self.first.astype(Day), rows)
            return days.astype(Second) + (self.first - self.first.astype(Day)).astype("timedelta64[s]")
        return self.first + rows * np.timedelta64(self.seconds, "s")

    def _monthly(self, months: Any) -> Any:
        """Returns the date of each month."""
        if self.weekdays:
            return np.busday_offset((months + ONE_MONTH).astype(Day), -1, roll="forward").astype(Second)
        if self.from_end:
            return (months + ONE_MONTH).astype(Second) - np.timedelta64(self.day, "s")
        last = (months + ONE_MONTH).astype(Second) - np.timedelta64(DAY - self.day % DAY, "s")
        return np.minimum(months.astype(Second) + np.timedelta64(self.day, "s"), last)

    def rows(self, dates: Any) -> Any:
        """Returns the row of each date, rounded down where it lies between two rows.

        Args:
            dates: as NumPy's datetime64.
        """
        if self.months:
            return (dates.astype(Month) - self.first.astype(Month)).astype(int) // self.months
        if self.weekdays:
            # Of a weekend: the Friday before.
            days = np.busday_offset(dates.astype(Day), 0, roll="backward")
            return np.busday_count(self.first.astype(Day), days)
        return (dates - self.first).astype(int) // self.seconds

    def text(self, date: Any) -> str:
        """Returns a date as a table would write it.

        Args:
            date: as NumPy's datetime64.
        """
        if self.weeks:
            return iso_week(date)
        whole_days = self.seconds % DAY == 0 and self.first.astype(int) % DAY == 0
        return str(date.astype(Day if whole_days else Second))


def calendar_of(
    dates: np.ndarray, where: Callable[[int], str], *, weeks: bool = False, business_days: bool | None = None
) -> Calendar:
    """Finds the calendar of a table, whose step is the most common one between its dates.

    Args:
        dates: datetime64[s], in any order, repeated or not.
        where: what to call the row of a date in a message.
        weeks: whether the dates were written as ISO weeks.
        business_days: whether daily dates leave weekends out; None: where there is none on a
            weekend.

    Returns:
        The calendar, on which all dates lie.

    Raises:
        InputError: for less than three different dates, one that is off the grid, or a grid that is
            nearly empty.
    """
    unique = np.unique(dates)
    if len(unique) < 3:
        raise InputError(f"expected at least 3 different dates, got {len(unique)}; give a longer table")
    calendar = _monthly(unique) or _regular(unique, business_days)
    calendar = calendar._replace(weeks=weeks and calendar.step.endswith(("week", "weeks")))
    off = calendar.dates(calendar.rows(dates)) != dates
    if off.any():
        bad = int(np.argmax(off))
        raise InputError(
            f"{where(bad)}: {calendar.text(dates[bad])} is off the grid of a date every {calendar.step} from "
            f"{calendar.text(unique[0])}, as most are; fix it, or bring all dates to one grid"
        )
    length = int(calendar.rows(unique[-1:])[0]) + 1
    if length > 20 * len(unique) + 100:
        raise InputError(
            f"only {len(unique)} of the {length} dates every {calendar.step} from {calendar.text(unique[0])} to "
            f"{calendar.text(unique[-1])} are there; bring the dates to the grid that is meant"
        )
    return calendar


def _regular(unique: np.ndarray, business_days: bool | None) -> Calendar:
    steps, counts = np.unique(np.diff(unique).astype(int), return_counts=True)
    calendar = Calendar(unique[0], int(steps[counts.argmax()]))
    if calendar.seconds != DAY or business_days is False:
        return calendar
    return calendar._replace(weekdays=bool(business_days) or _leaves_weekends_out(unique))


def _leaves_weekends_out(unique: np.ndarray) -> bool:
    """Returns whether no date is on a weekend, and most weekdays between are there."""
    if not np.is_busday(unique.astype(Day)).all():
        return False
    first, last = unique[[0, -1]].astype(Day)
    between = int((last - first).astype(int)) + 1
    weekdays = int(np.busday_count(first, last)) + 1
    return between - weekdays >= 2 * LEAST_WEEKENDS and 2 * len(unique) > weekdays


def _monthly(unique: np.ndarray) -> Calendar | None:
    """Finds the calendar of dates on the same day of each month, from its beginning or its end.

    Days from the 29th on that are the last of their months are month ends, and in shorter months
    stand for them."""
    months = unique.astype(Month)
    steps = np.diff(months).astype(int)
    if not (steps > 0).all():
        return None
    sizes, counts = np.unique(steps, return_counts=True)
    plain = Calendar(unique[0], 0, int(sizes[counts.argmax()]))
    days = (unique - months).astype(int)
    to_end = ((months + ONE_MONTH).astype(Second) - unique).astype(int)
    at_end = (to_end == to_end[0]).all() and to_end[0] <= DAY and days.max() >= 28 * DAY
    found = [plain._replace(day=int(to_end[0]), from_end=True)] if at_end else []
    found.append(plain._replace(day=int(days.max())))
    found.append(plain._replace(day=int(to_end[0]), from_end=True))
    if (days % DAY == 0).all():
        found.append(plain._replace(weekdays=True))
    return next((calendar for calendar in found if (calendar._monthly(months) == unique).all()), None)

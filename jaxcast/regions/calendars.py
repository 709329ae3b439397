"""Dates of a table: on a grid of equal steps, of seconds to weeks or of months, which may have holes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxcast.errors import InputError

Second, Month = "datetime64[s]", "datetime64[M]"
UNITS = ((7 * 86400, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class Calendar(NamedTuple):
    """Row n has the date first + n steps, a step being so many seconds, or so many months where these are not 0.

    `day` is what is added to the beginning of a month or, where `from_end`, taken off its end, in seconds.
    """

    first: np.datetime64
    seconds: int
    months: int = 0
    day: int = 0
    from_end: bool = False

    @property
    def step(self) -> str:
        """Such as "1 week" or "3 months"."""
        size, name = (self.months, "month") if self.months else (self.seconds, "second")
        if not self.months:
            unit, name = next(pair for pair in UNITS if size % pair[0] == 0)
            size //= unit
        return f"{size} {name}{'s' if size > 1 else ''}"

    def dates(self, rows: Any) -> Any:
        """The dates of rows, also of those after the last of the table."""
        if not self.months:
            return self.first + rows * np.timedelta64(self.seconds, "s")
        months = self.first.astype(Month) + rows * self.months + int(self.from_end)
        return months.astype(Second) + (-self.day if self.from_end else self.day) * np.timedelta64(1, "s")

    def rows(self, dates: Any) -> Any:
        """The row of each date, rounded down where it lies between two."""
        if self.months:
            return (dates.astype(Month) - self.first.astype(Month)).astype(int) // self.months
        return (dates - self.first).astype(int) // self.seconds

    def text(self, date: Any) -> str:
        """A date as a table would write it."""
        whole_days = self.months or (self.seconds % 86400 == 0 and self.first.astype(int) % 86400 == 0)
        return str(date.astype("datetime64[D]" if whole_days else Second))


def calendar_of(dates: np.ndarray, where: Callable[[int], str]) -> Calendar:
    """The calendar of a table: its step is the most common difference between neighbouring dates.

    Args:
        dates: datetime64[s], in any order, repeated or not. where: what to call the row of a date in a message.

    Raises:
        InputError: for less than three different dates, one that is off the grid, or a grid that is nearly empty.
    """
    unique = np.unique(dates)
    if len(unique) < 3:
        raise InputError(f"expected at least 3 different dates, got {len(unique)}; give a longer table")
    calendar = _monthly(unique)
    if calendar is None:
        steps, counts = np.unique(np.diff(unique).astype(int), return_counts=True)
        calendar = Calendar(unique[0], int(steps[counts.argmax()]))
    off = calendar.dates(calendar.rows(dates)) != dates
    if off.any():
        bad = int(np.argmax(off))
        raise InputError(
            f"{where(bad)}: {calendar.text(dates[bad])} is off the grid of a date every {calendar.step} from "
            f"{calendar.text(unique[0])}, as most are; mend it, or bring all dates to one grid"
        )
    length = int(calendar.rows(unique[-1:])[0]) + 1
    if length > 20 * len(unique) + 100:
        raise InputError(
            f"only {len(unique)} of the {length} dates every {calendar.step} from {calendar.text(unique[0])} to "
            f"{calendar.text(unique[-1])} are there; bring the dates to the grid that is meant"
        )
    return calendar


def _monthly(unique: np.ndarray) -> Calendar | None:
    """The calendar of dates that all are the same day of a month, or its last."""
    months = unique.astype(Month)
    for from_end, days in ((False, unique - months), (True, (months + 1).astype(Second) - unique)):
        steps = np.diff(months).astype(int)
        if (days == days[0]).all() and (steps > 0).all():
            sizes, counts = np.unique(steps, return_counts=True)
            return Calendar(unique[0], 0, int(sizes[counts.argmax()]), int(days[0].astype(int)), from_end)
    return None

"""Dates as tables write them: ISO dates, times of day, ISO weeks, and offsets from UTC."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxcast.errors import InputError, shown

DATE = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?)"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.0*)?(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?| ?UTC)?)?"
)
WEEK = re.compile(r"(?P<year>[0-9]{4})-?W(?P<week>[0-9]{2})(?:-?(?P<day>[1-7]))?")
FEWEST_DATES = 3
"""Columns with fewer texts are not taken for dates without being asked for."""


class Moment(NamedTuple):
    """A date as written.

    Args:
        local: The date in seconds, by its own clock.
        offset: Seconds by which that clock is ahead of UTC, None where the text does not say.
        is_week: Whether the text is an ISO week.
    """

    local: np.datetime64
    offset: int | None = None
    is_week: bool = False

    @property
    def utc(self) -> np.datetime64:
        """The date in UTC."""
        return self.local - np.timedelta64(self.offset or 0, "s")


class Dates(NamedTuple):
    """The dates of a column.

    Args:
        dates: The dates, in UTC where the texts give an offset.
        are_weeks: Whether all are ISO weeks.
        notes: What was changed, in words.
    """

    dates: np.ndarray
    are_weeks: bool
    notes: tuple[str, ...]


def parse_date(text: str, where: str) -> np.datetime64:
    """Reads a date, with or without a time of day (UTC), or an ISO week, which is its Monday.

    Args:
        text: Text such as "2024-01-31", "2024-01-31 12:00+01:00" or "2024-W05".
        where: Name of its place in messages.

    Returns:
        The date in seconds, in UTC.

    Raises:
        InputError: for what is no ISO date.
    """
    found = _moment(text)
    if found is None:
        raise InputError(f"{where}: expected a date such as 2024-01-31, got {shown(repr(text.strip()), 60)}")
    return found.utc


def dates_in(texts: Sequence[str], where: Callable[[int], str]) -> Dates:
    """Reads a column of dates.

    Dates with an offset from UTC become UTC. Where the offset changes with daylight saving and
    every time is midnight, the dates are days of that place, and stay as written.

    Args:
        texts: Cells of the column.
        where: Function from a row to its name in messages.

    Returns:
        The dates, and notes on what was changed.

    Raises:
        InputError: for a text that is not a date, or some dates with an offset beside others
            without.
    """
    moments = []
    for i, text in enumerate(texts):
        if (moment := _moment(text)) is None:
            parse_date(text, where(i))
        else:
            moments.append(moment)
    offsets = {moment.offset for moment in moments}
    if None in offsets and offsets - {None, 0}:
        i = next(i for i, moment in enumerate(moments) if moment.offset is None)
        raise InputError(
            f"{where(i)}: {shown(texts[i])} has no offset from UTC, other dates have one; write all dates in UTC"
        )
    are_weeks = all(moment.is_week for moment in moments)
    if offsets <= {None, 0}:
        return Dates(np.asarray([moment.local for moment in moments]), are_weeks, ())
    example = next(text.strip() for text, moment in zip(texts, moments, strict=True) if moment.offset)
    local = np.asarray([moment.local for moment in moments])
    if len(offsets) > 1 and (local.astype(int) % 86400 == 0).all():
        note = f"the offsets from UTC, as in {shown(example, 60)}, are left out: every time is midnight of its place"
        return Dates(local, are_weeks, (note,))
    note = f"dates with an offset from UTC, as in {shown(example, 60)}, are turned into UTC"
    return Dates(np.asarray([moment.utc for moment in moments]), are_weeks, (note,))


def are_dates(texts: Sequence[str]) -> bool:
    """Returns whether a column holds dates and nothing else.

    Args:
        texts: Cells of the column.
    """
    return len(texts) >= FEWEST_DATES and all(_moment(text) is not None for text in texts)


def _moment(text: str) -> Moment | None:
    text = text.strip(" \t")
    try:
        if (week := WEEK.fullmatch(text)) is not None:
            return _week(week)
        if (date := DATE.fullmatch(text)) is None:
            return None
        time = date["time"]
        return Moment(np.datetime64(f"{date['date']}T{time}" if time else date["date"], "s"), _offset(date["zone"]))
    except ValueError:
        return None


def _offset(zone: str | None) -> int | None:
    """Returns the seconds by which a clock is ahead of UTC."""
    if zone is None:
        return None
    digits = zone.replace(":", "")[1:]
    if not digits.isdigit():
        return 0
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 14 or minutes > 59:
        raise ValueError
    return (-1 if zone[0] == "-" else 1) * (3600 * hours + 60 * minutes)


def _week(found: re.Match[str]) -> Moment:
    """Returns the Monday of an ISO week, that of the year's fourth of January, or another of its days."""
    january = np.datetime64(f"{found['year']}-01-04", "D")
    monday = january + _days(7 * (int(found["week"]) - 1) - _weekday(january))
    # The Thursday of a week lies in the year that the week is of.
    if int(found["week"]) < 1 or str(monday + _days(3))[:4] != found["year"]:
        raise ValueError
    return Moment((monday + _days(int(found["day"] or 1) - 1)).astype("datetime64[s]"), None, found["day"] is None)


def _days(number: int) -> np.timedelta64:
    return np.timedelta64(number, "D")


def _weekday(days: np.datetime64) -> int:
    return int(days.astype(int) + 3) % 7


def iso_week(date: np.datetime64) -> str:
    """Writes the ISO week of a date, such as 2024-W05.

    Args:
        date: The date.
    """
    day = date.astype("datetime64[D]")
    thursday = day + _days(3 - _weekday(day))
    year = str(thursday)[:4]
    number = int((thursday - np.datetime64(f"{year}-01-01")).astype(int)) // 7 + 1
    return f"{year}-W{number:02d}"

"""Dates of a table as whole steps: years, quarters, months, weeks or days."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxcast.errors import InputError, counted
from jaxcast.io.dates import parse_date

Frequency = Literal["year", "quarter", "month", "week", "day"]
FREQUENCIES: tuple[Frequency, ...] = ("year", "quarter", "month", "week", "day")
YEAR = re.compile(r"[0-9]{4}")
QUARTER = re.compile(r"([0-9]{4})-?[qQ]([1-4])")
MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
MONTHS: dict[str, int] = {"year": 12, "quarter": 3, "month": 1}
SEASONS: dict[str, int] = {"year": 1, "quarter": 4, "month": 12, "week": 12, "day": 12}


class Period(NamedTuple):
    """A date as written.

    Args:
        day: Its first day.
        frequency: What the text names: a year, a quarter, a month or a day.
    """

    day: np.datetime64
    frequency: Frequency


def period_in(text: str) -> Period | None:
    """Reads 2024, 2024Q1, 2024-01, 2024-W05 or a date; None for what is none of them.

    Args:
        text: Text of a cell.
    """
    text = text.strip(" \t")
    if YEAR.fullmatch(text):
        return Period(np.datetime64(f"{text}-01-01", "D"), "year")
    if quarter := QUARTER.fullmatch(text):
        return Period(np.datetime64(f"{quarter[1]}-{3 * int(quarter[2]) - 2:02d}-01", "D"), "quarter")
    try:
        day = parse_date(text, "").astype("datetime64[D]")
    except InputError:
        return None
    return Period(day, "month" if MONTH.fullmatch(text) else "day")


def find_frequency(issues: Sequence[Period], *others: Sequence[Period]) -> Frequency:
    """Finds the frequency of dates: as issues are written, or the step that fits all of their days.

    Dates of one kind share a day of the month, or are all the last of theirs, where steps are
    months, quarters or years.

    Args:
        issues: Dates of issues, of which there is at least one.
        *others: Dates of targets, and of observations.

    Raises:
        InputError: where the dates leave several steps possible.
    """
    written = {period.frequency for period in issues}
    if "day" not in written:
        return max(written, key=FREQUENCIES.index)
    kinds = [kind for kind in (issues, *others) if kind]
    days = [np.unique([period.day for period in kind]) for kind in kinds]
    names: dict[int, Frequency]
    if all(_are_of_months(each) for each in days):
        unit, names = "month", {1: "month", 3: "quarter", 12: "year"}
        gaps = [np.diff(each.astype("datetime64[M]").astype(int)) for each in days]
        gaps.append(np.asarray([MONTHS[kind[0].frequency] for kind in kinds if kind[0].frequency in MONTHS], int))
    else:
        unit, names = "day", {1: "day", 7: "week"}
        gaps = [np.diff(each).astype(int) for each in days]
    apart = np.concatenate(gaps)
    step = int(np.gcd.reduce(apart)) if apart.size else 0
    # Gaps of 28 to 31 days have no common divisor either, but are no days.
    if step not in names or (unit == "day" and step == 1 and apart.min() > 1):
        found = f"are at least {counted(int(apart.min()), unit)} apart" if apart.size else "are of one day"
        raise InputError(f"the step cannot be told from the dates, which {found}; give --frequency")
    return names[step]


def _are_of_months(days: np.ndarray) -> bool:
    """Returns whether days are one day of their months, or the last of each."""
    of_month = (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(int)
    after = days + np.timedelta64(1, "D")
    return len(set(of_month)) == 1 or bool((after == after.astype("datetime64[M]").astype("datetime64[D]")).all())


def steps_of(days: np.ndarray, frequency: Frequency) -> np.ndarray:
    """Returns the number of each date's step; weeks begin on Thursdays, the first of 1970.

    Args:
        days: Days.
        frequency: Length of a step.
    """
    if frequency in ("week", "day"):
        return days.astype("datetime64[D]").astype(int) // (7 if frequency == "week" else 1)
    months = days.astype("datetime64[M]").astype(int)
    return months // MONTHS[frequency]


def name_of(step: int, frequency: Frequency, weekday: int = 0) -> str:
    """Writes a step as tables do.

    Args:
        step: Its number.
        frequency: Length of a step.
        weekday: Days from the first of a week to the day that names it.
    """
    if frequency == "week":
        return str(np.datetime64(7 * step + weekday, "D"))
    if frequency == "day":
        return str(np.datetime64(step, "D"))
    month = np.datetime64(step * MONTHS[frequency], "M")
    if frequency == "year":
        return str(month)[:4]
    return f"{str(month)[:4]}Q{step % 4 + 1}" if frequency == "quarter" else str(month)


def seasons_of(steps: np.ndarray, frequency: Frequency) -> np.ndarray:
    """Returns the season of each step: its quarter or its month; 0 for years.

    Args:
        steps: Numbers of steps.
        frequency: Length of a step.
    """
    if frequency in ("week", "day"):
        days = (steps * (7 if frequency == "week" else 1)).astype("datetime64[D]")
        return days.astype("datetime64[M]").astype(int) % 12
    return steps % SEASONS[frequency]

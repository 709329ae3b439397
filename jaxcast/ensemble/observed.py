"""Observations of the targets of forecasts, and when each is known."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxcast.ensemble.cells import Bad, Faults, column_of, needed, periods_in
from jaxcast.ensemble.periods import FREQUENCIES, Frequency, Period, steps_of
from jaxcast.errors import InputError, shown
from jaxcast.io.tables import LARGEST, number_in, read_columns

DATE: tuple[str, ...] = ("date", "target", "target_date", "target_end_date", "season_start", "time")
VALUE: tuple[str, ...] = ("value", "observation", "truth", "season_anomaly", "oracle_value")
KNOWN: tuple[str, ...] = ("known_from", "issue")
LATEST: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("latest_date", ("latest_date", "month")),
    ("latest", ("latest", "month_anomaly")),
)


@dataclasses.dataclass
class Observations:
    """Observations by the step of their date.

    Args:
        values: Value of each step.
        known: Step of the issue from which each is known, where the table says so.
        latest: Newest observation at the step of an issue, with the step of its date.
        dropped: What was left out, in words.
    """

    values: dict[int, float]
    known: dict[int, int]
    latest: dict[int, tuple[int, float]]
    dropped: tuple[str, ...] = ()

    def values_from(self, start: int, num_steps: int) -> Float[np.ndarray, " step"]:
        """Returns the values over steps, NaN where there is none.

        Args:
            start: First step.
            num_steps: Number of steps.
        """
        return np.asarray([self.values.get(start + step, np.nan) for step in range(num_steps)])

    def known_from(self, start: int, num_steps: int) -> Float[np.ndarray, " step"] | None:
        """Returns the step from which each value is known, counted from the first; None where unsaid.

        Args:
            start: First step.
            num_steps: Number of steps.
        """
        if not self.known:
            return None
        never = 10 * (abs(start) + num_steps)  # a value that is not known has no step
        return np.asarray([float(self.known.get(start + step, start + never) - start) for step in range(num_steps)])

    def usual_wait(self, verified: int) -> int:
        """Returns the usual number of steps from a date until its value is known.

        Args:
            verified: That number where the table does not say.
        """
        waits = [known - date for date, known in self.known.items()]
        return max(0, max(set(waits), key=waits.count)) if waits else verified

    def latest_from(self, start: int, num_issues: int) -> Float[np.ndarray, " issue"] | None:
        """Returns the newest observation of each issue; None where the table has none.

        Args:
            start: First issue.
            num_issues: Number of issues.
        """
        if not self.latest:
            return None
        age = self.latest_age
        found = [self.latest.get(start + step) for step in range(num_issues)]
        # One that is older than usual would be taken for a newer one.
        fits = [each is not None and start + step - each[0] == age for step, each in enumerate(found)]
        return np.asarray([each[1] if fit and each else np.nan for each, fit in zip(found, fits, strict=True)])

    def steps_missing(self, last: int, verified: int) -> int:
        """Returns by how many steps the newest value is older than it usually is at an issue.

        Args:
            last: Step of the issue.
            verified: Steps from a date until its value is known, where the table does not say.
        """
        return max(0, last - self.usual_wait(verified) - max(self.values))

    @property
    def latest_age(self) -> int:
        """Usual number of steps from the date of the newest observation to the issue."""
        ages = [issue - date for issue, (date, _) in self.latest.items()]
        return max(0, max(set(ages), key=ages.count)) if ages else 1


def read_observations(
    paths: Sequence[Path], given: Mapping[str, str], frequency: Frequency, *, bad: Bad
) -> Observations:
    """Reads observations.

    Args:
        paths: The tables.
        given: Names of columns that were given.
        frequency: Length of a step.
        bad: Whether rows that cannot be used stop the reading.

    Returns:
        The observations.

    Raises:
        InputError: for missing columns, rows that cannot be used, and tables without a value.
    """
    faults, found = Faults(bad), Observations({}, {}, {})
    for path in paths:
        _read_file(path, given, frequency, faults, found)
    if not found.values:
        raise InputError(f"{shown(paths[0])} holds no observation; give rows of date and value")
    found.dropped = faults.lines
    return found


def observed_dates(paths: Sequence[Path], given: Mapping[str, str]) -> list[Period]:
    """Returns the dates of observations that can be read.

    Args:
        paths: The tables.
        given: Names of columns that were given.

    Raises:
        InputError: for a table without a column of dates.
    """
    dates: list[Period] = []
    for path in paths:
        columns = read_columns(path)
        texts = columns.by_name[needed(columns, path, "date", DATE, given)]
        dates += [period for period in periods_in(texts) if period is not None]
    return dates


def _read_file(path: Path, given: Mapping[str, str], frequency: Frequency, faults: Faults, found: Observations) -> None:
    columns = read_columns(path)
    renamed = dict(given) | ({"value": given["observation"]} if "observation" in given else {})
    renamed = {name: column for name, column in renamed.items() if name != "value" or "observation" in given}
    names: dict[str, str | None] = {
        "date": needed(columns, path, "date", DATE, renamed),
        "value": needed(columns, path, "value", VALUE, renamed),
        "known_from": column_of(columns, "known_from", KNOWN, renamed),
    }
    names |= {name: column_of(columns, name, usual, renamed) for name, usual in LATEST}
    texts = {name: columns.by_name[column] for name, column in names.items() if column is not None}
    steps = {name: _steps(texts[name], frequency) for name in ("date", "known_from", "latest_date") if name in texts}
    for row in range(len(texts["date"])):
        date, value = steps["date"][row], number_in(texts["value"][row])
        known = steps["known_from"][row] if "known_from" in steps else None
        wrong = "date" if date is None else "value" if value is None or abs(value) > LARGEST else ""
        if "known_from" in steps and known is None:
            wrong = "known_from"
        if wrong or date is None or value is None:
            what = f"{wrong} cannot be used" if wrong == "value" else f"{wrong} names no {frequency}"
            faults.add(columns.where(row), f"{what}, got {shown(repr(texts[wrong][row]), 60)}", f"no {wrong}")
            continue
        if known is not None and known < date:
            cells = f"{shown(repr(texts['known_from'][row]), 60)} before date {shown(repr(texts['date'][row]), 60)}"
            faults.add(
                columns.where(row), f"known_from must not be before date, got {cells}", "a known_from before date"
            )
            continue
        _add(found, date, value, known, columns.where(row), faults)
        if known is not None and "latest" in texts and "latest_date" in steps:
            latest, newest = number_in(texts["latest"][row]), steps["latest_date"][row]
            if latest is not None and newest is not None and abs(latest) <= LARGEST:
                found.latest[known] = (newest, latest)


def _add(found: Observations, date: int, value: float, known: int | None, where: str, faults: Faults) -> None:
    """Adds a value; a later row of the same date must give the same one, which is known from the earliest issue."""
    if not np.isfinite(value):
        return
    if found.values.setdefault(date, value) != value:
        faults.add(where, f"a second value of the same date, {value:g} beside {found.values[date]:g}", "another value")
    elif known is not None:
        found.known[date] = min(known, found.known.get(date, known))


def _steps(texts: Sequence[str], frequency: Frequency) -> list[int | None]:
    """Returns the step of each date; None for what is not a date, or longer than a step."""
    finest = FREQUENCIES.index(frequency)
    return [
        None
        if each is None or FREQUENCIES.index(each.frequency) < finest
        else int(steps_of(np.asarray([each.day]), frequency)[0])
        for each in periods_in(texts)
    ]

"""Rows of tables of forecasts."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from jaxcast.checks import check_names
from jaxcast.ensemble.cells import Bad, Faults, column_of, needed, periods_in
from jaxcast.ensemble.periods import Frequency, Period, find_frequency, period_in, steps_of
from jaxcast.errors import InputError, shown
from jaxcast.io.tables import LARGEST, number_in, read_columns


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of forecasts that can be used.

    Args:
        issue: Step of each issue.
        target: Step of each target.
        model: Name of each model.
        value: The forecasts.
        group: Group of each model that has one.
        frequency: Length of a step.
        first_lead: Lead, as the table counts it, of a target at the issue itself.
        weekday: Days from the first of a week to the day that names it.
        dropped: What was left out, in words.
    """

    issue: Int[np.ndarray, " row"]
    target: Int[np.ndarray, " row"]
    model: list[str]
    value: Float[np.ndarray, " row"]
    group: dict[str, str]
    frequency: Frequency
    first_lead: int
    weekday: int
    dropped: tuple[str, ...]

    def only(self, keeps: np.ndarray, wanted: str) -> "Rows":
        """Returns some of the rows.

        Args:
            keeps: Which rows to keep.
            wanted: What they are, for a message.

        Raises:
            InputError: where none is left.
        """
        if not keeps.any():
            raise InputError(f"no forecast is {wanted}; ask for others")
        models = [name for name, keep in zip(self.model, keeps, strict=True) if keep]
        return dataclasses.replace(
            self, issue=self.issue[keeps], target=self.target[keeps], model=models, value=self.value[keeps]
        )

    def within(self, first: str | None, last: str | None) -> "Rows":
        """Returns the rows of issues in a range.

        Args:
            first: First issue; None for no bound.
            last: Last issue; None for no bound.

        Raises:
            InputError: for what is not a date, or no issue in the range.
        """
        keeps = np.ones(len(self.issue), bool)
        for name, text in (("first", first), ("last", last)):
            if text is None:
                continue
            period = period_in(text)
            if period is None:
                raise InputError(f"{name} must be a date such as 2024-01, got {shown(repr(text))}")
            step = steps_of(np.asarray([period.day]), self.frequency)[0]
            keeps &= self.issue >= step if name == "first" else self.issue <= step
        return self.only(keeps, f"issued from {first or 'the first'} to {last or 'the last'}")

    def of_models(self, models: Sequence[str]) -> "Rows":
        """Returns the rows of some models.

        Args:
            models: Their names; all for none.

        Raises:
            InputError: for a model that is not there.
        """
        if not models:
            return self
        check_names("model", models, sorted(set(self.model)))
        return self.only(np.isin(np.asarray(self.model), list(models)), "of these models")


def read_rows(
    paths: Sequence[Path],
    usual: Mapping[str, tuple[str, ...]],
    given: Mapping[str, str],
    *,
    frequency: Frequency | None,
    bad: Bad,
    observed: Sequence[Period] = (),
) -> Rows:
    """Reads the rows of tables of forecasts.

    Args:
        paths: The tables.
        usual: Usual names of the columns.
        given: Names that were given.
        frequency: Length of a step; None to find it.
        bad: Whether rows that cannot be used stop the reading.
        observed: Dates of observations, by which to find the frequency.

    Returns:
        The rows.

    Raises:
        InputError: for missing columns, rows that cannot be used, and a step that cannot be found.
    """
    faults, found = Faults(bad), _Found([], [], [], [], [], {})
    for path in paths:
        _read_file(path, usual, given, faults, found)
    if not found.model:
        raise InputError(
            f"{shown(paths[0])} holds no forecast that can be used; give rows of issue, model, lead, value"
        )
    step = frequency or find_frequency(found.issue, [each for each in found.target if each], observed)
    issue = steps_of(np.asarray([period.day for period in found.issue]), step)
    target, first_lead = _targets(issue, found, step, faults)
    keeps = _without_duplicates(issue, target, found, step, faults)
    names = [found.model[row] for row in keeps]
    weekday = int(found.issue[0].day.astype(int)) % 7
    return Rows(
        issue=issue[keeps],
        target=target[keeps],
        model=names,
        value=np.asarray([found.value[row][0] for row in keeps]),
        group=found.group,
        frequency=step,
        first_lead=first_lead,
        weekday=weekday,
        dropped=faults.lines,
    )


@dataclasses.dataclass
class _Found:
    """Cells of the rows that can be read; a value has its place, for messages."""

    issue: list[Period]
    target: list[Period | None]
    lead: list[int | None]
    model: list[str]
    value: list[tuple[float, str]]
    group: dict[str, str]


def _read_file(
    path: Path, usual: Mapping[str, tuple[str, ...]], given: Mapping[str, str], faults: Faults, found: _Found
) -> None:
    columns = read_columns(path)
    names = {name: needed(columns, path, name, usual[name], given) for name in ("issue", "model", "value")}
    others = {name: column_of(columns, name, usual[name], given) for name in ("lead", "target", "group")}
    if others["lead"] is None and others["target"] is None:
        raise InputError(
            f"{shown(path)} has no column lead or target; its columns are {shown(', '.join(columns.by_name))}"
        )
    size = len(columns.by_name[names["issue"]])
    texts = {name: columns.by_name[column] for name, column in names.items()}
    texts |= {name: [""] * size if column is None else columns.by_name[column] for name, column in others.items()}
    issues, targets = periods_in(texts["issue"]), periods_in(texts["target"])
    for row in range(size):
        cells = {name: column[row].strip() for name, column in texts.items()}
        value, lead = number_in(cells["value"]), _whole(cells["lead"])
        fault = _fault_of(cells, issues[row], targets[row], lead, value, others)
        issue = issues[row]
        if fault or issue is None or value is None:
            faults.add(
                columns.where(row), f"{fault} cannot be used, got {shown(repr(cells[fault]), 60)}", f"no {fault}"
            )
            continue
        found.issue.append(issue)
        found.target.append(targets[row])
        found.lead.append(lead)
        found.model.append(cells["model"])
        found.value.append((value, columns.where(row)))
        if cells["group"]:
            found.group.setdefault(cells["model"], cells["group"])


def _fault_of(
    cells: Mapping[str, str],
    issue: Period | None,
    target: Period | None,
    lead: int | None,
    value: float | None,
    others: Mapping[str, str | None],
) -> str:
    """Returns the column of a row that cannot be used; nothing where all can."""
    if issue is None:
        return "issue"
    if not cells["model"]:
        return "model"
    if others["target"] is not None and target is None:
        return "target"
    if others["target"] is None and lead is None:
        return "lead"
    if value is None or not abs(value) <= LARGEST:
        return "value"
    return ""


def _whole(text: str) -> int | None:
    number = number_in(text)
    return None if number is None or not abs(number) < 1e6 or number != round(number) else int(number)


def _targets(issue: np.ndarray, found: _Found, frequency: Frequency, faults: Faults) -> tuple[np.ndarray, int]:
    """Returns the step of each target, and the lead of a target at its issue."""
    leads = found.lead
    lone = [row for row, each in enumerate(found.target) if each is None]  # their table has no column of targets
    days = [found.issue[row].day if each is None else each.day for row, each in enumerate(found.target)]
    target = steps_of(np.asarray(days), frequency)
    target[lone] += np.asarray([leads[row] for row in lone], int)
    both = [row for row, lead in enumerate(leads) if lead is not None and found.target[row] is not None]
    if not both:
        return target, 0
    shifts = np.asarray([leads[row] - (target[row] - issue[row]) for row in both])
    usual = Counter(shifts.tolist()).most_common(1)[0][0]
    if lone and usual != 0:
        raise InputError(
            f"{found.value[lone[0]][1]}: a lead without a target counts from the issue, but lead {usual} is the issue "
            "itself where targets are given; give targets in all tables, or in none"
        )
    for row in np.asarray(both)[shifts != usual]:
        what = f"lead {leads[row]} does not go with issue and target, which are {target[row] - issue[row]} steps apart"
        faults.add(found.value[row][1], what, "a lead that does not go with issue and target")
        target[row] = np.iinfo(int).min
    return target, int(usual)


def _without_duplicates(
    issue: np.ndarray, target: np.ndarray, found: _Found, frequency: Frequency, faults: Faults
) -> list[int]:
    """Returns the rows to keep: those with a target, and the first of several of one task."""
    seen: dict[tuple[int, int, str], int] = {}
    for row in range(len(issue)):
        if target[row] == np.iinfo(int).min:
            continue
        key = (int(issue[row]), int(target[row]), found.model[row])
        if key in seen:
            what = f"a second forecast of {shown(found.model[row])} for the same issue and target"
            faults.add(found.value[row][1], what, "a second forecast of the same issue, model and target")
            continue
        seen[key] = row
    return list(seen.values())

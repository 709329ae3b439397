"""Checks of a submission's values, dates and required rows."""

import datetime
from typing import Any

from jaxcast.errors import shown
from jaxcast.hub.config.description import ModelTask, OutputType, Round
from jaxcast.hub.tables.file_groups import ROW
from jaxcast.hub.validation.submitted import (
    NUMBER,
    TASK,
    TYPE,
    TYPE_ID,
    VALUE,
    SubmittedTable,
    cell,
    first_lines,
    text_of,
)
from jaxcast.io.tables import polars

STEP_DAYS = {"day": 1, "days": 1, "week": 7, "weeks": 7}
"""Days of a target's unit of time, where they are always the same."""
MOST_OFF_ONE = 1.5e-8
"""How far from 1 the sum of a pmf may be: the tolerance of R's all.equal, with which hubs compare."""
RANK = "(rank)"


def step_days_of(group: Round) -> int | None:
    """Returns the days of one step of the horizon; None where tasks differ or do not say.

    Args:
        group: Description of a round.
    """
    units = {target.time_unit for task in group.model_tasks for target in task.targets if target.is_step_ahead}
    return STEP_DAYS.get(str(next(iter(units)))) if len(units) == 1 else None


def days_beyond(frame: Any, group: Round) -> Any:
    """Returns rows with the days from the round's date to the target date beyond the horizon's.

    They are 0 where the target date of horizon 0 is that of the round. Hubs whose rounds are on
    Wednesdays and whose weeks end on Sundays have another number.

    Args:
        frame: Rows of a submission, all cells text.
        group: Description of its round.

    Returns:
        The rows with a column "days"; None where a column is missing or the step is not known.
    """
    pl, step = polars(), step_days_of(group)
    names = (group.round_id, "horizon", "target_end_date")
    if not group.is_from_variable or step is None or any(name not in frame.columns for name in names):
        return None
    start, end = (pl.col(name).str.to_date("%Y-%m-%d", strict=False) for name in (names[0], names[2]))
    horizon = pl.col("horizon").cast(pl.Float64, strict=False).cast(pl.Int32, strict=False)
    rows = frame.with_columns(((end - start).dt.total_days() - step * horizon).alias("days"))
    return rows.filter(pl.col("days").is_not_null())


def check_dates(table: SubmittedTable, expected: int | None) -> list[str]:
    """Returns the rows whose target date does not go with the round's date and the horizon.

    Args:
        table: The submission.
        expected: Days from the round's date to the target date of horizon 0, as other submissions
            of the hub have them; None where there is none, so that most rows decide.
    """
    rows = days_beyond(table.frame, table.group)
    if rows is None or not len(rows):
        return []
    days = int(rows["days"].mode().sort()[0]) if expected is None else expected
    wrong = rows.filter(polars().col("days") != days)
    lines = (
        f"{table.where([row[ROW]])}: expected target_end_date {_moved(row['target_end_date'], days - row['days'])} at "
        f"horizon {row['horizon']} of {shown(table.group.round_id)} {row[table.group.round_id]}, got "
        f"{row['target_end_date']}"
        for row in wrong.iter_rows(named=True)
    )
    return first_lines(lines, len(wrong))


def _moved(date: str, days: int) -> datetime.date:
    return datetime.date.fromisoformat(date) + datetime.timedelta(days)


def check_values(table: SubmittedTable) -> list[str]:
    """Returns the values that are of another type than the hub's, or out of its bounds.

    Args:
        table: The submission, with numbers.
    """
    lines: list[str] = []
    for rows, _, kind in _by_type(table):
        for expected, is_wrong in _wrong_values(kind):
            wrong = rows.filter(is_wrong)
            found = (
                f"{table.where([row[ROW]])}: expected the value of {kind.name} to be {expected}, got {cell(row[VALUE])}"
                for row in wrong.iter_rows(named=True)
            )
            lines += first_lines(found, len(wrong))
    return lines


def _wrong_values(kind: OutputType) -> list[tuple[str, Any]]:
    """Returns what an output type expects of values, with an expression for those that differ."""
    number = polars().col(NUMBER)
    is_number = (number.is_not_null() & number.is_finite()).fill_null(False)
    tests = []
    if kind.value_type in ("integer", "double", "numeric"):
        tests.append(("a number", ~is_number))
    if kind.value_type == "integer":
        tests.append(("a whole number", is_number & (number != number.round())))
    if kind.minimum is not None:
        tests.append((f"at least {kind.minimum:g}", is_number & (number < kind.minimum)))
    if kind.maximum is not None:
        tests.append((f"at most {kind.maximum:g}", is_number & (number > kind.maximum)))
    return tests


def _is_wrong(kind: OutputType) -> Any:
    """Returns an expression for the rows whose value is of another type or out of bounds."""
    return polars().any_horizontal([False, *(is_wrong.fill_null(True) for _, is_wrong in _wrong_values(kind))])


def _by_type(table: SubmittedTable) -> list[tuple[Any, ModelTask, OutputType]]:
    """Returns the rows of each output type of each model task."""
    pl = polars()
    return [
        (table.frame.filter((pl.col(TASK) == i) & (pl.col(TYPE) == kind.name)), task, kind)
        for i, task in enumerate(table.tasks)
        for kind in task.output_types
    ]


def check_ascending(table: SubmittedTable) -> list[str]:
    """Returns the quantiles and values of a cdf that fall where their id rises.

    Args:
        table: The submission, with numbers.
    """
    pl = polars()
    names, lines = table.group.task_id_names, []
    for rows, _, kind in _by_type(table):
        if kind.name not in ("quantile", "cdf") or not len(rows):
            continue
        ids = kind.ids + kind.optional_ids
        is_text = any(isinstance(each, str) for each in ids)
        order = {str(each): i for i, each in enumerate(ids)}
        rank = pl.col(TYPE_ID).replace_strict(order, default=None) if is_text else pl.col(TYPE_ID).cast(pl.Float64)
        rows = rows.filter(~_is_wrong(kind))  # reported by the check of values
        rows = rows.with_columns(rank.cast(pl.Float64).alias(RANK)).sort(RANK)
        before = [pl.col(name).shift(1).over(names).alias(f"(last {name})") for name in (NUMBER, TYPE_ID, VALUE, ROW)]
        falls = rows.with_columns(before).filter(pl.col(NUMBER) < pl.col(f"(last {NUMBER})")).sort(ROW)
        found = (
            f"{table.where(sorted([row[ROW], row[f'(last {ROW})']]))}: expected {kind.name} {row[TYPE_ID]} of "
            f"{table.described(row, table.compared)} to be at least {kind.name} {row[f'(last {TYPE_ID})']}, "
            f"{row[f'(last {VALUE})']}, got {row[VALUE]}"
            for row in falls.iter_rows(named=True)
        )
        lines += first_lines(found, len(falls))
    return lines


def check_sums(table: SubmittedTable) -> list[str]:
    """Returns the pmfs whose probabilities do not sum to 1.

    Args:
        table: The submission, with numbers.
    """
    pl = polars()
    pmfs = [(rows, kind) for rows, _, kind in _by_type(table) if kind.name == "pmf"]
    wrong = {row for rows, kind in pmfs for row in rows.filter(_is_wrong(kind))[ROW]}
    sums = (
        table.frame.filter(pl.col(TYPE) == "pmf")
        .group_by(table.group.task_id_names, maintain_order=True)
        .agg(pl.col(NUMBER).sum(), pl.col(ROW))
        .filter((pl.col(NUMBER) - 1).abs() > MOST_OFF_ONE)
        .filter(~pl.col(ROW).list.eval(pl.element().is_in(list(wrong))).list.any())  # reported by the check of values
    )
    lines = (
        f"{table.where(row[ROW])}: expected the pmf of {table.described(row, table.compared)} to sum to 1, got "
        f"{row[NUMBER]:.9g}"
        for row in sums.iter_rows(named=True)
    )
    return first_lines(lines, len(sums))


def check_required(table: SubmittedTable) -> list[str]:
    """Returns which required tasks, output types and ids are missing.

    Where a submission holds a task, it must also hold the tasks that differ from it by a required
    value; each task must have the required output types, and each of its output types all required
    ids. Where every task id has required values, these are needed in any case.

    Args:
        table: The submission, with numbers.
    """
    lines: list[str] = []
    for i, task in enumerate(table.tasks):
        rows = table.frame.filter(polars().col(TASK) == i)
        lines += _missing_tasks(table, task, rows)
        lines += _missing_types(table, task, rows)
    return lines


def _missing_tasks(table: SubmittedTable, task: ModelTask, rows: Any) -> list[str]:
    pl, lines = polars(), []
    columns = [each for each in task.task_ids if each.name in table.compared and each.name != table.group.round_id]
    names = [each.name for each in columns]
    if not len(rows):
        is_needed = any(kind.is_required for kind in task.output_types)
        if columns and is_needed and all(each.required for each in columns):
            first = ", ".join(f"{each.name} {each.required[0]}" for each in columns)
            lines.append(f"{table.path.name}: expected the required tasks such as {shown(first)}, got no such row")
        return lines
    there = rows.select(names).unique(maintain_order=True)
    for each in columns:
        if not each.required:
            continue
        others = [name for name in names if name != each.name]
        required = pl.DataFrame({each.name: [text_of(value) for value in each.required]})
        wanted = there.select(others).unique(maintain_order=True).join(required, how="cross") if others else required
        missing = wanted.join(there, on=names, how="anti", nulls_equal=True)
        found = (
            f"{table.path.name}: expected rows of {table.described(row, names)} ({each.name} {row[each.name]} is "
            "required), got none"
            for row in missing.iter_rows(named=True)
        )
        lines += first_lines(found, len(missing))
    return lines


def _missing_types(table: SubmittedTable, task: ModelTask, rows: Any) -> list[str]:
    pl, names = polars(), table.compared
    lines: list[str] = []
    there = rows.group_by(names, maintain_order=True).agg(pl.col(ROW).first())
    for kind in task.output_types:
        of_kind = rows.filter(pl.col(TYPE) == kind.name)
        ids = of_kind.group_by(names, maintain_order=True).agg(pl.col(TYPE_ID), pl.col(ROW))
        if kind.is_required:
            without = there.join(ids, on=names, how="anti", nulls_equal=True)
            found = (
                f"{table.path.name}: expected the required output type {kind.name} of {table.described(row, names)}, "
                "got none"
                for row in without.iter_rows(named=True)
            )
            lines += first_lines(found, len(without))
        if kind.ids:
            lines += _missing_ids(table, kind, ids)
    return lines


def _missing_ids(table: SubmittedTable, kind: OutputType, ids: Any) -> list[str]:
    pl = polars()
    count = pl.col(TYPE_ID).list.unique().list.len()
    lacking = ids.filter(count < len(kind.ids) + len(kind.optional_ids))
    found = [
        (row, missing)
        for row in lacking.iter_rows(named=True)
        if (missing := [shown(each) for each in kind.ids if not _is_in(each, row[TYPE_ID])])
    ]
    lines = (
        f"{table.where(row[ROW])}: expected {kind.name} {', '.join(missing[:4])}{', ...' * (len(missing) > 4)} of "
        f"{table.described(row, table.compared)}, got no such row"
        for row, missing in found
    )
    return first_lines(lines, len(found))


def _is_in(value: Any, texts: list[str]) -> bool:
    if isinstance(value, str):
        return value in texts
    return any(_number(text) == round(float(value), 10) for text in texts)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else round(float(text), 10)
    except ValueError:
        return None

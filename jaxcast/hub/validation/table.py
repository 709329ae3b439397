"""Checks of a submission's table: its columns, its round, and the tasks of its rows."""

from typing import Any

from jaxcast.errors import shown
from jaxcast.hub.config.description import ModelTask, OutputType, Value
from jaxcast.hub.tables.file_groups import ROW
from jaxcast.hub.validation.submitted import (
    DECIMALS,
    TASK,
    TYPE,
    TYPE_ID,
    VALUE,
    SubmittedTable,
    cell,
    first_lines,
    fits_id,
    is_among,
)
from jaxcast.io.tables import polars


def check_columns(table: SubmittedTable) -> list[str]:
    """Returns which columns are missing or unknown.

    Args:
        table: The submission.
    """
    wanted = [*table.group.task_id_names, TYPE, TYPE_ID, VALUE]
    missing = [name for name in wanted if name not in table.columns]
    unknown = [name for name in table.columns if name not in wanted]
    lines = []
    if missing:
        lines.append(f"{table.path.name}: expected the columns {shown(', '.join(wanted))}, got no {', '.join(missing)}")
    if unknown:
        lines.append(
            f"{table.path.name}: expected no columns but {shown(', '.join(wanted))}, got "
            f"{shown(', '.join(name or 'one without a name' for name in unknown))}"
        )
    return lines


def check_round_column(table: SubmittedTable) -> list[str]:
    """Returns whether the column of the round is missing.

    Args:
        table: The submission.
    """
    name = table.group.round_id
    if not table.group.is_from_variable or name in table.columns:
        return []
    return [f"{table.path.name}: expected a column {shown(name)} with the round, got {shown(', '.join(table.columns))}"]


def check_one_round(table: SubmittedTable) -> list[str]:
    """Returns whether there are rows of several rounds, or none.

    Args:
        table: The submission.
    """
    if not table.group.is_from_variable:
        return []
    name = table.group.round_id
    found = table.frame.group_by(name, maintain_order=True).agg(polars().col(ROW).first())
    if len(found) == 1:
        return []
    if not len(found):
        return [f"{table.path.name}: expected at least one row, got none"]
    other = found.filter(polars().col(name).ne_missing(table.round_id)).row(0, named=True)
    rounds = ", ".join(str(each) for each in found[name].to_list()[:4])
    return [f"{table.where([other[ROW]])}: expected one {shown(name)} in all rows, got {shown(rounds)}"]


def check_matching_round(table: SubmittedTable) -> list[str]:
    """Returns whether the rows are of another round than the file's name says.

    Args:
        table: The submission.
    """
    if not table.group.is_from_variable:
        return []
    name = table.group.round_id
    wrong = table.frame.filter(polars().col(name).ne_missing(table.round_id))
    if not len(wrong):
        return []
    row = wrong.row(0, named=True)
    return [
        f"{table.where([row[ROW]])}: expected {shown(name)} {table.round_id} as in the file's name, got "
        f"{shown(row[name])}"
    ]


def check_types(table: SubmittedTable) -> list[str]:
    """Returns which columns have another type than the hub's values.

    Of a .csv these are whole numbers that are written with a point, which hubs read as text.

    Args:
        table: The submission.
    """
    if table.path.suffix == ".csv":
        return [line for name in table.integers for line in _with_points(table, name)]
    kinds = [kind for task in table.tasks for kind in task.output_types]
    ids: list[Value] = [value for kind in kinds for value in kind.ids + kind.optional_ids]
    texts = any(kind.samples is not None and kind.samples.id_type == "character" for kind in kinds)
    wanted = {name: type_of(table.group.values_of(name)) for name in table.group.task_id_names} | {
        TYPE: "text",
        TYPE_ID: "text" if texts or any(isinstance(each, str) for each in ids) else "number",
        VALUE: "number" if all(kind.value_type in ("double", "integer") for kind in kinds) else "text",
    }
    return [
        f"{table.path.name}: expected {kind} in the column {shown(name)}, got cells of type {shown(table.dtypes[name])}"
        for name, kind in wanted.items()
        if not _is_of_type(table.dtypes[name], kind)
    ]


def _with_points(table: SubmittedTable, name: str) -> list[str]:
    if name not in table.columns:
        return []
    wrong = table.frame.filter(polars().col(name).str.contains(DECIMALS).fill_null(False))
    if not len(wrong):
        return []
    text = wrong[name][0]
    whole = text.split(".")[0]
    return [f"{table.where(wrong[ROW].to_list())}: expected {shown(name)} like {whole}, got {cell(text)}"]


def type_of(values: list[Value]) -> str:
    """Returns the type of a column: "integer", "number", "date", "text", or "any" without values.

    Args:
        values: The values that its cells may have.
    """
    if values and all(isinstance(each, int) for each in values):
        return "integer"
    if values and all(isinstance(each, int | float) for each in values):
        return "number"
    if values and all(isinstance(each, str) and _is_date(each) for each in values):
        return "date"
    return "text" if values else "any"


def _is_date(text: str) -> bool:
    return len(text) == 10 and text[4] == text[7] == "-" and text.replace("-", "").isdigit()


def _is_of_type(dtype: Any, kind: str) -> bool:
    pl = polars()
    if dtype == pl.Null or kind == "any":
        return True
    if kind in ("integer", "number"):
        return bool(dtype.is_integer() or (kind == "number" and dtype.is_numeric()))
    is_text = dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)
    return bool(dtype == pl.Date) if kind == "date" else is_text


def check_tasks(table: SubmittedTable) -> list[str]:
    """Returns the rows whose task, output type or its id the hub does not have.

    Args:
        table: The submission, with numbers.
    """
    wrong = table.frame.filter(polars().col(TASK).is_null())
    lines = (_why_not(table, row) for row in wrong.iter_rows(named=True))
    return first_lines(lines, len(wrong))


def _why_not(table: SubmittedTable, row: dict[str, Any]) -> str:
    """Describes why no model task has a row: one cell, or only the combination of cells."""
    cells = polars().DataFrame([row], schema=table.frame.schema)
    where = table.where([row[ROW]])
    for name in table.compared:
        columns = [each for task in table.tasks if (each := task.task_id(name))]
        if not any(cells.select(is_among(name, each.values)).item() for each in columns):
            known = list(dict.fromkeys(table.group.values_of(name)))
            return f"{where}: expected {shown(name)} to be {_one_of(known)}, got {cell(row[name])}"
    # The tasks that the row could be of, by its task ids alone.
    fitting = [task for task in table.tasks if _has_task_ids(table, cells, task)]
    kinds = [kind for task in fitting or table.tasks for kind in task.output_types]
    named = [kind for kind in kinds if kind.name == row[TYPE]]
    if not named:
        known = list(dict.fromkeys(kind.name for kind in kinds))
        of = f" of {table.described(row, table.compared)}" if fitting else ""
        return f"{where}: expected output_type{of} to be {_one_of(known)}, got {cell(row[TYPE])}"
    if not any(cells.select(fits_id(kind)).item() for kind in named):
        return f"{where}: expected output_type_id of {row[TYPE]} to be {_ids(named[0])}, got {cell(row[TYPE_ID])}"
    return f"{where}: expected a task of the hub, got {table.described(row, [*table.compared, TYPE])}"


def _has_task_ids(table: SubmittedTable, cells: Any, task: ModelTask) -> bool:
    compared = [each for each in task.task_ids if each.name not in table.group.derived_task_ids]
    return all(cells.select(is_among(each.name, each.values)).item() for each in compared)


def _ids(kind: OutputType) -> str:
    if kind.samples is not None:
        longest = f" of at most {kind.samples.max_length} characters" if kind.samples.max_length else ""
        return "a whole number" if kind.samples.id_type == "integer" else f"text{longest}"
    return _one_of(list(kind.ids + kind.optional_ids))


def _one_of(values: list[Value]) -> str:
    if not values:
        return "empty"
    some = [shown(f"{each:g}" if isinstance(each, float) else each) for each in values]
    return " or ".join(some) if len(some) < 6 else f"one of {', '.join(some[:3])}, ..., {some[-1]}"


def check_derived(table: SubmittedTable) -> list[str]:
    """Returns the cells of derived columns that the hub does not list.

    Args:
        table: The submission, with numbers.
    """
    pl = polars()
    lines: list[str] = []
    for name in table.group.derived_task_ids:
        if name not in table.columns:
            continue
        known = table.group.values_of(name)
        wrong = table.frame.filter(~is_among(name, known) if known else pl.col(name).is_not_null())
        lines += first_lines(
            (
                f"{table.where([row[ROW]])}: expected {shown(name)} to be {_one_of(known)}, got {cell(row[name])}"
                for row in wrong.iter_rows(named=True)
            ),
            len(wrong),
        )
    return lines


def check_unique(table: SubmittedTable) -> list[str]:
    """Returns the rows that repeat another one's task, output type and id.

    Args:
        table: The submission.
    """
    pl = polars()
    keys = [*table.group.task_id_names, TYPE, TYPE_ID]
    twice = table.frame.group_by(keys, maintain_order=True).agg(pl.col(ROW)).filter(pl.col(ROW).list.len() > 1)
    lines = (
        f"{table.where(row[ROW])}: expected one row of {table.described(row, [*table.compared, TYPE, TYPE_ID])}, got "
        f"{len(row[ROW])}"
        for row in twice.iter_rows(named=True)
    )
    return first_lines(lines, len(twice))

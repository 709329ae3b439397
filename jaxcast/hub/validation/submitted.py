"""The table of a submission, its cells as text, beside what the hub says of its round."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from jaxcast.errors import InputError, shown
from jaxcast.hub.config.description import ModelTask, Round, Value
from jaxcast.hub.tables.cells import as_text
from jaxcast.hub.tables.file_groups import ROW, scan_file
from jaxcast.hub.tables.scan import collected
from jaxcast.io.tables import polars

TYPE, TYPE_ID, VALUE = "output_type", "output_type_id", "value"
MOST_LINES = 5
"""Failures of one check that are described; the others are counted."""
NUMBER, TASK = "(number)", "(task)"
COMMAS, NEWLINE = re.compile(rb"^,+\r?$", re.MULTILINE), b"\n"
"""A row of commas alone, as spreadsheets leave them, which hubs read as one without a round."""
DECIMALS = r"^([+-]?\d+)\.0*$"
"""A whole number that is written with a point."""


@dataclasses.dataclass(frozen=True)
class SubmittedTable:
    """A submission's rows.

    Args:
        path: Its file.
        group: Description of its round.
        round_id: Identifier of its round.
        frame: Its rows: the cells as text, null where they are empty or NA; the row, counted from 1
            below the header; and, once the columns are known to be right, the value as a number and
            the index of the model task.
        dtypes: Types of the columns in the file, by name; of a .csv all are text.
    """

    path: Path
    group: Round
    round_id: str
    frame: Any
    dtypes: dict[str, Any]

    @property
    def columns(self) -> list[str]:
        """Columns of the file."""
        return list(self.dtypes)

    @property
    def tasks(self) -> tuple[ModelTask, ...]:
        """Model tasks of the round."""
        return self.group.model_tasks

    @property
    def compared(self) -> list[str]:
        """Task ids that do not follow from others."""
        return [name for name in self.group.task_id_names if name not in self.group.derived_task_ids]

    def with_numbers(self) -> "SubmittedTable":
        """Returns the table with values as numbers and each row's model task, null where none."""
        pl = polars()
        index: Any = pl.lit(None, pl.Int32)
        for i in reversed(range(len(self.tasks))):
            index = pl.when(self.is_of(i)).then(pl.lit(i, pl.Int32)).otherwise(index)
        number = pl.col(VALUE).cast(pl.Float64, strict=False)
        whole = [pl.col(name).str.replace(DECIMALS, "$1") for name in self.integers if name in self.columns]
        frame = self.frame.with_columns(number.alias(NUMBER), index.alias(TASK), *whole)
        return dataclasses.replace(self, frame=frame)

    def without_repeats(self) -> "SubmittedTable":
        """Returns the table with the first alone of rows of the same task, output type and id."""
        keys = [*self.group.task_id_names, TYPE, TYPE_ID]
        return dataclasses.replace(self, frame=self.frame.unique(keys, keep="first", maintain_order=True))

    @property
    def integers(self) -> list[str]:
        """Task ids whose values are all whole numbers, such as horizons."""
        values = {name: self.group.values_of(name) for name in self.group.task_id_names}
        return [name for name, each in values.items() if each and all(isinstance(value, int) for value in each)]

    def is_of(self, index: int) -> Any:
        """Returns an expression for the rows whose cells are those of a model task.

        Args:
            index: Index of the model task.
        """
        pl, task = polars(), self.tasks[index]
        compared = [each for each in task.task_ids if each.name not in self.group.derived_task_ids]
        fits = [is_among(each.name, each.values) for each in compared]
        return pl.all_horizontal([*fits, self.has_type_of(task)])

    def has_type_of(self, task: ModelTask) -> Any:
        """Returns an expression for the rows with an output type and id of a model task.

        Args:
            task: The model task.
        """
        pl = polars()
        kinds = [(pl.col(TYPE) == each.name).fill_null(False) & fits_id(each) for each in task.output_types]
        return pl.any_horizontal(kinds) if kinds else pl.lit(False)

    def where(self, rows: Sequence[int]) -> str:
        """Formats the place of some rows.

        Args:
            rows: Rows, counted from 1.
        """
        listed = ", ".join(str(row) for row in rows[:4]) + (", ..." if len(rows) > 4 else "")
        return f"{shown(self.path.name)}, row{'s' * (len(rows) > 1)} {listed}"

    def described(self, row: dict[str, Any], names: Sequence[str]) -> str:
        """Formats the cells that name a task.

        Args:
            row: A row.
            names: The columns.
        """
        return shown(", ".join(f"{name} {row[name]}" for name in names if row[name] is not None))


def read_submitted(path: Path, group: Round, round_id: str) -> SubmittedTable:
    """Reads a submission.

    Args:
        path: Its file.
        group: Description of its round.
        round_id: Identifier of its round.

    Raises:
        InputError: for a file that cannot be read.
    """
    pl = polars()
    lazy = scan_file(path)
    if path.suffix == ".csv" and (found := COMMAS.search(data := path.read_bytes())):
        raise InputError(f"{shown(path)}, row {data.count(NEWLINE, 0, found.start())} has no cell; remove the row")
    dtypes = {name: dtype for name, dtype in lazy.collect_schema().items() if name != ROW}
    texts = [_text(pl.col(name), dtype) for name, dtype in dtypes.items()]
    return SubmittedTable(path, group, round_id, collected(lazy.select(pl.col(ROW), *texts), path), dtypes)


def _text(column: Any, dtype: Any) -> Any:
    """Reads cells as text: whole numbers without decimals, null where a cell is empty or NA."""
    pl = polars()
    unreadable = dtype.is_nested() or dtype == pl.Binary
    text = pl.lit(None, pl.String) if unreadable else as_text(column, dtype)
    stripped = text.str.strip_chars()
    return pl.when(stripped.is_in(["", "NA"])).then(None).otherwise(text).alias(column.meta.output_name())


def is_among(name: str, values: Sequence[Value]) -> Any:
    """Returns an expression for the cells that are among some values; numbers count as such.

    Args:
        name: Column.
        values: The values; where there are none, cells are to be empty.
    """
    pl, column = polars(), polars().col(name)
    if not values:
        return column.is_null()
    numbers = [
        round(float(each), 10) for each in values if isinstance(each, int | float) and not isinstance(each, bool)
    ]
    texts = [str(each).upper() if isinstance(each, bool) else each for each in values if isinstance(each, bool | str)]
    found = column.is_in(texts)
    if numbers:
        found = found | column.cast(pl.Float64, strict=False).round(10).is_in(numbers)
    if any(isinstance(each, bool) for each in values):
        found = found | column.str.to_uppercase().is_in(texts)
    found = found.fill_null(False)
    return found | column.is_null() if "NA" in values else found


def fits_id(kind: Any) -> Any:
    """Returns an expression for the output type ids that an output type accepts.

    Args:
        kind: The output type.
    """
    pl, column = polars(), polars().col(TYPE_ID)
    settings = kind.samples
    if settings is None:
        return is_among(TYPE_ID, kind.ids + kind.optional_ids)
    if settings.id_type == "integer":
        return column.str.contains(r"^\d+$").fill_null(False)
    most = settings.max_length or pl.lit(2**31)
    return (column.str.len_chars() <= most).fill_null(False)


def first_lines(lines: Iterable[str], count: int) -> list[str]:
    """Returns the first failures, and a line that counts the others.

    Args:
        lines: The failures; no more are asked for than are returned.
        count: The number of all.
    """
    first = list(islice(lines, MOST_LINES))
    more = count - len(first)
    return [*first, f"and {more} more of this kind"] if more > 0 else first


def cell(content: Any) -> str:
    """Formats a cell for a message.

    Args:
        content: The cell; None where it is empty.
    """
    return "an empty cell or NA" if content is None else shown(repr(content), 60)


def text_of(value: Any) -> str:
    """Returns a value of the description as a cell would hold it.

    Args:
        value: The value.
    """
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Cells of tables: their columns, their dates, and what is wrong with them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from jaxcast.ensemble.periods import Period, period_in
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.tables import Columns

Bad = Literal["raise", "drop"]


class Faults:
    """Collects rows that cannot be used: the first one stops the reading, or all are counted.

    Args:
        bad: "raise" or "drop".
    """

    def __init__(self, bad: Bad):
        self.bad, self.counts = bad, Counter[str]()

    def add(self, where: str, what: str, fault: str) -> None:
        """Adds a row.

        Args:
            where: File and row.
            what: What is wrong with it.
            fault: Kind of the fault.

        Raises:
            InputError: unless bad rows are dropped.
        """
        if self.bad == "raise":
            raise InputError(f"{where}: {what}; fix it, or drop such rows with --bad drop")
        self.counts[fault] += 1

    @property
    def lines(self) -> tuple[str, ...]:
        """What was left out, in words."""
        return tuple(f"{counted(number, 'row')} with {fault}" for fault, number in self.counts.items())


def column_of(columns: Columns, name: str, usual: tuple[str, ...], given: Mapping[str, str]) -> str | None:
    """Finds a column by the name that was given, or by the usual ones.

    Args:
        columns: The table.
        name: What is looked for.
        usual: Usual names.
        given: Names that were given.

    Returns:
        The name in the table; None where there is none.
    """
    wanted = (given[name],) if name in given else usual
    lower = {column.lower(): column for column in columns.by_name}
    return next((lower[each.lower()] for each in wanted if each.lower() in lower), None)


def needed(columns: Columns, path: Path, name: str, usual: tuple[str, ...], given: Mapping[str, str]) -> str:
    """Finds a column that must be there.

    Args:
        columns: The table.
        path: Its file, for a message.
        name: What is looked for.
        usual: Usual names.
        given: Names that were given.

    Returns:
        The name in the table.

    Raises:
        InputError: where there is none.
    """
    found = column_of(columns, name, usual, given)
    if found is None:
        raise InputError(
            f"{shown(path)} has no column {shown(given.get(name, name))}; its columns are "
            f"{shown(', '.join(columns.by_name))}"
        )
    return found


def periods_in(texts: Sequence[str]) -> list[Period | None]:
    """Reads dates, each text once.

    Args:
        texts: Cells.

    Returns:
        The dates; None for what is none.
    """
    read = {text: period_in(text) for text in set(texts)}
    return [read[text] for text in texts]

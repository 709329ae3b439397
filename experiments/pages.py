"""Tables of committed results between marks on the page of an experiment."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def load_rows(file: Path) -> list[dict[str, Any]]:
    """Returns the rows of a committed result; none before its run.

    Args:
        file: results.json or the like.
    """
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    return rows


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]], num_texts: int = 1) -> str:
    """Returns a table in Markdown.

    Args:
        head: names of the columns.
        lines: cells.
        num_texts: columns of text, which come first; the others are numbers.
    """
    rule = (*["---"] * num_texts, *["---:"] * (len(head) - num_texts))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def marked(experiment: str, name: str, table: str) -> str:
    """Returns a table between the marks by which it is found again.

    Args:
        experiment: name of the experiment.
        name: of the table.
        table: in Markdown.
    """
    begin, end = _marks(experiment, name)
    return f"{begin}\n\n{table}\n\n{end}"


def write_tables(experiment: str, tables: Mapping[str, str]) -> None:
    """Replaces the tables on the README.md of an experiment.

    Args:
        experiment: name of the experiment.
        tables: each by its name.

    Raises:
        ValueError: where the page does not hold the marks of a table once; nothing is written then.
    """
    page = Path(__file__).parent / experiment / "README.md"
    text = page.read_text()
    for name, table in tables.items():
        begin, end = _marks(experiment, name)
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed or begin in after:
            raise ValueError(f"{page} must hold {begin} and {end} once, in this order")
        text = before + marked(experiment, name, table) + after
    page.write_text(text)


def _marks(experiment: str, name: str) -> tuple[str, str]:
    return f"<!-- {name}, made by python -m experiments.{experiment}.page -->", f"<!-- end of {name} -->"

"""The tables of experiments/sentiment/README.md, from the committed results.

`python -m experiments.sentiment.page` brings them up to date.
"""

from pathlib import Path
from typing import Any

from experiments.pages import load_rows, markdown, write_tables
from experiments.sentiment.data import SETS
from experiments.sentiment.scoring import cells

HERE = Path(__file__).parent
HEAD = ("method", "accuracy, %", "balanced, %", "AUC", "published")


def load(name: str) -> list[dict[str, Any]]:
    """Returns the rows of a set; none before its run.

    Args:
        name: of the set.
    """
    return load_rows(HERE / f"results-{name}.json")


def of_set(name: str) -> str:
    """Returns the table of a set.

    Args:
        name: of the set.
    """
    lines = [(row["method"], *cells(row)) for row in load(name)]
    return markdown(HEAD, lines)


def tables() -> dict[str, str]:
    """Returns the tables of all sets that have run, by their names."""
    return {name: of_set(name) for name in SETS if load(name)}


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("sentiment", tables())


if __name__ == "__main__":
    main()

"""The tables of experiments/neuro/README.md, from the committed results.

`python -m experiments.neuro.page` brings them up to date.
"""

from pathlib import Path
from typing import Any

from experiments.neuro.classification import cells
from experiments.pages import load_rows, markdown, write_tables

HERE = Path(__file__).parent


def load(part: str) -> list[dict[str, Any]]:
    """Returns the rows of a part; none before its run.

    Args:
        part: of the experiment.
    """
    return load_rows(HERE / f"results-{part}.json")


def classification() -> str:
    """Returns the table of subjects classified."""
    return _of_classifiers("classification")


def dynamics() -> str:
    """Returns the table of connections that change."""
    return _of_classifiers("dynamics")


def _of_classifiers(part: str) -> str:
    head = ("data", "method", "folds", "seeds", "accuracy, %", "balanced, %", "AUC")
    lines = [(row["data"], row["method"], *cells(row)) for row in load(part)]
    return markdown(head, [tuple(cell.replace("\\[", "[") for cell in line) for line in lines], 2)


TABLES = {"classification": classification, "dynamics": dynamics}


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("neuro", {name: table() for name, table in TABLES.items()})


if __name__ == "__main__":
    main()

"""The tables of experiments/probabilistic/README.md, from the committed results.

`python -m experiments.probabilistic.page` brings them up to date.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.pages import load_rows, markdown, write_tables
from experiments.probabilistic.scores import COLUMNS, label_of

HERE = Path(__file__).parent
HEAD = ("wQL", "ND", "Risk 50", "Risk 90", "MASE", "in 50 %", "in 80 %", "in 95 %", "seeds")
DATA = ("m4_hourly", "pedestrians_melbourne", "etth")


def load(name: str) -> list[dict[str, Any]]:
    """Returns the rows of a data set; none before its run.

    Plain methods were run again after the networks; their newer rows come first.

    Args:
        name: of the data.
    """
    plain = load_rows(HERE / f"results-{name}-plain.json")
    again = {row["method"] for row in plain if row["num_seeds"]}
    return [row for row in plain if row["num_seeds"]] + [
        row for row in load_rows(HERE / f"results-{name}.json") if row["method"] not in again
    ]


def table(name: str) -> str:
    """Returns the table of a data set in Markdown, medians over seeds.

    Args:
        name: of the data.
    """
    return markdown((name, *HEAD), [*map(_line, load(name))])


def _line(row: dict[str, Any]) -> Sequence[str]:
    if not row["num_seeds"]:
        published = f"{row['published']:.4f}", f"{row['published_nd']:.4f}"
        return (f"{label_of(row['method'])}, GluonTS", *published, *[""] * (len(HEAD) - 2))
    losses = [f"{row[name]:.4f}" for name in COLUMNS[:4]]
    coverage = [f"{row[name]:.1%}" for name in COLUMNS[5:]]
    return (label_of(row["method"]), *losses, f"{row['mase']:.3f}", *coverage, str(row["num_seeds"]))


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("probabilistic", {name: table(name) for name in DATA})


if __name__ == "__main__":
    main()

"""The tables of experiments/probabilistic/README.md, from the committed results.

`python -m experiments.probabilistic.page` brings them up to date.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.probabilistic.scores import COLUMNS, label_of

HERE = Path(__file__).parent
BEGIN, END = "<!-- {}, made by python -m experiments.probabilistic.page -->", "<!-- end of {} -->"
HEAD = ("wQL", "ND", "Risk 50", "Risk 90", "MASE", "in 50 %", "in 80 %", "in 95 %", "seeds")
DATA = ("m4_hourly", "pedestrians_melbourne", "etth")


def load(name: str) -> list[dict[str, Any]]:
    """Returns the rows of a data set; none before its run.

    Args:
        name: of the data.
    """
    file = HERE / f"results-{name}.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    return rows


def table(name: str) -> str:
    """Returns the table of a data set in Markdown, medians over seeds.

    Args:
        name: of the data.
    """
    lines = [(name, *HEAD), ("---", *["---:"] * len(HEAD)), *map(_line, load(name))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: dict[str, Any]) -> Sequence[str]:
    if not row["num_seeds"]:
        published = f"{row['published']:.4f}", f"{row['published_nd']:.4f}"
        return (f"{label_of(row['method'])}, GluonTS", *published, *[""] * (len(HEAD) - 2))
    losses = [f"{row[name]:.4f}" for name in COLUMNS[:4]]
    coverage = [f"{row[name]:.1%}" for name in COLUMNS[5:]]
    return (label_of(row["method"]), *losses, f"{row['mase']:.3f}", *coverage, str(row["num_seeds"]))


def main() -> None:
    """Replaces what stands between the marks of README.md."""
    page = HERE / "README.md"
    text = page.read_text()
    for name in DATA:
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table(name)}\n\n{end}{rest.partition(end)[2]}"
    page.write_text(text)


if __name__ == "__main__":
    main()

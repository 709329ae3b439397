"""The tables of experiments/od/README.md, from the committed results.

`python -m experiments.od.page` brings them up to date.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.od.scores import label_of

HERE = Path(__file__).parent
BEGIN, END = "<!-- {}, made by python -m experiments.od.page -->", "<!-- end of {} -->"
HEAD = ("form", "RMSE", "RMSE, trips > 0", "MAE", "wMAPE", "CPC", "RMSE / ridge (95 %)", "seeds")
SCORES = ("rmse", "rmse_positive", "mae", "wmape", "cpc")
DATA = ("japan_od", "nyc_taxi_od")


def load(name: str) -> list[dict[str, Any]]:
    """Returns the rows of a data set; none before its run.

    Args:
        name: of the data.
    """
    file = HERE / f"results-{name}.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    return rows


def table(name: str) -> str:
    """Returns the table of a data set in Markdown.

    Args:
        name: of the data.
    """
    lines = [(name, *HEAD), ("---", "---", *["---:"] * 7), *map(_line, load(name))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: dict[str, Any]) -> Sequence[str]:
    method, _, form = row["method"].partition(", ")
    method = label_of(method)
    if not row["num_seeds"]:
        return (method, "", f"{row['published']:.4f}", "", f"{row['published_mae']:.4f}", "", "", "", "")
    other = row.get("rmse_against_ridge")
    ratio = f"{other['ratio']:.3f} ({other['low']:.3f} to {other['high']:.3f})" if other else ""
    return (method, form or "mean", *(f"{row[score]:.4f}" for score in SCORES), ratio, str(row["num_seeds"]))


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

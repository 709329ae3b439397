"""The tables of experiments/od/README.md, from the committed results.

`python -m experiments.od.page` brings them up to date.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.od.scores import label_of
from experiments.pages import load_rows, markdown, write_tables

HERE = Path(__file__).parent
HEAD = ("form", "RMSE", "RMSE, trips > 0", "MAE", "wMAPE", "CPC", "RMSE / ridge (95 %)", "seeds")
SCORES = ("rmse", "rmse_positive", "mae", "wmape", "cpc")
DATA = ("japan_od", "nyc_taxi_od")


def load(name: str) -> list[dict[str, Any]]:
    """Returns the rows of a data set; none before its run.

    Args:
        name: of the data.
    """
    return load_rows(HERE / f"results-{name}.json")


def table(name: str) -> str:
    """Returns the table of a data set in Markdown.

    Args:
        name: of the data.
    """
    return markdown((name, *HEAD), [*map(_line, load(name))], num_texts=2)


def _line(row: dict[str, Any]) -> Sequence[str]:
    method, _, form = row["method"].partition(", ")
    method = label_of(method)
    if not row["num_seeds"]:
        return (method, "", f"{row['published']:.4f}", "", f"{row['published_mae']:.4f}", "", "", "", "")
    other = row.get("rmse_against_ridge")
    ratio = f"{other['ratio']:.3f} ({other['low']:.3f} to {other['high']:.3f})" if other else ""
    return (method, form or "mean", *(f"{row[score]:.4f}" for score in SCORES), ratio, str(row["num_seeds"]))


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("od", {name: table(name) for name in DATA})


if __name__ == "__main__":
    main()

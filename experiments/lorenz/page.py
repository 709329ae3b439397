"""The tables of experiments/lorenz/README.md, from the committed results.

`python -m experiments.lorenz.page` brings them up to date.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lorenz.methods import label_of

HERE = Path(__file__).parent
BEGIN, END = "<!-- {}, made by python -m experiments.lorenz.page -->", "<!-- end of {} -->"
HEAD = (
    "method",
    "l",
    "published",
    "as published",
    "ours",
    "95 % interval",
    "seeds",
    "parameters",
    "mse, training",
    "mse, validation",
    "censored",
)
TRACKING_HEAD = ("method", "l", "open loop", "closed loop, first 3 MTU", "closed loop, 12.8 MTU")
HELD = ("best_initial_model", "fixed_attention")


def valid_times(rows: list[dict[str, Any]]) -> str:
    """Returns the table of valid times.

    Args:
        rows: rows of the results.

    Returns:
        A table in Markdown.
    """
    lines = []
    for row in rows:
        low, high = row["valid_time_ci95"]
        seeds = np.ravel(row["valid_time_median_per_seed"])
        errors = (row["one_step_mse_train"], row["one_step_mse_valid"])
        lines.append(
            (
                *_name(row),
                "" if row["published"] is None else f"{row['published']:.2f}",
                f"{row['valid_time_as_published']:.2f}",
                f"{row['valid_time_median']:.2f}",
                f"{low:.2f} to {high:.2f}",
                f"{min(seeds):.2f} to {max(seeds):.2f}",
                str(row["num_params"] or ""),
                *("diverges" if error is None else f"{error:.2g}" for error in errors),
                str(row["num_censored"]),
            )
        )
    return _table(HEAD, lines)


def tracking(rows: list[dict[str, Any]]) -> str:
    """Returns the table of how the highest weight follows the hidden parameter.

    Args:
        rows: rows of the results.

    Returns:
        A table in Markdown.
    """
    lines = []
    for row in rows:
        if "tracking" in row and row["method"] not in HELD:
            cells = (f"{part['correlation']:.2f} ({part['mean_distance']:.1f})" for part in row["tracking"].values())
            lines.append((*_name(row), *cells))
    return _table(TRACKING_HEAD, lines)


def tables() -> dict[str, str]:
    """Returns the tables of the page by name, each between its marks."""
    rows = json.loads((HERE / "results.json").read_text())["rows"]
    made = {"valid times": valid_times(rows), "tracking": tracking(rows)}
    return {name: f"{BEGIN.format(name)}\n\n{table}\n{END.format(name)}" for name, table in made.items()}


def main() -> None:
    """Replaces what stands between the marks of the page."""
    page = HERE / "README.md"
    text = page.read_text()
    for name, new in tables().items():
        before, _, rest = text.partition(BEGIN.format(name))
        text = before + new + rest.partition(END.format(name))[2]
    page.write_text(text)


def _name(row: dict[str, Any]) -> tuple[str, str]:
    return label_of(row["method"]), str(row["delays"] or "")


def _table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rule = "|---" * len(head) + "|"
    return "\n".join([_line(head), rule, *map(_line, lines)]) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

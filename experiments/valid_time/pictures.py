"""The picture of `experiments.valid_time`."""

from typing import Any

import matplotlib
from matplotlib.figure import Figure

from experiments.valid_time.methods import CHOICE
from experiments.valid_time.rows import default_of

matplotlib.use("Agg")
NAMES = ("cases.png",)
SHOWN = {
    "perfect_model": ("black", "_"),
    "best_single": ("0.6", "v"),
    "equal_weights": ("0.4", "^"),
    "ridge": ("tab:brown", "s"),
    "nvar": ("tab:olive", "D"),
    "reservoir": ("tab:olive", "s"),
    "ensemble_kalman_filter": ("tab:cyan", "D"),
    "attention": ("tab:green", "o"),
    "corrected_interpolation": ("tab:orange", "o"),
    "hybrid": ("tab:purple", "o"),
    "regime": ("tab:red", "o"),
    CHOICE: ("tab:blue", "x"),
}
"""Methods in the picture, with their colours and marks."""


def draw(rows: list[dict[str, Any]]) -> dict[str, Figure]:
    """Draws all pictures.

    Args:
        rows: of results.json.

    Returns:
        Figures by name of the file.
    """
    return {"cases.png": cases(rows)}


def cases(rows: list[dict[str, Any]]) -> Figure:
    """Draws the median valid time of each method on each case, as a share of the longest that counts.

    Args:
        rows: of results.json.
    """
    names = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(9, 1.5 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    for method, (colour, mark) in SHOWN.items():
        found = [row for row in rows if row["method"] == method]
        shares = [row["valid_time_median"] / default_of(rows, row["case"])["longest"] for row in found]
        places = [names.index(row["case"]) for row in found]
        axes.plot(shares, places, mark, color=colour, label=method.replace("_", " "), markersize=7, linestyle="none")
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], ["1 %", "2 %", "5 %", "10 %", "20 %", "50 %", "100 %"])
    axes.minorticks_off()
    axes.set_xlabel("median valid time, of the longest that counts")
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure

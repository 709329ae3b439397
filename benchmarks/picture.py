"""Draws benchmarks/results/summary.png: time of jaxcast over that of each peer, every case a dot."""

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.table import HERE, ratios_by_peer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTIONS = {
    "single": "one trajectory",
    "candidates": "candidates in a scan",
    "ensembles": "many trajectories",
    "rollout": "closed loop",
    "training": "training of attention",
    "recurrent": "LSTM and GRU",
    "d2stgnn": "D2STGNN",
    "deepar": "DeepAR",
    "graph_networks": "networks on graphs",
    "graph_products": "sparse products of graphs",
    "linear_attention": "attention of all nodes",
    "tft": "temporal fusion transformer",
    "total_activation": "activity behind fMRI",
}


def draw() -> "Figure":
    """Returns the picture, a row for each question and peer, grouped by question."""
    from matplotlib.figure import Figure

    rows = [(question, peer, ratios) for (question, peer), ratios in ratios_by_peer().items() if question in QUESTIONS]
    rows.sort(key=lambda row: list(QUESTIONS).index(row[0]))
    figure = Figure(figsize=(8, 0.3 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    for height, (_, _, ratios) in enumerate(rows):
        axes.plot(ratios, [height] * len(ratios), "o", color="tab:blue", alpha=0.35, markersize=5, markeredgewidth=0)
        axes.plot(np.median(ratios), height, "|", color="black", markersize=13, markeredgewidth=2)
    for height in range(1, len(rows)):
        if rows[height][0] != rows[height - 1][0]:
            axes.axhline(height - 0.5, color="0.85", linewidth=0.8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{QUESTIONS[question]}: {peer}" for question, peer, _ in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([0.003, 0.01, 0.03, 0.1, 0.3, 1, 3], ["0.003", "0.01", "0.03", "0.1", "0.3", "1", "3"])
    axes.minorticks_off()
    axes.set_xlabel("time of jaxcast / time of the peer\nbelow 1 jaxcast is faster; bars are medians")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Writes the picture."""
    draw().savefig(HERE / "results" / "summary.png", dpi=120)


if __name__ == "__main__":
    main()

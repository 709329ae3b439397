"""The picture of `experiments.language`."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.use("Agg")
OURS, NAIVE, PUBLISHED = "#c2410c", "0.55", "#2563eb"


def losses(trained: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Training and validation loss by epoch, beside counts of pairs and the published models."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    ax = figure.subplots()
    epochs = np.arange(1, trained["losses"].shape[1] + 1)
    for name, color, label in (
        ("losses", "0.7", "training part, dropout on"),
        ("validation_losses", OURS, "validation part"),
    ):
        ax.plot(epochs, trained[name].T, "o-", color=color, ms=4, lw=2, label=label)
    for row in rows:
        level = row["published"] or row["loss"]
        if row["published"] or row["method"].startswith("bigram"):
            color = PUBLISHED if row["published"] else NAIVE
            ax.axhline(level, color=color, ls="--", lw=1)
            ax.text(
                epochs[-1], level, f"{row['method']}: {level:.2f}", ha="right", va="bottom", fontsize=9, color=color
            )
    ax.set(xlabel="epoch", ylabel="loss (nats per character)")
    ax.set_title("Learning to foresee the next character of Shakespeare")
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    ax.legend(unique.values(), unique.keys(), frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure

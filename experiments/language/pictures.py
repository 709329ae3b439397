"""Pictures of `experiments.language`."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.use("Agg")
OURS, NAIVE, PUBLISHED = "#c2410c", "0.55", "#2563eb"


def losses(trained: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws training and validation loss by epoch, beside bigram counts and the published models.

    Args:
        trained: losses and validation losses, (seed, epoch).
        rows: of results.json.
    """
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    ax = figure.subplots()
    epochs = np.arange(1, trained["losses"].shape[1] + 1)
    for name, color, label in (
        ("losses", "0.7", "training part (dropout on)"),
        ("validation_losses", OURS, "validation part"),
    ):
        lines = ax.plot(epochs, trained[name].T, "o-", color=color, ms=4, lw=2)
        lines[0].set_label(label)
    ours = float(np.median(trained["validation_losses"][:, -1]))
    _label(ax, epochs[-1], ours, "this model", OURS, below=True)
    for row in rows:
        if row["published"] or row["method"].startswith("bigram"):
            level, color = row["published"] or row["loss"], PUBLISHED if row["published"] else NAIVE
            ax.axhline(level, color=color, ls="--", lw=1)
            _label(ax, epochs[-1], level, row["method"].split(",")[0], color)
    ax.set(xlabel="epoch", ylabel="loss (nats per character)", xticks=epochs)
    ax.set_title("Forecasting the next character of Shakespeare")
    ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _label(ax: Any, epoch: int, level: float, text: str, color: str, *, below: bool = False) -> None:
    """Writes a label into the margin, at the height of its line."""
    side = {"va": "top" if below else "bottom", "xytext": (30, -2 if below else 2), "textcoords": "offset points"}
    ax.annotate(f"{text}: {level:.2f}", (epoch, level), color=color, fontsize=9, annotation_clip=False, **side)

"""The picture of `experiments.language`."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.use("Agg")


def losses(arrays: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> Figure:
    """Training and validation loss by epoch, beside counts and published models."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    ax = figure.subplots()
    epochs = np.arange(1, len(arrays["losses"]) + 1)
    ax.plot(epochs, arrays["losses"], "o-", color="0.6", ms=3, label="training, dropout on")
    ax.plot(epochs, arrays["validation_losses"], "o-", color="#c2410c", ms=3, lw=2, label="validation")
    for row in rows:
        level = row["published"]
        if level is not None:
            ax.axhline(level, color="#2563eb", ls="--", lw=1)
            ax.annotate(f"{row['method']}: {level:.2f}", (epochs[-1], level), ha="right", va="bottom", fontsize=8)
    ax.set(xlabel="epoch", ylabel="nats per character")
    ax.set_title("Learning to write like Shakespeare")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure

"""Pictures of the part "activity"."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.neuro.activity_data import EVENT_TR, LAGS

matplotlib.use("Agg")
OURS, TIME, PLAIN, MEANS = "#c2410c", "#0f766e", "0.6", "#2563eb"
MOST_REGIONS = 2
SHOWN = (("Wiener", 1, PLAIN), ("time alone", 2, TIME), ("with structured sparsity", 3, OURS))


def activity(recovered: dict[str, np.ndarray], snr: int) -> Figure:
    """Draws activity over time beside the truth, for one voxel of the first regions.

    Args:
        recovered: of `recover`.
        snr: ratio of signal to noise, in decibels.
    """
    active = np.flatnonzero(np.abs(recovered["truth"]).max(0) > 0)[:MOST_REGIONS]
    figure = Figure(figsize=(12, 2.7 * len(active) + 0.4), layout="constrained")
    axes = figure.subplots(len(active), 2, sharex=True, squeeze=False)
    for region, (left, right) in zip(active, axes, strict=True):
        left.plot(recovered["series"][:, region], color=PLAIN, lw=0.8, label="what the scanner sees")
        left.plot(recovered["signal"][:, region], color="black", lw=1.4, label="signal without noise")
        truth = recovered["truth"][:, region]
        right.fill_between(np.arange(len(truth)), truth, step="mid", color="0.85", lw=0, label="true activity")
        for name, number, color in SHOWN:
            right.plot(recovered["found"][number, :, region], color=color, lw=1.2, label=name)
        right.set_ylim(1.6 * truth.min() - 0.5, 1.6 * truth.max() + 0.5)
    axes[0, 0].set_title(f"BOLD signal of a voxel, signal to noise {snr} dB", loc="left", fontsize=10)
    axes[0, 1].set_title("activity behind it", loc="left", fontsize=10)
    axes[0, 0].legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    axes[0, 1].legend(frameon=False, fontsize=8, loc="upper left", ncols=4)
    for ax in axes[-1]:
        ax.set_xlabel("scan")
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(x=0)
    return figure


def recovery(rows: list[dict[str, Any]]) -> Figure:
    """Draws error and correlation against the ratio of signal to noise.

    Args:
        rows: of the simulated volumes.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    colors = dict(zip(methods, ("0.8", PLAIN, TIME, OURS, "#f59e0b", MEANS), strict=True))
    for ax, of in zip(figure.subplots(1, 2), ("error", "correlation"), strict=True):
        for method in methods:
            own = [row for row in rows if row["method"] == method]
            spread = [row[f"{of}_std"] or 0.0 for row in own]
            places, values = [row["snr"] for row in own], [row[of] for row in own]
            ax.errorbar(places, values, spread, color=colors[method], marker="o", ms=4, capsize=2, label=method)
        ax.set(xlabel="signal to noise, dB", ylim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("error of activity over its norm")
    figure.axes[1].set_ylabel("correlation with true activity")
    figure.axes[1].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def events(responses: dict[str, np.ndarray]) -> Figure:
    """Draws the mean response to an event.

    Args:
        responses: of each method at `LAGS`.
    """
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    ax = figure.subplots()
    for (method, response), color in zip(responses.items(), (PLAIN, MEANS, OURS, TIME), strict=True):
        ax.plot(EVENT_TR * LAGS, response, color=color, marker="o", ms=4, label=method)
    ax.axvline(0, color="black", lw=0.8)
    ax.axhline(0, color="black", lw=0.8)
    ax.set(xlabel="seconds after an event", ylabel="mean response, standard deviations")
    ax.legend(frameon=False, fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return figure

"""The pictures of `experiments.chaos_zoo`."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.use("Agg")
COLORS = {"kernel_ridge": "#c2410c", "gru": "#f59e0b", "lstm": "#0f766e"}
NAIVE = {"last_value": "-", "mean": ":", "last_period": "-."}


def systems(ours: dict[str, Any], published: dict[str, dict[str, float]], zoo: Any) -> Figure:
    """Draws the share of systems whose error is below a value, for each method."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    ax = figure.subplots()
    share = 100 * (np.arange(len(zoo.systems)) + 1) / len(zoo.systems)
    for model in [*published][:3]:
        errors = np.sort([published[model][system] for system in zoo.systems])
        ax.plot(errors, share, "--", lw=1.2, label=f"{model}, published ({np.median(errors):.0f})")
    for name, arrays in ours.items():
        errors = np.sort(arrays["smape"])
        ax.plot(
            errors,
            share,
            color=COLORS.get(name, "0.6"),
            lw=2.2 if name in COLORS else 1,
            ls=NAIVE.get(name, "-"),
            label=f"{name.replace('_', ' ')} ({np.median(errors):.0f})",
        )
    ax.axhline(50, color="0.8", lw=0.8, zorder=0)
    ax.set(
        xlabel="sMAPE over the forecast (0 to 200)", ylabel="systems forecast better (%)", xlim=(0, 200), ylim=(0, 101)
    )
    ax.set_title(f"{len(zoo.systems)} chaotic systems in closed loop (median in brackets)")
    ax.legend(frameon=False, loc="lower right", fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def forecasts(ours: dict[str, Any], zoo: Any) -> Figure:
    """Draws truth and forecast of four systems, from low to high error."""
    name = next((name for name in COLORS if name in ours), next(iter(ours)))
    errors = ours[name]["smape"]
    order = np.argsort(errors)
    shown = [order[int(share * (len(order) - 1))] for share in (0.1, 0.35, 0.65, 0.9)]
    figure = Figure(figsize=(10, 6), layout="constrained")
    past = np.arange(-zoo.horizon, 0)
    for ax, system in zip(figure.subplots(2, 2).ravel(), shown, strict=True):
        series = np.asarray(zoo.test[system])
        ax.plot(past, series[-2 * zoo.horizon : -zoo.horizon], color="0.6", lw=1, label="history")
        ax.plot(np.arange(zoo.horizon), series[-zoo.horizon :], "k", lw=1, label="observed")
        ax.plot(
            np.arange(zoo.horizon),
            ours[name]["forecast"][system],
            color=COLORS.get(name),
            lw=1.8,
            alpha=0.8,
            label="forecast",
        )
        ax.axvline(0, color="0.8", lw=0.8)
        ax.set_title(f"{zoo.systems[system]}: sMAPE {errors[system]:.0f}", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.supylabel("first component (units of the system)")
    figure.supxlabel("points after the last known value")
    figure.suptitle(f"Closed-loop forecasts by {name.replace('_', ' ')}, from good to bad")
    return figure

"""Pictures of the part "oracles"."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.causal import simulations
from experiments.causal.children import EFFECT, METHODS, SURFACES
from experiments.causal.oracle_data import Table

matplotlib.use("Agg")
OURS, PLAIN, PUBLISHED, NETWORK = "#c2410c", "0.6", "#2563eb", "#0f766e"
PLAIN_METHODS = ("difference of means", "regression on the treatment", "regression with covariates")


def _color(method: str) -> str:
    return PLAIN if method in PLAIN_METHODS else OURS


def coverage(simulated: dict[tuple[str, str, int], dict[str, np.ndarray]], rows: list[dict[str, Any]]) -> Figure:
    """Draws estimates over simulated data sets, coverage as they come in, and coverage of all methods.

    Args:
        simulated: estimates by design, method and size.
        rows: of the results.
    """
    size = max(size for _, _, size in simulated)
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    chosen = {
        "regression on the treatment": PLAIN,
        "partially linear, splines": OURS,
    }
    for method, color in chosen.items():
        effects = simulated["CCDDHNR2018", method, size]["effects"]
        left.hist(effects, bins=40, density=True, color=color, alpha=0.75, label=method)
    left.axvline(simulations.EFFECT, color="black", lw=1, label="true effect")
    left.set(xlabel="estimated effect", ylabel="density", title=f"CCDDHNR2018, n = {size}")
    left.legend(frameon=False, fontsize=8, loc="upper center")
    for method, color in (("partially linear, splines", OURS), ("partially linear, linear", NETWORK)):
        each = simulations.covered(simulated["CCDDHNR2018", method, size], simulations.EFFECT)
        numbers = np.arange(1, len(each) + 1)
        middle.plot(numbers, 100 * np.cumsum(each) / numbers, color=color, lw=1.3, label=method)
    middle.axhspan(93, 97, color="0.9", zorder=0)
    middle.axhline(95, color="black", lw=0.8)
    middle.set(xlabel="data sets so far", ylabel="intervals that cover the effect, %", ylim=(80, 100.5))
    middle.set_title(f"CCDDHNR2018, n = {size}")
    middle.legend(frameon=False, fontsize=8, loc="lower right")
    shown = [row for row in rows if row["data"] in simulations.DESIGNS]
    names = [f"{row['data']}, {row['num_samples']}: {row['method']}" for row in shown]
    places = np.arange(len(shown))
    shares = [100 * row["coverage"] for row in shown]
    right.barh(places, shares, color=[_color(row["method"]) for row in shown], height=0.7)
    for place, share in zip(places, shares, strict=True):
        right.text(share + 1, place, f"{share:.1f}", va="center", fontsize=7)
    right.axvline(95, color="black", lw=0.8)
    right.set(xlabel="coverage of 95 % intervals, %", xlim=(0, 112))
    right.set_yticks(places, names, fontsize=7)
    right.invert_yaxis()
    for ax in (left, middle, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def effects(rows: list[dict[str, Any]], published: dict[str, tuple[float, float, float]]) -> Figure:
    """Draws estimates with their intervals, and the published range.

    Args:
        rows: of the results.
        published: least and largest published estimate of each data set, and their standard error.
    """
    data = list(dict.fromkeys(row["data"] for row in rows if "effect_per_seed" in row))
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(data)), data, strict=True):
        shown = [row for row in rows if row["data"] == name and "effect_per_seed" in row]
        for place, row in enumerate(shown):
            color = _color(row["method"])
            ax.plot([row["low"], row["high"]], [place, place], color=color, lw=2, solid_capstyle="butt")
            ax.plot(row["effect_per_seed"], np.full(len(row["effect_per_seed"]), place), "|", color="black", ms=7)
            ax.plot(row["effect"], place, "o", color=color, ms=6)
        if name in published:
            low, high, _ = published[name]
            ax.axvspan(low, high, color=PUBLISHED, alpha=0.2, lw=0, label="published estimates")
            ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.0))
        ax.axvline(0, color="black", lw=0.8)
        ax.set_yticks(range(len(shown)), [row["method"] for row in shown], fontsize=8)
        ax.invert_yaxis()
        ax.set(title=name, xlabel=f"effect, {shown[0]['unit']}; bars: 95 %, ticks: single seeds of folds")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def children(surfaces: dict[tuple[str, str], dict[str, np.ndarray]]) -> Figure:
    """Draws the estimates on simulated outcomes of IHDP.

    Args:
        surfaces: estimates by surface and method.
    """
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for ax, surface in zip(figure.subplots(1, len(SURFACES), sharey=True), SURFACES, strict=True):
        values = [surfaces[surface, method]["effects"] for method in METHODS]
        boxes = ax.boxplot(values, orientation="horizontal", widths=0.6, patch_artist=True, sym=".")
        for box, method in zip(boxes["boxes"], METHODS, strict=True):
            box.set_facecolor(_color(method))
        ax.axvline(EFFECT, color="black", lw=1)
        ax.set(title=f"surface {surface}", xlabel="estimated effect on the treated; line: true effect")
        ax.set_yticks(range(1, len(METHODS) + 1), METHODS, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    return figure


def income(found: dict[str, np.ndarray], table: Table) -> Figure:
    """Draws the effect as a function of income.

    Args:
        found: effects by splines with intervals, and by networks.
        table: the data.
    """
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    ax = figure.subplots()
    x = found["places"] / 1000
    ax.fill_between(x, found["low"], found["high"], color=OURS, alpha=0.2, lw=0, label="95 %, each point by itself")
    ax.plot(x, found["splines"], color=OURS, label="R-learner, splines")
    ax.plot(x, found["network"], color=NETWORK, label="R-learner, networks")
    ax.axhline(0, color="black", lw=0.8)
    ax.set(xlabel="income, 1000 USD", ylabel=f"effect, {table.unit}", title=table.name)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
    return figure

"""Pictures of `experiments.probabilistic`: scores side by side, and some forecasts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.probabilistic.data import Task
from experiments.probabilistic.scores import LEVELS, label_of
from jaxcast.cli.figures import figure_of
from jaxcast.plotting.quantiles import plot_fan
from jaxcast.plotting.trajectories import HISTORY
from jaxcast.plotting.trajectories import label_of as short

NUM_SERIES = 4


def of_scores(rows: Sequence[Mapping[str, Any]], task: Task) -> Figure:
    """Draws the wQL of all methods, published ones in grey, and how often intervals cover the truth.

    Args:
        rows: of the results.
        task: with the data.
    """
    figure = figure_of(height=0.32 * len(rows) + 1.6)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = np.arange(len(rows))[::-1]
    values = np.asarray([row["wql"] if row["num_seeds"] else row["published"] for row in rows], float)
    colours = ["C0" if row["num_seeds"] else "0.7" for row in rows]
    left.barh(places, values, color=colours, height=0.6)
    for place, row in zip(places, rows, strict=True):
        if row["num_seeds"] > 1:
            left.plot(np.asarray(row["wql_per_seed"], float), [place] * row["num_seeds"], "k.", ms=3)
        for nominal, colour in ((50, "C2"), (80, "C1"), (95, "C3")):
            if row["num_seeds"]:
                right.plot(100 * row[f"coverage{nominal}"], place, "o", color=colour, ms=4)
    for nominal, colour in ((50, "C2"), (80, "C1"), (95, "C3")):
        right.axvline(nominal, color=colour, lw=0.8)
    names = [label_of(row["method"]) + ("" if row["num_seeds"] else ", published") for row in rows]
    left.set_yticks(places, names)
    left.set_xlabel("mean weighted quantile loss")
    right.set_xlabel("coverage of 50, 80 and 95 % intervals, %")
    right.set_xlim(min(20, right.get_xlim()[0]), 100)
    figure.suptitle(f"{task.name}, {task.horizon} steps ahead", fontsize=10)
    return figure


def fans(first: Mapping[str, np.ndarray], task: Task) -> Figure:
    """Draws the first forecast of some series, by the last method and by the first.

    Args:
        first: quantiles of each method's first seed.
        task: with the truth.
    """
    methods = list(dict.fromkeys((next(iter(first)), list(first)[-1])))
    chosen = np.linspace(0, len(task.panel.names) - 1, min(NUM_SERIES, len(task.panel.names))).astype(int)
    figure = figure_of(height=1.9 * len(chosen) + 0.6)
    axes = np.atleast_2d(figure.subplots(len(chosen), len(methods), sharey="row", squeeze=False))
    past = np.arange(-2 * task.horizon, 1)
    for line, number in zip(axes, chosen, strict=True):
        seen = task.values(task.origins[:1, :, None] + past)[0, number]
        for ax, method in zip(line, methods, strict=True):
            ax.plot(past, seen, color=HISTORY, lw=1.0)
            leads = np.arange(1, task.horizon + 1)
            plot_fan(ax, leads, first[method][0, number], np.asarray(LEVELS), truth=(leads, task.truth()[0, number]))
            if ax.get_legend() is not None:
                ax.get_legend().remove()
        line[0].set_ylabel(short(task.panel.names[number], 16))
    for ax, method in zip(axes[0], methods, strict=True):
        ax.set_title(label_of(method), fontsize=9)
    for ax in axes[-1]:
        ax.set_xlabel("steps ahead")
    return figure

"""Pictures of `experiments.graphs`."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import jaxcast
from experiments.graphs.data import Problem

matplotlib.use("Agg")
OURS, NETWORKS, PLAIN = "#c2410c", "#2563eb", "0.65"
NETWORK_NAMES = ("GCN", "GNN", "WaveNet", "DCRNN", "ResNet", "DMVST")
OWN = "seasonal ridge and networks"
SHOWN = ("last value", "same slot last week", "historical average", "ridge, each series", "gradient boosting")


def _color(method: str) -> str:
    return (
        OURS if method.startswith("seasonal") else NETWORKS if any(name in method for name in NETWORK_NAMES) else PLAIN
    )


def errors(rows: list[dict[str, Any]]) -> Figure:
    """Draws the RMSE of the methods up to each lead, a panel for each data set."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(10, 2.9 * -(-len(names) // 2)), layout="constrained")
    axes = figure.subplots(-(-len(names) // 2), 2, squeeze=False).ravel()
    for ax in axes[len(names) :]:
        ax.remove()
    for ax, name in zip(axes, names, strict=False):
        own = [row for row in rows if row["data"] == name and row["rmse"] is not None]
        methods = [m for m in dict.fromkeys(row["method"] for row in own) if m in SHOWN or _color(m) != PLAIN]
        leads, ends = sorted({row["lead"] for row in own}), dict[str, float]()
        for method in methods:
            values = {row["lead"]: row["rmse"] for row in own if row["method"] == method}
            if len(leads) > 1:
                ax.plot(leads, [values.get(lead, np.nan) for lead in leads], "o-", color=_color(method), lw=1.4, ms=3)
                ends[method] = values[leads[-1]]
            else:
                ax.barh(method, values[leads[0]], color=_color(method), height=0.6)
                ax.tick_params(axis="y", labelsize=6)
        if len(leads) > 1:
            _name_lines(ax, leads[-1], ends)
            ax.set(xlabel="steps ahead, up to", ylabel="RMSE", xlim=(leads[0] - 0.2, leads[-1] * 1.45), xticks=leads)
        else:
            ax.set_xlabel("RMSE")
            ax.invert_yaxis()
        ax.set_title(name, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Errors: plain methods (grey), published networks (blue), ours (orange)")
    return figure


def _name_lines(ax: Any, lead: int, ends: Mapping[str, float]) -> None:
    """Writes the names of lines at their ends, from below, so that none lies on another."""
    gap, lowest = 0.055 * np.ptp(ax.get_ylim()), -np.inf
    for method, value in sorted(ends.items(), key=lambda end: end[1]):
        if method != "seasonal ridge and a network":  # lies on that of several
            lowest = max(value, lowest + gap)
            ax.annotate(method, (lead, lowest), (4, -2), textcoords="offset points", fontsize=6)


def forecasts(per_method: Mapping[str, Mapping[str, np.ndarray]], problem: Problem) -> Figure:
    """Draws a week of the test part and forecasts at the last lead, three nodes, small to large."""
    name = OWN if OWN in per_method else list(per_method)[-1]
    week = slice(0, min(len(problem.newest), 7 * problem.slots_per_day))
    lead = len(problem.leads) - 1
    truth = problem.truth(problem.newest)[week, lead]
    forecast = per_method[name]["forecast"][week, lead]
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    days = (problem.newest[week] - problem.newest[0]) / problem.slots_per_day
    order = np.argsort(np.nan_to_num(truth).mean(0))
    for ax, share in zip(figure.subplots(3, sharex=True), (0.5, 0.8, 0.97), strict=True):
        node = order[int(share * len(order))]
        ax.plot(days, truth[:, node], color="0.55", lw=2.5, label="observed")
        ax.plot(days, forecast[:, node], color=OURS, lw=1.2, label=f"forecast {problem.leads[lead]} steps ahead")
        ax.set_title(f"series {problem.name_of(node)}: larger than {share:.0%} of all", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("days of the test part")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"{problem.name}, the test part's first week: {name}")
    return figure


def graph(shown: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], last: Problem) -> Figure:
    """Draws a graph that a network has learned; without one, that of neighbours in the data.

    It is a map where the places of the last problem's nodes are known, else a matrix.
    """
    learned = [
        (data, name, arrays) for data, methods in shown.items() for name, arrays in methods.items() if "graph" in arrays
    ]
    nodes = np.arange(last.values.shape[1])
    if learned:
        data, name, arrays = learned[-1]
        weights, nodes = arrays["graph"], arrays.get("changing", nodes)
        title = f"{data}: the graph of {name},\nat the end of the test part"
    else:
        from experiments.graphs.windows import graphs_of

        data, weights, title = last.name, graphs_of(last)[-1], f"{last.name}: the graph of correlations"
    places: dict[str, Any] = {}
    if data == last.name and last.places is not None:
        places = {name: last.places[axis][nodes] for axis, name in enumerate(("latitude", "longitude"))}
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    label = "weight with which a row listens to a column"
    ax = jaxcast.plotting.plot_graph(figure.subplots(), weights, label=label, **places)
    ax.set_title(title, fontsize=9)
    return figure

"""Pictures of `experiments.od`."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import jaxcast
from experiments.od.data import Setup
from experiments.od.scores import known_mean, label_of

matplotlib.use("Agg")
OURS, NAIVE, NETWORK, PUBLISHED = "#c2410c", "0.65", "#0f766e", "#2563eb"
OWN = ("factors", "flows", "average")
TRAINED = ("st_resnet", "stgcn", "geml", "cstn", "mrstn", "od_ced")
CLUSTER_SIZE = 5


def _color(method: str) -> str:
    name = method.removesuffix(", median")
    return PUBLISHED if "published" in name else OURS if name in OWN else NETWORK if name in TRAINED else NAIVE


def errors(rows: list[dict[str, Any]], forecasts: dict[str, np.ndarray], setup: Setup) -> Figure:
    """Draws the RMSE of every method, and the errors of some by lead or by hour.

    Args:
        rows: of the results.
        forecasts: of the test part by method.
        setup: the data.
    """
    means = [row for row in rows if not row["method"].endswith(", median") and _rmse(row) is not None]
    shown = [row for row in means if row["method"] != "zeros"] or means
    figure = Figure(figsize=(11, 1.2 + 0.34 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2)
    values = [_rmse(row) for row in shown]
    names = [label_of(row["method"]) for row in shown]
    bars = left.barh(names, values, color=[_color(row["method"]) for row in shown], height=0.65)
    left.bar_label(bars, fmt="%.3f", padding=3)
    left.set(xlabel="RMSE", xlim=(0, 1.18 * max(values, default=0) or 1))
    left.invert_yaxis()
    _by_lead_or_hour(right, forecasts, setup)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{setup.name}: plain (grey), networks (green), ours (orange), published (blue)")
    return figure


def _rmse(row: dict[str, Any]) -> Any:
    """Returns the error of a row or the published one; None where a forecast failed."""
    return row["published"] if row["rmse"] is None else row["rmse"]


def _by_lead_or_hour(ax: Any, forecasts: dict[str, np.ndarray], setup: Setup) -> None:
    truth = setup.truths["test"]
    leads, day = setup.protocol.leads, setup.protocol.slots_per_day
    shown = [name for name in ("last_week", "ridge", "od_ced", *OWN) if name in forecasts]
    for name in shown or list(forecasts)[-1:]:
        squares = (forecasts[name] - truth) ** 2
        if len(leads) > 1:
            steps, values = np.asarray(leads), np.sqrt(known_mean(squares, (0, 2)))
        else:
            hours = (setup.target_rows("test")[:, 0] % day) * 24 // day
            steps = np.unique(hours)
            values = np.sqrt([known_mean(squares[hours == hour], (0, 1, 2)) for hour in steps])
        style = {"color": _color(name), "ls": "-" if name in ("flows", "ridge", "od_ced") else "--"}
        ax.plot(steps, values, marker=".", label=label_of(name), **style)
    ax.set(xlabel="steps ahead" if len(leads) > 1 else "hour of the day", ylabel="RMSE")
    ax.legend(frameon=False, fontsize=8)


def week(forecasts: dict[str, np.ndarray], setup: Setup) -> Figure:
    """Draws a week of a busy, a middling and a quiet pair, and our forecast of it.

    Args:
        forecasts: of the test part by method.
        setup: the data.
    """
    name = next((name for name in reversed(OWN) if name in forecasts), list(forecasts)[-1])
    truth, forecast = setup.truths["test"][:, 0], forecasts[name][:, 0]
    length = min(len(truth), max(setup.protocol.season, 28))
    order = np.argsort(-setup.levels)
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    days = np.arange(length) / setup.protocol.slots_per_day
    for ax, share in zip(figure.subplots(3, sharex=True), (0.001, 0.05, 0.3), strict=True):
        pair = order[int(share * len(order))]
        origin, destination = divmod(int(pair), setup.num_zones)
        ax.plot(days, truth[:length, pair], color="0.6", lw=1, label="observed")
        ax.plot(days, forecast[:length, pair], color=OURS, lw=1.3, label="forecast, first lead")
        title = f"{setup.zones[origin]} to {setup.zones[destination]}: busier than {1 - share:.1%} of all pairs"
        ax.set_title(title, fontsize=9)
        ax.set(ylabel="log(trips + 1)" if setup.protocol.logarithm else "trips")
        ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("days")
    figure.axes[0].legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    figure.suptitle(f"{setup.name}: {label_of(name)}")
    return figure


def clusters(setup: Setup) -> Figure:
    """Draws the mean trips sorted by cluster of zones, and how trips are spread over pairs.

    Args:
        setup: the data.
    """
    own, trips = _clusters(setup), setup.levels.reshape(setup.num_zones, -1)
    order = np.argsort(own, kind="stable")
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown, label = (trips, "mean of log(trips + 1)") if setup.protocol.logarithm else (np.log1p(trips), "log(1 + mean)")
    image = left.imshow(shown[order][:, order], cmap="magma")
    for edge in np.flatnonzero(np.diff(own[order])) + 0.5:
        left.axhline(edge, color="white", lw=0.5)
        left.axvline(edge, color="white", lw=0.5)
    left.set(title=f"{own.max() + 1} clusters of {setup.num_zones} zones", xlabel="destination", ylabel="origin")
    figure.colorbar(image, ax=left, label=label)
    share = np.cumsum(np.sort(setup.levels)[::-1])
    right.plot(np.arange(1, len(share) + 1) / len(share), share / max(share[-1], 1e-9), color=OURS)
    right.set(xlabel="share of pairs, busiest first", ylabel="share of the total", ylim=(0, 1.02))
    right.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{setup.name}: the training part")
    return figure


def _clusters(setup: Setup) -> np.ndarray:
    """Returns the cluster of each zone by its weekly profile; neighbours touch, or are any two."""
    size, season = setup.num_zones, setup.protocol.season
    values = setup.values[slice(*setup.rows("whole"))]
    values = values[: len(values) // season * season].reshape(-1, season, size, size)
    adjacency = setup.adjacency if setup.adjacency is not None else 1 - np.eye(size)
    flows = np.nan_to_num(known_mean(values, (0,)))
    return np.asarray(jaxcast.series.coarsen_zones(flows, adjacency, max_cluster_size=CLUSTER_SIZE, least_share=0.005))

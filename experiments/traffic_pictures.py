"""The picture of `experiments.traffic`."""

from typing import Any

import matplotlib
from matplotlib.figure import Figure

matplotlib.use("Agg")


def errors(rows: list[dict[str, Any]]) -> Figure:
    """RMSE and MAE of every method at the first horizon."""
    horizon = min(row["horizon"] for row in rows)
    own = [row for row in rows if row["horizon"] == horizon]
    figure = Figure(figsize=(9, 0.6 + 0.45 * len(own)), layout="constrained")
    names = [row["method"].replace("_", " ") + ("" if row["rmse"] else " (published)") for row in own]
    for ax, name, published in zip(
        figure.subplots(1, 2, sharey=True), ("rmse", "mae"), ("published", "published_mae"), strict=True
    ):
        values = [row[name] or row[published] for row in own]
        colors = [
            "#c2410c" if row["rmse"] and row["method"] != "last_value" else "0.65" if row["rmse"] else "#2563eb"
            for row in own
        ]
        ax.bar_label(ax.barh(names, values, color=colors, height=0.6), fmt="%.2f", padding=3)
        ax.set(xlabel=f"{name.upper()} (miles per hour)", xlim=(0.8 * min(values), 1.08 * max(values)))
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.suptitle(f"Speeds at 207 sensors, up to {5 * horizon} minutes ahead; axes do not begin at zero")
    return figure

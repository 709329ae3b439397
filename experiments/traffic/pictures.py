"""Pictures of `experiments.traffic`."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.use("Agg")
OURS, NAIVE, PUBLISHED = "#c2410c", "0.65", "#2563eb"
NAIVE_METHODS = ("last_value", "mean_of_other_days")


def errors(rows: list[dict[str, Any]]) -> Figure:
    """Draws RMSE and MAE of every method at the first horizon."""
    horizon = min(row["horizon"] for row in rows)
    own = [row for row in rows if row["horizon"] == horizon]
    figure = Figure(figsize=(9, 0.8 + 0.4 * len(own)), layout="constrained")
    names = [row["method"].replace("_", " ") + ("" if row["rmse"] else " (published)") for row in own]
    colors = [NAIVE if row["method"] in NAIVE_METHODS else OURS if row["rmse"] else PUBLISHED for row in own]
    for ax, name, published in zip(
        figure.subplots(1, 2, sharey=True), ("rmse", "mae"), ("published", "published_mae"), strict=True
    ):
        values = [row[name] or row[published] for row in own]
        ax.bar_label(ax.barh(names, values, color=colors, height=0.6), fmt="%.2f", padding=3)
        ax.set(xlabel=f"{name.upper()} (miles per hour)", xlim=(0, 1.15 * max(values)))
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.suptitle(f"Up to {5 * horizon} minutes ahead: naive (grey), ours (orange), published (blue)")
    return figure


def forecasts(per_method: dict[str, Any], setup: Any) -> Figure:
    """Draws the test part and our last method's forecasts at three sensors, easy to hard."""
    name, lead = list(per_method)[-1], min(setup.config.horizons)
    truth, hours = setup.targets(setup.whole.asked)[:, lead - 1], (setup.whole.asked + lead) / 12 % 24
    forecast = per_method[name][:, lead - 1]
    size = np.sqrt(((forecast - truth) ** 2).mean(0))
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    time = np.arange(len(truth)) / 12 + hours[0]
    for ax, share in zip(figure.subplots(3, sharex=True, sharey=True), (0.1, 0.5, 0.9), strict=True):
        sensor = np.argsort(size)[int(share * len(size))]
        ax.plot(time, truth[:, sensor], color="0.55", lw=2.5, label="observed")
        ax.plot(time, forecast[:, sensor], color=OURS, lw=1.2, label=f"forecast {5 * lead} minutes ahead")
        ax.set_title(
            f"sensor {sensor}: harder to forecast than {share:.0%} of all sensors, RMSE {size[sensor]:.1f}", fontsize=9
        )
        ax.set(ylabel="miles per hour", ylim=(0, 1.05 * truth.max()))
        ax.spines[["top", "right"]].set_visible(False)
    ticks = np.arange(np.ceil(time[0] / 3) * 3, time[-1] + 1e-9, 3)
    ax.set_xlabel("time of day")
    ax.set_xticks(ticks, [f"{int(t % 24)}:00" for t in ticks])
    figure.axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle(f"Observed and forecast speeds of the test part: {name.replace('_', ' ')}")
    return figure

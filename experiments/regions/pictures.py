"""Pictures of `experiments.regions`."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

matplotlib.use("Agg")
OURS, REFITTED, NAIVE, PUBLISHED = "#ea580c", "#7c2d12", "0.6", "#2563eb"
NAIVE_METHODS = ("last_value", "mean_of_window", "drift", "same_week_of_last_year")


def horizons(rows: list[dict[str, Any]], name: str) -> Figure:
    """Draws RMSE by horizon: published methods, and the best of each family of ours.

    Args:
        rows: of results.json.
        name: of the data.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    ax = figure.subplots()
    errors = {
        method: [row["published"] if row["rmse"] is None else row["rmse"] for row in rows if row["method"] == method]
        for method in dict.fromkeys(row["method"] for row in rows)
    }
    leads = sorted({row["horizon"] for row in rows})
    published = {row["method"] for row in rows if row["rmse"] is None}
    shown = _shown(errors, published)
    best = min((method for method in shown if method not in published), key=lambda method: sum(errors[method]))
    ends: list[tuple[float, str, str]] = []
    for method in shown:
        is_published, is_refitted = method in published, method.endswith("refitted")
        color = PUBLISHED if is_published else NAIVE if method in NAIVE_METHODS else REFITTED if is_refitted else OURS
        ax.plot(
            leads[: len(errors[method])],
            errors[method],
            "o--" if is_published else "o-",
            color=color,
            ms=4,
            lw=2.4 if method == best else 1.2,
        )
        ends.append((errors[method][-1], method.replace("_", " "), color))
    ax.set(
        xlabel="weeks ahead",
        ylabel="RMSE (count a week), all regions and test weeks",
        xlim=(None, ax.get_xlim()[1] * 1.4),
    )
    ax.set_xticks(leads)
    ax.set_ylim(0, None)
    _name_lines(ax, max(leads), ends)
    ax.set_title(
        f"{name}: naive (grey), learned from the training part (orange)\n"
        "and once more with the validation part (brown), published (blue, dashed)",
        fontsize=11,
    )
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _shown(errors: dict[str, list[float]], published: set[str]) -> list[str]:
    """Returns the published methods, and the best of each family of ours.

    Families are naive forecasts, networks, regressions, and averages by what they learn from and
    see."""
    own = [method for method in errors if method not in published]
    averages = [method for method in own if method.startswith(("average", "kernels"))]
    plain = [method for method in own if method not in averages]
    families = [
        (2, [method for method in plain if method in NAIVE_METHODS]),
        (1, [method for method in plain if "network" in method]),
        (1, [method for method in plain if method not in NAIVE_METHODS and "network" not in method]),
    ]
    for refitted in (False, True):
        for far in (False, True):
            alike = [m for m in averages if m.endswith("refitted") == refitted and ("last_year" in m) == far]
            families.append((1, alike))
    best = [method for count, family in families for method in sorted(family, key=lambda m: sum(errors[m]))[:count]]
    return [method for method in errors if method in best or method in published]


def _name_lines(ax: Any, end: float, lines: list[tuple[float, str, str]]) -> None:
    """Writes each line's name beside its end, moved up where names would overlap."""
    gap, lowest = 0.035 * ax.get_ylim()[1], -np.inf
    for value, text, color in sorted(lines):
        lowest = max(value, lowest + gap)
        ax.annotate(
            text,
            (end, value),
            (1.04 * end, lowest),
            fontsize=8,
            va="center",
            color=color,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": color, "relpos": (0, 0.5), "shrinkA": 1},
        )


def forecasts(per_method: dict[str, Any], setup: Any) -> Figure:
    """Draws the sum over regions in the test part, and the forecasts of our best method.

    Args:
        per_method: arrays of each method.
        setup: with the test part.
    """
    leads = setup.config.leads
    figure = Figure(figsize=(10, 2.2 * len(leads)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(leads), sharex=True))
    test = setup.parts.test
    trained = [name for name in per_method if name not in NAIVE_METHODS] or list(per_method)
    for k, (ax, lead) in enumerate(zip(axes, leads, strict=True)):
        known = np.asarray(test.weights[:, k]).all(-1)
        weeks = np.asarray(test.rows[:, k])[known]
        name = min(trained, key=lambda name: np.median(per_method[name]["rmse"][:, k]))
        ax.fill_between(weeks, np.asarray(test.targets[:, k]).sum(-1)[known], color="0.85", lw=0, label="observed")
        ax.plot(
            weeks,
            per_method[name]["forecast"][:, k].sum(-1)[known],
            color=OURS,
            lw=1.6,
            label=f"forecast {lead} weeks ahead: {name.replace('_', ' ')}",
        )
        ax.legend(frameon=False, loc="upper left", fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set(ylabel="count a week, all regions", xlim=(weeks[0], weeks[-1]))
    axes[-1].set_xlabel("row of the table (weeks)")
    figure.suptitle(f"{setup.data.name}: observed and forecast values of the test part")
    return figure


def region_map(weights: Any, name: str, data: Any) -> Figure:
    """Draws the attention of each region's forecast to all regions, relative to equal shares."""
    num_regions = len(weights)
    figure = Figure(figsize=(7.4, 6.4), layout="constrained")
    ax = figure.subplots()
    relative = np.asarray(weights) * num_regions
    reach = np.clip(abs(relative - 1).max(), 0.05, 1)
    image = ax.imshow(relative, cmap="RdBu_r", vmin=1 - reach, vmax=1 + reach)
    figure.colorbar(image, label="attention (1 = equal share)", shrink=0.8)
    if data.adjacency is not None:
        for region, source in zip(*np.nonzero(data.adjacency - np.diag(np.diag(data.adjacency))), strict=True):
            ax.add_patch(Rectangle((source - 0.5, region - 0.5), 1, 1, fill=False, ec="0.2", lw=8 / num_regions))
    ticks = np.arange(0, num_regions, max(1, num_regions // 10))
    ax.set(xlabel="attends to region", ylabel="forecast of region")
    ax.set_xticks(ticks, [str(tick + 1) for tick in ticks])
    ax.set_yticks(ticks, [str(tick + 1) for tick in ticks])
    most = np.argsort(-relative.mean(0))[:3] + 1
    ax.set_title(
        f"{data.name}, {name.replace('_', ' ')}: most attention goes to\nregions {', '.join(map(str, most))} "
        f"(red columns){'; neighbours are framed' if data.adjacency is not None else ''}"
    )
    return figure

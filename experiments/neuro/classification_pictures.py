"""Pictures of the part "classification"."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxcast.neuro import CrossValidation, SubjectSeries
from jaxcast.plotting import plot_confusion
from jaxcast.plotting.classes import confusion_size
from jaxcast.scores import confusion_table

matplotlib.use("Agg")
PLAIN, NETWORK, PUBLISHED = "#0f766e", "#c2410c", "#2563eb"
NETWORKS = ("BrainGNN", "ST-GCN", "dynamic")
NUM_REGIONS = 20

Found = dict[str, list[CrossValidation]]


def _color(method: str) -> str:
    return NETWORK if method.startswith(NETWORKS) else PLAIN


def methods(rows: list[dict[str, Any]]) -> Figure:
    """Draws accuracy and area under the curve of all methods, the published ones as open points.

    Args:
        rows: of one data set and protocol.
    """
    figure = Figure(figsize=(11, 0.45 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(rows))[::-1]
    for ax, name, scale in zip(axes, ("accuracy", "auc"), (100, 1), strict=True):
        for place, row in zip(places, rows, strict=True):
            is_ours = row["accuracy"] is not None
            value = _value(row, name)
            if value is None:
                continue
            color = _color(row["method"]) if is_ours else PUBLISHED
            spread = row["accuracy_std"] if name == "accuracy" else None
            error = None if spread is None else scale * spread
            face = color if is_ours else "none"
            ax.errorbar(scale * value, place, xerr=error, fmt="o", color=color, mfc=face, ms=6, capsize=2)
            form = ".1f" if name == "accuracy" else ".3f"
            ax.annotate(
                f"{scale * value:{form}}", (scale * value, place), (8, 5), textcoords="offset points", fontsize=8
            )
        ax.grid(axis="y", color="0.92")
        ax.margins(x=0.2, y=0.05)
    axes[0].set_xlabel("accuracy, %")
    if majority := [row["accuracy"] for row in rows if row["method"] == "majority"]:
        axes[0].axvline(100 * majority[0], color="0.4", lw=0.8, ls=":")
        axes[0].set_xlabel("accuracy, % (dotted: majority class)")
    axes[1].set_xlabel("area under the ROC curve")
    axes[0].set_yticks(places, [row["method"] for row in rows], fontsize=8)
    return figure


def _value(row: dict[str, Any], name: str) -> float | None:
    """Returns a number of a row, the published one where it is none of ours."""
    value: float | None = row[name]
    if row["accuracy"] is None:
        value = row["published" if name == "accuracy" else "published_auc"]
    return value


def regions(found: Found, subjects: SubjectSeries) -> Figure:
    """Draws the regions that matter most to each method, ranked; for each class where scores are of subjects.

    Args:
        found: cross-validations by method.
        subjects: the subjects.
    """
    names = _best([name for name, each in found.items() if _has(each, "regions")])
    panels: list[tuple[str, str, np.ndarray]] = []
    for name in names:
        explanation = found[name][0].explanations[0]
        if "region_scores" not in explanation:
            panels.append((name, name, explanation["regions"]))
            continue
        for number, label in enumerate(class_names(subjects)):
            of_class = np.nanmean(explanation["region_scores"][subjects.labels == number], 0)
            panels.append((name, f"{name}, class {label}", of_class))
    columns = min(max(len(panels), 1), 4)
    lines = -(-max(len(panels), 1) // columns)
    figure = Figure(figsize=(3.8 * columns, 4.8 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).reshape(-1)
    for ax, (name, title, values) in zip(axes, panels, strict=False):
        order = np.argsort(-values)[:NUM_REGIONS]
        places = np.arange(len(order))[::-1]
        ax.plot(values[order], places, "o", ms=5, color=_color(name))
        ax.axvline(values.mean(), color="0.4", lw=0.8, ls=":")
        ax.set_yticks(places, [f"region {number}" for number in order], fontsize=7)
        ax.grid(axis="y", color="0.92")
        ax.set_title(title, fontsize=9, parse_math=False)
        ax.set_xlabel(f"{'score' if name.startswith('BrainGNN') else 'importance'} (dotted: mean of all regions)")
        ax.xaxis.set_major_locator(MaxNLocator(4))
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    return figure


def edges(found: Found) -> Figure:
    """Draws the importance of the pairs of regions, and the memberships of regions in communities.

    Args:
        found: cross-validations by method.
    """
    shown = {}
    for name, each in found.items():
        # Of ST-GCN what was learned: its graph is large where correlations are, trained or not.
        explanation: dict[str, Any] = {**each[0].explanations[0]}
        kind = "importance" if "importance" in explanation else "edges"
        if kind in explanation:
            shown[name] = explanation[kind]
    panels = [(name, shown[name], "importance") for name in _best(list(shown))]
    if "BrainGNN" in found:
        panels.append(("BrainGNN", found["BrainGNN"][0].explanations[0]["communities"], "membership, at least 0"))
    figure = Figure(figsize=(4.6 * max(len(panels), 1), 4.2), layout="constrained")
    for ax, (name, values, label) in zip(np.atleast_1d(figure.subplots(1, max(len(panels), 1))), panels, strict=False):
        image = np.array(values, float)
        is_square = image.shape[0] == image.shape[1]
        if is_square:
            np.fill_diagonal(image, np.nan)
        drawn = ax.imshow(image, aspect="auto", cmap="magma", interpolation="nearest")
        figure.colorbar(drawn, ax=ax, label=label)
        ax.set(ylabel="region", xlabel="region" if is_square else "community")
        ax.set_title(name, fontsize=9)
    return figure


def class_names(subjects: SubjectSeries) -> list[str]:
    """Returns the names of the classes.

    Args:
        subjects: the subjects.
    """
    return [str(one) for one in subjects.classes or range(subjects.num_classes)]


def confusion(found: Found, subjects: SubjectSeries) -> Figure:
    """Draws the confusion tables of the best plain method and of the networks.

    Args:
        found: cross-validations by method.
        subjects: the subjects.
    """
    labels = class_names(subjects)
    names = _best(list(found))
    size = confusion_size(labels)
    figure = Figure(figsize=(size * len(names), size + 0.2), layout="constrained")
    for ax, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        one = found[name][0]
        plot_confusion(ax, confusion_table(one.labels, one.predicted, len(labels)), labels)
        ax.set_title(name, fontsize=9)
    return figure


def sites(found: Found, subjects: SubjectSeries, balance: dict[str, tuple[int, ...]]) -> Figure:
    """Draws the accuracy at each site that was left out, beside its majority share.

    Args:
        found: cross-validations by method.
        subjects: the subjects.
        balance: subjects of each class by site.
    """
    names = _best(list(found))
    labels = [site for site in balance if site != "all"]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    ax = figure.subplots()
    places = np.arange(len(labels))
    majority = [100 * max(balance[site]) / sum(balance[site]) for site in labels]
    ax.bar(places, majority, color="0.88", width=0.85, label="larger class of the site")
    for number, name in enumerate(names):
        one = found[name][0]
        is_right = one.predicted == one.labels
        shares = [100 * is_right[subjects.site.astype(str) == site].mean() for site in labels]
        ax.plot(
            places + 0.12 * number, shares, "o", ms=5, color=("#0f766e", "#c2410c", "#2563eb")[number % 3], label=name
        )
    ax.set_xticks(places, [f"{site}\n{sum(balance[site])}" for site in labels], fontsize=7, rotation=45)
    ax.set(ylabel="accuracy at the site left out, %", xlabel="site, and its number of subjects", ylim=(0, 105))
    ax.legend(frameon=False, fontsize=8, ncols=4, loc="upper left")
    return figure


def _has(each: list[CrossValidation], name: str) -> bool:
    return name in each[0].explanations[0]


def _best(names: list[str]) -> list[str]:
    """Returns the last plain method, the one with chosen settings, and all networks."""
    plain = [name for name in names if not name.startswith(NETWORKS)]
    return [*plain[-1:], *(name for name in names if name.startswith(NETWORKS))]

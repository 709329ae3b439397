"""Pictures: accuracy of all methods, confusion tables, and words that speak for a class."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.sentiment.data import TITLES, SentenceSet
from experiments.sentiment.methods import MAJORITY
from jaxcast.plotting import plot_confusion, plot_word_saliency
from jaxcast.plotting.classes import confusion_size, saliency_height
from jaxcast.text import WordSaliency

matplotlib.use("Agg")
OURS, PLAIN, PUBLISHED = "#c2410c", "0.45", "#2563eb"


def accuracies(rows: Sequence[dict[str, Any]], plain: Sequence[str]) -> Figure:
    """Draws the accuracy of every method and its deviation, with open points for published ones.

    The label of the axis gives the accuracy of the commonest class, which is far below the others.

    Args:
        rows: of the results.
        plain: methods without a network.
    """
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(4.6 + 3.0 * len(names), 0.28 * len(rows) / len(names) + 1.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(names)))
    for ax, name in zip(axes, names, strict=True):
        of_set = [row for row in rows if row["data"] == name]
        own = sorted((row for row in of_set if row["method"] != MAJORITY), key=_value)
        for place, row in enumerate(own):
            color = PUBLISHED if row["published"] else PLAIN if row["method"] in plain else OURS
            face = "none" if row["published"] else color
            spread = 100 * row["accuracy_std"] if row["accuracy_std"] else None
            ax.errorbar(_value(row), place, xerr=spread, fmt="o", color=color, mfc=face, ms=6, capsize=2)
            offset = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
            ax.annotate(f"{_value(row):.1f}", (_value(row), place), fontsize=7, **offset)
        ax.set_yticks(range(len(own)), [row["method"] for row in own], fontsize=7.5)
        majority = "".join(f" ({MAJORITY}: {_value(row):.1f})" for row in of_set if row["method"] == MAJORITY)
        ax.set_xlabel(f"accuracy, %{majority}")
        ax.set_title(TITLES.get(name, name), fontsize=10, parse_math=False)
        ax.margins(x=0.08, y=0.06)
        ax.grid(axis="y", color="0.92")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _value(row: dict[str, Any]) -> float:
    return 100 * float(row["published"] or row["accuracy"])


def confusions(tables: Sequence[tuple[SentenceSet, str, np.ndarray]]) -> Figure:
    """Draws a confusion table of each set.

    Args:
        tables: set, method, and its counts.
    """
    sizes = [confusion_size(sentences.classes) + 0.4 for sentences, _, _ in tables]
    figure = Figure(figsize=(sum(sizes), max(sizes)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(tables)))
    for ax, (sentences, method, counts) in zip(axes, tables, strict=True):
        plot_confusion(ax, counts, sentences.classes)
        ax.set_title(f"{TITLES.get(sentences.name, sentences.name)}\n{method}", fontsize=9, parse_math=False)
    return figure


def words(found: Sequence[tuple[str, WordSaliency]]) -> Figure:
    """Draws the words of some sentences, coloured by how much they say.

    Args:
        found: the true class, and the saliency of each sentence.
    """
    heights = [saliency_height(one.words) for _, one in found] or [1.0]
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    if not found:
        figure.text(0.5, 0.5, "no test sentence has a known word", ha="center")
        return figure
    axes = np.atleast_1d(figure.subplots(len(found), 1, height_ratios=heights))
    for ax, (label, one) in zip(axes, found, strict=True):
        title = f"predicted {one.predicted} ({one.probability:.2f}), true {label}; {one.measure}"
        plot_word_saliency(ax, one.words, one.values, title=title, has_sign=one.has_sign)
    return figure

"""Pictures: accuracy of all methods, confusion tables, and words that speak for a class."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.sentiment.data import SentenceSet
from jaxcast.plotting import plot_confusion, plot_word_saliency
from jaxcast.text import WordSaliency

matplotlib.use("Agg")
OURS, PLAIN, PUBLISHED = "#c2410c", "0.6", "#2563eb"


def accuracies(rows: Sequence[dict[str, Any]], plain: Sequence[str]) -> Figure:
    """Draws the accuracy of every method, published ones below.

    Args:
        rows: of the results.
        plain: methods without a network.
    """
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(4.6 + 3.0 * len(names), 0.28 * len(rows) / len(names) + 1.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(names)))
    for ax, name in zip(axes, names, strict=True):
        own = sorted((row for row in rows if row["data"] == name), key=_height)
        for place, row in enumerate(own):
            color = PUBLISHED if row["published"] else PLAIN if row["method"] in plain else OURS
            spread = 100 * row["accuracy_std"] if row["accuracy_std"] else None
            ax.barh(place, _height(row), xerr=spread, color=color, height=0.7, error_kw={"lw": 1})
        ax.set_yticks(range(len(own)), [row["method"] for row in own], fontsize=7.5)
        heights = [_height(row) for row in own]
        ax.set(xlabel="accuracy, %", title=name, xlim=(max(0, sorted(heights)[min(1, len(own) - 1)] - 8), None))
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _height(row: dict[str, Any]) -> float:
    return 100 * float(row["published"] or row["accuracy"])


def confusions(tables: Sequence[tuple[SentenceSet, str, np.ndarray]]) -> Figure:
    """Draws a confusion table of each set.

    Args:
        tables: set, method, and its counts.
    """
    figure = Figure(figsize=(4.2 * len(tables), 4.0), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(tables)))
    for ax, (sentences, method, counts) in zip(axes, tables, strict=True):
        plot_confusion(ax, counts, sentences.classes)
        ax.set_title(f"{sentences.name}: {method}", fontsize=9)
    return figure


def words(found: Sequence[tuple[str, WordSaliency]]) -> Figure:
    """Draws the words of some sentences, coloured by how much they say.

    Args:
        found: the true class, and the saliency of each sentence.
    """
    figure = Figure(figsize=(9, 0.95 * max(1, len(found)) + 0.3), layout="constrained")
    if not found:
        figure.text(0.5, 0.5, "no test sentence has a known word", ha="center")
        return figure
    for ax, (label, one) in zip(np.atleast_1d(figure.subplots(len(found), 1)), found, strict=True):
        title = f"predicted {one.predicted} ({one.probability:.2f}), true {label}; {one.measure}"
        plot_word_saliency(ax, one.words, one.values, title=title, has_sign=one.has_sign)
    return figure

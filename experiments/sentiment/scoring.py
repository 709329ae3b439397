"""Rows of the results, and their table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from experiments.sentiment.data import Part, SentenceSet
from experiments.sentiment.methods import PUBLISHED
from jaxcast.scores import classification_scores


def make_row(
    method: str, sentences: SentenceSet, parts: Sequence[Part], each: Sequence[np.ndarray], **more: Any
) -> dict[str, Any]:
    """Makes the row of a method: means over folds or seeds.

    Args:
        method: its name.
        sentences: the set.
        parts: the folds or seeds.
        each: probabilities of the test sentences of each part, of the first alone for a method
            without a seed.
        **more: columns to add.
    """
    found = [classification_scores(parts[k].test.labels, shares) for k, shares in enumerate(each)]
    accuracy, auc = [one.accuracy for one in found], float(np.mean([one.auc for one in found]))
    has_folds = sentences.test is None
    return {
        "method": method,
        "data": sentences.name,
        "num_folds": len(each) if has_folds else 1,
        "num_seeds": 1 if has_folds else len(each),
        "accuracy": float(np.mean(accuracy)),
        "accuracy_std": float(np.std(accuracy, ddof=1)) if len(accuracy) > 1 else None,
        "balanced_accuracy": float(np.mean([one.balanced_accuracy for one in found])),
        "auc": auc if np.isfinite(auc) else None,  # none where the test sentences are of one class
        "published": None,
        "accuracy_each": accuracy,
    } | more


def published_rows(name: str) -> list[dict[str, Any]]:
    """Makes the rows of published accuracies.

    Args:
        name: of the set.
    """
    unknown = ("num_folds", "num_seeds", "accuracy", "accuracy_std", "balanced_accuracy", "auc")
    empty = dict.fromkeys(unknown)
    return [
        {"method": method, "data": name, **empty, "published": of[name][0] / 100}
        for method, of in PUBLISHED.items()
        if name in of
    ]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Returns all rows for a terminal.

    Args:
        rows: of results.json.
    """
    result = Table(title="accuracy in percent, mean and deviation over folds or seeds", box=box.SIMPLE)
    result.add_column("data")
    result.add_column("method", no_wrap=True)
    for name in ("accuracy", "balanced", "AUC", "published"):
        result.add_column(name, justify="right")
    for row in rows:
        result.add_row(Text(row["data"]), row["method"], *cells(row))  # the name of a file is no markup
    return result


def cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Returns the numbers of a row as text: accuracy and its deviation, balanced accuracy, AUC, published.

    Args:
        row: of results.json.
    """
    if row["accuracy"] is None:
        return "", "", "", f"{100 * row['published']:.1f}"
    deviation = f" ({100 * row['accuracy_std']:.1f})" if (row["accuracy_std"] or 0) > 1e-9 else ""
    accuracy, balanced = (f"{100 * row[name]:.1f}" for name in ("accuracy", "balanced_accuracy"))
    return accuracy + deviation, balanced, "" if row["auc"] is None else f"{row['auc']:.3f}", ""

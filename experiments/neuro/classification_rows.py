"""The rows of classifiers: numbers, published numbers, and tables of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from experiments.neuro.methods import PUBLISHED
from jaxcast.neuro import CrossValidation


def row_of(found: Sequence[CrossValidation], data: str, method: str, protocol: str) -> dict[str, Any]:
    """Makes the row of a method.

    Its "accuracy_std" is over the seeds of the folds, or where there is one seed over the folds.

    Args:
        found: its cross-validations, one for each seed of the folds.
        data: name of the data and the task.
        method: name of the method.
        protocol: "folds" or "sites".
    """
    accuracies, of_folds = [one.accuracy for one in found], fold_accuracies(found[0])
    return {
        "method": method,
        "data": data if protocol == "folds" else f"{data}, one site left out",
        "num_folds": len(found[0].chosen),
        "num_seeds": len(found),
        "accuracy": float(np.mean(accuracies)),
        "accuracy_std": spread_of(accuracies if len(found) > 1 else of_folds),
        "balanced_accuracy": float(np.mean([one.balanced_accuracy for one in found])),
        "auc": float(np.mean([one.auc for one in found])),
        "published": None,
        "published_auc": None,
        "fold_accuracy_mean": float(np.mean(of_folds)),
        "fold_accuracy_std": spread_of(of_folds),
    }


def spread_of(numbers: Sequence[float]) -> float | None:
    """Returns the standard deviation of a sample, None of a single number.

    Args:
        numbers: such as the accuracies of several seeds.
    """
    return float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None


def fold_accuracies(found: CrossValidation) -> list[float]:
    """Returns the accuracy on each fold.

    Args:
        found: the cross-validation.
    """
    is_right = found.predicted == found.labels
    return [float(is_right[found.fold == number].mean()) for number in range(len(found.chosen))]


def published_rows(data: str) -> list[dict[str, Any]]:
    """Makes the rows of published results on ABIDE.

    Args:
        data: name of the data and the task.
    """
    empty = {"num_folds": None, "num_seeds": 0, "accuracy": None, "accuracy_std": None, "balanced_accuracy": None}
    return [
        {"method": method, "data": data, **empty, "auc": None, "published": accuracy, "published_auc": auc}
        for method, accuracy, auc in PUBLISHED
    ]


def line_of(row: dict[str, Any]) -> str:
    """Returns a row in one line.

    Args:
        row: the row.
    """
    return (
        f"{row['data']}, {row['method']}: accuracy {100 * row['accuracy']:.1f} %, balanced "
        f"{100 * row['balanced_accuracy']:.1f} %, AUC {row['auc']:.3f}"
    )


def table(rows: list[dict[str, Any]]) -> Table:
    """Returns all rows for a terminal.

    Args:
        rows: of results.json.
    """
    result = Table(title="subjects classified; \\[published]", box=box.SIMPLE)
    result.add_column("data")
    result.add_column("method")
    for name in ("folds", "seeds", "accuracy, %", "balanced, %", "AUC"):
        result.add_column(name, justify="right")
    for row in rows:
        result.add_row(Text(row["data"]), row["method"], *cells(row))  # the name of a file is no markup
    return result


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Returns the numbers of a row as texts: folds, seeds, accuracy, balanced accuracy, AUC.

    Args:
        row: the row.
    """
    if row["accuracy"] is None:
        auc = row["published_auc"]
        return "", "", f"\\[{100 * row['published']:.1f}]", "", "" if auc is None else f"\\[{auc:.3f}]"
    spread = "" if row["accuracy_std"] is None else f" ± {100 * row['accuracy_std']:.1f}"
    return (
        str(row["num_folds"]),
        str(row["num_seeds"]),
        f"{100 * row['accuracy']:.1f}{spread}",
        f"{100 * row['balanced_accuracy']:.1f}",
        f"{row['auc']:.3f}",
    )

"""Scores of quantile forecasts, rows of results, and their table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from rich import box
from rich.table import Table

from experiments.probabilistic.data import Task
from experiments.rows import finite_or_none
from jaxcast.scores import (
    interval_coverage,
    mean_weighted_quantile_loss,
    normalized_deviation,
    quantile_risk,
)

LEVELS = (0.025, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.975)
DECILES = tuple(round(0.1 * k, 1) for k in range(1, 10))
COLUMNS = ("wql", "nd", "risk_50", "risk_90", "mase", "coverage50", "coverage80", "coverage95")


def scored(task: Task, quantiles: Float[np.ndarray, "origin series lead level"]) -> dict[str, float | None]:
    """Returns the scores of forecasts, over all that is known; None for one that has no value.

    Relative losses have none where the truth is 0 everywhere, MASE where no series ever changes.

    Args:
        task: with the truth.
        quantiles: at LEVELS.
    """
    truth, levels = task.truth(), np.asarray(LEVELS)
    middle = quantiles[..., LEVELS.index(0.5)]
    tenths = quantiles[..., [LEVELS.index(level) for level in DECILES]]
    risks = quantile_risk(quantiles[..., [LEVELS.index(0.5), LEVELS.index(0.9)]], truth, np.asarray([0.5, 0.9]))
    found: dict[str, Any] = {
        "wql": mean_weighted_quantile_loss(tenths, truth, np.asarray(DECILES)),
        "nd": normalized_deviation(middle, truth),
        "risk_50": risks[0],
        "risk_90": risks[1],
        "mase": _mase(task, middle, truth),
    }
    for nominal in (0.5, 0.8, 0.95):
        covered = np.asarray(interval_coverage(quantiles, truth, levels, nominal=nominal))
        found[f"coverage{100 * nominal:.0f}"] = np.nanmean(covered)
    return {name: finite_or_none(value) for name, value in found.items()}


def _mase(task: Task, middle: Float[np.ndarray, "origin series lead"], truth: np.ndarray) -> float:
    """Returns the mean over series and origins; of series whose training part is longer than a season, and changes."""
    season, train = task.seasons[0] if task.seasons else 1, task.train
    changes = np.full(len(train.names), np.nan)
    for number, (offset, length) in enumerate(zip(train.offsets, train.lengths, strict=True)):
        own = train.values[offset : offset + length]
        change = np.abs(own[season:] - own[:-season])
        moved = change[np.isfinite(change)]
        if moved.any():
            changes[number] = moved.mean()
    known = np.isfinite(truth)
    errors = np.where(known, np.abs(truth - middle), 0).sum(-1) / np.where(known.any(-1), known.sum(-1), np.nan)
    kept = (errors / changes)[np.isfinite(errors / changes)]
    return float(kept.mean()) if len(kept) else np.nan


def make_row(method: str, task: Task, seeds: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """Makes the row of a method: medians over seeds, and the wQL of each.

    Args:
        method: its name.
        task: with the data.
        seeds: scores of each seed.
    """
    row: dict[str, Any] = {"method": method, "data": task.name, "num_seeds": len(seeds)}
    row |= {name: _median([one[name] for one in seeds]) for name in COLUMNS}
    return row | {"published": None, "wql_per_seed": [one["wql"] for one in seeds]}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def published_rows(task: Task) -> list[dict[str, Any]]:
    """Makes the rows of methods of which only published numbers are known.

    Args:
        task: with them.
    """
    empty = dict.fromkeys(COLUMNS)
    return [
        {"method": name, "data": task.name, "num_seeds": 0, **empty, "published": wql, "published_nd": nd}
        for name, (wql, nd) in task.published.items()
    ]


def table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Shows all rows, published numbers in brackets.

    Args:
        rows: of the results.
        title: of the table.
    """
    shown = Table(title=title, box=box.SIMPLE, caption="medians over seeds; \\[published] as in the data's SOURCE.md")
    for head in ("method", "wQL", "ND", "Risk 50", "Risk 90", "MASE", "50 %", "80 %", "95 %", "seeds"):
        is_method = head == "method"  # which alone may take two lines, so that no number is cut
        shown.add_column(head, justify="left" if is_method else "right", no_wrap=not is_method)
    for row in rows:
        if row["num_seeds"]:
            forms = [".4f"] * 4 + [".3f"] + [".1%"] * 3
            numbers = [text_of(row[name], form) for name, form in zip(COLUMNS, forms, strict=True)]
        else:
            numbers = [f"\\[{row['published']:.4f}]", f"\\[{row['published_nd']:.4f}]", *[""] * 6]
        shown.add_row(label_of(row["method"]), *numbers, str(row["num_seeds"] or ""))
    return shown


def text_of(number: float | None, form: str = ".4f") -> str:
    """Returns a score as text.

    Args:
        number: the score; None where there is none.
        form: of the number.
    """
    return "none" if number is None else format(number, form)


LABELS = {
    "seasonal_naive": "seasonal naive",
    "recursive_ridge": "ridge, rolled out",
    "calibrated_ridge": "ridge, rolled out, recalibrated",
    "panel_regression": "ridge, drawn to a shared one",
    "deepar": "DeepAR",
    "seq2seq": "Seq2Seq",
    "mqrnn": "MQRNN",
    "conv_trans": "ConvTrans",
    "tft": "TFT",
    "deepar_ensemble": "mean of the seeds of DeepAR",
    "average": "average of ridges and networks",
}


def label_of(method: str) -> str:
    """Returns the name of a method as tables and pictures show it.

    Args:
        method: its name in results.json.
    """
    return LABELS.get(method, method)

"""Scores of `experiments.enso`: rows of results.json, and the printed table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from experiments.enso.data import Official
from experiments.enso.methods import EQUAL, Forecasts
from jaxcast.cli.ensemble.output import empty_table, interval_of
from jaxcast.ensemble import Ensemble, categories_of, score_categories, score_ensemble
from jaxcast.scores import ranked_probability_score

THRESHOLDS = (-0.5, 0.5)
SCORES = ("rmse_by_lead", "rmse", "ratio", "ratio_ci95", "num_cases", "crps", "coverage50", "coverage90")


def make_rows(
    ensemble: Ensemble, made: Forecasts, official: Sequence[Official], is_scored: np.ndarray
) -> list[dict[str, Any]]:
    """Scores all methods, and the official probabilities on their own cells.

    Args:
        ensemble: The ensemble.
        made: Forecasts of all methods.
        official: The official probabilities.
        is_scored: Whether an issue is scored.
    """
    forecasts = ensemble.forecasts
    rows = score_ensemble(
        made.pooled,
        forecasts,
        reference=EQUAL,
        blocks=ensemble.years,
        spreads=made.spreads,
        is_scored=is_scored,
    )
    truth = np.asarray(categories_of(forecasts.truth, THRESHOLDS))
    reference = np.isfinite(made.pooled[EQUAL])
    cells = {
        each.source: is_scored[each.issue]
        & np.isfinite(truth[each.issue, each.lead])
        & reference[each.issue, each.lead]
        for each in official
    }
    for row in rows:
        name = row["method"]
        scores = score_categories(made.pooled[name], made.spreads[name], forecasts, THRESHOLDS)
        row |= {"rps_iri": None, "rps_cpc": None}
        for each in official:
            row[f"rps_{each.source.lower()}"] = _mean(scores[each.issue, each.lead][cells[each.source]])
    for each in official:
        here = cells[each.source]
        if not here.any():
            continue
        shares = each.probabilities / each.probabilities.sum(-1, keepdims=True)
        scores = np.asarray(ranked_probability_score(shares, truth[each.issue, each.lead]))
        row = {"method": f"official_{each.source.lower()}"} | dict.fromkeys(SCORES)
        row |= {"rps_iri": None, "rps_cpc": None, "num_cases": int(here.sum())}
        rows.append(row | {f"rps_{each.source.lower()}": _mean(scores[here])})
    return rows


def _mean(values: np.ndarray) -> float | None:
    """Returns the mean of the finite values; None where there is none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def cells_of(row: dict[str, Any]) -> list[str]:
    """Returns a row as texts: ratio, interval, RMSE, CRPS, coverage and RPS.

    Args:
        row: A row of results.json.
    """
    return [
        _text(row["rmse"], ".3f"),
        _text(row["ratio"], ".3f"),
        interval_of(row),
        _text(row["crps"], ".4f"),
        *(_text(row[name], ".1%") for name in ("coverage50", "coverage90")),
        *(_text(row[name], ".4f") for name in ("rps_iri", "rps_cpc")),
    ]


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


HEAD = ("RMSE", "ratio", "95 %", "CRPS", "50 %", "90 %", "RPS, IRI", "RPS, CPC")


def table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Shows the rows.

    Args:
        rows: The rows.
        title: Title of the table.
    """
    shown = empty_table(
        title,
        HEAD,
        "RMSE and CRPS: means over leads; ratio to the equally weighted mean; RPS on the cells of each official forecast",
    )
    for row in rows:
        shown.add_row(row["method"].replace("_", " "), *cells_of(row))
    return shown

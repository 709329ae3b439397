"""Rows shared by the experiments on series: errors of a method at one horizon beside published ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

Scores = Mapping[str, np.ndarray]


def make_rows(method: str, leads: Sequence[int], scores: Scores, *, sees: str = "") -> list[dict[str, Any]]:
    """Makes one row per horizon, of medians over seeds.

    Args:
        method: name of the method.
        leads: the horizons.
        scores: "rmse", "mae" and "pcc", (seed, lead) each.
        sees: description of the input.

    Returns:
        The rows.
    """
    rows = []
    for k, lead in enumerate(leads):
        row: dict[str, Any] = {"method": method, "horizon": int(lead), "num_seeds": len(scores["rmse"])}
        row |= {name: finite_or_none(np.median(scores[name][:, k])) for name in ("rmse", "mae", "pcc")}
        row |= {"published": None, "rmse_per_seed": [finite_or_none(a) for a in scores["rmse"][:, k]]}
        rows.append(row | ({"sees": sees} if sees else {}))
    return rows


def published_rows(method: str, table: Mapping[int, float]) -> list[dict[str, Any]]:
    """Makes the rows of a method of which only the published RMSE is known."""
    empty = {"num_seeds": 0, "rmse": None, "mae": None, "pcc": None}
    return [{"method": method, "horizon": lead, **empty, "published": value} for lead, value in table.items()]


def table(rows: Sequence[Mapping[str, Any]], title: str, unit: str, *, of: str = "rmse") -> Table:
    """Shows an error by horizon, one line per method, published values in brackets."""
    published = "published" if of == "rmse" else f"published_{of}"
    leads = sorted({row["horizon"] for row in rows})
    result = Table(title=title, box=box.SIMPLE, caption="medians over seeds; \\[published] as in the data's SOURCE.md")
    result.add_column("method", no_wrap=True)
    for lead in leads:
        result.add_column(f"h = {lead}", justify="right", no_wrap=True)
    cells: dict[str, dict[int, str]] = {}
    for row in rows:
        text = f"{row[of]:{unit}}" if row[of] is not None else f"\\[{row[published]:{unit}}]"
        cells.setdefault(row["method"], {})[row["horizon"]] = text
    for method, by_lead in cells.items():
        result.add_row(method.replace("_", " "), *(by_lead.get(lead, "") for lead in leads))
    return result


def finite_or_none(value: Any) -> float | None:
    """Returns None for NaN and infinity, which JSON lacks."""
    return float(value) if np.isfinite(value) else None

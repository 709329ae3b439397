"""Scores of the part "city": errors in trips, risks, coverage, and errors on days apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from rich import box
from rich.table import Table as RichTable

import jaxcast
from experiments.causal.city_data import CHANNELS, NUM_STEPS, City
from experiments.causal.city_plain import LEVELS, Quantiles

MIDDLE = LEVELS.index(0.5)
COLUMNS = ("rmse", "mae", "risk_50", "risk_90", "coverage80", "special_rmse", "special_mae")


def scores(quantiles: Quantiles, truth: Float[np.ndarray, "..."]) -> dict[str, float]:
    """Returns errors, risks and coverage over all entries.

    Args:
        quantiles: with a last axis of levels.
        truth: trips.
    """
    error = quantiles[..., MIDDLE] - truth
    risks = np.asarray(
        jaxcast.scores.quantile_risk(quantiles.reshape(-1, len(LEVELS)), truth.ravel(), np.asarray(LEVELS))
    )
    inside = (quantiles[..., 0] <= truth) & (truth <= quantiles[..., -1])
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "risk_50": float(risks[MIDDLE]),
        "risk_90": float(risks[-1]),
        "coverage80": float(inside.mean()),
    }


def make_row(method: str, city: City, seeds: Sequence[Quantiles]) -> dict[str, Any]:
    """Makes the row of a method, of medians over seeds."""
    truth = city.truth(city.newest)
    rows = city.newest[:, None] + np.arange(1, truth.shape[1] + 1)
    special = city.special[rows]
    each = []
    for quantiles in seeds:
        found = scores(quantiles, truth)
        for lead in (1, truth.shape[1]):
            found[f"rmse_lead_{lead}"] = float(
                np.sqrt(((quantiles[:, lead - 1, ..., MIDDLE] - truth[:, lead - 1]) ** 2).mean())
            )
        for number, channel in enumerate(CHANNELS):
            own = scores(quantiles[..., number, :], truth[..., number])
            found |= {f"{channel.replace(' ', '_')}_{name}": value for name, value in own.items()}
        if special.any():
            found |= {f"special_{name}": value for name, value in scores(quantiles[special], truth[special]).items()}
        each.append(found)
    row: dict[str, Any] = {"data": city.name, "method": method, "num_seeds": len(seeds)}
    row |= {name: float(np.median([one[name] for one in each])) for name in each[0]}
    return row | {f"{name}_per_seed": [one[name] for one in each] for name in ("rmse", "mae", "risk_50", "risk_90")}


def table(rows: list[dict[str, Any]]) -> RichTable:
    """Returns all rows for a terminal.

    Args:
        rows: of results.json.
    """
    result = RichTable(title=f"trips, {NUM_STEPS} steps ahead", box=box.SIMPLE, caption="medians over seeds")
    for name in ("method", "seeds", *COLUMNS):
        result.add_column(
            name.replace("special", "blizzard").replace("_", " "), justify="left" if name == "method" else "right"
        )
    for row in rows:
        cells = [f"{row[name]:.4g}" if name in row else "" for name in COLUMNS]
        result.add_row(row["method"], str(row["num_seeds"]), *cells)
    return result

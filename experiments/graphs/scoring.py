"""Rows of `experiments.graphs`: errors plain and masked, and which method is better."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from rich import box
from rich.table import Table

import jaxcast
from experiments.graphs.data import Problem
from experiments.graphs.networks import RECIPES
from experiments.rows import finite_or_none

NUMBERS = ("rmse", "rmse_positive", "mae", "mae_positive", "wmape", "cpc")
RIDGE, OWN = "ridge, each series", "seasonal ridge and networks"

LEAST_WINDOWS = 4
"""Test windows from which on methods are compared."""

Forecast = Float[np.ndarray, "sample lead series"]


def _cut(problem: Problem, forecast: Forecast, horizon: int, part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns forecasts and truth up to a horizon, of the windows whose targets are all there."""
    count = sum(lead <= horizon for lead in problem.leads)
    truth = problem.truth(problem.newest)[:, :count][..., part]
    whole = problem.newest + horizon < len(problem.values) - problem.num_unused
    return forecast[whole][:, :count][..., part], truth[whole]


def make_rows(method: str, problem: Problem, forecasts: Sequence[Forecast]) -> list[dict[str, Any]]:
    """Makes a row of medians over seeds for each part and horizon."""
    rows = []
    for part, numbers in problem.parts.items():
        for horizon in problem.horizons:
            scored = [jaxcast.scores.flow_scores(*_cut(problem, forecast, horizon, numbers)) for forecast in forecasts]
            each = {name: [float(getattr(one, name)) for one in scored] for name in NUMBERS}
            row: dict[str, Any] = {"method": method, "data": data_name(problem, part), "lead": horizon}
            row |= {"num_seeds": len(forecasts)}
            row |= {name: finite_or_none(np.median(values)) for name, values in each.items()}
            row |= {"published": None}
            row |= {f"{name}_per_seed": [finite_or_none(value) for value in each[name]] for name in NUMBERS[:2]}
            rows.append(row)
    return rows


def data_name(problem: Problem, part: str) -> str:
    """Returns the name of a data set and the part of its series."""
    return f"{problem.name} {part}".strip()


def published_rows(problem: Problem) -> list[dict[str, Any]]:
    """Makes the rows of which only published errors are known."""
    rows = []
    for one in problem.published:
        row: dict[str, Any] = {"method": one["method"], "data": data_name(problem, one.get("part", ""))}
        row |= {"lead": one["lead"], "num_seeds": 0} | dict.fromkeys(NUMBERS)
        published = {name: one[name] for name in NUMBERS if name in one}
        rows.append(row | {"published": published})
    return rows


def compare(problem: Problem, forecasts: Mapping[str, Sequence[Forecast]]) -> list[dict[str, Any]]:
    """Compares RMSEs with those of our own and of ridge regressions, by a bootstrap over days."""
    found = []
    plain = (RIDGE, "least squares, shared", "seasonal ridge")
    names = [*((OWN, name) for name in plain), *((name, RIDGE) for name in RECIPES)]
    for first, second in names:
        if first not in forecasts or second not in forecasts:
            continue
        squares = []
        for name in (first, second):
            forecast, truth = _cut(problem, forecasts[name][0], max(problem.horizons), slice(None))
            squares.append(((forecast - truth) ** 2).reshape(len(truth), -1))
        num_windows = int(np.isfinite(squares[0]).any(1).sum())
        if num_windows < LEAST_WINDOWS or not (squares[1] > 0).any():
            continue
        result = jaxcast.scores.block_bootstrap(
            *squares,
            key=jax.random.key(0),
            block_size=min(problem.slots_per_day, num_windows // 2),
            root_mean=True,
            num_resamples=2000,
        )
        found.append(
            {"data": problem.name, "method": first, "against": second}
            | {name: finite_or_none(getattr(result, name)) for name in ("ratio", "low", "high", "p_value")}
        )
    return found


def where_errors_sit(problem: Problem, forecasts: Mapping[str, Forecast]) -> dict[str, Any]:
    """Returns the series and the slots of the day with the largest shares of the squared error."""
    found = {}
    truth = problem.truth(problem.newest)
    slots = (problem.newest[:, None] + np.asarray(problem.leads)) % problem.slots_per_day
    for name in (OWN, RIDGE):
        if name not in forecasts:
            continue
        squares = np.nan_to_num((forecasts[name] - truth) ** 2)
        if not squares.any():
            continue
        by_series = squares.sum((0, 1)) / squares.sum()
        by_slot = np.bincount(slots.ravel(), squares.sum(-1).ravel(), problem.slots_per_day) / squares.sum()
        found[name] = {
            part: {called(n): round(float(values[n]), 4) for n in np.argsort(-values)[:5]}
            for part, values, called in (("series", by_series, problem.name_of), ("slots", by_slot, str))
        }
    return found


def table(rows: Sequence[Mapping[str, Any]], data: str) -> Table:
    """Shows the errors of all methods on a data set, published ones in brackets."""
    own = [row for row in rows if row["data"] == data]
    result = Table(title=f"{data}, errors up to each lead", box=box.SIMPLE, caption="medians over seeds; \\[published]")
    for name in ("method", "lead", "RMSE", "RMSE, truth > 0", "MAE", "MAE, truth > 0"):
        result.add_column(name, no_wrap=True, justify="left" if name == "method" else "right")
    for row in own:
        cells = []
        for name in NUMBERS[:4]:
            known = (row["published"] or {}).get(name)
            cells.append(f"{row[name]:.4g}" if row[name] is not None else "" if known is None else f"\\[{known:g}]")
        result.add_row(row["method"], str(row["lead"]), *cells)
    return result

"""How methods of panels are compared: scores on the last windows of every series, beside the seasonal naive."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from rich import box
from rich.table import Table

from jaxcast.errors import InputError
from jaxcast.numerics.levels import middle_of, row_quantiles
from jaxcast.scores.quantiles import interval_coverage
from jaxcast.scores.risk import mean_weighted_quantile_loss, normalized_deviation
from jaxcast.series.panel_models.held_out import held_out_windows
from jaxcast.series.panels.cutting import gathered
from jaxcast.series.panels.panel import SeriesPanel

NAIVE = "seasonal_naive"
DECILES = tuple(round(0.1 * k, 1) for k in range(1, 10))
INTERVALS = (0.5, 0.8, 0.95)
NUM_ERRORS = 200
"""Newest errors of a series whose quantiles are those of its seasonal naive forecast."""
NUM_SEASONS = 4
"""Past seasons in which the seasonal naive looks for a known value."""


class ScoredWindows(NamedTuple):
    """The windows that judge methods, of which none has learned.

    Args:
        train: the panel without their targets.
        panel: with their series, one for each window.
        newest: the newest step of each window.
        truth: NaN where it is not known.
        changes: the mean change of each window's series over a season, in what comes before.
        season: steps of it; 1 for none.
        levels: of the quantiles.
    """

    train: SeriesPanel
    panel: SeriesPanel
    newest: Int[np.ndarray, " window"]
    truth: Float[np.ndarray, "window lead"]
    changes: Float[np.ndarray, " window"]
    season: int
    levels: tuple[float, ...]


def scored_windows(
    panel: SeriesPanel, horizon: int, num_windows: int, *, seen: int, season: int, levels: Sequence[float]
) -> ScoredWindows:
    """Holds out the last windows of every series.

    Args:
        panel: with the series.
        horizon: steps of a window.
        num_windows: of each series, one after another.
        seen: newest steps of which one must have a value.
        season: steps of a season; 1 for none.
        levels: quantile levels.

    Returns:
        The windows.

    Raises:
        InputError: where no series is long enough.
    """
    train, (series, newest) = held_out_windows(panel, horizon, num_windows)
    own = _windows(panel, series, newest, seen, horizon)
    kept = np.isfinite(own.history).any(1) & (own.weights > 0).any(1)
    if not kept.any():
        raise InputError(
            f"no series has values in the {seen} steps before its last {horizon * num_windows}, and in these; give "
            "longer series, or a smaller horizon"
        )
    series, newest = series[kept], newest[kept]
    truth = np.where(own.weights > 0, own.targets, np.nan)[kept]
    changes = {number: _change(train, number, season) for number in np.unique(series).tolist()}
    return ScoredWindows(
        train,
        panel.select(series),
        newest,
        truth,
        np.asarray([changes[number] for number in series]),
        season,
        tuple(levels),
    )


def scores_of(scored: ScoredWindows, quantiles: Float[np.ndarray, "window lead level"]) -> dict[str, Any]:
    """Scores forecasts of the windows that judge.

    Args:
        scored: with the truth.
        quantiles: at the levels of the windows.

    Returns:
        wQL over the deciles, or all levels where these are not among them; ND, MASE, and the
        coverage of central intervals. None where one cannot be computed.
    """
    levels, truth = scored.levels, scored.truth
    middle = quantiles[..., middle_of(levels)]
    own = DECILES if {*DECILES} <= {*levels} else levels
    at = [levels.index(level) for level in own]
    scores: dict[str, Any] = {
        "wql": _number(mean_weighted_quantile_loss(quantiles[..., at], truth, np.asarray(own))),
        "nd": _number(normalized_deviation(middle, truth)),
        "mase": _mase(np.abs(truth - middle), scored.changes),
    }
    coverage = {
        str(nominal): _number(np.nanmean(interval_coverage(quantiles, truth, np.asarray(levels), nominal=nominal)))
        for nominal in INTERVALS
        if {round((1 - nominal) / 2, 6), round((1 + nominal) / 2, 6)} <= {round(level, 6) for level in levels}
    }
    return scores | {"coverage": coverage, "num_windows": len(truth)}


def seasonal_naive(scored: ScoredWindows) -> Float[np.ndarray, "window lead level"]:
    """Forecasts the value of the last season, with the quantiles of each series' past errors.

    Args:
        scored: with the windows.
    """
    num_leads, season = scored.truth.shape[1], scored.season
    cycles = -(-np.arange(1, num_leads + 1) // season)
    size = season * (int(cycles[-1]) + NUM_SEASONS) + NUM_ERRORS
    history = _windows(scored.panel, np.arange(len(scored.truth)), scored.newest, size, 1).history
    found = np.empty((*scored.truth.shape, len(scored.levels)))
    for cycle in np.unique(cycles):
        back = season * int(cycle)
        spread = row_quantiles((history[:, back:] - history[:, :-back])[:, -NUM_ERRORS:], scored.levels)
        for k in np.flatnonzero(cycles == cycle):
            newest = size + k - back
            past = [history[:, newest - season * earlier] for earlier in range(NUM_SEASONS)]
            point = _first_known([*past, _last_known(history)])
            found[:, k] = point[:, None] + spread
    return found


def table_of(rows: Sequence[Mapping[str, Any]], kept: str, num_windows: int) -> Table:
    """Returns a table with a row for each method.

    Args:
        rows: as in results.json.
        kept: the method that is saved.
        num_windows: windows of each series that judge.
    """
    windows = "window" if num_windows == 1 else f"{num_windows} windows"
    table = Table(
        title=f"Scores on the last {windows} of every series ({rows[0]['num_windows']} in all), which this "
        "training holds out",
        caption=f"{kept} is kept; lower is better, coverage of central intervals should be as its heading says",
        box=box.SIMPLE,
    )
    covered = [*rows[0]["coverage"]]
    for head in ("method", "wQL", "ND", "MASE", *(f"{float(name):.0%}" for name in covered)):
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    for row in rows:
        numbers = [_text(row["wql"], ".4f"), _text(row["nd"], ".4f"), _text(row["mase"], ".3f")]
        table.add_row(row["method"], *numbers, *(_text(row["coverage"][name], ".1%") for name in covered))
    return table


def _text(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def _number(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def _windows(panel: SeriesPanel, series: np.ndarray, newest: np.ndarray, history_size: int, num_leads: int) -> Any:
    sizes = (history_size, num_leads)
    return gathered(panel, series, newest, sizes=sizes, features=(), cyclic=False, dtype=np.float64)


def _change(train: SeriesPanel, number: int, season: int) -> float:
    """Returns the mean absolute change over a season of one series; NaN where there is none."""
    own = train.values[train.offsets[number] :][: train.lengths[number]]
    change = np.abs(own[season:] - own[:-season])
    known = np.isfinite(change)
    return float(change[known].mean()) if known.any() else float("nan")


def _mase(errors: Float[np.ndarray, "window lead"], changes: Float[np.ndarray, " window"]) -> float | None:
    """Returns the mean over windows; those of series that never changed are left out."""
    kept = np.isfinite(changes) & (changes > 0)
    return _number(np.mean(np.nanmean(errors[kept], 1) / changes[kept])) if kept.any() else None


def _first_known(candidates: Sequence[np.ndarray]) -> np.ndarray:
    found = candidates[0]
    for other in candidates[1:]:
        found = np.where(np.isfinite(found), found, other)
    return found


def _last_known(history: Float[np.ndarray, "row time"]) -> np.ndarray:
    known = np.isfinite(history)
    last = history.shape[1] - 1 - np.argmax(known[:, ::-1], 1)
    return np.where(known.any(1), history[np.arange(len(history)), last], 0)

"""From the rows of a hub's tables to dense grids, with what cannot be used refused or left out."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.errors import InputError
from jaxcast.hub.checks import check_grid, find_bad_forecasts, refuse_duplicates, refuse_missing
from jaxcast.hub.tables import polars, scan_truth


@dataclasses.dataclass(frozen=True)
class Grid:
    """values: (location, time, model, quantile), NaN where there is none. dropped: what was left out, in words."""

    values: np.ndarray
    locations: list[str]
    dates: np.ndarray
    models: list[str]
    levels: np.ndarray
    dropped: list[str]


def read_grid(frame: Any, step_days: int, bad: str) -> Grid:
    """All rows of a lazy frame of forecasts of one target and horizon.

    Raises:
        InputError: for no rows, dates off the grid, and, unless `bad` is "drop", what `load_hub` says.
    """
    pl = polars()
    lazy = frame.select("model", "location", "target_end_date", "quantile", "value", "file", "row")
    rows = lazy.with_columns(pl.col("model", "location", "file").cast(pl.Categorical)).collect()
    dropped: list[str] = []
    refuse_missing(rows, bad, dropped)
    rows = rows.filter(pl.col("quantile").is_between(0, 1, closed="none") & pl.col("target_end_date").is_not_null())
    if not len(rows):
        raise InputError(
            "no quantile forecast is left of what was asked for; ask for other models, locations or levels"
        )
    grid = _fill(rows, step_days, bad, dropped)
    found = find_bad_forecasts(grid.values, grid.levels)
    for mask, describe, name in (
        (found.incomplete, lambda: found.describe_incomplete(grid), "quantile levels missing"),
        (found.crossing, lambda: found.describe_crossing(rows, grid), "crossing quantiles"),
    ):
        if mask.any() and bad == "raise":
            raise InputError(describe())
        if mask.any():
            dropped.append(f"{int(mask.sum())} forecasts with {name}")
    grid.values[found.any] = np.nan
    return grid


def _fill(rows: Any, step_days: int, bad: str, dropped: list[str]) -> Grid:
    pl = polars()
    level_of = rows["quantile"].round(6).to_numpy()
    dates = rows["target_end_date"].to_numpy().astype("datetime64[D]")
    locations, models = (sorted(rows[name].cast(pl.String).unique()) for name in ("location", "model"))
    days, levels = check_grid(dates, step_days), np.unique(level_of)
    shape = (len(locations), len(days), len(models), len(levels))
    place = (
        _index(rows["location"], locations),
        (dates - days[0]).astype(int) // step_days,
        _index(rows["model"], models),
        np.searchsorted(levels, level_of),
    )
    flat = np.ravel_multi_index(place, shape)
    refuse_duplicates(rows, flat, int(np.prod(shape)), bad, dropped)
    values = np.full(shape, np.nan)
    numbers = rows["value"].to_numpy()
    values.ravel()[flat] = np.where(np.isfinite(numbers), numbers, np.nan)
    return Grid(values, locations, days, models, levels, dropped)


def _index(column: Any, names: list[str]) -> np.ndarray:
    """Where each value of a categorical column is among some names."""
    codes = column.to_physical().to_numpy()
    table = np.zeros(int(codes.max()) + 1, int)
    first = np.unique(codes, return_index=True)
    table[first[0]] = [names.index(column[int(i)]) for i in first[1]]
    return table[codes]


def read_truth(
    path: str | Path, source: str | None, target: str | None, grid: Grid, step_days: int, lags: Sequence[int]
) -> tuple[np.ndarray, np.datetime64]:
    """The truth at every date of a grid and so many steps before it, (location, time, lag), NaN where there is none, and the
    newest date of any truth.

    Raises:
        InputError: for a table that cannot be read, several targets or vintages, no location or date of the grid.
    """
    pl = polars()
    table = scan_truth(path, source=source)
    known = table.select(pl.col("target").unique().drop_nulls()).collect()["target"].to_list()
    if target is not None and target in known:
        table = table.filter(pl.col("target") == target)
    elif len(known) > 1:
        raise InputError(
            f"the truth in {path} holds several targets, {', '.join(sorted(known)[:5])}, none is {target!r}"
        )
    found = table.filter(pl.col("location").is_in(grid.locations)).collect()
    rows = found.filter(pl.col("date").is_not_null() & pl.col("value").is_not_null())
    if not len(rows):
        why = "no date (2024-01-06) or no number in any row" if len(found) else "their names may differ"
        raise InputError(f"the truth in {path} has no value for the locations of the forecasts: {why}")
    if len(rows) < len(found):
        grid.dropped.append(f"{len(found) - len(rows)} rows of the truth without a date or a number")
    twice = rows.select("location", "date").is_duplicated()
    if twice.any():
        place, date = rows.filter(twice).select("location", "date").row(0)
        raise InputError(
            f"the truth in {path} has {int(twice.sum())} duplicate rows, such as {place} on {date}; keep one vintage "
            "by its source"
        )
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    steps, off = np.divmod((dates - grid.dates[0]).astype(int), step_days)
    if off.any():
        raise InputError(
            f"{(off > 0).sum()} of {len(off)} dates of the truth in {path} are off the forecasts' grid of {step_days} days, such as "
            f"{dates[off > 0][0]} beside {grid.dates[-1]}; give target dates, one value for every step"
        )
    steps, size = steps + max(lags), len(grid.dates) + max(lags)
    inside = (steps >= 0) & (steps < size)
    truth = np.full((len(grid.locations), size), np.nan)
    index = np.asarray([grid.locations.index(name) for name in rows["location"]])
    truth[index[inside], steps[inside]] = rows["value"].to_numpy()[inside]
    without = [name for name, there in zip(grid.locations, np.isfinite(truth).any(1), strict=True) if not there]
    if without:
        grid.dropped.append(f"no truth for {len(without)} of {len(grid.locations)} locations, such as {without[0]}")
    last = min(int(steps.max()), size - 1)
    early = [name for name, there in zip(grid.locations, np.isfinite(truth[:, last]), strict=True) if not there]
    if early := [name for name in early if name not in without]:
        grid.dropped.append(f"no truth on the last date for {len(early)} locations, such as {early[0]}")
    return truth[:, np.arange(len(grid.dates))[:, None] + max(lags) - np.asarray(lags)], dates.max()

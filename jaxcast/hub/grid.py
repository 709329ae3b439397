"""Turns the rows of hub tables into dense grids; what cannot be used is refused or left out."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.checks import Grid, check_span, find_bad_forecasts, on_grid, refuse_duplicates, refuse_missing
from jaxcast.hub.tables import collected, scan_truth
from jaxcast.io.tables import polars


def read_grid(frame: Any, path: str | Path, step_days: int, bad: str) -> Grid:
    """Reads all forecasts of one target and horizon onto a grid.

    Args:
        frame: Lazy frame of `scan_forecasts`.
        path: File or folder that it was made from.
        step_days: Days between two dates.
        bad: "raise", or "drop" what cannot be used.

    Returns:
        The values from the first to the last date, and what was left out.

    Raises:
        InputError: for no rows, and, unless `bad` is "drop", for bad rows as in `load_hub`.
    """
    pl = polars()
    lazy = frame.select("model", "location", "target_end_date", "quantile", "value", "fault", "file", "row")
    lazy = lazy.with_columns(pl.col("model", "location", "fault", "file").cast(pl.Categorical))
    dropped: list[str] = []
    rows = refuse_missing(collected(lazy, path, step_days=step_days), bad, dropped)
    if not len(rows):
        raise InputError(_nothing_left(dropped))
    rows = on_grid(rows, step_days, bad, dropped)
    grid = _fill(rows, step_days, bad, dropped)
    if bad == "drop":
        grid = _without_rare_levels(grid)
    found = find_bad_forecasts(grid.values)
    for mask, describe, name in (
        (found.incomplete, lambda: found.describe_incomplete(rows, grid), "quantile levels missing"),
        (found.crossing, lambda: found.describe_crossing(rows, grid), "crossing quantiles"),
    ):
        if mask.any() and bad == "raise":
            raise InputError(describe())
        if mask.any():
            dropped.append(f"{counted(int(mask.sum()), 'forecast')} with {name}")
    grid.values[found.any] = np.nan
    return _trimmed(grid) if found.any.any() else grid


def _nothing_left(dropped: list[str]) -> str:
    if dropped:
        return f"no forecast is left, as all were dropped ({', '.join(dropped)}); fix the tables"
    return "no quantile forecast is left of what was asked for; ask for other models, locations or levels"


def _without_rare_levels(grid: Grid) -> Grid:
    """Drops the rarest levels until some forecast has all that are left.

    One level that hardly any forecast has would make all of them incomplete.
    """
    there = ~np.isnan(grid.values)
    order = np.argsort(there.sum((0, 1, 2)), kind="stable")
    kept = np.ones(len(order), bool)
    for level in order[:-1]:
        if there[..., kept].all(-1).any():
            break
        kept[level] = False
        grid.dropped.append(
            f"{counted(int(there[..., level].sum()), 'row')} of the level {grid.levels[level]:g}, with which none is "
            "whole"
        )
    return dataclasses.replace(grid, values=np.ascontiguousarray(grid.values[..., kept]), levels=grid.levels[kept])


def _trimmed(grid: Grid) -> Grid:
    """Drops locations, models, and first and last dates without any forecast.

    Raises:
        InputError: where no forecast is left at all.
    """
    there = ~np.isnan(grid.values[..., 0])
    if not there.any():
        raise InputError(_nothing_left(grid.dropped))
    places, times, models = (np.flatnonzero(there.any(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    for kept, names, kind in ((places, grid.locations, "location"), (models, grid.models, "model")):
        gone = [name for i, name in enumerate(names) if i not in set(kept.tolist())]
        if gone:
            grid.dropped.append(f"{counted(len(gone), kind)} of which no forecast is left, such as {shown(gone[0])}")
    times = np.arange(times[0], times[-1] + 1)
    return dataclasses.replace(
        grid,
        values=grid.values[np.ix_(places, times, models)],
        locations=[grid.locations[i] for i in places],
        dates=grid.dates[times],
        models=[grid.models[i] for i in models],
    )


def _fill(rows: Any, step_days: int, bad: str, dropped: list[str]) -> Grid:
    pl = polars()
    level_of = rows["quantile"].round(6).to_numpy()
    dates = rows["target_end_date"].to_numpy().astype("datetime64[D]")
    locations, models = (sorted(rows[name].cast(pl.String).unique()) for name in ("location", "model"))
    days = np.arange(dates.min(), dates.max() + np.timedelta64(1, "D"), step_days, dtype="datetime64[D]")
    levels = np.unique(level_of)
    shape = (len(locations), len(days), len(models), len(levels))
    check_span(rows, len(days), math.prod(shape))
    place = (
        _index(rows["location"], locations),
        (dates - days[0]).astype(int) // step_days,
        _index(rows["model"], models),
        np.searchsorted(levels, level_of),
    )
    flat = np.ravel_multi_index(place, shape)
    refuse_duplicates(rows, flat, math.prod(shape), bad, dropped)
    values = np.full(shape, np.nan)
    values.ravel()[flat] = rows["value"].to_numpy()
    return Grid(values, locations, days, models, levels, dropped)


def _index(column: Any, names: list[str]) -> np.ndarray:
    """Returns the index of each value of a categorical column among some names."""
    codes = column.to_physical().to_numpy()
    table = np.zeros(int(codes.max()) + 1, int)
    first = np.unique(codes, return_index=True)
    table[first[0]] = [names.index(column[int(i)]) for i in first[1]]
    return table[codes]


def read_truth(
    path: str | Path, source: str | None, target: str | None, grid: Grid, step_days: int, lags: Sequence[int]
) -> tuple[np.ndarray, np.datetime64]:
    """Reads the target data at every date of a grid, and at lags before it.

    Args:
        path: The table.
        source: Text in the column of sources, as in `scan_truth`.
        target: Target to read, where the table names several.
        grid: Grid of locations and dates; what is left out is added to its `dropped`.
        step_days: Days between two dates.
        lags: Steps before each date.

    Returns:
        The target data (location, time, lag), NaN where there are none, and their newest date.

    Raises:
        InputError: for a table that cannot be read, several targets or vintages, or no location or
            date of the grid.
    """
    table = _of_target(scan_truth(path, source=source), path, target)
    rows = _usable(collected(table.filter(is_or_null("location", grid.locations)), path), path, grid)
    _refuse_vintages(rows, path)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    steps, off = np.divmod((dates - grid.dates[0]).astype(int), step_days)
    if off.any():
        raise InputError(
            f"{(off > 0).sum()} of {len(off)} dates of the truth in {shown(path)} are off the forecasts' grid of "
            f"{step_days} days, such as {dates[off > 0][0]} in row {rows['row'][int(np.argmax(off > 0))]} beside "
            f"{grid.dates[-1]}; give target dates, one value for every step"
        )
    steps, size = steps + max(lags), len(grid.dates) + max(lags)
    inside = (steps >= 0) & (steps < size)
    truth = np.full((len(grid.locations), size), np.nan)
    index = np.asarray([grid.locations.index(name) for name in rows["location"]])
    truth[index[inside], steps[inside]] = rows["value"].to_numpy()[inside]
    without = [name for name, there in zip(grid.locations, np.isfinite(truth).any(1), strict=True) if not there]
    if without:
        grid.dropped.append(
            f"no truth for {len(without)} of {counted(len(grid.locations), 'location')}, such as {shown(without[0])}"
        )
    last = max(0, min(int(steps.max()), size - 1))
    early = [name for name, there in zip(grid.locations, np.isfinite(truth[:, last]), strict=True) if not there]
    if early := [name for name in early if name not in without]:
        grid.dropped.append(
            f"no truth on the last date for {counted(len(early), 'location')}, such as {shown(early[0])}"
        )
    return truth[:, np.arange(len(grid.dates))[:, None] + max(lags) - np.asarray(lags)], dates.max()


def _of_target(table: Any, path: str | Path, target: str | None) -> Any:
    """The rows of a target, and those without any where the table names targets."""
    pl = polars()
    known = collected(table.select(pl.col("target").unique().drop_nulls()), path)["target"].to_list()
    if target is not None and target in known:
        return table.filter(is_or_null("target", [target]))
    if len(known) > 1:
        raise InputError(
            f"the truth in {shown(path)} holds several targets, {shown(', '.join(sorted(known)[:5]))}, none is "
            f"{shown(target)!r}"
        )
    return table


def is_or_null(name: str, wanted: Sequence[str]) -> Any:
    """Returns an expression for the rows with one of the wanted values, or none that can be read.

    Args:
        name: Column.
        wanted: The values.
    """
    column = polars().col(name)
    return column.is_in(list(wanted)) | column.is_null()


def _usable(found: Any, path: str | Path, grid: Grid) -> Any:
    """The rows of the truth that have location, date and value; the others are counted."""
    pl = polars()
    named = found.filter(pl.col("location").is_not_null() & _is_named(found))
    if len(named) < len(found):
        grid.dropped.append(f"{counted(len(found) - len(named), 'row')} of the truth without a location or a target")
    rows = named.filter(pl.col("date").is_not_null() & pl.col("value").is_not_null())
    if not len(rows):
        why = "no date (2024-01-06) or no number in any row" if len(named) else "their names may differ"
        raise InputError(f"the truth in {shown(path)} has no value for the locations of the forecasts: {why}")
    if len(rows) < len(named):
        grid.dropped.append(f"{counted(len(named) - len(rows), 'row')} of the truth without a date or a number")
    return rows


def _is_named(found: Any) -> Any:
    """Returns whether a row has a target, where any has."""
    pl = polars()
    return pl.col("target").is_not_null() | pl.lit(found["target"].null_count() == len(found))


def _refuse_vintages(rows: Any, path: str | Path) -> None:
    twice = rows.select("location", "date").is_duplicated()
    if twice.any():
        place, date, row = rows.filter(twice).select("location", "date", "row").row(0)
        raise InputError(
            f"the truth in {shown(path)} has {counted(int(twice.sum()), 'duplicate row')}, such as {shown(place)} on "
            f"{date} (row {row}); keep one vintage by its source"
        )

"""Turns the rows of hub tables into dense grids; what cannot be used is refused or left out."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.tables.checks import Grid, check_span, find_bad_forecasts, on_grid, refuse_duplicates, refuse_missing
from jaxcast.io.tables import polars

ROW_COLUMNS = (
    "model", "location", "round_date", "forecast_date", "target_end_date", "quantile", "value", "fault", "file", "row",
)  # fmt: skip


def fill_grid(rows: Any, step_days: int, bad: str, dropped: list[str]) -> Grid:
    """Puts all forecasts of one target and horizon on a grid.

    Args:
        rows: Rows of `scan_forecasts` with the columns `ROW_COLUMNS`; names are categorical.
        step_days: Days between two dates.
        bad: "raise", or "drop" what cannot be used.
        dropped: What was left out before, in words; more is added.

    Returns:
        The values from the first to the last date, and what was left out.

    Raises:
        InputError: for no rows, and, unless `bad` is "drop", for bad rows as in `load_hub`.
    """
    if not len(rows):
        raise InputError(_nothing_left([]))
    rows = refuse_missing(rows, bad, dropped)
    if not len(rows):
        raise InputError(_nothing_left(dropped))
    rows = on_grid(rows, step_days, bad, dropped)
    grid = _fill(rows, step_days, bad, dropped)
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
    return "no quantile forecast is left of what was asked for; ask for other models, locations, levels or dates"


def choose_levels(rows: Any, dropped: list[str]) -> Any:
    """Chooses the levels with which the forecasts that have all of them hold the most quantiles.

    Forecasts count whole or not at all. Without a choice one model with more levels than the
    others, or a level that hardly any forecast has, would take all other forecasts with it.

    Args:
        rows: Rows of one target at all horizons. Those with a fault, and samples, are kept and not
            looked at.
        dropped: List to which a line on the levels that are left out is added.

    Returns:
        The rows without those of other levels.
    """
    pl = polars()
    level = pl.col("quantile").round(6)
    sound = rows.lazy().filter(pl.col("fault").is_null() & level.is_not_null())
    counts, kept = levels_of_most(sound, ("horizon", "model", "location", "target_end_date"))
    others = [each for each in counts if each not in kept]
    if not others:
        return rows
    dropped.append(
        f"{counted(sum(counts[each] for each in others), 'row')} of the level{'s' * (len(others) > 1)} "
        f"{', '.join(f'{each:g}' for each in others)}, which too few forecasts have"
    )
    return rows.filter(~level.is_in(others) | level.is_null())


def levels_of_most(rows: Any, key: Sequence[str]) -> tuple[dict[float, int], set[float]]:
    """Finds the levels with which the forecasts that have all of them hold the most quantiles.

    Levels are left out from the rarest on, each with its mirror image, so that intervals stay
    central.

    Args:
        rows: Lazy frame with the column quantile, of levels.
        key: Columns that distinguish forecasts.

    Returns:
        The number of rows of each level, and the levels to keep.
    """
    pl = polars()
    level = pl.col("quantile").round(6)
    counts: dict[float, int] = dict(rows.group_by(level).len().sort("quantile").collect().rows())
    kept, choices = set(counts), list[tuple[int, set[float]]]()
    if len(set(counts.values())) < 2:
        return counts, kept
    of_forecast = level.unique().sort().cast(pl.String).str.join(" ")
    found = rows.group_by(key).agg(of_forecast).group_by("quantile").len().collect()
    forecasts = [(set(map(float, text.split())), number) for text, number in found.rows()]
    while kept:
        number = sum(number for levels, number in forecasts if kept <= levels)
        choices.append((number * len(kept), kept))
        rarest = min(kept, key=counts.__getitem__)
        kept = {each for each in kept if each != rarest and abs(each + rarest - 1) > 1e-6}
    return counts, max(choices, key=lambda choice: choice[0])[1]


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
        lost = [name for i, name in enumerate(names) if i not in set(kept.tolist())]
        if lost:
            grid.dropped.append(f"{counted(len(lost), kind)} of which no forecast is left, such as {shown(lost[0])}")
    times = np.arange(times[0], times[-1] + 1)
    return dataclasses.replace(
        grid,
        values=grid.values[np.ix_(places, times, models)],
        locations=[grid.locations[i] for i in places],
        dates=grid.dates[times],
        made=grid.made[times],
        rounds=grid.rounds[times],
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
    made = _day_by_date(rows["forecast_date"], len(days), place[1], latest=True)
    rounds = _day_by_date(rows["round_date"], len(days), place[1], latest=False)
    return Grid(values, locations, days, models, levels, made, rounds, dropped)


def _day_by_date(day: Any, size: int, time: np.ndarray, *, latest: bool) -> np.ndarray:
    """Returns the first or last day in the rows of each date; NaT where none has one."""
    pl = polars()
    found = np.full(size, np.datetime64("NaT", "D"), "datetime64[D]")
    if day.null_count() < len(day):
        kept = pl.DataFrame({"time": time, "day": day}).drop_nulls()
        days = kept.group_by("time").agg(pl.col("day").max() if latest else pl.col("day").min())
        found[days["time"].to_numpy()] = days["day"].to_numpy().astype("datetime64[D]")
    return found


def _index(column: Any, names: list[str]) -> np.ndarray:
    """Returns the index of each value of a categorical column among some names."""
    codes = column.to_physical().to_numpy()
    table = np.zeros(int(codes.max()) + 1, int)
    first = np.unique(codes, return_index=True)
    table[first[0]] = [names.index(column[int(i)]) for i in first[1]]
    return table[codes]


def is_or_null(name: str, wanted: Sequence[Any]) -> Any:
    """Returns an expression for the rows with one of the wanted values, or none that can be read.

    Args:
        name: Column.
        wanted: The values.
    """
    column = polars().col(name)
    return column.is_in(list(wanted)) | column.is_null()

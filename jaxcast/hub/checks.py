"""Checks of what real hubs hold and nobody can use; errors name file and row."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.cells import LARGEST, YEARS
from jaxcast.hub.tables import raw_cell
from jaxcast.io.tables import polars


@dataclasses.dataclass(frozen=True)
class Grid:
    """values: (location, time, model, quantile), NaN where there is none. dropped: what was left out, in words."""

    values: np.ndarray
    locations: list[str]
    dates: np.ndarray
    models: list[str]
    levels: np.ndarray
    dropped: list[str]


WANTED = {
    "type": "an output type such as quantile",
    "model": "the name of a model",
    "location": "the name of a location",
    "target": "the name of a target",
    "horizon": "a horizon in whole steps",
    "reference_date": "a date like 2024-01-06 that goes with horizon, target date and step_days",
    "target_end_date": f"a date like 2024-01-06, from {YEARS[0]} to {YEARS[1]}",
    "quantile": "a level within 0 and 1",
    "value": f"a number up to {LARGEST:g}",
}


class BadForecasts(NamedTuple):
    """Which forecasts cannot be used, (location, time, model): a level is missing, or a quantile is above a higher one."""

    incomplete: np.ndarray
    crossing: np.ndarray
    first_crossing: tuple[int, ...] | None

    @property
    def any(self) -> np.ndarray:
        return self.incomplete | self.crossing

    def describe_incomplete(self, rows: Any, grid: "Grid") -> str:
        """Which model lacks levels, and how often; or which level hardly any forecast has."""
        there = ~np.isnan(grid.values)
        rarest = int(there.sum((0, 1, 2)).argmin())
        if there[..., rarest].sum() < 0.5 * there.any(-1).sum():
            place, time, model = np.argwhere(there[..., rarest])[0]
            at = _row_of(rows, grid, place, time, model, rarest)
            return (
                f"{shown(at['file'])}, row {at['row']}: the level {grid.levels[rarest]:g} is that of only {there[..., rarest].sum()} "
                f"of {there.any(-1).sum()} forecasts; fix it, ask for levels that all have, or drop what is bad"
            )
        counts = self.incomplete.sum((0, 1))
        model = int(counts.argmax())
        place, time, _ = np.argwhere(self.incomplete[..., model : model + 1])[0]
        lacking = ", ".join(f"{level:g}" for level in grid.levels[~there[place, time, model]])
        at = _row_of(rows, grid, place, time, model, int(there[place, time, model].argmax()))
        return (
            f"{shown(grid.models[model])} lacks some of the {len(grid.levels)} quantile levels in {counted(counts[model], 'forecast')}, "
            f"the first for {shown(grid.locations[place])} on {grid.dates[time]} (no {lacking}; {shown(at['file'])}, row {at['row']}); "
            "ask for levels that all have, or drop what is bad"
        )

    def describe_crossing(self, rows: Any, grid: "Grid") -> str:
        """The first crossing, with the file and row of its lower quantile."""
        assert self.first_crossing is not None
        place, time, model, level = self.first_crossing
        at = _row_of(rows, grid, place, time, model, level)
        low, high = grid.levels[level : level + 2]
        return (
            f"{shown(at['file'])}, row {at['row']}: {shown(grid.models[model])}'s quantile {low:g} for "
            f"{shown(grid.locations[place])} on {grid.dates[time]} is above its quantile {high:g} "
            f"({counted(int(self.crossing.sum()), 'such forecast')}); fix it, or drop what is bad"
        )


def _row_of(rows: Any, grid: "Grid", place: Any, time: Any, model: Any, level: Any) -> dict[str, Any]:
    """The row that holds one quantile."""
    pl = polars()
    is_it = (
        (pl.col("location") == grid.locations[place])
        & (pl.col("target_end_date") == grid.dates[time].item())
        & (pl.col("model") == grid.models[model])
        & ((pl.col("quantile") - grid.levels[level]).abs() < 1e-6)
    )
    row: dict[str, Any] = rows.filter(is_it).row(0, named=True)
    return row


def find_bad_forecasts(values: np.ndarray, levels: np.ndarray) -> BadForecasts:
    """Forecasts on a dense grid (location, time, model, quantile) with NaN where there is none."""
    missing = np.isnan(values)
    incomplete = missing.any(-1) & ~missing.all(-1)
    with np.errstate(invalid="ignore"):
        falls = np.diff(values, axis=-1) < -1e-6 * (1 + np.abs(values[..., :-1]))
    crossing = falls.any(-1) & ~incomplete
    first = tuple(int(i) for i in np.argwhere(falls & ~incomplete[..., None])[0]) if crossing.any() else None
    return BadForecasts(incomplete, crossing, first)


def refuse_missing(rows: Any, bad: str, dropped: list[str]) -> Any:
    """Returns the rows that have no fault; the others are counted as dropped.

    Args:
        rows: of `scan_forecasts`.
        bad: "raise" or "drop".
        dropped: where to say how many were left out.

    Raises:
        InputError: for the first fault, unless dropped, with the cell.
    """
    pl = polars()
    found = rows.filter(pl.col("fault").is_not_null())
    if not len(found):
        return rows
    if bad == "drop":
        dropped.append(f"{counted(len(found), 'row')} with NA or a cell that cannot be read")
        return rows.filter(pl.col("fault").is_null())
    row = found.row(0, named=True)
    column, cell = raw_cell(row["file"], row["row"], row["fault"])
    of = f" of {shown(row['model'])} for {shown(row['location'])}" if row["model"] and row["location"] else ""
    raise InputError(
        f"{shown(row['file'])}, row {row['row']}: the {column}{of} is NA or not {WANTED[row['fault']]}, "
        f"{shown('' if cell is None else cell)!r} ({counted(len(found), 'such row')}); fix it, or drop what is bad"
    )


def refuse_duplicates(rows: Any, flat: np.ndarray, size: int, bad: str, dropped: list[str]) -> None:
    """Counts two rows of one model, location, date and level.

    Args:
        rows: of forecasts. flat: where on the grid each belongs. size: of the grid.
        bad: "raise" or "drop".
        dropped: where to say how many were left out.

    Raises:
        InputError: unless dropped, with both rows.
    """
    twice = np.bincount(flat, minlength=size)[flat] > 1
    if not twice.any():
        return
    num_extra = int(len(flat) - len(np.unique(flat)))
    if bad == "drop":
        dropped.append(f"{counted(num_extra, 'duplicate row')}, of which the last stayed")
        return
    first = int(np.flatnonzero(twice)[0])
    second = int(np.flatnonzero(flat == flat[first])[1])
    row, again = rows.row(first, named=True), rows.row(second, named=True)
    raise InputError(
        f"{shown(again['file'])}, row {again['row']}: {shown(row['model'])}'s quantile {row['quantile']:g} for "
        f"{shown(row['location'])} on {row['target_end_date']} was there already, in row {row['row']} of {shown(row['file'])} "
        f"({counted(num_extra, 'duplicate row')}); keep one of them"
    )


def on_grid(rows: Any, step_days: int, bad: str, dropped: list[str]) -> Any:
    """Returns the rows whose target dates are whole steps from the most frequent one; the others are counted as dropped.

    Args:
        rows: of forecasts, at least one.
        step_days: between two dates.
        bad: "raise" or "drop".
        dropped: where to say how many were left out.

    Raises:
        InputError: for a date in between, unless dropped, with its row.
    """
    dates = rows["target_end_date"].to_numpy().astype("datetime64[D]")
    unique, counts = np.unique(dates, return_counts=True)
    usual = unique[counts.argmax()]
    off = (dates - usual).astype(int) % step_days != 0
    if not off.any():
        return rows
    num_dates = len(np.unique(dates[off]))
    if bad == "drop":
        dropped.append(f"{int(off.sum())} rows of {num_dates} target dates off the grid of {step_days} days")
        return rows.filter(~off)
    row = rows.row(int(np.argmax(off)), named=True)
    raise InputError(
        f"{shown(row['file'])}, row {row['row']}: {num_dates} target dates are off the grid of {step_days} days, such as "
        f"{row['target_end_date']} beside {usual}; fix them, give another step_days, or drop what is bad"
    )


def check_span(rows: Any, num_dates: int, num_cells: int) -> None:
    """Checks that the dates of the forecasts are near enough to each other for a grid that holds them all.

    Args:
        rows: of forecasts.
        num_dates: from the first to the last.
        num_cells: of the grid.

    Raises:
        InputError: for a grid nearly all of which would be empty, with the row of the date farthest off.
    """
    if num_cells <= 10_000_000 + 100 * len(rows):
        return
    dates = rows["target_end_date"].to_numpy().astype("datetime64[D]").astype(int)
    row = rows.row(int(np.abs(dates - np.median(dates)).argmax()), named=True)
    raise InputError(
        f"{shown(row['file'])}, row {row['row']}: with target date {row['target_end_date']} the forecasts would span {num_dates} "
        f"dates, {num_cells * 8 / 1e9:.1f} GB, hardly any of them with a forecast; fix the date, or ask for fewer models"
    )

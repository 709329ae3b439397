"""Validates hub tables; errors name file and row."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.tables.cells import LARGEST, YEARS
from jaxcast.hub.tables.scan import raw_cell
from jaxcast.io.tables import polars


@dataclasses.dataclass(frozen=True)
class Grid:
    """Forecasts on a dense grid.

    Args:
        values: Quantiles (location, time, model, quantile), NaN where there are none.
        locations: Names of the locations.
        dates: Target dates, a step apart.
        models: Names of the models.
        levels: Levels of the quantiles.
        made: Newest day on which a forecast of each date was made; NaT where no table says.
        rounds: Day of the round of each date, where that is not its reference date; else NaT.
        dropped: What was left out, in words.
    """

    values: np.ndarray
    locations: list[str]
    dates: np.ndarray
    models: list[str]
    levels: np.ndarray
    made: np.ndarray
    rounds: np.ndarray
    dropped: list[str]

    def of_models(self, index: list[int]) -> "Grid":
        """Returns the grid of some of the models.

        Args:
            index: Their indices, in the order wanted.
        """
        if index == list(range(len(self.models))):
            return self
        models = [self.models[i] for i in index]
        return dataclasses.replace(self, values=self.values[:, :, index], models=models)


WANTED = {
    "type": "an output type such as quantile",
    "model": "the name of a model",
    "location": "the name of a location",
    "target": "the name of a target",
    "horizon": "a horizon in whole steps",
    "reference_date": "a date like 2024-01-06 that goes with horizon, target date and step_days",
    "target_end_date": f"a date like 2024-01-06, from {YEARS[0]} to {YEARS[1]}",
    "quantile": "a level within 0 and 1",
    "output_type_id": "the id of a sample (each once), a category, or a threshold of a cdf",
    "value": f"a number up to {LARGEST:g}",
}


class BadForecasts(NamedTuple):
    """Forecasts that cannot be used, (location, time, model).

    Args:
        incomplete: Whether a forecast lacks a level.
        crossing: Whether a quantile of a forecast is above a higher one.
        first_crossing: Index of the first quantile that is above the next.
    """

    incomplete: np.ndarray
    crossing: np.ndarray
    first_crossing: tuple[int, ...] | None

    @property
    def any(self) -> np.ndarray:
        """Whether a forecast has either fault."""
        return self.incomplete | self.crossing

    def describe_incomplete(self, rows: Any, grid: "Grid") -> str:
        """Describes missing levels: a model that lacks some, or a level that few forecasts have.

        Args:
            rows: Rows of the forecasts.
            grid: The forecasts on their grid.

        Returns:
            One line.
        """
        there = ~np.isnan(grid.values)
        rarest = int(there.sum((0, 1, 2)).argmin())
        if there[..., rarest].sum() < 0.5 * there.any(-1).sum():
            place, time, model = np.argwhere(there[..., rarest])[0]
            at = _row_of(rows, grid, place, time, model, rarest)
            return (
                f"{shown(at['file'])}, row {at['row']}: the level {grid.levels[rarest]:g} is that of only "
                f"{there[..., rarest].sum()} of {there.any(-1).sum()} forecasts; fix it, ask for levels that all "
                "have, or drop bad rows"
            )
        counts = self.incomplete.sum((0, 1))
        model = int(counts.argmax())
        place, time, _ = np.argwhere(self.incomplete[..., model : model + 1])[0]
        lacking = ", ".join(f"{level:g}" for level in grid.levels[~there[place, time, model]])
        at = _row_of(rows, grid, place, time, model, int(there[place, time, model].argmax()))
        return (
            f"{shown(grid.models[model])} lacks some of the {len(grid.levels)} quantile levels in "
            f"{counted(counts[model], 'forecast')}, the first for {shown(grid.locations[place])} on "
            f"{grid.dates[time]} (no {lacking}; {shown(at['file'])}, row {at['row']}); ask for levels that all have, "
            "or drop bad rows"
        )

    def describe_crossing(self, rows: Any, grid: "Grid") -> str:
        """Describes the first crossing, with the file and row of its lower quantile.

        Args:
            rows: Rows of the forecasts.
            grid: The forecasts on their grid.

        Returns:
            One line.
        """
        assert self.first_crossing is not None
        place, time, model, level = self.first_crossing
        at = _row_of(rows, grid, place, time, model, level)
        low, high = grid.levels[level : level + 2]
        return (
            f"{shown(at['file'])}, row {at['row']}: {shown(grid.models[model])}'s quantile {low:g} for "
            f"{shown(grid.locations[place])} on {grid.dates[time]} is above its quantile {high:g} "
            f"({counted(int(self.crossing.sum()), 'such forecast')}); fix it, or drop bad rows"
        )


def _row_of(rows: Any, grid: "Grid", place: Any, time: Any, model: Any, level: Any) -> dict[str, Any]:
    """Returns the row that holds one quantile."""
    pl = polars()
    is_it = (
        (pl.col("location") == grid.locations[place])
        & (pl.col("target_end_date") == grid.dates[time].item())
        & (pl.col("model") == grid.models[model])
        & ((pl.col("quantile") - grid.levels[level]).abs() < 1e-6)
    )
    row: dict[str, Any] = rows.filter(is_it).row(0, named=True)
    return row


def find_bad_forecasts(values: np.ndarray) -> BadForecasts:
    """Finds forecasts that lack levels or have crossing quantiles.

    Args:
        values: Quantiles on a dense grid (location, time, model, quantile), NaN where there are
            none.

    Returns:
        Which forecasts have which fault.
    """
    missing = np.isnan(values)
    incomplete = missing.any(-1) & ~missing.all(-1)
    with np.errstate(invalid="ignore"):
        falls = np.diff(values, axis=-1) < -1e-6 * (1 + np.abs(values[..., :-1]))
    crossing = falls.any(-1) & ~incomplete
    first = tuple(int(i) for i in np.argwhere(falls & ~incomplete[..., None])[0]) if crossing.any() else None
    return BadForecasts(incomplete, crossing, first)


def refuse_missing(rows: Any, bad: str, dropped: list[str]) -> Any:
    """Returns the rows without a fault; the others are refused, or counted as dropped.

    Args:
        rows: Rows of `scan_forecasts`.
        bad: "raise" or "drop".
        dropped: List to which a line on dropped rows is added.

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
        f"{shown('' if cell is None else cell)!r} ({counted(len(found), 'such row')}); fix it, or drop bad rows"
    )


def refuse_duplicates(rows: Any, flat: np.ndarray, size: int, bad: str, dropped: list[str]) -> None:
    """Refuses two rows of one model, location, date and level, or counts them as dropped.

    Args:
        rows: Rows of the forecasts.
        flat: Index of each row on the flattened grid.
        size: Size of the grid.
        bad: "raise" or "drop".
        dropped: List to which a line on dropped rows is added.

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
        f"{shown(row['location'])} on {row['target_end_date']} was there already, in row {row['row']} of "
        f"{shown(row['file'])} ({counted(num_extra, 'duplicate row')}); keep one of them"
    )


def on_grid(rows: Any, step_days: int, bad: str, dropped: list[str]) -> Any:
    """Returns the rows whose target dates lie whole steps from the most frequent one.

    Args:
        rows: Rows of the forecasts, at least one.
        step_days: Days between two dates.
        bad: "raise" or "drop".
        dropped: List to which a line on dropped rows is added.

    Raises:
        InputError: for a date in between, unless dropped, with its row; where most are, steps are
            of another length, and none is dropped.
    """
    dates = rows["target_end_date"].to_numpy().astype("datetime64[D]")
    unique, counts = np.unique(dates, return_counts=True)
    frequent = unique[counts.argmax()]
    off = (dates - frequent).astype(int) % step_days != 0
    if not off.any():
        return rows
    num_dates = len(np.unique(dates[off]))
    found, grid = counted(num_dates, "target date"), f"off the grid of {counted(step_days, 'day')}"
    if bad == "drop" and off.mean() < 0.5:
        dropped.append(f"{counted(int(off.sum()), 'row')} of {found} {grid}")
        return rows.filter(~off)
    row = rows.row(int(np.argmax(off)), named=True)
    raise InputError(
        f"{shown(row['file'])}, row {row['row']}: {found} {grid}, such as "
        f"{row['target_end_date']} beside {frequent}; fix them, give another step_days, or drop bad rows"
    )


def check_span(rows: Any, num_dates: int, num_cells: int) -> None:
    """Checks that the dates of the forecasts are close enough for one dense grid.

    Args:
        rows: Rows of the forecasts.
        num_dates: Dates from the first to the last.
        num_cells: Cells of the grid.

    Raises:
        InputError: for a grid that would be nearly empty, with the row of the date farthest off.
    """
    if num_cells <= 10_000_000 + 100 * len(rows):
        return
    dates = rows["target_end_date"].to_numpy().astype("datetime64[D]").astype(int)
    row = rows.row(int(np.abs(dates - np.median(dates)).argmax()), named=True)
    raise InputError(
        f"{shown(row['file'])}, row {row['row']}: with target date {row['target_end_date']} the forecasts would span "
        f"{num_dates} dates, {num_cells * 8 / 1e9:.1f} GB, hardly any of them with a forecast; fix the date, or ask "
        "for fewer models"
    )

"""What real hubs hold that cannot be used, told with file and row."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcast.errors import InputError
from jaxcast.hub.tables import polars

if TYPE_CHECKING:
    from jaxcast.hub.grid import Grid


class BadForecasts(NamedTuple):
    """Which forecasts cannot be used, (location, time, model): a level is missing, or a quantile is above a higher one."""

    incomplete: np.ndarray
    crossing: np.ndarray
    first_crossing: tuple[int, ...] | None

    @property
    def any(self) -> np.ndarray:
        return self.incomplete | self.crossing

    def describe_incomplete(self, grid: "Grid") -> str:
        """Which model lacks levels, and how often."""
        counts = self.incomplete.sum((0, 1))
        worst = int(counts.argmax())
        place, time, _ = np.argwhere(self.incomplete[..., worst : worst + 1])[0]
        lacking = ", ".join(f"{level:g}" for level in grid.levels[np.isnan(grid.values[place, time, worst])])
        return (
            f"{grid.models[worst]} lacks some of the {len(grid.levels)} quantile levels in {counts[worst]} forecasts, "
            f"the first for {grid.locations[place]} on {grid.dates[time]} (no {lacking}); ask for levels that all have, or "
            "drop what is bad"
        )

    def describe_crossing(self, rows: Any, grid: "Grid") -> str:
        """The first crossing, with the file and row of its lower quantile."""
        assert self.first_crossing is not None
        place, time, model, level = self.first_crossing
        pl = polars()
        at = rows.filter(
            (pl.col("location") == grid.locations[place])
            & (pl.col("target_end_date") == grid.dates[time].item())
            & (pl.col("model") == grid.models[model])
            & ((pl.col("quantile") - grid.levels[level]).abs() < 1e-6)
        ).row(0, named=True)
        low, high = grid.levels[level : level + 2]
        return (
            f"{at['file']}, row {at['row']}: {grid.models[model]}'s quantile {low:g} for {grid.locations[place]} on "
            f"{grid.dates[time]} is above its quantile {high:g} ({int(self.crossing.sum())} forecasts cross); "
            "mend it, or drop what is bad"
        )


def find_bad_forecasts(values: np.ndarray, levels: np.ndarray) -> BadForecasts:
    """Forecasts on a dense grid (location, time, model, quantile) with NaN where there is none."""
    missing = np.isnan(values)
    incomplete = missing.any(-1) & ~missing.all(-1)
    with np.errstate(invalid="ignore"):
        falls = np.diff(values, axis=-1) < -1e-6 * (1 + np.abs(values[..., :-1]))
    crossing = falls.any(-1) & ~incomplete
    first = tuple(int(i) for i in np.argwhere(falls & ~incomplete[..., None])[0]) if crossing.any() else None
    return BadForecasts(incomplete, crossing, first)


def refuse_missing(rows: Any, bad: str, dropped: list[str]) -> None:
    """Raises InputError for the first row whose value, level or date is no number, level or date; or counts them as dropped."""
    pl = polars()
    is_bad = pl.any_horizontal(
        pl.col("value", "target_end_date").is_null(),
        ~pl.col("value").is_finite().fill_null(False),
        ~pl.col("quantile").is_between(0, 1, closed="none").fill_null(False),
    )
    found = rows.filter(is_bad)
    if not len(found):
        return
    if bad == "drop":
        dropped.append(f"{len(found)} rows with NA")
        return
    row = found.row(0, named=True)
    level, date = row["quantile"], row["target_end_date"]
    name = "target_end_date" if date is None else "quantile" if level is None or not 0 < level < 1 else "value"
    wanted = {"target_end_date": "date like 2024-01-06", "quantile": "level within 0 and 1", "value": "number"}[name]
    raise InputError(
        f"{row['file']}, row {row['row']}: the {name} of {row['model']} for {row['location']} is NA or no {wanted} "
        f"({len(found)} rows are so); mend it, or drop what is bad"
    )


def refuse_duplicates(rows: Any, flat: np.ndarray, size: int, bad: str, dropped: list[str]) -> None:
    """Raises InputError for two rows of one model, location, date and level; or counts them."""
    twice = np.bincount(flat, minlength=size)[flat] > 1
    if not twice.any():
        return
    num_extra = int(len(flat) - len(np.unique(flat)))
    if bad == "drop":
        dropped.append(f"{num_extra} duplicate rows, of which the last stayed")
        return
    first = int(np.flatnonzero(twice)[0])
    second = int(np.flatnonzero(flat == flat[first])[1])
    row, again = rows.row(first, named=True), rows.row(second, named=True)
    raise InputError(
        f"{again['file']}, row {again['row']}: {row['model']}'s quantile {row['quantile']:g} for {row['location']} on "
        f"{row['target_end_date']} was there already, in row {row['row']} ({num_extra} duplicate rows); keep one of them"
    )


def check_grid(dates: np.ndarray, step_days: int) -> np.ndarray:
    """All dates from the first to the last, a step apart.

    Raises:
        InputError: for a date in between, or steps below a day.
    """
    if step_days < 1:
        raise InputError(f"step_days must be at least 1, got {step_days}")
    unique, counts = np.unique(dates, return_counts=True)
    off = (unique - unique[counts.argmax()]).astype(int) % step_days != 0
    if off.any():
        raise InputError(
            f"{int(off.sum())} target dates are off the grid of {step_days} days, such as {unique[off][0]} beside "
            f"{unique[counts.argmax()]}; mend them, or give another step_days"
        )
    return np.arange(unique[0], unique[-1] + 1, step_days, dtype="datetime64[D]")

"""Reads target data onto the grid of the forecasts: one final table, or every release of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.tables.checks import Grid
from jaxcast.hub.tables.file_groups import ROW
from jaxcast.hub.tables.grid import is_or_null
from jaxcast.hub.tables.scan import collected
from jaxcast.hub.tables.target_data import open_targets, scan_truth
from jaxcast.io.tables import polars
from jaxcast.limits import check_arrays


class TargetData(NamedTuple):
    """Target data on the dates of a grid and on some before it.

    Args:
        values: Values (release, location, step), NaN where a release has none; of a table without
            releases the only one.
        as_of: Day of each release, increasing; None for a table without several releases, which
            shows no revision.
    """

    values: np.ndarray
    as_of: np.ndarray | None


def read_targets(path: str | Path, source: str | None, target: str | None, locations: Sequence[str]) -> Any:
    """Reads the rows of the target data.

    Args:
        path: The table.
        source: Text in the column of sources, as in `scan_truth`.
        target: Target to read, where the table names several.
        locations: Locations to read.

    Returns:
        The rows, in the form of `scan_truth`, with those whose location cannot be read.

    Raises:
        InputError: for a table that cannot be read, or several targets none of which is asked for.
    """
    table = _of_target(scan_truth(path, source=source), path, target)
    return collected(table.filter(is_or_null("location", locations)), path)


def place_targets(rows: Any, path: str | Path, grid: Grid, step_days: int, num_before: int) -> TargetData:
    """Puts target data on the dates of a grid, and on steps before its first.

    A release has the values that were known on its day: its own rows, and the values of the release
    before it for what it does not list. A row whose value is NA withdraws a value.

    Args:
        rows: Rows of `read_targets`.
        path: The table that they are from.
        grid: Grid of locations and dates; what is left out is added to its `dropped`.
        step_days: Days between two dates.
        num_before: Steps before the first date.

    Returns:
        The target data of every release, the oldest first.

    Raises:
        InputError: for two values for a location and date (of a release, if there are any), dates
            off the grid, or no value for its locations.
    """
    rows = _usable(rows.filter(is_or_null("location", grid.locations)), path, grid)
    _refuse_duplicates(rows, path)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    steps, off = np.divmod((dates - grid.dates[0]).astype(int), step_days)
    if off.any():
        raise InputError(
            f"{(off > 0).sum()} of {len(off)} dates of the truth in {shown(path)} are off the forecasts' grid of "
            f"{step_days} days, such as {dates[off > 0][0]} in row {rows['row'][int(np.argmax(off > 0))]} beside "
            f"{grid.dates[-1]}; give target dates, one value for every step"
        )
    steps, size = steps + num_before, len(grid.dates) + num_before
    inside = (steps >= 0) & (steps < size)
    as_of, release = _releases_of(rows)
    place = rows["location"].cast(polars().Enum(grid.locations)).to_physical().to_numpy()
    shape = (len(as_of), len(grid.locations), size)
    check_arrays("{} releases of {} locations on {} dates".format(*shape), shape, dtype=np.float64)
    values = np.full(shape, np.nan)
    values[release[inside], place[inside], steps[inside]] = rows["value"].to_numpy()[inside]
    if len(as_of) > 1:
        is_listed = np.zeros(values.shape, bool)
        is_listed[release[inside], place[inside], steps[inside]] = True
        for before, after in zip(range(len(as_of)), range(1, len(as_of)), strict=False):
            values[after] = np.where(is_listed[after], values[after], values[before])
    _report_gaps(values[-1], max(0, min(int(steps.max()), size - 1)), grid)
    return TargetData(values, as_of if len(as_of) > 1 else None)


def release_of(as_of: np.ndarray, deadlines: np.ndarray) -> np.ndarray:
    """Finds the newest release before each deadline.

    Args:
        as_of: Day of each release, increasing.
        deadlines: Days before which a release must have come out.

    Returns:
        Its index; -1 where there is none.
    """
    return np.searchsorted(as_of, deadlines, side="left") - 1


def lags_of(values: np.ndarray, releases: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Gathers what each date's own release has for earlier dates.

    Args:
        values: Values (release, location, step).
        releases: Index of the release of each date; -1 for none.
        steps: Index of the step of each lag (time, lag).

    Returns:
        The values (location, time, lag), NaN where there are none.
    """
    found = np.moveaxis(values[releases[:, None], :, steps], 2, 0)
    return np.where(releases[:, None] >= 0, found, np.nan)


def _releases_of(rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the days of the releases, and the index of each row's."""
    if "as_of" not in rows.columns:
        return np.zeros(1, "datetime64[D]"), np.zeros(len(rows), int)
    return np.unique(rows["as_of"].to_numpy().astype("datetime64[D]"), return_inverse=True)


def _of_target(table: Any, path: str | Path, target: str | None) -> Any:
    """Returns the rows of a target, and those without any where the table names targets."""
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


def _usable(found: Any, path: str | Path, grid: Grid) -> Any:
    """Returns the rows of the truth that have location, date and value, and counts the others.

    Rows of releases without a value stay, as NaN.
    """
    pl = polars()
    named = found.filter(pl.col("location").is_not_null() & _is_named(found))
    if len(named) < len(found):
        grid.dropped.append(f"{counted(len(found) - len(named), 'row')} of the truth without a location or a target")
    has_releases = "as_of" in found.columns
    dated = named.filter(pl.col("as_of").is_not_null()) if has_releases else named
    if len(dated) < len(named):
        grid.dropped.append(f"{counted(len(named) - len(dated), 'row')} of the truth without a day of release (as_of)")
    rows = dated.filter(pl.col("date").is_not_null() & pl.col("value").is_not_null())
    if not len(rows):
        why = "their names may differ"
        if len(named):
            why = f"no date (2024-01-06) or no number in any row{_example(path, named['row'][0])}"
        why = "no day of release (2024-01-06) in as_of of any row" if len(named) and not len(dated) else why
        raise InputError(f"the truth in {shown(path)} has no value for the locations of the forecasts: {why}")
    if len(rows) < len(dated):
        grid.dropped.append(f"{counted(len(dated) - len(rows), 'row')} of the truth without a date or a number")
    if has_releases:
        rows = dated.filter(pl.col("date").is_not_null()).with_columns(pl.col("value").fill_null(float("nan")))
    return rows


def _example(path: str | Path, row: int) -> str:
    """Returns what a row of one table has as date and value."""
    if not Path(path).is_file():
        return ""
    frame, cells = open_targets(Path(path), {}, None)
    names = [cells.found["date"], cells.found["value"]]
    date, value = collected(frame.filter(polars().col(ROW) == row).select(names), path).row(0)
    return f"; row {row} has the date {shown(str(date))!r} and the value {shown(str(value))!r}"


def _is_named(found: Any) -> Any:
    """Returns whether a row has a target, where any has."""
    pl = polars()
    return pl.col("target").is_not_null() | pl.lit(found["target"].null_count() == len(found))


def _refuse_duplicates(rows: Any, path: str | Path) -> None:
    has_releases = "as_of" in rows.columns
    key = ("location", "date", *(("as_of",) if has_releases else ()))
    twice = rows.select(key).is_duplicated()
    if twice.any():
        first = rows.filter(twice).row(0, named=True)
        of = f" in the release of {first['as_of']}" if has_releases else ""
        fix = (
            "keep one of them"
            if has_releases
            else "keep one release of them by truth_source, or name their days in as_of"
        )
        raise InputError(
            f"the truth in {shown(path)} has {counted(int(twice.sum()), 'duplicate row')}, such as "
            f"{shown(first['location'])} on {first['date']}{of} (row {first['row']}); {fix}"
        )


def _report_gaps(truth: np.ndarray, last: int, grid: Grid) -> None:
    """Adds to what was left out the locations without any truth, or without it on the last date."""
    without = [name for name, there in zip(grid.locations, np.isfinite(truth).any(1), strict=True) if not there]
    if without:
        grid.dropped.append(
            f"no truth for {len(without)} of {counted(len(grid.locations), 'location')}, such as {shown(without[0])}"
        )
    early = [name for name, there in zip(grid.locations, np.isfinite(truth[:, last]), strict=True) if not there]
    if early := [name for name in early if name not in without]:
        grid.dropped.append(
            f"no truth on the last date for {counted(len(early), 'location')}, such as {shown(early[0])}"
        )

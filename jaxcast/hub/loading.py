"""Reads the tables of a hub into arrays."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_names
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.outputs.sample_quantiles import in_place_of_samples
from jaxcast.hub.tables.checks import Grid
from jaxcast.hub.tables.choosing import (
    Choice,
    check_steps,
    choose_horizons,
    choose_rows,
    choose_target,
    is_of,
    is_unused,
    kept_models,
    unused_types,
)
from jaxcast.hub.tables.deadlines import deadlines_of, due_dates
from jaxcast.hub.tables.file_groups import hub_files
from jaxcast.hub.tables.grid import ROW_COLUMNS, choose_levels, fill_grid, is_or_null
from jaxcast.hub.tables.releases import lags_of, place_targets, read_targets, release_of
from jaxcast.hub.tables.scan import collected, scan_forecasts
from jaxcast.io.tables import polars


@checked
def load_hub(
    forecasts: str | Path,
    truth: str | Path,
    *,
    vintages: str | Path | None = None,
    horizon: int = 1,
    first_horizon: int | None = None,
    due_days: int | Mapping[str, int] | None = None,
    target: str | None = None,
    models: Sequence[str] | int | None = None,
    exclude: Sequence[str] = (),
    locations: Sequence[str] | None = None,
    levels: Sequence[float] | None = None,
    first: str | None = None,
    last: str | None = None,
    truth_source: str | None = None,
    step_days: int = 7,
    num_lags: int = 10,
    bad: Literal["raise", "drop"] = "raise",
) -> Hub:
    """Reads a hub's tables into arrays; see `scan_forecasts` and `scan_truth` for their formats.

    Target data with a column `as_of` are read as releases: the last scores use the newest, and
    whatever a forecast is made from uses the newest release that its round could know. Where
    horizons count from 0, that came out before the round's date; where they count from 1, so that
    the round's date is the newest observed one, at most two days after it, unless `due_days` or a
    column `forecast_date` says when forecasts are made. Without a column `as_of`, or with one day
    alone in it, the target data are final, and revisions are not replayed. Forecasts of
    dates after the newest target data are pending: they are read, and `Hub.pending` marks them.
    Where a model gives samples and no quantiles, their quantiles are read; see
    `quantiles_of_samples`. `dropped` lists what is used in place of what.

    Args:
        forecasts: A table, or the folder of a hub.
        truth: The table of target data; its newest release is the truth to score against.
        vintages: Table of the releases, with a column `as_of`, where the other one has none.
        horizon: Horizon to read, in steps as the tables count them.
        first_horizon: Horizon of the first date after the newest target that forecasters could
            know; by default 0 where the tables hold a horizon 0 or forecasts are due before the
            date of their round, else 1.
        due_days: Days from the date of a round to the last on which its forecasts are made, such as
            -3 where rounds are of Saturdays and due on Wednesdays: later releases are not used.
            Where rounds differ, that of each by its date, {"2024-01-06": -3}; one that is not named
            is taken to be due as early as the earliest.
        target: Target to read, where there are several.
        models: Names of the models, or how many: those with the most forecasts; by default all.
            Those without the horizon are left out.
        exclude: Names of models to leave out; their files in a folder are not opened.
        locations: Locations to keep; by default all.
        levels: Levels of the quantiles to keep; by default all.
        first: First target date to read, such as 2024-01-06; by default all.
        last: Last target date to read.
        truth_source: Text in the column of sources of the target data; see `scan_truth`.
        step_days: Days between two dates: 7 for a weekly hub, 1 for a daily one.
        num_lags: Number of newest targets in `observed`.
        bad: Whether to raise on, or to drop, what cannot be used: files of a folder and cells that
            cannot be read, dates off the grid, missing levels and crossing quantiles (the whole
            forecast of that model, date and location), and the first of two duplicate rows. Where
            models have different levels, those are kept with which the most quantiles are in whole
            forecasts. `dropped` counts what is left out.

    Returns:
        Forecasts and target data on a grid of dates without holes, and what was left out, in words.

    Raises:
        InputError: for tables that cannot be read, unknown names or horizons, and, unless dropped,
            cells that cannot be read, dates off the grid, crossing quantiles, missing levels and
            duplicates, with file and row.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> forecasts, truth = folder / "forecasts.csv", folder / "truth.csv"
        >>> rows = [f"a,X,2024-01-06,1,{level},{level}" for level in (0.25, 0.5, 0.75)]
        >>> _ = forecasts.write_text("\\n".join(["model,location,target_end_date,horizon,quantile,value", *rows]))
        >>> _ = truth.write_text("location,date,value\\nX,2024-01-06,0.4")
        >>> jaxcast.load_hub(forecasts, truth).quantiles.shape
        (1, 1, 1, 3)
    """
    given = locals()
    return _load(forecasts, truth, (horizon,), Choice(*(given[name] for name in Choice._fields)))[horizon]


@checked
def load_hubs(
    forecasts: str | Path, truth: str | Path, *, horizons: Sequence[int] | None = None, **kwargs: Any
) -> dict[int, Hub]:
    """Reads several horizons of a hub at once, which is faster than one by one.

    Args:
        forecasts: A table, or the folder of a hub.
        truth: The table of target data.
        horizons: Horizons to read; by default all that the tables hold, from `first_horizon`.
        kwargs: Further arguments of `load_hub`.

    Returns:
        The hub at each horizon.

    Raises:
        InputError: as by `load_hub`.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> forecasts, truth = folder / "forecasts.csv", folder / "truth.csv"
        >>> rows = [f"a,X,2024-01-06,{horizon},0.5,1" for horizon in (1, 2)]
        >>> _ = forecasts.write_text("\\n".join(["model,location,target_end_date,horizon,quantile,value", *rows]))
        >>> _ = truth.write_text("location,date,value\\nX,2024-01-06,0.4")
        >>> [hub.horizon for hub in jaxcast.hub.load_hubs(forecasts, truth).values()]
        [1, 2]
    """
    check_names("argument", kwargs, Choice._fields)
    defaults = {name: signature(load_hub).parameters[name].default for name in Choice._fields}
    return _load(forecasts, truth, horizons, Choice(**(defaults | kwargs)))


def _load(forecasts: str | Path, truth: str | Path, horizons: Sequence[int] | None, choice: Choice) -> dict[int, Hub]:
    check_choice("bad", choice.bad, ("raise", "drop"))
    for horizon in (0,) if horizons is None else horizons:
        check_steps(choice.step_days, choice.num_lags, horizon, choice.first_horizon)
    choice, excluded = _without_files(forecasts, choice)
    unreadable: list[str] = []
    frame = scan_forecasts(
        forecasts,
        step_days=choice.step_days,
        exclude=excluded,
        unreadable=unreadable if choice.bad == "drop" else None,
    )
    hubs = load_scanned(frame, forecasts, truth, horizons, choice)
    if not unreadable:
        return hubs
    return {horizon: dataclasses.replace(hub, dropped=(*unreadable, *hub.dropped)) for horizon, hub in hubs.items()}


def _without_files(forecasts: str | Path, choice: Choice) -> tuple[Choice, Sequence[str]]:
    """Returns the choice without `exclude`, and the models of a folder that are not opened."""
    if not choice.exclude or not Path(forecasts).is_dir():
        return choice, ()
    known = {model for _, model in hub_files(Path(forecasts)) if model is not None}
    if not known:
        return choice, ()
    return choice._replace(exclude=()), check_names("model", choice.exclude, known)


def load_scanned(
    frame: Any, forecasts: str | Path, truth: str | Path, horizons: Sequence[int] | None, choice: Choice
) -> dict[int, Hub]:
    """Reads several horizons of a hub from rows that may have been read before.

    Args:
        frame: Lazy frame of `scan_forecasts`.
        forecasts: File or folder that it was made from.
        truth: The table of target data.
        horizons: Horizons to read; by default all, from the first.
        choice: What to read.

    Returns:
        The hub at each horizon.

    Raises:
        InputError: as by `load_hub`.
    """
    read = partial(collected, path=forecasts, step_days=choice.step_days)
    known = read(frame.select("target", "horizon", "model", "output_type").unique())
    frame, known, others = frame.filter(~is_unused()), known.filter(~is_unused()), known.filter(is_unused())
    frame, target = choose_target(frame, choice.target, known)
    first, horizons = choose_horizons(known.filter(is_of(target)), horizons, choice.first_horizon)
    frame, wanted = choose_rows(frame, choice, known, target, read)
    columns = ("horizon", *ROW_COLUMNS, *(["sample"] if "sample" in known.filter(is_of(target))["output_type"] else []))
    rows = read(frame.filter(is_or_null("horizon", horizons)).select(columns).with_columns(_categories()))
    unused = {horizon: unused_types(others.filter(is_of(target)), horizon, choice) for horizon in horizons}
    rare = list[str]()
    if choice.bad == "drop" and choice.levels is None:
        rows = choose_levels(rows, rare)
    grids = {horizon: _grid(rows, horizon, wanted, choice, [*rare, *unused[horizon]]) for horizon in horizons}
    if choice.first_horizon is None and first == 1 and _are_due_early(grids, choice):
        first = 0
    tables = _read_targets(truth, target, grids, choice)
    return {horizon: _hub(grid, horizon, first, target, tables, choice) for horizon, grid in grids.items()}


def _categories() -> Any:
    pl = polars()
    return pl.col("model", "location", "fault", "file").cast(pl.Categorical)


def _grid(rows: Any, horizon: int, wanted: dict[str, Any], choice: Choice, dropped: list[str]) -> Grid:
    """Puts the forecasts of a horizon on a grid; counts the models and locations without any."""
    rows = rows.filter(is_or_null("horizon", [horizon]))
    dates = " in these dates" if choice.first or choice.last else ""
    for kind, names in wanted.items():
        there = set(rows[kind].unique().cast(polars().String))
        if missing := [name for name in names if name not in there]:
            dropped.append(
                f"{counted(len(missing), kind)} without a forecast of horizon {horizon}{dates}, such as "
                f"{shown(missing[0])}"
            )
    if "sample" in rows.columns:
        rows, lines = in_place_of_samples(rows, choice.levels)
        dropped += lines
    grid = fill_grid(rows, choice.step_days, choice.bad, dropped)
    return grid.of_models(kept_models(choice.models, grid))


def _read_targets(
    truth: str | Path, target: str | None, grids: dict[int, Grid], choice: Choice
) -> list[tuple[Any, str | Path]]:
    """Reads the target data to score against, and the releases if they have their own table."""
    locations = sorted({name for grid in grids.values() for name in grid.locations})
    tables = [(read_targets(truth, choice.truth_source, target, locations), truth)]
    if choice.vintages is not None:
        tables.append((read_targets(choice.vintages, None, target, locations), choice.vintages))
    return tables


def _hub(grid: Grid, horizon: int, first: int, target: str | None, tables: Any, choice: Choice) -> Hub:
    """Puts the target data beside the forecasts."""
    ahead = horizon - first + 1
    num_before = ahead + choice.num_lags - 1
    final, *rest = [place_targets(rows, path, grid, choice.step_days, num_before) for rows, path in tables]
    known = rest[0] if rest else final
    if rest and known.as_of is None:
        raise InputError(
            f"{shown(tables[1][1])} has no column as_of with several days; give a table of releases, or leave vintages "
            "out"
        )
    deadlines = _deadlines(grid, horizon, first, choice)
    releases = np.zeros(len(deadlines), int) if known.as_of is None else release_of(known.as_of, deadlines)
    lags = np.arange(len(grid.dates))[:, None] + num_before - np.arange(ahead, ahead + choice.num_lags)
    return Hub(
        grid.values,
        final.values[-1, :, num_before:],
        lags_of(known.values, releases, lags),
        tuple(grid.locations),
        grid.dates,
        tuple(grid.models),
        grid.levels,
        horizon,
        first,
        choice.step_days,
        target,
        tuple(grid.dropped),
        None if known.as_of is None else known.values[..., num_before:],
        known.as_of,
        None if known.as_of is None else releases,
        None if np.isnat(grid.rounds).all() else grid.rounds,
        None if known.as_of is None else deadlines,
    )


def _round_days(grid: Grid, horizon: int, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Returns the reference date of each target date, and the day of its round."""
    reference = grid.dates - np.timedelta64(horizon * choice.step_days, "D")
    return reference, np.where(np.isnat(grid.rounds), reference, grid.rounds)


def _are_due_early(grids: dict[int, Grid], choice: Choice) -> bool:
    """Returns whether forecasts are due before their reference date, its target thus unknown."""
    if choice.due_days is None:
        return False
    days = [_round_days(grid, horizon, choice) for horizon, grid in grids.items()]
    early = [due_dates(day, choice.due_days) < reference for reference, day in days]
    return bool(np.mean(np.concatenate(early)) > 0.5)


def _deadlines(grid: Grid, horizon: int, first: int, choice: Choice) -> np.ndarray:
    """Returns the day before which a release must have come out for each date's round to use it."""
    return deadlines_of(
        _round_days(grid, horizon, choice)[0],
        grid.rounds,
        grid.made,
        first_horizon=first,
        step_days=choice.step_days,
        due_days=choice.due_days,
    )

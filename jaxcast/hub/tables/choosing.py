"""Chooses rows of a hub's forecasts: target, horizons, dates, models, locations and levels."""

import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.checks import check_names, check_number
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.tables.cells import FARTHEST_DAYS, OTHER_TYPES
from jaxcast.hub.tables.checks import Grid
from jaxcast.hub.tables.deadlines import DueDays
from jaxcast.hub.tables.grid import is_or_null
from jaxcast.io.tables import polars

# Reads a lazy frame.
Read = Callable[[Any], Any]


class Choice(NamedTuple):
    """What to read of a hub; the arguments of `load_hub` of the same names."""

    vintages: str | Path | None
    first_horizon: int | None
    due_days: DueDays
    target: str | None
    models: Sequence[str] | int | None
    exclude: Sequence[str]
    locations: Sequence[str] | None
    levels: Sequence[float] | None
    first: str | None
    last: str | None
    truth_source: str | None
    step_days: int
    num_lags: int
    bad: str


def check_steps(step_days: Any, num_lags: Any, horizon: Any, first_horizon: Any) -> None:
    """Checks numbers of steps.

    Args:
        step_days: Days between two dates, from 1 to a century.
        num_lags: Number of lags, from 1 to as many.
        horizon: Any whole number.
        first_horizon: Any whole number, or None.

    Raises:
        InputError: for one that is not a whole number, or too small.
    """
    named = {"step_days": step_days, "num_lags": num_lags, "horizon": horizon, "first_horizon": first_horizon or 0}
    for name, number in named.items():
        try:
            operator.index(number)
        except TypeError:
            raise InputError(f"{name} must be a whole number, got {shown(number)}") from None
    for name in ("step_days", "num_lags"):
        if not 1 <= named[name] <= FARTHEST_DAYS:
            raise InputError(f"{name} must be from 1 to {FARTHEST_DAYS}, got {shown(named[name])}")


def is_of(target: str | None) -> Any:
    """Returns an expression for the rows of a target, and those without any.

    Args:
        target: Name of the target; None where the tables name none, and all rows are of it.
    """
    pl = polars()
    return pl.lit(True) if target is None else (pl.col("target") == target).fill_null(True)


def is_unused() -> Any:
    """Returns an expression for the rows of output types that are neither quantiles nor samples."""
    return polars().col("output_type").is_in([name for name in OTHER_TYPES if name != "sample"]).fill_null(False)


def unused_types(others: Any, horizon: int, choice: Choice) -> list[str]:
    """Describes the output types that are not used, if any.

    Args:
        others: Which horizons, models and output types of a target are not used.
        horizon: The horizon.
        choice: What to read.

    Returns:
        At most one line.
    """
    pl = polars()
    others = others.filter((pl.col("horizon") == horizon) & ~pl.col("model").is_in(list(choice.exclude)))
    if choice.models is not None and not isinstance(choice.models, int):
        others = others.filter(pl.col("model").is_in(list(choice.models)))
    if not len(others):
        return []
    kinds, models = (others[name].unique().sort().to_list() for name in ("output_type", "model"))
    return [
        f"forecasts of the output type {' and '.join(kinds)} of {counted(len(models), 'model')}, such as "
        f"{shown(models[0])}, as quantiles are read"
    ]


def choose_target(frame: Any, target: str | None, known: Any) -> tuple[Any, str | None]:
    """Returns the rows and name of the target asked for, or the only one; None without a name.

    Rows without a target, where others have one, are at fault; so are those whose target follows a
    horizon that cannot be read.

    Args:
        frame: Lazy frame of `scan_forecasts`.
        target: Target asked for, if any.
        known: Which targets, horizons and models there are.

    Raises:
        InputError: for an unknown target, or several without a choice.
    """
    pl = polars()
    names = known["target"].unique().drop_nulls().to_list()
    if target is not None and not names:
        raise InputError(f"the forecasts name no target; leave out target {shown(target)!r}")
    if target is None and len(names) > 1:
        raise InputError(f"the forecasts hold several targets, {shown(', '.join(sorted(names)[:5]))}; name one")
    if not names:
        return frame, None
    chosen = names[0] if target is None else check_names("target", [target], names)[0]
    name = pl.col("target")
    damaged = (name != chosen) & name.str.ends_with(f" {chosen}") & pl.col("horizon").is_null()
    fault = pl.when(name.is_null() & pl.col("fault").is_null()).then(pl.lit("target")).otherwise(pl.col("fault"))
    return frame.filter(is_of(chosen) | damaged).with_columns(fault=fault), chosen


def choose_horizons(known: Any, wanted: Sequence[int] | None, first: int | None) -> tuple[int, Sequence[int]]:
    """Returns the first horizon and the horizons to read.

    Args:
        known: Which horizons there are.
        wanted: Horizons asked for; by default all from the first.
        first: First horizon; by default 0 where there is a horizon 0, else 1.

    Raises:
        InputError: for an unknown horizon, or one before the first.
    """
    there = known["horizon"].unique().drop_nulls().sort().to_list()
    first = first if first is not None else 0 if 0 in there else 1
    if not there:
        raise InputError("the tables hold no quantile forecast with a horizon")
    if wanted is None:
        wanted = [horizon for horizon in there if horizon >= first]
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError(f"expected different horizons among {shown(there)}, got {shown(list(wanted))}")
    for horizon in wanted:
        if horizon not in there:
            raise InputError(f"expected a horizon among {shown(there)}, got {shown(horizon)}")
        if horizon < first:
            raise InputError(
                f"horizon {horizon} is before {first}, that of the first date after the newest truth; ask for a later "
                "one, or say by first_horizon where the hub begins"
            )
    return first, wanted


def choose_rows(frame: Any, choice: Choice, known: Any, target: str | None, read: Read) -> tuple[Any, dict[str, Any]]:
    """Returns the rows of some models, locations, levels and dates.

    Rows whose cells there cannot be read stay, to be checked.

    Args:
        frame: Lazy frame of the rows of a target.
        choice: What to read.
        known: Which targets, horizons and models there are.
        target: The target.
        read: Reads a lazy frame.

    Returns:
        The rows, and the models and locations that should be there, by column.

    Raises:
        InputError: for unknown names and levels, and for what is not a date.
    """
    pl = polars()
    names = known["model"].unique().drop_nulls().sort().to_list()
    excluded = check_names("model", choice.exclude, names)
    if choice.models is None or isinstance(choice.models, int):
        models = known.filter(is_of(target))["model"].unique().drop_nulls().sort().to_list()
    else:
        models = check_names("model", choice.models, names)
    wanted = {"model": [name for name in models if name not in excluded], "location": []}
    if choice.locations is not None:
        places = read(frame.select(pl.col("location").unique().drop_nulls()))["location"]
        wanted["location"] = check_names("location", choice.locations, places)
        frame = frame.filter(is_or_null("location", wanted["location"]))
    if choice.levels is not None:
        frame = _of_levels(frame, choice.levels, read)
    date = pl.col("target_end_date")
    for text, is_inside in ((choice.first, date.__ge__), (choice.last, date.__le__)):
        frame = frame if text is None else frame.filter(is_inside(day_of(text)).fill_null(True))
    return frame.filter(is_or_null("model", wanted["model"])), wanted


def day_of(text: str) -> Any:
    """Reads a date that was asked for.

    Args:
        text: The date, such as 2024-01-06.

    Raises:
        InputError: for what is not a date.
    """
    try:
        return np.datetime64(text, "D").item()
    except ValueError:
        raise InputError(f"expected a date like 2024-01-06, got {shown(repr(text))}") from None


def _of_levels(frame: Any, levels: Sequence[float], read: Read) -> Any:
    """Returns the rows of some levels, and those whose level cannot be read."""
    pl = polars()
    for level in levels:
        check_number("a level", level, above=0, most=1)
    known = read(frame.select(pl.col("quantile").unique().drop_nulls().sort()))["quantile"].to_numpy()
    for level in levels if len(known) else ():  # of samples there are quantiles of any level
        if np.abs(known - level).min(initial=1.0) > 1e-6:
            shown_levels = ", ".join(f"{each:g}" for each in known)
            raise InputError(f"unknown level {level:g}; there are {shown(shown_levels)}")
    near = pl.any_horizontal([(pl.col("quantile") - level).abs() < 1e-6 for level in levels])
    return frame.filter(near | pl.col("quantile").is_null())


def kept_models(models: Sequence[str] | int | None, grid: Grid) -> list[int]:
    """Returns the indices of the models on the grid: those asked for, or with the most forecasts.

    Args:
        models: Names of the models, or how many; None for all.
        grid: The forecasts.

    Raises:
        InputError: for a number of models that there are not.
    """
    if models is None:
        return list(range(len(grid.models)))
    if isinstance(models, int):
        if not 1 <= models <= len(grid.models):
            raise InputError(f"expected from 1 to {len(grid.models)} models, as many as the tables hold, got {models}")
        counts = (~np.isnan(grid.values[..., 0])).sum((0, 1))
        return sorted(np.argsort(-counts, kind="stable")[:models].tolist())
    return [grid.models.index(name) for name in models if name in grid.models]

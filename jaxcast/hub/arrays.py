"""Reads the tables of a hub into arrays, with missing forecasts and target data as NaN."""

import dataclasses
import operator
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_names, check_number
from jaxcast.errors import InputError, shown
from jaxcast.hub.cells import FARTHEST_DAYS
from jaxcast.hub.checks import Grid
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.hub.grid import is_or_null, read_grid
from jaxcast.hub.releases import TargetData, lags_of, read_targets, release_of
from jaxcast.hub.tables import collected, scan_forecasts
from jaxcast.io.tables import polars

# Reads a lazy frame.
Read = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Hub:
    """The forecasts of one horizon and target, and the target data, on a grid of dates without holes.

    Args:
        quantiles: Quantiles (location, time, model, quantile) in the unit of the target, NaN where
            a model did not forecast.
        truth: Target data (location, time) of the newest release, NaN where they are not known.
        observed: Target data (location, time, lag) up to the newest date that could be known when
            each forecast was made, newest first, also from before the first forecast; each date's
            from its own release, where there are releases.
        locations: Names of the locations.
        dates: Target dates, a step apart.
        models: Names of the models.
        levels: Levels of the quantiles, increasing.
        horizon: Horizon as the hub counts it, target date minus reference date in steps.
        first_horizon: Horizon of the first date after the newest target that forecasters could
            know. It is 1 where the reference date is that of this target (US COVID-19 hub), 0 where
            it is a step later and horizons count from 0 (FluSight). Forecasts thus verify
            `steps_ahead` steps after that target.
        step_days: Days between two dates.
        target: Name of the target, where the tables have one.
        dropped: What was left out, in words.
        releases: Target data (release, location, time) as known on the day of each release, NaN
            where they were not; None where the tables have no releases, or one alone, and the truth
            is final.
        as_of: Day of each release, increasing.
        release_of: Index of the newest release that the forecasts of each date may use (time,), -1
            where there is none: it came out before the first date that the round forecasts, and not
            after the newest `forecast_date` of the round, where the table has that column.

    Raises:
        InputError: by `weeks` for what is no date, by `only` for no or unknown models.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2024-01-06", "2024-01-27", np.timedelta64(7, "D"), dtype="datetime64[D]")
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> hub = jaxcast.hub.Hub(
        ...     np.ones((1, 3, 1, 3)), np.ones((1, 3)), np.ones((1, 3, 1)), ("01",), dates, ("a",), levels, 1
        ... )
        >>> hub.weeks("2024-01-10", "2024-01-20").tolist()
        [False, True, True]
    """

    quantiles: np.ndarray
    truth: np.ndarray
    observed: np.ndarray
    locations: tuple[str, ...]
    dates: np.ndarray
    models: tuple[str, ...]
    levels: np.ndarray
    horizon: int
    first_horizon: int = 1
    step_days: int = 7
    target: str | None = None
    dropped: tuple[str, ...] = ()
    releases: np.ndarray | None = None
    as_of: np.ndarray | None = None
    release_of: np.ndarray | None = None

    @property
    def present(self) -> np.ndarray:
        """Whether each model forecast, (location, time, model)."""
        return ~np.isnan(self.quantiles).any(-1)

    @property
    def step(self) -> np.timedelta64:
        """The time between two dates."""
        return np.timedelta64(self.step_days, "D")

    @property
    def steps_ahead(self) -> int:
        """Steps from the newest target that forecasters could know to the date of the forecast."""
        return self.horizon - self.first_horizon + 1

    def forecasts(self) -> HubForecasts:
        """Returns the hub as pools see it: JAX arrays with a mask, whose horizon is `steps_ahead`."""
        return HubForecasts.of(
            self.quantiles,
            self.truth,
            self.levels,
            observed=self.observed,
            horizon=self.steps_ahead,
            releases=self.releases,
            release_of=self.release_of,
        )

    def weeks(self, first: str, last: str) -> np.ndarray:
        """Returns which dates lie in a window, both ends included, (time,).

        Args:
            first: First date, such as 2024-01-06.
            last: Last date.

        Raises:
            InputError: for what is no date.
        """
        try:
            return (self.dates >= np.datetime64(first, "D")) & (self.dates <= np.datetime64(last, "D"))
        except ValueError:
            raise InputError(
                f"expected two dates like 2024-01-06, got {shown(repr(first))} and {shown(repr(last))}"
            ) from None

    def only(self, models: Sequence[str]) -> "Hub":
        """Returns the hub with some of its models.

        Args:
            models: Names of the models, in the order wanted.

        Raises:
            InputError: for no models, or unknown ones.
        """
        if not len(models):
            raise InputError(f"expected at least one of the models {shown(', '.join(self.models))}")
        index = [self.models.index(name) for name in check_names("model", models, self.models)]
        return dataclasses.replace(self, quantiles=self.quantiles[:, :, index], models=tuple(models))


@checked
def load_hub(
    forecasts: str | Path,
    truth: str | Path,
    *,
    vintages: str | Path | None = None,
    horizon: int = 1,
    first_horizon: int | None = None,
    target: str | None = None,
    models: Sequence[str] | int | None = None,
    locations: Sequence[str] | None = None,
    levels: Sequence[float] | None = None,
    truth_source: str | None = None,
    step_days: int = 7,
    num_lags: int = 10,
    bad: Literal["raise", "drop"] = "raise",
    pending: bool = False,
) -> Hub:
    """Reads a hub's tables into arrays; see `scan_forecasts` and `scan_truth` for their formats.

    Target data with a column `as_of` are read as releases: the last scores use the newest, and
    whatever a forecast is made from uses the newest release before it. Without that column the
    target data are final, and revisions are not replayed.

    Args:
        forecasts: A table, or the folder of a hub.
        truth: The table of target data; its newest release is the truth to score against.
        vintages: Table of the releases, with a column `as_of`, where the other one has none.
        horizon: Horizon to read, in steps as the tables count them.
        first_horizon: Horizon of the first date after the newest target that forecasters could
            know; by default 0 where the tables hold a horizon 0, else 1.
        target: Target to read, where there are several.
        models: Names of the models, or how many: those with the most forecasts; by default all.
        locations: Locations to keep; by default all.
        levels: Levels of the quantiles to keep; by default all.
        truth_source: Text in the column of sources of the target data; see `scan_truth`.
        step_days: Days between two dates: 7 for a weekly hub, 1 for a daily one.
        num_lags: Number of newest targets in `observed`.
        bad: Whether to raise on, or to drop, what cannot be used: cells that cannot be read, dates
            off the grid, missing levels and crossing quantiles (the whole forecast of that model,
            date and location), and the first of two duplicate rows. `dropped` counts them.
        pending: Whether forecasts of dates without any target yet are accepted, as they must be
            where one is to be made.

    Returns:
        Forecasts and target data on a grid of dates without holes, and what was left out, in words.

    Raises:
        InputError: for tables that cannot be read, unknown names or horizons, target data that end
            before the forecasts, and, unless dropped, cells that cannot be read, dates off the
            grid, crossing quantiles, missing levels and duplicates, with file and row.

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
    check_choice("bad", bad, ("raise", "drop"))
    check_steps(step_days=step_days, num_lags=num_lags, horizon=horizon, first_horizon=first_horizon)
    frame = scan_forecasts(forecasts, step_days=step_days)
    read = partial(collected, path=forecasts, step_days=step_days)
    frame, target = _of_target(frame, target, read)
    frame, first_horizon = _of_horizon(frame, horizon, first_horizon, read)
    grid = read_grid(_chosen(frame, models, locations, levels, read), forecasts, step_days, bad)
    kept = _kept(models, grid)
    ahead = horizon - first_horizon + 1
    num_before = ahead + num_lags - 1
    final = read_targets(truth, truth_source, target, grid, step_days, num_before)
    known = final if vintages is None else _read_vintages(vintages, target, grid, step_days, num_before)
    releases = np.zeros(len(grid.dates), int)
    if known.as_of is not None:
        releases = release_of(known.as_of, _deadlines(frame, grid, np.timedelta64(step_days, "D"), ahead, read))
    lags = np.arange(len(grid.dates))[:, None] + num_before - np.arange(ahead, ahead + num_lags)
    if not pending and final.newest < grid.dates[-1]:
        raise InputError(
            f"the truth in {shown(truth)} ends on {final.newest}, the forecasts of {shown(forecasts)} go to "
            f"{grid.dates[-1]}; give newer target data, or fewer forecasts"
        )
    return Hub(
        grid.values[:, :, kept],
        final.values[-1, :, num_before:],
        lags_of(known.values, releases, lags),
        tuple(grid.locations),
        grid.dates,
        tuple(grid.models[i] for i in kept),
        grid.levels,
        horizon,
        first_horizon,
        step_days,
        target,
        tuple(grid.dropped),
        None if known.as_of is None else known.values[..., num_before:],
        known.as_of,
        None if known.as_of is None else releases,
    )


def _read_vintages(path: str | Path, target: str | None, grid: Grid, step_days: int, num_before: int) -> TargetData:
    """Reads a table of releases beside the final target data."""
    known = read_targets(path, None, target, grid, step_days, num_before)
    if known.as_of is None:
        raise InputError(
            f"{shown(path)} has no column as_of with several days; give a table of releases, or leave vintages out"
        )
    return known


def _deadlines(frame: Any, grid: Grid, step: np.timedelta64, ahead: int, read: Read) -> np.ndarray:
    """Returns the day before which a release must have come out that forecasts of each date use."""
    deadlines = grid.dates - (ahead - 1) * step
    pl = polars()
    made = read(
        frame.filter(pl.col("fault").is_null(), pl.col("forecast_date").is_not_null())
        .group_by("target_end_date")
        .agg(pl.col("forecast_date").max())
    )
    days = made["target_end_date"].to_numpy().astype("datetime64[D]")
    at, inside = (days - grid.dates[0]) // step, np.isin(days, grid.dates)
    last = made["forecast_date"].to_numpy().astype("datetime64[D]") + np.timedelta64(1, "D")
    deadlines[at[inside]] = np.minimum(deadlines[at[inside]], last[inside])
    return deadlines


def check_steps(*, step_days: Any, num_lags: Any, horizon: Any, first_horizon: Any) -> None:
    """Checks numbers of steps.

    Args:
        step_days: Days between two dates, from 1 to a century.
        num_lags: Number of lags, from 1 to as many.
        horizon: Any whole number.
        first_horizon: Any whole number, or None.

    Raises:
        InputError: for one that is no whole number, or too small.
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


def _of_target(frame: Any, target: str | None, read: Read) -> tuple[Any, str | None]:
    """Returns the rows of the target asked for, or of the only one; None where the table names none.

    Rows without a target, where others have one, are at fault; so are those whose target follows a
    horizon that cannot be read.
    """
    pl = polars()
    known = read(frame.select(pl.col("target").unique().drop_nulls()))["target"].to_list()
    if target is not None and not known:
        raise InputError(f"the forecasts name no target; leave out target {shown(target)!r}")
    if target is None and len(known) > 1:
        raise InputError(f"the forecasts hold several targets, {shown(', '.join(sorted(known)[:5]))}; name one")
    if not known:
        return frame, None
    chosen = known[0] if target is None else check_names("target", [target], known)[0]
    name = pl.col("target")
    damaged = (name != chosen) & name.str.ends_with(f" {chosen}") & pl.col("horizon").is_null()
    frame = frame.filter((name == chosen) | name.is_null() | damaged)
    fault = pl.when(name.is_null() & pl.col("fault").is_null()).then(pl.lit("target")).otherwise(pl.col("fault"))
    return frame.with_columns(fault=fault), chosen


def _of_horizon(frame: Any, horizon: int, first_horizon: int | None, read: Read) -> tuple[Any, int]:
    """Returns the rows of a horizon, those whose horizon cannot be read, and the first horizon."""
    pl = polars()
    known = read(frame.select(pl.col("horizon").unique().drop_nulls().sort()))["horizon"].to_list()
    first = first_horizon if first_horizon is not None else 0 if 0 in known else 1
    if not known:
        raise InputError("the tables hold no quantile forecast with a horizon")
    if horizon not in known:
        raise InputError(f"expected a horizon among {shown(known)}, got {shown(horizon)}")
    if horizon < first:
        raise InputError(
            f"horizon {horizon} is before {first}, that of the first date after the newest truth; ask for a later "
            "one, or say by first_horizon where the hub begins"
        )
    return frame.filter((pl.col("horizon") == horizon) | pl.col("horizon").is_null()), first


def _chosen(
    frame: Any,
    models: Sequence[str] | int | None,
    locations: Sequence[str] | None,
    levels: Sequence[float] | None,
    read: Read,
) -> Any:
    """Returns the rows of some models, locations and levels; rows without these stay, to be checked."""
    pl = polars()
    named = {"model": None if isinstance(models, int) else models, "location": locations}
    for name, wanted in named.items():
        if wanted is not None:
            known = read(frame.select(pl.col(name).unique().drop_nulls()))[name]
            frame = frame.filter(is_or_null(name, check_names(name, wanted, known)))
    if levels is not None:
        for level in levels:
            check_number("a level", level, above=0, most=1)
        known = read(frame.select(pl.col("quantile").unique().drop_nulls().sort()))["quantile"].to_numpy()
        for level in levels:
            if np.abs(known - level).min(initial=1.0) > 1e-6:
                shown_levels = ", ".join(f"{each:g}" for each in known)
                raise InputError(f"unknown level {level:g}; there are {shown(shown_levels)}")
        near = pl.any_horizontal([(pl.col("quantile") - level).abs() < 1e-6 for level in levels])
        frame = frame.filter(near | pl.col("quantile").is_null())
    return frame


def _kept(models: Sequence[str] | int | None, grid: Grid) -> list[int]:
    """Returns the indices of the models on the grid: as asked for, or those with the most forecasts."""
    if models is None:
        return list(range(len(grid.models)))
    if isinstance(models, int):
        if not 1 <= models <= len(grid.models):
            raise InputError(f"expected from 1 to {len(grid.models)} models, as many as the tables hold, got {models}")
        counts = (~np.isnan(grid.values[..., 0])).sum((0, 1))
        return sorted(np.argsort(-counts, kind="stable")[:models].tolist())
    return [grid.models.index(name) for name in models if name in grid.models]

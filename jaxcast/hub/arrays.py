"""From the tables of a hub to arrays: forecasts (location, time, model, quantile) and truth, with what is missing as NaN."""

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxcast.errors import InputError
from jaxcast.hub.checks import BadForecasts, check_grid, find_bad_forecasts, refuse_duplicates, refuse_missing
from jaxcast.hub.course import HubCourse
from jaxcast.hub.tables import polars, scan_forecasts, scan_truth


@dataclasses.dataclass(frozen=True)
class Hub:
    """The forecasts of one horizon and target, and the truth, on a grid of dates without holes.

    forecasts: (location, time, model, quantile), NaN where a model did not forecast. truth: (location, time), NaN where it is
    not known. observed: (location, time, lag), the truth as it could be known when each forecast was made, newest first,
    also from before the first forecast. dates: the days that the forecasts are for. dropped: what was left out, in words.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2024-01-06", "2024-01-27", 7, dtype="datetime64[D]")
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> hub = jaxcast.Hub(np.ones((1, 3, 1, 3)), np.ones((1, 3)), np.ones((1, 3, 1)), ("01",), dates, ("a",), levels, 1)
        >>> hub.weeks("2024-01-10", "2024-01-20").tolist()
        [False, True, True]
    """

    forecasts: np.ndarray
    truth: np.ndarray
    observed: np.ndarray
    locations: tuple[str, ...]
    dates: np.ndarray
    models: tuple[str, ...]
    levels: np.ndarray
    horizon: int
    step_days: int = 7
    target: str | None = None
    dropped: tuple[str, ...] = ()

    @property
    def present(self) -> np.ndarray:
        """Which model forecast what, (location, time, model)."""
        return ~np.isnan(self.forecasts).any(-1)

    def course(self) -> HubCourse:
        """What pools see: JAX arrays with a mask."""
        return HubCourse.of(self.forecasts, self.truth, self.levels, observed=self.observed, horizon=self.horizon)

    def weeks(self, first: str, last: str) -> np.ndarray:
        """Which dates lie in a window, both ends included, (time,)."""
        return (self.dates >= np.datetime64(first)) & (self.dates <= np.datetime64(last))

    def only(self, models: Sequence[str]) -> "Hub":
        """The same hub with these models only, in this order."""
        index = [self.models.index(name) for name in check_names("model", models, self.models)]
        return dataclasses.replace(self, forecasts=self.forecasts[:, :, index], models=tuple(models))


def load_hub(
    forecasts: str | Path,
    truth: str | Path,
    *,
    horizon: int = 1,
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
    """Reads a hub's tables into arrays; see `scan_forecasts` and `scan_truth` for the formats.

    Args:
        forecasts, truth: the tables. horizon: in steps, which forecasts to take; they verify `horizon` steps after the
            newest truth that they could know. target: which, where the tables hold several.
        models: their names, or how many: those with the most forecasts. By default all. locations: by default all.
        levels: quantile levels to keep; by default all that there are.
        truth_source: see `scan_truth`. step_days: 7 for a weekly hub, 1 for a daily one. num_lags: of `observed`.
        bad: raise, or drop what cannot be used (missing levels, NA values, crossing quantiles: the whole forecast of
            that model, date and location; the last of two alike rows stays) and say in `dropped` how much it was.
        pending: whether forecasts of dates without any truth yet are welcome, as they are where one is to be made.

    Raises:
        InputError: for tables that cannot be read, an unknown target, model or location, dates off the grid, truth that
            ends before the forecasts, and, unless they are dropped, crossing quantiles, missing levels, NA values and
            duplicate rows, with file and row.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> rows = [f"a,X,2024-01-{6 + 7 * t:02d},1,{q},{t + q}" for t in range(3) for q in (0.25, 0.5, 0.75)]
        >>> header = "model,location,target_end_date,horizon,quantile,value"
        >>> _ = (folder / "forecasts.csv").write_text("\\n".join([header, *rows]))
        >>> truth = [f"X,2024-01-{6 + 7 * t:02d},{t}" for t in range(3)]
        >>> _ = (folder / "truth.csv").write_text("\\n".join(["location,date,value", *truth]))
        >>> hub = jaxcast.load_hub(folder / "forecasts.csv", folder / "truth.csv")
        >>> hub.forecasts.shape, hub.truth[0].tolist()
        ((1, 3, 1, 3), [0.0, 1.0, 2.0])
    """
    pl = polars()
    frame = scan_forecasts(forecasts, step_days=step_days)
    target = _pick_target(frame, target, "forecasts")
    if target is not None:
        frame = frame.filter(pl.col("target") == target)
    frame = _of_horizon(frame, horizon)
    if models is not None and not isinstance(models, int):
        known = frame.select(pl.col("model").unique()).collect()["model"]
        frame = frame.filter(pl.col("model").is_in(check_names("model", models, known)))
    if locations is not None:
        known = frame.select(pl.col("location").unique()).collect()["location"]
        frame = frame.filter(pl.col("location").is_in(check_names("location", locations, known)))
    if levels is not None:
        wanted = pl.any_horizontal([(pl.col("quantile") - level).abs() < 1e-6 for level in levels])
        frame = frame.filter(wanted | pl.col("quantile").is_null())
    dropped: list[str] = []
    frame, values, axes = _dense(frame, step_days, bad, dropped)
    bad_cells = find_bad_forecasts(values, axes["levels"])
    _handle(bad_cells, frame, axes, bad, dropped)
    values[bad_cells.any] = np.nan
    kept = np.argsort(-(~np.isnan(values[..., 0])).sum((0, 1)), kind="stable")
    kept = np.sort(kept[:models]) if isinstance(models, int) else _in_order(models, axes["models"])
    table = scan_truth(truth, source=truth_source)
    observed, newest = _truth(table, target, axes, step_days, horizon, num_lags, truth)
    if not pending and newest < axes["dates"][-1]:
        raise InputError(
            f"the truth in {truth} ends on {newest}, the forecasts of {forecasts} go to {axes['dates'][-1]}; "
            "take a newer truth, or fewer forecasts"
        )
    return Hub(
        forecasts=values[:, :, kept],
        truth=observed[..., 0],
        observed=observed[..., 1:],
        locations=tuple(axes["locations"]),
        dates=axes["dates"],
        models=tuple(axes["models"][i] for i in kept),
        levels=axes["levels"],
        horizon=horizon,
        step_days=step_days,
        target=target,
        dropped=tuple(dropped),
    )


def check_names(kind: str, wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """The wanted names.

    Raises:
        InputError: for one that is not known, with those nearest to it.
    """
    wanted, known = list(wanted), sorted(known)
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.4) or known[:5]
            raise InputError(f"unknown {kind} {name!r}; did you mean {' or '.join(near)}?")
    return wanted


def _in_order(models: Sequence[str] | None, found: list[str]) -> Any:
    return range(len(found)) if models is None else [found.index(name) for name in models if name in found]


def _pick_target(frame: Any, target: str | None, what: str) -> str | None:
    """The target to keep: the one asked for, or the only one there is; None where the table names none."""
    pl = polars()
    known = frame.select(pl.col("target").unique().drop_nulls()).collect()["target"].to_list()
    if target is not None and not known:
        raise InputError(f"the {what} name no target; leave out target {target!r}")
    if target is not None:
        return check_names("target", [target], known)[0]
    if len(known) > 1:
        raise InputError(f"the {what} hold several targets, {', '.join(sorted(known)[:5])}; name one")
    return known[0] if known else None


def _of_horizon(frame: Any, horizon: int) -> Any:
    pl = polars()
    known = frame.select(pl.col("horizon").unique().drop_nulls().sort()).collect()["horizon"].to_list()
    if horizon not in known or horizon < 1:
        raise InputError(f"expected a horizon among {known} of at least 1, got {horizon}")
    return frame.filter(pl.col("horizon") == horizon)


def _dense(frame: Any, step_days: int, bad: str, dropped: list[str]) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """The rows, their values on a dense grid with NaN where there is none, and what its axes are."""
    pl = polars()
    lazy = frame.select("model", "location", "target_end_date", "quantile", "value", "file", "row")
    rows = lazy.with_columns(pl.col("model", "location", "file").cast(pl.Categorical)).collect()
    refuse_missing(rows, bad, dropped)
    rows = rows.filter(pl.col("quantile").is_not_null() & pl.col("target_end_date").is_not_null())
    if not len(rows):
        raise InputError(
            "no quantile forecast is left of what was asked for; ask for other models, locations or levels"
        )
    level_of = rows["quantile"].round(6).to_numpy()
    dates = rows["target_end_date"].to_numpy().astype("datetime64[D]")
    axes: dict[str, Any] = {
        "locations": sorted(rows["location"].cast(pl.String).unique()),
        "dates": check_grid(dates, step_days),
        "models": sorted(rows["model"].cast(pl.String).unique()),
        "levels": np.unique(level_of),
    }
    place = {
        "location": _index(rows["location"], axes["locations"]),
        "date": ((dates - axes["dates"][0]).astype(int)) // step_days,
        "model": _index(rows["model"], axes["models"]),
        "level": np.searchsorted(axes["levels"], level_of),
    }
    shape = tuple(len(axis) for axis in axes.values())
    flat = np.ravel_multi_index(tuple(place.values()), shape)
    refuse_duplicates(rows, flat, int(np.prod(shape)), bad, dropped)
    values = np.full(shape, np.nan)
    numbers = rows["value"].to_numpy()
    values.ravel()[flat] = np.where(np.isfinite(numbers), numbers, np.nan)
    return rows, values, axes


def _index(column: Any, names: list[str]) -> np.ndarray:
    """Where each value of a categorical column is among some names."""
    codes = column.to_physical().to_numpy()
    table = np.zeros(int(codes.max()) + 1, int)
    first = np.unique(codes, return_index=True)
    table[first[0]] = [names.index(column[int(i)]) for i in first[1]]
    return table[codes]


def _handle(found: BadForecasts, rows: Any, axes: dict[str, Any], bad: str, dropped: list[str]) -> None:
    for mask, describe in ((found.incomplete, found.describe_incomplete), (found.crossing, found.describe_crossing)):
        if mask.any() and bad == "raise":
            raise InputError(describe(rows, axes))
        if mask.any():
            name = "quantile levels missing" if mask is found.incomplete else "crossing quantiles"
            dropped.append(f"{int(mask.sum())} forecasts with {name}")


def _truth(
    table: Any, target: str | None, axes: dict[str, Any], step_days: int, horizon: int, num_lags: int, path: Any
) -> tuple[np.ndarray, np.datetime64]:
    """The truth of every forecast and, behind it, what was known when it was made, (location, time, 1 + lag), and the
    newest date of any truth."""
    pl = polars()
    known = table.select(pl.col("target").unique().drop_nulls()).collect()["target"].to_list()
    if target is not None and target in known:
        table = table.filter(pl.col("target") == target)
    elif len(known) > 1:
        raise InputError(
            f"the truth in {path} holds several targets, {', '.join(sorted(known)[:5])}, none is {target!r}"
        )
    rows = table.filter(pl.col("location").is_in(axes["locations"]) & pl.col("date").is_not_null()).collect()
    rows = rows.filter(pl.col("value").is_not_null())
    if not len(rows):
        raise InputError(f"the truth in {path} has no value for the locations of the forecasts; their names may differ")
    twice = rows.select("location", "date").is_duplicated()
    if twice.any():
        place, date = rows.filter(twice).select("location", "date").row(0)
        raise InputError(
            f"the truth in {path} has {int(twice.sum())} duplicate rows, such as {place} on {date}; keep one vintage "
            "by its source"
        )
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    steps, off = np.divmod((dates - axes["dates"][0]).astype(int), step_days)
    steps += num_lags + horizon
    inside = (off == 0) & (steps >= 0) & (steps < len(axes["dates"]) + num_lags + horizon)
    grid = np.full((len(axes["locations"]), len(axes["dates"]) + num_lags + horizon), np.nan)
    index = np.asarray([axes["locations"].index(name) for name in rows["location"]])
    grid[index[inside], steps[inside]] = rows["value"].to_numpy()[inside]
    time = np.arange(len(axes["dates"]))[:, None] + num_lags + horizon
    back = np.concatenate([[0], horizon + np.arange(num_lags)])
    return grid[:, time - back], dates.max()

"""Makes a round from target data alone, for the tasks of the hub's description."""

import dataclasses
from datetime import date, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.checks import check_names
from jaxcast.errors import InputError, shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.config.description import HubDescription, ModelTask, OutputType, Round
from jaxcast.hub.rounds.pooling import RoundForecast, columns_of, in_columns, within
from jaxcast.hub.rounds.quantiles import Pooled, RoundSettings, load_horizons
from jaxcast.hub.tables.scan import collected
from jaxcast.hub.tables.target_data import scan_truth
from jaxcast.hub.validation.report import usual_days
from jaxcast.hub.validation.submitted import TYPE, TYPE_ID, SubmittedTable, text_of
from jaxcast.hub.validation.values import step_days_of
from jaxcast.io.tables import polars

MADE = ("quantile", "median")
"""Output types that are made."""


def make_baseline_round(hub: HubDescription, round_id: str, settings: RoundSettings) -> RoundForecast:
    """Makes the quantiles and medians of a round from target data alone.

    Forecasts of other models play no part, not even which tasks they have. Only the days from a
    round's date to its target dates are taken from their files, where there are any; else the first
    target date is the next date of the target data.

    Args:
        hub: Description of the hub.
        round_id: The round.
        settings: How to make quantiles: `pool` is given a hub of one date whose one model is a
            placeholder, with the target data in `observed`.

    Returns:
        The forecasts of all tasks of the hub with target data.

    Raises:
        InputError: where no task has target data, or the target data cannot be read.
    """
    group = hub.find_round(round_id)
    assert settings.truth is not None
    known = _newest_dates(settings.truth.truth)
    hubs, made, notes = Pooled(), [], list[str]()
    for task in group.model_tasks:
        kinds = [kind for kind in task.output_types if kind.name in MADE]
        others = [kind.name for kind in task.output_types if kind.name not in MADE]
        columns = _fixed_columns(group, task)
        targets: list[str | None] = [*_texts(task, columns_of(group), "target")] or [None]
        for target in targets:
            of_truth = target if target in known else None if list(known) == [None] else target
            if not kinds or of_truth not in known:
                notes.append(f"{target}: left out, as it has no {'target data' if kinds else 'quantiles'}")
                continue
            if isinstance(columns, str):
                notes.append(f"{target}: left out, as target data do not distinguish the values of {columns}")
                continue
            if others:
                notes.append(f"{target}: without {', '.join(others)}, which a baseline does not have")
            found, lines = _load(hub, group, task, round_id, target, known[of_truth], settings)
            notes += lines
            for (horizon, each), kind in product(found.items(), kinds):
                of_type, values = _make(each, kind, settings)
                if kind.name == "quantile" or (target, horizon) not in hubs:
                    hubs[target, horizon] = of_type, values
                rows = _rows(of_type, values, kind, horizon)
                made.append(rows.with_columns(**columns, target=_text(target)))
    frame = polars().concat(made, how="diagonal") if made else None
    if frame is None or not len(frame):
        raise InputError(f"no target of the round {shown(round_id)} has quantiles and target data ({'; '.join(notes)})")
    table = SubmittedTable(hub.model_output, group, round_id, in_columns(frame, group), {})
    return RoundForecast(round_id, table, (), tuple(dict.fromkeys(notes)), hubs)


def _newest_dates(path: Path) -> dict[str | None, date]:
    """Returns a date of the target data of each target."""
    pl = polars()
    frame = scan_truth(path).filter(pl.col("date").is_not_null() & pl.col("value").is_not_null())
    return dict(collected(frame.group_by("target").agg(pl.col("date").max()), path).rows())


def _texts(task: ModelTask, names: dict[str, str], ours: str) -> list[str]:
    """Returns the values of a task id as text."""
    found = task.task_id(names.get(ours, ours))
    return [] if found is None else [text_of(value) for value in found.values]


def _fixed_columns(group: Round, task: ModelTask) -> dict[str, Any] | str:
    """Returns the columns of further task ids; or the name of one that can have several values."""
    fixed = {}
    names = columns_of(group)
    for each in task.task_ids:
        if each.name in names.values():
            continue
        if len(each.values) > 1:
            return each.name
        fixed[each.name] = _text(text_of(each.values[0]) if each.values else None)
    return fixed


def _text(value: str | None) -> Any:
    return polars().lit(value, polars().String)


def _load(
    hub: HubDescription,
    group: Round,
    task: ModelTask,
    round_id: str,
    target: str | None,
    newest: date,
    settings: RoundSettings,
) -> tuple[dict[int, Hub], list[str]]:
    """Loads the target data that the round may use at each horizon, beside a placeholder model."""
    names = columns_of(group)
    horizons = sorted({int(float(text)) for text in _texts(task, names, "horizon")})
    locations = _texts(task, names, "location")
    if settings.locations:
        locations = check_names("location", settings.locations, locations)
    if not horizons or not locations:
        return {}, [f"{target}: left out, as its tasks have no {'location' if horizons else 'horizon'}"]
    levels = _levels(task)
    day = _day_of(group, task, round_id)
    start = day + timedelta(_days_beyond(hub, group, settings.model, (newest - day).days, min(horizons)))
    ends = {horizon: start + timedelta((step_days_of(group) or 7) * horizon) for horizon in horizons}
    rows = _placeholders(target, list(product(locations, [start], ends.items(), levels)), day if start != day else None)
    try:
        found = load_horizons(
            hub, group, rows, target, horizons, levels, dataclasses.replace(settings, models=(), exclude=())
        )
    except InputError as error:
        return {}, [f"{target}: left out, as {error}"]
    lines = [f"{target}, horizon {horizon}: {line}" for horizon, each in found.items() for line in each.dropped]
    return found, lines


def _levels(task: ModelTask) -> list[float]:
    kind = task.output_type("quantile")
    return [0.5] if kind is None else sorted(float(each) for each in kind.ids + kind.optional_ids)


def _day_of(group: Round, task: ModelTask, round_id: str) -> date:
    """Returns the date of a round."""
    dates = _texts(task, columns_of(group), "reference_date")
    text = round_id if group.is_from_variable or len(dates) != 1 else dates[0]
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"the round {shown(round_id)} has no date from which its horizons could count") from None


def _days_beyond(hub: HubDescription, group: Round, model: str, days: int, first: int) -> int:
    """Returns the days from the round's date to the target date of horizon 0.

    Where no file has any, horizon 0 is of the first date of the target data from the round's on, or
    where horizons begin with 1, this one is of the first date after it.

    Args:
        hub: Description of the hub.
        group: Description of the round.
        model: Model whose files do not count.
        days: Days from the round's date to a date of the target data.
        first: The least horizon.
    """
    found, step = usual_days(hub, group, model), step_days_of(group) or 7
    beyond = days % step
    return found if found is not None else beyond - step if beyond and first > 0 else beyond


def _placeholders(target: str | None, tasks: list[Any], day: date | None) -> Any:
    """Returns a lazy frame as `scan_forecasts` does, of a model that forecasts zero in every task.

    Args:
        target: The target.
        tasks: Location, date of horizon 0, horizon with its target date, and level.
        day: Date of the round, where it is another than that of horizon 0.
    """
    pl = polars()
    types = {"location": pl.String, "reference_date": pl.Date, "horizon": pl.Int32, "target_end_date": pl.Date}
    rows = [(place, start, horizon, end, level) for place, start, (horizon, end), level in tasks]
    frame = pl.DataFrame(rows, schema=types | {"quantile": pl.Float64}, orient="row")
    return frame.lazy().with_columns(
        pl.lit("baseline").alias("model"),
        _text(target).alias("target"),
        pl.lit(day, pl.Date).alias("round_date"),
        pl.lit(None, pl.Date).alias("forecast_date"),
        pl.lit(0.0).alias("value"),
        pl.lit("quantile").alias("output_type"),
        *(_text(None).alias(name) for name in ("sample", "fault")),
        pl.lit("").alias("file"),
        pl.lit(0).alias("row"),
    )


def _make(hub: Hub, kind: OutputType, settings: RoundSettings) -> tuple[Hub, np.ndarray]:
    """Returns the hub with the levels of an output type, and the quantiles made from it."""
    of_type = hub if kind.name == "quantile" else dataclasses.replace(hub, levels=np.asarray([0.5]))
    return of_type, np.asarray(settings.pool(of_type, kind))


def _rows(hub: Hub, values: np.ndarray, kind: OutputType, horizon: int) -> Any:
    """Returns the rows of an output type at one horizon; none of locations without target data."""
    pl = polars()
    ids = [f"{level:.6g}" for level in hub.levels] if kind.name == "quantile" else [None]
    frame = pl.DataFrame(
        {
            "location": np.repeat(hub.locations, len(ids)),
            TYPE_ID: pl.Series(ids * len(hub.locations), dtype=pl.String),
            "value": values.ravel(),
        }
    )
    frame = frame.filter(pl.col("value").is_not_nan()).with_columns(
        pl.lit(kind.name).alias(TYPE),
        pl.lit(hub.reference_dates[-1].item()).alias("reference_date"),
        pl.lit(hub.dates[-1].item()).alias("target_end_date"),
        pl.lit(horizon).alias("horizon"),
    )
    return within(frame, kind)

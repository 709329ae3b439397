"""Pools the quantiles of a round: by a pool that learns from target data, or with equal weights."""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxcast.errors import shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.config.description import HubDescription, OutputType, Round
from jaxcast.hub.config.windows import due_days_of
from jaxcast.hub.loading import load_scanned
from jaxcast.hub.outputs.reading import TASK_COLUMNS, Outputs
from jaxcast.hub.outputs.sample_quantiles import quantiles_of_samples
from jaxcast.hub.tables.choosing import Choice
from jaxcast.hub.tables.grid import levels_of_most
from jaxcast.hub.tables.scan import collected, scan_forecasts
from jaxcast.hub.tables.target_data import TargetFiles, scan_truth
from jaxcast.hub.validation.submitted import TYPE, TYPE_ID
from jaxcast.hub.validation.values import step_days_of
from jaxcast.io.tables import polars

# Pools a target's newest quantiles at a horizon within a type's bounds: (location, quantile).
PoolQuantiles = Callable[[Hub, OutputType], np.ndarray]
# The hub of each target and horizon, and the newest pooled quantiles.
Pooled = dict[tuple[str | None, int], tuple[Hub, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class RoundSettings:
    """How a round is pooled.

    Args:
        model: Name of the pool's model, whose own forecasts are not pooled.
        pool: Pools the quantiles of one target and horizon.
        truth: Target data; None where there are none, so that quantiles are pooled equally.
        equal: How quantiles without target data are pooled: "mean" or "median".
        targets: Targets to forecast; by default all.
        models: Models to pool; by default all.
        exclude: Models not to pool.
        locations: Locations to forecast; by default all.
        bad: Whether to raise on, or to drop, what cannot be used.
        seed: Seed of the draw of samples.
        num_lags: Number of newest target data that the pool is given as `observed`.
    """

    model: str
    pool: PoolQuantiles
    truth: TargetFiles | None
    equal: Literal["mean", "median"] = "mean"
    targets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    bad: Literal["raise", "drop"] = "drop"
    seed: int = 0
    num_lags: int = 10


def pool_quantiles(
    hub: HubDescription,
    group: Round,
    kind: OutputType,
    rows: Any,
    settings: RoundSettings,
    history: Callable[[], Outputs],
) -> tuple[Outputs, Pooled]:
    """Pools quantiles: by the pool where there are target data, else with equal weights.

    Args:
        hub: Description of the hub.
        group: Description of the round.
        kind: The output type quantile, with its levels and bounds.
        rows: Rows of `read_outputs` of a model task of this round: quantiles, and samples, whose
            quantiles are used where a model gives no others.
        settings: How to pool.
        history: Gives the rows of `read_history`; it is called only where they are needed.

    Returns:
        The pooled rows, None where there are none, with what was left out; and the hub of each
        target and horizon that was pooled with target data, with the pooled quantiles.

    Raises:
        InputError: as by `load_hub`.
    """
    pl = polars()
    pooled, notes, hubs = [], list[str](), Pooled()
    for (target,), of_target in rows.group_by("target", maintain_order=True):
        levels = _levels_of(of_target, kind)
        horizons = of_target["horizon"].drop_nulls().unique().sort().to_list()
        if why := _why_equal(of_target, target, settings.truth):
            notes.append(f"{target}: quantiles pooled with equal weights, as {why}")
            pooled.append(equal_quantiles(_with_samples(of_target, levels), levels, settings.equal))
            continue
        read = history()
        notes += read.dropped
        found = load_horizons(hub, group, read.rows, target, horizons, levels, settings)
        for horizon, each in found.items():
            of_horizon = of_target.filter(pl.col("horizon") == horizon)
            end = np.datetime64(of_horizon["target_end_date"].drop_nulls().mode().sort()[0], "D")
            cut = each.until(end)
            if not len(cut.dates) or cut.dates[-1] != end:
                notes.append(f"{target}, horizon {horizon}: no forecast of this round can be used")
                continue
            notes += [f"{target}, horizon {horizon}: {line}" for line in cut.dropped]
            newest = np.asarray(settings.pool(cut, kind))
            hubs[target, horizon] = cut, newest
            pooled.append(_newest_rows(cut, newest, of_horizon))
    rows = pl.concat(pooled, how="diagonal") if pooled else None
    return Outputs(rows, tuple(notes)), hubs


def _levels_of(rows: Any, kind: OutputType) -> list[float]:
    """Returns the levels to pool: of the hub's those that its models have, all if they give samples.

    Levels that a hub leaves open, or that few models give, must not keep the others out.
    """
    pl = polars()
    levels = [float(each) for each in kind.ids + kind.optional_ids]
    own = (
        rows.lazy().filter(pl.col(TYPE) == "quantile").with_columns(pl.col(TYPE_ID).cast(pl.Float64).alias("quantile"))
    )
    own = own.filter(pl.col("quantile").round(6).is_in([round(each, 6) for each in levels]))
    task = [name for name in rows.columns if name not in (TYPE, TYPE_ID, "value", "file", "row")]
    return sorted(levels_of_most(own, task)[1] or levels)


def _with_samples(rows: Any, levels: list[float]) -> Any:
    """Returns rows of quantiles, and the quantiles of samples where a model has no others."""
    pl = polars()
    own, samples = (rows.filter(pl.col(TYPE) == name) for name in ("quantile", "sample"))
    if not len(samples):
        return own
    task = [name for name in rows.columns if name not in (TYPE, TYPE_ID, "value", "file", "row")]
    samples = samples.join(own, on=task, how="anti", nulls_equal=True)
    made = quantiles_of_samples(samples, levels).rows if len(samples) else own[:0]
    return pl.concat([own, made], how="diagonal")


def _why_equal(rows: Any, target: str | None, truth: TargetFiles | None) -> str:
    """Returns why a target's quantiles cannot be pooled with target data; "" if they can."""
    if truth is None or target not in _targets(truth.truth):
        return "there are no target data of it"
    if not rows["horizon"].count():
        return "its forecasts have no horizon"
    known = (*TASK_COLUMNS, "model", TYPE, TYPE_ID, "value", "file", "row")
    others = [name for name in rows.columns if name not in known and rows[name].n_unique() > 1]
    return f"its tasks also differ in {shown(', '.join(others))}" if others else ""


def _targets(path: Path) -> list[str | None]:
    frame = scan_truth(path)
    found = collected(frame.select(polars().col("target").unique()), path)["target"].to_list()
    return [*found, *([] if any(found) else [None])]


def read_history(hub: HubDescription, group: Round, settings: RoundSettings, last: date | None) -> Outputs:
    """Reads the quantiles of all rounds up to one, once for all targets and horizons.

    Args:
        hub: Description of the hub.
        group: Description of the round that is pooled.
        settings: How to pool.
        last: Day of the last round that is read, so that a replay reports nothing of later ones;
            None for all rounds.

    Returns:
        A lazy frame of their rows, in the form of `scan_forecasts`, and which files are dropped.

    Raises:
        InputError: for a file that cannot be read, unless dropped.
    """
    pl, step_days = polars(), step_days_of(group) or 7
    dropped: list[str] = []
    frame = scan_forecasts(
        hub.model_output,
        step_days=step_days,
        exclude=(settings.model, *settings.exclude),
        unreadable=dropped if settings.bad == "drop" else None,
    )
    if last is not None:
        day = pl.coalesce("round_date", "reference_date")
        frame = frame.filter(day.is_null() | (day <= last))
    frame = frame.with_columns(pl.col("model", "location", "file", "fault").cast(pl.Categorical))
    return Outputs(collected(frame, hub.model_output, step_days=step_days).lazy(), tuple(dropped))


def load_horizons(
    hub: HubDescription,
    group: Round,
    history: Any,
    target: str | None,
    horizons: Sequence[int],
    levels: list[float],
    settings: RoundSettings,
) -> dict[int, Hub]:
    """Loads the hub at each horizon; those before the first are read as if the hub began with them.

    Args:
        hub: Description of the hub.
        group: Description of the round.
        history: Lazy frame of `read_history`, or one like it.
        target: The target.
        horizons: Horizons to load.
        levels: Levels of the quantiles.
        settings: How to pool, with the target data.

    Raises:
        InputError: as by `load_hub`.
    """
    truth = settings.truth
    assert truth is not None
    begin = 0 if any(horizon <= 0 for horizon in horizons) else None
    late = [horizon for horizon in horizons if horizon >= 0]
    found: dict[int, Hub] = {}
    for wanted in [*([horizon] for horizon in horizons if horizon < 0), late]:
        choice = Choice(
            vintages=truth.vintages,
            first_horizon=begin if wanted is late else wanted[0],
            due_days=due_days_of(hub),
            target=target,
            models=settings.models or None,
            exclude=(),  # they were not read
            locations=settings.locations or None,
            levels=levels,
            first=None,
            last=None,
            truth_source=None,
            step_days=step_days_of(group) or 7,
            num_lags=settings.num_lags,
            bad=settings.bad,
        )
        found |= load_scanned(history, hub.model_output, truth.truth, wanted, choice) if wanted else {}
    return found


def _newest_rows(hub: Hub, newest: np.ndarray, rows: Any) -> Any:
    """Returns the forecasts of the last date as rows of the tasks that the round has."""
    pl = polars()
    there = hub.present[:, -1].any(-1)
    places = [hub.locations[i] for i in np.flatnonzero(there)]
    frame = pl.DataFrame(
        {
            "location": np.repeat(places, len(hub.levels)),
            TYPE_ID: np.tile([f"{level:.6g}" for level in hub.levels], len(places)),
            "value": np.maximum.accumulate(newest[there], -1).ravel(),
        },
        schema={"location": pl.String, TYPE_ID: pl.String, "value": pl.Float64},
    )
    tasks = rows.drop("model", TYPE, TYPE_ID, "value", "file", "row", strict=False).unique(maintain_order=True)
    return tasks.join(frame.with_columns(pl.lit("quantile").alias(TYPE)), on="location", how="inner")


def equal_quantiles(rows: Any, levels: Sequence[float], how: Literal["mean", "median"]) -> Any:
    """Pools quantiles with equal weights, task by task, over the models that have all levels.

    Args:
        rows: Rows of `read_outputs` of the type quantile.
        levels: The levels.
        how: "mean" or "median" of the models' quantiles.
    """
    pl = polars()
    tasks = [name for name in rows.columns if name not in ("model", TYPE_ID, "value", "file", "row")]
    ids = {f"{level:.6g}": level for level in levels}
    rows = rows.filter(pl.col(TYPE_ID).is_in(list(ids)))
    rows = rows.filter(pl.len().over("model", *tasks) == len(ids))
    value = pl.col("value").mean() if how == "mean" else pl.col("value").median()
    return rows.group_by(*tasks, TYPE_ID, maintain_order=True).agg(value)

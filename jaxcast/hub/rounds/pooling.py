"""Pools one round of a hub: all its targets, horizons and output types."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxcast.checks import check_names
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.config.description import HubDescription, ModelTask, OutputType, Round
from jaxcast.hub.outputs.pools import pool_cdf, pool_means, pool_medians, pool_pmf
from jaxcast.hub.outputs.reading import TASK_COLUMNS, Outputs, read_outputs, task_columns
from jaxcast.hub.outputs.samples import pool_samples
from jaxcast.hub.rounds.quantiles import Pooled, RoundSettings, pool_quantiles, read_history
from jaxcast.hub.tables.file_groups import tables_in
from jaxcast.hub.tables.scan import NAMES
from jaxcast.hub.validation.file import parse_name
from jaxcast.hub.validation.submitted import TASK, TYPE, TYPE_ID, SubmittedTable, text_of
from jaxcast.hub.validation.values import step_days_of
from jaxcast.io.tables import polars


class RoundForecast(NamedTuple):
    """The pooled forecasts of a round.

    Args:
        round_id: Identifier of the round.
        table: Rows in the hub's columns, as its file will hold them.
        models: The models that were pooled.
        notes: What was left out, and how targets without target data were pooled, in words.
        hubs: The hub of each target and horizon whose quantiles were pooled with target data, and
            the pooled quantiles (location, quantile).
    """

    round_id: str
    table: SubmittedTable
    models: tuple[str, ...]
    notes: tuple[str, ...]
    hubs: Pooled


def newest_round(hub: HubDescription, model: str) -> str:
    """Finds the last round of which a hub holds a file of another model.

    Args:
        hub: Description of the hub.
        model: The model whose files do not count.

    Raises:
        InputError: where there is none.
    """
    names = (name for file in tables_in(hub.model_output) if (name := parse_name(file)) and name.model != model)
    known = {each: i for i, each in enumerate(hub.round_ids)}
    found = {name.round_id for name in names} & known.keys()
    if not found:
        raise InputError(f"{shown(hub.model_output)} holds no file of a round of the hub; name the round by --round")
    return max(found, key=known.__getitem__)


def pool_round(hub: HubDescription, round_id: str, settings: RoundSettings) -> RoundForecast:
    """Pools all forecasts of a round.

    Quantiles of targets with target data are pooled by `settings.pool`, from all rounds up to this
    one; those of other targets with equal weights. Medians beside quantiles are those of the pool.
    Samples, probabilities, cdfs and means are linear pools with equal weights. Values are clipped
    to the hub's bounds, and rounded where the hub asks for whole numbers.

    Args:
        hub: Description of the hub.
        round_id: The round.
        settings: How to pool.

    Returns:
        The forecasts of the tasks of which every required output type could be pooled.

    Raises:
        InputError: for a round without forecasts, and for tables that cannot be read.
    """
    group = hub.find_round(round_id)
    outputs = _read(hub, round_id, settings)
    table = _table_of(outputs.rows, group, round_id, hub.model_output)
    notes, hubs, pooled = list(outputs.dropped), Pooled(), []
    if unknown := table.frame[TASK].null_count():
        notes.append(f"{counted(unknown, 'row')} of tasks, output types or ids that the hub does not have")
    newest = outputs.rows["reference_date"].max()
    history = cache(partial(read_history, hub, group, settings, newest))
    for i, task in enumerate(group.model_tasks):
        index = table.frame.filter(polars().col(TASK) == i)["index"]
        found, of_task = _pool_task(hub, group, task, outputs.rows[index], settings, history)
        notes, hubs = [*notes, *found.dropped], hubs | of_task
        pooled += [] if found.rows is None else [found.rows]
    different = tuple(dict.fromkeys(notes))
    if not pooled:
        raise InputError(f"nothing of the round {round_id} can be pooled ({'; '.join(different) or 'no rows'})")
    frame = in_columns(polars().concat(pooled, how="diagonal"), group)
    models = tuple(sorted(outputs.rows["model"].unique()))
    return RoundForecast(round_id, dataclasses.replace(table, frame=frame, dtypes={}), models, different, hubs)


def _read(hub: HubDescription, round_id: str, settings: RoundSettings) -> Outputs:
    """Reads the forecasts of a round; files of models that are left out are not opened."""
    known = sorted(folder.name for folder in hub.model_output.glob("*") if folder.is_dir())
    outputs = read_outputs(
        hub.model_output,
        round_id=round_id,
        exclude=(settings.model, *check_names("model", settings.exclude, known)),
        task_ids=hub.find_round(round_id).task_id_names,
        step_days=step_days_of(hub.find_round(round_id)) or 7,
        bad=settings.bad,
    )
    pl, rows = polars(), outputs.rows
    wishes = {"model": settings.models, "target": settings.targets, "location": settings.locations}
    for name, wanted in wishes.items():
        if wanted:
            names = outputs.rows[name].unique().drop_nulls().sort()
            rows = rows.filter(pl.col(name).is_in(check_names(name, wanted, names)))
    if not len(rows):
        raise InputError(f"the round {round_id} of {shown(hub.path)} holds no model to pool; ask for other models")
    return outputs._replace(rows=rows)


def columns_of(group: Round) -> dict[str, str]:
    """Returns the names that a hub gives the columns of `read_outputs`.

    Args:
        group: Description of a round.
    """
    names = group.task_id_names
    found = {ours: next((name for name in NAMES[ours] if name in names), None) for ours in TASK_COLUMNS}
    if group.is_from_variable:
        found["reference_date"] = group.round_id
    return {ours: name for ours, name in found.items() if name is not None}


def _table_of(rows: Any, group: Round, round_id: str, path: Path) -> SubmittedTable:
    """Returns rows of `read_outputs` as text in the hub's columns, with the index of each."""
    pl, names = polars(), columns_of(group)
    texts = rows.select(
        pl.int_range(pl.len()).alias("index"),
        *(pl.col(ours).cast(pl.String).alias(name) for ours, name in names.items()),
        *(pl.col(name) for name in rows.columns if name in group.task_id_names and name not in names.values()),
        TYPE,
        TYPE_ID,
        pl.col("value").cast(pl.String),
    )
    missing = [pl.lit(None, pl.String).alias(name) for name in group.task_id_names if name not in texts.columns]
    return SubmittedTable(path, group, round_id, texts.with_columns(missing), {}).with_numbers()


def _pool_task(
    hub: HubDescription,
    group: Round,
    task: ModelTask,
    rows: Any,
    settings: RoundSettings,
    history: Callable[[], Outputs],
) -> tuple[Outputs, Pooled]:
    """Pools the output types of a model task; returns also the hubs whose quantiles were pooled."""
    pl, found, notes, hubs = polars(), dict[str, Any](), list[str](), Pooled()
    for kind in sorted(task.output_types, key=lambda kind: kind.name == "median"):
        read = ("quantile", "sample") if kind.name == "quantile" else (kind.name,)
        of_kind = rows.filter(pl.col(TYPE).is_in(read))
        if not len(of_kind):
            continue
        if kind.name == "quantile":
            pooled, hubs = pool_quantiles(hub, group, kind, of_kind, settings, history)
        else:
            pooled = _pool_kind(group, kind, of_kind, settings)
        notes += pooled.dropped
        if pooled.rows is not None and len(pooled.rows):
            found[kind.name] = within(pooled.rows, kind)
    if "median" in found and "quantile" in found:
        found["median"] = _medians(found["median"], found["quantile"])
    complete = _complete(list(found.values()), task)
    return Outputs(complete.rows, (*notes, *complete.dropped)), hubs


def _pool_kind(group: Round, kind: OutputType, rows: Any, settings: RoundSettings) -> Outputs:
    """Pools the rows of an output type other than quantiles; without rows where none can be."""
    plain = {"cdf": pool_cdf, "mean": pool_means, "median": pool_medians}
    if kind.name not in ("pmf", "sample", *plain):
        return Outputs(None, (f"{kind.name}: not pooled, as it is no output type that can be",))
    try:
        if kind.name == "pmf":
            return pool_pmf(rows, categories=[text_of(each) for each in kind.ids + kind.optional_ids])
        if kind.name == "sample":
            return _pool_samples(group, kind, rows, settings)
        return plain[kind.name](rows)
    except InputError as error:
        return Outputs(None, (f"{kind.name}: not pooled ({error})",))


def _pool_samples(group: Round, kind: OutputType, rows: Any, settings: RoundSettings) -> Outputs:
    sample = kind.samples
    assert sample is not None
    ours = {name: key for key, name in columns_of(group).items()}
    if sample.compound_taskid_set is None:  # then samples are of single tasks
        compound = task_columns(rows)
    else:
        names = [ours.get(name, name) for name in sample.compound_taskid_set]
        compound = list(dict.fromkeys(["reference_date", *names]))
    pooled = pool_samples(rows, compound=compound, max_samples=sample.max_samples, seed=settings.seed)
    pl, unit = polars(), [name for name in compound if name in pooled.rows.columns]
    counts = pooled.rows.group_by(unit).agg(pl.col(TYPE_ID).n_unique().alias("count"))
    few = counts.filter(pl.col("count") < sample.min_samples)
    if not len(few):
        return pooled
    note = f"{counted(len(few), 'task')} with fewer than {counted(sample.min_samples, 'sample')}"
    return Outputs(pooled.rows.join(few, on=unit, how="anti", nulls_equal=True), (*pooled.dropped, note))


def _medians(medians: Any, quantiles: Any) -> Any:
    """Replaces medians by the pooled quantile 0.5 of the same task, where there is one."""
    pl = polars()
    tasks = [name for name in TASK_COLUMNS if name in medians.columns]
    of_pool = quantiles.filter(pl.col(TYPE_ID) == "0.5").select(*tasks, pl.col("value").alias("(pooled)"))
    joined = medians.join(of_pool, on=tasks, how="left", nulls_equal=True)
    return joined.with_columns(pl.coalesce("(pooled)", "value").alias("value")).drop("(pooled)")


def within(rows: Any, kind: OutputType) -> Any:
    """Clips values to the bounds of an output type, and rounds them if it asks for whole numbers.

    Args:
        rows: Rows with a value.
        kind: The output type.
    """
    pl, value = polars(), polars().col("value")
    if kind.minimum is not None or kind.maximum is not None:
        value = value.clip(kind.minimum, kind.maximum)
    if kind.value_type == "integer":
        value = value.round()
    rows = rows.with_columns(value)
    if kind.name == "pmf":
        tasks = [name for name in rows.columns if name not in (TYPE_ID, "value", "file", "row")]
        rows = rows.with_columns(pl.col("value") / pl.col("value").sum().over(tasks))
    return rows


def _complete(frames: list[Any], task: ModelTask) -> Outputs:
    """Leaves out tasks that lack a required output type; without rows where none is left."""
    pl, notes = polars(), list[str]()
    if not frames:
        return Outputs(None)
    required = [kind.name for kind in task.output_types if kind.is_required]
    frame = pl.concat(frames, how="diagonal").drop("model", "file", "row", strict=False)
    keys = [name for name in frame.columns if name not in (TYPE, TYPE_ID, "value")]
    kinds = pl.col(TYPE).unique().over(keys, mapping_strategy="join")
    lacking = (
        frame.filter(~pl.all_horizontal([kinds.list.contains(name) for name in required])) if required else frame[:0]
    )
    if len(lacking):
        number = len(lacking.select(keys).unique())
        notes.append(f"{counted(number, 'task')} of which {' or '.join(required)} could not be pooled")
        frame = frame.join(lacking.select(keys).unique(), on=keys, how="anti", nulls_equal=True)
    return Outputs(frame if len(frame) else None, tuple(notes))


def in_columns(frame: Any, group: Round) -> Any:
    """Returns rows in the hub's columns; dates, horizons and ids as text.

    Args:
        frame: Rows with columns as `read_outputs` names them.
        group: Description of the round.
    """
    pl, names = polars(), columns_of(group)
    others = [name for name in group.task_id_names if name not in names.values()]
    order = [
        names[ours] for ours in ("reference_date", "target", "horizon", "target_end_date", "location") if ours in names
    ]
    frame = frame.rename({ours: name for ours, name in names.items() if ours in frame.columns})
    missing = [pl.lit(None, pl.String).alias(name) for name in (*order, *others) if name not in frame.columns]
    frame = frame.with_columns(missing)
    texts = [pl.col(name).cast(pl.String) for name in (*order, *others, TYPE, TYPE_ID)]
    return frame.select(*texts, pl.col("value").cast(pl.Float64))

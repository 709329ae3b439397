"""Reads forecasts of all output types of a hub in one form."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxcast.checks import check_choice, check_names
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.tables.checks import refuse_missing
from jaxcast.hub.tables.file_groups import FILE, ROW, FileGroup, hub_files, open_files
from jaxcast.hub.tables.scan import collected, is_off, task_cells
from jaxcast.io.tables import polars

OUTPUT_TYPES = ("quantile", "sample", "pmf", "cdf", "mean", "median")
WITH_ID = ("quantile", "sample", "pmf", "cdf")
TASK_COLUMNS = ("location", "reference_date", "horizon", "target_end_date", "target")
# Names of columns that pools and scores of outputs add.
OWN_COLUMNS = (
    "weight", "rank", "wanted", "point", "is_good", "below", "size", "tasks", "models", "of", "number", "quantile",
    "truth", "category", "label", "leads", "over", "score",
)  # fmt: skip
OTHER_COLUMNS = ("model", "output_type", "output_type_id", "value", "fault", "file", "row")


class Outputs(NamedTuple):
    """Forecasts of any output type in one table, and what was left out of it.

    Args:
        rows: Frame of polars with the columns model, location, reference_date, horizon,
            target_end_date, target, further task ids of the hub (text), output_type, output_type_id
            (text; null for means and medians) and value; where they were read from files, also file
            and row.
        dropped: What was left out, in words.
    """

    rows: Any
    dropped: tuple[str, ...] = ()


def read_outputs(
    path: str | Path,
    *,
    output_types: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    locations: Sequence[str] | None = None,
    reference_dates: Sequence[str] | None = None,
    round_id: str | None = None,
    exclude: Sequence[str] = (),
    task_ids: Collection[str] | None = None,
    step_days: int = 7,
    bad: Literal["raise", "drop"] = "raise",
) -> Outputs:
    """Reads forecasts of all output types: quantile, sample, pmf, cdf, mean and median.

    Args:
        path: A table, or the folder of a hub, as in `load_hub`.
        output_types: Types to keep; by default all.
        targets: Targets to keep; by default all.
        models: Models to keep; by default all.
        locations: Locations to keep; by default all.
        reference_dates: Reference dates to keep, such as 2024-01-06; by default all.
        round_id: The only round whose files are read, in a hub's folder; by default all.
        exclude: Models to leave out; their files in a hub's folder are not read.
        task_ids: Further columns that distinguish tasks. By default all; then a comment in one file
            makes its tasks others than those of all other files.
        step_days: Days of one step, where a table gives only one of target and reference date.
        bad: Whether to raise on, or to drop, files and cells that cannot be read and the first of
            two duplicate rows. `dropped` counts them.

    Returns:
        The rows in one form, and what was left out: columns that are no task ids, rows of types
        that are not known here, such as the points of legacy hubs, and bad rows.

    Raises:
        InputError: for tables that cannot be read, unknown names, nothing left, and, unless
            dropped, bad rows, with file and row.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "forecasts.csv"
        >>> header = "model,location,reference_date,horizon,target,output_type,output_type_id,value"
        >>> rows = [f"a,X,2024-01-06,1,cases,sample,{i},{i * i}" for i in range(3)]
        >>> _ = path.write_text("\\n".join([header, *rows, "a,X,2024-01-06,1,cases,mean,NA,1.7"]))
        >>> outputs = jaxcast.hub.read_outputs(path)
        >>> outputs.rows["value"].to_list(), outputs.rows["output_type_id"].to_list()
        ([0.0, 1.0, 4.0, 1.7], ['0', '1', '2', None])
    """
    check_choice("bad", bad, ("raise", "drop"))
    chosen = {"output_type": output_types, "target": targets, "model": models, "location": locations}
    pl, dropped = polars(), list[str]()
    unreadable = dropped if bad == "drop" else None
    frame = scan_outputs(
        path,
        step_days=step_days,
        round_id=round_id,
        exclude=exclude,
        unreadable=unreadable,
        task_ids=task_ids,
        unused=dropped,
    )
    frame = frame.filter(~pl.col("model").is_in(list(exclude)).fill_null(False)) if exclude else frame
    for name, wanted in chosen.items():
        if wanted is not None:
            known = OUTPUT_TYPES
            if name != "output_type":
                known = collected(frame.select(pl.col(name).unique().drop_nulls()), path)[name].to_list()
            frame = frame.filter(pl.col(name).is_in(check_names(name.replace("_", " "), wanted, known)))
    if reference_dates is not None:
        frame = frame.filter(
            pl.col("reference_date").cast(pl.String).is_in([str(date)[:10] for date in reference_dates])
        )
    rows = _known_types(collected(frame, path, step_days=step_days), dropped)
    rows = refuse_missing(rows, bad, dropped).drop("fault")
    rows = _without_duplicates(rows, bad, dropped)
    if not len(rows):
        raise InputError(f"{shown(path)} holds no forecast of what was asked for; ask for other dates or names")
    return Outputs(rows, tuple(dropped))


def scan_outputs(
    path: str | Path,
    *,
    step_days: int = 7,
    round_id: str | None = None,
    exclude: Collection[str] = (),
    unreadable: list[str] | None = None,
    task_ids: Collection[str] | None = None,
    unused: list[str] | None = None,
) -> Any:
    """Returns a lazy frame of the forecasts of all output types of a table or folder, in one form.

    Args:
        path: As for `scan_forecasts`.
        step_days: Days of one step, where a table gives only one of target and reference date.
        round_id: The only round whose files are read; by default all.
        exclude: Models of a folder whose files are not read.
        unreadable: As for `scan_forecasts`.
        task_ids: As for `read_outputs`.
        unused: List to which a line is added on columns that are left out.

    Returns:
        The columns of `Outputs.rows`, file, row, and `fault`, the name of a column that cannot be
        read, if any.

    Raises:
        InputError: where there is no such table, its structure is damaged, or columns are missing.
    """
    files = [
        (file, model)
        for file, model in hub_files(Path(path), exclude)
        if round_id is None or model is None or file.name.startswith(f"{round_id}-{model}")
    ]
    if not files:
        raise InputError(f"{shown(path)} holds no file of the round {shown(round_id)}; ask for another round")
    open_group = partial(_outputs, step_days=step_days, task_ids=task_ids, unused=unused)
    return polars().concat(open_files(files, open_group, unreadable), how="diagonal")


def task_columns(rows: Any) -> list[str]:
    """Returns the names of the columns that distinguish tasks.

    Args:
        rows: Rows of `Outputs`.

    Raises:
        InputError: for a column with a name that pools and scores give to columns of their own.
    """
    names = [name for name in rows.collect_schema().names() if name not in OTHER_COLUMNS]
    taken = [name for name in names if name in OWN_COLUMNS]
    if taken:
        raise InputError(
            f"the column {shown(taken[0])} of the forecasts has a name that jaxcast gives to a column of its own; "
            "rename it"
        )
    return names


def counted_by_model(rows: Any, noun: str, fault: str) -> list[str]:
    """Returns a line for each model with the number of its rows, such as dropped forecasts.

    Args:
        rows: Frame with a column model.
        noun: What a row is, in the singular.
        fault: Why these are left out, in words.
    """
    pl = polars()
    counts = rows.group_by(pl.col("model").cast(pl.String)).len().sort("model").rows()
    return [f"{counted(number, noun)} of {shown(name)} {fault}" for name, number in counts]


def _outputs(
    group: FileGroup, step_days: int, task_ids: Collection[str] | None = None, unused: list[str] | None = None
) -> Any:
    pl = polars()
    cells, steps, target = task_cells(group)
    found = cells.found
    taken = {*found.values(), *TASK_COLUMNS, *OTHER_COLUMNS, ROW, FILE}
    others = [name for name in cells.dtypes.names() if name not in taken and not cells.dtypes[name].is_nested()]
    extra = [name for name in others if task_ids is None or name in task_ids]
    if unused is not None and len(extra) < len(others):
        names = ", ".join(name or "one without a name" for name in others if name not in extra)
        unused.append(
            f"no task id of the hub: {shown(names)} in {counted(len(group.paths), 'file')}, such as {group.path.name}"
        )
    kind = cells.text("type").str.to_lowercase() if "type" in found else pl.lit("quantile")
    frame = group.frame.select(
        (cells.text("model") if group.model is None else group.model).alias("model"),
        cells.text("location"),
        cells.date("reference_date"),
        cells.horizon(steps, step_days),
        cells.date("target_end_date"),
        target,
        *(pl.col(name).cast(pl.String) for name in extra),
        kind.alias("output_type"),
        cells.text("output_type_id"),
        cells.number("value"),
        pl.col(FILE).alias("file"),
        pl.col(ROW).alias("row"),
        *(_is_empty(cells, name).alias(f"(no {name})") for name in ("reference_date", "target_end_date", "horizon")),
    )
    return _dated(frame.with_columns(_canonical_id()), found, step_days, is_submission=group.model is not None)


def _canonical_id() -> Any:
    """Returns the id: none of means and medians, one text for equal levels and thresholds."""
    pl = polars()
    kind, id_ = pl.col("output_type"), pl.col("output_type_id")
    number = id_.cast(pl.Float64, strict=False)
    number = pl.when(number.is_finite()).then(number).otherwise(None)
    level = pl.when((number > 0) & (number < 1)).then(number.round(6).cast(pl.String))
    threshold = pl.coalesce(number.cast(pl.String).str.strip_suffix(".0"), id_)
    chosen = pl.when(kind.is_in(("mean", "median"))).then(None).when(kind == "quantile").then(level)
    return chosen.when(kind == "cdf").then(threshold).otherwise(id_).alias("output_type_id")


def _is_empty(cells: Any, name: str) -> Any:
    """Returns whether a cell is blank or NA, as where a target has no horizon."""
    if name not in cells.found:
        return polars().lit(True)
    return cells.words(name).str.strip_chars().is_in(("", "NA")).fill_null(True)


def _dated(frame: Any, found: dict[str, str], step_days: int, *, is_submission: bool) -> Any:
    """Adds dates and horizons that follow from the others, and the column at fault of each row."""
    pl = polars()
    reference, end, horizon = pl.col("reference_date"), pl.col("target_end_date"), pl.col("horizon")
    ahead = pl.duration(days=step_days * horizon)
    days = (end - reference).dt.total_days()
    apart = is_off(days - step_days * horizon, step_days, is_submission=is_submission)
    fault = pl.when(~pl.col("output_type").is_in(OUTPUT_TYPES).fill_null(False)).then(pl.lit("type"))
    for name in ("model", "location", "value"):
        fault = fault.when(pl.col(name).is_null()).then(pl.lit(name))
    for name in ("reference_date", "target_end_date", "horizon"):
        if found.get(name) != "round_id":  # which can be any text
            fault = fault.when(pl.col(name).is_null() & ~pl.col(f"(no {name})")).then(pl.lit(name))
    fault = fault.when(reference.is_null() & end.is_null()).then(
        pl.lit("reference_date" if "reference_date" in found else "target_end_date")
    )
    fault = fault.when(apart.fill_null(False)).then(pl.lit("reference_date"))
    without_id = pl.col("output_type").is_in(WITH_ID) & pl.col("output_type_id").is_null()
    fault = fault.when(without_id).then(pl.lit("output_type_id")).otherwise(None)
    frame = frame.with_columns(fault=fault).drop("^\\(no .*\\)$")
    frame = frame.with_columns(
        reference_date=pl.coalesce(reference, (end - ahead).cast(pl.Date)),
        target_end_date=pl.coalesce(end, (reference + ahead).cast(pl.Date)),
    )
    if "horizon" in found:
        return frame
    whole = pl.when(days % step_days == 0).then(days // step_days).otherwise(None)
    return frame.with_columns(horizon=pl.coalesce(horizon, whole.cast(pl.Int32)))


def _known_types(rows: Any, dropped: list[str]) -> Any:
    """Leaves out the types of legacy hubs, and reports which."""
    pl = polars()
    legacy = rows.filter(pl.col("output_type").is_in(("point", "bin", "mode")))
    for model, kind, number in legacy.group_by("model", "output_type").len().sort("model", "output_type").rows():
        dropped.append(f"{counted(number, 'row')} of {shown(model)} of the output type {kind}")
    return rows.filter(~pl.col("output_type").is_in(("point", "bin", "mode")).fill_null(False))


def _without_duplicates(rows: Any, bad: str, dropped: list[str]) -> Any:
    """Returns the last of the rows of the same model, task, output type and id."""
    pl = polars()
    key = ["model", *task_columns(rows), "output_type", "output_type_id"]
    twice = rows.select(~pl.struct(key).is_last_distinct()).to_series()
    if not twice.any():
        return rows
    if bad == "raise":
        row = rows.filter(rows.select(~pl.struct(key).is_first_distinct()).to_series()).row(0, named=True)
        raise InputError(
            f"{shown(row['file'])}, row {row['row']}: {shown(row['model'])} has a second {row['output_type']} "
            f"{shown(row['output_type_id'] or '')} for {shown(row['location'])} on {row['target_end_date']} "
            f"({counted(int(twice.sum()), 'such row')}); fix it, or drop bad rows"
        )
    dropped.append(counted(int(twice.sum()), "duplicate row"))
    return rows.filter(~twice)

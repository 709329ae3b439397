"""Reads hub tables lazily: tidy files, legacy and hubverse hub folders."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from jaxcast.errors import InputError, shown
from jaxcast.hub.tables.cells import Cells
from jaxcast.hub.tables.file_groups import FILE, ROW, FileGroup, hub_files, open_files, scan_file
from jaxcast.io.tables import polars, without_reports

# What the same column is called in tidy tables, legacy hubs and hubverse hubs.
NAMES = {
    "model": ("model", "model_id", "team_model", "forecaster"),
    "location": ("location", "unit", "fips", "geo_value"),
    "target_end_date": ("target_end_date", "target_date"),
    "reference_date": ("reference_date", "origin_date", "nowcast_date", "round_id"),
    "forecast_date": ("forecast_date",),
    "horizon": ("horizon", "ahead"),
    "target": ("target",),
    "quantile": ("quantile", "output_type_id", "quantile_level"),
    "output_type_id": ("output_type_id", "quantile", "quantile_level"),
    "type": ("type", "output_type"),
    "value": ("value", "prediction", "predicted"),
}


def scan_forecasts(
    path: str | Path, *, step_days: int = 7, exclude: Collection[str] = (), unreadable: list[str] | None = None
) -> Any:
    """Returns a lazy frame of the forecasts of a file or a hub folder, in one form, for quantiles.

    Args:
        path: A tidy .csv or .parquet file; or the folder of a hub, legacy
            (data-processed/MODEL/DATE-MODEL.csv) or hubverse (model-output/MODEL/DATE-MODEL.csv or
            .parquet); or a folder of such model folders, or of tidy files.
        step_days: Days of one step, where a table gives only one of target and reference date.
        exclude: Models of a folder whose files are not read.
        unreadable: List to which a line is added on files that are left out as they cannot be read;
            by default they are refused.

    Returns:
        Columns model, location, reference_date, round_date, forecast_date, target_end_date,
        horizon, target, output_type, quantile, value, sample, fault, file, row. Rows are numbered
        from 1 below the header of their file. `reference_date` is `horizon` steps before the target
        date, and `round_date` the date of the round where that is another one. `sample` is the id
        of a sample, which has no level; null for others. A cell of a quantile or sample that cannot
        be read is null, and `fault` then names its column.

    Raises:
        InputError: where there is no such table, its structure is damaged, or columns are missing.
    """
    read = partial(_canonical, step_days=step_days)
    return polars().concat(open_files(hub_files(Path(path), exclude), read, unreadable))


def collected(frame: Any, path: str | Path, *, step_days: int | None = None) -> Any:
    """Reads the rows of a lazy frame.

    Args:
        frame: Lazy frame of `scan_forecasts`, or of target data.
        path: File or folder that it was made from.
        step_days: As given to `scan_forecasts`; finds the file that cannot be read among several.

    Returns:
        The frame with its rows.

    Raises:
        InputError: for a file whose content cannot be read.
    """
    failure = _failure_of(frame)
    if not isinstance(failure, str):
        return failure
    if step_days is not None and Path(path).is_dir():
        for file, model in hub_files(Path(path)):
            try:
                (frame,) = open_files([(file, model)], partial(_canonical, step_days=step_days), None)
            except InputError:  # it was left out
                continue
            if isinstance(_failure_of(frame), str):
                path = file
                break
    raise InputError(f"{shown(path)} is not a table that can be read ({shown(failure)}); write it again")


def _failure_of(frame: Any) -> Any:
    """Returns the frame with its rows, or why there are none."""
    pl = polars()
    try:
        with without_reports():
            return frame.collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, MemoryError) as error:
        return next(iter(str(error).splitlines()), type(error).__name__)


def raw_cell(file: str, row: int, name: str) -> tuple[str, Any]:
    """Finds a cell as it is written in a file.

    Args:
        file: A table of forecasts.
        row: Row, counted from 1.
        name: Column, as `scan_forecasts` calls it.

    Returns:
        The column's name in the file, and the cell.
    """
    pl, path = polars(), Path(file)
    frame = scan_file(path)
    found = find_columns(frame, NAMES, path, ())
    if name == "horizon" and name not in found:
        name = "target"
    if name not in found:
        return name, ""
    return found[name], collected(frame.filter(pl.col(ROW) == row).select(found[name]), path).item()


def find_columns(frame: Any, names: dict[str, tuple[str, ...]], path: Path, needed: tuple[str, ...]) -> dict[str, str]:
    """Finds columns in a file.

    Args:
        frame: Lazy frame of the file.
        names: For each column, how it may be called.
        path: The file.
        needed: Columns without which the file cannot be used.

    Returns:
        The name of each column that is there.

    Raises:
        InputError: where a column that is needed is missing.
    """
    columns = frame.collect_schema().names()
    found = {ours: next((name for name in theirs if name in columns), None) for ours, theirs in names.items()}
    missing = [name for name in needed if found[name] is None]
    if missing:
        raise InputError(
            f"{shown(path)} has no column {', '.join(missing)}; its columns are "
            f"{shown(', '.join(name for name in columns if name not in (ROW, FILE)))}"
        )
    return {ours: theirs for ours, theirs in found.items() if theirs is not None}


def _canonical(group: FileGroup, step_days: int) -> Any:
    pl = polars()
    cells, steps, target = task_cells(group)
    kind = cells.text("type").str.to_lowercase() if "type" in cells.found else pl.lit("quantile")
    sample = pl.when(kind == "sample").then(cells.text("output_type_id").fill_null("")).otherwise(None)
    frame = group.frame.select(
        (cells.text("model") if group.model is None else group.model).alias("model"),
        cells.text("location"),
        cells.date("reference_date"),
        cells.date("forecast_date"),
        cells.date("target_end_date"),
        cells.horizon(steps, step_days),
        target,
        cells.level(),
        cells.number("value"),
        kind.alias("output_type"),
        sample.alias("sample") if "type" in cells.found else pl.lit(None, pl.String).alias("sample"),
        cells.is_blank("reference_date").alias("no_round"),
        pl.col(FILE).alias("file"),
        pl.col(ROW).alias("row"),
    )
    return _with_dates(frame, cells.found, step_days, is_submission=group.model is not None).drop("no_round")


def task_cells(group: FileGroup) -> tuple[Cells, Any, Any]:
    """Finds the columns of files of forecasts.

    Args:
        group: The files.

    Returns:
        Their cells, and the expressions of the horizon, as a number, and of the target.

    Raises:
        InputError: where a column is missing.
    """
    frame, path = group.frame, group.path
    needed = ("location", "quantile", "value", *(("model",) if group.model is None else ()))
    found = find_columns(frame, NAMES, path, needed)
    if not found.keys() & {"horizon", "target"} and not {"target_end_date", "reference_date"} <= found.keys():
        raise InputError(f"{shown(path)} has no column horizon, nor a target such as '1 wk ahead inc death'")
    if not found.keys() & {"target_end_date", "reference_date"} and "forecast_date" in found:
        found["reference_date"] = found["forecast_date"]
    if not found.keys() & {"target_end_date", "reference_date"}:
        raise InputError(f"{shown(path)} has no column target_end_date or reference_date")
    cells = Cells(path, found, frame.collect_schema())
    if "horizon" in found:
        return cells, cells.number("horizon"), cells.text("target")
    target, steps = _split_target(cells)
    return cells, steps, target


def _split_target(cells: Cells) -> tuple[Any, Any]:
    """Splits texts such as "1 wk ahead inc death" into target and horizon."""
    pl, text = cells.pl, cells.text("target")
    steps = text.str.extract(r"^\s*(-?\d+)\s").cast(pl.Float64, strict=False)
    return text.str.replace(r"^\s*-?\d+\s+\S+\s+ahead\s+", "").alias("target"), steps


def is_off(days: Any, step_days: int, *, is_submission: bool) -> Any:
    """Returns an expression for target dates that do not go with the round's date and the horizon.

    Dates agree to within a step, as the round's date may be a day of the week before. In hubs whose
    newest data are older when a round opens, all rows of a submission are off by the same days.

    Args:
        days: Expression of the days from the round's date to the target date, less the horizon's.
        step_days: Days of one step.
        is_submission: Whether the rows of each file, in the column file, are one submission.
    """
    apart = days.abs() >= step_days
    return apart & ((days - days.median().over("file")).abs() >= step_days) if is_submission else apart


def _with_dates(frame: Any, found: dict[str, str], step_days: int, *, is_submission: bool) -> Any:
    """Adds the date that a table leaves out, and the column at fault of each row, if any."""
    pl = polars()
    dated = "target_end_date" if "target_end_date" in found else "reference_date"
    ahead = pl.duration(days=step_days * pl.col("horizon"))
    days = (pl.col("target_end_date") - pl.col("reference_date") - ahead).dt.total_days()
    both = {"target_end_date", "reference_date"} <= found.keys()
    if both and "horizon" not in found:
        apart = (pl.col("target_end_date") - pl.col("reference_date")).dt.total_days()
        steps = pl.when(apart % step_days == 0).then(apart // step_days).otherwise(None)
        frame = frame.with_columns(horizon=pl.coalesce("horizon", steps.cast(pl.Int32)))
    # A round_id can be any text.
    no_date = pl.col("reference_date").is_null() & ~pl.col("no_round") & (found.get("reference_date") != "round_id")
    wrong_round = no_date | is_off(days, step_days, is_submission=is_submission)
    fault = pl.when(~pl.col("output_type").is_in(("quantile", "sample")).fill_null(False)).then(pl.lit("type"))
    for name in ("model", "location", "horizon", dated, "value"):
        fault = fault.when(pl.col(name).is_null()).then(pl.lit(name))
    fault = fault.when(pl.col("quantile").is_null() & pl.col("sample").is_null()).then(pl.lit("quantile"))
    fault = fault.when(pl.col("sample") == "").then(pl.lit("output_type_id"))
    if both:
        fault = fault.when(wrong_round.fill_null(False)).then(pl.lit("reference_date"))
    frame = frame.with_columns(fault=fault.otherwise(None))
    if dated == "reference_date":
        end, no_day = pl.col("reference_date") + ahead, pl.lit(None, pl.Date)
        return frame.with_columns(target_end_date=end.cast(pl.Date), round_date=no_day)
    of_round = pl.when(days != 0).then(pl.col("reference_date")).otherwise(None)
    reference = (pl.col("target_end_date") - ahead).cast(pl.Date)
    return frame.with_columns(reference_date=reference, round_date=of_round)

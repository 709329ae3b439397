"""Tables of a forecast hub, lazily: tidy files, legacy hub folders, hubverse folders, and their truth."""

from pathlib import Path
from types import ModuleType
from typing import Any

from jaxcast.errors import InputError

SUFFIXES = (".csv", ".parquet")
# What the same column is called in tidy tables, legacy hubs and hubverse hubs.
NAMES = {
    "model": ("model", "model_id", "team_model"),
    "location": ("location", "unit", "fips"),
    "target_end_date": ("target_end_date", "target_date"),
    "reference_date": ("reference_date", "origin_date", "round_id"),
    "horizon": ("horizon",),
    "target": ("target",),
    "quantile": ("quantile", "output_type_id"),
    "type": ("type", "output_type"),
    "value": ("value", "prediction"),
}
TRUTH_NAMES = {
    "location": ("location", "unit", "fips"),
    "date": ("date", "target_end_date", "time_index", "end_date"),
    "value": ("oracle_value", "observation", "value"),
    "target": ("target",),
    "source": ("source", "as_of"),
    "type": ("output_type",),
}


def polars() -> ModuleType:
    """The package that reads tables.

    Raises:
        InputError: where it is not installed.
    """
    try:
        import polars
    except ImportError:
        raise InputError("tables of a hub and .parquet files need polars: pip install 'jaxcast[hub]'") from None
    return polars


def scan_forecasts(path: str | Path, *, step_days: int = 7) -> Any:
    """A lazy frame of all quantile forecasts that a file or a hub's folder holds, in one form whatever their own.

    Columns: model, location, reference_date, target_end_date, horizon, target, quantile, value, file, row. Rows are
    numbered from 1 below the header of their file. Rows of another type than quantile are left out.

    Args:
        path: a tidy .csv or .parquet; or the folder of a hub, legacy (data-processed/MODEL/DATE-MODEL.csv) or hubverse
            (model-output/MODEL/DATE-MODEL.csv or .parquet); a folder of such model folders does as well.
        step_days: between horizons, where a table gives its dates by a reference date only, or the other way round.

    Raises:
        InputError: where there is no such table, or columns are missing.
    """
    path = Path(path)
    if path.is_file():
        return _canonical(_scan(path), path, None, step_days)
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}; give a .csv or .parquet, or the folder of a hub")
    inner = [path / name for name in ("model-output", "data-processed", "data-forecasts") if (path / name).is_dir()]
    root = inner[0] if inner else path
    files = sorted(file for file in root.glob("*/*") if file.suffix in SUFFIXES)
    if not files:
        raise InputError(f"{root} holds no MODEL/DATE-MODEL.csv or .parquet; give the folder of a hub, or a table")
    return polars().concat([_canonical(_scan(file), file, file.parent.name, step_days) for file in files])


def scan_truth(path: str | Path, *, source: str | None = None) -> Any:
    """A lazy frame of the truth: location, date, target (null where the table has none), value.

    Args:
        path: a .csv or .parquet, such as a hub's time-series table, or its oracle-output, of which quantile rows count.
        source: keeps the rows whose `source` or `as_of` column contains this text, where a table holds several vintages.

    Raises:
        InputError: where there is no such table, columns are missing, or no row is of that source.
    """
    pl, path = polars(), Path(path)
    if not path.is_file():
        raise InputError(f"there is no truth table {path}; give a .csv or .parquet")
    frame = _scan(path)
    found = _find(frame, TRUTH_NAMES, path, needed=("location", "date", "value"))
    if "type" in found:  # an oracle-output table repeats itself for every output type
        frame = frame.filter(pl.col(found["type"]).cast(pl.String) == "quantile")
    if source is not None:
        if "source" not in found:
            raise InputError(f"{path} has no column source or as_of to look for {source!r} in; leave the source out")
        frame = frame.filter(pl.col(found["source"]).cast(pl.String).str.contains(source, literal=True))
        if frame.select(pl.len()).collect().item() == 0:
            raise InputError(f"no row of {path} is of a source that contains {source!r}")
    return frame.select(
        _text(pl, found, "location"),
        _date(pl, found, "date", frame.collect_schema()),
        _text(pl, found, "target"),
        _number(pl, found, "value"),
    ).unique()


def _scan(path: Path) -> Any:
    """A lazy frame of one file; the text of a .csv stays text, so that location 01 does not become 1."""
    pl = polars()
    if path.suffix not in SUFFIXES:
        raise InputError(f"expected a .csv or .parquet, got {path}")
    try:
        if path.suffix == ".csv":
            frame = pl.scan_csv(path, infer_schema=False, row_index_name="row", row_index_offset=1)
        else:
            frame = pl.scan_parquet(path, row_index_name="row", row_index_offset=1)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is not a table that can be read ({str(error).splitlines()[0]})") from None
    return frame


def _find(frame: Any, names: dict[str, tuple[str, ...]], path: Path, needed: tuple[str, ...]) -> dict[str, str]:
    """What a file calls each of these columns."""
    columns = frame.collect_schema().names()
    found = {ours: next((name for name in theirs if name in columns), None) for ours, theirs in names.items()}
    missing = [name for name in needed if found[name] is None]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; its columns are {', '.join(columns[1:])}")
    return {ours: theirs for ours, theirs in found.items() if theirs is not None}


def _canonical(frame: Any, path: Path, model: str | None, step_days: int) -> Any:
    pl = polars()
    needed = ("location", "quantile", "value", *(() if model else ("model",)))
    found = _find(frame, NAMES, path, needed)
    if "type" in found:
        frame = frame.filter(pl.col(found["type"]).cast(pl.String) == "quantile")
    in_target = "target" in found and "horizon" not in found  # "1 wk ahead inc death"
    if "horizon" not in found and not in_target:
        raise InputError(f"{path} has no column horizon, nor a target such as '1 wk ahead inc death'")
    if not found.keys() & {"target_end_date", "reference_date"}:
        raise InputError(f"{path} has no column target_end_date or reference_date")
    if in_target:
        text = pl.col(found["target"]).cast(pl.String)
        horizon = text.str.extract(r"^\s*(-?\d+)\s").cast(pl.Int32).alias("horizon")
        target = text.str.replace(r"^\s*-?\d+\s+\S+\s+ahead\s+", "").alias("target")
    else:
        horizon = _number(pl, found, "horizon").cast(pl.Int32)
        target = _text(pl, found, "target")
    dtypes = frame.collect_schema()
    frame = frame.select(
        _text(pl, found, "model") if model is None else pl.lit(model).alias("model"),
        _text(pl, found, "location"),
        _date(pl, found, "reference_date", dtypes),
        _date(pl, found, "target_end_date", dtypes),
        horizon,
        target,
        _number(pl, found, "quantile"),
        _number(pl, found, "value"),
        pl.lit(str(path)).alias("file"),
        "row",
    )
    ahead = pl.duration(days=step_days * pl.col("horizon"))
    if "target_end_date" not in found:
        return frame.with_columns(target_end_date=(pl.col("reference_date") + ahead).cast(pl.Date))
    return frame.with_columns(reference_date=(pl.col("target_end_date") - ahead).cast(pl.Date))


def _text(pl: ModuleType, found: dict[str, str], name: str) -> Any:
    if name not in found:
        return pl.lit(None, pl.String).alias(name)
    return pl.col(found[name]).cast(pl.String).alias(name)


def _date(pl: ModuleType, found: dict[str, str], name: str, dtypes: Any) -> Any:
    if name not in found:
        return pl.lit(None, pl.Date).alias(name)
    column = pl.col(found[name])
    if dtypes[found[name]] == pl.Date:
        return column.alias(name)
    return column.cast(pl.String).str.head(10).str.to_date("%Y-%m-%d", strict=False).alias(name)


def _number(pl: ModuleType, found: dict[str, str], name: str) -> Any:
    """Null where a text is no number; which of them is an error is for the checks to say."""
    return pl.col(found[name]).cast(pl.Float64, strict=False).fill_nan(None).alias(name)

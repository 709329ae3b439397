"""Target data of all output types: numbers, and the observed categories."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.checks import check_names
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.outputs.reading import TASK_COLUMNS, task_columns
from jaxcast.hub.tables.file_groups import ROW
from jaxcast.hub.tables.scan import collected
from jaxcast.hub.tables.target_data import open_targets, target_files
from jaxcast.io.files import check_name
from jaxcast.io.tables import polars

# Columns that are no further task ids; an observation is the same for all rounds and horizons.
FIXED = (*TASK_COLUMNS, "model", "value", "category", "as_of", "output_type", "output_type_id")


def read_output_truth(path: str | Path, *, source: str | None = None) -> Any:
    """Reads target data for forecasts of all output types: the newest release of each value.

    Args:
        path: A .csv or .parquet file, or a folder of such files: a hub's time series, or its oracle
            output, whose rows for a pmf name the category that was observed.
        source: Text in the column of sources, as in `load_hub`.

    Returns:
        A frame of polars with the columns location, target_end_date, target, further columns of
        the table (text), value (a number) and category (text, where the table has categories).

    Raises:
        InputError: for a table that cannot be read, or that has no value.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "oracle-output.csv"
        >>> header = "location,target_end_date,target,output_type,output_type_id,oracle_value"
        >>> rows = ["X,2024-01-06,level,pmf,low,0", "X,2024-01-06,level,pmf,high,1", "X,2024-01-06,rate,mean,NA,7.5"]
        >>> _ = path.write_text("\\n".join([header, *rows]))
        >>> jaxcast.hub.read_output_truth(path).select("target", "value", "category").rows()
        [('level', None, 'high'), ('rate', 7.5, None)]
    """
    pl, path = polars(), Path(path)
    check_name(path)
    frames = [_observations(file, keys, source) for file, keys in target_files(path)]
    rows = collected(pl.concat(frames, how="diagonal"), path)
    rows = rows.filter(pl.col("location").is_not_null() & pl.col("target_end_date").is_not_null())
    key = [name for name in rows.columns if name not in ("value", "category", "as_of", "output_type", "output_type_id")]
    rows = _of_each_release(_categorised(rows), key, path)
    rows = rows.sort("as_of", nulls_last=False, maintain_order=True).unique(key, keep="last", maintain_order=True)
    rows = rows.drop("as_of")
    rows = rows.filter(pl.col("value").is_not_null() | pl.col("category").is_not_null())
    if not len(rows):
        raise InputError(f"the truth in {shown(path)} has no value with a location and a date; give other target data")
    return rows


def _observations(path: Path, keys: Mapping[str, str], source: str | None) -> Any:
    """Returns a lazy frame of one file."""
    pl = polars()
    frame, cells = open_targets(path, keys, source)
    taken = {*cells.found.values(), *FIXED, ROW}
    extra = [name for name in cells.dtypes.names() if name not in taken and not cells.dtypes[name].is_nested()]
    id_ = pl.col("output_type_id") if "output_type_id" in cells.dtypes else pl.lit(None)
    return frame.select(
        cells.text("location"),
        cells.date("date").alias("target_end_date"),
        cells.text("target"),
        *(pl.col(name).cast(pl.String) for name in extra),
        (cells.text("type").str.to_lowercase() if "type" in cells.found else pl.lit("")).alias("output_type"),
        id_.cast(pl.String).alias("output_type_id"),
        cells.day("as_of"),
        cells.number("value"),
        cells.text("value").alias("category"),
    )


def _categorised(rows: Any) -> Any:
    """Returns rows of values and of observed categories; an oracle's rows of a cdf are dropped."""
    pl = polars()
    is_pmf, is_observed = pl.col("output_type") == "pmf", pl.col("value") == 1
    rows = rows.filter((pl.col("output_type") != "cdf") & (~is_pmf | is_observed))
    is_word = ~is_pmf & pl.col("value").is_null() & ~pl.col("category").str.to_lowercase().is_in(("na", "nan"))
    category = pl.when(is_pmf).then(pl.col("output_type_id")).when(is_word).then(pl.col("category")).otherwise(None)
    return rows.with_columns(value=pl.when(is_pmf).then(None).otherwise(pl.col("value")), category=category)


def _of_each_release(rows: Any, key: list[str], path: Path) -> Any:
    """Returns one row for each key and release; an oracle's output has one for each output type."""
    pl = polars()
    either = pl.col("value", "category").drop_nulls()
    rows = rows.group_by(*key, "as_of", maintain_order=True).agg(
        either.first(), either.n_unique().name.suffix(" count")
    )
    twice = rows.filter((pl.col("value count") > 1) | (pl.col("category count") > 1))
    if len(twice):
        first = twice.row(0, named=True)
        raise InputError(
            f"the truth in {shown(path)} has several values for {shown(first['location'])} on "
            f"{first['target_end_date']} ({counted(len(twice), 'such date')}); keep one release by its source"
        )
    return rows.drop("value count", "category count")


def cut_into_categories(
    truth: Any, target: str, categories: Sequence[str], points: Sequence[float | int], *, of: str
) -> Any:
    """Adds the categories of a target whose categories are ranges of another target's values.

    A value belongs to the category k of which it has reached k cut points: the first category is
    below the first point, and the last is from the last point on.

    Args:
        truth: Target data of `read_output_truth`.
        target: Target of categories.
        categories: Their names, in order.
        points: Cut points between them, increasing; one fewer.
        of: Target whose values are cut.

    Returns:
        The target data, with a row for each value that was cut.

    Raises:
        InputError: for an unknown target, or points that do not increase or are too many or few.

    Example:
        >>> import jaxcast, polars as pl
        >>> truth = pl.DataFrame(
        ...     {"location": "X", "target_end_date": ["2024-01-06", "2024-01-13"], "target": "rate",
        ...      "value": [1.5, 2.5], "category": pl.Series([None, None], dtype=pl.String)}
        ... )
        >>> with_levels = jaxcast.hub.cut_into_categories(truth, "level", ["low", "high"], [2.5], of="rate")
        >>> with_levels.filter(target="level")["category"].to_list()
        ['low', 'high']
    """
    pl = polars()
    if len(points) != len(categories) - 1 or not (np.diff(np.asarray(points, float)) > 0).all():
        raise InputError(
            f"expected {len(categories) - 1} cut points between {len(categories)} categories, increasing, got "
            f"{shown(list(points))}"
        )
    check_names("target", [of], truth["target"].drop_nulls().unique())
    rows = truth.filter((pl.col("target") == of) & pl.col("value").is_not_null())
    index = np.searchsorted(np.asarray(points, float), rows["value"].to_numpy(), side="right")
    names = pl.Series("category", [categories[i] for i in index], dtype=pl.String)
    cut = rows.with_columns(pl.lit(target).alias("target"), pl.lit(None, pl.Float64).alias("value"), names)
    return pl.concat([truth.filter(~(pl.col("target") == target).fill_null(False)), cut], how="vertical_relaxed")


def with_truth(rows: Any, truth: Any) -> Any:
    """Adds to each row its truth and the observed category, null where they are not known (yet).

    Args:
        rows: Rows of `Outputs`.
        truth: Target data of `read_output_truth`.

    Returns:
        The rows, with columns truth and category.

    Raises:
        InputError: where the truth has two values for a task.
    """
    pl = polars()
    key = [name for name in task_columns(rows) if name in truth.columns and truth[name].null_count() < len(truth)]
    truth = truth.select(*key, pl.col("value").alias("truth"), "category").unique()
    twice = truth.select(key).is_duplicated()
    if twice.any():
        first = truth.filter(twice).row(0, named=True)
        raise InputError(
            f"the truth has {counted(int(twice.sum()), 'row')} of the same task, such as "
            f"{shown(', '.join(str(first[name]) for name in key))}; keep one of them"
        )
    return rows.join(truth, on=key, how="left", nulls_equal=True)

"""Quantiles of samples, in whose place they are pooled and scored."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from jaxcast.checks import check_choice, check_number, check_whole
from jaxcast.errors import InputError, counted
from jaxcast.hub.outputs.pools import rows_to_pool
from jaxcast.hub.outputs.reading import Outputs, counted_by_model
from jaxcast.io.tables import polars

Method = Literal["median_unbiased", "linear"]
HUB_LEVELS = (0.01, 0.025, *(round(0.05 * i, 2) for i in range(1, 20)), 0.975, 0.99)


def quantiles_of_samples(
    rows: Any,
    levels: Sequence[float] = HUB_LEVELS,
    *,
    method: Method = "median_unbiased",
    least: int = 2,
) -> Outputs:
    """Returns the quantiles of samples, task by task, to be pooled and scored as such.

    Args:
        rows: Rows of `read_outputs`; those of other types are ignored.
        levels: Levels of the quantiles; by default the 23 of the COVID-19 and influenza hubs.
        method: "median_unbiased", whose expected rank is right whatever the distribution (type 8
            of Hyndman and Fan); "linear" (type 7) is the rule of numpy and R, whose outer quantiles
            of few samples are too narrow.
        least: Fewest samples from which quantiles are made.

    Returns:
        A row of the output type quantile for each task and level, and what was not used: tasks of
        too few samples.

    Raises:
        InputError: where there are no samples, or for levels outside 0 to 1.

    Source:
        Hyndman and Fan, Am. Stat. 50, 361-365 (1996).

    Example:
        >>> import jaxcast, polars as pl
        >>> task = {"location": "X", "reference_date": "2024-01-06", "horizon": 1, "target": "cases"}
        >>> rows = pl.DataFrame(
        ...     [{"model": "a", **task, "output_type": "sample", "output_type_id": str(i), "value": float(i)}
        ...      for i in range(1, 10)]
        ... )
        >>> quantiles = jaxcast.hub.quantiles_of_samples(rows, [0.25, 0.5])
        >>> [(level, round(value, 3)) for level, value in quantiles.rows.select("output_type_id", "value").rows()]
        [('0.25', 2.667), ('0.5', 5.0)]
    """
    pl = polars()
    check_choice("method", method, get_args(Method))
    check_whole("least", least)
    for level in levels:
        check_number("a level", level, above=0, most=1)
    rows, tasks, dropped = rows_to_pool(rows, "sample", None)
    origin = [name for name in ("file", "row") if name in rows.columns]
    made, few = _quantiles(rows, ["model", *tasks], origin, sorted(levels), method, least)
    if not len(made):
        raise InputError(f"no task has {counted(least, 'sample')}; read more samples, or ask for fewer")
    kind = pl.lit("quantile").alias("output_type")
    ids = pl.col("quantile").map_elements("{:.6g}".format, return_dtype=pl.String).alias("output_type_id")
    frame = made.select("model", *tasks, kind, ids, "value", *origin)
    return Outputs(frame.sort("model", *tasks, maintain_order=True), (*dropped, *few))


def _quantiles(
    rows: Any, key: list[str], others: list[str], levels: Sequence[float], method: Method, least: int
) -> tuple[Any, list[str]]:
    """Returns a row for each forecast and level, with the other columns, and what is left out."""
    pl = polars()
    groups = rows.group_by(key, maintain_order=True).agg("value", *(pl.col(name).first() for name in others))
    groups = groups.with_columns(size=pl.col("value").list.len())
    few = groups.filter(pl.col("size") < least)
    dropped = counted_by_model(few, "task", f"with fewer than {counted(least, 'sample')}")
    made = [groups.clear().drop("size").with_columns(quantile=pl.lit(0.0), value=pl.lit(0.0))]
    for _, batch in groups.filter(pl.col("size") >= least).group_by("size", maintain_order=True):
        values = batch["value"].explode().to_numpy().reshape(len(batch), -1)
        quantiles = np.quantile(values, levels, axis=1, method=method)
        of_levels = pl.concat_list([pl.lit(float(level)) for level in levels])
        frame = batch.drop("size").with_columns(
            quantile=of_levels, value=pl.Series(quantiles.T, dtype=pl.List(pl.Float64))
        )
        made.append(frame.explode("quantile", "value").select(made[0].columns))
    return pl.concat(made), dropped


def in_place_of_samples(rows: Any, levels: Sequence[float] | None) -> tuple[Any, list[str]]:
    """Replaces samples by their quantiles, where a forecast has none of its own.

    Args:
        rows: Rows of `scan_forecasts` of one target and horizon, with the column sample.
        levels: Levels of the quantiles; by default those of the other rows, or else the 23 of the
            COVID-19 and influenza hubs.

    Returns:
        The rows, without the column sample; and lines on the samples beside quantiles, those whose
        quantiles are taken, and those that are too few.
    """
    pl = polars()
    key = ["model", "location", "target_end_date"]
    is_sample = pl.col("sample").is_not_null() & pl.col("fault").is_null()
    quantiles, samples = rows.filter(~is_sample), rows.filter(is_sample)
    own = quantiles.filter(pl.col("quantile").is_not_null())
    beside = samples.join(own, on=key, how="semi")
    dropped = _counted(beside, key, "beside its quantiles, which are used")
    samples = samples.join(own, on=key, how="anti")
    is_first = samples.select(pl.struct(*key, "sample").is_first_distinct()).to_series()
    again = samples.filter(~is_first).with_columns(fault=pl.lit("output_type_id", samples.schema["fault"]))
    samples = samples.filter(is_first)
    dropped += _counted(samples, key, "in whose place their quantiles are used")
    if levels is None:
        levels = own["quantile"].round(6).unique().sort().to_list() or HUB_LEVELS
    others = [name for name in rows.columns if name not in (*key, "sample", "quantile", "value")]
    made, few = _quantiles(samples, key, others, sorted(levels), "median_unbiased", 2)
    kept = quantiles.drop("sample")
    return pl.concat([kept, *(frame.select(kept.columns) for frame in (made, again))]), [*dropped, *few]


def _counted(samples: Any, key: list[str], what: str) -> list[str]:
    """Returns a line for each model with the number of its forecasts of samples."""
    return [f"samples of {line}" for line in counted_by_model(samples.select(key).unique(), "forecast", what)]

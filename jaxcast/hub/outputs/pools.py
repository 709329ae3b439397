"""Linear pools of pmf, cdf and means, and medians of medians, on rows in the hubverse form."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcast.checks import check_names, check_number
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.outputs.reading import Outputs, counted_by_model, task_columns
from jaxcast.io.tables import polars

TOLERANCE = 1e-3
"""How far probabilities may be from a sum of 1, or a cdf may fall; rounded ones are this far off."""


def pool_pmf(
    rows: Any,
    *,
    categories: Sequence[str] | None = None,
    weights: Mapping[str, float | int] | None = None,
    model: str = "pool",
) -> Outputs:
    """Pools probabilities of categories: the weighted mean of the models' probabilities.

    Each model's probabilities are first divided by their sum. A pool of the models that forecast a
    task has weights that sum to 1 over these.

    Args:
        rows: Rows of `read_outputs`; those of other types are ignored.
        categories: Names of all categories, in their order; by default those of all rows of the
            target, in the order in which they first appear.
        weights: Weight of each model; by default equal.
        model: Name of the pool.

    Returns:
        A row for each task and category, and what was not used: forecasts that lack a category, or
        have an unknown one, a negative value, or a sum other than 1.

    Raises:
        InputError: where nothing can be pooled, for no categories or one twice, or for weights of
            unknown models or below 0.

    Example:
        >>> import jaxcast, polars as pl
        >>> task = {"location": "X", "reference_date": "2024-01-06", "horizon": 1, "target": "level"}
        >>> rows = pl.DataFrame(
        ...     [{"model": m, **task, "output_type": "pmf", "output_type_id": c, "value": p}
        ...      for m, high in (("a", 0.25), ("b", 0.75)) for c, p in (("low", 1 - high), ("high", high))]
        ... )
        >>> pooled = jaxcast.hub.pool_pmf(rows, weights={"a": 1, "b": 3})
        >>> dict(pooled.rows.select("output_type_id", "value").rows())
        {'low': 0.375, 'high': 0.625}
    """
    pl = polars()
    rows, tasks, dropped = rows_to_pool(rows, "pmf", weights)
    order = _categories(rows, categories)
    forecast = ["model", *tasks]
    rows = rows.join(order, on=["target", "output_type_id"], how="left", nulls_equal=True)
    wanted = order.group_by("target").agg(pl.len().alias("wanted"))
    rows = rows.join(wanted, on="target", how="left", nulls_equal=True)
    total = pl.col("value").sum().over(forecast)
    is_good = (
        (pl.col("rank").count().over(forecast) == pl.col("wanted"))
        & (pl.len().over(forecast) == pl.col("wanted"))
        & (pl.col("value").min().over(forecast) >= -TOLERANCE)
        & ((total - 1).abs() <= TOLERANCE)
    )
    rows = _usable(rows, forecast, is_good, "lack a category, have an unknown one, or do not sum to 1", dropped)
    rows = rows.with_columns(value=pl.col("value").clip(0))
    rows = rows.with_columns(value=pl.col("value") / total)
    pooled = _mean(rows, [*tasks, "rank", "output_type_id"]).sort(*tasks, "rank")
    return _outputs(pooled, tasks, "pmf", model, dropped)


def pool_cdf(rows: Any, *, weights: Mapping[str, float | int] | None = None, model: str = "pool") -> Outputs:
    """Pools distribution functions at given points: the weighted mean of the models' functions.

    Args:
        rows: Rows of `read_outputs`; those of other types are ignored.
        weights: Weight of each model; by default equal.
        model: Name of the pool.

    Returns:
        A row for each task and point, and what was not used: forecasts that lack a point that
        others of the target have, or that fall, or leave 0 to 1.

    Raises:
        InputError: where nothing can be pooled, or for weights of unknown models or below 0.

    Example:
        >>> import jaxcast, polars as pl
        >>> task = {"location": "X", "reference_date": "2024-01-06", "horizon": 1, "target": "rate"}
        >>> rows = pl.DataFrame(
        ...     [{"model": m, **task, "output_type": "cdf", "output_type_id": str(x), "value": p}
        ...      for m, low in (("a", 0.25), ("b", 0.75)) for x, p in ((5, low), (10, 1.0))]
        ... )
        >>> jaxcast.hub.pool_cdf(rows).rows.select("output_type_id", "value").rows()
        [('5', 0.5), ('10', 1.0)]
    """
    pl = polars()
    rows, tasks, dropped = rows_to_pool(rows, "cdf", weights)
    forecast = ["model", *tasks]
    rows = rows.with_columns(point=pl.col("output_type_id").cast(pl.Float64, strict=False))
    rows = rows.sort(*forecast, "point", "output_type_id")  # points that are not numbers, such as weeks, sort as text
    wanted = pl.col("output_type_id").n_unique().over("target")
    is_good = (
        (pl.len().over(forecast) == wanted)
        & (pl.col("value").min().over(forecast) >= -TOLERANCE)
        & (pl.col("value").max().over(forecast) <= 1 + TOLERANCE)
        & (pl.col("value").diff().min().over(forecast).fill_null(0) >= -TOLERANCE)
    )
    rows = _usable(rows, forecast, is_good, "lack a point, fall, or leave 0 to 1", dropped)
    rows = rows.with_columns(value=pl.col("value").clip(0, 1).cum_max().over(forecast))
    pooled = _mean(rows, [*tasks, "point", "output_type_id"]).sort(*tasks, "point", "output_type_id")
    return _outputs(pooled, tasks, "cdf", model, dropped)


def pool_means(rows: Any, *, weights: Mapping[str, float | int] | None = None, model: str = "pool") -> Outputs:
    """Pools means: their weighted mean, which is the mean of the linear pool of the distributions.

    Args:
        rows: Rows of `read_outputs`; those of other types are ignored.
        weights: Weight of each model; by default equal.
        model: Name of the pool.

    Returns:
        A row for each task.

    Raises:
        InputError: where nothing can be pooled, or for weights of unknown models or below 0.

    Example:
        >>> import jaxcast, polars as pl
        >>> task = {"location": "X", "reference_date": "2024-01-06", "horizon": 1, "target": "cases"}
        >>> rows = pl.DataFrame(
        ...     [{"model": m, **task, "output_type": "mean", "output_type_id": None, "value": v}
        ...      for m, v in (("a", 1.0), ("b", 5.0))]
        ... )
        >>> jaxcast.hub.pool_means(rows).rows["value"].to_list()
        [3.0]
    """
    rows, tasks, dropped = rows_to_pool(rows, "mean", weights)
    return _outputs(_mean(rows, tasks).sort(tasks), tasks, "mean", model, dropped)


def pool_medians(rows: Any, *, weights: Mapping[str, float | int] | None = None, model: str = "pool") -> Outputs:
    """Pools medians: their weighted median, which an outlier hardly moves.

    It is the value that has half of the weight on either side, and the middle of two where half of
    the weight is exactly below. With equal weights it is the ordinary median.

    Args:
        rows: Rows of `read_outputs`; those of other types are ignored.
        weights: Weight of each model; by default equal.
        model: Name of the pool.

    Returns:
        A row for each task.

    Raises:
        InputError: where nothing can be pooled, or for weights of unknown models or below 0.

    Example:
        >>> import jaxcast, polars as pl
        >>> task = {"location": "X", "reference_date": "2024-01-06", "horizon": 1, "target": "cases"}
        >>> rows = pl.DataFrame(
        ...     [{"model": m, **task, "output_type": "median", "output_type_id": None, "value": v}
        ...      for m, v in (("a", 1.0), ("b", 5.0), ("c", 1000.0))]
        ... )
        >>> jaxcast.hub.pool_medians(rows).rows["value"].to_list()
        [5.0]
    """
    pl = polars()
    rows, tasks, dropped = rows_to_pool(rows, "median", weights)
    rows = rows.sort(*tasks, "value", "model")
    below = pl.col("weight").cum_sum().over(tasks) / pl.col("weight").sum().over(tasks)
    rows = rows.with_columns(below=below)
    lower = pl.col("value").filter(pl.col("below") >= 0.5 - 1e-9).first()
    upper = pl.col("value").filter(pl.col("below") > 0.5 + 1e-9).first()
    pooled = rows.group_by(tasks).agg(value=(lower + upper) / 2).sort(tasks)
    return _outputs(pooled, tasks, "median", model, dropped)


def rows_to_pool(rows: Any, kind: str, weights: Mapping[str, float | int] | None) -> tuple[Any, list[str], list[str]]:
    """Finds the rows of one output type.

    Args:
        rows: Rows of `Outputs`.
        kind: The output type.
        weights: Weight of each model; None for equal ones.

    Returns:
        Those with a value, with a column weight, of models with a positive one; the names of the
        columns that distinguish tasks; and a list of what is not used.

    Raises:
        InputError: where there are no rows, and for weights of unknown models, below 0, or all 0.
    """
    pl = polars()
    tasks, dropped = task_columns(rows), list[str]()
    rows = rows.lazy().filter(pl.col("output_type") == kind).with_columns(pl.col("value").cast(pl.Float64))
    rows = rows.filter(pl.col("value").is_finite()).collect()
    if not len(rows):
        raise InputError(f"there is no {kind} to pool; read rows of this output type")
    if weights is None:
        return rows.with_columns(weight=pl.lit(1.0)), tasks, dropped
    known = rows["model"].unique().sort().to_list()
    check_names("model", weights, known)
    for name, weight in weights.items():
        check_number(f"the weight of {shown(name)}", weight, least=0)
    unused = [name for name in known if not weights.get(name, 0)]
    if len(unused) == len(known):
        raise InputError("every weight is 0; give at least one model a positive weight")
    if unused:
        dropped.append(f"{counted(len(unused), 'model')} without weight: {shown(', '.join(unused))}")
    given = pl.DataFrame({"model": list(weights), "weight": np.asarray(list(weights.values()), float)})
    return rows.join(given, on="model").filter(pl.col("weight") > 0), tasks, dropped


def _categories(rows: Any, categories: Sequence[str] | None) -> Any:
    """Returns the rank of each category of each target."""
    pl = polars()
    if categories is None:
        found = rows.select("target", "output_type_id").unique(maintain_order=True)
        return found.with_columns(rank=pl.int_range(pl.len()).over("target"))
    if not len(categories) or len(set(categories)) < len(categories):
        raise InputError(f"expected different categories, at least one, got {shown(list(categories))}")
    ranks = pl.DataFrame({"output_type_id": list(categories)}).with_row_index("rank")
    return rows.select("target").unique().join(ranks, how="cross")


def _usable(rows: Any, forecast: list[str], is_good: Any, fault: str, dropped: list[str]) -> Any:
    """Returns the rows of good forecasts; counts those of each model that are left out."""
    pl = polars()
    rows = rows.with_columns(is_good=is_good.fill_null(False))
    bad = rows.filter(~pl.col("is_good")).select(forecast).unique()
    if len(bad) and not rows["is_good"].any():
        raise InputError(f"nothing is left to pool: all forecasts {fault}")
    dropped += counted_by_model(bad, "forecast", f"that {fault}")
    return rows.filter("is_good")


def _mean(rows: Any, by: list[str]) -> Any:
    pl = polars()
    weighted = (pl.col("weight") * pl.col("value")).sum() / pl.col("weight").sum()
    return rows.group_by(by).agg(value=weighted)


def _outputs(pooled: Any, tasks: list[str], kind: str, model: str, dropped: list[str]) -> Outputs:
    """Returns pooled values as rows in the form of `read_outputs`."""
    pl = polars()
    id_ = pl.col("output_type_id") if "output_type_id" in pooled.columns else pl.lit(None, pl.String)
    rows = pooled.select(
        pl.lit(model).alias("model"), *tasks, pl.lit(kind).alias("output_type"), id_.alias("output_type_id"), "value"
    )
    return Outputs(rows, tuple(dropped))

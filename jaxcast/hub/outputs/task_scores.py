"""Scores of each forecast of each output type, on rows with their truth."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxcast.errors import counted, shown
from jaxcast.hub.outputs.pools import TOLERANCE
from jaxcast.hub.outputs.reading import counted_by_model
from jaxcast.hub.outputs.samples import compound_columns, whole_trajectories
from jaxcast.hub.task_scores import NOMINAL
from jaxcast.io.tables import polars
from jaxcast.scores.crps import crps_samples
from jaxcast.scores.paths import energy_score
from jaxcast.scores.probabilities import crps_cdf, log_score, ranked_probability_score
from jaxcast.scores.quantiles import interval_coverage, weighted_interval_score

# Compiled, as the operations one by one would be for every number of tasks.
_crps_samples, _crps_cdf, _energy = jax.jit(crps_samples), jax.jit(crps_cdf), jax.jit(energy_score)
_rps, _log = jax.jit(ranked_probability_score), jax.jit(log_score, static_argnames="floor")

# Scores by name of an array of forecasts (task, id) and their truths (task,).
Scored = dict[str, np.ndarray]


def quantile_scores(rows: Any, tasks: list[str], dropped: list[str]) -> Any:
    """Returns the WIS of quantiles and whether intervals cover the truth.

    Forecasts of other levels than most, or whose quantiles cross, are left out.

    Args:
        rows: Rows of one target and of the type quantile, with column truth.
        tasks: Names of the columns that distinguish tasks.
        dropped: List to which a line on what is left out is added.

    Returns:
        Columns model, the task's, score (its name) and value.
    """
    pl = polars()
    rows = rows.with_columns(label=pl.col("output_type_id").cast(pl.Float64))
    forecasts = _common_labels(_forecasts(rows, tasks), "levels", dropped)

    def scores(values: np.ndarray, truth: np.ndarray, labels: list[float]) -> Scored:
        levels = np.asarray(labels)
        found = {"wis": np.asarray(weighted_interval_score(values, truth, levels).wis)}
        for nominal in NOMINAL:
            ends = np.asarray([(1 - nominal) / 2, (1 + nominal) / 2])
            if (np.abs(levels[:, None] - ends).min(0) < 1e-6).all():
                covered = interval_coverage(values, truth, levels, nominal=nominal)
                found[f"coverage{nominal * 100:g}"] = np.asarray(covered)
        return found

    falls = pl.col("value").list.diff(null_behavior="drop").list.min()
    is_good = falls.is_null() | (falls >= -1e-6 * (1 + pl.col("value").list.eval(pl.element().abs()).list.max()))
    return _scored(_good(forecasts, is_good, "crossing quantiles", dropped), tasks, scores)


def sample_scores(rows: Any, tasks: list[str]) -> Any:
    """Returns the CRPS of samples.

    Args:
        rows: Rows of one target and of the type sample, with column truth.
        tasks: Names of the columns that distinguish tasks.

    Returns:
        Columns model, the task's, score (its name) and value.
    """
    pl = polars()
    rows = rows.with_columns(label=pl.int_range(pl.len()).over("model", *tasks).cast(pl.Float64))
    return _scored(
        _forecasts(rows, tasks), tasks, lambda values, truth, _: {"crps": np.asarray(_crps_samples(values.T, truth))}
    )


def pmf_scores(
    rows: Any, tasks: list[str], dropped: list[str], categories: Sequence[str] | None, floor: float | int
) -> Any:
    """Returns the logarithmic score of probabilities, and the ranked one of ordered categories.

    Forecasts that lack a category or do not sum to 1 are left out.

    Args:
        rows: Rows of one target and of the type pmf, with the observed one in the column category.
        tasks: Names of the columns that distinguish tasks.
        dropped: List to which a line on what is left out is added.
        categories: Names of the categories in their order; None where they have none.
        floor: Least probability that the logarithmic score takes into account.

    Returns:
        Columns model, the task's, score (its name) and value.
    """
    pl = polars()
    known = list(categories) if categories is not None else sorted(rows["output_type_id"].unique())
    rank = {name: float(i) for i, name in enumerate(known)}
    rows = rows.with_columns(
        label=pl.col("output_type_id").replace_strict(rank, default=None, return_dtype=pl.Float64),
        truth=pl.col("category").replace_strict(rank, default=None, return_dtype=pl.Float64),
    )
    unknown = rows.filter(pl.col("truth").is_null())
    if len(unknown):
        names = ", ".join(unknown["category"].unique().sort())
        dropped.append(
            f"{counted(unknown.select(tasks).n_unique(), 'task')} whose truth is no category ({shown(names)})"
        )
        rows = rows.filter(pl.col("truth").is_not_null())
    forecasts = _forecasts(rows, tasks)
    is_whole = (pl.col("label").list.len() == len(known)) & (
        pl.col("label").list.drop_nulls().list.n_unique() == len(known)
    )
    forecasts = _good(forecasts, is_whole, "missing or unknown categories", dropped)
    is_good = ((pl.col("value").list.sum() - 1).abs() <= TOLERANCE) & (pl.col("value").list.min() >= -TOLERANCE)
    forecasts = _good(forecasts, is_good, "probabilities that do not sum to 1", dropped)

    def scores(values: np.ndarray, truth: np.ndarray, _: list[float]) -> Scored:
        values = np.maximum(values, 0)
        values /= values.sum(1, keepdims=True)
        log = {"log": np.asarray(_log(values, truth, floor=floor))}
        return log if categories is None else {"rps": np.asarray(_rps(values, truth))} | log

    return _scored(forecasts, tasks, scores)


def cdf_scores(rows: Any, tasks: list[str], dropped: list[str]) -> Any:
    """Returns the CRPS of distribution functions at points; `crps_cdf` says what is between them.

    Forecasts at other points than most, or that fall, are left out.

    Args:
        rows: Rows of one target and of the type cdf, with column truth.
        tasks: Names of the columns that distinguish tasks.
        dropped: List to which a line on what is left out is added.

    Returns:
        Columns model, the task's, score (its name) and value.
    """
    pl = polars()
    rows = rows.with_columns(label=pl.col("output_type_id").cast(pl.Float64, strict=False))
    words = rows.filter(pl.col("label").is_null())
    if len(words):
        dropped.append(f"{counted(len(words), 'row')} of a cdf at points that are not numbers")
    forecasts = _common_labels(_forecasts(rows.filter(pl.col("label").is_not_null()), tasks), "points", dropped)
    falls = pl.col("value").list.diff(null_behavior="drop").list.min().fill_null(0)
    is_good = (falls >= -TOLERANCE) & (pl.col("value").list.min() >= -TOLERANCE)
    is_good &= pl.col("value").list.max() <= 1 + TOLERANCE

    def scores(values: np.ndarray, truth: np.ndarray, labels: list[float]) -> Scored:
        rising = np.maximum.accumulate(np.clip(values, 0, 1), 1)
        return {"crps": np.asarray(_crps_cdf(rising, truth, np.asarray(labels)))}

    return _scored(_good(forecasts, is_good, "a cdf that falls or leaves 0 to 1", dropped), tasks, scores)


def point_scores(rows: Any, tasks: list[str], score: str) -> Any:
    """Returns the errors of means or medians.

    Args:
        rows: Rows of one target and type, with column truth.
        tasks: Names of the columns that distinguish tasks.
        score: "squared_error", which means minimise, or "absolute_error", which medians do.

    Returns:
        Columns model, the task's, score (its name) and value.
    """
    pl = polars()
    error = pl.col("value") - pl.col("truth")
    value = error**2 if score == "squared_error" else error.abs()
    return rows.select("model", *tasks, pl.lit(score).alias("score"), value.alias("value"))


def energy_scores(rows: Any, tasks: list[str], compound: Sequence[str], dropped: list[str]) -> Any:
    """Returns the energy score of the trajectories of each compound task whose truth is complete.

    Args:
        rows: Rows of one target and of the type sample, with column truth, null where it is not
            known.
        tasks: Names of the columns that distinguish tasks.
        compound: Task ids that are the same in a trajectory; see `pool_samples`.
        dropped: List to which a line on trajectories that are left out is added.

    Returns:
        Columns model, those of the compound task, over (the tasks that the trajectories go over,
        as text: scores over others are not comparable), score and value.
    """
    pl = polars()
    unit = compound_columns(tasks, compound)
    within = [name for name in tasks if name not in unit]
    known = rows.filter(pl.col("truth").is_not_null().all().over(unit))
    known = whole_trajectories(known, unit, within, dropped)
    of = ["model", *unit]
    known = known.sort(*of, "output_type_id", *within)
    paths = known.group_by(*of, "output_type_id", maintain_order=True).agg(
        "value", "truth", _words(within).alias("over")
    )
    units = paths.group_by(of, maintain_order=True).agg(
        "value", pl.col("truth", "over").first(), pl.len().alias("size")
    )
    units = units.with_columns(pl.col("over").list.join("; "), leads=pl.col("truth").list.len())
    frames = []
    for _, batch in units.group_by("size", "leads", maintain_order=True):
        padded = _padded(len(batch))
        truth = batch["truth"].explode().to_numpy().reshape(len(batch), -1)
        draws = batch["value"].explode().explode().to_numpy().reshape(len(batch), -1, truth.shape[1])
        score = np.asarray(_energy(draws[padded].swapaxes(0, 1), truth[padded]))[: len(batch)]
        frames.append(batch.select(*of, "over", pl.lit("energy").alias("score"), pl.Series("value", score, pl.Float64)))
    return pl.concat(frames) if frames else None


def _words(names: list[str]) -> Any:
    """Returns the values of some columns as one text."""
    pl = polars()
    if not names:
        return pl.lit("").repeat_by(pl.len())
    return pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in names], separator=" ")


def _forecasts(rows: Any, tasks: list[str]) -> Any:
    """Returns a row for each forecast, with its labels in order and its values as lists."""
    pl = polars()
    rows = rows.sort("model", *tasks, "label")
    return rows.group_by("model", *tasks, maintain_order=True).agg("label", "value", pl.col("truth").first())


def _common_labels(forecasts: Any, noun: str, dropped: list[str]) -> Any:
    """Keeps the forecasts with the labels that most have."""
    pl = polars()
    text = forecasts.select(pl.col("label").cast(pl.List(pl.String)).list.join(" ")).to_series()
    counts = text.value_counts(sort=True)
    if not len(counts):
        return forecasts
    most = counts.filter(pl.col("count") == counts["count"][0])[text.name].sort()[0]
    return _good(forecasts, pl.lit(text == most), f"other {noun} than most", dropped)


def _good(forecasts: Any, is_good: Any, fault: str, dropped: list[str]) -> Any:
    """Returns the good forecasts; counts those of each model that are left out."""
    pl = polars()
    forecasts = forecasts.with_columns(is_good=is_good)
    dropped += counted_by_model(forecasts.filter(~pl.col("is_good")), "forecast", f"with {fault}")
    return forecasts.filter("is_good").drop("is_good")


def _scored(forecasts: Any, tasks: list[str], scores: Callable[[np.ndarray, np.ndarray, list[float]], Scored]) -> Any:
    """Returns the scores of forecasts, those with equally many values at once."""
    pl = polars()
    schema = {"model": pl.String, **{name: forecasts.schema[name] for name in tasks}, "score": pl.String}
    frames = [pl.DataFrame(schema=schema | {"value": pl.Float64})]
    for batch in _batches(forecasts):
        padded = _padded(len(batch))
        values = batch["value"].explode().to_numpy().reshape(len(batch), -1)[padded]
        truth = batch["truth"].to_numpy()[padded]
        found = scores(values, truth.astype(float), batch["label"][0].to_list())
        frames += [
            batch.select(
                "model", *tasks, pl.lit(name).alias("score"), pl.Series("value", score[: len(batch)], pl.Float64)
            )
            for name, score in found.items()
        ]
    return pl.concat(frames)


def _batches(forecasts: Any) -> Iterator[Any]:
    pl = polars()
    sized = forecasts.with_columns(size=pl.col("value").list.len())
    for _, batch in sized.group_by("size", maintain_order=True):
        yield batch


def _padded(number: int) -> np.ndarray:
    """Returns indices of tasks, the last repeated up to a power of two, to compile few sizes."""
    return np.minimum(np.arange(max(16, 1 << (number - 1).bit_length())), number - 1)

"""Means of the scores of output types, of all tasks or of groups of tasks."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxcast.checks import check_names
from jaxcast.io.tables import polars
from jaxcast.scores.relative import relative_score

_relative_score = jax.jit(relative_score, static_argnames="baseline")
NOT_TASKS = ("model", "output_type", "score", "value", "over")


def grouped_tables(tasks: Any, columns: Sequence[str], baseline: str | None) -> list[dict[str, Any]]:
    """Returns the mean scores of each model, in each group of tasks of each output type and target.

    Args:
        tasks: Scores of all tasks, `OutputScores.tasks`.
        columns: Columns in which the tasks of a group are equal.
        baseline: Model whose relative score is 1, where it has the type.

    Returns:
        Rows with output_type, target, the columns, method and the scores.

    Raises:
        InputError: for columns that are none of the task's.
    """
    pl = polars()
    if not tasks.columns:  # no truth is known yet
        return []
    names = [name for name in tasks.columns if name not in NOT_TASKS]
    columns = check_names("column", columns, names)
    units = [name for name in tasks.columns if name not in ("model", "score", "value")]
    rows = []
    for (kind, target), of_type in tasks.sort(columns).group_by("output_type", "target", maintain_order=True):
        energy = of_type.filter(pl.col("score") == "energy")
        has_energy = len(energy) and not any(energy.select(columns).null_count().row(0))
        others = of_type.filter(pl.col("score") != "energy")
        for key, group in others.group_by(columns, maintain_order=True):
            values = dict(zip(columns, key, strict=True))
            of_group = [pl.col(name).eq_missing(pl.lit(value)) for name, value in values.items()]
            own = energy.filter(*of_group).select("model", *units, "score", "value") if has_energy else energy.clear()
            facts = {"output_type": kind, "target": target} | {
                name: value if value is None or isinstance(value, int) else str(value) for name, value in values.items()
            }
            rows += [facts | row for row in mean_scores(group, own if len(own) else None, names, baseline)]
    return rows


def mean_scores(scores: Any, energy: Any, tasks: list[str], baseline: str | None) -> list[dict[str, Any]]:
    """Returns a row of mean scores for each model.

    Args:
        scores: Scores of the tasks of one output type and target.
        energy: Energy scores of its compound tasks; None where there are none.
        tasks: Names of the columns that distinguish tasks.
        baseline: Model whose relative score is 1, where it is among them.
    """
    pl = polars()
    names = scores["score"].unique(maintain_order=True).to_list()
    models = scores["model"].unique().sort().to_list()
    first = _matrix(scores.filter(pl.col("score") == names[0]), tasks, models)
    relative, there = _relative(first, models, baseline), np.isfinite(first)
    if energy is not None:
        units = [name for name in energy.columns if name not in ("model", "score", "value")]
        of_energy = _matrix(energy, units, models)
        relative_energy = _relative(of_energy, models, baseline)
    rows = []
    for i, model in enumerate(models):
        row: dict[str, Any] = {"method": model}
        for name in names:
            row[name] = scores.filter((pl.col("model") == model) & (pl.col("score") == name))["value"].mean()
        row["relative"] = relative[i]
        if energy is not None:
            row["energy"] = energy.filter(pl.col("model") == model)["value"].mean()
            row["relative_energy"] = relative_energy[i]
            row["num_compound"] = int(np.isfinite(of_energy[:, i]).sum())
        counts = {"num_tasks": there[:, i].sum(), "num_missing": (~there[:, i]).sum(), "num_common": there.all(1).sum()}
        rows.append(row | {name: int(count) for name, count in counts.items()})
    return rows


def _relative(scores: np.ndarray, models: list[str], baseline: str | None) -> list[float | None]:
    """Returns the relative score of each model; None without a task in common with another."""
    index = models.index(baseline) if baseline in models else None
    empty = np.full((-len(scores) % 64, len(models)), np.nan)  # so that few sizes are compiled
    relative = np.asarray(_relative_score(np.concatenate([scores, empty]), baseline=index).relative)
    return [float(each) if np.isfinite(each) else None for each in relative]


def _matrix(scores: Any, tasks: list[str], models: list[str]) -> np.ndarray:
    """Returns a score as an array (task, model), NaN where a model has none."""
    wide = scores.pivot(on="model", index=tasks, values="value")
    missing = [polars().lit(None, polars().Float64).alias(name) for name in models if name not in wide.columns]
    return np.asarray(wide.with_columns(missing).select(models).to_numpy(), float)

"""Tables of scores: each forecaster over the tasks of a window, and how many tasks these are."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_names, check_whole
from jaxcast.errors import InputError
from jaxcast.hub.arrays import Hub
from jaxcast.hub.task_scores import TaskScores, stacked
from jaxcast.scores.quantiles import weighted_interval_score
from jaxcast.scores.relative import block_bootstrap, diebold_mariano

KEYS = ("location", "horizon", "reference_date", "target_end_date")
"""What the tasks of a group may have in common."""


@checked
def score_forecasters(
    forecasts: Mapping[str, Shaped[ArrayLike, "location time quantile"]],
    truth: Shaped[ArrayLike, "location time"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    baseline: str | None = None,
    common: bool = False,
) -> list[dict[str, Any]]:
    """Scores forecasters, a row for each.

    Args:
        forecasts: Quantiles of each forecaster by name, NaN where there are none.
        truth: Target data, NaN where they are not known.
        levels: Levels of the quantiles.
        baseline: Forecaster whose relative WIS is 1; by default the geometric mean of all.
        common: Whether to score only the tasks of every forecaster that has any.

    Returns:
        Rows with method; wis, its parts dispersion, overprediction and underprediction; log_wis,
        the WIS of logarithms, None for target data below zero; coverage50 and so on, as far as the
        levels allow; relative_wis; num_tasks; num_missing, the tasks with a target that only others
        forecast, of those that count; num_common, the tasks of every forecaster that has any.

    Raises:
        InputError: for no forecaster, quantiles of another shape than target data and levels, an
            unknown baseline, or without a task (of all, if only common ones count).

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = {"a": np.asarray([[[1.0, 2.0, 3.0]]]), "b": np.asarray([[[0.0, 2.0, 4.0]]])}
        >>> rows = jaxcast.hub.score_forecasters(
        ...     forecasts, np.asarray([[2.0]]), np.asarray([0.25, 0.5, 0.75]), baseline="a"
        ... )
        >>> [(row["method"], round(row["wis"], 3), round(row["relative_wis"], 3), row["num_tasks"]) for row in rows]
        [('a', 0.333, 1.0, 1), ('b', 0.667, 2.0, 1)]
    """
    truth, levels = np.asarray(truth, float), np.asarray(levels, float)
    arrays = stacked(forecasts, truth, levels)
    tasks = TaskScores.of(list(forecasts), arrays.reshape(len(arrays), -1, len(levels)), truth.ravel(), levels)
    return tasks.rows(np.zeros(truth.size, int), baseline, common)[0]


@checked
def score_hubs(
    hubs: Sequence[Hub], *, by: Sequence[str] = (), baseline: str | None = None, common: bool = False
) -> list[dict[str, Any]]:
    """Scores the models of a hub over several horizons, all tasks together or group by group.

    Args:
        hubs: The hub at each horizon, as `load_hubs` reads them, with the same levels.
        by: What the tasks of a group have in common: any of location, horizon, reference_date and
            target_end_date; by default all tasks are one group.
        baseline: Model whose relative WIS is 1; by default the geometric mean of all.
        common: Whether to score only the tasks that all models forecast.

    Returns:
        Rows as by `score_forecasters`, which begin with what the group has in common. A model
        without a task in a group has no row there.

    Raises:
        InputError: for an unknown name in `by`, hubs of different levels or of none, an unknown
            baseline, or without a task.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2024-01-06", "2024-01-20", np.timedelta64(7, "D"), dtype="datetime64[D]")
        >>> hub = jaxcast.hub.Hub(
        ...     np.asarray([[[[1.0]], [[3.0]]]]), np.ones((1, 2)), np.ones((1, 2, 1)), ("01",), dates, ("a",),
        ...     np.asarray([0.5]), 1,
        ... )
        >>> [(row["target_end_date"], row["wis"]) for row in jaxcast.hub.score_hubs([hub], by=["target_end_date"])]
        [('2024-01-06', 0.0), ('2024-01-13', 2.0)]
    """
    return score_tables(hubs, [by], baseline=baseline, common=common)[0]


def score_tables(
    hubs: Sequence[Hub], tables: Sequence[Sequence[str]], *, baseline: str | None = None, common: bool = False
) -> list[list[dict[str, Any]]]:
    """Makes several tables as `score_hubs` does, of tasks that are scored once.

    Args:
        hubs: The hub at each horizon.
        tables: For each table, what the tasks of a group have in common.
        baseline: Model whose relative WIS is 1.
        common: Whether to score only the tasks that all models forecast.

    Returns:
        The rows of each table.

    Raises:
        InputError: as by `score_hubs`.
    """
    if not hubs or any(not np.array_equal(hub.levels, hubs[0].levels) for hub in hubs):
        raise InputError("expected at least one hub, all of the same levels; ask for levels that all horizons have")
    tables = [check_names("column", by, KEYS) for by in tables]
    names = list(dict.fromkeys(name for hub in hubs for name in hub.models))
    tasks = TaskScores.of(
        names,
        np.concatenate([_of_models(hub, names) for hub in hubs], 1),
        np.concatenate([hub.truth.ravel() for hub in hubs]),
        hubs[0].levels,
    )
    return [_rows_by(by, hubs, tasks, baseline, common) for by in tables]


def _rows_by(
    by: Sequence[str], hubs: Sequence[Hub], tasks: TaskScores, baseline: str | None, common: bool
) -> list[dict[str, Any]]:
    """Returns the rows of one table."""
    keys = [np.concatenate([_key(hub, key) for hub in hubs]) for key in by]
    groups, group = _grouped(keys, tasks.scores["wis"].shape[1])
    found = tasks.rows(group, baseline, common)
    if not by:
        return found[0]
    return [
        {**dict(zip(by, values, strict=True)), **row}
        for values, rows in zip(groups, found, strict=True)
        for row in rows
        if row["num_tasks"]
    ]


def _of_models(hub: Hub, names: list[str]) -> np.ndarray:
    """Returns the quantiles (model, task, quantile) of models, NaN for those that a hub lacks."""
    found = np.full((len(names), *hub.truth.shape, len(hub.levels)), np.nan)
    found[[names.index(name) for name in hub.models]] = np.moveaxis(hub.quantiles, 2, 0)
    return found.reshape(len(names), -1, len(hub.levels))


def _key(hub: Hub, key: str) -> np.ndarray:
    """Returns what each task of a hub has as location, horizon or date."""
    shape = hub.truth.shape
    if key == "location":
        return np.repeat(np.asarray(hub.locations, object), shape[1])
    if key == "horizon":
        return np.full(hub.truth.size, hub.horizon)
    return np.tile(hub.reference_dates if key == "reference_date" else hub.dates, shape[0])


def _grouped(keys: list[np.ndarray], size: int) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """Returns the values that distinguish the groups, in order, and the group of each task."""
    codes = np.zeros(size, int)
    for key in keys:
        values, index = np.unique(key, return_inverse=True)
        codes = codes * len(values) + index
    _, first, group = np.unique(codes, return_index=True, return_inverse=True)
    return [tuple(int(key[i]) if key.dtype.kind == "i" else str(key[i]) for key in keys) for i in first], group


@checked
def compare_forecasters(
    first: Shaped[ArrayLike, "location time quantile"],
    second: Shaped[ArrayLike, "location time quantile"],
    truth: Shaped[ArrayLike, "location time"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    horizon: int = 1,
    num_resamples: int = 10_000,
) -> dict[str, Any]:
    """Compares two forecasters over their common tasks.

    Args:
        first: Quantiles of the first forecaster, NaN where there are none.
        second: Quantiles of the second.
        truth: Target data, NaN where they are not known.
        levels: Levels of the quantiles.
        horizon: Steps ahead, over which the Diebold-Mariano test allows for autocorrelation;
            counted in rounds where not every step has one.
        num_resamples: Resamples of the bootstrap.

    Returns:
        The ratio of their mean WIS, its bootstrap interval (low, high) and p-value over blocks of
        four weeks, or of the horizon if that is longer, the p-value of the Diebold-Mariano test,
        and the numbers of weeks and tasks.

    Raises:
        InputError: for no common task whose target is known, too few of them for the tests, or a
            horizon below one.

    Example:
        >>> import jaxcast, numpy as np
        >>> truth = np.random.default_rng(0).normal(size=(2, 20))
        >>> first, second = truth[..., None] + 0.1, truth[..., None] + 0.2
        >>> result = jaxcast.hub.compare_forecasters(first, second, truth, np.asarray([0.5]))
        >>> round(result["ratio"], 3), result["num_weeks"]
        (0.5, 20)
    """
    check_whole("horizon", horizon)
    scores = [
        np.asarray(weighted_interval_score(np.asarray(f), np.asarray(truth), levels).wis).T for f in (first, second)
    ]
    weeks = np.flatnonzero((~np.isnan(scores[0]) & ~np.isnan(scores[1])).any(1))
    if not len(weeks):
        raise InputError("the two forecasters have no task in common whose target is known; choose other dates")
    horizon = -(-horizon // int(np.diff(weeks).min(initial=horizon)))
    test = diebold_mariano(*scores, horizon=horizon)
    resampled = block_bootstrap(
        *scores, key=jax.random.key(0), block_size=min(max(4, horizon), len(weeks)), num_resamples=num_resamples
    )
    return {
        "ratio": resampled.ratio,
        "low": resampled.low,
        "high": resampled.high,
        "bootstrap_p": resampled.p_value,
        "diebold_mariano_p": test.p_value,
        "num_weeks": test.num_weeks,
        "num_tasks": test.num_tasks,
    }

"""Tables of scores: each forecaster over the tasks of a window, and how many tasks these are."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.scores.quantiles import interval_coverage, weighted_interval_score
from jaxcast.scores.relative import block_bootstrap, diebold_mariano, relative_score

NOMINAL = (0.5, 0.9, 0.95)


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
        common: Whether to score only the tasks that all forecasters have.

    Returns:
        Rows with method; wis, its parts dispersion, overprediction and underprediction; log_wis,
        the WIS of logarithms; coverage50 and so on, as far as the levels allow; relative_wis;
        num_tasks; num_missing, the tasks with a target and no forecast; num_common, the tasks that
        all have.

    Raises:
        InputError: for an unknown baseline, or without a task (of all, if only common ones count).

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = {"a": np.asarray([[[1.0, 2.0, 3.0]]]), "b": np.asarray([[[0.0, 2.0, 4.0]]])}
        >>> rows = jaxcast.hub.score_forecasters(
        ...     forecasts, np.asarray([[2.0]]), np.asarray([0.25, 0.5, 0.75]), baseline="a"
        ... )
        >>> [(row["method"], round(row["wis"], 3), round(row["relative_wis"], 3), row["num_tasks"]) for row in rows]
        [('a', 0.333, 1.0, 1), ('b', 0.667, 2.0, 1)]
    """
    names, truth, levels = list(forecasts), np.asarray(truth, float), np.asarray(levels, float)
    if baseline is not None and baseline not in names:
        raise InputError(f"the baseline {shown(repr(baseline))} is not among the forecasters {shown(', '.join(names))}")
    arrays = np.stack([np.asarray(forecasts[name], float) for name in names])
    there = ~np.isnan(arrays).any(-1) & ~np.isnan(truth)
    if not there.any():
        raise InputError(
            "no forecaster has a task whose target is known; choose other dates, or give newer target data"
        )
    num_common = int(there.all(0).sum())
    if common and not num_common:
        raise InputError(
            f"no task has a forecast of all of {shown(', '.join(names))}; leave common out, or score fewer of them"
        )
    if common:
        arrays = np.where(there.all(0)[..., None], arrays, np.nan)
        there &= there.all(0)
    truths = np.broadcast_to(truth, there.shape)
    parts = weighted_interval_score(arrays, truths, levels)._asdict()
    parts["log_wis"] = weighted_interval_score(arrays, truths, levels, scale="log").wis
    parts |= {f"coverage{nominal * 100:g}": _covered(arrays, truths, levels, nominal) for nominal in NOMINAL}
    columns = {column: np.asarray(values) for column, values in parts.items() if values is not None}
    index = None if baseline is None else names.index(baseline)
    relative = np.asarray(relative_score(columns["wis"].reshape(len(names), -1).T, baseline=index).relative)
    num_known = int((~np.isnan(truth)).sum())
    rows = []
    for i, name in enumerate(names):
        row: dict[str, Any] = {"method": name} | {column: _mean(values[i]) for column, values in columns.items()}
        row["relative_wis"] = float(relative[i]) if np.isfinite(relative[i]) else None
        num_tasks = int(there[i].sum())
        rows.append(row | {"num_tasks": num_tasks, "num_missing": num_known - num_tasks, "num_common": num_common})
    return rows


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
        horizon: Steps ahead, over which the Diebold-Mariano test allows for autocorrelation.
        num_resamples: Resamples of the bootstrap.

    Returns:
        The ratio of their mean WIS, its bootstrap interval (low, high) and p-value over blocks of
        four weeks, the p-value of the Diebold-Mariano test, and the numbers of weeks and tasks.

    Example:
        >>> import jaxcast, numpy as np
        >>> truth = np.random.default_rng(0).normal(size=(2, 20))
        >>> first, second = truth[..., None] + 0.1, truth[..., None] + 0.2
        >>> result = jaxcast.hub.compare_forecasters(first, second, truth, np.asarray([0.5]))
        >>> round(result["ratio"], 3), result["num_weeks"]
        (0.5, 20)
    """
    scores = [
        np.asarray(weighted_interval_score(np.asarray(f), np.asarray(truth), levels).wis).T for f in (first, second)
    ]
    num_weeks = int((~np.isnan(scores[0]) & ~np.isnan(scores[1])).any(1).sum())
    test = diebold_mariano(*scores, horizon=horizon)
    resampled = block_bootstrap(
        *scores, key=jax.random.key(0), block_size=min(max(4, horizon), num_weeks), num_resamples=num_resamples
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


def _covered(arrays: np.ndarray, truths: np.ndarray, levels: np.ndarray, nominal: float) -> np.ndarray | None:
    """None where the levels do not have that interval."""
    try:
        return np.asarray(interval_coverage(arrays, truths, levels, nominal=nominal))
    except InputError:
        return None


def _mean(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))

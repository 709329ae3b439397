"""Scores of forecasters task by task, and their means over groups of tasks."""

from collections.abc import Mapping
from functools import partial
from itertools import compress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.scores.quantiles import interval_coverage, weighted_interval_score
from jaxcast.scores.relative import relative_of_sums

NOMINAL = (0.5, 0.9, 0.95)
FEW = 0.01  # Counts may be corrected below zero now and then; what is so more often is not a count.


def stacked(forecasts: Mapping[str, Any], truth: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Returns the quantiles of forecasters as one array, (forecaster, location, time, quantile).

    Args:
        forecasts: Quantiles of each forecaster by name.
        truth: Target data (location, time).
        levels: Levels of the quantiles.

    Raises:
        InputError: for no forecaster, or quantiles of other shapes than target data and levels.
    """
    if not forecasts:
        raise InputError("expected at least one forecaster, got none; name its forecasts")
    expected = (*truth.shape, len(levels))
    arrays = {name: np.asarray(values, float) for name, values in forecasts.items()}
    for name, values in arrays.items():
        if values.shape != expected:
            raise InputError(
                f"expected forecasts {expected} of {shown(repr(name))}, as the target data are {truth.shape} and there "
                f"are {len(levels)} levels, got {values.shape}"
            )
    return np.stack(list(arrays.values()))


class TaskScores(NamedTuple):
    """The scores of forecasters in every task.

    Args:
        names: Names of the forecasters.
        scores: Scores (forecaster, task) by their name, NaN where there is no task.
    """

    names: list[str]
    scores: dict[str, np.ndarray]

    @classmethod
    def of(cls, names: list[str], arrays: np.ndarray, truth: np.ndarray, levels: np.ndarray) -> "TaskScores":
        """Scores the forecasters.

        Args:
            names: Names of the forecasters.
            arrays: Quantiles (forecaster, task, quantile), NaN where there are none.
            truth: Target of each task, NaN where it is not known.
            levels: Levels of the quantiles.
        """
        truths = np.broadcast_to(truth, arrays.shape[:2])
        parts = weighted_interval_score(arrays, truths, levels)._asdict()
        parts["log_wis"] = weighted_interval_score(arrays, truths, levels, scale="log").wis
        parts |= {f"coverage{nominal * 100:g}": _covered(arrays, truths, levels, nominal) for nominal in NOMINAL}
        scores = {name: np.asarray(values) for name, values in parts.items() if values is not None}
        if (truth < 0).sum() > FEW * np.isfinite(truth).sum():
            scores["log_wis"] = np.full(truths.shape, np.nan)
        return cls(names, scores)

    def rows(self, group: np.ndarray, baseline: str | None, common: bool) -> list[list[dict[str, Any]]]:
        """Returns the rows of every group of tasks.

        Args:
            group: Index of the group of each task.
            baseline: Forecaster whose relative WIS is 1, if any.
            common: Whether to use only the tasks of every forecaster that has any.

        Raises:
            InputError: for an unknown baseline, or without a task.
        """
        names = self.names
        if baseline is not None and baseline not in names:
            raise InputError(
                f"the baseline {shown(repr(baseline))} is not among the forecasters {shown(', '.join(names))}"
            )
        there = ~np.isnan(self.scores["wis"])
        has_any = there.any(1)
        shared = there[has_any].all(0)
        if not there.any():
            raise InputError(
                "no forecaster has a task whose target is known; choose other dates, or give newer target data"
            )
        if common and not shared.any():
            raise InputError(
                f"no task has a forecast of all of {shown(', '.join(compress(names, has_any)))}; leave common out, or "
                "score fewer of them"
            )
        if common:
            there &= shared
        size = int(group.max()) + 1
        means = {column: _means(values, there, group, size) for column, values in self.scores.items()}
        relative = _relative(
            self.scores["wis"], there, group, size, None if baseline is None else names.index(baseline)
        )
        counts = {"num_of_any": there.any(0), "num_common": shared}
        totals = {name: np.bincount(group, weights=mask, minlength=size).astype(int) for name, mask in counts.items()}
        num_tasks = np.stack([np.bincount(group, weights=mask, minlength=size) for mask in there]).astype(int)
        return [
            [
                {"method": name}
                | {column: None if np.isnan(mean[m, g]) else float(mean[m, g]) for column, mean in means.items()}
                | {
                    "relative_wis": float(relative[g, m]) if np.isfinite(relative[g, m]) else None,
                    "num_tasks": int(num_tasks[m, g]),
                    "num_missing": int(totals["num_of_any"][g] - num_tasks[m, g]),
                    "num_common": int(totals["num_common"][g]),
                }
                for m, name in enumerate(names)
            ]
            for g in range(size)
        ]


def _means(values: np.ndarray, there: np.ndarray, group: np.ndarray, size: int) -> np.ndarray:
    """Returns the mean of each forecaster in each group over its known values, NaN without any."""
    kept = there & ~np.isnan(values)
    sums, counts = (
        np.stack([np.bincount(group, weights=row, minlength=size) for row in rows])
        for rows in (np.where(kept, values, 0), kept)
    )
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _relative(wis: np.ndarray, there: np.ndarray, group: np.ndarray, size: int, baseline: int | None) -> np.ndarray:
    """Returns the relative WIS (group, forecaster)."""
    filled = np.where(there, wis, 0)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(group, minlength=size))[:-1])
    sums = np.stack([filled[:, part] @ there[:, part].T for part in parts])
    common = np.stack([there[:, part].astype(int) @ there[:, part].T.astype(int) for part in parts])
    return np.asarray(_compare(jnp.asarray(sums), jnp.asarray(common), baseline))


@partial(jax.jit, static_argnames="baseline")
def _compare(sums: jax.Array, common: jax.Array, baseline: int | None) -> jax.Array:
    return jax.vmap(lambda sums, common: relative_of_sums(sums, common, baseline).relative)(sums, common)


def _covered(arrays: np.ndarray, truths: np.ndarray, levels: np.ndarray, nominal: float) -> np.ndarray | None:
    """None where the levels do not have that interval."""
    try:
        return np.asarray(interval_coverage(arrays, truths, levels, nominal=nominal))
    except InputError:
        return None

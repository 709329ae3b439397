"""Tables of calibration: bias, and coverage of every interval and quantile, of each forecaster."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.hub.task_scores import stacked
from jaxcast.scores.calibration import coverage_curve, quantile_bias
from jaxcast.scores.quantiles import interval_coverage

CURVE = ("share", "share_below", "low", "high", "band_low", "band_high")
"""Columns of a coverage curve."""


@checked
def score_calibration(
    forecasts: Mapping[str, Shaped[ArrayLike, "location time quantile"]],
    truth: Shaped[ArrayLike, "location time"],
    levels: Shaped[ArrayLike, " quantile"],
) -> list[dict[str, Any]]:
    """Measures the calibration of forecasters, a row for each.

    Args:
        forecasts: Quantiles of each forecaster by name, NaN where there are none.
        truth: Target data, NaN where they are not known.
        levels: Levels of the quantiles.

    Returns:
        Rows with method; bias; coverage50 and so on for every central interval of the levels; and
        num_tasks. A forecaster without a task has None for its numbers.

    Raises:
        InputError: for no forecaster, quantiles of another shape than target data and levels,
            levels that are all on one side of 0.5, or quantiles that cross.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = {"a": np.asarray([[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]])}
        >>> jaxcast.hub.score_calibration(forecasts, np.asarray([[2.5, 9.0]]), np.asarray([0.25, 0.5, 0.75]))
        [{'method': 'a', 'bias': -0.75, 'coverage50': 0.5, 'num_tasks': 2}]
    """
    levels, truth = np.asarray(levels, float), np.asarray(truth, float)
    arrays = stacked(forecasts, truth, levels)
    widths = [float(2 * high - 1) for high in levels if high > 0.5 and np.isclose(levels, 1 - high, atol=1e-6).any()]
    truths = np.broadcast_to(truth, arrays.shape[:-1])
    there = ~np.isnan(arrays).any(-1) & ~np.isnan(truths)
    found = {"bias": np.asarray(quantile_bias(arrays, truths, levels))}
    for width in widths:
        inside = interval_coverage(arrays, truths, levels, nominal=width)
        found[f"coverage{round(100 * width, 6):g}"] = np.asarray(inside)
    rows = []
    for i, name in enumerate(forecasts):
        means = {column: float(np.nanmean(each[i])) if there[i].any() else None for column, each in found.items()}
        rows.append({"method": name} | means | {"num_tasks": int(there[i].sum())})
    return rows


@checked
def tabulate_coverage(
    forecasts: Mapping[str, Shaped[ArrayLike, "location time quantile"]],
    truth: Shaped[ArrayLike, "location time"],
    levels: Shaped[ArrayLike, " quantile"],
) -> list[dict[str, Any]]:
    """Lists the share of truths at or below each quantile, a row for each forecaster and level.

    Args:
        forecasts: Quantiles of each forecaster by name, NaN where there are none.
        truth: Target data, NaN where they are not known.
        levels: Levels of the quantiles.

    Returns:
        Rows with method, level and the numbers of `jaxcast.scores.coverage_curve`; none for a
        forecaster without a task.

    Raises:
        InputError: for no forecaster, or quantiles of another shape than target data and levels.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = {"a": np.asarray([[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]])}
        >>> rows = jaxcast.hub.tabulate_coverage(forecasts, np.asarray([[2.5, 0.0]]), np.asarray([0.25, 0.5, 0.75]))
        >>> [(row["level"], row["share"]) for row in rows]
        [(0.25, 0.5), (0.5, 0.5), (0.75, 1.0)]
    """
    levels, truth = np.asarray(levels, float), np.asarray(truth, float)
    rows = []
    for name, quantiles in zip(forecasts, stacked(forecasts, truth, levels), strict=True):
        if (np.isnan(quantiles).any(-1) | np.isnan(truth)).all():
            continue
        curve = coverage_curve(quantiles, truth, levels)
        found = {field: np.asarray(value).tolist() for field, value in curve._asdict().items() if field in CURVE}
        for i, level in enumerate(levels):
            numbers = {field: found[field][i] for field in CURVE}
            rows.append({"method": name, "level": float(level)} | numbers | {"num_tasks": curve.num_tasks})
    return rows

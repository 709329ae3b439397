"""Errors of series forecasts by lead."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.numerics.levels import middle_of
from jaxcast.scores.quantiles import pinball_loss
from jaxcast.series.samples import SeriesWindows, learned_from


class WindowScores(NamedTuple):
    """Scores of forecasts over all windows, leads and series that have a weight.

    Args:
        mae: mean absolute error of the middle level.
        rmse: root mean squared error of the middle level.
        pinball: mean pinball loss of all levels; None for points.
        coverage: share of values within each central interval, by its nominal coverage; empty for
            points.
        num_values: how many values were scored.
    """

    mae: float
    rmse: float
    pinball: float | None
    coverage: dict[str, float]
    num_values: int

    @property
    def wis(self) -> float | None:
        """The mean weighted interval score, twice the pinball loss; None for points."""
        return None if self.pinball is None else 2 * self.pinball

    def row(self) -> dict[str, Any]:
        """Returns the scores as JSON values; those of quantiles only where there are some."""
        found: dict[str, Any] = {"mae": self.mae, "rmse": self.rmse}
        if self.pinball is not None:
            found |= {"pinball": self.pinball, "wis": self.wis, "coverage": self.coverage}
        return found | {"num_values": self.num_values}


def window_scores(
    quantiles: Float[Any, "sample lead region level"],
    windows: SeriesWindows,
    *,
    levels: tuple[float, ...],
    scale: Float[Any, " region"] | float = 1.0,
) -> WindowScores:
    """Scores quantile or point forecasts of windows.

    Args:
        quantiles: at all levels, or a single one of a point forecast.
        windows: with the targets, and weights that say which count.
        levels: of the quantiles.
        scale: the unit of each series, such as its standard deviation.

    Returns:
        The scores, in units of the scale.

    Example:
        >>> import jaxcast, numpy as np
        >>> windows = jaxcast.series.series_windows(np.arange(10.0)[:, None], history_size=3, leads=(2,))
        >>> point = jaxcast.series.LastValue((2,))(windows.history).forecast
        >>> quantiles = np.asarray(point)[..., None] + np.asarray([-1.0, 1.0, 3.0])
        >>> scores = jaxcast.series.window_scores(quantiles, windows, levels=(0.1, 0.5, 0.9))
        >>> scores.mae, scores.coverage
        (1.0, {'0.8': 1.0})
    """
    known = np.asarray(windows.weights) > 0
    truth, quantiles, scale = np.asarray(windows.targets), np.asarray(quantiles), np.asarray(scale)
    middle = quantiles[..., middle_of(levels) if quantiles.shape[-1] > 1 else 0]
    off = ((middle - truth) / scale)[known]
    mae, rmse = float(np.abs(off).mean()), float(np.sqrt((off**2).mean()))
    if quantiles.shape[-1] != len(levels):
        return WindowScores(mae, rmse, None, {}, int(known.sum()))
    scaled = quantiles / scale[..., None]
    pinball = float(np.asarray(pinball_loss(scaled, truth / scale, np.asarray(levels)))[known].mean())
    coverage = {
        f"{nominal:g}": float(((truth >= quantiles[..., i]) & (truth <= quantiles[..., j]))[known].mean())
        for i, j, nominal in intervals(levels)
    }
    return WindowScores(mae, rmse, pinball, coverage, int(known.sum()))


def scores_by_lead(
    quantiles: Float[Any, "sample lead region level"], windows: SeriesWindows, *, levels: tuple[float, ...]
) -> list[WindowScores]:
    """Scores each lead by itself, in the unit of the series.

    Args:
        quantiles: at all levels, or a single one of a point forecast.
        windows: with the targets, and weights that say which count.
        levels: of the quantiles.

    Returns:
        The scores of each lead.

    Example:
        >>> import jaxcast, numpy as np
        >>> windows = jaxcast.series.series_windows(np.arange(10.0)[:, None], history_size=3, leads=(1, 2))
        >>> point = jaxcast.series.LastValue((1, 2))(windows.history).forecast[..., None]
        >>> [scores.mae for scores in jaxcast.series.scores_by_lead(point, windows, levels=(0.5, 0.9))]
        [1.0, 2.0]
    """
    return [
        window_scores(
            np.asarray(quantiles)[:, [k]],
            windows._replace(weights=windows.weights[:, [k]], targets=windows.targets[:, [k]]),
            levels=levels,
        )
        for k in range(windows.targets.shape[1])
    ]


def intervals(levels: tuple[float, ...]) -> list[tuple[int, int, float]]:
    """Returns the pairs of levels that enclose the middle symmetrically.

    Args:
        levels: quantile levels, rising.

    Returns:
        The numbers of both levels, and the nominal coverage between them.
    """
    return [
        (i, j, round(levels[j] - levels[i], 6))
        for i in range(len(levels))
        for j in range(i + 1, len(levels))
        if abs(levels[i] + levels[j] - 1) < 1e-6
    ]


class ErrorsByLead(NamedTuple):
    """Errors at each lead, over all samples and regions with a weight.

    Args:
        rmse: root mean squared errors.
        mae: mean absolute errors.
        pcc: Pearson's correlations.
    """

    rmse: Float[Array, " lead *target"]
    mae: Float[Array, " lead *target"]
    pcc: Float[Array, " lead *target"]


@checked
def errors_by_lead(forecasts: Float[Array, "sample lead region *target"], samples: SeriesWindows) -> ErrorsByLead:
    """Measures RMSE, MAE and Pearson's correlation at each lead, pooled over regions.

    Args:
        forecasts: of the samples.
        samples: with the targets, and weights that say which count.

    Returns:
        The errors.

    Raises:
        InputError: for forecasts of another shape than the targets.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.series.series_windows(jnp.arange(10.0)[:, None], history_size=3, leads=(2,))
        >>> scores = jaxcast.series.errors_by_lead(jaxcast.series.LastValue((2,))(samples.history).forecast, samples)
        >>> scores.rmse.tolist(), scores.pcc.round(6).tolist()
        ([2.0], [1.0])
    """
    weights, truth = samples.weights, learned_from(samples).targets
    if np.shape(forecasts) != truth.shape:
        raise InputError(f"expected forecasts of the targets' shape {truth.shape}, got {np.shape(forecasts)}")

    def mean(a: Array) -> Array:
        return (weights * a).sum((0, 2)) / weights.sum((0, 2))

    forecasts = jnp.where(weights > 0, forecasts, 0)
    error = jnp.where(weights > 0, forecasts - truth, 0)
    off_f, off_t = forecasts - mean(forecasts)[:, None], truth - mean(truth)[:, None]
    pcc = mean(off_f * off_t) / jnp.sqrt(mean(off_f**2) * mean(off_t**2))
    return ErrorsByLead(jnp.sqrt(mean(error**2)), mean(jnp.abs(error)), pcc)

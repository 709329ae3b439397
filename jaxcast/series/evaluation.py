"""Errors of series forecasts by lead."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.scores.quantiles import middle_of, pinball_loss
from jaxcast.series.samples import SeriesWindows, learned_from


def scores(
    quantiles: Float[Any, "sample lead region level"], samples: SeriesWindows, levels: tuple[float, ...], std: Any
) -> dict[str, Any]:
    """Errors of the middle level, and of all where there are: pinball loss, and the coverage of intervals.

    mae, rmse and pinball are in units of each series' standard deviation.
    """
    known = np.asarray(samples.weights) > 0
    truth, quantiles = np.asarray(samples.targets), np.asarray(quantiles)
    middle = quantiles[..., middle_of(levels) if quantiles.shape[-1] > 1 else 0]
    off = ((middle - truth) / std)[known]
    found: dict[str, Any] = {"mae": float(np.abs(off).mean()), "rmse": float(np.sqrt((off**2).mean()))}
    if quantiles.shape[-1] == len(levels):
        scaled = quantiles / np.asarray(std)[:, None]
        found["pinball"] = float(np.asarray(pinball_loss(scaled, truth / std, np.asarray(levels)))[known].mean())
        found["coverage"] = {
            f"{nominal:g}": float(((truth >= quantiles[..., i]) & (truth <= quantiles[..., j]))[known].mean())
            for i, j, nominal in intervals(levels)
        }
    return found | {"num_values": int(known.sum())}


def intervals(levels: tuple[float, ...]) -> list[tuple[int, int, float]]:
    """The pairs of levels that enclose the middle symmetrically, and their nominal coverage."""
    return [
        (i, j, round(levels[j] - levels[i], 6))
        for i in range(len(levels))
        for j in range(i + 1, len(levels))
        if abs(levels[i] + levels[j] - 1) < 1e-6
    ]


class ErrorsByLead(NamedTuple):
    """Errors at each lead, (lead,), over all samples and regions with a weight; of several targets (lead, target)."""

    rmse: Float[Array, " lead *target"]
    mae: Float[Array, " lead *target"]
    pcc: Float[Array, " lead *target"]


@checked
def errors_by_lead(forecasts: Float[Array, "sample lead region *target"], samples: SeriesWindows) -> ErrorsByLead:
    """Measures root mean squared error, mean absolute error and Pearson's correlation at each lead, pooled over regions.

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

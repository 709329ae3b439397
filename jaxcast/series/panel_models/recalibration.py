"""Quantiles of a panel's forecasts, recalibrated on windows that were held out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.series.conformal import conformal_shifts
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.samples import SeriesWindows

LEAST_TARGETS = 200
"""Held-out values by which the shifts of a lead are found; with fewer, several leads share them."""
LEAST_IN_ALL = 40
"""Held-out values with which all leads share their shifts.

Of fewer, not even the largest error is a quantile of 97.5 %."""
LEAST_SPREAD = 1e-3
"""The smallest spread of a forecast, in units of the level of its series."""


def spread_of(
    quantiles: Float[np.ndarray, "window lead level"], history: Float[np.ndarray, "window time"]
) -> np.ndarray:
    """Measures how uncertain each forecast is: from its lowest to its highest quantile.

    Args:
        quantiles: of forecasts.
        history: of the windows.

    Returns:
        The spread of each lead, (window, lead), positive.
    """
    known = np.isfinite(history)
    level = np.where(known, np.abs(history), 0).sum(-1) / np.maximum(known.sum(-1), 1)
    level = np.where(level > 0, level, 1)[:, None]
    if quantiles.shape[-1] == 1:
        return np.broadcast_to(level, quantiles.shape[:-1])
    return np.maximum(quantiles[..., -1] - quantiles[..., 0], LEAST_SPREAD * level)


def spread_shifts(
    quantiles: Float[np.ndarray, "window lead level"], windows: PanelWindows, levels: tuple[float, ...]
) -> Float[np.ndarray, "lead level"]:
    """Finds shifts of each lead and level, in units of the spread of a forecast.

        q'_h(tau) = q_h(tau) + w_h shift_h(tau),    shift_h(tau) = Q_tau( (y_h - q_h(tau)) / w_h )

    over held-out windows, where w_h is the spread. Neighbouring leads share their shifts where a
    single one has too few values; with fewer than 40 in all, shifts are 0.

    Args:
        quantiles: of windows that the network has not learned from.
        windows: with their targets.
        levels: of the quantiles.

    Returns:
        The shifts.

    Source:
        Split conformal prediction, after Romano, Patterson and Candes (2019), with errors over the
        forecast's own spread.
    """
    targets, weights = np.asarray(windows.targets, float), np.asarray(windows.weights)
    num_leads = targets.shape[1]
    num_known = int((weights > 0).sum())
    num_groups = min(num_leads, max(num_known // LEAST_TARGETS, int(num_known >= LEAST_IN_ALL)))
    shifts = np.zeros((num_leads, len(levels)))
    if num_groups == 0:
        return shifts
    spread = spread_of(quantiles, np.asarray(windows.history))
    base, scaled = quantiles / spread[..., None], targets / spread
    for leads in np.array_split(np.arange(num_leads), num_groups):
        own = [a[:, leads].reshape(-1, 1, 1) for a in (scaled, weights)]
        group: Any = (np.zeros((len(own[0]), 1, 1)), *own, np.zeros((len(own[0]), 1), int), None, None, None)
        found = conformal_shifts(
            base[:, leads].reshape(-1, 1, 1, len(levels)), SeriesWindows._make(group), levels=levels, std=np.ones(1)
        )
        shifts[leads] = np.nan_to_num(found[0, 0])
    return shifts


def recalibrated(
    quantiles: Float[np.ndarray, "window lead level"],
    history: Float[np.ndarray, "window time"],
    shifts: Float[np.ndarray, "lead level"],
    lower: float | int | None,
) -> Float[np.ndarray, "window lead level"]:
    """Shifts quantiles; see `spread_shifts`.

    Args:
        quantiles: of forecasts.
        history: of the windows.
        shifts: of each lead and level.
        lower: the least value, or None.

    Returns:
        The quantiles, sorted.
    """
    moved = np.sort(quantiles + spread_of(quantiles, history)[..., None] * shifts, -1)
    return moved if lower is None else np.maximum(moved, lower)


@jax.jit
def moved_paths(
    paths: Float[Array, "path window lead"],
    before: Float[Array, "window lead level"],
    after: Float[Array, "window lead level"],
) -> Float[Array, "path window lead"]:
    """Moves sampled paths as their quantiles were moved, so that they are calibrated alike.

    Between two levels the shift is interpolated; beyond the outer ones it is theirs.

    Args:
        paths: as the network drew them.
        before: the quantiles of the network.
        after: those that are recalibrated.

    Returns:
        The paths, in the same order at each lead.
    """

    def of_one(values: Array, before: Array, after: Array) -> Array:
        return values + jnp.interp(values, before, after - before)

    over_leads = jax.vmap(of_one, in_axes=(1, 0, 0), out_axes=1)
    return jax.vmap(over_leads, in_axes=(1, 0, 0), out_axes=1)(paths, before, after)

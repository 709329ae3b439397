"""Pools hubs of like sizes with one compiled program."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.hub.arrays import Hub
from jaxcast.hub.pools.adaptive_pool import AdaptivePool
from jaxcast.hub.pools.quantile_pool import pool_forecasts

# Sizes of locations, times, models and releases are rounded up to multiples of these.
STEPS = (8, 16, 8, 16)


def pool_padded(pool: AdaptivePool, hub: Hub) -> np.ndarray:
    """Pools a hub whose arrays are padded with nothing to round sizes.

    The horizons and targets of a round differ a little in their locations, times and models. With
    padding they share a program, which takes seconds to compile. The pool gives absent forecasts no
    weight, so the result is the same to rounding.

    Args:
        pool: The pool.
        hub: The hub at a horizon.

    Returns:
        The forecasts (location, time, quantile), NaN where no model forecast.
    """
    forecasts = hub.forecasts()
    places, times, models = (-size % step for size, step in zip(forecasts.present.shape, STEPS, strict=False))
    number = -forecasts.releases.shape[0] % STEPS[3]
    # What is added comes after the locations and models, and before the times and releases.
    widths = {"location": (0, places), "time": (times, 0), "model": (0, models), "release": (number, 0)}

    def padded(array: Array, axes: str, value: float | bool = np.nan) -> np.ndarray:
        return np.pad(array, [widths.get(axis, (0, 0)) for axis in axes.split()], constant_values=value)

    index = np.asarray(forecasts.release_of)
    moved = np.where(index >= 0, index + number, -1)
    larger = dataclasses.replace(
        forecasts,
        quantiles=jnp.asarray(padded(forecasts.quantiles, "location time model quantile", 0.0)),
        present=jnp.asarray(padded(forecasts.present, "location time model", False)),
        truth=jnp.asarray(padded(forecasts.truth, "location time")),
        observed=jnp.asarray(padded(forecasts.observed, "location time lag")),
        releases=jnp.asarray(padded(forecasts.releases, "release location time")),
        release_of=jnp.asarray(np.pad(moved, (times, 0), constant_values=-1)),
        horizon=jnp.asarray(forecasts.horizon),
    )
    pooled = np.asarray(pool_forecasts(pool, larger).forecast)
    return pooled[: pooled.shape[0] - places, times:]

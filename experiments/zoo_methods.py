"""The forecasters of `experiments.chaos_zoo`, each for all systems at once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxcast
from jaxcast.sharding import devices_for, map_shards

MAX_LAGS = 64
"""Of delay embeddings; the shorter ones have weights of zero beyond."""
EMBEDDINGS = ((4, 1), (4, 4), (8, 4), (4, 12), (8, 8))
"""How many delays, so many points apart; at fewer points per period both shrink."""
BANDWIDTHS = (0.5, 1.0, 2.0)
PENALTIES = (1e-10, 1e-7)


class Zoo(NamedTuple):
    """systems: names. train: the series on which settings are picked, (system, time). test: those that are forecast."""

    systems: list[str]
    train: Float[Array, "system time"]
    test: Float[Array, "system time"]

    @property
    def horizon(self) -> int:
        """The last sixth of a series."""
        return self.test.shape[1] // 6

    @property
    def pts_per_period(self) -> int:
        return self.test.shape[1] // 12


def smape(forecasts: Float[Any, "*batch time"], truth: Float[Any, "*batch time"]) -> Float[np.ndarray, "*batch"]:
    """200 mean |y - p| / (|y| + |p|) over all points but the last, as published; a forecast that is not finite counts 200."""
    forecasts, truth = np.asarray(forecasts)[..., :-1], np.asarray(truth)[..., :-1]
    terms = np.abs(forecasts - truth) / np.maximum(np.abs(forecasts) + np.abs(truth), 1e-300)
    return 200 * np.where(np.isfinite(terms), terms, 1).mean(-1)


def score(method: Callable[[Zoo, Any], np.ndarray], zoo: Zoo, config: Any) -> dict[str, np.ndarray]:
    """The errors and the valid time of every system's forecast, and the forecasts."""
    forecasts = np.asarray(method(zoo, config))
    past, truth = np.asarray(zoo.test[:, : -zoo.horizon]), np.asarray(zoo.test[:, -zoo.horizon :])
    off = np.abs(forecasts - truth) / past.std(1, keepdims=True)
    is_off = ~(off[:, :-1] <= 0.4)
    valid = np.where(is_off.any(1), is_off.argmax(1), is_off.shape[1])
    return {"smape": smape(forecasts, truth), "valid_time": valid, "forecast": forecasts}


def last_value(zoo: Zoo, config: Any) -> np.ndarray:
    return np.repeat(np.asarray(zoo.test[:, -zoo.horizon - 1, None]), zoo.horizon, 1)


def mean(zoo: Zoo, config: Any) -> np.ndarray:
    return np.repeat(np.asarray(zoo.test[:, : -zoo.horizon].mean(1, keepdims=True)), zoo.horizon, 1)


def last_period(zoo: Zoo, config: Any) -> np.ndarray:
    past = np.asarray(zoo.test[:, : -zoo.horizon])
    return np.tile(past[:, -zoo.pts_per_period :], 2)[:, : zoo.horizon]


def lag_weights(num_lags: int, skip: int, pts_per_period: int) -> Float[np.ndarray, " lag"]:
    """Ones for the lags of an embedding that was meant for 100 points per period."""
    skip = max(1, round(skip * pts_per_period / 100))
    weights = np.zeros(MAX_LAGS if pts_per_period >= 100 else MAX_LAGS // 4)
    weights[np.arange(num_lags)[np.arange(num_lags) * skip < len(weights)] * skip] = 1
    return weights


def picked(run: Callable[[Array, Any], Array], zoo: Zoo, settings: list[Any]) -> np.ndarray:
    """The forecasts of each system with the setting that forecasts its training series best.

    run: (series up to the forecast (system, time), a setting for each system) -> (system, horizon).
    """
    past, truth = zoo.train[:, : -zoo.horizon], zoo.train[:, -zoo.horizon :]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf, float) for leaf in leaves]), *settings)

    def of_each(numbers: np.ndarray) -> Any:
        return jax.tree.map(lambda a: a[numbers], stacked)

    everyone = np.ones(len(zoo.systems), int)
    errors = [smape(run(past, of_each(number * everyone)), truth) for number in range(len(settings))]
    return np.asarray(run(zoo.test[:, : -zoo.horizon], of_each(np.argmin(errors, 0))))


def kernel_ridge(zoo: Zoo, config: Any) -> np.ndarray:
    settings = [
        (lag_weights(*embedding, zoo.pts_per_period), bandwidth, penalty)
        for embedding in EMBEDDINGS for bandwidth in BANDWIDTHS for penalty in PENALTIES
    ]  # fmt: skip
    mesh = devices_for(None, zoo.train)
    return picked(
        lambda past, setting: _kernel_forecasts((past, setting), num_leads=zoo.horizon, mesh=mesh), zoo, settings
    )


@partial(jax.jit, static_argnames=("num_leads", "mesh"))
def _kernel_forecasts(systems: Any, *, num_leads: int, mesh: Any) -> Array:
    """One program for all systems, spread over the devices."""

    def one(system: Any) -> Array:
        series, (weights, bandwidth, penalty) = system
        cell = jaxcast.fit_delay_kernel_ridge(series[:, None], weights, bandwidth=bandwidth, penalty=penalty)
        return jaxcast.forecast(cell, series[-len(weights) :, None], num_leads).forecast[:, 0]

    return map_shards(lambda own, _: jax.lax.map(one, own), systems, None, mesh)


METHODS: dict[str, Callable[[Zoo, Any], np.ndarray]] = {
    "last_value": last_value,
    "mean": mean,
    "last_period": last_period,
    "kernel_ridge": kernel_ridge,
}

"""The forecasters of `experiments.chaos_zoo`, each for all systems at once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxcast
from jaxcast.sharding import devices_for, map_shards, without_repeated

MAX_LAGS = 64
"""The lags of all delay embeddings; shorter ones have zero weights for the rest."""
EMBEDDINGS = ((4, 4), (4, 12), (8, 4), (8, 8), (16, 1), (16, 4))
"""(delays, points between them); with fewer points per period both shrink."""
BANDWIDTHS = (0.35, 0.7, 1.4, 2.8)
PENALTIES = (1e-9, 1e-6)
NUM_LOOPS = 8
"""Closed loops that decide between a system's settings."""
HIDDEN_SIZE = 32


class Zoo(NamedTuple):
    """The series of all systems.

    Args:
        systems: their names.
        train: the series that settings are selected on.
        test: the series to forecast.
    """

    systems: list[str]
    train: Float[Array, "system time"]
    test: Float[Array, "system time"]

    @property
    def horizon(self) -> int:
        """The number of points to forecast: a sixth of a series."""
        return self.test.shape[1] // 6

    @property
    def pts_per_period(self) -> int:
        return self.test.shape[1] // 12


def smape(forecasts: Float[Any, "*batch time"], truth: Float[Any, "*batch time"]) -> Float[np.ndarray, "*batch"]:
    """Computes 200 mean |y - p| / (|y| + |p|), without the last point, as published.

    A forecast that is not finite counts as 200.

    Args:
        forecasts: p.
        truth: y.

    Returns:
        The symmetric error of each series.
    """
    forecasts, truth = np.asarray(forecasts)[..., :-1], np.asarray(truth)[..., :-1]
    # If both are zero the error is zero, as 0 / 1e-300 is.
    terms = np.abs(forecasts - truth) / np.maximum(np.abs(forecasts) + np.abs(truth), 1e-300)
    return 200 * np.where(np.isfinite(terms), terms, 1).mean(-1)


def score(method: Callable[[Zoo, Any], np.ndarray], zoo: Zoo, config: Any) -> dict[str, np.ndarray]:
    """Forecasts all systems with one method, and scores the forecasts."""
    forecasts = np.asarray(method(zoo, config))
    past, truth = np.asarray(zoo.test[:, : -zoo.horizon]), np.asarray(zoo.test[:, -zoo.horizon :])
    off = np.abs(forecasts - truth) / past.std(1, keepdims=True)
    is_off = ~(off[:, :-1] <= 0.4)
    valid = np.where(is_off.any(1), is_off.argmax(1), is_off.shape[1])
    return {"smape": smape(forecasts, truth), "valid_time": valid, "forecast": forecasts}


def last_value(zoo: Zoo, config: Any) -> np.ndarray:
    """Repeats the newest value: (system, horizon), as from all methods."""
    return np.repeat(np.asarray(zoo.test[:, -zoo.horizon - 1, None]), zoo.horizon, 1)


def mean(zoo: Zoo, config: Any) -> np.ndarray:
    """Repeats the mean of the history."""
    return np.repeat(np.asarray(zoo.test[:, : -zoo.horizon].mean(1, keepdims=True)), zoo.horizon, 1)


def last_period(zoo: Zoo, config: Any) -> np.ndarray:
    """Repeats the newest dominant period."""
    past = np.asarray(zoo.test[:, : -zoo.horizon])
    return np.tile(past[:, -zoo.pts_per_period :], 2)[:, : zoo.horizon]


def lag_weights(num_lags: int, skip: int, pts_per_period: int) -> Float[np.ndarray, " lag"]:
    """Weights the lags of an embedding with ones; its spacing is for 100 points per period."""
    skip = max(1, round(skip * pts_per_period / 100))
    weights = np.zeros(MAX_LAGS if pts_per_period >= 100 else MAX_LAGS // 4)
    weights[np.arange(num_lags)[np.arange(num_lags) * skip < len(weights)] * skip] = 1
    return weights


def picked(
    run: Callable[[Any, Any], Array], zoo: Zoo, settings: list[Any], *, num_known: int, num_best: int = 1
) -> np.ndarray:
    """Forecasts each system with the settings that forecast its training series best.

    Every forecaster is fitted to the test series up to the forecast. The first history ends there.
    The others are pieces of the training series; settings are compared by the mean error over their
    closed loops.

    Args:
        run: ((series to fit (system, time), histories (system, loop, num_known)), a setting) ->
            forecasts (system, loop, horizon).
        zoo: the series.
        settings: to select from.
        num_known: points of each history.
        num_best: how many settings to combine.

    Returns:
        The median forecast over the best settings, (system, horizon).
    """
    past, others = zoo.test[:, : -zoo.horizon], np.asarray(zoo.train)
    ends = np.linspace(num_known, others.shape[1] - zoo.horizon, NUM_LOOPS).astype(int)
    pieces = np.stack([others[:, end - num_known : end + zoo.horizon] for end in ends], 1)
    histories = jnp.concatenate([past[:, None, -num_known:], pieces[..., :num_known]], 1)
    forecasts, errors = [], []
    for setting in settings:
        first, *loops = np.moveaxis(np.asarray(run((past, histories), setting)), 1, 0)
        forecasts.append(first)
        errors.append(smape(np.stack(loops, 1), pieces[..., num_known:]).mean(1))
    best = np.argsort(errors, 0)[:num_best]
    return np.median(np.take_along_axis(np.stack(forecasts), best[..., None], 0), 0)


def kernel_ridge(zoo: Zoo, config: Any) -> np.ndarray:
    """Forecasts by kernel ridge regression on delays, the median of the three best settings."""
    settings = [
        (lag_weights(*embedding, zoo.pts_per_period), bandwidth, penalty)
        for embedding in EMBEDDINGS
        for bandwidth in BANDWIDTHS
        for penalty in PENALTIES
    ]
    run = partial(_closed_loops, _fit_kernel, zoo.horizon)
    return picked(run, zoo, settings, num_known=len(settings[0][0]), num_best=3)


def gru(zoo: Zoo, config: Any) -> np.ndarray:
    """Forecasts by a GRU for each system, from the best of several initial weights."""
    return _recurrent(jaxcast.nn.GRU, zoo, config)


def lstm(zoo: Zoo, config: Any) -> np.ndarray:
    """Forecasts by an LSTM for each system, from the best of several initial weights."""
    return _recurrent(jaxcast.nn.LSTM, zoo, config)


def _recurrent(layer: Any, zoo: Zoo, config: Any) -> np.ndarray:
    """Trains a layer for each system, all in one program; its settings are its initial weights."""
    keys = list(jax.random.split(jax.random.key(config.seed), config.num_starts))
    fit = partial(_fit_recurrent, layer, config.num_optimizer_steps)
    return picked(partial(_closed_loops, fit, zoo.horizon), zoo, keys, num_known=zoo.test.shape[1] // 6)


def _fit_kernel(series: Float[Array, "time dim"], setting: Any) -> Any:
    weights, bandwidth, penalty = setting
    return jaxcast.forecasters.fit_delay_kernel_ridge(series, lag_weights=weights, bandwidth=bandwidth, penalty=penalty)


def _fit_recurrent(layer: Any, num_optimizer_steps: int, series: Float[Array, "time dim"], key: Any) -> Any:
    layers = layer(input_size=1, hidden_size=HIDDEN_SIZE, key=key, init="orthogonal", dtype=series.dtype)
    return jaxcast.forecasters.fit_recurrent_forecaster(series, layers=layers, num_optimizer_steps=num_optimizer_steps)


def _closed_loops(fit: Callable[[Array, Any], Any], num_leads: int, systems: Any, setting: Any) -> Array:
    mesh = devices_for(None, systems)
    loops = _all_loops(systems, setting, fit=fit, num_leads=num_leads, mesh=mesh)
    found: Array = without_repeated(loops, len(jax.tree.leaves(systems)[0]))
    return found


@partial(jax.jit, static_argnames=("fit", "num_leads", "mesh"))
def _all_loops(systems: Any, setting: Any, *, fit: Any, num_leads: int, mesh: Any) -> Array:
    """Runs all systems in one program, spread over the devices."""

    def one(system: Any, setting: Any) -> Array:
        series, histories = system
        cell = fit(series[:, None], setting)
        return jax.vmap(lambda known: jaxcast.forecast(cell, known[:, None], num_leads).forecast[:, 0])(histories)

    return map_shards(
        lambda own, setting: jax.lax.map(lambda system: one(system, setting), own), systems, setting, mesh
    )


METHODS: dict[str, Callable[[Zoo, Any], np.ndarray]] = {
    "last_value": last_value,
    "mean": mean,
    "last_period": last_period,
    "kernel_ridge": kernel_ridge,
    "gru": gru,
    "lstm": lstm,
}

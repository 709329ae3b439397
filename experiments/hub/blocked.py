"""The paper's networks by the paper's protocol, which uses later data and fills gaps."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

import jaxcast
from experiments.hub.data_sets import WEIGHT_DECAY
from experiments.hub.setup import Config, Window
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder

NUM_DELAYS, NUM_HEADS = 5, 21


def blocked(
    config: Config, hub: jaxcast.hub.Hub, windows: list[Window], folder: RunFolder, console: Console
) -> dict[str, np.ndarray]:
    """Trains the paper's pools on everything outside of each window.

    Args:
        config: Settings.
        hub: The hub.
        windows: The windows to leave out.
        folder: Folder of the run.
        console: Console to print on.

    Returns:
        Forecasts (location, time, quantile) by method, NaN outside of the windows.
    """
    filled = jaxcast.hub.fill_gaps(hub).forecasts()
    masks = np.stack([hub.weeks(window.first, window.last) for window in windows])
    mean = jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), filled).forecast
    forecasts = {"equal_mean": np.asarray(mean)}
    for number, name in enumerate(config.blocked):
        parts = []
        for index, mask in enumerate(masks):

            def train(
                _: Path, name: str = name, number: int = number, index: int = index, mask: np.ndarray = mask
            ) -> Arrays:
                console.print(f"{name}, without window {windows[index].name}", highlight=False)
                run = jaxcast.hub.blocked_windows(
                    filled,
                    mask[None],
                    init=initialiser(name, config, hub),
                    num_delays=NUM_DELAYS,
                    keys=jax.random.split(jax.random.fold_in(jax.random.key(config.seed), number), 1),
                    optimizer=jaxcast.training.make_optimizer(
                        config.blocked_learning_rate, weight_decay=WEIGHT_DECAY[name]
                    ),
                    num_epochs=config.blocked_epochs,
                    batch_size=config.blocked_batch_size,
                )
                return {"forecast": np.asarray(run.forecast[0][:, mask]), "losses": np.asarray(run.losses[0])}

            parts.append(folder.stage(f"{name}_{index}", train)["forecast"])
        forecasts[name] = np.full(hub.truth.shape + hub.levels.shape, np.nan)
        for mask, part in zip(masks, parts, strict=True):
            forecasts[name][:, mask] = part
    return forecasts


def initialiser(name: str, config: Config, hub: jaxcast.hub.Hub) -> Any:
    """Returns a function that makes one of the paper's pools from a random key.

    Args:
        name: Name of the pool.
        config: Settings.
        hub: The hub.
    """
    num_levels = len(hub.levels)

    def regression(key: jax.Array) -> Any:
        return jaxcast.hub.QuantileRegression(
            num_models=len(hub.models), num_quantiles=num_levels, num_delays=NUM_DELAYS, key=key
        )

    def additive(key: jax.Array) -> Any:
        return jaxcast.AdditiveAttention(
            dim=num_levels, query_dim=1, num_delays=NUM_DELAYS, hidden_size=config.blocked_hidden, key=key
        )

    def multi_head(key: jax.Array) -> Any:
        return jaxcast.pooling.MultiHeadAttention(
            score="additive",
            num_heads=NUM_HEADS,
            dim=num_levels,
            query_dim=1,
            num_delays=NUM_DELAYS,
            hidden_size=max(1, config.blocked_hidden // 10),
            key=key,
        )

    return {"linear_regression": regression, "additive_attention": additive, "multi_head_attention": multi_head}[name]

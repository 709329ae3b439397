"""Recurrent forecasters of `experiments.regions`, all seeds of one in one program."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast

NETWORKS: dict[str, Callable[..., Any]] = {
    "independent_network": jaxcast.series.IndependentNetwork,
    "hierarchical_network": jaxcast.series.HierarchicalNetwork,
    "attention_network": jaxcast.series.AttentionNetwork,
    "global_network": jaxcast.series.GlobalNetwork,
    "global_network_with_self_attention": partial(jaxcast.series.GlobalNetwork, self_attention=True),
}
"""The first four as the specification numbers them, and its LSTM with self-attention."""


class Trained(NamedTuple):
    """Forecasts of trained networks, (seed, sample, lead, region).

    Args:
        valid: of the validation part.
        test: of the test part.
        refitted: of the test part, by networks that learned from training and validation part, for
            the epochs that were best for the median seed.
        learned: the losses of all epochs, (seed, epoch), and of networks with attention the mean
            map between regions, (region, source).
    """

    valid: np.ndarray
    test: np.ndarray
    refitted: np.ndarray
    learned: dict[str, np.ndarray]


def networks(name: str, config: Any, parts: Any, seeds: Sequence[int]) -> Trained:
    """Trains one network for every seed, all in one program.

    Each seed keeps its best epoch on the validation part.
    """
    train, valid, test, known = jax.tree.map(
        lambda a: a.astype(jnp.float32) if jnp.issubdtype(a.dtype, jnp.floating) else a, tuple(parts)
    )

    def init(key: Any) -> Any:
        return NETWORKS[name](train, hidden_size=config.hidden_size, kind=config.kind, level=config.level, key=key)

    def fit(learned: Any, num_epochs: int, **options: Any) -> Any:
        batch_size = min(config.training.batch_size, len(learned.targets))
        optimizer = config.training.optimizer(len(learned.targets) // batch_size)
        return jaxcast.fit(
            learned,
            init=init,
            keys=jax.vmap(jax.random.key)(jnp.asarray(seeds)),
            optimizer=optimizer,
            num_epochs=num_epochs,
            batch_size=batch_size,
            loss=jaxcast.series.WindowLoss(),
            **options,
        )

    first = fit(train, config.training.num_epochs, validation=valid, patience=config.patience)
    best_epoch = int(np.median(np.nanargmin(np.asarray(first.validation_losses), 1))) + 1
    again = fit(known, best_epoch)
    # Histories as arguments: XLA would spend seconds on folding what it can of a constant.
    run = jax.jit(lambda models, history: jax.vmap(lambda model: model(history))(models))
    of_valid, of_test = run(first.models, valid.history), run(first.models, test.history)
    refitted = run(again.models, test.history)
    learned = {"losses": np.asarray(first.losses), "validation_losses": np.asarray(first.validation_losses)}
    if "weights" in of_test.info:
        learned["region_map"] = np.asarray(of_test.info["weights"]).mean((0, 1))
    of_valid, of_test, refitted = (np.maximum(one.forecast, 0) for one in (of_valid, of_test, refitted))
    return Trained(of_valid, of_test, refitted, learned)

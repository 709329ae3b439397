"""The recurrent forecasters of `experiments.regions`, all seeds of one in one program, and the map between regions that one learns."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast

BATCH_SIZE = 16
NETWORKS: dict[str, Callable[..., Any]] = {
    "independent_network": jaxcast.IndependentNetwork,
    "hierarchical_network": jaxcast.HierarchicalNetwork,
    "attention_network": jaxcast.AttentionNetwork,
    "global_network": jaxcast.GlobalNetwork,
    "global_network_with_self_attention": partial(jaxcast.GlobalNetwork, self_attention=True),
}
"""The first four as the specification numbers them, and its LSTM with self-attention."""


def networks(name: str, config: Any, parts: Any, seeds: Sequence[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Forecasts of the test part, (seed, sample, lead, region), and the mean attention paid to regions, (region, source).

    Trained in units of each series' standard deviation; each seed is the one of its best epoch on the validation part.
    """
    batch_size = min(BATCH_SIZE, len(parts.train.targets))
    num_steps = config.num_epochs * (len(parts.train.targets) // batch_size)
    optimizer = jaxcast.make_optimizer(1e-2, schedule="cosine", num_steps=num_steps, weight_decay=1e-2, clip_norm=1.0)

    train, valid, test = (jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), part) for part in parts)

    def init(key: Any) -> Any:
        return NETWORKS[name](train, hidden_size=config.hidden_size, kind=config.kind, key=key)

    fit = jaxcast.fit(
        init, train, keys=jax.vmap(jax.random.key)(jnp.asarray(seeds)), optimizer=optimizer,
        num_epochs=config.num_epochs, batch_size=batch_size, loss=jaxcast.region_loss, validation=valid,
    )  # fmt: skip
    outputs = jax.jit(jax.vmap(lambda model: model(test.history)))(fit.model)
    weights = outputs.info.get("weights")
    learned = {} if weights is None else {"region_map": np.asarray(weights).mean((0, 1))}
    return np.maximum(outputs.forecast, 0), learned

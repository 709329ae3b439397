"""Training of networks of texts: their loss over groups, and their optimizer."""

import dataclasses
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxcast.nn.classification import class_cross_entropy
from jaxcast.text.batches import TextGroups
from jaxcast.text.networks import TextNetwork
from jaxcast.training.optimizers import make_optimizer


@dataclasses.dataclass(frozen=True)
class TextLoss:
    """The cross-entropy of a network over groups of texts, each computed at its bucket's length.

    Args:
        buckets: the lengths.
        smoothing: share of each label that is spread over all classes, in training.
    """

    buckets: tuple[int, ...]
    smoothing: float = 0.0

    def __call__(self, network: TextNetwork, groups: TextGroups, key: Any = None) -> Float[Array, ""]:
        """Returns the mean loss over all texts.

        Args:
            network: of the texts.
            groups: of them.
            key: switches dropout and smoothing on.
        """
        if len(groups.bucket) == 1:
            return self._of_group(network, jax.tree.map(lambda a: a[0], groups), key)
        counts = groups.weights.sum(-1)
        losses = jax.lax.map(lambda group: self._of_group(network, group, key), groups)
        return (losses * counts).sum() / counts.sum()

    def _of_group(self, network: TextNetwork, group: TextGroups, key: Any) -> Array:
        def at_length(length: int, tokens: Array) -> Array:
            return network(tokens[:, :length], key=key).logits

        branches = [partial(at_length, length) for length in self.buckets]
        logits = jax.lax.switch(group.bucket, branches, group.tokens)
        loss = class_cross_entropy(logits, group.labels, group.weights)
        if key is None or not self.smoothing:
            return loss
        uniform = -jax.nn.log_softmax(logits, -1).mean(-1)
        spread = (group.weights * uniform).sum() / jnp.maximum(group.weights.sum(), 1)
        return (1 - self.smoothing) * loss + self.smoothing * spread


@cache
def text_optimizer(
    learning_rate: float, *, tuning: float, weight_decay: float, max_norm: float | None
) -> optax.GradientTransformation:
    """Makes Adam, with a rate of its own for the vectors of words and a norm for the read-out.

    Args:
        learning_rate: of Adam.
        tuning: factor of the learning rate for the vectors of words.
        weight_decay: as for `make_optimizer`.
        max_norm: the largest norm of the read-out's weights to one class; None for any.
    """
    adam = make_optimizer(learning_rate, weight_decay=weight_decay)

    def changed(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree_util.tree_map_with_path(_change, updates, params), state

    def _change(path: Any, update: Array, param: Array) -> Array:
        name = jax.tree_util.keystr(path)
        if "'vectors'" in name and "'trained'" in name:
            return tuning * update
        if max_norm is None or "'readout'" not in name or "'kernel'" not in name:
            return update
        moved = param + update
        norm = jnp.linalg.norm(moved, axis=-2, keepdims=True)
        return moved * jnp.minimum(1, max_norm / jnp.maximum(norm, 1e-12)) - param

    return optax.chain(adam, optax.GradientTransformation(lambda params: optax.EmptyState(), changed))

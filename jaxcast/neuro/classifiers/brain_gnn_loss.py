"""The loss of BrainGNN, and how the authors' code deviates from it."""

import dataclasses
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxcast.checks import check_choice, check_number
from jaxcast.neuro.classifiers.brain_gnn import BrainGNN, BrainGNNOutput
from jaxcast.neuro.classifiers.brain_gnn_layers import Pooled, is_kept
from jaxcast.nn.classification import class_cross_entropy

ScoredNodes = Literal["all", "kept"]
Sigmoid = Literal["once", "again"]
SMALL = 1e-10


@dataclasses.dataclass(frozen=True)
class BrainGNNLoss:
    """The loss of BrainGNN.

        L = cross-entropy + u sum_l (|w_l| - 1)^2 + t sum_l L_top(l) + c L_consistent
        L_top = - mean of log s over the kept nodes - mean of log(1 - s) over the dropped
        L_consistent = sum over classes of sum over pairs of their subjects |s_a - s_b|^2 / n^2

    s are the scores of all nodes in the order of the regions; the last term is of the first block.

    Args:
        unit_penalty: u.
        top_penalty: t.
        consistency_penalty: c.
        scored_nodes: "all", or "kept" as in the authors' code: there the top-k term splits the kept
            nodes, and the consistency term compares the best region of one subject with the best of
            another, whichever they are.
        sigmoid: "once", or "again" as in the authors' code, where the scores of the top-k term have
            gone through it twice and those of the consistency term three times.

    Raises:
        InputError: for penalties below zero, or another word.

    Source:
        Li et al. (2021), equations 10 to 14; https://github.com/xxlya/BrainGNN_Pytorch for the
        deviations and the penalties.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.neuro.BrainGNN(num_regions=6, hidden_size=4, key=jax.random.key(0))
        >>> batch = {"features": jnp.eye(6)[None], "edges": jnp.ones((1, 6, 6)), "label": jnp.asarray([1])}
        >>> loss = jaxcast.neuro.BrainGNNLoss(consistency_penalty=0.0)
        >>> bool(loss(network, batch) > 0)
        True
    """

    unit_penalty: float | int = 0.0
    top_penalty: float | int = 0.1
    consistency_penalty: float | int = 0.1
    scored_nodes: ScoredNodes = "all"
    sigmoid: Sigmoid = "once"

    def __post_init__(self) -> None:
        check_number("unit_penalty", self.unit_penalty, least=0)
        check_number("top_penalty", self.top_penalty, least=0)
        check_number("consistency_penalty", self.consistency_penalty, least=0)
        check_choice("scored_nodes", self.scored_nodes, get_args(ScoredNodes))
        check_choice("sigmoid", self.sigmoid, get_args(Sigmoid))

    def __call__(self, network: BrainGNN, batch: dict[str, Any], key: Key[Array, ""] | None = None) -> Float[Array, ""]:
        """Computes the loss of a minibatch.

        Args:
            network: the network.
            batch: "features", "edges" and "label" of each subject.
            key: random key for dropout. Without one it is the validation loss, the cross-entropy
                alone.

        Returns:
            The loss.
        """
        output = network(batch["features"], batch["edges"], key=key, of_batch=True)
        entropy = class_cross_entropy(output.logits, batch["label"])
        return entropy if key is None else entropy + self.penalties(network, output, batch["label"])

    def penalties(self, network: BrainGNN, output: BrainGNNOutput, labels: Int[Array, " batch"]) -> Float[Array, ""]:
        """Computes the terms besides the cross-entropy.

        Args:
            network: the network.
            output: of a minibatch.
            labels: of the minibatch.

        Returns:
            Their sum.
        """
        norms = [jnp.linalg.norm(pool.direction[...]) for pool in (network.first_pool, network.second_pool)]
        unit: Any = sum(jnp.square(norm - 1) for norm in norms)
        top = self.top_k(output.first, network.first_pool.ratio) + self.top_k(output.second, network.second_pool.ratio)
        same = self.consistency(output.first, labels, num_classes=output.logits.shape[-1])
        return self.unit_penalty * unit + self.top_penalty * top + self.consistency_penalty * same

    def top_k(self, pooled: Pooled, ratio: float) -> Float[Array, ""]:
        """Computes L_top of one block.

        Args:
            pooled: the block's output.
            ratio: share of nodes that it keeps.

        Returns:
            The term.
        """
        if self.scored_nodes == "kept":
            scores = jnp.sort(self._again(_kept_scores(pooled), 1), -1)
            count = max(1, int(scores.shape[-1] * min(ratio, 1 - ratio)))
            high, low = scores[:, -count:], scores[:, :count]
            return -jnp.log(high + SMALL).mean() - jnp.log(1 - low + SMALL).mean()
        kept = is_kept(pooled.kept, pooled.logits.shape[-1])
        if self.sigmoid == "once":
            high, low = jax.nn.log_sigmoid(pooled.logits), jax.nn.log_sigmoid(-pooled.logits)
        else:
            scores = self._again(jax.nn.sigmoid(pooled.logits), 1)
            high, low = jnp.log(scores), jnp.log(1 - scores)
        return -jnp.mean(high, where=kept) - (low * ~kept).sum() / jnp.maximum((~kept).sum(), 1)

    def consistency(self, pooled: Pooled, labels: Int[Array, " batch"], *, num_classes: int) -> Float[Array, ""]:
        """Computes L_consistent of one block.

        Args:
            pooled: the block's output.
            labels: classes of the subjects.
            num_classes: number of classes.

        Returns:
            The term; a class without subjects adds nothing.
        """
        scores = _kept_scores(pooled) if self.scored_nodes == "kept" else jax.nn.sigmoid(pooled.logits)
        scores = self._again(scores, 2)
        # sum over pairs |s_a - s_b|^2 / n^2 is the variance over the class's subjects.
        members = (labels == jnp.arange(num_classes)[:, None]).astype(scores.dtype)
        counts = jnp.maximum(members.sum(-1), 1)
        means = members @ scores / counts[:, None]
        squares = members @ jnp.square(scores - means[labels]) / counts[:, None]
        return squares.sum()

    def _again(self, scores: Array, times: int) -> Array:
        for _ in range(times if self.sigmoid == "again" else 0):
            scores = jax.nn.sigmoid(scores)
        return scores


def _kept_scores(pooled: Pooled) -> Float[Array, "batch kept"]:
    """Returns the scores of the kept nodes alone, best first."""
    return jax.nn.sigmoid(jnp.take_along_axis(pooled.logits, pooled.kept, -1))

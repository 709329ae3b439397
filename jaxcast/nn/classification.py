"""Losses of networks that predict one of several classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked


def log_probability(logits: Float[Array, "*batch class"], labels: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Computes the log-probability of each label under a softmax, in nats.

    Args:
        logits: of all classes.
        labels: numbers of classes.
    """
    return jnp.take_along_axis(jax.nn.log_softmax(logits, -1), labels[..., None], -1)[..., 0]


@checked
def class_cross_entropy(
    logits: Float[Array, "*batch class"],
    labels: Int[Array, "*batch"],
    weights: Float[Array, "*batch"] | None = None,
) -> Float[Array, ""]:
    """Computes the mean of -log p of the true classes, in nats.

        L = -sum_n w_n log softmax(logits_n)[label_n] / sum_n w_n

    Args:
        logits: of all classes; of two classes, softmax of both is the sigmoid of their difference.
        labels: true classes, counted from 0.
        weights: of each sample, such as 0 for one that fills up a batch or one over the frequency
            of its class; by default all count alike.

    Returns:
        The loss; 0 where all weights are 0.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> loss = jaxcast.nn.class_cross_entropy(jnp.zeros((3, 4)), jnp.asarray([0, 3, 1]))
        >>> round(float(loss), 4)
        1.3863
    """
    losses = -log_probability(logits, labels)
    if weights is None:
        return losses.mean()
    total = weights.sum()
    return (weights * losses).sum() / jnp.where(total == 0, 1, total)

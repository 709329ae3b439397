"""A dense network over the features of each series, with an embedding of the series."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_sizes
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.network import Network


class FeatureTargets(NamedTuple):
    """What a `FeatureNetwork` learns from.

    Args:
        features: standardised.
        targets: of each series and lead.
        weights: of the errors, 0 where a target is not known.
    """

    features: Float[Array, "sample region feature"]
    targets: Float[Array, "sample region lead"]
    weights: Float[Array, "sample region lead"]


class FeatureNetwork(Checked, Network, name="feature_network"):
    """A dense network that all series share; each has an embedding beside its features.

        h = gelu(W_1 x_r + E_r + b_1),    y_r = W_3 ( gelu(W_2 h + b_2) + h ) + b_3

    E_r is a row of numbers for each series, in the space of the hidden units.

    Args:
        num_regions: series.
        input_size: features of each.
        num_leads: numbers that come out.
        hidden_size: hidden units.
        embedding_size: numbers that tell series apart.
        key: of the initial parameters.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.series.FeatureNetwork(
        ...     num_regions=3, input_size=5, num_leads=2, hidden_size=8, embedding_size=4, key=jax.random.key(0)
        ... )
        >>> network(jnp.ones((10, 3, 5))).shape
        (10, 3, 2)
    """

    def __init__(
        self,
        *,
        num_regions: int,
        input_size: int,
        num_leads: int,
        hidden_size: int = 128,
        embedding_size: int = 16,
        key: Any,
    ):
        check_sizes(
            num_regions=num_regions,
            input_size=input_size,
            num_leads=num_leads,
            hidden_size=hidden_size,
            embedding_size=embedding_size,
        )
        rngs, dtype = nnx.Rngs(key), jnp.float32

        def layer(size: int, out: int, fan_in: float | int) -> nnx.Linear:
            return uniform_linear(size, out, fan_in=max(int(fan_in), 1), rngs=rngs, dtype=dtype)

        self.embedding = nnx.Param(0.3 * jax.random.normal(rngs.params(), (num_regions, embedding_size), dtype))
        # A variance of 2 / fan_in keeps the size of what passes through; small last weights begin near no correction.
        self.first = layer(input_size, hidden_size, (input_size + embedding_size) / 6)
        self.of_embedding = layer(embedding_size, hidden_size, (input_size + embedding_size) / 6)
        self.second = layer(hidden_size, hidden_size, hidden_size / 6)
        self.last = layer(hidden_size, num_leads, 16 * hidden_size)

    @property
    def config(self) -> dict[str, Any]:
        """The settings without the key: JSON values, the same for several seeds."""
        num_regions, embedding_size = self.embedding.shape[-2:]
        input_size, hidden_size = self.first.kernel.shape[-2:]
        return {
            "num_regions": num_regions,
            "input_size": input_size,
            "num_leads": self.last.kernel.shape[-1],
            "hidden_size": hidden_size,
            "embedding_size": embedding_size,
        }

    def check(self) -> None:
        """Raises InputError unless the sizes are those of such a network."""
        check_sizes(**self.config)

    def __call__(self, features: Float[Array, "*batch region feature"]) -> Float[Array, "*batch region lead"]:
        """Returns one number for each series and lead.

        Args:
            features: standardised.
        """
        hidden = jax.nn.gelu(self.first(features) + self.of_embedding(self.embedding[...]))
        return self.last(jax.nn.gelu(self.second(hidden)) + hidden)


def robust_loss(network: Any, samples: FeatureTargets) -> Float[Array, ""]:
    """Computes the mean Huber loss: quadratic up to half a unit, linear beyond.

    Args:
        network: a `FeatureNetwork`.
        samples: what it learns from.

    Returns:
        The loss; 0 where nothing is known.
    """
    losses = 2 * optax.losses.huber_loss(network(samples.features), samples.targets, delta=0.5)
    return (losses * samples.weights).sum() / jnp.maximum(samples.weights.sum(), 1e-6)

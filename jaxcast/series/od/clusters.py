"""The encoder of OD-CED: states of clusters from the trips between them."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.nn.graph import symmetric_normalised
from jaxcast.nn.layers import Buffer
from jaxcast.nn.self_attention import SelfAttention
from jaxcast.series.od.layers import ODEmbedding, linear


class ClusterEncoder(nnx.Module):
    """States of clusters, from any two of them and from those that touch.

        z = relu(W [o, d, s]),    y = g * attention(z) + (1 - g) * relu(S z W_g),    z' = z + y

    with o and d the embeddings of a cluster as origin and as destination, s what is known of the
    calendar, S the normalised graph of clusters and g = sigmoid(W' [both]) a gate.

    Args:
        input_size: numbers known of each pair of clusters.
        graph: of clusters, symmetric.
        num_known: numbers known of the calendar and besides.
        embedding_size: learned numbers of each cluster.
        size: components of a state.
        num_heads: of the attention.
        key: for the weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        input_size: int,
        *,
        graph: Float[Array, "zone zone"],
        num_known: int,
        embedding_size: int,
        size: int,
        num_heads: int,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        keys = jax.random.split(key, 6)
        self.graph = Buffer(symmetric_normalised(graph).astype(dtype))

        def embedding(key: Array) -> ODEmbedding:
            return ODEmbedding(
                input_size, num_zones=len(graph), embedding_size=embedding_size, size=size, key=key, dtype=dtype
            )

        self.origins, self.destinations = embedding(keys[0]), embedding(keys[1])
        self.joint = linear(2 * size + num_known, size, key=keys[2], dtype=dtype)
        self.attention = SelfAttention(size=size, num_heads=num_heads, residual=False, key=keys[3], dtype=dtype)
        self.geographic = linear(size, size, key=keys[4], dtype=dtype)
        self.gate = linear(2 * size, size, key=keys[5], dtype=dtype)

    def __call__(
        self, flows: Float[Array, "sample zone zone input"], known: Float[Array, "sample known"]
    ) -> tuple[Float[Array, "sample zone size"], Float[Array, "sample head zone zone"]]:
        """Encodes every cluster.

        Args:
            flows: what is known of each pair of clusters.
            known: the calendar and what else is known.

        Returns:
            The states, and the attention of each cluster to all.
        """
        both = [self.origins(flows), self.destinations(jnp.swapaxes(flows, 1, 2))]
        calendar = jnp.broadcast_to(known[:, None], (*both[0].shape[:2], known.shape[-1]))
        states = jax.nn.relu(self.joint(jnp.concatenate([*both, calendar], -1)))
        semantic, weights = self.attention(states)
        geographic = jax.nn.relu(self.geographic(self.graph @ states))
        gate = jax.nn.sigmoid(self.gate(jnp.concatenate([semantic, geographic], -1)))
        return states + gate * semantic + (1 - gate) * geographic, weights

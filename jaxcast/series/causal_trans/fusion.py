"""Spatial fusion: attention among neighbours of like nodes, and of all nodes to all at linear cost."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.taylor_attention import linear_attention, unit_norm

SLOPE = 0.2
LEAST_SHARE = 1e-6


class SpatialFusion(nnx.Module):
    """Fuses what nodes know at each step: among neighbours of the same cluster, and among all.

        c_v = softmax(W_c h_v),    e_vu = LeakyReLU(a . [W h_v, W h_u])
        alpha_v = softmax over neighbours u of (e_vu + ln(c_v . c_u))
        g_v = x_v + W_g elu(sum_u alpha_vu W x_u)
        y_v = g_v + W_o linear_attention(W_q g_v, W_k g, W_v g)

    with h_v the mean of a node over the steps of the history, so that a window is clustered once.
    c_v . c_u is the probability that both are drawn into one cluster: neighbours of another one
    have hardly any weight. What is returned is y_v - x_v.

    Args:
        size: components of a node.
        num_clusters: components of c.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(self, *, size: int, num_clusters: int, key: Key[Array, ""], dtype: DTypeLike):
        of_clusters, of_values, of_pairs, of_graph, of_heads, of_all = jax.random.split(key, 6)

        def linear(out_size: int, key: Array, use_bias: bool = True) -> nnx.Linear:
            return uniform_linear(size, out_size, fan_in=size, rngs=nnx.Rngs(key), dtype=dtype, use_bias=use_bias)

        self.clusters = linear(num_clusters, of_clusters)
        self.values = linear(size, of_values, use_bias=False)
        self.pairs = linear(2, of_pairs, use_bias=False)
        self.of_graph = linear(size, of_graph)
        self.heads = linear(3 * size, of_heads)
        self.of_all = linear(size, of_all)

    def __call__(
        self, xs: Float[Array, "sample time node size"], means: Array, neighbours: Bool[Array, "node node"]
    ) -> tuple[Float[Array, "sample time node size"], dict[str, Any]]:
        """Fuses all steps.

        Args:
            xs: of each node and step.
            means: of each node, (sample, node, size).
            neighbours: which nodes each node listens to; itself is one of them.

        Returns:
            What is added to the nodes, and the clusters and weights of each.
        """
        clusters = jax.nn.softmax(self.clusters(means), -1)
        shared = jnp.einsum("bvg,bug->bvu", clusters, clusters)
        own, other = jnp.moveaxis(self.pairs(self.values(means)), -1, 0)
        scores = jax.nn.leaky_relu(own[..., :, None] + other[..., None, :], SLOPE)
        scores = scores + jnp.log(shared + LEAST_SHARE)
        weights = jax.nn.softmax(jnp.where(neighbours, scores, jnp.finfo(scores.dtype).min), -1)
        heard = jnp.einsum("bvu,btuc->btvc", weights, self.values(xs))
        near = self.of_graph(jax.nn.elu(heard))
        queries, keys, values = jnp.split(self.heads(xs + near), 3, -1)
        far = self.of_all(linear_attention(unit_norm(queries), unit_norm(keys), values))
        return near + far, {"clusters": clusters, "weights": weights}

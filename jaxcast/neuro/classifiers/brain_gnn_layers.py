"""Layers of BrainGNN: convolution with a kernel for each region, and pooling to the best regions."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Int, Key

Aggregation = Literal["sum", "mean"]


class RegionConvolution(nnx.Module):
    """A graph convolution whose kernel depends on which region a node is.

        W_i = reshape( relu(t_i) B + c ),    h_i = b + sum_j a_ij W_j x_j

    t_i are the memberships of region i in some communities, each with a basis kernel, a row of B.
    a_ij is a softmax of the edge weights over the neighbours of i and i itself.

    Args:
        num_regions: number of regions.
        num_communities: number of basis kernels.
        input_size: features of a node.
        output_size: features of a node's output.
        aggregation: "sum" as above, or "mean", which also divides by the number of neighbours, as
            the authors' code does.
        key: random key.
        dtype: of the parameters.
    """

    def __init__(
        self,
        *,
        num_regions: int,
        num_communities: int,
        input_size: int,
        output_size: int,
        aggregation: Aggregation,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        of_memberships, of_basis, of_shared = jax.random.split(key, 3)
        shape = (num_communities, input_size, output_size)
        bound = input_size**-0.5
        self.memberships = nnx.Param(jax.random.uniform(of_memberships, (num_regions, num_communities), dtype))
        self.basis = nnx.Param(jax.random.uniform(of_basis, shape, dtype, -bound, bound) / num_communities**0.5)
        self.shared = nnx.Param(jax.random.uniform(of_shared, shape[1:], dtype, -bound, bound))
        self.bias = nnx.Param(jnp.zeros(output_size, dtype))
        self.aggregation = aggregation

    @property
    def communities(self) -> Float[Array, "*seed region community"]:
        """The membership of each region in each community, at least 0."""
        return jax.nn.relu(self.memberships[...])

    def begin_as(self, modules: Int[np.ndarray, " region"]) -> None:
        """Makes communities of modules, so that each region begins in one of them.

        Kernels keep their size. What is left of the random memberships lets a region join others.

        Args:
            modules: number of the module of each region.
        """
        num_communities = self.memberships.shape[-1]
        own = (num_communities / 3) ** 0.5 * jax.nn.one_hot(modules, num_communities, dtype=self.memberships.dtype)
        self.memberships[...] = own + self.memberships[...] / num_communities

    def of_all(
        self, inputs: Float[Array, "batch region input"], edges: Float[Array, "batch region region"]
    ) -> Float[Array, "batch region output"]:
        """Convolves graphs that have all regions as nodes, in their order.

        Args:
            inputs: of each node.
            edges: weights; 0 where there is no edge.
        """
        return self._aggregated(jnp.einsum("bri,rio->bro", inputs, self._kernels()), edges)

    def of_some(
        self,
        inputs: Float[Array, "batch node input"],
        edges: Float[Array, "batch node node"],
        regions: Int[Array, "batch node"],
    ) -> Float[Array, "batch node output"]:
        """Convolves graphs that have some regions as nodes.

        Args:
            inputs: of each node.
            edges: weights; 0 where there is no edge.
            regions: which region each node is.
        """
        kernels = self._kernels()[regions]
        return self._aggregated(jnp.einsum("bni,bnio->bno", inputs, kernels), edges)

    def _kernels(self) -> Float[Array, "region input output"]:
        # Every subject has the same regions, so each region's kernel is made once.
        return jnp.einsum("rk,kio->rio", self.communities, self.basis[...]) + self.shared[...]

    def _aggregated(self, messages: Array, edges: Array) -> Array:
        is_own = jnp.eye(edges.shape[-1], dtype=bool)
        is_seen = (edges != 0) | is_own
        weights = jnp.where(is_own, 1, edges)  # an edge of weight 1 to itself
        attention = jax.nn.softmax(jnp.where(is_seen, weights, jnp.finfo(edges.dtype).min / 2), -1)
        outputs = attention @ messages
        if self.aggregation == "mean":
            outputs = outputs / is_seen.sum(-1, keepdims=True)
        return outputs + self.bias[...]


class Pooled(NamedTuple):
    """A graph reduced to its best nodes.

    Args:
        states: of the kept nodes, times their scores.
        edges: among the kept nodes.
        kept: which nodes are kept, best first.
        logits: of the scores of all nodes, in their order.
    """

    states: Float[Array, "batch kept channel"]
    edges: Float[Array, "batch kept kept"]
    kept: Int[Array, "batch kept"]
    logits: Float[Array, "batch node"]


class TopKPool(nnx.Module):
    """Pooling to the nodes with the highest scores.

        s = sigmoid(p),    p = H w / |w|, standardised over the nodes of a graph

    The states of the kept nodes are multiplied by their scores. Their adjacency becomes (A + I)^2
    without the diagonal, so that neighbours of neighbours are joined.

    Args:
        size: features of a node.
        ratio: share of the nodes to keep.
        standardize: whether to standardise the projections over nodes, as in the paper; the
            authors' code does not.
        key: random key.
        dtype: of the parameters.
    """

    def __init__(self, *, size: int, ratio: float, standardize: bool, key: Key[Array, ""], dtype: DTypeLike):
        self.direction = nnx.Param(jax.random.normal(key, (size,), dtype) * size**-0.5)
        self.ratio, self.standardize = ratio, standardize

    def __call__(self, states: Float[Array, "batch node channel"], edges: Float[Array, "batch node node"]) -> Pooled:
        """Keeps the best nodes of each graph.

        Args:
            states: of the nodes.
            edges: weights.
        """
        direction = self.direction[...]
        logits = states @ direction / jnp.maximum(jnp.linalg.norm(direction), 1e-6)
        if self.standardize:
            centred = logits - logits.mean(-1, keepdims=True)
            logits = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
        best, kept = jax.lax.top_k(logits, num_kept(logits.shape[-1], self.ratio))
        states = jnp.take_along_axis(states, kept[..., None], -2) * jax.nn.sigmoid(best)[..., None]
        edges = jnp.take_along_axis(jnp.take_along_axis(edges, kept[..., None], -2), kept[..., None, :], -1)
        return Pooled(states, augmented(edges), kept, logits)


def num_kept(num_nodes: int, ratio: float) -> int:
    """Returns how many nodes are kept.

    Args:
        num_nodes: number of nodes.
        ratio: share to keep.
    """
    return max(1, -int(-ratio * num_nodes // 1))


def augmented(edges: Float[Array, "batch node node"]) -> Float[Array, "batch node node"]:
    """Returns (A + I)^2 without its diagonal.

    Args:
        edges: A.
    """
    eye = jnp.eye(edges.shape[-1], dtype=edges.dtype)
    looped = edges + eye
    squared: Any = looped @ looped
    return squared * (1 - eye)


def is_kept(kept: Int[Array, "batch kept"], num_nodes: int) -> Bool[Array, "batch node"]:
    """Returns which nodes are kept, in their order.

    Args:
        kept: numbers of the kept nodes.
        num_nodes: number of nodes.
    """
    return (kept[..., None] == jnp.arange(num_nodes)).any(-2)

"""BrainGNN: a graph network that knows which region each node is."""

from itertools import pairwise
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_flag, check_number, check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.neuro.classifiers.brain_gnn_layers import Aggregation, Pooled, RegionConvolution, TopKPool
from jaxcast.nn.batch_norm import BatchNorm, NormStatistics
from jaxcast.nn.dropout import drop
from jaxcast.nn.layers import Buffer, uniform_linear
from jaxcast.nn.network import Network

READ_OUT_SIZES = (32, 512)


class BrainGNNOutput(NamedTuple):
    """What BrainGNN says about subjects.

    Args:
        logits: of the classes.
        first: the graph after the first block; its `logits` are those of all regions' scores, in
            the order of the regions.
        second: the graph after the second block; its nodes are those that the first kept.
        statistics: of each batch norm, where they were measured.
    """

    logits: Float[Array, "batch class"]
    first: Pooled
    second: Pooled
    statistics: tuple[NormStatistics | None, ...]

    @property
    def scores(self) -> Float[Array, "batch region"]:
        """The score of each region, between 0 and 1."""
        return jax.nn.sigmoid(self.first.logits)


class BrainGNN(Network, name="brain_gnn_network"):
    """A graph network that knows which region each node is, and keeps the regions that matter.

    Two blocks, each a convolution and a pooling:

        W_i = reshape( relu(t_i) B + c ),    h_i = b + sum_j a_ij W_j x_j
        s = sigmoid( standardised H w / |w| ),    keep the best half, times their scores

    t_i are the memberships of region i in communities of regions; a is a softmax of the edge
    weights over a node's neighbours and itself. The kept nodes' adjacency becomes (A + I)^2 without
    the diagonal. The maximum and the mean over the nodes of both blocks go through layers of 32 and
    512 units, each with relu, batch norm and dropout. Features are taken relative to `mean`, in
    units of `scale`: numbers that are not trained, 0 and 1 unless `BrainGNNMethod` measures them.

    Args:
        num_regions: number of regions.
        num_classes: number of classes.
        num_communities: basis kernels that each region mixes.
        hidden_size: features of a node after each block.
        ratio: share of the nodes that each pooling keeps.
        dropout: share of the units that training drops.
        aggregation: "sum", or "mean" as in the authors' code, which divides by the number of
            neighbours once more.
        standardize: whether projections are standardised over the nodes, as in the paper; the
            authors' code does not.
        key: random key for the initial weights.
        dtype: of the parameters.

    Raises:
        InputError: for sizes or shares out of range, and inputs of other regions.

    Source:
        Li et al. (2021), Medical Image Analysis 74, 102233, sections 3.2 to 3.4;
        https://github.com/xxlya/BrainGNN_Pytorch.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.neuro.BrainGNN(num_regions=6, hidden_size=4, key=jax.random.key(0))
        >>> output = jax.jit(network)(jnp.ones((3, 6, 6)), jnp.ones((3, 6, 6)))
        >>> output.logits.shape, output.scores.shape, output.first.kept.shape
        ((3, 2), (3, 6), (3, 3))
    """

    @checked
    def __init__(
        self,
        *,
        num_regions: int,
        num_classes: int = 2,
        num_communities: int = 8,
        hidden_size: int = 32,
        ratio: float = 0.5,
        dropout: float | int = 0.5,
        aggregation: Aggregation = "sum",
        standardize: bool = True,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(
            num_regions=num_regions, num_classes=num_classes, num_communities=num_communities, hidden_size=hidden_size
        )
        check_number("ratio", ratio, above=0, most=1)
        check_number("dropout", dropout, least=0, most=0.95)
        check_choice("aggregation", aggregation, get_args(Aggregation))
        check_flag("standardize", standardize)
        check_arrays(
            f"BrainGNN of {num_regions} regions", (num_communities + num_regions, num_regions, hidden_size), dtype=dtype
        )
        keys = jax.random.split(key, 5)
        options: dict[str, Any] = {
            "num_regions": num_regions,
            "num_communities": num_communities,
            "output_size": hidden_size,
            "aggregation": aggregation,
            "dtype": dtype,
        }
        self.mean, self.scale = Buffer(jnp.zeros((num_regions, num_regions), dtype)), Buffer(jnp.ones((), dtype))
        self.first = RegionConvolution(input_size=num_regions, key=keys[0], **options)
        self.second = RegionConvolution(input_size=hidden_size, key=keys[1], **options)
        pool: dict[str, Any] = {"size": hidden_size, "ratio": ratio, "standardize": standardize, "dtype": dtype}
        self.first_pool, self.second_pool = TopKPool(key=keys[2], **pool), TopKPool(key=keys[3], **pool)
        sizes = (4 * hidden_size, *READ_OUT_SIZES, num_classes)
        rngs = nnx.Rngs(keys[4])
        self.layers = nnx.List(
            uniform_linear(size, after, fan_in=size, rngs=rngs, dtype=dtype) for size, after in pairwise(sizes)
        )
        self.norms = nnx.List(BatchNorm(size=size, dtype=dtype) for size in READ_OUT_SIZES)
        self.dropout = dropout

    @property
    def num_regions(self) -> int:
        """The number of regions."""
        return int(self.first.memberships.shape[-2])

    @property
    def config(self) -> dict[str, Any]:
        """The settings."""
        num_regions, num_communities = self.first.memberships.shape[-2:]
        return {
            "num_regions": num_regions,
            "num_classes": self.layers[-1].out_features,
            "num_communities": num_communities,
            "hidden_size": self.first.bias.shape[-1],
            "ratio": self.first_pool.ratio,
            "dropout": self.dropout,
            "aggregation": self.first.aggregation,
            "standardize": self.first_pool.standardize,
            "dtype": str(self.first.bias.dtype),
        }

    @checked
    def __call__(
        self,
        features: Float[Array, "batch region region"],
        edges: Float[Array, "batch region region"],
        *,
        key: Key[Array, ""] | None = None,
        of_batch: bool = False,
    ) -> BrainGNNOutput:
        """Classifies subjects.

        Args:
            features: of each node, its row of correlations.
            edges: weights with which each region sees the others, such as partial correlations; 0
                where there is no edge.
            key: random key for dropout; without one nothing is dropped.
            of_batch: whether batch norms use the statistics of these subjects.

        Returns:
            Logits of the classes, and the scores of the regions.

        Raises:
            InputError: for other regions than the network has.
        """
        shape = (self.num_regions, self.num_regions)
        if features.shape[1:] != shape or edges.shape != features.shape:
            raise InputError(
                f"expected features and edges (batch, {shape[0]}, {shape[1]}), got {features.shape} and {edges.shape}"
            )
        features = (features - self.mean[...]) / self.scale[...]
        first = self.first_pool(self.first.of_all(features, edges), edges)
        second = self.second_pool(self.second.of_some(first.states, first.edges, first.kept), first.edges)
        states = jnp.concatenate([_read_out(first.states), _read_out(second.states)], -1)
        statistics = []
        for number, norm in enumerate(self.norms):
            states = jax.nn.relu(self.layers[number](states))
            statistics.append(norm.measure(states) if of_batch else None)
            states = norm(states, statistics[-1])
            states = drop(states, self.dropout, None if key is None else jax.random.fold_in(key, number))
        return BrainGNNOutput(self.layers[-1](states), first, second, tuple(statistics))


def _read_out(states: Float[Array, "batch node channel"]) -> Float[Array, "batch feature"]:
    """Returns maximum and mean over the nodes."""
    return jnp.concatenate([states.max(-2), states.mean(-2)], -1)

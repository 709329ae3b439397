"""A spatio-temporal graph convolutional network on windows of regional series, with learned edge importance."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.nn.batch_norm import BatchNorm, NormStatistics
from jaxcast.nn.dropout import drop
from jaxcast.nn.layers import Buffer, apply_flat, uniform_linear
from jaxcast.nn.network import Network
from jaxcast.nn.temporal_convolution import TemporalConvolution


class BrainSTGCNOutput(NamedTuple):
    """Output of the network for windows.

    Args:
        logits: of the classes.
        statistics: of each batch norm, where they were measured.
    """

    logits: Float[Array, "batch class"]
    statistics: tuple[NormStatistics | None, ...]


class BrainSTGCN(Network, name="brain_stgcn_network"):
    """A spatio-temporal graph convolutional network on windows of the series of regions.

        A' = A * (E * E + (E * E)^T)
        h <- relu(norm(A' h W + (A' 1) b)),   h <- relu(norm(conv over time(h))),   in each block
        logits = V (mean of h over time and regions) + c

    A is the group's graph, the same for all subjects, E the edge importance, one matrix for all
    blocks. It starts at 1 and is symmetric and not negative by construction. Batch norms stand
    before the first block, over each region, and in the blocks, over each channel.

    Args:
        num_regions: nodes of the graph.
        graph: A, such as D^-1/2 C D^-1/2 of correlations C averaged over training subjects; by
            default no edges besides each region's to itself.
        num_classes: number of classes.
        hidden_size: channels of each block.
        num_layers: number of blocks.
        kernel_size: scans that a convolution over time sees, an odd number.
        dropout: share of a block's outputs that training drops, but for the first block.
        key: random key for the initial weights.
        dtype: of the parameters.

    Raises:
        InputError: for sizes or shares out of range, a graph that does not fit, or windows of other
            regions.

    Source:
        Gadgil et al. (2020), MICCAI 12267, 528-538; https://github.com/sgadgil6/cnslab_fmri.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.neuro.BrainSTGCN(
        ...     num_regions=5, graph=jnp.ones((5, 5)) / 5, hidden_size=4, num_layers=2, key=jax.random.key(0)
        ... )
        >>> network(jnp.ones((3, 20, 5))).logits.shape, network.edge_importance.shape
        ((3, 2), (5, 5))
    """

    @checked
    def __init__(
        self,
        *,
        num_regions: int,
        graph: Any = None,
        num_classes: int = 2,
        hidden_size: int = 32,
        num_layers: int = 3,
        kernel_size: int = 11,
        dropout: float | int = 0.5,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(
            num_regions=num_regions,
            num_classes=num_classes,
            hidden_size=hidden_size,
            num_layers=num_layers,
            kernel_size=kernel_size,
        )
        check_number("dropout", dropout, least=0, most=0.95)
        if kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, so that it is centred, got {kernel_size}")
        graph = jnp.eye(num_regions, dtype=dtype) if graph is None else jnp.asarray(graph, dtype)
        if graph.shape != (num_regions, num_regions):
            raise InputError(f"expected a graph ({num_regions}, {num_regions}), got shape {graph.shape}")
        check_arrays(f"an edge importance of {num_regions} regions", (num_regions, num_regions), dtype=dtype)
        self.graph = Buffer(graph)
        self.importance = nnx.Param(jnp.ones((num_regions, num_regions), dtype))
        self.norm = BatchNorm(size=num_regions, dtype=dtype)
        of_read_out, *of_blocks = jax.random.split(key, num_layers + 1)
        self.blocks = nnx.List(
            _Block(hidden_size if number else 1, hidden_size, kernel_size, of_block, dtype)
            for number, of_block in enumerate(of_blocks)
        )
        self.read_out = uniform_linear(
            hidden_size, num_classes, fan_in=hidden_size, rngs=nnx.Rngs(of_read_out), dtype=dtype
        )
        self.dropout = dropout

    @property
    def edge_importance(self) -> Float[Array, "*seed region region"]:
        """(E * E + (E * E)^T) / 2, the factor of each edge; 1 before training."""
        squared = jnp.square(self.importance[...])
        return (squared + jnp.swapaxes(squared, -1, -2)) / 2

    @property
    def norms(self) -> list[BatchNorm]:
        """All batch norms, in the order of their statistics."""
        return [self.norm, *(norm for block in self.blocks for norm in (block.of_graph, block.of_time))]

    @property
    def config(self) -> dict[str, Any]:
        """The settings."""
        first = self.blocks[0]
        return {
            "num_regions": self.importance.shape[-1],
            "num_classes": self.read_out.out_features,
            "hidden_size": first.layer.out_features,
            "num_layers": len(self.blocks),
            "kernel_size": first.convolution.kernel.shape[-3],
            "dropout": self.dropout,
            "dtype": str(self.importance.dtype),
        }

    @checked
    def __call__(
        self,
        windows: Float[Array, "batch time region"],
        *,
        key: Key[Array, ""] | None = None,
        of_batch: bool = False,
    ) -> BrainSTGCNOutput:
        """Classifies windows.

        Args:
            windows: of standardised series.
            key: random key for dropout; without one nothing is dropped.
            of_batch: whether batch norms use the statistics of these windows.

        Returns:
            Logits of the classes.

        Raises:
            InputError: for other regions than the network has.
        """
        num_regions = self.importance.shape[-1]
        if windows.shape[-1] != num_regions:
            raise InputError(f"expected windows (batch, time, {num_regions}), got shape {windows.shape}")
        statistics: list[NormStatistics | None] = []

        def normed(norm: BatchNorm, values: Array) -> Array:
            statistics.append(norm.measure(values) if of_batch else None)
            return norm(values, statistics[-1])

        adjacency = 2 * self.graph[...] * self.edge_importance
        # Regions first: then the graph is one product for all windows, scans and channels.
        values = jnp.moveaxis(normed(self.norm, windows), -1, 0)[..., None]
        for number, block in enumerate(self.blocks):
            values = jax.nn.relu(normed(block.of_graph, block.over_graph(values, adjacency)))
            values = normed(block.of_time, block.over_time(values))
            if number:
                values = drop(values, self.dropout, None if key is None else jax.random.fold_in(key, number))
            values = jax.nn.relu(values)
        return BrainSTGCNOutput(self.read_out(values.mean((0, 2))), tuple(statistics))


class _Block(nnx.Module):
    """A convolution over the graph and one over time, and their batch norms."""

    def __init__(self, input_size: int, output_size: int, kernel_size: int, key: Array, dtype: DTypeLike):
        of_layer, of_convolution = jax.random.split(key)
        self.layer = uniform_linear(
            input_size, output_size, fan_in=input_size, rngs=nnx.Rngs(of_layer), dtype=dtype, use_bias=False
        )
        self.bias = nnx.Param(jnp.zeros(output_size, dtype))
        self.convolution = TemporalConvolution(
            input_size=output_size, output_size=output_size, kernel_size=kernel_size, key=of_convolution, dtype=dtype
        )
        self.of_graph, self.of_time = (BatchNorm(size=output_size, dtype=dtype) for _ in range(2))

    def over_graph(self, values: Float[Array, "region batch time input"], adjacency: Array) -> Array:
        """Applies A' h W + (A' 1) b, the graph first, as there are no more inputs than outputs."""
        mixed = (adjacency @ values.reshape(len(adjacency), -1)).reshape(values.shape)
        return apply_flat(self.layer, mixed) + adjacency.sum(-1)[:, None, None, None] * self.bias[...]

    def over_time(self, values: Float[Array, "region batch time channel"]) -> Array:
        """Convolves over time, with zeros at both ends."""
        reach = self.convolution.kernel.shape[0] // 2
        return self.convolution(jnp.pad(values, ((0, 0), (0, 0), (reach, reach), (0, 0))))

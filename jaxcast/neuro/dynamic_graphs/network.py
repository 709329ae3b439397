"""A classifier of subjects by how the graph of their regions changes."""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_number, check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.neuro.dynamic_graphs.graphs import DynamicGraphs
from jaxcast.neuro.dynamic_graphs.over_segments import RecurrentSegments, TransformerLayer
from jaxcast.neuro.dynamic_graphs.segments import module_means
from jaxcast.nn.attention_read_out import AttentionReadOut
from jaxcast.nn.dropout import Dropout
from jaxcast.nn.gated_residual import StackedLinear, StackedNorm
from jaxcast.nn.graph_attention import GraphAttention
from jaxcast.nn.layers import Buffer
from jaxcast.nn.network import Network

OverSegments = Literal["gru", "transformer"]


class DynamicGraphOutput(NamedTuple):
    """What the network says about subjects, and what it rests on.

    Args:
        logits: of the classes.
        segment_weights: weight of each segment within a module; 0 for those that do not exist.
        module_weights: weight of each module.
        region_attention: attention that a region gets from others in each layer, the mean over
            heads and over the regions that look.
    """

    logits: Float[Array, "subject class"]
    segment_weights: Float[Array, "subject module segment"]
    module_weights: Float[Array, "subject module"]
    region_attention: Float[Array, "subject layer segment region"]


class DynamicGraphNetwork(Network, name="dynamic_graph_network"):
    """A classifier of subjects by graph attention within segments and a sequence model over them.

        x_si = norm(c_si W + e_i)                    c_si: correlations of region i in segment s
        x_s <- norm(x_s + elu(attention(x_s, A_s)))  in each layer; A_s: the edges of the segment
        h_sm = mean of x_si over the regions i of module m
        o_m = sum_s a_sm z_sm,    z_m = GRU(h_m) or transformer(h_m)
        logits = V sum_m g_m o_m + b

    The weights a of the segments and g of the modules are softmax gates; the sequence model is the
    same for all modules. Segments that do not exist change nothing.

    Args:
        num_regions: regions of a subject.
        num_classes: number of classes.
        num_modules: number of modules.
        modules: number of the module of each region, as from `region_modules`; by default regions
            are split evenly in their order.
        hidden_size: components of all states.
        num_heads: of each graph attention, and of the transformer.
        num_graph_layers: layers of graph attention.
        over_segments: "gru" or "transformer".
        dropout: share of the regions' features, of the modules' states and of the last state that
            is dropped in training.
        key: random key for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, a share outside [0, 1), modules that do not fit, or graphs
            of other regions.

    Source:
        Own design, after Veličković et al. (2018) for graph attention and Cho et al. (2014) or
        Vaswani et al. (2017) over segments.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> series = np.random.default_rng(0).normal(size=(4, 60, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1, 0, 1])
        >>> graphs = jaxcast.neuro.correlation_graphs(subjects, jaxcast.neuro.uniform_segments(subjects))
        >>> network = jaxcast.neuro.DynamicGraphNetwork(
        ...     num_regions=5, num_modules=2, hidden_size=8, key=jax.random.key(0)
        ... )
        >>> output = jax.jit(network)(graphs)
        >>> output.logits.shape, output.segment_weights.shape, output.module_weights.shape
        ((4, 2), (4, 2, 3), (4, 2))
    """

    @checked
    def __init__(
        self,
        *,
        num_regions: int,
        num_classes: int = 2,
        num_modules: int = 7,
        modules: Any = None,
        hidden_size: int = 64,
        num_heads: int = 2,
        num_graph_layers: int = 2,
        over_segments: OverSegments = "gru",
        dropout: float | int = 0.5,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(num_regions=num_regions, num_classes=num_classes, num_modules=num_modules)
        check_sizes(hidden_size=hidden_size, num_heads=num_heads, num_graph_layers=num_graph_layers)
        check_choice("over_segments", over_segments, get_args(OverSegments))
        check_number("dropout", dropout, least=0)
        if not dropout < 1:
            raise InputError(f"dropout must be below 1, got {dropout}")
        check_arrays("states of regions", (num_regions, hidden_size), (hidden_size, hidden_size), dtype=dtype)
        options: dict[str, Any] = {"dtype": jnp.dtype(dtype)}
        self.module_means = Buffer(jnp.asarray(_means(modules, num_regions, num_modules), dtype))
        of_rows, of_regions, of_layers, of_segments, of_read_outs, of_head = jax.random.split(key, 6)
        self.projection = StackedLinear(num_regions, hidden_size, use_bias=False, key=of_rows, **options)
        bound = num_regions**-0.5
        self.region_embedding = nnx.Param(
            jax.random.uniform(of_regions, (num_regions, hidden_size), dtype, -bound, bound)
        )
        heads: dict[str, Any] = {"num_heads": num_heads, **options}
        self.graph_layers = nnx.List(
            GraphAttention(input_size=hidden_size, output_size=hidden_size, key=each, **heads)
            for each in jax.random.split(of_layers, num_graph_layers)
        )
        self.norms = nnx.List(StackedNorm(hidden_size, **options) for _ in range(1 + num_graph_layers))
        self.over_segments: RecurrentSegments | TransformerLayer = (
            RecurrentSegments(size=hidden_size, key=of_segments, **options)
            if over_segments == "gru"
            else TransformerLayer(size=hidden_size, key=of_segments, **heads)
        )
        self.of_segments, self.of_modules = (
            AttentionReadOut(size=hidden_size, key=each, **options) for each in jax.random.split(of_read_outs)
        )
        self.head = StackedLinear(hidden_size, num_classes, key=of_head, **options)
        self.dropout = float(dropout)

    @property
    def config(self) -> dict[str, Any]:
        """The settings without the key; the modules are among the arrays."""
        num_regions, hidden_size = self.region_embedding.shape[-2:]
        is_recurrent = isinstance(self.over_segments, RecurrentSegments)
        return {
            "num_regions": num_regions,
            "num_classes": self.head.kernel.shape[-1],
            "num_modules": self.module_means.shape[-1],
            "hidden_size": hidden_size,
            "num_heads": self.graph_layers[0].num_heads,
            "num_graph_layers": len(self.graph_layers),
            "over_segments": "gru" if is_recurrent else "transformer",
            "dropout": self.dropout,
            "dtype": str(self.region_embedding.dtype),
        }

    @checked
    def __call__(self, graphs: DynamicGraphs, *, key: Key[Array, ""] | None = None) -> DynamicGraphOutput:
        """Classifies subjects.

        Args:
            graphs: of their segments.
            key: switches dropout on; None for none.

        Returns:
            The logits, and the weights of segments, modules and regions.

        Raises:
            InputError: for graphs of other regions.
        """
        num_regions, hidden_size = self.region_embedding.shape
        if graphs.scans.ndim != 4 or graphs.scans.shape[-1] != num_regions:
            raise InputError(
                f"expected graphs of {num_regions} regions, with scans (subject, segment, scan, region), got shape "
                f"{graphs.scans.shape}"
            )
        num_subjects, num_segments = graphs.present.shape
        num_modules = self.module_means.shape[-1]
        num_dropped = num_subjects * (num_segments * (num_regions + num_modules) + 1) * hidden_size
        drop = Dropout(self.dropout, key, num_dropped)
        states, attention = self._of_segments(graphs, drop)
        modules = drop(jnp.einsum("bsrh,rm->bmsh", states, self.module_means[...]))
        present = jnp.broadcast_to(jnp.asarray(graphs.present)[:, None], modules.shape[:-1])
        of_modules, segment_weights = self.of_segments(self.over_segments(modules, present), present)
        state, module_weights = self.of_modules(of_modules)
        return DynamicGraphOutput(self.head(drop(state)), segment_weights, module_weights, attention)

    def _of_segments(self, graphs: DynamicGraphs, drop: Dropout) -> tuple[Array, Array]:
        """Returns the state of each region in each segment, and the attention that it gets in each layer."""
        dtype = self.region_embedding.dtype
        scans, correlations = jnp.asarray(graphs.scans, dtype), graphs.correlations
        edges = correlations > jnp.asarray(graphs.thresholds)[..., None, None]
        # The rows of Z^T Z times W as Z^T (Z W): a segment has far fewer scans than regions.
        rows = jnp.einsum("bstr,bsth->bsrh", scans, self.projection(scans))
        states, received = drop(self.norms[0](rows + self.region_embedding[...])), []
        for layer, norm in zip(self.graph_layers, self.norms[1:], strict=True):
            seen, weights = layer(states, edges)
            states = norm(states + jax.nn.elu(seen))
            received.append(weights.mean((-3, -2)))
        return states, jnp.stack(received, 1)


def _means(modules: Any, num_regions: int, num_modules: int) -> np.ndarray:
    """Returns the matrix (region, module) that averages the regions of each module."""
    if num_modules > num_regions:
        raise InputError(f"num_modules must be at most the {num_regions} regions, got {num_modules}")
    numbers = np.arange(num_regions) * num_modules // num_regions if modules is None else np.asarray(modules)
    if numbers.shape != (num_regions,) or numbers.dtype.kind not in "iu":
        raise InputError(
            f"modules must hold the number of the module of each of the {num_regions} regions, got shape "
            f"{numbers.shape} of {numbers.dtype}"
        )
    if np.unique(numbers).tolist() != list(range(num_modules)):
        raise InputError(f"modules must be numbered from 0 to num_modules - 1 = {num_modules - 1}, each with a region")
    return module_means(numbers)

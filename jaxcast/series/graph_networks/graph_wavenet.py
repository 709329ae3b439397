"""Graph WaveNet: gated dilated convolutions over time, diffusion over given and learned graphs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes, check_whole
from jaxcast.errors import InputError
from jaxcast.nn.dropout import drop
from jaxcast.nn.graph import both_transitions
from jaxcast.nn.graph_convolution import DiffusionConvolution, LearnedGraph
from jaxcast.nn.layers import Buffer, uniform_linear
from jaxcast.nn.temporal_convolution import TemporalConvolution
from jaxcast.series.graph_networks.abstract import GraphNetwork
from jaxcast.series.graph_networks.inputs import (
    CALENDAR_SIZE,
    by_lead,
    check_dropout,
    with_calendar,
    with_covariates,
)
from jaxcast.series.graph_networks.stgcn_layers import over_nodes
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start
from jaxcast.types import Info


class GraphWaveNet(GraphNetwork, name="graph_wavenet"):
    """Graph WaveNet: gated dilated convolutions over time, diffusion over given and learned graphs.

        [F, G] = conv(X) + b,    H = tanh(F) * sigmoid(G)
        skip = skip + H_newest W_s + b_s
        X' = norm( dropout( H W_0 + sum_s sum_k S_s^k H W_sk + b ) + X )

    in each layer, with S the transition matrices of each graph both ways and of a learned one,
    softmax(relu(E_1 E_2^T)). Forecasts of all leads are W_2 relu(W_1 relu(skip) + b_1) + b_2. The
    convolutions take two steps, whose distance is the dilation of the layer; of the history the
    network sees as many steps as the layers reach back, with zeros before its beginning.

    The norm is over a node's channels, where the published form has batch statistics.
    `info["graph"]` is the learned graph, (node, node).

    Args:
        samples: training samples; scales, leads and the steps of a history are theirs.
        graphs: one graph (node, node) or several, (graph, node, node).
        key: for the initial weights.
        hidden_size: channels of a layer.
        skip_size: channels of the sum over all layers.
        output_size: hidden units of the output layer.
        dilations: of the layers of a block.
        num_blocks: how often the dilations are repeated.
        order: how far a layer diffuses.
        embedding_size: components of the two vectors from which the graph of each node is learned;
            0 for no learned graph.
        dropout: share of the outputs of graph convolutions that training drops.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, or graphs and levels that do not fit.

    Source:
        Wu, Pan, Long, Jiang and Zhang (2019).

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0, 3.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=6, leads=(1, 3))
        >>> network = jaxcast.series.GraphWaveNet(
        ...     samples, graphs=jnp.ones((3, 3)), hidden_size=4, skip_size=4, output_size=4, num_blocks=1,
        ...     key=jax.random.key(0),
        ... )
        >>> output = network(samples.history)
        >>> output.forecast.shape, output.info["graph"].shape
        ((54, 2, 3), (3, 3))
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        graphs: Any,
        key: Key[Array, ""],
        hidden_size: int = 32,
        skip_size: int = 256,
        output_size: int = 512,
        dilations: Sequence[int] = (1, 2),
        num_blocks: int = 4,
        order: int = 2,
        embedding_size: int = 10,
        dropout: float | int = 0.3,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "newest",
        slots_per_day: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(hidden_size=hidden_size, skip_size=skip_size, output_size=output_size, num_blocks=num_blocks)
        for name, least, value in (("order", 0, order), ("embedding_size", 0, embedding_size)):
            check_whole(name, value, least=least)
        check_dropout(dropout)
        if not dilations:
            raise InputError("expected a dilation for each layer of a block, got none")
        super().__init__(
            samples,
            graphs=graphs,
            levels=levels,
            head=head,
            level=level,
            scaling=scaling,
            start=start,
            slots_per_day=slots_per_day,
            dtype=dtype,
        )
        self.hidden_size, self.skip_size, self.output_size = hidden_size, skip_size, output_size
        self.dilations, self.num_blocks, self.order = tuple(dilations), num_blocks, order
        self.embedding_size, self.dropout = embedding_size, dropout
        of_input, of_graph, of_hidden, of_read_out, *of_layers = jax.random.split(key, 4 + num_blocks * len(dilations))

        def linear(input_size: int, output_size: int, key: Array) -> nnx.Linear:
            rngs = nnx.Rngs(key)
            return uniform_linear(input_size, output_size, fan_in=input_size, rngs=rngs, dtype=self.dtype)

        self.enter = linear(self.input_size + (CALENDAR_SIZE if slots_per_day else 0), hidden_size, of_input)
        self.learned = (
            LearnedGraph(num_nodes=self.num_regions, embedding_size=embedding_size, key=of_graph, dtype=self.dtype)
            if embedding_size
            else None
        )
        self.layers = nnx.List(
            _Layer(self, dilation, is_last=k == len(of_layers) - 1, key=of_layer)
            for k, (dilation, of_layer) in enumerate(zip(self.dilations * num_blocks, of_layers, strict=True))
        )
        self.hidden = linear(skip_size + self.num_known, output_size, of_hidden)
        self.read_out = linear(output_size, self.num_leads * self.num_outputs, of_read_out)
        self.supports = Buffer(both_transitions(self.graphs[...]))

    @property
    def num_seen(self) -> int:
        """The steps of a history that reach the forecast."""
        return 1 + self.num_blocks * sum(self.dilations)

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region number"], Info]:
        inputs = with_calendar(inputs, known.slots, self.slots_per_day).astype(self.dtype)
        values = self.enter(jnp.moveaxis(self._seen(inputs), -2, 0))
        supports = self.supports[...]
        info: Info = {}
        if self.learned is not None:
            info["graph"] = self.learned()
            supports = jnp.concatenate([supports, info["graph"][None]])
        skipped: Any = 0
        for k, layer in enumerate(self.layers):
            skip, values = layer(values, supports, self.dropout, None if key is None else jax.random.fold_in(key, k))
            skipped = skipped + skip
        states = with_covariates(jnp.moveaxis(jax.nn.relu(skipped), 0, -2), known.covariates)
        return by_lead(self.read_out(jax.nn.relu(self.hidden(states))), self.num_leads), info

    def _seen(self, inputs: Array) -> Array:
        """Returns the newest steps, with zeros where the history is shorter."""
        missing = max(self.num_seen - inputs.shape[-3], 0)
        padding = [(0, 0)] * (inputs.ndim - 3) + [(missing, 0), (0, 0), (0, 0)]
        return jnp.pad(inputs[..., -self.num_seen :, :, :], padding)

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {
            "hidden_size": self.hidden_size,
            "skip_size": self.skip_size,
            "output_size": self.output_size,
            "dilations": self.dilations,
            "num_blocks": self.num_blocks,
            "order": self.order,
            "embedding_size": self.embedding_size,
            "dropout": self.dropout,
        }


class _Layer(nnx.Module):
    """A gated convolution over time, its part of the skips, and diffusion over the graphs."""

    def __init__(self, network: GraphWaveNet, dilation: int, *, is_last: bool, key: Array):
        of_time, of_skip, of_graph = jax.random.split(key, 3)
        size, dtype = network.hidden_size, network.dtype
        options: dict[str, Any] = {"input_size": size, "dtype": dtype}
        self.over_time = TemporalConvolution(
            output_size=2 * size, kernel_size=2, dilation=dilation, key=of_time, **options
        )
        self.skip = uniform_linear(size, network.skip_size, fan_in=size, rngs=nnx.Rngs(of_skip), dtype=dtype)
        # Nothing reads the outputs of the last layer but its skip.
        num_supports = 2 * network.graphs.shape[-3] + (network.embedding_size > 0)
        self.over_graphs = (
            None
            if is_last
            else DiffusionConvolution(
                output_size=size, order=network.order, num_supports=num_supports, key=of_graph, **options
            )
        )
        self.norm = None if is_last else nnx.LayerNorm(size, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(of_graph))

    def __call__(
        self,
        inputs: Float[Array, "node *batch time channel"],
        supports: Float[Array, "support node node"],
        dropout: float | int,
        key: Any,
    ) -> tuple[Float[Array, "node *batch skip"], Array]:
        """Returns the part of the skips, and the inputs of the next layer."""
        filtered, gate = jnp.split(self.over_time(inputs), 2, -1)
        values = jnp.tanh(filtered) * jax.nn.sigmoid(gate)
        skip = self.skip(values[..., -1, :])
        if self.over_graphs is None or self.norm is None:
            return skip, values
        own = inputs[..., inputs.shape[-2] - values.shape[-2] :, :]
        return skip, self.norm(drop(over_nodes(self.over_graphs, values, supports), dropout, key) + own)

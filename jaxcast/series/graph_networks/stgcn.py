"""Spatio-temporal graph convolutional networks: convolutions over time and over a graph in turn."""

from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.backends.blocks import in_blocks
from jaxcast.checks import check_choice, check_sizes, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.nn.dropout import drop
from jaxcast.nn.layers import Buffer, uniform_linear
from jaxcast.series.graph_networks.abstract import GraphNetwork
from jaxcast.series.graph_networks.inputs import CALENDAR_SIZE, by_lead, check_dropout, with_calendar, with_covariates
from jaxcast.series.graph_networks.stgcn_layers import (
    Convolution,
    NodeNorm,
    Residual,
    SpatialLayer,
    TemporalLayer,
    operators_of,
)
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start
from jaxcast.types import Info

_BLOCK_BYTES = 3 * 2**20
"""Of the widest layer, if it kept all steps, for the windows that a CPU takes at once: they stay in its caches."""


class STGCN(GraphNetwork, name="stgcn"):
    """A spatio-temporal graph convolutional network: convolutions over time and graph in turn.

    Each block is a gated convolution over time, one over the graph and another one over time:

        [P, Q] = conv(X) + b,    H = (P + X) * sigmoid(Q)
        S = relu( sum_k T_k(L~) H W_k + b + H )
        Y = dropout(norm(relu(conv(S) + b + S)))

    The X, H and S that are added are the newest steps, padded with zeros or projected to the number
    of channels. The output layer is a gated convolution over all steps that are left, norm, a layer
    with sigmoid, and a linear one with a bias for each node, which forecasts all leads. The norm
    takes mean and variance over nodes and channels, with a factor and an offset for each; by them a
    node hears something of all others, even without an edge.

    The published form forecasts one step and feeds it back: train with `leads=(1,)` and put the
    network into a `RecursiveForecaster`. An asymmetric graph A is replaced by max(A, A^T). Of
    several graphs, the terms are summed.

    Args:
        samples: training samples; scales, leads and the steps of a history are theirs.
        graphs: one graph (node, node) or several, (graph, node, node).
        key: for the initial weights.
        channels: for each block, those after the first two convolutions and those of its output.
        kernel_size: steps that a convolution over time sees.
        order: the highest degree of the Chebyshev polynomials.
        convolution: "chebyshev", or "first_order" for (I + S) H W, with S the normalised A + I.
        residual: "inside" as above and in the authors' code, or "outside" as in the paper, where H
            is P * sigmoid(Q) + X.
        dropout: share of a block's outputs that training drops.
        largest_eigenvalue: of the Laplacians; by default each graph's own.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, too few steps of history, or graphs and levels that do not
            fit.

    Source:
        Yu, Yin and Zhu (2018); https://github.com/VeritasYin/STGCN_IJCAI-18.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0, 3.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=9, leads=(1, 3))
        >>> graph = jnp.ones((3, 3)) - jnp.eye(3)
        >>> network = jaxcast.series.STGCN(
        ...     samples, graphs=graph, channels=((4, 8), (4, 8)), key=jax.random.key(0)
        ... )
        >>> network(samples.history).forecast.shape
        (51, 2, 3)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        graphs: Any,
        key: Key[Array, ""],
        channels: Sequence[Sequence[int]] = ((32, 64), (32, 128)),
        kernel_size: int = 3,
        order: int = 2,
        convolution: Convolution = "chebyshev",
        residual: Residual = "inside",
        dropout: float | int = 0.0,
        largest_eigenvalue: float | int | None = None,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "newest",
        slots_per_day: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        check_choice("convolution", convolution, get_args(Convolution))
        check_choice("residual", residual, get_args(Residual))
        check_sizes(kernel_size=kernel_size)
        check_whole("order", order, least=0)
        check_dropout(dropout)
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
        self.channels = tuple(tuple(block) for block in channels)
        if not self.channels or any(len(block) != 2 for block in self.channels):
            raise InputError(f"channels must be two sizes for each block, got {shown(channels)}")
        left = self.history_size - 2 * (kernel_size - 1) * len(self.channels)
        if left < 1:
            raise InputError(
                f"{len(self.channels)} blocks of kernel_size {kernel_size} need a history of "
                f"{self.history_size - left + 1} steps or more, got {self.history_size}; give a longer history, fewer "
                "blocks or a smaller kernel_size"
            )
        self.kernel_size, self.order, self.convolution = kernel_size, order, convolution
        self.residual, self.dropout, self.largest_eigenvalue = residual, dropout, largest_eigenvalue
        of_output, *of_blocks = jax.random.split(key, len(self.channels) + 1)
        size = self.input_size + (CALENDAR_SIZE if slots_per_day else 0)
        blocks = []
        for (inner, outer), of_block in zip(self.channels, of_blocks, strict=True):
            blocks.append(_Block(self, size, inner, outer, of_block))
            size = outer
        self.blocks, self.output = nnx.List(blocks), _OutputLayer(self, size, left, of_output)
        self.operators = Buffer(operators_of(self.graphs[...], convolution, largest_eigenvalue))

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region number"], Info]:
        inputs = with_calendar(inputs, known.slots, self.slots_per_day).astype(self.dtype)
        values = jnp.moveaxis(inputs, -2, 0)
        num_bytes = values[:, 0].size // values.shape[-1] * max(map(max, self.channels)) * values.dtype.itemsize
        if values.ndim == 4:
            states = in_blocks(partial(self._states, key), values, size=max(1, _BLOCK_BYTES // num_bytes), axis=1)
        else:
            states = self._states(key, values, 0)
        states = with_covariates(jnp.moveaxis(states, 0, -2), known.covariates)
        return by_lead(self.output.numbers(states), self.num_leads), {}

    def _states(self, key: Any, values: Array, num_block: int | Array) -> Array:
        """Returns the states of a block of windows; nodes come first there and here."""
        operators = self.operators[...]
        key = None if key is None else jax.random.fold_in(key, num_block)
        for k, block in enumerate(self.blocks):
            values = block(values, operators)
            values = drop(values, self.dropout, None if key is None else jax.random.fold_in(key, k))
        return self.output.states(values)

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {
            "channels": self.channels,
            "kernel_size": self.kernel_size,
            "order": self.order,
            "convolution": self.convolution,
            "residual": self.residual,
            "dropout": self.dropout,
            "largest_eigenvalue": self.largest_eigenvalue,
        }


class _Block(nnx.Module):
    """Convolutions over time, the graph and time, and a norm."""

    def __init__(self, network: STGCN, input_size: int, inner: int, outer: int, key: Array):
        of_first, of_graph, of_second = jax.random.split(key, 3)
        over_time: dict[str, Any] = {"kernel_size": network.kernel_size, "residual": network.residual}
        options: dict[str, Any] = {"dtype": network.dtype}
        self.first = TemporalLayer(
            input_size=input_size, output_size=inner, gated=True, key=of_first, **over_time, **options
        )
        self.graph = SpatialLayer(
            size=inner,
            convolution=network.convolution,
            order=network.order,
            num_graphs=network.graphs.shape[-3],
            key=of_graph,
            **options,
        )
        self.second = TemporalLayer(
            input_size=inner, output_size=outer, gated=False, key=of_second, **over_time, **options
        )
        self.norm = NodeNorm(num_nodes=network.num_regions, size=outer, **options)

    def __call__(self, inputs: Array, operators: Array) -> Array:
        return self.norm(self.second(self.graph(self.first(inputs), operators)))


class _OutputLayer(nnx.Module):
    """A gated convolution over all steps, a norm, a layer with sigmoid, and a linear one."""

    def __init__(self, network: STGCN, size: int, num_steps: int, key: Array):
        of_steps, of_layer, of_read_out = jax.random.split(key, 3)
        dtype, num_nodes = network.dtype, network.num_regions

        def linear(input_size: int, output_size: int, key: Array, use_bias: bool) -> nnx.Linear:
            rngs = nnx.Rngs(key)
            return uniform_linear(input_size, output_size, fan_in=input_size, rngs=rngs, dtype=dtype, use_bias=use_bias)

        self.over_time = TemporalLayer(
            input_size=size,
            output_size=size,
            kernel_size=num_steps,
            residual=network.residual,
            gated=True,
            key=of_steps,
            dtype=dtype,
        )
        self.norm = NodeNorm(num_nodes=num_nodes, size=size, dtype=dtype)
        self.layer = linear(size, size, of_layer, True)
        num_numbers = network.num_leads * network.num_outputs
        self.read_out = linear(size + network.num_known, num_numbers, of_read_out, False)
        self.bias = nnx.Param(jnp.zeros((num_nodes, num_numbers), dtype))

    def states(self, inputs: Float[Array, "node *batch time channel"]) -> Float[Array, "node *batch state"]:
        """Returns the state of each node."""
        return jax.nn.sigmoid(self.layer(self.norm(self.over_time(inputs))))[..., 0, :]

    def numbers(self, states: Float[Array, "*batch node state"]) -> Float[Array, "*batch node number"]:
        """Returns the outputs of each node from its state and covariates."""
        return self.read_out(states) + self.bias[...]

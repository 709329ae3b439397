"""D2STGNN: diffusion between nodes and what is inherent to each, decoupled layer by layer."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.nn.dropout import Dropout
from jaxcast.nn.graph import both_transitions
from jaxcast.nn.layers import apply_flat, chosen_heads, uniform_linear
from jaxcast.series.graph_networks.abstract import GraphNetwork
from jaxcast.series.graph_networks.d2stgnn_graphs import DynamicGraphs, static_graph, supports_of
from jaxcast.series.graph_networks.d2stgnn_layers import DecoupleLayer, EstimationGate, Readout, Settings
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start
from jaxcast.types import Info

DAYS = 7


class D2STGNN(GraphNetwork, name="d2stgnn"):
    """A decoupled dynamic spatial-temporal graph neural network.

    Each layer splits its input H into what spreads between nodes and what is inherent to each:

        G = g * H,   g = sigmoid(W relu(W' [T_D, T_W, E_u, E_d]))
        D = localised convolution of G,    R = layernorm( H - relu(W_b D) )
        Z = attention over time of a GRU of R,    next H = layernorm( R - relu(W_b' Z) )
        y = W_2 relu( W_1 relu( sum of linear maps of the states that continue D and Z ) )

    T_D and T_W are embeddings of the slot of the day and the weekday, left out without a calendar;
    E_u and E_d those of a node. The convolution listens to other nodes on three kinds of graphs
    (see `info["graph"]`): those that each window's values and time make of the given ones, forward
    and backward, and a learned one that stays the same. A state of the forecast holds `gap` leads;
    each next one continues the convolution and the GRU. Each layer takes `kernel_size` - 1 steps
    off the history.

    `info["gates"]` is g of the newest step, (*batch, layer, node), `info["graph"]` the mean of each
    window's graphs, (*batch, node, node), and `info["attention"]` that of the newest step in the
    first layer, (*batch, node, step).

    The published code normalises batches where this has layer normalisation, so that forecasts do
    not depend on other windows. Its parameters that have no effect are left out, and so is the
    calendar of each node, which is that of all.

    Args:
        samples: training samples; scales, leads and the steps of a history are theirs.
        graphs: one graph (node, node) or several, (graph, node, node); they weigh the dynamic ones.
        key: for the initial weights.
        hidden_size: C, components of a step of a node. 16 for a small network.
        num_layers: layers, 2 for a small network.
        embedding_size: components of an embedding of a node or a time.
        spatial_order: k_s, the highest power of a graph. 1 for a small network.
        kernel_size: k_t, steps that a convolution sees.
        gap: leads of a state of the forecast.
        forecast_size: units of the first layer of the output, 64 for a small network.
        output_size: units of the second, 128 for a small network.
        num_heads: of the attention over time; by default the most up to 4 that divide the hidden
            size.
        dropout: probability with which a component is set to zero in training.
        gate: whether there are gates; False for g = 1.
        residual: whether a block's output is subtracted; False for R = H and next H = R.
        coupled: whether blocks follow each other without decomposition; True for g = 1, R = D and
            next H = Z.
        dynamic_graph: whether windows have graphs of their own; False for the given ones.
        autoregressive: whether states continue the last; False for linear maps of D and Z.
        repeat_positions: whether positions are added to all states again at every state of the
            forecast, as in the published code.
        swap_embeddings: whether E_u and E_d change places in the graph that stays the same, as in
            the published code.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`; the published network has "mean".
        slots_per_day: steps of a day, see `WindowNetwork`.
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, heads that do not divide the hidden size, histories too
            short for the layers, or graphs and levels that do not fit.

    Source:
        Shao et al. (2022), Decoupled Dynamic Spatial-Temporal Graph Neural Network for Traffic
        Forecasting; https://github.com/zezhishao/D2STGNN.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0, 3.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1, 2, 3))
        >>> network = jaxcast.series.D2STGNN(
        ...     samples, graphs=jnp.ones((3, 3)), hidden_size=4, num_layers=1, spatial_order=1,
        ...     forecast_size=8, output_size=8, key=jax.random.key(0),
        ... )
        >>> output = jax.jit(lambda history: network(history))(samples.history)
        >>> output.forecast.shape, output.info["graph"].shape
        ((56, 3, 3), (56, 3, 3))
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        graphs: Any,
        key: Key[Array, ""],
        hidden_size: int = 32,
        num_layers: int = 5,
        embedding_size: int = 10,
        spatial_order: int = 2,
        kernel_size: int = 3,
        gap: int = 3,
        forecast_size: int = 256,
        output_size: int = 512,
        num_heads: int | None = None,
        dropout: float | int = 0.1,
        gate: bool = True,
        residual: bool = True,
        coupled: bool = False,
        dynamic_graph: bool = True,
        autoregressive: bool = True,
        repeat_positions: bool = False,
        swap_embeddings: bool = False,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "mean",
        slots_per_day: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        self.choices = Settings(
            hidden_size=hidden_size,
            num_layers=num_layers,
            embedding_size=embedding_size,
            spatial_order=spatial_order,
            kernel_size=kernel_size,
            gap=gap,
            forecast_size=forecast_size,
            output_size=output_size,
            num_heads=chosen_heads(hidden_size, num_heads),
            dropout=float(dropout),
            gate=gate,
            residual=residual,
            coupled=coupled,
            dynamic_graph=dynamic_graph,
            autoregressive=autoregressive,
            repeat_positions=repeat_positions,
            swap_embeddings=swap_embeddings,
        )
        self.choices.check()
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
        least = num_layers * (kernel_size - 1) + 1
        if self.history_size < least:
            raise InputError(
                f"{num_layers} layers with kernels of {kernel_size} steps need a history of {least} steps, got "
                f"{self.history_size}; take fewer layers or a longer history"
            )
        self._make(key)

    def _make(self, key: Array) -> None:
        """Makes the layers."""
        own, dtype = self.choices, self.dtype
        of_inputs, of_graphs, of_layers, of_output = jax.random.split(key, 4)
        rngs = nnx.Rngs(of_inputs)
        self.inputs = uniform_linear(self.input_size, own.hidden_size, fan_in=self.input_size, rngs=rngs, dtype=dtype)

        def embeddings(num: int) -> nnx.Param[Array]:
            glorot = jax.nn.initializers.glorot_uniform()
            return nnx.Param(glorot(rngs(), (num, own.embedding_size), dtype))

        self.listening, self.speaking = embeddings(self.num_regions), embeddings(self.num_regions)
        self.slots = embeddings(self.slots_per_day) if self.slots_per_day else None
        self.weekdays = embeddings(DAYS) if self.slots_per_day else None
        sizes: dict[str, int] = {"embedding_size": own.embedding_size, "num_times": 2 if self.slots_per_day else 0}
        self.dynamic = (
            DynamicGraphs(
                num_values=self.history_size * self.num_features,
                hidden_size=own.hidden_size,
                key=of_graphs,
                dtype=dtype,
                **sizes,
            )
            if own.dynamic_graph
            else None
        )
        keys = jax.random.split(of_layers, (own.num_layers, 2))
        self.layers = nnx.List(
            DecoupleLayer(
                own,
                num_states=self.num_states if own.autoregressive else 1,
                num_supports=(2 * self.graphs.shape[-3] + 1) * own.spatial_order,
                last=n == own.num_layers - 1,
                key=of_layer,
                dtype=dtype,
            )
            for n, (of_layer, _) in enumerate(keys)
        )
        self.gates = nnx.List(
            EstimationGate(hidden_size=64, key=of_gate, dtype=dtype, **sizes)
            for _, of_gate in keys
            if own.gate and not own.coupled
        )
        self.readout = Readout(
            own,
            num_states=self.num_states,
            num_leads=self.leads_of_state,
            num_outputs=self.num_outputs,
            num_known=self.num_known,
            key=of_output,
            dtype=dtype,
        )

    @property
    def leads_of_state(self) -> int:
        """Leads that a state of the forecast holds."""
        return min(self.choices.gap, self.num_leads)

    @property
    def num_states(self) -> int:
        """States of the forecast."""
        return -(-self.num_leads // self.leads_of_state)

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return self.choices._asdict()

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        batch = inputs.shape[:-3]
        inputs = jnp.swapaxes(inputs.reshape(-1, *inputs.shape[-3:]), 1, 2).astype(self.dtype)
        times = self._times(known.slots)
        drop = Dropout(self.choices.dropout, key, self._num_dropped(*inputs.shape[:3]))
        graphs = self._graphs(inputs, times, drop)
        supports = supports_of([*graphs, self.learned_graph()], self.choices.spatial_order)
        gates = self._gates(times)
        signal = apply_flat(self.inputs, inputs)
        states: list[Array] = []
        attention: list[Array] = []
        for layer, gate in zip(self.layers, gates, strict=True):
            gate = gate if gate is None else gate[:, :, -signal.shape[2] :]
            output = layer(signal, supports, gate, drop)
            signal = output.signal
            states.extend(output.states)
            attention.append(output.attention)
        numbers = self.readout(jnp.concatenate(states, -1), known.covariates)[:, : self.num_leads]
        info = self._info(inputs, graphs, gates, attention[0])
        return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), (numbers, info))

    def learned_graph(self) -> Float[Array, "region region"]:
        """Returns the learned graph that is the same for all windows, rows receive."""
        pair = self.listening[...], self.speaking[...]
        return static_graph(*(pair[::-1] if self.choices.swap_embeddings else pair))

    def _num_dropped(self, batch: int, num_nodes: int, num_steps: int) -> int:
        """Returns how many numbers dropout may set to zero, or a few more."""
        own = self.choices
        steps = sum(num_steps - n * (own.kernel_size - 1) for n in range(1, own.num_layers + 1))
        return batch * num_nodes * own.hidden_size * (2 + 3 * steps + 2 * own.num_layers * self.num_states)

    def _times(self, slots: Int[Array, "*batch time"] | None) -> Float[Array, "batch time embedding"] | None:
        """Returns the embeddings of the slot of the day and of the weekday, side by side."""
        if self.slots is None or self.weekdays is None or slots is None:
            return None
        slots = slots.reshape(-1, slots.shape[-1])
        pair = self.slots[slots % self.slots_per_day], self.weekdays[slots // self.slots_per_day % DAYS]
        return jnp.concatenate(pair, -1)

    def _graphs(
        self, inputs: Float[Array, "batch region time feature"], times: Array | None, drop: Dropout
    ) -> list[Float[Array, "*batch region region"]]:
        """Returns the graphs of each window, or the transitions of the given ones."""
        masks = both_transitions(self.graphs[...])
        if self.dynamic is None:
            return list(masks)
        values = inputs[..., : self.num_features].reshape(*inputs.shape[:2], -1)
        half = len(masks) // 2
        embeddings = [self.listening[...]] * half + [self.speaking[...]] * half
        return self.dynamic(values, None if times is None else times[:, -1], embeddings, list(masks), drop)

    def _gates(self, times: Array | None) -> list[Float[Array, "#batch region #time"] | None]:
        if not self.gates:
            return [None] * len(self.layers)
        nodes = jnp.concatenate([self.speaking[...], self.listening[...]], -1)
        return [gate(times, nodes) for gate in self.gates]

    def _info(self, inputs: Array, graphs: list[Array], gates: list[Any], attention: Array) -> Info:
        shape = inputs.shape[:2]
        mean = jnp.broadcast_to(sum(graphs) / len(graphs), (shape[0], shape[1], shape[1]))
        info = Info(graph=mean, attention=attention)
        if self.gates:
            info["gates"] = jnp.stack([jnp.broadcast_to(gate[..., -1], shape) for gate in gates], 1)
        return info

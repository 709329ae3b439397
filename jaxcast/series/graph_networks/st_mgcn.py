"""ST-MGCN: recurrent networks gated by context on several graphs, and a convolution over each."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_flag, check_sizes, check_whole
from jaxcast.nn.graph import rescaled_laplacian
from jaxcast.nn.graph_convolution import ChebyshevConvolution
from jaxcast.nn.layers import Buffer, uniform_linear
from jaxcast.nn.stack import Kind, Stack
from jaxcast.series.graph_networks.abstract import GraphNetwork
from jaxcast.series.graph_networks.inputs import CALENDAR_SIZE, by_lead, with_calendar, with_covariates
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start
from jaxcast.types import Info

Aggregation = Literal["sum", "mean", "max"]
Gate = Literal["history", "step"]
STEP_GATE_SIZE = 4


class STMGCN(GraphNetwork, name="st_mgcn"):
    """A spatio-temporal multi-graph convolutional network.

    For each graph m, with its own weights, a gate s weighs the steps of the history by what nodes
    and their neighbours show on average, a recurrent network reads every node's weighted history,
    and a graph convolution its last outputs:

        z = mean_i [ x_i + relu( sum_k T_k(L~_m) x W_k + b )_i ],   x_i the history of node i
        s = sigmoid(W_2 relu(W_1 z + b_1) + b_2)
        h_i = stack(s_1 X_(1,i), ..., s_T X_(T,i))
        y = sum_m relu( sum_k T_k(L~_m) h W'_k + b' )

    Forecasts of all leads are linear in y. `info["gates"]` is s of each graph, (*batch, graph,
    time), and `info["graphs"]` the graphs. An asymmetric graph A is replaced by max(A, A^T).

    With `second_stage=False`, y is the sum of the h. With `gate="step"`, one function gives the
    gate of every step, from the features of that step alone: s_t = sigmoid(W_2 relu(W_1 z_t)), with
    four hidden units and z_t = mean_i [ tanh( sum_(k<2) T_k(L~_m) X_t W_k + b ), X_t ]_i. Both
    together are the form that a common benchmark names ST-MGCN.

    Args:
        samples: training samples; scales, leads and the steps of a history are theirs.
        graphs: several graphs, (graph, node, node), or one, (node, node).
        key: for the initial weights.
        hidden_size: hidden units of each recurrent layer.
        num_layers: recurrent layers on top of each other.
        output_size: channels of the second convolution over graphs.
        order: the highest degree of the Chebyshev polynomials.
        aggregation: "sum", "mean" or "max" of the graphs' outputs.
        second_stage: whether there is a second convolution over graphs.
        gate: "history" for a gate of all steps, "step" for one step after the other.
        kind: "lstm", "gru" or "rnn".
        dropout: share of the outputs between recurrent layers that training drops.
        largest_eigenvalue: of the Laplacians; by default each graph's own.
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
        Geng et al. (2019), eqs. 4 to 9; https://github.com/underdoc-wang/ST-MGCN, whose gate uses
        one layer twice; https://github.com/uctb/UCTB for the gate of single steps.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0, 3.0])
        >>> samples = jaxcast.series.series_windows(values, lags=(0, 1, 2, 24), leads=(1, 3))
        >>> graphs = jnp.stack([jnp.ones((3, 3)) - jnp.eye(3), jnp.eye(3)[::-1]])
        >>> network = jaxcast.series.STMGCN(
        ...     samples, graphs=graphs, hidden_size=4, num_layers=1, output_size=4, key=jax.random.key(0)
        ... )
        >>> output = network(samples.history, lags=samples.lags)
        >>> output.forecast.shape, output.info["gates"].shape
        ((35, 2, 3), (35, 2, 4))
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        graphs: Any,
        key: Key[Array, ""],
        hidden_size: int = 64,
        num_layers: int = 3,
        output_size: int = 64,
        order: int = 2,
        aggregation: Aggregation = "sum",
        second_stage: bool = True,
        gate: Gate = "history",
        kind: Kind = "lstm",
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
        check_sizes(hidden_size=hidden_size, num_layers=num_layers, output_size=output_size)
        check_whole("order", order, least=0)
        check_choice("aggregation", aggregation, get_args(Aggregation))
        check_choice("gate", gate, get_args(Gate))
        check_flag("second_stage", second_stage)
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
        self.hidden_size, self.num_layers, self.output_size = hidden_size, num_layers, output_size
        self.order, self.aggregation, self.second_stage = order, aggregation, second_stage
        self.gate, self.kind, self.dropout = gate, kind, float(dropout)
        self.largest_eigenvalue = largest_eigenvalue
        of_read_out, *of_graphs = jax.random.split(key, self.graphs.shape[-3] + 1)
        self.branches = nnx.List(_Branch(self, of_graph) for of_graph in of_graphs)
        size = (output_size if second_stage else hidden_size) + self.num_known
        num_numbers = self.num_leads * self.num_outputs
        self.read_out = uniform_linear(size, num_numbers, fan_in=size, rngs=nnx.Rngs(of_read_out), dtype=self.dtype)
        self.laplacians = Buffer(rescaled_laplacian(self.graphs[...], largest_eigenvalue))

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region number"], Info]:
        values = inputs[..., : self.num_features].sum(-1).astype(self.dtype)
        inputs = with_calendar(inputs, known.slots, self.slots_per_day).astype(self.dtype)
        keys = [None if key is None else jax.random.fold_in(key, m) for m in range(len(self.branches))]
        found = [
            branch(values, inputs, laplacian, of_branch)
            for branch, laplacian, of_branch in zip(self.branches, self.laplacians[...], keys, strict=True)
        ]
        states = _aggregated(self.aggregation, jnp.stack([states for states, _ in found]))
        numbers = self.read_out(with_covariates(states, known.covariates))
        gates = jnp.stack([gates for _, gates in found], -2)
        return by_lead(numbers, self.num_leads), {"gates": gates, "graphs": self.graphs[...]}

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "output_size": self.output_size,
            "order": self.order,
            "aggregation": self.aggregation,
            "second_stage": self.second_stage,
            "gate": self.gate,
            "kind": self.kind,
            "dropout": self.dropout,
            "largest_eigenvalue": self.largest_eigenvalue,
        }


def _aggregated(aggregation: Aggregation, states: Array) -> Array:
    if aggregation == "max":
        return states.max(0)
    return states.sum(0) if aggregation == "sum" else states.mean(0)


class _Branch(nnx.Module):
    """The part of one graph: a gate, a recurrent network and a convolution."""

    def __init__(self, network: STMGCN, key: Array):
        of_gate, of_stack, of_convolution = jax.random.split(key, 3)
        dtype = network.dtype
        size = network.input_size + (CALENDAR_SIZE if network.slots_per_day else 0)
        self.gate: Any
        if network.gate == "history":
            self.gate = _HistoryGate(network.history_size, network.order, of_gate, dtype)
        else:
            self.gate = _StepGate(size, of_gate, dtype)
        self.stack = Stack(
            network.kind,
            input_size=size,
            hidden_size=network.hidden_size,
            num_layers=network.num_layers,
            dropout=network.dropout,
            key=of_stack,
            dtype=dtype,
        )
        self.convolution = (
            ChebyshevConvolution(
                input_size=network.hidden_size,
                output_size=network.output_size,
                order=network.order,
                key=of_convolution,
                dtype=dtype,
            )
            if network.second_stage
            else None
        )

    def __call__(
        self,
        values: Float[Array, "*batch time node"],
        inputs: Float[Array, "*batch time node feature"],
        laplacian: Float[Array, "node node"],
        key: Any,
    ) -> tuple[Float[Array, "*batch node state"], Float[Array, "*batch time"]]:
        """Returns the states of the nodes, and the gate."""
        gate = self.gate(values, inputs, laplacian)
        weighted = jnp.swapaxes(inputs * gate[..., None, None], -3, -2)
        states = self.stack(weighted, key=key)[1][..., -1, :]
        if self.convolution is not None:
            states = jax.nn.relu(self.convolution(states, laplacian))
        return states, gate


class _HistoryGate(nnx.Module):
    """Weighs all steps of a history together, whose values are the features of a node."""

    def __init__(self, history_size: int, order: int, key: Array, dtype: Any):
        of_context, *of_layers = jax.random.split(key, 3)
        options: dict[str, Any] = {"dtype": dtype}
        self.context = ChebyshevConvolution(
            input_size=history_size, output_size=history_size, order=order, key=of_context, **options
        )
        self.squeeze, self.excite = (
            uniform_linear(history_size, history_size, fan_in=history_size, rngs=nnx.Rngs(k), **options)
            for k in of_layers
        )

    def __call__(self, values: Array, inputs: Array, laplacian: Array) -> Float[Array, "*batch time"]:
        histories = jnp.swapaxes(values, -2, -1)
        context = histories + jax.nn.relu(self.context(histories, laplacian))
        return jax.nn.sigmoid(self.excite(jax.nn.relu(self.squeeze(context.mean(-2)))))


class _StepGate(nnx.Module):
    """Weighs every step by itself."""

    def __init__(self, size: int, key: Array, dtype: Any):
        of_context, of_squeeze, of_excite = jax.random.split(key, 3)
        self.context = ChebyshevConvolution(input_size=size, output_size=size, order=1, key=of_context, dtype=dtype)

        def layer(input_size: int, output_size: int, key: Array) -> nnx.Linear:
            return uniform_linear(
                input_size, output_size, fan_in=input_size, rngs=nnx.Rngs(key), dtype=dtype, use_bias=False
            )

        self.squeeze = layer(2 * size, STEP_GATE_SIZE, of_squeeze)
        self.excite = layer(STEP_GATE_SIZE, 1, of_excite)

    def __call__(self, values: Array, inputs: Array, laplacian: Array) -> Float[Array, "*batch time"]:
        context = jnp.concatenate([jnp.tanh(self.context(inputs, laplacian)), inputs], -1).mean(-2)
        return jax.nn.sigmoid(self.excite(jax.nn.relu(self.squeeze(context)))[..., 0])

"""DCRNN: gated recurrent units whose products are convolutions by diffusion on graphs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes, check_whole
from jaxcast.nn.graph import both_transitions
from jaxcast.nn.graph_convolution import DiffusionConvolution
from jaxcast.nn.layers import uniform_linear
from jaxcast.series.graph_networks.abstract import GraphNetwork
from jaxcast.series.graph_networks.inputs import CALENDAR_SIZE, with_calendar, with_covariates
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start
from jaxcast.types import Info


class DCRNN(GraphNetwork, name="dcrnn"):
    """A diffusion convolutional recurrent network: an encoder of the history, and a decoder.

    Both are stacked gated recurrent units, with convolutions *G by diffusion in place of products:

        r, u = sigmoid(W *G [x, h'] + b),    c = tanh(W_c *G [x, r h'] + b_c)
        h = u h' + (1 - u) c

    The decoder starts from the encoder's states and from zeros, and is fed its own outputs, one
    step for each lead. In the published training it is fed true values at first, fewer and fewer;
    here it never is.

    Args:
        samples: training samples; scales, leads and the steps of a history are theirs.
        graphs: one graph (node, node) or several, (graph, node, node).
        key: for the initial weights.
        hidden_size: hidden units of a node in each layer.
        num_layers: recurrent layers on top of each other.
        order: the highest power of a transition matrix.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`; the published network has "mean".
        slots_per_day: steps of a day, see `WindowNetwork`.
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, or graphs and levels that do not fit.

    Source:
        Li, Yu, Shahabi and Liu (2018), eqs. 2 to 4; https://github.com/liyaguang/DCRNN.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0, 3.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 2))
        >>> network = jaxcast.series.DCRNN(
        ...     samples, graphs=jnp.ones((3, 3)), hidden_size=4, num_layers=1, key=jax.random.key(0)
        ... )
        >>> jax.jit(lambda history: network(history))(samples.history).forecast.shape
        (52, 2, 3)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        graphs: Any,
        key: Key[Array, ""],
        hidden_size: int = 64,
        num_layers: int = 2,
        order: int = 2,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "newest",
        slots_per_day: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(hidden_size=hidden_size, num_layers=num_layers)
        check_whole("order", order, least=0)
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
        self.hidden_size, self.num_layers, self.order = hidden_size, num_layers, order
        of_read_out, of_encoder, of_decoder = jax.random.split(key, 3)
        num_supports = 2 * self.graphs.shape[-3]

        def stack(input_size: int, key: Array) -> Any:
            sizes = [input_size] + [hidden_size] * (num_layers - 1)
            keys = jax.random.split(key, num_layers)
            return nnx.List(
                DiffusionGRU(
                    input_size=size,
                    hidden_size=hidden_size,
                    order=order,
                    num_supports=num_supports,
                    key=own,
                    dtype=self.dtype,
                )
                for size, own in zip(sizes, keys, strict=True)
            )

        self.encoder = stack(self.input_size + (CALENDAR_SIZE if slots_per_day else 0), of_encoder)
        self.decoder = stack(self.num_outputs, of_decoder)
        size = hidden_size + self.num_known
        self.read_out = uniform_linear(
            size, self.num_outputs, fan_in=size, rngs=nnx.Rngs(of_read_out), dtype=self.dtype
        )

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        del key
        supports = both_transitions(self.graphs[...]).astype(self.dtype)
        outputs = jnp.moveaxis(with_calendar(inputs, known.slots, self.slots_per_day).astype(self.dtype), -3, 0)
        states = []
        for layer in self.encoder:
            outputs = layer(outputs, supports)
            states.append(outputs[-1])

        def step(carry: tuple[list[Array], Array], _: None) -> tuple[tuple[list[Array], Array], Array]:
            states, output = carry
            new = []
            for layer, state in zip(self.decoder, states, strict=True):
                output = layer.step(state, layer.of_inputs(output, supports), supports)
                new.append(output)
            output = self.read_out(with_covariates(output, known.covariates))
            return (new, output), output

        first = jnp.zeros((*states[-1].shape[:-1], self.num_outputs), self.dtype)
        _, numbers = jax.lax.scan(step, (states, first), None, length=self.num_leads)
        return jnp.moveaxis(numbers, 0, -3), {}

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {"hidden_size": self.hidden_size, "num_layers": self.num_layers, "order": self.order}


class DiffusionGRU(nnx.Module):
    """A layer of gated recurrent units with convolutions by diffusion.

    A convolution of [x, h] is the sum of one of x and one of h: those of all inputs are computed
    before the steps, as one product.

    Args:
        input_size: features of a node's input.
        hidden_size: features of a node's state.
        order: the highest power of a support.
        num_supports: transition matrices.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        order: int,
        num_supports: int,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        of_inputs, of_gates, of_candidate = jax.random.split(key, 3)
        options: dict[str, Any] = {"order": order, "num_supports": num_supports, "dtype": dtype}
        self.of_inputs = DiffusionConvolution(
            input_size=input_size, output_size=3 * hidden_size, key=of_inputs, **options
        )
        options |= {"input_size": hidden_size, "use_bias": False}
        self.of_gates = DiffusionConvolution(output_size=2 * hidden_size, key=of_gates, **options)
        self.of_candidate = DiffusionConvolution(output_size=hidden_size, key=of_candidate, **options)

    def __call__(
        self, inputs: Float[Array, "time *batch node feature"], supports: Float[Array, "support node node"]
    ) -> Float[Array, "time *batch node hidden"]:
        """Returns the state after each step, from zeros on.

        Args:
            inputs: time first.
            supports: transition matrices.
        """
        convolved = self.of_inputs(inputs, supports)

        def step(state: Array, own: Array) -> tuple[Array, Array]:
            state = self.step(state, own, supports)
            return state, state

        first = jnp.zeros((*convolved.shape[1:-1], convolved.shape[-1] // 3), convolved.dtype)
        return jax.lax.scan(step, first, convolved)[1]

    def step(
        self,
        state: Float[Array, "*batch node hidden"],
        convolved: Float[Array, "*batch node gates"],
        supports: Float[Array, "support node node"],
    ) -> Float[Array, "*batch node hidden"]:
        """Returns the state after a step.

        Args:
            state: before the step.
            convolved: `of_inputs` of the step's input.
            supports: transition matrices.
        """
        size = state.shape[-1]
        gates = jax.nn.sigmoid(convolved[..., : 2 * size] + self.of_gates(state, supports))
        reset, update = jnp.split(gates, 2, -1)
        candidate = jnp.tanh(convolved[..., 2 * size :] + self.of_candidate(reset * state, supports))
        return update * state + (1 - update) * candidate

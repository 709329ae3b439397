"""The decouple layer of D2STGNN: a gate, a diffusion block and an inherent block."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.checks import check_flag, check_whole
from jaxcast.nn.dropout import Dropout
from jaxcast.nn.layers import apply_flat, uniform_linear
from jaxcast.series.graph_networks.d2stgnn_graphs import LocalisedConvolution
from jaxcast.series.graph_networks.d2stgnn_inherent import InherentBlock
from jaxcast.series.graph_networks.inputs import check_dropout


class Settings(NamedTuple):
    """The arguments of `D2STGNN` that other networks do not have."""

    hidden_size: int
    num_layers: int
    embedding_size: int
    spatial_order: int
    kernel_size: int
    gap: int
    forecast_size: int
    output_size: int
    num_heads: int
    dropout: float
    gate: bool
    residual: bool
    coupled: bool
    dynamic_graph: bool
    autoregressive: bool
    repeat_positions: bool
    swap_embeddings: bool

    def check(self) -> None:
        """Raises InputError for a size below one, a flag that is none, or another share."""
        for name, value in self._asdict().items():
            if name == "dropout":
                check_dropout(value)
            else:
                (check_flag if self.__annotations__[name] is bool else check_whole)(name, value)


class EstimationGate(nnx.Module):
    """The share of each step of a node that is diffusion, sigmoid(W relu(W' [T_D, T_W, E_u, E_d])).

    Args:
        num_times: embeddings of the time, 2 or 0.
        embedding_size: components of each embedding.
        hidden_size: units of the hidden layer.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(self, *, num_times: int, embedding_size: int, hidden_size: int, key: Key[Array, ""], dtype: DTypeLike):
        rngs, size = nnx.Rngs(key), (num_times + 2) * embedding_size
        self.first = uniform_linear(size, hidden_size, fan_in=size, rngs=rngs, dtype=dtype)
        self.second = uniform_linear(hidden_size, 1, fan_in=hidden_size, rngs=rngs, dtype=dtype)

    def __call__(
        self, times: Float[Array, "batch time time_embedding"] | None, nodes: Float[Array, "node embedding"]
    ) -> Float[Array, "batch node time"]:
        """Returns the gates; with a batch and a time axis of 1 where they depend on nodes only.

        Args:
            times: embeddings of the steps, side by side; None for none.
            nodes: embeddings E_u and E_d side by side.
        """
        # [T, E] W is the sum of the parts' products, of which none is as large as [T, E].
        kernel, size = self.first.kernel[...], 0 if times is None else times.shape[-1]
        bias: Any = self.first.bias
        hidden = (nodes @ kernel[size:] + bias[...])[None, :, None]
        if times is not None:
            hidden = hidden + (times @ kernel[:size])[:, None]
        return jax.nn.sigmoid(apply_flat(self.second, jax.nn.relu(hidden))[..., 0])


class Residual(nnx.Module):
    """What a block leaves unexplained, layernorm(x - relu(W y + b)).

    Args:
        size: components.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(self, *, size: int, key: Key[Array, ""], dtype: DTypeLike):
        rngs = nnx.Rngs(key)
        self.backcast = uniform_linear(size, size, fan_in=size, rngs=rngs, dtype=dtype)
        self.norm = nnx.LayerNorm(size, epsilon=1e-5, dtype=dtype, param_dtype=dtype, rngs=rngs)

    def __call__(
        self, signal: Float[Array, "batch node time size"], output: Float[Array, "batch node step size"]
    ) -> Float[Array, "batch node step size"]:
        """Subtracts the backcast of a block's output.

        Args:
            signal: the block's input.
            output: its output, of the last steps.
        """
        return self.norm(signal[:, :, -output.shape[2] :] - jax.nn.relu(apply_flat(self.backcast, output)))


class DiffusionBlock(nnx.Module):
    """The localised convolution and its forecast.

    The forecast continues it: each next state is the convolution of the last k_t steps.

    Args:
        num_states: states of the forecast.
        options: of the convolution.
    """

    def __init__(self, *, num_states: int, **options: Any):
        self.convolution = LocalisedConvolution(**options)
        self.num_states = num_states

    def __call__(
        self, signal: Float[Array, "batch node time size"], supports: Float[Array, "*batch node source"], drop: Dropout
    ) -> tuple[Float[Array, "batch node step size"], Float[Array, "batch node state size"]]:
        """Returns the output of every step, and the states of the forecast.

        Args:
            signal: the gated inputs.
            supports: of `supports_of`.
            drop: sets components to zero.
        """
        output = self.convolution(signal, supports, drop)
        size = self.convolution.kernel_size
        seen = jnp.concatenate([signal, output[:, :, -1:]], 2)[:, :, -size:]
        states = [output[:, :, -1:]]
        for _ in range(self.num_states - 1):
            states.append(self.convolution(seen, supports, drop))
            seen = jnp.concatenate([seen, states[-1]], 2)[:, :, -size:]
        return output, jnp.concatenate(states, 2)


class DecoupleLayer(nnx.Module):
    """One layer: diffusion of the gated signal, then what diffusion leaves, node by node.

        G = g * H,    D = diffusion(G),    R = layernorm( H - relu(W_b D) )
        Z = inherent(R),    next H = layernorm( R - relu(W_b' Z) )

    Without `residual`, R is H and the next H is R. With `coupled`, R is D and the next H is Z.

    Args:
        settings: of the network.
        num_states: states of the forecast.
        num_supports: matrices of the convolution.
        last: whether no layer follows, which needs no next H.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        num_states: int,
        num_supports: int,
        last: bool,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        keys = jax.random.split(key, 4)
        options: dict[str, Any] = {"size": settings.hidden_size, "dtype": dtype}
        shared: dict[str, Any] = options | {"num_states": num_states}
        self.diffusion = DiffusionBlock(
            kernel_size=settings.kernel_size, num_supports=num_supports, key=keys[0], **shared
        )
        self.inherent = InherentBlock(
            num_heads=settings.num_heads, repeat_positions=settings.repeat_positions, key=keys[1], **shared
        )
        self.coupled, self.last = settings.coupled, last
        subtracts = settings.residual and not settings.coupled
        self.of_diffusion = Residual(**options, key=keys[2]) if subtracts else None
        self.of_inherent = Residual(**options, key=keys[3]) if subtracts and not last else None

    def __call__(
        self,
        signal: Float[Array, "batch node time size"],
        supports: Float[Array, "*batch node source"],
        gates: Float[Array, "#batch node #time"] | None,
        drop: Dropout,
    ) -> "LayerOutput":
        """Computes the layer.

        Args:
            signal: H.
            supports: of `supports_of`.
            gates: of the steps of H; None for g = 1.
            drop: sets components to zero.
        """
        gated = signal if gates is None else signal * gates[..., None]
        diffused, diffusion_states = self.diffusion(gated, supports, drop)
        rest = diffused
        if not self.coupled:
            rest = signal[:, :, -diffused.shape[2] :]
            rest = rest if self.of_diffusion is None else self.of_diffusion(rest, diffused)
        output, inherent_states, attention = self.inherent(rest, drop, all_steps=not self.last)
        following = output if self.coupled else rest
        if self.of_inherent is not None:
            following = self.of_inherent(rest, output)
        return LayerOutput(following, (diffusion_states, inherent_states), attention)


class LayerOutput(NamedTuple):
    """The outputs of a decouple layer.

    Args:
        signal: the next layer's H.
        states: of the forecasts of both blocks.
        attention: of the newest step to all, (batch, node, step).
    """

    signal: Array
    states: tuple[Array, Array]
    attention: Array


class Readout(nnx.Module):
    """The forecasts of the leads, read from the states of all blocks.

        y = W_3 relu( W_2 [relu( sum_blocks W_1 state + b ), covariates] + b_2 ) + b_3

    Args:
        settings: of the network.
        num_states: states of the forecast.
        num_leads: leads of a state.
        num_outputs: numbers of a lead.
        num_known: covariates of a node.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        num_states: int,
        num_leads: int,
        num_outputs: int,
        num_known: int,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        options: dict[str, Any] = {"rngs": nnx.Rngs(key), "dtype": dtype}
        # One layer for the states of all blocks is the sum of a layer for each.
        width = settings.forecast_size * (1 if settings.autoregressive else num_states)
        size = 2 * settings.num_layers * settings.hidden_size
        self.of_states = uniform_linear(size, width, fan_in=settings.hidden_size, **options)
        size = settings.forecast_size + num_known
        self.hidden = uniform_linear(size, settings.output_size, fan_in=size, **options)
        size = settings.output_size
        self.read_out = uniform_linear(size, num_leads * num_outputs, fan_in=size, **options)
        self.num_states, self.num_outputs = num_states, num_outputs

    def __call__(
        self, states: Float[Array, "batch node state size"], covariates: Any
    ) -> Float[Array, "batch lead node output"]:
        """Returns the numbers of all leads of all states.

        Args:
            states: of all blocks, side by side.
            covariates: of each node; None for none.
        """
        batch, num_nodes = states.shape[:2]
        hidden = jax.nn.relu(apply_flat(self.of_states, states)).reshape(batch, num_nodes, self.num_states, -1)
        if covariates is not None:
            own = covariates.reshape(batch, num_nodes, 1, -1).astype(hidden.dtype)
            hidden = jnp.concatenate([hidden, jnp.broadcast_to(own, (*hidden.shape[:3], own.shape[-1]))], -1)
        numbers = apply_flat(self.read_out, jax.nn.relu(apply_flat(self.hidden, hidden)))
        return jnp.swapaxes(numbers.reshape(batch, num_nodes, -1, self.num_outputs), 1, 2)

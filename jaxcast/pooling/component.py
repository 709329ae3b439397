"""Attention with separate weights for each component of the state."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.nn.layers import check_input, uniform_linear
from jaxcast.nn.network import Network
from jaxcast.nn.standardizer import Standardizer
from jaxcast.pooling.memory import Memory
from jaxcast.pooling.pool import ComponentWeights, DelayPool
from jaxcast.pooling.scales import StandardizedInputs

Errors = Literal["position", "ends", "all"]
_ACTIVATIONS = {"tanh": jnp.tanh, "silu": jax.nn.silu}


class ComponentAttention(ComponentWeights, DelayPool, Checked, Network, name="component_attention"):
    """Convex combinations of the candidates, one for each component of the state.

        a_(d,i) = softmax_i [ network(u_(j-1), ..., errors_(j-1), ..., errors_(j-l)) ]_(d,i)
        y_d = sum_i a_(d,i) F_(i,d)

    Convex weights that all components share cannot follow a parameter that changes within a step;
    separate weights can. Unlike `AdditiveAttention` it knows the candidates by their position, so
    their order and number must be those of training. `info["component_weights"]` is (*batch, dim,
    model), `info["weights"]` its mean over components.

    Args:
        dim: components of a state.
        num_models: candidates.
        num_delays: l, the past states and errors in the memory.
        hidden_sizes: units of each hidden layer.
        errors: which errors the network sees at each of the l steps. "all": those of every
            candidate. "ends": those of the first and the last. "position": where between these two
            the truth lay, by least squares, and how far apart they were; it suffices for candidates
            in the order of one parameter, and generalises best.
        num_states: how many of the l last states it sees.
        activation: of the hidden layers, "tanh" or "silu".
        scales: of the inputs, as from `input_scales`; stored with the parameters. By default inputs
            are not standardised.
        key: random key for the initial parameters.
        dtype: of the network; softmax and sum keep the forecasts' dtype.

    Raises:
        InputError: for sizes below one, unknown errors or activation, a memory of another size, or
            no candidates.

    Source:
        Bahdanau, Cho and Bengio (2015) for attention; Patel and Wikner (2023), section 4, suggest
        weights for each component.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=40)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> scales = jaxcast.pooling.input_scales(truth, candidates)
        >>> pool = jaxcast.pooling.ComponentAttention(
        ...     dim=3, num_models=2, num_delays=5, scales=scales, key=jax.random.key(0)
        ... )
        >>> cell = jaxcast.Forecaster(pool, candidates)
        >>> jaxcast.forecast(cell, truth.states, num_leads=5).info["component_weights"].shape
        (5, 3, 2)
    """

    @checked
    def __init__(
        self,
        *,
        dim: int,
        num_models: int,
        num_delays: int,
        hidden_sizes: Sequence[int] = (128, 128),
        errors: Errors = "position",
        num_states: int = 1,
        activation: Literal["tanh", "silu"] = "tanh",
        scales: Standardizer | None = None,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(dim=dim, num_models=num_models, num_delays=num_delays, num_states=num_states)
        check_sizes(**{f"hidden_sizes[{i}]": size for i, size in enumerate(hidden_sizes)})
        seen_of_errors = {"position": 2, "ends": 2 * dim, "all": num_models * dim}
        if (
            errors not in seen_of_errors
            or activation not in _ACTIVATIONS
            or not hidden_sizes
            or num_states > num_delays
        ):
            raise InputError(
                f"expected errors of {shown(', '.join(seen_of_errors))}, activation of "
                f"{shown(', '.join(_ACTIVATIONS))}, hidden_sizes and at most {num_delays} states, got "
                f"{shown(repr(errors))}, {shown(repr(activation))}, {tuple(hidden_sizes)} and {num_states}"
            )
        self.num_delays = num_delays
        self.errors, self.num_states, self.activation = errors, num_states, activation
        self.scales = StandardizedInputs(scales, dim)
        sizes = (num_states * dim + num_delays * seen_of_errors[errors], *hidden_sizes)
        rngs = nnx.Rngs(key)
        self.hidden = nnx.List([uniform_linear(a, b, fan_in=a, rngs=rngs, dtype=dtype) for a, b in pairwise(sizes)])
        self.score = uniform_linear(sizes[-1], dim * num_models, fan_in=sizes[-1], rngs=rngs, dtype=dtype)

    @property
    def config(self) -> dict[str, Any]:
        dim = self.scales.mean.shape[-1]
        return {
            "dim": dim,
            "num_models": self.score.out_features // dim,
            "num_delays": self.num_delays,
            "hidden_sizes": [layer.out_features for layer in self.hidden],
            "errors": self.errors,
            "num_states": self.num_states,
            "activation": self.activation,
            "dtype": jnp.dtype(self.score.param_dtype).name,
        }

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        self.scales.check()

    def inputs(self, memory: Memory) -> Float[Array, "*batch size"]:
        """Computes the inputs of the network.

        Args:
            memory: of the last states and errors.
        """
        errors = self.errors_in(memory)
        batch = memory.states.shape[:-2]
        parts = [self.scales.states(memory.states[..., : self.num_states, :])]
        errors = self.scales.errors(errors)
        if self.errors == "position":
            first, last = errors[..., 0, :], errors[..., -1, :]
            apart = first - last
            distance = (apart**2).sum(-1)
            # In [-1, 1] between the two; where they agree the truth may be anywhere, and zero will
            # do.
            parts += [2 * (first * apart).sum(-1) / (distance + 1e-6) - 1, jnp.log(distance + 1e-3)]
        else:
            parts.append(errors[..., (0, -1), :] if self.errors == "ends" else errors)
        return jnp.concatenate([part.reshape(*batch, -1) for part in parts], -1)

    @checked
    def weigh(self, memory: Memory, forecasts: Float[Array, "*batch model dim"]) -> Float[Array, "*batch dim model"]:
        hidden = self.inputs(memory)
        check_input(self.hidden[0], hidden.shape[-1])
        for layer in self.hidden:
            hidden = _ACTIVATIONS[self.activation](layer(hidden))
        *batch, num_models, dim = forecasts.shape
        if num_models * dim != self.score.out_features:
            raise InputError(
                f"expected {self.score.out_features} forecasts of all candidates, got {num_models} by {dim}"
            )
        scores = self.score(hidden).reshape(*batch, dim, num_models)
        return jax.nn.softmax(scores.astype(forecasts.dtype), -1)

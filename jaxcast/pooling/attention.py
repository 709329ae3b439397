"""Attention over candidate models: weights recomputed at every step from how each candidate has just erred."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.errors import InputError
from jaxcast.pooling.memory import DelayMemory, Memory
from jaxcast.rollout import Output


class AdditiveAttention(nnx.Module):
    """Single-head additive attention: a convex combination of the candidate forecasts.

        a_i = softmax_i [ w_v . tanh(W_q q + W_k k_i + b) ],    y = sum_i a_i F_i
        q = [u_(j-1), ..., u_(j-l)],    k_i = [F_(j-1)^(i) - u_(j-1), ..., F_(j-l)^(i) - u_(j-l)]

    One key for each candidate, one query for all; the weights are shared by all components of the state. The network
    computes in `dtype`; softmax and sum keep the forecasts' dtype. Initialisation is uniform within 1/sqrt(fan-in).

    Source: Patel and Wikner (2023), eq. 1, 2, 4 and 8; Bahdanau, Cho and Bengio (2015) for the scoring function.

    Args:
        dim: components of a state. num_delays: l. hidden_size: rows of W_q and W_k (the paper: 600 / l).
        key: for the initial parameters.

    Raises:
        InputError: for sizes below one, a memory of another size, or no candidates.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> pool = jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=120, key=jax.random.key(0))
        >>> memory = jaxcast.Memory(states=jnp.ones((5, 3)), errors=jnp.ones((5, 11, 3)))
        >>> forecast, info = pool(memory, jnp.ones((11, 3)))
        >>> forecast.shape, info["weights"].shape
        ((3,), (11,))
    """

    def __init__(
        self, *, dim: int, num_delays: int, hidden_size: int, key: Key[Array, ""], dtype: DTypeLike = jnp.float32
    ):
        check_sizes(dim=dim, num_delays=num_delays, hidden_size=hidden_size)
        self.memory = DelayMemory(num_delays)
        rngs = nnx.Rngs(key)
        size = num_delays * dim
        # [W_q, W_k] and b in one layer, each initialised by its own fan-in.
        self.hidden = uniform_linear(2 * size, hidden_size, fan_in=size, rngs=rngs, dtype=dtype)
        self.score = uniform_linear(hidden_size, 1, fan_in=hidden_size, rngs=rngs, dtype=dtype, use_bias=False)

    def __call__(self, memory: Memory, forecasts: Float[Array, "*batch model dim"]) -> Output:
        if memory.errors is None:
            raise InputError("attention needs candidates: give the Forecaster a forecast map")
        *batch, num_models, _ = forecasts.shape
        # One plain matrix product for query and keys of all models, models first: written as two products or with
        # more axes, XLA for CPU trains several times slower on two cores.
        keys = jnp.moveaxis(memory.errors, -2, 0).reshape(num_models, *batch, -1)
        query = jnp.broadcast_to(memory.states.reshape(*batch, -1), keys.shape)
        inputs = jnp.concatenate([query, keys], -1).reshape(num_models * math.prod(batch), -1)
        check_input(self.hidden, inputs)
        scores = self.score(jnp.tanh(self.hidden(inputs))).reshape(num_models, *batch)
        weights = jnp.moveaxis(jax.nn.softmax(scores.astype(forecasts.dtype), axis=0), 0, -1)
        return Output(jnp.einsum("...m,...md->...d", weights, forecasts), {"weights": weights})


def check_sizes(**sizes: int) -> None:
    """Raises InputError unless every size is at least one."""
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} must be at least 1, got {size}")


def check_input(layer: nnx.Linear, inputs: Array) -> None:
    """Raises InputError unless a memory has the size that a layer was made for."""
    if inputs.shape[-1] != layer.in_features:
        raise InputError(
            f"the memory holds {inputs.shape[-1]} numbers a sample, the network was made for {layer.in_features}; "
            "give both the same dim and num_delays"
        )


def uniform_linear(
    in_size: int, out_size: int, *, fan_in: int, rngs: nnx.Rngs, dtype: DTypeLike, use_bias: bool = True
) -> nnx.Linear:
    """A linear layer with weights and bias uniform within 1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(
        in_size,
        out_size,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=dtype,
        kernel_init=init,
        bias_init=init,
        rngs=rngs,
    )

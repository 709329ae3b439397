"""Baseline pools, for comparison."""

from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.nn.layers import check_input, uniform_linear
from jaxcast.nn.network import Network
from jaxcast.pooling.attention import network_config
from jaxcast.pooling.memory import DelayMemory, Memory
from jaxcast.pooling.pool import DelayPool, Pool
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Output


class Persistence(Pool, FrozenPytree, name="persistence"):
    """Persistence: the forecast is the last value, y_j = u_(j-1).

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
        >>> jaxcast.forecast(cell, jnp.asarray([[1.0], [2.0]]), num_leads=2).forecast.tolist()
        [[2.0], [2.0]]
    """

    memory: ClassVar[DelayMemory] = DelayMemory(1)

    @checked
    def __call__(self, memory: Memory, forecasts: Any) -> Output:
        return Output(memory.states[..., 0, :], {})


class FeedForward(DelayPool, Network, name="feed_forward"):
    """A network with one hidden layer that sees the delayed states and no candidates.

        y = W_2 tanh(W_1 [u_(j-1), ..., u_(j-l)] + b_1) + b_2

    Args:
        dim: components of a state.
        num_delays: l, the past states that it sees.
        hidden_size: rows of W_1.
        key: random key for the initial parameters.
        dtype: of the network; the forecast keeps the states' dtype.

    Raises:
        InputError: for sizes below one, or a memory of another size.

    Source:
        Patel and Wikner (2023), section 3.1.2.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> network = jaxcast.pooling.FeedForward(dim=3, num_delays=5, hidden_size=8, key=jax.random.key(0))
        >>> cell = jaxcast.Forecaster(network)
        >>> jaxcast.forecast(cell, jnp.ones((6, 3)), num_leads=4).forecast.shape
        (4, 3)
    """

    @checked
    def __init__(
        self, *, dim: int, num_delays: int, hidden_size: int, key: Key[Array, ""], dtype: DTypeLike = jnp.float32
    ):
        check_sizes(dim=dim, num_delays=num_delays, hidden_size=hidden_size)
        self.num_delays = num_delays
        rngs = nnx.Rngs(key)
        size = num_delays * dim
        self.hidden = uniform_linear(size, hidden_size, fan_in=size, rngs=rngs, dtype=dtype)
        self.readout = uniform_linear(hidden_size, dim, fan_in=hidden_size, rngs=rngs, dtype=dtype)

    @property
    def config(self) -> dict[str, Any]:
        return network_config(self.hidden, self.num_delays, self.num_delays)

    @checked
    def __call__(self, memory: Memory, forecasts: Any) -> Output:
        inputs = memory.states.reshape(*memory.states.shape[:-2], -1)
        check_input(self.hidden, inputs.shape[-1])
        forecast = self.readout(jnp.tanh(self.hidden(inputs)))
        return Output(forecast.astype(memory.states.dtype), {})

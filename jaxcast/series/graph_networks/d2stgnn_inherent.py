"""The inherent block of D2STGNN: what a node's own past says of its future."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.nn.dropout import Dropout
from jaxcast.nn.gru import GRU
from jaxcast.nn.positions import sinusoidal_positions
from jaxcast.nn.self_attention import SelfAttention
from jaxcast.nn.short_attention import short_attention


class InherentBlock(nnx.Module):
    """A GRU over time, attention of every step to all, and their forecast.

    The forecast continues the GRU with the last output as its input, and each new state attends to
    all states so far. Positions are added to every state once. In the published code (with
    `repeat_positions`) they are added again to all states at every step of the forecast, the GRU
    continues from a state with its position, and new states attend without theirs.

    Args:
        size: components of a step of a node.
        num_heads: of the attention.
        num_states: states of the forecast.
        repeat_positions: whether to do as the published code does.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        *,
        size: int,
        num_heads: int,
        num_states: int,
        repeat_positions: bool,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        of_gru, of_attention = jax.random.split(key)
        self.gru = GRU(input_size=size, hidden_size=size, key=of_gru, dtype=dtype)
        self.attention = SelfAttention(size=size, num_heads=num_heads, residual=False, key=of_attention, dtype=dtype)
        self.num_states, self.repeat_positions = num_states, repeat_positions

    def __call__(
        self, signal: Float[Array, "batch node time size"], drop: Dropout, *, all_steps: bool = True
    ) -> tuple[Float[Array, "batch node step size"], Float[Array, "batch node state size"], Array]:
        """Returns the output of every step, the states of the forecast and the newest attention.

        Args:
            signal: the inputs.
            drop: sets components to zero.
            all_steps: whether the output of steps before the newest is wanted too.
        """
        batch, num_nodes, num_steps, size = signal.shape
        carry, states = self.gru(signal.reshape(batch * num_nodes, num_steps, size))
        # Time first, and all nodes of all windows as one long last axis: see `short_attention`.
        states = drop(jnp.swapaxes(states, 0, 1))
        table = sinusoidal_positions(num_steps + self.num_states, size, states.dtype)[:, None]
        placed = states + table[:num_steps]
        heads = self._heads(placed)
        queries = heads[0] if all_steps else heads[0][:, :, -1:]
        output, weights = self._attend(queries, heads[1], heads[2], drop)
        if self.repeat_positions:
            future = self._repeating(placed, table, output[-1:], drop)
        else:
            future = self._forecast(carry, heads[1:], table[num_steps:], output[-1:], drop)

        def unfold(steps: Array) -> Array:
            return jnp.swapaxes(steps, 0, 1).reshape(batch, num_nodes, len(steps), size)

        newest = weights[:, -1].mean(0).T.reshape(batch, num_nodes, num_steps)
        return unfold(output), unfold(future), newest

    def _forecast(self, carry: Array, heads: Array, table: Array, newest: Array, drop: Dropout) -> Array:
        """Continues the states; keys and values of those so far stay as they are."""
        states, (sources, values) = [newest], heads
        for place in table[: self.num_states - 1]:
            carry, state = self.gru.step(carry, states[-1][0])
            query, source, value = self._heads((state + place)[None])
            sources, values = jnp.concatenate([sources, source], 2), jnp.concatenate([values, value], 2)
            states.append(self._attend(query, sources, values, drop)[0])
        return jnp.concatenate(states)

    def _repeating(self, placed: Array, table: Array, newest: Array, drop: Dropout) -> Array:
        """Continues the states as the published code does."""
        states = [newest]
        for _ in range(self.num_states - 1):
            _, state = self.gru.step(placed[-1], states[-1][0])
            placed = jnp.concatenate([placed, state[None]]) + table[: len(placed) + 1]
            _, sources, values = self._heads(placed)
            states.append(self._attend(self._heads(state[None])[0], sources, values, drop)[0])
        return jnp.concatenate(states)

    def _heads(self, states: Float[Array, "time sequence size"]) -> Float[Array, "3 head part time sequence"]:
        """Returns queries, keys and values, with the sequences last."""
        kernel, bias = self.attention.input_kernel[...], self.attention.input_bias[...]
        product = jnp.einsum("tsc,cd->dts", states, kernel) + bias[:, None, None]
        return product.reshape(3, self.attention.num_heads, -1, *product.shape[1:])

    def _attend(
        self, queries: Array, sources: Array, values: Array, drop: Dropout
    ) -> tuple[Float[Array, "query sequence size"], Float[Array, "head query step sequence"]]:
        seen, weights = short_attention(queries, sources, values)
        kernel, bias = self.attention.output_kernel[...], self.attention.output_bias[...]
        output = jnp.einsum("cts,cd->tsd", seen.reshape(-1, *seen.shape[2:]), kernel) + bias
        return drop(output), weights

"""The inherent block of D2STGNN: what a node's own past says of its future."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.nn.gru import GRU
from jaxcast.nn.layers import drop
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
        dropout: probability with which a component of an output is set to zero.
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
        dropout: float,
        repeat_positions: bool,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        of_gru, of_attention = jax.random.split(key)
        self.gru = GRU(input_size=size, hidden_size=size, key=of_gru, dtype=dtype)
        self.attention = SelfAttention(size=size, num_heads=num_heads, residual=False, key=of_attention, dtype=dtype)
        self.num_states, self.dropout, self.repeat_positions = num_states, dropout, repeat_positions

    def __call__(
        self, signal: Float[Array, "batch node time size"], key: Any, *, all_steps: bool = True
    ) -> tuple[Float[Array, "batch node step size"], Float[Array, "batch node state size"], Array]:
        """Returns the output of every step, the states of the forecast and the newest attention.

        Args:
            signal: the inputs.
            key: switches dropout on; None for none.
            all_steps: whether the output of steps before the newest is wanted too.
        """
        batch, num_nodes, num_steps, size = signal.shape
        of_states, *keys = split(key, self.num_states + 1)
        carry, states = self.gru(signal.reshape(batch * num_nodes, num_steps, size))
        # Time first, and all nodes of all windows as one long last axis: see `short_attention`.
        states = jnp.swapaxes(drop(states, self.dropout, of_states), 0, 1)
        placed = states + positions(num_steps + self.num_states, size, states.dtype)[:num_steps, None]
        heads = self._heads(placed)
        queries = heads[0] if all_steps else heads[0][:, :, -1:]
        output, weights = self._attend(queries, *heads[1:], keys[0])
        forecast = self._repeating if self.repeat_positions else self._forecast
        future = forecast(carry, placed, heads, output[-1], keys[1:])

        def unfold(steps: Array) -> Array:
            return jnp.swapaxes(steps, 0, 1).reshape(batch, num_nodes, len(steps), size)

        newest = weights[:, -1].mean(0).T.reshape(batch, num_nodes, num_steps)
        return unfold(output), unfold(jnp.stack([output[-1], *future])), newest

    def _forecast(self, carry: Array, placed: Array, heads: Array, newest: Array, keys: list[Any]) -> list[Array]:
        """Continues the states; keys and values of those so far stay as they are."""
        table, states = positions(len(placed) + len(keys) + 1, placed.shape[-1], placed.dtype), []
        _, sources, values = heads
        for n, key in enumerate(keys, len(placed)):
            carry, state = self.gru.step(carry, newest)
            query, source, value = self._heads((state + table[n])[None])
            sources, values = jnp.concatenate([sources, source], 2), jnp.concatenate([values, value], 2)
            newest = self._attend(query, sources, values, key)[0][0]
            states.append(newest)
        return states

    def _repeating(self, carry: Array, placed: Array, heads: Array, newest: Array, keys: list[Any]) -> list[Array]:
        """Continues the states as the published code does."""
        del carry, heads
        table, states = positions(len(placed) + len(keys) + 1, placed.shape[-1], placed.dtype), []
        for key in keys:
            _, state = self.gru.step(placed[-1], newest)
            placed = jnp.concatenate([placed, state[None]]) + table[: len(placed) + 1, None]
            newest = self._attend(self._heads(state[None])[0], *self._heads(placed)[1:], key)[0][0]
            states.append(newest)
        return states

    def _heads(self, states: Float[Array, "time sequence size"]) -> Float[Array, "3 head part time sequence"]:
        """Returns queries, keys and values, with the sequences last."""
        kernel, bias = self.attention.input_kernel[...], self.attention.input_bias[...]
        product = jnp.einsum("tsc,cd->dts", states, kernel) + bias[:, None, None]
        return product.reshape(3, self.attention.num_heads, -1, *product.shape[1:])

    def _attend(
        self, queries: Array, sources: Array, values: Array, key: Any
    ) -> tuple[Float[Array, "query sequence size"], Float[Array, "head query step sequence"]]:
        seen, weights = short_attention(queries, sources, values)
        kernel, bias = self.attention.output_kernel[...], self.attention.output_bias[...]
        output = jnp.einsum("cts,cd->tsd", seen.reshape(-1, *seen.shape[2:]), kernel) + bias
        return drop(output, self.dropout, key), weights


def positions(num_steps: int, size: int, dtype: DTypeLike) -> Float[Array, "step size"]:
    """Returns sinusoidal encodings of positions, sines at even and cosines at odd components.

    Args:
        num_steps: how many positions.
        size: components of each.
        dtype: of the result.

    Source:
        Vaswani et al. (2017), section 3.5.
    """
    rates = 10000.0 ** (-2 * jnp.arange((size + 1) // 2) / size)
    angles = jnp.arange(num_steps)[:, None] * rates
    both = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
    return both.reshape(num_steps, -1)[:, :size].astype(dtype)


def split(key: Any, num: int) -> list[Any]:
    """Splits a key; None into as many None.

    Args:
        key: random key, or None.
        num: how many.
    """
    return [None] * num if key is None else list(jax.random.split(key, num))

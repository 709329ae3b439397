"""Causal attention: over time, drawn to steps by the effects of their treatments."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.short_attention import short_attention
from jaxcast.nn.temporal_convolution import TemporalConvolution


class EffectAttention(nnx.Module):
    """Masked self-attention over time, whose keys have a bias by the effects of treatments.

        logits_tt' = q_t . k_t' / sqrt(d) + w_p theta(t, t'),    t' <= t
        theta(t, t') = e_t - e_t'

    with e the effect of a step's treatments, which is not trained, and w one number for each head
    p, which starts at 1. The effect of the query's own step is the same for all keys, so it cancels
    in the softmax. Queries and keys are causal convolutions over the steps, as of ConvTrans.

    Args:
        size: components of a step.
        num_heads: p, of d = size / p components each.
        kernel_size: steps that a query and a key see.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(self, *, size: int, num_heads: int, kernel_size: int, key: Key[Array, ""], dtype: DTypeLike):
        of_pairs, of_values, of_output = jax.random.split(key, 3)
        self.pairs = TemporalConvolution(
            input_size=size, output_size=2 * size, kernel_size=kernel_size, key=of_pairs, dtype=dtype
        )
        self.values, self.output = (
            uniform_linear(size, size, fan_in=size, rngs=nnx.Rngs(k), dtype=dtype) for k in (of_values, of_output)
        )
        self.effect_weights = nnx.Param(jnp.ones(num_heads, dtype))

    def __call__(
        self, xs: Float[Array, "sample time node size"], effects: Float[Array, "sample time node"], num_queries: int
    ) -> tuple[Float[Array, "sample query node size"], Float[Array, "sample head query time"]]:
        """Attends from the last steps to all that are not later.

        Args:
            xs: of each node and step.
            effects: of the treatments of each node and step.
            num_queries: how many of the last steps attend.

        Returns:
            What they see, and the attention weights, which are means over nodes.
        """
        num_samples, num_steps, num_nodes, size = xs.shape
        padding = ((0, 0), (self.pairs.kernel.shape[0] - 1, 0), (0, 0), (0, 0))
        convolved = self.pairs(jnp.moveaxis(jnp.pad(xs, padding), 1, 2))  # (sample, node, time, 2 size)
        pairs = self._heads(convolved.reshape(-1, num_steps, 2 * size))
        queries, keys = pairs[: len(pairs) // 2, :, -num_queries:], pairs[len(pairs) // 2 :]
        values = self._heads(jnp.moveaxis(self.values(xs), 1, 2).reshape(-1, num_steps, size))
        # The bias of keys is one more component of theirs.
        per_head = size // len(values)
        flat = jnp.moveaxis(effects, 1, 0).reshape(1, 1, num_steps, -1)
        bias = -self.effect_weights[:, None, None, None] * flat.astype(keys.dtype)
        queries = math.sqrt((per_head + 1) / per_head) * queries
        queries = jnp.concatenate([queries, jnp.full_like(queries[:, :1], math.sqrt(per_head + 1))], 1)
        seen, weights = short_attention(queries, jnp.concatenate([keys, bias], 1), values, True)
        seen = jnp.transpose(seen.reshape(size, num_queries, num_samples, num_nodes), (2, 1, 3, 0))
        weights = weights.reshape(*weights.shape[:-1], num_samples, num_nodes).mean(-1)
        return self.output(seen), jnp.moveaxis(weights, -1, 0)

    def _heads(self, states: Float[Array, "sequence time size"]) -> Float[Array, "head part time sequence"]:
        """Brings the sequences of each head last; of queries and keys, all heads of queries come first."""
        num_heads, size = len(self.effect_weights), self.output.out_features
        parts = jnp.transpose(states, (2, 1, 0))
        return parts.reshape(parts.shape[0] // size * num_heads, size // num_heads, *parts.shape[1:])


class FeedForward(nnx.Module):
    """Two dense layers of each step, with a ReLU between them.

    Args:
        size: components of a step.
        hidden_size: of the first layer.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(self, *, size: int, hidden_size: int, key: Key[Array, ""], dtype: DTypeLike):
        one, other = jax.random.split(key)
        self.first = uniform_linear(size, hidden_size, fan_in=size, rngs=nnx.Rngs(one), dtype=dtype)
        self.second = uniform_linear(hidden_size, size, fan_in=hidden_size, rngs=nnx.Rngs(other), dtype=dtype)

    def __call__(self, xs: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Computes all steps.

        Args:
            xs: of each step.
        """
        result: Array = self.second(jax.nn.relu(self.first(xs)))
        return result

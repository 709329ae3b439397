"""Layers of a decoder-only transformer whose queries and keys are convolutions over time."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from jaxcast.nn.dropout import Dropout
from jaxcast.nn.gated_residual import StackedNorm
from jaxcast.nn.layers import apply_flat, uniform_linear

EXPANSION = 4
"""Units of the position-wise network, for each component."""


def log_sparse_mask(num_steps: int) -> Bool[np.ndarray, "query step"]:
    """Returns which steps each step sees: itself, and those 1, 2, 4, 8, ... steps before.

    Args:
        num_steps: of a sequence.
    """
    distance = np.arange(num_steps)[:, None] - np.arange(num_steps)
    return (distance == 0) | ((distance > 0) & (distance & (distance - 1) == 0))


class LayerCache(NamedTuple):
    """Keys and values of earlier steps, with which a layer continues one step at a time.

    Args:
        keys: of the steps of the history, which all paths share.
        values: alike.
        own_keys: of the steps of the leads of each path, zero where not yet drawn.
        own_values: alike.
        newest: inputs of the last steps, which the convolution sees, of each path.
    """

    keys: Float[Array, "window step head size"]
    values: Float[Array, "window step head size"]
    own_keys: Float[Array, "path window lead head size"]
    own_values: Float[Array, "path window lead head size"]
    newest: Float[Array, "path window tap size"]


class ConvTransLayer(nnx.Module):
    """Attention with convolved queries and keys, and a network at each step, each with a skip.

        [q_t, k_t] = sum_(j=0..K-1) x_(t-K+1+j) W_j + b,    v_t = x_t V + c
        y_t = layernorm( x_t + A(q, k, v)_t W_o + b_o )
        z_t = layernorm( y_t + W_2 relu(W_1 y_t + b_1) + b_2 )

    Args:
        size: components of inputs and outputs.
        num_heads: heads of the attention; they divide the size.
        kernel_size: K.
        key: for the weights.
        dtype: of the weights.
    """

    def __init__(self, *, size: int, num_heads: int, kernel_size: int, key: Key[Array, ""], dtype: Any):
        rngs = nnx.Rngs(key)

        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return uniform_linear(inputs, outputs, fan_in=inputs, rngs=rngs, dtype=dtype)

        self.asking = linear(kernel_size * size, 2 * size)  # oldest step first
        self.value, self.out = linear(size, size), linear(size, size)
        self.hidden, self.last = linear(size, EXPANSION * size), linear(EXPANSION * size, size)
        self.attention_norm, self.norm = StackedNorm(size, dtype=dtype), StackedNorm(size, dtype=dtype)
        self.num_heads, self.kernel_size = num_heads, kernel_size

    def __call__(
        self,
        xs: Float[Array, "window step size"],
        exists: Bool[Array, "window step"],
        visible: Bool[Array, "step step"],
        drop: Dropout,
    ) -> tuple[Float[Array, "window step size"], tuple[Array, Array]]:
        """Applies the layer to whole sequences.

        Args:
            xs: the inputs, zero at steps that do not exist.
            exists: which steps do.
            visible: which steps each step sees.
            drop: the dropout of the pass.

        Returns:
            The outputs, and the keys and values of all steps.
        """
        padded = jnp.pad(xs, ((0, 0), (self.kernel_size - 1, 0), (0, 0)))
        taps = [padded[:, n : n + xs.shape[1]] for n in range(self.kernel_size)]
        queries, keys = self._asked(jnp.concatenate(taps, -1))
        values = self._heads(apply_flat(self.value, xs))
        seen = visible & (exists[:, None, :] | jnp.eye(xs.shape[1], dtype=bool))
        scores = jnp.einsum("bqhd,bkhd->bhqk", queries, keys) / math.sqrt(queries.shape[-1])
        attended = jnp.einsum("bhqk,bkhd->bqhd", _softmax(scores, seen[:, None]), values)
        outputs = self._after_attention(xs, attended.reshape(xs.shape), drop)
        return jnp.where(exists[..., None], outputs, 0), (keys, values)

    def step(
        self,
        x: Float[Array, "path window size"],
        cache: LayerCache,
        lead: Int[Array, ""],
        seen: tuple[Bool[Array, "window step"], Bool[Array, " lead"]],
        drop: Dropout,
    ) -> tuple[Float[Array, "path window size"], LayerCache]:
        """Applies the layer to one more step of each path.

        Args:
            x: the input of the step.
            cache: of the steps before.
            lead: number of the step, from 0.
            seen: which steps of the history and of the leads the step sees.
            drop: drops nothing.

        Returns:
            The output, and the cache with the step.
        """
        newest = jnp.concatenate([cache.newest, x[..., None, :]], -2)
        query, key = self._asked(newest.reshape(*x.shape[:-1], -1))
        value = self._heads(apply_flat(self.value, x))
        own_keys = jax.lax.dynamic_update_index_in_dim(cache.own_keys, key, lead, 2)
        own_values = jax.lax.dynamic_update_index_in_dim(cache.own_values, value, lead, 2)
        of_history = jnp.einsum("pbhd,bkhd->pbhk", query, cache.keys)
        of_leads = jnp.einsum("pbhd,pbkhd->pbhk", query, own_keys)
        scores = jnp.concatenate([of_history, of_leads], -1) / math.sqrt(query.shape[-1])
        both = jnp.concatenate([seen[0], jnp.broadcast_to(seen[1], (len(seen[0]), len(seen[1])))], -1)
        weights = _softmax(scores, both[:, None])
        num = cache.keys.shape[1]
        attended = jnp.einsum("pbhk,bkhd->pbhd", weights[..., :num], cache.values)
        attended = attended + jnp.einsum("pbhk,pbkhd->pbhd", weights[..., num:], own_values)
        outputs = self._after_attention(x, attended.reshape(x.shape), drop)
        return outputs, cache._replace(own_keys=own_keys, own_values=own_values, newest=newest[..., 1:, :])

    def _asked(self, taps: Float[Array, "*batch taps"]) -> tuple[Array, Array]:
        queries, keys = jnp.split(apply_flat(self.asking, taps), 2, -1)
        return self._heads(queries), self._heads(keys)

    def _heads(self, xs: Array) -> Array:
        return xs.reshape(*xs.shape[:-1], self.num_heads, -1)

    def _after_attention(self, xs: Array, attended: Array, drop: Dropout) -> Array:
        ys = self.attention_norm(xs + drop(apply_flat(self.out, attended)))
        outputs: Array = self.norm(ys + drop(apply_flat(self.last, jax.nn.relu(apply_flat(self.hidden, ys)))))
        return outputs


def _softmax(scores: Array, seen: Array) -> Array:
    # Finite: a softmax over infinities has no gradient.
    return jax.nn.softmax(jnp.where(seen, scores, jnp.finfo(scores.dtype).min / 2), -1)

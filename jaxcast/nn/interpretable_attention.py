"""Attention whose weights can be read: all heads see the same values."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.nn.layers import apply_flat, uniform_linear


class InterpretableAttention(nnx.Module):
    """Multi-head attention with one projection of values for all heads.

        a_p = softmax( (q W_p) (k U_p)^T / sqrt(d) ),    y = ( mean_p a_p ) (k V) W_o

    The heads differ in where they look alone, so the mean of their weights says how much each step
    contributes. No projection has a bias.

    Args:
        size: components of inputs and outputs.
        num_heads: P, of d = size / P components each.
        key: for the weights, uniform within 1/sqrt(number of inputs).
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, or a number of heads that does not divide the size.

    Source:
        Lim, Arik, Loeff and Pfister, Int. J. Forecast. 37, 1748-1764 (2021), eqs. 13 to 16.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> attention = jaxcast.nn.InterpretableAttention(size=8, num_heads=2, key=jax.random.key(0))
        >>> steps = jnp.ones((32, 20, 8))
        >>> outputs, weights = attention(steps[:, -3:], steps, jnp.tri(3, 20, 17, dtype=bool))
        >>> outputs.shape, weights.shape, float(weights[0, 0, -1])
        ((32, 3, 8), (32, 3, 20), 0.0)
    """

    @checked
    def __init__(self, *, size: int, num_heads: int, key: Key[Array, ""], dtype: DTypeLike = jnp.float32):
        check_sizes(size=size, num_heads=num_heads)
        if size % num_heads:
            raise InputError(f"num_heads must divide the size {size}, got {num_heads}")
        own, rngs = size // num_heads, nnx.Rngs(key)

        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return uniform_linear(inputs, outputs, fan_in=inputs, rngs=rngs, dtype=dtype, use_bias=False)

        self.query, self.key, self.value = linear(size, size), linear(size, size), linear(size, own)
        self.out = linear(own, size)
        self.num_heads = num_heads

    def __call__(
        self,
        queries: Float[Array, "*batch query size"],
        steps: Float[Array, "*batch step size"],
        visible: Bool[Array, "*#batch query step"],
    ) -> tuple[Float[Array, "*batch query size"], Float[Array, "*batch query step"]]:
        """Attends to steps.

        Args:
            queries: the steps that look.
            steps: the steps that are looked at.
            visible: which steps each query sees, at least one.

        Returns:
            What the queries see, and the mean weights of all heads.
        """
        heads = [self._heads(layer, xs) for layer, xs in ((self.query, queries), (self.key, steps))]
        scores = jnp.einsum("...qpd,...kpd->...pqk", *heads) / math.sqrt(heads[0].shape[-1])
        lowest = jnp.finfo(scores.dtype).min / 2  # finite: a softmax over infinities has no gradient
        scores = jnp.where(visible[..., None, :, :], scores, lowest)
        # All heads see the same values, so their weights can be averaged before the product.
        weights = jax.nn.softmax(scores, -1).mean(-3)
        return apply_flat(self.out, weights @ apply_flat(self.value, steps)), weights

    def _heads(self, layer: Any, xs: Array) -> Array:
        return apply_flat(layer, xs).reshape(*xs.shape[:-1], self.num_heads, -1)

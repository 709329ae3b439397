"""An LSTM whose products are convolutions over nodes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Convolve = Callable[[Any, Array], Array]
"""Applies a convolution to features (*batch, node, feature)."""


class ConvolutionalLSTM(nnx.Module):
    """A long short-term memory over time and nodes, with convolutions in place of matrix products.

        i, f, o = sigmoid(M_x x_t + M_h h')     each with its own features
        g = tanh(M_x x_t + M_h h')
        c = f * c' + i * g,    h = o * tanh(c)

    Args:
        of_input: M_x, a convolution with four times the features of h, and a bias.
        of_state: M_h, alike.
    """

    def __init__(self, of_input: nnx.Module, of_state: nnx.Module):
        self.of_input, self.of_state = of_input, of_state

    def __call__(
        self, xs: Float[Array, "*batch time node feature"], convolve: Convolve
    ) -> Float[Array, "*batch node hidden"]:
        """Returns h after the last step.

        Args:
            xs: the inputs.
            convolve: applies a convolution.
        """
        inputs = jnp.moveaxis(convolve(self.of_input, xs), -3, 0)
        start = jnp.zeros((*inputs.shape[1:-1], inputs.shape[-1] // 4), inputs.dtype)

        # What the backward pass needs of a step is computed again: copies of neighbours are large.
        @jax.checkpoint
        def step(carry: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], None]:
            h, c = carry
            i, f, g, o = jnp.split(x + convolve(self.of_state, h), 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        return jax.lax.scan(step, (start, start), inputs)[0][0]

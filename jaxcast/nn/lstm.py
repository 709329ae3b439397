"""Long short-term memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Key

from jaxcast.arguments import checked
from jaxcast.nn.equations import ByGates, Equations, GateProduct, Weights, gradient
from jaxcast.nn.recurrent_layer import Init, RecurrentLayer, initial_weights


class LSTMCarry(NamedTuple):
    """The carry of an LSTM.

    Args:
        h: the output, (*batch, hidden).
        c: the memory, (*batch, hidden).
    """

    h: Any
    c: Any


class LSTM(RecurrentLayer):
    """A long short-term memory layer, called on a whole sequence or one step at a time.

        i, f, o = sigmoid(x W_x + h' W_h + b)       each with its own columns
        g = tanh(x W_x + h' W_h + b)
        c = f * c' + i * g,    h = o * tanh(c)

    Batches are leading axes. `jax.vmap` works too, but its gradient with respect to the weights is
    slower. A whole sequence has its own backward pass, so forward-mode differentiation (`jax.jvp`,
    `jax.jacfwd`) is not available; use a `jax.lax.scan` of `step` for it.

    Args:
        input_size: components of an input.
        hidden_size: components of the output.
        key: random key for the initial weights.
        init: "uniform", all weights within 1/sqrt(hidden_size) as in PyTorch; or "orthogonal"
            recurrent weights with Glorot input weights and a forget bias of 1.
        learn_carry: whether the carry before the first step is trained too, starting from zeros.
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one, inputs, a carry or a mask of another shape, or no time
            steps.

    Source:
        Hochreiter and Schmidhuber (1997); Gers, Schmidhuber and Cummins (2000) for the forget gate;
        Saxe et al. (2014) and Jozefowicz et al. (2015) for the orthogonal start.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> lstm = jaxcast.nn.LSTM(input_size=3, hidden_size=8, key=jax.random.key(0))
        >>> carry, outputs = lstm(jnp.ones((32, 20, 3)))
        >>> carry, output = lstm.step(carry, jnp.ones((32, 3)))
        >>> outputs.shape, carry.c.shape, output.shape
        ((32, 20, 8), (32, 8), (32, 8))
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        key: Key[Array, ""],
        init: Init = "uniform",
        learn_carry: bool = False,
        dtype: DTypeLike = jnp.float32,
    ):
        weights = initial_weights(
            init, input_size=input_size, hidden_size=hidden_size, num_gates=4, key=key, dtype=dtype
        )
        if init == "orthogonal":
            weights = weights._replace(bias=weights.bias.at[hidden_size : 2 * hidden_size].set(1))
        super().__init__(weights, learn_carry=learn_carry, num_carried=2)

    @property
    def equations(self) -> Equations:
        """The equations above and their derivatives."""
        return _EQUATIONS

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that only this kind of layer has: none."""
        return {}

    def init_carry(self, *batch: int) -> LSTMCarry:
        """Returns the carry before the first step, zeros or what was learned.

        Args:
            *batch: lengths of the batch axes.
        """
        return LSTMCarry(self._initial(0, batch), self._initial(1, batch))


def _forward(weights: Weights, carry: LSTMCarry, product: Array) -> tuple[LSTMCarry, Array, Any]:
    # Two products, and not one of x and h joined: for small layers that is a little faster, for
    # large ones this.
    return _from_sums(carry, jnp.split(carry.h @ weights.recurrent + product + weights.bias, 4, -1))


def _from_sums(carry: LSTMCarry, sums: Sequence[Array]) -> tuple[LSTMCarry, Array, Any]:
    i, f, g, o = sums
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    c = f * carry.c + i * g
    h = o * jnp.tanh(c)
    # The gates are saved apart: XLA for CPU takes longer for a training step that saves them in one
    # array.
    return LSTMCarry(h, c), h, (i, f, g, o)


def _forward_by_gates(past: GateProduct, _: None, carry: LSTMCarry, products: Any) -> tuple[LSTMCarry, Array, Any]:
    return _from_sums(carry, [past(carry.h, k) + products[k] for k in range(4)])


def _backward(weights: Weights, saved: Any, d_carry: LSTMCarry, d_h: Array) -> tuple[LSTMCarry, Array]:
    d_c, d_sums = _of_sums(saved, d_carry, d_h)
    _, (_, f, _, _) = saved
    d_products = jnp.concatenate(d_sums, -1)
    return LSTMCarry(d_products @ weights.recurrent.T, d_c * f), d_products


def _of_sums(saved: Any, d_carry: LSTMCarry, d_h: Array) -> tuple[Array, list[Array]]:
    """Returns the cotangents of the memory, and of the sums of the four gates."""
    (_, c), (i, f, g, o) = saved
    tanh_c = jnp.tanh(f * c + i * g)
    d_h = d_h + d_carry.h
    d_c = d_carry.c + d_h * o * (1 - tanh_c**2)
    d_i, d_f, d_g = d_c * g * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - g**2)
    return d_c, [d_i, d_f, d_g, d_h * tanh_c * o * (1 - o)]


def _backward_by_gates(back: GateProduct, saved: Any, d_carry: LSTMCarry, d_h: Array) -> tuple[LSTMCarry, Any]:
    d_c, d_sums = _of_sums(saved, d_carry, d_h)
    _, (_, f, _, _) = saved
    return LSTMCarry(sum(back(d_sums[k], k) for k in range(4)), d_c * f), d_sums


def _gradient(weights: Weights, xs: Array, saved: Any, d_products: Array) -> tuple[Weights, Array]:
    (h, _), _ = saved
    return gradient(weights, xs, h, d_products)


_EQUATIONS = Equations(_forward, _backward, _gradient, by_gates=ByGates(_forward_by_gates, _backward_by_gates))

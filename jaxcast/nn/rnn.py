"""The plain recurrent layer."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Key

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.nn.over_time import Equations, Weights, gradient
from jaxcast.nn.recurrent_layer import Init, RecurrentLayer, initial_weights

Activation = Literal["tanh", "sigmoid", "relu"]


class RNN(RecurrentLayer):
    """A plain recurrent layer, over a whole sequence or one step at a time; its carry is its output.

        h = act(x W_x + h' W_h + b)

    What is said of `LSTM` about dtype, batches, derivatives, initial weights and carry holds here too.

    Source: Elman (1990).

    Args:
        input_size: components of an input. hidden_size: components of the output.
        key: for the initial weights.
        activation: act.

    Raises:
        InputError: for sizes below one, another activation, inputs or a carry of another shape, or no time steps.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> rnn = jaxcast.nn.RNN(input_size=3, hidden_size=8, key=jax.random.key(0))
        >>> carry, outputs = rnn(jnp.ones((32, 20, 3)))
        >>> carry, output = rnn.step(carry, jnp.ones((32, 3)))
        >>> outputs.shape, carry.shape, output.shape
        ((32, 20, 8), (32, 8), (32, 8))
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        key: Key[Array, ""],
        activation: Activation = "tanh",
        init: Init = "uniform",
        learn_carry: bool = False,
        dtype: DTypeLike = jnp.float32,
    ):
        if activation not in _EQUATIONS:
            raise InputError(f"activation must be one of {', '.join(_EQUATIONS)}, got {shown(repr(activation))}")
        weights = initial_weights(
            init, input_size=input_size, hidden_size=hidden_size, num_gates=1, key=key, dtype=dtype
        )
        super().__init__(weights, learn_carry=learn_carry)
        self.activation: Activation = activation

    @property
    def equations(self) -> Equations:
        return _EQUATIONS[self.activation]

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"activation": self.activation}


def _equations(activation: Any, derivative: Any, *, in_torch: bool = True) -> Equations:
    """The derivative of an activation is a function of what it returned."""

    def forward(weights: Weights, h: Array, x: Array) -> tuple[Array, Array, Any]:
        new = activation(h @ weights.recurrent + x @ weights.input + weights.bias)
        return new, new, (h, new)

    def backward(weights: Weights, saved: Any, d_carry: Array, d_h: Array) -> tuple[Array, Array]:
        d_products = (d_h + d_carry) * derivative(saved[1])
        return d_products @ weights.recurrent.T, d_products

    def gradient_of(weights: Weights, xs: Array, saved: Any, d_products: Array) -> tuple[Weights, Array]:
        return gradient(weights, xs, saved[0], d_products)

    return Equations(forward, backward, gradient_of, in_torch=in_torch)


_EQUATIONS = {
    "tanh": _equations(jnp.tanh, lambda h: 1 - h**2),
    "sigmoid": _equations(jax.nn.sigmoid, lambda h: h * (1 - h), in_torch=False),
    "relu": _equations(jax.nn.relu, lambda h: (h > 0).astype(h.dtype)),
}

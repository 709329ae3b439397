"""The plain recurrent layer."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Key

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.nn.equations import Equations, Weights, gradient
from jaxcast.nn.recurrent_layer import Init, RecurrentLayer, initial_weights

Activation = Literal["tanh", "sigmoid", "relu"]


class RNN(RecurrentLayer):
    """A plain recurrent layer, called on a whole sequence or one step at a time.

        h = act(x W_x + h' W_h + b)

    The carry is the output. For batches and derivatives see `LSTM`.

    Args:
        input_size: components of an input.
        hidden_size: components of the output.
        key: random key for the initial weights.
        activation: act, "tanh", "sigmoid" or "relu".
        init: "uniform", all weights within 1/sqrt(hidden_size) as in PyTorch; or "orthogonal"
            recurrent weights with Glorot input weights and biases of 0.
        learn_carry: whether the carry before the first step is trained too, starting from zeros.
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one, an unknown activation, inputs, a carry or a mask of another
            shape, or no time steps.

    Source:
        Elman (1990).

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
        """The equations above and their derivatives."""
        return _EQUATIONS[self.activation]

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that only this kind of layer has."""
        return {"activation": self.activation}

    def init_carry(self, *batch: int) -> Array:
        """Returns the carry before the first step, zeros or what was learned.

        Args:
            *batch: lengths of the batch axes.
        """
        return self._initial(0, batch)


def _equations(activation: Any, derivative: Any, *, in_torch: bool = True) -> Equations:
    """Makes the equations of an activation.

    Args:
        activation: act.
        derivative: of act, as a function of what act returned.
        in_torch: whether PyTorch has this layer.
    """

    def forward(weights: Weights, h: Array, product: Array) -> tuple[Array, Array, Any]:
        new = activation(h @ weights.recurrent + product + weights.bias)
        return new, new, new

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

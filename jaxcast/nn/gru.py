"""Gated recurrent units."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Key

from jaxcast.arguments import checked
from jaxcast.nn.equations import ByGates, Equations, GateProduct, Weights, contract, ones
from jaxcast.nn.recurrent_layer import Init, RecurrentLayer, initial_weights


class GRU(RecurrentLayer):
    """A layer of gated recurrent units, called on a whole sequence or one step at a time.

        r, z = sigmoid(x W_x + h' W_h + b)                         each with its own columns
        n = tanh(x W_x + (r * h') W_h + b)                         reset_after=False
        n = tanh(x W_x + b + r * (h' W_h + b_h))                   reset_after=True
        h = z * h' + (1 - z) * n                                   z keeps the past

    The carry is the output. Both forms are in use: reset_after=False is the published one;
    reset_after=True is that of cuDNN, PyTorch and Keras, and faster. For batches and derivatives
    see `LSTM`.

    Args:
        input_size: components of an input.
        hidden_size: components of the output.
        key: random key for the initial weights.
        reset_after: whether r acts on the product with the past (the default) or on the past
            itself.
        init: "uniform", all weights within 1/sqrt(hidden_size) as in PyTorch; or "orthogonal"
            recurrent weights with Glorot input weights and biases of 0.
        learn_carry: whether the carry before the first step is trained too, starting from zeros.
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one, inputs, a carry or a mask of another shape, or no time
            steps.

    Source:
        Cho et al. (2014), eq. 5-8;
        https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> gru = jaxcast.nn.GRU(input_size=3, hidden_size=8, key=jax.random.key(0))
        >>> carry, outputs = gru(jnp.ones((32, 20, 3)))
        >>> carry, output = gru.step(carry, jnp.ones((32, 3)))
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
        reset_after: bool = True,
        init: Init = "uniform",
        learn_carry: bool = False,
        dtype: DTypeLike = jnp.float32,
    ):
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_gates": 3}
        weights = initial_weights(init, **sizes, key=key, dtype=dtype, recurrent_bias=reset_after)
        super().__init__(weights, learn_carry=learn_carry)

    @property
    def equations(self) -> Equations:
        """The equations above and their derivatives."""
        return _RESET_BEFORE if self.recurrent_bias is None else _RESET_AFTER

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that only this kind of layer has."""
        return {"reset_after": self.recurrent_bias is not None}

    def init_carry(self, *batch: int) -> Array:
        """Returns the carry before the first step, zeros or what was learned.

        Args:
            *batch: lengths of the batch axes.
        """
        return self._initial(0, batch)


def _forward_after(weights: Weights, h: Array, product: Array) -> tuple[Array, Array, Any]:
    h_r, h_z, h_n = jnp.split(h @ weights.recurrent, 3, -1)
    x_r, x_z, x_n = jnp.split(product + weights.bias, 3, -1)
    r, z, h_n = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z), h_n + weights.recurrent_bias
    n = jnp.tanh(x_n + r * h_n)
    new = n + z * (h - n)
    return new, new, (r, z, n, h_n)


def _forward_after_by_gates(past: GateProduct, bias: Array, h: Array, products: Any) -> tuple[Array, Array, Any]:
    x_r, x_z, x_n = products
    z, r = jax.nn.sigmoid(x_z + past(h, 1)), jax.nn.sigmoid(x_r + past(h, 0))
    h_n = past(h, 2) + bias
    n = jnp.tanh(x_n + r * h_n)
    new = n + z * (h - n)
    return new, new, (r, z, n, h_n)


def _backward_after(weights: Weights, saved: Any, d_carry: Array, d_h: Array) -> tuple[Array, tuple[Array, Array]]:
    d_h = d_h + d_carry
    d_past, d_n = _of_products(saved, d_h)
    d_recurrent = jnp.concatenate(d_past, -1)
    _, (_, z, _, _) = saved
    # The products with x have the cotangents of those with h in r and z, and d_n in n.
    return d_h * z + d_recurrent @ weights.recurrent.T, (d_recurrent, d_n)


def _of_products(saved: Any, d_h: Array) -> tuple[list[Array], Array]:
    """Returns the cotangents of the products with the past, and of that with the input in n."""
    h, (r, z, n, h_n) = saved
    d_n, d_z = d_h * (1 - z) * (1 - n**2), d_h * (h - n) * z * (1 - z)
    return [d_n * h_n * r * (1 - r), d_z, d_n * r], d_n


def _backward_after_by_gates(back: GateProduct, saved: Any, d_carry: Array, d_h: Array) -> tuple[Array, Any]:
    d_h = d_h + d_carry
    d_past, d_n = _of_products(saved, d_h)
    _, (_, z, _, _) = saved
    return d_h * z + sum(back(d_past[k], k) for k in range(3)), [*d_past, d_n]


def _gradient_after(weights: Weights, xs: Array, saved: Any, d_products: tuple[Array, Array]) -> tuple[Weights, Array]:
    (h, _), (d_recurrent, d_n) = saved, d_products
    input_size = xs.shape[-1]
    d_all = contract((xs, ones(xs), h), d_recurrent)
    of_gates, of_past = _gates_and_candidate(d_all)
    of_input = jnp.concatenate([of_gates[: input_size + 1], contract((xs, ones(xs)), d_n)], -1)
    d_weights = Weights(of_input[:-1], d_all[input_size + 1 :], of_input[-1], of_past[input_size])
    d_gates, _ = _gates_and_candidate(d_recurrent)
    return d_weights, jnp.concatenate([d_gates, d_n], -1) @ weights.input.T


def _forward_before(weights: Weights, h: Array, product: Array) -> tuple[Array, Array, Any]:
    gates, candidate = _gates_and_candidate(weights.recurrent)
    x_gates, x_n = _gates_and_candidate(product + weights.bias)
    r, z = jnp.split(jax.nn.sigmoid(x_gates + h @ gates), 2, -1)
    n = jnp.tanh(x_n + (r * h) @ candidate)
    new = n + z * (h - n)
    return new, new, (r, z, n)


def _forward_before_by_gates(past: GateProduct, _: None, h: Array, products: Any) -> tuple[Array, Array, Any]:
    x_r, x_z, x_n = products
    r, z = jax.nn.sigmoid(x_r + past(h, 0)), jax.nn.sigmoid(x_z + past(h, 1))
    n = jnp.tanh(x_n + past(r * h, 2))
    new = n + z * (h - n)
    return new, new, (r, z, n)


def _backward_before(weights: Weights, saved: Any, d_carry: Array, d_h: Array) -> tuple[Array, Array]:
    h, (r, z, n) = saved
    gates, candidate = _gates_and_candidate(weights.recurrent)
    d_h = d_h + d_carry
    d_n = d_h * (1 - z) * (1 - n**2)
    d_reset = d_n @ candidate.T
    d_gates = jnp.concatenate([d_reset * h * r * (1 - r), d_h * (h - n) * z * (1 - z)], -1)
    d_carry = d_h * z + d_reset * r + d_gates @ gates.T
    return d_carry, jnp.concatenate([d_gates, d_n], -1)


def _backward_before_by_gates(back: GateProduct, saved: Any, d_carry: Array, d_h: Array) -> tuple[Array, Any]:
    h, (r, z, n) = saved
    d_h = d_h + d_carry
    d_n = d_h * (1 - z) * (1 - n**2)
    d_reset = back(d_n, 2)
    d_r, d_z = d_reset * h * r * (1 - r), d_h * (h - n) * z * (1 - z)
    return d_h * z + d_reset * r + back(d_r, 0) + back(d_z, 1), [d_r, d_z, d_n]


def _gradient_before(weights: Weights, xs: Array, saved: Any, d_products: Array) -> tuple[Weights, Array]:
    h, (r, *_) = saved
    d_gates, d_n = _gates_and_candidate(d_products)
    of_input = contract((xs, ones(xs)), d_products)
    of_past = jnp.concatenate([contract((h,), d_gates), contract((r * h,), d_n)], -1)
    return Weights(of_input[:-1], of_past, of_input[-1]), d_products @ weights.input.T


def _gates_and_candidate(columns: Array) -> tuple[Array, Array]:
    """Splits columns into those of r and z, and those of n."""
    gates, candidate = jnp.split(columns, [columns.shape[-1] // 3 * 2], -1)
    return gates, candidate


_RESET_AFTER = Equations(
    _forward_after,
    _backward_after,
    _gradient_after,
    by_gates=ByGates(_forward_after_by_gates, _backward_after_by_gates),
)
_RESET_BEFORE = Equations(
    _forward_before,
    _backward_before,
    _gradient_before,
    in_torch=False,
    by_gates=ByGates(_forward_before_by_gates, _backward_before_by_gates),
)

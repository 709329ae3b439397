"""Several recurrent layers as one: forward and backward in time, and one above the other."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_number, check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.nn.gru import GRU
from jaxcast.nn.layers import drop
from jaxcast.nn.lstm import LSTM
from jaxcast.nn.recurrent_layer import RecurrentLayer
from jaxcast.nn.rnn import RNN

Kind = Literal["lstm", "gru", "rnn"]
LAYERS: dict[str, type[RecurrentLayer]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class Bidirectional(nnx.Module):
    """Two layers with weights of their own, one from the past and one from the future: h_n = [forward_n; backward_n].

    With a mask, the backward layer starts at each sequence's own last step. Its carry is a pair, forward and backward.

    Source: Schuster and Paliwal (1997).

    Args:
        kind: "lstm", "gru" or "rnn". input_size: components of an input. hidden_size: of the output of each direction.
        key: for the initial weights. options: of the layers, such as `dtype` or `init`.

    Raises:
        InputError: for another kind, sizes below one, inputs, a carry or a mask of another shape, or no time steps.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> layer = jaxcast.nn.Bidirectional("gru", input_size=3, hidden_size=8, key=jax.random.key(0))
        >>> carry, outputs = layer(jnp.ones((32, 20, 3)))
        >>> outputs.shape
        (32, 20, 16)
    """

    @checked
    def __init__(self, kind: Kind, *, input_size: int, hidden_size: int, key: Key[Array, ""], **options: Any):
        forward, backward = jax.random.split(key)
        self.forward = make_layer(kind, input_size=input_size, hidden_size=hidden_size, key=forward, **options)
        self.backward = make_layer(kind, input_size=input_size, hidden_size=hidden_size, key=backward, **options)

    def init_carry(self, *batch: int) -> tuple[Any, Any]:
        """The carries before the first step of either direction."""
        return self.forward.init_carry(*batch), self.backward.init_carry(*batch)

    @checked
    def __call__(
        self,
        xs: Float[Array, "*batch time input_size"],
        carry: tuple[Any, Any] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[tuple[Any, Any], Float[Array, "*batch time hidden"]]:
        """The carries after the last step of either direction, and the outputs of all steps."""
        ahead, back = (None, None) if carry is None else carry
        # Reversed whole: steps outside of the mask, which then come first, leave the carry as it is.
        turned = None if mask is None else jnp.flip(mask, -1)
        ahead, outputs = self.forward(xs, ahead, mask)
        back, reverse = self.backward(jnp.flip(jnp.asarray(xs), -2), back, turned)
        return (ahead, back), jnp.concatenate([outputs, jnp.flip(reverse, -2)], -1)

    def to_torch(self, suffix: str = "_l0") -> dict[str, Float[np.ndarray, "..."]]:
        """As `LSTM.to_torch`, of both directions."""
        return self.forward.to_torch(suffix) | self.backward.to_torch(f"{suffix}_reverse")

    def load_torch(self, state: Mapping[str, Any], suffix: str = "_l0") -> "Bidirectional":
        """As `LSTM.load_torch`, of both directions."""
        layer = nnx.clone(self)
        layer.forward = self.forward.load_torch(state, suffix)
        layer.backward = self.backward.load_torch(state, f"{suffix}_reverse")
        return layer


class Stack(nnx.Module):
    """Recurrent layers one above the other: each sees the outputs of the one below, the first the inputs.

        x^(k+1) = dropout(layer_k(x^(k)))                       the output of the last layer is not dropped
        x^(k+1) = dropout(layer_k(x^(k))) + x^(k)               skips=True, from the second layer on
        x^(k+1) = [x^(k), dropout(layer_k(x^(k)))]              dense=True: each layer sees the inputs and the outputs of all
                                                                before it; the output is that of the last layer alone

    Its carry is a tuple of the layers' carries. What is said of `LSTM` about dtype, batches and derivatives holds here too.

    Args:
        kind: "lstm", "gru" or "rnn".
        input_size: components of an input.
        hidden_size: components of the output, of each direction.
        num_layers: how many, one above the other.
        key: for the initial weights.
        bidirectional: whether every layer is a `Bidirectional`.
        dropout: the probability that a component between layers is zero, when a key is given; the others grow to make up. Each
            layer has a mask of its own.
        skips: adds the input of each layer but the first to its output.
        dense: gives each layer the inputs and the outputs of all layers before it, side by side. Like skips, for eight layers
            and more; one of the two.
        **options: of the layers, such as `dtype`, `init` or `learn_carry`.

    Raises:
        InputError: for another kind, sizes below one, a probability outside [0, 1), both skips and dense, inputs, a carry or a
            mask of another shape, no time steps, single steps of a bidirectional stack, or PyTorch's weights for a dense one.

    Source: Graves (2013) for stacks; Srivastava et al. (2014) and Zaremba et al. (2014) for dropout between layers only; He
    et al. (2016) for skips; Huang, Liu, van der Maaten and Weinberger (2017) for dense connections.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> stack = jaxcast.nn.Stack("lstm", input_size=3, hidden_size=8, num_layers=2, dropout=0.1, key=jax.random.key(0))
        >>> carry, outputs = stack(jnp.ones((32, 20, 3)), key=jax.random.key(1))
        >>> carry, output = stack.step(carry, jnp.ones((32, 3)))
        >>> outputs.shape, len(carry), output.shape
        ((32, 20, 8), 2, (32, 8))
    """

    @checked
    def __init__(
        self,
        kind: Kind,
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        key: Key[Array, ""],
        bidirectional: bool = False,
        dropout: float = 0.0,
        skips: bool = False,
        dense: bool = False,
        **options: Any,
    ):
        check_sizes(num_layers=num_layers)
        check_flag("bidirectional", bidirectional)
        check_flag("skips", skips)
        check_flag("dense", dense)
        check_number("dropout", dropout)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be a probability from 0 to below 1, got {dropout}")
        check_arrays(f"{num_layers} layers of {hidden_size} hidden units", (num_layers, hidden_size, hidden_size))
        make = Bidirectional if bidirectional else make_layer
        if skips and dense:
            raise InputError("skips add a layer's input to its output, dense joins them: choose one of the two")
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        out_size = hidden_size * (1 + bidirectional)
        sizes = [input_size + k * out_size if dense or not k else out_size for k in range(num_layers)]
        keys = jax.random.split(key, num_layers)
        self.layers = nnx.List(
            make(kind, input_size=size, hidden_size=hidden_size, key=k, **options)
            for size, k in zip(sizes, keys, strict=True)
        )
        self.dropout, self.skips, self.dense = dropout, skips, dense

    @property
    def config(self) -> dict[str, Any]:
        """What it must be made with, beside a key, before its weights can be put in."""
        first = self.layers[0]
        bidirectional = isinstance(first, Bidirectional)
        layer: Any = first.forward if isinstance(first, Bidirectional) else first
        kind = next(name for name, kind in LAYERS.items() if type(layer) is kind)
        own = {"num_layers": len(self.layers), "dropout": self.dropout, "skips": self.skips, "dense": self.dense}
        return layer.config | own | {"kind": kind, "bidirectional": bidirectional}

    def init_carry(self, *batch: int) -> tuple[Any, ...]:
        """The layers' carries before the first step."""
        return tuple(layer.init_carry(*batch) for layer in self.layers)

    @checked
    def __call__(
        self,
        xs: Float[Array, "*batch time input_size"],
        carry: tuple[Any, ...] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> tuple[tuple[Any, ...], Float[Array, "*batch time hidden"]]:
        """The layers' carries after the last step, and the outputs of the last layer.

        Args:
            mask: see `LSTM`. key: for dropout; without one nothing is dropped.
        """
        self._check_carry(carry)
        carries = []
        for k, layer in enumerate(self.layers):
            end, outputs = layer(xs, None if carry is None else carry[k], mask)
            xs = self._passed_on(k, xs, outputs, key)
            carries.append(end)
        return tuple(carries), xs

    def step(
        self, carry: tuple[Any, ...], x: Float[Array, "*batch input_size"]
    ) -> tuple[tuple[Any, ...], Float[Array, "*batch hidden"]]:
        """The carries after one step, and its output; nothing is dropped."""
        self._check_carry(carry)
        carries = []
        for k, layer in enumerate(self.layers):
            if not isinstance(layer, RecurrentLayer):
                raise InputError("a bidirectional stack sees whole sequences only: call it instead of its step")
            end, output = layer.step(carry[k], x)
            x = self._passed_on(k, x, output, None)
            carries.append(end)
        return tuple(carries), x

    def _passed_on(self, k: int, xs: Array, outputs: Array, key: Array | None) -> Array:
        """What the layer above sees of layer k."""
        is_last = k == len(self.layers) - 1
        if key is not None and not is_last:
            outputs = drop(outputs, self.dropout, jax.random.fold_in(key, k))
        if self.dense and not is_last:
            return jnp.concatenate([jnp.asarray(xs, outputs.dtype), outputs], -1)
        return outputs + xs if self.skips and k else outputs

    def _check_carry(self, carry: Any) -> None:
        if carry is not None and (not isinstance(carry, tuple | list) or len(carry) != len(self.layers)):
            raise InputError(f"expected a carry for each of the {len(self.layers)} layers; init_carry makes one")

    def _check_in_torch(self) -> None:
        if self.dense:
            raise InputError("PyTorch has no stack with dense connections; exchange its layers one by one")

    def to_torch(self) -> dict[str, Float[np.ndarray, "..."]]:
        """The weights of all layers under the names that PyTorch gives them, as for its `load_state_dict`."""
        self._check_in_torch()
        state: dict[str, Any] = {}
        for k, layer in enumerate(self.layers):
            state |= layer.to_torch(f"_l{k}")
        return state

    def load_torch(self, state: Mapping[str, Any]) -> "Stack":
        """This stack with the weights of PyTorch's, in this stack's dtype; see `LSTM.load_torch`."""
        self._check_in_torch()
        stack = nnx.clone(self)
        stack.layers = nnx.List(layer.load_torch(state, f"_l{k}") for k, layer in enumerate(self.layers))
        return stack


def make_layer(kind: Kind, **options: Any) -> RecurrentLayer:
    """A layer of a kind.

    Raises:
        InputError: for another kind.
    """
    if kind not in LAYERS:
        raise InputError(f"kind must be one of {', '.join(LAYERS)}, got {shown(repr(kind))}")
    return LAYERS[kind](**options)

"""Compositions of recurrent layers: both directions of time, and stacks."""

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
from jaxcast.nn.dropout import drop
from jaxcast.nn.gru import GRU
from jaxcast.nn.lstm import LSTM
from jaxcast.nn.recurrent_layer import RecurrentLayer
from jaxcast.nn.rnn import RNN

Kind = Literal["lstm", "gru", "rnn"]
LAYERS: dict[str, type[RecurrentLayer]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class Bidirectional(nnx.Module):
    """Two recurrent layers, one in each direction of time: h_n = [forward_n; backward_n].

    With a mask, the backward layer starts at the last step of each sequence. The carry is a pair,
    forward and backward.

    Args:
        kind: of the layers, "lstm", "gru" or "rnn".
        input_size: components of an input.
        hidden_size: components of the output of each direction.
        key: random key for the initial weights.
        **options: of the layers, such as `dtype` or `init`.

    Raises:
        InputError: for an unknown kind, sizes below one, inputs, a carry or a mask of another
            shape, or no time steps.

    Source:
        Schuster and Paliwal (1997).

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
        """Returns the carries of both directions before the first step.

        Args:
            *batch: lengths of the batch axes.
        """
        return self.forward.init_carry(*batch), self.backward.init_carry(*batch)

    @checked
    def __call__(
        self,
        xs: Float[Array, "*batch time input_size"],
        carry: tuple[Any, Any] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[tuple[Any, Any], Float[Array, "*batch time hidden"]]:
        """Runs both layers over a whole sequence.

        Args:
            xs: the inputs.
            carry: the carries before the first step; by default `init_carry`.
            mask: which steps exist, as for `LSTM`.

        Returns:
            The carries after the last step of each direction, and the outputs of all steps.

        Raises:
            InputError: for inputs, carries or a mask of another shape, or no time steps.
        """
        ahead, back = (None, None) if carry is None else carry
        # Reversed whole: steps outside of the mask, which then come first, leave the carry as it
        # is.
        turned = None if mask is None else jnp.flip(mask, -1)
        ahead, outputs = self.forward(xs, ahead, mask)
        back, reverse = self.backward(jnp.flip(jnp.asarray(xs), -2), back, turned)
        return (ahead, back), jnp.concatenate([outputs, jnp.flip(reverse, -2)], -1)

    def to_torch(self, suffix: str = "_l0") -> dict[str, Float[np.ndarray, "..."]]:
        """Returns the weights of both directions under PyTorch's names and in its layout.

        Args:
            suffix: end of the names of the forward layer; the backward layer's add "_reverse".

        Raises:
            InputError: for layers that PyTorch does not have.
        """
        return self.forward.to_torch(suffix) | self.backward.to_torch(f"{suffix}_reverse")

    def load_torch(self, state: Mapping[str, Any], suffix: str = "_l0") -> "Bidirectional":
        """Returns a copy with the weights of a bidirectional PyTorch layer.

        Args:
            state: NumPy arrays under PyTorch's names.
            suffix: end of the names, as in `to_torch`.

        Raises:
            InputError: for missing names, arrays of other shapes, or layers that PyTorch does not
                have.
        """
        layer = nnx.clone(self)
        layer.forward = self.forward.load_torch(state, suffix)
        layer.backward = self.backward.load_torch(state, f"{suffix}_reverse")
        return layer


class Stack(nnx.Module):
    """Stacked recurrent layers, each of which takes the outputs of the one below.

        x^(k+1) = dropout(layer_k(x^(k)))               without dropout after the last layer
        x^(k+1) = dropout(layer_k(x^(k))) + x^(k)       skips=True, from the second layer on
        x^(k+1) = [x^(k), dropout(layer_k(x^(k)))]      dense=True; returns the last layer's output

    The carry is a tuple of the layers' carries. For batches and derivatives see `LSTM`.

    Args:
        kind: of the layers, "lstm", "gru" or "rnn".
        input_size: components of an input.
        hidden_size: components of the output of each layer, in each direction.
        num_layers: number of layers.
        key: random key for the initial weights.
        bidirectional: whether every layer is a `Bidirectional`.
        dropout: probability with which a component between two layers is set to zero where a key is
            given. The others are scaled up; each layer draws its own mask.
        skips: whether to add the input of each layer, except the first, to its output.
        dense: whether each layer takes the inputs and the outputs of all layers below it. For eight
            layers or more, and instead of skips.
        **options: of the layers, such as `dtype`, `init` or `learn_carry`.

    Raises:
        InputError: for an unknown kind, sizes below one, a probability outside [0, 1), both skips
            and dense, inputs, a carry or a mask of another shape, no time steps, single steps of a
            bidirectional stack, or PyTorch's weights for a dense one.

    Source:
        Graves (2013) for stacks; Srivastava et al. (2014) and Zaremba et al. (2014) for dropout
        between layers only; He et al. (2016) for skips; Huang, Liu, van der Maaten and Weinberger
        (2017) for dense connections.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> stack = jaxcast.nn.Stack(
        ...     "lstm", input_size=3, hidden_size=8, num_layers=2, dropout=0.1, key=jax.random.key(0)
        ... )
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
        """The arguments, besides a key, with which a stack of this kind and size is made."""
        first = self.layers[0]
        bidirectional = isinstance(first, Bidirectional)
        layer: Any = first.forward if isinstance(first, Bidirectional) else first
        kind = next(name for name, kind in LAYERS.items() if type(layer) is kind)
        own = {"num_layers": len(self.layers), "dropout": self.dropout, "skips": self.skips, "dense": self.dense}
        return layer.config | own | {"kind": kind, "bidirectional": bidirectional}

    def init_carry(self, *batch: int) -> tuple[Any, ...]:
        """Returns the layers' carries before the first step.

        Args:
            *batch: lengths of the batch axes.
        """
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
        """Runs the layers over a whole sequence.

        Args:
            xs: the inputs.
            carry: the layers' carries before the first step; by default `init_carry`.
            mask: which steps exist, as for `LSTM`.
            key: random key for dropout; without one nothing is dropped.

        Returns:
            The layers' carries after the last step, and the outputs of the last layer.

        Raises:
            InputError: for inputs, carries or a mask of another shape, or no time steps.
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
        """Runs the layers for one step, without dropout.

        Args:
            carry: the layers' carries before the step.
            x: the input.

        Returns:
            The carries after the step, and the output of the last layer.

        Raises:
            InputError: for a bidirectional stack, which needs whole sequences, or shapes that do
                not match.
        """
        self._check_carry(carry)
        carries = []
        for k, layer in enumerate(self.layers):
            if not isinstance(layer, RecurrentLayer):
                raise InputError("a bidirectional stack needs whole sequences: call it instead of its step")
            end, output = layer.step(carry[k], x)
            x = self._passed_on(k, x, output, None)
            carries.append(end)
        return tuple(carries), x

    def _passed_on(self, k: int, xs: Array, outputs: Array, key: Array | None) -> Array:
        """Returns the input of the layer above layer k."""
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
        """Returns the weights of all layers under PyTorch's names, as `load_state_dict` takes them.

        Raises:
            InputError: for layers that PyTorch does not have, or dense connections.
        """
        self._check_in_torch()
        state: dict[str, Any] = {}
        for k, layer in enumerate(self.layers):
            state |= layer.to_torch(f"_l{k}")
        return state

    def load_torch(self, state: Mapping[str, Any]) -> "Stack":
        """Returns a copy with the weights of a PyTorch stack, in this stack's dtype.

        Args:
            state: NumPy arrays under PyTorch's names, such as those of a `state_dict()`.

        Raises:
            InputError: for missing names, arrays of other shapes, layers that PyTorch does not
                have, or dense connections.
        """
        self._check_in_torch()
        stack = nnx.clone(self)
        stack.layers = nnx.List(layer.load_torch(state, f"_l{k}") for k, layer in enumerate(self.layers))
        return stack


def make_layer(kind: Kind, **options: Any) -> RecurrentLayer:
    """Makes a layer of a kind.

    Args:
        kind: "lstm", "gru" or "rnn".
        **options: of the layer.

    Raises:
        InputError: for an unknown kind.
    """
    if kind not in LAYERS:
        raise InputError(f"kind must be one of {', '.join(LAYERS)}, got {shown(repr(kind))}")
    return LAYERS[kind](**options)

"""Base class of recurrent layers."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.nn import torch_layout
from jaxcast.nn.equations import Equations, Weights
from jaxcast.nn.over_time import over_time

Init = Literal["uniform", "orthogonal"]
Layer = TypeVar("Layer", bound="RecurrentLayer")


@runtime_checkable
class StepwiseLayers(Protocol):
    """Recurrent layers that can also be called one step at a time."""

    def init_carry(self, *batch: int) -> Any:
        """Returns the carry before the first step.

        Args:
            *batch: lengths of the batch axes.
        """

    def step(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """Runs the layers for one step.

        Args:
            carry: before the step.
            x: the input.

        Returns:
            The carry after the step, and the output.
        """


class RecurrentLayer(nnx.Module):
    """Base class of recurrent layers: `LSTM`, `GRU` and `RNN`.

    A subclass has equations, options and a carry. It computes and returns in the dtype of its
    weights.

    Args:
        weights: the initial weights.
        learn_carry: whether the carry before the first step is trained too.
        num_carried: arrays of the carry.
    """

    def __init__(self, weights: Weights, *, learn_carry: bool = False, num_carried: int = 1):
        self.input_kernel = nnx.Param(weights.input)
        self.recurrent_kernel = nnx.Param(weights.recurrent)
        self.bias = nnx.Param(weights.bias)
        self.recurrent_bias = None if weights.recurrent_bias is None else nnx.Param(weights.recurrent_bias)
        zeros = jnp.zeros((num_carried, len(weights.recurrent)), weights.bias.dtype)
        self.learned_carry = nnx.Param(zeros) if learn_carry else None

    @property
    @abstractmethod
    def equations(self) -> Equations:
        """The equations of one step and their derivatives."""

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The arguments that only this kind of layer has."""

    @abstractmethod
    def init_carry(self, *batch: int) -> Any:
        """Returns the carry before the first step, zeros or what was learned.

        Args:
            *batch: lengths of the batch axes.
        """

    @property
    def config(self) -> dict[str, Any]:
        """The arguments, besides a key, with which a layer of this kind and size is made."""
        input_size, hidden_size = self.input_kernel.shape[-2], self.recurrent_kernel.shape[-2]
        learns = self.learned_carry is not None
        return {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "learn_carry": learns,
            "dtype": str(self.bias.dtype),
        } | self.options

    def _initial(self, part: int, batch: tuple[int, ...]) -> Array:
        """Returns one array of the carry before the first step."""
        shape = (*batch, len(self.recurrent_kernel))
        if self.learned_carry is None:
            return jnp.zeros(shape, self.bias.dtype)
        return jnp.broadcast_to(self.learned_carry[...][part], shape)

    @property
    def weights(self) -> Weights:
        """The weights as plain arrays."""
        recurrent_bias = None if self.recurrent_bias is None else self.recurrent_bias[...]
        return Weights(self.input_kernel[...], self.recurrent_kernel[...], self.bias[...], recurrent_bias)

    @checked
    def __call__(
        self,
        xs: Float[Array, "*batch time input_size"],
        carry: Any = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[Any, Float[Array, "*batch time hidden"]]:
        """Runs the layer over a whole sequence.

        Args:
            xs: the inputs.
            carry: the carry before the first step; by default `init_carry`.
            mask: which steps exist, for sequences of different lengths or with gaps. At the others
                the inputs are ignored, the carry is kept and the output is zero.

        Returns:
            The carry after the last step, and the outputs of all steps.

        Raises:
            InputError: for inputs, a carry or a mask of another shape, or no time steps.
        """
        xs = self._checked_inputs(xs, "(*batch, time, in)")
        if not xs.shape[-2]:
            raise InputError(f"expected at least one time step, got inputs of shape {xs.shape} for (*batch, time, in)")
        check_mask(mask, xs)
        return _run(self.equations, self.weights, self._checked_carry(carry, xs.shape[:-2]), xs, mask)

    @checked
    def step(self, carry: Any, x: Float[Array, "*batch input_size"]) -> tuple[Any, Float[Array, "*batch hidden"]]:
        """Runs the layer for one step.

        Args:
            carry: the carry before the step.
            x: the input.

        Returns:
            The carry after the step, and the output.

        Raises:
            InputError: for an input or a carry of another shape.
        """
        x = self._checked_inputs(x, "(*batch, in)")
        return _step(self.equations, self.weights, self._checked_carry(carry, x.shape[:-1]), x)

    def to_torch(self, suffix: str = "_l0") -> dict[str, Float[np.ndarray, "..."]]:
        """Returns the weights under PyTorch's names and in its layout.

        PyTorch adds two biases; the second is zero unless the layer has one.

        Args:
            suffix: end of the names: "_l0", "_l1" and so on, "_l0_reverse", or "" for a PyTorch
                cell.

        Raises:
            InputError: for a layer that PyTorch does not have.
        """
        self._check_in_torch()
        return torch_layout.to_torch(self.weights, suffix)

    def load_torch(self: Layer, state: Mapping[str, Any], suffix: str = "_l0") -> Layer:
        """Returns a copy of this layer with the weights of a PyTorch layer, in this layer's dtype.

        Args:
            state: NumPy arrays under PyTorch's names, such as those of a `state_dict()`.
            suffix: end of the names, as in `to_torch`.

        Raises:
            InputError: for missing names, arrays of other shapes, or a layer that PyTorch does not
                have.
        """
        self._check_in_torch()
        layer = nnx.clone(self)
        weights = torch_layout.from_torch(state, self.weights, suffix)
        layer.input_kernel, layer.recurrent_kernel = nnx.Param(weights.input), nnx.Param(weights.recurrent)
        layer.bias = nnx.Param(weights.bias)
        if weights.recurrent_bias is not None:
            layer.recurrent_bias = nnx.Param(weights.recurrent_bias)
        return layer

    def _check_in_torch(self) -> None:
        if not self.equations.in_torch:
            raise InputError("PyTorch has no such layer: its RNN is tanh or relu, its GRU has reset_after=True")

    def _checked_inputs(self, xs: Array, axes: str) -> Array:
        """Returns the inputs in the layer's dtype."""
        xs = jnp.asarray(xs, self.bias.dtype)
        input_size = len(self.input_kernel)
        if xs.ndim < axes.count(",") or xs.shape[-1] != input_size:
            raise InputError(
                f"expected inputs {axes} with in = {input_size}, got shape {xs.shape}; "
                "input_size of the layer must be that of the data"
            )
        return xs

    def _checked_carry(self, carry: Any, batch: tuple[int, ...]) -> Any:
        initial = self.init_carry(*batch)
        if carry is None:
            return initial
        got = jax.tree.map(jnp.shape, carry)
        expected = jax.tree.map(jnp.shape, initial)
        if got != expected:
            raise InputError(f"expected a carry of shape {expected}, got {got}; init_carry{batch} makes one")
        return jax.tree.map(lambda a: jnp.asarray(a, self.bias.dtype), carry)


@partial(jax.jit, static_argnums=0)
def _run(equations: Equations, weights: Weights, carry: Any, xs: Array, mask: Array | None) -> tuple[Any, Array]:
    """Runs the layer over time, with all batch axes as one."""
    *batch, num_steps, input_size = xs.shape
    size = math.prod(batch)
    carry = jax.tree.map(lambda a: a.reshape(size, a.shape[-1]), carry)
    if mask is not None:
        xs, mask = jnp.where(mask[..., None], xs, 0), mask.reshape(size, num_steps)
    carry, hs = over_time(equations, weights, carry, xs.reshape(size, num_steps, input_size), mask)
    return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), (carry, hs))


@partial(jax.jit, static_argnums=0)
def _step(equations: Equations, weights: Weights, carry: Any, x: Array) -> tuple[Any, Array]:
    carry, h, _ = equations.forward(weights, carry, x @ weights.input)
    return carry, h


def check_mask(mask: Any, xs: Array) -> None:
    """Checks a mask of the steps of sequences.

    Args:
        mask: what was given; None is no mask.
        xs: the sequences.

    Raises:
        InputError: for a mask that is not boolean or has another shape.
    """
    if mask is not None and (jnp.shape(mask) != xs.shape[:-1] or jnp.asarray(mask).dtype != bool):
        got = f"{jnp.asarray(mask).dtype}{jnp.shape(mask)}"
        raise InputError(f"expected a boolean mask (*batch, time) of shape {xs.shape[:-1]}, got {got}")


def initial_weights(
    init: Init,
    *,
    input_size: int,
    hidden_size: int,
    num_gates: int,
    key: Key[Array, ""],
    dtype: DTypeLike,
    recurrent_bias: bool = False,
) -> Weights:
    """Draws the initial weights of a recurrent layer.

    Args:
        init: "uniform" within 1/sqrt(hidden_size); or "orthogonal" recurrent and Glorot input
            weights for each gate, with biases of 0.
        input_size: components of an input.
        hidden_size: components of the output.
        num_gates: gates, whose columns lie side by side.
        key: random key.
        dtype: of the weights.
        recurrent_bias: whether the layer has a second bias.

    Raises:
        InputError: for sizes below one, or another init.
    """
    check_sizes(input_size=input_size, hidden_size=hidden_size)
    if init not in ("uniform", "orthogonal"):
        raise InputError(f"init must be 'uniform' or 'orthogonal', got {shown(repr(init))}")
    width = num_gates * hidden_size
    check_arrays(f"a layer of {hidden_size} hidden units", (input_size + hidden_size, width), dtype=dtype)
    keys = jax.random.split(key, 4)
    if init == "uniform":
        bound = hidden_size**-0.5
        shapes = [(input_size, width), (hidden_size, width), (width,), *[(hidden_size,)] * recurrent_bias]
        return Weights(*(jax.random.uniform(k, s, dtype, -bound, bound) for k, s in zip(keys, shapes, strict=False)))

    def of_each_gate(initializer: Any, key: Array, num_rows: int) -> Array:
        gates = [initializer(k, (num_rows, hidden_size), dtype) for k in jax.random.split(key, num_gates)]
        return jnp.concatenate(gates, -1)

    return Weights(
        of_each_gate(jax.nn.initializers.glorot_uniform(), keys[0], input_size),
        of_each_gate(jax.nn.initializers.orthogonal(), keys[1], hidden_size),
        jnp.zeros(width, dtype),
        jnp.zeros(hidden_size, dtype) if recurrent_bias else None,
    )

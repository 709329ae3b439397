"""Weights under PyTorch's names and in its layout: (gates * hidden, inputs), and two biases.

The order of the gates is the same as ours.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError, shown
from jaxcast.nn.equations import Weights


def to_torch(weights: Weights, suffix: str) -> dict[str, Float[np.ndarray, "..."]]:
    """Converts weights to PyTorch's names and layout.

    Args:
        weights: of a layer.
        suffix: end of the names.
    """
    second_bias = np.zeros_like(weights.bias)
    if weights.recurrent_bias is not None:
        second_bias[-len(weights.recurrent_bias) :] = weights.recurrent_bias
    arrays = (weights.input.T, weights.recurrent.T, weights.bias, second_bias)
    return {name: np.array(array) for name, array in zip(_names(suffix), arrays, strict=True)}


def from_torch(state: Mapping[str, Any], like: Weights, suffix: str) -> Weights:
    """Converts weights from PyTorch's names and layout.

    Args:
        state: NumPy arrays under PyTorch's names.
        like: weights of the wanted shapes and dtype. PyTorch's two biases are added unless it has
            two.
        suffix: end of the names.

    Raises:
        InputError: for missing names or arrays of other shapes.
    """
    names = _names(suffix)
    missing = [name for name in names if name not in state]
    if missing:
        raise InputError(
            f"expected arrays named {shown(', '.join(names))}, got {shown(', '.join(map(str, state)) or 'none')}; "
            "suffix says which layer is meant, and it must have biases"
        )
    arrays = [np.asarray(state[name]) for name in names]
    expected = [like.input.shape[::-1], like.recurrent.shape[::-1], like.bias.shape, like.bias.shape]
    for name, array, shape in zip(names, arrays, expected, strict=True):
        if array.shape != shape:
            raise InputError(
                f"expected {name} of shape {shape}, got {array.shape}; both layers must be of one kind and of equal "
                "sizes"
            )
    input_kernel, recurrent_kernel, bias, second_bias = (jnp.asarray(array, like.bias.dtype) for array in arrays)
    if like.recurrent_bias is None:
        return Weights(input_kernel.T, recurrent_kernel.T, bias + second_bias)
    num_added = len(bias) - len(like.recurrent_bias)
    bias = bias.at[:num_added].add(second_bias[:num_added])
    return Weights(input_kernel.T, recurrent_kernel.T, bias, second_bias[num_added:])


def _names(suffix: str) -> tuple[str, ...]:
    return tuple(f"{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

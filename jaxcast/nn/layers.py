"""Building blocks that several networks share."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from jaxcast.errors import InputError
from jaxcast.limits import check_arrays

MOST_HEADS = 4
"""Heads of an attention by default, where the size allows."""


def shares_of(
    logits: Float[Array, "*batch model"], present: Bool[Array, "*batch model"]
) -> Float[Array, "*batch model"]:
    """Computes a softmax over the models that are present.

    Args:
        logits: of all models.
        present: which models take part.

    Returns:
        The weights; zero for absent models, and all zero where none is present.
    """
    lowest = jnp.finfo(logits.dtype).min / 2  # finite: a softmax over infinities has no gradient
    return jax.nn.softmax(jnp.where(present, logits, lowest), -1) * present


def check_input(layer: nnx.Linear, num_inputs: int) -> None:
    """Checks that a memory has the size that a layer was made for.

    Args:
        layer: the first layer of a network.
        num_inputs: numbers that the memory holds for a sample.

    Raises:
        InputError: for another number of inputs.
    """
    if num_inputs != layer.in_features:
        raise InputError(
            f"the memory holds {num_inputs} numbers a sample, the network was made for {layer.in_features}; "
            "give both the same dim and num_delays"
        )


def uniform_linear(
    input_size: int, out_size: int, *, fan_in: int, rngs: nnx.Rngs, dtype: DTypeLike, use_bias: bool = True
) -> nnx.Linear:
    """Makes a linear layer with weights and bias uniform within 1/sqrt(fan_in).

    Args:
        input_size: components of an input.
        out_size: components of an output.
        fan_in: number of inputs that sets the bound.
        rngs: random keys for the weights.
        dtype: of the parameters and of the outputs.
        use_bias: whether the layer has a bias.
    """
    check_arrays(f"a layer from {input_size} to {out_size} units", (input_size, out_size), dtype=dtype)
    bound = fan_in**-0.5
    dtype = jnp.dtype(dtype)  # so that layers made from a dtype and from its name are the same

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(
        input_size,
        out_size,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=dtype,
        kernel_init=init,
        bias_init=init,
        rngs=rngs,
    )


def apply_flat(layer: nnx.Linear, xs: Float[Array, "*batch input"]) -> Float[Array, "*batch output"]:
    """Applies a linear layer to all batch axes as one.

    On a CPU the gradient of the weights is then computed two to six times as fast.

    Args:
        layer: the layer.
        xs: its inputs.
    """
    outputs: Array = layer(xs.reshape(-1, xs.shape[-1]))
    return outputs.reshape(*xs.shape[:-1], outputs.shape[-1])


class Buffer(nnx.Variable[Any]):
    """Numbers of a network that are measured once and not trained, such as means."""


def chosen_heads(size: int, num_heads: int | None) -> int:
    """Returns the number of heads of an attention.

    Args:
        size: of what the heads divide among themselves.
        num_heads: as given; None for the most up to 4 that divide the size.
    """
    if num_heads is not None:
        return num_heads
    return max(heads for heads in range(1, MOST_HEADS + 1) if size % heads == 0)

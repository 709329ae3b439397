"""The equations of a recurrent layer at one step, and their derivatives over all steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Weights(NamedTuple):
    """The weights of a layer, with the columns of its gates side by side.

    Args:
        input: of the inputs, (in, gates * hidden).
        recurrent: of the past output, (hidden, gates * hidden).
        bias: of all gates, (gates * hidden,).
        recurrent_bias: second bias, (hidden,), of layers that have one; else None.
    """

    input: Array
    recurrent: Array
    bias: Array
    recurrent_bias: Any = None


GateProduct = Callable[[Array, int], Any]
"""(a, k) -> the product of a block with the recurrent weights of gate k, on the way back with their transpose."""


class ByGates(NamedTuple):
    """The equations of a layer for kernels, which have a block (sequences, hidden) for each gate.

    Args:
        forward: (past, recurrent_bias, carry, products) -> (carry, h, gates), with a list of the
            products of the inputs, to which the bias is added.
        backward: (back, saved, d_carry, d_h) -> (d_carry, d_products), a list of all their parts.
    """

    forward: Callable[..., tuple[Any, Array, Any]]
    backward: Callable[..., tuple[Any, list[Array]]]


class Equations(NamedTuple):
    """The equations of a layer for a batch at one step, and their derivatives.

    They are static arguments of compiled programs, so they must be functions of a module.

    Args:
        forward: (weights, carry, product) -> (carry, h, gates), from the product of the input with
            its weights. What the two others need is saved: the carry before the step, and `gates`.
        backward: (weights, saved, d_carry, d_h) -> (d_carry, d_products), from the cotangents after
            the step to those before it.
        gradient: (weights, xs, saved, d_products) -> (d_weights, d_xs), for all steps, time first.
        in_torch: whether PyTorch has this layer.
        by_gates: the same as `ByGates`, for kernels; None for a layer without one.
    """

    forward: Callable[..., tuple[Any, Array, Any]]
    backward: Callable[..., tuple[Any, Any]]
    gradient: Callable[..., tuple[Weights, Array]]
    in_torch: bool = True
    by_gates: Any = None


def select(here: Array | None, inside: Any, outside: Any) -> Any:
    """Selects `inside` for the sequences that exist here, else `outside`.

    Args:
        here: which sequences exist, (batch,); None for all.
        inside: a tree of arrays (batch, ...).
        outside: the same.
    """
    if here is None:
        return inside
    return jax.tree.map(lambda a, b: jnp.where(here.reshape(-1, *[1] * (a.ndim - 1)), a, b), inside, outside)


def gradients(
    equations: Equations, weights: Weights, xs: Array, saved: Any, d_carry: Any, d_products: Any
) -> tuple[Weights, Any, Array]:
    """Computes all cotangents from those of the products with the weights.

    Args:
        equations: of the layer.
        weights: of the layer.
        xs: the inputs, (batch, time, in).
        saved: what each step saved, time first.
        d_carry: cotangent of the carry before the first step.
        d_products: cotangents of the products of all steps, time first.

    Returns:
        The cotangents of the weights, of the carry before the first step and of the inputs.
    """
    d_weights, d_xs = equations.gradient(weights, jnp.swapaxes(xs, 0, 1), saved, d_products)
    return d_weights, d_carry, jnp.swapaxes(d_xs, 0, 1)


def gradient(weights: Weights, xs: Array, h: Array, d_products: Array) -> tuple[Weights, Array]:
    """Computes `Equations.gradient` of a layer that adds up all products and the bias.

    Args:
        weights: of the layer.
        xs: the inputs, time first.
        h: the output before each step.
        d_products: cotangents of the sums.
    """
    input_size = xs.shape[-1]
    d_all = contract((xs, ones(xs), h), d_products)
    return Weights(d_all[:input_size], d_all[input_size + 1 :], d_all[input_size]), d_products @ weights.input.T


def contract(
    inputs: tuple[Float[Array, "time batch _"], ...], d_products: Float[Array, "time batch gates"]
) -> Float[Array, "rows gates"]:
    """Sums outer products of inputs and cotangents over all steps and samples.

    Args:
        inputs: arrays whose components are joined.
        d_products: cotangents of the products of these inputs with the weights.
    """
    rows = jnp.concatenate(inputs, -1)
    # On a CPU, XLA is slower at a product that contracts leading axes than at a transpose and a
    # plain product; without the barrier it would turn the latter back into the former.
    columns = jax.lax.optimization_barrier(rows.reshape(-1, rows.shape[-1]).T)
    return columns @ d_products.reshape(-1, d_products.shape[-1])


def ones(xs: Float[Array, "time batch in"]) -> Float[Array, "time batch 1"]:
    """Returns the constant input whose weight is the bias.

    Args:
        xs: the inputs, for their shape.
    """
    return jnp.ones((*xs.shape[:-1], 1), xs.dtype)

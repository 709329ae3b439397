"""One scan runs every recurrent layer over time, and one backward pass differentiates them all.

The backward scan only passes cotangents from step to step and emits those of the products with the
weights. The gradient of the weights is then a single product over all steps and samples.
Differentiating the scan itself would add up this gradient step by step, which is slower. Layers
take the batch as an axis: under `jax.vmap` the single product would become one for each sample, and
a sum. This is the fastest form found on a CPU; on accelerators it has not been compared with
others.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped


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


class Equations(NamedTuple):
    """The equations of a layer for a batch at one step, and their derivatives.

    They are static arguments of compiled programs, so they must be functions of a module.

    Args:
        forward: (weights, carry, x) -> (carry, h, saved), where the two others need `saved`.
        backward: (weights, saved, d_carry, d_h) -> (d_carry, d_products), from the cotangents after
            the step to those before it.
        gradient: (weights, xs, saved, d_products) -> (d_weights, d_xs), for all steps, time first.
        in_torch: whether PyTorch has this layer.
    """

    forward: Callable[..., tuple[Any, Array, Any]]
    backward: Callable[..., tuple[Any, Any]]
    gradient: Callable[..., tuple[Weights, Array]]
    in_torch: bool = True


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def over_time(
    equations: Equations,
    weights: Weights,
    carry: Any,
    xs: Float[Array, "batch time in"],
    mask: Bool[Array, "batch time"] | None,
) -> tuple[Any, Float[Array, "batch time hidden"]]:
    """Runs a layer over time.

    Args:
        equations: of the layer.
        weights: of the layer.
        carry: before the first step.
        xs: the inputs, finite everywhere.
        mask: which steps exist; the others keep the carry and output zero.

    Returns:
        The carry after the last step, and the outputs of all steps.
    """
    return _forward(equations, weights, carry, xs, mask, save=False)[0]


def _forward(
    equations: Equations, weights: Weights, carry: Any, xs: Array, mask: Array | None, *, save: bool = True
) -> tuple[Any, Any]:
    batch, num_steps, _ = xs.shape
    hidden_size = len(weights.recurrent)

    # Inputs and outputs keep the batch first and are indexed at their second axis: a scan over time
    # takes and gives time first, and to transpose whole sequences costs more.
    def step(state: tuple[Any, Array], n: Array) -> tuple[Any, Any]:
        carry, hs = state
        new, h, saved = equations.forward(weights, carry, _at(xs, n))
        carry, h = _where(mask, n, (new, h), (carry, jnp.zeros_like(h)))
        hs = jax.lax.dynamic_update_index_in_dim(hs, h, n, 1)
        return (carry, hs), saved if save else None

    hs = jnp.zeros((batch, num_steps, hidden_size), xs.dtype)
    (carry, hs), saved = jax.lax.scan(step, (carry, hs), jnp.arange(num_steps))
    return (carry, hs), (weights, xs, mask, saved)


def _backward(equations: Equations, residuals: Any, cotangents: Any) -> tuple[Weights, Any, Array, None]:
    weights, xs, mask, saved = residuals
    d_carry, d_hs = cotangents

    def step(d_carry: Any, at: tuple[Array, Any]) -> tuple[Any, Any]:
        n, saved = at
        before, d_products = equations.backward(weights, saved, d_carry, _at(d_hs, n))
        return _where(mask, n, (before, d_products), (d_carry, jax.tree.map(jnp.zeros_like, d_products)))

    numbers = jnp.arange(xs.shape[1])
    d_carry, d_products = jax.lax.scan(step, d_carry, (numbers, saved), reverse=True)
    d_weights, d_xs = equations.gradient(weights, jnp.swapaxes(xs, 0, 1), saved, d_products)
    return d_weights, d_carry, jnp.swapaxes(d_xs, 0, 1), None


over_time.defvjp(_forward, _backward)


def _at(sequences: Shaped[Array, "batch time ..."], n: Array) -> Shaped[Array, "batch ..."]:
    return jax.lax.dynamic_index_in_dim(sequences, n, 1, keepdims=False)


def _where(mask: Array | None, n: Array, inside: Any, outside: Any) -> Any:
    """Selects `inside` where step n exists, else `outside`."""
    if mask is None:
        return inside
    here = _at(mask, n)[:, None]
    return jax.tree.map(lambda a, b: jnp.where(here, a, b), inside, outside)


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

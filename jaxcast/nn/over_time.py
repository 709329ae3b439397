"""One scan runs every recurrent layer over time, and one backward pass differentiates them all.

The backward scan only passes cotangents on from step to step. It emits those of the products with the weights, and the
gradient of the weights is one product over all steps and samples at the end; plain differentiation of a scan sums it up
step by step, with which a training step takes longer. Layers see the batch as an axis of their arrays,
because batched from outside that one product would be one for every sample, and then a sum. The form is the fastest found
for CPU; on accelerators it has not been compared with others.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped


class Weights(NamedTuple):
    """What a layer learns, the columns of its gates side by side.

    input: (in, gates * hidden). recurrent: (hidden, gates * hidden). bias: (gates * hidden,). recurrent_bias: (hidden,)
    where a layer has one.
    """

    input: Array
    recurrent: Array
    bias: Array
    recurrent_bias: Any = None


class Equations(NamedTuple):
    """A layer for a batch at one step, and its derivative; functions of a module, as they are static arguments.

    forward: (weights, carry, x) -> (carry, h, saved), where saved is what the two others need.
    backward: (weights, saved, d_carry, d_h) -> (d_carry, d_products), from cotangents after the step to those before.
    gradient: (weights, xs, saved, d_products) -> (d_weights, d_xs), of all steps at once, time first.
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
    """The carry after the last step, and the outputs of all; steps outside of the mask leave the carry, and output zero.

    Inputs must be finite even there.
    """
    return _forward(equations, weights, carry, xs, mask, save=False)[0]


def _forward(
    equations: Equations, weights: Weights, carry: Any, xs: Array, mask: Array | None, *, save: bool = True
) -> tuple[Any, Any]:
    batch, num_steps, _ = xs.shape
    hidden_size = len(weights.recurrent)

    # Inputs and outputs keep the batch first and are indexed at their second axis: a scan over time takes and gives time
    # first, and to transpose whole sequences costs more.
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
    """What is inside of the mask at step n, and elsewhere what is outside."""
    if mask is None:
        return inside
    here = _at(mask, n)[:, None]
    return jax.tree.map(lambda a, b: jnp.where(here, a, b), inside, outside)


def gradient(weights: Weights, xs: Array, h: Array, d_products: Array) -> tuple[Weights, Array]:
    """`Equations.gradient` where all products and the bias are added up; h is what came before each step."""
    input_size = xs.shape[-1]
    d_all = contract((xs, ones(xs), h), d_products)
    return Weights(d_all[:input_size], d_all[input_size + 1 :], d_all[input_size]), d_products @ weights.input.T


def contract(
    inputs: tuple[Float[Array, "time batch _"], ...], d_products: Float[Array, "time batch gates"]
) -> Float[Array, "rows gates"]:
    """The sum over all steps and samples of the outer products of [*inputs] and the cotangents of what they made."""
    rows = jnp.concatenate(inputs, -1)
    # XLA for CPU takes longer for a product that contracts leading axes as for a transpose and a plain one;
    # without the barrier it would make the former of the latter again.
    columns = jax.lax.optimization_barrier(rows.reshape(-1, rows.shape[-1]).T)
    return columns @ d_products.reshape(-1, d_products.shape[-1])


def ones(xs: Float[Array, "time batch in"]) -> Float[Array, "time batch 1"]:
    """The input that a bias is the weight of."""
    return jnp.ones((*xs.shape[:-1], 1), xs.dtype)

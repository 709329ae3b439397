"""Attention over a few steps of very many short sequences, fast on a CPU."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.backends.dispatch import compile_apart


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def short_attention(
    queries: Float[Array, "head size query sequence"],
    keys: Float[Array, "head size step sequence"],
    values: Float[Array, "head out_size step sequence"],
    causal: bool = False,
) -> tuple[Float[Array, "head out_size query sequence"], Float[Array, "head query step sequence"]]:
    """Attends to the steps of short sequences, scaled by the root of the size of a head.

        a = softmax_steps( q . k / sqrt(size) ),    y = sum_steps a v

    The sequences are the last axis: a product of two small matrices for each sequence and head
    costs more to start than to compute, whereas sums of a few products of long rows are vectorised.
    They must not be merged with the softmax between them, or they are computed anew for each of its
    parts. Gradients do not flow through the weights that are returned.

    Args:
        queries: of each head.
        keys: of each head.
        values: of each head.
        causal: whether the queries are those of the last steps, and each attends only to its own
            step and earlier ones.

    Returns:
        What the queries see, and the attention weights.
    """
    return _forward(queries, keys, values, causal)[0]


def _forward(queries: Array, keys: Array, values: Array, causal: bool) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
    scores = compile_apart(_inner, queries / math.sqrt(queries.shape[1]), keys)
    weights = compile_apart(_causal_softmax if causal else _softmax, scores)
    return (compile_apart(_mix, weights, values), weights), (queries, keys, values, weights)


def _backward(causal: bool, saved: tuple[Array, ...], cotangents: tuple[Array, Array]) -> tuple[Array, Array, Array]:
    queries, keys, values, weights = saved
    d_seen, _ = cotangents
    d_values = compile_apart(_mix, jnp.swapaxes(weights, 1, 2), d_seen)
    d_weights = compile_apart(_inner, d_seen, values)
    mean = jnp.sum(d_weights * weights, 2, keepdims=True)
    d_scores = weights * (d_weights - mean) / math.sqrt(queries.shape[1])
    d_queries = compile_apart(_mix, d_scores, keys)
    return d_queries, compile_apart(_mix, jnp.swapaxes(d_scores, 1, 2), queries), d_values


short_attention.defvjp(_forward, _backward)


def _inner(
    queries: Float[Array, "head size query sequence"], keys: Float[Array, "head size step sequence"]
) -> Float[Array, "head query step sequence"]:
    """Multiplies each query with the key of each step."""
    return functools.reduce(jnp.add, [queries[:, n, :, None] * keys[:, n, None] for n in range(queries.shape[1])])


def _mix(
    weights: Float[Array, "head query step sequence"], values: Float[Array, "head out_size step sequence"]
) -> Float[Array, "head out_size query sequence"]:
    """Sums the values of all steps with the weights of each query."""
    return functools.reduce(jnp.add, [weights[:, None, :, n] * values[:, :, n, None] for n in range(values.shape[2])])


def _softmax(scores: Float[Array, "head query step sequence"]) -> Float[Array, "head query step sequence"]:
    return jax.nn.softmax(scores, 2)


def _causal_softmax(scores: Float[Array, "head query step sequence"]) -> Float[Array, "head query step sequence"]:
    num_queries, num_steps = scores.shape[1:3]
    visible = jnp.tri(num_queries, num_steps, num_steps - num_queries, dtype=bool)[..., None]
    return jax.nn.softmax(jnp.where(visible, scores, jnp.finfo(scores.dtype).min), 2)

"""Attention of all nodes to all nodes whose cost grows linearly with their number."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.tracing import is_traced

TOLERANCE = 1e-2
"""By how much a norm may differ from 1; that of bfloat16 does by 0.4 %."""


@checked
def linear_attention(
    queries: Float[Array, "*batch query size"],
    keys: Float[Array, "*batch node size"],
    values: Float[Array, "*batch node out_size"],
    mask: Bool[Array, "*batch node"] | None = None,
) -> Float[Array, "*batch query out_size"]:
    """Attends to all nodes at a cost that is linear in their number.

    The softmax's exponential is replaced by the first two terms of its Taylor expansion,

        exp(q . k) ~ 1 + q . k
        y_v = ( sum_u v_u + (sum_u v_u k_u^T) q_v ) / ( V + q_v . sum_u k_u )

    so that the sums over nodes u are computed once for all queries v. For queries and keys of unit
    norm the weights 1 + q . k are never negative; for longer ones they may be, and the sum of
    weights may vanish, so these are refused. A query whose weights are all zero gives zeros.

    Args:
        queries: of unit norm.
        keys: of unit norm.
        values: of the nodes.
        mask: which nodes exist. The others are not attended to, and need not have unit norm.

    Returns:
        What each query sees.

    Raises:
        InputError: for queries or keys whose norm is not 1, or arrays of shapes that do not match.
            Under `jax.jit` norms are not known, and not checked.

    Source:
        Wan, Luo and Zhu (2024), "fast attention".

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> here = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
        >>> jaxcast.nn.linear_attention(here, here, jnp.asarray([[3.0], [6.0]])).ravel().tolist()
        [4.0, 5.0]
    """
    _check_norm("queries", queries, None)
    _check_norm("keys", keys, mask)
    if mask is None:
        total = jnp.asarray(keys.shape[-2], values.dtype)
    else:
        keys, values = (jnp.where(mask[..., None], a, 0) for a in (keys, values))
        total = mask.sum(-1, dtype=values.dtype)[..., None]
    products = jnp.einsum("...nd,...ne->...de", keys, values)
    seen = values.sum(-2, keepdims=True) + queries @ products
    weight = total + jnp.einsum("...qd,...d->...q", queries, keys.sum(-2))
    # Opposite keys leave no weight but that of rounding.
    least = 10 * keys.shape[-2] * jnp.finfo(values.dtype).eps
    return jnp.where(weight > least, 1 / jnp.maximum(weight, least), 0)[..., None] * seen


def unit_norm(xs: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
    """Scales vectors to unit norm, as `linear_attention` needs them.

    Args:
        xs: the vectors. 1e-6 is added to the first component, so that one of zeros becomes the
            first unit vector.
    """
    # The square root has no gradient at 0.
    first = jnp.zeros(xs.shape[-1], xs.dtype).at[0].set(1e-6)
    xs = xs + first
    return xs / jnp.sqrt(jnp.sum(xs * xs, -1, keepdims=True) + jnp.finfo(xs.dtype).tiny)


def _check_norm(name: str, vectors: Any, mask: Any) -> None:
    if is_traced(vectors, mask):
        return
    norms = np.linalg.norm(np.asarray(vectors, float), axis=-1)
    wrong = ~(np.abs(norms - 1) <= TOLERANCE) & (True if mask is None else np.asarray(mask))
    if wrong.any():
        raise InputError(
            f"expected {name} of unit norm, without which weights may be negative, got a norm of "
            f"{norms[wrong][0]:.4g}; divide each by its norm"
        )

"""Ridge regression from moments that are summed over chunks of samples."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.precision import highest
from jaxcast.types import Scalar


class Moments(NamedTuple):
    """Sums over samples of weighted products of features, of which the last is the constant 1.

    The moments of two chunks of samples add up to those of both.

    Args:
        features: products of features with each other.
        targets: products of features with targets.
        squares: of the targets.
    """

    features: Float[Array, "*own feature feature"]
    targets: Float[Array, "*own feature target"]
    squares: Float[Array, "*own target"]


@highest
def ridge_of_moments(
    moments: Moments, penalty: Scalar
) -> tuple[Float[Array, "*own slope target"], Float[Array, "*own target"]]:
    """Minimises the weighted sum of |target - W' feature - b|^2 plus penalty e |W|^2.

    e is the mean eigenvalue of the features' covariance. The eigenvalues do not depend on the
    penalty: under `jax.vmap` over penalties they are computed once.

    Args:
        moments: of all samples.
        penalty: strength of the regularisation; 0 for the solution of least norm.

    Returns:
        W without the constant's row, and b.
    """
    gram, targets, _ = moments
    count, sums, middle = gram[..., -1:, -1:], gram[..., :-1, -1:], targets[..., -1:, :]
    centred = gram[..., :-1, :-1] - sums @ jnp.swapaxes(sums, -1, -2) / count
    values, vectors = jnp.linalg.eigh(centred)
    values = jnp.maximum(values, 0)
    products = targets[..., :-1, :] - sums @ middle / count
    projected = jnp.swapaxes(vectors, -1, -2) @ products
    # Without a penalty, directions that are rounding alone are left out.
    rounding = jnp.finfo(values.dtype).eps * values.shape[-1] * values.max(-1, keepdims=True)
    divisors = values + penalty * values.mean(-1, keepdims=True)
    # Features that never change, but for rounding, have no slopes.
    level = jnp.square(sums[..., 0]).max(-1, keepdims=True) / count[..., 0]
    changes = values.mean(-1, keepdims=True) > jnp.finfo(values.dtype).eps * level
    kept = ((jnp.asarray(penalty) > 0) | (values > rounding)) & changes
    divisors = jnp.where(kept, divisors, 1)
    shrunk = jnp.where(kept[..., None], projected / divisors[..., None], 0)
    slopes = vectors @ shrunk
    return slopes, (middle - jnp.swapaxes(sums, -1, -2) @ slopes)[..., 0, :] / count[..., 0]

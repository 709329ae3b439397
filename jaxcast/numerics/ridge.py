"""Ridge regression and the Gaussian kernel."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.types import Scalar


def ridge(
    features: Float[Array, "sample feature"], targets: Float[Array, "sample dim"], penalty: Scalar
) -> Float[Array, "feature dim"]:
    """Minimises |targets - features W|^2 + penalty |W|^2 by a singular value decomposition; the least W where penalty is 0.

    Not by the normal equations, which square the condition number: features of delays are nearly collinear.
    """
    left, values, right = jnp.linalg.svd(features, full_matrices=False)
    # Without a penalty, directions that are rounding alone are left out, as numpy.linalg.lstsq does.
    rounding = jnp.finfo(values.dtype).eps * max(features.shape) * values.max(initial=0)
    kept = (jnp.asarray(penalty) > 0) | (values > rounding)
    shrunk = jnp.where(kept, values / jnp.where(kept, values**2 + penalty, 1), 0)
    return jnp.matmul(right.T, shrunk[:, None] * jnp.matmul(left.T, targets, precision="highest"), precision="highest")


def _kernel(left: Array, right: Array, width: Scalar) -> Float[Array, "left right"]:
    """Between all pairs of points. The squared distances are one matrix product, also where many series roll at once."""
    norms = jnp.sum(left**2, -1)[:, None] + jnp.sum(right**2, -1)
    squares = norms - 2 * jnp.matmul(left, right.T, precision="highest")
    return jnp.exp(jnp.maximum(squares, 0) / (-2 * width**2))


def gaussian_kernel(
    x: Float[Array, "*batch feature"], centres: Float[Array, "centre feature"], length: Scalar
) -> Float[Array, "*batch centre"]:
    """exp(-|x - x_n|^2 / (2 length^2)), the squares by one matrix product."""
    x, centres = x / length, centres / length
    distances = (x**2).sum(-1)[..., None] + (centres**2).sum(-1) - 2 * jnp.matmul(x, centres.T, precision="highest")
    return jnp.exp(-jnp.maximum(distances, 0) / 2)

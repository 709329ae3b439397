"""Ridge regression and the Gaussian kernel."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.precision import highest
from jaxcast.types import Scalar


@highest
def ridge(
    features: Float[Array, "sample feature"], targets: Float[Array, "sample dim"], penalty: Scalar
) -> Float[Array, "feature dim"]:
    """Minimises |targets - features W|^2 + penalty |W|^2 by a singular value decomposition.

    The normal equations would square the condition number, and features of delays are nearly
    collinear.

    Args:
        features: of each sample.
        targets: of each sample.
        penalty: the strength of regularisation; 0 for the W of least norm.

    Returns:
        W.
    """
    left, values, right = jnp.linalg.svd(features, full_matrices=False)
    # Without a penalty, directions of mere rounding are left out, as in numpy.linalg.lstsq.
    rounding = jnp.finfo(values.dtype).eps * max(features.shape) * values.max(initial=0)
    kept = (jnp.asarray(penalty) > 0) | (values > rounding)
    shrunk = jnp.where(kept, values / jnp.where(kept, values**2 + penalty, 1), 0)
    return right.T @ (shrunk[:, None] * (left.T @ targets))


@highest
def gaussian_gram(
    left: Float[Array, "left feature"], right: Float[Array, "right feature"], width: Scalar
) -> Float[Array, "left right"]:
    """Computes the Gaussian kernel between all pairs of points, from distances before scaling.

    Fits of kernel ridge regression depend on this rounding, which differs from `gaussian_kernel`.

    Args:
        left: points.
        right: points.
        width: the kernel's standard deviation.

    Returns:
        exp(-|x - y|^2 / (2 width^2)) for all pairs.
    """
    norms = jnp.sum(left**2, -1)[:, None] + jnp.sum(right**2, -1)
    squares = norms - 2 * (left @ right.T)
    return jnp.exp(jnp.maximum(squares, 0) / (-2 * width**2))


@highest
def gaussian_kernel(
    x: Float[Array, "*batch feature"], centres: Float[Array, "centre feature"], length: Scalar
) -> Float[Array, "*batch centre"]:
    """Computes exp(-|x - x_n|^2 / (2 length^2)) for all centres.

    Args:
        x: points.
        centres: x_n.
        length: the kernel's standard deviation.

    Returns:
        The kernel of each point and centre.
    """
    x, centres = x / length, centres / length
    distances = (x**2).sum(-1)[..., None] + (centres**2).sum(-1) - 2 * (x @ centres.T)
    return jnp.exp(-jnp.maximum(distances, 0) / 2)

"""Scores of sampled paths, which see how the values of a path depend on each other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.scores.crps import check_fair


@checked
def energy_score(
    paths: Shaped[ArrayLike, "path *batch lead"], truth: Shaped[ArrayLike, "*batch lead"], *, fair: bool = False
) -> Float[Array, "*batch"]:
    """Returns the energy score of paths, the CRPS of vectors.

        ES = mean_i ||x_i - y|| - sum_ij ||x_i - x_j|| / (2 n^2)

    Args:
        paths: x, draws of all leads together.
        truth: observed values y; NaN where one is missing. These leads are left out.
        fair: whether to divide the second sum by 2 n (n - 1) instead; see `crps_samples`.

    Returns:
        The score of each vector, in its unit; NaN where nothing is known.

    Raises:
        InputError: for shapes that do not match, or a fair score of a single path.

    Source:
        Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359-378 (2007), eq. 22.

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.energy_score([[0.0, 0.0], [6.0, 8.0]], [3.0, 4.0])), 3)
        2.5
    """
    paths, truth, is_known = _known(paths, truth)
    size = len(paths)
    check_fair(size, fair)

    def distance(path: Array) -> Array:
        return jnp.linalg.norm(paths - path, axis=-1).sum(0)

    between = jax.lax.map(distance, paths).sum(0) / (2 * size * (size - fair))
    score = jnp.linalg.norm(paths - truth, axis=-1).mean(0) - between
    return jnp.where(is_known.any(-1), score, jnp.nan)


@checked
def variogram_score(
    paths: Shaped[ArrayLike, "path *batch lead"],
    truth: Shaped[ArrayLike, "*batch lead"],
    weights: Shaped[ArrayLike, "lead other"] | None = None,
    *,
    order: float | int = 0.5,
) -> Float[Array, "*batch"]:
    """Returns the variogram score of paths, which weighs differences between leads.

        VS = sum_jk w_jk (|y_j - y_k|^p - mean_i |x_ij - x_ik|^p)^2

    Unlike the energy score it is sensitive to wrong correlations; it does not see a common shift.

    Args:
        paths: x, draws of all leads together.
        truth: observed values y; NaN where one is missing. Pairs with such a lead are left out.
        weights: w, of each pair of leads; by default 1. Larger ones for near leads are usual.
        order: p.

    Returns:
        The score of each vector; NaN where no pair is known.

    Raises:
        InputError: for shapes that do not match.

    Source:
        Scheuerer and Hamill, Mon. Weather Rev. 143, 1321-1334 (2015).

    Example:
        >>> import jaxcast
        >>> paths = [[0.0, 1.0], [1.0, 2.0]]
        >>> float(jaxcast.scores.variogram_score(paths, [5.0, 6.0])), float(jaxcast.scores.variogram_score(paths, [5.0, 9.0]))
        (0.0, 2.0)
    """
    paths, truth, is_known = _known(paths, truth)
    num_leads = truth.shape[-1]
    weights = jnp.ones((num_leads, num_leads)) if weights is None else jnp.asarray(weights, float)
    if weights.shape != (num_leads, num_leads):
        raise InputError(f"expected weights ({num_leads}, {num_leads}), of each pair of leads, got {weights.shape}")

    def variogram(values: Array) -> Array:
        return jnp.abs(values[..., :, None] - values[..., None, :]) ** order

    mean, _ = jax.lax.scan(lambda total, path: (total + variogram(path), None), 0 * variogram(truth), paths)
    weights = weights * (is_known[..., :, None] & is_known[..., None, :])
    score = (weights * (variogram(truth) - mean / len(paths)) ** 2).sum((-2, -1))
    return jnp.where(is_known.sum(-1) > 1, score, jnp.nan)


def _known(paths: ArrayLike, truth: ArrayLike) -> tuple[Array, Array, Array]:
    """Returns paths and truth, both 0 where the truth is missing, and where it is known."""
    paths, truth = jnp.asarray(paths, float), jnp.asarray(truth, float)
    if truth.ndim == 0 or paths.shape[1:] != truth.shape:
        raise InputError(
            f"expected paths (path, *batch, lead) of truth (*batch, lead), got {paths.shape} and {truth.shape}"
        )
    is_known = jnp.isfinite(truth)
    return jnp.where(is_known, paths, 0), jnp.where(is_known, truth, 0), is_known

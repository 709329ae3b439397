"""Scores of probabilities: of categories, and of a distribution function given at some points."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced

FLOOR = math.exp(-10)
"""Probability below which a logarithmic score does not fall, by default: it is 10 at worst."""


@checked
def ranked_probability_score(
    probabilities: Shaped[ArrayLike, "*batch category"], truth: Shaped[ArrayLike, "*batch"]
) -> Float[Array, "*batch"]:
    """Returns the ranked probability score of ordered categories.

        RPS = sum_(k < K) (p_0 + ... + p_k - 1[y <= k])^2

    It is the CRPS of categories a unit apart, from 0 to K - 1.

    Args:
        probabilities: p of each category, in their order; they sum to 1.
        truth: index y of the observed category, from 0; NaN where it is missing.

    Returns:
        The score of each forecast; NaN for a missing truth.

    Raises:
        InputError: for shapes that do not match, or a truth that is no index of a category.

    Source:
        Epstein, J. Appl. Meteorol. 8, 985-987 (1969).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.ranked_probability_score([0.1, 0.2, 0.3, 0.4], 2)), 4)
        0.26
    """
    probabilities, truth = _categories(probabilities, truth)
    passed = jnp.arange(probabilities.shape[-1]) >= truth[..., None]
    score = ((jnp.cumsum(probabilities, -1) - passed)[..., :-1] ** 2).sum(-1)
    return jnp.where(jnp.isnan(truth), jnp.nan, score)


@checked
def log_score(
    probabilities: Shaped[ArrayLike, "*batch category"],
    truth: Shaped[ArrayLike, "*batch"],
    *,
    floor: float | int = FLOOR,
) -> Float[Array, "*batch"]:
    """Returns the logarithmic score of categories, -ln max(p_y, floor).

    Args:
        probabilities: p of each category; they sum to 1.
        truth: index y of the observed category, from 0; NaN where it is missing.
        floor: least probability that is scored. A forecast of 0 for what was observed scores
            infinity without it, and outweighs all others. With a floor the score is no longer
            strictly proper; by default it is 10 at worst, as in the influenza challenges of the
            CDC.

    Returns:
        The score of each forecast, lower is better; NaN for a missing truth.

    Raises:
        InputError: for shapes that do not match, a truth that is no index of a category, or a floor
            outside 0 to 1.

    Source:
        Good, J. R. Stat. Soc. B 14, 107-114 (1952); Reich et al., PNAS 116, 3146-3154 (2019), for
        the floor.

    Example:
        >>> import jaxcast
        >>> scores = jaxcast.scores.log_score([[0.5, 0.5], [1.0, 0.0]], [1, 1])
        >>> [round(float(score), 4) for score in scores]
        [0.6931, 10.0]
    """
    probabilities, truth = _categories(probabilities, truth)
    if not 0 <= floor <= 1:
        raise InputError(f"floor must be from 0 to 1, got {shown(floor)}")
    index = jnp.where(jnp.isnan(truth), 0, truth).astype(int)
    chosen = jnp.take_along_axis(probabilities, index[..., None], -1)[..., 0]
    return jnp.where(jnp.isnan(truth), jnp.nan, -jnp.log(jnp.maximum(chosen, floor)))


@checked
def crps_cdf(
    probabilities: Shaped[ArrayLike, "*batch point"],
    truth: Shaped[ArrayLike, "*batch"],
    points: Shaped[ArrayLike, " point"],
) -> Float[Array, "*batch"]:
    """Returns the CRPS of distribution functions that are given at some points.

        CRPS = integral (F(x) - 1[x >= y])^2 dx

    F is linear between the points. It is 0 below the first point and 1 above the last: the mass in
    a tail beyond the points is taken to be at the point next to it. The score is thus the CRPS of a
    distribution. Where points are far apart or leave out a tail, it differs from the forecaster's.

    Args:
        probabilities: F at the points, from 0 to 1, not falling.
        truth: observed values y; NaN where one is missing.
        points: x, increasing.

    Returns:
        The score of each value, in its unit; NaN for a missing one.

    Raises:
        InputError: for shapes that do not match, or points that do not increase.

    Source:
        Matheson and Winkler, Manag. Sci. 22, 1087-1096 (1976).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.scores.crps_cdf([0.0, 0.5, 1.0], 0.5, [0.0, 0.5, 1.0])), 4)
        0.0833
    """
    probabilities, truth, points = (jnp.asarray(a, float) for a in (probabilities, truth, points))
    if points.ndim != 1 or probabilities.shape != (*truth.shape, *points.shape):
        raise InputError(
            f"expected probabilities (*batch, point) of truth {truth.shape} at points {points.shape}, got shape "
            f"{probabilities.shape}"
        )
    if not is_traced(points) and not (np.diff(points) > 0).all():
        raise InputError(f"points must increase, got {shown(np.asarray(points).tolist())}")
    y, left, right = truth[..., None], points[:-1], points[1:]
    low, high = probabilities[..., :-1], probabilities[..., 1:]
    at = jnp.clip(y, left, right)
    share = (at - left) / (right - left)
    middle = low + share * (high - low)
    below = (at - left) * _mean_square(low, middle)
    above = (right - at) * _mean_square(1 - middle, 1 - high)
    outside = jnp.maximum(points[0] - truth, 0) + jnp.maximum(truth - points[-1], 0)
    return (below + above).sum(-1) + outside


def _mean_square(first: Array, last: Array) -> Array:
    """Returns the mean square of a function that is linear between two values."""
    return (first**2 + first * last + last**2) / 3


def _categories(probabilities: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    probabilities, truth = jnp.asarray(probabilities, float), jnp.asarray(truth, float)
    if probabilities.ndim == 0 or probabilities.shape[:-1] != truth.shape:
        raise InputError(
            f"expected probabilities (*batch, category) of truth {truth.shape}, got shape {probabilities.shape}"
        )
    if not is_traced(truth):
        known = np.asarray(truth)[~np.isnan(truth)]
        wrong = known[(known != np.round(known)) | (known < 0) | (known >= probabilities.shape[-1])]
        if len(wrong):
            raise InputError(
                f"truth must be indices of the {probabilities.shape[-1]} categories, from 0, got {wrong[0]:g}"
            )
    return probabilities, truth

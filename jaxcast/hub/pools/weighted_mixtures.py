"""Quantiles of mixtures of forecasts that are given by their quantiles."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.precision import highest

BATCH = 64


@highest
def weighted_mixtures(
    quantiles: Float[Array, "task model quantile"],
    present: Bool[Array, "task model"],
    weights: Float[Array, "task mixture model"],
    levels: Float[Array, " quantile"],
) -> Float[Array, "task mixture quantile"]:
    """Computes the quantiles of several mixtures of the same forecasts, exactly.

        F(x) = sum_i a_i F_i(x),    q_tau = inf {x: F(x) >= tau}

    Each F_i is linear between its quantiles; what is outside of the outermost two is on these. F is
    then linear between the points of all forecasts together, so it is inverted at these.

    Args:
        quantiles: Increasing quantiles of each model; any finite number where it is absent.
        present: Whether a model forecast.
        weights: Weights that sum to one over the models present.
        levels: Levels of the quantiles.

    Returns:
        The quantiles; without meaning where no model is present.
    """

    def one(task: tuple[Array, Array, Array]) -> Array:
        values, there, shares = task
        points = jnp.sort(jnp.where(there[:, None], values, values[jnp.argmax(there)]).ravel())
        upto, before = (_cdf(values, levels, points, side) for side in ("right", "left"))
        return _inverted(shares @ upto, shares @ before, points, levels)

    # Whole batches: a remainder would be compiled once more.
    num_tasks = quantiles.shape[0]
    padded = (jnp.pad(a, [(0, -num_tasks % BATCH), (0, 0), (0, 0)][: a.ndim]) for a in (quantiles, present, weights))
    return jax.lax.map(one, tuple(padded), batch_size=BATCH)[:num_tasks]


def _cdf(
    quantiles: Float[Array, "model quantile"],
    levels: Float[Array, " quantile"],
    points: Float[Array, " point"],
    side: str,
) -> Float[Array, "model point"]:
    """Returns P(X <= x), or with side "left" P(X < x), of each model at sorted points."""
    at_most = quantiles[:, None] <= points[:, None] if side == "right" else quantiles[:, None] < points[:, None]
    count = at_most.sum(-1)
    low = jnp.clip(count - 1, 0, levels.shape[0] - 2)
    below, above = (jnp.take_along_axis(quantiles, index, 1) for index in (low, low + 1))
    share = jnp.clip((points - below) / jnp.where(above > below, above - below, 1), 0, 1)
    inside = levels[low] + share * (levels[low + 1] - levels[low])
    return jnp.where(count == 0, 0, jnp.where(count == levels.shape[0], 1, inside))


def _inverted(
    upto: Float[Array, "mixture point"],
    before: Float[Array, "mixture point"],
    points: Float[Array, " point"],
    levels: Float[Array, " quantile"],
) -> Float[Array, "mixture quantile"]:
    """Returns the least x at which each mixture reaches each level."""
    slack = 4 * jnp.finfo(upto.dtype).eps
    index = jax.vmap(lambda row: jnp.searchsorted(row, levels - slack, side="left"))(upto)
    high = jnp.minimum(index, points.shape[0] - 1)
    low = jnp.maximum(high - 1, 0)
    start = jnp.take_along_axis(upto, low, 1)
    rise = jnp.take_along_axis(before, high, 1) - start
    share = jnp.clip((levels - start) / jnp.where(rise > 0, rise, 1), 0, 1)
    share = jnp.where((rise > 0) & (high > 0), share, 1)
    # At a point of probability the quantiles may differ by rounding.
    return jax.lax.cummax(points[low] + share * (points[high] - points[low]), axis=1)

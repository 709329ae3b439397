"""The linear opinion pool: the mixture of the distributions that models' quantiles describe."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_positive
from jaxcast.errors import InputError
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.hub.pools.quantile_pool import MemorylessPool, equal_shares, where_forecast
from jaxcast.hub.pools.weighted_mixtures import weighted_mixtures
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output

Tails = Literal["none", "normal", "lognormal"]
TAILS = ("none", "normal", "lognormal")
HALVINGS = 45


class LinearOpinionPool(MemorylessPool, FrozenPytree, name="linear_opinion_pool"):
    """The quantiles of the mixture of the models' distributions; see `mixture_quantiles`.

        F(x) = sum_i a_i F_i(x),    q_tau = inf {x: F(x) >= tau}

    This averages probabilities, not quantiles, and gives wider forecasts than any average of
    quantiles.

    Args:
        tails: What is known of each F_i outside of its outermost quantiles.
        weights: Weight of each model; by default all are equal. They are divided by the sum over
            the models that are present.

    Raises:
        InputError: for unknown tails, weights that are not positive, or when called with another
            number of models.

    Source:
        Stone (1961); Lichtendahl, Grushka-Cockayne and Winkler, Management Science 59, 1594-1611
        (2013).

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.asarray([[[[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[2.5]]), np.asarray([0.25, 0.5, 0.75]))
        >>> pooled = jaxcast.hub.pool_forecasts(jaxcast.hub.LinearOpinionPool(), forecasts).forecast[0, 0]
        >>> np.allclose(pooled, [1.0, 2.0, 11.0], rtol=1e-5)
        True
    """

    tails: Tails = static(default="none")
    weights: Float[Array, " model"] | None = None

    def __post_init__(self) -> None:
        check_choice("tails", self.tails, TAILS)
        if self.weights is not None:
            check_positive(weights=self.weights)

    def __call__(self, memory: None, forecasts: HubForecasts) -> Output:
        shares = equal_shares(forecasts.present, forecasts.quantiles.dtype)
        if self.weights is not None:
            if self.weights.shape != forecasts.present.shape[-1:]:
                raise InputError(f"expected {forecasts.present.shape[-1]} models' weights, got {self.weights.shape}")
            weighted = forecasts.present * self.weights
            total = weighted.sum(-1, keepdims=True)
            shares = (weighted / jnp.where(total > 0, total, 1)).astype(shares.dtype)
        mixed = _mixture(forecasts.quantiles, shares, forecasts.levels, self.tails)
        return Output(where_forecast(mixed, forecasts), {"weights": shares})


@checked
def mixture_quantiles(
    quantiles: Shaped[ArrayLike, "*batch model quantile"],
    weights: Shaped[ArrayLike, "*batch model"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    tails: Tails = "normal",
) -> Float[Array, "*batch quantile"]:
    """Returns the quantiles of mixtures of distributions that are given by quantiles.

        F(x) = sum_i a_i F_i(x),    q_tau = inf {x: F(x) >= tau}

    With tails, each F_i(x) = Phi(z(x)), where z is linear between the points (q_i, z of its level)
    and continues in a straight line beyond the outermost two: F_i is normal there, and everywhere
    if it was normal. "lognormal" does so with log x instead of x beyond the outermost two
    quantiles, where they are positive. Without tails F_i is linear between its quantiles, and the
    probability outside of the outermost is put on these. Equal quantiles are a point of
    probability.

    Without tails the inverse is exact. With tails it is found by bisection between the least and
    the largest of the models' own quantiles of that level, to 3e-14 of their distance.

    Args:
        quantiles: Quantiles of each distribution, which do not decrease.
        weights: Weights a_i, none negative; a distribution of weight 0 is not looked at.
        levels: Levels of the quantiles, also of the result.
        tails: "normal", "lognormal" or "none".

    Returns:
        The quantiles; NaN where all weights are zero.

    Raises:
        InputError: for shapes that do not match, unknown tails, weights that are negative or no
            numbers, or quantiles that are not finite and have a weight.

    Source:
        The tails are those of distfromq (Ray and Gerding). In between it takes a monotone spline.

    Example:
        >>> import jaxcast, numpy as np
        >>> normal = np.asarray([-1.2816, 0.0, 1.2816])
        >>> mixed = jaxcast.hub.mixture_quantiles([normal, normal + 2.0], [0.5, 0.5], [0.1, 0.5, 0.9])
        >>> [round(float(value), 2) for value in mixed]
        [-0.85, 1.0, 2.85]
    """
    quantiles, weights, levels = (jnp.asarray(a, float) for a in (quantiles, weights, levels))
    check_choice("tails", tails, TAILS)
    if not (weights >= 0).all():
        raise InputError("weights of a mixture must be numbers of at least 0; give an absent model the weight 0")
    if not (jnp.isfinite(quantiles).all(-1) | (weights == 0)).all():
        raise InputError("a distribution has quantiles that are not finite; give it the weight 0")
    total = weights.sum(-1, keepdims=True)
    shares = weights / jnp.where(total > 0, total, 1)
    counted = jnp.where(shares[..., None] > 0, quantiles, 0)
    return jnp.where(total > 0, _mixture(counted, shares, levels, tails), jnp.nan)


@partial(jax.jit, static_argnames="tails")
@highest
def _mixture(quantiles: Array, shares: Array, levels: Array, tails: Tails) -> Array:
    if tails == "none":
        tasks, weights = quantiles.reshape(-1, *quantiles.shape[-2:]), shares.reshape(-1, 1, shares.shape[-1])
        mixed = weighted_mixtures(tasks, weights[:, 0] > 0, weights, levels)
        return mixed.reshape(*quantiles.shape[:-2], len(levels))
    present = (shares > 0)[..., None]
    low = jnp.where(present, quantiles, jnp.inf).min(-2)
    high = jnp.where(present, quantiles, -jnp.inf).max(-2)
    low, high = (jnp.where(present.any(-2), end, 0) for end in (low, high))

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        below, above = ends
        middle = (below + above) / 2
        reached = jnp.einsum("...pm,...m->...p", _cdf(middle, quantiles, levels, tails), shares)
        enough = reached >= levels * (1 - 1e-12)
        return jnp.where(enough, below, middle), jnp.where(enough, middle, above)

    found = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))[1]
    return jax.lax.cummax(found, axis=found.ndim - 1)  # at a point of probability they differ by rounding


def _cdf(x: Array, quantiles: Array, levels: Array, tails: Tails) -> Array:
    """Returns F_i at (*batch, point), for each model (*batch, point, model)."""
    x, q = x[..., :, None], quantiles[..., None, :, :]
    width = jnp.diff(q, axis=-1)
    step = jnp.where(x[..., None] >= q[..., :-1], jnp.inf, -jnp.inf)  # at equal quantiles
    way = jnp.where(width > 0, (x[..., None] - q[..., :-1]) / jnp.where(width > 0, width, 1), step)
    inside = jnp.clip(way, 0, 1)
    if len(levels) < 2:
        return jnp.where(x < q[..., 0], 0.0, 1.0)
    z = jax.scipy.special.ndtri(levels)
    first, last = way[..., 0], way[..., -1]
    if tails == "lognormal":
        first = jnp.where((q[..., 0] > 0) & (width[..., 0] > 0), _log_way(x, q[..., 0], q[..., 1]), first)
        last = jnp.where((q[..., -2] > 0) & (width[..., -1] > 0), _log_way(x, q[..., -2], q[..., -1]), last)
    between = z[0] + (inside * jnp.diff(z)).sum(-1)
    below, above = z[0] + (z[1] - z[0]) * first, z[-2] + (z[-1] - z[-2]) * last
    return jax.scipy.special.ndtr(jnp.where(x < q[..., 0], below, jnp.where(x >= q[..., -1], above, between)))


def _log_way(x: Array, start: Array, end: Array) -> Array:
    """Returns how far x lies on the way from start to end, in logarithms."""
    tiny = jnp.finfo(x.dtype).tiny
    x, start, end = (jnp.log(jnp.maximum(each, tiny)) for each in (x, start, end))
    return (x - start) / jnp.where(end > start, end - start, 1)

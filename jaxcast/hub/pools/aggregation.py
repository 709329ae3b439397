"""Aggregates forecasters online and tracks their coverage, each time from what was known then."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.hub.forecasts import HubForecasts, known_truth
from jaxcast.hub.pools.quantile_pool import where_forecast
from jaxcast.hub.pools.relative_scores import (
    MEMORY,
    decay,
    mean_share,
    newest_known,
    round_step,
    rounds_ahead,
    share_of_step,
    step_weights,
)
from jaxcast.precision import highest
from jaxcast.scores.quantiles import pinball_loss
from jaxcast.types import Scalar


class AggregateForecast(NamedTuple):
    """The forecasts of experts, aggregated by their past losses.

    Args:
        forecast: The weighted average of the experts.
        weights: Weight of each expert at each time.
    """

    forecast: Float[Array, "location time quantile"]
    weights: Float[Array, "time expert"]


@checked
@jax.jit
@highest
def aggregate_experts(
    experts: Float[Array, "expert location time quantile"],
    forecasts: HubForecasts,
    *,
    rate: Scalar = 0.85,
    power: Scalar = 120.0,
    prior_steps: Scalar = 2.0,
) -> AggregateForecast:
    """Averages the forecasts of experts with weights by their past losses.

        w_e = L_e^(-power * share / ahead) / sum

    L_e is the exponentially decayed WIS of expert e over all locations, plus that of an average
    expert over `prior_steps` * ahead steps. Here ahead is the horizon in rounds, and share a tenth
    for each location, at most 1: the losses of few locations say less. An expert is any forecaster
    of the same tasks: a pool, one with other settings, or the hub's own ensemble. The average of
    all good ones is safer than the one that leads. All losses are taken again, at each time,
    against the release of the target data that a forecast of that time may use. Where an expert has
    no forecast, the others share its weight, and its loss counts as that of their average.

    Args:
        experts: Forecasts of each expert, NaN where it has none.
        forecasts: The target data, and where any model forecast; elsewhere the result is NaN.
        rate: What remains of a loss after one time step.
        power: Power of past losses at one step ahead.
        prior_steps: Time steps of average losses that every expert begins with, at one step ahead.

    Returns:
        The average, and the weights at each time.

    Source:
        The exponentially weighted average forecaster of Cesa-Bianchi and Lugosi, Prediction,
        Learning, and Games (2006), chapter 2, on the logarithm of decayed losses.

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(np.ones((1, 9, 2, 1)), np.ones((1, 9)), np.asarray([0.5]))
        >>> experts = jnp.stack([jnp.full((1, 9, 1), 2.0), jnp.full((1, 9, 1), 1.1)])
        >>> weights = jaxcast.hub.aggregate_experts(experts, forecasts).weights
        >>> weights[0].tolist(), bool(weights[-1, 1] > 0.99)
        ([0.5, 0.5], True)
    """
    rate, power, prior_steps = (jnp.asarray(a, experts.dtype) for a in (rate, power, prior_steps))
    has = jnp.isfinite(experts).all(-1, keepdims=True)
    is_forecast = forecasts.is_forecast & has.any((0, -1))
    others = jnp.where(has, experts, 0).sum(0) / jnp.maximum(has.sum(0), 1)
    experts = jnp.where(is_forecast[..., None], jnp.where(has, experts, others), 0)
    tiny, ahead = jnp.finfo(experts.dtype).tiny ** 0.5, rounds_ahead(forecasts)

    def at(time: Array) -> Array:
        index, truth = newest_known(forecasts, time)
        past = experts[:, :, jnp.maximum(index, 0)]
        is_known = jnp.isfinite(truth) & is_forecast[:, jnp.maximum(index, 0)]
        target = jnp.broadcast_to(jnp.where(is_known, truth, 0), past.shape[:-1])
        losses = jnp.where(is_known, pinball_loss(past, target, forecasts.levels).mean(-1), 0).sum(1)
        usual = losses.mean(0)
        total = losses @ step_weights(usual, rate)
        num_steps = (usual > 0) @ decay(rate, usual.dtype)
        prior = prior_steps * ahead[time] * total.mean() / jnp.maximum(num_steps, tiny)
        steepness = power * mean_share(is_known, usual.dtype) / ahead[time]
        return jax.nn.softmax(-steepness * jnp.log(total + prior + tiny))

    weights = jax.lax.map(at, jnp.arange(experts.shape[2]))
    share = jnp.where(has.all(0), 1, jnp.einsum("te,elt->lt", weights, has[..., 0])[..., None])
    averaged = jnp.einsum("te,eltq->ltq", weights, jnp.where(has.all(0) | has, experts, 0)) / share
    return AggregateForecast(where_forecast(averaged, forecasts), weights)


MISSED_MOST = 8.0  # A single time counts as at most this many times more misses than there should be.
LEAK = 0.99  # What remains of a time's misses after one time step.


@checked
@partial(jax.jit, static_argnames=("nominal", "lower"))
def track_coverage(
    pooled: Float[Array, "location time quantile"],
    forecasts: HubForecasts,
    *,
    rate: Scalar = 0.04,
    slack: tuple[Scalar, Scalar] = (0.0, 10.0),
    nominal: tuple[float, float] = (0.5, 0.95),
    lower: float | None = 0.0,
) -> Float[Array, "location time quantile"]:
    """Widens or narrows quantile forecasts until two central intervals have their nominal coverage.

        log factor = (rate / ahead)
            S(sum over past times of 0.99^age (share missed / nominal - 1))

    for both ends of each interval; shares are of the locations, and S takes `slack` from the size
    of a sum, so that a few surprising times change nothing. A time counts as at most 8, and where
    fewer than ten locations tell of it by a tenth for each: otherwise that limit would cut off most
    of a single location's misses, and narrow calibrated intervals. The sum stays where the factor
    is within e and 1 / e, so that a surge is forgotten after it. Here ahead is the horizon in
    rounds, and so is the age: a hub may forecast days once a week. A target at the very end of an
    interval, such as zero where zero is forecast, counts as missed as often as it should be.
    Increments between quantiles within the inner interval are multiplied by the inner factor of
    their side, those outside by the outer factor, so quantiles never cross. Times of the last year
    of steps are judged, anew at each time, against the release of the target data that a forecast
    may use; the newest one is left out, as it is revised most.

    Args:
        pooled: Forecasts of any pool, in the unit of the target.
        forecasts: The target data, and where any model forecast; elsewhere the result is NaN.
        rate: Change of a log factor, one step ahead, by a time at which twice as many locations
            missed as should have.
        slack: Such times that a sum must exceed, for the inner and the outer interval.
        nominal: Coverage of both intervals; the levels nearest to their ends are used.
        lower: The least value that the target can have; None for any.

    Returns:
        The forecasts with other widths.

    Source:
        Gibbs and Candes, NeurIPS (2021), adaptive conformal inference; here on widths instead of
        levels, with sums that leak and are bounded.

    Example:
        >>> import jaxcast, numpy as np
        >>> levels = np.asarray([0.025, 0.25, 0.5, 0.75, 0.975])
        >>> truth = np.random.default_rng(0).normal(0, 3, (50, 60))
        >>> narrow = np.broadcast_to(np.asarray([-1.96, -0.67, 0.0, 0.67, 1.96]), (50, 60, 1, 5))
        >>> forecasts = jaxcast.hub.HubForecasts.of(narrow, truth, levels)
        >>> tracked = jaxcast.hub.track_coverage(forecasts.quantiles[:, :, 0], forecasts, rate=0.1, lower=None)
        >>> 2.3 < float(tracked[0, -1, 3] / 0.67) < 3.3
        True
    """
    # Lower inner, lower outer, upper inner, upper outer.
    wanted = jnp.asarray([(1 + sign * cover) / 2 for sign in (-1, 1) for cover in nominal])
    index = jnp.argmin(jnp.abs(forecasts.levels - wanted[:, None]), 1)
    is_upper = jnp.asarray([False, False, True, True])
    expected = jnp.where(is_upper, 1 - forecasts.levels[index], forecasts.levels[index])
    middles = (forecasts.levels[1:] + forecasts.levels[:-1]) / 2
    is_inner = (middles > wanted[0]) & (middles < wanted[2])
    zone = jnp.where(is_inner, 0, 1) + jnp.where(middles < 0.5, 0, 2)
    slacks = jnp.tile(jnp.stack([jnp.asarray(each, pooled.dtype) for each in slack]), 2)

    def surprises(ends: Array, time: Array) -> Array:
        """Share of misses over the nominal one, less 1, by remembered time, newest first."""
        past = time - forecasts.horizon - 1 - jnp.arange(MEMORY)
        truth = jnp.where(past >= 0, known_truth(forecasts, time)[:, jnp.maximum(past, 0)], jnp.nan)[..., None]
        there = jnp.isfinite(truth[..., 0]) & forecasts.is_forecast[:, jnp.maximum(past, 0)]
        ends = ends[:, jnp.maximum(past, 0)]
        missed = jnp.where(is_upper, truth > ends, truth < ends)
        missed = jnp.where(truth == ends, expected, missed) * there[..., None]
        share = missed.sum(0) / jnp.maximum(there.sum(0), 1)[:, None]
        counted = share_of_step(there.sum(0))[:, None] * (share / expected - 1)
        return jnp.where(there.any(0)[:, None], jnp.minimum(counted, MISSED_MOST), 0)

    ahead, leaks = rounds_ahead(forecasts), LEAK ** (1 / round_step(forecasts).astype(pooled.dtype))

    def at(carry: tuple[Array, Array], x: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (ends, settled), (time, quantiles) = carry, x
        each = surprises(ends, time)
        most = slacks + ahead[time] / rate  # Beyond, a sum would only take longer to come back.

        def added(total: Array, surprise: Array) -> Array:
            return jnp.clip(leaks[time] * total + surprise, -most, most)

        total = jax.lax.fori_loop(0, MEMORY, lambda i, total: added(total, each[MEMORY - 1 - i]), settled)
        total = jnp.sign(total) * jnp.maximum(jnp.abs(total) - slacks, 0)
        widths = jnp.exp(rate / ahead[time] * total)[zone]
        widened = rescaled(quantiles, quantiles[:, forecasts.median_index], widths, forecasts.median_index)
        widened = widened if lower is None else jnp.maximum(widened, lower)
        return (ends.at[:, time].set(widened[:, index]), added(settled, each[-1])), widened

    filled = jnp.where(forecasts.is_forecast[..., None], pooled, 0)
    start = jnp.zeros((*pooled.shape[:2], 4), pooled.dtype), jnp.zeros(4, pooled.dtype)
    times = jnp.arange(pooled.shape[1])
    widened = jax.lax.scan(at, start, (times, jnp.moveaxis(filled, 1, 0)))[1]
    return where_forecast(jnp.moveaxis(widened, 0, 1), forecasts)


def rescaled(
    forecast: Float[Array, "*batch quantile"],
    centre: Float[Array, "*batch"],
    factors: Float[Array, "*#batch increment"],
    median_index: int,
) -> Float[Array, "*batch quantile"]:
    """Moves quantiles to a new centre and scales their increments, so that they never cross.

    Args:
        forecast: Quantiles in increasing order.
        centre: New median.
        factors: Factor of each increment, at least 0.
        median_index: Index of the median.

    Returns:
        The new quantiles.
    """
    increments = jnp.diff(forecast, axis=-1) * factors
    above = jnp.cumsum(increments[..., median_index:], -1)
    below = jnp.cumsum(increments[..., :median_index][..., ::-1], -1)[..., ::-1]
    centre = centre[..., None]
    return jnp.concatenate([centre - below, centre, centre + above], -1)

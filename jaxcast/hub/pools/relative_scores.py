"""Past scores of a hub's models relative to each other, as each round could know them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxcast.hub.forecasts import HubForecasts, known_truth
from jaxcast.hub.pools.quantile_pool import scores_against
from jaxcast.precision import highest
from jaxcast.types import Scalar

MEMORY = 52  # Time steps that are remembered, which keeps the work linear in their number.
WORST = 2.0  # A score counts as at most this many times the average of its task.
MANY_LOCATIONS = 10.0  # From so many locations on a time step counts in full.


def newest_known(forecasts: HubForecasts, time: Array) -> tuple[Int[Array, " memory"], Float[Array, "location memory"]]:
    """Gathers the newest target data that a forecast of some time may use.

    Only times count at which some forecast can be scored: what a model earned in one season is not
    forgotten while there is none.

    Args:
        forecasts: Forecasts of the models, and the target data.
        time: Index of the time.

    Returns:
        Indices of the `MEMORY` newest times, newest first, -1 where there are no more; and their
        target data, NaN where they are not known.
    """
    truth = known_truth(forecasts, time)
    is_known = (jnp.isfinite(truth) & forecasts.is_forecast).any(0)
    num_times = truth.shape[1]
    index = num_times - 1 - jnp.flatnonzero(is_known[::-1], size=MEMORY, fill_value=num_times)
    return index, jnp.where(index >= 0, truth[:, jnp.maximum(index, 0)], jnp.nan)


def step_weights(usual: Float[Array, " memory"], rate: Scalar) -> Float[Array, " memory"]:
    """Weighs the steps of a memory: newer ones more, and those of large scores less, by a root.

    Args:
        usual: Total of the usual scores of each step, newest first; zero where nothing is known.
        rate: What remains of a weight after one time step.

    Returns:
        The weights; zero where nothing is known.
    """
    is_known = usual > 0
    mean = usual.sum() / jnp.maximum(is_known.sum(), 1)
    scale = jnp.sqrt(mean / jnp.where(is_known, usual, 1))
    return jnp.where(is_known, decay(rate, usual.dtype) * scale, 0)


def share_of_step(num_locations: Array) -> Array:
    """Returns how much a time step counts: less where few locations tell of it.

    Args:
        num_locations: Number of locations with known targets.
    """
    return jnp.minimum(num_locations / MANY_LOCATIONS, 1)


def mean_share(is_known: Bool[Array, "location memory"], dtype: DTypeLike) -> Float[Array, ""]:
    """Returns how much the steps of a memory count on average, zero without any.

    Args:
        is_known: Whether a target is known.
        dtype: Type of the result.
    """
    num_locations = is_known.sum(0)
    num_steps = jnp.maximum((num_locations > 0).sum(), 1)
    return share_of_step(num_locations.sum() / num_steps).astype(dtype)


def round_step(forecasts: HubForecasts) -> Int[Array, " time"]:
    """Returns the least number of time steps between two rounds so far.

    It is one where every time step has a round. Hubs that forecast days once a week have a round
    every seven steps. Before a second round it is the number of all time steps.

    Args:
        forecasts: Forecasts of the models.
    """
    times = jnp.arange(forecasts.truth.shape[1])
    is_round = forecasts.is_forecast.any(0)
    newest = jax.lax.cummax(jnp.where(is_round, times, -1))
    last = jnp.concatenate([jnp.full(1, -1), newest[:-1]])
    return jax.lax.cummin(jnp.where(is_round & (last >= 0), times - last, times.shape[0]))


def rounds_ahead(forecasts: HubForecasts) -> Float[Array, " time"]:
    """Returns the horizon in rounds, rounded up: how many wait for their targets at each time.

    Args:
        forecasts: Forecasts of the models.
    """
    return jnp.ceil(forecasts.horizon / round_step(forecasts)).astype(forecasts.quantiles.dtype)


def decay(rate: Scalar, dtype: DTypeLike) -> Float[Array, " memory"]:
    """Returns what remains of each step of a memory, newest first.

    Args:
        rate: What remains after one time step.
        dtype: Type of the result.
    """
    return jnp.asarray(rate, dtype) ** jnp.arange(MEMORY, dtype=dtype)


@highest
def relative_scores(
    forecasts: HubForecasts,
    quantiles: Float[Array, "location time model quantile"],
    credible: Bool[Array, "location time model"],
    rates: tuple[float, ...],
    *,
    prior_steps: float,
    location_steps: float,
) -> Float[Array, "location time model rate"]:
    """Computes the log score of each model relative to the others on the same tasks.

    Sums of scores forget exponentially, by the step at which something was scored. The ratio of
    each location is drawn towards that over all locations, and this one towards one, so models
    without a past count as average, and all the more where fewer than ten locations tell of them.

    Args:
        forecasts: Forecasts of the models, and the target data.
        quantiles: Quantiles of each model without outliers.
        credible: Models to score.
        rates: What remains of a score after one time step.
        prior_steps: Time steps of average scores that every model begins with.
        location_steps: Time steps after which a location counts as much by itself as all together.

    Returns:
        Log ratios before each time, from the release that a forecast of it may use.
    """
    tiny = jnp.finfo(quantiles.dtype).tiny ** 0.5

    def before(time: Array) -> Array:
        index, truth = newest_known(forecasts, time)
        there = credible[:, jnp.maximum(index, 0)] & (index >= 0)[:, None]
        scores, average = scores_against(truth, quantiles[:, jnp.maximum(index, 0)], there, forecasts.levels)
        scores = jnp.minimum(scores, WORST * average)
        is_known = average > 0
        share = jnp.maximum(mean_share(is_known.any(-1), scores.dtype), 1 / MANY_LOCATIONS)

        def ratio(rate: Array) -> Array:
            weights = step_weights(average.max(-1).sum(0), rate)
            own, usual = (jnp.einsum("s,lsm->lm", weights, a) for a in (scores, average))
            decayed = decay(rate, own.dtype)
            num_tasks = jnp.einsum("s,lsm->lm", decayed, is_known.astype(own.dtype))
            num_steps = (decayed @ is_known.any(0)).sum()
            step = prior_steps / share * usual.sum() / jnp.maximum(num_steps, tiny)
            overall = (own.sum(0) + step + tiny) / (usual.sum(0) + step + tiny)
            typical = usual.sum(-1, keepdims=True) / jnp.maximum(num_tasks.sum(-1, keepdims=True), tiny)
            prior = location_steps * typical + tiny
            return jnp.log((own + prior * overall) / (usual + prior))

        return jax.vmap(ratio, out_axes=-1)(jnp.asarray(rates, scores.dtype))

    return jnp.moveaxis(jax.lax.map(before, jnp.arange(quantiles.shape[1])), 0, 1)

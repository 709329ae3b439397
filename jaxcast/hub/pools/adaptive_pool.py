"""A pool of quantile forecasts: experts with weights by past scores, aggregated by past loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.checks import check_flag, check_number
from jaxcast.hub.forecasts import HubForecasts, known_truth
from jaxcast.hub.pools.aggregation import aggregate_experts, track_coverage
from jaxcast.hub.pools.quantile_pool import QuantilePool, clip_outliers, equal_shares, median_of_present
from jaxcast.hub.pools.relative_scores import decay, newest_known, relative_scores, rounds_ahead
from jaxcast.hub.pools.weighted_mixtures import weighted_mixtures
from jaxcast.nn.layers import shares_of
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output

RATES = (0.9, 0.95)  # What remains of a score after one known time step.
POWERS = (4.0, 8.0, 16.0)  # Weights are relative scores to minus these powers.
MEAN_STEPS = 2.0  # Known rounds per round ahead after which the experts count as much as the mean.
PULL = 0.15  # Share of the way to the newest target.
ERROR_MEMORIES = ((0.8, 10.0), (0.6, 5.0))  # What remains of an error, and steps without any to begin with.


class Experts(NamedTuple):
    """The experts of an `AdaptivePool`: equal weights, weights by scores, the median, levels.

    Args:
        weights: Weights of the models, equal first, then for each rate and power.
        forecasts: Averages of quantiles with these weights, averages of probabilities with these
            weights, the median, and, if the pool follows the newest data, averages at other levels.
    """

    weights: Float[Array, "weighting location time model"]
    forecasts: Float[Array, "expert location time quantile"]


class AdaptivePool(QuantilePool, FrozenPytree, name="adaptive"):
    """A pool of quantile forecasts, made to be no worse than their equal mean or median.

    Nothing is trained, and nothing needs to be set. At each time, from the release of the target
    data that a forecast of that time may use:

        1. Outliers are clipped; a model whose centre is an outlier counts as absent.
        2. Each model is scored relative to the others on the same tasks. Scores forget at two
           rates, by steps with known targets, so a season off costs no memory. A location's are
           drawn towards those of all locations.
        3. Weights are these scores to the power of -4, -8 and -16, beside equal ones. With each,
           quantiles are averaged, and probabilities (a linear opinion pool).
        4. These experts, and the median of the models, are averaged with weights by their own past
           losses: `aggregate_experts`.
        5. The mean of the models stands in until there are scores: it counts as much as the
           experts after two known rounds per round ahead.
        6. `track_coverage` corrects the width.

    Rounds are replayed one by one, with work that grows with their number. Models may join, leave
    and return. Another unit gives the same pool. Quantiles never cross.

    Args:
        lower: The least value that the target can have, in its unit: 0 for counts, None for any.
        clip: Limit beyond which quantiles are outliers: to the median over the models, plus or
            minus `clip` times the sum of that median's outer width and a fifth of its centre.
        follow_newest: Whether there are also experts that move towards the newest target data, and
            by the newest errors. They gain where target data are hardly revised. Where those given
            are final, such experts use what nobody knew at the time.

    Raises:
        InputError: for a clip that is not positive, or a `lower` that is not a number.

    Source:
        Own design. Weights by scores: Ray et al., Int. J. Forecasting 39, 1366-1383 (2023).

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.normal(10, 2, (3, 30))
        >>> error = rng.normal(0, [0.1, 2.0], (3, 30, 2))
        >>> values = (truth[..., None] + error)[..., None] + np.asarray([-2.0, 0.0, 2.0])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, truth, np.asarray([0.1, 0.5, 0.9]))
        >>> output = jaxcast.hub.pool_forecasts(jaxcast.hub.AdaptivePool(), forecasts)
        >>> output.forecast.shape, bool(output.info["weights"][0, -1, 0] > 0.9)
        ((3, 30, 3), True)
    """

    lower: float | None = static(default=0.0)
    clip: float = static(default=2.0)
    follow_newest: bool = static(default=False)

    def __post_init__(self) -> None:
        check_number("clip", self.clip, above=0)
        if self.lower is not None:
            check_number("lower", self.lower)
        check_flag("follow_newest", self.follow_newest)

    @highest
    def observe(self, forecasts: HubForecasts) -> Experts:
        """Makes the forecasts of all experts.

        Args:
            forecasts: Forecasts of the models, and the target data.

        Returns:
            The experts at each time.
        """
        clipped, credible = clip_outliers(forecasts, self.clip)
        scores = relative_scores(forecasts, clipped, credible, RATES, prior_steps=4.0, location_steps=32.0)
        powers = jnp.asarray(POWERS, clipped.dtype)
        logits = jnp.moveaxis(-(scores[..., None] * powers).reshape(*scores.shape[:-1], -1), -1, 0)
        shares = shares_of(logits, jnp.broadcast_to(credible, logits.shape))
        weights = jnp.concatenate([equal_shares(credible, clipped.dtype)[None], shares])
        averages = jnp.einsum("wltm,ltmq->wltq", weights, clipped)
        mixtures = _mixtures(clipped, credible, weights, forecasts)
        median = median_of_present(forecasts.quantiles, forecasts.present)
        experts = [averages, mixtures, median[None]]
        if self.follow_newest:
            middle = len(POWERS) + 2  # of the slower rate and the middle power
            experts.append(_at_other_levels((averages[middle] + mixtures[middle]) / 2, forecasts))
        return Experts(weights, jnp.concatenate(experts))

    @highest
    def __call__(self, memory: Experts, forecasts: HubForecasts) -> Output:
        aggregate = aggregate_experts(memory.forecasts, forecasts)
        mean = _share_of_mean(forecasts)
        pooled = mean[:, None] * memory.forecasts[0] + (1 - mean)[:, None] * aggregate.forecast
        forecast = track_coverage(pooled, forecasts, lower=self.lower)
        of_experts = (1 - mean)[:, None] * aggregate.weights
        of_experts = of_experts.at[:, 0].add(mean)
        num_weightings = memory.weights.shape[0]
        both = of_experts[:, :num_weightings] + of_experts[:, num_weightings : 2 * num_weightings]
        # The median has no weights of models; those at other levels have those of their middle.
        rest = 1 - both.sum(1)
        weights = jnp.einsum("tw,wltm->ltm", both.at[:, 0].add(rest), memory.weights)
        return Output(forecast, {"weights": weights, "experts": of_experts})


def _mixtures(
    quantiles: Float[Array, "location time model quantile"],
    present: Bool[Array, "location time model"],
    weights: Float[Array, "weighting location time model"],
    forecasts: HubForecasts,
) -> Float[Array, "weighting location time quantile"]:
    """Averages probabilities with each of the weights."""
    by_task = jnp.moveaxis(weights, 0, 2)
    values, there, shares = (a.reshape(-1, *a.shape[2:]) for a in (quantiles, present, by_task))
    pooled = weighted_mixtures(values, there, shares, forecasts.levels)
    return jnp.moveaxis(pooled.reshape(*quantiles.shape[:2], *pooled.shape[1:]), 2, 0)


def _share_of_mean(forecasts: HubForecasts) -> Float[Array, " time"]:
    """Returns the share of the equally weighted mean, by how many times were known before."""

    def num_known(time: Array) -> Array:
        return (jnp.isfinite(known_truth(forecasts, time)) & forecasts.is_forecast).any(0).sum()

    prior = MEAN_STEPS * rounds_ahead(forecasts)
    num_steps = jax.lax.map(num_known, jnp.arange(forecasts.truth.shape[1]))
    return prior / (prior + num_steps.astype(forecasts.quantiles.dtype))


def _at_other_levels(
    forecast: Float[Array, "location time quantile"], forecasts: HubForecasts
) -> Float[Array, "expert location time quantile"]:
    """Moves forecasts towards the newest target data, by past errors, and by both."""
    newest = forecasts.observed[..., 0]
    centre = forecast[..., forecasts.median_index]
    pulled = forecast + PULL * jnp.where(jnp.isfinite(newest), newest - centre, 0)[..., None]

    def moved(base: Array, rate: float, prior_steps: float) -> Array:
        def error(time: Array) -> Array:
            index, truth = newest_known(forecasts, time)
            past = jnp.maximum(index, 0)
            errors = truth - base[:, past, forecasts.median_index]
            is_known = jnp.isfinite(errors) & forecasts.is_forecast[:, past]
            weights = decay(rate, base.dtype) * is_known
            return (weights * jnp.where(is_known, errors, 0)).sum(1) / (weights.sum(1) + prior_steps)

        return base + jax.lax.map(error, jnp.arange(base.shape[1])).T[..., None]

    by_errors = [moved(forecast, *memory) for memory in ERROR_MEMORIES]
    return jnp.stack([pulled, moved(pulled, *ERROR_MEMORIES[0]), *by_errors])

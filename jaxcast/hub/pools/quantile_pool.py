"""The base class of pools of quantile forecasts, and what such pools are made of."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.precision import highest
from jaxcast.registry import Saveable
from jaxcast.rollout import Output
from jaxcast.scores.quantiles import pinball_loss

WORD = 31
"""Models in a number of bits."""


class QuantilePool(Saveable):
    """Base of pools of quantile forecasts: one forecast from those of many models.

    A pool works in two steps, over all locations and times of a hub at once. `observe` computes
    what the pool remembers before each forecast. It uses no parameters, so training runs it once.
    The call turns this memory and the models' forecasts into the pool's own. Neither step looks
    ahead.

    The quantiles of a model that did not forecast are 0: no forecast of zero, none to be pooled.
    `forecasts.present` (location, time, model) tells which these are, and a pool masks them by it.

    A subclass is a `FrozenPytree`. One with a name, and defaults for all its fields, can be named
    on the command line.

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> class Highest(jaxcast.hub.QuantilePool, jaxcast.FrozenPytree):
        ...     def observe(self, forecasts):
        ...         return None
        ...     def __call__(self, memory, forecasts):
        ...         values = jnp.where(forecasts.present[..., None], forecasts.quantiles, -jnp.inf)
        ...         return jaxcast.Output(values.max(2), {})
        >>> values = np.asarray([[[[1.0, 2.0], [0.0, 3.0]]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.ones((1, 1)), np.asarray([0.25, 0.75]))
        >>> jaxcast.hub.pool_forecasts(Highest(), forecasts).forecast.ravel().tolist()
        [1.0, 3.0]
    """

    @abstractmethod
    def observe(self, forecasts: HubForecasts) -> Any:
        """Computes what the pool remembers before each forecast, from what was known then.

        Args:
            forecasts: Forecasts of the models, and the target data.

        Returns:
            Any pytree of arrays with a time axis.
        """

    @abstractmethod
    def __call__(self, memory: Any, forecasts: HubForecasts) -> Output:
        """Pools the forecasts of the models.

        Args:
            memory: Result of `observe`.
            forecasts: Forecasts of the models, and the target data.

        Returns:
            The forecast (location, time, quantile), NaN where no model is present. A pool with
            weights reports them as `info["weights"]` (location, time, model).
        """


class MemorylessPool(QuantilePool):
    """Base of pools that use nothing but the forecasts of the moment."""

    def observe(self, forecasts: HubForecasts) -> None:
        """Returns nothing, as there is nothing to remember.

        Args:
            forecasts: Forecasts of the models, and the target data.
        """
        return None


@checked
def pool_forecasts(pool: QuantilePool, forecasts: HubForecasts) -> Output:
    """Pools the forecasts of a hub.

    Args:
        pool: Any `QuantilePool`, trained or not.
        forecasts: Forecasts of the models, and the target data.

    Returns:
        The forecast (location, time, quantile), NaN where no model forecast, and the pool's `info`.

    Raises:
        InputError: for a pool that returns no `Output`, or a forecast of another shape.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(np.ones((1, 2, 3, 1)), np.ones((1, 2)), np.asarray([0.5]))
        >>> jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), forecasts).forecast.shape
        (1, 2, 1)
    """
    return _pooled(pool, forecasts)


def pool_once(pool: QuantilePool, forecasts: HubForecasts) -> Output:
    """Pools the forecasts of a hub, within whatever JAX compiles.

    Args:
        pool: Any `QuantilePool`.
        forecasts: Forecasts of the models, and the target data.

    Raises:
        InputError: as by `pool_forecasts`.
    """
    output: Any = pool(pool.observe(forecasts), forecasts)
    name = type(pool).__name__
    if not isinstance(output, Output):
        raise InputError(
            f"expected the pool {name} to return a jaxcast.Output, of the forecast and what else it reports, got "
            f"{type(output).__name__}; return jaxcast.Output(forecast, {{}})"
        )
    num_locations, num_times, _, num_levels = forecasts.quantiles.shape
    if jnp.shape(output.forecast) != (num_locations, num_times, num_levels):
        raise InputError(
            f"expected the pool {name} to return a forecast (location, time, quantile), "
            f"{(num_locations, num_times, num_levels)}, got {jnp.shape(output.forecast)}; pool over the models, axis 2"
        )
    return output


_pooled = jax.jit(pool_once)


def equal_shares(present: Bool[Array, "*batch model"], dtype: Any) -> Float[Array, "*batch model"]:
    """Gives every model that is present the same weight.

    Args:
        present: Whether a model forecast.
        dtype: Type of the weights.

    Returns:
        Weights that sum to one; all zero where no model is present.
    """
    return (present / jnp.maximum(present.sum(-1, keepdims=True), 1)).astype(dtype)


def where_forecast(
    forecast: Float[Array, "location time quantile"], forecasts: HubForecasts
) -> Float[Array, "location time quantile"]:
    """Sets pooled forecasts to NaN where no model forecast.

    Args:
        forecast: Forecast of a pool.
        forecasts: Forecasts of the models.

    Returns:
        The masked forecast: where there is nothing to pool, there is nothing to score.
    """
    return jnp.where(forecasts.is_forecast[..., None], forecast, jnp.nan)


@highest
def weighted_mean(
    weights: Float[Array, "location time model"],
    quantiles: Float[Array, "location time model quantile"],
    forecasts: HubForecasts,
) -> Output:
    """Averages quantiles, q = sum_i a_i q_i.

    Args:
        weights: Weight a_i of each model.
        quantiles: Quantiles q_i of each model.
        forecasts: Forecasts of the models; where there are none, the average is NaN.

    Returns:
        The average, with the weights in `info["weights"]`.
    """
    pooled = jnp.einsum("ltm,ltmq->ltq", weights, quantiles)
    return Output(where_forecast(pooled, forecasts), {"weights": weights})


def median_of_present(
    forecasts: Float[Array, "location time model quantile"], present: Bool[Array, "location time model"]
) -> Float[Array, "location time quantile"]:
    """Computes the median of each quantile over the models that are present.

    Args:
        forecasts: Quantiles of each model.
        present: Whether a model forecast.

    Returns:
        The median; zero where no model is present.
    """
    rank, last = rank_of_present(forecasts, present), jnp.maximum(present.sum(2) - 1, 0)[..., None, None]
    low, high = (
        jnp.where(present[..., None] & (rank == index), forecasts, 0).sum(2) for index in (last // 2, last - last // 2)
    )
    return jnp.where(present.any(2)[..., None], (low + high) / 2, 0)


def rank_of_present(
    forecasts: Float[Array, "location time model quantile"], present: Bool[Array, "location time model"]
) -> Int[Array, "location time model quantile"]:
    """Counts the present models with a lower quantile than each; of equal ones, those before it.

    Which models are lower is a number of bits and depends on no mask, so pools of many subsets find
    it once. XLA's sort takes several times as long on a CPU.

    Args:
        forecasts: Quantiles of each model.
        present: Whether a model forecast.

    Returns:
        The rank of each model, from 0; of an absent one, that which it would have.
    """
    num_models = present.shape[2]
    place = jnp.arange(num_models)[:, None]
    rank = jnp.zeros(forecasts.shape, jnp.int32)
    for first in range(0, num_models, WORD):
        lower, mask = jnp.zeros(forecasts.shape, jnp.int32), jnp.zeros(present.shape[:2], jnp.int32)
        for bit, model in enumerate(range(first, min(first + WORD, num_models))):
            other = forecasts[:, :, model, None]
            is_lower = (other < forecasts) | ((other == forecasts) & (model < place))
            lower |= is_lower.astype(jnp.int32) << bit
            mask |= present[:, :, model].astype(jnp.int32) << bit
        rank += jax.lax.population_count(lower & mask[..., None, None])
    return rank


def clip_outliers(
    forecasts: HubForecasts, clip: float
) -> tuple[Float[Array, "location time model quantile"], Bool[Array, "location time model"]]:
    """Clips outlying quantiles, and marks the models whose forecasts are credible.

    Quantiles are clipped to the median over the models, plus or minus `clip` times the sum of that
    median's outer width and a fifth of its centre. Where most models say zero, that would be
    nothing: the limit is at least `clip` times the median width of those that have any, as long as
    this is no more than twice the largest target that was observed before.

    Args:
        forecasts: Forecasts of the models.
        clip: Limit, in the unit described above.

    Returns:
        The clipped quantiles, and whether each model is credible: present, with its own centre
        within the limit. Where no centre is, all present models are credible.
    """
    median = median_of_present(forecasts.quantiles, forecasts.present)
    reach = clip * (median[..., -1] - median[..., 0] + 0.2 * jnp.abs(median[..., forecasts.median_index]))
    widths = (forecasts.quantiles[..., -1] - forecasts.quantiles[..., 0])[..., None]
    typical = median_of_present(widths, forecasts.present & (widths[..., 0] > 0))[..., 0]
    largest = jnp.where(jnp.isfinite(forecasts.observed), jnp.abs(forecasts.observed), 0).max(-1, initial=0)
    reach = jnp.maximum(reach, jnp.minimum(clip * typical, 2 * largest))
    low, high = (median + sign * reach[..., None] for sign in (-1, 1))
    clipped = jnp.clip(forecasts.quantiles, low[:, :, None], high[:, :, None])
    middle = forecasts.quantiles[..., forecasts.median_index]
    off = jnp.abs(middle - median[..., forecasts.median_index, None]) > reach[..., None]
    credible = forecasts.present & ~off
    credible = jnp.where(credible.any(-1, keepdims=True), credible, forecasts.present)
    return jnp.where(forecasts.present[..., None], clipped, 0), credible


def scores_against(
    truth: Float[Array, "location time"],
    quantiles: Float[Array, "location time model quantile"],
    present: Bool[Array, "location time model"],
    levels: Float[Array, " quantile"],
) -> tuple[Float[Array, "location time model"], Float[Array, "location time model"]]:
    """Scores models by their WIS against any target data, such as those of one release.

    Args:
        truth: Target data, NaN where they are not known.
        quantiles: Quantiles of each model.
        present: Whether each model forecast.
        levels: Levels of the quantiles.

    Returns:
        The WIS of every model, and the mean WIS of the models present. Both are zero where a model
        is absent or the target is not known.
    """
    known = present & jnp.isfinite(truth)[..., None]
    truth = jnp.where(jnp.isfinite(truth), truth, 0)[..., None]
    losses = 2 * pinball_loss(quantiles, jnp.broadcast_to(truth, known.shape), levels).mean(-1)
    scores = jnp.where(known, losses, 0)
    average = scores.sum(-1, keepdims=True) / jnp.maximum(known.sum(-1, keepdims=True), 1)
    return scores, jnp.where(known, average, 0)

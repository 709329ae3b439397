"""Pools of quantile forecasts: means, medians, weights by scores, trained weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.checks import Checked, check_floats, check_number, sizes_of
from jaxcast.errors import InputError
from jaxcast.hub.forecasts import HubForecasts, known_truth
from jaxcast.hub.pools.quantile_pool import (
    MemorylessPool,
    QuantilePool,
    clip_outliers,
    equal_shares,
    median_of_present,
    rank_of_present,
    scores_against,
    weighted_mean,
    where_forecast,
)
from jaxcast.nn.layers import shares_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.types import Scalar


class QuantileMean(MemorylessPool, FrozenPytree, name="equal_mean"):
    """The mean of each quantile over the models that are present: Vincent averaging.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.asarray([[[[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [np.nan] * 3]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[2.5]]), np.asarray([0.25, 0.5, 0.75]))
        >>> jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), forecasts).forecast[0, 0].tolist()
        [2.0, 3.0, 4.0]
    """

    def __call__(self, memory: None, forecasts: HubForecasts) -> Output:
        return weighted_mean(equal_shares(forecasts.present, forecasts.quantiles.dtype), forecasts.quantiles, forecasts)


class QuantileMedian(MemorylessPool, FrozenPytree, name="equal_median"):
    """The median of each quantile over the models that are present. It has no weights to report.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.asarray([[[[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [9.0, 9.0, 9.0]]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[2.5]]), np.asarray([0.25, 0.5, 0.75]))
        >>> jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMedian(), forecasts).forecast[0, 0].tolist()
        [3.0, 4.0, 5.0]
    """

    def __call__(self, memory: None, forecasts: HubForecasts) -> Output:
        return Output(where_forecast(median_of_present(forecasts.quantiles, forecasts.present), forecasts), {})


class TrimmedMean(MemorylessPool, FrozenPytree, name="trimmed_mean"):
    """The mean of each quantile over the models that are present, without the extremes.

    Args:
        trim: Share of the models to leave out at each end, from 0 (the mean) to below 0.5 (nearly
            the median); round(trim * models present) are left out.

    Raises:
        InputError: for a share out of range.

    Source:
        Jose and Winkler, Int. J. Forecasting 24, 163-169 (2008).

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.asarray([[[[1.0], [3.0], [5.0], [99.0]]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[2.5]]), np.asarray([0.5]))
        >>> jaxcast.hub.pool_forecasts(jaxcast.hub.TrimmedMean(0.25), forecasts).forecast.ravel().tolist()
        [4.0]
    """

    trim: float = static(default=0.2)

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 0.5:
            raise InputError(f"trim must be from 0 to below 0.5, got {self.trim}")

    def __call__(self, memory: None, forecasts: HubForecasts) -> Output:
        present = forecasts.present[..., None]
        num_present = forecasts.present.sum(2)[..., None, None]
        cut = jnp.round(self.trim * num_present)
        rank = rank_of_present(forecasts.quantiles, forecasts.present)
        kept = present & (rank >= cut) & (rank < num_present - cut)
        total = jnp.where(kept, forecasts.quantiles, 0).sum(2)
        return Output(where_forecast(total / jnp.maximum(kept.sum(2), 1), forecasts), {})


class ScoredModels(NamedTuple):
    """The memory of `InverseScoreWeights` before each forecast.

    Args:
        clipped: Quantiles without outliers.
        credible: Whether a model is present and not an outlier.
        log_scores: Logarithm of each model's relative score; zero without a score.
    """

    clipped: Float[Array, "location time model quantile"]
    credible: Bool[Array, "location time model"]
    log_scores: Float[Array, "location time model"]


class InverseScoreWeights(QuantilePool, FrozenPytree, name="inverse_score"):
    """Weights from models' recent scores, as the US COVID-19 hub used late in the pandemic.

        a_i = (s_i / mean s)^(-power) / sum

    Here s_i is the mean WIS of model i over the last `window` known times, relative to that of all
    models on the same tasks, so that models with gaps can be compared. It is against the release of
    the target data that a forecast may use. Until there is a score all weights are equal. A model
    without a score counts as average.

    Outliers are clipped before they are scored or averaged, and an outlying model counts as absent,
    as in an `AdaptivePool`, and is not scored: one absurd forecast neither decides, nor costs its
    model the weight of later weeks.

    Args:
        power: Power of the inverse: 0 gives the mean, a large one the best model alone.
        window: Time steps to score; 12 weeks by default.
        pooled: Whether to score over all locations together, instead of each location by itself.
        clip: Limit beyond which quantiles are outliers, as in an `AdaptivePool`.

    Raises:
        InputError: for a window below one, or a clip that is not positive.

    Source:
        Ray et al., Int. J. Forecasting 39, 1366-1383 (2023), on weighted ensembles of the US hub.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.tile(np.asarray([[1.0], [2.0]]), (1, 4, 1, 1))
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.full((1, 4), 1.25), np.asarray([0.5]))
        >>> weights = jaxcast.hub.pool_forecasts(jaxcast.hub.InverseScoreWeights(power=1.0), forecasts).info["weights"]
        >>> weights[0, 0].tolist(), weights[0, -1].round(2).tolist()
        ([0.5, 0.5], [0.75, 0.25])
    """

    power: Scalar = 3.0
    window: int = static(default=12)
    pooled: bool = static(default=False)
    clip: float = static(default=2.0)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise InputError(f"window must be at least 1, got {self.window}; give a number of time steps")
        check_number("clip", self.clip, above=0)

    def observe(self, forecasts: HubForecasts) -> ScoredModels:
        """Clips outliers and scores each model over the window before each time.

        Args:
            forecasts: Forecasts of the models, and the target data.

        Returns:
            The memory before each forecast.
        """
        clipped, credible = clip_outliers(forecasts, self.clip)

        def before(time: Array) -> Array:
            index = time - forecasts.horizon - jnp.arange(self.window)
            present = credible[:, index] & (index >= 0)[:, None]
            truth = known_truth(forecasts, time)[:, index]
            return jnp.stack(scores_against(truth, clipped[:, index], present, forecasts.levels)).sum(2)

        own, usual = jnp.moveaxis(jax.lax.map(before, jnp.arange(clipped.shape[1])), 0, 2)
        if self.pooled:
            own, usual = (jnp.broadcast_to(a.sum(0, keepdims=True), a.shape) for a in (own, usual))
        floor = 10 * jnp.finfo(own.dtype).eps * usual + jnp.finfo(own.dtype).tiny
        return ScoredModels(clipped, credible, jnp.log((own + floor) / (usual + floor)))

    def __call__(self, memory: ScoredModels, forecasts: HubForecasts) -> Output:
        shares = shares_of(-jnp.asarray(self.power) * memory.log_scores, memory.credible)
        return weighted_mean(shares.astype(memory.clipped.dtype), memory.clipped, forecasts)


class TrainedQuantileAverage(QuantilePool, Checked, FrozenPytree, name="quantile_average"):
    """A convex combination of the models with trained weights, the same at all places and times.

        q = sum_i a_i q_i,    a = softmax of the logits over the models present

    Its quantiles cannot cross. Outliers are clipped, and an outlying model counts as absent, as in
    an `AdaptivePool`.

    Args:
        logits: Logarithms of the weights, up to a constant; trained.
        clip: Limit beyond which quantiles are outliers, as in an `AdaptivePool`.

    Raises:
        InputError: for a clip that is not positive, or when called with another number of models.

    Source:
        Vincent (1912) for the average of quantiles; the trained weights are own design.

    Example:
        >>> import jaxcast, numpy as np
        >>> truth = np.random.default_rng(0).normal(10, 2, (3, 12))
        >>> values = np.stack([truth, truth + 3], -1)[..., None] + np.asarray([-1.0, 0.0, 1.0])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, truth, np.asarray([0.1, 0.5, 0.9]))
        >>> rolled = jaxcast.hub.rolling_origin(forecasts, pool=jaxcast.hub.TrainedQuantileAverage.untrained(2))
        >>> bool(rolled.info["weights"][0, -1, 0] > 0.8)
        True
    """

    logits: Float[Array, " model"]
    clip: float = static(default=2.0)

    def __post_init__(self) -> None:
        check_number("clip", self.clip, above=0)

    def check(self) -> None:
        """Checks that the settings and arrays are those of such a pool.

        Raises:
            InputError: for others.
        """
        check_floats(self)
        sizes_of(self, {".logits": "model"})

    @classmethod
    def untrained(cls, num_models: int, *, clip: float = 2.0) -> "TrainedQuantileAverage":
        """Makes the pool before training, with equal weights.

        Args:
            num_models: Number of models.
            clip: Limit beyond which quantiles are outliers.

        Returns:
            The pool, which `rolling_origin` trains.
        """
        return cls(jnp.zeros(num_models), clip)

    def observe(self, forecasts: HubForecasts) -> tuple[Array, Array]:
        """Clips outliers; see `clip_outliers`.

        Args:
            forecasts: Forecasts of the models.

        Returns:
            The clipped quantiles, and which models are credible.
        """
        return clip_outliers(forecasts, self.clip)

    def __call__(self, memory: tuple[Array, Array], forecasts: HubForecasts) -> Output:
        clipped, credible = memory
        if self.logits.shape != credible.shape[-1:]:
            raise InputError(f"expected {credible.shape[-1]} models' logits, got {self.logits.shape}")
        logits = jnp.broadcast_to(self.logits.astype(clipped.dtype), credible.shape)
        return weighted_mean(shares_of(logits, credible), clipped, forecasts)

"""Plain pools of quantile forecasts: equal-weight mean and median, trimmed mean, opinion pool, shares by past scores or trained."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_number, sizes_of
from jaxcast.errors import InputError
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.nn.layers import shares_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.registry import Saveable
from jaxcast.rollout import Output
from jaxcast.scores.quantiles import pinball_loss
from jaxcast.types import Scalar


class QuantilePool(Saveable):
    """Base of pools of quantile forecasts, over all locations and times of a hub at once.

    A subclass is a `FrozenPytree`. One that is made without arguments can be named on the command
    line. Neither half may look ahead.

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> class Widest(jaxcast.hub.QuantilePool, jaxcast.FrozenPytree):
        ...     def observe(self, forecasts):
        ...         return None
        ...     def __call__(self, memory, forecasts):
        ...         low, high = jnp.nanmin(forecasts.quantiles, 2), jnp.nanmax(forecasts.quantiles, 2)
        ...         return jaxcast.Output(jnp.where(forecasts.levels < 0.5, low, high), {})
        >>> values = np.asarray([[[[1.0, 2.0], [0.0, 4.0]]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[2.5]]), np.asarray([0.25, 0.5]))
        >>> jaxcast.hub.pool_forecasts(Widest(), forecasts).forecast[0, 0].tolist()
        [0.0, 4.0]
    """

    @abstractmethod
    def observe(self, forecasts: HubForecasts) -> Any:
        """Returns what is remembered before each forecast; it has no parameters, so that training needs it only once.

        Args:
            forecasts: of all models, and the truth.

        Returns:
            A pytree of arrays, or None.
        """

    @abstractmethod
    def __call__(self, memory: Any, forecasts: HubForecasts) -> Output:
        """Pools the forecasts of the models.

        Args:
            memory: what `observe` returned.
            forecasts: of all models.

        Returns:
            The forecast (location, time, quantile), NaN where no model is present. Where there are
            weights, `info["weights"]` has each model's share, (location, time, model).
        """


class MemorylessPool(QuantilePool):
    """Base of quantile pools that remember nothing."""

    def observe(self, forecasts: HubForecasts) -> None:
        """Returns None.

        Args:
            forecasts: not looked at.
        """


class QuantileMean(MemorylessPool, FrozenPytree, name="equal_mean"):
    """The mean of each quantile over the models present: Vincent's average.

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
    """The median of each quantile over the models present. It has no weights to report.

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
    """The mean of each quantile over the models present but for the share `trim` of them at either end.

    Args:
        trim: from 0, the mean, to below 0.5, nearly the median; round(trim * models present) are left out at each end.

    Raises:
        InputError: for a share out of range.

    Source: Jose and Winkler, Int. J. Forecasting 24, 163-169 (2008).

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
        ordered = jnp.sort(jnp.where(present, forecasts.quantiles, jnp.inf), axis=2)
        num_present = forecasts.present.sum(2)[..., None, None]
        cut = jnp.round(self.trim * num_present)
        rank = jnp.arange(forecasts.present.shape[2])[:, None]
        kept = (rank >= cut) & (rank < num_present - cut)
        total = jnp.where(kept, ordered, 0).sum(2)
        return Output(where_forecast(total / jnp.maximum(kept.sum(2), 1), forecasts), {})


class LinearOpinionPool(MemorylessPool, FrozenPytree, name="linear_opinion_pool"):
    """The quantiles of the mixture of the models' distributions: an average of probabilities, not of quantiles.

        F(x) = mean_i F_i(x),    q_tau = inf {x: F(x) >= tau}

    Each F_i is linear between its quantiles; what lies outside of the outermost two is put on these, as their quantiles are
    all that is known. The inverse is found by bisection. It is wider than any average of quantiles.

    Source: Stone (1961); Lichtendahl, Grushka-Cockayne and Winkler, Management Science 59, 1594-1611 (2013).

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.asarray([[[[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[2.5]]), np.asarray([0.25, 0.5, 0.75]))
        >>> pooled = jaxcast.hub.pool_forecasts(jaxcast.hub.LinearOpinionPool(), forecasts).forecast[0, 0]
        >>> np.allclose(pooled, [1.0, 2.0, 11.0], rtol=1e-5)
        True
    """

    def __call__(self, memory: None, forecasts: HubForecasts) -> Output:
        shares = equal_shares(forecasts.present, forecasts.quantiles.dtype)
        low = jnp.where(forecasts.present, forecasts.quantiles[..., 0], jnp.inf).min(2)
        high = jnp.where(forecasts.present, forecasts.quantiles[..., -1], -jnp.inf).max(2)
        low, high = (jnp.where(forecasts.is_forecast, end, 0)[..., None] for end in (low, high))
        shape = (*low.shape[:2], forecasts.levels.shape[0])

        def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            below, above = ends
            middle = (below + above) / 2
            enough = _mixture_cdf(middle, forecasts, shares) >= forecasts.levels * (1 - 1e-12)
            return jnp.where(enough, below, middle), jnp.where(enough, middle, above)

        ends = (jnp.broadcast_to(low, shape), jnp.broadcast_to(high, shape))
        _, found = jax.lax.fori_loop(0, 60, halve, ends)
        return Output(where_forecast(found, forecasts), {"weights": shares})


def _mixture_cdf(x: Array, forecasts: HubForecasts, shares: Array) -> Array:
    """F at (location, time, point)."""

    def of_one(x: Array, quantiles: Array) -> Array:
        inside = jnp.interp(x, quantiles, forecasts.levels)
        return jnp.where(x < quantiles[0], 0, jnp.where(x >= quantiles[-1], 1, inside))

    of_models = jax.vmap(of_one, in_axes=(None, 0))
    of_all = jax.vmap(jax.vmap(of_models))(x, forecasts.quantiles)
    return jnp.einsum("ltm,ltmp->ltp", shares, of_all)


class InverseScoreWeights(QuantilePool, FrozenPytree, name="inverse_score"):
    """Weights from how each model has scored lately, by location or over all: what the US hub did late in the pandemic.

        a_i = (s_i / mean s)^(-power) / sum,    s_i: mean WIS over the last `window` known times, to that of all models there then

    A score relative to that of the others on the same tasks lets models with gaps be compared. Equal weights until there is a
    score; a model without one counts as average.

    Args:
        power: of the inverse; 0 is the mean, large the best model alone. window: in time steps.
        pooled: whether scores are taken over all locations.

    Raises:
        InputError: for a window below one.

    Source: Ray et al., Int. J. Forecasting 39, 1366-1383 (2023), on weighted ensembles of the US hub.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.tile(np.asarray([[1.0], [3.0]]), (1, 4, 1, 1))
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.full((1, 4), 1.5), np.asarray([0.5]))
        >>> weights = jaxcast.hub.pool_forecasts(jaxcast.hub.InverseScoreWeights(power=1.0), forecasts).info["weights"]
        >>> weights[0, 0].tolist(), weights[0, -1].round(2).tolist()
        ([0.5, 0.5], [0.75, 0.25])
    """

    power: Scalar = 3.0
    window: int = static(default=12)
    pooled: bool = static(default=False)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise InputError(f"window must be at least 1, got {self.window}")

    def observe(self, forecasts: HubForecasts) -> Float[Array, "location time model"]:
        """The log of each model's relative score."""
        scores, average = model_scores(forecasts.quantiles, forecasts)
        sums = jnp.stack([scores, average], -1).cumsum(1)
        pad = self.window + forecasts.horizon
        padded = jnp.pad(sums, [(0, 0), (pad, 0), (0, 0), (0, 0)])
        num_times = scores.shape[1]
        newest = padded[:, self.window : self.window + num_times]
        recent = newest - padded[:, :num_times]
        floor = 10 * jnp.finfo(recent.dtype).eps * newest[..., 1] + jnp.finfo(recent.dtype).tiny  # rounding of the sums
        if self.pooled:
            recent, floor = (jnp.broadcast_to(a.sum(0, keepdims=True), a.shape) for a in (recent, floor))
        return jnp.log((recent[..., 0] + floor) / (recent[..., 1] + floor))

    @checked
    def __call__(self, memory: Float[Array, "location time model"], forecasts: HubForecasts) -> Output:
        shares = shares_of(-jnp.asarray(self.power) * memory, forecasts.present)
        return weighted_mean(shares.astype(forecasts.quantiles.dtype), forecasts.quantiles, forecasts)


class TrainedQuantileAverage(QuantilePool, Checked, FrozenPytree, name="quantile_average"):
    """A convex combination of the models with shares that are trained and the same everywhere: it cannot cross.

        q = sum_i a_i q_i,    a = softmax of the logits over the models present

    Source: Vincent (1912) for the average of quantiles; the shares are own design.

    Outliers are clipped, and a model gone mad counts as absent, as in an `AdaptivePool`.

    Raises:
        InputError: for a clip that is not positive, or when called with another number of models.

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
        """Raises InputError unless the settings and arrays are those of such a pool."""
        check_floats(self)
        sizes_of(self, {".logits": "model"})

    @classmethod
    def untrained(cls, num_models: int, *, clip: float = 2.0) -> "TrainedQuantileAverage":
        """The same share for all."""
        return cls(jnp.zeros(num_models), clip)

    def observe(self, forecasts: HubForecasts) -> tuple[Array, Array]:
        return clip_outliers(forecasts, self.clip)

    def __call__(self, memory: tuple[Array, Array], forecasts: HubForecasts) -> Output:
        clipped, credible = memory
        if self.logits.shape != credible.shape[-1:]:
            raise InputError(f"expected {credible.shape[-1]} models' logits, got {self.logits.shape}")
        logits = jnp.broadcast_to(self.logits.astype(clipped.dtype), credible.shape)
        return weighted_mean(shares_of(logits, credible), clipped, forecasts)


@checked
def pool_forecasts(pool: QuantilePool, forecasts: HubForecasts) -> Output:
    """Pools the forecasts of a hub.

    Args:
        pool: any `QuantilePool`, trained or not.
        forecasts: forecasts of the models, and the truth.

    Returns:
        The forecast (location, time, quantile), NaN where no model forecast, and the pool's `info`.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(np.ones((1, 2, 3, 1)), np.ones((1, 2)), np.asarray([0.5]))
        >>> jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), forecasts).forecast.shape
        (1, 2, 1)
    """
    return _pooled(pool, forecasts)


@jax.jit
def _pooled(pool: QuantilePool, forecasts: HubForecasts) -> Output:
    return pool(pool.observe(forecasts), forecasts)


def equal_shares(present: Bool[Array, "*batch model"], dtype: Any) -> Float[Array, "*batch model"]:
    """The same weight for every model present; all zero where none is."""
    return (present / jnp.maximum(present.sum(-1, keepdims=True), 1)).astype(dtype)


def where_forecast(
    forecast: Float[Array, "location time quantile"], forecasts: HubForecasts
) -> Float[Array, "location time quantile"]:
    """NaN where no model forecast: there is nothing to pool, and nothing to score."""
    return jnp.where(forecasts.is_forecast[..., None], forecast, jnp.nan)


def weighted_mean(
    weights: Float[Array, "location time model"],
    quantiles: Float[Array, "location time model quantile"],
    forecasts: HubForecasts,
) -> Output:
    """q = sum_i a_i q_i, NaN where no model forecast."""
    pooled = jnp.einsum("ltm,ltmq->ltq", weights, quantiles)
    return Output(where_forecast(pooled, forecasts), {"weights": weights})


def median_of_present(
    forecasts: Float[Array, "location time model quantile"], present: Bool[Array, "location time model"]
) -> Float[Array, "location time quantile"]:
    """The median over the models present of each quantile; zero where none is."""
    ordered = jnp.sort(jnp.where(present[..., None], forecasts, jnp.inf), axis=2)
    last = jnp.maximum(present.sum(2) - 1, 0)[..., None, None]
    low, high = (jnp.take_along_axis(ordered, index, axis=2)[:, :, 0] for index in (last // 2, last - last // 2))
    return jnp.where(present.any(2)[..., None], (low + high) / 2, 0)


def clip_outliers(
    forecasts: HubForecasts, clip: float
) -> tuple[Float[Array, "location time model quantile"], Bool[Array, "location time model"]]:
    """Forecasts no further from the median over models than `clip` times its outer width and a fifth of its centre, and which
    models had their centre within that already; all present ones where none had."""
    median = median_of_present(forecasts.quantiles, forecasts.present)
    reach = clip * (median[..., -1] - median[..., 0] + 0.2 * jnp.abs(median[..., forecasts.median_index]))
    low, high = (median + sign * reach[..., None] for sign in (-1, 1))
    clipped = jnp.clip(forecasts.quantiles, low[:, :, None], high[:, :, None])
    middle = forecasts.quantiles[..., forecasts.median_index]
    off = jnp.abs(middle - median[..., forecasts.median_index, None]) > reach[..., None]
    credible = forecasts.present & ~off
    credible = jnp.where(credible.any(-1, keepdims=True), credible, forecasts.present)
    return jnp.where(forecasts.present[..., None], clipped, 0), credible


def model_scores(
    quantiles: Float[Array, "location time model quantile"], forecasts: HubForecasts
) -> tuple[Float[Array, "location time model"], Float[Array, "location time model"]]:
    """The WIS of every model, and the mean WIS of the models present; both zero where a model is absent or no truth known."""
    known = forecasts.present & forecasts.is_scorable[..., None]
    truth = jnp.where(forecasts.is_scorable, forecasts.truth, 0)[..., None]
    losses = 2 * pinball_loss(quantiles, jnp.broadcast_to(truth, known.shape), forecasts.levels).mean(-1)
    scores = jnp.where(known, losses, 0)
    average = scores.sum(-1, keepdims=True) / jnp.maximum(known.sum(-1, keepdims=True), 1)
    return scores, jnp.where(known, average, 0)

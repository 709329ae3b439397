"""A trained pool of quantile forecasts: weights from past scores, then recalibration."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.checks import Checked, check_flag, check_floats, check_number, sizes_of
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.hub.quantile_pool import QuantilePool, clip_outliers, model_scores, where_forecast
from jaxcast.nn.layers import shares_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output


class ScoreMemory(NamedTuple):
    """The memory of an `AdaptivePool` before each forecast.

    Args:
        clipped: Quantiles without outliers.
        credible: Whether a model is present and not an outlier.
        log_scores: Log score of each model relative to the others, for every decay rate, by
            location and over all locations (location, time, model, 2 * rate).
        newest: Newest known value of the target, NaN where there is none.
    """

    clipped: Float[Array, "location time model quantile"]
    credible: Bool[Array, "location time model"]
    log_scores: Float[Array, "location time model feature"]
    newest: Float[Array, "location time"]


class AdaptivePool(QuantilePool, Checked, FrozenPytree, name="adaptive"):
    """A convex combination of the models by their past scores, recalibrated by its own past errors.

        a_i = softmax_i [ - sum_r (powers_r . log relative score of i at decay rate r) ]
        p = sum_i a_i q_i,    s = mean_tau |p_tau - p_median|
        m = p_median [+ pull (newest truth - p_median) + (bias . past errors) s]
        q_tau = m +- sum of the increments of p beyond the median, each times
                exp(spread . log past error / past s + width)

    Scores and errors are decayed sums, of each location and of all locations together; locations
    with few of either lean towards all. Widths have a level and a slope towards the tails on each
    side. Everything scales with the data, so another unit gives the same pool. Quantiles never
    cross, as every step keeps their increments at or above zero.

    Outliers: each quantile is first clipped to the median over the models, plus or minus `clip`
    times the sum of that median's outer width and a fifth of its centre. A model whose own centre
    lies outside counts as absent at that time, however well it did before, unless all do. Past
    errors are clipped likewise.

    The terms in brackets are there with `follow_newest` alone. They use the newest values of the
    target data, which many hubs revise later. Where the target data given are final, as in most
    archives, these terms use what nobody knew at the time.

    The arrays are trained, with their initial values as the prior; `AdaptivePool.untrained` makes
    these.

    Args:
        powers: Powers of past scores, by location and over all locations, for each decay rate.
        pull: Share of the distance to the newest target by which the median moves.
        bias: Effect of past signed errors on the median, by location and over all locations.
        spread: Effect of past absolute errors on the widths, by location and over all locations.
        widths: Level and slope towards the tails of the log width, below and above the median.
        rates: What remains of a score after one time step.
        error_rates: What remains of an error after one time step.
        clip: Limit beyond which quantiles are outliers.
        lower: The least value that the target can have, in its unit: 0 for counts, None for any.
        follow_newest: Whether the median may move towards the newest target and by the newest
            errors.

    Raises:
        InputError: for a rate outside 0 to 1, or a clip that is not positive.

    Source:
        Own design; the weights generalise those of Ray et al., Int. J. Forecasting 39, 1366-1383
        (2023).

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> values = np.sort(rng.normal(10, 2, (3, 8, 4, 5)), -1)
        >>> forecasts = jaxcast.hub.HubForecasts.of(
        ...     values, rng.normal(10, 2, (3, 8)), np.asarray([0.1, 0.3, 0.5, 0.7, 0.9])
        ... )
        >>> output = jaxcast.hub.pool_forecasts(jaxcast.hub.AdaptivePool.untrained(), forecasts)
        >>> output.forecast.shape, bool((np.diff(output.forecast) >= 0).all())
        ((3, 8, 5), True)
    """

    powers: Float[Array, "2 rate"]
    pull: Float[Array, ""]
    bias: Float[Array, "2 error_rate"]
    spread: Float[Array, "2 error_rate"]
    widths: Float[Array, "2 2"]
    rates: tuple[float, ...] = static(default=(0.8, 0.95, 0.99))
    error_rates: tuple[float, ...] = static(default=(0.8, 0.95))
    clip: float = static(default=2.0)
    lower: float | None = static(default=0.0)
    follow_newest: bool = static(default=False)

    def __post_init__(self) -> None:
        for name in ("rates", "error_rates"):
            for rate in getattr(self, name):
                check_number(name, rate, least=0, most=1)
        check_number("clip", self.clip, above=0)
        if self.lower is not None:
            check_number("lower", self.lower)
        check_flag("follow_newest", self.follow_newest)

    def check(self) -> None:
        """Checks that the settings and arrays are those of such a pool.

        Raises:
            InputError: for others.
        """
        check_floats(self)
        rate, error_rate = len(self.rates), len(self.error_rates)
        of_errors = f"2 {error_rate}"
        shapes = {".powers": f"2 {rate}", ".pull": "", ".bias": of_errors, ".spread": of_errors, ".widths": "2 2"}
        sizes_of(self, shapes)

    @classmethod
    def untrained(
        cls,
        *,
        rates: tuple[float, ...] = (0.8, 0.95, 0.99),
        error_rates: tuple[float, ...] = (0.8, 0.95),
        clip: float = 2.0,
        lower: float | None = 0.0,
        follow_newest: bool = False,
    ) -> "AdaptivePool":
        """Makes the pool before training: weights by scores to the power of -3, no recalibration.

        Args:
            rates: What remains of a score after one time step.
            error_rates: What remains of an error after one time step.
            clip: Limit beyond which quantiles are outliers.
            lower: The least value that the target can have, in its unit: 0 for counts, None for
                any.
            follow_newest: Whether the median may move towards the newest target and by the newest
                errors. Off by default, as many hubs revise these values later.

        Returns:
            The pool, which `rolling_origin` and `adaptive_origin` train.
        """
        powers = jnp.full((2, len(rates)), 1.5 / len(rates))
        none = jnp.zeros((2, len(error_rates)))
        return cls(powers, jnp.zeros(()), none, none, jnp.zeros((2, 2)), rates, error_rates, clip, lower, follow_newest)

    def observe(self, forecasts: HubForecasts) -> ScoreMemory:
        """Computes clipped quantiles and decayed scores of the models.

        Args:
            forecasts: Forecasts of the models, and the target data.

        Returns:
            The memory before each forecast.
        """
        clipped, credible = clip_outliers(forecasts, self.clip)
        scores, average = model_scores(clipped, forecasts)
        own, usual = (decayed(a, self.rates, forecasts.horizon) for a in (scores, average))
        floor = 0.1 * usual + 0.01 * usual.mean((0, 2), keepdims=True) + jnp.finfo(own.dtype).tiny ** 0.5
        by_location = jnp.log((own + floor) / (usual + floor))
        over_all = jnp.log((own + floor).sum(0) / (usual + floor).sum(0))
        features = jnp.stack([by_location, jnp.broadcast_to(over_all, by_location.shape)], -2)
        return ScoreMemory(clipped, credible, features.reshape(*features.shape[:3], -1), forecasts.observed[..., 0])

    def __call__(self, memory: ScoreMemory, forecasts: HubForecasts) -> Output:
        shares = shares_of(-memory.log_scores @ self.powers.reshape(-1), memory.credible)
        pooled = jnp.einsum("ltm,ltmq->ltq", shares, memory.clipped)
        centre = pooled[..., forecasts.median_index]
        if self.follow_newest:
            newest = jnp.where(jnp.isfinite(memory.newest), memory.newest, centre)
            centre = centre + self.pull * (newest - centre)
        deviation = pooled - pooled[..., forecasts.median_index, None]
        size = jnp.abs(deviation).mean(-1)
        shift, log_spread = self._recalibration(centre, size, deviation[..., -1] - deviation[..., 0], forecasts)
        widths = jnp.exp(log_spread[..., None] + self._log_widths(forecasts.levels))
        centre = centre + shift * size if self.follow_newest else centre
        forecast = rescaled(pooled, centre, widths, forecasts.median_index)
        if self.lower is not None:
            forecast = jnp.maximum(forecast, self.lower)
        return Output(where_forecast(forecast, forecasts), {"weights": shares})

    def _recalibration(self, centre: Array, size: Array, reach: Array, forecasts: HubForecasts) -> tuple[Array, Array]:
        """Returns the shift, in sizes, and the log spread from past errors, each (location, time)."""
        errors = jnp.where(forecasts.is_scorable, jnp.clip(forecasts.truth - centre, -2 * reach, 2 * reach), 0)
        expected = jnp.where(forecasts.is_scorable, size, 0)
        signed, absolute, usual = (
            decayed(a, self.error_rates, forecasts.horizon) for a in (errors, jnp.abs(errors), expected)
        )
        tiny = jnp.finfo(usual.dtype).tiny ** 0.5
        floor = 0.01 * usual.mean(0, keepdims=True) + tiny
        off = signed / (usual + floor), signed.sum(0) / (usual.sum(0) + tiny)
        wide = (
            jnp.log((absolute + 0.2 * usual + floor) / (1.2 * usual + floor)),
            jnp.log((absolute + floor).sum(0) / (usual + floor).sum(0)),
        )
        shift = off[0] @ self.bias[0] + off[1] @ self.bias[1]
        log_spread = wide[0] @ self.spread[0] + wide[1] @ self.spread[1]
        return shift, jnp.clip(log_spread, -1, 1)

    def _log_widths(self, levels: Float[Array, " quantile"]) -> Float[Array, " increment"]:
        """Returns the log width of the increments between levels."""
        tail = jnp.abs(2 * levels - 1) ** 4
        below, above = (side[0] + side[1] * tail for side in self.widths)
        each = jnp.where(levels < 0.5, below, above)
        return (each[1:] + each[:-1]) / 2


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


def decayed(
    series: Float[Array, "location time *rest"], rates: tuple[float, ...], horizon: int
) -> Float[Array, "location time *rest rate"]:
    """Sums what a forecast of each time may know, with weights that decay.

        sum_(s <= t - horizon) rate^(t - horizon - s) series_s    at every time t

    Args:
        series: Values over time.
        rates: What remains of a value after one time step.
        horizon: Time steps after which a value is known.

    Returns:
        A sum for every rate, on a last axis.
    """
    factors = jnp.asarray(rates, series.dtype)

    def step(total: Array, value: Array) -> tuple[Array, Array]:
        total = factors * total + value[..., None]
        return total, total

    by_time = jnp.moveaxis(series, 1, 0)
    start = jnp.zeros((*by_time.shape[1:], len(rates)), series.dtype)
    totals = jax.lax.scan(step, start, by_time)[1]
    late = jnp.concatenate([jnp.broadcast_to(start, (horizon, *start.shape)), totals])[: len(totals)]
    return jnp.moveaxis(late, 0, 1)

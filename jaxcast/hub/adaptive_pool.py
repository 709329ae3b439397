"""A trained pool of quantile forecasts: weights from past scores, then level, bias and spread set right; never crossing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.checks import Checked, check_flag, check_floats, check_number, sizes_of
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.hub.pools import QuantilePool, clip_outliers, model_scores, where_forecast
from jaxcast.nn.layers import shares_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output


class ScoreMemory(NamedTuple):
    """clipped: the forecasts without outliers. credible: which of them count. log_scores: of each model, relative to the others, at every rate of
    forgetting, by location and over all, (location, time, model, 2 * rate). newest: the newest known truth, NaN where none."""

    clipped: Float[Array, "location time model quantile"]
    credible: Bool[Array, "location time model"]
    log_scores: Float[Array, "location time model feature"]
    newest: Float[Array, "location time"]


class AdaptivePool(QuantilePool, Checked, FrozenPytree, name="adaptive"):
    """A convex combination of the models by their past scores, recalibrated by its own past errors.

        a_i = softmax_i [ - sum_r (powers_r . log relative score of i at forgetting rate r) ],    p = sum_i a_i q_i
        m = p_median [+ pull (newest truth - p_median) + (bias . past errors) s],    s = mean_tau |p_tau - p_median|
        q_tau = m +- sum of the increments of p beyond the median, each times exp(spread . log past error / past s + width)

    Scores and errors are decayed sums, of each location and of all together; locations with little of either lean
    towards all. Widths have a level and a slope towards the tails for each side. Everything is of the scale of the
    data, so that other units give the same pool. Quantiles never cross: every step keeps their increments at or above zero.

    Outliers: before anything else each quantile is clipped to the median over the models, give or take `clip` times that
    median's outer width plus a fifth of its centre. A model whose own centre lies outside of that counts as absent at that
    time, unless all do, however well it did before: it has gone mad. Past errors are clipped likewise.

    The terms in brackets are there with `follow_newest` alone. They lean on the newest values of the truth, which many hubs
    revise later: where the truth given is the final one, as in most archives, they use what nobody knew at the time.

    The numbers are trained, with their initial values as the prior; `AdaptivePool.untrained` makes these. Own design; the weights
    generalise those of Ray et al., Int. J. Forecasting 39, 1366-1383 (2023).

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> values = np.sort(rng.normal(10, 2, (3, 8, 4, 5)), -1)
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, rng.normal(10, 2, (3, 8)), np.asarray([0.1, 0.3, 0.5, 0.7, 0.9]))
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
        """Raises InputError unless the settings and arrays are those of such a pool."""
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
        """Makes the pool before training: scores to the power of -3 in all, nothing recalibrated.

        Args:
            rates: what is left of a score after one time step.
            error_rates: what is left of an error after one time step.
            clip: of outliers, see above.
            lower: the least value that the truth can have, in its unit, 0 for counts; None for any.
            follow_newest: whether the median may move towards the newest truth and by the newest errors. Off by default,
                as these values are revised later.

        Returns:
            The pool, which `rolling_origin` and `adaptive_origin` train.
        """
        powers = jnp.full((2, len(rates)), 1.5 / len(rates))
        none = jnp.zeros((2, len(error_rates)))
        return cls(powers, jnp.zeros(()), none, none, jnp.zeros((2, 2)), rates, error_rates, clip, lower, follow_newest)

    def observe(self, forecasts: HubForecasts) -> ScoreMemory:
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
        """By how many sizes to shift, and the log of how much wider to be, (location, time), from the errors before."""
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
        """Of the increments between levels."""
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
    """Quantiles around a new centre, with each increment between two of them times a factor of at least 0: they never cross."""
    increments = jnp.diff(forecast, axis=-1) * factors
    above = jnp.cumsum(increments[..., median_index:], -1)
    below = jnp.cumsum(increments[..., :median_index][..., ::-1], -1)[..., ::-1]
    centre = centre[..., None]
    return jnp.concatenate([centre - below, centre, centre + above], -1)


def decayed(
    series: Float[Array, "location time *rest"], rates: tuple[float, ...], horizon: int
) -> Float[Array, "location time *rest rate"]:
    """sum_(s <= t - horizon) rate^(t - horizon - s) series_s at every time t: what a forecast of t can know."""
    factors = jnp.asarray(rates, series.dtype)

    def step(total: Array, value: Array) -> tuple[Array, Array]:
        total = factors * total + value[..., None]
        return total, total

    by_time = jnp.moveaxis(series, 1, 0)
    start = jnp.zeros((*by_time.shape[1:], len(rates)), series.dtype)
    totals = jax.lax.scan(step, start, by_time)[1]
    late = jnp.concatenate([jnp.broadcast_to(start, (horizon, *start.shape)), totals])[: len(totals)]
    return jnp.moveaxis(late, 0, 1)

"""Predictive distributions around a pooled forecast, from its verified errors."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.normal import Normal
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.carried import carry_leads, mean_of
from jaxcast.ensemble.verified import over_near_leads, sum_verified
from jaxcast.errors import InputError
from jaxcast.precision import highest

RATE = 0.995
SEASON_WIDTH = 0.125
"""Standard deviation, in years, of the weights of other seasons."""
SEASON_STEPS = 2.0
"""Cases that draw the errors of a season to those of all, one step ahead."""
NEAR = 0.8
SPREAD_POWER = 0.5
"""Power of the spread of the models: halfway between no effect and one in proportion."""


@checked
@highest
def error_spread(pooled: Shaped[ArrayLike, "issue lead"], forecasts: EnsembleForecasts) -> Float[Array, "issue lead"]:
    """Computes the standard deviation of the errors to come, by lead and season, from those verified.

        s^2 = g^2 v(l) (sum_c a_c e_c^2 / (g_c^2 v(l_c)) + k) / (sum_c a_c + k),    k = 2 h

    The sum is over all cases c that are verified by the issue, e_c being the error of the pooled
    forecast. Their weights a_c fall with the time since, the distance between the leads, and that
    between the seasons of the targets. v(l) is the mean of e^2 / g^2 at lead l over all seasons, to
    which those of a season are drawn, the more so the more steps h ahead. g is the square root of
    the spread of the models, relative to what it used to be at that lead: a forecast on which the
    models differ is less sure. So the errors that made the spread are those that a forecast really
    had, and the spread follows them.

    Before anything is verified the spread is that of the models.

    Args:
        pooled: Pooled forecasts, NaN where no model forecast.
        forecasts: Forecasts of the models, and what was known at each issue.

    Returns:
        The standard deviation; NaN where there is neither an error nor a spread of models.

    Source:
        Own design. Spread by past errors: Gneiting, Raftery, Westveld and Goldman, Mon. Weather
        Rev. 133, 1098-1118 (2005).

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.normal(0, 3, 400)
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(np.zeros((400, 1, 1)), truth, leads=(0,))
        >>> pooled = jaxcast.ensemble.pool_ensemble(jaxcast.ensemble.EnsembleMean(), forecasts).forecast
        >>> spread = jaxcast.ensemble.error_spread(pooled, forecasts)
        >>> bool(abs(spread[-1, 0] / 3 - 1) < 0.2)
        True
    """
    pooled = jnp.asarray(pooled)
    factor, of_models = _model_spread(forecasts)
    is_case = jnp.isfinite(forecasts.truth) & jnp.isfinite(pooled)
    squares = jnp.where(is_case, ((forecasts.truth - pooled) / factor) ** 2, 0)
    in_season = forecasts.season[..., None] == jnp.arange(forecasts.num_seasons)
    terms = jnp.stack([squares, is_case.astype(squares.dtype)], -1)[..., None] * in_season[:, :, None]
    sums = sum_verified(terms, forecasts, rate=RATE)
    by_lead, cases = sums[:, :, 0].sum(-1), sums[:, :, 1].sum(-1)
    # One case of the models' own spread stands in until there are errors.
    prior = jnp.where(of_models > 0, forecasts.steps_ahead, 0)
    guess = jnp.where(of_models > 0, of_models, 0) ** 2 / factor**2
    tiny = jnp.finfo(squares.dtype).tiny
    variance = (by_lead + prior * guess) / jnp.maximum(cases + prior, tiny)
    shown = variance[..., None] > 0
    relative = jnp.where(shown, sums[:, :, 0] / jnp.where(shown, variance[..., None], 1), 0)
    counted = jnp.where(shown, sums[:, :, 1], 0)
    near = [over_near_leads(jnp.swapaxes(each, 1, 2), NEAR) for each in (relative, counted)]
    kernel = _season_kernel(forecasts.num_seasons, squares.dtype)[forecasts.season]
    errors, weights = (jnp.einsum("tsl,tls->tl", each, kernel) for each in near)
    steps = SEASON_STEPS * forecasts.steps_ahead
    ratio = (errors + steps) / (weights + steps)
    return jnp.where(variance > 0, factor * jnp.sqrt(variance * ratio), jnp.nan)


def _season_kernel(num_seasons: int, dtype: jnp.dtype) -> Float[Array, "season season"]:
    """Returns the weight of each season for each other, by their distance around the year."""
    places = np.arange(num_seasons)
    distance = np.abs(places[:, None] - places) / num_seasons
    distance = np.minimum(distance, 1 - distance)
    return jnp.asarray(np.exp(-0.5 * (distance / SEASON_WIDTH) ** 2), dtype)


def _model_spread(forecasts: EnsembleForecasts) -> tuple[Float[Array, "issue lead"], Float[Array, "issue lead"]]:
    """Returns the factor g of the models' spread, and the spread itself, zero for fewer than two."""
    values, present = carry_leads(forecasts)
    mean = mean_of(values, present, axis=1)
    variance = mean_of((values - mean[:, None]) ** 2, present, axis=1)
    spread = jnp.where(present.sum(1) > 1, jnp.sqrt(variance), 0)
    has_spread = spread > 0
    logs = jnp.where(has_spread, jnp.log(jnp.where(has_spread, spread, 1)), 0)
    usual = jnp.cumsum(logs, 0) / jnp.maximum(jnp.cumsum(has_spread, 0), 1)
    return jnp.where(has_spread, jnp.exp(SPREAD_POWER * (logs - usual)), 1), spread


@checked
def category_probabilities(
    loc: Shaped[ArrayLike, "*batch"], scale: Shaped[ArrayLike, "*batch"], thresholds: tuple[float | int, ...]
) -> Float[Array, "*batch category"]:
    """Computes the probabilities of categories of a normal distribution, between thresholds.

    Args:
        loc: Means.
        scale: Standard deviations.
        thresholds: Bounds between the categories, rising.

    Returns:
        One probability more than there are thresholds, from the lowest category up.

    Raises:
        InputError: for thresholds that do not rise.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> found = jaxcast.ensemble.category_probabilities(jnp.zeros(1), jnp.ones(1), (-0.5, 0.5))
        >>> [round(float(p), 3) for p in found[0]]
        [0.309, 0.383, 0.309]
    """
    if not all(math.isfinite(each) for each in thresholds) or list(thresholds) != sorted(set(thresholds)):
        raise InputError(f"thresholds must be finite and rise, got {thresholds}")
    loc, scale = jnp.asarray(loc), jnp.asarray(scale)
    below = [Normal(loc, scale).cdf(jnp.asarray(each, loc.dtype)) for each in thresholds]
    bounds = jnp.stack([jnp.zeros_like(loc), *below, jnp.ones_like(loc)], -1)
    return jnp.where(jnp.isfinite(loc * scale)[..., None], jnp.diff(bounds, axis=-1), jnp.nan)


@checked
def categories_of(values: Shaped[ArrayLike, "*batch"], thresholds: tuple[float | int, ...]) -> Float[Array, "*batch"]:
    """Returns the category of each value, from 0; a value at a threshold is in the outer category.

    The first threshold belongs to the category below it and the last to the one above, so that
    "at most -0.5" and "at least 0.5" mean what they say; other thresholds belong above.

    Args:
        values: The values, NaN where one is missing.
        thresholds: Bounds between the categories, rising.

    Returns:
        The categories as floats, NaN where a value is missing.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.ensemble.categories_of(jnp.asarray([-0.5, 0.0, 0.5]), (-0.5, 0.5)).tolist()
        [0.0, 1.0, 2.0]
    """
    values = jnp.asarray(values)
    bounds = jnp.asarray(thresholds, values.dtype)
    is_first = (jnp.arange(len(thresholds)) == 0) & (len(thresholds) > 1)
    passed = jnp.where(is_first, values[..., None] > bounds, values[..., None] >= bounds)
    return jnp.where(jnp.isfinite(values), passed.sum(-1).astype(values.dtype), jnp.nan)

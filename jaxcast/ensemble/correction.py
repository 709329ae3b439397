"""Corrects pooled forecasts by their newest verified errors."""

import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.verified import sum_verified

PRIORS = ((5.0, 1), (5.0, 1), (10.0, 3))
"""Of each feature: cases that the penalty weighs one step ahead, and how it grows with the steps."""
SHARE_OF_LEADS = 2 / 3


@checked
def correct_newest_errors(
    pooled: Shaped[ArrayLike, "issue lead"], forecasts: EnsembleForecasts
) -> Float[Array, "issue lead"]:
    """Adds what the newest errors say about the error to come, by a ridge regression at each lead.

        F(t, l) + sum_k b_k(l) z_k(t)

    The features z_k are errors of the pooled forecast, truth minus forecast, that are known at t:

        1. of the newest target that is known, the mean over the leads at which it was forecast;
        2. of the target about the date of the last observation, alike;
        3. of the last observation, less the forecast of t at the shortest lead.

    The means are over the shorter two thirds of the leads. The coefficients are learned at each
    issue from all cases verified by then, which are slowly forgotten. The penalty is that of 5
    cases for each step ahead for 1 and 2, as errors far ahead overlap and say less, and of 10 cases
    times the cube of the steps for 3, as an innovation fades. Without evidence nothing is changed.

    Args:
        pooled: Pooled forecasts, NaN where no model forecast.
        forecasts: The targets, and when they are verified.

    Returns:
        The corrected forecasts.

    Source:
        Own design; ridge regression: Hoerl and Kennard, Technometrics 12, 55-67 (1970).

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> truth = np.repeat([1.0, -1.0, 1.0], 40)
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(np.zeros((120, 1, 1)), truth, leads=(0,))
        >>> corrected = jaxcast.ensemble.correct_newest_errors(jnp.zeros((120, 1)), forecasts)
        >>> bool(corrected[-1, 0] > 0.8), float(corrected[0, 0])
        (True, 0.0)
    """
    pooled = jnp.asarray(pooled)
    features = error_features(pooled, forecasts)
    dtype = pooled.dtype
    is_case = jnp.isfinite(forecasts.truth) & jnp.isfinite(pooled)
    residuals = jnp.where(is_case, forecasts.truth - pooled, 0)
    counted = is_case.astype(dtype)
    products = counted[..., None, None] * (features[:, None, :, None] * features[:, None, None, :])
    moments = sum_verified(products, forecasts)
    right = sum_verified(residuals[..., None] * features[:, None], forecasts)
    # Of all issues so far, as the few that are verified at first may be quiet ones.
    seen = jnp.cumsum(features != 0, 0)
    squares = (jnp.cumsum(features**2, 0) / jnp.maximum(seen, 1))[:, None]
    strength = jnp.stack([prior * forecasts.steps_ahead**power for prior, power in PRIORS], -1)
    # A feature that was never seen has neither moments nor a penalty, and its coefficient is zero.
    system = moments + jnp.where(squares > 0, strength * squares, 1)[..., None] * jnp.eye(len(PRIORS), dtype=dtype)
    coefficients = jnp.linalg.solve(system, right[..., None])[..., 0]
    return pooled + (coefficients * features[:, None]).sum(-1)


def error_features(pooled: Float[Array, "issue lead"], forecasts: EnsembleForecasts) -> Float[Array, "issue feature"]:
    """Computes the newest errors that are known at each issue; zero where there are none.

    Args:
        pooled: Pooled forecasts.
        forecasts: The targets.

    Returns:
        The features of `correct_newest_errors`.
    """
    num_leads = max(1, math.ceil(SHARE_OF_LEADS * pooled.shape[1]))
    places = jnp.arange(num_leads)
    newest, latest = forecasts.newest[:, :num_leads], forecasts.latest[:, :num_leads]
    of_newest = (forecasts.truth - pooled)[newest, places]
    of_latest = forecasts.last[:, None] - pooled[latest, places]
    means = [
        _mean_where(errors, (issue >= 0) & jnp.isfinite(errors))
        for errors, issue in ((of_newest, newest), (of_latest, latest))
    ]
    innovation = forecasts.last - pooled[:, 0]
    return jnp.stack([*means, jnp.where(jnp.isfinite(innovation), innovation, 0)], -1)


def _mean_where(values: Float[Array, "issue lead"], counts: Array) -> Float[Array, " issue"]:
    """Averages over the leads that count; zero where none does."""
    return jnp.where(counts, values, 0).sum(1) / jnp.maximum(counts.sum(1), 1)

"""Errors that do not depend on the unit of a series: MASE and sMAPE."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError


@checked
def mean_absolute_scaled_error(
    forecast: Shaped[ArrayLike, "*batch lead"],
    truth: Shaped[ArrayLike, "*batch lead"],
    history: Shaped[ArrayLike, "*batch time"],
    *,
    season: int = 1,
) -> Float[Array, "*batch"]:
    """Returns each series' mean absolute error in units of its seasonal change (MASE).

        MASE = mean_h |y_h - f_h| / mean_t |x_t - x_(t - season)|

    Args:
        forecast: of each lead.
        truth: observed values; NaN where one is missing. These are left out.
        history: values before the forecast, of all series at once; NaN where one is missing, as at
            the start of series that are shorter. Changes are between known values only.
        season: steps between the values whose change counts, such as 24 for hours; 1 without
            a season.

    Returns:
        The score of each series; NaN where no change or no truth is known. It is infinite for a
        wrong forecast of a history that never changed.

    Raises:
        InputError: for shapes that do not match, or a history of one season or less.

    Source:
        Hyndman and Koehler, Int. J. Forecast. 22, 679-688 (2006).

    Example:
        >>> import jaxcast
        >>> history = [[1.0, 2.0, 4.0, 5.0]]
        >>> score = jaxcast.scores.mean_absolute_scaled_error([[6.0, 6.0]], [[7.0, 8.0]], history)
        >>> round(float(score[0]), 3)
        1.125
    """
    check_whole("season", season)
    forecast, truth, history = (jnp.asarray(a, float) for a in (forecast, truth, history))
    if forecast.shape != truth.shape or history.shape[:-1] != truth.shape[:-1]:
        raise InputError(
            "expected forecasts and truth (*batch, lead) and histories (*batch, time), got "
            f"{forecast.shape}, {truth.shape} and {history.shape}"
        )
    if history.shape[-1] <= season:
        raise InputError(f"expected histories of more than {season} steps, one season, got {history.shape[-1]}")
    change = jnp.abs(history[..., season:] - history[..., :-season])
    return _mean_of_known(jnp.abs(truth - forecast), truth) / _mean_of_known(change, change)


@checked
def symmetric_mape(
    forecast: Shaped[ArrayLike, "*batch lead"], truth: Shaped[ArrayLike, "*batch lead"]
) -> Float[Array, "*batch"]:
    """Returns each series' symmetric mean absolute percentage error (sMAPE).

        sMAPE = 100 mean_h 2 |y_h - f_h| / (|y_h| + |f_h|)

    It lies between 0 and 200. Where truth and forecast are both 0 the error is 0.

    Args:
        forecast: of each lead.
        truth: observed values; NaN where one is missing. These are left out.

    Returns:
        The score of each series, in percent; NaN where no truth is known.

    Raises:
        InputError: for shapes that do not match.

    Source:
        Makridakis, Spiliotis and Assimakopoulos, Int. J. Forecast. 36, 54-74 (2020).

    Example:
        >>> import jaxcast
        >>> float(jaxcast.scores.symmetric_mape([[1.0, 0.0]], [[3.0, 0.0]])[0])
        50.0
    """
    forecast, truth = jnp.asarray(forecast, float), jnp.asarray(truth, float)
    if forecast.shape != truth.shape:
        raise InputError(f"expected forecasts of the shape of the truth, {truth.shape}, got {forecast.shape}")
    size = jnp.abs(truth) + jnp.abs(forecast)
    return _mean_of_known(200 * jnp.abs(truth - forecast) / jnp.where(size == 0, 1, size), truth)


def _mean_of_known(values: Array, known: Array) -> Array:
    """Returns the mean over the last axis where something is known; NaN where nothing is."""
    is_known = jnp.isfinite(known)
    return jnp.where(is_known, values, 0).sum(-1) / is_known.sum(-1)

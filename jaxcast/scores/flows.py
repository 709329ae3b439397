"""Scores of forecasts of flows: counts of trips, people or vehicles, which are never negative."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.tracing import is_traced


class FlowScores(NamedTuple):
    """Scores of forecasts of flows, over all known entries and over those with a flow.

    Entries whose truth is 0 are left out of a masked score. A forecaster that never forecasts 0
    gains by that, so read it beside the plain one. Each score is one number, or one for each lead.

    Args:
        rmse: root mean squared error.
        rmse_positive: the same over entries whose truth is above 0.
        mae: mean absolute error.
        mae_positive: the same over entries whose truth is above 0.
        mape: mean of the absolute error divided by the truth, over entries whose truth is above 0,
            in percent.
        wmape: see `weighted_mape`.
        cpc: see `common_part_of_commuters`.
    """

    rmse: Float[Array, "*lead"]
    rmse_positive: Float[Array, "*lead"]
    mae: Float[Array, "*lead"]
    mae_positive: Float[Array, "*lead"]
    mape: Float[Array, "*lead"]
    wmape: Float[Array, "*lead"]
    cpc: Float[Array, "*lead"]


@checked
def flow_scores(
    forecasts: Shaped[ArrayLike, "..."],
    truth: Shaped[ArrayLike, "..."],
    weights: Shaped[ArrayLike, "..."] | None = None,
    *,
    by_lead: bool = False,
) -> FlowScores:
    """Scores forecasts of flows, plain and masked side by side.

    A truth that is NaN counts as unknown. A forecast that is not finite where the truth is known
    has failed: errors are then infinite, and the common part is 0. A mean over no entries at all is
    NaN: of the masked scores where no known truth is above 0, and of all but the common part where
    nothing is known.

    Args:
        forecasts: such as (sample, lead, node).
        truth: of the same shape; NaN where it is unknown.
        weights: of each entry, 0 for one that does not count; by default 1. Must broadcast to the
            truth.
        by_lead: whether to score each lead, which is the second axis; by default all are pooled.

    Returns:
        The scores, each a number, or (lead,).

    Raises:
        InputError: for shapes that do not fit, a truth below 0 that counts, weights below 0, and
            scores by lead of arrays without a second axis.

    Example:
        >>> import jaxcast, numpy as np
        >>> truth, forecasts = np.asarray([[2.0, 0.0], [4.0, 0.0]]), np.asarray([[1.0, 0.0], [4.0, 3.0]])
        >>> scores = jaxcast.scores.flow_scores(forecasts, truth)
        >>> float(scores.mae), float(scores.mae_positive), float(scores.mape), round(float(scores.wmape), 3)
        (1.0, 0.5, 25.0, 0.667)
        >>> jaxcast.scores.flow_scores(forecasts, truth, by_lead=True).mae.tolist()
        [0.5, 1.5]
    """
    predicted, actual, weight = _entries(forecasts, truth, weights)
    if by_lead and actual.ndim < 2:
        raise InputError(f"scores by lead need arrays (sample, lead, ...), got shape {actual.shape}")
    axes = tuple(axis for axis in range(actual.ndim) if axis != 1 or not by_lead)
    error = jnp.abs(predicted - actual)
    positive = jnp.where(actual > 0, weight, 0)
    relative = error / jnp.where(actual > 0, actual, 1)

    def mean(values: Array, weight: Array) -> Array:
        return _weighted_sum(values, weight, axes) / weight.sum(axes)

    return FlowScores(
        rmse=jnp.sqrt(mean(error**2, weight)),
        rmse_positive=jnp.sqrt(mean(error**2, positive)),
        mae=mean(error, weight),
        mae_positive=mean(error, positive),
        mape=100 * mean(relative, positive),
        wmape=_wmape(predicted, actual, weight, axes),
        cpc=_common_part(predicted, actual, weight, axes),
    )


@checked
def weighted_mape(
    forecasts: Shaped[ArrayLike, "..."],
    truth: Shaped[ArrayLike, "..."],
    weights: Shaped[ArrayLike, "..."] | None = None,
) -> Float[Array, ""]:
    """Returns the sum of absolute errors divided by the sum of the truth (wMAPE).

        wMAPE = sum |forecast - truth| / sum truth

    Of medians it is the risk at level 0.5, twice the pinball loss over the sum of the truth. Where
    the truth sums to 0 it is 0 for a forecast without any error, and infinite for others.

    Args:
        forecasts: of any shape.
        truth: of the same shape; NaN where it is unknown.
        weights: of each entry, 0 for one that does not count; by default 1. Must broadcast to the
            truth.

    Returns:
        The score over all entries.

    Raises:
        InputError: for shapes that do not fit, a truth below 0 that counts, or weights below 0.

    Example:
        >>> import jaxcast
        >>> float(jaxcast.scores.weighted_mape([1.0, 2.0, 0.0], [2.0, 2.0, 0.0]))
        0.25
    """
    return _wmape(*_entries(forecasts, truth, weights), None)


@checked
def common_part_of_commuters(
    forecasts: Shaped[ArrayLike, "..."],
    truth: Shaped[ArrayLike, "..."],
    weights: Shaped[ArrayLike, "..."] | None = None,
) -> Float[Array, ""]:
    """Returns the share of trips that forecast and truth have in common (CPC).

        CPC = 2 sum min(forecast, truth) / (sum forecast + sum truth)

    It is 1 for a perfect forecast and 0 for trips between other places. Forecasts below 0 count as
    0. Where there are no trips at all, neither forecast nor true, it is 1.

    Args:
        forecasts: of any shape.
        truth: of the same shape; NaN where it is unknown.
        weights: of each entry, 0 for one that does not count; by default 1. Must broadcast to the
            truth.

    Returns:
        The score over all entries.

    Raises:
        InputError: for shapes that do not fit, a truth below 0 that counts, or weights below 0.

    Source:
        Lenormand, Bassolas and Ramasco, J. Transport Geography 51, 158-169 (2016), eq. 7.

    Example:
        >>> import jaxcast
        >>> float(jaxcast.scores.common_part_of_commuters([1.0, 3.0], [3.0, 1.0]))
        0.5
    """
    return _common_part(*_entries(forecasts, truth, weights), None)


def _wmape(predicted: Array, actual: Array, weight: Array, axes: Any) -> Array:
    errors = _weighted_sum(jnp.abs(predicted - actual), weight, axes)
    total = (weight * actual).sum(axes)
    # Where nothing is known 0 / 0 stays NaN; a total of 0 is no division.
    known = weight.sum(axes) > 0
    ratio = errors / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, ratio, jnp.where(known, jnp.where(errors > 0, jnp.inf, 0), jnp.nan))


def _common_part(predicted: Array, actual: Array, weight: Array, axes: Any) -> Array:
    predicted = jnp.maximum(predicted, 0)
    common = (weight * jnp.minimum(predicted, actual)).sum(axes)
    trips = _weighted_sum(predicted, weight, axes) + (weight * actual).sum(axes)
    return jnp.where(trips > 0, 2 * common / jnp.where(trips > 0, trips, 1), 1)


def _weighted_sum(values: Array, weight: Array, axes: Any) -> Array:
    """Sums values with a weight; an infinite one without a weight counts as nothing."""
    return jnp.where(weight > 0, weight * values, 0).sum(axes)


def _entries(forecasts: Any, truth: Any, weights: Any) -> tuple[Array, Array, Array]:
    """Returns forecasts, truth and weights of one shape; a failed forecast is infinite."""
    predicted, actual = jnp.asarray(forecasts, float), jnp.asarray(truth, float)
    weight = jnp.asarray(1.0 if weights is None else weights, float)
    if predicted.shape != actual.shape or jnp.broadcast_shapes(weight.shape, actual.shape) != actual.shape:
        raise InputError(
            "expected forecasts and truth of one shape, and weights that broadcast to it, got "
            f"{predicted.shape}, {actual.shape} and {weight.shape}"
        )
    _check_weights(weight)
    weight = jnp.where(jnp.isnan(actual), 0, weight)
    _check_truth(actual, weight)
    counted = weight > 0
    actual = jnp.where(counted, actual, 0)
    return jnp.where(counted, jnp.where(jnp.isfinite(predicted), predicted, jnp.inf), 0), actual, weight


def _check_weights(weight: Any) -> None:
    if not is_traced(weight) and not (np.isfinite(weight) & (np.asarray(weight) >= 0)).all():
        raise InputError("weights must be finite and not negative; give 0 for entries that do not count")


def _check_truth(actual: Any, weight: Any) -> None:
    if is_traced(actual) or is_traced(weight):
        return
    bad = (np.asarray(weight) > 0) & ~((np.asarray(actual) >= 0) & np.isfinite(actual))
    if bad.any():
        raise InputError(
            f"flows must be finite and not negative, got {float(np.asarray(actual)[bad][0]):g} in {bad.sum()} entries "
            "of the truth; give NaN or the weight 0 where one is unknown"
        )

"""Errors and spread of forecasts by lead."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError


class LeadErrors(NamedTuple):
    """Errors over windows at each lead, (lead,).

    rmse: infinite where any window has failed. rmse_of_finite: of the others. median: of the windows' root mean
    squared errors over components, with failures as infinite. num_failed: windows with NaN or infinity.
    """

    rmse: Float[Array, " lead"]
    rmse_of_finite: Float[Array, " lead"]
    median: Float[Array, " lead"]
    num_failed: Int[Array, " lead"]


class SpreadAndError(NamedTuple):
    """Of an ensemble of forecasts at each lead, (lead,): both in the state's unit, spread / error, and how many windows
    were left out because a member has failed."""

    spread: Float[Array, " lead"]
    error: Float[Array, " lead"]
    ratio: Float[Array, " lead"]
    num_failed: Int[Array, " lead"]


@checked
def lead_errors(
    forecasts: Float[Array, "window lead dim"],
    truth: Float[Array, "window lead dim"],
    *,
    scale: Shaped[ArrayLike, "..."] = 1.0,
) -> LeadErrors:
    """How the error over windows grows with lead time.

        rmse(lead) = sqrt( mean over windows and components of ((forecast - truth) / scale)^2 )

    A failed window makes the mean infinite: that of the others alone would reward a method for diverging.

    Args:
        scale: a number, or one for each component, such as its standard deviation.

    Raises:
        InputError: unless both are (window, lead, dim).

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> forecasts = jnp.asarray([[[1.0], [3.0]], [[1.0], [jnp.nan]], [[1.0], [4.0]]])
        >>> errors = jaxcast.scores.lead_errors(forecasts, jnp.zeros((3, 2, 1)))
        >>> errors.rmse.tolist(), errors.median.tolist(), errors.num_failed.tolist()
        ([1.0, inf], [1.0, 4.0], [0, 1])
    """
    squares, failed = _squares(forecasts, truth, scale)
    num_finite = (~failed).sum(0)
    of_finite = jnp.sqrt(jnp.where(failed, 0.0, squares).sum(0) / num_finite)
    median = jnp.sqrt(jnp.median(jnp.where(failed, jnp.inf, squares), axis=0))
    return LeadErrors(jnp.where(failed.any(0), jnp.inf, of_finite), of_finite, median, failed.sum(0))


@checked
def spread_and_error(
    forecasts: Float[Array, "member window lead dim"],
    truth: Float[Array, "window lead dim"],
    *,
    scale: Shaped[ArrayLike, "..."] = 1.0,
) -> SpreadAndError:
    """The spread of an ensemble of forecasts against the error of its mean, over lead time.

        spread^2 = (M + 1) / M * mean of sum_m (F_m - mean F)^2 / (M - 1),    error^2 = mean of (mean F - truth)^2

    with means over windows and components. Where truth and members are draws of one distribution, the ratio is one for
    any number M of members; below one the ensemble is too sure of itself.

    Args:
        forecasts: of the members, such as training seeds or the members of a filter. scale: see `lead_errors`.

    Raises:
        InputError: for fewer than two members, or shapes that do not match.

    Source: Fortin, Abaza, Anctil and Turcotte, J. Hydrometeorology 15, 1708-1713 (2014), eq. 15.

    Example:
        >>> import jax, jaxcast
        >>> members = jax.random.normal(jax.random.key(0), (5, 4000, 1, 3))
        >>> truth = jax.random.normal(jax.random.key(1), (4000, 1, 3))
        >>> round(float(jaxcast.scores.spread_and_error(members, truth).ratio[0]), 1)
        1.0
    """
    if forecasts.ndim != 4 or forecasts.shape[0] < 2:
        raise InputError(f"expected forecasts (member, window, lead, dim) of at least 2 members, got {forecasts.shape}")
    num_members = forecasts.shape[0]
    squares, failed = _squares(forecasts.mean(0), truth, scale)
    variance = ((forecasts / jnp.asarray(scale)).var(0, ddof=1)).mean(-1) * (num_members + 1) / num_members
    num_finite = (~failed).sum(0)
    spread, error = (jnp.sqrt(jnp.where(failed, 0.0, a).sum(0) / num_finite) for a in (variance, squares))
    return SpreadAndError(spread, error, spread / error, failed.sum(0))


def _squares(forecasts: Any, truth: Any, scale: Any) -> tuple[Array, Array]:
    """The squared error of each window at each lead, averaged over components, and whether it is not a number."""
    forecasts, truth, scale = jnp.asarray(forecasts), jnp.asarray(truth), jnp.asarray(scale)
    if forecasts.ndim != 3 or forecasts.shape != truth.shape or scale.shape not in ((), forecasts.shape[-1:]):
        raise InputError(
            "expected forecasts and truth (window, lead, dim) and a scale for all components or each, "
            f"got {forecasts.shape}, {truth.shape} and {scale.shape}"
        )
    squares = (((forecasts - truth) / scale) ** 2).mean(-1)
    return squares, ~jnp.isfinite(squares)

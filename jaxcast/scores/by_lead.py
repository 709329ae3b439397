"""Errors and spread of forecasts by lead."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.scores.crps import crps_samples


class LeadErrors(NamedTuple):
    """Errors over windows at each lead.

    A window has failed at a lead where its error is NaN or infinite.

    Args:
        rmse: root mean squared error; infinite where any window has failed.
        rmse_of_finite: root mean squared error of the windows that have not failed.
        median: median over windows of the root mean square over components; failures count as
            infinite.
        num_failed: number of windows that have failed.
    """

    rmse: Float[Array, " lead"]
    rmse_of_finite: Float[Array, " lead"]
    median: Float[Array, " lead"]
    num_failed: Int[Array, " lead"]


class LeadCrps(NamedTuple):
    """The CRPS of an ensemble of forecasts at each lead.

    Args:
        crps: mean over windows and components; infinite where any window has failed.
        crps_of_finite: mean over the windows that have not failed.
        num_failed: number of windows in which a member's forecast is not finite.
    """

    crps: Float[Array, " lead"]
    crps_of_finite: Float[Array, " lead"]
    num_failed: Int[Array, " lead"]


class SpreadAndError(NamedTuple):
    """Spread and error of an ensemble of forecasts at each lead.

    Args:
        spread: standard deviation of the members, corrected for their number, in the unit of the
            state.
        error: root mean squared error of the ensemble's mean, in the same unit.
        ratio: spread divided by error; one for a spread that matches the error.
        num_failed: number of windows left out because a member's forecast is not finite.
    """

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
    """Measures how the error over windows grows with lead time.

        rmse(lead) = sqrt( mean over windows and components of ((forecast - truth) / scale)^2 )

    A failed window makes the mean infinite: the mean of the others would reward a method for
    diverging.

    Args:
        forecasts: forecasts of all windows.
        truth: true states at the same windows and leads.
        scale: divides the errors; one number or one per component, such as the standard deviations.

    Returns:
        The errors at each lead, and how many windows have failed there.

    Raises:
        InputError: for forecasts and truth that are not both (window, lead, dim), or a scale of
            another size.

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
    """Compares the spread of an ensemble of forecasts with the error of its mean, lead by lead.

        spread^2 = (M + 1) / M * mean of sum_m (F_m - mean F)^2 / (M - 1)
        error^2 = mean of (mean F - truth)^2

    with means over windows and components. If truth and members are draws from one distribution,
    the ratio is one for any number M of members; below one the ensemble is overconfident.

    Args:
        forecasts: forecasts of the members, such as training seeds or the members of a filter.
        truth: true states at the same windows and leads.
        scale: divides spread and error; one number or one per component, such as the standard
            deviations.

    Returns:
        Spread, error and their ratio at each lead, and how many windows have failed there.

    Raises:
        InputError: for fewer than two members, or shapes that do not match.

    Source:
        Fortin, Abaza, Anctil and Turcotte, J. Hydrometeorology 15, 1708-1713 (2014), eq. 15.

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


SMOOTHED_OVER = 1.25
"""A factor of `spread_factors` is of leads up to so many times longer or shorter."""


@checked
def spread_factors(
    forecasts: Float[Array, "window lead dim"],
    spread: Float[Array, "window lead dim"],
    truth: Float[Array, "window lead dim"],
    *,
    scale: Shaped[ArrayLike, "..."] = 1.0,
) -> Float[Array, " lead"]:
    """Finds what a spread has to be multiplied by at each lead, to match the error.

        factor = sqrt( sum of (forecast - truth)^2 / sum of spread^2 )

    with sums over windows, components, and leads from 0.8 to 1.25 times this one, since errors of
    neighbouring leads are alike and those of one lead are few. Take windows that the forecaster has
    not learned from.

    Args:
        forecasts: forecasts of all windows.
        spread: standard deviations that the forecaster reports for them, such as `info["spread"]`.
        truth: true states at the same windows and leads; NaN where they are not known.
        scale: divides errors and spread; one number or one per component, such as the standard
            deviations.

    Returns:
        The factor of each lead; 1 where there is no truth, no finite forecast or no spread.

    Raises:
        InputError: for arrays of different shapes.

    Source:
        Own design: it makes the ratio of `spread_and_error` one.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> errors = jnp.asarray([[[2.0], [6.0]], [[-2.0], [6.0]]])
        >>> jaxcast.scores.spread_factors(errors, jnp.ones((2, 2, 1)), jnp.zeros((2, 2, 1))).tolist()
        [2.0, 6.0]
    """
    scale = jnp.asarray(scale)
    squares, variances = ((forecasts - truth) / scale) ** 2, (spread / scale) ** 2
    is_known = jnp.isfinite(squares) & jnp.isfinite(variances)
    leads = 1 + jnp.arange(truth.shape[1])
    ratios = leads[:, None] / leads
    is_near = (ratios <= SMOOTHED_OVER) & (ratios >= 1 / SMOOTHED_OVER)
    squares, variances = (is_near @ jnp.where(is_known, a, 0).sum((0, 2)) for a in (squares, variances))
    has_both = (squares > 0) & (variances > 0)
    return jnp.where(has_both, jnp.sqrt(squares / jnp.where(has_both, variances, 1)), 1)


@checked
def lead_crps(
    forecasts: Float[Array, "member window lead dim"],
    truth: Float[Array, "window lead dim"],
    *,
    scale: Shaped[ArrayLike, "..."] = 1.0,
    fair: bool = False,
) -> LeadCrps:
    """Measures the CRPS of an ensemble of forecasts, lead by lead.

    The score of each component is that of `crps_samples`. It is the absolute error for a single
    member, so that ensembles and single forecasts can be compared.

    Args:
        forecasts: forecasts of the members.
        truth: true states at the same windows and leads.
        scale: divides forecasts and truth; one number or one per component, such as the standard
            deviations.
        fair: whether to score the distribution from which the members are drawn, whatever their
            number.

    Returns:
        The scores at each lead, and how many windows have failed there.

    Raises:
        InputError: for shapes that do not match, or a fair score of a single member.

    Source:
        Ferro, Q. J. R. Meteorol. Soc. 140, 1917-1923 (2014).

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> members = jnp.asarray([1.0, 3.0])[:, None, None, None] * jnp.ones((2, 5, 2, 1))
        >>> jaxcast.scores.lead_crps(members, jnp.full((5, 2, 1), 2.0)).crps.tolist()
        [0.5, 0.5]
    """
    if forecasts.ndim != 4:
        raise InputError(f"expected forecasts (member, window, lead, dim), got {forecasts.shape}")
    _, failed = _squares(forecasts.sum(0), truth, scale)
    values = crps_samples(forecasts / jnp.asarray(scale), truth / jnp.asarray(scale), fair=fair).mean(-1)
    of_finite = jnp.where(failed, 0.0, values).sum(0) / (~failed).sum(0)
    return LeadCrps(jnp.where(failed.any(0), jnp.inf, of_finite), of_finite, failed.sum(0))


def _squares(forecasts: Any, truth: Any, scale: Any) -> tuple[Array, Array]:
    """Returns the squared error of each window and lead, and whether it is not finite."""
    forecasts, truth, scale = jnp.asarray(forecasts), jnp.asarray(truth), jnp.asarray(scale)
    if forecasts.ndim != 3 or forecasts.shape != truth.shape or scale.shape not in ((), forecasts.shape[-1:]):
        raise InputError(
            "expected forecasts and truth (window, lead, dim) and one scale or one per component, "
            f"got {forecasts.shape}, {truth.shape} and {scale.shape}"
        )
    squares = (((forecasts - truth) / scale) ** 2).mean(-1)
    return squares, ~jnp.isfinite(squares)

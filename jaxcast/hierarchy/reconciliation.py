"""Reconciliation: base forecasts of all series become forecasts that add up."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_names
from jaxcast.errors import InputError, shown
from jaxcast.hierarchy.covariance import checked_residuals, shrunk_covariance
from jaxcast.hierarchy.nonnegative import nonnegative_least_squares
from jaxcast.hierarchy.structure import Hierarchy
from jaxcast.limits import check_arrays
from jaxcast.pytrees import FrozenPytree, static

Method = Literal["bottom_up", "top_down", "ols", "structural", "variance", "mint", "mint_sample"]
METHODS = get_args(Method)
FROM_RESIDUALS = ("variance", "mint", "mint_sample")
"""Methods that weigh forecasts by their errors."""
NEARLY_CERTAIN = 1e-3
"""Standard deviation of a series that was forecast without errors, in units of a usual one of the others."""


class Reconciliation(FrozenPytree):
    """Makes forecasts of all series add up; made by `fit_reconciliation`.

        y~ = S G y

    with y the base forecasts. Coherent forecasts stay what they are, but for "top_down". With
    `nonnegative`, bottom forecasts are those b >= 0 that are nearest to G y in the norm of the
    method, so that no series is negative.

    Args:
        hierarchy: with S.
        projection: G, from base forecasts to bottom forecasts; with an axis of leads in front where
            each lead has its own.
        precision: S' W^-1 S, the norm of nonnegative forecasts, with the same axis in front.
        base: names of the series whose forecasts are given, in their order.
        nonnegative: whether forecasts are at least 0.

    Raises:
        InputError: when called with forecasts of other series, or not finite ones.

    Example:
        >>> import jaxcast
        >>> hierarchy = jaxcast.hierarchy.hierarchy_from_parents({"north": "all", "south": "all"})
        >>> reconciliation = jaxcast.hierarchy.fit_reconciliation(hierarchy, method="ols")
        >>> reconciliation([6.0, 1.0, 2.0]).round(6).tolist()
        [5.0, 2.0, 3.0]
    """

    hierarchy: Hierarchy
    projection: Float[np.ndarray, "*lead bottom base"]
    precision: Float[np.ndarray, "*lead bottom bottom"]
    base: tuple[str, ...] = static()
    nonnegative: bool = static(default=False)

    @checked
    def __call__(self, forecasts: Float[Any, "*batch base"]) -> Float[np.ndarray, "*batch series"]:
        """Reconciles forecasts; each path or member of an ensemble by itself.

        Args:
            forecasts: of the series that `base` names; where each lead has its own projection, the
                leads are on the axis before.

        Returns:
            Forecasts of all series of the hierarchy, which add up.

        Raises:
            InputError: for forecasts of other series or leads, or not finite ones.
        """
        forecasts = np.asarray(forecasts, float)
        wanted = (*self.projection.shape[:-2], len(self.base))
        if forecasts.shape[-len(wanted) :] != wanted:
            raise InputError(f"expected forecasts of shape (..., {str(wanted)[1:-1]}), got {forecasts.shape}")
        if not np.isfinite(forecasts).all():
            name = self.base[np.argwhere(~np.isfinite(forecasts))[0][-1]]
            raise InputError(
                f"forecasts must be finite, got NaN or infinity for {shown(repr(name))}; give its forecast, or leave "
                "the series out"
            )
        bottom = np.einsum("...bs,...s->...b", self.projection, forecasts)
        if self.nonnegative:
            bottom = self._nonnegative(bottom)
        return bottom @ self.hierarchy.summing.T

    def _nonnegative(self, bottom: Any) -> Any:
        """Returns the nearest bottom forecasts that are not negative."""
        size = bottom.shape[-1]
        if self.precision.ndim == 2:
            return nonnegative_least_squares(self.precision, bottom.reshape(-1, size)).reshape(bottom.shape)
        return np.stack(
            [
                nonnegative_least_squares(matrix, bottom[..., k, :].reshape(-1, size)).reshape(bottom[..., k, :].shape)
                for k, matrix in enumerate(self.precision)
            ],
            -2,
        )


@checked
def fit_reconciliation(
    hierarchy: Hierarchy,
    *,
    method: Method = "mint",
    residuals: Float[Any, "sample *lead base"] | None = None,
    history: Float[Any, "time base"] | None = None,
    base: Sequence[str] | None = None,
    nonnegative: bool = False,
) -> Reconciliation:
    """Finds the projection that makes forecasts of a hierarchy add up.

        G = (S' W^-1 S)^-1 S' W^-1

    is the generalised least-squares estimate of bottom forecasts from base forecasts whose errors
    have the covariance W. The methods differ in W:

    - "bottom_up": bottom forecasts stay, the others are their sums.
    - "top_down": the first series is shared out by the bottom series' means over the history.
    - "ols": W = I, which moves all series alike.
    - "structural": W = diag(S 1), as if errors of bottom series were alike and independent.
    - "variance": W = the mean squared residuals.
    - "mint": W = their covariance, shrunk; see `shrunk_covariance`. Of all unbiased forecasts that
      add up, those with the smallest variance.
    - "mint_sample": W = their covariance; it needs more samples than series.

    A series whose residuals are all 0, such as one that is always 0, is taken to have errors of a
    thousandth of a usual series, so that others move instead.

    Args:
        hierarchy: with S.
        method: see above.
        residuals: errors of base forecasts on dates that are known, such as those of training, for
            the last three methods; with an axis of leads, each lead gets a projection of its own.
        history: values of the base series, for "top_down".
        base: names of the series that have forecasts, in their order; by default all of the
            hierarchy. What has none becomes the sum of its members.
        nonnegative: whether forecasts are to be at least 0.

    Returns:
        The projection, to be called with forecasts.

    Raises:
        InputError: for unknown names, missing or not finite residuals, a covariance that cannot be
            inverted, a history whose bottom series sum to nothing, or base series from which bottom
            series cannot be found.

    Source:
        Wickramasuriya, Athanasopoulos and Hyndman, J. Am. Stat. Assoc. 114, 804-819 (2019).

    Example:
        >>> import jaxcast, numpy as np
        >>> hierarchy = jaxcast.hierarchy.hierarchy_from_parents({"north": "all", "south": "all"})
        >>> errors = np.random.default_rng(0).normal(size=(100, 3)) * [0.1, 2.0, 2.0]
        >>> reconciliation = jaxcast.hierarchy.fit_reconciliation(hierarchy, residuals=errors)
        >>> found = reconciliation([6.0, 1.0, 2.0])  # the sum has the smallest errors and hardly moves
        >>> bool(abs(found[0] - 6) < 0.1), hierarchy.is_coherent(found)
        (True, True)
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {shown(repr(method))}")
    names = hierarchy.names if base is None else tuple(check_names("series", base, hierarchy.names))
    check_arrays(f"reconciling {len(names)} series", (len(names), len(names)), (hierarchy.num_bottom, len(names)))
    summing = hierarchy.summing[[hierarchy.names.index(name) for name in names]]
    if method in FROM_RESIDUALS:
        errors = _residuals(residuals, method, names)
        leads = errors.reshape(len(errors), -1, len(names))
        pairs = [_least_squares(summing, _covariance(method, leads[:, k], names), names) for k in range(leads.shape[1])]
        projection, precision = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        if errors.ndim == 2:
            projection, precision = projection[0], precision[0]
    elif method == "bottom_up":
        projection, precision = _bottom_up(hierarchy, names), np.eye(hierarchy.num_bottom)
    elif method == "top_down":
        projection, precision = _top_down(hierarchy, names, history), np.eye(hierarchy.num_bottom)
    else:
        weights = summing.sum(1) if method == "structural" else np.ones(len(names))
        projection, precision = _least_squares(summing, weights, names)
    return Reconciliation(hierarchy, projection, precision, names, nonnegative)


def _residuals(residuals: Any, method: str, names: tuple[str, ...]) -> Any:
    if residuals is None:
        raise InputError(f"{method} needs residuals, errors of forecasts of known dates; give them, or use ols")
    errors = np.asarray(residuals, float)
    if errors.ndim not in (2, 3) or errors.shape[-1] != len(names):
        raise InputError(
            f"expected residuals (sample, series) or (sample, lead, series) of {len(names)} series, got shape "
            f"{errors.shape}"
        )
    return errors


def _covariance(method: str, errors: Any, names: tuple[str, ...]) -> Any:
    """Returns W, or its diagonal."""
    errors = checked_residuals(errors, names)
    has_errors = errors.any(0)
    if not has_errors.any():
        return np.ones(len(names))
    if has_errors.all():
        return _covariance_of_errors(method, errors)
    others = _covariance_of_errors(method, errors[:, has_errors])
    usual = float(np.median((errors[:, has_errors] ** 2).mean(0)))
    weights = np.diag(np.full(len(names), NEARLY_CERTAIN**2 * usual))
    weights[np.ix_(has_errors, has_errors)] = np.diag(others) if others.ndim == 1 else others
    return np.diag(weights) if others.ndim == 1 else weights


def _covariance_of_errors(method: str, errors: Any) -> Any:
    """Returns the covariance of series none of which is without errors, or its diagonal."""
    if method == "mint":
        return shrunk_covariance(errors).covariance
    if method == "variance":
        return (errors**2).mean(0)
    if np.linalg.matrix_rank(errors / np.sqrt((errors**2).mean(0))) < errors.shape[1]:
        raise InputError(
            f"the covariance of {errors.shape[1]} series from {len(errors)} samples is singular; use mint, which "
            "shrinks it, or give more samples"
        )
    return errors.T @ errors / len(errors)


def _least_squares(summing: Any, weights: Any, names: tuple[str, ...]) -> tuple[Any, Any]:
    """Returns G and S' W^-1 S, for W or its diagonal."""
    size = summing.shape[1]
    deviations = np.sqrt(weights if weights.ndim == 1 else np.diag(weights))
    scaled = summing / deviations[:, None]  # whitened by the diagonal first, as units may differ by far
    white = np.eye(len(names))
    if weights.ndim == 2:
        try:
            lower = np.linalg.cholesky(weights / np.outer(deviations, deviations))
        except np.linalg.LinAlgError:
            raise InputError(
                "the covariance of the residuals is singular; use variance, or give more samples"
            ) from None
        white = np.asarray(np.linalg.solve(lower, white))
    orthogonal, upper = np.linalg.qr(white @ scaled)
    if len(names) < size or np.linalg.matrix_rank(summing) < size:
        raise InputError(
            f"{len(names)} forecasts do not determine {size} bottom series; give a forecast of each bottom series"
        )
    projection = np.linalg.solve(upper, orthogonal.T @ white) / deviations
    return projection, upper.T @ upper


def _bottom_up(hierarchy: Hierarchy, names: tuple[str, ...]) -> Any:
    lacking = [name for name in hierarchy.bottom if name not in names]
    if lacking:
        raise InputError(f"bottom_up needs a forecast of {shown(repr(lacking[0]))}; give it, or use ols")
    return np.asarray([[float(name == other) for other in names] for name in hierarchy.bottom])


def _top_down(hierarchy: Hierarchy, names: tuple[str, ...], history: Any) -> Any:
    top = hierarchy.names[0]
    if top not in names or not hierarchy.summing[0].all():
        raise InputError(f"top_down needs one series that is the sum of all, with a forecast; got {shown(repr(top))}")
    if history is None:
        raise InputError("top_down needs a history, values of the series that share the total out; give it")
    lacking = [name for name in hierarchy.bottom if name not in names]
    if lacking:
        raise InputError(
            f"top_down needs the history and a forecast of {shown(repr(lacking[0]))}; give them, or use ols"
        )
    values = np.asarray(history, float)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise InputError(f"expected a history (time, series) of {len(names)} series, got shape {values.shape}")
    bottom = values[:, [names.index(name) for name in hierarchy.bottom]]
    bottom = bottom[np.isfinite(bottom).all(1)]
    total = bottom.sum()
    if not len(bottom) or total == 0:
        raise InputError("the bottom series of the history sum to nothing, so they share nothing out; use ols")
    projection = np.zeros((hierarchy.num_bottom, len(names)))
    projection[:, names.index(top)] = bottom.sum(0) / total
    return projection

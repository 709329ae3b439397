"""Pools of point forecasts: means, medians, weights by past errors, ridge regression."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcast.checks import check_number, check_whole
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.carried import mean_of
from jaxcast.ensemble.pool import EnsemblePool, candidates, equal_weights_of, median_of, weighted
from jaxcast.ensemble.skill import skill_weights
from jaxcast.ensemble.verified import RATE, sum_verified
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output


class EnsembleMean(EnsemblePool, FrozenPytree, name="ensemble_mean"):
    """The mean of the models that are present.

    Args:
        carry: Whether models continue over the leads that they lack, as `carry_leads` does.

    Example:
        >>> import jaxcast
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of([[[1.0], [3.0]]], [2.0], leads=(0,))
        >>> jaxcast.ensemble.EnsembleMean()(forecasts).forecast.tolist()
        [[2.0]]
    """

    carry: bool = static(default=False)

    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        values, present = candidates(forecasts, carry=self.carry)
        weights = equal_weights_of(present, values.dtype)
        return Output(weighted(weights, values), {"weights": weights})


class EnsembleMedian(EnsemblePool, FrozenPytree, name="ensemble_median"):
    """The median of the models that are present. It has no weights to report.

    Args:
        carry: Whether models continue over the leads that they lack, as `carry_leads` does.

    Example:
        >>> import jaxcast
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of([[[1.0], [2.0], [9.0]]], [2.0], leads=(0,))
        >>> jaxcast.ensemble.EnsembleMedian()(forecasts).forecast.tolist()
        [[2.0]]
    """

    carry: bool = static(default=False)

    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        return Output(median_of(*candidates(forecasts, carry=self.carry)), {})


class EnsembleTrimmedMean(EnsemblePool, FrozenPytree, name="ensemble_trimmed_mean"):
    """The mean of the models that are present, without the extremes.

    Args:
        trim: Share of the models to leave out at each end, from 0 to below 0.5; round(trim * models
            present) are left out.
        carry: Whether models continue over the leads that they lack, as `carry_leads` does.

    Raises:
        InputError: for a share out of range.

    Source:
        Jose and Winkler, Int. J. Forecasting 24, 163-169 (2008).

    Example:
        >>> import jaxcast
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of([[[1.0], [2.0], [9.0]]], [2.0], leads=(0,))
        >>> jaxcast.ensemble.EnsembleTrimmedMean(0.3)(forecasts).forecast.tolist()
        [[2.0]]
    """

    trim: float = static(default=0.1)
    carry: bool = static(default=False)

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 0.5:
            raise InputError(f"trim must be from 0 to below 0.5, got {self.trim}")

    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        values, present = candidates(forecasts, carry=self.carry)
        ranks = jnp.argsort(jnp.argsort(jnp.where(present, values, jnp.inf), 1), 1)
        count = present.sum(1, keepdims=True)
        cut = jnp.round(self.trim * count)
        weights = equal_weights_of(present & (ranks >= cut) & (ranks < count - cut), values.dtype)
        return Output(weighted(weights, values), {"weights": weights})


class GroupMean(EnsemblePool, FrozenPytree, name="ensemble_group_mean"):
    """The mean over the groups of models of each group's mean, such as of kinds of models.

    Args:
        carry: Whether models continue over the leads that they lack, as `carry_leads` does.

    Example:
        >>> import jaxcast
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(
        ...     [[[1.0], [2.0], [9.0]]], [2.0], leads=(0,), groups=(0, 0, 1)
        ... )
        >>> jaxcast.ensemble.GroupMean()(forecasts).forecast.tolist()
        [[5.25]]
    """

    carry: bool = static(default=False)

    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        values, present = candidates(forecasts, carry=self.carry)
        weights = jnp.zeros_like(values)
        for group in range(forecasts.num_groups):
            weights += equal_weights_of(present & (forecasts.groups == group)[:, None], values.dtype)
        weights /= jnp.maximum(weights.sum(1, keepdims=True), 1)
        return Output(weighted(weights, values), {"weights": weights})


class SkillWeights(EnsemblePool, FrozenPytree, name="ensemble_skill"):
    """Weights by the past squared errors of each model, relative to those of the others.

        a_i = r_i^(-power / 2) / sum,    r_i = (S_i + k u) / (U_i + k u),    k = prior_steps h

    S_i is the decayed sum of the verified squared errors of model i, shared with neighbouring
    leads, and U_i that of the mean squared error of all models in the same cases, so that models
    with gaps can be compared. u is the mean squared error of a case, and h the steps ahead: errors
    far ahead overlap, and say less.

    Args:
        power: Power of the inverse error: 0 gives the mean, a large one the best model alone.
        prior_steps: Cases of average errors that every model begins with, one step ahead.
        rate: What remains of an error one step after it was verified.
        carry: Whether models continue over the leads that they lack, as `carry_leads` does.

    Raises:
        InputError: for a rate out of range, or a prior or a power that is negative.

    Source:
        Bates and Granger, Operational Research Quarterly 20, 451-468 (1969), shrunk.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.tile([[1.0], [2.0]], (40, 1, 1))
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(values, np.full(40, 1.1), leads=(0,))
        >>> weights = jaxcast.ensemble.SkillWeights(prior_steps=1)(forecasts).info["weights"]
        >>> weights[0, :, 0].tolist(), bool(weights[-1, 0, 0] > 0.99)
        ([0.5, 0.5], True)
    """

    power: float | int = static(default=8.0)
    prior_steps: float | int = static(default=24.0)
    rate: float | int = static(default=RATE)
    carry: bool = static(default=True)

    def __post_init__(self) -> None:
        check_number("power", self.power, least=0)
        check_number("prior_steps", self.prior_steps, least=0)
        check_number("rate", self.rate, above=0, most=1)

    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        pooled = candidates(forecasts, carry=self.carry)
        weights = skill_weights(pooled, forecasts, (self.power,), prior_steps=self.prior_steps, rate=self.rate)[0]
        return Output(weighted(weights, pooled.values), {"weights": weights})


class RidgeToMean(EnsemblePool, FrozenPytree, name="ensemble_ridge"):
    """A linear regression on some models, drawn to the mean of all by a penalty, from a rolling origin.

        y = m + sum_i w_i (F_i - m),    w minimises sum of (y - u)^2 + k s sum_i w_i^2

    m is the mean of all models that are present, and the sum is over the verified cases of a lead.
    s is the mean square of a deviation F_i - m, so that another unit gives the same weights. The
    regression is on the `num_models` with the most forecasts at that lead up to the issue; one of
    them that is absent has no deviation.

    Args:
        num_models: Models to regress on.
        prior_steps: k, cases that the penalty weighs; 0 for plain least squares.
        rate: What remains of a case one step after it was verified.

    Raises:
        InputError: for a prior that is negative, a rate out of range, or no models.

    Source:
        Diebold and Pauly, Int. J. Forecasting 6, 503-508 (1990), on shrinkage to equal weights.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).normal(size=(60, 2, 1))
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(values, values[:, 1, 0], leads=(0,))
        >>> weights = jaxcast.ensemble.RidgeToMean(2, prior_steps=0.1)(forecasts).info["weights"]
        >>> weights[0, :, 0].tolist(), bool(weights[-1, 1, 0] > 0.99)
        ([0.5, 0.5], True)
    """

    num_models: int = static(default=9)
    prior_steps: float | int = static(default=24.0)
    rate: float | int = static(default=1.0)

    def __post_init__(self) -> None:
        check_whole("num_models", self.num_models)
        check_number("prior_steps", self.prior_steps, least=0)
        check_number("rate", self.rate, above=0, most=1)

    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        values = jnp.moveaxis(forecasts.values, 1, 2)
        present = jnp.moveaxis(forecasts.present, 1, 2)
        mean = mean_of(values, present, axis=2)
        deviations = jnp.where(present, values - mean[..., None], 0)
        is_case = jnp.isfinite(forecasts.truth) & forecasts.is_forecast
        inputs = jnp.where(is_case[..., None], deviations, 0)
        residuals = jnp.where(is_case, forecasts.truth - mean, 0)
        products = inputs[..., :, None] * inputs[..., None, :]
        moments = sum_verified(products, forecasts, rate=self.rate)
        right = sum_verified(inputs * residuals[..., None], forecasts, rate=self.rate)
        cases = sum_verified(is_case.astype(values.dtype), forecasts, rate=self.rate)
        # The models change from issue to issue, so the moments are of all; ties go to the first.
        size = min(self.num_models, values.shape[2])
        chosen = jnp.argsort(-jnp.cumsum(present, 0), axis=2, stable=True)[..., :size]
        slopes = self._solve(moments, right, cases, chosen)
        equal = present / jnp.maximum(present.sum(2, keepdims=True), 1)
        there = jnp.where(present, slopes, 0)
        weights = jnp.moveaxis(there + (1 - there.sum(2, keepdims=True)) * equal, 2, 1)
        return Output(mean + (slopes * deviations).sum(2), {"weights": weights})

    def _solve(
        self,
        moments: Float[Array, "issue lead model model"],
        right: Float[Array, "issue lead model"],
        cases: Float[Array, "issue lead"],
        chosen: Int[Array, "issue lead chosen"],
    ) -> Float[Array, "issue lead model"]:
        """Solves for the coefficients of the chosen models; those of the others are zero."""
        inner = jnp.take_along_axis(moments, chosen[..., None], 2)
        inner = jnp.take_along_axis(inner, chosen[..., None, :], 3)
        size, num_models = chosen.shape[2], right.shape[2]
        square = jnp.trace(inner, axis1=2, axis2=3) / (size * jnp.maximum(cases, 1))
        # A trace of a penalty keeps plain least squares solvable where there are too few cases.
        penalty = (self.prior_steps + 1e-6) * jnp.where(square > 0, square, 1)
        system = inner + penalty[..., None, None] * jnp.eye(size, dtype=inner.dtype)
        found = jnp.linalg.solve(system, jnp.take_along_axis(right, chosen, 2)[..., None])[..., 0]
        return (found[..., None] * jnp.eye(num_models, dtype=found.dtype)[chosen]).sum(2)

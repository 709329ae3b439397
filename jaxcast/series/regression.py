"""Regressions on lags of several series, trained in closed form: linear, kernel, polynomial, reservoir."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_flag, check_floats, check_model, check_penalty, check_whole, is_zero, sizes_of
from jaxcast.errors import InputError
from jaxcast.numerics.ridge import ridge
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.expansions import (
    Expansion,
    PolynomialFeatures,
    expansion_size,
)
from jaxcast.series.features import target_features_of
from jaxcast.series.lags import LagInputs, Window
from jaxcast.series.samples import SeriesWindows, check_samples, learned_from
from jaxcast.types import Scalar


class LagRegression(Checked, FrozenPytree, name="lag_regression"):
    """A regression from lags to all leads at once, made by `fit_lag_regression`.

        y_(r,h) = [newest_r] + scale_r ( W_h' phi(x_r) + b_h )

    Without `predict_change` there is no newest, but of centred inputs the mean of each series. One W for all regions
    ("global"), or one for each; where several features are forecast, one for each of them, from the features of all.
    Counts are not negative: `nonnegative` cuts forecasts at zero.

    Args:
        inputs: what is seen of histories.
        expansion: phi.
        weights: W, (lead, feature), with an axis of regions in front where each has its own, and one of targets after the
            leads where there are several features.
        bias: b, alike without the last axis.
        predict_change: whether forecasts start from the newest value.
        nonnegative: whether they are cut at zero.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1, 5))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
        >>> model = jaxcast.series.fit_lag_regression(samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-6)
        >>> off = samples.weights * (model(samples.history).forecast - samples.targets)
        >>> bool(abs(off).max() < 1e-3)
        True
    """

    inputs: LagInputs
    expansion: Any
    weights: Float[Array, "..."]
    bias: Float[Array, "..."]
    predict_change: bool = static()
    nonnegative: bool = static()

    @property
    def num_leads(self) -> int:
        """How many leads it forecasts."""
        return self.bias.shape[-2 if self.target_features else -1]

    @property
    def target_features(self) -> tuple[int, ...]:
        """Which features it forecasts; () where histories have no feature axis."""
        return self.inputs.target_features

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a regression."""
        for part in (self.inputs, self.expansion):
            check_model(part)
        for name in ("predict_change", "nonnegative"):
            check_flag(name, getattr(self, name))
        num_regions, num_features = len(self.inputs.mean), self.inputs.num_features
        most = self.weights.shape[-1]
        if isinstance(self.expansion, PolynomialFeatures):
            check_whole("degree", self.expansion.degree, most=most)
            check_whole(
                "the number of terms", math.comb(num_features + self.expansion.degree, num_features) - 1, most=most
            )
        size = expansion_size(self.expansion, num_features)
        targets = f"{len(self.target_features)} " * bool(self.target_features)
        own = f"{num_regions} " * (self.weights.ndim - bool(targets) == 3)
        weights = {".weights": self.weights, ".bias": self.bias}
        check_floats(weights)
        sizes_of(weights, {"['.weights']": f"{own}lead {targets}{size}", "['.bias']": f"{own}lead {targets}"})

    @checked
    def __call__(self, history: Float[Array, "..."], covariates: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where the samples had one.
            covariates: as in the samples that it learned from.

        Returns:
            Forecasts (*batch, lead, region), with a last axis of targets where there is one of features.

        Raises:
            InputError: for another shape.
        """
        window = self.inputs(history, covariates)
        expanded = self.expansion(window.features)
        if self.target_features:
            several = [self._steps(expanded, k) for k in range(len(self.target_features))]
            steps = jnp.stack(several, -1)
            forecast = steps * window.scale[..., None, :, :]
            newest = window.newest[..., None, :, :]
        else:
            forecast = self._steps(expanded) * window.scale[..., None, :]
            newest = window.newest[..., None, :]
        forecast = forecast + (newest if self.predict_change else window.level)
        return Output(jnp.maximum(forecast, 0) if self.nonnegative else forecast, {})

    def _steps(self, expanded: Array, target: int | None = None) -> Float[Array, "*batch lead region"]:
        """Forecasts in units of the scale."""
        weights = self.weights if target is None else self.weights[..., target, :]
        bias = self.bias if target is None else self.bias[..., target]
        subscripts = "...rf,hf->...hr" if weights.ndim == 2 else "...rf,rhf->...hr"
        return jnp.einsum(subscripts, expanded, weights) + bias.T.reshape(len(bias.T), -1)


@checked
def fit_lag_regression(
    samples: SeriesWindows,
    *,
    inputs: LagInputs,
    expansion: Expansion,
    penalty: Scalar,
    error_weighting: Scalar = 1.0,
    each_region: bool = False,
    predict_change: bool = False,
    nonnegative: bool = False,
) -> LagRegression:
    """Fits a regression on lags in closed form, for all leads.

        W_h, b_h = argmin sum w_(n,h,r) scale_(n,r)^(2 p) | target_(n,h,r) - W_h' phi(x_(n,r)) - b_h |^2 + penalty e_h |W_h|^2

    targets in units of the scale, e_h the mean eigenvalue of what is inverted, p the error_weighting: 1 for an error in the
    series' own units, 0 for one in which all regions count alike. The normal equations are solved by their eigenvalues,
    so in float32 penalties below 1e-5 are lost in rounding; those of a float64 run are exact. Other numbers compile nothing,
    and under `jax.vmap` over penalties the eigenvalues are found once. A penalty of 0 is plain least squares, of least norm where
    there are many solutions.

    Args:
        samples: to learn from.
        inputs: what is seen of them.
        expansion: phi, such as `LinearFeatures()`, `PolynomialFeatures(2)` or `random_fourier_features(...)`.
        penalty: strength of the regularisation, in units of the mean eigenvalue.
        error_weighting: p.
        each_region: whether each region has its own W and b.
        predict_change: whether to forecast the change from the newest value.
        nonnegative: see `LagRegression`.

    Returns:
        The regression.

    Raises:
        InputError: for a penalty below zero, or targets or covariates that are not finite, or inputs made from samples of other features.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1, 5))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
        >>> expansion = jaxcast.series.random_fourier_features(4, 50, bandwidth=0.5, key=jax.random.key(0))
        >>> jaxcast.series.fit_lag_regression(samples, inputs=inputs, expansion=expansion, penalty=1e-4).weights.shape
        (2, 54)
    """
    check_penalty(penalty)
    check_samples(samples)
    if inputs.target_features != target_features_of(samples):
        raise InputError(
            f"expected samples whose target features are {inputs.target_features}, as of the inputs, got "
            f"{target_features_of(samples)} with histories {samples.history.shape}; make the inputs from these samples"
        )
    solve = _each if each_region else _together
    chosen = None if is_zero(penalty) else penalty
    weights, bias = solve(learned_from(samples), inputs, expansion, chosen, error_weighting, predict_change)
    return LagRegression(inputs, expansion, weights, bias, predict_change, nonnegative)


def _together(
    samples: SeriesWindows,
    inputs: LagInputs,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Array, Array]:
    return _solve_all(samples, inputs(samples.history, samples.covariates), expansion, penalty, power, predict_change)


def _each(
    samples: SeriesWindows,
    inputs: LagInputs,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Array, Array]:
    """One region after the other, so that memory holds the features of one only."""

    def one(own: Any) -> tuple[Array, Array]:
        number, neighbour_weights, std, targets, weights = own
        window = inputs.of_regions(
            samples.history, samples.covariates, neighbour_weights[None], std[None], number[None]
        )
        alone = samples._replace(targets=targets[:, :, None], weights=weights[:, :, None])
        return _solve_all(alone, window, expansion, penalty, power, predict_change)

    regions_first = [jnp.moveaxis(a, 2, 0) for a in (samples.targets, samples.weights)]
    return jax.lax.map(one, (jnp.arange(len(inputs.std)), inputs.neighbour_weights, inputs.std, *regions_first))


def _solve_all(
    samples: SeriesWindows,
    window: Window,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Float[Array, "lead *target feature"], Float[Array, " lead *target"]]:
    """The weights of every target, each by itself."""
    if samples.features is None:
        return _solve(samples, window, expansion, penalty, power, predict_change)
    found = []
    for k in range(samples.targets.shape[-1]):
        own = samples._replace(targets=samples.targets[..., k], weights=samples.weights[..., k])
        level = window.level[..., k] if jnp.ndim(window.level) else window.level
        seen = Window(window.features, window.newest[..., k], window.scale[..., k], level)
        found.append(_solve(own, seen, expansion, penalty, power, predict_change))
    return jnp.stack([weights for weights, _ in found], 1), jnp.stack([bias for _, bias in found], 1)


@partial(jax.jit, static_argnames="predict_change")
def _solve(
    samples: SeriesWindows,
    window: Window,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Float[Array, "lead feature"], Float[Array, " lead"]]:
    features = expansion(window.features).reshape(-1, expansion_size(expansion, window.features.shape[-1]))
    scale = window.scale.ravel()

    def of_lead(targets: Array, weights: Array) -> tuple[Array, Array]:
        wanted = (targets - (window.newest if predict_change else window.level)).ravel() / scale
        weights = weights.ravel() * scale ** (2 * power)
        weights = weights / weights.sum()
        mean, middle = weights @ features, weights @ wanted
        centred = (features - mean) * jnp.sqrt(weights)[:, None]
        if penalty is None:
            solved = ridge(centred, ((wanted - middle) * jnp.sqrt(weights))[:, None], 0.0)[:, 0]
            return solved, middle - mean @ solved
        values, vectors = jnp.linalg.eigh(jnp.matmul(centred.T, centred, precision="highest"))
        values = jnp.maximum(values, 0)
        moments = centred.T @ ((wanted - middle) * jnp.sqrt(weights))
        # Without a penalty, directions that are rounding alone are left out: the least weights of the many that do as well.
        kept = (jnp.asarray(penalty) > 0) | (values > jnp.finfo(values.dtype).eps * max(centred.shape) * values.max())
        divisors = jnp.where(kept, values + penalty * values.mean(), 1)
        solved = vectors @ jnp.where(kept, (vectors.T @ moments) / divisors, 0)
        return solved, middle - mean @ solved

    leads_first = (jnp.moveaxis(a, -2, 0) for a in (samples.targets, samples.weights))
    return jax.lax.map(lambda lead: of_lead(*lead), tuple(leads_first))

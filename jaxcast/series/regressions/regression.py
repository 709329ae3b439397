"""Regressions on lags of several series in closed form: linear, kernel, polynomial, reservoir."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import (
    Checked,
    check_flag,
    check_floats,
    check_model,
    check_penalty,
    check_sizes,
    check_whole,
    is_zero,
    sizes_of,
)
from jaxcast.errors import InputError
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.features import target_features_of
from jaxcast.series.regressions.expansions import Expansion, PolynomialFeatures, expansion_size
from jaxcast.series.regressions.inputs import RegressionInputs
from jaxcast.series.regressions.lags import LagInputs
from jaxcast.series.regressions.normal_equations import solve_each_region, solve_together
from jaxcast.series.regressions.streaming import solve_streaming
from jaxcast.series.samples import SeriesWindows, check_samples, learned_from
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.types import Scalar


class LagRegression(WindowForecaster, Checked, FrozenPytree, name="lag_regression"):
    """A regression from lags to all leads at once, made by `fit_lag_regression`.

        y_(r,h) = [newest_r] + scale_r ( W_h' phi(x_r) + b_h )

    Without `predict_change` there is no newest value, but of centred inputs the mean of each
    series. There is one W for all regions, or one for each. Where several features are forecast,
    there is one for each of them, which sees the features of all.

    Args:
        inputs: that turn histories into features x.
        expansion: phi.
        weights: W, (lead, feature), with an axis of regions in front where each has its own, and
            one of targets after the leads where there are several features.
        bias: b, as the weights without their last axis.
        predict_change: whether forecasts start from the newest value.
        nonnegative: whether forecasts are cut at zero, as for counts.

    Raises:
        InputError: when called, for histories of another shape; when saved or loaded, for arrays
            that do not fit each other.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1, 5))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
        >>> model = jaxcast.series.fit_lag_regression(
        ...     samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-6
        ... )
        >>> off = samples.weights * (model(samples.history).forecast - samples.targets)
        >>> bool(abs(off).max() < 1e-3)
        True
    """

    inputs: Any
    expansion: Any
    weights: Float[Array, "..."]
    bias: Float[Array, "..."]
    predict_change: bool = static()
    nonnegative: bool = static()

    @property
    def num_leads(self) -> int:
        """The number of leads."""
        return self.bias.shape[-2 if self.target_features else -1]

    @property
    def target_features(self) -> tuple[int, ...]:
        """The features that are forecast; () where histories have no feature axis."""
        return self.inputs.target_features

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        own = WindowSignature(self.num_leads, target_features=self.target_features)
        if not isinstance(self.inputs, LagInputs):
            return own
        mean, num_covariates = self.inputs.mean, self.inputs.num_covariates
        return own._replace(mean=mean, num_covariates=num_covariates, least_history=self.inputs.least_history)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a regression."""
        for part in (self.inputs, self.expansion):
            check_model(part)
        for name in ("predict_change", "nonnegative"):
            check_flag(name, getattr(self, name))
        check_floats({".weights": self.weights, ".bias": self.bias})
        if isinstance(self.inputs, LagInputs):
            self._check_sizes(len(self.inputs.mean), self.inputs.num_features)

    def _check_sizes(self, num_regions: int, num_features: int) -> None:
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
        sizes_of(weights, {"['.weights']": f"{own}lead {targets}{size}", "['.bias']": f"{own}lead {targets}"})

    @checked
    def __call__(self, history: Float[Array, "..."], covariates: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where
                the samples had one.
            covariates: as in the samples.

        Returns:
            Forecasts (*batch, lead, region), with a last axis of targets where there is one of
            features.

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

    @highest
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
    inputs: RegressionInputs,
    expansion: Expansion,
    penalty: Scalar,
    error_weighting: Scalar = 1.0,
    each_region: bool = False,
    predict_change: bool = False,
    nonnegative: bool = False,
    chunk_size: int | None = None,
) -> LagRegression:
    """Fits a regression on lags in closed form, for all leads.

        W_h, b_h = argmin sum w_(n,h,r) scale_(n,r)^(2 p) | target_(n,h,r) - W_h' phi(x_(n,r)) - b_h
        |^2 + penalty e_h |W_h|^2

    with targets in units of the scale, e_h the mean eigenvalue of the matrix that is inverted, and
    p the error_weighting. The normal equations are solved by their eigenvalues, so in float32
    penalties below 1e-5 are lost in rounding; those of a float64 run are exact. Other numbers
    compile nothing, and under `jax.vmap` over penalties the eigenvalues are found once (see
    `fit_regression_path`).

    Args:
        samples: to learn from.
        inputs: that turn their histories into features.
        expansion: phi, such as `LinearFeatures()`, `PolynomialFeatures(2)` or
            `random_fourier_features(...)`.
        penalty: strength of the regularisation, in units of the mean eigenvalue; 0 for plain least
            squares, of least norm where there are many solutions.
        error_weighting: p, 1 for errors in the series' own units, 0 for errors in which all regions
            count alike.
        each_region: whether each region has its own W and b.
        predict_change: whether to forecast the change from the newest value.
        nonnegative: whether forecasts are cut at zero.
        chunk_size: samples whose features are in memory at a time; by default all. Products of
            features are then summed chunk by chunk in the default precision, which is float64.

    Returns:
        The regression.

    Raises:
        InputError: for a penalty below zero, targets or covariates that are not finite, or inputs
            made from samples of other features.

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
    samples = learned_from(samples)
    if chunk_size is not None:
        check_sizes(chunk_size=chunk_size)
        weights, bias = solve_streaming(
            samples,
            inputs,
            expansion,
            penalty,
            error_weighting,
            predict_change=predict_change,
            each_region=each_region,
            chunk_size=chunk_size,
        )
        return LagRegression(inputs, expansion, weights, bias, predict_change, nonnegative)
    solve = solve_each_region if each_region else solve_together
    chosen = None if is_zero(penalty) else penalty
    weights, bias = solve(samples, inputs, expansion, chosen, error_weighting, predict_change)
    return LagRegression(inputs, expansion, weights, bias, predict_change, nonnegative)

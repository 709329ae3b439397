"""A dynamic factor model: ridge regression of principal components of many series on their lags."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import (
    Checked,
    check_flag,
    check_floats,
    check_leads,
    check_penalty,
    check_positive,
    check_whole,
    sizes_of,
)
from jaxcast.errors import InputError, shown
from jaxcast.numerics.moments import Moments, ridge_of_moments
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.baselines import Leads
from jaxcast.series.features import check_history, target_features_of
from jaxcast.series.samples import SeriesWindows, WindowLags, check_samples
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.series.window_steps import WindowSteps, at_lags, check_lags, lags_of
from jaxcast.types import Scalar

CHUNK = 16
"""Windows whose features are in memory at a time."""
NUM_RECENT = 2
"""Newest steps of which all factors are features; of older ones only the first few are."""
LEAST_NOISE = 0.3
"""The least scale of a series, as a share of the root mean square of all series' scales."""


class FactorRegression(WindowForecaster, Checked, FrozenPytree, name="factor_regression"):
    """A dynamic factor model with a ridge regression in place of its dynamics.

        z_t = (u_t - mean) / std,    f_t = V z_t
        f_(t+h) = W_h' x_(t,h) + b_h,    y_(t+h) = mean + std V' f_(t+h)

    V are the first principal components of all series. The features x_(t,h) are the factors at the
    two newest steps, fewer of them at the older steps of the last season, and the mean of the
    factors at whole seasons before the target. Made by `fit_factor_regression`. A missing value
    counts as the mean of its series.

    Args:
        mean: of each series.
        std: the scale of each series.
        components: V.
        weights: W, 0 for features that a lead lacks.
        bias: b.
        leads: steps ahead, rising from 1 on.
        lags: steps back from the newest value of each row of a history, oldest first.
        season: steps of a season; 0 for none.
        num_older: factors at the older steps.
        nonnegative: whether forecasts are cut at zero.

    Raises:
        InputError: when called, for histories of other series or with fewer steps.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> waves = jnp.sin(0.3 * jnp.arange(80.0))[:, None] * jnp.arange(1.0, 6.0)
        >>> samples = jaxcast.series.series_windows(waves, lags=(0, 1), leads=(1, 4))
        >>> model = jaxcast.series.fit_factor_regression(samples, leads=(1, 4), num_factors=1, penalty=1e-9)
        >>> bool(abs(model(samples.history, lags=samples.lags).forecast - samples.targets)[:70].max() < 1e-3)
        True
    """

    mean: Float[Array, " region"]
    std: Float[Array, " region"]
    components: Float[Array, "factor region"]
    weights: Float[Array, "lead feature factor"]
    bias: Float[Array, "lead factor"]
    leads: Leads = static()
    lags: Leads = static()
    season: int = static(default=0)
    num_older: int = static(default=16)
    nonnegative: bool = static(default=False)

    @property
    def steps(self) -> WindowSteps:
        """The steps of its window."""
        return WindowSteps(self.lags, self.season)

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return WindowSignature(len(self.leads), leads=self.leads, mean=self.mean, least_history=self.lags[0] + 1)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a model."""
        check_leads(self.leads)
        check_lags(self.lags)
        check_whole("season", self.season, least=0)
        check_whole("num_older", self.num_older, least=0)
        check_flag("nonnegative", self.nonnegative)
        check_floats(self)
        num_factors = len(self.components)
        size = _num_features(self.steps, num_factors, self.num_older)
        sizes_of(
            self,
            {
                ".mean": "region",
                ".std": "region",
                ".components": "factor region",
                ".weights": f"{len(self.leads)} {size} factor",
                ".bias": f"{len(self.leads)} factor",
            },
        )
        check_positive(std=self.std)

    @checked
    @highest
    def __call__(
        self, history: Float[Array, "..."], covariates: Any = None, *, lags: WindowLags | None = None
    ) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), consecutive steps that reach back far
                enough, or those of the lags alone.
            covariates: not used.
            lags: those of windows that were cut at lags, `samples.lags`; None for consecutive
                steps.

        Returns:
            Forecasts (*batch, lead, region); `info["factors"]` are the forecast factors, (*batch,
            lead, factor).

        Raises:
            InputError: for another shape.
        """
        check_history(history, (), series=self.mean.shape)
        rows = at_lags(history, self.lags, lags)
        factors = self.factors(rows)
        steps = self.mean + self.std * (factors @ self.components)
        return Output(jnp.maximum(steps, 0) if self.nonnegative else steps, {"factors": factors})

    @highest
    def factors(self, rows: Float[Array, "*batch time region"]) -> Float[Array, "*batch lead factor"]:
        """Forecasts the factors at all leads.

        Args:
            rows: values at the lags.

        Returns:
            The factors.
        """
        seen = _seen_factors(rows, self.mean, self.std, self.components)
        each = [_features(*seen, self.steps, lead, self.num_older) for lead in self.leads]
        return jnp.einsum("...hf,hfk->...hk", jnp.stack(each, -2), self.weights) + self.bias


@checked
def fit_factor_regression(
    samples: SeriesWindows,
    *,
    leads: Sequence[int],
    num_factors: int,
    penalty: Scalar,
    season: int = 0,
    num_older: int = 16,
    nonnegative: bool = False,
    sample_weights: Float[Any, " sample"] | None = None,
) -> FactorRegression:
    """Fits the principal components of all series, and a ridge regression of these on their lags.

    The scale of a series is its noise: the root mean square of its change over a season, over the
    square root of 2; its standard deviation where the window holds no step a season before the
    first lead. Series of counts so weigh about as the inverse of their variance.

    Args:
        samples: to learn from, of series without a feature axis.
        leads: of the samples, rising.
        num_factors: principal components; at most as many as there are series and samples.
        penalty: of the regression, in units of the mean eigenvalue of its features.
        season: steps of a season, such as the slots of a week; 0 for none.
        num_older: factors at steps other than the two newest.
        nonnegative: whether forecasts are cut at zero, as for counts.
        sample_weights: of each sample, 0 to leave one out; by default 1.

    Returns:
        The model.

    Raises:
        InputError: for a feature axis, other leads, a negative penalty, no factor, or samples of
            which nothing is known.

    Source:
        Stock and Watson, J. Business & Economic Statistics 20, 147-162 (2002); components by the
        subspace iteration of Halko, Martinsson and Tropp, SIAM Review 53, 217-288 (2011).

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> days = jnp.tile(jnp.arange(7.0), 12)[:, None] + jnp.arange(3.0)
        >>> samples = jaxcast.series.series_windows(days, lags=(0, 6, 13), leads=(1,))
        >>> model = jaxcast.series.fit_factor_regression(samples, leads=(1,), num_factors=1, penalty=1e-6, season=7)
        >>> model(days[:14]).forecast.round(1).tolist()
        [[0.0, 1.0, 2.0]]
    """
    check_whole("num_factors", num_factors)
    check_whole("season", season, least=0)
    check_whole("num_older", num_older, least=0)
    check_penalty(penalty)
    check_samples(samples)
    if target_features_of(samples):
        raise InputError("expected series without a feature axis; give values (time, region)")
    leads = tuple(leads)
    check_leads(leads)
    if len(leads) != samples.targets.shape[1]:
        raise InputError(f"expected the {samples.targets.shape[1]} leads of the samples, got {shown(leads)}")
    known = samples.weights > 0
    if not bool(known.any()):
        raise InputError("nothing is known of the targets of the samples; give others")
    dtype = samples.history.dtype
    weights = jnp.ones(len(known), dtype) if sample_weights is None else jnp.asarray(sample_weights, dtype)
    steps = WindowSteps(lags_of(samples), season)
    number = min(num_factors, *known.shape[::2])
    older = min(num_older, number)
    seen = (samples.history, samples.targets, known, weights, penalty)
    mean, std, components, slopes, bias = _fit(*seen, number=number, steps=steps, leads=leads, num_older=older)
    return FactorRegression(mean, std, components, slopes, bias, leads, steps.lags, season, older, nonnegative)


@partial(jax.jit, static_argnames=("number", "steps", "leads", "num_older"))
@highest
def _fit(
    history: Array,
    targets: Array,
    known: Array,
    sample_weights: Array,
    penalty: Any,
    *,
    number: int,
    steps: WindowSteps,
    leads: Leads,
    num_older: int,
) -> tuple[Array, Array, Array, Array, Array]:
    weights = known * sample_weights[:, None, None]  # of the targets
    mean, std = _scales(history, targets, weights[:, 0], steps, leads[0])
    standard = jnp.where(weights > 0, (targets - mean) / std, 0).astype(history.dtype)
    components = _components(standard[:, 0], number)
    factors, rows_known = jax.lax.map(
        lambda rows: _seen_factors(rows, mean, std, components), history, batch_size=CHUNK
    )
    counted = weights.max(-1)
    found = []
    for number_of_lead, lead in enumerate(leads):
        features = _features(factors, rows_known, steps, lead, num_older)
        wanted = standard[:, number_of_lead] @ components.T
        found.append(_regression(features, wanted, counted[:, number_of_lead], penalty))
    slopes, bias = (jnp.stack(part) for part in zip(*found, strict=True))
    return mean, std, components, slopes.astype(history.dtype), bias.astype(history.dtype)


def _scales(
    history: Array, targets: Array, weights: Array, steps: WindowSteps, lead: int
) -> tuple[Float[Array, " region"], Float[Array, " region"]]:
    """Returns the mean of each series, and the scale of its noise, never 0."""
    total = jnp.maximum(weights.sum(0), 1e-9)
    mean = (weights * targets[:, 0]).sum(0) / total
    rows = steps.of_season(lead)
    before = history[:, rows[-1]] if rows else mean
    both = weights * jnp.isfinite(before)
    change = jnp.where(both > 0, targets[:, 0] - before, 0)
    variance = (both * change**2).sum(0) / jnp.maximum(both.sum(0), 1e-9) / (2 if rows else 1)
    variance = variance + LEAST_NOISE**2 * variance.mean()
    return mean, jnp.sqrt(jnp.where(variance.mean() > 0, variance, 1))


@partial(jax.jit, static_argnames="number")
@highest
def _components(values: Float[Array, "sample region"], number: int) -> Float[Array, "factor region"]:
    """Returns the first right singular vectors, by subspace iteration from one fixed start."""
    size = min(number + 10, *values.shape)
    start = jax.random.normal(jax.random.key(0), (values.shape[1], size), values.dtype)
    turn = lambda _, basis: jnp.linalg.qr(values.T @ (values @ basis))[0]  # noqa: E731
    basis = jax.lax.fori_loop(0, 5, turn, jnp.linalg.qr(start)[0])
    within = jnp.linalg.svd(values @ basis, full_matrices=False)[2]
    return (within @ basis.T)[:number]


@highest
def _seen_factors(rows: Array, mean: Array, std: Array, components: Array) -> tuple[Array, Array]:
    """Returns the factors at each row, and 1 where anything is known of it."""
    known = jnp.isfinite(rows)
    standard = jnp.where(known, (rows - mean) / std, 0)
    return standard @ components.T, known.any(-1, keepdims=True).astype(rows.dtype)


def _features(
    factors: Array, known: Array, steps: WindowSteps, lead: int, num_older: int
) -> Float[Array, "*batch feature"]:
    """Returns the features of a lead, oldest first, the seasonal mean last."""
    own = steps.own
    parts = [factors[..., k, :num_older] for k in own[:-NUM_RECENT]] + [factors[..., k, :] for k in own[-NUM_RECENT:]]
    if steps.season:
        parts.append(steps.seasonal_mean(factors, known, lead))
    return jnp.concatenate(parts, -1)


def _num_features(steps: WindowSteps, num_factors: int, num_older: int) -> int:
    """Returns the number of features of a lead."""
    num_recent = len(steps.own[-NUM_RECENT:])
    return (len(steps.own) - num_recent) * num_older + (num_recent + (steps.season > 0)) * num_factors


@highest
def _regression(features: Array, wanted: Array, weights: Array, penalty: Any) -> tuple[Array, Array]:
    """Solves one ridge regression by sums in the default precision."""
    exact = jnp.result_type(float)
    columns = jnp.pad(features, ((0, 0), (0, 1)), constant_values=1).astype(exact)
    weighted = columns * weights[:, None]
    wanted = wanted.astype(exact)
    moments = Moments(weighted.T @ columns, weighted.T @ wanted, (weights[:, None] * wanted**2).sum(0))
    return ridge_of_moments(moments, penalty)

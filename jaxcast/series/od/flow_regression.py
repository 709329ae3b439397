"""Forecasts of trips: a factor model, corrected by a regression that pairs of a size share."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_flag, check_floats, check_model, check_penalty, check_whole, sizes_of
from jaxcast.errors import InputError
from jaxcast.numerics.moments import Moments, ridge_of_moments
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.features import check_history
from jaxcast.series.od.factor_regression import CHUNK, FactorRegression, fit_factor_regression
from jaxcast.series.od.zones import num_zones_of_pairs
from jaxcast.series.samples import SeriesWindows, WindowLags
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.series.window_steps import at_lags
from jaxcast.types import Scalar


class FlowRegression(WindowForecaster, Checked, FrozenPytree, name="flow_regression"):
    """A forecast of all pairs of zones by their factors, corrected by what each pair has seen.

        y_p = mean_p + std_p ( z_p + w_(h,g(p))' x_(p,h) + b_(h,g(p)) )

    z_p is the forecast of a `FactorRegression` of all pairs p = origin * zones + destination. The
    features x_(p,h) are z_p itself, the standardised values of the pair, of the way back, of all
    trips from its origin, of all to its destination and of all trips at all, and their means over
    seasons. Pairs of about one size, the group g(p), share their weights. Made by
    `fit_flow_regression`.

    Args:
        base: the factor model.
        groups: that of each pair.
        weights: w.
        bias: b.
        nonnegative: whether forecasts are cut at zero.

    Raises:
        InputError: when called, for histories of other pairs or with fewer steps.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> trips = jax.random.poisson(jax.random.key(0), jnp.arange(9.0), (70, 9)).astype(float)
        >>> samples = jaxcast.series.series_windows(trips, lags=(0, 6), leads=(1,))
        >>> model = jaxcast.series.fit_flow_regression(samples, leads=(1,), num_factors=2, penalty=1.0, season=7)
        >>> model(samples.history, lags=samples.lags).forecast.shape
        (63, 1, 9)
    """

    base: FactorRegression
    groups: Int[Array, " region"]
    weights: Float[Array, "lead group feature"]
    bias: Float[Array, "lead group"]
    nonnegative: bool = static(default=True)

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return self.base.signature

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a model."""
        check_model(self.base)
        check_flag("nonnegative", self.nonnegative)
        own = {".groups": self.groups, ".weights": self.weights, ".bias": self.bias}
        check_floats(own, whole=("['.groups']",))
        num_zones_of_pairs(len(self.base.mean))
        size, leads = _num_features(self.base), len(self.base.leads)
        shapes = {".groups": f"{len(self.base.mean)}", ".weights": f"{leads} group {size}", ".bias": f"{leads} group"}
        sizes = sizes_of(own, {f"['{name}']": shape for name, shape in shapes.items()})
        groups = np.asarray(self.groups)
        if groups.min() < 0 or groups.max() >= sizes["group"]:
            raise InputError(f"groups must be from 0 to {sizes['group'] - 1}, got {groups.min()} to {groups.max()}")

    @checked
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
            Forecasts (*batch, lead, region); `info["factor_forecast"]` are those of the factors.

        Raises:
            InputError: for another shape.
        """
        check_history(history, (), series=self.base.mean.shape)
        rows = at_lags(history, self.base.lags, lags)
        if rows.ndim == 2:
            forecast, of_factors = self._of_window(rows)
        else:
            forecast, of_factors = jax.lax.map(self._of_window, rows, batch_size=CHUNK)
        return Output(forecast, {"factor_forecast": of_factors})

    @highest
    def _of_window(self, rows: Float[Array, "time region"]) -> tuple[Array, Array]:
        first = self.base.factors(rows) @ self.base.components
        features = _features(self.base, rows, first)
        added = jnp.einsum("hrf,hrf->hr", features, self.weights[:, self.groups]) + self.bias[:, self.groups]
        mean, std = self.base.mean, self.base.std
        forecast = mean + std * (first + added)
        return jnp.maximum(forecast, 0) if self.nonnegative else forecast, mean + std * first


@checked
def fit_flow_regression(
    samples: SeriesWindows,
    *,
    leads: Sequence[int],
    num_factors: int,
    penalty: Scalar,
    pair_penalty: Scalar = 0.01,
    season: int = 0,
    num_older: int = 16,
    num_groups: int = 8,
    num_blocks: int = 5,
    nonnegative: bool = True,
) -> FlowRegression:
    """Fits a factor model of trips, and the regression that corrects it, in closed form.

    The correction learns from forecasts of factor models that have not seen their targets: the
    samples are cut into blocks of time, and each block is forecast by a model of the others.

    Args:
        samples: to learn from, one series for each pair, pair = origin * zones + destination.
        leads: of the samples, rising.
        num_factors: principal components of the factor model.
        penalty: of the factor model; see `fit_factor_regression`.
        pair_penalty: of the correction, in units of the mean eigenvalue of its standardised
            features.
        season: steps of a season, such as the slots of a week; 0 for none.
        num_older: factors at steps other than the two newest.
        num_groups: groups of pairs by their mean that have weights of their own; each has about
            the same share of all noise. There are fewer where pairs are few, or one has most.
        num_blocks: blocks of time.
        nonnegative: whether forecasts are cut at zero.

    Returns:
        The model.

    Raises:
        InputError: as in `fit_factor_regression`, and for a number of series that is not a square.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> busy = jnp.tile(jnp.arange(7.0), 12)[:, None] * jnp.arange(1.0, 5.0)
        >>> trips = jax.random.poisson(jax.random.key(0), busy).astype(float)
        >>> samples = jaxcast.series.series_windows(trips, lags=(0, 1, 6, 13), leads=(1, 2))
        >>> model = jaxcast.series.fit_flow_regression(
        ...     samples, leads=(1, 2), num_factors=1, penalty=0.1, season=7, num_groups=2
        ... )
        >>> error = abs(model(samples.history, lags=samples.lags).forecast - samples.targets) * samples.weights
        >>> bool(error.mean() < abs(samples.targets - trips.mean(0)).mean())
        True
    """
    num_zones_of_pairs(samples.history.shape[2])
    check_penalty(pair_penalty)
    check_whole("num_groups", num_groups)
    check_whole("num_blocks", num_blocks, least=2, most=len(samples.history))
    fit = partial(
        fit_factor_regression,
        samples,
        leads=leads,
        num_factors=num_factors,
        penalty=penalty,
        season=season,
        num_older=num_older,
    )
    base = fit()
    groups = _groups(base, min(num_groups, len(base.mean)))
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    sums: Any = None
    for block in np.array_split(np.arange(len(samples.history)), num_blocks):
        without = fit(sample_weights=_apart(np.asarray(samples.rows), block))
        seen = (samples.history[block], samples.targets[block], samples.weights[block])
        own = _moments(base, without, *_in_chunks(*seen), members)
        sums = own if sums is None else jax.tree.map(jnp.add, sums, own)
    weights, bias = jax.jit(_solve)(sums, pair_penalty)
    dtype = samples.history.dtype
    return FlowRegression(base, jnp.asarray(groups), weights.astype(dtype), bias.astype(dtype), nonnegative)


def _groups(base: FactorRegression, number: int) -> Int[np.ndarray, " region"]:
    """Sorts the pairs by their mean into groups of about the same sum of scales."""
    order = np.argsort(np.asarray(base.mean), kind="stable")
    total = np.cumsum(np.asarray(base.std, float)[order])
    groups = np.empty(len(order), int)
    groups[order] = np.minimum((number * (total - total[0] / 2) / total[-1]).astype(int), number - 1)
    return np.unique(groups, return_inverse=True)[1]


def _apart(rows: Int[np.ndarray, "sample lead"], block: Int[np.ndarray, " own"]) -> Float[np.ndarray, " sample"]:
    """Returns 1 for samples none of whose targets lies between those of a block."""
    first, last = rows[block].min(), rows[block].max()
    apart = ((rows.max(1) < first) | (rows.min(1) > last)).astype(float)
    return apart if apart.any() else np.ones(len(rows))


def _in_chunks(*arrays: Array) -> tuple[Array, ...]:
    """Cuts arrays into chunks of samples, the last filled up with zeros."""
    padding = -len(arrays[0]) % CHUNK
    full = (jnp.concatenate([a, jnp.zeros((padding, *a.shape[1:]), a.dtype)]) for a in arrays)
    return tuple(a.reshape(-1, CHUNK, *a.shape[1:]) for a in full)


@jax.jit
@highest
def _moments(
    base: FactorRegression,
    without: FactorRegression,
    history: Array,
    targets: Array,
    weights: Array,
    members: list[Array],
) -> list[Moments]:
    """Sums products of features of each group, (lead, feature, feature), over chunks of samples."""

    def of_chunk(history: Array, targets: Array, weights: Array) -> list[Moments]:
        forecast = without.mean + without.std * (without.factors(history) @ without.components)
        first = (forecast - base.mean) / base.std
        features = _features(base, history, first)
        wanted = (targets - base.mean) / base.std - first
        weights = weights * base.std**2
        return [_group_moments(features[:, :, own], wanted[:, :, own], weights[:, :, own]) for own in members]

    chunks = (history, targets, weights)
    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(of_chunk, *(a[0] for a in chunks)))
    add = lambda sums, chunk: (jax.tree.map(jnp.add, sums, of_chunk(*chunk)), None)  # noqa: E731
    return jax.lax.scan(add, zero, chunks)[0]


@highest
def _group_moments(features: Array, wanted: Array, weights: Array) -> Moments:
    columns = jnp.pad(features, (*[(0, 0)] * 3, (0, 1)), constant_values=1)
    weighted = columns * weights[..., None]
    sums = Moments(
        jnp.einsum("nhrf,nhrg->hfg", weighted, columns),
        jnp.einsum("nhrf,nhr->hf", weighted, wanted)[..., None],
        jnp.einsum("nhr,nhr->h", weights, wanted**2)[..., None],
    )
    return jax.tree.map(lambda a: a.astype(jnp.result_type(float)), sums)


def _solve(sums: list[Moments], penalty: Any) -> tuple[Array, Array]:
    """Solves for the weights of each lead and group, with features of one scale."""
    products, targets, squares = (jnp.stack(part, 1) for part in zip(*sums, strict=True))
    # A group of which nothing is known has zeros as weights.
    products = products.at[..., -1, -1].set(jnp.where(products[..., -1, -1] > 0, products[..., -1, -1], 1))
    count, total = products[..., -1:, -1], products[..., -1, :-1]
    square = jnp.diagonal(products, axis1=-2, axis2=-1)[..., :-1]
    size = jnp.sqrt(jnp.maximum(square / count - (total / count) ** 2, 0)) + 1e-6
    size = jnp.pad(size, (*[(0, 0)] * 2, (0, 1)), constant_values=1)
    scaled = Moments(products / (size[..., None] * size[..., None, :]), targets / size[..., None], squares)
    slopes, bias = ridge_of_moments(scaled, penalty)
    return slopes[..., 0] / size[..., :-1], bias[..., 0]


def _features(
    base: FactorRegression, rows: Float[Array, "*batch time region"], first: Float[Array, "*batch lead region"]
) -> Float[Array, "*batch lead region feature"]:
    """Returns the features of all pairs at all leads, in units of the pairs' scales."""
    known = jnp.isfinite(rows)
    pairs = jnp.where(known, (rows - base.mean) / base.std, 0)
    steps, own = base.steps, np.asarray(base.steps.own)
    recent = pairs[..., own, :]
    back = (
        recent.reshape(*recent.shape[:-1], *[num_zones_of_pairs(rows.shape[-1])] * 2)
        .swapaxes(-1, -2)
        .reshape(recent.shape)
    )
    sums = [_spread(recent, base.std, kind) for kind in ("origin", "destination", "all")]
    shared = jnp.concatenate([pairs, back, *sums], -2)
    each = []
    for k, lead in enumerate(base.leads):
        parts = [first[..., k, None, :], shared]
        if steps.season:
            mean = steps.seasonal_mean(pairs, known, lead)[..., None, :]
            parts += [mean, _spread(mean, base.std, "origin"), _spread(mean, base.std, "destination")]
        each.append(jnp.concatenate(parts, -2))
    return jnp.stack(each, -3).swapaxes(-1, -2)


def _spread(pairs: Array, std: Array, kind: str) -> Float[Array, "*batch time region"]:
    """Returns how far all trips from an origin, to a destination or at all are off, for each pair.

    In units of a pair's scale: the multiple of the pairs' scales that fits best to all."""
    zones = num_zones_of_pairs(len(std))
    scale = std.reshape(zones, zones)
    axes = {"origin": (-1,), "destination": (-2,), "all": (-2, -1)}[kind]
    table = pairs.reshape(*pairs.shape[:-1], zones, zones)
    multiple = (table * scale).sum(axes, keepdims=True) / (scale**2).sum(axes, keepdims=True)
    return (multiple * scale).reshape(pairs.shape)


def _num_features(base: FactorRegression) -> int:
    """Returns the number of features of a pair."""
    return 1 + len(base.lags) + 4 * len(base.steps.own) + 3 * (base.season > 0)

"""Ridge regressions of each series, drawn to one that all series share, on seasonal features."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_flag, check_floats, check_model, check_penalty, check_sizes, sizes_of
from jaxcast.errors import InputError
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.samples import WindowLags
from jaxcast.series.seasonal.inputs import Features, SeasonalFeatures
from jaxcast.series.seasonal.rows import (
    chunks_of,
    features_at,
    filled_chunk,
    of_lead,
    rows_to_learn_from,
    targets_at,
    windows_and_slots,
)
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature

LEAST_SIZE = 1e-4
"""Least standard deviation of a feature."""


class SeasonalRegression(WindowForecaster, Checked, FrozenPytree, name="seasonal_regression"):
    """A regression of each series on seasonal features, made by `fit_seasonal_regression`.

        y_(r,h) = mean_r + std_r ( b_(r,h) + W_(r,h)' (x_(r,h) - offset_h) / size_h )

    Args:
        features: that turn histories into x.
        offset: means of the features.
        size: their standard deviations.
        weights: W.
        bias: b.
        nonnegative: whether forecasts are cut at zero, as for counts.

    Raises:
        InputError: when called, for histories of other lags or series, or without the slot of the
            week.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).poisson(5.0, (300, 3)).astype(float)
        >>> features = jaxcast.series.seasonal_features(values, slots_per_day=8, leads=(1, 2), num_days=2, num_weeks=1)
        >>> model = jaxcast.series.fit_seasonal_regression(values, features=features, penalty=100.0)
        >>> jaxcast.series.forecast_rows(model, values, newest=np.asarray([280, 290])).shape
        (2, 2, 3)
    """

    features: SeasonalFeatures
    offset: Float[Array, "lead feature"]
    size: Float[Array, "lead feature"]
    weights: Float[Array, "lead region feature"]
    bias: Float[Array, "lead region"]
    nonnegative: bool = static()

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a regression."""
        check_model(self.features)
        own = {name: getattr(self, name) for name in ("offset", "size", "weights", "bias")}
        check_floats(own)
        axes = ("lead feature", "lead feature", "lead region feature", "lead region")
        sizes = sizes_of(own, {f"['{name}']": shape for name, shape in zip(own, axes, strict=True)})
        if (sizes["lead"], sizes["region"]) != (len(self.features.leads), len(self.features.mean)):
            raise InputError(f"expected weights for the leads and series of the features, got {sizes}")
        check_flag("nonnegative", self.nonnegative)

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        own = self.features
        return WindowSignature(
            len(own.leads), own.leads, mean=own.mean, num_covariates=1, least_history=own.lags[0] + 1
        )

    @checked
    def __call__(
        self, history: Float[Array, "..."], covariates: Any = None, *, lags: WindowLags | None = None
    ) -> Output:
        """Forecasts all leads.

        Args:
            history: (sample, time, region) or (time, region), consecutive steps, or those of
                `features.lags` alone, NaN where a value is missing.
            covariates: the slot of the week of the newest step, (sample, 1) or (1,).
            lags: those of windows that were cut at `features.lags`, `samples.lags`; None for
                consecutive steps.

        Returns:
            Forecasts (*batch, lead, region).

        Raises:
            InputError: for another shape.
        """
        windows, slots = windows_and_slots(self.features, history, covariates, lags)
        forecast = self.standardised(self.features(windows, slots)) * self.features.std + self.features.mean
        forecast = jnp.maximum(forecast, 0) if self.nonnegative else forecast
        return Output(forecast if np.ndim(history) == 3 else forecast[0], {})

    @highest
    def standardised(self, features: Features) -> Float[Array, "sample lead region"]:
        """Forecasts in units of each series' standard deviation.

        Args:
            features: of the windows.
        """
        weights = self.weights / self.size[:, None]
        bias = self.bias - jnp.einsum("lrf,lf->lr", weights, self.offset)
        num_common, num_leads = features.common.shape[-1], features.by_lead.shape[-1]
        common, own, calendar = jnp.split(weights, (num_common, num_common + num_leads), -1)
        found = jnp.einsum("srf,lrf->slr", features.common, common) + jnp.einsum("slrf,lrf->slr", features.by_lead, own)
        return found + jnp.einsum("slf,lrf->slr", features.calendar, calendar) + bias


@checked
def fit_seasonal_regression(
    values: Float[Any, "time region"],
    *,
    features: SeasonalFeatures,
    penalty: Any,
    newest: Int[Any, " sample"] | None = None,
    first_slot: int = 0,
    nonnegative: bool = True,
) -> Any:
    """Fits ridge regressions of each series, drawn to one that all series share, in closed form.

        W_0 = argmin sum_r std_r^2 sum_t ( y_(r,t) - W_0' x_(r,t) )^2
        W_r = argmin sum_t ( y_(r,t) - W_r' x_(r,t) )^2 + penalty | W_r - W_0 |^2

    with standardised features and targets: partial pooling. A penalty counts as so many windows
    that speak for the shared weights.

    Args:
        values: of the training part, NaN where one is missing.
        features: of `seasonal_features`.
        penalty: one, or several that are tried.
        newest: newest rows of the windows to learn from; by default all after the first day.
        first_slot: slot of the week of the first row.
        nonnegative: whether forecasts are cut at zero.

    Returns:
        The regression; for several penalties a list of them.

    Raises:
        InputError: for a negative penalty, too few rows, or values of other series.

    Source:
        Gelman and Hill (2007) for partial pooling.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).poisson(5.0, (300, 3)).astype(float)
        >>> features = jaxcast.series.seasonal_features(values, slots_per_day=8, leads=(1,), num_days=2, num_weeks=1)
        >>> len(jaxcast.series.fit_seasonal_regression(values, features=features, penalty=(10.0, 100.0)))
        2
    """
    penalties = np.atleast_1d(np.asarray(penalty, float))
    for one in penalties:
        check_penalty(float(one))
    table = jnp.asarray(values, features.mean.dtype)
    newest = rows_to_learn_from(features, len(table)) if newest is None else np.asarray(newest)
    check_sizes(num_windows=len(newest))
    chunks = chunks_of(features, newest)
    sample = newest[:: max(1, len(newest) // len(chunks[0]))][: len(chunks[0])]
    offset, size = _moments_of_features(features, table, filled_chunk(sample, chunks[0]), first_slot)
    gram: Any = 0.0
    moments: Any = 0.0
    for chunk in chunks:
        rows = jnp.asarray(filled_chunk(chunk, chunks[0]))
        targets, known = targets_at(features, table, rows)
        weights = (known & (jnp.arange(len(rows)) < len(chunk))[:, None, None]).astype(targets.dtype)
        found = _products(features_at(features, table, rows, first_slot), targets, weights, offset, size)
        gram, moments = gram + found[0], moments + found[1]
    solved = _partially_pooled(gram, moments, np.asarray(features.std, float) ** 2, penalties)
    made = [
        SeasonalRegression(features, offset, size, jnp.asarray(w[..., :-1]), jnp.asarray(w[..., -1]), nonnegative)
        for w in solved.astype(features.mean.dtype)
    ]
    return made if np.ndim(penalty) else made[0]


@jax.jit
def _moments_of_features(own: SeasonalFeatures, table: Array, newest: Array, first_slot: Any) -> tuple[Array, Array]:
    features = features_at(own, table, newest, first_slot)
    each = jax.vmap(lambda n: of_lead(features, n), out_axes=0)(jnp.arange(len(own.leads)))
    size = each.std((1, 2))
    return each.mean((1, 2)), jnp.where(size > LEAST_SIZE, size, 1)


def _products(
    features: Features, targets: Array, weights: Array, offset: Array, size: Array
) -> tuple[Float[np.ndarray, "lead region feature feature"], Float[np.ndarray, "lead region feature"]]:
    """Returns sums over windows of products of features, a last one of ones included, and with targets."""
    grams, moments = [], []
    for n in range(len(offset)):
        x, wanted, weight = (np.asarray(a) for a in _region_first(features, targets, weights, offset, size, n))
        grams.append(np.matmul(x.transpose(0, 2, 1), x))
        moments.append(np.matmul(x.transpose(0, 2, 1), (wanted * weight)[..., None])[..., 0])
    return np.stack(grams).astype(float), np.stack(moments).astype(float)


@jax.jit
def _region_first(
    features: Features, targets: Array, weights: Array, offset: Array, size: Array, number: Any
) -> tuple[Float[Array, "region sample feature"], Float[Array, "region sample"], Float[Array, "region sample"]]:
    """Returns standardised features of a lead and a one, 0 where the target is not known."""
    x = (of_lead(features, number) - offset[number]) / size[number]
    x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1) * weights[:, number, :, None]
    return jnp.moveaxis(x, 1, 0), targets[:, number].T, weights[:, number].T


def _partially_pooled(
    gram: np.ndarray, moments: np.ndarray, share: np.ndarray, penalties: np.ndarray
) -> Float[np.ndarray, "penalty lead region feature"]:
    """Solves for the shared weights, then for each series' own."""
    identity = np.eye(gram.shape[-1])
    pooled = np.einsum("lrfg,r->lfg", gram, share)
    ridge = 1e-6 * np.trace(pooled, axis1=-2, axis2=-1)[:, None, None] / len(identity)
    shared = np.linalg.solve(pooled + (ridge + 1e-12) * identity, np.einsum("lrf,r->lf", moments, share)[..., None])
    left = moments - np.einsum("lrfg,lg->lrf", gram, shared[..., 0])
    own = [np.linalg.solve(gram + max(p, 1e-6) * identity, left[..., None])[..., 0] for p in penalties]
    return np.stack(own) + shared[..., 0][:, None]

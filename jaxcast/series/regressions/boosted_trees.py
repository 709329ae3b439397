"""Gradient-boosted trees on lags: grown by scikit-learn, kept and evaluated as arrays."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import (
    Checked,
    check_flag,
    check_floats,
    check_model,
    check_number,
    check_seed,
    check_whole,
    sizes_of,
)
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.regressions.inputs import RegressionInputs
from jaxcast.series.regressions.lags import LagInputs
from jaxcast.series.regressions.trees import Trees, as_trees, regressor
from jaxcast.series.samples import SeriesWindows, check_samples, learned_from
from jaxcast.series.scaling import series_scale
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.types import Scalar


class BoostedTrees(WindowForecaster, Checked, FrozenPytree, name="boosted_trees"):
    """Gradient-boosted trees that all series share, made by `fit_boosted_trees`.

        y_(r,h) = [newest_r] + scale_r sum_k T_(h,k)(x_r)

    Without `predict_change` there is no newest value, but of centred inputs the mean of each
    series. Features x are those of the inputs, the training mean of each series and, with
    `slots_per_day`, the slot of the day and the day of the week of the newest step.

    Args:
        inputs: that turn histories into features.
        mean: of each series.
        trees: T.
        predict_change: whether forecasts start from the newest value.
        nonnegative: whether forecasts are cut at zero, as for counts.
        slots_per_day: slots of a day, where the first covariate is the slot of the week; else 0.

    Raises:
        InputError: when called, for histories of another shape, or without the covariates.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(90.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1, 5))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
        >>> model = jaxcast.series.fit_boosted_trees(samples, inputs=inputs, num_trees=20)
        >>> off = samples.weights * (model(samples.history).forecast - samples.targets)
        >>> bool(abs(off).mean() < 0.1)
        True
    """

    inputs: Any
    mean: Float[Array, " region"]
    trees: Trees
    predict_change: bool = static()
    nonnegative: bool = static()
    slots_per_day: int = static(default=0)

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        own = WindowSignature(len(self.trees.start), mean=self.mean)
        if not isinstance(self.inputs, LagInputs):
            return own
        return own._replace(num_covariates=self.inputs.num_covariates, least_history=self.inputs.least_history)

    def first(self, num_trees: int) -> "BoostedTrees":
        """Returns the forecaster of the trees that were grown first.

        Args:
            num_trees: how many to keep.
        """
        own, number = self.trees, slice(num_trees)
        kept = Trees(
            feature=own.feature[:, number],
            threshold=own.threshold[:, number],
            left=own.left[:, number],
            right=own.right[:, number],
            value=own.value[:, number],
            start=own.start,
            depth=own.depth,
        )
        return dataclasses.replace(self, trees=kept)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a forecaster."""
        check_model(self.inputs)
        check_whole("slots_per_day", self.slots_per_day, least=0)
        for name in ("predict_change", "nonnegative"):
            check_flag(name, getattr(self, name))
        whole = (".feature", ".left", ".right")
        check_floats(self.trees, whole=whole)
        nodes = dict.fromkeys((".feature", ".threshold", ".left", ".right", ".value"), "lead tree node")
        sizes = sizes_of(self.trees, {**nodes, ".start": "lead"})
        check_whole("depth", self.trees.depth, least=0, most=sizes["node"])
        for name, numbers in (("left", self.trees.left), ("right", self.trees.right)):
            if not ((np.asarray(numbers) >= 0) & (np.asarray(numbers) < sizes["node"])).all():
                raise InputError(f"trees: {name} must be numbers of nodes from 0 to {sizes['node'] - 1}")
        if isinstance(self.inputs, LagInputs):
            self._check_features(self.inputs)

    def _check_features(self, inputs: LagInputs) -> None:
        if self.mean.shape != inputs.mean.shape:
            raise InputError(f".mean must be of {len(inputs.mean)} series, got shape {self.mean.shape}")
        most = inputs.num_features + 2 * (self.slots_per_day > 0)
        if not ((np.asarray(self.trees.feature) >= 0) & (np.asarray(self.trees.feature) <= most)).all():
            raise InputError(f"trees: feature must be numbers of features from 0 to {most}")

    @checked
    def __call__(
        self, history: Float[Array, "..."], covariates: Float[Any, "*batch_and_region covariate"] | None = None
    ) -> Output:
        features, start, scale = _features(
            self.inputs, self.mean, self.slots_per_day, self.predict_change, history, covariates
        )
        steps = self.trees(features.reshape(-1, features.shape[-1]))
        steps = jnp.moveaxis(steps.reshape(*features.shape[:-1], -1), -1, -2)
        forecast = start[..., None, :] + steps * scale[..., None, :]
        return Output(jnp.maximum(forecast, 0) if self.nonnegative else forecast, {})


class _Rows(NamedTuple):
    """What trees are grown from, one row a sample and series."""

    features: Float[np.ndarray, "row feature"]
    targets: Float[np.ndarray, "lead row"]
    weights: Float[np.ndarray, "lead row"]


@checked
def fit_boosted_trees(
    samples: SeriesWindows,
    *,
    inputs: RegressionInputs,
    num_trees: int = 100,
    learning_rate: float | int = 0.1,
    max_leaves: int = 31,
    least_in_leaf: int = 20,
    slots_per_day: int = 0,
    error_weighting: Scalar = 1.0,
    predict_change: bool = False,
    nonnegative: bool = False,
    max_rows: int | None = None,
    seed: int = 0,
) -> BoostedTrees:
    """Grows gradient-boosted trees of all series by scikit-learn's histogram method.

    There is one ensemble for each lead, with the squared error as loss. Nothing is held out, for
    rows drawn at random would not lie ahead in time: choose the number of trees by windows of the
    validation part.

    Args:
        samples: to learn from, without a feature axis.
        inputs: that turn their histories into features.
        num_trees: boosting steps.
        learning_rate: share of each tree that is added.
        max_leaves: the most leaves of a tree.
        least_in_leaf: the fewest rows of a leaf.
        slots_per_day: slots of a day, where the first covariate is the slot of the week of the
            newest step; adds the slot of the day and the day of the week to the features.
        error_weighting: 1 for errors in the series' own units, 0 for errors in which all series
            count alike.
        predict_change: whether to forecast the change from the newest value.
        nonnegative: whether forecasts are cut at zero.
        max_rows: the most rows that are learned from, drawn at random; by default all.
        seed: of that draw.

    Returns:
        The forecaster, of arrays alone: it needs no scikit-learn.

    Raises:
        InputError: if scikit-learn is not installed, for samples with a feature axis, settings out
            of range, targets that are not finite, or slots without covariates.

    Source:
        Ke et al., NeurIPS 30, 3146-3154 (2017): LightGBM, after which the method is modelled.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(90.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1,))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
        >>> model = jaxcast.series.fit_boosted_trees(samples, inputs=inputs, num_trees=5, max_leaves=4)
        >>> model.trees.feature.shape
        (1, 5, 7)
    """
    for name, number in (("num_trees", num_trees), ("least_in_leaf", least_in_leaf)):
        check_whole(name, number)
    check_whole("max_leaves", max_leaves, least=2)
    check_number("learning_rate", learning_rate, above=0)
    check_seed(seed)
    if samples.features is not None:
        raise InputError("boosted trees need windows without a feature axis; give (time, region) values")
    check_samples(samples)
    mean = series_scale(samples, may_be_constant=True)[0]
    rows = _rows(learned_from(samples), inputs, mean, slots_per_day, predict_change, error_weighting)
    make = regressor(num_trees, learning_rate, max_leaves, least_in_leaf)
    rng = np.random.default_rng(seed)
    grown = []
    for targets, weights in zip(rows.targets, rows.weights, strict=True):
        known = np.flatnonzero(weights > 0)
        if max_rows is not None and len(known) > max_rows:
            known = np.sort(rng.choice(known, max_rows, replace=False))
        grown.append(make().fit(rows.features[known], targets[known], sample_weight=weights[known]))
    return BoostedTrees(inputs, mean, as_trees(grown), predict_change, nonnegative, slots_per_day)


def _features(
    inputs: Any, mean: Array, slots_per_day: int, predict_change: bool, history: Array, covariates: Any
) -> tuple[Array, Array, Array]:
    """Returns the features of each series, what forecasts are relative to, and their unit."""
    window = inputs(history, covariates)
    shape = window.features.shape[:-1]
    parts = [window.features, jnp.broadcast_to(mean[:, None], (*shape, 1))]
    if slots_per_day:
        if covariates is None:
            raise InputError("slots_per_day needs the slot of the week as the first covariate, got no covariates")
        slot = jnp.round(jnp.asarray(covariates)[..., :1])
        slot = slot[..., None, :] if slot.ndim < window.features.ndim else slot
        calendar = jnp.concatenate([slot % slots_per_day, slot // slots_per_day], -1)
        parts.append(jnp.broadcast_to(calendar, (*shape, 2)))
    start = window.newest if predict_change else jnp.broadcast_to(window.level, shape)
    return jnp.concatenate(parts, -1), start, window.scale


_compiled_features = jax.jit(_features, static_argnums=(2, 3))


def _rows(
    samples: SeriesWindows, inputs: Any, mean: Array, slots_per_day: int, predict_change: bool, power: Scalar
) -> _Rows:
    found = _compiled_features(inputs, mean, slots_per_day, predict_change, samples.history, samples.covariates)
    features, start, scale = (np.asarray(a, float) for a in found)
    targets = (np.moveaxis(np.asarray(samples.targets), 1, 0) - start) / scale
    weights = np.moveaxis(np.asarray(samples.weights), 1, 0) * scale ** (2 * float(np.asarray(power)))
    flat = [a.reshape(len(a), -1) for a in (targets, weights)]
    return _Rows(features.reshape(-1, features.shape[-1]), *flat)

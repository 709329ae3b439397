"""Lags of each series and of weighted means of all, on a common scale, for regressions."""

import dataclasses
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_choice, check_flag, check_floats, check_positive, check_whole, sizes_of
from jaxcast.errors import InputError, shown
from jaxcast.precision import highest
from jaxcast.pytrees import static
from jaxcast.series.features import check_history, check_targets, flat, of_targets, target_features_of
from jaxcast.series.regressions.inputs import RegressionInputs, Window
from jaxcast.series.samples import SeriesWindows, covariates_to_regions
from jaxcast.series.scaling import LEVELS, Level, Scaling, common_scale, filled, series_scale

Transform = Literal["none", "sqrt", "log"]
TRANSFORMS = {
    "none": lambda a: a,
    "sqrt": lambda a: jnp.sqrt(jnp.maximum(a, 0)),
    "log": lambda a: jnp.log1p(100 * jnp.maximum(a, 0)),
}


class LagInputs(Checked, RegressionInputs, name="lag_inputs"):
    """Lags of weighted means of several series, made by `lag_inputs`.

        x_(r,m,k) = g( sum_s w_(r,m,s) u_(s,t-k) / std_s ),    g none, a square root or a logarithm

    for each feature of the series where there are several, each then standardised. With `centred`,
    u_(s,t-k) is less the mean of its series, so that no forecast depends on a series' level. With
    level="window" the weighted mean is first divided by its mean over the window, so that only the
    shape of a window matters, and forecasts are in units of that mean. That, roots and logarithms
    are for series that are not negative. Missing values are filled by the last known.

    Args:
        mean: of each series.
        std: of each series.
        neighbour_weights: w.
        offset: means of the features.
        size: standard deviations of the features.
        components_scale: standard deviation of principal components.
        covariates_scale: factor of covariates.
        num_covariates: of each region.
        lags: steps back from the newest value.
        transform: g.
        level: "series" or "window".
        components: principal components of all series' windows, or None.
        centred: whether each series is taken less its mean.
        target_features: the features that are forecast; () where histories have no feature axis.
        neighbour_lags: lags of all groups but a region's own; None for the same.

    Raises:
        InputError: when called without the covariates of the training samples, or with histories of
            other regions or shorter than the lags.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.series.series_windows(jnp.arange(20.0).reshape(10, 2), history_size=3, leads=(1,))
        >>> jaxcast.series.lag_inputs(samples, lags=range(3))(samples.history).features.shape
        (7, 2, 3)
    """

    mean: Float[Array, " region *feature"]
    std: Float[Array, " region *feature"]
    neighbour_weights: Float[Array, "region group source"]
    offset: Float[Array, " feature"]
    size: Float[Array, " feature"]
    components_scale: Any
    covariates_scale: Any
    num_covariates: int = static()
    lags: tuple[int, ...] = static()
    transform: Transform = static()
    level: Level = static()
    components: Any = None
    centred: bool = static(default=False)
    target_features: tuple[int, ...] = static(default=())
    neighbour_lags: tuple[int, ...] | None = static(default=None)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a part of a regression."""
        check_floats(self)
        if not isinstance(self.lags, tuple) or not self.lags:
            raise InputError(f"lags must be at least one whole number, got {shown(self.lags)}")
        if not isinstance(self.neighbour_lags, tuple | None):
            raise InputError(f"neighbour_lags must be whole numbers, or none, got {shown(self.neighbour_lags)}")
        for lag in (*self.lags, *self._others):
            check_whole("every lag", lag, least=0)
        check_whole("num_covariates", self.num_covariates, least=0)
        check_choice("transform", self.transform, tuple(TRANSFORMS))
        check_choice("level", self.level, LEVELS)
        check_flag("centred", self.centred)
        own = "region feature" if self.target_features else "region"
        shapes = {".mean": own, ".std": own, ".neighbour_weights": "region group region"}
        shapes |= {".components_scale": "", ".covariates_scale": ""}
        if self.components is not None:
            shapes[".components"] = "lagged component"
        num_standardised = self.num_features - self.num_covariates
        shapes |= {".offset": str(num_standardised), ".size": str(num_standardised)}
        sizes = sizes_of(self, shapes)
        if self.target_features:
            check_targets(self.target_features, sizes["feature"])
        if self.components is not None and sizes["lagged"] != len(self.lags) * np.size(self.mean):
            raise InputError(f"components must be of {len(self.lags)} lags of each region, got {sizes['lagged']}")
        check_positive(std=self.std, size=self.size)

    @property
    def num_features(self) -> int:
        """The features of each region."""
        num_others = self.neighbour_weights.shape[1] - 1
        per_number = len(self.lags) + num_others * len(self._others)
        per_number += (1 + num_others) * (self.level == "window")
        num_components = 0 if self.components is None else self.components.shape[-1]
        return self._num_numbers * per_number + num_components + self.num_covariates

    @property
    def least_history(self) -> int:
        """The steps of history that are seen."""
        return max(*self.lags, *self._others, 0) + 1

    @property
    def _others(self) -> tuple[int, ...]:
        """The lags of neighbours."""
        return self.lags if self.neighbour_lags is None else self.neighbour_lags

    @property
    def _num_numbers(self) -> int:
        """How many numbers of a region are seen: its features, or one."""
        return self.mean.shape[1] if self.target_features else 1

    @checked
    def __call__(
        self, history: Float[Array, "..."], covariates: Float[Any, "*batch_and_region covariate"] | None = None
    ) -> Window:
        """Makes the features of histories.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where
                the samples had one.
            covariates: as in the samples.

        Returns:
            The features, and what forecasts are relative to.

        Raises:
            InputError: for another shape.
        """
        return self._of_regions(history, covariates, self.neighbour_weights, self.std)

    def of_region(self, history: Any, covariates: Any, region: Any) -> Window:
        """Makes the features of one region.

        Args:
            history: as in a call.
            covariates: as in a call.
            region: its number.

        Returns:
            The window, with an axis of regions of length one.
        """
        own = jnp.asarray(region)[None]
        return self._of_regions(history, covariates, self.neighbour_weights[own], self.std[own], own)

    def _of_regions(
        self,
        history: Float[Array, "..."],
        covariates: Any,
        weights: Float[Array, "region group source"],
        std: Float[Array, " region *feature"],
        own: Any = slice(None),
    ) -> Window:
        """The window of some of the regions, whose numbers are `own`."""
        check_history(history, self.target_features, series=self.mean.shape, least=self.least_history)
        values = filled(history, self.mean)
        raw, scale = self._raw(values, weights)
        by_region = values[..., 0] if self.target_features else values
        newest = self._of_targets(values[..., -1, :, :][..., own, :]) if self.target_features else values[..., -1, own]
        std = self._of_targets(std)
        scale = std * (jnp.ones_like(newest) if scale is None else scale)
        features = (raw - self.offset) / self.size
        if self.num_covariates:
            own_covariates = covariates_to_regions(covariates, by_region, self.num_covariates)[..., own, :]
            features = jnp.concatenate([features, own_covariates * self.covariates_scale], -1)
        return Window(features, newest, scale, self._of_targets(self.mean[own]) if self.centred else 0)

    def _of_targets(self, values: Array) -> Array:
        return of_targets(values, self.target_features)

    @highest
    def _raw(self, values: Array, weights: Array) -> tuple[Array, Any]:
        """Makes features before they are standardised, and the mean of each region's own group."""
        scaled = self._scaled(values)
        if self.target_features:
            mixed = jnp.einsum("rms,...lsf->...rmfl", weights, scaled)
            mixed = mixed.reshape(*mixed.shape[:-3], -1, mixed.shape[-1])
        else:
            mixed = jnp.einsum("rms,...ls->...rml", weights, scaled)
        mean = None
        if self.level == "window":
            mean = mixed.mean(-1, keepdims=True) + 0.05
            mixed = mixed / mean
        mixed = TRANSFORMS[self.transform](mixed)
        groups = [(mixed, self.lags)]
        if self.neighbour_lags is not None:
            own, others = jnp.split(mixed, [self._num_numbers], -2)
            groups = [(own, self.lags), (others, self.neighbour_lags)]
        lagged = [group[..., [-1 - lag for lag in lags]] for group, lags in groups if lags]
        features = [one.reshape(*one.shape[:-2], -1) for one in lagged]
        if mean is not None:
            features.append(jnp.log(mean[..., 0]))
        if self.components is not None:
            features.append(self._projected(scaled, weights))
        if mean is not None:
            mean = self._of_targets(mean[..., 0]) if self.target_features else mean[..., 0, 0]
        return jnp.concatenate(features, -1), mean

    def _scaled(self, values: Array) -> Array:
        return (values - self.mean if self.centred else values) / self.std

    def _lagged(self, scaled: Array) -> Array:
        """Returns the lags of all series and features, on one axis."""
        scaled = flat(scaled) if self.target_features else scaled
        return flat(TRANSFORMS[self.transform](scaled)[..., [-1 - lag for lag in self.lags], :])

    @highest
    def _projected(self, scaled: Array, weights: Array) -> Array:
        return _to_all(self._lagged(scaled) @ self.components * self.components_scale, len(weights))


@checked
def lag_inputs(
    samples: SeriesWindows,
    *,
    lags: Any,
    neighbour_weights: Float[Any, "region group source"] | None = None,
    neighbour_lags: Any = None,
    transform: Transform = "none",
    level: Level = "series",
    scaling: Scaling = "series",
    num_components: int = 0,
    components_scale: float = 0.3,
    covariates_scale: float = 1.0,
    centred: bool | None = None,
) -> LagInputs:
    """Makes lags of several series, standardised on training samples.

    Args:
        samples: training samples, whose means and standard deviations are kept.
        lags: steps back from the newest value, which is 0.
        neighbour_weights: the groups of series that each region sees, by the function of this name;
            by default its own series only.
        neighbour_lags: lags of all groups but a region's own; by default the same.
        transform: g, see `LagInputs`: "none", "sqrt" or "log".
        level: "series" or "window", see `LagInputs`.
        scaling: "series" for the standard deviation of each series, "all" for that of all together,
            where single series may never change, as regions without any trip.
        num_components: principal components of all series' windows that every region sees too.
        components_scale: standard deviation of these components.
        covariates_scale: factor of the covariates.
        centred: whether each series is taken less its mean, so that a constant added to one series
            changes the forecasts of that one only, by that constant; by default where transform and
            level allow it. False keeps a zero that all series share, as counts do.

    Returns:
        The inputs, to be called with histories.

    Raises:
        InputError: for lags that the windows do not hold, series that are constant or never known,
            unknown options, or centred values with another transform or level than "none" and
            "series", which are for values from 0 on.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.series.series_windows(jnp.arange(20.0).reshape(10, 2), history_size=3, leads=(1,))
        >>> adjacency = jnp.ones((2, 2))
        >>> weights = jaxcast.series.neighbour_weights(2, adjacency, everyone=True)
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(3), neighbour_weights=weights)
        >>> inputs(samples.history).features.shape
        (7, 2, 9)
    """
    lags = tuple(int(lag) for lag in lags)
    size, num_regions = samples.history.shape[1:3]
    others = None if neighbour_lags is None else tuple(int(lag) for lag in neighbour_lags)
    if not lags or not all(0 <= lag < size for lag in (*lags, *(others or ()))):
        raise InputError(
            f"expected lags from 0 to below the {size} steps of a window, got {lags}"
            + (f" and neighbour_lags {others}" if others else "")
        )
    check_choice("scaling", scaling, get_args(Scaling))
    if transform not in TRANSFORMS or level not in LEVELS:
        raise InputError(
            f"transform must be none, sqrt or log and level series or window, got {shown(repr(transform))} and "
            f"{shown(repr(level))}"
        )
    can_centre = transform == "none" and level == "series"
    centred = can_centre if centred is None else centred
    if centred and not can_centre:
        raise InputError(
            f"centred values go with transform none and level series, got {shown(repr(transform))} and "
            f"{shown(repr(level))}; leave one out"
        )
    neighbour_weights = jnp.asarray(
        np.eye(num_regions)[:, None] if neighbour_weights is None else neighbour_weights, samples.history.dtype
    )
    if neighbour_weights.ndim != 3 or neighbour_weights.shape[::2] != (num_regions, num_regions):
        raise InputError(
            f"expected neighbour_weights (region, group, source) of {num_regions} regions, got "
            f"{neighbour_weights.shape}"
        )
    mean, std = series_scale(samples, may_be_constant=scaling == "all")
    std = std if scaling == "series" else common_scale(samples)[1]
    none = jnp.zeros(1)
    scales = jnp.asarray(components_scale), jnp.asarray(covariates_scale)
    inputs = LagInputs(mean, std, neighbour_weights, none, none + 1, *scales, 0, lags, transform, level)
    inputs = dataclasses.replace(
        inputs, centred=centred, target_features=target_features_of(samples), neighbour_lags=others
    )
    if num_components:
        inputs = dataclasses.replace(inputs, components=_principal(inputs, samples.history, num_components))
    raw = _features(inputs, samples.history).reshape(-1, inputs.num_features)
    # Components keep the scale that they were given.
    spread = raw.std(0).at[len(raw.T) - num_components :].set(1) if num_components else raw.std(0)
    num_covariates = 0 if samples.covariates is None else samples.covariates.shape[-1]
    return dataclasses.replace(
        inputs, offset=raw.mean(0), size=jnp.where(spread > 0, spread, 1), num_covariates=num_covariates
    )


@jax.jit
def _features(inputs: LagInputs, history: Array) -> Array:
    return inputs(history).features


@partial(jax.jit, static_argnames="num_components")
def _principal(inputs: LagInputs, history: Array, num_components: int) -> Array:
    """Returns the first right singular vectors of all windows, for components of standard deviation one."""
    windows = inputs._lagged(inputs._scaled(filled(history, inputs.mean)))
    _, values, right = jnp.linalg.svd(windows - windows.mean(0), full_matrices=False)
    return right[:num_components].T * (len(windows) ** 0.5 / values[:num_components])


def _to_all(shared: Float[Array, "*batch feature"], num_regions: int) -> Float[Array, "*batch region feature"]:
    return jnp.broadcast_to(shared[..., None, :], (*shared.shape[:-1], num_regions, shared.shape[-1]))

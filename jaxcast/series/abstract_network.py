"""The base of recurrent forecasters of several series, and the loss that trains them."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_positive
from jaxcast.errors import InputError, shown
from jaxcast.nn.layers import Buffer, uniform_linear
from jaxcast.nn.network import check_bounds, check_settings, filled_in
from jaxcast.nn.stack import LAYERS, Stack
from jaxcast.rollout import Output
from jaxcast.scores.quantiles import check_levels, middle_of, pinball_of
from jaxcast.series.features import (
    TargetFeatures,
    check_features,
    check_history,
    check_targets,
    of_targets,
    target_features_of,
)
from jaxcast.series.samples import SeriesWindows, covariates_to_regions, learned_from
from jaxcast.series.scaling import LEVELS, Level, filled, series_scale
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.types import Info

N = TypeVar("N", bound="RegionNetwork")


class RegionNetwork(WindowForecaster, Checked, nnx.Module):
    """Abstract base of recurrent forecasters: scales of series, and forecasts from states.

        z = (u - mean) / std,    y_(r,h) = mean_r + std_r ( z_r,newest + [W s_r + b]_h )

    with s_r the state that `encode` makes for region r, joined to the covariates. With
    level="window" a region's mean and std are m_r and m_r, the mean of its values in the window (at
    least 0.05 of its standard deviation), and ln(m_r / std_r) is one more input: for counts whose
    level differs from season to season. Missing values are filled by the last known, and flagged.
    With quantile levels, W s + b gives the middle level, and softplus of more such numbers the
    distances to the others, so that levels never cross; `info["quantiles"]` is (*batch, lead,
    region, level), and the forecast is the middle level.

    Args:
        samples: training samples; means, standard deviations and the number of leads are theirs.
        state_size: size of the state of a region.
        levels: quantile levels, rising; () for a point forecast.
        level: "series" or "window", the mean and scale that a region's values are in units of.
        each: whether each region has its own W and b.
        key: for W and b.
        dtype: of the weights.
    """

    def __init__(
        self,
        samples: SeriesWindows,
        state_size: int,
        *,
        levels: Sequence[float],
        level: Level,
        each: bool,
        key: Array,
        dtype: Any,
    ):
        if level not in LEVELS:
            raise InputError(f"level must be series or window, got {shown(repr(level))}")
        levels = check_levels(levels) if levels else ()
        mean, std = series_scale(samples)
        self.mean, self.std = Buffer(mean), Buffer(std)
        self.levels, self.num_leads, self.each = levels, samples.targets.shape[1], each
        self.target_features = target_features_of(samples)
        num_features = mean.shape[1] if self.target_features else 1
        self.level, self.input_size = level, (2 + (level == "window")) * num_features
        size = self.num_leads * max(len(self.target_features), 1) * max(len(levels), 1)
        self.num_covariates = 0 if samples.covariates is None else samples.covariates.shape[-1]
        state_size += self.num_covariates

        def read_out(key: Array) -> nnx.Linear:
            return uniform_linear(state_size, size, fan_in=state_size, rngs=nnx.Rngs(key), dtype=dtype)

        self.read_out = jax.vmap(read_out)(jax.random.split(key, len(mean))) if each else read_out(key)

    @abstractmethod
    def encode(
        self, inputs: Float[Array, "*batch time region feature"], key: Any
    ) -> tuple[Float[Array, "*batch region state"], Info]:
        """Returns each region's state after its history.

        Args:
            inputs: values, flags of known values and, with level="window", the logarithm of the
                level.
            key: switches dropout on; None for none.

        Returns:
            The states, and what else is known of them.
        """

    @checked
    def __call__(self, history: Float[Array, "..."], covariates: Any = None, *, key: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where
                the samples had one.
            covariates: as in the samples.
            key: switches dropout on; None for none.

        Returns:
            Forecasts (*batch, lead, region), with a last axis of targets where there is one of
            features.

        Raises:
            InputError: for histories of another shape.
        """
        self._check(history)
        # Without a feature axis, the one number of a region is its only feature.
        own, targets = ((), self.target_features) if self.target_features else ((1,), (0,))
        history = history.reshape(*history.shape, *own)
        means, stds = (a[...].reshape(*a.shape, *own) for a in (self.mean, self.std))
        values, mean, scale = self._in_units(filled(history, means), means, stds)
        features = [values, jnp.isfinite(history).astype(values.dtype)]
        if self.level == "window":
            features.append(jnp.broadcast_to(jnp.log(scale / stds), values.shape))
        states, info = self.encode(jnp.concatenate(features, -1), key)
        if self.num_covariates:
            covariates = covariates_to_regions(covariates, history[..., 0], self.num_covariates)
            states = jnp.concatenate([states, covariates.astype(states.dtype)], -1)
        if self.each:
            read = jax.vmap(lambda layer, s: layer(s), in_axes=(0, -2), out_axes=-2)(self.read_out, states)
        else:
            read = self.read_out(states)
        steps = read.astype(values.dtype).reshape(*read.shape[:-1], self.num_leads, len(targets), -1)
        newest, mean, scale = (of_targets(a, targets) for a in (values[..., -1, :, :], mean, scale))
        scaled = jnp.moveaxis(self._levels_of(steps), -4, -3) + newest[..., None, :, :, None]
        forecasts = mean[..., None] + scale[..., None] * scaled
        if not self.target_features:
            forecasts = forecasts[..., 0, :]
        if not self.levels:
            return Output(forecasts[..., 0], info)
        return Output(forecasts[..., self._middle], info | {"quantiles": forecasts})

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return WindowSignature(
            self.num_leads,
            levels=self.levels,
            target_features=self.target_features,
            mean=self.mean[...],
            num_covariates=self.num_covariates,
        )

    def _check(self, history: Array) -> None:
        num_regions = self.mean.shape[0]
        own = 2 if self.target_features else 1
        if history.ndim > own and history.shape[-own] != num_regions:
            raise InputError(f"it was made for {num_regions} regions, got histories of shape {history.shape}")
        check_history(history, self.target_features, series=self.mean.shape)

    def _in_units(
        self, values: Float[Array, "*batch time region feature"], means: Array, stds: Array
    ) -> tuple[Array, Array, Array]:
        """Returns values less a mean and over a scale, and those two, (*batch, 1, region, feature)."""
        mean, scale = (jnp.broadcast_to(a, (*values.shape[:-3], 1, *a.shape)) for a in (means, stds))
        if self.level == "window":
            mean = scale = jnp.maximum(values.mean(-3, keepdims=True), 0.05 * scale)
        return (values - mean) / scale, mean, scale

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a network."""
        check_positive(std=self.std[...])

    @property
    @abstractmethod
    def layers(self) -> Stack:
        """Its recurrent layers, of all regions where each has its own."""

    @property
    def config(self) -> dict[str, Any]:
        """Its settings, and the sizes of the training samples."""
        stack = self.layers
        first: Any = stack.layers[0]
        weights = first.recurrent_kernel
        return {
            "kind": next(name for name, kind in LAYERS.items() if type(first) is kind),
            "hidden_size": weights.shape[-2],
            "num_layers": len(stack.layers),
            "dropout": stack.dropout,
            "levels": self.levels,
            "level": self.level,
            "dtype": str(weights.dtype),
            "num_regions": self.mean.shape[-2 if self.target_features else -1],
            "num_features": self.mean.shape[-1] if self.target_features else 0,
            "target_features": self.target_features,
            "num_leads": self.num_leads,
            "num_covariates": self.num_covariates,
        } | self.own_config

    @property
    @abstractmethod
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""

    @classmethod
    def from_config(cls: type[N], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> N:
        """Makes the network with these settings and puts arrays into it.

        Args:
            config: its settings.
            arrays: all of them, by their paths.

        Returns:
            The network.

        Raises:
            InputError, TypeError, LookupError: for settings or arrays that no such network has.
        """
        check_bounds(config, arrays)
        own = dict(config)
        samples = _samples_of(own)
        make: Any = cls
        like = jax.eval_shape(lambda key: make(samples, **own, key=key), jax.random.key(0))
        check_settings(like.config, config)
        filled: N = filled_in(like, arrays)
        return filled

    @property
    def _middle(self) -> int:
        return middle_of(self.levels)

    def _levels_of(self, steps: Float[Array, "*batch lead level"]) -> Float[Array, "*batch lead level"]:
        if len(self.levels) < 2:
            return steps
        middle = steps[..., self._middle, None]
        gaps = jax.nn.softplus(steps)
        below = jnp.flip(jnp.cumsum(jnp.flip(gaps[..., : self._middle], -1), -1), -1)
        above = jnp.cumsum(gaps[..., self._middle + 1 :], -1)
        return jnp.concatenate([middle - below, middle, middle + above], -1)


def _samples_of(config: dict[str, Any]) -> SeriesWindows:
    """Takes the sizes of training samples out of a config; arrays hold their true scale."""
    regions, leads, size = (config.pop(name) for name in ("num_regions", "num_leads", "num_covariates"))
    features, numbers = config.pop("num_features"), tuple(config.pop("target_features"))
    check_features(numbers)
    series: tuple[int, ...] = (regions,)
    if numbers:
        check_targets(numbers, features)
        series = (regions, features)
    history = jnp.arange(2.0 * math.prod(series)).reshape(2, 1, *series)
    targets = jnp.ones((2, leads, regions, *[len(numbers)] * bool(numbers)))
    return SeriesWindows(
        history,
        targets,
        targets,
        jnp.ones((2, leads), int),
        jnp.ones((2, size)) if size else None,
        TargetFeatures(numbers) if numbers else None,
    )


@checked
def region_loss(model: Any, samples: SeriesWindows, key: Any = None) -> Float[Array, ""]:
    """Measures the mean error over what is known, in units of each series' standard deviation.

    It is the squared error, or of quantiles the pinball loss.

        pinball = max( level (y - q), (level - 1) (y - q) )

    Args:
        model: a region network.
        samples: what to forecast; where a weight is 0 the target does not matter.
        key: switches dropout on.

    Returns:
        The loss.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 5))
        >>> network = jaxcast.series.GlobalNetwork(samples, hidden_size=4, levels=(0.1, 0.9), key=jax.random.key(0))
        >>> bool(jaxcast.series.region_loss(network, samples) > 0)
        True
    """
    samples = learned_from(samples)
    outputs = model(samples.history, samples.covariates, key=key)
    std = of_targets(model.std[...], model.target_features)
    if model.levels:
        off = (samples.targets[..., None] - outputs.info["quantiles"]) / std[..., None]
        errors = pinball_of(off, jnp.asarray(model.levels, off.dtype)).mean(-1)
    else:
        errors = ((samples.targets - outputs.forecast) / std) ** 2
    return jnp.sum(samples.weights * errors) / jnp.maximum(jnp.sum(samples.weights), 1)

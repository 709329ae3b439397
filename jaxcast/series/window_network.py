"""The base of trained forecasters of several series."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_choice, check_positive, check_whole
from jaxcast.distributions import Distribution, Head, check_counts, make_head
from jaxcast.distributions.heads import HEADS
from jaxcast.errors import InputError
from jaxcast.nn.layers import Buffer
from jaxcast.nn.network import check_bounds, check_settings, filled_in
from jaxcast.numerics.levels import check_levels, middle_of
from jaxcast.rollout import Output
from jaxcast.series.features import (
    check_history,
    of_targets,
    target_features_of,
)
from jaxcast.series.samples import SeriesWindows, WindowLags, covariates_to_regions
from jaxcast.series.scaling import LEVELS, Level, Scaling, common_scale, filled, series_scale
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.series.window_sizes import samples_like
from jaxcast.series.window_steps import at_lags
from jaxcast.tracing import is_traced
from jaxcast.types import Info

N = TypeVar("N", bound="WindowNetwork")
Start = Literal["newest", "mean"]


class KnownInputs(NamedTuple):
    """What a network knows besides its history.

    Args:
        covariates: of each region, (*batch, region, covariate); None for none.
        slots: slot of the week of each step of the history, (*batch, time); None without a
            calendar.
        truth: the targets in standardised units, (*batch, lead, region, target), NaN where one is
            not known, in training by teacher forcing; None otherwise.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> known = jaxcast.series.KnownInputs(None, jnp.asarray([22, 23, 24]))
        >>> (known.slots % 24).tolist()
        [22, 23, 0]
    """

    covariates: Any
    slots: Any
    truth: Any = None


class WindowNetwork(WindowForecaster, Checked, nnx.Module):
    """Abstract base of trained forecasters: scales of series, calendar and quantile levels.

        z = (u - mean) / std,    y_(r,h) = mean_r + std_r ( z_r,newest + w_(r,h) )

    with w the `steps` that a subclass computes from standardised histories. With start="mean",
    z_r,newest is left out. With scaling="all", all series have one mean and one std. With
    level="window" a region's mean and std are m_r and m_r, the mean of its values in the window (at
    least 0.05 of its standard deviation), and ln(m_r / std_r) is one more input: for counts whose
    level differs from season to season. Missing values are filled by the last known, and flagged.
    With quantile levels, w has a number for the middle level, and softplus of others is the
    distance to the other levels, so that levels never cross; `info["quantiles"]` is (*batch, lead,
    region, level), and the forecast is the middle level. With the head of a distribution, w has its
    parameters instead, in units of std and relative to mean_r + std_r z_r,newest; quantiles are
    those of the distribution, and without levels the forecast is its mean.

    Args:
        samples: training samples; means, standard deviations, the number of leads and the steps of
            a history are theirs.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the distribution that is learned by its likelihood:
            "normal", "student_t", "negative_binomial", "poisson" or "mixture"; see
            `jaxcast.distributions.make_head`.
        level: "series" or "window", the mean and scale that a region's values are in units of.
        scaling: "series" or "all", whose mean and scale that is.
        start: "newest" or "mean", what forecasts are relative to.
        slots_per_day: steps of a day; the first covariate is then the slot of the week in which a
            history ends, from 0 on. 0 for series without a calendar.
        any_history_size: whether it takes histories of other sizes than those of the samples.
        dtype: of the weights.

    Raises:
        InputError: for settings out of range, series that never change, a calendar without its
            covariate, or targets that are not counts under a head of counts; when called, for
            histories of another shape.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> from flax import nnx
        >>> class Momentum(jaxcast.series.WindowNetwork, name="momentum"):
        ...     def __init__(self, samples, *, start="newest", slots_per_day=0, key, **options):
        ...         super().__init__(samples, start=start, slots_per_day=slots_per_day, **options)
        ...         self.share = nnx.Param(jax.random.uniform(key, (self.num_leads,)))
        ...     def steps(self, inputs, known, key):
        ...         change = inputs[..., -1, :, :1] - inputs[..., -2, :, :1]
        ...         return self.share[:, None, None] * change[..., None, :, :], {}
        ...     @property
        ...     def settings(self):
        ...         return self.window_settings
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 2))
        >>> network = Momentum(samples, key=jax.random.key(0))
        >>> network(samples.history).forecast.shape
        (52, 2, 2)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "series",
        start: Start = "newest",
        slots_per_day: int = 0,
        any_history_size: bool = False,
        dtype: Any = jnp.float32,
    ):
        check_choice("level", level, LEVELS)
        check_choice("scaling", scaling, get_args(Scaling))
        check_choice("start", start, get_args(Start))
        check_whole("slots_per_day", slots_per_day, least=0)
        check_choice("head", head, HEADS)
        self.levels, self.head_name = check_levels(levels) if levels else (), head
        mean, std = series_scale(samples) if scaling == "series" else common_scale(samples)
        self.mean, self.std = Buffer(mean), Buffer(std)
        self.num_leads, self.num_regions = samples.targets.shape[1], samples.history.shape[2]
        self.target_features = target_features_of(samples)
        self.level, self.start, self.slots_per_day = level, start, slots_per_day
        self.num_features = mean.shape[1] if self.target_features else 1
        self.input_size = (2 + (level == "window")) * self.num_features
        num_parameters = 1 if self.head is None else self.head.num_parameters
        self.num_outputs = max(len(self.target_features), 1) * num_parameters
        if self.head is not None and self.head.is_count and not is_traced(samples.targets, samples.weights):
            check_counts(np.where(np.asarray(samples.weights) > 0, samples.targets, 0), "the targets")
        self.num_covariates = 0 if samples.covariates is None else samples.covariates.shape[-1]
        if slots_per_day and not self.num_covariates:
            raise InputError(
                f"slots_per_day={slots_per_day} needs the slot of the week as the first covariate of the samples; give "
                "it as newest_covariates"
            )
        consecutive = tuple(range(1 if any_history_size else samples.history.shape[1]))[::-1]
        self.lags = consecutive if samples.lags is None else samples.lags.steps
        self.any_history_size, self.dtype = any_history_size, jnp.dtype(dtype)

    @property
    def head(self) -> Head | None:
        """What makes distributions of the numbers of `steps`; None for a point forecast."""
        is_point = self.head_name == "quantiles" and not self.levels
        return None if is_point else make_head(self.head_name, self.levels)

    @property
    def history_size(self) -> int:
        """The steps of a history that the network sees."""
        return len(self.lags)

    @property
    def num_known(self) -> int:
        """The covariates of each region, without the slot of the week."""
        return self.num_covariates - (self.slots_per_day > 0)

    @abstractmethod
    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns forecasts in standardised units, relative to `start`.

        Args:
            inputs: standardised values, flags of known values and, with level="window", the
                logarithm of the level.
            known: covariates and the calendar.
            key: switches dropout on; None for none.

        Returns:
            For each lead and region the levels of each target, and what else is known of them.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The arguments of the class, as JSON values; `window_settings` are among them."""

    @checked
    def __call__(
        self,
        history: Float[Array, "..."],
        covariates: Any = None,
        *,
        lags: WindowLags | None = None,
        truth: Any = None,
        key: Any = None,
    ) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where
                the samples had one. A network of samples with lags takes those of the consecutive
                steps, which must reach back far enough.
            covariates: as in the samples.
            lags: those of windows that were cut at lags, `samples.lags`; None for consecutive
                steps.
            truth: the targets, NaN where one is not known, in training by teacher forcing: a
                network of stages shows those of the first stage to the second. None in forecasting.
            key: switches dropout on; None for none.

        Returns:
            Forecasts (*batch, lead, region), with a last axis of targets where there is one of
            features.

        Raises:
            InputError: for histories of another shape.
        """
        if self.head is None:
            steps, shift, scale, info = self._outputs(history, covariates, lags, truth, key)
            return Output(shift + scale * steps[..., 0], info)
        distribution, info = self.distribution(history, covariates, lags=lags, truth=truth, key=key)
        if not self.levels:
            return Output(distribution.mean, info)
        quantiles = distribution.quantiles(jnp.asarray(self.levels))
        return Output(quantiles[..., middle_of(self.levels)], info | {"quantiles": quantiles})

    def distribution(
        self,
        history: Float[Array, "..."],
        covariates: Any = None,
        *,
        lags: WindowLags | None = None,
        truth: Any = None,
        key: Any = None,
    ) -> tuple[Distribution, Info]:
        """Forecasts the distribution at each lead, in the units of the data.

        Args:
            history: as in a call.
            covariates: as in a call.
            lags: as in a call.
            truth: as in a call.
            key: switches dropout on; None for none.

        Returns:
            Distributions whose batch has the shape of a forecast, and what else is known of them.

        Raises:
            InputError: for histories of another shape, or a network of point forecasts.
        """
        if self.head is None:
            raise InputError("this network makes point forecasts; make it with levels or the head of a distribution")
        steps, shift, scale, info = self._outputs(history, covariates, lags, truth, key)
        return self.head(steps, scale, shift), info

    def _outputs(
        self, history: Array, covariates: Any, lags: WindowLags | None, truth: Any, key: Any
    ) -> tuple[Array, Array, Array, Info]:
        """Returns numbers for each lead and target; what 0 and 1 mean there, in units of the data."""
        self._check(history)
        # Without a feature axis, the one number of a region is its only feature.
        own, targets = ((), self.target_features) if self.target_features else ((1,), (0,))
        history = history.reshape(*history.shape, *own)
        history = history if self.any_history_size else at_lags(history, self.lags, lags, axis=-3)
        means, stds = (a[...].reshape(*a.shape, *own) for a in (self.mean, self.std))
        values, mean, scale = self._in_units(filled(history, means), means, stds)
        features = [values, jnp.isfinite(history).astype(values.dtype)]
        if self.level == "window":
            features.append(jnp.broadcast_to(jnp.log(scale / stds), values.shape))
        known = self._known(covariates, history)
        if truth is not None:
            truth = truth.reshape(*truth.shape, *own)
            known = known._replace(truth=(truth - of_targets(mean, targets)) / of_targets(scale, targets))
        steps, info = self.steps(jnp.concatenate(features, -1), known, key)
        steps = steps.astype(values.dtype).reshape(*steps.shape[:-1], len(targets), -1)
        shift = mean + scale * values[..., -1:, :, :] if self.start == "newest" else mean
        shift, scale = (of_targets(a, targets) for a in (shift, scale))
        if not self.target_features:
            steps, shift, scale = steps[..., 0, :], shift[..., 0], scale[..., 0]
        return steps, shift, scale, info

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return WindowSignature(
            self.num_leads,
            levels=self.levels,
            target_features=self.target_features,
            mean=self.mean[...],
            num_covariates=self.num_covariates,
            least_history=self.lags[0] + 1,
        )

    def _check(self, history: Array) -> None:
        own = 2 if self.target_features else 1
        if history.ndim > own and history.shape[-own] != self.num_regions:
            raise InputError(f"it was made for {self.num_regions} regions, got histories of shape {history.shape}")
        check_history(history, self.target_features, series=self.mean.shape)

    def _known(self, covariates: Any, history: Array) -> KnownInputs:
        if not self.num_covariates:
            return KnownInputs(None, None)
        covariates = covariates_to_regions(covariates, history[..., 0], self.num_covariates)
        if not self.slots_per_day:
            return KnownInputs(covariates, None)
        newest = jnp.round(covariates[..., 0, 0]).astype(int)
        slots = (newest[..., None] - jnp.asarray(self.lags)) % (7 * self.slots_per_day)
        return KnownInputs(covariates[..., 1:] if self.num_known else None, slots)

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
    def window_settings(self) -> dict[str, Any]:
        """The arguments of networks that need the steps of a window, and the lags of these."""
        return {"lags": self.lags, "start": self.start, "slots_per_day": self.slots_per_day}

    @property
    def config(self) -> dict[str, Any]:
        """Its settings, and the sizes of the training samples."""
        head = {} if self.head_name == "quantiles" else {"head": self.head_name}
        return {
            "levels": self.levels,
            "level": self.level,
            "dtype": str(self.dtype),
            "num_regions": self.num_regions,
            "num_features": self.num_features if self.target_features else 0,
            "target_features": self.target_features,
            "num_leads": self.num_leads,
            "num_covariates": self.num_covariates,
        } | (head | self.settings)

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
        samples = samples_like(own)
        if num_graphs := own.pop("num_graphs", None):
            own["graphs"] = np.ones((num_graphs, config["num_regions"], config["num_regions"]))
        if sizes := own.pop("num_levels", None):
            own["effects"] = [np.zeros((size, *samples.targets.shape[2:])) for size in sizes]
        make: Any = cls
        like = jax.eval_shape(lambda key: make(samples, **own, key=key), jax.random.key(0))
        check_settings(like.config, config)
        filled: N = filled_in(like, arrays)
        return filled

"""Naive forecasts of several series, which any other must beat.

Histories are (time, region) or (sample, time, region), forecasts (*batch, lead, region). With
`target_features`, histories have a last axis of features, and forecasts one of those features. What
else is given changes nothing."""

from abc import abstractmethod
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_leads, check_whole
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.features import check_features, check_history, for_each_series
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature

Leads = tuple[int, ...]


def last_known(
    history: Float[Array, "*batch time region"],
) -> tuple[Float[Array, "*batch region"], Int[Array, "*batch region"]]:
    """Returns the newest known value of each series, and how many steps ago it was; NaN for none."""
    back = jnp.flip(jnp.isfinite(history), -2)
    age = jnp.argmax(back, -2)
    return jnp.take_along_axis(jnp.flip(history, -2), age[..., None, :], -2)[..., 0, :], age


class NaiveForecaster(WindowForecaster):
    """Abstract base of naive forecasters, which are frozen pytrees.

    Args:
        leads: steps ahead, rising from 1 on.
        target_features: numbers of the features that are forecast, where histories have a feature
            axis.

    Raises:
        InputError: for leads that do not rise, and other fields that make no forecaster.
    """

    leads: Leads
    target_features: Leads

    def __post_init__(self) -> None:
        check_leads(self.leads)
        check_features(self.target_features)
        _ = self.signature  # a shortest history that there cannot be is refused

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return WindowSignature(
            len(self.leads),
            leads=self.leads,
            target_features=self.target_features,
            least_history=self._least_history,
        )

    @checked
    def __call__(self, history: Float[Array, "..."], covariates: Any = None) -> Output:
        check_history(history, self.target_features)
        return Output(for_each_series(self._of_series, history, self.target_features), {})

    @property
    @abstractmethod
    def _least_history(self) -> int:
        """Steps of the shortest history that can be forecast from."""

    @abstractmethod
    def _of_series(self, history: Array) -> Array:
        """Forecasts histories (*batch, time, region) of one feature: (*batch, lead, region)."""


class LastValue(NaiveForecaster, FrozenPytree, name="last_value"):
    """A naive forecast: the newest known value at every lead.

    Args:
        leads: steps ahead, rising from 1 on.
        target_features: numbers of the features that are forecast, where histories have a feature
            axis.

    Raises:
        InputError: for leads that do not rise; when called, for histories of another shape.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.LastValue((1, 5))(jnp.asarray([[1.0], [2.0], [jnp.nan]])).forecast.tolist()
        [[2.0], [2.0]]
    """

    leads: Leads = static()
    target_features: Leads = static(default=())

    @property
    def _least_history(self) -> int:
        return 1

    def _of_series(self, history: Array) -> Array:
        return _at_every(self.leads, last_known(history)[0])


class SeasonalLastValue(NaiveForecaster, FrozenPytree, name="seasonal_last_value"):
    """A seasonal naive forecast: the value one period before the target.

        y_(t+h) = u_(t+h-s),    or the newest such value where h exceeds the period s

    Where that value is missing, the newest known value is the forecast.

    Args:
        leads: steps ahead, rising from 1 on.
        period: s, in steps.
        target_features: numbers of the features that are forecast, where histories have a feature
            axis.

    Raises:
        InputError: for leads that do not rise; when called, for histories of another shape, or too
            short.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.SeasonalLastValue((1, 2, 4), period=3)(jnp.arange(6.0)[:, None]).forecast[:, 0].tolist()
        [3.0, 4.0, 3.0]
    """

    leads: Leads = static()
    period: int = static()
    target_features: Leads = static(default=())

    @property
    def _least_history(self) -> int:
        check_whole("period", self.period)
        return self.period

    def _of_series(self, history: Array) -> Array:
        ages = [-lead % self.period for lead in self.leads]
        if history.shape[-2] <= max(ages):
            raise InputError(f"a season of {self.period} steps needs a longer history than {history.shape[-2]} steps")
        before = jnp.stack([history[..., -1 - age, :] for age in ages], -2)
        newest = _at_every(self.leads, last_known(history)[0])
        return jnp.where(jnp.isfinite(before), before, newest)


class HistoryMean(NaiveForecaster, FrozenPytree, name="history_mean"):
    """A naive forecast: the mean of the known values of the history at every lead.

    Args:
        leads: steps ahead, rising from 1 on.
        target_features: numbers of the features that are forecast, where histories have a feature
            axis.

    Raises:
        InputError: for leads that do not rise; when called, for histories of another shape.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.HistoryMean((1,))(jnp.asarray([[1.0], [2.0], [6.0]])).forecast.tolist()
        [[3.0]]
    """

    leads: Leads = static()
    target_features: Leads = static(default=())

    @property
    def _least_history(self) -> int:
        return 1

    def _of_series(self, history: Array) -> Array:
        return _at_every(self.leads, jnp.nanmean(history, -2))


class Drift(NaiveForecaster, FrozenPytree, name="drift"):
    """A naive forecast: the line through the first and the last known value of the history.

        y_(t+h) = u_t + h (u_t - u_1) / (t - 1)

    Args:
        leads: steps ahead, rising from 1 on.
        target_features: numbers of the features that are forecast, where histories have a feature
            axis.

    Raises:
        InputError: for leads that do not rise; when called, for histories of another shape, or of
            one step.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.Drift((1, 3))(jnp.asarray([[1.0], [5.0], [3.0]])).forecast[:, 0].tolist()
        [4.0, 6.0]
    """

    leads: Leads = static()
    target_features: Leads = static(default=())

    @property
    def _least_history(self) -> int:
        return 2

    def _of_series(self, history: Array) -> Array:
        if history.shape[-2] < 2:
            raise InputError("a drift needs a history of at least 2 steps, got 1")
        newest, age = last_known(history)
        oldest, missing = last_known(jnp.flip(history, -2))
        steps = jnp.maximum(history.shape[-2] - 1 - age - missing, 1)
        slope = (newest - oldest) / steps
        return jnp.stack([newest + (lead + age) * slope for lead in self.leads], -2)


def _at_every(leads: Leads, values: Float[Array, "*batch region"]) -> Float[Array, "*batch lead region"]:
    return jnp.repeat(values[..., None, :], len(leads), -2)

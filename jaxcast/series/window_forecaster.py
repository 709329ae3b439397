"""The base of forecasters of several series: a window of history and covariates -> all leads."""

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np

from jaxcast.registry import Saveable
from jaxcast.rollout import Output


class WindowSignature(NamedTuple):
    """The inputs and outputs of a `WindowForecaster`.

    Args:
        num_leads: the number of leads.
        leads: steps ahead, rising from 1 on; None where the forecaster does not know them.
        levels: quantile levels, rising; () for a point forecast.
        target_features: numbers of the features that are forecast; () where histories have no
            feature axis.
        mean: the mean of each series that was learned from, (region,) or (region, feature); None
            where the forecaster works for any series.
        num_covariates: the covariates of each region; None for any number.
        least_history: the steps of history that a forecast needs.
        lower: the least value of a quantile; None for none.
    """

    num_leads: int
    leads: tuple[int, ...] | None = None
    levels: tuple[float, ...] = ()
    target_features: tuple[int, ...] = ()
    mean: Any = None
    num_covariates: int | None = None
    least_history: int = 1
    lower: float | None = None

    @property
    def series(self) -> tuple[int, ...] | None:
        """The sizes of the region and the feature axis; None where any will do."""
        return None if self.mean is None else tuple(np.shape(self.mean))


class WindowForecaster(Saveable):
    """Base of forecasters of several series: (history, covariates) -> forecasts of all leads.

    A subclass is either a `FrozenPytree` of numbers, or an `nnx.Module` that `fit` trains.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> class Half(jaxcast.series.WindowForecaster, jaxcast.FrozenPytree):
        ...     @property
        ...     def signature(self):
        ...         return jaxcast.series.WindowSignature(num_leads=1, leads=(1,))
        ...     def __call__(self, history, covariates=None):
        ...         return jaxcast.Output(history[..., -1:, :] / 2, {})
        >>> cell = jaxcast.series.WindowCell(Half(), history_size=2)
        >>> jaxcast.forecast(cell, jnp.asarray([[1.0], [2.0]]), num_leads=3).forecast[:, 0].tolist()
        [1.0, 0.5, 0.25]
    """

    @property
    @abstractmethod
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""

    @abstractmethod
    def __call__(self, history: Any, covariates: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), oldest first, NaN where a value is
                missing; with a last axis of features where there are target features.
            covariates: (*batch, region, covariate) or (*batch, covariate); None for none.

        Returns:
            Forecasts, (*batch, lead, region) with a last axis of targets where there is one of
            features. Where there are levels, `info["quantiles"]` has one more axis for them.
        """

"""Features of a window of several series for a regression."""

from abc import abstractmethod
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from jaxcast.pytrees import FrozenPytree


class Window(NamedTuple):
    """Features of histories, and the units in which the regression forecasts.

    Args:
        features: of each region.
        newest: the newest value of what is forecast.
        scale: the unit of forecasts.
        level: what forecasts are relative to where they are not relative to the newest value.
    """

    features: Float[Array, "*batch region feature"]
    newest: Float[Array, "..."]
    scale: Float[Array, "..."]
    level: Any


class RegressionInputs(FrozenPytree):
    """Abstract base of everything that turns histories into the features of a `LagRegression`.

    `LagInputs` is the package's own. A subclass has a field `target_features`, a tuple that is
    empty where histories have no feature axis.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> class Newest(jaxcast.series.RegressionInputs):
        ...     target_features: tuple[int, ...] = ()
        ...     def __call__(self, history, covariates=None):
        ...         newest = history[..., -1, :]
        ...         return jaxcast.series.Window(newest[..., None], newest, jnp.ones_like(newest), 0)
        ...     def of_region(self, history, covariates, region):
        ...         return self(history[..., region][..., None], covariates)
        >>> walk = jnp.cumsum(jnp.ones((9, 2)), 0)
        >>> windows = jaxcast.series.series_windows(walk, history_size=1, leads=(1,))
        >>> model = jaxcast.series.fit_lag_regression(
        ...     windows, inputs=Newest(), expansion=jaxcast.series.LinearFeatures(), penalty=0.0
        ... )
        >>> model(walk).forecast.round().tolist()
        [[10.0, 10.0]]
    """

    @property
    @abstractmethod
    def target_features(self) -> tuple[int, ...]:
        """The features that are forecast; () where histories have no feature axis."""

    @abstractmethod
    def __call__(self, history: Any, covariates: Any = None) -> Window:
        """Returns the features of all regions.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where
                there are several.
            covariates: as in the samples.
        """

    @abstractmethod
    def of_region(self, history: Any, covariates: Any, region: Any) -> Window:
        """Returns the features of one region, on an axis of length one.

        Args:
            history: as in a call.
            covariates: as in a call.
            region: its number.
        """

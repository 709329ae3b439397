"""A regression of each series, corrected by an ensemble of networks."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_model, check_positive, sizes_of
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Output
from jaxcast.series.samples import WindowLags
from jaxcast.series.seasonal.inputs import Features, SeasonalFeatures
from jaxcast.series.seasonal.network import FeatureNetwork
from jaxcast.series.seasonal.regression import SeasonalRegression
from jaxcast.series.seasonal.rows import chunks_of, filled_chunk, histories, windows_and_slots
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature

LARGEST = 8.0
"""Standardised features are cut off there."""
MOST_LEADS = 4
"""Leads at most whose features a network sees."""


class SeasonalForecaster(WindowForecaster, Checked, FrozenPytree, name="seasonal_forecaster"):
    """A seasonal regression corrected by networks, made by `fit_seasonal_forecaster`.

        y_(r,h) = regression_(r,h) + std_r c_h scale mean_k network_k(x_r)_h

    The networks see the features of the regression at up to four leads, and its forecasts. The
    shares c_h between 0 and 1 are chosen on a validation part: where the networks do not help, the
    regression is left alone.

    Args:
        regression: of each series.
        networks: with a leading axis of seeds.
        offset: means of the networks' inputs.
        size: their standard deviations.
        scale: of the networks' outputs.
        shares: c.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> values = np.random.default_rng(0).poisson(5.0, (300, 3)).astype(float)
        >>> model = jaxcast.series.fit_seasonal_forecaster(
        ...     values, slots_per_day=8, leads=(1,), keys=jax.random.split(jax.random.key(0), 2), num_epochs=(1,)
        ... ).model
        >>> jaxcast.series.forecast_rows(model, values, newest=np.asarray([280, 290])).shape
        (2, 1, 3)
    """

    regression: SeasonalRegression
    networks: FeatureNetwork
    offset: Float[Array, " input"]
    size: Float[Array, " input"]
    scale: Float[Array, ""]
    shares: Float[Array, " lead"]

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a forecaster."""
        for part in (self.regression, self.networks):
            check_model(part)
        own = {name: getattr(self, name) for name in ("offset", "size", "scale", "shares")}
        check_floats(own)
        input_size = self.networks.config["input_size"]
        shapes = (str(input_size), str(input_size), "", str(len(self.features.leads)))
        sizes_of(own, {f"['{name}']": shape for name, shape in zip(own, shapes, strict=True)})
        check_positive(size=self.size, scale=self.scale)

    @property
    def features(self) -> SeasonalFeatures:
        """The features that it sees."""
        return self.regression.features

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return self.regression.signature

    def pick(self, number: int) -> "SeasonalForecaster":
        """Returns the forecaster with one of its networks alone.

        Args:
            number: of the network, from 0.
        """
        return dataclasses.replace(self, networks=jax.tree.map(lambda a: a[number : number + 1], self.networks))

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
        features = self.features(windows, slots)
        steps = self.regression.standardised(features)
        inputs = network_inputs(features, steps)
        inputs = jnp.clip((inputs - self.offset) / self.size, -LARGEST, LARGEST)
        graph, state = nnx.split(self.networks)
        each = jax.lax.map(lambda own: nnx.merge(graph, own)(inputs), state)
        steps = steps + self.shares[:, None] * self.scale * jnp.moveaxis(each.mean(0), -1, -2)
        forecast = steps * self.features.std + self.features.mean
        forecast = jnp.maximum(forecast, 0) if self.regression.nonnegative else forecast
        return Output(forecast if np.ndim(history) == 3 else forecast[0], {})


def network_inputs(
    features: Features, steps: Float[Array, "sample lead region"]
) -> Float[Array, "sample region input"]:
    """Returns what the networks see of each series, before it is standardised.

    Args:
        features: of the windows.
        steps: forecasts of the regression, standardised.
    """
    leads = np.unique(np.linspace(0, steps.shape[1] - 1, MOST_LEADS).round().astype(int))
    by_lead = jnp.moveaxis(features.by_lead[:, leads], 1, 2)  # (sample, region, lead, feature)
    flat = by_lead.reshape(*by_lead.shape[:2], -1)
    first = jnp.broadcast_to(features.calendar[:, :1], (*by_lead.shape[:2], features.calendar.shape[-1]))
    return jnp.concatenate([features.common, flat, first, jnp.moveaxis(steps, 1, 2)], -1)


@checked
def forecast_rows(
    model: WindowForecaster, values: Float[Any, "time region"], *, newest: Int[Any, " sample"], first_slot: int = 0
) -> Float[np.ndarray, "sample lead region"]:
    """Forecasts from some rows of a table on, in chunks, by a forecaster of seasonal features.

    Args:
        model: a `SeasonalRegression` or `SeasonalForecaster`.
        values: NaN where one is missing; rows after the newest of a forecast do not matter to it.
        newest: rows of the newest steps.
        first_slot: slot of the week of the first row.

    Returns:
        The forecasts.

    Raises:
        InputError: for values of other series, or another model.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).poisson(5.0, (300, 3)).astype(float)
        >>> features = jaxcast.series.seasonal_features(values, slots_per_day=8, leads=(1,), num_days=2, num_weeks=1)
        >>> model = jaxcast.series.fit_seasonal_regression(values, features=features, penalty=100.0)
        >>> jaxcast.series.forecast_rows(model, values, newest=np.asarray([280, 290])).shape
        (2, 1, 3)
    """
    if not isinstance(model, SeasonalRegression | SeasonalForecaster):
        raise InputError(f"expected a forecaster of seasonal features, got a {type(model).__name__}")
    own = model.features
    table = jnp.asarray(values, own.mean.dtype)
    chunks = chunks_of(own, newest)
    found = [np.asarray(_forecast(model, table, filled_chunk(chunk, chunks[0]), first_slot)) for chunk in chunks]
    return np.concatenate([a[: len(chunk)] for a, chunk in zip(found, chunks, strict=True)])


@jax.jit
def _forecast(model: Any, table: Array, newest: Array, first_slot: Any) -> Array:
    slots = (newest + first_slot)[:, None] % (7 * model.features.slots_per_day)
    lags = WindowLags(model.features.lags)
    return model(histories(model.features, table, newest), slots.astype(table.dtype), lags=lags).forecast

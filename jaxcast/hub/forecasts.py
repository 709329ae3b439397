"""What a pool of quantile forecasts sees: all locations and dates at once, with a mask."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree


class HubForecasts(FrozenPytree):
    """The forecasts of a hub over time, and the truth.

    quantiles: zero where absent. present: whether a model forecast. truth: NaN where not known (yet). observed: the truth as
    it could be known when each forecast was made, newest first. levels: of the quantiles, increasing. horizon: the truth
    of time t - horizon is the newest that a forecast of time t may use; forecasts that wait for theirs are no memory yet.

    Raises:
        InputError: by `of`, for shapes that do not match, or a horizon below one.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(np.ones((2, 5, 3, 1)), np.ones((2, 5)), np.asarray([0.5]), horizon=2)
        >>> forecasts.is_forecast.shape, forecasts.median_index
        ((2, 5), 0)
    """

    quantiles: Float[Array, "location time model quantile"]
    present: Bool[Array, "location time model"]
    truth: Float[Array, "location time"]
    observed: Float[Array, "location time lag"]
    levels: Float[Array, " quantile"]
    horizon: int = dataclasses.field(metadata={"static": True})

    @classmethod
    @checked
    def of(
        cls,
        quantiles: Shaped[ArrayLike, "location time model quantile"],
        truth: Shaped[ArrayLike, "location time"],
        levels: Shaped[ArrayLike, " quantile"],
        *,
        observed: Shaped[ArrayLike, "location time lag"] | None = None,
        horizon: int = 1,
    ) -> "HubForecasts":
        """Makes them from quantiles whose missing values are NaN.

        Args:
            quantiles: of every model, in the unit of the truth; whole numbers become floats.
            truth: in any unit, NaN where not known (yet).
            levels: of the quantiles, increasing within 0 and 1.
            observed: the truth as it could be known when each forecast was made, newest first; by default ten lags of the
                truth itself.
            horizon: the truth of time t - horizon is the newest that a forecast of time t may use, at least 1.

        Returns:
            The forecasts, with a mask of what is present.

        Raises:
            InputError: for shapes that do not match, or a horizon that is no whole number of at least one.

        Example:
            >>> import jaxcast, numpy as np
            >>> values = np.asarray([[[[1.0, 2.0, 3.0], [np.nan] * 3]]])
            >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[2.5]]), np.asarray([0.25, 0.5, 0.75]))
            >>> forecasts.present.tolist(), forecasts.quantiles[0, 0, 1].tolist()
            ([[[True, False]]], [0.0, 0.0, 0.0])
        """
        quantiles, truth = jnp.asarray(quantiles), jnp.asarray(truth)
        if not jnp.issubdtype(quantiles.dtype, jnp.floating):
            quantiles = quantiles.astype(float)
        dtype = jnp.result_type(quantiles, jnp.float32)
        if quantiles.ndim != 4 or truth.shape != quantiles.shape[:2] or jnp.shape(levels) != quantiles.shape[3:]:
            raise InputError(
                "expected quantiles (location, time, model, quantile), truth (location, time) and levels (quantile), "
                f"got {quantiles.shape}, {truth.shape} and {jnp.shape(levels)}"
            )
        if not isinstance(horizon, int | np.integer) or horizon < 1:
            raise InputError(f"horizon must be a whole number of at least 1, got {shown(horizon)}")
        present = jnp.isfinite(quantiles).all(-1)
        filled = jnp.where(present[..., None], quantiles, 0).astype(dtype)
        if observed is None:
            observed = lagged(truth[..., None], horizon, num_lags=10, empty=jnp.nan)[..., 0]
        return cls(
            filled, present, truth.astype(dtype), jnp.asarray(observed, dtype), jnp.asarray(levels, dtype), horizon
        )

    @property
    def is_forecast(self) -> Bool[Array, "location time"]:
        """Where any model forecast at all."""
        return self.present.any(-1)

    @property
    def is_scorable(self) -> Bool[Array, "location time"]:
        """Where there is a forecast and a truth to score it."""
        return self.is_forecast & jnp.isfinite(self.truth)

    @property
    def median_index(self) -> int:
        """Of the level in the middle."""
        return self.levels.shape[0] // 2


def lagged(
    series: Shaped[Array, "location time *rest"], horizon: int, *, num_lags: int, empty: float = 0.0
) -> Shaped[Array, "location time lag *rest"]:
    """series at times t - horizon, t - horizon - 1, ..., `empty` before its beginning."""
    num_times = series.shape[1]
    pad = horizon + num_lags - 1
    padding = [(0, 0), (pad, 0)] + [(0, 0)] * (series.ndim - 2)
    padded = jnp.pad(series, padding, constant_values=empty)
    index = jnp.arange(num_times)[:, None] + pad - horizon - jnp.arange(num_lags)
    return padded[:, index]

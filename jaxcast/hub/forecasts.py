"""The forecasts of a hub as JAX arrays, with a mask."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static


class HubForecasts(FrozenPytree):
    """The forecasts of a hub over time and the target data, as pools see them.

    Args:
        quantiles: Quantiles of every model, zero where it did not forecast.
        present: Whether a model forecast.
        truth: Target data, NaN where they are not (yet) known.
        observed: Target data as they could be known when each forecast was made, newest first.
        levels: Levels of the quantiles, increasing.
        horizon: Steps ahead: the target at time t - horizon is the newest that a forecast of time t
            may use. A forecast that still waits for its target is no memory yet.

    Raises:
        InputError: by `of`, for shapes that do not match, or a horizon below one.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(
        ...     np.ones((2, 5, 3, 1)), np.ones((2, 5)), np.asarray([0.5]), horizon=2
        ... )
        >>> forecasts.is_forecast.shape, forecasts.median_index
        ((2, 5), 0)
    """

    quantiles: Float[Array, "location time model quantile"]
    present: Bool[Array, "location time model"]
    truth: Float[Array, "location time"]
    observed: Float[Array, "location time lag"]
    levels: Float[Array, " quantile"]
    horizon: int = static()

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
            quantiles: Quantiles of every model, in the unit of the target; whole numbers become
                floats.
            truth: Target data in any unit, NaN where they are not (yet) known.
            levels: Levels of the quantiles, increasing within 0 and 1.
            observed: Target data as they could be known when each forecast was made, newest first;
                by default ten lags of `truth` itself.
            horizon: Steps ahead, at least 1; see the class.

        Returns:
            The forecasts, with a mask of those that are present.

        Raises:
            InputError: for shapes that do not match, or a horizon that is no whole number of at
                least one.

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
        """Whether any model forecast."""
        return self.present.any(-1)

    @property
    def is_scorable(self) -> Bool[Array, "location time"]:
        """Whether there is a forecast, and a known target to score it against."""
        return self.is_forecast & jnp.isfinite(self.truth)

    @property
    def median_index(self) -> int:
        """Index of the middle level."""
        return self.levels.shape[0] // 2


def lagged(
    series: Shaped[Array, "location time *rest"], horizon: int, *, num_lags: int, empty: float = 0.0
) -> Shaped[Array, "location time lag *rest"]:
    """Gathers the values at times t - horizon, t - horizon - 1, ... for every time t.

    Args:
        series: Values over time.
        horizon: Time steps before t of the newest value.
        num_lags: Number of values.
        empty: Value before the beginning of the series.

    Returns:
        The values, newest first.
    """
    num_times = series.shape[1]
    pad = horizon + num_lags - 1
    padding = [(0, 0), (pad, 0)] + [(0, 0)] * (series.ndim - 2)
    padded = jnp.pad(series, padding, constant_values=empty)
    index = jnp.arange(num_times)[:, None] + pad - horizon - jnp.arange(num_lags)
    return padded[:, index]

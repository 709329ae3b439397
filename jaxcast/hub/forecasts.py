"""The forecasts of a hub as JAX arrays, with a mask."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.tracing import is_traced

SAME_LEVEL = 1e-6
"""How far from 0.5 the level of a median may be."""


class HubForecasts(FrozenPytree):
    """The forecasts of a hub over time and the target data, as pools see them.

    Args:
        quantiles: Quantiles of every model, zero where it did not forecast.
        present: Whether a model forecast.
        truth: Target data to score against, the newest release; NaN where they are not (yet) known.
        observed: Target data as they could be known when each forecast was made, newest first.
        levels: Levels of the quantiles, increasing.
        releases: Target data as known on the day of each release, NaN where they were not; `truth`
            alone where revisions are not known.
        release_of: Index of the newest release that a forecast of each time may use, -1 for none.
        horizon: Steps ahead: the target at time t - horizon is the newest that a forecast of time t
            may use. A forecast that still waits for its target is no memory yet.
        median: Index of the level 0.5; None where the levels do not have it.

    Raises:
        InputError: by `of`, for shapes that do not match, a horizon below one, levels that do not
            increase within 0 and 1, or a release that is not there; by `median_index`, where there
            is no level 0.5.

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
    releases: Float[Array, "release location time"]
    release_of: Int[Array, " time"]
    horizon: Int[ArrayLike, ""]
    median: int | None = static(default=None)

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
        releases: Shaped[ArrayLike, "release location time"] | None = None,
        release_of: Int[ArrayLike, " time"] | None = None,
    ) -> "HubForecasts":
        """Makes them from quantiles whose missing values are NaN.

        Args:
            quantiles: Quantiles of every model, in the unit of the target; whole numbers become
                floats.
            truth: Target data in any unit, NaN where they are not (yet) known.
            levels: Levels of the quantiles, increasing within 0 and 1.
            observed: Target data as they could be known when each forecast was made, newest first;
                by default ten lags of each time's own release.
            horizon: Steps ahead, at least 1; see the class.
            releases: Target data as known on the day of each release; by default `truth` alone.
            release_of: Index of the newest release that a forecast of each time may use, -1 for
                none; given with `releases`.

        Returns:
            The forecasts, with a mask of those that are present.

        Raises:
            InputError: for shapes that do not match, a horizon that is not a whole number of at
                least one, levels that do not increase within 0 and 1, or an index of no release.

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
        median = _median_of(levels)
        releases, release_of = _releases(releases, release_of, truth)
        present = jnp.isfinite(quantiles).all(-1)
        filled = jnp.where(present[..., None], quantiles, 0).astype(dtype)
        if observed is None:
            observed = _observed(releases, release_of, horizon, num_lags=10)
        return cls(
            filled,
            present,
            truth.astype(dtype),
            jnp.asarray(observed, dtype),
            jnp.asarray(levels, dtype),
            releases.astype(dtype),
            release_of,
            horizon,
            median,
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
        """Index of the level 0.5.

        Raises:
            InputError: where there is none.
        """
        if self.median is None:
            raise InputError(
                "the forecasts have no quantile of level 0.5, the median, from which this pool measures errors and "
                "outliers; read that level too, or take another pool, such as equal_mean"
            )
        return self.median


def _median_of(levels: ArrayLike) -> int | None:
    """Returns the index of the level 0.5, None without it; of traced levels, the middle one."""
    if is_traced(levels):
        return jnp.shape(levels)[0] // 2
    values = np.asarray(levels, float)
    if not (((values >= 0) & (values <= 1)).all() and (np.diff(values) > 0).all()):
        raise InputError(f"expected levels that increase within 0 and 1, got {shown(values.tolist())}; sort them")
    found = np.flatnonzero(np.abs(values - 0.5) <= SAME_LEVEL)
    return int(found[0]) if len(found) else None


def _releases(releases: ArrayLike | None, release_of: ArrayLike | None, truth: Array) -> tuple[Array, Array]:
    """Returns the releases and each time's; by default the truth alone."""
    if (releases is None) != (release_of is None):
        raise InputError("give both releases and release_of, or neither")
    if releases is None or release_of is None:
        return truth[None], jnp.zeros(truth.shape[1], int)
    last = jnp.shape(releases)[0] - 1
    index = None if is_traced(release_of) else np.asarray(release_of)
    if index is not None and not ((index >= -1) & (index <= last)).all():
        raise InputError(
            f"release_of must be from -1 (none) to {last}, the last release, got {index.min()} to {index.max()}"
        )
    return jnp.asarray(releases), jnp.asarray(release_of)


def _observed(releases: Array, release_of: Array, horizon: int, *, num_lags: int) -> Array:
    """Returns the newest target data of each time's own release, (location, time, lag)."""
    index = jnp.arange(release_of.shape[0])[:, None] - horizon - jnp.arange(num_lags)
    is_known = (index >= 0) & (release_of >= 0)[:, None]
    values = releases[jnp.maximum(release_of, 0)[:, None], :, jnp.maximum(index, 0)]
    return jnp.moveaxis(jnp.where(is_known[..., None], values, jnp.nan), 2, 0)


@checked
def known_truth(forecasts: HubForecasts, time: Int[ArrayLike, ""]) -> Float[Array, "location time"]:
    """Returns the target data that a forecast of some time may use.

    They are those of the release that it may use, up to the date `horizon` steps before the time.

    Args:
        forecasts: The forecasts, and the target data.
        time: Index of the time, also a traced one.

    Returns:
        The target data, NaN elsewhere and where no release was out.

    Raises:
        InputError: for an index, unless traced, of no time.

    Example:
        >>> import jaxcast, numpy as np
        >>> releases = np.asarray([[[1.0, np.nan, np.nan]], [[1.5, 2.0, np.nan]], [[1.6, 2.5, 3.0]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(
        ...     np.ones((1, 3, 2, 1)), releases[-1], np.asarray([0.5]), releases=releases, release_of=[-1, 0, 1]
        ... )
        >>> [jaxcast.hub.known_truth(forecasts, time)[0].tolist() for time in range(3)]
        [[nan, nan, nan], [1.0, nan, nan], [1.5, 2.0, nan]]
    """
    num_times = forecasts.truth.shape[1]
    if not is_traced(time) and not 0 <= int(np.asarray(time)) < num_times:
        raise InputError(f"expected a time from 0 to {num_times - 1}, got {shown(time)}")
    release = forecasts.release_of[time]
    newest = jnp.asarray(time) - forecasts.horizon
    is_known = (jnp.arange(num_times) <= newest) & (release >= 0)
    return jnp.where(is_known, forecasts.releases[jnp.maximum(release, 0)], jnp.nan)


def lagged(
    series: Shaped[Array, "location time *rest"], horizon: Int[ArrayLike, ""], *, num_lags: int, empty: float = 0.0
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
    index = jnp.arange(series.shape[1])[:, None] - horizon - jnp.arange(num_lags)
    is_there = (index >= 0).reshape(*index.shape, *(1,) * (series.ndim - 2))
    return jnp.where(is_there, series[:, jnp.maximum(index, 0)], empty)

"""One-step forecasters of several series, rolled in closed loop by the usual scan."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Num

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.numerics.levels import middle_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Cell, Input, Output, RolloutState, closed_loop
from jaxcast.series.features import check_history
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.types import Info


class WindowCell(FrozenPytree, Cell):
    """A forecaster of several series as a cell; in closed loop it sees its own forecasts.

        y_(t+1) = f([u_(t-l+1), ..., u_t], exogenous_t) at its first lead

    Where it forecasts quantiles, a closed loop with a key feeds back a draw from them instead of
    the forecast, for each series by itself. The draw is of the normal distribution through the two
    neighbouring quantiles, beyond the outermost through the outermost two, and at least the
    forecaster's least value. Many keys give quantiles of what follows (see `RecursiveForecaster`).

    Args:
        forecaster: of histories, whose first lead is 1. Of several features it must forecast all,
            in their order.
        history_size: l, the steps that it sees.

    Raises:
        InputError: for a forecaster whose first lead is another, or a history_size below one or
            below the steps that the forecaster needs; when called, for one of several features that
            does not forecast all.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> cell = jaxcast.series.WindowCell(jaxcast.series.Drift((1,)), history_size=2)
        >>> jaxcast.forecast(cell, jnp.asarray([[1.0], [2.0]]), num_leads=3).forecast[:, 0].tolist()
        [3.0, 4.0, 5.0]
    """

    forecaster: WindowForecaster
    history_size: int = static()

    def __post_init__(self) -> None:
        check_one_step(self.forecaster)
        check_sizes(history_size=self.history_size)
        least = self.forecaster.signature.least_history
        if self.history_size < least:
            raise InputError(
                f"a closed loop needs a history of {least} consecutive steps or more, back to the largest lag, got "
                f"{self.history_size}"
            )

    @property
    def warmup(self) -> int:
        return self.history_size - 1

    @property
    def reads_tokens(self) -> bool:
        return False

    def check_first(self, value: Any, known: Any) -> None:
        """Accepts any first value.

        Args:
            value: the first value.
            known: whether it is the truth.
        """

    def init_carry(
        self, value: Float[Array, " region *feature"], exogenous: Any = None
    ) -> Float[Array, "time region *feature"]:
        """Returns a window in which nothing is known.

        Args:
            value: of the series, for its shape.
            exogenous: is not needed.
        """
        return jnp.full((self.history_size, *value.shape), jnp.nan, value.dtype)

    @checked
    def __call__(
        self, carry: Float[Array, "time region *feature"], x: Input
    ) -> tuple[Float[Array, "time region *feature"], Output]:
        check_all_features(self.forecaster, x.value)
        window = jnp.concatenate([carry[1:], x.value[None]])
        output = self.forecaster(window) if x.exogenous is None else self.forecaster(window, x.exogenous)
        info: Info = {"quantiles": output.info["quantiles"][0]} if "quantiles" in output.info else {}
        return window, Output(output.forecast[0].astype(x.value.dtype), info)

    def feedback(self, output: Output, key: Any) -> Float[Array, " region *feature"]:
        """Returns the forecast, or with a key a draw from the quantiles.

        Args:
            output: of the cell.
            key: for the draw; None for the forecast.
        """
        if key is None or "quantiles" not in output.info:
            return output.forecast
        levels, quantiles = (
            jnp.asarray(self.forecaster.signature.levels, output.forecast.dtype),
            output.info["quantiles"],
        )
        if len(levels) == 1:
            return output.forecast
        scores = jax.scipy.special.ndtri(levels)
        drawn = jax.random.normal(key, output.forecast.shape, output.forecast.dtype)[..., None]
        k = jnp.clip(jnp.sum(drawn > scores, -1, keepdims=True) - 1, 0, len(levels) - 2)
        low, high = (jnp.take_along_axis(quantiles, at, -1) for at in (k, k + 1))
        values = (low + (high - low) * (drawn - scores[k]) / (scores[k + 1] - scores[k]))[..., 0]
        lower = self.forecaster.signature.lower
        return (values if lower is None else jnp.maximum(values, lower)).astype(output.forecast.dtype)


def check_one_step(forecaster: WindowForecaster) -> None:
    """Raises InputError for a forecaster that says its first lead is not 1."""
    leads = forecaster.signature.leads
    if leads is not None and leads[0] != 1:
        raise InputError(f"expected a forecaster of the next step, whose first lead is 1, got one of the leads {leads}")


def check_all_features(forecaster: WindowForecaster, value: Num[Array, "..."]) -> None:
    """Refuses a forecaster that does not forecast every feature of its window."""
    targets = forecaster.signature.target_features
    if targets and targets != tuple(range(value.shape[-1])):
        raise InputError(
            "a closed loop needs forecasts of all features, expected target features "
            f"{tuple(range(value.shape[-1]))} for values of shape {value.shape}, got {targets}; learn each lead "
            "directly where others are only seen"
        )


class RecursiveForecaster(WindowForecaster, FrozenPytree):
    """A one-step forecaster rolled in closed loop: its forecasts enter the window, step by step.

    Other forecasters here learn each lead directly. With a key, the quantiles are those of
    `num_paths` closed loops that feed back draws, and the forecast is the level nearest to 0.5.

    Args:
        one_step: a forecaster whose first lead is 1; of several features it must forecast all, in
            their order.
        leads: steps ahead.
        num_paths: closed loops with draws.

    Raises:
        InputError: for leads that are not whole numbers from 1 on, or a forecaster whose first lead
            is another; when called, for a history of too few consecutive steps or of another shape,
            a key with a forecaster of points, or features that are not forecast.

    Source:
        Taieb, Bontempi, Atiya and Sorjamaa, Expert Systems with Applications 39, 7067 (2012), for
        both ways.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1,))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
        >>> one_step = jaxcast.series.fit_lag_regression(
        ...     samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-6
        ... )
        >>> forecast = jaxcast.series.RecursiveForecaster(one_step, (1, 10))(values[:50]).forecast
        >>> bool(abs(forecast - values[jnp.asarray([50, 59])]).max() < 0.1)
        True
    """

    one_step: WindowForecaster
    leads: tuple[int, ...] = static()
    num_paths: int = static(default=100)

    def __post_init__(self) -> None:
        leads = self.leads if isinstance(self.leads, tuple | list) else ()
        if not leads or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in (*leads, self.num_paths)):
            raise InputError(f"leads and num_paths must be at least 1, got {self.leads} and {self.num_paths}")
        check_one_step(self.one_step)

    @property
    def signature(self) -> WindowSignature:
        """The one-step forecaster's, for other leads; without a key there are no quantiles."""
        one_step = self.one_step.signature
        return one_step._replace(num_leads=len(self.leads), leads=self.leads, levels=())

    @property
    def target_features(self) -> tuple[int, ...]:
        """The features that are forecast; () where histories have no feature axis."""
        return self.one_step.signature.target_features

    def __call__(
        self, history: Num[Array, "..."], covariates: Any = None, *, key: Key[Array, ""] | None = None
    ) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region), with a last axis of features where
                the forecaster takes one.
            covariates: (*batch, step, ...), those of the newest step and of all after it but the
                last of the leads.
            key: for draws, the same for all windows.

        Returns:
            Forecasts (*batch, lead, region), with a last axis of features where histories have one.

        Raises:
            InputError: see the class.
        """
        levels = self.one_step.signature.levels
        if key is not None and not levels:
            raise InputError("a key is for draws from quantiles, which this forecaster has none of")
        check_history(history, self.target_features, series=self.one_step.signature.series)
        check_all_features(self.one_step, history)
        batch = history.shape[: -3 if self.target_features else -2]
        if jnp.issubdtype(history.dtype, jnp.integer):
            history = history.astype(jnp.result_type(float))  # forecasts of counts have fractions
        num_paths = 1 if key is None else self.num_paths
        size = (num_paths, max(self.leads), *batch, *history.shape[len(batch) + 1 :])
        check_arrays(f"{num_paths} paths of {max(self.leads)} leads", size, dtype=history.dtype)
        cell, num_leads = WindowCell(self.one_step, history.shape[len(batch)]), max(self.leads)
        at = jnp.asarray(self.leads) - 1

        def path(history: Array, covariates: Any, key: Any) -> Output:
            # The window is full at once: no forecast is made before its last step.
            before = jnp.concatenate([history[:1], history[:-1]])
            carry, first = cell(before, Input(history[-1], True, jax.tree.map(lambda a: a[0], covariates)))
            later = jax.tree.map(lambda a: a[1:], covariates)
            _, rest = closed_loop(cell, RolloutState(carry, first), num_leads - 1, later, key=key)
            return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b])[at], first, rest)

        def drawn(history: Array, covariates: Any, key: Any) -> Array:
            of_feedback, of_outputs = jax.random.split(key)
            outputs = path(history, covariates, of_feedback)
            return jax.vmap(cell.feedback)(outputs, jax.random.split(of_outputs, len(at)))

        def one(history: Array, covariates: Any) -> Output:
            if key is None:
                return Output(path(history, covariates, None).forecast, {})
            paths = jax.vmap(partial(drawn, history, covariates))(jax.random.split(key, self.num_paths))
            quantiles = jnp.moveaxis(jnp.quantile(paths, jnp.asarray(levels, paths.dtype), axis=0), 0, -1)
            return Output(quantiles[..., middle_of(levels)], {"quantiles": quantiles})

        if not batch:
            return one(history, covariates)
        flat, own = jax.tree.map(lambda a: a.reshape(-1, *a.shape[len(batch) :]), (history, covariates))
        many = jax.vmap(one)(flat, own)
        return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), many)

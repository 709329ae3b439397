"""One-step forecasters of several series rolled in closed loop, by the same scan as everything else."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.errors import InputError
from jaxcast.pytrees import register
from jaxcast.regions.calibration import middle_of
from jaxcast.rollout import Input, Output, forecast


@register
@dataclasses.dataclass(frozen=True)
class WindowCell:
    """A forecaster of several series as a cell, which sees the newest values and, in closed loop, its own forecasts among them.

        y_(t+1) = f([u_(t-l+1), ..., u_t], given_t) at its first lead

    Where it forecasts quantiles, a closed loop with a key feeds a draw from them instead of the forecast, for each series by
    itself: linear between levels, and the outermost quantile beyond. Many keys give quantiles of what follows (see
    `RecursiveForecaster`).

    Args:
        forecaster: any of histories (time, region) whose first lead is 1. window_size: l, the steps that it sees.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> cell = jaxcast.WindowCell(jaxcast.Drift((1,)), window_size=2)
        >>> jaxcast.forecast(cell, jnp.asarray([[1.0], [2.0]]), num_leads=3).forecast[:, 0].tolist()
        [3.0, 4.0, 5.0]
    """

    forecaster: Any
    window_size: int = dataclasses.field(metadata={"static": True})

    @property
    def warmup(self) -> int:
        return self.window_size - 1

    def init_carry(self, value: Float[Array, " region"], given: Any = None) -> Float[Array, "time region"]:
        """A window in which nothing is known."""
        return jnp.full((self.window_size, *value.shape), jnp.nan, value.dtype)

    def __call__(self, carry: Float[Array, "time region"], x: Input) -> tuple[Float[Array, "time region"], Output]:
        window = jnp.concatenate([carry[1:], x.value[None]])
        output = self.forecaster(window) if x.given is None else self.forecaster(window, x.given)
        info = {"quantiles": output.info["quantiles"][0]} if "quantiles" in output.info else {}
        return window, Output(output.forecast[0].astype(x.value.dtype), info)

    def feedback(self, output: Output, key: Any) -> Float[Array, " region"]:
        """The forecast, or with a key a draw from the quantiles."""
        if key is None or "quantiles" not in output.info:
            return output.forecast
        levels = jnp.asarray(self.forecaster.levels, output.forecast.dtype)
        shares = jax.random.uniform(key, output.forecast.shape, output.forecast.dtype)
        drawn = jax.vmap(lambda share, quantiles: jnp.interp(share, levels, quantiles))
        return drawn(shares, output.info["quantiles"]).astype(output.forecast.dtype)


@register
@dataclasses.dataclass(frozen=True)
class RecursiveForecaster:
    """A one-step forecaster made into one of any leads: its forecasts enter the window, step after step (a closed loop).

    The other way is to learn each lead directly, as all forecasters here do that are made for several leads. With a key its
    quantiles are those of `num_paths` closed loops that feed draws, and its forecast is the level nearest to 0.5.

    Args:
        one_step: a forecaster whose first lead is 1. leads: those wanted.

    Raises:
        InputError: for leads below one; when called, for a key with a forecaster of points.

    Source: Taieb, Bontempi, Atiya and Sorjamaa, Expert Systems with Applications 39, 7067 (2012), for both ways.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.lead_samples(values, window_size=4, leads=(1,))
        >>> inputs = jaxcast.lag_inputs(samples, lags=range(4))
        >>> one_step = jaxcast.fit_lag_regression(samples, inputs, jaxcast.Identity(), penalty=1e-6)
        >>> forecast = jaxcast.RecursiveForecaster(one_step, (1, 10))(values[:50]).forecast
        >>> bool(abs(forecast - values[jnp.asarray([50, 59])]).max() < 0.1)
        True
    """

    one_step: Any
    leads: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    num_paths: int = dataclasses.field(default=100, metadata={"static": True})

    def __post_init__(self) -> None:
        if not self.leads or min(*self.leads, self.num_paths) < 1:
            raise InputError(f"leads and num_paths must be at least 1, got {self.leads} and {self.num_paths}")

    def __call__(
        self, history: Float[Array, "*batch time region"], given: Any = None, *, key: Key[Array, ""] | None = None
    ) -> Output:
        """Forecasts of all leads, (*batch, lead, region).

        Args:
            given: (*batch, step, ...), what is given at the newest step and at all after it but the last of the leads.
            key: for draws, the same for all windows.
        """
        levels = getattr(self.one_step, "levels", ())
        if key is not None and not levels:
            raise InputError("a key is for draws from quantiles, which this forecaster has none of")
        batch = history.shape[:-2]
        length = history.shape[-2]
        cell, num_leads, at = WindowCell(self.one_step, length), max(self.leads), jnp.asarray(self.leads) - 1

        def path(history: Array, given: Any, key: Any) -> Array:
            of_feedback, of_outputs = jax.random.split(key)
            rolled = jax.tree.map(lambda a: a[at], forecast(cell, history, num_leads, given, key=of_feedback))
            return jax.vmap(cell.feedback)(rolled, jax.random.split(of_outputs, len(at)))

        def one(history: Array, given: Any) -> Output:
            # The cell is given something at every step; before the window is full, nothing comes of it.
            given = jax.tree.map(lambda a: jnp.concatenate([jnp.repeat(a[:1], length - 1, 0), a]), given)
            if key is None:
                return Output(forecast(cell, history, num_leads, given).forecast[at], {})
            paths = jax.vmap(partial(path, history, given))(jax.random.split(key, self.num_paths))
            quantiles = jnp.moveaxis(jnp.quantile(paths, jnp.asarray(levels, paths.dtype), axis=0), 0, -1)
            return Output(quantiles[..., middle_of(levels)], {"quantiles": quantiles})

        if not batch:
            return one(history, given)
        flat, own = jax.tree.map(lambda a: a.reshape(-1, *a.shape[len(batch) :]), (history, given))
        many = jax.vmap(one)(flat, own)
        return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), many)

"""Pools trained on single weeks and locations: samples, loss, and the paper's blocked protocol."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, ArrayLike, Bool, DTypeLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.hub.forecasts import HubForecasts, lagged
from jaxcast.limits import check_arrays
from jaxcast.nn.layers import uniform_linear
from jaxcast.pooling.memory import Memory
from jaxcast.scores.quantiles import pinball_loss
from jaxcast.training.fitting import fit


class QuantileSamples(NamedTuple):
    """Tasks with leading axes; all values are divided by `scale`.

    Args:
        memory: What a pool with delays knows: `states` are the newest observations, `errors` what
            the candidates forecast for them (the median minus the observation, and the other
            quantiles).
        recent: The candidates' newest forecasts, those of the task first.
        present: Whether a model forecast the task.
        target: Value of the target, zero where it is not known.
        weight: 1 where there are a forecast and a target, else 0.
        scale: Scale of the location.
        levels: Levels of the quantiles.
    """

    memory: Memory
    recent: Float[Array, "*batch lag model quantile"]
    present: Bool[Array, "*batch model"]
    target: Float[Array, "*batch"]
    weight: Float[Array, "*batch"]
    scale: Float[Array, "*batch"]
    levels: Float[Array, "*batch quantile"]


@checked
def quantile_samples(
    forecasts: HubForecasts, *, num_delays: int, scale: Shaped[ArrayLike, " location"]
) -> QuantileSamples:
    """Gathers what a pool with a delay memory knows before every task of a hub, (location, time, ...).

    At horizon h the newest observation is h steps older than the task, and so are the forecasts
    that it is compared with. A forecast that still waits for its target is no memory yet.

    Args:
        forecasts: Forecasts of the models, and the target data.
        num_delays: Observations and errors that the pool sees.
        scale: Scale of each location, such as its largest target in training.

    Returns:
        A sample for each location and time.

    Source:
        Patel and Wikner (2023), section 3.2.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(
        ...     np.ones((2, 6, 4, 3)), np.ones((2, 6)), np.asarray([0.25, 0.5, 0.75])
        ... )
        >>> samples = jaxcast.hub.quantile_samples(forecasts, num_delays=2, scale=np.ones(2))
        >>> samples.memory.states.shape, samples.memory.errors.shape
        ((2, 6, 2, 1), (2, 6, 2, 4, 3))
    """
    shape = forecasts.quantiles.shape
    check_arrays(f"{num_delays} delays of {shape[0]} x {shape[1]} forecasts", *[(num_delays, *shape)] * 2)
    scale = jnp.asarray(scale, forecasts.truth.dtype)
    quantiles = forecasts.quantiles / scale[:, None, None, None]
    truth = jnp.where(jnp.isfinite(forecasts.truth), forecasts.truth, 0) / scale[:, None]
    known = forecasts.present & jnp.isfinite(forecasts.truth)[..., None]
    middle = forecasts.median_index
    keys = quantiles.at[..., middle].add(-truth[..., None])
    keys = jnp.where(known[..., None], keys, 0)
    padded = jnp.nan_to_num(forecasts.observed[..., :num_delays] / scale[:, None, None])
    states = jnp.pad(padded, [(0, 0), (0, 0), (0, num_delays - padded.shape[-1])])[..., None]
    errors = lagged(keys, forecasts.horizon, num_lags=num_delays)
    recent = lagged(quantiles, 0, num_lags=num_delays)
    shape = forecasts.truth.shape
    return QuantileSamples(
        memory=Memory(states, errors),
        recent=recent,
        present=forecasts.present,
        target=truth,
        weight=forecasts.is_scorable.astype(truth.dtype),
        scale=jnp.broadcast_to(scale[:, None], shape),
        levels=jnp.broadcast_to(forecasts.levels, (*shape, *forecasts.levels.shape)),
    )


def pool_samples(model: Any, samples: QuantileSamples) -> Float[Array, "*batch quantile"]:
    """Forecasts every task with a trained pool.

    Args:
        model: A pool of candidates' quantiles, or a `QuantileRegression`.
        samples: The tasks.

    Returns:
        Forecasts in the unit of the target.
    """
    if isinstance(model, QuantileRegression):
        forecast = model(samples.recent)
    else:
        forecast = model(samples.memory, samples.recent[..., 0, :, :], present=samples.present).forecast
    return forecast * samples.scale[..., None]


@checked
def scaled_wis(model: Any, samples: QuantileSamples) -> Float[Array, ""]:
    """Computes the mean WIS in units of each location's scale: the published training loss, for `fit`.

    Args:
        model: A pool that `pool_samples` can call.
        samples: Tasks with one leading axis; where the weight is 0, the target does not matter, NaN
            or not.

    Returns:
        The mean over the samples whose weight is not 0.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(
        ...     np.ones((2, 6, 4, 3)), np.ones((2, 6)), np.asarray([0.25, 0.5, 0.75])
        ... )
        >>> samples = jaxcast.hub.quantile_samples(forecasts, num_delays=2, scale=np.ones(2))
        >>> samples = jax.tree.map(lambda a: a.reshape(12, *a.shape[2:]), samples)
        >>> pool = jaxcast.AdditiveAttention(dim=3, query_dim=1, num_delays=2, hidden_size=4, key=jax.random.key(0))
        >>> float(jaxcast.hub.scaled_wis(pool, samples))  # every candidate forecast the target
        0.0
    """
    forecast = pool_samples(model, samples) / samples.scale[..., None]
    counts = samples.weight > 0
    target = jnp.where(counts, samples.target, 0)
    forecast = jnp.where(counts[..., None], forecast, 0)
    losses = 2 * pinball_loss(forecast, target, samples.levels[0]).mean(-1)
    return (losses * samples.weight).sum() / jnp.maximum(samples.weight.sum(), 1)


class QuantileRegression(nnx.Module):
    """A linear regression on the candidates' last forecasts, trained by WIS.

        y = W [last `num_delays` forecasts of all candidates] + b

    Its quantiles can cross. A missing forecast counts as zero: fill gaps first (`fill_gaps`).

    Args:
        num_models: Number of candidates.
        num_quantiles: Number of quantiles.
        num_delays: Forecasts of each candidate that it sees.
        key: Random key of the initial parameters.
        dtype: Type of the parameters.

    Source:
        Patel and Wikner (2023), section 3.2.

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.hub.QuantileRegression(num_models=4, num_quantiles=3, num_delays=2, key=jax.random.key(0))
        >>> pool(jnp.ones((7, 2, 4, 3))).shape
        (7, 3)
    """

    @checked
    def __init__(
        self,
        *,
        num_models: int,
        num_quantiles: int,
        num_delays: int,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        size = num_models * num_quantiles * num_delays
        self.linear = uniform_linear(size, num_quantiles, fan_in=size, rngs=nnx.Rngs(key), dtype=dtype)

    @checked
    def __call__(self, recent: Float[Array, "*batch lag model quantile"]) -> Float[Array, "*batch quantile"]:
        return self.linear(recent.reshape(*recent.shape[:-3], -1)).astype(recent.dtype)


class BlockedForecast(NamedTuple):
    """Forecasts of the blocked protocol.

    Args:
        forecast: Forecasts of each seed, NaN outside of the windows and where no model forecast.
        losses: Loss of each training, window by window.
    """

    forecast: Float[Array, "seed location time quantile"]
    losses: Float[Array, "window seed epoch"]


@checked
def blocked_windows(
    forecasts: HubForecasts,
    windows: Shaped[ArrayLike, "window time"],
    *,
    init: Callable[[Any], Any],
    num_delays: int,
    keys: Key[Array, " seed"],
    optimizer: optax.GradientTransformation,
    num_epochs: int,
    batch_size: int = 64,
) -> BlockedForecast:
    """Runs the paper's protocol: trains on everything outside of a window, then forecasts the window.

    The training data lie before and after the window, so this is no forecast that a hub could have
    made.

    Args:
        forecasts: Forecasts of the models, and the target data.
        windows: Whether each time belongs to each window.
        init: Function from a random key to a pool, such as an `AdditiveAttention` with `dim` the
            number of levels and `query_dim` 1, or a `QuantileRegression`.
        num_delays: Observations and errors that the pool sees.
        keys: Random keys, one a seed.
        optimizer: Optimizer of `fit`.
        num_epochs: Passes over the training tasks.
        batch_size: Tasks of a minibatch.

    Returns:
        Forecasts of all windows, and the losses of all trainings.

    Raises:
        InputError: for a window that leaves nothing to train on.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(
        ...     np.ones((2, 9, 4, 3)), np.ones((2, 9)), np.asarray([0.25, 0.5, 0.75])
        ... )
        >>> def init(key):
        ...     return jaxcast.AdditiveAttention(dim=3, query_dim=1, num_delays=2, hidden_size=4, key=key)
        >>> blocked = jaxcast.hub.blocked_windows(
        ...     forecasts, np.arange(9)[None] < 3, init=init, num_delays=2, keys=jax.random.key(0)[None],
        ...     optimizer=jaxcast.training.make_optimizer(1e-3), num_epochs=1, batch_size=4,
        ... )
        >>> blocked.forecast.shape
        (1, 2, 9, 3)
    """
    windows = np.asarray(windows, bool)
    forecast = jnp.full(
        (len(keys), *forecasts.truth.shape, forecasts.levels.shape[0]), jnp.nan, forecasts.quantiles.dtype
    )
    losses = []
    for number, window in enumerate(windows):
        training = np.asarray(forecasts.is_scorable) & ~window
        if not training.any():
            raise InputError(f"window {number} leaves no task to train on")
        largest = np.where(training, np.asarray(forecasts.truth), 0).max(1)
        samples = quantile_samples(forecasts, num_delays=num_delays, scale=jnp.asarray(np.maximum(largest, 1e-9)))
        chosen = jax.tree.map(lambda a, training=training: a[training], samples)
        trained = fit(
            chosen,
            init=init,
            keys=keys,
            optimizer=optimizer,
            num_epochs=num_epochs,
            batch_size=batch_size,
            loss=scaled_wis,
        )
        pooled = _pooled(trained.models, jax.tree.map(lambda a, window=window: a[:, window], samples))
        forecast = forecast.at[:, :, window].set(pooled)
        losses.append(trained.losses)
    return BlockedForecast(jnp.where(forecasts.is_forecast[..., None], forecast, jnp.nan), jnp.stack(losses))


@jax.jit
def _pooled(models: Any, samples: QuantileSamples) -> Array:
    return jax.lax.map(lambda model: pool_samples(model, samples), models)

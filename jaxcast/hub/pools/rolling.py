"""Rolling origin: a hub's pools as they could have been run, from what was known at the time."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.hub.forecasts import HubForecasts, known_truth
from jaxcast.hub.pools.quantile_pool import QuantilePool, clip_outliers, equal_shares
from jaxcast.precision import highest
from jaxcast.scores.quantiles import pinball_loss
from jaxcast.tracing import is_traced
from jaxcast.training.optimizers import make_optimizer
from jaxcast.types import Scalar


class RollingOrigin(NamedTuple):
    """The forecasts of a pool that is retrained from a rolling origin.

    Args:
        forecast: Forecast of each time, by the pool as it was trained then.
        info: What the pool reports, likewise; `info["pool"]` has its parameters, with a leading
            time axis.
    """

    forecast: Float[Array, "location time quantile"]
    info: dict[str, Any]


@checked
def rolling_origin(
    forecasts: HubForecasts,
    *,
    pool: QuantilePool,
    optimizer: optax.GradientTransformation | None = None,
    num_optimizer_steps: int = 15,
    every: int = 1,
    start: int = 5,
    prior_weight: Scalar = 0.3,
    discount: Scalar = 1.0,
) -> RollingOrigin:
    """Retrains a pool before every time from what was known then, and forecasts that time.

    At time t the loss runs over times up to t - horizon, against the release of the target data
    that a forecast of that time may use. It is the mean WIS, that of each location divided by the
    root of its mean so far, relative to that of the mean of the clipped forecasts, plus
    `prior_weight` times the squared distance of the parameters from the given ones, divided by the
    number of times. Training starts from the parameters of the time before. The whole run is one
    compiled program; other numbers, and other pools of the same structure, compile nothing.

    Args:
        forecasts: Forecasts of the models, and the target data.
        pool: The pool; its parameters are start and prior.
        optimizer: By default Adam with a learning rate of 0.03.
        num_optimizer_steps: Optimizer steps before each forecast.
        every: Times between two trainings.
        start: Index of the first time to train for.
        prior_weight: Weight of the prior.
        discount: Weight of a time relative to the next; 1 forgets nothing.

    Returns:
        The forecasts, with what the pool reports and its parameters at each time.

    Raises:
        InputError: for a pool without anything to train, numbers of steps or times below one, or a
            discount that is not within (0, 1].

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.normal(10, 2, (3, 12))
        >>> levels = np.asarray([0.1, 0.5, 0.9])
        >>> spread = np.asarray([-2.0, 0.0, 2.0])
        >>> values = (truth[..., None] + rng.normal(0, [0.1, 2.0], (3, 12, 2)))[..., None] + spread
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, truth, levels)
        >>> rolled = jaxcast.hub.rolling_origin(forecasts, pool=jaxcast.hub.TrainedQuantileAverage.untrained(2))
        >>> bool(rolled.info["weights"][0, -1, 0] > 0.8)
        True
    """
    if not jax.tree.leaves(pool):
        raise InputError(f"{type(pool).__name__} has nothing to train; forecast with pool_forecasts instead")
    if min(num_optimizer_steps, every, start + 1) < 1:
        raise InputError(
            f"expected num_optimizer_steps and every of at least 1 and a start, got {num_optimizer_steps}, {every}, "
            f"{start}"
        )
    if not is_traced(discount) and not 0 < float(jnp.asarray(discount)) <= 1:
        raise InputError(f"discount must be above 0 and at most 1, got {discount}")
    optimizer = make_optimizer(0.03) if optimizer is None else optimizer
    return _rolling(
        pool,
        forecasts,
        jnp.asarray(start),
        jnp.asarray(prior_weight, float),
        jnp.asarray(discount, float),
        optimizer=optimizer,
        num_optimizer_steps=num_optimizer_steps,
        every=every,
    )


@partial(jax.jit, static_argnames=("optimizer", "num_optimizer_steps", "every"))
def _rolling(
    pool: Any,
    forecasts: HubForecasts,
    start: Array,
    prior_weight: Array,
    discount: Array,
    *,
    optimizer: optax.GradientTransformation,
    num_optimizer_steps: int,
    every: int,
) -> RollingOrigin:
    memory, plain = pool.observe(forecasts), _clipped_mean(forecasts)
    times = jnp.arange(forecasts.truth.shape[1])

    def refit(time: Array, trained: Any, state: Any) -> tuple[Any, Any]:
        age = time - forecasts.horizon - times
        weights = jnp.where(age >= 0, discount ** jnp.maximum(age, 0), 0)
        known = dataclasses.replace(forecasts, truth=known_truth(forecasts, time))
        reference = task_scores(plain, known)

        def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            trained, state = carry
            gradient = jax.grad(_loss)(trained, pool, memory, known, reference, weights, prior_weight)
            updates, state = optimizer.update(gradient, state, trained)
            return optax.apply_updates(trained, updates), state

        return jax.lax.fori_loop(0, num_optimizer_steps, step, (trained, state))

    def at(carry: tuple[Any, Any], time: Array) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        due = (time >= start) & ((time - start) % every == 0)
        carry = jax.lax.cond(due, lambda c: refit(time, *c), lambda c: c, carry)
        output = carry[0](memory, forecasts)
        return carry, (jax.tree.map(lambda a: a[:, time], output), carry[0])

    _, (outputs, pools) = jax.lax.scan(at, (pool, optimizer.init(pool)), times)
    forecast, info = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), outputs)
    return RollingOrigin(forecast, {**info, "pool": pools})


def _loss(
    trained: Any,
    prior: Any,
    memory: Any,
    forecasts: HubForecasts,
    reference: Array,
    weights: Array,
    prior_weight: Array,
) -> Array:
    num_times = weights.sum() + 1
    typical = (reference * weights).sum(1, keepdims=True) / num_times
    # Scores grow with the location; their roots let large ones count for more, but not for all.
    scale = weights * jax.lax.rsqrt(typical + 1e-3 * typical.mean() + jnp.finfo(typical.dtype).tiny ** 0.5)
    scores = task_scores(trained(memory, forecasts).forecast, forecasts)
    distance = sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(prior), strict=True))
    usual = (reference * scale).sum()
    return (scores * scale).sum() / jnp.where(usual > 0, usual, 1) + prior_weight * distance / num_times


def task_scores(
    pooled: Float[Array, "location time quantile"], forecasts: HubForecasts
) -> Float[Array, "location time"]:
    """Computes the WIS of every task.

    Args:
        pooled: Forecasts of a pool.
        forecasts: The target data, and where any model forecast.

    Returns:
        Scores, zero where there is no task.
    """
    truth = jnp.where(forecasts.is_scorable, forecasts.truth, 0)
    pooled = jnp.where(forecasts.is_scorable[..., None], pooled, 0)
    return jnp.where(forecasts.is_scorable, 2 * pinball_loss(pooled, truth, forecasts.levels).mean(-1), 0)


@highest
def _clipped_mean(forecasts: HubForecasts) -> Array:
    clipped, credible = clip_outliers(forecasts, 2.0)
    return jnp.einsum("ltm,ltmq->ltq", equal_shares(credible, clipped.dtype), clipped)

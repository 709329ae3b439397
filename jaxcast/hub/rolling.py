"""Rolling origin: a hub's pools as they could have been run, each from what was known at its time."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.hub.adaptive_pool import AdaptivePool, rescaled
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.hub.quantile_pool import QuantilePool, clip_outliers, equal_shares, where_forecast
from jaxcast.rollout import Output
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

    At time t the loss runs over times up to t - horizon. It is the mean WIS, that of each location
    divided by the root of its mean so far, relative to that of the mean of the clipped forecasts,
    plus `prior_weight` times the squared distance of the parameters from the given ones, divided by
    the number of times. Training starts from the parameters of the time before. The whole run is
    one compiled program; other numbers, and other pools of the same structure, compile nothing.

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
        InputError: for numbers of steps or times below one, or a discount that is not within (0,
            1].

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.normal(10, 2, (3, 12))
        >>> levels = np.asarray([0.1, 0.5, 0.9])
        >>> spread = np.asarray([-2.0, 0.0, 2.0])
        >>> values = (truth[..., None] + rng.normal(0, [0.1, 2.0], (3, 12, 2)))[..., None] + spread
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, truth, levels)
        >>> rolled = jaxcast.hub.rolling_origin(forecasts, pool=jaxcast.hub.AdaptivePool.untrained())
        >>> bool(rolled.info["weights"][0, -1, 0] > 0.9)
        True
    """
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
    memory = pool.observe(forecasts)
    reference = task_scores(_clipped_mean(forecasts), forecasts)
    times = jnp.arange(forecasts.truth.shape[1])

    def refit(time: Array, trained: Any, state: Any) -> tuple[Any, Any]:
        age = time - forecasts.horizon - times
        weights = jnp.where(age >= 0, discount ** jnp.maximum(age, 0), 0)

        def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            trained, state = carry
            gradient = jax.grad(_loss)(trained, pool, memory, forecasts, reference, weights, prior_weight)
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


def _clipped_mean(forecasts: HubForecasts) -> Array:
    clipped, credible = clip_outliers(forecasts, 2.0)
    return jnp.einsum("ltm,ltmq->ltq", equal_shares(credible, clipped.dtype), clipped)


class LeaderForecast(NamedTuple):
    """The forecasts of the setting that led at each time.

    Args:
        forecast: Forecast of the leader.
        leader: Index of the leading setting at each time.
    """

    forecast: Float[Array, "location time quantile"]
    leader: Int[Array, " time"]


@checked
@jax.jit
def follow_leader(pooled: Float[Array, "setting location time quantile"], forecasts: HubForecasts) -> LeaderForecast:
    """Takes at every time the forecast of the setting with the lowest total WIS so far.

    Hyperparameters are thus chosen without hindsight. Until there is a score the first setting
    leads.

    Args:
        pooled: Forecasts of a pool under each setting.
        forecasts: The target data, and where any model forecast.

    Returns:
        The leader's forecasts, and who led when.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.hub.HubForecasts.of(np.ones((1, 3, 2, 1)), np.ones((1, 3)), np.asarray([0.5]))
        >>> pooled = np.stack([np.full((1, 3, 1), 9.0), np.ones((1, 3, 1))])
        >>> jaxcast.hub.follow_leader(jax.numpy.asarray(pooled), forecasts).leader.tolist()
        [0, 1, 1]
    """
    scores = jax.vmap(task_scores, in_axes=(0, None))(pooled, forecasts).sum(1)
    padded = jnp.pad(scores, [(0, 0), (forecasts.horizon, 0)])[:, : scores.shape[1]]
    leader = jnp.argmin(padded.cumsum(1), 0)
    return LeaderForecast(jnp.take_along_axis(pooled, leader[None, None, :, None], 0)[0], leader)


@checked
@partial(jax.jit, static_argnames=("nominal", "lower"))
def track_coverage(
    pooled: Float[Array, "location time quantile"],
    forecasts: HubForecasts,
    *,
    rate: Scalar = 0.04,
    nominal: tuple[float, float] = (0.5, 0.95),
    lower: float | None = 0.0,
) -> Float[Array, "location time quantile"]:
    """Widens or narrows quantile forecasts until two central intervals have their nominal coverage.

        log factor <- log factor + (rate / horizon) (share that missed / nominal share - 1)

    for both ends of each interval, after every time, once its target is known; shares are of the
    locations. At longer horizons
    the steps are smaller, to avoid overshooting. Increments between quantiles within the inner
    interval are multiplied by the inner factor of their side, those outside by the outer factor, so
    quantiles never cross. Nothing is trained, and the rate is the only setting.

    Args:
        pooled: Forecasts of any pool, in the unit of the target.
        forecasts: The target data, and where any model forecast; elsewhere the result is NaN.
        rate: Size of the steps.
        nominal: Coverage of both intervals; the levels nearest to their ends are used.
        lower: The least value that the target can have; None for any.

    Returns:
        The forecasts with other widths.

    Source:
        Gibbs and Candes, NeurIPS (2021), adaptive conformal inference; here on widths instead of
        levels.

    Example:
        >>> import jaxcast, numpy as np
        >>> levels = np.asarray([0.025, 0.25, 0.5, 0.75, 0.975])
        >>> truth = np.random.default_rng(0).normal(0, 3, (50, 60))
        >>> narrow = np.broadcast_to(np.asarray([-1.96, -0.67, 0.0, 0.67, 1.96]), (50, 60, 1, 5))
        >>> forecasts = jaxcast.hub.HubForecasts.of(narrow, truth, levels)
        >>> tracked = jaxcast.hub.track_coverage(forecasts.quantiles[:, :, 0], forecasts, rate=0.1, lower=None)
        >>> 2.5 < float(tracked[0, -1, 3] / 0.67) < 3.5
        True
    """
    ends = jnp.asarray([(1 + sign * cover) / 2 for sign in (-1, 1) for cover in nominal])
    index = jnp.argmin(
        jnp.abs(forecasts.levels - ends[:, None]), 1
    )  # lower inner, lower outer, upper inner, upper outer
    is_upper = jnp.asarray([False, False, True, True])
    expected = jnp.where(is_upper, 1 - forecasts.levels[index], forecasts.levels[index])
    middles = (forecasts.levels[1:] + forecasts.levels[:-1]) / 2
    inner = (middles > ends[0]) & (middles < ends[2])
    zone = jnp.where(inner, 0, 1) + jnp.where(middles < 0.5, 0, 2)

    def at(carry: tuple[Array, Array], x: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        logs, pending = carry
        quantiles, truth, scored = x
        widened = rescaled(quantiles, quantiles[:, forecasts.median_index], jnp.exp(logs[zone]), forecasts.median_index)
        widened = widened if lower is None else jnp.maximum(widened, lower)
        ends = widened[:, index]
        missed = jnp.where(is_upper, truth[:, None] > ends, truth[:, None] < ends)
        share = (missed & scored[:, None]).sum(0) / jnp.maximum(scored.sum(), 1)
        # The truth of this time is known only `horizon` times later: until then the update waits.
        update = jnp.where(scored.any(), rate / forecasts.horizon * (share / expected - 1), 0)
        pending = jnp.concatenate([pending, update[None]])
        return (jnp.clip(logs + pending[0], -2, 2), pending[1:]), widened

    rows = (jnp.moveaxis(pooled, 1, 0), jnp.where(forecasts.is_scorable, forecasts.truth, 0).T, forecasts.is_scorable.T)
    start = (jnp.zeros(4, pooled.dtype), jnp.zeros((forecasts.horizon - 1, 4), pooled.dtype))
    return where_forecast(jnp.moveaxis(jax.lax.scan(at, start, rows)[1], 0, 1), forecasts)


GRID: tuple[dict[str, Any], ...] = tuple(
    {"prior_weight": weight, "discount": discount} for weight in (1.0, 0.1) for discount in (1.0, 0.97)
)


@checked
def adaptive_origin(
    forecasts: HubForecasts,
    *,
    pool: AdaptivePool | None = None,
    settings: tuple[dict[str, Any], ...] = GRID,
    **kwargs: Any,
) -> Output:
    """Runs an `AdaptivePool` as a hub could have run it, with all its settings chosen on the way.

    This is `rolling_origin` under several settings, at every time the setting with the best past
    score (`follow_leader`), and its coverage tracked (`track_coverage`).

    Args:
        forecasts: Forecasts of the models, and the target data.
        pool: By default an untrained `AdaptivePool`.
        settings: Values of `prior_weight` and `discount` to run; the first leads until there is a
            score.
        kwargs: Further arguments of `rolling_origin`.

    Returns:
        The forecast (location, time, quantile), with `info["weights"]` (location, time, model),
        `info["leader"]` (time,), the setting, and `info["pool"]`, the leader's pool as last
        trained.

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> values = np.sort(rng.normal(10, 2, (3, 12, 2, 3)), -1)
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, rng.normal(10, 2, (3, 12)), np.asarray([0.1, 0.5, 0.9]))
        >>> jaxcast.hub.adaptive_origin(forecasts).forecast.shape
        (3, 12, 3)
    """
    pool = AdaptivePool.untrained() if pool is None else pool
    rolled = [rolling_origin(forecasts, pool=pool, **setting, **kwargs) for setting in settings]
    followed = follow_leader(jnp.stack([each.forecast for each in rolled]), forecasts)
    weights = jnp.stack([each.info["weights"] for each in rolled])
    weights = jnp.take_along_axis(weights, followed.leader[None, None, :, None], 0)[0]
    forecast = track_coverage(followed.forecast, forecasts, lower=pool.lower)
    newest = jax.tree.map(lambda a: a[-1], rolled[int(followed.leader[-1])].info["pool"])
    return Output(forecast, {"weights": weights, "leader": followed.leader, "pool": newest})

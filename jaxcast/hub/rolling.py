"""Rolling origin: what a hub could really have run, with nothing known at a time but what came before it."""

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
from jaxcast.hub.pools import QuantilePool, clip_outliers, equal_shares, where_possible
from jaxcast.rollout import Output
from jaxcast.scores.quantiles import pinball_loss
from jaxcast.tracing import is_traced
from jaxcast.training.optimizers import make_optimizer
from jaxcast.types import Scalar


class Rolled(NamedTuple):
    """forecast: (location, time, quantile), each time's by the pool as it was trained then. info: of the pool, likewise, with its
    parameters in `info["pool"]`, with a leading time axis."""

    forecast: Float[Array, "location time quantile"]
    info: dict[str, Any]


@checked
def rolling_origin(
    pool: QuantilePool,
    course: HubForecasts,
    *,
    optimizer: optax.GradientTransformation | None = None,
    num_optimizer_steps: int = 15,
    every: int = 1,
    start: int = 5,
    penalty: Scalar = 0.3,
    discount: Scalar = 1.0,
) -> Rolled:
    """Retrains a pool before every time from what was known then, goes on from the last parameters, and forecasts.

    At time t the loss runs over times up to t - horizon. It is the mean WIS, that of each location divided by the root of
    its mean so far, to that of the mean of the clipped forecasts, plus the penalty times the squared distance of the
    parameters from the given ones, divided by the number of times. The whole run is one compiled program; other numbers,
    and other pools of the same structure, compile nothing.

    Args:
        pool: any pytree of parameters with `observe` and a call; its parameters are start and prior.
        optimizer: by default Adam with a rate of 0.03. num_optimizer_steps: of it before each forecast.
        every: retrain every so many times. start: the index of the first time to train for.
        penalty: the weight of the prior. discount: the weight of a time compared to that of the next; 1 forgets nothing.

    Raises:
        InputError: for numbers of steps or times below one, or a discount that is not within (0, 1].

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.normal(10, 2, (3, 12))
        >>> levels = np.asarray([0.1, 0.5, 0.9])
        >>> spread = np.asarray([-2.0, 0.0, 2.0])
        >>> forecasts = (truth[..., None] + rng.normal(0, [0.1, 2.0], (3, 12, 2)))[..., None] + spread
        >>> course = jaxcast.hub.HubForecasts.of(forecasts, truth, levels)
        >>> rolled = jaxcast.hub.rolling_origin(jaxcast.hub.AdaptivePool.untrained(), course)
        >>> bool(rolled.info["weights"][0, -1, 0] > 0.9)
        True
    """
    if min(num_optimizer_steps, every, start + 1) < 1:
        raise InputError(
            f"expected num_optimizer_steps and every of at least 1 and a start, got {num_optimizer_steps}, {every}, {start}"
        )
    if not is_traced(discount) and not 0 < float(jnp.asarray(discount)) <= 1:
        raise InputError(f"discount must be above 0 and at most 1, got {discount}")
    optimizer = make_optimizer(0.03) if optimizer is None else optimizer
    return _rolling(
        pool, course, jnp.asarray(start), jnp.asarray(penalty, float), jnp.asarray(discount, float),
        optimizer=optimizer, num_optimizer_steps=num_optimizer_steps, every=every,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("optimizer", "num_optimizer_steps", "every"))
def _rolling(
    pool: Any,
    course: HubForecasts,
    start: Array,
    penalty: Array,
    discount: Array,
    *,
    optimizer: optax.GradientTransformation,
    num_optimizer_steps: int,
    every: int,
) -> Rolled:
    memory = pool.observe(course)
    reference = task_scores(_clipped_mean(course), course)
    times = jnp.arange(course.truth.shape[1])

    def refit(time: Array, trained: Any, state: Any) -> tuple[Any, Any]:
        age = time - course.horizon - times
        weights = jnp.where(age >= 0, discount ** jnp.maximum(age, 0), 0)

        def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            trained, state = carry
            gradient = jax.grad(_loss)(trained, pool, memory, course, reference, weights, penalty)
            updates, state = optimizer.update(gradient, state, trained)
            return optax.apply_updates(trained, updates), state

        return jax.lax.fori_loop(0, num_optimizer_steps, step, (trained, state))

    def at(carry: tuple[Any, Any], time: Array) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        due = (time >= start) & ((time - start) % every == 0)
        carry = jax.lax.cond(due, lambda c: refit(time, *c), lambda c: c, carry)
        output = carry[0](memory, course)
        return carry, (jax.tree.map(lambda a: a[:, time], output), carry[0])

    _, (outputs, pools) = jax.lax.scan(at, (pool, optimizer.init(pool)), times)
    forecast, info = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), outputs)
    return Rolled(forecast, {**info, "pool": pools})


def _loss(
    trained: Any, prior: Any, memory: Any, course: HubForecasts, reference: Array, weights: Array, penalty: Array
) -> Array:
    num_times = weights.sum() + 1
    typical = (reference * weights).sum(1, keepdims=True) / num_times
    # Scores grow with the location; their roots let large ones count for more, but not for all.
    scale = weights * jax.lax.rsqrt(typical + 1e-3 * typical.mean() + jnp.finfo(typical.dtype).tiny ** 0.5)
    scores = task_scores(trained(memory, course).forecast, course)
    distance = sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(prior), strict=True))
    usual = (reference * scale).sum()
    return (scores * scale).sum() / jnp.where(usual > 0, usual, 1) + penalty * distance / num_times


def task_scores(
    forecast: Float[Array, "location time quantile"], course: HubForecasts
) -> Float[Array, "location time"]:
    """The WIS of every task, zero where there is none."""
    truth = jnp.where(course.scored, course.truth, 0)
    forecast = jnp.where(course.scored[..., None], forecast, 0)
    return jnp.where(course.scored, 2 * pinball_loss(forecast, truth, course.levels).mean(-1), 0)


def _clipped_mean(course: HubForecasts) -> Array:
    clipped, credible = clip_outliers(course, 2.0)
    return jnp.einsum("ltm,ltmq->ltq", equal_shares(credible, clipped.dtype), clipped)


class Followed(NamedTuple):
    """forecast: of the leader. leader: the index of who it was at each time, (time,)."""

    forecast: Float[Array, "location time quantile"]
    leader: Int[Array, " time"]


@checked
@jax.jit
def follow_leader(forecasts: Float[Array, "setting location time quantile"], course: HubForecasts) -> Followed:
    """At every time the forecast of the setting with the lowest total WIS over what was known before; at first the first.

    Hyperparameters are so chosen without hindsight.

    Example:
        >>> import jaxcast, numpy as np
        >>> course = jaxcast.hub.HubForecasts.of(np.ones((1, 3, 2, 1)), np.ones((1, 3)), np.asarray([0.5]))
        >>> forecasts = np.stack([np.full((1, 3, 1), 9.0), np.ones((1, 3, 1))])
        >>> jaxcast.hub.follow_leader(jax.numpy.asarray(forecasts), course).leader.tolist()
        [0, 1, 1]
    """
    scores = jax.vmap(task_scores, in_axes=(0, None))(forecasts, course).sum(1)
    padded = jnp.pad(scores, [(0, 0), (course.horizon, 0)])[:, : scores.shape[1]]
    leader = jnp.argmin(padded.cumsum(1), 0)
    return Followed(jnp.take_along_axis(forecasts, leader[None, None, :, None], 0)[0], leader)


@checked
@partial(jax.jit, static_argnames=("nominal", "lower"))
def track_coverage(
    forecast: Float[Array, "location time quantile"],
    course: HubForecasts,
    *,
    rate: Scalar = 0.04,
    nominal: tuple[float, float] = (0.5, 0.95),
    lower: float | None = 0.0,
) -> Float[Array, "location time quantile"]:
    """Widens or narrows quantile forecasts on each side until two central intervals cover what they should.

        log factor <- log factor + (rate / horizon) (share of locations that missed / nominal share - 1),    for each end of both

    after every time, once its truth is known; where that takes longer, the steps are smaller, lest they overshoot. The
    increments between quantiles within the inner interval are multiplied by the inner factor of their side, those beyond it
    by the outer one; so quantiles never cross. Nothing is trained, and the only setting is the rate.

    Args:
        forecast: of any pool, in the unit of the truth.
        course: with the truth, and where any model forecast: elsewhere the result is NaN.
        rate: of the steps.
        nominal: the coverage of both intervals; the levels nearest to their ends are used.
        lower: see `AdaptivePool`.

    Returns:
        The forecast with other widths.

    Source: Gibbs and Candes, NeurIPS (2021), adaptive conformal inference; here on widths instead of levels.

    Example:
        >>> import jaxcast, numpy as np
        >>> levels = np.asarray([0.025, 0.25, 0.5, 0.75, 0.975])
        >>> truth = np.random.default_rng(0).normal(0, 3, (50, 60))
        >>> narrow = np.broadcast_to(np.asarray([-1.96, -0.67, 0.0, 0.67, 1.96]), (50, 60, 1, 5))
        >>> course = jaxcast.hub.HubForecasts.of(narrow, truth, levels)
        >>> tracked = jaxcast.hub.track_coverage(course.forecasts[:, :, 0], course, rate=0.1, lower=None)
        >>> 2.5 < float(tracked[0, -1, 3] / 0.67) < 3.5
        True
    """
    ends = jnp.asarray([(1 + sign * cover) / 2 for sign in (-1, 1) for cover in nominal])
    index = jnp.argmin(jnp.abs(course.levels - ends[:, None]), 1)  # lower inner, lower outer, upper inner, upper outer
    is_upper = jnp.asarray([False, False, True, True])
    expected = jnp.where(is_upper, 1 - course.levels[index], course.levels[index])
    middles = (course.levels[1:] + course.levels[:-1]) / 2
    inner = (middles > ends[0]) & (middles < ends[2])
    zone = jnp.where(inner, 0, 1) + jnp.where(middles < 0.5, 0, 2)

    def at(carry: tuple[Array, Array], x: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        logs, pending = carry
        quantiles, truth, scored = x
        widened = rescaled(quantiles, quantiles[:, course.median_index], jnp.exp(logs[zone]), course.median_index)
        widened = widened if lower is None else jnp.maximum(widened, lower)
        ends = widened[:, index]
        missed = jnp.where(is_upper, truth[:, None] > ends, truth[:, None] < ends)
        share = (missed & scored[:, None]).sum(0) / jnp.maximum(scored.sum(), 1)
        # The truth of this time is known only `horizon` times later: until then the update waits.
        update = jnp.where(scored.any(), rate / course.horizon * (share / expected - 1), 0)
        pending = jnp.concatenate([pending, update[None]])
        return (jnp.clip(logs + pending[0], -2, 2), pending[1:]), widened

    rows = (jnp.moveaxis(forecast, 1, 0), jnp.where(course.scored, course.truth, 0).T, course.scored.T)
    start = (jnp.zeros(4, forecast.dtype), jnp.zeros((course.horizon - 1, 4), forecast.dtype))
    return where_possible(jnp.moveaxis(jax.lax.scan(at, start, rows)[1], 0, 1), course)


GRID: tuple[dict[str, Any], ...] = tuple(
    {"penalty": penalty, "discount": discount} for penalty in (1.0, 0.1) for discount in (1.0, 0.97)
)


@checked
def adaptive_origin(
    course: HubForecasts,
    pool: AdaptivePool | None = None,
    *,
    settings: tuple[dict[str, Any], ...] = GRID,
    **kwargs: Any,
) -> Output:
    """The best pool of this library, run as a hub could have run it: `rolling_origin` of an `AdaptivePool` under several
    settings, at every time that with the best past score (`follow_leader`), its coverage tracked (`track_coverage`).

    Args:
        pool: by default an untrained `AdaptivePool`. settings: of penalty and discount; the first is used until there is a score.
        kwargs: see `rolling_origin`.

    Returns:
        forecast (location, time, quantile), `info["weights"]` (location, time, model), `info["leader"]` (time,), the setting, and
        `info["pool"]`, the leader's pool as it was trained last.

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> forecasts = np.sort(rng.normal(10, 2, (3, 12, 2, 3)), -1)
        >>> course = jaxcast.hub.HubForecasts.of(forecasts, rng.normal(10, 2, (3, 12)), np.asarray([0.1, 0.5, 0.9]))
        >>> jaxcast.hub.adaptive_origin(course).forecast.shape
        (3, 12, 3)
    """
    pool = AdaptivePool.untrained() if pool is None else pool
    rolled = [rolling_origin(pool, course, **setting, **kwargs) for setting in settings]
    followed = follow_leader(jnp.stack([each.forecast for each in rolled]), course)
    weights = jnp.stack([each.info["weights"] for each in rolled])
    weights = jnp.take_along_axis(weights, followed.leader[None, None, :, None], 0)[0]
    forecast = track_coverage(followed.forecast, course, lower=pool.lower)
    newest = jax.tree.map(lambda a: a[-1], rolled[int(followed.leader[-1])].info["pool"])
    return Output(forecast, {"weights": weights, "leader": followed.leader, "pool": newest})

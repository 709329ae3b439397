"""Contribution of each model of an ensemble to its score: leave one out, and Shapley values."""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_whole
from jaxcast.errors import InputError
from jaxcast.hub.forecasts import HubForecasts
from jaxcast.hub.pools.plain import QuantileMean
from jaxcast.hub.pools.quantile_pool import QuantilePool, pool_once
from jaxcast.hub.pools.rolling import task_scores

Empty = Literal["mean_model", "left_out"]
MOST_EXACT = 20
"""Most models of which all subsets are pooled: a million pools."""


class ModelImportance(NamedTuple):
    """Importance of each model for the score of an ensemble, task by task.

    All are differences or values of the weighted interval score (WIS), NaN for a task without it.
    A positive importance is a lower, better WIS.

    Args:
        leave_one_out: WIS of the pool without the model minus that of the pool of all.
        shapley: Shapley value of the model.
        single: WIS of each model alone.
        pool: WIS of the pool of all.
        empty: WIS that counts as that of a pool of no model.
        standard_error: Standard error of each model's mean Shapley value over its tasks, from the
            sampling of permutations; 0 where all subsets were pooled.
        num_pools: Number of pools that were made.

    Raises:
        InputError: by `rows`, for names that are not one for each model.
    """

    leave_one_out: Float[Array, "location time model"]
    shapley: Float[Array, "location time model"]
    single: Float[Array, "location time model"]
    pool: Float[Array, "location time"]
    empty: Float[Array, "location time"]
    standard_error: Float[Array, " model"]
    num_pools: int

    def rows(self, models: Sequence[str]) -> list[dict[str, Any]]:
        """Averages over the tasks of each model, a row for each model, the most important first.

        Args:
            models: Names of the models.

        Returns:
            Rows with model; leave_one_out; shapley and its standard_error; relative_shapley, the
            Shapley value over the WIS of the pool on the same tasks; wis, that of the model alone;
            pool_wis; and num_tasks. A model without a task has None for its numbers.

        Raises:
            InputError: for names that are not one for each model.
        """
        if len(models) != self.shapley.shape[-1]:
            raise InputError(f"expected {self.shapley.shape[-1]} names of models, got {len(models)}")
        there = ~np.isnan(np.asarray(self.shapley))
        rows = []
        for i, name in enumerate(models):
            tasks, num_tasks = there[..., i], int(there[..., i].sum())
            values = (self.leave_one_out[..., i], self.shapley[..., i], self.single[..., i], self.pool)
            leave, shapley, wis, pool = (
                float(np.asarray(value)[tasks].mean()) if num_tasks else None for value in values
            )
            row = {"model": name, "leave_one_out": leave, "shapley": shapley}
            row["standard_error"] = float(self.standard_error[i]) if num_tasks else None
            row["relative_shapley"] = shapley / pool if shapley is not None and pool else None
            rows.append(row | {"wis": wis, "pool_wis": pool, "num_tasks": num_tasks})
        return sorted(rows, key=lambda row: -np.inf if row["shapley"] is None else row["shapley"], reverse=True)


@checked
def model_importance(
    forecasts: HubForecasts,
    *,
    pool: QuantilePool | None = None,
    empty: Empty = "mean_model",
    empty_score: Shaped[ArrayLike, "location time"] | None = None,
    max_exact: int = 12,
    num_permutations: int = 100,
    key: Key[Array, ""] | None = None,
) -> ModelImportance:
    """Measures how much each model contributes to the score of an ensemble.

        leave one out: s(N \\ i) - s(N)
        Shapley:       sum_S |S|! (n - |S| - 1)! / n! (s(S) - s(S + i)),    S a subset of N \\ i

    where s(S) is the WIS of the pool of the models S, and N are the n models present at a task. An
    absent model has no value and changes no other's. Shapley values of a task add up to s(empty) -
    s(N). Only tasks with two models or more count: a pool of one leaves nothing to share.

    The pool is not trained. One with a memory, such as `InverseScoreWeights`, remembers the models
    of the subset alone.

    Args:
        forecasts: Forecasts of the models, and the target data.
        pool: Pool of the forecasts; by default their mean.
        empty: Score s(empty) of no model. "mean_model" is the mean WIS of the single models, as if
            one were picked at random; values then add up to what pooling gains. "left_out" leaves
            the empty set out and gives the other sizes of S equal weights, the permutation-based
            LASOMO of the source; these values do not add up.
        empty_score: Instead, the score s(empty) of each task, such as the WIS of a baseline. Tasks
            of a single model then count, too.
        max_exact: Number of models, at most 20, up to which all their subsets are pooled.
        num_permutations: Number of random orders of more models than that; half of them are the
            reverse of the other half.
        key: For these orders; by default the one of seed 0.

    Returns:
        The importance of each model at each task; `rows` averages it.

    Raises:
        InputError: without a task, for scores of no model with another shape, for permutations that
            are not an even number, or for more than 20 models of which all subsets are asked for.

    Source:
        Kim, Ray and Reich, Int. J. Forecasting (2026), doi:10.1016/j.ijforecast.2025.12.006, on
        importance by leaving models out of all subsets; Shapley (1953). The pairs of orders are the
        antithetic sampling of Mitchell et al., JMLR 23, 43 (2022).

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.asarray([[[[8.0], [12.0], [15.0]]]])
        >>> forecasts = jaxcast.hub.HubForecasts.of(values, np.asarray([[10.0]]), np.asarray([0.5]))
        >>> importance = jaxcast.hub.model_importance(forecasts)
        >>> [round(float(value), 2) for value in importance.shapley.ravel()]
        [1.86, 0.86, -1.39]
        >>> [round(float(value), 2) for value in importance.leave_one_out.ravel()]
        [1.83, -0.17, -1.67]
    """
    check_choice("empty", empty, ("mean_model", "left_out"))
    check_whole("max_exact", max_exact, most=MOST_EXACT)
    check_whole("num_permutations", num_permutations, least=2)
    if num_permutations % 2:
        raise InputError(
            f"num_permutations must be even, as each order comes with its reverse, got {num_permutations}; give "
            f"{num_permutations + 1}"
        )
    pool = QuantileMean() if pool is None else pool
    num_models = forecasts.present.shape[2]
    single, others, everyone = _one_by_one(pool, forecasts)
    known = forecasts.present & forecasts.is_scorable[..., None]
    size = known.sum(-1)
    if empty_score is None:
        nothing = jnp.where(known, single, 0).sum(-1) / jnp.maximum(size, 1)
        tasks = size > 1
    else:
        nothing = jnp.asarray(empty_score, single.dtype)
        if nothing.shape != everyone.shape:
            raise InputError(
                f"expected empty_score {everyone.shape}, one for each task, got {nothing.shape}; give one number for "
                "each location and time"
            )
        tasks = (size > 0) & jnp.isfinite(nothing)
    if not tasks.any():
        raise InputError("no task has a target and two models or more; importance needs such tasks")
    counted = known & tasks[..., None]
    skips = empty_score is None and empty == "left_out"
    if num_models <= max_exact:
        masks, weights = _all_subsets(num_models)
        values = _exact(pool, forecasts, nothing, jnp.asarray(masks), jnp.asarray(weights, single.dtype))
        if skips:
            values = values - (nothing[..., None] - single) / jnp.maximum(size, 1)[..., None]
        error, num_pools = jnp.zeros(num_models), len(masks)
    else:
        key = jax.random.key(0) if key is None else key
        orders = jax.vmap(lambda k: jax.random.permutation(k, num_models))(jax.random.split(key, num_permutations // 2))
        values, error = _sampled(pool, forecasts, nothing, counted, orders, skips)
        num_pools = num_permutations * num_models
    if skips:
        values = values * (size / jnp.maximum(size - 1, 1))[..., None]
    # A model alone leaves the empty pool behind.
    others = jnp.where((size > 1)[..., None], others, nothing[..., None])
    left, values, single = (
        jnp.where(counted, each, jnp.nan) for each in (others - everyone[..., None], values, single)
    )
    pooled, nothing = (jnp.where(tasks, each, jnp.nan) for each in (everyone, nothing))
    return ModelImportance(left, values, single, pooled, nothing, error, num_pools)


def _score(pool: QuantilePool, forecasts: HubForecasts, mask: Bool[Array, " model"], nothing: Array) -> Array:
    """Returns the WIS of the pool of some models; that of no model where none is present."""
    subset = dataclasses.replace(forecasts, present=forecasts.present & mask)
    scores = task_scores(pool_once(pool, subset).forecast, subset)
    return jnp.where(subset.is_forecast, scores, nothing)


@jax.jit
def _one_by_one(pool: QuantilePool, forecasts: HubForecasts) -> tuple[Array, Array, Array]:
    """Returns the scores of each model alone, of all but each, and of all."""
    alone = jnp.eye(forecasts.present.shape[2], dtype=bool)
    nothing = jnp.zeros(forecasts.truth.shape, forecasts.quantiles.dtype)
    score = partial(_score, pool, forecasts, nothing=nothing)
    single, others = (jnp.moveaxis(jax.lax.map(score, masks), 0, -1) for masks in (alone, ~alone))
    return single, others, score(alone.any(0))


def _all_subsets(num_models: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns all subsets, and the weight of each one's score in each model's Shapley value."""
    masks = (np.arange(2**num_models)[:, None] >> np.arange(num_models)) & 1 == 1
    weights = np.asarray([1 / (num_models * math.comb(num_models - 1, size)) for size in range(num_models)])
    size = masks.sum(1)[:, None]
    joined, before = weights[np.maximum(size - 1, 0)], weights[np.minimum(size, num_models - 1)]
    return masks, np.where(masks, -joined, before)


@jax.jit
def _exact(pool: QuantilePool, forecasts: HubForecasts, nothing: Array, masks: Array, weights: Array) -> Array:
    def add(total: Array, x: tuple[Array, Array]) -> tuple[Array, None]:
        mask, weight = x
        return total + _score(pool, forecasts, mask, nothing)[..., None] * weight, None

    start = jnp.zeros(forecasts.present.shape, nothing.dtype)
    return jax.lax.scan(add, start, (masks, weights))[0]


@partial(jax.jit, static_argnames="skips")
def _sampled(
    pool: QuantilePool, forecasts: HubForecasts, nothing: Array, counted: Array, orders: Array, skips: bool
) -> tuple[Array, Array]:
    """Returns mean contributions over random orders and their reverses, with standard errors."""
    num_models = forecasts.present.shape[2]
    scale = forecasts.present.sum(-1) / jnp.maximum(forecasts.present.sum(-1) - 1, 1) if skips else jnp.ones(())

    def contributions(order: Array) -> Array:
        def join(carry: tuple[Array, Array, Array], model: Array) -> tuple[tuple[Array, Array, Array], Array]:
            mask, before, values = carry
            joined = mask | (jnp.arange(num_models) == model)
            score = _score(pool, forecasts, joined, nothing)
            gain = before - score
            if skips:
                gain = jnp.where((forecasts.present & mask).any(-1), gain, 0)
            return (joined, score, values.at[..., model].set(gain)), jnp.zeros(())

        start = (jnp.zeros(num_models, bool), nothing, jnp.zeros(forecasts.present.shape, nothing.dtype))
        return jax.lax.scan(join, start, order)[0][2]

    def add(total: Array, order: Array) -> tuple[Array, Array]:
        both = (contributions(order) + contributions(order[::-1])) / 2
        of_tasks = jnp.where(counted, both * jnp.broadcast_to(scale, nothing.shape)[..., None], 0).sum((0, 1))
        return total + both, of_tasks / jnp.maximum(counted.sum((0, 1)), 1)

    total, means = jax.lax.scan(add, jnp.zeros(forecasts.present.shape, nothing.dtype), orders)
    num_pairs = len(orders)
    spread = means.std(0, ddof=1) if num_pairs > 1 else jnp.full(num_models, jnp.nan)
    return total / num_pairs, spread / num_pairs**0.5

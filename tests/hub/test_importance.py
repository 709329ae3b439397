"""Leave-one-out and Shapley importance: by their definitions, subset after subset in NumPy."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import hub
from jaxcast.hub.pools.quantile_pool import median_of_present, rank_of_present

LEVELS = np.asarray([0.1, 0.5, 0.9])


def make(seed=0, *, models=4, shape=(2, 5), gaps=True):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.normal(10, 4, (*shape, models, 3)), -1)
    truth = rng.normal(10, 4, shape)
    if gaps:
        values[rng.random(values.shape[:3]) < 0.25] = np.nan
        truth[0, 1] = np.nan
    return hub.HubForecasts.of(values, truth, LEVELS), values, truth


def wis(forecast, truth):
    error = truth - forecast
    return 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean()


def by_hand(values, truth, combine, empty):
    """The importance of a single task over the models present, by the definition."""
    present = np.flatnonzero(~np.isnan(values[:, 0]))
    n, nan = len(present), np.full(len(values), np.nan)
    if n < 2 or np.isnan(truth):
        return nan, nan.copy()
    scores = {
        s: wis(combine(values[list(s)]), truth) for k in range(1, n + 1) for s in itertools.combinations(present, k)
    }
    scores[()] = np.mean([scores[(i,)] for i in present]) if empty == "mean_model" else empty
    shapley, left = nan.copy(), nan.copy()
    for i in present:
        others = [j for j in present if j != i]
        left[i] = scores[tuple(others)] - scores[tuple(present)]
        shapley[i] = 0
        for k in range(n):
            weight = 1 / ((n - 1) * math.comb(n - 1, k)) if empty == "left_out" else 1 / (n * math.comb(n - 1, k))
            for s in itertools.combinations(others, k):
                if k or empty != "left_out":
                    shapley[i] += weight * (scores[s] - scores[tuple(sorted((*s, i)))])
    return left, shapley


@pytest.mark.slow
@pytest.mark.parametrize("empty", ["mean_model", "left_out"])
@pytest.mark.parametrize(
    ("pool", "combine"),
    [(hub.QuantileMean(), lambda v: v.mean(0)), (hub.QuantileMedian(), lambda v: np.median(v, axis=0))],
)
def test_importance_by_the_definition(pool, combine, empty):
    forecasts, values, truth = make()
    importance = hub.model_importance(forecasts, pool=pool, empty=empty)
    for task in np.ndindex(truth.shape):
        left, shapley = by_hand(values[task], truth[task], combine, empty)
        np.testing.assert_allclose(importance.leave_one_out[task], left, atol=1e-10)
        np.testing.assert_allclose(importance.shapley[task], shapley, atol=1e-10)
    assert importance.num_pools == 16
    np.testing.assert_array_equal(importance.standard_error, 0)


@pytest.mark.slow
def test_values_add_up_and_are_fair():
    _, values, truth = make(1)
    values[0, 0, 1:] = np.nan
    values[0, 0, 0] = 9.0
    forecasts = hub.HubForecasts.of(values, truth, LEVELS)
    baseline = np.full(truth.shape, 7.0)
    for empty_score in (None, baseline):
        importance = hub.model_importance(forecasts, empty_score=empty_score)
        tasks = ~np.isnan(np.asarray(importance.pool))
        total = np.nansum(importance.shapley, -1)
        np.testing.assert_allclose(total[tasks], (importance.empty - importance.pool)[tasks], atol=1e-10)
    single = np.asarray(forecasts.present).sum(-1) == 1
    assert (tasks & single).any()  # with a score of no model, a model alone has a value
    np.testing.assert_allclose(total[tasks & single], (7 - importance.pool)[tasks & single], atol=1e-10)


def test_symmetry_and_a_dummy():
    values = np.random.default_rng(2).normal(10, 3, (2, 5, 3, 3))
    values = np.sort(np.concatenate([values, values[:, :, :1]], 2), -1)  # the last model is a copy of the first
    truth = np.full((2, 5), 9.0)
    shapley = hub.model_importance(hub.HubForecasts.of(values, truth, LEVELS)).shapley
    np.testing.assert_allclose(shapley[..., 0], shapley[..., 3], atol=1e-10)

    class FirstTwo(hub.MemorylessPool, jaxcast.FrozenPytree):
        """Pools the first two models alone; where neither is present, a forecast of zeros."""

        def __call__(self, memory, forecasts):
            present = forecasts.present.at[..., 2:].set(False)
            total = jnp.where(present[..., None], forecasts.quantiles, 0).sum(2)
            return jaxcast.Output(total / jnp.maximum(present.sum(-1), 1)[..., None], {})

    zeros = np.asarray(jaxcast.scores.weighted_interval_score(np.zeros((2, 5, 3)), truth, LEVELS).wis)
    importance = hub.model_importance(hub.HubForecasts.of(values, truth, LEVELS), pool=FirstTwo(), empty_score=zeros)
    np.testing.assert_allclose(importance.shapley[..., 2:], 0, atol=1e-10)
    assert (np.abs(importance.shapley[..., :2]) > 0.1).any()


@pytest.mark.slow
def test_a_pool_with_memory_remembers_the_subset():
    forecasts, values, truth = make(3, gaps=False)
    pool = hub.InverseScoreWeights(window=3)
    importance = hub.model_importance(forecasts, pool=pool)

    def score(*absent):
        few = values.copy()
        few[:, :, list(absent)] = np.nan
        pooled = hub.pool_forecasts(pool, hub.HubForecasts.of(few, truth, LEVELS)).forecast
        return jaxcast.scores.weighted_interval_score(pooled, truth, LEVELS).wis

    np.testing.assert_allclose(importance.leave_one_out[..., 1], score(1) - score(), atol=1e-10)
    np.testing.assert_allclose(importance.single[..., 2], score(0, 1, 3), atol=1e-10)


@pytest.mark.parametrize("empty", ["mean_model", pytest.param("left_out", marks=pytest.mark.slow)])
def test_sampled_orders_come_close_and_know_how_close(empty):
    forecasts, *_ = make(4)
    exact = hub.model_importance(forecasts, empty=empty)
    few = hub.model_importance(forecasts, empty=empty, max_exact=3, num_permutations=40)
    assert few.num_pools == 160
    tasks = ~np.isnan(np.asarray(exact.pool))
    if empty == "mean_model":
        np.testing.assert_allclose(np.nansum(few.shapley, -1)[tasks], (few.empty - few.pool)[tasks], atol=1e-10)
    error = np.nanmean(few.shapley, (0, 1)) - np.nanmean(exact.shapley, (0, 1))
    assert (np.abs(error) < 4 * few.standard_error).all()
    assert (few.standard_error > 0).all()
    assert (few.standard_error < 0.3 * np.nanstd(exact.shapley, (0, 1))).all()


def test_rows_average_over_the_tasks_of_a_model():
    forecasts, *_ = make(5)
    importance = hub.model_importance(forecasts)
    rows = {row["model"]: row for row in importance.rows(("a", "b", "c", "d"))}
    tasks = ~np.isnan(np.asarray(importance.shapley[..., 1]))
    assert rows["b"]["num_tasks"] == tasks.sum() < 10
    np.testing.assert_allclose(rows["b"]["shapley"], np.asarray(importance.shapley[..., 1])[tasks].mean())
    np.testing.assert_allclose(rows["b"]["pool_wis"], np.asarray(importance.pool)[tasks].mean())
    np.testing.assert_allclose(rows["b"]["relative_shapley"], rows["b"]["shapley"] / rows["b"]["pool_wis"])
    values = [row["shapley"] for row in importance.rows(("a", "b", "c", "d"))]
    assert values == sorted(values, reverse=True)
    with pytest.raises(jaxcast.InputError, match="expected 4 names of models, got 1"):
        importance.rows(("a",))


def test_importance_refuses_what_it_cannot_share_out():
    forecasts, values, _ = make(6)
    with pytest.raises(jaxcast.InputError, match="no task has a target and two models"):
        hub.model_importance(hub.HubForecasts.of(np.where([[1]] + 3 * [[0]], values, np.nan), np.ones((2, 5)), LEVELS))
    with pytest.raises(jaxcast.InputError, match=r"\(2, 5\), one for each task, got \(5, 2\)"):
        hub.model_importance(forecasts, empty_score=np.ones((5, 2)))
    with pytest.raises(jaxcast.InputError, match=r"must be even, .* got 3; give 4"):
        hub.model_importance(forecasts, num_permutations=3)
    with pytest.raises(jaxcast.InputError, match=r"max_exact .*20.*25"):
        hub.model_importance(forecasts, max_exact=25)


@pytest.mark.slow
@pytest.mark.parametrize("num_models", [1, 5, 31, 40])
def test_ranks_of_the_models_present(num_models):
    rng = np.random.default_rng(num_models)
    values = rng.integers(0, 9, (3, 4, num_models, 2)).astype(float)  # many are equal
    present = rng.random((3, 4, num_models)) < 0.7
    rank = np.asarray(rank_of_present(jnp.asarray(values), jnp.asarray(present)))
    median = np.asarray(median_of_present(jnp.asarray(values), jnp.asarray(present)))
    for task in np.ndindex(3, 4):
        there = values[task][present[task]]
        expected = np.argsort(np.argsort(there, 0, kind="stable"), 0, kind="stable")
        np.testing.assert_array_equal(rank[task][present[task]], expected)
        np.testing.assert_array_equal(median[task], np.median(there, 0) if len(there) else 0)

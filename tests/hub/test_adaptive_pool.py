"""The adaptive pool: what it reports, and what it makes of the data of real hubs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.hub.forecasts import known_truth
from jaxcast.hub.padding import pool_padded
from jaxcast.hub.pools.adaptive_pool import _share_of_mean
from jaxcast.hub.pools.quantile_pool import clip_outliers
from jaxcast.hub.pools.rolling import task_scores

LEVELS = np.asarray([0.025, 0.25, 0.5, 0.75, 0.975])
NORMAL = np.asarray([-1.96, -0.67, 0.0, 0.67, 1.96])
SIZE = (3, 24, 4)
POOL = jaxcast.hub.AdaptivePool()


def make(size=SIZE, levels=LEVELS, normal=NORMAL):
    """Quantiles and truth of models that are worse from one to the next."""
    rng = np.random.default_rng(6)
    truth = 10.0 * 2.0 ** np.arange(size[0])[:, None] * rng.lognormal(0, 0.2, size[:2])
    error = 0.1 * 1.5 ** np.arange(size[2])
    centre = truth[..., None] * np.exp(error * rng.normal(size=size))
    return centre[..., None] * np.exp(error[:, None] * normal), truth


def hub_of(quantiles, truth, levels=LEVELS, **options):
    return jaxcast.hub.HubForecasts.of(quantiles, truth, levels, **options)


def check(hub, pool=POOL):
    """Forecasts are finite and do not cross, weights sum to one and experts, too; where any model
    forecast."""
    forecast, info = jaxcast.hub.pool_forecasts(pool, hub)
    there = np.asarray(hub.is_forecast)
    np.testing.assert_array_equal(np.isfinite(forecast), np.broadcast_to(there[..., None], forecast.shape))
    assert jaxcast.scores.count_crossings(forecast) == 0
    np.testing.assert_allclose(np.asarray(info["weights"]).sum(-1), there, atol=1e-9)
    assert (np.asarray(info["weights"])[~np.asarray(hub.present)] == 0).all()
    np.testing.assert_allclose(np.asarray(info["experts"]).sum(-1), 1)
    return np.asarray(forecast), np.asarray(info["weights"])


@pytest.mark.slow
def test_weights_are_those_of_the_averages_that_are_pooled():
    """With averages of quantiles in place of the other experts, the weights give the forecast."""
    hub = hub_of(*make())
    memory = jax.jit(POOL.observe)(hub)
    weightings = memory.weights.shape[0]
    averages = memory.forecasts[:weightings]
    memory = memory._replace(forecasts=jnp.concatenate([averages, averages, averages[:1]]))
    output = jax.jit(POOL.__call__)(memory, hub)
    pooled = jnp.einsum("ltm,ltmq->ltq", output.info["weights"], clip_outliers(hub, 2.0)[0])
    np.testing.assert_allclose(output.forecast, jaxcast.hub.track_coverage(pooled, hub), rtol=1e-9)


@pytest.mark.slow
def test_the_mean_stands_in_until_scores_are_known():
    quantiles, truth = make()
    releases = np.stack([truth, truth])
    release_of = np.where(np.arange(SIZE[1]) < 6, -1, 0)
    truth[:, 10] = np.nan
    quantiles[:, 11] = np.nan
    for horizon in (1, 4):
        hub = hub_of(quantiles, truth, horizon=horizon, releases=releases, release_of=release_of)
        share = np.asarray(_share_of_mean(hub))
        for time in range(SIZE[1]):
            known = np.asarray(known_truth(hub, time))
            steps = sum(np.isfinite(known[:, s]).any() and s != 11 for s in range(SIZE[1]))
            ahead = horizon if time else 1  # of the first round nothing tells how far the next is
            np.testing.assert_allclose(share[time], 2 * ahead / (2 * ahead + steps))
    hub = hub_of(quantiles, truth, releases=releases, release_of=release_of)
    forecast, weights = check(hub)
    np.testing.assert_allclose(weights[:, :6], 0.25)
    np.testing.assert_allclose(forecast[:, :6], clip_outliers(hub, 2.0)[0][:, :6].mean(2), rtol=1e-9)
    assert (weights[:, 20:, 0] > 0.5).all()


def injected(name):
    quantiles, truth = make()
    options = {}
    if name == "a model joins":
        quantiles[:, :12, 0] = np.nan
    elif name == "a model leaves":
        quantiles[:, 12:, 0] = np.nan
    elif name == "a model returns":
        quantiles[:, 6:18, 0] = np.nan
    elif name == "a model goes mad":
        quantiles[:, 12:, 0] *= 1e6
    elif name == "all zero":
        truth[:], quantiles[:] = 0, 0
    elif name == "zero for months":
        truth[:, 4:18], quantiles[:, 4:18] = 0, 0
    elif name == "weeks without truth":
        truth[:, 5:9] = truth[1] = np.nan
    elif name == "no truth at all":
        truth[:] = np.nan
    elif name == "no release":
        options = {"releases": truth[None], "release_of": np.full(SIZE[1], -1)}
    elif name == "truth of huge values":
        truth[:, 9] = 1e12
    return hub_of(quantiles, truth, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "a model joins",
        "a model leaves",
        "a model returns",
        "a model goes mad",
        "all zero",
        "zero for months",
        "weeks without truth",
        "no truth at all",
        "no release",
        "truth of huge values",
    ],
)
def test_it_copes_with_what_hubs_hold(name):
    hub = injected(name)
    forecast, weights = check(hub)
    if name == "a model joins":
        assert (abs(weights[:, 12, 0] - 0.15) < 0.1).all()  # as an average model, among better and worse
        assert (weights[:, -1, 0] > 0.5).all()
    elif name == "a model returns":
        assert (weights[:, 18, 0] > 0.25).all()  # some of what it had earned
    elif name == "a model goes mad":
        assert (weights[:, 12:, 0] == 0).all()
        assert forecast[:, 12:].max() < 3 * np.asarray(hub.quantiles)[:, 12:, 1:].max()
    elif name == "all zero":
        assert (forecast == 0).all()
    elif name in ("no truth at all", "no release"):
        np.testing.assert_allclose(weights, 0.25)
        np.testing.assert_allclose(forecast, clip_outliers(hub, 2.0)[0].mean(2), rtol=1e-9)


@pytest.mark.slow
def test_locations_models_and_units_may_come_in_any_order():
    quantiles, truth = make()
    forecast = check(hub_of(quantiles, truth))[0]
    turned = check(hub_of(1000 * quantiles[::-1, :, ::-1], 1000 * truth[::-1]))[0]
    np.testing.assert_allclose(turned[::-1], 1000 * forecast, rtol=1e-8)


@pytest.mark.slow
def test_other_numbers_compile_nothing(count_compilations):
    quantiles, truth = make()
    jaxcast.hub.pool_forecasts(POOL, hub_of(quantiles, truth))
    other = hub_of(2 * quantiles, truth + 1)
    count_compilations()
    jaxcast.hub.pool_forecasts(jaxcast.hub.AdaptivePool(), other)
    assert count_compilations() == 0


@pytest.mark.slow
@pytest.mark.parametrize("follow_newest", [False, True])
@pytest.mark.parametrize("name", ["one model", "one location", "other levels", "one level", "far", "one week"])
def test_it_copes_with_other_sizes(name, follow_newest):
    size = {"one model": (3, 24, 1), "one location": (1, 24, 4), "one week": (3, 1, 4)}.get(name, SIZE)
    levels, normal = LEVELS, NORMAL
    if name == "other levels":
        levels, normal = np.asarray([0.1, 0.3, 0.5, 0.7, 0.9]), np.asarray([-1.28, -0.52, 0, 0.52, 1.28])
    elif name == "one level":
        levels, normal = np.asarray([0.5]), np.zeros(1)
    quantiles, truth = make(size, levels, normal)
    hub = hub_of(quantiles, truth, levels, horizon=4 if name == "far" else 1)
    forecast, _ = check(hub, jaxcast.hub.AdaptivePool(follow_newest=follow_newest))
    if name == "one model" and not follow_newest:
        np.testing.assert_allclose(forecast[..., 2], quantiles[:, :, 0, 2])  # only widths change


@pytest.mark.slow
def test_what_was_earned_in_a_season_is_remembered_in_the_next():
    quantiles, truth = make((3, 100, 4))
    quantiles[:, 20:80] = np.nan
    truth[:, 20:80] = np.nan
    _, weights = check(hub_of(quantiles, truth))
    assert (weights[:, 19, 0] > 0.5).all()
    np.testing.assert_allclose(weights[:, 80].mean(0), weights[:, 19].mean(0), atol=0.1)
    assert (weights[:, 80, 0] > 0.5).all()
    assert (weights[:, -1, 0] > 0.5).all()


def test_it_beats_the_mean_where_models_differ():
    hub = hub_of(*make())
    late = dataclasses.replace(hub, truth=hub.truth.at[:, :8].set(jnp.nan))
    scores = [
        float(task_scores(jaxcast.hub.pool_forecasts(pool, hub).forecast, late).sum())
        for pool in (POOL, jaxcast.hub.QuantileMean())
    ]
    assert scores[0] < 0.8 * scores[1]


def whole_hub(size, horizon):
    """A hub with a release a step, each of which is a little off in its newest value."""
    quantiles, truth = make(size)
    quantiles[1, 5:9, 0] = np.nan
    dates = np.datetime64("2024-01-06") + 7 * np.arange(size[1])
    releases = np.stack(
        [np.where(np.arange(size[1]) <= r, truth * (0.9 if r % 2 else 1.0), np.nan) for r in range(9, 24)]
    )
    names = [tuple(f"{kind}{i}" for i in range(number)) for kind, number in zip("lm", (size[0], size[2]), strict=True)]
    which = np.arange(size[1]) - 9 - horizon
    observed = np.where(which[:, None] >= 0, releases[np.maximum(which, 0), :, 0].T[..., None], np.nan)
    return jaxcast.hub.Hub(
        quantiles, truth, observed, names[0], dates, names[1], LEVELS, horizon,
        releases=releases, as_of=dates[9:24] + np.timedelta64(4, "D"), release_of=np.maximum(which, -1),
    )  # fmt: skip


@pytest.mark.slow
def test_padding_changes_no_forecast_and_horizons_share_a_program(count_compilations):
    hubs = [whole_hub((3, 24, 4), 1), whole_hub((4, 26, 3), 2)]
    plain = [np.asarray(jaxcast.hub.pool_forecasts(POOL, hub.forecasts()).forecast) for hub in hubs]
    first = pool_padded(POOL, hubs[0])
    count_compilations()
    second = pool_padded(POOL, hubs[1])
    assert count_compilations() == 0
    for padded, expected in zip((first, second), plain, strict=True):
        np.testing.assert_allclose(padded, expected, rtol=1e-6)

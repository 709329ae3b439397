"""The adaptive pool beside the mean and the median, on hubs made by chance that were used for
nothing else."""

import numpy as np
import pytest
from scipy.stats import poisson

import jaxcast
from jaxcast.hub.pools.rolling import task_scores

LEVELS = np.asarray([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
NORMAL = np.asarray([-1.96, -1.28, -0.67, 0.0, 0.67, 1.28, 1.96])
SIZE = (20, 60, 6)
EQUAL = np.full(6, 0.3)
# The most of the better of mean and median.
MOST = {
    "one much better": 0.8,
    "all alike": 1.01,
    "the best one changes": 0.9,
    "heavy tails": 1.01,
    "strong revisions": 1.01,
    "correlated models": 1.01,
    "common waves": 1.01,
    "three models": 1.01,
    "models join and leave": 1.01,
    "a surge": 1.01,
    "zeros in half of the places": 1.01,
    "low counts, most models zero": 0.9,
}


def make(kind, seed):
    """A hub of counts whose logarithms wander, with models off by a share of the target."""
    rng = np.random.default_rng(seed)
    level = np.cumsum(rng.normal(0, 0.15, SIZE[:2]), 1) + rng.normal(4, 1, SIZE[0])[:, None]
    if kind == "common waves":
        level = 3 + 2 * np.sin(np.arange(SIZE[1]) / 5) + 0.1 * level
    truth = np.exp(level)
    sizes = np.tile(EQUAL, (SIZE[1], 1))
    if kind == "one much better":
        sizes[:, 2] = 0.1
    if kind == "the best one changes":
        sizes[: SIZE[1] // 2, 1] = sizes[SIZE[1] // 2 :, 4] = 0.1
    noise = rng.standard_t(2, SIZE) if kind == "heavy tails" else rng.normal(size=SIZE)
    if kind == "correlated models":
        noise[..., :4] = 0.95 * rng.normal(size=(*SIZE[:2], 1)) + 0.3 * noise[..., :4]
    if kind == "common waves":  # All are late at each turn, and wrong together.
        noise[..., :] += 2 * rng.normal(size=(1, SIZE[1], 1)) - 2 * np.cos(np.arange(SIZE[1]) / 5)[:, None]
    centre = level[..., None] + sizes * noise
    spread = sizes * (1 if kind == "all alike" else np.asarray([1.0, 0.6, 1.0, 1.6, 1.0, 0.8]))
    quantiles = np.exp(np.clip(centre[..., None] + spread[..., None] * NORMAL, -5, 15))
    quantiles[rng.random(SIZE) < 0.1] = np.nan
    if kind == "three models":
        quantiles[:, :, 3:] = np.nan
    if kind == "models join and leave":
        quantiles[:, rng.random(SIZE[1]) < 0.5, 0] = np.nan
        quantiles[:, :30, 1] = quantiles[:, 30:, 2] = quantiles[:10, :, 3] = np.nan
    releases = np.broadcast_to(truth, (SIZE[1], *SIZE[:2])).copy()
    if kind == "strong revisions":
        age = np.arange(SIZE[1])[:, None, None] - np.arange(SIZE[1])
        releases *= 1 - 0.4 * np.exp(-np.maximum(age, 0) / 2) * rng.random(SIZE[:2])
    release_of = np.maximum(np.arange(SIZE[1]) - 1, -1)
    return jaxcast.hub.HubForecasts.of(quantiles, truth, LEVELS, releases=releases, release_of=release_of)


def make_calibrated(kind, seed):
    """A hub of models that are as wide as they should be, where something else is out of the
    ordinary."""
    rng = np.random.default_rng(seed)
    if kind == "low counts, most models zero":
        truth = rng.poisson(0.5, SIZE[:2]).astype(float)
        quantiles = np.zeros((*SIZE, len(LEVELS)))
        quantiles[:, :, 2:4] = poisson.ppf(LEVELS, 0.5)
        quantiles[:, :, 3] += 0.6 * (LEVELS >= 0.5)
    else:
        truth = rng.normal(100, 10, SIZE[:2])
        quantiles = (100 + rng.normal(0, 1, SIZE))[..., None] + 10 * NORMAL
    if kind == "a surge":
        truth[:, 20:28] += 60
    if kind == "zeros in half of the places":
        truth[::2], quantiles[::2] = 0, 0
    return jaxcast.hub.HubForecasts.of(quantiles, truth, LEVELS)


def ratio(kind, seed):
    """WIS of the adaptive pool to that of the better of mean and median."""
    hub = (make_calibrated if kind in list(MOST)[-3:] else make)(kind, seed)
    pools = (jaxcast.hub.AdaptivePool(), jaxcast.hub.QuantileMean(), jaxcast.hub.QuantileMedian())
    scores = [float(task_scores(jaxcast.hub.pool_forecasts(pool, hub).forecast, hub).mean()) for pool in pools]
    return scores[0] / min(scores[1:])


@pytest.mark.slow
@pytest.mark.parametrize("kind", MOST)
def test_the_adaptive_pool_is_hardly_ever_worse_than_mean_and_median(kind):
    ratios = [ratio(kind, seed) for seed in range(2)]
    assert max(ratios) <= MOST[kind], ratios


@pytest.mark.slow
def test_places_of_zeros_narrow_no_other_place():
    hub = make_calibrated("zeros in half of the places", 0)
    forecast = np.asarray(jaxcast.hub.pool_forecasts(jaxcast.hub.AdaptivePool(), hub).forecast)
    for nominal in (0.5, 0.95):
        covered = jaxcast.scores.interval_coverage(forecast[1::2], hub.truth[1::2], LEVELS, nominal=nominal)
        assert abs(float(covered.mean()) - nominal) < 0.03


@pytest.mark.slow
def test_a_single_location_keeps_calibrated_intervals():
    """A nation alone: its rare misses weigh up the times without any."""
    truth = np.random.default_rng(0).normal(size=(1, 400))
    calibrated = np.broadcast_to(NORMAL, (1, 400, 1, len(NORMAL)))
    hub = jaxcast.hub.HubForecasts.of(calibrated, truth, LEVELS)
    tracked = np.asarray(jaxcast.hub.track_coverage(hub.quantiles[:, :, 0], hub, lower=None))[:, 100:]
    for nominal in (0.5, 0.95):
        covered = jaxcast.scores.interval_coverage(tracked, truth[:, 100:], LEVELS, nominal=nominal)
        assert abs(float(covered.mean()) - nominal) < 0.03

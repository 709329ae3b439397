"""Relative scores, mixtures, aggregation and tracked coverage, against plain loops, with releases
of the target data."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.hub.pools.relative_scores import MEMORY, mean_share, relative_scores, round_step, rounds_ahead
from jaxcast.hub.pools.weighted_mixtures import weighted_mixtures

LEVELS = np.asarray([0.025, 0.25, 0.5, 0.75, 0.975])
SIZE = (3, 60, 4)  # Longer than the memory of a year.
TIMES = (0, 2, 3, 9, 30, 59)


def make(horizon):
    """A hub with a release a week, each of which revises all that is known; gaps, and a week
    without target data."""
    rng = np.random.default_rng(4)
    truth = 10.0 * 3.0 ** np.arange(SIZE[0])[:, None] * rng.lognormal(0, 0.3, SIZE[:2])
    centre = truth[..., None] * rng.lognormal(0, [0.1, 0.2, 0.3, 0.4], SIZE)
    quantiles = centre[..., None] * np.exp(0.3 * np.asarray([-2, -0.7, 0, 0.7, 2]))
    quantiles[rng.random(SIZE) < 0.2] = np.nan
    quantiles[1, 20] = np.nan
    releases = truth * rng.lognormal(0, 0.1, (SIZE[1], *SIZE[:2]))
    for number in range(SIZE[1]):
        releases[number, :, number + 1 :] = np.nan
    releases[:, :, 5] = np.nan
    releases[:, 2, 8] = np.nan
    release_of = np.maximum(np.arange(SIZE[1]) - horizon, -1)
    release_of[12] = 8  # A release came late.
    return jaxcast.hub.HubForecasts.of(
        quantiles, truth, LEVELS, horizon=horizon, releases=releases, release_of=release_of
    )


@pytest.fixture(scope="module", params=[1, 4])
def hub(request):
    return make(request.param)


def known(hub, time):
    """The target data (location, time) that a forecast of a time may use."""
    release = int(hub.release_of[time])
    if release < 0:
        return np.full(SIZE[:2], np.nan)
    return np.where(np.arange(SIZE[1]) <= time - hub.horizon, np.asarray(hub.releases)[release], np.nan)


def loss(quantiles, truth):
    """The mean pinball loss, half the WIS."""
    distance = truth - quantiles
    return np.maximum(LEVELS * distance, (LEVELS - 1) * distance).mean(-1)


def steps_before(hub, time):
    """Past times that are remembered, those at which something can be scored, and their age."""
    there = (np.isfinite(known(hub, time)) & np.asarray(hub.is_forecast)).any(0)
    return [(s, age) for age, s in enumerate(np.flatnonzero(there)[::-1][:MEMORY])]


def weights_of(usual, rate):
    """Of steps (age, usual loss); none without a loss."""
    counted = [value for _, value in usual if value > 0]
    return [
        rate**age * np.sqrt(np.mean(counted) / value) if value > 0 else 0.0  #
        for age, value in usual
    ]


def share_of(places):
    """How much a step counts of which so many places tell, on average over steps with any."""
    counted = [number for number in places if number]
    return min(np.mean(counted) / 10, 1) if counted else 0.0


@pytest.mark.slow
def test_relative_scores_by_a_loop(hub):
    quantiles, present = np.asarray(hub.quantiles), np.asarray(hub.present)
    rates = (0.8, 0.97)
    options = dict(prior_steps=4.0, location_steps=10.0)
    found = np.asarray(relative_scores(hub, hub.quantiles, hub.present, rates, **options))
    for time in TIMES:
        truth, steps = known(hub, time), steps_before(hub, time)
        own, average = np.zeros((2, len(steps), SIZE[0], SIZE[2]))
        there = np.zeros(own.shape, bool)
        for i, (s, _) in enumerate(steps):
            for place in range(SIZE[0]):
                models = np.flatnonzero(present[place, s] & np.isfinite(truth[place, s]))
                scores = {m: 2 * loss(quantiles[place, s, m], truth[place, s]) for m in models}
                for m in models:
                    average[i, place, m] = np.mean(list(scores.values()))
                    own[i, place, m] = min(scores[m], 2 * average[i, place, m])
                    there[i, place, m] = True
        for r, rate in enumerate(rates):
            ages = [age for _, age in steps]
            decay = np.asarray([rate**age for age in ages])
            weights = np.asarray(weights_of(list(zip(ages, average.max(-1).sum(-1), strict=True)), rate))
            if not there.any():
                np.testing.assert_array_equal(found[:, time, :, r], 0)
                continue
            mine, usual = (np.einsum("s,slm->lm", weights, a) for a in (own, average))
            step = usual.sum() / (decay @ there.any(1)).sum()  # per model and step
            step /= max(share_of(there.any(-1).sum(1)), 0.1)
            overall = (mine.sum(0) + 4 * step) / (usual.sum(0) + 4 * step)
            for place in range(SIZE[0]):
                typical = usual[place].sum() / max((decay @ there[:, place]).sum(), 1e-300)
                expected = np.log((mine[place] + 10 * typical * overall) / (usual[place] + 10 * typical))
                np.testing.assert_allclose(found[place, time, :, r], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("number", "share"), [(0, 0.0), (1, 0.1), (9, 0.9), (10, 1.0), (50, 1.0)])
def test_from_ten_locations_on_a_step_counts_in_full(number, share):
    is_known = jnp.arange(60)[:, None] < jnp.asarray([number, 0, number])  # steps without any do not count
    np.testing.assert_allclose(mean_share(is_known, jnp.float32), share, rtol=1e-6)


@pytest.mark.parametrize("horizon", [1, 7, 10, 28])
def test_rounds_ahead_by_a_loop(horizon):
    """Rounds every week of days, after a longer gap and before a season off, each of one location."""
    rounds = [3, 17, 24, 31, 59, 66]
    quantiles = np.full((2, 70, 1, 1), np.nan)
    quantiles[np.arange(6) % 2, rounds] = 1.0
    days = jaxcast.hub.HubForecasts.of(quantiles, np.ones((2, 70)), np.asarray([0.5]), horizon=horizon)
    steps = [min(np.diff([each for each in rounds if each <= time]), default=70) for time in range(70)]
    assert np.asarray(round_step(days)).tolist() == steps
    assert np.asarray(rounds_ahead(days)).tolist() == [-(-horizon // step) for step in steps]


def in_days(weeks):
    """The same hub in days, with a round every seventh."""

    def spread(values, axis, empty):
        shape = list(values.shape)
        shape[axis] *= 7
        found = np.full(shape, empty, values.dtype)
        found[(slice(None),) * axis + (slice(None, None, 7),)] = values
        return found

    quantiles = np.where(weeks.present[..., None], weeks.quantiles, np.nan)
    return jaxcast.hub.HubForecasts.of(
        spread(quantiles, 1, np.nan), spread(np.asarray(weeks.truth), 1, np.nan), LEVELS, horizon=7 * weeks.horizon,
        releases=spread(np.asarray(weeks.releases), 2, np.nan), release_of=np.repeat(np.asarray(weeks.release_of), 7),
    )  # fmt: skip


@pytest.mark.slow
def test_a_hub_of_days_with_weekly_rounds_is_pooled_as_in_weeks(hub):
    pool, middle = jaxcast.hub.AdaptivePool(), hub.median_index
    # Of revisions, coverage is judged again for the newest 52 steps, of which weeks see more.
    hub = dataclasses.replace(hub, releases=hub.truth[None], release_of=jnp.zeros_like(hub.release_of))
    expected, found = (jaxcast.hub.pool_forecasts(pool, each) for each in (hub, in_days(hub)))
    np.testing.assert_allclose(found.info["weights"][:, ::7], expected.info["weights"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.forecast[:, ::7, middle], expected.forecast[..., middle], rtol=1e-6)
    # Misses are six days older, so sums are smaller by 0.99^(6/7), and logarithms by at most 0.012.
    widths = [np.diff(np.asarray(each), axis=-1) for each in (found.forecast[:, ::7], expected.forecast)]
    np.testing.assert_allclose(*widths, rtol=0.0121)


def test_experts_are_aggregated_by_a_loop(hub):
    present = np.asarray(hub.is_forecast)
    factors = np.asarray([0.8, 1.0, 1.1, 3.0])
    middle = np.asarray(jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), hub).forecast)
    experts = factors[:, None, None, None] * middle
    options = dict(rate=0.9, power=6.0, prior_steps=1.5)
    forecast, weights = jaxcast.hub.aggregate_experts(jnp.asarray(experts), hub, **options)
    for time in TIMES:
        truth, steps = known(hub, time), steps_before(hub, time)
        losses, places = np.zeros((len(steps), 4)), np.zeros(len(steps))
        for i, (s, _) in enumerate(steps):
            for place in range(SIZE[0]):
                if present[place, s] and np.isfinite(truth[place, s]):
                    places[i] += 1
                    losses[i] += [loss(expert, truth[place, s]) for expert in experts[:, place, s]]
        usual = losses.mean(1)
        if usual.any():
            ages = [age for _, age in steps]
            total = np.asarray(weights_of(list(zip(ages, usual, strict=True)), 0.9)) @ losses
            num_steps = sum(0.9**age for age, value in zip(ages, usual, strict=True) if value > 0)
            total = total + 1.5 * hub.horizon * total.mean() / num_steps
            expected = total ** (-6.0 * share_of(places) / hub.horizon)
        else:
            expected = np.ones(4)
        np.testing.assert_allclose(weights[time], expected / expected.sum(), rtol=1e-9)
        pooled = np.einsum("e,elq->lq", weights[time], experts[:, :, time])
        np.testing.assert_allclose(forecast[:, time], pooled, rtol=1e-9)
    np.testing.assert_array_equal(np.isnan(forecast[..., 0]), ~present)


@pytest.mark.slow
@pytest.mark.parametrize("lower", [None, 40.0])
def test_coverage_is_tracked_by_a_loop(hub, lower):
    present, median = np.asarray(hub.is_forecast), 2
    pooled = np.asarray(jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), hub).forecast)
    options = dict(rate=0.2, slack=(1.0, 4.0), lower=lower)
    found = np.asarray(jaxcast.hub.track_coverage(jnp.asarray(pooled), hub, **options))
    expected = np.zeros_like(pooled)
    rates = {0: 0.025, 1: 0.25, 3: 0.25, 4: 0.025}  # of misses, by the index of the end
    slack = {0: 4.0, 1: 1.0, 3: 1.0, 4: 4.0}

    def surprise(s, judged, end):
        truth = known(hub, judged)[:, s]
        there = present[:, s] & np.isfinite(truth)
        if not there.any():
            return 0.0
        values = expected[there, s, end]
        missed = (truth[there] < values if end < median else truth[there] > values).astype(float)
        missed[truth[there] == values] = rates[end]
        return min(there.sum() / 10 * (missed.mean() / rates[end] - 1), 8.0)

    settled = dict.fromkeys(rates, 0.0)
    for time in range(SIZE[1]):
        newest = time - hub.horizon - 1
        log = {}
        for end in rates:
            # What was forgotten stays as it was judged last.
            total, most = settled[end], slack[end] + hub.horizon / 0.2
            for s in range(newest - MEMORY + 1, newest + 1):
                total = np.clip(0.99 * total + (surprise(s, time, end) if s >= 0 else 0.0), -most, most)
                if s == newest - MEMORY + 1:
                    settled[end] = total
            log[end] = np.sign(total) * max(abs(total) - slack[end], 0)
        factors = np.exp([np.clip(0.2 / hub.horizon * log[end], -1, 1) for end in (0, 1, 3, 4)])
        for place in np.flatnonzero(present[:, time]):
            widths = np.diff(pooled[place, time]) * factors
            centre = pooled[place, time, median]
            values = np.concatenate(
                [centre - np.cumsum(widths[:2][::-1])[::-1], [centre], centre + np.cumsum(widths[2:])]
            )
            expected[place, time] = values if lower is None else np.maximum(values, lower)
    np.testing.assert_allclose(found[present], expected[present], rtol=1e-8)
    assert np.isnan(found[~present]).all()
    assert abs(found[present] / pooled[present] - 1).max() > 0.1


def cdf(x, quantiles):
    """P(X <= x) of one forecast."""
    if x >= quantiles[-1]:
        return 1.0
    return (
        0.0
        if x < quantiles[0]
        else LEVELS[np.searchsorted(quantiles, x, "right") - 1]
        + (np.interp(x, *between(x, quantiles)) if x > quantiles[0] else 0.0)
    )


def between(x, quantiles):
    """The points left and right of x, and how much of the probability lies between them."""
    low = np.searchsorted(quantiles, x, "right") - 1
    return quantiles[low : low + 2], [0.0, LEVELS[low + 1] - LEVELS[low]]


def mixture_by_bisection(quantiles, shares):
    """The least x with F(x) of at least each level, by halving."""
    found = []
    for level in LEVELS:
        low, high = quantiles.min() - 1.0, quantiles.max()
        for _ in range(80):
            middle = (low + high) / 2
            reached = sum(a * cdf(middle, q) for a, q in zip(shares, quantiles, strict=True))
            low, high = (low, middle) if reached >= level * (1 - 1e-13) else (middle, high)
        found.append(high)
    return found


@pytest.mark.slow
def test_mixtures_by_bisection_with_ties_zeros_and_absent_models():
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(0, 3, (7, 4, 5)), -1)
    quantiles[1] = np.round(quantiles[1])  # ties between models and within
    quantiles[2] = np.maximum(quantiles[2], 0)  # many zeros
    quantiles[3] = 0.0
    quantiles[4, :, 1:4] = 1.0
    quantiles[4].sort(-1)
    present = np.ones((7, 4), bool)
    present[5, [0, 2]] = present[6, 1:] = False
    quantiles[~present] = 77.0
    weights = rng.dirichlet(np.full(4, 0.3), (7, 3))
    weights[0, 0] = [0, 0, 1, 0]
    weights = np.where(present[:, None], weights, 0)
    weights /= weights.sum(-1, keepdims=True)
    found = np.asarray(weighted_mixtures(*map(jnp.asarray, (quantiles, present, weights, LEVELS))))
    for task, mixture in np.ndindex(7, 3):
        there = present[task]
        expected = mixture_by_bisection(quantiles[task, there], weights[task, mixture, there])
        np.testing.assert_allclose(found[task, mixture], expected, atol=1e-9)
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(found[0, 0], quantiles[0, 2], rtol=1e-12)  # all weight on one


def test_equal_forecasts_are_their_own_mixture():
    one = np.sort(np.random.default_rng(0).normal(size=5))
    weights = np.asarray([[[0.2, 0.3, 0.5]]])
    found = weighted_mixtures(*map(jnp.asarray, (np.tile(one, (1, 3, 1)), np.ones((1, 3), bool), weights, LEVELS)))
    np.testing.assert_allclose(found[0, 0], one, rtol=1e-12)


@pytest.mark.slow
def test_an_expert_without_a_forecast_leaves_its_weight_to_the_others():
    rng = np.random.default_rng(3)
    levels = np.asarray([0.25, 0.5, 0.75])
    truth = rng.normal(10, 1, (3, 12))
    forecasts = jaxcast.hub.HubForecasts.of(np.sort(rng.normal(10, 1, (3, 12, 2, 3)), -1), truth, levels)
    experts = np.sort(rng.normal(10, 1, (3, 3, 12, 3)), -1)
    experts[2, 1, 4:] = np.nan
    experts[:, 2, 6] = np.nan
    found = jaxcast.hub.aggregate_experts(jnp.asarray(experts), forecasts)
    weights, forecast = np.asarray(found.weights), np.asarray(found.forecast)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert np.isfinite(weights).all()
    assert (weights[-1] > 0).all()
    expected = np.einsum("te,etq->tq", weights[4:, :2], experts[:2, 1, 4:]) / weights[4:, :2].sum(1)[:, None]
    np.testing.assert_allclose(forecast[1, 4:], expected, rtol=1e-6)
    np.testing.assert_allclose(forecast[0], np.einsum("te,etq->tq", weights, experts[:, 0]), rtol=1e-6)
    assert np.isnan(forecast[2, 6]).all()
    assert np.isfinite(np.delete(forecast[2], 6, 0)).all()
    awake = experts.copy()
    awake[2, 1, 4:] = experts[:2, 1, 4:].mean(0)  # its loss is that of the average of the others
    awake = jaxcast.hub.aggregate_experts(jnp.asarray(awake), forecasts)
    np.testing.assert_allclose(found.weights, awake.weights, rtol=1e-5)

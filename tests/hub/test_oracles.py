"""What pools of a hub are trained by, remember and report, against loops and hand-made cases."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.hub.pools.rolling import _clipped_mean, _loss, task_scores
from jaxcast.scores.relative import _resampled_sums

LEVELS = np.asarray([0.1, 0.3, 0.5, 0.7, 0.9])
SHAPE = (3, 10, 4)


@pytest.fixture(scope="module")
def hub_forecasts():
    rng = np.random.default_rng(0)
    truth = 10.0 * 3.0 ** np.arange(3)[:, None] * rng.lognormal(0, 0.2, SHAPE[:2])
    centre = truth[..., None] * rng.lognormal(0, [0.1, 0.2, 0.3, 0.4], SHAPE)
    forecasts = centre[..., None] * (1 + 0.3 * (LEVELS - 0.5))
    forecasts[rng.random(SHAPE) < 0.2] = np.nan
    truth[1, 4] = np.nan
    return jaxcast.hub.HubForecasts.of(forecasts, truth, LEVELS)


@pytest.mark.slow
def test_scores_of_tasks_are_wis_and_zero_where_there_is_none(hub_forecasts):
    forecast = np.asarray(jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), hub_forecasts).forecast)
    wis = jaxcast.scores.weighted_interval_score(forecast, np.asarray(hub_forecasts.truth), LEVELS).wis
    np.testing.assert_allclose(task_scores(jnp.asarray(forecast), hub_forecasts), np.nan_to_num(wis), rtol=1e-12)
    assert np.isnan(wis[1, 4])


@pytest.mark.slow
def test_the_loss_of_a_rolling_origin_is_its_equation(hub_forecasts):
    """The mean WIS, each location over the root of its own, to that of the mean; and the prior,
    over the number of times."""
    prior = jaxcast.hub.TrainedQuantileAverage.untrained(SHAPE[2])
    trained = dataclasses.replace(prior, logits=jnp.asarray([0.5, -0.3, 0.2, 0.0]))
    reference = np.asarray(task_scores(_clipped_mean(hub_forecasts), hub_forecasts))
    weights = np.where(np.arange(10) < 7, 0.9 ** (6.0 - np.arange(10)), 0)
    loss = _loss(
        trained,
        prior,
        prior.observe(hub_forecasts),
        hub_forecasts,
        jnp.asarray(reference),
        jnp.asarray(weights),
        jnp.asarray(0.7),
    )
    scores = np.asarray(task_scores(jaxcast.hub.pool_forecasts(trained, hub_forecasts).forecast, hub_forecasts))
    num_times = weights.sum() + 1
    typical = (reference * weights).sum(1, keepdims=True) / num_times
    scale = weights / np.sqrt(typical + 1e-3 * typical.mean())
    expected = (scores * scale).sum() / (reference * scale).sum() + 0.7 * (0.5**2 + 0.3**2 + 0.2**2) / num_times
    np.testing.assert_allclose(loss, expected, rtol=1e-9)


@pytest.mark.slow
def test_the_mean_that_scores_are_compared_with_leaves_outliers_out(hub_forecasts):
    wild = hub_forecasts.quantiles.at[0, 3, 0].set(1e9)
    there = np.asarray(hub_forecasts.present)[0, 3, 1:]
    cleaned = np.asarray(_clipped_mean(dataclasses.replace(hub_forecasts, quantiles=wild)))[0, 3]
    np.testing.assert_allclose(cleaned, np.asarray(hub_forecasts.quantiles)[0, 3, 1:][there].mean(0), rtol=1e-9)
    assert np.asarray(hub_forecasts.present)[0, 3, 0]


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [1, 3])
def test_samples_hold_what_was_known_before_each_task(horizon):
    rng = np.random.default_rng(1)
    truth, scale = rng.uniform(1, 9, size=(2, 8)), np.asarray([2.0, 5.0])
    truth[0, 2] = np.nan
    forecasts = np.sort(rng.uniform(1, 9, size=(2, 8, 3, 5)), -1)
    forecasts[1, 3, 0] = np.nan
    hub_forecasts = jaxcast.hub.HubForecasts.of(forecasts, truth, LEVELS, horizon=horizon)
    samples = jaxcast.hub.quantile_samples(hub_forecasts, num_delays=2, scale=scale)
    for place, time, lag in np.ndindex(2, 8, 2):
        then = time - horizon - lag
        known = truth[place, then] if then >= 0 else np.nan
        state = samples.memory.states[place, time, lag, 0]
        np.testing.assert_allclose(state, np.nan_to_num(known / scale[place]), rtol=1e-12)
        for model in range(3):
            key = np.zeros(5)
            if np.isfinite(known) and np.isfinite(forecasts[place, then, model]).all():
                key = (forecasts[place, then, model] - known * (LEVELS == 0.5)) / scale[place]
            np.testing.assert_allclose(samples.memory.errors[place, time, lag, model], key, rtol=1e-12)
            newest = forecasts[place, time - lag, model] if time >= lag else np.zeros(5)
            recent = samples.recent[place, time, lag, model]
            np.testing.assert_allclose(recent, np.nan_to_num(newest / scale[place]), rtol=1e-12)
    np.testing.assert_allclose(samples.target, np.nan_to_num(truth / scale[:, None]))
    np.testing.assert_array_equal(samples.weight, np.isfinite(truth))
    np.testing.assert_array_equal(samples.present, np.isfinite(forecasts).all(-1))
    np.testing.assert_allclose(samples.scale, np.broadcast_to(scale[:, None], (2, 8)))


@pytest.mark.slow
def test_blocks_go_round_a_circle_and_every_resample_has_all_weeks():
    sums = np.random.default_rng(0).uniform(1, 2, size=(2, 7))
    for block_size, is_whole in ((7, True), (3, False)):
        found = np.asarray(_resampled_sums(jnp.asarray(sums), jax.random.key(0), block_size, 200))
        ones = np.asarray(_resampled_sums(jnp.ones((2, 7)), jax.random.key(0), block_size, 200))
        np.testing.assert_allclose(ones, 7)
        assert np.allclose(found, sums.sum(1, keepdims=True)) == is_whole


@pytest.mark.slow
def test_the_bootstraps_interval_and_p_value_are_those_of_its_resamples():
    rng = np.random.default_rng(0)
    second = rng.uniform(1, 2, size=(12, 3))
    sure = jaxcast.scores.block_bootstrap(0.8 * second, second, key=jax.random.key(0), num_resamples=99)
    assert sure.p_value == pytest.approx(2 / 100)
    first = second * rng.lognormal(-0.05, 0.2, size=(12, 1))
    key = jax.random.key(3)
    sums = np.stack([first.sum(1), second.sum(1)])
    resampled = np.asarray(_resampled_sums(jnp.asarray(sums), key, 2, 400))
    ratios = resampled[0] / resampled[1]
    found = jaxcast.scores.block_bootstrap(first, second, key=key, block_size=2, num_resamples=400, confidence=0.8)
    np.testing.assert_allclose([found.low, found.high], np.quantile(ratios, [0.1, 0.9]), rtol=1e-12)
    assert found.p_value == pytest.approx(2 * (1 + min((ratios <= 1).sum(), (ratios >= 1).sum())) / 401)


@pytest.mark.slow
def test_a_comparison_is_both_tests_at_the_horizon():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2, 24))
    first, second = (truth[..., None] + size * rng.normal(size=(2, 24, 1)) for size in (0.5, 1.0))
    scores = [abs(truth - forecast[..., 0]).T for forecast in (first, second)]  # the WIS of a median
    for horizon in (1, 6):
        found = jaxcast.hub.compare_forecasters(
            first, second, truth, np.asarray([0.5]), horizon=horizon, num_resamples=300
        )
        test = jaxcast.scores.diebold_mariano(*scores, horizon=horizon)
        blocks = jaxcast.scores.block_bootstrap(
            *scores, key=jax.random.key(0), block_size=max(4, horizon), num_resamples=300
        )
        assert found["diebold_mariano_p"] == pytest.approx(test.p_value)
        got = [found[name] for name in ("ratio", "low", "high", "bootstrap_p")]
        np.testing.assert_allclose(got, [blocks.ratio, blocks.low, blocks.high, blocks.p_value])
        assert (found["num_weeks"], found["num_tasks"]) == (24, 48)
        # Days with a round a week: horizons of days are counted in rounds, rounded up.
        days = [np.full((2, 7 * 24, *each.shape[2:]), np.nan) for each in (first, second, truth)]
        for spread, each in zip(days, (first, second, truth), strict=True):
            spread[:, 3::7] = each
        of_days = jaxcast.hub.compare_forecasters(*days, np.asarray([0.5]), horizon=7 * horizon - 2, num_resamples=300)
        assert of_days == found


@pytest.mark.parametrize(("number", "has_log"), [(0, True), (1, True), (2, False), (100, False)])
def test_targets_below_zero_have_no_score_of_logarithms(number, has_log):
    """But one in a hundred may be, as counts are corrected."""
    truth = np.arange(1.0, 103.0)[None]
    truth[:, :number] *= -1
    truth[:, -2] = np.nan
    rows = jaxcast.hub.score_forecasters({"a": truth[..., None] + 1}, truth, np.asarray([0.5]))
    assert (rows[0]["log_wis"] is not None) == has_log
    assert rows[0]["wis"] == pytest.approx(1)


def test_rows_count_tasks_of_each_and_of_all():
    truth = np.asarray([[1.0, 2.0, np.nan, 4.0, 5.0]])  # nobody forecast the last one
    a = np.asarray([2.0, 4.0, 5.0, np.nan, np.nan])[None, :, None]
    b = np.asarray([1.5, np.nan, 5.0, 5.0, np.nan])[None, :, None]
    levels = np.asarray([0.5])
    rows = jaxcast.hub.score_forecasters({"a": a, "b": b}, truth, levels)
    assert [(r["num_tasks"], r["num_missing"], r["num_common"]) for r in rows] == [(2, 1, 1), (2, 1, 1)]
    np.testing.assert_allclose([r["wis"] for r in rows], [1.5, 0.75])
    assert "coverage50" not in rows[0]
    common = jaxcast.hub.score_forecasters({"a": a, "b": b}, truth, levels, common=True, baseline="b")
    assert [(r["num_tasks"], r["num_missing"]) for r in common] == [(1, 0), (1, 0)]
    np.testing.assert_allclose([r["wis"] for r in common], [1.0, 0.5])
    np.testing.assert_allclose([r["relative_wis"] for r in common], [2.0, 1.0])
    # Who has no task yet takes none from the others.
    new = np.where(np.isnan(truth)[..., None], 3.0, np.nan)
    rows = jaxcast.hub.score_forecasters({"a": a, "new": new, "b": b}, truth, levels)
    assert [(r["num_tasks"], r["num_missing"], r["num_common"]) for r in rows] == [(2, 1, 1), (0, 3, 1), (2, 1, 1)]
    other = np.where(np.isnan(a), b, np.nan)
    with pytest.raises(jaxcast.InputError, match="a forecast of all of a, other; leave"):
        jaxcast.hub.score_forecasters({"a": a, "new": new, "other": other}, truth, levels, common=True)
    common = jaxcast.hub.score_forecasters({"a": a, "new": new, "b": b}, truth, levels, common=True)
    assert [(r["num_tasks"], r["num_missing"]) for r in common] == [(1, 0), (0, 1), (1, 0)]

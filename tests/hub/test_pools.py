import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.hub.pools.rolling import task_scores

LEVELS = np.asarray([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
NORMAL = np.asarray([-1.96, -1.28, -0.67, 0.0, 0.67, 1.28, 1.96])
NUM_PLACES, NUM_TIMES, NUM_MODELS = 6, 30, 5
FIXED = {
    "mean": jaxcast.hub.QuantileMean(),
    "median": jaxcast.hub.QuantileMedian(),
    "trimmed": jaxcast.hub.TrimmedMean(0.2),
    "opinion": jaxcast.hub.LinearOpinionPool(),
    "inverse": jaxcast.hub.InverseScoreWeights(power=2.0, window=4),
    "average": jaxcast.hub.TrainedQuantileAverage.untrained(NUM_MODELS, clip=3.0),
    "adaptive": jaxcast.hub.AdaptivePool(),
    "adaptive, newest": jaxcast.hub.AdaptivePool(follow_newest=True),
}


def make(seed=0, missing=0.15):
    """Forecasts of models of different skill, and the truth, (location, time, ...)."""
    rng = np.random.default_rng(seed)
    size = 10.0 * 2.0 ** np.arange(NUM_PLACES)[:, None]
    truth = size * (1.5 + np.sin(np.arange(NUM_TIMES) / 5)) * rng.lognormal(0, 0.1, (NUM_PLACES, NUM_TIMES))
    error = np.asarray([0.08, 0.15, 0.25, 0.4, 0.6])
    centre = truth[..., None] * rng.lognormal(0, error, (NUM_PLACES, NUM_TIMES, NUM_MODELS))
    forecasts = np.maximum(centre[..., None] * (1 + 0.15 * NORMAL), 0)
    forecasts[rng.random(forecasts.shape[:3]) < missing] = np.nan
    return forecasts, truth


def hub_forecasts_of(forecasts, truth, horizon=1):
    return jaxcast.hub.HubForecasts.of(forecasts, truth, LEVELS, horizon=horizon)


@pytest.fixture(scope="module")
def data():
    return make()


@pytest.fixture(scope="module")
def hub_forecasts(data):
    return hub_forecasts_of(*data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mean", "median", "trimmed"])
def test_equal_weight_pools_by_numpy(name, data, hub_forecasts):
    forecasts, _ = data
    ours = np.asarray(jaxcast.hub.pool_forecasts(FIXED[name], hub_forecasts).forecast)
    for place, time in np.ndindex(NUM_PLACES, NUM_TIMES):
        there = np.sort(forecasts[place, time][~np.isnan(forecasts[place, time, :, 0])], axis=0)
        if not len(there):
            assert np.isnan(ours[place, time]).all()
            continue
        cut = round(0.2 * len(there)) if name == "trimmed" else 0
        expected = np.median(there, 0) if name == "median" else there[cut : len(there) - cut].mean(0)
        np.testing.assert_allclose(ours[place, time], expected)


@pytest.mark.slow
def test_the_opinion_pool_averages_probabilities():
    quantiles = np.asarray([NORMAL, 5 + 2 * NORMAL, np.full(7, np.nan)])
    hub_forecasts = hub_forecasts_of(quantiles[None, None], np.zeros((1, 1)))
    pooled = np.asarray(jaxcast.hub.pool_forecasts(FIXED["opinion"], hub_forecasts).forecast[0, 0])

    def cdf(x):
        parts = [np.interp(x, row, LEVELS, left=0, right=1) for row in quantiles[:2]]
        return np.mean(parts, 0)

    for level, quantile in zip(LEVELS, pooled, strict=True):
        assert cdf(quantile + 1e-6) >= level - 1e-9
        assert cdf(quantile - 1e-6) <= level + 1e-9
    alone = hub_forecasts_of(quantiles[None, None, [0, 2]], np.zeros((1, 1)))
    np.testing.assert_allclose(jaxcast.hub.pool_forecasts(FIXED["opinion"], alone).forecast[0, 0], NORMAL, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [1, 3])
def test_inverse_score_weights_by_a_loop(data, horizon):
    forecasts, truth = data
    pool = jaxcast.hub.InverseScoreWeights(power=2.0, window=4, clip=99.0)
    weights = np.asarray(jaxcast.hub.pool_forecasts(pool, hub_forecasts_of(forecasts, truth, horizon)).info["weights"])
    scores = np.asarray(
        jaxcast.scores.weighted_interval_score(
            forecasts, np.broadcast_to(truth[..., None], forecasts.shape[:3]), LEVELS
        ).wis
    )
    for place, time in ((0, 0), (1, horizon), (2, 12), (5, 29)):
        there = ~np.isnan(forecasts[place, time, :, 0])
        logs = np.zeros(NUM_MODELS)
        for m in range(NUM_MODELS):
            known = [
                s for s in range(max(0, time - horizon - 3), time - horizon + 1) if not np.isnan(scores[place, s, m])
            ]
            if known:
                logs[m] = np.log(
                    sum(scores[place, s, m] for s in known) / sum(np.nanmean(scores[place, s]) for s in known)
                )
        expected = np.where(there, np.exp(-2 * logs), 0)
        np.testing.assert_allclose(weights[place, time], expected / max(expected.sum(), 1e-300), rtol=1e-5)


@pytest.mark.slow
def test_inverse_score_weights_are_safe_from_absurd_forecasts():
    """One of 17 million neither decides its own week nor wipes its model, the best, out of the
    weeks after."""
    forecasts, truth = make(missing=0)
    wild = forecasts.copy()
    wild[2, 14, 0] = 17e6
    pool = jaxcast.hub.InverseScoreWeights()
    usual, (forecast, info) = (jaxcast.hub.pool_forecasts(pool, hub_forecasts_of(f, truth)) for f in (forecasts, wild))
    weights, before = np.asarray(info["weights"]), np.asarray(usual.info["weights"])
    assert weights[2, 14, 0] == 0
    assert forecast[2, 14].max() <= np.sort(forecasts[2, 14, :, -1])[-1]
    assert (before[2, 15:27, 0] > 0.5).all()
    assert (weights[2, 15:27, 0] > 0.5).all()
    np.testing.assert_allclose(weights[2, 27:], before[2, 27:], rtol=1e-6)


@pytest.mark.slow
def test_inverse_score_weights_score_against_the_release_of_the_day():
    """The first model is best by the final release, the last by the one before it."""
    forecasts, truth = make(missing=0)
    centre = forecasts[..., 3]
    releases = np.stack([centre[..., 4], centre[..., 0]])
    which = np.where(np.arange(NUM_TIMES) < 20, 0, 1)
    hub = jaxcast.hub.HubForecasts.of(forecasts, truth, LEVELS, releases=releases, release_of=which)
    scores = np.asarray(FIXED["inverse"].observe(hub).log_scores)
    assert (scores[:, 5:20, 4] < scores[:, 5:20, 0]).all()
    assert (scores[:, 20:, 4] > scores[:, 20:, 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_no_pool_crosses_and_absent_models_weigh_nothing(name, hub_forecasts):
    forecast, info = jaxcast.hub.pool_forecasts(FIXED[name], hub_forecasts)
    assert np.isfinite(np.asarray(forecast)).all()
    assert jaxcast.scores.count_crossings(forecast) == 0
    if "weights" in info:
        assert (np.asarray(info["weights"])[~np.asarray(hub_forecasts.present)] == 0).all()
        np.testing.assert_allclose(info["weights"].sum(-1), hub_forecasts.is_forecast, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_the_order_and_the_unit_of_the_data_do_not_matter(name, data, hub_forecasts):
    forecasts, truth = data
    forecast = np.asarray(jaxcast.hub.pool_forecasts(FIXED[name], hub_forecasts).forecast)
    shuffled = hub_forecasts_of(forecasts[:, :, ::-1], truth)
    np.testing.assert_allclose(
        jaxcast.hub.pool_forecasts(FIXED[name], shuffled).forecast, forecast, rtol=1e-6, atol=1e-9
    )
    larger = hub_forecasts_of(1e3 * forecasts, 1e3 * truth)
    np.testing.assert_allclose(
        jaxcast.hub.pool_forecasts(FIXED[name], larger).forecast, 1e3 * forecast, rtol=1e-6, atol=1e-6
    )


def without_models(name):
    """A hub_forecasts without any forecast in the middle of one location, in a whole week, or at a
    whole location, and where."""
    forecasts, truth = make(missing=0.0)
    gone = np.zeros(truth.shape, bool)
    gone[{"task": (2, 12), "week": (slice(None), 17), "location": 3, "last week": (slice(None), -1)}[name]] = True
    forecasts[gone] = np.nan
    return forecasts, truth, gone


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["task", "week", "location", "last week"])
@pytest.mark.parametrize("name", FIXED)
def test_where_no_model_forecast_there_is_no_pooled_one_and_no_score(name, missing):
    forecasts, truth, gone = without_models(missing)
    pooled = np.asarray(jaxcast.hub.pool_forecasts(FIXED[name], hub_forecasts_of(forecasts, truth)).forecast)
    np.testing.assert_array_equal(np.isnan(pooled), np.broadcast_to(gone[..., None], pooled.shape))
    row = jaxcast.hub.score_forecasters({name: pooled}, truth, LEVELS)[0]
    assert (row["num_tasks"], row["num_missing"]) == ((~gone).sum(), 0)  # nobody else forecast either
    expected = np.asarray(jaxcast.scores.weighted_interval_score(pooled, truth, LEVELS).wis)[~gone].mean()
    np.testing.assert_allclose(row["wis"], expected)
    # What stands where nobody forecast changes nothing anywhere else.
    other = truth.copy()
    other[gone] = 1e9
    if name != "adaptive, newest":  # which reads the newest truth whether or not anyone had forecast it
        again = np.asarray(jaxcast.hub.pool_forecasts(FIXED[name], hub_forecasts_of(forecasts, other)).forecast)
        np.testing.assert_array_equal(again, pooled)


@pytest.mark.slow
def test_the_example_of_a_week_without_models():
    forecasts = np.full((1, 2, 2, 3), np.nan)
    forecasts[0, 0] = [[90, 100, 110], [95, 100, 105]]
    truth, levels = np.asarray([[100.0, 100.0]]), np.asarray([0.25, 0.5, 0.75])
    pooled = jaxcast.hub.pool_forecasts(
        jaxcast.hub.QuantileMean(), jaxcast.hub.HubForecasts.of(forecasts, truth, levels)
    ).forecast
    assert np.isnan(pooled[0, 1]).all()
    row = jaxcast.hub.score_forecasters({"mean": pooled}, truth, levels)[0]
    assert (row["wis"], row["num_tasks"]) == (2.5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["week", "location"])
def test_trained_forecasts_are_missing_where_nobody_forecast(missing):
    forecasts, truth, gone = without_models(missing)
    hub_forecasts = hub_forecasts_of(forecasts, truth)
    for forecast in (
        jaxcast.hub.rolling_origin(hub_forecasts, pool=FIXED["average"], num_optimizer_steps=1).forecast,
        jaxcast.hub.track_coverage(
            jnp.nan_to_num(jaxcast.hub.pool_forecasts(FIXED["mean"], hub_forecasts).forecast), hub_forecasts
        ),
    ):
        np.testing.assert_array_equal(np.isnan(forecast), np.broadcast_to(gone[..., None], forecast.shape))


@pytest.fixture(scope="module")
def rolled(hub_forecasts):
    return jaxcast.hub.rolling_origin(
        hub_forecasts, pool=FIXED["average"], num_optimizer_steps=3, prior_weight=0.1, discount=0.97
    )


@pytest.mark.slow
def test_the_rolling_origin_is_a_loop_of_trainings(hub_forecasts, rolled):
    """By hand, a pool for each time, with optax in a Python loop."""
    import optax

    from jaxcast.hub.pools.rolling import _clipped_mean, _loss

    prior = FIXED["average"]
    pool, optimizer = prior, optax.adam(0.03)
    memory, reference, state = (
        prior.observe(hub_forecasts),
        task_scores(_clipped_mean(hub_forecasts), hub_forecasts),
        optimizer.init(prior),
    )
    gradient, pooled = jax.jit(jax.grad(_loss)), jax.jit(lambda pool: pool(memory, hub_forecasts).forecast)
    for time in range(8):
        if time >= 5:
            weights = np.where(np.arange(NUM_TIMES) < time, 0.97 ** (time - 1.0 - np.arange(NUM_TIMES)), 0)
            for _ in range(3):
                step = gradient(pool, prior, memory, hub_forecasts, reference, jnp.asarray(weights), 0.1)
                updates, state = optimizer.update(step, state, pool)
                pool = optax.apply_updates(pool, updates)
        expected = pooled(pool)[:, time]
        np.testing.assert_allclose(rolled.forecast[:, time], expected, rtol=1e-5)


@pytest.mark.slow
def test_trained_shares_find_the_better_model_and_are_saved(hub_forecasts, tmp_path):
    prior = FIXED["average"]
    rolled = jaxcast.hub.rolling_origin(hub_forecasts, pool=prior, num_optimizer_steps=5, prior_weight=0.1)
    before = jaxcast.hub.pool_forecasts(prior, hub_forecasts).forecast[:, :5]
    np.testing.assert_allclose(rolled.forecast[:, :5], before, rtol=1e-5)
    unguarded = jaxcast.hub.TrainedQuantileAverage.untrained(hub_forecasts.present.shape[2], clip=1e9)
    mean = jaxcast.hub.pool_forecasts(FIXED["mean"], hub_forecasts).forecast
    np.testing.assert_allclose(jaxcast.hub.pool_forecasts(unguarded, hub_forecasts).forecast, mean, rtol=1e-9)
    trained = jax.tree.map(lambda a: a[-1], rolled.info["pool"])
    assert np.asarray(trained.logits).argmax() == 0  # the models are in the order of their skill
    late = np.asarray(hub_forecasts.is_scorable) & (np.arange(NUM_TIMES) >= 10)
    scores = [
        float(np.asarray(task_scores(forecast, hub_forecasts))[late].mean()) for forecast in (rolled.forecast, mean)
    ]
    assert scores[0] < scores[1]
    jaxcast.save_model(tmp_path, trained)
    loaded = jaxcast.load_model(tmp_path).pool
    np.testing.assert_array_equal(loaded.logits, trained.logits)
    assert loaded.clip == trained.clip


def test_other_numbers_compile_nothing(hub_forecasts, rolled, count_compilations):
    pool = jaxcast.hub.TrainedQuantileAverage.untrained(NUM_MODELS, clip=3.0)
    count_compilations()
    jaxcast.hub.rolling_origin(hub_forecasts, pool=pool, num_optimizer_steps=3, prior_weight=0.5, discount=0.9)
    assert count_compilations() == 0


def inject(name, forecasts, truth):
    """What real hubs have seen, from time 15 on unless it is said otherwise."""
    forecasts, truth = forecasts.copy(), truth.copy()
    if name == "a candidate goes mad":
        forecasts[:, 15:, 0] = 17e6 * (1 + 0.1 * NORMAL)
    elif name == "once":
        forecasts[2, 20, 1] = 17e6
    elif name == "a candidate vanishes":
        forecasts[:, 15:, 0] = np.nan
    elif name == "a candidate joins late":
        forecasts[:, :15, 0] = np.nan
    elif name == "zero for months":
        truth[0], forecasts[0] = 0, np.where(np.isnan(forecasts[0]), np.nan, 0)
        truth[1], forecasts[1] = 0, forecasts[1] * 0.01
    elif name == "negative truth":
        truth[3, 18], truth[4, 22] = -5 * truth[3, 18], -700
    elif name == "nobody":
        forecasts[:, 17] = np.nan
    elif name == "zero everywhere":
        truth[:, 10:20], forecasts[:, 10:20] = 0, np.where(np.isnan(forecasts[:, 10:20]), np.nan, 0)
    return forecasts, truth


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "a candidate goes mad",
        "once",
        "a candidate vanishes",
        "a candidate joins late",
        "zero for months",
        "negative truth",
        "nobody",
        "zero everywhere",
    ],
)
@pytest.mark.parametrize("trained", ["adaptive", "average"])
def test_a_pool_survives(trained, name, data, hub_forecasts):
    bad = hub_forecasts_of(*inject(name, *data))
    scores = {}
    for label, each in (("clean", hub_forecasts), ("bad", bad)):
        if trained == "adaptive":
            forecast = jaxcast.hub.pool_forecasts(FIXED["adaptive"], each).forecast
        else:
            pool = jaxcast.hub.TrainedQuantileAverage.untrained(NUM_MODELS)
            options = dict(num_optimizer_steps=3, prior_weight=0.1, discount=0.97)
            forecast = jaxcast.hub.rolling_origin(each, pool=pool, **options).forecast
        is_there = np.broadcast_to(np.asarray(each.is_forecast)[..., None], forecast.shape)
        np.testing.assert_array_equal(np.isfinite(np.asarray(forecast)), is_there)
        assert jaxcast.scores.count_crossings(forecast) == 0
        scored = np.asarray(each.is_scorable)
        scores[label] = np.asarray(task_scores(forecast, each))[scored].mean()
    median = jaxcast.hub.pool_forecasts(FIXED["median"], bad).forecast
    scores["median"] = np.asarray(task_scores(median, bad))[np.asarray(bad.is_scorable)].mean()
    assert scores["bad"] <= 1.1 * max(scores["clean"], scores["median"]), scores


@pytest.mark.slow
def test_float32_stays_float32(data):
    forecasts, truth = (a.astype(np.float32) for a in data)
    hub_forecasts = jaxcast.hub.HubForecasts.of(forecasts, truth, LEVELS.astype(np.float32))
    for name in ("mean", "adaptive", "adaptive, newest"):
        pool = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), FIXED[name])
        output = jaxcast.hub.pool_forecasts(pool, hub_forecasts)
        assert {leaf.dtype for leaf in jax.tree.leaves(output)} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_the_adaptive_pool_is_saved_and_loaded(tmp_path, hub_forecasts):
    pool = jaxcast.hub.AdaptivePool(lower=None, clip=3.0, follow_newest=True)
    jaxcast.save_model(tmp_path, pool, attributes={"horizon": 1})
    stored = jaxcast.load_model(tmp_path)
    assert stored.pool == pool
    np.testing.assert_array_equal(
        jaxcast.hub.pool_forecasts(stored.pool, hub_forecasts).forecast,
        jaxcast.hub.pool_forecasts(pool, hub_forecasts).forecast,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: jaxcast.hub.TrimmedMean(0.5), "trim"),
        (lambda c: jaxcast.hub.InverseScoreWeights(window=0), "window"),
        (lambda c: jaxcast.hub.AdaptivePool(clip=0.0), "clip"),
        (lambda c: jaxcast.hub.AdaptivePool(lower=np.nan), "lower"),
        (lambda c: jaxcast.hub.rolling_origin(c, pool=FIXED["average"], discount=1.5), "discount"),
        (lambda c: jaxcast.hub.rolling_origin(c, pool=FIXED["average"], num_optimizer_steps=0), "num_optimizer_steps"),
        (lambda c: jaxcast.hub.HubForecasts.of(np.ones((1, 2, 3, 4)), np.ones((1, 2)), np.ones(3)), "quantile"),
        (
            lambda c: jaxcast.hub.HubForecasts.of(np.ones((1, 2, 3, 1)), np.ones((1, 2)), np.ones(1), horizon=0),
            "horizon",
        ),
    ],
)
def test_bad_input_is_one_line(hub_forecasts, call, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message):
        call(hub_forecasts)


def test_a_pool_without_parameters_is_not_trained(hub_forecasts):
    with pytest.raises(jaxcast.InputError, match="AdaptivePool has nothing to train; forecast with pool_forecasts"):
        jaxcast.hub.rolling_origin(hub_forecasts, pool=jaxcast.hub.AdaptivePool())
    with pytest.raises(jaxcast.InputError, match="discount must be"):
        jaxcast.hub.rolling_origin(hub_forecasts, pool=FIXED["average"], discount=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"releases": np.ones((1, 2, 4)), "release_of": [0, 0, 0, 1]}, "release_of must be from -1 .* to 0, .* to 1"),
        ({"releases": np.ones((1, 2, 4)), "release_of": [-2, 0, 0, 0]}, "release_of must be from -1"),
        ({"levels": [0.5, 0.25, 0.75]}, "levels that increase within 0 and 1"),
        ({"levels": [0.25, 0.25, 0.75]}, "levels that increase within 0 and 1"),
        ({"levels": [0.25, 0.5, 1.5]}, "levels that increase within 0 and 1"),
        ({"levels": [0.25, 0.5, np.nan]}, "levels that increase within 0 and 1"),
    ],
)
def test_forecasts_refuse_releases_and_levels_that_are_not_there(change, message):
    given = {"levels": [0.25, 0.5, 0.75]} | change
    levels = np.asarray(given.pop("levels"))
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.hub.HubForecasts.of(np.ones((2, 4, 3, 3)), np.ones((2, 4)), levels, **given)


@pytest.mark.slow
def test_the_median_is_the_level_one_half_at_any_position():
    ones = np.ones((2, 4, 3, 3))
    first = jaxcast.hub.HubForecasts.of(ones, np.ones((2, 4)), np.asarray([0.5, 0.75, 0.9]))
    assert first.median_index == 0
    assert jax.jit(lambda forecasts: forecasts.median_index * jnp.ones(()))(first) == 0
    without = jaxcast.hub.HubForecasts.of(ones, np.ones((2, 4)), np.asarray([0.25, 0.75, 0.9]))
    with pytest.raises(jaxcast.InputError, match=r"no quantile of level 0\.5"):
        jaxcast.hub.pool_forecasts(jaxcast.hub.AdaptivePool(), without)
    assert jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), without).forecast.shape == (2, 4, 3)

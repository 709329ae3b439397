"""Seasonal features, regressions drawn to a shared one, and networks that correct them, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.series.samples import WindowLags
from jaxcast.series.seasonal.forecaster import network_inputs
from jaxcast.series.seasonal.network import FeatureTargets, robust_loss
from jaxcast.series.seasonal.rows import features_at, of_lead

pytestmark = pytest.mark.slow

DAY, LEADS = 6, (1, 2)
WEEK = 7 * DAY


@pytest.fixture(scope="module")
def values():
    rng, time = np.random.default_rng(0), np.arange(5 * WEEK)
    shape = 2 + np.sin(2 * np.pi * time[:, None] / DAY + np.arange(3)) + (time // DAY % 7 < 5)[:, None]
    values = rng.poisson(4 * shape).astype(np.float32)
    values[rng.random(values.shape) < 0.02] = np.nan
    return values


@pytest.fixture(scope="module")
def features(values):
    return jaxcast.series.seasonal_features(
        values[:-WEEK], slots_per_day=DAY, leads=LEADS, num_days=2, num_weeks=2, num_neighbours=2
    )


@pytest.fixture(scope="module")
def regression(values, features):
    return jaxcast.series.fit_seasonal_regression(values[:-WEEK], features=features, penalty=50.0)


def windows_of(values, features):
    windows = jaxcast.series.series_windows(values, lags=features.lags, leads=LEADS)
    newest = np.asarray(windows.rows)[:, 0] - 1
    return windows.history, newest, (newest % WEEK)[:, None].astype(float)


def usual(z, row, half_life):
    """The mean of a slot on two past days, or weeks where the half-life is for them, by loops."""
    found = []
    for period in (DAY, WEEK):
        total, weight = np.zeros(z.shape[1]), np.zeros(z.shape[1])
        for k in (1, 2):
            known = np.isfinite(z[row - k * period])
            total += np.where(known, z[row - k * period], 0) * 0.5 ** (k / half_life)
            weight += known * 0.5 ** (k / half_life)
        found.append(np.where(weight > 0, total / np.where(weight > 0, weight, 1), found[-1] if found else 0))
    return found


def test_features_are_what_is_usual_and_the_level_beside_it(values, features):
    history, newest, slots = windows_of(values, features)
    made = features(history, slots[:, 0])
    z = (values - np.asarray(features.mean)) / np.asarray(features.std)
    row = int(newest[40])
    slowest = lambda at: usual(z, at, 4.0)[1]  # noqa: E731
    days, weeks = usual(z, row + 2, 1.0)
    np.testing.assert_allclose(made.by_lead[40, 1, :, 0], days, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.by_lead[40, 1, :, 2], weeks, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.by_lead[40, 1, :, 3], slowest(row + 2), rtol=1e-4, atol=1e-5)
    raw = lambda a: np.maximum(a * np.asarray(features.std) + np.asarray(features.mean), 0)  # noqa: E731
    recent = [np.where(np.isnan(z[row - k]), slowest(row - k), z[row - k]) for k in range(3)]
    more = 0.09 * 3 * np.asarray(features.std)
    ratio = (sum(map(raw, recent)) + more) / (sum(raw(slowest(row - k)) for k in range(3)) + more)
    level = (raw(slowest(row + 2)) * ratio - np.asarray(features.mean)) / np.asarray(features.std)
    np.testing.assert_allclose(made.by_lead[40, 1, :, 6], level, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(made.common[40, :, 0], recent[0], rtol=1e-5)
    np.testing.assert_allclose(made.calendar[40, 1, 0], np.sin(2 * np.pi * (row + 2) / DAY), atol=1e-5)


def test_weights_are_drawn_to_those_that_all_series_share(values, features, regression):
    train, own = values[:-WEEK], regression
    newest = np.arange(12, len(train) - 1)
    rows = newest[:, None] - np.asarray(features.lags)
    history = np.where((rows >= 0)[..., None], train[np.maximum(rows, 0)], np.nan)
    made = features(jnp.asarray(history), newest % WEEK)
    x = (np.asarray(of_lead(made, 0), float) - np.asarray(own.offset[0])) / np.asarray(own.size[0])
    x = np.concatenate([x, np.ones_like(x[..., :1])], -1)
    y = (train[newest + 1] - np.asarray(features.mean)) / np.asarray(features.std)
    known = np.isfinite(y)
    share = np.asarray(features.std, float) ** 2
    gram = np.einsum("sr,srf,srg->rfg", known.astype(float), x, x)
    moments = np.einsum("srf,sr->rf", x, np.where(known, y, 0))
    pooled = np.einsum("r,rfg->fg", share, gram)
    shared = np.linalg.solve(pooled + 1e-6 * np.trace(pooled) / len(pooled) * np.eye(len(pooled)), share @ moments)
    for r in range(3):
        weights = np.linalg.solve(gram[r] + 50 * np.eye(len(pooled)), moments[r] + 50 * shared)
        found = np.append(own.weights[0, r], own.bias[0, r])  # features are nearly collinear: compare forecasts
        np.testing.assert_allclose(x[:, r] @ found, x[:, r] @ weights, atol=5e-3)


def test_a_penalty_without_end_gives_all_series_the_same_weights(values, features):
    model = jaxcast.series.fit_seasonal_regression(values[:-WEEK], features=features, penalty=1e9)
    np.testing.assert_allclose(model.weights, np.broadcast_to(model.weights[:, :1], model.weights.shape), atol=1e-4)


def test_forecasts_of_rows_are_those_of_windows_and_see_no_future(values, features, regression):
    history, newest, slots = windows_of(values, features)
    forecast = jaxcast.series.forecast_rows(regression, values, newest=newest[:20])
    np.testing.assert_allclose(
        regression(history[:20], slots[:20], lags=WindowLags(features.lags)).forecast, forecast, rtol=1e-4, atol=1e-4
    )
    one = regression(history[3], slots[3], lags=WindowLags(features.lags)).forecast
    np.testing.assert_allclose(one, forecast[3], rtol=1e-4, atol=1e-4)
    later = values.copy()
    later[newest[19] + 1 :] += 100
    np.testing.assert_array_equal(jaxcast.series.forecast_rows(regression, later, newest=newest[:20]), forecast)
    assert (forecast >= 0).all()


def test_the_order_of_series_does_not_matter(values, features, regression):
    order = np.asarray([2, 0, 1])
    other = jaxcast.series.seasonal_features(
        values[:-WEEK, order], slots_per_day=DAY, leads=LEADS, num_days=2, num_weeks=2, num_neighbours=2
    )
    model = jaxcast.series.fit_seasonal_regression(values[:-WEEK][:, order], features=other, penalty=50.0)
    rows = np.arange(len(values) - WEEK, len(values) - 2)
    forecast = jaxcast.series.forecast_rows(regression, values, newest=rows)
    np.testing.assert_allclose(
        jaxcast.series.forecast_rows(model, values[:, order], newest=rows), forecast[..., order], rtol=1e-2, atol=2e-2
    )


def test_the_network_and_its_loss_are_their_equations():
    network = jaxcast.series.FeatureNetwork(
        num_regions=3, input_size=4, num_leads=2, hidden_size=5, embedding_size=2, key=jax.random.key(1)
    )
    x = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(np.float32)
    part = lambda layer: (np.asarray(layer.kernel[...]), np.asarray(layer.bias[...]))  # noqa: E731
    gelu = lambda a: np.asarray(jax.nn.gelu(a))  # noqa: E731
    (w1, b1), (we, be), (w2, b2), (w3, b3) = map(
        part, (network.first, network.of_embedding, network.second, network.last)
    )
    hidden = gelu(x @ w1 + b1 + np.asarray(network.embedding[...]) @ we + be)
    expected = (gelu(hidden @ w2 + b2) + hidden) @ w3 + b3
    np.testing.assert_allclose(network(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5)
    targets, weights = expected + np.asarray([0.25, 2.0]), np.ones_like(expected)
    weights[..., 0] = 3
    loss = robust_loss(network, FeatureTargets(jnp.asarray(x), jnp.asarray(targets), jnp.asarray(weights)))
    np.testing.assert_allclose(loss, (3 * 0.25**2 + (2 - 0.25)) / 4, rtol=1e-4)


@pytest.fixture(scope="module")
def found(values):
    return jaxcast.series.fit_seasonal_forecaster(
        values,
        slots_per_day=DAY,
        leads=LEADS,
        keys=jax.random.split(jax.random.key(0), 2),
        num_epochs=(1,),
        hidden_size=8,
        penalties=(10.0, 1e3),
    )


def test_the_forecaster_adds_shares_of_the_mean_network(values, found):
    model, rows = found.model, np.arange(150, 160)
    made = features_at(model.features, jnp.asarray(values), rows, 0)
    steps = model.regression.standardised(made)
    inputs = jnp.clip((network_inputs(made, steps) - model.offset) / model.size, -8, 8)
    networks = [jax.tree.map(lambda a, k=k: a[k], model.networks) for k in (0, 1)]
    change = np.mean([np.asarray(network(inputs)) for network in networks], 0)
    steps = steps + model.shares[:, None] * model.scale * np.moveaxis(change, -1, -2)
    expected = np.maximum(steps * model.features.std + model.features.mean, 0)
    forecast = jaxcast.series.forecast_rows(model, values, newest=rows)
    np.testing.assert_allclose(forecast, expected, rtol=1e-4, atol=1e-4)
    alone = [jaxcast.series.forecast_rows(model.pick(k), values, newest=rows) for k in (0, 1)]
    assert min(a.min() for a in alone) > 0  # nothing is cut at zero
    np.testing.assert_allclose(np.mean(alone, 0), forecast, rtol=1e-4, atol=1e-4)
    assert (np.asarray(model.shares) >= 0).all()
    assert (np.asarray(model.shares) <= 1).all()
    assert found.validation.shape == found.regression_validation.shape == (len(found.newest), 2, 3)


def test_a_stored_forecaster_forecasts_the_same_bits(values, found, tmp_path):
    jaxcast.save_model(tmp_path / "model", found.model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    rows = np.arange(150, 160)
    np.testing.assert_array_equal(
        jaxcast.series.forecast_rows(loaded, values, newest=rows),
        jaxcast.series.forecast_rows(found.model, values, newest=rows),
    )


def test_consecutive_steps_are_cut_at_the_lags(values, features, regression):
    windows = jaxcast.series.series_windows(values, lags=features.lags, leads=LEADS)
    slots = np.asarray(windows.rows)[:, :1] - 1.0
    rows = slots[:, 0].astype(int)[:, None] + np.arange(-features.lags[0] - 3, 1)
    run = jax.jit(lambda history, slots, lags: regression(history, slots, lags=lags).forecast)
    expected = run(windows.history[9:], slots[9:] % WEEK, windows.lags)
    found = run(jnp.asarray(values[rows[9:]]), slots[9:] % WEEK, None)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(jaxcast.InputError, match=r"consecutive steps or more, got .* give also lags=samples.lags"):
        regression(windows.history, slots % WEEK)


@pytest.mark.parametrize(
    ("history_size", "days", "weeks"), [(100, 7, 2), (60, 7, 1), (54, 7, 1), (53, 6, 0), (12, 0, 0)]
)
def test_a_history_limits_the_days_and_weeks_that_are_seen(values, history_size, days, weeks):
    own = jaxcast.series.seasonal_features(
        values, slots_per_day=DAY, leads=LEADS, num_days=7, num_weeks=3, history_size=history_size
    )
    assert (own.num_days, own.num_weeks) == (days, weeks)
    assert own.lags[0] < history_size


def test_only_recent_steps_may_be_seen(values):
    own = jaxcast.series.seasonal_features(values, slots_per_day=DAY, leads=LEADS, num_days=0, num_recent=12)
    assert own.lags == tuple(range(12))[::-1]
    assert own.num_weeks == 0
    model = jaxcast.series.fit_seasonal_regression(values, features=own, penalty=10.0)
    assert np.isfinite(jaxcast.series.forecast_rows(model, values, newest=np.arange(100, 110))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots_per_day": 0}, "slots_per_day must be"),
        ({"leads": (2, 1)}, "leads"),
        ({"num_recent": 3}, "num_recent"),
        ({"values": np.ones((9, 2))}, "two days of values"),
    ],
)
def test_bad_input_is_refused(values, change, message):
    arguments = {"values": values, "slots_per_day": DAY, "leads": LEADS} | change
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.series.seasonal_features(arguments.pop("values"), **arguments)


def test_windows_without_their_slots_are_refused(values, features, regression):
    history, _, slots = windows_of(values, features)
    with pytest.raises(jaxcast.InputError, match="slot of the week"):
        regression(history, lags=WindowLags(features.lags))
    with pytest.raises(jaxcast.InputError, match=r"expected histories of the steps at the lags"):
        regression(history[:, 1:], slots, lags=WindowLags(features.lags))
    with pytest.raises(jaxcast.InputError, match="seasonal features"):
        jaxcast.series.forecast_rows(jaxcast.series.LastValue((1,)), values, newest=np.asarray([3]))


def test_a_series_that_begins_to_change_moves_others_little():
    rng = np.random.default_rng(3)
    usual = 6 + 3 * np.sin(2 * np.pi * np.arange(400)[:, None] / 8 + np.arange(5))
    values = rng.poisson(usual).astype(float)
    values[:, 4] = 0
    features = jaxcast.series.seasonal_features(values[:360], slots_per_day=8, leads=(1,))
    model = jaxcast.series.fit_seasonal_regression(values[:360], features=features, penalty=100.0)
    later = values.copy()
    later[360:, 4] = 10
    first, second = (
        jaxcast.series.forecast_rows(model, table, newest=np.arange(370, 399))[..., :4] for table in (values, later)
    )
    assert np.sqrt(np.mean((second - first) ** 2)) < 0.5 * values[:360, :4].std()

"""Regions with several features along time and several targets, against the forecasters of one feature."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast

pytestmark = pytest.mark.slow

NAN = np.nan
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def values():
    """(time, region, feature): a walk, what it follows, and its own level, of unlike sizes; one cell unknown."""
    rng = np.random.default_rng(0)
    table = np.cumsum(rng.normal(size=(70, 2, 3)), 0) * [1, 10, 100] + [5, 50, 500]
    table[30, 1, 1] = NAN
    return table


@pytest.fixture(scope="module")
def samples(values):
    return jaxcast.series.series_windows(values, history_size=5, leads=(1, 3), targets=(2, 0))


def flat(samples):
    """The same windows with every feature as a region of its own, and the targets' numbers among those."""
    history = samples.history.reshape(*samples.history.shape[:2], -1)
    return history, [3 * r + f for r in range(2) for f in samples.features.numbers]


def test_windows_hold_all_features_and_targets_those_asked_for(values, samples):
    assert samples.history.shape == (65, 5, 2, 3)
    assert samples.targets.shape == samples.weights.shape == (65, 2, 2, 2)
    for n in (0, 20, 64):
        newest = int(samples.rows[n, 0]) - 1
        np.testing.assert_array_equal(samples.history[n], values[newest - 4 : newest + 1])
        for k, lead in enumerate((1, 3)):
            known = newest + lead < 70
            np.testing.assert_array_equal(samples.weights[n, k], known)
            if known:
                np.testing.assert_array_equal(samples.targets[n, k], values[newest + lead][:, [2, 0]])
    everything = jaxcast.series.series_windows(values, history_size=5, leads=(1,))
    np.testing.assert_array_equal(everything.targets.shape[2:], (2, 3))
    missing = np.argwhere(np.asarray(everything.weights)[:, 0] == 0)
    np.testing.assert_array_equal(missing, [[30 - 5, 1, 1]])


def test_covariates_along_time_are_further_features_that_are_not_forecast(values):
    past = np.arange(140.0).reshape(70, 2, 1)
    samples = jaxcast.series.series_windows(values[..., 0], history_size=5, leads=(1,), past_covariates=past)
    np.testing.assert_array_equal(samples.history[..., 1], np.stack([past[n : n + 5, :, 0] for n in range(65)]))
    np.testing.assert_array_equal(samples.history[..., 0], np.stack([values[n : n + 5, :, 0] for n in range(65)]))
    assert samples.targets.shape == (65, 1, 2, 1)
    assert samples.features.numbers == (0,)
    shared = jaxcast.series.series_windows(values, history_size=5, leads=(1,), past_covariates=past[:, 0])
    assert shared.features.numbers == (0, 1, 2)
    np.testing.assert_array_equal(shared.history[..., 3], np.repeat(np.asarray(samples.history[:, :, :1, 1]), 2, -1))


BASELINES = [
    jaxcast.series.LastValue((1, 3)), jaxcast.series.SeasonalLastValue((1, 3), 4), jaxcast.series.HistoryMean((1, 3)), jaxcast.series.Drift((1, 3)),
]  # fmt: skip


@pytest.mark.parametrize("model", BASELINES, ids=lambda m: type(m).__name__)
def test_a_baseline_of_several_features_is_that_of_each(model, samples):
    ours = dataclasses.replace(model, target_features=(2, 0))(samples.history).forecast
    history, numbers = flat(samples)
    np.testing.assert_array_equal(ours, model(history).forecast[..., jnp.asarray(numbers)].reshape(65, 2, 2, 2))


@pytest.mark.parametrize("each_region", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_a_regression_on_several_features_is_weighted_least_squares(samples, each_region, centred):
    neighbour_weights = jaxcast.series.neighbour_weights(2, np.ones((2, 2)))
    inputs = jaxcast.series.lag_inputs(samples, lags=(0, 2), neighbour_weights=neighbour_weights, centred=centred)
    assert inputs.num_features == 2 * 3 * 2
    model = jaxcast.series.fit_lag_regression(
        samples,
        inputs=inputs,
        expansion=jaxcast.series.LinearFeatures(),
        penalty=1e-13,
        each_region=each_region,
        predict_change=True,
        error_weighting=0.0,
    )
    ours = model(samples.history).forecast
    history = np.array(samples.history)
    for n, t in np.argwhere(np.isnan(history[:, :, 1, 1])):
        history[n, t, 1, 1] = history[n, t - 1, 1, 1] if t else np.asarray(inputs.mean)[1, 1]
    mean, std = (np.asarray(a) for a in (inputs.mean, inputs.std))
    scaled = (history - mean * centred) / std
    lagged = np.concatenate(
        [a[:, [4, 2]].transpose(0, 2, 3, 1).reshape(65, 2, -1) for a in (scaled, scaled[:, :, ::-1])], -1
    )
    for k in range(2):
        for j, f in enumerate((2, 0)):
            wanted = (np.asarray(samples.targets)[:, k, :, j] - history[:, -1, :, f]) / std[:, f]
            weights = np.asarray(samples.weights)[:, k, :, j] > 0
            for group in ([0], [1]) if each_region else ([0, 1],):
                x = np.concatenate([np.c_[lagged[:, r], np.ones(65)] for r in group])
                y, w = (np.concatenate([a[:, r] for r in group]) for a in (wanted, weights))
                fitted = (x @ np.linalg.lstsq(x[w], y[w], rcond=None)[0]).reshape(len(group), -1).T
                expected = history[:, -1, group, f] + fitted * std[group, f]
                np.testing.assert_allclose(ours[:, k, group, j], expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "options", [dict(level="window", transform="log"), dict(num_components=2), dict(level="window", num_components=1)]
)
def test_one_feature_is_the_same_with_and_without_its_axis(options, values):
    positive = np.abs(values) + 1
    one, other = (
        jaxcast.series.series_windows(table, history_size=5, leads=(1, 3), newest_covariates=np.ones((70, 1)))
        for table in (positive[..., 0], positive[..., :1])
    )
    found = []
    for samples in (one, other):
        inputs = jaxcast.series.lag_inputs(
            samples, lags=(0, 1, 3), neighbour_weights=jaxcast.series.neighbour_weights(2, everyone=True), **options
        )
        model = jaxcast.series.fit_lag_regression(
            samples, inputs=inputs, expansion=jaxcast.series.PolynomialFeatures(2), penalty=1e-3
        )
        found.append(np.asarray(model(samples.history, samples.covariates).forecast))
    np.testing.assert_allclose(found[1][..., 0], found[0], rtol=1e-9)


NETWORKS = [
    jaxcast.series.IndependentNetwork,
    jaxcast.series.HierarchicalNetwork,
    jaxcast.series.AttentionNetwork,
    jaxcast.series.GlobalNetwork,
]


def make(network, samples, **options):
    return network(samples, hidden_size=3, kind="gru", key=jax.random.key(1), dtype=jnp.float64, **options)


@pytest.mark.parametrize("network", [*(pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS[:3]), NETWORKS[3]])
def test_a_network_forecasts_every_target_from_all_features(network, samples):
    """Its equation; quantiles rise; a feature that is only seen moves the forecasts; missing values keep gradients finite."""
    model = make(network, samples, levels=LEVELS)
    run = jax.jit(lambda m, h: m(h))
    output = run(model, samples.history)
    assert output.forecast.shape == (65, 2, 2, 2)
    assert output.info["quantiles"].shape == (65, 2, 2, 2, 3)
    assert (np.diff(output.info["quantiles"], axis=-1) > 0).all()
    known = np.isfinite(samples.history).all((1, 2, 3))
    z = (samples.history - model.mean[...]) / model.std[...]
    states, _ = model.encode(jnp.concatenate([z, jnp.ones_like(z)], -1)[known], None)
    read = (
        jnp.stack([jax.tree.map(lambda a, r=r: a[r], model.read_out)(states[:, r]) for r in range(2)], 1)
        if model.each
        else model.read_out(states)
    )
    middle = read.reshape(-1, 2, 2, 2, 3)[..., 1]  # sample, region, lead, target
    targets = jnp.asarray([2, 0])
    expected = model.mean[...][:, targets] + model.std[...][:, targets] * (
        z[known, -1][:, None][..., targets] + jnp.swapaxes(middle, 1, 2)
    )
    np.testing.assert_allclose(output.forecast[known], expected, rtol=1e-9)
    moved = run(model, samples.history.at[:, :, :, 1].multiply(1.5)).forecast
    assert (np.abs(moved - output.forecast)[known] > 1e-9).all()
    loss, gradient = jax.jit(jax.value_and_grad(jaxcast.series.WindowLoss(), allow_int=True))(model, samples)
    off = (np.asarray(samples.targets)[..., None] - np.asarray(output.info["quantiles"])) / np.asarray(model.std[...])[
        :, [2, 0], None
    ]
    pinball = np.maximum(np.asarray(LEVELS) * off, (np.asarray(LEVELS) - 1) * off).mean(-1)
    weights = np.asarray(samples.weights)
    assert loss == pytest.approx((weights * pinball).sum() / weights.sum())
    assert all(
        np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient) if jnp.issubdtype(leaf.dtype, jnp.floating)
    )


@pytest.mark.parametrize("kind", ["regression", pytest.param("network", marks=pytest.mark.slow), "quantiles"])
def test_a_closed_loop_feeds_all_features(kind, values):
    samples = jaxcast.series.series_windows(values, history_size=5, leads=(1,))
    if kind == "regression":
        inputs = jaxcast.series.lag_inputs(samples, lags=range(5))
        model = jaxcast.series.fit_lag_regression(
            samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-3, predict_change=True
        )
    else:
        model = make(jaxcast.series.GlobalNetwork, samples, levels=LEVELS if kind == "quantiles" else ())
    loop = jaxcast.series.RecursiveForecaster(model, (1, 4), 30)
    if kind == "quantiles":
        quantiles = loop(samples.history[:2], key=jax.random.key(0)).info["quantiles"]
        assert quantiles.shape == (2, 2, 2, 3, 3)
        assert (np.diff(quantiles, axis=-1) > 0).all()
        return
    window = samples.history[3]
    for _ in range(4):
        window = jnp.concatenate([window[1:], model(window).forecast])
    both = loop(jnp.stack([samples.history[3], samples.history[9]])).forecast
    np.testing.assert_allclose(both[0], window[jnp.asarray([1, 4])], rtol=1e-9)


def test_quantiles_of_every_target_are_set_right_by_themselves(samples):
    """Shifts and widths are those of one target at a time."""
    base = jaxcast.series.LastValue((1, 3), (2, 0))(samples.history).forecast[..., None]
    usual = jaxcast.series.typical_change(samples)
    widths = jaxcast.series.recent_volatility(samples.history[..., jnp.asarray([2, 0])], usual)
    std = np.asarray([[1.0, 2.0], [3.0, 4.0]])
    shifts = jaxcast.series.conformal_shifts(base, samples, levels=LEVELS, std=std, widths=np.asarray(widths))
    model = jaxcast.series.CalibratedForecaster(
        jaxcast.series.LastValue((1, 3), (2, 0)),
        jnp.asarray(shifts),
        levels=LEVELS,
        usual_change=usual,
        width_power=0.5,
    )
    quantiles = model(samples.history).info["quantiles"]
    assert quantiles.shape == (65, 2, 2, 2, 3)
    for k, f in enumerate((2, 0)):
        one = samples._replace(
            history=samples.history[..., f],
            targets=samples.targets[..., k],
            weights=samples.weights[..., k],
            features=None,
        )
        np.testing.assert_array_equal(jaxcast.series.typical_change(one), usual[:, k])
        own = jaxcast.series.conformal_shifts(
            base[..., k, :], one, levels=LEVELS, std=std[:, k], widths=np.asarray(widths[..., k])
        )
        np.testing.assert_array_equal(shifts[..., k, :], own)
        alone = jaxcast.series.CalibratedForecaster(
            jaxcast.series.LastValue((1, 3)), jnp.asarray(own), levels=LEVELS, usual_change=usual[:, k], width_power=0.5
        )
        np.testing.assert_allclose(quantiles[..., k, :], alone(one.history).info["quantiles"], rtol=1e-12)


def test_scores_are_of_every_target(samples):
    forecast = jaxcast.series.LastValue((1, 3), (2, 0))(samples.history).forecast
    scores = jaxcast.series.errors_by_lead(forecast, samples)
    for k in range(2):
        one = samples._replace(targets=samples.targets[..., k], weights=samples.weights[..., k], features=None)
        for ours, theirs in zip(scores, jaxcast.series.errors_by_lead(forecast[..., k], one), strict=True):
            np.testing.assert_allclose(ours[:, k], theirs, rtol=1e-12)


@pytest.mark.parametrize(
    "kind", ["naive", "ridge", "each", "global", pytest.param("attention", marks=pytest.mark.slow)]
)
def test_forecasters_of_several_features_can_be_kept(kind, samples, tmp_path):
    if kind == "naive":
        inner = jaxcast.series.LastValue((1, 3), (2, 0))
    elif kind in ("ridge", "each"):
        inputs = jaxcast.series.lag_inputs(samples, lags=(0, 2), centred=kind == "each")
        inner = jaxcast.series.fit_lag_regression(
            samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-3, each_region=kind == "each"
        )
    else:
        inner = make(dict(zip(("global", "attention"), NETWORKS[:1:-1], strict=True))[kind], samples, levels=LEVELS)
    shifts = jnp.broadcast_to(jnp.arange(3.0), (2, 2, 2, 3))
    model = jaxcast.series.CalibratedForecaster(
        inner, shifts, levels=LEVELS, usual_change=jnp.ones((2, 2)), width_power=0.5
    )
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    assert jax.tree.structure(loaded) == jax.tree.structure(model)
    ours, theirs = (jax.jit(lambda m, h: m(h))(m, samples.history) for m in (loaded, model))
    np.testing.assert_array_equal(ours.info["quantiles"], theirs.info["quantiles"])
    wrong = jaxcast.series.CalibratedForecaster(inner, shifts[:, :, :1], levels=LEVELS)
    with pytest.raises(jaxcast.InputError):
        jaxcast.save_model(tmp_path / "wrong", wrong)


def one_feature(v):
    return jaxcast.series.series_windows(v[..., 0], history_size=5, leads=(1,))


def fitted(samples):
    inputs = jaxcast.series.lag_inputs(samples, lags=(0, 1))
    return jaxcast.series.fit_lag_regression(
        samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-3
    )


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("expected", "call"),
    [
        (r"expected values \(time, region\) or \(time, region, feature\), got shape \(70,\)", lambda v, s: jaxcast.series.series_windows(v[:, 0, 0], history_size=5, leads=(1,))),
        (r"expected values .* got shape \(1, 70, 2, 3\)", lambda v, s: jaxcast.series.series_windows(v[None], history_size=5, leads=(1,))),
        (r"targets as different numbers of features from 0 to 2, got \(0, 3\)", lambda v, s: jaxcast.series.series_windows(v, history_size=5, leads=(1,), targets=(0, 3))),
        (r"targets as different numbers of features from 0 to 2, got \(1, 1\)", lambda v, s: jaxcast.series.series_windows(v, history_size=5, leads=(1,), targets=(1, 1))),
        (r"targets as different numbers of features from 0 to 2, got \(\)", lambda v, s: jaxcast.series.series_windows(v, history_size=5, leads=(1,), targets=())),
        (r"expected values \(time, region, feature\), got shape \(70, 2\)", lambda v, s: jaxcast.series.series_windows(v[..., 0], history_size=5, leads=(1,), targets=(0,))),
        (r"expected past_covariates .* of 70 steps and 2 regions, got shape \(70, 3, 1\)", lambda v, s: jaxcast.series.series_windows(v, history_size=5, leads=(1,), past_covariates=np.ones((70, 3, 1)))),
        (r"expected past_covariates .* got shape \(69, 1\)", lambda v, s: jaxcast.series.series_windows(v, history_size=5, leads=(1,), past_covariates=np.ones((69, 1)))),
        *((r"expected histories \(time, region\) or \(sample, time, region\), got shape \(65, 5, 2, 3\); several", lambda v, s, m=m: m(s.history)) for m in BASELINES),
        (r"expected histories \(time, region\) .* of 2 regions, got shape \(65, 5, 2, 3\)", lambda v, s: fitted(one_feature(v))(s.history)),
        (r"of 2 regions, got shape \(65, 5, 2, 2\); several", lambda v, s: fitted(one_feature(v))(s.history[..., :2])),
        (r"of 2 regions, got histories of shape \(65, 5, 2, 3\)|made for 2 regions", lambda v, s: make(jaxcast.series.GlobalNetwork, one_feature(v))(s.history)),
        (r"of 2 regions, got shape \(65, 5, 2, 2\); several", lambda v, s: make(jaxcast.series.GlobalNetwork, one_feature(v))(s.history[..., :2])),
        (r"\(time, region, feature\) .* of 2 regions and 3 features, got shape \(65, 5, 2\)", lambda v, s: fitted(s)(s.history[..., 0])),
        (r"of 2 regions and 3 features, got shape \(65, 5, 2, 2\)", lambda v, s: fitted(s)(s.history[..., :2])),
        (r"of 2 regions and 3 features, got shape \(65, 5, 2, 2\)", lambda v, s: make(jaxcast.series.GlobalNetwork, s)(s.history[..., :2])),
        (r"with at least 3 features, got shape \(65, 5, 2, 2\)", lambda v, s: jaxcast.series.LastValue((1,), (2,))(s.history[..., :2])),
        ("every target feature must be at least 0, got -1", lambda v, s: jaxcast.series.LastValue((1,), (-1,))),
        (r"target_features must be different, got \(1, 1\)", lambda v, s: jaxcast.series.LastValue((1,), (1, 1))),
        (r"closed loop needs forecasts of all features, expected target features \(0, 1, 2\) .*, got \(2, 0\)", lambda v, s: jaxcast.series.RecursiveForecaster(jaxcast.series.LastValue((1,), (2, 0)), (1, 2))(s.history)),
        (r"expected histories \(time, region\) .* got shape \(65, 5, 2, 3\)", lambda v, s: jaxcast.series.RecursiveForecaster(jaxcast.series.LastValue((1,)), (1, 2))(s.history)),
        (r"closed loop needs forecasts of all features", lambda v, s: jaxcast.forecast(jaxcast.series.WindowCell(jaxcast.series.LastValue((1,), (1,)), 5), s.history[0], 2)),
        (r"expected samples whose target features are \(\), as of the inputs, got \(2, 0\)", lambda v, s: jaxcast.series.fit_lag_regression(s, inputs=jaxcast.series.lag_inputs(one_feature(v), lags=(0,)), expansion=jaxcast.series.LinearFeatures(), penalty=1.0)),
        (r"series number 1, feature 2, never changes", lambda v, s: jaxcast.series.lag_inputs(s._replace(history=s.history.at[:, :, 1, 2].set(1.0)), lags=(0,))),
        (r"series number 0, feature 1, has no known value", lambda v, s: jaxcast.series.lag_inputs(s._replace(history=s.history.at[:, :, 0, 1].set(NAN)), lags=(0,))),
        (r"expected forecasts of the targets' shape \(65, 2, 2, 2\), got \(65, 2, 2, 1\)", lambda v, s: jaxcast.series.errors_by_lead(s.targets[..., :1], s)),
        (r"expected std \(2, 2\), one for each series, got shape \(2,\)", lambda v, s: jaxcast.series.conformal_shifts(s.targets[..., None], s, levels=LEVELS, std=np.ones(2))),
    ],
)  # fmt: skip
def test_shapes_that_are_not_supported_are_refused(expected, call, values, samples):
    with pytest.raises(jaxcast.InputError, match=expected) as error:
        call(values, samples)
    assert "\n" not in str(error.value)


def test_a_feature_that_is_only_seen_may_stay_the_same(samples):
    still = samples._replace(history=samples.history.at[:, :, 0, 1].set(7.0))
    assert np.isfinite(fitted(still)(still.history).forecast).all()

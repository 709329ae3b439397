"""Forecasters of several series against NumPy, loops, and errors that were computed elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from experiments.datasets import read_folder
from jaxcast.series.scaling import filled
from tests.real_data import real_data

NAN = np.nan


@pytest.fixture(scope="module")
def values():
    """Four positive, seasonal series of unlike sizes."""
    rng = np.random.default_rng(0)
    phase = 0.3 * np.arange(90)[:, None] + np.arange(4)
    return np.exp(np.sin(phase) + 0.2 * rng.normal(size=phase.shape)) * np.asarray([1.0, 5.0, 20.0, 3.0])


@pytest.fixture(scope="module")
def samples(values):
    return jaxcast.series.series_windows(values, history_size=6, leads=(1, 4), stop=60)


def test_parts_share_no_target_and_windows_hold_what_was_before(values):
    parts = [
        jaxcast.series.series_windows(values, history_size=6, leads=(1, 4), start=a, stop=b)
        for a, b in ((0, 40), (40, 90))
    ]
    targets = [set(np.asarray(p.rows)[np.asarray(p.weights)[..., 0] > 0]) for p in parts]
    assert targets[0] == set(range(6, 40))
    assert targets[1] == set(range(40, 90))
    for part in parts:
        for history, rows in zip(part.history, part.rows, strict=True):
            newest = int(rows[0]) - 1
            np.testing.assert_array_equal(history, values[newest - 5 : newest + 1])


def test_missing_targets_are_not_learned_from(values):
    gaps = np.array(values)
    gaps[20:24, 1] = NAN
    samples = jaxcast.series.series_windows(gaps, history_size=6, leads=(2,))
    missing = np.isin(samples.rows[:, 0], range(20, 24))
    np.testing.assert_array_equal(samples.weights[:, 0, 1] == 0, missing)
    assert np.isfinite(samples.targets).all()
    assert np.asarray(samples.weights[:, 0, 0]).all()


def test_missing_values_are_the_last_known():
    history = jnp.asarray([[NAN, 1.0], [2.0, NAN], [NAN, NAN], [4.0, 5.0]])
    np.testing.assert_array_equal(filled(history, jnp.asarray([9.0, 8.0])), [[9, 1], [2, 1], [2, 1], [4, 5]])


@pytest.mark.slow
@pytest.mark.parametrize("each_region", [False, True])
def test_a_regression_on_lags_is_weighted_least_squares(values, samples, each_region):
    inputs = jaxcast.series.lag_inputs(
        samples, lags=(0, 2, 5), neighbour_weights=jaxcast.series.neighbour_weights(4, np.ones((4, 4))), centred=False
    )
    model = jaxcast.series.fit_lag_regression(
        samples,
        inputs=inputs,
        expansion=jaxcast.series.LinearFeatures(),
        penalty=1e-13,
        each_region=each_region,
        predict_change=True,
        error_weighting=0.5,
    )
    ours = model(samples.history).forecast
    history, std = np.asarray(samples.history), np.asarray(inputs.std)
    scaled = history / std
    others = (scaled.sum(-1, keepdims=True) - scaled) / 3
    lagged = np.concatenate([a[:, [5, 3, 0]] for a in (scaled, others)], 1)  # sample, feature, region
    for k in range(2):
        wanted = (np.asarray(samples.targets)[:, k] - history[:, -1]) / std
        weights = np.sqrt(np.asarray(samples.weights)[:, k] * std)
        for group in [[r] for r in range(4)] if each_region else [[0, 1, 2, 3]]:
            x = np.concatenate([np.c_[lagged[:, :, r], np.ones(len(lagged))] for r in group])
            y, w = (np.concatenate([a[:, r] for r in group]) for a in (wanted, weights))
            fitted = (x @ np.linalg.lstsq(w[:, None] * x, w * y, rcond=None)[0]).reshape(len(group), -1).T
            np.testing.assert_allclose(
                ours[:, k, group], history[:, -1, group] + fitted * std[group], rtol=1e-6, atol=1e-7
            )


@pytest.mark.slow
def test_kernel_ridge_with_random_features_is_ridge_on_them(samples):
    inputs = jaxcast.series.lag_inputs(samples, lags=range(6), transform="log", level="window", num_components=2)
    expansion = jaxcast.series.random_fourier_features(
        inputs.num_features, 30, bandwidth=0.7, linear=0.3, key=jax.random.key(0)
    )
    model = jaxcast.series.fit_lag_regression(
        samples, inputs=inputs, expansion=expansion, penalty=1e-3, nonnegative=True
    )
    window = inputs(samples.history)
    assert window.features.shape[-1] == inputs.num_features == 9
    x = np.asarray(expansion(window.features)).reshape(-1, 39)
    scale = np.asarray(window.scale).ravel()
    for k in range(2):
        y = np.asarray(samples.targets)[:, k].ravel() / scale
        w = np.asarray(samples.weights)[:, k].ravel() * scale**2
        w = w / w.sum()
        mean, middle = w @ x, w @ y
        gram = (x - mean).T @ (w[:, None] * (x - mean))
        solved = np.linalg.solve(gram + 1e-3 * np.trace(gram) / 39 * np.eye(39), (x - mean).T @ (w * (y - middle)))
        expected = np.maximum(((x - mean) @ solved + middle) * scale, 0).reshape(-1, 4)
        np.testing.assert_allclose(model(samples.history).forecast[:, k], expected, rtol=1e-8)


@pytest.mark.slow
def test_echoes_are_a_reservoir_that_ran_over_the_window(samples):
    """Oldest lag first, from rest, all groups at a time; the features themselves beside it."""
    inputs = jaxcast.series.lag_inputs(
        samples, lags=range(6), neighbour_weights=jaxcast.series.neighbour_weights(4, np.ones((4, 4)))
    )
    features = np.asarray(inputs(samples.history[:3]).features)
    echoes = jaxcast.series.random_reservoir_features(
        num_features=12, num_lags=6, num_nodes=7, leak=0.3, key=jax.random.key(1)
    )
    network = jax.tree.map(np.asarray, echoes.network)
    matrix = np.zeros((7, 7))
    np.add.at(matrix, (np.arange(7)[:, None], network.sources), network.strengths)
    nodes = np.zeros((3, 4, 7))
    for lag in (5, 4, 3, 2, 1, 0):
        heard = nodes @ matrix.T + features[..., [lag, 6 + lag]] @ network.inputs.T + network.bias
        nodes = 0.7 * nodes + 0.3 * np.tanh(heard)
    np.testing.assert_allclose(echoes(jnp.asarray(features)), np.concatenate([nodes, features], -1), rtol=1e-10)
    with pytest.raises(jaxcast.InputError, match="expected 5 lags of each group, and no other feature, got 12"):
        jaxcast.series.random_reservoir_features(num_features=12, num_lags=5, num_nodes=7, key=jax.random.key(1))


@pytest.mark.slow
def test_only_the_shape_of_a_window_matters_where_it_is_its_own_level(samples):
    inputs = jaxcast.series.lag_inputs(samples, lags=range(6), level="window")
    one, other = inputs(1e4 * samples.history), inputs(1e6 * samples.history)
    np.testing.assert_allclose(one.features[..., :6], other.features[..., :6], atol=1e-3)
    assert (np.diff(np.stack([one.features[..., 6], other.features[..., 6]]), axis=0) > 0).all()


def test_where_last_season_is_missing_the_last_known_value_stands_in():
    history = jnp.asarray([[1.0], [NAN], [3.0], [4.0], [NAN]])
    assert jaxcast.series.SeasonalLastValue((1, 2, 3), period=4)(history).forecast[:, 0].tolist() == [4.0, 3.0, 4.0]


def test_closest_neighbours_are_a_group_each():
    adjacency = np.asarray([[1, 0.2, 0.9], [0.2, 1, 0], [0.9, 0, 1]])
    neighbour_weights = jaxcast.series.neighbour_weights(3, adjacency, nearest=1)
    np.testing.assert_array_equal(neighbour_weights[:, 0], np.eye(3))
    np.testing.assert_array_equal(neighbour_weights[:, 1].argmax(-1), [2, 0, 0])


@pytest.mark.parametrize(
    ("name", "leads", "last", "season"),
    [
        ("ili_us_states", (3, 5, 10, 15), (191.1, 244.9, 360.7, 429.3), 307.0),
        ("ili_us_regions", (3, 5, 10, 15), (713.1, 956.9, 1414.1, 1749.0), 876.4),
    ],
)
def test_naive_errors_are_those_computed_elsewhere(name, leads, last, season):
    values = read_folder(real_data(name)).values
    test = jaxcast.series.series_windows(values, history_size=20, leads=leads, start=int(0.7 * len(values)))
    scores = jaxcast.series.errors_by_lead(jaxcast.series.LastValue(leads)(test.history).forecast, test)
    np.testing.assert_allclose(scores.rmse, last, atol=0.06)
    far = jaxcast.series.series_windows(values, history_size=52, leads=leads, start=int(0.7 * len(values)))
    scores = jaxcast.series.errors_by_lead(jaxcast.series.SeasonalLastValue(leads, 52)(far.history).forecast, far)
    np.testing.assert_allclose(scores.rmse, season, atol=0.06)


NETWORKS = [
    jaxcast.series.IndependentNetwork,
    jaxcast.series.HierarchicalNetwork,
    jaxcast.series.AttentionNetwork,
    jaxcast.series.GlobalNetwork,
]


def make(network, samples, **options):
    return network(samples, hidden_size=5, kind="gru", key=jax.random.key(1), dtype=jnp.float64, **options)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_which_regions_a_network_sees(network, samples):
    """And its quantiles never cross, and missing values give a finite loss with finite gradients."""
    model = make(network, samples, levels=(0.1, 0.25, 0.5, 0.9))
    changed = samples.history.at[:, :, 2].multiply(1.5)
    run = jax.jit(lambda model, history: model(history))
    before, after = run(model, samples.history), run(model, changed)
    moved = np.asarray(jnp.abs(before.forecast - after.forecast).max((0, 1)) > 1e-9)
    alone = network in (jaxcast.series.IndependentNetwork, jaxcast.series.GlobalNetwork)
    np.testing.assert_array_equal(moved, [not alone, not alone, True, not alone])
    assert (np.diff(before.info["quantiles"], axis=-1) > 0).all()
    np.testing.assert_array_equal(before.forecast, before.info["quantiles"][..., 2])
    with_gaps = samples._replace(history=samples.history.at[:, 3, 1].set(NAN))
    loss, gradient = jax.jit(jax.value_and_grad(jaxcast.series.WindowLoss(), allow_int=True))(model, with_gaps)
    assert np.isfinite(loss)
    leaves = [leaf for leaf in jax.tree.leaves(gradient) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert all(np.isfinite(leaf).all() for leaf in leaves)


def of_given(values, each):
    """Two numbers given at each step, for all regions or for each, and one known ahead; NaN at some steps."""
    rng = np.random.default_rng(5)
    covariates, ahead = rng.normal(size=(90, 4, 2) if each else (90, 2)), rng.normal(size=(90, 1))
    covariates[25] = NAN
    ahead[33] = NAN
    return (
        jaxcast.series.series_windows(
            values, history_size=6, leads=(1, 4), stop=60, newest_covariates=covariates, future_covariates=ahead
        ),
        covariates,
        ahead,
    )


@pytest.mark.slow
@pytest.mark.parametrize("each", [False, True])
def test_what_is_given_is_that_of_the_newest_step_and_of_the_targets(values, each):
    samples, covariates, ahead = of_given(values, each)
    assert samples.covariates.shape == ((59 - 5, 4, 4) if each else (59 - 5, 4))
    for n in range(len(samples.targets)):
        newest = int(samples.rows[n, 0]) - 1
        known = np.isfinite(ahead[[newest + 1, newest + 4]]).all() and newest != 25
        assert np.asarray(samples.weights)[n].any() == known
        if known:
            for region in range(4) if each else (slice(None),):
                own = covariates[newest, region] if each else covariates[newest]
                expected = [*own, ahead[newest + 1, 0], ahead[newest + 4, 0]]
                np.testing.assert_array_equal(
                    samples.covariates[n, region] if each else samples.covariates[n], expected
                )
    assert np.isfinite(samples.covariates).all()


@pytest.mark.slow
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("each_region", [False, True])
def test_a_regression_uses_what_is_given(values, each, each_region):
    samples, _, _ = of_given(values, each)
    inputs = jaxcast.series.lag_inputs(samples, lags=(0, 2), covariates_scale=3.0, centred=False)
    model = jaxcast.series.fit_lag_regression(
        samples,
        inputs=inputs,
        expansion=jaxcast.series.LinearFeatures(),
        penalty=1e-13,
        each_region=each_region,
        error_weighting=0.0,
    )
    ours = model(samples.history, samples.covariates).forecast
    std = np.asarray(inputs.std)
    covariates = np.asarray(samples.covariates if each else jnp.repeat(samples.covariates[:, None], 4, 1))
    features = np.concatenate([(np.asarray(samples.history) / std)[:, [5, 3]].transpose(0, 2, 1), covariates], -1)
    for k in range(2):
        weights = np.asarray(samples.weights)[:, k]
        for group in [[r] for r in range(4)] if each_region else [[0, 1, 2, 3]]:
            x, y, w = (
                np.concatenate([a[:, r] for r in group])
                for a in (features, np.asarray(samples.targets)[:, k] / std, weights)
            )
            x = np.c_[x, np.ones(len(x))]
            solved = np.linalg.lstsq(x[w > 0], y[w > 0], rcond=None)[0]
            fitted = (x @ solved).reshape(len(group), -1).T
            np.testing.assert_allclose(ours[:, k, group], fitted * std[group], rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("network", [jaxcast.series.IndependentNetwork, jaxcast.series.GlobalNetwork])
def test_a_network_reads_what_is_given(values, network, each):
    samples, _, _ = of_given(values, each)
    model = make(network, samples)
    forecast = jax.jit(lambda m, *a: m(*a).forecast)(model, samples.history, samples.covariates)
    z = (samples.history - model.mean[...]) / model.std[...]
    states, _ = model.encode(jnp.stack([z, jnp.ones_like(z)], -1), None)
    covariates = samples.covariates if each else jnp.repeat(samples.covariates[:, None], 4, 1)
    for r in range(4):
        kernel, bias = np.asarray(model.read_out.kernel[...]), np.asarray(model.read_out.bias[...])
        kernel, bias = (kernel[r], bias[r]) if model.each else (kernel, bias)
        read = np.concatenate([states[:, r], covariates[:, r]], -1) @ kernel + bias
        expected = model.mean[r] + model.std[r] * (z[:, -1, r, None] + read)
        np.testing.assert_allclose(forecast[..., r], expected, rtol=1e-10)


@pytest.mark.slow
def test_a_network_may_see_each_window_in_units_of_its_own_mean(samples):
    model = make(jaxcast.series.GlobalNetwork, samples, level="window")
    history = samples.history.at[0, :, 1].set(0.0)
    mean = np.maximum(history.mean(1), 0.05 * model.std[...])
    z = (history - mean[:, None]) / mean[:, None]
    level = jnp.broadcast_to(jnp.log(mean / model.std[...])[:, None], z.shape)
    states, _ = model.encode(jnp.stack([z, jnp.ones_like(z), level], -1), None)
    expected = (mean * (1 + z[:, -1]))[..., None] + mean[..., None] * np.asarray(model.read_out(states))
    np.testing.assert_allclose(model(history).forecast, np.swapaxes(expected, 1, 2), rtol=1e-10)
    assert model.config["level"] == "window"


@pytest.mark.slow
def test_independent_networks_are_one_for_each_region(samples):
    model = make(jaxcast.series.IndependentNetwork, samples)
    forecast = model(samples.history).forecast
    z = (samples.history - model.mean[...]) / model.std[...]
    for r in range(4):
        stack, head = (jax.tree.map(lambda a, r=r: a[r], part) for part in (model.stacks, model.read_out))
        _, outputs = stack(jnp.stack([z[..., r], jnp.ones_like(z[..., r])], -1))
        expected = model.mean[r] + model.std[r] * (z[:, -1, r, None] + head(outputs[:, -1]))
        np.testing.assert_allclose(forecast[..., r], expected, rtol=1e-12)


@pytest.mark.slow
def test_the_map_between_regions_is_what_moves_the_context(samples):
    model = make(jaxcast.series.AttentionNetwork, samples)
    states = model.sequences(jnp.stack([samples.history] * 2, -1), None)[..., -1, :, :]
    encoded, info = model.encode(jnp.stack([samples.history] * 2, -1), None)
    weights = np.asarray(info["weights"])
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-12)
    query, key = (np.asarray(layer(states)) for layer in (model.query, model.key))
    score = np.tanh(query[:, :, None] + key[:, None]) @ np.asarray(model.score.kernel[...])[:, 0]
    np.testing.assert_allclose(weights, np.exp(score) / np.exp(score).sum(-1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(encoded[..., 5:], np.einsum("nrs,nsh->nrh", weights, states), atol=1e-12)


@pytest.mark.slow
def test_a_network_learns_what_is_to_be_learned(samples):
    def init(key):
        return jaxcast.series.GlobalNetwork(
            samples, hidden_size=8, self_attention=True, kind="gru", key=key, dtype=jnp.float64
        )

    fit = jaxcast.fit(
        samples, init=init, keys=jax.random.key(0)[None], optimizer=jaxcast.training.make_optimizer(1e-2), num_epochs=100,
        batch_size=9, loss=jaxcast.series.WindowLoss(), with_key=True, validation=samples,
    )  # fmt: skip
    model = jax.tree.map(lambda a: a[0], fit.models)
    last = jaxcast.series.errors_by_lead(jaxcast.series.LastValue((1, 4))(samples.history).forecast, samples)
    assert (jaxcast.series.errors_by_lead(model(samples.history).forecast, samples).rmse < 0.7 * last.rmse).all()


@pytest.mark.slow
def test_kernel_ridge_over_delays_is_its_equation():
    rng = np.random.default_rng(0)
    series = np.cumsum(rng.normal(size=(60, 2)), 0)
    weights = np.asarray([1.0, 0.0, 0.5])
    cell = jaxcast.forecasters.fit_delay_kernel_ridge(series[:50], lag_weights=weights, bandwidth=0.8, penalty=1e-3)
    mean, std = series[:50].mean(0), series[:50].std(0)
    z = (series - mean) / std
    points = np.asarray([(weights[:, None] * z[[n, n - 1, n - 2]]).ravel() for n in range(2, 49)])
    width = 0.8 * np.sqrt(((points - points.mean(0)) ** 2).sum(-1).mean())
    gauss = lambda a, b: np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * width**2))  # noqa: E731
    solved = np.linalg.solve(gauss(points, points) + 1e-3 * np.eye(47), np.diff(z[:50], axis=0)[2:])
    history = list(z[47:50])
    for forecast in jaxcast.forecast(cell, jnp.asarray(series[47:50]), 4).forecast:
        point = (weights[:, None] * np.asarray(history[-3:])[::-1]).ravel()
        history.append(history[-1] + (gauss(point[None], points) @ solved)[0])
        np.testing.assert_allclose(forecast, history[-1] * std + mean, rtol=1e-7)
    with pytest.raises(jaxcast.InputError, match="penalty above the rounding of float32"):
        jaxcast.forecasters.fit_delay_kernel_ridge(
            jnp.sin(0.3 * jnp.arange(60.0, dtype="float32"))[:, None], lag_weights=weights, penalty=1e-9
        )
    many = jax.vmap(
        lambda b: jaxcast.forecasters.fit_delay_kernel_ridge(
            series[:50], lag_weights=weights, bandwidth=b, penalty=1e-3
        )
    )
    np.testing.assert_allclose(many(jnp.asarray([0.3, 0.8])).coefficients[1], cell.coefficients, rtol=1e-6)


def test_the_average_is_of_as_many_as_do_well_on_what_did_not_choose_them():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 3))
    equal = truth + rng.normal(size=(10, 60, 3))
    assert len(jaxcast.training.select_average(equal, truth, sizes=(1, 5, 10))) == 10
    one_good = np.concatenate([equal, truth[None] + 0.01])
    np.testing.assert_array_equal(jaxcast.training.select_average(one_good, truth, sizes=(1, 5, 10)), [10])
    weights = np.zeros(truth.shape)
    weights[:, 0] = 1
    one_good[3, :, 0] = truth[:, 0]
    np.testing.assert_array_equal(jaxcast.training.select_average(one_good, truth, weights, sizes=(1, 5)), [3])


def write(path, name, array):
    np.savetxt(path / name, array, delimiter=",")


@pytest.mark.slow
@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("expected", "call"),
    [
        ("windows of 6 and leads of up to 95 steps find no target", lambda v, s, p: jaxcast.series.series_windows(v, history_size=6, leads=(95,))),
        ("leads of at least 1, got", lambda v, s, p: jaxcast.series.series_windows(v, history_size=6, leads=(0,))),
        ("lags from 0 to below the 6 steps", lambda v, s, p: jaxcast.series.lag_inputs(s, lags=(6,))),
        ("transform must be none, sqrt or log", lambda v, s, p: jaxcast.series.lag_inputs(s, lags=(0,), transform="exp")),
        ("an adjacency of 4 regions", lambda v, s, p: jaxcast.series.neighbour_weights(4, np.ones((3, 3)))),
        (r"neighbour_weights .* of 4 regions, got \(3, 2, 3\)", lambda v, s, p: jaxcast.series.lag_inputs(s, lags=(0,), neighbour_weights=np.ones((3, 2, 3)))),
        ("series number 1 never changes", lambda v, s, p: jaxcast.series.lag_inputs(s._replace(history=s.history.at[..., 1].set(2.0)), lags=(0,))),
        ("series number 1 has no known value", lambda v, s, p: jaxcast.series.lag_inputs(s._replace(history=s.history.at[..., 1].set(NAN)), lags=(0,))),
        (r"levels must increase within \(0, 1\), got", lambda v, s, p: make(jaxcast.series.GlobalNetwork, s, levels=(0.5, 1.0))),
        ("level must be one of series, window, got", lambda v, s, p: make(jaxcast.series.GlobalNetwork, s, level="month")),
        ("made for 4 regions, got histories of shape", lambda v, s, p: make(jaxcast.series.GlobalNetwork, s)(s.history[..., :3])),
        (r"expected newest_covariates \(time, feature\) .* for values \(90, 4\), got \(90, 3, 2\)", lambda v, s, p: jaxcast.series.series_windows(v, history_size=6, leads=(1,), newest_covariates=np.ones((90, 3, 2)))),
        ("4 covariates for each of 4 regions, or for all, of a sample, got shape", lambda v, s, p: make(jaxcast.series.GlobalNetwork, of_given(v, True)[0])(s.history)),
        ("4 covariates for each of 4 regions", lambda v, s, p: jaxcast.series.lag_inputs(of_given(v, False)[0], lags=(0,))(s.history, s.history[:, 0, :3])),
        ("penalty must be zero or more, and finite, got -1", lambda v, s, p: jaxcast.series.fit_lag_regression(s, inputs=None, expansion=None, penalty=-1)),
        ("a season of 9 steps needs a longer history than 6", lambda v, s, p: jaxcast.series.SeasonalLastValue((1,), 9)(s.history)),
        ("one .txt or .csv of series", lambda v, s, p: read_folder(p)),
        (r"is for \(3, 3\) regions, series.txt has 4", lambda v, s, p: (write(p, "series.txt", v), write(p, "adj.txt", np.eye(3)), read_folder(p))),
        ("series number 0 of .* never changes", lambda v, s, p: (write(p, "series.txt", 0 * v), read_folder(p))),
        ("series number 2 of .* has no known value", lambda v, s, p: (write(p, "series.txt", v * [1, 1, NAN, 1]), read_folder(p))),
        ("expected a folder of series", lambda v, s, p: read_folder(p / "none")),
        ("row 2: expected a finite number, got 'many'", lambda v, s, p: ((p / "series.txt").write_text("1,2\n3,many\n"), read_folder(p))),
        ("row 1: expected a finite number, got 'inf'", lambda v, s, p: ((p / "series.txt").write_text("1,inf\n3,4\n"), read_folder(p))),
        ("expected rows of one length", lambda v, s, p: ((p / "series.txt").write_text("1,2\n3\n"), read_folder(p))),
        ("must hold numbers that are not negative", lambda v, s, p: (write(p, "series.txt", v), write(p, "adj.txt", -np.ones((4, 4))), read_folder(p))),
        ("adjacency of finite numbers that are not negative", lambda v, s, p: jaxcast.series.neighbour_weights(2, np.full((2, 2), NAN))),
        ("at least 3 samples", lambda v, s, p: jaxcast.training.select_average(np.ones((2, 2)), np.ones(2))),
    ],
)  # fmt: skip
def test_bad_input_is_explained_in_one_line(expected, call, values, samples, tmp_path):
    with pytest.raises(jaxcast.InputError, match=expected) as error:
        call(values, samples, tmp_path)
    assert "\n" not in str(error.value)

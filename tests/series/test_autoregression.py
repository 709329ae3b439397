"""Autoregressions of all series against least squares by hand, and the choice of a penalty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.series import (
    LinearFeatures,
    RecursiveForecaster,
    fit_best_penalty,
    fit_lag_regression,
    fit_lasso,
    fit_star,
    fit_var,
    fit_var_path,
    hop_graphs,
    lag_inputs,
    series_windows,
)

LEADS = (1, 3)


@pytest.fixture(scope="module")
def values():
    """Four series of unlike sizes, of which each drives the next two steps later."""
    rng = np.random.default_rng(0)
    walk = list(rng.normal(size=(2, 4)))
    for _ in range(98):
        walk.append(0.3 * walk[-1] + 0.5 * np.roll(walk[-2], 1) + rng.normal(size=4))
    return np.stack(walk) * [1.0, 2.0, 0.5, 10.0] + [0.0, 3.0, 7.0, -5.0]


@pytest.fixture(scope="module")
def samples(values):
    return series_windows(values, history_size=2, leads=LEADS)


def lagged(samples):
    """All lags, the newest row first, and the constant."""
    history = np.asarray(samples.history)[:, ::-1]
    return np.concatenate([history.reshape(len(history), -1), np.ones((len(history), 1))], 1)


def some_missing(samples):
    return samples._replace(weights=samples.weights * (np.random.default_rng(1).random(samples.weights.shape) < 0.8))


@pytest.mark.parametrize(
    "change", [pytest.param(lambda s: s, id="whole", marks=pytest.mark.slow), pytest.param(some_missing, id="missing")]
)
def test_each_series_is_regressed_on_the_lags_of_all(samples, change):
    changed = change(samples)
    model = fit_var(changed, penalty=0.0)
    x, known = lagged(changed), np.asarray(changed.weights) > 0
    for lead, region in np.ndindex(2, 4):
        rows = known[:, lead, region]
        solved = np.linalg.lstsq(x[rows], np.asarray(changed.targets)[rows, lead, region])[0]
        np.testing.assert_allclose(model.weights[lead, :, region].ravel(), solved[:-1], atol=1e-9)
        np.testing.assert_allclose(model.bias[lead, region], solved[-1], atol=1e-8)
    np.testing.assert_allclose(
        model(changed.history).forecast[5, 0],
        x[5, :-1] @ model.weights[0].transpose(0, 2, 1).reshape(8, 4) + model.bias[0],
    )


@pytest.mark.slow
def test_leads_that_are_known_alike_are_solved_together_to_the_same_numbers(samples):
    whole = samples._replace(weights=samples.weights * samples.weights[:, 1:, :])
    both = fit_var(whole, penalty=0.01)
    for lead in range(2):
        alone = jax.tree.map(
            lambda a, lead=lead: a[:, lead : lead + 1] if a.ndim > 1 else a,
            {"targets": whole.targets, "weights": whole.weights, "rows": whole.rows},
        )
        one = fit_var(whole._replace(**alone), penalty=0.01)
        np.testing.assert_allclose(both.weights[lead], one.weights[0], rtol=1e-9)
        np.testing.assert_allclose(both.bias[lead], one.bias[0], rtol=1e-9)


@pytest.mark.slow
def test_the_penalty_is_in_units_of_the_mean_eigenvalue_of_standardised_series(samples):
    whole = samples._replace(weights=samples.weights * samples.weights[:, 1:, :])
    penalties = (0.1, 10.0)
    path = fit_var_path(whole, penalties=penalties)
    history = np.asarray(samples.history)
    std = history.reshape(-1, 4).std(0)
    x, y = lagged(whole)[:, :-1] / np.tile(std, 2), np.asarray(whole.targets)[:, 0]
    rows = np.asarray(whole.weights)[:, 0, 0] > 0
    x, y = x[rows] - x[rows].mean(0), y[rows] - y[rows].mean(0)
    for k, penalty in enumerate(penalties):
        strength = penalty * np.trace(x.T @ x) / 8
        solved = np.linalg.solve(x.T @ x + strength * np.eye(8), x.T @ y) / np.tile(std, 2)[:, None]
        np.testing.assert_allclose(path.pick(k).weights[0].transpose(0, 2, 1).reshape(8, 4), solved, rtol=1e-8)
    np.testing.assert_allclose(path.forecasts(samples)[1], path.pick(1)(samples.history).forecast, rtol=1e-12)


@pytest.mark.peers
def test_it_is_the_var_of_statsmodels(values):
    api = pytest.importorskip("statsmodels.tsa.api")
    model = fit_var(series_windows(values, history_size=2, leads=(1,)), penalty=0.0)
    peer = api.VAR(values).fit(2)
    np.testing.assert_allclose(model.weights[0], peer.coefs, atol=1e-8)
    np.testing.assert_allclose(model.bias[0], peer.intercept, atol=1e-7)
    iterated = RecursiveForecaster(model, (1, 2, 3))(jnp.asarray(values[-2:])).forecast
    np.testing.assert_allclose(iterated, peer.forecast(values[-2:], 3), rtol=1e-7)


@pytest.mark.slow
def test_a_planted_dependence_is_found(values):
    """Node i is driven by the one before it two steps earlier, in standardised series."""
    model = fit_var(series_windows(values, history_size=2, leads=(1,)), penalty=0.0)
    effect = np.asarray(model.weights[0, 1]) * values.std(0) / values.std(0)[:, None]
    assert (abs(effect).argmax(1) == [3, 0, 1, 2]).all()


@pytest.mark.slow
def test_a_space_time_autoregression_is_least_squares_on_neighbour_means(values, samples, tmp_path):
    """Also with gaps in the targets; permuted nodes give permuted forecasts."""
    graph = np.asarray([[0, 2.0, 0, 0], [2.0, 0, 1.0, 0], [0, 1.0, 0, 1.0], [0, 0, 1.0, 0]])
    changed = some_missing(samples)
    model = fit_star(changed, graph=graph, num_hops=2)
    hops = hop_graphs(graph, 2)
    history = np.asarray(samples.history)[:, ::-1]
    x = np.einsum("krs,nls->nrkl", hops, history).reshape(len(history), 4, 6)
    x = np.concatenate([x, np.ones_like(x[..., :1])], -1)
    known = np.asarray(changed.weights) > 0
    forecast = np.asarray(model(samples.history).forecast)
    for lead in range(2):
        solved = np.linalg.lstsq(x[known[:, lead]], np.asarray(changed.targets)[:, lead][known[:, lead]])[0]
        np.testing.assert_allclose(forecast[:, lead], x @ solved, atol=1e-8)
    order = np.asarray([2, 0, 3, 1])
    permuted = changed._replace(
        history=changed.history[..., order], targets=changed.targets[..., order], weights=changed.weights[..., order]
    )
    again = fit_star(permuted, graph=graph[order][:, order], num_hops=2)
    np.testing.assert_allclose(again(permuted.history).forecast, forecast[..., order], atol=1e-8)
    fewer = fit_star(samples, graph=graph, num_hops=1, lags=(0, 1), neighbour_lags=(1,), nonnegative=True)
    assert fewer.weights.shape == (2, 3)
    for name, saved in (("star", model), ("var", fit_var(samples, penalty=0.1, lags=(1,), nonnegative=True))):
        jaxcast.save_model(tmp_path / name, saved)
        loaded = jaxcast.load_model(tmp_path / name).pool
        np.testing.assert_array_equal(loaded(samples.history).forecast, saved(samples.history).forecast)


@pytest.mark.slow
def test_gaps_in_histories_are_filled_and_bad_targets_without_a_weight_do_nothing(values, samples):
    gaps = values.copy()
    gaps[np.random.default_rng(2).random(values.shape) < 0.1] = np.nan
    windows = series_windows(gaps, history_size=2, leads=LEADS)
    model = fit_var(windows, penalty=0.1)
    assert np.isfinite(model(windows.history).forecast).all()
    assert np.isfinite(fit_star(windows, graph=np.ones((4, 4)))(windows.history).forecast).all()
    broken = windows._replace(targets=jnp.where(windows.weights > 0, windows.targets, jnp.inf))
    np.testing.assert_array_equal(fit_var(broken, penalty=0.1).weights, model.weights)


@pytest.mark.slow
def test_a_series_that_never_changes_is_forecast_by_its_value(values):
    """Such as a zone without any trip before the test part; later changes of its own do nothing."""
    still = values.copy()
    still[:, 1] = 0.1
    windows = series_windows(still, history_size=2, leads=(1,))
    inputs = lag_inputs(windows, lags=range(2), scaling="all")
    options = {"inputs": inputs, "expansion": LinearFeatures(), "penalty": 1e-3, "each_region": True}
    moved = windows.history.at[..., 1].set(5.0)
    for model in (fit_lag_regression(windows, **options, chunk_size=chunk) for chunk in (None, 16)):
        np.testing.assert_allclose(model(moved).forecast[..., 1], 0.1, atol=1e-12)
        assert np.isfinite(model(moved).forecast).all()
    np.testing.assert_allclose(fit_var(windows, penalty=1e-3)(windows.history).forecast[..., 1], 0.1, atol=1e-12)
    assert np.isfinite(fit_star(windows, graph=np.ones((4, 4)))(windows.history).forecast).all()
    assert np.isfinite(fit_lasso(windows, inputs=inputs, penalty=0.1, each_region=True)(moved).forecast).all()


@pytest.mark.slow
def test_the_penalty_with_the_smallest_held_out_error_is_taken_and_all_is_learned(values, samples):
    early, validation = (
        series_windows(values, history_size=2, leads=LEADS, start=start, stop=stop)
        for start, stop in ((0, 80), (80, 100))
    )
    penalties = (1e-4, 1e-1, 1e3)
    choice = fit_best_penalty(
        samples,
        early=early,
        validation=validation,
        fit_path=lambda samples, penalties: fit_var_path(samples, penalties=penalties),
        penalties=penalties,
    )
    known = np.asarray(validation.weights) > 0
    errors = []
    for penalty in penalties:
        forecast = np.asarray(fit_var(early, penalty=penalty)(validation.history).forecast)
        errors.append(np.sqrt(((forecast - validation.targets)[known] ** 2).mean()))
    np.testing.assert_allclose(choice.rmse, errors, rtol=1e-9)
    assert choice.penalty == penalties[int(np.argmin(errors))]
    np.testing.assert_allclose(choice.model.weights, fit_var(samples, penalty=choice.penalty).weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: fit_var(s, penalty=-1.0), "zero or more"),
        (lambda s: fit_var(s, penalty=1.0, lags=(2,)), "lags from 0 to below the 2 rows"),
        (
            lambda s: fit_var(series_windows(np.ones((9, 2, 2)), history_size=2, leads=(1,)), penalty=1.0),
            "feature axis",
        ),
        (lambda s: fit_star(s, graph=np.ones((3, 3))), "graph of 4 regions"),
        (lambda s: fit_star(s, graph=-np.ones((4, 4))), "negative"),
        (lambda s: fit_var(s, penalty=1.0)(jnp.ones((2, 3))), "of 4 regions"),
        (lambda s: fit_best_penalty(s, early=s, validation=s._replace(weights=0 * s.weights), fit_path=fit_var_path,
                                    penalties=(1.0,)), "validation samples with known targets"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(samples, call, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call(samples)
    assert "\n" not in str(error.value)

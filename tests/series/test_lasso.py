"""Sparse regressions against their optimality conditions and scikit-learn, and groups with lags of their own."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.series import LinearFeatures, fit_lag_regression, fit_lasso, fit_lasso_path, lag_inputs, series_windows

PENALTIES = (0.5, 0.1, 0.01, 0.001)


@pytest.fixture(scope="module")
def samples():
    """Three series that move together, so that lags are nearly alike; some targets are missing."""
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(90, 1)), 0) + 0.3 * rng.normal(size=(90, 3)) + [0.0, 5.0, 20.0]
    windows = series_windows(values, history_size=5, leads=(1, 2))
    return windows._replace(weights=windows.weights * (rng.random(windows.weights.shape) < 0.9))


@pytest.fixture(scope="module")
def inputs(samples):
    everyone = jaxcast.series.neighbour_weights(3, everyone=True)
    return lag_inputs(samples, lags=range(5), neighbour_weights=everyone, neighbour_lags=(0, 2))


def standardised(samples, inputs, lead, region=None):
    """Features and targets of mean 0 and variance 1 in the weights of the samples, and these weights."""
    window = inputs(samples.history)
    regions = slice(None) if region is None else slice(region, region + 1)
    x = np.asarray(window.features)[:, regions].reshape(-1, inputs.num_features)
    scale = np.asarray(window.scale)[:, regions].ravel()
    y = (np.asarray(samples.targets)[:, lead] - np.asarray(window.level))[:, regions].ravel() / scale
    w = np.asarray(samples.weights)[:, lead, regions].ravel() * scale**2
    w /= w.sum()
    mean, level = w @ x, w @ y
    std, size = np.sqrt(w @ (x - mean) ** 2), np.sqrt(w @ (y - level) ** 2)
    return (x - mean) / std, (y - level) / size, w, std / size


@pytest.mark.slow
@pytest.mark.parametrize("region", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_weights_meet_the_conditions_of_the_minimum(samples, inputs, region):
    """The correlation with the residual is lambda where a weight is not 0, and at most that where it is."""
    path = fit_lasso_path(samples, inputs=inputs, penalties=PENALTIES, each_region=region is not None)
    for k, penalty in enumerate(PENALTIES):
        for lead in range(2):
            x, y, w, ratio = standardised(samples, inputs, lead, region)
            own = path.weights[k] if region is None else path.weights[k, region]
            slopes = np.asarray(own[lead]) * ratio
            strength = penalty * abs(x.T @ (w * y)).max()
            left = x.T @ (w * (y - x @ slopes))
            assert abs(left).max() <= strength + 2e-3
            used = slopes != 0
            np.testing.assert_allclose(left[used], strength * np.sign(slopes[used]), atol=2e-3)
            objective = w @ (y - x @ slopes) ** 2 / 2 + strength * abs(slopes).sum()
            scale = min(1, strength / abs(left).max())
            dual = scale * w @ (y * (y - x @ slopes)) - scale**2 * w @ (y - x @ slopes) ** 2 / 2
            assert 0 <= objective - dual < 1.1e-6


@pytest.mark.peers
def test_weights_are_those_of_scikit_learn(samples, inputs):
    linear_model = pytest.importorskip("sklearn.linear_model")
    path = fit_lasso_path(samples, inputs=inputs, penalties=PENALTIES, error_weighting=0.0)
    whole = (np.asarray(samples.weights)[:, 0] > 0).ravel()
    window = inputs(samples.history)
    x = np.asarray(window.features).reshape(-1, 7)[whole]
    y = ((np.asarray(samples.targets)[:, 0] - np.asarray(window.level)) / np.asarray(window.scale)).ravel()[whole]
    std, size = x.std(0), y.std()
    x, y = (x - x.mean(0)) / std, (y - y.mean()) / size
    for k, penalty in enumerate(PENALTIES):
        alpha = penalty * abs(x.T @ y).max() / len(y)
        peer = linear_model.Lasso(alpha=alpha, tol=1e-10, max_iter=100_000).fit(x, y)
        ours = np.asarray(path.weights[k, 0]) * std / size
        objectives = [((y - x @ b) ** 2).mean() / 2 + alpha * abs(b).sum() for b in (ours, peer.coef_)]
        assert objectives[0] - objectives[1] < 1e-6
        np.testing.assert_allclose(ours, peer.coef_, atol=5e-3)


@pytest.mark.slow
def test_without_penalty_it_tends_to_least_squares_and_at_one_to_the_mean(samples, inputs):
    options = {"inputs": inputs, "error_weighting": 0.0, "predict_change": True}
    plain = fit_lag_regression(samples, expansion=LinearFeatures(), penalty=0.0, **options)
    path = fit_lasso_path(samples, penalties=(1.0, 1e-5), **options)
    assert not path.weights[0].any()
    np.testing.assert_allclose(path.weights[1], plain.weights, atol=0.02)
    one = fit_lasso(samples, penalty=0.1, **options)
    np.testing.assert_allclose(
        one.weights, fit_lasso_path(samples, penalties=(0.5, 0.1), **options).weights[1], atol=5e-3
    )


@pytest.mark.slow
def test_a_target_that_never_changes_has_no_weights(samples, inputs):
    """Of one region alone, whose history does change."""
    still = samples._replace(targets=samples.targets.at[..., 2].set(21.0))
    path = fit_lasso_path(still, inputs=inputs, penalties=(1.0, 0.1), each_region=True)
    assert not path.weights[:, 2].any()
    assert path.weights[1, :2].any()
    np.testing.assert_allclose(path.forecasts(still)[..., 2], 21, rtol=1e-9)


@pytest.mark.slow
def test_neighbours_can_have_lags_of_their_own_and_all_series_one_scale(samples, tmp_path):
    """The features are columns of those with all lags; a model with them is saved and loaded."""
    everyone = jaxcast.series.neighbour_weights(3, everyone=True)
    options = {"lags": range(5), "neighbour_weights": everyone}
    whole = lag_inputs(samples, **options)(samples.history).features
    some = lag_inputs(samples, **options, neighbour_lags=(3, 0))
    np.testing.assert_array_equal(some(samples.history).features, whole[..., [0, 1, 2, 3, 4, 8, 5]])
    assert lag_inputs(samples, lags=(0,), neighbour_weights=everyone, neighbour_lags=(4,)).least_history == 5
    model = fit_lag_regression(samples, inputs=some, expansion=LinearFeatures(), penalty=1e-3)
    assert model.signature.least_history == 5
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(loaded(samples.history).forecast, model(samples.history).forecast)
    common = lag_inputs(samples, lags=(0,), scaling="all")
    np.testing.assert_allclose(common.std, np.asarray(samples.history).std(), rtol=1e-12)
    np.testing.assert_allclose(common.mean, np.asarray(samples.history).mean((0, 1)), rtol=1e-12)


@pytest.mark.slow
def test_of_several_features_each_has_lags_of_its_own_and_of_neighbours(samples):
    options = {"lags": range(5), "neighbour_weights": jaxcast.series.neighbour_weights(3, everyone=True)}
    two = jnp.stack([samples.history, -samples.history], -1)
    wide = samples._replace(history=two, features=jaxcast.series.series_windows(
        two[0], history_size=2, leads=(1,), targets=(1,)).features, targets=samples.targets[..., None],
        weights=samples.weights[..., None])  # fmt: skip
    few = lag_inputs(wide, **options, neighbour_lags=(0,))
    every = lag_inputs(wide, **options)(two).features
    np.testing.assert_allclose(few(two).features, every[..., [*range(10), 10, 15]], rtol=1e-9)
    assert few.num_features == 12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, i: fit_lasso(s, inputs=i, penalty=0), "above 0"),
        (lambda s, i: fit_lasso(s, inputs=i, penalty=1.5), "at most 1"),
        (lambda s, i: fit_lasso_path(s, inputs=i, penalties=(0.1, 0.5)), "must fall"),
        (lambda s, i: lag_inputs(s, lags=(0,), neighbour_lags=(5,)), "neighbour_lags \\(5,\\)"),
        (lambda s, i: lag_inputs(s, lags=(0,), scaling="some"), "scaling must be one of"),
    ],
)
def test_bad_input_is_one_line(samples, inputs, call, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call(samples, inputs)
    assert "\n" not in str(error.value)

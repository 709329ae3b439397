"""Boosted trees against scikit-learn's own forecasts from the same rows."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

import jaxcast
from jaxcast.series import fit_boosted_trees, lag_inputs, series_windows

SIZES = {"num_trees": 8, "max_leaves": 6, "least_in_leaf": 5}


@pytest.fixture(scope="module")
def samples():
    """Two series with a daily cycle of three slots; some targets are missing."""
    rng = np.random.default_rng(0)
    slots = np.arange(120) % 21
    values = (slots % 3)[:, None] * [1.0, 4.0] + rng.normal(size=(120, 2)) + [5.0, 20.0]
    covariates = np.stack([slots, rng.normal(size=120)], 1)
    windows = series_windows(values, history_size=3, leads=(1, 2), newest_covariates=covariates)
    return windows._replace(weights=windows.weights * (rng.random(windows.weights.shape) < 0.9))


@pytest.fixture(scope="module")
def inputs(samples):
    return lag_inputs(samples, lags=range(3))


@pytest.fixture(scope="module")
def model(samples, inputs):
    return fit_boosted_trees(samples, inputs=inputs, slots_per_day=3, predict_change=True, **SIZES)


@pytest.mark.slow
def test_forecasts_are_those_of_scikit_learn_from_the_same_features(samples, inputs, model):
    window = inputs(samples.history, samples.covariates)
    slot = np.broadcast_to(np.asarray(samples.covariates)[:, None, :1], (len(samples.history), 2, 1))
    mean = np.broadcast_to(np.asarray(inputs.mean)[:, None], slot.shape)
    x = np.concatenate([window.features, mean, slot % 3, slot // 3], -1).reshape(-1, 8)
    scale = np.asarray(window.scale)
    forecast = np.asarray(jax.jit(lambda m, *args: m(*args).forecast)(model, samples.history, samples.covariates))
    for lead in range(2):
        y = (np.asarray(samples.targets)[:, lead] - np.asarray(window.newest)) / scale
        w = np.asarray(samples.weights)[:, lead] * scale**2
        known = w.ravel() > 0
        peer = HistGradientBoostingRegressor(
            max_iter=8, max_leaf_nodes=6, min_samples_leaf=5, early_stopping=False, random_state=0
        ).fit(x[known], y.ravel()[known], sample_weight=w.ravel()[known])
        expected = np.asarray(window.newest) + scale * peer.predict(x).reshape(scale.shape)
        np.testing.assert_allclose(forecast[:, lead], expected, rtol=1e-9)


@pytest.mark.slow
def test_it_is_saved_without_scikit_learn(samples, model, tmp_path, monkeypatch):
    jaxcast.save_model(tmp_path / "model", model)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    args = samples.history, samples.covariates
    np.testing.assert_array_equal(loaded(*args).forecast, model(*args).forecast)
    one = loaded(samples.history[3], samples.covariates[3]).forecast
    np.testing.assert_allclose(one, model(*args).forecast[3], rtol=1e-12)
    with pytest.raises(jaxcast.InputError, match="need scikit-learn"):
        fit_boosted_trees(samples, inputs=model.inputs)


@pytest.mark.slow
def test_the_first_trees_are_those_of_a_fit_that_stops_earlier(samples, inputs, model):
    fewer = fit_boosted_trees(
        samples, inputs=inputs, slots_per_day=3, predict_change=True, **(SIZES | {"num_trees": 3})
    )
    first = model.first(3)
    for name in ("feature", "threshold", "value"):
        kept = getattr(fewer.trees, name)
        np.testing.assert_array_equal(getattr(first.trees, name)[..., : kept.shape[-1]], kept)
    np.testing.assert_array_equal(first.trees.start, fewer.trees.start)


@pytest.mark.slow
def test_rows_are_drawn_by_the_seed_and_forecasts_cut_at_zero(samples, inputs):
    fits = [fit_boosted_trees(samples, inputs=inputs, max_rows=60, seed=seed, **SIZES) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(fits[0].trees.value, fits[1].trees.value)
    assert (np.asarray(fits[0].trees.start) != np.asarray(fits[2].trees.start)).any()
    below = dataclasses.replace(fits[0], nonnegative=True, mean=fits[0].mean * 0)
    lowered = dataclasses.replace(below, trees=dataclasses.replace(below.trees, start=below.trees.start - 99))
    assert float(jnp.abs(lowered(samples.history, samples.covariates).forecast).max()) == 0


def test_a_damaged_tree_is_refused(model):
    model.check()
    for name, message in (("left", "left must be numbers of nodes"), ("feature", "features from 0 to 7")):
        trees = dataclasses.replace(model.trees, **{name: vars(model.trees)[name] + 8 + 91 * (name == "left")})
        with pytest.raises(jaxcast.InputError, match=message):
            dataclasses.replace(model, trees=trees).check()
    with pytest.raises(jaxcast.InputError, match="mean must be of 2 series"):
        dataclasses.replace(model, mean=model.mean[:1]).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_trees": 0}, "num_trees must be at least 1"),
        ({"max_leaves": 1}, "max_leaves must be at least 2"),
        ({"learning_rate": 0}, "learning_rate must be a finite number and above 0"),
    ],
)
def test_bad_input_is_one_line(samples, inputs, change, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        fit_boosted_trees(samples, inputs=inputs, **change)
    assert "\n" not in str(error.value)

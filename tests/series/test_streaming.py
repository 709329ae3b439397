"""Regressions whose features are made chunk by chunk, against those that hold all of them, and penalties together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)


def walks(num_features=0, gaps=True):
    rng = np.random.default_rng(0)
    shape = (70, 3, num_features) if num_features else (70, 3)
    values = np.cumsum(rng.normal(size=shape), 0) * np.asarray([1, 5, 20.0]).reshape(3, *[1] * bool(num_features))
    if gaps:
        values[rng.random(shape) < 0.1] = np.nan
    return values


def windows(num_features=0, gaps=True):
    targets = (1, 0) if num_features else None
    found = jaxcast.series.series_windows(walks(num_features, gaps), history_size=5, leads=(1, 3), targets=targets)
    # Without gaps all leads are to have the same weights.
    return found if gaps else jax.tree.map(lambda a: a[:-2], found)


@pytest.mark.parametrize("each_region", [False, True])
@pytest.mark.parametrize(
    ("num_features", "gaps", "power"), [(0, True, 1.0), (0, False, 1.0), (2, True, 0.5), (2, False, 0.0)]
)
def test_chunks_give_the_regression_of_all_samples(each_region, num_features, gaps, power):
    """61 samples are no multiple of 8."""
    samples = windows(num_features, gaps)
    inputs = jaxcast.series.lag_inputs(
        samples, lags=(0, 1, 3), neighbour_weights=jaxcast.series.neighbour_weights(3, everyone=True)
    )
    options = {
        "inputs": inputs, "expansion": jaxcast.series.PolynomialFeatures(2), "penalty": 1e-3, "error_weighting": power,
        "each_region": each_region, "predict_change": True,
    }  # fmt: skip
    whole = jaxcast.series.fit_lag_regression(samples, **options)
    chunks = jaxcast.series.fit_lag_regression(samples, **options, chunk_size=8)
    assert chunks.weights.shape == whole.weights.shape
    np.testing.assert_allclose(chunks.weights, whole.weights, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(chunks.bias, whole.bias, rtol=1e-7, atol=1e-9)


def test_plain_least_squares_of_chunks_is_of_least_norm():
    """Two regions see each other's values in both orders: the same feature twice."""
    samples = windows(gaps=False)
    twice = np.repeat(np.eye(3)[:, None], 2, 1)
    inputs = jaxcast.series.lag_inputs(samples, lags=(0, 1), neighbour_weights=twice)
    options = {"inputs": inputs, "expansion": jaxcast.series.LinearFeatures(), "penalty": 0.0}
    chunks = jaxcast.series.fit_lag_regression(samples, **options, chunk_size=16)
    np.testing.assert_allclose(chunks.weights[:, :2], chunks.weights[:, 2:], rtol=1e-6, atol=1e-9)
    whole = jaxcast.series.fit_lag_regression(samples, **options)
    np.testing.assert_allclose(chunks.weights, whole.weights, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("chunk_size", [None, 8])
@pytest.mark.parametrize("each_region", [False, True])
def test_a_path_is_one_regression_for_each_penalty(each_region, chunk_size):
    samples = windows()
    inputs = jaxcast.series.lag_inputs(samples, lags=(0, 1))
    options = {
        "inputs": inputs, "expansion": jaxcast.series.LinearFeatures(), "each_region": each_region,
        "chunk_size": chunk_size,
    }  # fmt: skip
    penalties = (1e-4, 1e-1, 10.0)
    path = jaxcast.series.fit_regression_path(samples, penalties=penalties, **options)
    forecasts = path.forecasts(samples, chunk_size=chunk_size)
    for k, penalty in enumerate(penalties):
        alone = jaxcast.series.fit_lag_regression(samples, penalty=penalty, **options)
        np.testing.assert_allclose(path.pick(k).weights, alone.weights, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(forecasts[k], alone(samples.history).forecast, rtol=1e-8)


def test_the_best_candidate_of_each_lead_has_the_smallest_error_of_what_counts():
    samples = windows()
    truth, weights = np.asarray(samples.targets), np.asarray(samples.weights)
    rng = np.random.default_rng(1)
    forecasts = truth + rng.normal(size=(5, *truth.shape)) * np.linspace(1, 2, 5)[:, None, None, None]
    forecasts[3, :, 1] = np.where(weights[:, 1] > 0, truth[:, 1], 1e6)  # wrong only where nothing is known
    scale = np.asarray([1.0, 5.0, 20.0])
    squares = (weights * ((forecasts - truth) / scale) ** 2).sum((1, 3))
    found = jaxcast.series.best_by_lead(jnp.asarray(forecasts), samples, scale=scale)
    np.testing.assert_array_equal(found, squares.argmin(0))
    assert found[1] == 3


@pytest.mark.parametrize("penalties", [(), (0.0,), (-1.0, 1.0), (np.nan,)])
def test_bad_penalties_are_refused(penalties):
    samples = windows()
    with pytest.raises(jaxcast.InputError, match="penalties must be finite numbers above zero"):
        jaxcast.series.fit_regression_path(
            samples, inputs=jaxcast.series.lag_inputs(samples, lags=(0,)), expansion=jaxcast.series.LinearFeatures(),
            penalties=penalties,
        )  # fmt: skip


def test_a_chunk_has_at_least_one_sample():
    samples = windows()
    inputs = jaxcast.series.lag_inputs(samples, lags=(0,))
    with pytest.raises(jaxcast.InputError, match="chunk_size must be at least 1, got 0"):
        jaxcast.series.fit_lag_regression(
            samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1.0, chunk_size=0
        )

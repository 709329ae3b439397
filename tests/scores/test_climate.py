"""Distances between climates, against scipy, numpy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import jaxcast
from jaxcast import scores

RNG = np.random.default_rng(0)
FORECAST, TRUTH = jnp.asarray(RNG.normal(size=(60, 3))), jnp.asarray(RNG.gamma(2.0, size=(45, 3)))
KEY = jax.random.key(0)


@pytest.mark.slow
def test_the_wasserstein_distance_is_scipys_for_any_lengths():
    expected = [wasserstein_distance(FORECAST[:, i], TRUTH[:, i]) for i in range(3)]
    np.testing.assert_allclose(scores.wasserstein_distance(FORECAST, TRUTH), expected, rtol=1e-12)


def test_the_sliced_distance_of_a_shift_is_its_mean_projection():
    found = scores.sliced_wasserstein_distance(
        TRUTH + jnp.asarray([3.0, 4.0, 0.0]), TRUTH, key=KEY, num_directions=4000
    )
    assert float(found) == pytest.approx(5.0 / 2, rel=0.03)  # E|cos| over the sphere is 1 / 2


@pytest.mark.slow
def test_histograms_have_the_hellinger_distance_of_their_shares():
    found = scores.histogram_distance(FORECAST, TRUTH, num_bins=7)
    for i in range(3):
        edges = np.linspace(TRUTH[:, i].min(), TRUTH[:, i].max(), 8)
        p, q = (np.histogram(values[:, i], edges)[0] / len(values) for values in (FORECAST, TRUTH))
        assert float(found[i]) == pytest.approx(np.sqrt(1 - np.sqrt(p * q).sum()))
    np.testing.assert_allclose(scores.histogram_distance(TRUTH[::-1], TRUTH), 0, atol=1e-7)
    np.testing.assert_allclose(scores.histogram_distance(TRUTH + 100, TRUTH), 1)


@pytest.mark.slow
def test_the_divergence_of_two_mixtures_is_that_of_a_quadrature():
    forecast, truth = jnp.asarray([[0.0], [1.0]]), jnp.asarray([[-1.0], [2.0], [2.5]])
    x = np.linspace(-12, 12, 20001)

    def density(states):
        return np.mean([np.exp(-((x - s) ** 2) / (2 * 0.5**2)) / (0.5 * np.sqrt(2 * np.pi)) for s in states[:, 0]], 0)

    p, q = density(np.asarray(truth)), density(np.asarray(forecast))
    expected = (p * np.log(p / q)).sum() * (x[1] - x[0])
    found = scores.attractor_divergence(forecast, truth, key=KEY, width=0.5, num_draws=20000)
    assert float(found) == pytest.approx(expected, rel=0.02)
    assert float(scores.attractor_divergence(truth[::-1], truth, key=KEY)) == pytest.approx(0, abs=1e-7)


@pytest.mark.slow
def test_the_spectrum_sees_frequencies_and_no_amplitudes_or_phases():
    turns = 2 * np.pi * jnp.arange(500)[:, None] / 500
    wave = jnp.sin(30 * turns)
    np.testing.assert_allclose(scores.spectrum_distance(5 * jnp.cos(30 * turns) + 7, wave), 0, atol=1e-3)
    distances = [float(scores.spectrum_distance(jnp.sin(f * turns), wave)[0]) for f in (31, 33, 60)]
    assert distances == sorted(distances)
    assert distances[-1] == pytest.approx(1, abs=1e-3)
    # Two equal halves of the power, one of them shared: overlap sqrt(1 / 2).
    both = jnp.sin(30 * turns) + jnp.sin(90 * turns)
    assert float(scores.spectrum_distance(both, wave)[0]) == pytest.approx(np.sqrt(1 - np.sqrt(0.5)), abs=1e-3)


@pytest.mark.slow
def test_a_forecast_that_diverges_is_as_far_as_can_be():
    forecast = TRUTH.at[20:].set(jnp.nan)
    found = scores.climate_scores(forecast, TRUTH, key=KEY)
    assert float(found.spectrum) == 1
    assert float(found.histogram) > 0.3
    assert np.isinf([float(found.divergence), float(found.wasserstein)]).all()


@pytest.mark.slow
@pytest.mark.parametrize("value", [3.0, jnp.nan])
def test_a_truth_that_is_constant_or_not_finite_has_no_climate(value):
    truth = TRUTH.at[:, 1].set(value)
    for forecast in (FORECAST[:45], truth):
        assert np.isnan(scores.climate_scores(forecast, truth, key=KEY)).all()
    assert np.isnan(scores.histogram_distance(FORECAST, truth)).tolist() == [False, True, False]
    assert np.isnan(scores.spectrum_distance(FORECAST[:45], truth)).tolist() == [False, True, False]


@pytest.mark.slow
def test_the_climate_is_in_units_of_the_truth():
    found = scores.climate_scores(FORECAST[:45], TRUTH, key=KEY)
    units = jnp.asarray([1.0, 100.0, 0.01])
    again = scores.climate_scores(FORECAST[:45] * units, TRUTH * units, key=KEY)
    np.testing.assert_allclose(again, found, rtol=1e-6)


def test_series_that_do_not_fit_are_refused():
    with pytest.raises(jaxcast.InputError, match="45 along the axis time"):
        scores.spectrum_distance(FORECAST, TRUTH)
    with pytest.raises(jaxcast.InputError, match="3 along the axis dim"):
        scores.wasserstein_distance(FORECAST[:, :2], TRUTH)
    with pytest.raises(jaxcast.InputError, match="num_bins must be at least 1, got 0"):
        scores.histogram_distance(FORECAST, TRUTH, num_bins=0)

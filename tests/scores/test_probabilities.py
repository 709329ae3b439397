"""Scores of categories and of distribution functions at points: scoringrules, quadrature, by hand."""

import itertools

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import jaxcast
from jaxcast import scores

RNG = np.random.default_rng(5)
POINTS = np.asarray([-1.0, 0.0, 0.25, 2.0, 5.0])
TRUTHS = np.asarray([-3.0, -1.0, -0.4, 0.25, 1.7, 5.0, 9.0])


@pytest.mark.slow
def test_scores_of_categories_by_hand():
    probabilities = np.asarray([[0.1, 0.2, 0.7], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.25, 0.25]])
    truth = np.asarray([1, 1, 2, np.nan])
    expected = [0.1**2 + 0.7**2, 0.0, 2.0, np.nan]
    np.testing.assert_allclose(scores.ranked_probability_score(probabilities, truth), expected, atol=1e-14)
    expected = [-np.log(0.2), 0.0, 10.0, np.nan]
    np.testing.assert_allclose(scores.log_score(probabilities, truth), expected, atol=1e-12)
    np.testing.assert_allclose(scores.log_score(probabilities, truth, floor=0.3)[0], -np.log(0.3))
    assert np.isinf(scores.log_score(probabilities, truth, floor=0)[2])
    jitted = jax.jit(scores.ranked_probability_score)(probabilities, truth)
    np.testing.assert_allclose(jitted, scores.ranked_probability_score(probabilities, truth), atol=1e-14)
    # Of two categories it is the Brier score.
    two = np.asarray([[0.3, 0.7], [0.3, 0.7]])
    np.testing.assert_allclose(scores.ranked_probability_score(two, [0, 1]), [0.49, 0.09], atol=1e-14)


@pytest.mark.slow
def test_scores_agree_with_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    probabilities = RNG.dirichlet(np.ones(5), 40)
    truth = RNG.integers(0, 5, 40)
    expected = scoringrules.rps_score(truth + 1, probabilities)
    np.testing.assert_allclose(scores.ranked_probability_score(probabilities, truth), expected, atol=1e-12)
    binary = probabilities[:, :2] / probabilities[:, :2].sum(1, keepdims=True)
    came = truth % 2
    expected = scoringrules.log_score(came, binary[:, 1])
    np.testing.assert_allclose(scores.log_score(binary, came, floor=0), expected, atol=1e-12)
    # A uniform distribution with mass at both ends is what two points of a distribution function say.
    expected = scoringrules.crps_uniform(TRUTHS, -1.0, 5.0, lmass=0.25, umass=0.125)
    found = scores.crps_cdf(np.broadcast_to([0.25, 0.875], (7, 2)), TRUTHS, [-1.0, 5.0])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_score_of_a_distribution_function_is_the_integral_of_its_square():
    cdf = np.asarray([0.1, 0.1, 0.4, 0.75, 0.95])

    def integrand(x, y):
        below, above = (0.0 if x < POINTS[0] else None), (1.0 if x > POINTS[-1] else None)
        value = below if below is not None else above if above is not None else np.interp(x, POINTS, cdf)
        return (value - (x >= y)) ** 2

    for y in TRUTHS:
        knots = np.unique([*POINTS, y, -4.0, 10.0])
        expected = sum(
            scipy.integrate.quad(integrand, a + 1e-13, b - 1e-13, args=(y,), epsabs=1e-13)[0]
            for a, b in itertools.pairwise(knots)
        )
        np.testing.assert_allclose(scores.crps_cdf(cdf, y, POINTS), expected, atol=1e-10)
    assert np.isnan(scores.crps_cdf(cdf, np.nan, POINTS))


@pytest.mark.slow
def test_at_many_points_it_is_the_score_of_the_distribution():
    points = np.linspace(-9, 9, 4001)
    truth = np.asarray([-2.0, 0.3, 3.0])
    cdf = np.broadcast_to(scipy.stats.norm.cdf(points), (3, 4001))
    np.testing.assert_allclose(scores.crps_cdf(cdf, truth, points), scores.crps_normal(0, 1, truth), atol=1e-6)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(jaxcast.InputError, match="indices of the 2 categories, from 0, got 2"):
        scores.ranked_probability_score([0.5, 0.5], 2)
    with pytest.raises(jaxcast.InputError, match="floor must be from 0 to 1, got 2"):
        scores.log_score([0.5, 0.5], 1, floor=2.0)
    with pytest.raises(jaxcast.InputError, match="points must increase"):
        scores.crps_cdf([0.5, 0.5], 1.0, [1.0, 1.0])

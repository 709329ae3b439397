"""Scores of distributions, samples, paths and scaled errors, against scoringrules and plain numpy."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import jaxcast
from jaxcast import scores

scoringrules = pytest.importorskip("scoringrules")

RNG = np.random.default_rng(3)
TRUTH = np.asarray([-3.0, 0.0, 0.4, np.nan, 7.5])
COUNTS = np.asarray([0.0, 1.0, np.nan, 4.0, 40.0])


@pytest.mark.slow
def test_closed_forms_agree_with_scoringrules():
    np.testing.assert_allclose(
        scores.crps_normal(0.5, 2.0, TRUTH), scoringrules.crps_normal(TRUTH, 0.5, 2.0), rtol=1e-12
    )
    df, rate = np.asarray([[1.5], [4.0], [300.0]]), np.asarray([[0.3], [4.0], [90.0]])
    expected = scoringrules.crps_t(TRUTH, df, 0.5, 2.0)
    np.testing.assert_allclose(scores.crps_student_t(df, 0.5, 2.0, TRUTH), expected, rtol=1e-10)
    expected = scoringrules.crps_poisson(COUNTS, rate)
    np.testing.assert_allclose(scores.crps_poisson(rate, COUNTS), expected, rtol=1e-10, atol=1e-12)
    loc, scale, weights = np.asarray([-1.0, 2.0, 5.0]), np.asarray([0.5, 1.0, 3.0]), np.asarray([0.2, 0.5, 0.3])
    expected = [scoringrules.crps_mixnorm(y, loc, scale, weights) for y in TRUTH]
    each = [np.broadcast_to(a, (5, 3)) for a in (loc, scale, weights)]
    np.testing.assert_allclose(scores.crps_normal_mixture(*each, TRUTH), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "dispersion"), [(4.0, 0.5), (0.2, 3.0), (300.0, 0.01), (20.0, 1e-8)])
def test_the_score_of_a_negative_binomial_is_the_sum_of_squares(rate, dispersion):
    size = 1 / dispersion
    support = np.arange(4000.0)
    cdf = scipy.stats.nbinom.cdf(support, size, size / (size + rate))
    expected = [((cdf - (support >= y)) ** 2).sum() if y >= 0 else y for y in COUNTS]
    np.testing.assert_allclose(scores.crps_negative_binomial(rate, dispersion, COUNTS), expected, rtol=1e-7)
    near = scoringrules.crps_negbinom(COUNTS, size, size / (size + rate)) if dispersion > 0.1 else expected
    np.testing.assert_allclose(scores.crps_negative_binomial(rate, dispersion, COUNTS), near, rtol=1e-7)


@pytest.mark.slow
def test_counts_may_be_scored_by_fractions_and_large_ones():
    support = np.linspace(0, 60, 60_001)
    cdf = scipy.stats.poisson.cdf(support, 4.0)
    expected = scipy.integrate.trapezoid((cdf - (support >= 2.5)) ** 2, support)
    np.testing.assert_allclose(scores.crps_poisson(4.0, 2.5), expected, rtol=1e-3)
    np.testing.assert_allclose(scores.crps_negative_binomial(4.0, 1e-9, 2.5), scores.crps_poisson(4.0, 2.5), rtol=1e-6)
    # Of a large mean the counts are nearly a gamma distribution, here an exponential one, whose scores scale.
    small, large = (scores.crps_negative_binomial(m, 1.0, m) / m for m in (1e4, 1e6))
    np.testing.assert_allclose(small, large, rtol=1e-3)


@pytest.mark.slow
def test_scores_of_samples_agree_with_scoringrules():
    samples = RNG.normal(size=(7, 5))
    for fair, estimator in ((False, "nrg"), (True, "fair")):
        expected = scoringrules.crps_ensemble(TRUTH, samples.T, estimator=estimator)
        np.testing.assert_allclose(scores.crps_samples(samples, TRUTH, fair=fair), expected, rtol=1e-12)
    levels = np.asarray([0.1, 0.5, 0.7])
    quantiles = np.sort(samples[:3].T, -1)
    expected = scoringrules.crps_quantile(TRUTH[:3], quantiles[:3], levels)
    np.testing.assert_allclose(scores.crps_quantiles(quantiles, TRUTH, levels)[:3], expected, rtol=1e-12)


@pytest.mark.slow
def test_scores_of_paths_agree_with_scoringrules():
    paths, truth = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(5, 3))
    for fair, estimator in ((False, "nrg"), (True, "fair")):
        expected = scoringrules.es_ensemble(truth, paths.swapaxes(0, 1), estimator=estimator)
        np.testing.assert_allclose(scores.energy_score(paths, truth, fair=fair), expected, rtol=1e-12)
    weights = RNG.uniform(size=(3, 3))
    expected = [scoringrules.vs_ensemble(truth[i], paths[:, i], weights, p=0.7) for i in range(5)]
    np.testing.assert_allclose(scores.variogram_score(paths, truth, weights, order=0.7), expected, rtol=1e-12)


@pytest.mark.slow
def test_missing_leads_of_paths_are_left_out():
    paths, truth = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(5, 3))
    gaps = truth.copy()
    gaps[:, 1] = np.nan
    for score in (scores.energy_score, scores.variogram_score):
        np.testing.assert_allclose(score(paths, gaps), score(paths[..., [0, 2]], truth[..., [0, 2]]), rtol=1e-12)
        assert np.isnan(score(paths, np.full((5, 3), np.nan))).all()


def test_fair_scores_do_not_depend_on_the_number_of_samples():
    # E|X - X'| / 2 of two draws of 0 and 1 is 1/4: over all draws of two, the fair score has this mean, the plain one not.
    draws = np.asarray(list(itertools.product([0.0, 1.0], repeat=2))).T
    fair = np.asarray(scores.crps_samples(draws, np.zeros(4), fair=True)).mean()
    plain = np.asarray(scores.crps_samples(draws, np.zeros(4))).mean()
    np.testing.assert_allclose([fair, plain], [0.5 - 0.25, 0.5 - 0.125])


def test_risks_by_hand(without_type_checks):
    levels = np.asarray([0.1, 0.5, 0.9])
    quantiles, truth = np.sort(RNG.normal(size=(4, 3, 3)), -1), RNG.normal(size=(4, 3))
    truth[0, 1] = np.nan
    known = np.isfinite(truth)
    expected = []
    for k, level in enumerate(levels):
        off = (truth - quantiles[..., k])[known]
        expected.append(2 * np.sum((level - (off <= 0)) * off) / np.abs(truth[known]).sum())
    np.testing.assert_allclose(scores.quantile_risk(quantiles, truth, levels), expected, rtol=1e-12)
    np.testing.assert_allclose(
        scores.mean_weighted_quantile_loss(quantiles, truth, levels), np.mean(expected), rtol=1e-12
    )
    nd = scores.normalized_deviation(quantiles[..., 1], truth)
    np.testing.assert_allclose(nd, expected[1], rtol=1e-12)
    np.testing.assert_allclose(nd, np.abs(truth - quantiles[..., 1])[known].sum() / np.abs(truth[known]).sum())
    quantiles[1, 1, 2] = np.nan
    assert np.isinf(scores.quantile_risk(quantiles, truth, levels)).tolist() == [False, False, True]
    with pytest.raises(jaxcast.InputError, match="shape of the truth"):
        scores.normalized_deviation(truth[:2], truth)


def test_scaled_errors_by_hand(without_type_checks):
    history = np.asarray([[np.nan, 1.0, 3.0, 2.0, 7.0], [5.0, 5.0, 5.0, 5.0, 5.0]])
    forecast, truth = np.asarray([[1.0, 2.0], [5.0, 6.0]]), np.asarray([[3.0, np.nan], [5.0, 5.0]])
    # Known seasonal changes of the first series: |2 - 1| and |7 - 3|.
    found = scores.mean_absolute_scaled_error(forecast, truth, history, season=2)
    np.testing.assert_allclose(found, [2 / 2.5, np.inf])
    np.testing.assert_allclose(scores.symmetric_mape(forecast, truth), [100.0, 100 / 11])
    assert np.isnan(scores.symmetric_mape(forecast, np.full((2, 2), np.nan))).all()
    with pytest.raises(jaxcast.InputError, match="one season"):
        scores.mean_absolute_scaled_error(forecast, truth, history, season=5)
    with pytest.raises(jaxcast.InputError, match="expected forecasts and truth"):
        scores.mean_absolute_scaled_error(forecast, truth, history[:1])
    with pytest.raises(jaxcast.InputError, match="shape of the truth"):
        scores.symmetric_mape(forecast[:1], truth)


def test_bad_samples_and_paths_are_refused(without_type_checks):
    with pytest.raises(jaxcast.InputError, match="at least two samples"):
        scores.crps_samples(np.ones((1, 2)), np.ones(2), fair=True)
    with pytest.raises(jaxcast.InputError, match="expected samples"):
        scores.crps_samples(np.ones((3, 1)), np.ones(2))
    with pytest.raises(jaxcast.InputError, match="expected paths"):
        scores.energy_score(np.ones((3, 1)), np.ones(2))
    with pytest.raises(jaxcast.InputError, match="expected weights"):
        scores.variogram_score(np.ones((3, 2)), np.ones(2), np.ones((3, 3)))


@pytest.mark.slow
def test_scores_in_float32_are_near_those_in_float64():
    for rate, dispersion in ((4.0, 0.5), (5000.0, 0.02)):
        numbers = (rate, dispersion, rate + 10.0)
        short = scores.crps_negative_binomial(*(jnp.float32(a) for a in numbers))
        assert short.dtype == jnp.float32
        np.testing.assert_allclose(short, scores.crps_negative_binomial(*numbers), rtol=2e-3)

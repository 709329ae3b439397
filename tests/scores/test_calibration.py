import jax
import numpy as np
import pytest
from scipy import stats

import jaxcast
from jaxcast import scores

LEVELS = np.asarray([0.01, 0.025, *np.arange(1, 20) / 20, 0.975, 0.99])


def bias_by_hand(forecast, truth, levels):
    """The definition, one task at a time, as scoringutils has it."""
    lower, upper = levels[levels <= 0.5][-1], levels[levels >= 0.5][0]
    ends = forecast[levels == lower][0], forecast[levels == upper][0]
    median = ends[0] if lower == upper else ends[0] + (0.5 - lower) / (upper - lower) * (ends[1] - ends[0])
    if truth == median:
        return 0.0
    if truth < median:
        return 1 - 2 * max([0.0, *levels[forecast <= truth]])
    return 1 - 2 * min([1.0, *levels[forecast >= truth]])


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[LEVELS != 0.5], np.asarray([0.2, 0.7])])
def test_bias_by_the_definition(levels):
    rng = np.random.default_rng(0)
    forecast = np.sort(rng.poisson(6, (300, len(levels))), -1).astype(float)
    truth = rng.poisson(6, 300).astype(float)
    expected = [bias_by_hand(f, y, levels) for f, y in zip(forecast, truth, strict=True)]
    np.testing.assert_allclose(scores.quantile_bias(forecast, truth, levels), expected, atol=1e-12)
    assert -1 in expected
    assert 1 in expected


def test_bias_becomes_one_minus_twice_the_distribution_function():
    levels = np.linspace(0, 1, 2001)[1:-1]
    truth = np.linspace(-2, 2, 9)
    bias = scores.quantile_bias(np.broadcast_to(stats.norm.ppf(levels), (9, 1999)), truth, levels)
    np.testing.assert_allclose(bias, 1 - 2 * stats.norm.cdf(truth), atol=2 / 2000)


@pytest.mark.slow
def test_pit_is_uniform_under_a_calibrated_forecast_and_not_under_narrow_ones():
    rng = np.random.default_rng(1)
    mean, spread = rng.normal(size=4000), rng.uniform(0.5, 2, 4000)
    truth = rng.normal(mean, spread)
    forecast = mean[:, None] + spread[:, None] * stats.norm.ppf(LEVELS)
    values = np.asarray(scores.pit_values(forecast, truth, LEVELS, key=jax.random.key(0)))
    assert stats.kstest(values, "uniform").pvalue > 0.05
    narrow = np.asarray(scores.pit_values((forecast + mean[:, None]) / 2, truth, LEVELS, key=jax.random.key(0)))
    assert stats.kstest(narrow, "uniform").pvalue < 1e-9
    histogram = scores.pit_histogram(forecast, truth, LEVELS, num_bins=10)
    np.testing.assert_allclose(histogram.density, 1, atol=4 * np.sqrt(10 / 4000))
    assert scores.pit_histogram((forecast + mean[:, None]) / 2, truth, LEVELS, num_bins=10).density[0] > 2
    curve = scores.coverage_curve(forecast[None], truth[None], LEVELS)
    np.testing.assert_allclose(curve.share, LEVELS, atol=4 * np.sqrt(0.25 / 4000))
    np.testing.assert_array_equal(curve.share, curve.share_below)


def test_pit_of_counts_is_uniform_as_far_as_the_levels_tell():
    levels, means = np.arange(1, 100) / 100, np.asarray([2.0, 8.0, 20.0])
    total = np.zeros(10)
    for mean in means:  # every count, weighted by its probability: no chance is left
        counts = np.arange(80.0)
        forecast = np.broadcast_to(stats.poisson.ppf(levels, mean), (80, 99))
        ends = np.asarray(scores.pit_interval(forecast, counts, levels))
        exact = np.stack([stats.poisson.cdf(counts - 1, mean), stats.poisson.cdf(counts, mean)], -1)
        likely = stats.poisson.pmf(counts, mean) > 1e-9
        np.testing.assert_allclose(ends[likely], exact[likely], atol=0.0101)  # one step of the levels
        edges = np.linspace(0, 1, 11)
        share = np.clip((edges - ends[:, :1]) / (ends[:, 1:] - ends[:, :1]), 0, 1)
        total += stats.poisson.pmf(counts, mean) @ np.diff(share, axis=1)
    np.testing.assert_allclose(total / len(means), 0.1, atol=0.01)  # again


def test_histogram_is_that_of_scoringutils_where_nothing_is_tied():
    rng = np.random.default_rng(2)
    forecast = np.sort(rng.normal(size=(50, 23)), -1)
    truth = rng.normal(size=50)
    truth[3], forecast[7, 2] = np.nan, np.nan
    known = np.isfinite(truth) & np.isfinite(forecast).all(-1)
    covered = np.concatenate([[0], (truth[known, None] <= forecast[known]).mean(0), [1]])
    histogram = scores.pit_histogram(forecast, truth, LEVELS)
    np.testing.assert_allclose(histogram.density, np.diff(covered) / np.diff([0, *LEVELS, 1]), rtol=1e-10)
    assert histogram.num_tasks == known.sum() == 48
    np.testing.assert_allclose(np.sum(histogram.density * np.diff(histogram.edges)), 1)


@pytest.mark.slow
def test_coverage_by_hand_with_gaps_and_ties():
    forecast = np.asarray(
        [[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [np.nan] * 3], [[0.0, 0.0, 4.0], [1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]]
    )
    truth = np.asarray([[2.0, 9.0, 1.0], [0.0, np.nan, 5.5]])
    levels = np.asarray([0.25, 0.5, 0.75])
    each = scores.quantile_coverage(forecast, truth, levels)
    np.testing.assert_array_equal(each[0], [[0, 1, 1], [0, 0, 0], [np.nan] * 3])
    np.testing.assert_array_equal(each[1], [[1, 1, 1], [np.nan] * 3, [0, 1, 1]])
    curve = scores.coverage_curve(forecast, truth, levels)
    np.testing.assert_allclose(curve.share, [0.25, 0.75, 0.75])
    np.testing.assert_allclose(curve.share_below, [0, 0.25, 0.75])
    assert (curve.num_tasks, curve.num_weeks) == (4, 3)


@pytest.mark.slow
def test_uncertainty_of_a_coverage_curve():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(20, 60))
    together = np.broadcast_to(rng.normal(size=60), (20, 60))  # the locations of a week err alike
    forecast = np.broadcast_to(stats.norm.ppf(LEVELS), (20, 60, 23))
    alone, alike = (scores.coverage_curve(forecast, y, LEVELS, nominal=0.9) for y in (truth, together))
    for tail, band in ((0.05, alone.band_low), (0.95, alone.band_high)):
        np.testing.assert_allclose(band, stats.binom.ppf(tail, 1200, LEVELS) / 1200, rtol=1e-10)
    width = np.asarray(alone.high - alone.low)[11]
    np.testing.assert_allclose(width, 2 * 1.645 * 0.5 / np.sqrt(1200), rtol=0.15)
    np.testing.assert_allclose(np.asarray(alike.high - alike.low)[11] / width, np.sqrt(20), rtol=0.3)
    assert (alike.low <= alike.share).all()
    assert (alike.share <= alike.high).all()


@pytest.mark.slow
def test_the_band_of_many_tasks_is_exact_in_single_precision():
    forecast = np.broadcast_to(stats.norm.ppf(LEVELS), (100, 1000, len(LEVELS)))
    with jax.enable_x64(False):
        curve = scores.coverage_curve(forecast, np.zeros((100, 1000)), LEVELS, num_resamples=2)
    expected = stats.binom.ppf(0.95, 100_000, LEVELS)
    np.testing.assert_allclose(np.asarray(curve.band_high, float) * 100_000, expected, atol=1)


def test_calibration_refuses_what_it_cannot_judge():
    levels = np.asarray([0.1, 0.9])
    for nominal in (0, 1, 1.5, np.nan):
        with pytest.raises(jaxcast.InputError, match=r"nominal must be within \(0, 1\)"):
            scores.coverage_curve(np.ones((1, 1, 2)), np.ones((1, 1)), levels, nominal=nominal)
    with pytest.raises(jaxcast.InputError, match="both sides of 0"):
        scores.quantile_bias(np.asarray([1.0, 2.0]), 1.0, np.asarray([0.6, 0.9]))
    for call in (scores.quantile_bias, scores.pit_interval):
        with pytest.raises(jaxcast.InputError, match="those of 1 tasks do"):
            call(np.asarray([2.0, 1.0]), 1.0, levels)
    rounded = np.asarray([1.0, 1.0 - 1e-7])  # as a table of float32 may hold
    np.testing.assert_array_equal(scores.pit_interval(rounded, 1.0, levels), [0.0, 0.9])
    for call in (scores.pit_histogram, scores.coverage_curve):
        with pytest.raises(jaxcast.InputError, match="no task has both"):
            call(np.full((1, 1, 2), np.nan), np.ones((1, 1)), levels)

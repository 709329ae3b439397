import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxcast
from jaxcast.scores.paired import median_over_seeds

KEY = jax.random.key(0)


def valid_times(seed, shift=0.0, num_pairs=200):
    """Two methods' times on one grid of 0.1, with many ties."""
    rng = np.random.default_rng(seed)
    window = rng.exponential(2.0, num_pairs)
    return (np.round(np.clip(window + rng.normal(size=num_pairs) + extra, 0, 6), 1) for extra in (shift, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_the_signed_rank_test_is_scipys(seed, shift):
    first, second = valid_times(seed, shift)
    ours = jaxcast.scores.paired_test(first, second, key=KEY, num_resamples=500)
    # scipy ranks what differs by rounding apart, so it gets whole numbers.
    whole = np.round(10 * first) - np.round(10 * second)
    theirs = scipy.stats.wilcoxon(whole, zero_method="pratt", method="approx", correction=False)
    assert ours.wilcoxon == pytest.approx(float(theirs.pvalue), rel=1e-9)
    assert ours.num_ties == (whole == 0).sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("shift", [pytest.param(0.0, marks=pytest.mark.slow), 0.2])
def test_the_sign_flip_test_is_scipys(shift):
    first, second = valid_times(5, shift)
    ours = jaxcast.scores.paired_test(first, second, key=KEY)
    theirs = scipy.stats.permutation_test(
        (first, second),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(0),
    )
    assert ours.permutation == pytest.approx(theirs.pvalue, abs=0.04)  # theirs counts the observed value in both tails


def test_few_pairs_have_the_exact_sign_flip_probability():
    test = jaxcast.scores.paired_test(np.asarray([1.0, 2.0, 3.0]), np.zeros(3), key=KEY, num_resamples=40_000)
    assert test.permutation == pytest.approx(2 / 8, abs=0.01)


@pytest.mark.slow
def test_the_bootstrap_interval_is_scipys():
    first, second = valid_times(1, 0.5)
    ours = jaxcast.scores.paired_test(first, second, key=KEY)
    theirs = scipy.stats.bootstrap(
        (first, second),
        lambda x, y, axis: np.median(x, axis) - np.median(y, axis),
        paired=True,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert ours.difference == pytest.approx(np.median(first) - np.median(second))
    np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], atol=0.11)
    assert ours.low <= ours.difference <= ours.high


@pytest.mark.slow
def test_p_values_are_uniform_where_there_is_no_difference():
    tests = [
        jaxcast.scores.paired_test(*valid_times(seed), key=jax.random.key(seed), num_resamples=200)
        for seed in range(100)
    ]
    for name in ("wilcoxon", "permutation"):
        p = [getattr(test, name) for test in tests]
        assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3, name


@pytest.mark.slow
def test_pairs_that_censoring_leaves_open_are_no_evidence():
    first, second = np.asarray([6.0, 6.0, 5.0, 1.0]), np.asarray([6.0, 4.0, 6.0, 2.0])
    first_censored, second_censored = np.asarray([1, 1, 0, 1], bool), np.asarray([1, 0, 1, 0], bool)
    test = jaxcast.scores.paired_test(
        first, second, key=KEY, first_censored=first_censored, second_censored=second_censored, num_resamples=500
    )
    assert (test.num_pairs, test.num_censored, test.num_undecided, test.num_ties) == (4, 4, 2, 2)
    same = jaxcast.scores.paired_test(np.ones(9), np.ones(9), key=KEY, num_resamples=500)
    assert (same.wilcoxon, same.permutation, same.difference, same.num_ties) == (1.0, 1.0, 0.0, 9)


def test_pairs_that_do_not_match_are_refused(without_type_checks):
    with pytest.raises(jaxcast.InputError, match=r"got shapes \(3,\) and \(2,\)"):
        jaxcast.scores.paired_test(np.ones(3), np.ones(2), key=KEY)
    with pytest.raises(jaxcast.InputError, match="without NaN"):
        jaxcast.scores.paired_test(np.asarray([np.nan]), np.ones(1), key=KEY)
    with pytest.raises(jaxcast.InputError, match="one censoring flag for each of 3 values"):
        jaxcast.scores.paired_test(np.ones(3), np.ones(3), key=KEY, first_censored=np.ones(2, bool))


def test_lead_errors_are_root_mean_squares_and_count_failures():
    rng = np.random.default_rng(0)
    forecasts, truth, scale = rng.normal(size=(50, 7, 3)), rng.normal(size=(50, 7, 3)), np.asarray([1.0, 2.0, 3.0])
    forecasts[4, 5:], forecasts[9, 6, 1] = np.nan, np.inf
    errors = jaxcast.scores.lead_errors(jnp.asarray(forecasts), jnp.asarray(truth), scale=scale)
    squares = ((forecasts - truth) / scale) ** 2
    np.testing.assert_allclose(errors.rmse[:5], np.sqrt(squares[:, :5].mean((0, 2))), rtol=1e-12)
    assert np.isinf(errors.rmse[5:]).all()
    kept = np.delete(squares[:, 6], [4, 9], axis=0)
    np.testing.assert_allclose(errors.rmse_of_finite[6], np.sqrt(kept.mean()), rtol=1e-12)
    np.testing.assert_allclose(errors.median[6], np.sqrt(np.median(np.r_[kept.mean(-1), np.inf, np.inf])), rtol=1e-12)
    assert errors.num_failed.tolist() == [0, 0, 0, 0, 0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("num_members", [2, 5, 40])
def test_an_honest_ensemble_spreads_as_far_as_it_errs(num_members):
    rng = np.random.default_rng(num_members)
    center, width = rng.normal(size=(3000, 4, 2)), np.asarray([0.1, 1.0, 2.0, 5.0])[:, None]
    members = center + width * rng.normal(size=(num_members, 3000, 4, 2))
    truth = center + width * rng.normal(size=center.shape)
    result = jaxcast.scores.spread_and_error(jnp.asarray(members), jnp.asarray(truth))
    np.testing.assert_allclose(result.ratio, 1, atol=0.05)
    np.testing.assert_allclose(result.error, width[:, 0] * np.sqrt(1 + 1 / num_members), rtol=0.05)
    sure = jaxcast.scores.spread_and_error(jnp.asarray(center + 0.5 * (members - center)), jnp.asarray(truth))
    assert (sure.ratio < 0.8).all()


@pytest.mark.slow
def test_members_that_failed_are_counted(without_type_checks):
    members = np.random.default_rng(0).normal(size=(3, 10, 2, 1))
    members[1, 4, 1] = np.nan
    result = jaxcast.scores.spread_and_error(jnp.asarray(members), jnp.zeros((10, 2, 1)))
    assert result.num_failed.tolist() == [0, 1]
    others = jaxcast.scores.spread_and_error(jnp.asarray(np.delete(members, 4, axis=1)), jnp.zeros((9, 2, 1)))
    np.testing.assert_allclose(result.ratio[1], others.ratio[1], rtol=1e-12)
    with pytest.raises(jaxcast.InputError, match="at least 2 members"):
        jaxcast.scores.spread_and_error(jnp.ones((1, 10, 2, 1)), jnp.zeros((10, 2, 1)))
    with pytest.raises(jaxcast.InputError, match=r"got \(10, 2\), \(10, 2\)"):
        jaxcast.scores.lead_errors(jnp.ones((10, 2)), jnp.ones((10, 2)))


def test_a_spread_times_its_factors_matches_the_errors_of_other_windows():
    rng = np.random.default_rng(0)
    width, believed = np.asarray([0.1, 1.0, 2.0, 5.0])[:, None], np.asarray([0.2, 0.5, 2.0, 1.0])[:, None]
    errors = width * rng.normal(size=(2, 4000, 4, 3))
    spread = np.broadcast_to(believed, errors.shape[1:])
    factors = jaxcast.scores.spread_factors(*map(jnp.asarray, (errors[0], spread, np.zeros(spread.shape))))
    np.testing.assert_allclose(factors * believed[:, 0], np.sqrt((errors[1] ** 2).mean((0, 2))), rtol=0.03)


def test_a_spread_factor_is_of_near_leads_and_of_what_is_known():
    errors = np.broadcast_to(np.arange(1.0, 6.0)[:, None], (2, 5, 1)).copy()
    errors[1] = np.nan
    ones, zeros = jnp.ones((2, 5, 1)), jnp.zeros((2, 5, 1))
    factors = jaxcast.scores.spread_factors(jnp.asarray(errors), ones, zeros)
    np.testing.assert_allclose(factors, [1, 2, 3, np.sqrt((16 + 25) / 2), np.sqrt((16 + 25) / 2)])
    np.testing.assert_array_equal(jaxcast.scores.spread_factors(jnp.asarray(errors), zeros, zeros), 1)
    with pytest.raises(jaxcast.InputError, match="has 3 along the axis lead"):
        jaxcast.scores.spread_factors(ones, ones, zeros[:, :3])


def test_either_of_a_pair_may_be_the_lower_bound_that_leaves_it_open():
    """Undecided where the smaller one is a lower bound, whichever that is; both orders count alike."""
    values, bounds = np.asarray([[6.0, 4.0], [4.0, 6.0]]), np.asarray([[False, False], [True, True]])
    for first, second in ((0, 1), (1, 0)):
        test = jaxcast.scores.paired_test(
            values[first], values[second], first_censored=bounds[first], second_censored=bounds[second], key=KEY,
            num_resamples=100,
        )  # fmt: skip
        assert (test.num_undecided, test.num_ties, test.num_censored) == (1, 1, 2)


@pytest.mark.slow
def test_the_observed_difference_is_one_of_the_flips_and_the_interval_is_as_sure_as_was_asked():
    second = np.random.default_rng(0).exponential(size=40)
    sure = jaxcast.scores.paired_test(second + 1, second, key=KEY, num_resamples=99)
    assert sure.permutation == pytest.approx(1 / 100)
    first = second + np.random.default_rng(1).normal(size=40)
    wide, narrow = (
        jaxcast.scores.paired_test(first, second, key=KEY, num_resamples=4000, confidence=confidence)
        for confidence in (0.95, 0.5)
    )
    differences = np.sort([narrow.low, narrow.high, wide.low, wide.high])
    np.testing.assert_array_equal(differences, [wide.low, narrow.low, narrow.high, wide.high])
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)
    np.testing.assert_allclose(np.median(second + 1) - np.median(second), sure.difference)


@pytest.mark.parametrize(("num", "expected"), [((0, 4), False), ((1, 4), False), ((2, 4), True), ((2, 3), True)])
def test_a_median_over_seeds_is_a_lower_bound_where_its_upper_middle_is(num, expected):
    bounds, seeds = num
    censored = (np.arange(seeds) < bounds)[:, None]
    times, found = median_over_seeds(np.arange(float(seeds))[:, None], censored)
    assert found.tolist() == [expected]
    assert times.tolist() == [np.median(np.arange(seeds))]


@pytest.mark.slow
def test_the_crps_by_lead_is_the_mean_over_windows_and_components():
    rng = np.random.default_rng(5)
    members, truth = jnp.asarray(rng.normal(size=(4, 10, 2, 3))), jnp.asarray(rng.normal(size=(10, 2, 3)))
    scale = jnp.asarray([1.0, 2.0, 0.5])
    found = jaxcast.scores.lead_crps(members, truth, scale=scale)
    apart = np.abs(members[:, None] - members[None]).mean((0, 1)) / 2
    expected = ((np.abs(members - truth).mean(0) - apart) / scale).mean((0, 2))
    np.testing.assert_allclose(found.crps, expected, rtol=1e-12)
    failing = jaxcast.scores.lead_crps(members.at[1, 3, 1, 0].set(jnp.nan), truth, scale=scale)
    np.testing.assert_allclose(failing.crps, [expected[0], np.inf], rtol=1e-12)
    assert np.isfinite(failing.crps_of_finite).all()
    assert failing.num_failed.tolist() == [0, 1]

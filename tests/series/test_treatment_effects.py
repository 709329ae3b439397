"""Effects of treatments by pairs: tests against statsmodels and SciPy, loops over pairs, and a bias that is meant to be."""

import itertools
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxcast
from jaxcast import InputError
from jaxcast.series import estimate_treatment_effects
from jaxcast.series.causal_trans.pair_tests import (
    KPSS_QUANTILE,
    kpss_statistic,
    stretches,
    t_quantiles,
    t_statistic,
    usual_lags,
)

RNG = np.random.default_rng(0)


@pytest.mark.slow
def test_the_kpss_statistic_is_that_of_statsmodels():
    kpss = pytest.importorskip("statsmodels.tsa.stattools").kpss
    series = np.stack([RNG.normal(size=60), RNG.normal(size=60).cumsum(), np.linspace(0, 1, 60)])
    found = kpss_statistic(jnp.asarray(series), usual_lags(60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # p values beyond its table
        expected = [kpss(one, regression="c", nlags=usual_lags(60))[0] for one in series]
        quantiles = kpss(series[0], nlags=5)[3]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert quantiles["5%"] == KPSS_QUANTILE


@pytest.mark.slow
def test_the_t_test_is_that_of_scipy():
    one, other = RNG.normal(size=12), 0.6 + RNG.normal(size=9)
    moments = [(a.mean(), a.var(ddof=1), float(len(a))) for a in (one, other)]
    square = t_statistic(*map(jnp.asarray, moments[0]), tuple(map(jnp.asarray, moments[1])))
    np.testing.assert_allclose(square, scipy.stats.ttest_ind(one, other).statistic ** 2, rtol=1e-12)
    freedom = np.asarray([1.0, 4, 19, 332])
    expected = scipy.stats.t.ppf(1 - 0.05 / 2, freedom)
    np.testing.assert_allclose(t_quantiles(jnp.asarray(freedom), 0.05), expected, rtol=1e-8)
    assert t_quantiles(jnp.zeros(1), 0.05)[0] == np.inf


def test_stretches_end_before_the_moment_and_need_all_values():
    values = RNG.normal(size=30)
    values[11] = np.nan
    found = stretches(jnp.asarray(values), length=6)
    np.testing.assert_allclose(found.mean[25], np.diff(values[19:25]).mean())
    np.testing.assert_allclose(found.variance[25], np.diff(values[19:25]).var(ddof=1))
    assert not np.asarray(found.is_stationary)[[0, 5, 12, 17]].any()
    changed = stretches(jnp.asarray(np.where(np.arange(30) < 25, values, 99.0)), length=6)
    assert changed.mean[25] == found.mean[25]


def by_loops(values, treatment, others, lengths, significance, penalty, num_levels, significant):
    """All pairs one by one, by SciPy and least squares."""
    before = {}
    for t in range(max(lengths), len(values)):
        found = [np.diff(values[t - length : t]) for length in lengths]
        if np.isfinite(np.concatenate([*found, values[t : t + 1]])).all() and all(map(is_stationary, found)):
            before[t] = found
    rows, outcomes = [], []
    for one, other in itertools.combinations(before, 2):
        if treatment[one] == treatment[other] or (others[one] != others[other]).any():
            continue
        pairs = list(zip(before[one], before[other], strict=True))
        samples = [values[(treatment == treatment[t]) & np.isfinite(values)] for t in (one, other)]
        if significant and scipy.stats.ttest_ind(*samples).pvalue >= significance:
            continue
        if all(scipy.stats.ttest_ind(*pair).pvalue > significance for pair in pairs):
            row = np.zeros(num_levels)
            row[treatment[one]], row[treatment[other]] = 1, -1
            rows.append(row)
            outcomes.append(values[one] - values[other])
    rows = [*rows, *np.sqrt(penalty) * np.eye(num_levels)]
    return np.linalg.lstsq(np.asarray(rows), np.asarray([*outcomes, *[0.0] * num_levels]), rcond=None)[0]


def is_stationary(values):
    return float(kpss_statistic(jnp.asarray(values), usual_lags(len(values)))) < KPSS_QUANTILE


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["all", "significant"])
def test_the_pairs_are_those_of_loops(keep):
    treatment, others = RNG.integers(0, 3, 40), RNG.integers(0, 2, (40, 2))
    values = RNG.normal(size=(40, 2)) + 2 * treatment[:, None]
    values[11, 1] = np.nan
    options = {"lengths": (14, 10), "significance": 0.2, "penalty": 0.5, "num_levels": 4}
    found = estimate_treatment_effects(values, treatment, others=others, keep=keep, **options)
    expected = [by_loops(one, treatment, others, significant=keep == "significant", **options) for one in values.T]
    np.testing.assert_allclose(found.effects.T, expected, atol=1e-10)
    assert (found.num_pairs[:3] > 0).all()
    assert (found.num_pairs[3] == 0).all()
    assert (found.effects[3] == 0).all()


@pytest.mark.slow
def test_without_stretches_that_differ_effects_are_means_of_levels():
    treatment = np.arange(90) % 3
    values = RNG.normal(size=(90, 1)).repeat(2, 1)
    found = estimate_treatment_effects(values, treatment, lengths=(8,), significance=1e-9)
    usable = np.asarray(stretches(jnp.asarray(values[:, 0]), length=8).is_stationary)
    means = np.asarray([values[usable & (treatment == level), 0].mean() for level in range(3)])
    np.testing.assert_allclose(found.effects[:, 0] - found.effects[0, 0], means - means[0], atol=1e-6)


@pytest.mark.slow
def test_keeping_significant_pairs_overstates_effects_and_keeping_all_does_not():
    """Of 200 series with an effect of 0.3 standard deviations, half are kept, those whose noise adds to it."""
    treatment = RNG.integers(0, 2, 120)
    values = 0.3 * treatment[:, None] + RNG.normal(size=(120, 200))
    effect, error, share = {}, {}, {}
    for keep in ("all", "significant"):
        found = estimate_treatment_effects(values, treatment, lengths=(8,), keep=keep)
        kept = found.num_pairs[0] > 0
        differences = (found.effects[1] - found.effects[0])[kept]
        effect[keep], share[keep] = differences.mean(), kept.mean()
        error[keep] = differences.std() / np.sqrt(kept.sum())
    assert abs(effect["all"] - 0.3) < 3 * error["all"]
    assert share["all"] == 1
    assert 0.1 < share["significant"] < 0.7
    assert effect["significant"] > 0.4
    assert effect["significant"] > 0.3 + 5 * error["significant"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"treatment": np.arange(40) - 1}, "levels of the treatment from 0 to 38, got -1"),
        ({"num_levels": 2}, "levels of the treatment from 0 to 1, got 2"),
        ({"others": np.zeros((39, 1), int)}, "39 along the axis time, where values has 40"),
        ({"lengths": (7,)}, "every length must be"),
        ({"lengths": ()}, "lengths of the stretches"),
        ({"lengths": (40,)}, "more than 40 steps"),
        ({"keep": "some"}, "must be 'all' or 'significant'"),
    ],
)
def test_bad_input_is_refused(change, message):
    options = {"treatment": np.arange(40) % 3, "lengths": (8,)} | change
    with pytest.raises(InputError, match=message):
        estimate_treatment_effects(RNG.normal(size=(40, 1)), options.pop("treatment"), **options)


@pytest.mark.slow
def test_effects_follow_the_axes_of_the_values():
    values = RNG.normal(size=(60, 2, 3))
    treatment = np.arange(60) % 2
    found = estimate_treatment_effects(values, treatment, lengths=(9,))
    alone = estimate_treatment_effects(values[:, 1, 2:], treatment, lengths=(9,))
    assert found.effects.shape == (2, 2, 3)
    np.testing.assert_allclose(found.effects[:, 1, 2], alone.effects[:, 0], atol=1e-10)
    assert isinstance(found, jaxcast.series.TreatmentEffects)

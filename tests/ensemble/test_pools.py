import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.ensemble import (
    AdaptiveEnsemble,
    EnsembleMean,
    EnsembleMedian,
    EnsembleTrimmedMean,
    GroupMean,
    RidgeToMean,
    SkillWeights,
    error_spread,
    pool_ensemble,
)
from tests.ensemble.made import arrays, forecasts

POOLS = (EnsembleMean(), EnsembleMedian(), EnsembleTrimmedMean(0.3), GroupMean(), SkillWeights(), RidgeToMean(3))
POOLS += (AdaptiveEnsemble(use_groups=True),)


@jax.jit
def everything(found):
    """All pools, and the spread of the adaptive one."""
    pooled = [pool_ensemble(pool, found).forecast for pool in POOLS]
    return jnp.stack([*pooled, error_spread(pooled[-1], found)])


@pytest.fixture(scope="module")
def made():
    values, truth = arrays()
    found = forecasts(values, truth)
    return values, truth, found, np.asarray(everything(found))


def verified_at(issue, num_issues, wait=3):
    """Issue, lead -> whether the target is known, by the calendar."""
    return np.arange(num_issues)[:, None] + np.arange(3) + wait <= issue


@pytest.mark.slow
def test_simple_pools_are_those_of_numpy(made):
    values, _, _, pooled = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean, median = np.nanmean(values, 1), np.nanmedian(values, 1)
        groups = np.nanmean([np.nanmean(values[:, :2], 1), np.nanmean(values[:, 2:], 1)], 0)
    np.testing.assert_allclose(pooled[0], mean)
    np.testing.assert_allclose(pooled[1], median)
    np.testing.assert_allclose(pooled[3], groups)
    present = np.sort(values[30, :, 0])
    assert np.isclose(pooled[2][30, 0], present[2:-2].mean())  # round(0.3 * 5) at each end


def test_what_is_verified_follows_the_calendar(made):
    *_, found, _ = made
    for issue in (0, 3, 10, 35):
        assert (np.asarray(found.is_verified(issue)) == verified_at(issue, 36)).all()
    assert found.newest[10].tolist() == [7, 6, 5]
    assert found.latest[10].tolist() == [8, 7, 6]  # about the date 8 = 10 - 1 - (3 - 1) // 2
    assert found.newest[2].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("issue", [9, 24])
def test_nothing_of_an_issue_changes_with_what_comes_after_it(made, issue):
    values, truth, _, pooled = made
    rng = np.random.default_rng(issue)
    later = values.copy()
    later[issue + 1 :] = rng.normal(50, 30, later[issue + 1 :].shape)
    later[issue + 3 :, 0] = np.nan
    unknown = truth.copy()
    unknown[issue - 2 :] = rng.normal(-50, 30, len(truth) - issue + 2)  # the newest known is of issue - 3
    last = truth[:36] + 0.1
    last[issue + 1 :] = 99.0
    changed = np.asarray(everything(forecasts(later, unknown, last=last)))
    assert (changed[:, : issue + 1] == pooled[:, : issue + 1])[np.isfinite(pooled[:, : issue + 1])].all()
    assert (np.isfinite(changed) == np.isfinite(pooled))[:, : issue + 1].all()
    unknown[issue - 3] += 1.0  # and what is known does change it
    changed = np.asarray(everything(forecasts(later, unknown, last=last)))
    assert (changed[4:, issue] != pooled[4:, issue]).all()


@pytest.mark.parametrize(("verified", "known_at"), [(1, None), (0, None), (1, np.arange(39) - 9)])
def test_no_error_counts_before_its_forecast_is_made(made, verified, known_at):
    values, truth, *_ = made
    options = {"leads": (-2, -1, 0), "verified": verified, "known_at": known_at, "last": None}
    later, issue = values.copy(), 24
    later[issue + 1 :] += 500
    found = [forecasts(each, truth, **options) for each in (values, later)]
    before, after = (np.asarray(everything(each))[:, : issue + 1] for each in found)
    np.testing.assert_array_equal(after, before)
    assert (np.asarray(found[0].known_from) >= np.arange(36)[:, None]).all()
    assert np.asarray(found[0].is_verified(issue))[issue].any()


def test_another_unit_and_order_give_the_same_pool(made):
    values, truth, _, pooled = made
    scaled = np.asarray(everything(forecasts(1000 * values, 1000 * truth, last=1000 * (truth[:36] + 0.1))))
    np.testing.assert_allclose(scaled, 1000 * pooled, rtol=1e-7)
    order = [4, 2, 0, 3, 1]
    groups = tuple(np.asarray((0, 0, 1, 1, 1))[order].tolist())
    moved = np.asarray(everything(forecasts(values[:, order], truth, groups=groups)))
    np.testing.assert_allclose(np.delete(moved, 5, 0), np.delete(pooled, 5, 0), rtol=1e-9)


@pytest.mark.slow
def test_missing_issues_and_models_are_masked(made):
    *_, found, pooled = made
    assert np.isnan(pooled[:-1, 15]).all()
    assert np.isfinite(np.delete(pooled[:-1], 15, 1)).all()
    weights = np.asarray(pool_ensemble(AdaptiveEnsemble(), found).info["weights"])
    assert (weights[12:14, 1, 2] > 0).all()  # carried on from its second lead
    assert (weights[:12, 2] == 0).all()
    np.testing.assert_allclose(np.delete(weights, 15, 0).sum(1), 1)


def test_skill_weights_are_those_of_numpy(made):
    values, truth, found, _ = made
    weights = np.asarray(pool_ensemble(SkillWeights(4, prior_steps=5, carry=False), found).info["weights"])
    issue, rate = 30, 0.99
    target = truth[np.arange(36)[:, None] + np.arange(3)]
    squares = (values - target[:, None]) ** 2
    known = verified_at(issue, 36)
    age = issue - (np.arange(36)[:, None] + np.arange(3) + 3)
    decay = np.where(known, rate ** np.maximum(age, 0), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        usual = np.broadcast_to(np.nanmean(squares, 1)[:, None], squares.shape)
    there = np.isfinite(squares)
    near = 0.5 ** np.abs(np.subtract.outer(range(3), range(3)))
    own, other, cases = (
        np.where(there, term, 0).transpose(1, 0, 2).__mul__(decay).sum(1) @ near
        for term in (squares, usual, np.ones_like(squares))
    )
    prior = 5 * np.asarray([1, 2, 3]) * other.sum(0) / cases.sum(0)
    ratio = ((own + prior) / (other + prior)) ** -2 * there[issue]
    np.testing.assert_allclose(weights[issue], ratio / ratio.sum(0), rtol=1e-6)


def test_correction_is_the_ridge_regression_of_numpy(made):
    _, truth, found, pooled = made
    mean = np.asarray(pooled[0])
    corrected = np.asarray(jax.jit(jaxcast.ensemble.correct_newest_errors)(mean, found))
    target, last, issue, lead = truth[np.arange(36)[:, None] + np.arange(3)], truth[:36] + 0.1, 30, 1
    features = np.zeros((36, 3))
    for t in range(36):  # two of three leads count
        for column, newest, value in ((0, t - 3, truth), (1, t - 2, None)):
            errors = [
                (value[newest] if value is not None else last[t]) - mean[newest - k, k]
                for k in range(2)
                if newest - k >= 0
            ]
            errors = [error for error in errors if np.isfinite(error)]
            features[t, column] = np.mean(errors) if errors else 0
        features[t, 2] = np.nan_to_num(last[t] - mean[t, 0])
    cases = [s for s in range(36) if s + lead + 3 <= issue and np.isfinite(mean[s, lead])]
    weights = np.asarray([0.99 ** (issue - s - lead - 3) for s in cases])
    inputs, residuals = features[cases], target[cases, lead] - mean[cases, lead]
    seen = features[: issue + 1]
    square = (seen**2).sum(0) / (seen != 0).sum(0)
    penalty = np.asarray([5 * 2, 5 * 2, 10 * 2**3]) * square
    system = (inputs * weights[:, None]).T @ inputs + np.diag(penalty)
    slopes = np.linalg.solve(system, (inputs * weights[:, None]).T @ residuals)
    assert np.isclose(corrected[issue, lead], mean[issue, lead] + features[issue] @ slopes)


def test_ridge_regression_is_that_of_numpy(made):
    values, truth, found, _ = made
    pooled = np.asarray(pool_ensemble(RidgeToMean(2, prior_steps=3), found).forecast)
    issue, lead = 33, 0
    count = np.isfinite(values[: issue + 1, :, lead]).sum(0)
    chosen = np.argsort(-count, kind="stable")[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean = np.nanmean(values[:, :, lead], 1)
    deviation = np.nan_to_num(values[:, chosen, lead] - mean[:, None])
    cases = [s for s in range(36) if s + lead + 3 <= issue and np.isfinite(mean[s])]
    inputs, residuals = deviation[cases], truth[cases] - mean[cases]
    moments = inputs.T @ inputs
    penalty = (3 + 1e-6) * np.trace(moments) / (2 * len(cases))
    slopes = np.linalg.solve(moments + penalty * np.eye(2), inputs.T @ residuals)
    assert np.isclose(pooled[issue, lead], mean[issue] + deviation[issue] @ slopes)


def test_one_model_alone_is_pooled_and_corrected():
    values, truth = arrays()
    alone = np.full_like(values, np.nan)
    alone[:, 0] = values[:, 0]
    *pools, spread = np.asarray(everything(forecasts(alone, truth)))
    pooled = pools[-1]
    assert (np.isfinite(pools) == np.isfinite(values[:, 0])).all()
    target = truth[np.arange(36)[:, None] + np.arange(3)]
    error, plain = (pooled - target)[20:], (values[:, 0] - target)[20:]
    assert np.nanmean(error**2) < np.nanmean(plain**2)  # it is too high, and the pool learns that
    assert np.isnan(spread[:3]).all()  # one model has no spread, and nothing is verified
    assert (spread[10:15] > 0).all()


@pytest.mark.slow
def test_attention_sees_what_is_known_alone(made):
    values, truth, found, _ = made
    issue, later, unknown = 20, values.copy(), truth.copy()
    later[issue + 1 :] = 77.0
    unknown[issue - 2 :] = -55.0
    last = truth[:36] + 0.1
    last[issue + 1 :] = 99.0
    changed = forecasts(later, unknown, last=last)
    before, after = (jaxcast.ensemble.ensemble_samples(each, num_delays=3) for each in (found, changed))
    for one, two in zip(jax.tree.leaves(before[:3]), jax.tree.leaves(after[:3]), strict=True):
        np.testing.assert_array_equal(one[: issue + 1], two[: issue + 1])
    newest = values[17, 3, 0] - truth[17]  # of issue 20: the target of the date 17, forecast at lead 0
    assert np.isclose(before.memory.errors[20, 0, 0, 3, 0], newest)
    assert np.isclose(before.memory.states[20, 0, 0, 0], truth[20] + 0.1)
    is_case = found.is_verified(issue)
    np.testing.assert_array_equal(np.where(is_case, before.target, 0), np.where(is_case, after.target, 0))


@pytest.mark.slow
def test_an_expert_from_outside_is_weighed_by_its_errors(made):
    _, truth, found, _ = made
    target = truth[np.arange(36)[:, None] + np.arange(3)]
    others = np.stack([target + 0.01, target + 9.0])
    others[:, :6] = np.nan  # absent at first
    output = jaxcast.ensemble.pool_with_experts(AdaptiveEnsemble(), found, others)
    weights = np.asarray(output.info["experts"])
    np.testing.assert_allclose(weights[:, :3], 1 / 6)  # four of its own, and nothing is verified
    assert (weights[-1, 20:] < 0.02).all()
    assert (weights[-2, 20:] > weights[0, 20:]).all()
    np.testing.assert_allclose(np.delete(weights, 15, 1).sum(0), 1)
    plain = np.asarray(pool_ensemble(AdaptiveEnsemble(), found).forecast)
    absent = jaxcast.ensemble.pool_with_experts(AdaptiveEnsemble(), found, np.full((1, 36, 3), np.nan))
    there = np.isfinite(plain)
    assert np.abs(np.asarray(absent.forecast) - plain)[there].max() < 0.1 * np.nanstd(plain)


def test_carried_leads_continue_the_deviation(made):
    values, _, found, _ = made
    carried = jaxcast.ensemble.carry_leads(found)
    others = [0, 2, 3, 4]
    gap = values[30, 1, 1] - values[30, others, 1].mean()
    assert np.isclose(carried.values[30, 1, 2], values[30, others, 2].mean() + gap)
    assert bool(carried.present[30, 1, 2])
    assert not np.asarray(carried.present[:12, 2]).any()


def _refused():
    values, truth = arrays()
    yield "trim", lambda: EnsembleTrimmedMean(0.5)
    yield "power", lambda: SkillWeights(-1)
    yield "rate", lambda: SkillWeights(rate=1.5)
    yield "num_models", lambda: RidgeToMean(0)
    yield "expected 3 whole leads", lambda: forecasts(values, truth, leads=(0, 1))
    yield "expected 3 whole leads", lambda: forecasts(values, truth, leads=(2, 1, 0))
    yield "group", lambda: forecasts(values, truth, groups=(0, 1))
    yield "last", lambda: forecasts(values, truth, last=truth[:5])
    yield "season", lambda: forecasts(values, truth, seasons=[0, 1])
    yield "rise", lambda: jaxcast.ensemble.category_probabilities(jnp.zeros(1), jnp.ones(1), (0.5, -0.5))


@pytest.mark.parametrize(("message", "make"), list(_refused()))
def test_settings_and_arrays_out_of_range_are_refused(message, make):
    with pytest.raises(jaxcast.InputError, match=message):
        make()


@pytest.mark.slow
def test_trained_attention_changes_with_nothing_that_comes_later():
    values, truth = arrays()
    issue, later, unknown, last = 20, values.copy(), truth.copy(), truth[:36] + 0.1
    later[issue + 1 :], unknown[issue - 2 :], last[issue + 1 :] = 50.0, -70.0, 99.0
    options = {"first": 12, "every": 6, "num_epochs": 3, "num_delays": 2, "hidden_size": 4}
    before, after = (
        np.asarray(jaxcast.ensemble.pool_with_attention(each, **options, keys=jax.random.key(0)[None]).forecast)
        for each in (forecasts(values, truth), forecasts(later, unknown, last=last))
    )
    np.testing.assert_array_equal(before[: issue + 1], after[: issue + 1])
    assert np.abs(np.nan_to_num(before - after))[issue + 1 :].max() > 1


@pytest.mark.slow
def test_trained_attention_is_that_of_a_table_cut_after_the_issue():
    values, truth = arrays(60)
    options = {"first": 14, "every": 6, "num_epochs": 2, "num_delays": 2, "hidden_size": 4, "batch_size": 8}
    keys, found = jax.random.split(jax.random.key(0)), []
    for size in (60, 33):  # what is verified later than the last issue is not in the shorter table
        known = np.where(np.arange(63) < size - 2, truth, np.nan)
        each = forecasts(values[:size], known, last=truth[:size] + 0.1, seasons=np.arange(63) % 4)
        network = jaxcast.ensemble.pool_with_attention(each, **options, keys=keys).forecast
        joined = jaxcast.ensemble.pool_with_experts(AdaptiveEnsemble(), each, network[None]).forecast
        found.append(np.stack([network, joined])[:, :33])
    assert np.isfinite(found[0][:, 16:]).all()
    np.testing.assert_allclose(*found, rtol=0, atol=1e-12)

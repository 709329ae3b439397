"""Scores of flows against their definitions, and their edge cases."""

import jax
import numpy as np
import pytest

import jaxcast
from jaxcast.scores import block_bootstrap, common_part_of_commuters, flow_scores, weighted_mape


@pytest.fixture(scope="module")
def flows():
    """Counts with many zeros, forecasts some of which are below 0, and weights of 0, 1 and 2."""
    rng = np.random.default_rng(0)
    truth = rng.poisson(1.0, (50, 3, 4)).astype(float)
    return truth + rng.normal(size=truth.shape), truth, rng.integers(0, 3, truth.shape).astype(float)


def by_definition(forecast, truth, weight):
    error, positive = abs(forecast - truth), weight * (truth > 0)
    clipped = np.maximum(forecast, 0)
    return (
        np.sqrt(np.average(error**2, weights=weight)),
        np.sqrt(np.average(error**2, weights=positive)),
        np.average(error, weights=weight),
        np.average(error, weights=positive),
        100 * np.average(error / np.where(truth > 0, truth, 1), weights=positive),
        (weight * error).sum() / (weight * truth).sum(),
        2 * (weight * np.minimum(clipped, truth)).sum() / (weight * (clipped + truth)).sum(),
    )


@pytest.mark.slow
def test_scores_are_their_definitions_pooled_and_by_lead(flows):
    np.testing.assert_allclose(flow_scores(*flows), by_definition(*flows), rtol=1e-12)
    by_lead = flow_scores(*flows, by_lead=True)
    for k in range(3):
        expected = by_definition(*(a[:, k] for a in flows))
        np.testing.assert_allclose([score[k] for score in by_lead], expected, rtol=1e-12)
    assert float(weighted_mape(*flows)) == pytest.approx(by_definition(*flows)[5])
    assert float(common_part_of_commuters(*flows)) == pytest.approx(by_definition(*flows)[6])


def test_the_wmape_of_medians_is_twice_their_pinball_loss_over_the_truth(flows):
    forecast, truth, _ = flows
    loss = jaxcast.scores.pinball_loss(forecast[..., None], truth, np.asarray([0.5]))
    assert float(weighted_mape(forecast, truth)) == pytest.approx(float(2 * loss.sum() / truth.sum()))


def test_what_does_not_count_changes_nothing(flows):
    forecast, truth, weight = flows
    expected = flow_scores(forecast, truth, weight)
    absent = weight == 0
    for gap in (np.nan, -5.0, 1e9):
        found = flow_scores(np.where(absent, np.nan, forecast), np.where(absent, gap, truth), weight)
        np.testing.assert_array_equal(found, expected)
    unknown = flow_scores(forecast, np.where(weight > 1, np.nan, truth))
    np.testing.assert_array_equal(unknown, flow_scores(forecast, truth, weight <= 1))


def test_a_failed_forecast_is_infinitely_wrong(flows):
    forecast, truth, _ = flows
    for bad in (np.nan, np.inf, -np.inf):
        broken = forecast.copy()
        broken[np.unravel_index(truth.argmax(), truth.shape)] = bad
        scores = flow_scores(broken, truth)
        assert all(np.isposinf(score) for score in scores[:-1])
        assert float(scores.cpc) == 0


def test_zeros_alone_and_nothing_at_all():
    nothing, three = np.zeros((2, 1)), np.full((2, 1), 3.0)
    silent = flow_scores(nothing, nothing)
    assert [float(score) for score in silent[::2]] == [0, 0, pytest.approx(np.nan, nan_ok=True), 1]
    assert float(silent.wmape) == 0
    assert np.isnan(silent.rmse_positive)
    assert np.isnan(silent.mae_positive)
    loud = flow_scores(three, nothing)
    assert (float(loud.mae), float(loud.wmape), float(loud.cpc)) == (3, np.inf, 0)
    unknown = flow_scores(three, three, nothing)
    assert np.isnan(unknown[:-1]).all()
    assert float(unknown.cpc) == 1


def test_scores_compile_and_differentiate(flows):
    forecast, truth, weight = flows
    compiled = jax.jit(flow_scores)(forecast, truth, weight)
    np.testing.assert_allclose(compiled, flow_scores(forecast, truth, weight), rtol=1e-12)
    slope = jax.grad(lambda f: jax.jit(flow_scores)(f, truth, weight).mae)(forecast)
    np.testing.assert_allclose(slope, weight * np.sign(forecast - truth) / weight.sum(), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flow_scores(np.ones((3, 2)), np.ones((3, 1))), "one shape"),
        (lambda: flow_scores(np.ones(3), np.ones(3), np.ones((2, 3))), "broadcast"),
        (lambda: weighted_mape(np.ones(3), np.asarray([1.0, -2.0, -1.0])), "got -2 in 2 entries"),
        (lambda: common_part_of_commuters(np.ones(2), np.asarray([1.0, np.inf])), "finite"),
        (lambda: flow_scores(np.ones(3), np.ones(3), np.asarray([1.0, -1.0, 1.0])), "weights"),
        (lambda: flow_scores(np.ones(3), np.ones(3), by_lead=True), "lead"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_the_bootstrap_of_root_means_is_that_of_squared_errors_by_hand():
    """Days drawn whole, by a loop over the drawn starts; unequal numbers of entries each hour."""
    rng = np.random.default_rng(1)
    errors = rng.normal(size=(2, 10, 3)) * np.asarray([1.0, 1.3])[:, None, None]
    squares = np.where(rng.random((10, 3)) < 0.2, np.nan, errors**2)
    key = jax.random.key(2)
    found = block_bootstrap(*squares, key=key, block_size=4, root_mean=True, num_resamples=50, confidence=0.8)
    starts = np.asarray(jax.random.randint(key, (50, 3), 0, 10))
    ratios = []
    for drawn in starts:
        hours = [(start + k) % 10 for start in drawn for k in range(4)][:10]
        first, second = (np.nansum(one[hours]) for one in squares)
        ratios.append(np.sqrt(first / second))
    rmse = [np.sqrt(np.nanmean(one)) for one in squares]
    assert found.ratio == pytest.approx(rmse[0] / rmse[1], rel=1e-12)
    np.testing.assert_allclose([found.low, found.high], np.quantile(ratios, [0.1, 0.9]), rtol=1e-12)
    assert (found.num_weeks, found.num_tasks) == (10, np.isfinite(squares[0]).sum())

"""The line with which `jaxcast pool train` recommends another pool, without fits of a regime."""

import numpy as np
import pytest

import jaxcast
from jaxcast.cli.pool import regime as regimes
from jaxcast.cli.pool.regime import advice_from, compare_on_trial
from jaxcast.regime.fit import RegimeTrial


def tried(**changes):
    medians = {"regime": 1.25, "corrected_interpolation": 3.6}
    return {
        "valid_time_median": medians,
        "share_longer": 0.8,
        "share_shorter": 0.1,
        "window": 7.0,
        "num_windows": 32,
    } | changes


def test_a_pool_that_is_clearly_better_is_recommended_with_both_medians():
    line = advice_from(tried())
    assert line.startswith("consider --pool corrected_interpolation: ")
    assert "valid for 3.6 in the median, those of --pool regime for 1.25 (32 windows" in line
    assert "valid for 3.6 or more in the median" in advice_from(tried(window=3.6))
    assert advice_from(tried(valid_time_median={"regime": 0.0, "corrected_interpolation": 0.5})) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_time_median": {"regime": 3.0, "corrected_interpolation": 3.6}},
        {"valid_time_median": {"regime": 3.6, "corrected_interpolation": 1.25}},
        {"valid_time_median": {"regime": 0.0, "corrected_interpolation": 0.0}},
        {"share_longer": 0.5, "share_shorter": 0.4},
    ],
)
def test_nothing_is_said_where_it_is_not_clearly_better(changes):
    assert advice_from(tried(**changes)) is None


@pytest.mark.slow
def test_the_other_pool_knows_nothing_of_the_windows_that_judge(trajectory, candidates, monkeypatch):
    """What is compared is what the library makes of the samples before them."""
    learned = []
    monkeypatch.setattr(
        regimes,
        "fit_correction",
        lambda s, **options: learned.append(s) or jaxcast.pooling.fit_correction(s, **options),
    )
    num_samples = 300
    index = np.arange(300, 380, 10)[:, None] + np.arange(18)
    states = trajectory.states[index]
    windows = jaxcast.Windows(states[:, :8], states[:, 8:], trajectory.times[index])
    trial = RegimeTrial(jaxcast.Forecaster(jaxcast.equal_weights(11), candidates), num_samples, windows)
    found = compare_on_trial(trial, trajectory, candidates)
    before = jaxcast.Trajectory(trajectory.times[:num_samples], trajectory.states[:num_samples])
    samples = jaxcast.one_step_samples(before, 5, candidates)
    pool = jaxcast.pooling.fit_correction(samples, pool=jaxcast.pooling.fit_regime_interpolation(samples))
    np.testing.assert_array_equal(learned[0].targets, samples.targets)
    threshold = 0.175 * float(jaxcast.saturation_error(trajectory.states))
    times = {}
    for name, cell in (("regime", trial.cell), ("corrected_interpolation", jaxcast.Forecaster(pool, candidates))):
        forecasts = jaxcast.forecast_windows(cell, windows).forecast
        times[name] = [
            float(jaxcast.valid_time(a, b, dt=0.1, threshold=threshold).time)
            for a, b in zip(forecasts, windows.truth, strict=True)
        ]
        assert found["valid_time_median"][name] == pytest.approx(np.median(times[name]))
    longer = np.subtract(times["corrected_interpolation"], times["regime"])
    assert found["share_longer"] == np.mean(longer > 0)
    assert found["share_shorter"] == np.mean(longer < 0)
    assert found["window"] == pytest.approx(1.0)

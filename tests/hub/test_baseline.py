"""The flat line: by hand for one step, by independent draws for several, and against the CDC's own
baseline."""

import dataclasses

import numpy as np
import pytest

import jaxcast
from jaxcast import hub
from jaxcast.hub.baseline import observed_before
from tests.real_data import real_data

LEVELS = np.asarray([0.01, 0.025, *np.arange(1, 20) / 20, 0.975, 0.99])


def test_one_step_takes_the_quantiles_of_the_changes_and_of_their_negatives():
    values = np.random.default_rng(0).poisson(60, (3, 25)).astype(float)
    found = hub.flat_line_quantiles(values, LEVELS, lower=None)
    for place in range(3):
        changes = np.diff(values[place])
        expected = values[place, 0] + np.quantile([*changes, *-changes], LEVELS)
        np.testing.assert_allclose(found[place], expected, rtol=1e-12)
    np.testing.assert_allclose(found + found[:, ::-1], 2 * values[:, :1] * np.ones(23))  # symmetric
    np.testing.assert_array_equal(hub.flat_line_quantiles(values, LEVELS, lower=55.0), np.maximum(found, 55))


def test_more_steps_add_independent_changes():
    values = np.random.default_rng(1).gamma(3, 9, (1, 40))
    found = hub.flat_line_quantiles(values, LEVELS, steps_ahead=3, lower=None)
    changes = np.diff(values[0])
    step = np.quantile([*changes, *-changes], np.linspace(0, 1, 4001))
    rng = np.random.default_rng(2)
    drawn = rng.choice(step, (400_000, 3)).sum(1)
    spread = np.quantile(drawn, 0.95) - np.quantile(drawn, 0.05)
    np.testing.assert_allclose(found[0], values[0, 0] + np.quantile(drawn, LEVELS), atol=0.02 * spread)
    np.testing.assert_allclose(found[0, 11], values[0, 0], rtol=1e-12)
    other = hub.flat_line_quantiles(values, LEVELS, steps_ahead=3, lower=None, seed=1)
    assert not np.array_equal(found, other)
    np.testing.assert_allclose(found, other, atol=0.03 * spread)
    np.testing.assert_array_equal(hub.flat_line_quantiles(values, LEVELS, steps_ahead=3, lower=None), found)


def test_a_late_location_counts_its_steps_from_its_newest_value():
    values = np.random.default_rng(3).poisson(60, (1, 20)).astype(float)
    late = np.concatenate([np.full((1, 2), np.nan), values], 1)
    both = np.concatenate([late, np.full((1, 22), np.nan), np.full((1, 22), 5.0)])[[0]]
    np.testing.assert_array_equal(
        hub.flat_line_quantiles(both, LEVELS), hub.flat_line_quantiles(values, LEVELS, steps_ahead=3)
    )
    gap = values.copy()
    gap[0, 7] = np.nan  # two changes less
    changes = np.diff(values[0])
    changes = np.delete(changes, [6, 7])
    expected = values[0, 0] + np.quantile([*changes, *-changes], LEVELS)
    np.testing.assert_allclose(hub.flat_line_quantiles(gap, LEVELS, lower=None)[0], expected, rtol=1e-12)
    alone = np.asarray([[5.0, np.nan, 4.0], [np.nan, np.nan, np.nan], [5.0, 4.0, np.nan]])
    np.testing.assert_array_equal(np.isnan(hub.flat_line_quantiles(alone, LEVELS)).all(1), [True, True, False])


def test_the_first_step_is_the_baseline_of_the_cdc_from_what_was_known_then():
    folder = real_data("us-covid-admissions-hub/hub")
    truth = folder / "target-data/time-series.parquet"
    chosen = {"target": "wk inc covid hosp", "models": ["CovidHub-baseline"], "num_lags": 200}
    first = jaxcast.load_hub(folder, truth, horizon=0, **chosen)
    ours, theirs = hub.flat_line_baseline(first), first.quantiles[:, :, 0]
    there = ~np.isnan(theirs).any(-1)
    assert there.sum() == 45
    np.testing.assert_allclose(ours[there], theirs[there], rtol=1e-4, atol=0.02)  # they take 100,000 values
    third = jaxcast.load_hub(folder, truth, horizon=2, **chosen)
    ours, theirs = hub.flat_line_baseline(third), third.quantiles[:, :, 0]
    there = ~np.isnan(theirs).any(-1)
    widths = theirs[..., -1] - theirs[..., 0]
    assert np.abs(ours - theirs)[there].mean() < 0.005 * widths[there].mean()


def test_a_baseline_refuses_what_it_cannot_use():
    for options, message in (({"steps_ahead": 0}, "steps_ahead"), ({"num_samples": 0}, "num_samples")):
        with pytest.raises(jaxcast.InputError, match=message):
            hub.flat_line_quantiles(np.ones((1, 3)), LEVELS, **options)
    with pytest.raises(jaxcast.InputError, match="levels must increase"):
        hub.flat_line_quantiles(np.ones((1, 3)), LEVELS[::-1])


def test_the_round_after_the_last_knows_no_release_of_later_days():
    dates = np.arange("2024-01-06", "2024-01-20", np.timedelta64(7, "D"), dtype="datetime64[D]")
    levels = np.asarray([0.25, 0.5, 0.75])
    releases = np.asarray([[[10.0, np.nan]], [[11.0, 20.0]], [[99.0, 999.0]]])
    found = hub.Hub(
        np.ones((1, 2, 1, 3)), releases[-1], np.asarray([[[9.0, 8.0], [10.0, 9.0]]]), ("01",), dates, ("a",), levels, 1,
        releases=releases, as_of=np.asarray(["2024-01-07", "2024-01-14", "2024-01-16"], "datetime64[D]"),
        release_of=np.asarray([-1, 0]), deadlines=dates - np.timedelta64(5, "D"),
    )  # fmt: skip
    later = np.datetime64("2024-01-20")
    np.testing.assert_array_equal(observed_before(found, later), [[20.0, 11.0, 9.0]])
    changed = dataclasses.replace(found, truth=np.full((1, 2), np.nan), releases=releases * [[[1]], [[1]], [[7]]])
    np.testing.assert_array_equal(observed_before(changed, later), [[20.0, 11.0, 9.0]])
    np.testing.assert_array_equal(observed_before(found, dates[1]), [[10.0, 9.0]])


def test_what_is_known_of_a_date_far_ahead_comes_from_before_the_first_date():
    dates = np.arange("2024-01-06", "2024-01-20", np.timedelta64(7, "D"), dtype="datetime64[D]")
    observed = np.asarray([[[3.0, 2.0, 1.0], [4.0, 3.0, 2.0]]])
    quantiles, levels = np.ones((1, 2, 1, 3)), np.asarray([0.25, 0.5, 0.75])
    found = hub.Hub(quantiles, np.asarray([[111.0, 222.0]]), observed, ("01",), dates, ("a",), levels, 4)
    # The third date is four steps after that two steps before the first, whose value the hub does
    # not hold.
    expected = [[np.nan, 4.0, 3.0, 2.0]]
    np.testing.assert_array_equal(observed_before(found, np.datetime64("2024-01-20")), expected)
    last = observed_before(found, dates[1] + np.timedelta64(3 * 7, "D"))
    np.testing.assert_array_equal(last, [[111.0, np.nan, np.nan, 4.0, 3.0, 2.0]])

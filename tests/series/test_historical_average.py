"""Historical averages against means by hand and a published row."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.series import HistoricalAverage, SlotMean, calendar_lags, fit_slot_mean
from tests.real_data import real_data

NAN = np.nan
DAY = 4


def by_hand(values, newest, lead, num_recent, num_days, num_weeks):
    """The mean by its definition: days and weeks before the target, of those that are already known."""
    rows = [newest - k for k in range(num_recent)]
    for number, period in ((num_days, DAY), (num_weeks, 7 * DAY)):
        ago = [newest + lead - k * period for k in range(1, 50)]
        rows += [row for row in ago if row <= newest][:number]
    seen = values[rows]
    return np.where(np.isfinite(seen), seen, 0).sum(0) / np.where(
        np.isfinite(seen).any(0), np.isfinite(seen).sum(0), NAN
    )


@pytest.mark.slow
@pytest.mark.parametrize("setting", [(2, 0, 2), (3, 2, 1), (0, 1, 0), (0, 7, 1), (1, 0, 0)])
def test_the_average_is_that_of_recent_values_days_and_weeks(setting):
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(2, 70, 3))
    values[rng.random(values.shape) < 0.1] = NAN
    leads = (1, 3, 6)  # the last is more than a day ahead
    names = dict(zip(("num_recent", "num_days", "num_weeks"), setting, strict=True), slots_per_day=DAY)
    found = np.asarray(HistoricalAverage(leads, **names)(jnp.asarray(values)).forecast)
    expected = np.asarray([[by_hand(series, 69, lead, *setting) for lead in leads] for series in values])
    known = np.isfinite(expected)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-12)
    lags = calendar_lags(leads=leads, **names)
    assert list(lags) == sorted(set(lags), reverse=True)
    few = HistoricalAverage(leads, **names, lags=lags)
    assert few.signature.least_history == len(lags)
    seen = np.asarray(few(jnp.asarray(values[:, 69 - np.asarray(lags)])).forecast)
    np.testing.assert_array_equal(seen[known], found[known])


def test_without_any_known_value_to_average_the_newest_known_is_the_forecast():
    history = jnp.asarray([5.0, 7.0, NAN, NAN])[:, None]
    assert HistoricalAverage((1,), num_recent=2)(history).forecast.tolist() == [[7.0]]


@pytest.mark.slow
def test_features_that_are_forecast_are_averaged_each_by_itself():
    values = jnp.asarray(np.random.default_rng(1).uniform(size=(5, 2, 3)))
    found = HistoricalAverage((1,), num_recent=2, target_features=(2, 0))(values).forecast
    np.testing.assert_allclose(found[0], values[-2:].mean(0)[:, [2, 0]])


def test_the_published_historical_average_of_charging_stations():
    """HM(TM) with 2-0-2 has RMSE 1.016 over hours with charging cars, in the published table."""
    data = np.load(real_data("ev_beijing/chargestation_beijing.npz"))
    counts = data["counts"].astype(float)
    end = int(0.9 * len(counts))
    counts = counts[:, 24 * counts[:end].mean(0) > 1]
    setting = {"num_recent": 2, "num_weeks": 2, "slots_per_day": 24}
    lags = calendar_lags(**setting)
    newest = np.arange(end - 1, len(counts) - 1)
    average = HistoricalAverage((1,), **setting, lags=lags)
    forecast = average(jnp.asarray(counts[newest[:, None] - np.asarray(lags)])).forecast[:, 0]
    assert counts.shape == (1704, 624)
    assert float(jaxcast.scores.flow_scores(forecast, counts[end:]).rmse_positive) == pytest.approx(1.01624, abs=1e-5)


def test_slot_means_are_those_of_the_training_rows_alone(tmp_path):
    rng = np.random.default_rng(2)
    values = rng.uniform(size=(60, 2))
    values[rng.random(values.shape) < 0.2] = NAN
    slots = (5 + np.arange(60)) % 14
    model = fit_slot_mean(values, slots, slots_per_day=2, leads=(1, 4), stop=40)
    for slot in range(14):
        np.testing.assert_allclose(model.mean[slot], np.nanmean(values[:40][slots[:40] == slot], 0))
    later = values.copy()
    later[40:] = 9
    again = fit_slot_mean(later, slots, slots_per_day=2, leads=(1, 4), stop=40)
    np.testing.assert_array_equal(again.mean, model.mean)
    covariates = np.stack([slots[[45, 50, 52]], [7, 8, 9]], -1).astype(float)
    found = np.asarray(model(jnp.zeros((3, 1, 2)), covariates).forecast)
    expected = np.asarray(model.mean)[[[9, 12], [0, 3], [2, 5]]]
    np.testing.assert_array_equal(found, expected)
    by_region = model(jnp.zeros((3, 1, 2)), np.repeat(covariates[:, None], 2, 1)).forecast
    np.testing.assert_array_equal(by_region, expected)
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(loaded(jnp.zeros((3, 1, 2)), covariates).forecast, expected)


def test_a_slot_that_was_never_seen_has_the_mean_of_its_time_of_day():
    values = np.asarray([1.0, 2.0, 3.0, NAN])[:, None]
    model = fit_slot_mean(values, np.asarray([0, 1, 2, 3]), slots_per_day=2, leads=(1,))
    assert model.mean[:, 0].tolist() == [1, 2, 3, 2, *[2, 2] * 5]
    lonely = fit_slot_mean(values[:1], np.asarray([0]), slots_per_day=2, leads=(1,))
    assert set(lonely.mean[:, 0].tolist()) == {1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HistoricalAverage((1,)), "at least one of num_recent"),
        (lambda: HistoricalAverage((1,), num_recent=-1), "num_recent must be at least 0"),
        (lambda: HistoricalAverage((1,), num_recent=2, lags=(5, 0)), "lags \\[1\\]"),
        (lambda: HistoricalAverage((1,), num_recent=2, lags=(1, 0, 0)), "lags must be different"),
        (lambda: HistoricalAverage((1,), num_days=1)(jnp.zeros((5, 1))), "24 steps, got 5"),
        (lambda: HistoricalAverage((1,), num_recent=1, lags=(1, 0))(jnp.zeros((5, 1))), "2 steps, got 5"),
        (lambda: calendar_lags(num_recent=0, slots_per_day=24), "at least one of"),
        (lambda: SlotMean(jnp.zeros((14, 1)), (1,))(jnp.zeros((1, 1))), "no covariates"),
        (lambda: fit_slot_mean(np.zeros((3, 1)), np.full(3, 14), slots_per_day=2, leads=(1,)), "0 to 13"),
        (lambda: fit_slot_mean(np.full((3, 1), NAN), np.zeros(3), slots_per_day=2, leads=(1,)), "no known value"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)

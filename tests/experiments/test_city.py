"""The part "city" of the experiment on causal effects: protocol, plain rows and scores; .ci/run runs the part itself."""

import numpy as np
import pytest

from experiments.causal.city_data import NUM_STEPS, read_city
from experiments.causal.city_plain import LEVELS, POINTS, of_points, same_slot, slot_mean, with_quantiles
from experiments.causal.city_scores import make_row, scores
from experiments.causal.city_windows import at, lags_of, windows
from tests.real_data import real_data


@pytest.fixture(scope="module")
def city():
    return read_city(None, 0)


@pytest.mark.slow
def test_windows_hold_the_roots_of_trips_and_the_holidays_of_leads(city):
    test = at(windows(city, city.stop, None), city.newest)
    np.testing.assert_allclose(np.asarray(test.targets) ** 2, city.truth(city.newest), rtol=1e-5, atol=1e-5)
    assert test.lags.steps == lags_of(city)[::-1]
    ahead = city.holidays[city.newest[:, None] + np.arange(1, NUM_STEPS + 1)]
    np.testing.assert_array_equal(test.covariates[:, 1:], ahead)
    np.testing.assert_array_equal(test.covariates[:, 0], city.slots[city.newest])
    early = windows(city, 0, city.middle)
    assert np.asarray(early.rows)[np.asarray(early.weights).max((2, 3)) > 0].max() == city.middle - 1
    assert city.validation()[-1] + NUM_STEPS == city.stop - 1 < city.newest[0] + 1


def test_plain_methods_forecast_what_their_names_say(city):
    rows = city.newest[:, None] + np.arange(1, NUM_STEPS + 1)
    np.testing.assert_array_equal(same_slot(7, city, city.newest, 0), city.trips[rows - 7 * 12])
    mean = slot_mean(city, city.newest, city.stop)
    own = city.trips[: city.stop][city.slots[: city.stop] == city.slots[rows[3, 2]]]
    np.testing.assert_allclose(mean[3, 2], own.mean(0))


def test_quantiles_of_errors_keep_the_point_and_do_not_cross(city):
    found = of_points("same slot last week", city)
    np.testing.assert_array_equal(found[..., 1], POINTS["same slot last week"](city, city.newest, city.stop))
    assert (np.diff(found, axis=-1) >= 0).all()
    truth = city.truth(city.validation())
    exact = with_quantiles(city, truth, city.truth(city.newest))
    np.testing.assert_allclose(exact, np.repeat(city.truth(city.newest)[..., None], 3, -1))


@pytest.mark.slow
def test_scores_are_those_of_numpy_and_tell_days_apart(city):
    truth, rng = city.truth(city.newest), np.random.default_rng(0)
    quantiles = np.sort(truth[..., None] + rng.normal(size=(*truth.shape, 3)), -1)
    row = make_row("some", city, [quantiles])
    error = quantiles[..., 1] - truth
    assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    off = truth - quantiles[..., 2]
    pinball = np.maximum(LEVELS[2] * off, (LEVELS[2] - 1) * off)
    assert row["risk_90"] == pytest.approx(2 * pinball.sum() / truth.sum(), rel=1e-4)
    special = city.special[city.newest[:, None] + np.arange(1, NUM_STEPS + 1)]
    assert row["special_mae"] == pytest.approx(np.abs(error[special]).mean())
    assert scores(np.repeat(truth[..., None], 3, -1), truth)["coverage80"] == 1


def test_the_protocol_is_that_of_the_data():
    city = read_city(real_data("jonas_nyc"), 0)
    assert city.trips.shape == (4800, 113, 4)
    assert len(city.newest) == 956
    error = same_slot(1, city, city.newest, 0) - city.truth(city.newest)
    assert np.sqrt((error**2).mean()) == pytest.approx(35.118, abs=5e-4)
    assert np.abs(error).mean() == pytest.approx(13.505, abs=5e-4)
    assert np.flatnonzero(city.holidays[::48]).tolist() == [18, 33, 62, 69, 86]

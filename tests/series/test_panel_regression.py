"""Regressions of panels: against the normal equations, on series they have not seen, saved and refused."""

import dataclasses

import numpy as np
import pytest

import jaxcast
from jaxcast.errors import InputError
from jaxcast.series.panel_models.aligned import SHARED_PENALTY, PastValues, aligned, own_weights, shared_weights
from jaxcast.series.panel_models.held_out import held_out_windows

SEASON, LEADS = 6, 3
RNG = np.random.default_rng(0)


def series(length, level=1.0):
    wave = np.sin(2 * np.pi * np.arange(length) / SEASON)
    return level * (3 + wave + 0.1 * RNG.normal(size=length))


@pytest.fixture(scope="module")
def panel():
    return jaxcast.series.series_panel([series(n, level) for n, level in ((60, 1.0), (48, 100.0), (72, 0.01))])


@pytest.fixture(scope="module")
def model(panel):
    return jaxcast.series.fit_panel_regression(panel, num_leads=LEADS, seasons=(SEASON,))


def inputs_by_hand(panel, features, lead):
    """Returns inputs, targets and the series of every window, one by one."""
    xs, ys, of = [], [], []
    for number, (offset, length) in enumerate(zip(panel.offsets, panel.lengths, strict=True)):
        values = panel.values[offset : offset + length]
        values = (values - values.mean()) / values.std()
        for t in range(min(features.size, length // 2), length - lead):
            seen = [values[t - k] if t >= k else 0.0 for k in range(features.num_recent)]
            seen += [values[t + lead - lag] if t + lead >= lag else 0.0 for lag in features.lags if lag >= lead]
            xs.append([*seen, 1.0])
            ys.append(values[t + lead])
            of.append(number)
    return np.asarray(xs), np.asarray(ys), np.asarray(of)


def test_weights_solve_the_normal_equations(panel):
    features = PastValues(2, (5, 6, 12))
    table = aligned(panel, features)
    shared = shared_weights(table, features, LEADS)
    (own,) = own_weights(table, features, shared, (7.0,))
    for k in range(LEADS):
        xs, ys, of = inputs_by_hand(panel, features, k + 1)
        size = xs.shape[1]
        together = np.linalg.solve(xs.T @ xs + SHARED_PENALTY * len(ys) * np.eye(size), xs.T @ ys)
        np.testing.assert_allclose(shared[k, :size], together, rtol=1e-9, atol=1e-12)
        for number in range(3):
            x, y = xs[of == number], ys[of == number]
            alone = np.linalg.solve(x.T @ x + 7 * np.eye(size), x.T @ y + 7 * together)
            np.testing.assert_allclose(own[number, k, :size], alone, rtol=1e-9, atol=1e-12)


def test_forecasts_follow_the_season_in_the_unit_of_each_series(panel, model):
    found = model.forecast(panel)
    for number, level in enumerate((1.0, 100.0, 0.01)):
        steps = panel.lengths[number] + np.arange(LEADS)
        np.testing.assert_allclose(
            found.forecast[number], level * (3 + np.sin(2 * np.pi * steps / SEASON)), atol=0.4 * level
        )
    assert (np.diff(found.quantiles, axis=-1) >= 0).all()


def test_later_values_are_not_seen(panel, model):
    early = model.forecast(panel.without_last(5))
    again = model.forecast(panel, newest=panel.newest - 5)
    np.testing.assert_array_equal(early.quantiles, again.quantiles)


def test_a_new_series_is_forecast_by_the_shared_weights(model):
    new = jaxcast.series.series_panel([series(50, 7.0)], names=["new"])
    found = model.forecast(new).forecast[0]
    np.testing.assert_allclose(found, 7 * (3 + np.sin(2 * np.pi * (50 + np.arange(LEADS)) / SEASON)), atol=4)
    assert (np.asarray(model.weights) != np.asarray(model.shared)).any()


def test_missing_values_and_series_that_never_change_are_taken(panel):
    values = [series(60), np.where(np.arange(48) % 7 == 3, np.nan, series(48)), np.full(50, 4.0)]
    model = jaxcast.series.fit_panel_regression(
        jaxcast.series.series_panel(values), num_leads=2, seasons=(SEASON,), lower=0
    )
    found = model.forecast(jaxcast.series.series_panel(values))
    assert np.isfinite(found.quantiles).all()
    np.testing.assert_allclose(found.forecast[2], 4.0, atol=0.5)


def test_a_series_shorter_than_the_leads_is_forecast_by_the_shared_weights(panel):
    long = [panel.of(name) for name in panel.names]
    short = jaxcast.series.series_panel([*long, series(LEADS)])
    found = jaxcast.series.fit_panel_regression(short, num_leads=LEADS, seasons=(SEASON,))
    assert np.isfinite(found.forecast(short).quantiles).all()
    np.testing.assert_allclose(found.weights[3, 1:], found.shared[1:], rtol=1e-12)  # it has a window of lead 1 only
    assert (abs(found.weights[:3, 1:] - found.shared[1:]) > 1e-6).any((1, 2)).all()


def test_a_series_that_begins_after_the_part_learned_from_is_forecast_as_a_new_one(panel):
    others = [panel.values[offset : offset + size] for offset, size in zip(panel.offsets, panel.lengths, strict=True)]
    whole = jaxcast.series.series_panel([*others, series(3)], names=[*panel.names, "young"])
    learned = held_out_windows(whole, 4, 1)[0]
    model = jaxcast.series.fit_panel_regression(learned, num_leads=4, seasons=(12,))
    assert model.names == panel.names
    without = jaxcast.series.fit_panel_regression(learned.select(np.arange(len(others))), num_leads=4, seasons=(12,))
    np.testing.assert_array_equal(model.forecast(whole).quantiles[:-1], without.forecast(panel).quantiles)
    assert np.isfinite(model.forecast(whole).quantiles).all()
    with pytest.raises(InputError, match="expected a series with values to learn from, got none"):
        jaxcast.series.fit_panel_regression(learned.select(np.asarray([len(others)])), num_leads=4, seasons=(12,))


def test_a_saved_model_forecasts_the_same(panel, model, tmp_path):
    jaxcast.save_model(tmp_path / "model", model)
    again = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(model.forecast(panel).quantiles, again.forecast(panel).quantiles)


def test_bad_input_is_explained(panel, model):
    with pytest.raises(InputError, match="every season must be"):
        jaxcast.series.fit_panel_regression(panel, num_leads=2, seasons=(1,))
    with pytest.raises(InputError, match="too short"):
        jaxcast.series.fit_panel_regression(jaxcast.series.series_panel([[1.0, 2.0]]), num_leads=4, seasons=(2,))
    gone = jaxcast.series.series_panel([np.concatenate([[1.0], np.full(80, np.nan), [2.0]])], names=["gone"])
    with pytest.raises(InputError, match="series 'gone' has no value in the"):
        model.forecast(gone, newest=np.asarray([70]))
    with pytest.raises(InputError, match="weights must have the shape"):
        dataclasses.replace(model, weights=model.weights[:2]).check()

"""The real hub; skipped, with the reason, where its data are not there."""

import numpy as np
import pytest

import jaxcast
from experiments.hub.data_sets import DATA_SETS, NINE
from experiments.hub.setup import Window
from tests.real_data import real_data

PRINTED = {
    ("mean", 10): "48.27 21.86 33.00 14.33",
    ("median", 10): "48.34 22.01 33.86 13.60",
    ("mean", 11): "47.36 21.41 32.37 14.10",
    ("median", 11): "47.35 21.60 33.20 13.34",
}


@pytest.fixture(scope="module")
def hub():
    tables = tuple(real_data(f"us-covid19-forecast-hub/{name}.parquet") for name in ("forecasts", "truth"))
    return jaxcast.load_hub(*tables, models=NINE, truth_source="final")


def test_what_was_read(hub):
    assert hub.quantiles.shape == (50, 109, 9, 23)
    assert int(hub.present.sum()) == 5450 + 5250 + 5225 + 5181 + 5149 + 5149 + 5100 + 4997 + 4997
    assert (hub.dates[0], hub.dates[-1]) == (np.datetime64("2020-11-07"), np.datetime64("2022-12-03"))
    assert int((hub.truth < 0).sum()) == 22
    assert not np.isnan(hub.observed).any()


@pytest.mark.parametrize("name", ["mean", "median"])
def test_equal_weights_reproduce_the_reference_scores_to_the_printed_digits(hub, name):
    pool = {"mean": jaxcast.hub.QuantileMean(), "median": jaxcast.hub.QuantileMedian()}[name]
    hub_forecasts = hub.forecasts()
    forecast = np.where(
        np.asarray(hub_forecasts.is_forecast)[..., None],
        jaxcast.hub.pool_forecasts(pool, hub_forecasts).forecast,
        np.nan,
    )
    of_paper = np.min(np.abs(hub.levels[:, None] - [0.1, 0.9]), 1) > 1e-6
    for num_intervals, kept in ((10, of_paper), (11, of_paper | True)):
        wis = np.asarray(jaxcast.scores.weighted_interval_score(forecast[..., kept], hub.truth, hub.levels[kept]).wis)
        means = [np.nanmean(wis[:, hub.weeks(w.first, w.last)]) for w in map(Window.parse, DATA_SETS["deaths"].windows)]
        assert " ".join(f"{mean:.2f}" for mean in means) == PRINTED[name, num_intervals]


def test_gaps_filled_as_in_the_paper_give_its_equal_weight_scores(hub):
    filled = jaxcast.hub.fill_gaps(hub)
    assert filled.present.all()
    mean = filled.quantiles.mean(2)
    kept = np.min(np.abs(hub.levels[:, None] - [0.1, 0.9]), 1) > 1e-6
    wis = np.asarray(jaxcast.scores.weighted_interval_score(mean[..., kept], hub.truth, hub.levels[kept]).wis)
    means = [np.nanmean(wis[:, hub.weeks(w.first, w.last)]) for w in map(Window.parse, DATA_SETS["deaths"].windows)]
    assert " ".join(f"{mean:.2f}" for mean in means) == "48.16 21.93 32.75 14.12"

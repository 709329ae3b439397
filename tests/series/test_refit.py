"""Refits of saved forecasters: warm starts, honest scores, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.series import refit_series, window_scores
from jaxcast.series.network_methods import train_network
from jaxcast.series.problem import part_until, series_problem
from jaxcast.series.samples import base_quantiles

LENGTH, OLD, LEVELS = 130, 100, (0.1, 0.5, 0.9)
DATES = np.datetime64("2015-01", "M") + np.arange(LENGTH)


def values():
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(LENGTH) / 12)[:, None] * [3.0, 30.0]
    return 50 + wave + rng.normal(size=(LENGTH, 2)) * [0.5, 5.0]


def table(stop=LENGTH, array=None, **options):
    array = values() if array is None else array
    return jaxcast.series.series_table(array[:stop], DATES[:stop], names=("north", "south"), **options)


def fit(method, stop=OLD, **options):
    own = {"horizon": 2, "history_size": 12, "season": 0, "levels": LEVELS, "hidden_size": 8, "num_epochs": 30}
    return jaxcast.series.fit_series(table(stop), methods=(method,), **(own | options)).model


OPTIONS = {"leads": (1, 2), "history_size": 12, "season": 0, "levels": LEVELS, "hidden_size": 8}


@pytest.fixture(scope="module")
def network():
    """A network that has learned from the old table, with shifts of a round size: quicker than a whole search."""
    problem = series_problem(table(OLD), **OPTIONS)
    trained = train_network("global_network", problem, part_until(problem, OLD), None, 30)
    shifts = np.broadcast_to(np.asarray([[0.6], [6.0]]) * [-1, 0, 1], (2, 2, 3))
    forecaster = jaxcast.series.CalibratedForecaster(trained.network, jnp.asarray(shifts), levels=LEVELS)
    return jaxcast.series.SeriesModel.of(forecaster, problem.table, problem, method="global_network")


@pytest.fixture(scope="module")
def refit(network):
    return refit_series(network, table(), num_epochs=3)


@pytest.mark.slow
def test_a_warm_start_reaches_in_three_epochs_what_a_cold_one_has_not(refit):
    warm = refit
    assert (warm.new_from, warm.compared_from, warm.model.learned_until) == ("2023-05-01", "2024-08-01", "2025-10-01")
    problem = series_problem(table(), **OPTIONS)
    cold = train_network("global_network", problem, part_until(problem, LENGTH), None, 3)
    errors = [
        window_scores(base_quantiles(one, problem.windows), problem.windows, levels=LEVELS, scale=values().std(0)).mae
        for one in (warm.model.forecaster.forecaster, cold.network)
    ]
    assert errors[0] < 0.7 * errors[1]
    assert warm.new.mae < 1.1 * warm.old.mae


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers_and_the_old_model_stays(network, refit):
    before = jax.tree.map(np.asarray, jax.tree.leaves(network))
    again, other = (refit_series(network, table(), num_epochs=3, seed=seed) for seed in (0, 1))
    forecasts = [each.model.forecast(table()).quantiles for each in (refit, again, other)]
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    assert (forecasts[0] != forecasts[2]).any()
    for leaf, old in zip(jax.tree.leaves(network), before, strict=True):
        np.testing.assert_array_equal(leaf, old)
    assert (forecasts[0] != network.forecast(table()).quantiles).any()


@pytest.mark.slow
def test_scores_are_of_dates_before_they_are_learned_from(network, refit):
    """The old model on all new dates and on their second half; no value of that half moves the refitted one."""
    windows = network.windows(table())
    quantiles = np.asarray(network(windows.history).info["quantiles"])
    rows, middle = np.asarray(windows.rows), OLD + (LENGTH - OLD) // 2
    std = np.concatenate([values()[t : t + 12] for t in range(OLD - 12)]).std(0)
    for first, scores in ((OLD, refit.before), (middle, refit.old)):
        known = (rows >= first) & (rows < LENGTH)
        errors = np.abs(quantiles[..., 1] - values()[np.minimum(rows, LENGTH - 1)])[known] / std
        assert scores.mae == pytest.approx(errors.mean(), rel=0.02)  # std over windows with targets alone
        assert scores.num_values == 2 * known.sum()


@pytest.mark.slow
def test_with_many_new_dates_a_network_gets_new_shifts(network, refit):
    assert refit.is_recalibrated
    assert (np.asarray(refit.model.forecaster.shifts) != np.asarray(network.forecaster.shifts)).any()
    assert refit.new.coverage["0.8"] > 0.6


@pytest.mark.slow
def test_with_few_new_dates_a_network_keeps_its_shifts(network):
    few = refit_series(network, table(OLD + 6), num_epochs=3)
    assert not few.is_recalibrated
    np.testing.assert_array_equal(few.model.forecaster.shifts, network.forecaster.shifts)


@pytest.mark.slow
def test_regressions_are_fitted_anew_on_their_graph(tmp_path):
    adjacency = np.asarray([[0.0, 2.0], [0.0, 0.0]])
    model = fit("ridge", adjacency=adjacency, season=12, lower=0.0)
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    assert (loaded.season, loaded.lags) == (12, model.lags)
    refit = refit_series(loaded, table())
    wanted, found = model.forecaster.forecaster.inputs, refit.model.forecaster.forecaster.inputs
    np.testing.assert_allclose(found.neighbour_weights, wanted.neighbour_weights)
    assert (found.lags, refit.model.forecaster.lower, refit.model.leads) == (wanted.lags, 0.0, model.leads)
    assert refit.model.learned_until == "2025-10-01"
    assert refit.new.mae < 1.2 * refit.old.mae


@pytest.mark.slow
def test_what_does_not_fit_is_refused_in_one_line(network):
    other = jaxcast.series.series_table(values(), DATES, names=("north", "east"))
    weekly = jaxcast.series.series_table(
        values(), np.datetime64("2015-01-04") + 7 * np.arange(LENGTH), names=("north", "south")
    )
    heat = table(past_covariates=np.ones((LENGTH, 2, 1)))
    gone = values()
    gone[OLD:115] = np.nan
    late = jaxcast.series.series_table(values()[95:], DATES[95:], names=("north", "south"))
    for wrong, message in (
        (other, "has other series than the forecaster: it lacks 'south' and it also has 'east'"),
        (weekly, "the forecaster learned from one every 1 month"),
        (heat, "has the past_covariates"),
        (table(OLD), "must have at least 2 dates after 2023-04-01.*got 0"),
        (table(OLD + 1), "got 1; give a table with newer values"),
        (table(array=gone), "no known value from 2023-05-01 to 2024-07-01 to score lead 1"),
        (late, "begins on 2022-12-01, 5 dates before the new ones"),
    ):
        with pytest.raises(jaxcast.InputError, match=message) as caught:
            refit_series(network, wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(jaxcast.InputError, match="which is below lower=60"):
        refit_series(
            dataclasses.replace(network, forecaster=dataclasses.replace(network.forecaster, lower=60.0)), table()
        )
    with pytest.raises(jaxcast.InputError, match="num_epochs"):
        refit_series(network, table(), num_epochs=0)


@pytest.mark.slow
def test_a_network_with_covariates_keeps_their_scale_and_its_calendar():
    heat = np.random.default_rng(1).normal(5, 2, size=(LENGTH, 2, 1))
    days = np.datetime64("2024-01-01", "h") + np.arange(LENGTH)
    whole = jaxcast.series.series_table(values(), days, past_covariates=heat)
    old = jaxcast.series.series_table(values()[:OLD], days[:OLD], past_covariates=heat[:OLD])
    options = {"horizon": 1, "history_size": 4, "season": 0, "levels": LEVELS, "hidden_size": 2, "num_epochs": 2}
    model = jaxcast.series.fit_series(old, methods=("stgcn",), **(options | {"history_size": 12})).model
    assert model.sees_calendar
    refit = refit_series(model, whole, num_epochs=1)
    np.testing.assert_array_equal(refit.model.forecaster.covariates_mean, model.forecaster.covariates_mean)
    assert np.isfinite(refit.model.forecast(whole).quantiles).all()


def run(*args):
    parse([str(arg) for arg in args]).run()


def write(path, stop):
    rows = [f"{date}-01,{one!r},{two!r}" for date, (one, two) in zip(DATES[:stop], values().tolist(), strict=False)]
    path.write_text("date,north,south\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_the_command_goes_on_from_a_folder(tmp_path, capsys):
    old, new = write(tmp_path / "old.csv", OLD), write(tmp_path / "new.csv", LENGTH)
    run(
        "series",
        "train",
        old,
        "--horizon",
        2,
        "--season",
        0,
        "--history-size",
        4,
        "--method",
        "drift",
        "--out",
        tmp_path / "old",
    )
    before = (tmp_path / "old/pool.json").read_text()
    run("series", "train", new, "--warm-start", tmp_path / "old", "--out", tmp_path / "new")
    assert "2024-08-01" in capsys.readouterr().out
    assert (tmp_path / "old/pool.json").read_text() == before
    results = json.loads((tmp_path / "new/results.json").read_text())
    assert [row["model"] for row in results["rows"]] == ["old", "old", "new"]
    assert [row["since"] for row in results["rows"]] == ["2023-05-01", "2024-08-01", "2024-08-01"]
    model = jaxcast.load_model(tmp_path / "new").pool
    assert (model.method, model.leads, model.learned_until) == ("drift", (1, 2), "2025-10-01")
    run("series", "forecast", new, "--model", tmp_path / "new", "--out", tmp_path / "f.csv")
    for options, message in (
        (["--horizon", 3], "--horizon is that of the forecaster of --warm-start; leave it out"),
        (["--out", tmp_path / "old"], "--out would replace"),
        (["--method", "ridge"], "--method is that of"),
    ):
        options = options if "--out" in options else [*options, "--out", tmp_path / "other"]
        with pytest.raises(jaxcast.InputError, match=message):
            run("series", "train", new, "--warm-start", tmp_path / "old", *options)
    with pytest.raises(jaxcast.InputError, match="must have at least 2 dates after"):
        run("series", "train", new, "--warm-start", tmp_path / "new", "--out", tmp_path / "other")
    assert (tmp_path / "old/pool.json").read_text() == before
    assert not (tmp_path / "other").exists()

"""The plain methods of `fit_series`: each wins where it is the right one."""

import jax
import numpy as np
import pytest

import jaxcast
from jaxcast.series.plain_methods import PLAIN_METHODS
from jaxcast.series.problem import part_until, series_problem

LENGTH, SERIES = 150, 4
DATES = np.datetime64("2021-01-01") + np.arange(LENGTH)


def chain():
    """Each series follows the one before it a day later, and repeats half of its own value."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=SERIES)]
    for _ in range(LENGTH - 1):
        values.append(0.9 * np.roll(values[-1], 1) + 0.3 * rng.normal(size=SERIES))
    return np.stack(values)


def weekly():
    rng = np.random.default_rng(1)
    return rng.uniform(1, 9, (7, SERIES))[np.arange(LENGTH) % 7] + rng.normal(size=(LENGTH, SERIES))


def problem_of(values, **options):
    return series_problem(jaxcast.series.series_table(values, DATES), leads=(1, 2), levels=(0.1, 0.5, 0.9), **options)


def rmse(model, problem, first, stop):
    windows = problem.windows
    inside = (np.asarray(windows.rows) >= first) & (np.asarray(windows.rows) < stop)
    forecast = jax.jit(lambda model, history: model(history).forecast)(model, windows.history)
    return np.sqrt(((np.asarray(forecast) - windows.targets)[inside] ** 2).mean())


@pytest.mark.slow
def test_lists_of_variants_depend_on_the_problem_alone_and_all_forecast():
    problem = problem_of(chain(), history_size=3, season=0)
    early, late = (part_until(problem, row) for row in problem.bounds[:2])
    errors = {}
    for name in ("historical_average", "lasso", "lasso_each_series", "var", "star"):
        method = PLAIN_METHODS[name]
        fitted, again = method(name, problem, early), method(name, problem, late)
        assert fitted.names == again.names
        assert len(set(fitted.names)) == len(fitted.models)
        errors[name] = min(rmse(model, problem, *problem.bounds[:2]) for model in fitted.models)
    # Only these see which series drives which: its mean of neighbours tells STAR too little.
    assert max(errors[name] for name in ("var", "lasso_each_series")) < 0.7 * min(errors["historical_average"], 1)
    assert errors["var"] < errors["historical_average"]


def test_historical_averages_reach_back_as_far_as_histories_do():
    problem = problem_of(weekly(), history_size=15, season=7)
    names = PLAIN_METHODS["historical_average"]("historical_average", problem, part_until(problem, 90)).names
    assert "0 recent, 2 seasons" in names
    assert not any("4 seasons" in name for name in names)


@pytest.mark.slow
def test_the_command_chooses_a_vector_autoregression_where_series_drive_each_other(tmp_path):
    fitted = jaxcast.series.fit_series(
        jaxcast.series.series_table(chain(), DATES),
        leads=(1, 2),
        methods=("last_value", *(name for name in PLAIN_METHODS if name != "seasonal")),  # needs a longer history
        adjacency=np.roll(np.eye(SERIES), -1, 0) + np.roll(np.eye(SERIES), 1, 0),
        history_size=3,
        season=0,
    )
    scores = {one.method: one.test.mae for one in fitted.scores}
    assert fitted.model.method in ("var", "lasso_each_series")
    assert scores["var"] < scores["star"] < scores["last_value"]


HOURS = np.arange("2024-01-01", "2024-03-06", 6, dtype="datetime64[h]")


def counts():
    """Four slots a day; every weekday has its own level."""
    rng, slots = np.random.default_rng(2), np.arange(len(HOURS))
    rate = 20 + 10 * np.sin(2 * np.pi * slots / 4)[:, None] * [1.0, 0.5, 2.0] + 8 * (slots // 4 % 7 < 5)[:, None]
    return rng.poisson(np.maximum(rate, 1)).astype(float)


@pytest.mark.slow
def test_the_seasonal_forecaster_and_trees_forecast_tables_by_name(tmp_path):
    values = counts()
    table = jaxcast.series.series_table(values, HOURS)
    fitted = jaxcast.series.fit_series(
        table, leads=(1, 4), methods=("last_value", "boosted_trees", "seasonal"), history_size=45, season=4, lower=0.0
    )
    scores = {one.method: one.test.mae for one in fitted.scores}
    assert max(scores[name] for name in ("seasonal", "boosted_trees")) < 0.8 * scores["last_value"]
    assert fitted.model.method == "seasonal"
    jaxcast.save_model(tmp_path / "model", fitted.model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    before, after = (model.forecast(table, at="2024-03-01").quantiles for model in (fitted.model, loaded))
    np.testing.assert_array_equal(before, after)
    # Of the windows of a table it sees the same as of the table's rows.
    seasonal, windows = loaded.forecaster.forecaster, loaded.windows(table)
    assert seasonal.features.num_weeks == 1
    rows = np.asarray(windows.rows)[50:59, 0] - 1
    found = jax.jit(lambda model, *seen: model(*seen).forecast)(
        seasonal, windows.history[50:59], windows.covariates[50:59]
    )
    np.testing.assert_allclose(found, jaxcast.series.forecast_rows(seasonal, values, newest=rows), rtol=1e-4)


@pytest.mark.parametrize(
    ("dates", "options", "message"),
    [
        (np.datetime64("2021-01-01") + 7 * np.arange(LENGTH), {}, "share a day evenly.*got 1 week"),
        (
            DATES,
            {"past_covariates": np.sin(np.arange(LENGTH * SERIES)).reshape(LENGTH, SERIES, 1)},
            "no covariates but",
        ),
    ],
)
def test_the_seasonal_forecaster_refuses_what_it_cannot_use(dates, options, message):
    table = jaxcast.series.series_table(chain(), dates, **options)
    problem = series_problem(table, leads=(1, 2), history_size=15, season=0)
    with pytest.raises(jaxcast.InputError, match=message):
        PLAIN_METHODS["seasonal"]("seasonal", problem, part_until(problem, problem.bounds[0]))

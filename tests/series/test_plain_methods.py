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
    for name, method in PLAIN_METHODS.items():
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
        methods=("last_value", *PLAIN_METHODS),
        adjacency=np.roll(np.eye(SERIES), -1, 0) + np.roll(np.eye(SERIES), 1, 0),
        history_size=3,
        season=0,
    )
    scores = {one.method: one.test.mae for one in fitted.scores}
    assert fitted.model.method in ("var", "lasso_each_series")
    assert scores["var"] < scores["star"] < scores["last_value"]

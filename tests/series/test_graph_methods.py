"""Networks on graphs as methods of `fit_series`: their graphs, calendar and lags."""

import jax
import numpy as np
import pytest

import jaxcast
from jaxcast.series.fit import search
from jaxcast.series.network_methods import NETWORKS, correlation_graph, seen_by, training_graphs
from jaxcast.series.problem import series_problem

HOURS = np.arange("2024-01-03", "2024-02-12", 6, dtype="datetime64[h]")


@pytest.fixture(scope="module")
def table():
    """Four series of four slots a day; the second follows the first."""
    rng = np.random.default_rng(0)
    values = np.sin(2 * np.pi * np.arange(len(HOURS)) / 4)[:, None] + rng.normal(size=(len(HOURS), 4))
    values[1:, 1] = 10 * values[:-1, 0] + 0.1 * rng.normal(size=len(HOURS) - 1)
    return jaxcast.series.series_table(values, HOURS)


def problem_of(table, **options):
    return series_problem(table, leads=(1,), **({"history_size": 9, "season": 4} | options))


def test_graphs_come_from_the_first_part_alone(table):
    problem = problem_of(table)
    later = table.values.copy()
    later[problem.bounds[0] :] = np.random.default_rng(1).normal(size=later[problem.bounds[0] :].shape)
    changed = problem_of(table._replace(values=later))
    np.testing.assert_array_equal(correlation_graph(problem), correlation_graph(changed))
    (given,) = training_graphs(problem_of(table, adjacency=np.ones((4, 4))))
    np.testing.assert_array_equal(given, 1 - np.eye(4))


def test_networks_see_each_graph_and_other_methods_their_mean(table):
    graphs = np.stack([np.ones((4, 4)), 5 * np.eye(4)[::-1]])
    problem = problem_of(table, adjacency=graphs)
    np.testing.assert_array_equal(training_graphs(problem), graphs * (1 - np.eye(4)))
    np.testing.assert_allclose(problem.adjacency, (graphs[0] + graphs[1] / 5) / 2)
    seen = seen_by(NETWORKS["st_mgcn"], problem.windows, problem)
    network = jax.eval_shape(lambda key: NETWORKS["st_mgcn"].make(seen, problem, key), jax.random.key(0))
    assert network.graphs.shape == (3, 4, 4)  # and that of correlations
    with pytest.raises(jaxcast.InputError, match="of 4 nodes, got shape"):
        problem_of(table, adjacency=np.ones((2, 3, 3)))


def test_windows_as_networks_see_them(table):
    problem = problem_of(table)
    assert problem.lags == (0, 1, 2, 3, 4, 5, 6, 7, 8)
    seen = seen_by(NETWORKS["stgcn"], problem.windows, problem)
    assert seen.history.shape[1] == 9
    newest = HOURS[np.asarray(seen.rows)[:, 0] - 1]
    slots = [
        (hour.astype("datetime64[D]").astype(object).weekday() * 24 + hour.astype(int) % 24) // 6 for hour in newest
    ]
    np.testing.assert_array_equal(seen.covariates[:, 0], slots)
    assert seen_by(NETWORKS["global_network"], problem.windows, problem) is problem.windows
    few = problem_of(table, history_size=2, season=8)
    assert few.lags == (0, 1, 6, 7, 8)
    assert seen_by(NETWORKS["st_mgcn"], few.windows, few).lags.steps == (8, 7, 6, 1, 0)
    assert seen_by(NETWORKS["stgcn"], few.windows, few).lags.steps == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stgcn", "st_mgcn", "dcrnn"])  # the others take the same way
def test_a_network_on_a_graph_forecasts_a_table_after_saving(table, method, tmp_path):
    fitted = jaxcast.series.fit_series(
        table, horizon=1, methods=(method,), history_size=9, season=4, hidden_size=4, num_epochs=2
    )
    before = fitted.model.forecast(table, at="2024-02-01T06:00:00")
    jaxcast.save_model(tmp_path / "model", fitted.model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    after = loaded.forecast(table, at="2024-02-01T06:00:00")
    np.testing.assert_array_equal(before.quantiles, after.quantiles)
    # The same values at another time of the day, by the same model, give other forecasts.
    shifted = table._replace(calendar=table.calendar._replace(first=table.calendar.first + np.timedelta64(6, "h")))
    moved = loaded.forecast(shifted, at="2024-02-01T12:00:00")
    assert np.abs(moved.quantiles - after.quantiles).max() > 1e-6


@pytest.mark.slow
def test_networks_keep_checkpoints_of_each_part_and_read_them(table, tmp_path):
    problem = problem_of(table, hidden_size=2, num_epochs=2)._replace(checkpoints=tmp_path)
    search(("dcrnn",), problem)
    ends = problem.bounds
    names = {f"dcrnn-{ends[0]}-choice", f"dcrnn-{ends[1]}-all", f"dcrnn-{ends[2]}-all"}
    assert {file.stem for file in tmp_path.iterdir()} == names
    (tmp_path / f"dcrnn-{ends[2]}-all.checkpoint").write_bytes(b"damaged")
    with pytest.raises(jaxcast.InputError, match="is not a checkpoint"):
        search(("dcrnn",), problem)

"""The protocols, rows and readers of the experiment on graphs; its smoke preset itself runs in .ci/run."""

import dataclasses
import json

import numpy as np
import pytest

import jaxcast
from experiments.graphs import page, pictures
from experiments.graphs.__main__ import PRESETS, main, problems
from experiments.graphs.data import make_counts, next_steps, read_counts
from experiments.graphs.methods import METHODS, last_value, on_changing, same_slot, slot_mean
from experiments.graphs.scoring import compare, make_rows, published_rows, where_errors_sit
from experiments.graphs.windows import graphs_of, parts_of, usual_lags


@pytest.fixture(scope="module")
def problem():
    return make_counts(0)


def test_windows_of_the_parts_do_not_share_targets(problem):
    parts = parts_of(problem, usual_lags(problem))
    rows = [np.asarray(windows.rows)[np.asarray(windows.weights).max(-1) > 0] for windows in parts]
    early, validation, whole, test = (set(each.tolist()) for each in rows)
    assert max(early) == problem.middle - 1
    assert min(validation) == problem.middle
    assert max(validation) == max(whole) == problem.stop - 1
    assert min(test) == problem.stop
    np.testing.assert_array_equal(np.asarray(parts.test.rows)[:, 0], problem.newest + 1)
    np.testing.assert_allclose(parts.test.targets, problem.truth(problem.newest), rtol=1e-6)


def test_plain_methods_forecast_what_their_names_say(problem):
    values, rows = problem.values, problem.newest[:, None] + np.asarray(problem.leads)
    np.testing.assert_array_equal(last_value(problem, 0, None)["forecast"][:, 1], values[problem.newest])
    np.testing.assert_array_equal(same_slot(7, problem, 0, None)["forecast"], values[rows - 7 * 24])
    mean = slot_mean(problem, 0, None)["forecast"]
    train = values[: problem.stop]
    np.testing.assert_allclose(mean[5, 1], train[int(rows[5, 1]) % 168 :: 168].mean(0))


def test_future_values_change_no_plain_forecast(problem):
    row = problem.newest[4]
    later = problem.values.copy()
    later[row + 1 :] += 50
    other = dataclasses.replace(problem, values=later)
    for name in ("last value", "same slot yesterday", "same slot last week"):
        first, second = (METHODS[name].forecast(one, 0, None)["forecast"][:5] for one in (problem, other))
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_rows_are_pooled_up_to_a_lead_and_masked_beside_plain(problem):
    forecast = last_value(problem, 0, None)["forecast"]
    truth = problem.truth(problem.newest)
    one, both = make_rows("last value", problem, [forecast, forecast + 1, forecast + 2])
    assert [one["lead"], both["lead"], both["num_seeds"]] == [1, 2, 3]
    off = forecast + 1 - truth
    assert both["rmse"] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-5)
    assert one["mae"] == pytest.approx(np.abs(off[:, 0]).mean(), rel=1e-5)
    assert both["rmse_positive"] == pytest.approx(np.sqrt((off[truth > 0] ** 2).mean()), rel=1e-5)
    assert both["wmape"] == pytest.approx(np.abs(off).sum() / truth.sum(), rel=1e-5)
    named = dataclasses.replace(problem, published=({"method": "A", "lead": 1, "rmse": 2.0},))
    assert published_rows(named)[0]["published"] == {"rmse": 2.0}


def test_a_smaller_error_is_found_better(problem):
    truth = np.nan_to_num(problem.truth(problem.newest))
    noise = np.random.default_rng(0).normal(size=truth.shape)
    forecasts = {"seasonal ridge and networks": [truth + noise], "ridge, each series": [truth + 2 * noise]}
    (row,) = compare(problem, forecasts)
    assert row["ratio"] == pytest.approx(0.5, rel=1e-4)
    assert row["high"] < 1
    hard = truth.copy()
    hard[..., 3] += 9
    found = where_errors_sit(problem, {"ridge, each series": hard})["ridge, each series"]
    assert found["series"]["3"] == 1.0


def test_series_that_never_change_stay_as_they_are(problem):
    values = problem.values.copy()
    values[: problem.middle, 2] = 7
    values[:9, 2] = np.nan  # known later than others, and the same from then on
    other = dataclasses.replace(problem, values=values)
    seen = []

    def method(part, seed, config):
        seen.append(part.values.shape[1])
        return {"forecast": np.zeros((len(part.newest), len(part.leads), part.values.shape[1]))}

    forecast = on_changing(method)(other, 0, None)["forecast"]
    assert seen == [5]
    np.testing.assert_array_equal(forecast[:, 0, 2], values[problem.newest, 2])
    assert not np.delete(forecast, 2, -1).any()


def test_any_folder_of_counts_is_read(tmp_path, problem):
    graph = np.eye(6)[::-1]
    counts = problem.values.copy()
    counts[:, 4], counts[:, 5] = np.nan, 3  # one of which nothing is known, and one that never changes
    arrays = {"latitude": np.arange(6.0), "longitude": np.zeros(6), "graph_line": graph, "names": list("abcdef")}
    np.savez(tmp_path / "metro.npz", counts=counts, **arrays)
    read = read_counts(tmp_path, slots_per_day=18, train_share=0.8, num_leads=3)
    assert read.values.shape[1] == 5
    assert read.leads == (1, 2, 3)
    assert read.stop == int(0.8 * len(counts))
    assert read.newest[-1] + 3 == len(counts) - 1
    np.testing.assert_array_equal(read.graphs["line"], np.delete(np.delete(graph, 4, 0), 4, 1))
    off = read.truth(read.newest) + np.eye(5)[4]
    assert where_errors_sit(read, {"ridge, each series": off})["ridge, each series"]["series"]["f"] == 1
    assert graphs_of(read).shape == (2, 5, 5)
    config = dataclasses.replace(PRESETS["quick"], data=tmp_path, slots_per_day=18)
    assert next(problems(config)).name == tmp_path.name
    assert read.notes[-1] == "1 node left out of forecasts and scores: unknown in the training part"


def test_negative_counts_are_missing_and_graphs_are_described(tmp_path, problem):
    counts = problem.values.copy()
    counts[[3, 300], 1] = -1
    np.savez(tmp_path / "metro.npz", counts=counts, weather=counts[:, :2], graph_line=np.eye(6, k=1))
    read = read_counts(tmp_path, slots_per_day=24, train_share=0.9, num_leads=1)
    assert np.argwhere(np.isnan(read.values)).tolist() == [[3, 1], [300, 1]]
    np.testing.assert_array_equal(read.weather, counts[:, :2])
    assert read.notes == (
        "2 negative counts taken for missing values",
        "graph line: 6 nodes, 5 directed edges (17 % of pairs), 0 isolated nodes, 1 connected component",
    )


@pytest.mark.slow
def test_boosted_trees_see_the_newest_weather():
    rng = np.random.default_rng(0)
    weather = rng.normal(size=(240, 1))
    counts = np.exp(np.roll(weather, 1) / 2 + 0.1 * rng.normal(size=(240, 5)))
    problem = next_steps("made", {"counts": counts, "weather": weather}, 8, 0.9, 1)
    truth = problem.truth(problem.newest)
    names = ("gradient boosting", "gradient boosting and weather")
    blind, seeing = (METHODS[name].forecast(problem, 0, None)["forecast"] for name in names)
    assert np.abs(seeing - truth).mean() < 0.5 * np.abs(blind - truth).mean()
    assert METHODS[names[1]].forecast(dataclasses.replace(problem, weather=None), 0, None) == {}


def test_one_node_has_no_neighbours_and_unknown_months_no_correlations(problem):
    alone = dataclasses.replace(problem, values=problem.values[:, :1], places=None)
    assert graphs_of(alone).tolist() == [[[0.0]]]
    values = problem.values.copy()
    values[:, 2] = np.nan
    graph = graphs_of(dataclasses.replace(problem, values=values))[-1]
    assert graph[0, 1] > 0
    assert not graph[2].any()


def test_nothing_that_changes_before_the_validation_part_stays_as_it_is(problem):
    values = problem.values.copy()
    values[: problem.middle] = 4
    still = dataclasses.replace(problem, values=values)
    forecast = on_changing(None)(still, 0, None)["forecast"]
    np.testing.assert_array_equal(forecast, last_value(still, 0, None)["forecast"])


@pytest.mark.slow
def test_few_windows_are_scored_and_not_compared(problem):
    few = dataclasses.replace(problem, newest=problem.newest[:3], published=())
    truth = few.truth(few.newest)
    forecasts = {"seasonal ridge and networks": [truth + 1], "ridge, each series": [truth + 2]}
    assert compare(few, forecasts) == []
    zero = dataclasses.replace(few, values=np.zeros_like(few.values))
    row = make_rows("last value", zero, [truth])[0]
    assert row["rmse_positive"] is None
    assert row["rmse"] > 0
    json.dumps(row, allow_nan=False)
    assert where_errors_sit(zero, {"ridge, each series": 0 * truth}) == {}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array 'counts'"),
        ({"counts": np.ones((500, 2))}, "counts that change"),
        ({"counts": np.random.default_rng(0).random((60, 2))}, "three days or more"),
        (
            {"counts": np.where(np.arange(500)[:, None] < 450, np.random.default_rng(0).random((500, 2)), np.nan)},
            "known counts in the test part, 50 steps",
        ),
        (
            {"counts": np.where(np.arange(500)[:, None] // 45 == 9, np.nan, np.random.default_rng(0).random((500, 2)))},
            "known counts in the validation part, 45 steps",
        ),
        (
            {"counts": np.random.default_rng(0).random((500, 2)), "graph_a": np.ones((3, 3))},
            r"shape \(2, 2\) in 'graph_a'",
        ),
        ({"counts": np.asarray([["a"] * 2] * 500)}, "expected numbers"),
        ({"counts": np.full((500, 2), np.inf)}, "expected numbers of at most"),
        ({"counts": np.random.default_rng(0).random((500, 2)), "graph_a": -np.ones((2, 2))}, "not negative"),
        ({"counts": np.random.default_rng(0).random((500, 2)), "graph_a": np.full((2, 2), np.nan)}, "finite weights"),
        ({"counts": np.random.default_rng(0).random((500, 2)), "weather": np.ones((3, 1))}, "weather"),
    ],
)
def test_bad_folders_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "counts.npz", **arrays)
    with pytest.raises(jaxcast.InputError, match=message):
        read_counts(tmp_path, slots_per_day=24, train_share=0.9, num_leads=1)


def test_a_broken_file_is_refused(tmp_path):
    (tmp_path / "counts.npz").write_bytes(b"PK")
    with pytest.raises(jaxcast.InputError, match="not a whole"):
        read_counts(tmp_path, slots_per_day=24, train_share=0.9, num_leads=1)


@pytest.mark.parametrize(
    "wrong", [{"slots_per_day": 0}, {"train_share": float("nan")}, {"train_share": 1.5}, {"num_leads": 0}]
)
def test_settings_out_of_range_are_refused(tmp_path, wrong):
    np.savez(tmp_path / "counts.npz", counts=np.random.default_rng(0).random((500, 2)))
    settings = {"slots_per_day": 24, "train_share": 0.9, "num_leads": 1} | wrong
    with pytest.raises(jaxcast.InputError, match="must be"):
        read_counts(tmp_path, **settings)


@pytest.mark.slow
def test_forecasts_of_other_counts_are_not_taken_for_these(tmp_path):
    folder = tmp_path / "metro"
    folder.mkdir()
    config = dataclasses.replace(PRESETS["quick"], data=folder, out=tmp_path / "out", methods=("last value",))
    for seed in (0, 1):
        np.savez(folder / "counts.npz", counts=np.random.default_rng(seed).poisson(4.0, (240, 3)))
        if seed:
            with pytest.raises(jaxcast.InputError, match=r"other settings.*counts"):
                main(config)
        else:
            main(config)


def test_places_and_days_decide_the_graph_and_the_lags():
    rng = np.random.default_rng(0)
    arrays = {"counts": rng.poisson(3.0, (2000, 15)), "latitude": np.arange(15.0), "longitude": np.zeros(15)}
    problem = next_steps("made", arrays, 24, 0.9, 1)
    near = graphs_of(problem)[0]
    assert near[0, 1] > near[0, 5] > 0
    assert near[0, 14] == 0
    assert not near.diagonal().any()
    lags = usual_lags(problem)
    assert lags == (0, 1, 2, 3, 4, 5, *(24 * k - 1 for k in range(1, 8)), 335, 503, 671)


def test_the_graph_is_a_map_where_places_are_known(problem):
    nodes = np.asarray([0, 1, 2, 3, 5])
    learned = {"graph": np.eye(5, k=1), "changing": nodes}
    for found, expected in (({}, np.arange(6)), ({"STGCN": learned}, nodes)):
        (ax,) = pictures.graph({problem.name: found}, problem).axes
        edges, dots = ax.collections
        assert (edges.get_label(), dots.get_label()) == ("edges", "nodes")
        np.testing.assert_array_equal(dots.get_offsets()[:, 1], problem.places[0][expected])
    assert pictures.graph({"other": {"STGCN": learned}}, problem).axes[0].images


def test_the_tables_of_the_page_are_the_committed_results():
    text = (page.HERE / "README.md").read_text()
    tables = page.tables()
    assert {row["data"] for row in page.load()["rows"]} <= tables.keys()
    assert all(table in text for table in tables.values())

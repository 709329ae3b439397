"""`jaxcast series train` on files of sensors, with graphs of distances and places."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.series.data import SensorOptions, read_data, read_graph
from jaxcast.series import SensorData

LINE = np.eye(3, k=1)


def run(*args):
    parse([str(arg) for arg in args]).run()


@pytest.fixture
def sensors(tmp_path):
    """Three sensors for ten days of four slots; the second follows the first by one step."""
    rng = np.random.default_rng(0)
    values = 10 + np.sin(2 * np.pi * np.arange(40) / 4)[:, None] + rng.normal(size=(40, 3))
    values[1:, 1] = values[:-1, 0]
    np.savez(tmp_path / "PEMS00.npz", data=np.stack([np.zeros_like(values), values], -1))
    (tmp_path / "distances.csv").write_text("from,to,cost\n0,1,1\n1,0,1\n1,2,2\n2,0,6\n")
    (tmp_path / "places.csv").write_text("id,lat,lon\n2,0,0.2\n0,0,0\n1,0,0.01\n")
    return values


OPTIONS = ("--horizon", 1, "--history-size", 3, "--season", 0, "--method", "ridge")
DATES = ("--first-date", "2016-07-01", "--minutes", 360, "--feature", 1)


@pytest.mark.slow
def test_a_file_of_sensors_is_trained_on_and_forecast(sensors, tmp_path, capsys):
    data, out = tmp_path / "PEMS00.npz", tmp_path / "model"
    places = ("--coordinates", tmp_path / "places.csv", "--distances", tmp_path / "distances.csv")
    run("series", "train", "--data", data, "--out", out, *OPTIONS, *DATES, "--missing", sensors[3, 1], *places)
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 values missing" in printed
    assert "3 series, 40 dates, one every 6 hours" in printed
    assert "3 nodes" in printed
    with (tmp_path / "distances.csv").open("a") as file:
        file.write("9,0,1\n")
    names = ("0", "1", "2")
    files = {"adjacency": None, "distances": tmp_path / "distances.csv", "coordinates": None}
    assert read_graph(names, None, others=True, **files).adjacency.shape == (3, 3)
    weights = jaxcast.load_model(out).pool.forecaster.forecaster.inputs.neighbour_weights
    # Sensor 2 comes after sensor 1 and hears it; sensor 0 is too far from 2 to hear it.
    np.testing.assert_allclose(weights[:, 1], [[0, 1, 0], [1, 0, 0], [0, 1, 0]], atol=1e-12)
    run("series", "forecast", "--model", out, "--data", data, "--out", tmp_path / "forecast.csv")
    rows = (tmp_path / "forecast.csv").read_text().splitlines()
    assert rows[1].startswith("0,2016-07-10T18:00:00,2016-07-11T00:00:00,1,")
    record = json.loads((out / "config.json").read_text())["settings"]
    assert record["minutes"] == 360
    assert jaxcast.load_model(out).attributes["sensors"]["missing"] == sensors[3, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "PEMS00.npz has no dates; give --first-date"),
        (("--first-date", "2016-07-01", "--minutes", 0), "minutes must be a finite number and above 0"),
        ((*DATES[:4], "--feature", 2), "--feature must be below the 2 of"),
        ((*DATES, "--past-covariates", "heat"), "--past-covariates names a column"),
        ((*DATES, "--future-covariates", "heat"), "--future-covariates names a column"),
        ((*DATES, "--names", "few.csv"), "expected 3 different names in 'names', got 6"),
        ((*DATES, "--coordinates", "few.csv"), "lacks 1 sensor, the first '2'; add a row"),
        ((*DATES, "--distances", "unknown.csv"), "line 2: '9' is none of the 3 sensors"),
        ((*DATES, "--distances", "distances.csv", "--adjacency", "a.csv"), "got --adjacency and --distances; leave"),
        ((*DATES, "--nearest", 3, "--distances", "distances.csv"), "nearest must be at most 2, got 3"),
        ((*DATES[:4], "--feature", 0), "all 3 series are unknown or the same until then"),
        ((*DATES, "--nearest", 1), "--nearest needs --distances or --coordinates"),
        ((*DATES, "--nearest", 1, "--graph", "line"), "--nearest is for --distances and places"),
        ((*DATES, "--graph", "line"), "--graph names a graph of a file of sensors, and --data has none"),
    ],
)
def test_bad_files_of_sensors_are_refused_in_one_line(sensors, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.csv").write_text("id,lat,lon\n0,0,0\n1,0,0.01\n")
    (tmp_path / "unknown.csv").write_text("from,to,cost\n9,1,1\n")
    with pytest.raises(jaxcast.InputError, match=message):
        run("series", "train", "--data", "PEMS00.npz", "--out", "model", *OPTIONS, *options)
    assert not (tmp_path / "model").exists()


def test_zones_that_touch_one_way_are_refused_before_anything_is_learned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trips = np.random.default_rng(0).poisson(3.0, (60, 2, 2))
    np.savez("trips.npz", od=trips)
    np.save("zones.npy", [[0, 1], [0, 0]])
    options = ("--adjacency", "zones.npy", *OPTIONS[:-1], "od_ced", *DATES[:4])
    with pytest.raises(jaxcast.InputError, match=r"got 1 and 0 back between zones number 0 and 1; give max\(A, A\^T\)"):
        run("series", "train", "--data", "trips.npz", "--out", "model", *options)
    np.savez("trips.npz", od=np.full(trips.shape, np.nan))
    with pytest.raises(jaxcast.InputError, match="all 4 series are unknown or the same"):
        run("series", "train", "--data", "trips.npz", "--out", "model", *options[2:])
    assert not (tmp_path / "model").exists()


def test_nearest_neighbours_are_joined_both_ways(sensors, tmp_path):
    files = {"adjacency": None, "distances": tmp_path / "distances.csv", "coordinates": None}
    graph = read_graph(("0", "1", "2"), None, nearest=1, **files)
    np.testing.assert_array_equal(graph.adjacency, [[0, 1, 0], [1, 0, 1], [0, 1, 0]])


COLUMNS = dict.fromkeys(("time", "series", "value", "business_days"))


@pytest.mark.slow
def test_dead_sensors_are_left_out_with_their_rows_of_the_graph(sensors, tmp_path, capsys):
    values = np.c_[sensors[:, :1], np.zeros(40), sensors[:, 1:]]
    graph = np.arange(16.0).reshape(4, 4)
    weather = np.random.default_rng(1).normal(size=(40, 2))
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\n")
    np.savez(tmp_path / "counts.npz", counts=values, graph_road=graph, weather=weather)
    data, out = tmp_path / "counts.npz", tmp_path / "model"
    options = (*OPTIONS, *DATES[:4], "--names", names, "--past-covariates", "weather", "--method", "ridge")
    run("series", "train", "--data", data, "--out", out, *options)
    assert "1 series left out, unknown or the same until 2016-07-06T18:00:00: b" in " ".join(
        capsys.readouterr().out.split()
    )
    model = jaxcast.load_model(out).pool
    assert (model.names, model.past_covariates) == (("a", "c", "d"), ("weather 1", "weather 2"))
    expected = jaxcast.series.neighbour_weights(3, np.delete(np.delete(graph, 1, 0), 1, 1))
    np.testing.assert_allclose(model.forecaster.forecaster.inputs.neighbour_weights, expected)
    run("series", "forecast", "--model", out, "--data", data, "--out", tmp_path / "forecast.csv")
    rows = (tmp_path / "forecast.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows[:: len(rows) // 3]] == ["a", "c", "d"]


def test_a_csv_without_dates_is_read_with_a_first_date_and_one_with_dates_as_it_is(sensors, tmp_path):
    (tmp_path / "speeds.csv").write_text("71,72\n1,2\n3,4\n5,6\n")
    options = SensorOptions("2012-03-01", 5, missing=4)
    table, found = read_data(tmp_path / "speeds.csv", COLUMNS, {}, options)
    assert (table.names, table.date(2)) == (("71", "72"), "2012-03-01T00:10:00")
    assert np.isnan(found.values[1, 1])
    (tmp_path / "dated.csv").write_text("date,71\n2024-01-01,1\n2024-01-02,2\n2024-01-03,4\n")
    table, found = read_data(tmp_path / "dated.csv", COLUMNS, {}, options)
    assert (table.names, found) == (("71",), None)
    with pytest.raises(jaxcast.InputError, match=r"--first-date is for files of sensors, and .*dated.csv is a table"):
        options.refuse(tmp_path / "dated.csv")


@pytest.fixture
def attentive(sensors, tmp_path):
    """A saved forecaster with attention between the sensors, untrained but for its making."""
    table = jaxcast.series.series_table(sensors, np.datetime64("2016-07-01") + np.arange(40) * np.timedelta64(6, "h"))
    samples = jaxcast.series.series_windows(sensors, history_size=3, leads=(1,))
    network = jaxcast.series.AttentionNetwork(samples, hidden_size=2, key=jax.random.key(0))
    forecaster = jaxcast.series.CalibratedForecaster(network, np.zeros((1, 3, 1)))
    made = jaxcast.series.fit_series(table, horizon=1, methods=("last_value",), history_size=3, season=0).model
    model = dataclasses.replace(made, forecaster=forecaster, names=("0", "1", "2"), method="attention_network")
    columns = {"time": None, "series": None, "value": None, "business_days": None}
    dates = {"first_date": "2016-07-01", "minutes": 360, "feature": 1}
    jaxcast.save_model(tmp_path / "attentive", model, attributes={"columns": columns, "sensors": dates})
    return network


@pytest.mark.slow
def test_what_a_forecast_weighed_is_written_and_drawn(sensors, attentive, tmp_path):
    files = [tmp_path / name for name in ("forecast.csv", "weights.npz", "graph.png")]
    options = [option for pair in zip(("--out", "--weights", "--plot-graph"), files, strict=True) for option in pair]
    inputs = ("--model", tmp_path / "attentive", "--data", tmp_path / "PEMS00.npz")
    run("series", "forecast", *inputs, *options, "--coordinates", tmp_path / "places.csv")
    with np.load(tmp_path / "weights.npz") as arrays:
        expected = attentive(jnp.asarray(sensors[-3:])).info["weights"]
        np.testing.assert_allclose(arrays["weights"], expected, rtol=1e-6)
        assert arrays["names"].tolist() == ["0", "1", "2"]
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert b"jaxcast" in (tmp_path / "graph.png").read_bytes()


@pytest.mark.slow
def test_a_forecaster_that_weighs_nothing_is_told(sensors, tmp_path):
    run("series", "train", "--data", tmp_path / "PEMS00.npz", "--out", tmp_path / "model", *OPTIONS, *DATES)
    out = tmp_path / "forecast.csv"
    with pytest.raises(jaxcast.InputError, match=r"--weights needs a forecaster with attention.* ridge has none"):
        run(
            *("series", "forecast", "--model", tmp_path / "model", "--data", tmp_path / "PEMS00.npz", "--out", out),
            *("--weights", tmp_path / "weights.npz"),
        )
    assert not out.exists()


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ((), "has the graphs line, ring; name one or more"),
        (("star",), "of line, ring, got star"),
        (("line", "line"), "name each --graph once"),
    ],
)
def test_graphs_of_a_file_with_several_are_read_by_their_names(sensors, graphs, message):
    ring = 1 - np.eye(3)
    data = SensorData(sensors, ("0", "1", "2"), None, None, None, None, {"line": LINE, "ring": ring}, None, ())
    files = {"adjacency": None, "distances": None, "coordinates": None}
    np.testing.assert_array_equal(read_graph(data.names, data, graph=("line",), **files).adjacency, LINE)
    both = read_graph(data.names, data, graph=("ring", "line"), **files)
    np.testing.assert_array_equal(both.adjacency, [ring, LINE])
    assert [note.split(":")[0] for note in both.notes] == ["graph of graph_ring", "graph of graph_line"]
    with pytest.raises(jaxcast.InputError, match=message):
        read_graph(data.names, data, graph=graphs, **files)

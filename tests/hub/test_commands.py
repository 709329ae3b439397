import dataclasses
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from experiments import frame
from experiments.hub import __main__ as experiment
from experiments.hub.loading import names_of_locations
from experiments.hub.setup import PRESETS, Config
from experiments.hub.synthetic import write_synthetic_hub
from jaxcast.cli.main import parse
from tests.hub.test_tables import write


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    made = write_synthetic_hub(tmp_path_factory.mktemp("hub"), num_weeks=16, num_locations=3)
    return made.forecasts, made.truth


def run(*args):
    parse(["hub", *map(str, args)]).run()


@pytest.mark.slow
def test_score_prints_a_row_for_each_model(tables, tmp_path, capsys):
    forecasts, truth = tables
    run(
        "score", "--forecasts", forecasts, "--truth", truth, "--baseline", "baseline", "--out", tmp_path / "scores",
        "--first", "2021-02-01",
    )  # fmt: skip
    printed = capsys.readouterr().out
    rows = {row["method"]: row for row in json.loads((tmp_path / "scores/results.json").read_text())["rows"]}
    assert list(rows) == ["baseline", "fair", "poor", "sharp", "wide"]
    assert rows["baseline"]["relative_wis"] == pytest.approx(1)
    assert rows["sharp"]["relative_wis"] < rows["fair"]["relative_wis"] < 1
    hub = jaxcast.load_hub(forecasts, truth)
    weeks = hub.weeks("2021-02-01", "2022-01-01")
    wis = jaxcast.scores.weighted_interval_score(hub.quantiles[:, weeks, 1], hub.truth[:, weeks], hub.levels).wis
    np.testing.assert_allclose(rows["fair"]["wis"], np.nanmean(wis))
    assert rows["fair"]["num_tasks"] + rows["fair"]["num_missing"] == weeks.sum() * 3
    assert "common to all" in " ".join(printed.split())
    assert all(f"{row['wis']:.2f}" in printed for row in rows.values())
    assert (tmp_path / "scores/submissions.png").exists()


@pytest.mark.slow
def test_scores_by_place_and_date_have_the_tasks_of_these_alone(tables, tmp_path, capsys, monkeypatch):
    """And the forecasts of a horizon that not all models have, with the truth of the last date
    still to come."""
    monkeypatch.setattr("jaxcast.cli.hub.calibration._draw_panels", lambda *_, **__: None)  # other tests draw
    forecasts, truth = tables
    rows = forecasts.read_text().splitlines()
    later = [row.replace(",1,0", ",2,0") for row in rows[1:] if row.startswith(("sharp", "baseline"))]
    (tmp_path / "forecasts.csv").write_text("\n".join([*rows, *later]) + "\n")
    early = tmp_path / "truth.csv"
    early.write_text("\n".join(row for row in truth.read_text().splitlines() if "2021-04-17" not in row) + "\n")
    run(
        "score", "--forecasts", tmp_path / "forecasts.csv", "--truth", early, "--horizons", "1", "2", "--out", tmp_path / "out",
        "--by", "location", "horizon", "reference_date+horizon", "--exclude", "wide", "--last", "2021-04-17",
    )  # fmt: skip
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["pending"] == {"1": 3, "2": 3}
    assert "2 models without a forecast of horizon 2 in these dates, such as fair" in results["dropped"]
    whole = {row["method"]: row for row in results["rows"]}
    assert list(whole) == ["baseline", "fair", "poor", "sharp"]
    assert whole["sharp"]["num_tasks"] > 1.5 * whole["fair"]["num_tasks"]
    hubs = [jaxcast.load_hub(tmp_path / "forecasts.csv", early, horizon=h, exclude=["wide"]) for h in (1, 2)]
    for name in ("location", "horizon", "reference_date+horizon"):
        found = [row for row in results["by"][name] if row["method"] == "sharp"]
        assert sum(row["num_tasks"] for row in found) == whole["sharp"]["num_tasks"]
        total = sum(row["num_tasks"] * row["wis"] for row in found)
        assert total / whole["sharp"]["num_tasks"] == pytest.approx(whole["sharp"]["wis"])
    place = {(row["location"], row["method"]): row for row in results["by"]["location"]}
    part = {
        name: np.concatenate([h.quantiles[1, :, h.models.index(name)] for h in hubs if name in h.models])[None]
        for name in ("sharp", "baseline")
    }
    known = np.concatenate([h.truth[1] for h in hubs])[None]
    own = jaxcast.hub.score_forecasters(part, known, hubs[0].levels)
    for row in own:
        assert place["02", row["method"]]["wis"] == pytest.approx(row["wis"])
        assert place["02", row["method"]]["coverage50"] == pytest.approx(row["coverage50"])
    first = next(row for row in results["by"]["reference_date+horizon"] if row["method"] == "sharp")
    assert (first["reference_date"], first["horizon"]) == (str(hubs[1].dates[0] - np.timedelta64(14, "D")), 2)
    of_two = {row["method"]: row for row in results["by"]["horizon"] if row["horizon"] == 2}
    ratio = of_two["sharp"]["relative_wis"] / of_two["baseline"]["relative_wis"]
    relative = {row["method"]: row["relative_wis"] for row in jaxcast.hub.score_hubs(hubs[1:], baseline="baseline")}
    assert ratio == pytest.approx(relative["sharp"])
    printed = capsys.readouterr().out
    assert "Mean WIS by reference_date and horizon" in printed
    assert "pending at horizon 2: 3 tasks without truth yet, 2021-04-17" in printed


@pytest.mark.slow
def test_a_pool_is_trained_kept_and_writes_the_next_file(tables, tmp_path, capsys):
    forecasts, truth = tables
    rows = truth.read_text().splitlines()
    early = tmp_path / "early.csv"  # the last date is still to come
    early.write_text("\n".join([row for row in rows if "2021-04-17" not in row]) + "\n")
    common = ("--forecasts", forecasts, "--truth", early, "--models", "fair", "poor", "sharp", "wide")
    run("pool", *common, "--out", tmp_path / "pool")
    results = json.loads((tmp_path / "pool/results.json").read_text())
    scores = {row["method"]: row["wis"] for row in results["rows"]}
    assert scores["adaptive"] < scores["equal_mean"]
    assert results["against_equal_mean"]["ratio"] < 1
    written = []
    for method in (("--pool", tmp_path / "pool"), ("--method", "equal_median")):
        out = tmp_path / method[1].name if method[0] == "--pool" else tmp_path / "median"
        run("forecast", *common, *method, "--out", out, "--model", "us-pool", "--target-name", "wk inc x")
        written.append(jaxcast.load_hub(out, truth))
    assert "no candidate" not in capsys.readouterr().out
    for hub in written:
        assert (hub.models, hub.target) == (("us-pool",), "wk inc x")
        np.testing.assert_array_equal(hub.dates, [np.datetime64("2021-04-17")])
    median = np.nanmedian(
        jaxcast.load_hub(forecasts, truth).only(["fair", "poor", "sharp", "wide"]).quantiles[:, -1], 1
    )
    np.testing.assert_allclose(written[1].quantiles[:, 0, 0], median, rtol=1e-8)
    assert (written[0].quantiles != written[1].quantiles).all()


class Highest(jaxcast.hub.QuantilePool, jaxcast.FrozenPytree, name="highest_of_the_test"):
    """A pool of a user's own."""

    def observe(self, forecasts):
        return None

    def __call__(self, memory, forecasts):
        values = jnp.where(forecasts.present[..., None], forecasts.quantiles, -jnp.inf)
        return jaxcast.Output(values.max(2), {})


def test_a_pool_of_the_user_is_named_on_the_command_line(tables, tmp_path):
    forecasts, truth = tables
    common = ["--forecasts", forecasts, "--truth", truth, "--model", "us-pool", "--target-name", "wk inc x"]
    run("forecast", *common, "--method", "highest_of_the_test", "--out", tmp_path)
    written = jaxcast.load_hub(tmp_path, truth).quantiles
    hub = jaxcast.load_hub(forecasts, truth)
    np.testing.assert_allclose(written[:, -1, 0], hub.quantiles[:, -1].max(1), rtol=1e-9)
    with pytest.raises(
        jaxcast.InputError, match=r"--method must be one of adaptive, .*, highest_of_the_test.*got 'lowest'"
    ):
        run("forecast", *common, "--method", "lowest", "--out", tmp_path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("score", "--models", "sharpe"), "unknown model 'sharpe'; did you mean sharp"),
        (("score", "--baseline", "none"), "baseline 'none' is not among"),
        (("score", "--first", "2030-01-01"), "no quantile forecast is left"),
        (("score", "--last", "soon"), "a date like 2024-01-06, got 'soon'"),
        (("score", "--by", "week"), "expected --by location, horizon, .* got 'week'"),
        (("score", "--exclude", "sharpe"), "unknown model 'sharpe'; did you mean sharp"),
        (("score", "--horizons", "1", "1"), "expected different horizons"),
        (("score", "--vintages", "nowhere.csv"), "no truth table nowhere.csv"),
        (("forecast", "--method", "equal_mean"), "name no target"),
        (("forecast", "--method", "equal_mean", "--model", "pool", "--target-name", "x"), "TEAM-MODEL"),
        (("forecast", "--pool", "nowhere", "--method", "equal_mean"), "give --pool or --method, not both"),
        (("pool", "--num-models", "2", "--models", "sharp"), "not both"),
    ],
)
def test_bad_input_is_one_line(tables, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(jaxcast.InputError, match=message):
        run(args[0], "--forecasts", tables[0], "--truth", tables[1], *args[1:])


@pytest.mark.slow
def test_the_command_ends_with_exit_code_2_and_no_traceback(tables):
    command = [sys.executable, "-m", "jaxcast.cli.main", "hub", "score", "--forecasts", "nowhere", "--truth", tables[1]]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: there is no file or folder nowhere; give a .csv or .parquet, or the folder of a hub\n"


@pytest.mark.slow
def test_the_experiment_writes_rows_and_goes_on_where_it_was(tmp_path, capsys):
    config = dataclasses.replace(
        PRESETS["smoke"], out=tmp_path / "run", blocked=("linear_regression",), num_optimizer_steps=1
    )
    experiment.main(config)
    results = json.loads((tmp_path / "run/results.json").read_text())
    names = (
        "method protocol window horizon num_levels wis dispersion overprediction underprediction coverage50 coverage95"
    )
    assert {*names.split(), "ratio_to_equal_mean", "num_tasks"} <= set(results["rows"][0])
    rows = {(r["protocol"], r["method"], r["window"], r["num_levels"]): r for r in reversed(results["rows"])}
    assert {row["num_levels"] for row in rows.values()} == {5, 7}
    assert capsys.readouterr().out.count("pools saw the release of the day") == 2  # a table for each set of levels
    assert {row["truth"] for row in results["rows"] if row["method"] == "adaptive"} == {"releases", "final"}
    assert rows["rolling", "equal_mean", "A", 7]["ratio_to_equal_mean"] == 1
    assert rows["rolling", "adaptive", "B", 7]["ratio_to_equal_mean"] < 1
    assert ("blocked", "linear_regression", "B", 5) in rows
    assert all(row["num_crossings"] == 0 for row in rows.values() if row["protocol"] == "rolling")
    pictures = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert pictures == {
        f"{name}.png"
        for name in ["submissions", "scores_by_week", "relative_wis", "weights", "coverage", "fan", "revisions"]
    }
    stages = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/stages").iterdir()}
    experiment.main(config)
    assert json.loads((tmp_path / "run/results.json").read_text()) == results
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run/stages").iterdir()} == stages


@pytest.mark.slow
def test_the_experiment_takes_the_tables_of_any_hub(tables, tmp_path):
    flags = [
        "--forecasts",
        *map(str, tables[:1]),
        "--truth",
        str(tables[1]),
        "--num-models",
        "3",
        "--num-optimizer-steps",
        "1",
    ]
    experiment.main(frame.parse(Config, PRESETS, [*flags, "--baseline", "baseline", "--out", str(tmp_path / "run")]))
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert {row["window"] for row in rows} == {"all"}
    assert {row["truth"] for row in rows} == {"final"}
    assert {"adaptive", "equal_mean", "baseline"} <= {row["method"] for row in rows}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": ("A:2021-01-16",)}, "NAME:FIRST:LAST"),
        ({"windows": ("A:someday:2021-01-16",)}, "NAME:FIRST:LAST"),
        ({"baseline": "nobody"}, "baseline 'nobody' is not in the hub"),
        ({"preset": "quick", "data": None}, "does not hold forecasts.parquet"),
        ({"forecasts": "x"}, "both --forecasts and --truth"),
        ({"vintages": "x"}, "--vintages goes with --forecasts and --truth"),
        ({"models": ("sharp",), "num_models": 4}, "not both"),
        ({"windows": ("A:2031-01-16:2031-02-16",)}, "no date of the hub lies in the window A"),
    ],
)
def test_the_experiment_refuses_bad_input(tmp_path, change, message):
    from pathlib import Path

    paths = {
        name: tmp_path if value is None else Path(value)
        for name, value in change.items()
        if name in ("data", "forecasts", "vintages")
    }
    config = dataclasses.replace(PRESETS["smoke"], out=tmp_path / "run", **(change | paths))
    with pytest.raises(jaxcast.InputError, match=message):
        experiment.main(config)


@pytest.mark.slow
def test_rounds_on_wednesdays_keep_their_day_when_tables_are_read(tmp_path, monkeypatch):
    """As in RespiCast: the weeks end on Sundays, and horizon 1 is that of the round's own week."""
    monkeypatch.chdir(tmp_path)
    four, week = np.timedelta64(4, "D"), np.timedelta64(7, "D")
    wednesdays = np.arange("2024-01-10", "2024-03-06", week, dtype="datetime64[D]")
    rows = [
        f"{model},X,{day},{day + four + (horizon - 1) * week},{horizon},ILI,{level},{10 + level}"
        for day in wednesdays for horizon in (1, 2) for model in "ab" for level in (0.25, 0.5, 0.75)
    ]  # fmt: skip
    write(tmp_path / "f.csv", "model,location,origin_date,target_end_date,horizon,target,quantile,value", rows)
    releases = [
        f"X,{end},{9 + (end.astype(int) // 7) % 3},{day - 1}"
        for day in wednesdays
        for end in np.arange(day - 24, day, 7)
    ]
    write(tmp_path / "t.csv", "location,date,value,as_of", releases)
    hub = jaxcast.load_hub("f.csv", "t.csv", horizon=2)
    assert hub.target_date(wednesdays[-1]) == hub.dates[-1] == np.datetime64("2024-03-10")
    command = ("--forecasts", "f.csv", "--truth", "t.csv", "--horizons", "1", "2", "--plot", "p.png", "--overwrite")
    for name, options, day in (
        ("forecast", ("--method", "equal_mean"), wednesdays[-1]),
        ("baseline", ("--num-samples", "50"), wednesdays[-1]),
        ("baseline", ("--num-samples", "50", "--round", str(wednesdays[-1] + 7)), wednesdays[-1] + 7),
    ):
        parse(["hub", name, *command, *options, "--model", f"team-{name}"]).run()
        path = tmp_path / f"model-output/team-{name}/{day}-team-{name}.csv"
        rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
        assert {(row[0], row[2], row[3]) for row in rows} == {
            (str(day), "1", str(day + 4)),
            (str(day), "2", str(day + 11)),
        }


def test_names_of_locations_are_read_from_tables_and_folders(tmp_path):
    for day, name in (("2024-01-10", "Xanadu"), ("2024-01-17", "Xanadu")):
        (folder := tmp_path / f"truth/as_of={day}").mkdir(parents=True)
        write(folder / "a.csv", "location,location_name,date,value", [f"01,{name},2024-01-06,1", "02,,2024-01-06,1"])
    write(tmp_path / "truth/b.csv", "location,date,value", ["03,2024-01-06,1"])
    assert names_of_locations(tmp_path / "truth") == {"01": "Xanadu"}
    assert names_of_locations(tmp_path / "truth/as_of=2024-01-10/a.csv") == {"01": "Xanadu"}
    assert names_of_locations(tmp_path / "truth/b.csv") == {}

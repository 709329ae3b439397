"""`jaxcast hub score` on a hub with all output types."""

import json

import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from tests.hub.tiny_hub import CATEGORIES, CATEGORY, COUNT, RATE, write_hub

pytest.importorskip("polars", reason="hub tables need the extra `hub`")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return write_hub(tmp_path_factory.mktemp("tiny") / "hub")


def score(hub, out, *args):
    series = hub / "target-data/time-series.csv"
    common = ("--forecasts", hub, "--truth", series, "--horizons", 0, 1, "--out", out)
    parse(["hub", "score", *map(str, (*common, *args))]).run()
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_a_table_for_each_output_type_is_printed_and_kept(hub, tmp_path, capsys):
    cut = ("--cut-points", 20, 40, "--cut-target", COUNT, "--by", "location", "horizon")
    results = score(hub, tmp_path / "out", *cut, "--baseline", "alpha-one", "--exclude", "gamma-three")
    kinds = {(row["output_type"], row["target"]) for row in results["output_types"]}
    assert kinds == {(kind, COUNT) for kind in ("sample", "mean", "median")} | {("cdf", RATE), ("pmf", CATEGORY)}
    printed = " ".join(capsys.readouterr().out.split())
    for noun, target in (("samples", COUNT), ("pmf", CATEGORY), ("cdf", RATE), ("means", COUNT), ("medians", COUNT)):
        assert f"Mean scores of {noun} of {target} at horizons 0, 1" in printed
    assert [row["method"] for row in results["rows"]] == ["alpha-one", "beta-two"]
    # The numbers are those of the function, with what hub-config/ says of categories and
    # trajectories.
    rows = jaxcast.hub.read_outputs(hub).rows
    rows = rows.filter((rows["model"] != "gamma-three") & (rows["output_type"] != "quantile"))
    truth = jaxcast.hub.read_output_truth(hub / "target-data/time-series.csv")
    truth = jaxcast.hub.cut_into_categories(truth, CATEGORY, CATEGORIES, [20, 40], of=COUNT)
    expected = jaxcast.hub.score_outputs(
        rows,
        truth,
        categories={CATEGORY: CATEGORIES},
        compound=("reference_date", "location"),
        horizons=(0, 1),
        baseline="alpha-one",
    )
    assert results["output_types"] == json.loads(json.dumps(expected.tables))
    sample = next(row for row in results["output_types"] if row["output_type"] == "sample")
    assert (sample["num_tasks"], sample["num_compound"]) == (10, 4)
    # The tables of parts add up to those of all tasks.
    for name in ("location", "horizon"):
        assert f"Mean CRPS of samples of {COUNT} by {name}" in printed
        parts = [row for row in results["output_types_by"][name] if row["method"] == "beta-two"]
        for row in (row for row in results["output_types"] if row["method"] == "beta-two"):
            own = [
                part for part in parts if (part["output_type"], part["target"]) == (row["output_type"], row["target"])
            ]
            main = next(each for each in ("crps", "rps", "squared_error", "absolute_error") if each in row)
            assert len({part[name] for part in own}) == len(own) == 2
            assert sum(part["num_tasks"] * part[main] for part in own) == pytest.approx(row["num_tasks"] * row[main])
            assert ("energy" in own[0]) == (name == "location" and row["output_type"] == "sample")
    of_places = [row["energy"] for row in results["output_types_by"]["location"] if "energy" in row]
    assert sum(2 * each for each in of_places[::2]) == pytest.approx(4 * sample["energy"])
    assert f"sample of {COUNT}: 2 tasks without target data yet" in results["not_scored"]


@pytest.mark.slow
def test_an_oracle_output_beside_the_time_series_gives_the_categories(hub, tmp_path):
    results = score(hub, tmp_path / "without", "--output-types", "pmf", "cdf")
    assert {row["output_type"] for row in results["output_types"]} == {"cdf"}
    assert "rows" not in results
    assert (
        f"pmf of {CATEGORY}: no target data for any of 12 tasks; give an oracle output, or cut points"
        in (results["not_scored"])
    )
    oracle = hub / "target-data/oracle-output.csv"
    header = "location,target_end_date,target,output_type,output_type_id,oracle_value"
    lines = [f"US,2026-01-03,{CATEGORY},pmf,{name},{int(name == 'moderate')}" for name in CATEGORIES]
    oracle.write_text("\n".join([header, *lines]) + "\n")
    try:
        results = score(hub, tmp_path / "with", "--output-types", "pmf")
    finally:
        oracle.unlink()
    row = results["output_types"][0]
    assert row["num_tasks"] == 1
    np.testing.assert_allclose([row["rps"], row["log"]], [2 * 0.25**2, np.log(2)], atol=1e-10)


def test_common_tasks_alone(hub, tmp_path):
    file = next((hub / "model-output/alpha-one").glob("2026-01-03*"))
    text = file.read_text()
    file.write_text("\n".join(line for line in text.splitlines() if ",01,2026-01-03,mean" not in line) + "\n")
    try:
        common = score(hub, tmp_path / "common", "--output-types", "mean", "--common")["output_types"]
        each = score(hub, tmp_path / "each", "--output-types", "mean")["output_types"]
    finally:
        file.write_text(text)
    assert [row["num_tasks"] for row in common] == [9, 9, 9]
    assert [row["num_tasks"] for row in each] == [9, 10, 10]
    assert [row["num_missing"] for row in each] == [1, 0, 0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--output-types", "mean", "--first", "06/01/2024"), "expected a date like 2024-01-06, got '06/01/2024'"),
        (("--output-types", "samples"), "unknown output type 'samples'; did you mean sample"),
        (("--output-types", "pmf"), "nothing could be scored: pmf of wk category x: no target data"),
        (("--output-types", "pmf", "--cut-points", 1, 2), "--cut-points needs --cut-target"),
        (("--output-types", "pmf", "--cut-points", 1, "--cut-target", COUNT), "expected 2 cut points between 3"),
        (("--output-types", "pmf", "--cut-points", 1, 2, "--cut-target", "x"), "unknown target 'x'"),
    ],
)
def test_bad_choices_are_refused(hub, tmp_path, args, message):
    with pytest.raises(jaxcast.InputError, match=message):
        score(hub, tmp_path / "out", *args)
    assert not (tmp_path / "out").exists()


def test_models_without_other_types_do_not_stop_the_scores_of_quantiles(hub):
    series = hub / "target-data/time-series.csv"
    command = parse(["hub", "score", "--forecasts", str(hub), "--truth", str(series), "--models", "of-quantiles"])
    scores = command.score_types(["sample", "mean"])
    assert scores.tables == []
    assert scores.dropped[-1] == "sample, mean: no forecast is left of what was asked for"


def test_pools_of_samples_whose_target_data_are_all_pending_are_refused(hub, tmp_path):
    series = tmp_path / "time-series.csv"
    series.write_text(f"target,location,target_end_date,observation\n{COUNT},US,2020-01-04,1\n")
    command = parse(["hub", "pool", "--forecasts", str(hub), "--truth", str(series), "--out", str(tmp_path / "out")])
    with pytest.raises(jaxcast.InputError, match=f"nothing could be scored: sample of {COUNT}: no target data for any"):
        command.score_types(command, ["sample"])
    rows, truth = jaxcast.hub.read_outputs(hub).rows, jaxcast.hub.read_output_truth(series)
    assert jaxcast.hub.score_outputs(rows, truth).by(["location"]) == []


@pytest.mark.slow
def test_quantiles_are_scored_where_other_types_cannot_be(hub, tmp_path, monkeypatch):
    for slow in ("write_calibration", "draw_submissions"):  # pictures
        monkeypatch.setattr(f"jaxcast.cli.hub.score.{slow}", lambda *_: None)
    results = score(hub, tmp_path / "out", "--output-types", "quantile", "pmf")
    assert {row["method"] for row in results["rows"]} == {"alpha-one", "beta-two", "gamma-three"}
    assert results["output_types"] == []
    assert len(results["not_scored"]) == 1

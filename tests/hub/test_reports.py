"""What admins publish: commands of importance, baseline and calibration, on a small synthetic
hub."""

import json
import shutil

import numpy as np
import pytest

import jaxcast
from experiments.hub.synthetic import write_synthetic_hub
from jaxcast.cli.main import parse
from jaxcast.hub.validation.report import validate_submission
from tests.hub.tiny_hub import COUNT, write_hub

pl = pytest.importorskip("polars", reason="hub tables need the extra `hub`")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    made = write_synthetic_hub(tmp_path_factory.mktemp("hub"), num_weeks=16, num_locations=3)
    return made.forecasts, made.truth


def run(command, tables, *args):
    parse(["hub", command, "--forecasts", *map(str, (tables[0], "--truth", tables[1], *args))]).run()


@pytest.mark.slow
def test_importance_is_written_and_printed(tables, tmp_path, capsys):
    run("importance", tables, "--exclude", "wide", "--baseline", "baseline", "--out", tmp_path / "out")
    printed = capsys.readouterr().out
    table = pl.read_csv(tmp_path / "out/importance.csv")
    assert set(table["model"]) == {"fair", "poor", "sharp"}
    assert table["shapley"].to_list() == sorted(table["shapley"], reverse=True)
    hub = jaxcast.load_hub(*tables)
    pooled = hub.only(["fair", "poor", "sharp"])
    alone = jaxcast.scores.weighted_interval_score(hub.only(["baseline"]).quantiles[:, :, 0], hub.truth, hub.levels).wis
    expected = jaxcast.hub.model_importance(pooled.forecasts(), empty_score=np.asarray(alone))
    np.testing.assert_allclose(
        dict(table.select("model", "shapley").rows())["sharp"],
        np.nanmean(expected.shapley[..., pooled.models.index("sharp")]),
    )
    decimals = 3 - int(np.floor(np.log10(table["wis"].max())))
    assert all(f"{value:.{decimals}f}" in printed for value in table["leave_one_out"])
    assert "the WIS of baseline minus that of the ensemble" in " ".join(printed.split())
    by_date = pl.read_csv(tmp_path / "out/importance_by_date.csv")
    total = by_date.filter(pl.col("model") == "sharp")
    np.testing.assert_allclose((total["shapley"] * total["num_tasks"]).sum() / total["num_tasks"].sum(),
                               dict(table.select("model", "shapley").rows())["sharp"])  # fmt: skip
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["num_pools"] == 8
    assert (tmp_path / "out/importance.png").exists()


@pytest.mark.slow
def test_a_baseline_is_written_for_the_newest_an_older_and_the_next_round(tables, tmp_path, capsys):
    hub = jaxcast.load_hub(*tables, num_lags=200)
    last = hub.dates[-1] - hub.step
    for round_, picture in ((None, True), (last - 2 * hub.step, False), (last + hub.step, False)):
        options = [] if round_ is None else ["--round", round_]
        options += ["--plot", tmp_path / "flat.png"] if picture else []
        run("baseline", tables, "--out", tmp_path, "--model", "us-flat", "--target-name", "wk inc x", *options)
        date = last if round_ is None else round_
        rows = pl.read_csv(tmp_path / f"us-flat/{date}-us-flat.csv", schema_overrides={"location": str})
        assert set(rows["target_end_date"]) == {str(date + hub.step)}
        known = np.flatnonzero(hub.dates <= date)[-1]  # horizon 1: data up to the reference date
        for i, place in enumerate(hub.locations):
            history = np.concatenate([hub.truth[i, known::-1], hub.observed[i, 0]])
            expected = jaxcast.hub.flat_line_quantiles(history[None], hub.levels)[0]
            found = rows.filter(pl.col("location") == place).sort("output_type_id")["value"]
            np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert f"made from truth up to {date}" in capsys.readouterr().out
    assert (tmp_path / "flat.png").exists()
    late = last + 3 * hub.step
    with pytest.raises(jaxcast.InputError, match=r"expected a date from .* in steps of 7 days"):
        run("baseline", tables, "--out", tmp_path, "--model", "us-flat", "--target-name", "x", "--round", late)
    with pytest.raises(jaxcast.InputError, match="expected --round like"):
        run("baseline", tables, "--out", tmp_path, "--model", "us-flat", "--target-name", "x", "--round", "soon")


@pytest.mark.slow
def test_scores_come_with_their_calibration(tables, tmp_path):
    run("score", tables, "--models", "fair", "sharp", "--out", tmp_path / "scores")
    hub = jaxcast.load_hub(*tables)
    values = hub.quantiles[:, :, hub.models.index("fair")]
    row = pl.read_csv(tmp_path / "scores/calibration.csv").row(by_predicate=pl.col("model") == "fair", named=True)
    bias = np.asarray(jaxcast.scores.quantile_bias(values, hub.truth, hub.levels))
    np.testing.assert_allclose(row["bias"], np.nanmean(bias))
    inside = jaxcast.scores.interval_coverage(values, hub.truth, hub.levels, nominal=0.5)
    np.testing.assert_allclose(row["coverage50"], np.nanmean(inside))
    curve = pl.read_csv(tmp_path / "scores/quantile_coverage.csv").filter(pl.col("model") == "fair")
    share = np.nanmean(jaxcast.scores.quantile_coverage(values, hub.truth, hub.levels), (0, 1))
    np.testing.assert_allclose(curve["share"], share)
    bins = pl.read_csv(tmp_path / "scores/pit.csv").filter(pl.col("model") == "fair")
    np.testing.assert_allclose(bins["density"], jaxcast.scores.pit_histogram(values, hub.truth, hub.levels).density)
    assert {path.name for path in (tmp_path / "scores").glob("*.png")} == {
        "submissions.png", "pit.png", "quantile_coverage.png",
    }  # fmt: skip


def test_bad_input_is_one_line(tables, tmp_path):
    with pytest.raises(jaxcast.InputError, match="baseline 'none' is not among"):
        run("importance", tables, "--baseline", "none", "--out", tmp_path / "out")
    with pytest.raises(jaxcast.InputError, match="--method must be one of equal_mean"):
        run("importance", tables, "--method", "adaptive", "--out", tmp_path / "out")
    with pytest.raises(jaxcast.InputError, match="must name each horizon once"):
        run("baseline", tables, "--horizons", 1, 1, "--out", tmp_path)


def test_the_baseline_of_a_hubs_folder_is_one_file_that_the_hub_accepts(tmp_path, capsys):
    folder = write_hub(tmp_path / "hub", num_rounds=3, as_of=True)
    parse(["hub", "baseline", str(folder), "--model", "ours-flat"]).run()
    file = folder / "model-output/ours-flat/2026-01-17-ours-flat.csv"
    printed = capsys.readouterr().out
    assert f"{file}: round 2026-01-17 of {COUNT}; " in printed
    assert f"{COUNT}: made from truth up to 2026-01-10 as of 2026-01-" in printed
    assert validate_submission(file, folder).failures == ()
    rows = pl.read_csv(file, schema_overrides={"location": str, "output_type_id": str})
    assert set(rows["target"]) == {COUNT}
    assert set(rows["output_type"]) == {"quantile", "median"}
    # Values of this round's release: 19 and 29, as each is one too low; they never change, nor may
    # samples be used.
    assert dict(rows.group_by("location").agg(pl.col("value").unique()).rows()) == {"US": [19.0], "01": [29.0]}
    assert (folder / "model-metadata/ours-flat.yml").read_text().count("ensemble_of_models: true") == 0
    with pytest.raises(jaxcast.InputError, match="--horizons is for tables"):
        parse(["hub", "baseline", str(folder), "--model", "ours-flat", "--horizons", "2"]).run()


@pytest.mark.slow
def test_the_baseline_of_a_round_depends_on_no_forecast_of_others(tmp_path):
    folder = write_hub(tmp_path / "hub", num_rounds=3, as_of=True)
    command = ["hub", "baseline", str(folder), "--model", "ours-flat", "--round", "2026-01-17", "--overwrite"]
    file = folder / "model-output/ours-flat/2026-01-17-ours-flat.csv"
    parse(command).run()
    expected = file.read_text()
    for each in folder.glob("model-output/*/2026-01-17*"):
        if "ours-flat" not in each.name:  # quantiles and samples of one location are gone
            lines = each.read_text().splitlines()
            kept = [line for line in lines if not (",01," in line and (",quantile," in line or ",sample," in line))]
            each.write_text("\n".join(kept) + "\n")
    parse(command).run()
    assert file.read_text() == expected
    for each in folder.glob("model-output/*-*/*"):
        if "ours-flat" not in each.name:
            each.unlink()
    parse(command).run()
    assert file.read_text() == expected
    with pytest.raises(jaxcast.InputError, match="leave out --models"):
        parse([*command, "--models", "alpha-one"]).run()


@pytest.mark.slow
def test_without_other_files_the_first_target_date_is_the_next_of_the_target_data(tmp_path):
    folder = write_hub(tmp_path / "hub", first="2026-01-07", num_rounds=3, beyond=4)  # Wednesdays, weeks to Sundays
    command = ["hub", "baseline", str(folder), "--model", "ours-flat", "--round", "2026-01-21"]
    parse([*command, "--plot", str(tmp_path / "flat.png")]).run()
    file = folder / "model-output/ours-flat/2026-01-21-ours-flat.csv"
    expected = file.read_text()
    assert "2026-01-21,wk inc x,0,2026-01-25,US,quantile,0.1," in expected
    shutil.rmtree(folder / "model-output")
    parse(command).run()
    assert file.read_text() == expected
    assert (tmp_path / "flat.png").exists()


def test_tables_refuse_no_forecaster_and_other_shapes():
    levels, truth = np.asarray([0.25, 0.5, 0.75]), np.ones((2, 3))
    right, wrong = np.ones((2, 3, 3)), np.ones((2, 2, 3))
    for table in (jaxcast.hub.score_forecasters, jaxcast.hub.score_calibration, jaxcast.hub.tabulate_coverage):
        with pytest.raises(jaxcast.InputError, match="expected at least one forecaster, got none"):
            table({}, truth, levels)
        with pytest.raises(jaxcast.InputError, match=r"expected forecasts \(2, 3, 3\) of 'b', .* got \(2, 2, 3\)"):
            table({"a": right, "b": wrong}, truth, levels)
    with pytest.raises(jaxcast.InputError, match="second of compare_forecasters has 2 along the axis time"):
        jaxcast.hub.compare_forecasters(right, wrong, truth, levels)
    with pytest.raises(jaxcast.InputError, match="no task in common"):
        jaxcast.hub.compare_forecasters(right, right * np.nan, truth, levels)
    with pytest.raises(jaxcast.InputError, match="horizon must be at least 1, got 0"):
        jaxcast.hub.compare_forecasters(right, right, truth, levels, horizon=0)


@pytest.mark.slow
def test_importance_says_what_pools_knew_only_of_pools_that_learn(tmp_path, capsys):
    folder = write_hub(tmp_path / "hub", num_rounds=4, as_of=True)
    command = ["hub", "importance", str(folder), "--horizon", "-1", "--target", COUNT]
    for method, is_said in (("equal_mean", False), ("inverse_score", True)):
        parse([*command, "--method", method, "--out", str(tmp_path / method)]).run()
        note = json.loads(next((tmp_path / method).rglob("results.json")).read_text())["note"]
        printed = " ".join(capsys.readouterr().out.split())
        assert ("could know" in note) == ("could know" in printed) == is_said

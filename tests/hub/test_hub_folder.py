"""Commands that are given a hub's folder, or its address, in place of tables."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import jaxcast
from jaxcast.cli.hub import folder as of_folder
from jaxcast.cli.main import parse
from jaxcast.hub.config.description import HubDescription, ModelTask, Round, SubmissionWindow, TaskId
from jaxcast.hub.config.windows import due_days_of
from jaxcast.hub.rounds.pooling import pool_round
from jaxcast.hub.rounds.quantiles import RoundSettings
from jaxcast.hub.tables.cloud import copy_hub
from jaxcast.hub.tables.target_data import find_target_data
from jaxcast.hub.validation.report import validate_submission
from tests.hub.tiny_hub import CATEGORY, COUNT, MODELS, RATE, write_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return write_hub(tmp_path_factory.mktemp("hub") / "tiny", num_rounds=4, as_of=True)


@pytest.mark.slow
def test_score_prints_every_target_and_output_type(hub, tmp_path, capsys):
    parse(["hub", "score", str(hub), "--baseline", MODELS[0], "--out", str(tmp_path / "scores")]).run()
    printed = capsys.readouterr()
    for line in (
        f"{COUNT}, horizons -1, 0, 1",
        f"{RATE}, horizons -1, 0, 1",
        "Mean WIS at horizons -1, 0, 1",
        "cdf",
        "samples",
    ):
        assert line in printed.out
    assert f"{CATEGORY}, horizons -1, 0, 1: left out, as nothing could be scored" in printed.out
    results = json.loads((tmp_path / "scores/wk-inc-x/results.json").read_text())
    loaded = jaxcast.hub.load_hubs(
        hub, hub / "target-data/time-series.csv", target=COUNT, horizons=[-1, 0, 1], first_horizon=-1
    )
    wis = np.concatenate([
        np.asarray(jaxcast.scores.weighted_interval_score(each.quantiles[:, :, 1], each.truth, each.levels).wis).ravel()
        for each in loaded.values()
    ])  # fmt: skip
    rows = {row["method"]: row for row in results["rows"]}
    assert rows[MODELS[1]]["wis"] == pytest.approx(np.nanmean(wis), rel=1e-6)
    assert rows[MODELS[1]]["num_tasks"] == np.isfinite(wis).sum()
    assert {row["output_type"] for row in results["output_types"]} == {"sample", "mean", "median"}


@pytest.mark.slow
def test_pool_and_score_run_for_every_target_and_horizon(hub, tmp_path, monkeypatch, capsys):
    runs = []
    monkeypatch.setattr(of_folder, "_run", lambda command, name: runs.append(command))
    parse(["hub", "pool", str(hub), "--out", str(tmp_path)]).run()
    printed = capsys.readouterr().out
    for title in ("samples of wk inc x", "means of wk inc x", "medians of wk inc x", "cdf of wk rate x"):
        assert f"Mean scores of {title}" in printed
    assert printed.count("equal_weights") == 4
    assert "not scored: pmf of wk category x: no target data" in printed
    assert [(each.target, each.horizon, each.first_horizon) for each in runs] == [
        (COUNT, -1, -1), (COUNT, 0, 0), (COUNT, 1, 0)
    ]  # fmt: skip
    assert {(each.forecasts, each.truth, each.bad, each.hub) for each in runs} == {
        (hub / "model-output", hub / "target-data/time-series.csv", "drop", None)
    }
    assert {each.lower for each in runs} == {0}
    assert [each.out for each in runs] == [tmp_path / f"wk-inc-x/horizon{horizon}" for horizon in (-1, 0, 1)]
    runs.clear()
    parse(
        ["hub", "pool", str(hub), "--horizon", "1", "--target", COUNT, "--bad", "raise", "--out", str(tmp_path / "b")]
    ).run()
    assert [(each.horizon, each.bad) for each in runs] == [(1, "raise")]
    runs.clear()
    parse(["hub", "score", str(hub)]).run()
    assert [(each.target, each.horizons, each.first_horizon) for each in runs] == [
        (target, (-1, 0, 1), -1) for target in sorted((COUNT, RATE, CATEGORY))
    ]
    runs.clear()
    parse(["hub", "score", str(hub), "--target", COUNT, "--out", str(tmp_path)]).run()
    assert [each.out for each in runs] == [tmp_path / "wk-inc-x"]  # as where there are several
    with pytest.raises(jaxcast.InputError, match="give the folder of a hub or --forecasts, not both"):
        parse(["hub", "score", str(hub), "--forecasts", str(hub)]).run()
    monkeypatch.setattr(of_folder, "_run", lambda command, name: "why" if COUNT in name else "another reason")
    with pytest.raises(jaxcast.InputError, match=r"another reason \(and 1 other reason, in the lines above\)"):
        parse(["hub", "score", str(hub)]).run()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["score", "pool", "importance"])
def test_what_is_true_of_all_runs_is_the_one_error(command, hub, tmp_path):
    given = ["hub", command, str(hub), "--out", str(tmp_path / "out"), "--horizon" + "s" * (command == "score"), "0"]
    cases = [
        (["--target", "wk inc"], "^unknown target 'wk inc'; did you mean wk inc x"),
        (["--locations", "99"], "^unknown location '99'; did you mean"),
        (["--baseline", "none-there"], "^[^(]*none-there"),  # the folder is open by then
    ]
    for extra, message in cases[: 2 if command == "pool" else 3]:
        with pytest.raises(jaxcast.InputError, match=message) as caught:
            parse([*given, *["--target", COUNT][: 2 * ("--target" not in extra)], *extra]).run()
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_other_steps_than_those_of_the_hub_are_refused(hub):
    with pytest.raises(jaxcast.InputError, match=r"targets of this hub are 7 days apart, .* leave --step-days 3 out"):
        parse(["hub", "score", str(hub), "--step-days", "3"]).run()


def test_columns_of_further_tables_are_listed(hub):
    with pytest.raises(jaxcast.InputError, match=r"expected --by location, .* or target_end_date, .*, got 'state'"):
        parse(["hub", "score", str(hub), "--by", "location+state"]).run()


def described(*groups):
    """A description of groups of rounds, each with its round ids, other dates, and window."""
    found = []
    for column, values, window in groups:
        dates = () if column is None else (TaskId(column, optional=tuple(values)),)
        name = column if window is None or isinstance(window.end, int) else values[0]
        found.append(Round(name or "one", name == column, (ModelTask(dates, ()),), window=window))
    return HubDescription(".", "a hub", (5, 0, 0), tuple(found))


def test_days_on_which_rounds_are_due():
    saturdays, wednesdays = ("2024-01-06", "2024-01-13"), ("2024-01-17", "2024-01-24")
    by_days = ("reference_date", saturdays, SubmissionWindow(-6, -3, "reference_date"))
    by_date = ("reference_date", ("2024-01-20",), SubmissionWindow("2024-01-14", "2024-01-16", None))
    assert due_days_of(described(by_days)) == -3
    assert due_days_of(described(by_date)) == -4
    assert due_days_of(described(by_days, by_date)) == {"2024-01-06": -3, "2024-01-13": -3, "2024-01-20": -4}
    others = ("origin_date", wednesdays, SubmissionWindow(-6, 0, "origin_date"))
    assert due_days_of(described(by_days, others)) == dict.fromkeys(saturdays, -3) | dict.fromkeys(wednesdays, 0)
    # What does not say when a round is due: no window, another date, a season.
    assert due_days_of(described(("reference_date", saturdays, None))) is None
    of_targets = SubmissionWindow(-6, -3, "target_end_date")
    assert due_days_of(described(("reference_date", saturdays, of_targets))) is None
    season = Round(
        "reference_date",
        True,
        (ModelTask((TaskId("reference_date", optional=saturdays),), ()),),
        window=SubmissionWindow("2023-10-01", "2024-05-31", None),
    )
    assert due_days_of(HubDescription(".", "a hub", (5, 0, 0), (season,))) is None


@pytest.mark.slow
def test_windows_as_dates_and_groups_that_differ_choose_the_releases(hub, tmp_path):
    """Releases are of three days before each round."""
    shutil.copytree(hub, folder := tmp_path / "hub")
    file = folder / "hub-config/tasks.json"
    content = json.loads(file.read_text())
    (group,) = content["rounds"]
    early = copy.deepcopy(group)
    for each, days in ((group, slice(0, 3)), (early, slice(3, 4))):
        for task in each["model_tasks"]:
            task["task_ids"]["reference_date"]["optional"] = task["task_ids"]["reference_date"]["optional"][days]
    early["submissions_due"] = {"start": "2026-01-18", "end": "2026-01-20"}  # the round of 2026-01-24, a day too early
    file.write_text(json.dumps(content | {"rounds": [group, early]}))
    seen = []
    with of_folder.tables_of_hub(parse(["hub", "pool", str(folder), "--target", COUNT])) as (command, _):
        seen.append(command.load_all((0,))[0])
    settings = RoundSettings(
        "a-b", lambda hub, kind: seen.append(hub) or hub.quantiles[:, -1, 0], find_target_data(folder), targets=(COUNT,)
    )
    pool_round(jaxcast.hub.describe_hub(folder), "2026-01-24", settings)
    for each in (seen[0], seen[2]):
        assert (each.horizon, each.as_of[3]) == (0, np.datetime64("2026-01-21"))
        np.testing.assert_array_equal(each.release_of, [0, 1, 2, 2])


@pytest.mark.slow
def test_pool_runs_to_its_end_for_the_quantiles_of_a_hub(hub, tmp_path, capsys):
    """Its scores are those of the same tables, loaded and pooled here, and each round's release is
    its own."""
    parse(["hub", "pool", str(hub), "--target", COUNT, "--horizon", "1", "--out", str(tmp_path)]).run()
    printed = " ".join(capsys.readouterr().out.split())
    assert "adaptive / equal_mean" in printed
    assert "truth of the newest release, 2026-01-28, of 5 since 2025-12-31" in printed
    folder = tmp_path / "wk-inc-x/horizon1"
    results = json.loads((folder / "results.json").read_text())
    others = json.loads((folder.parent / "results.json").read_text())["output_types"]
    pools = [row["output_type"] for row in others if row["method"] == "equal_weights"]
    assert sorted(pools) == ["mean", "median", "sample"]
    loaded = jaxcast.load_hub(
        hub / "model-output", hub / "target-data/time-series.csv", target=COUNT, first_horizon=0, due_days=-3
    )
    np.testing.assert_array_equal(loaded.release_of, np.arange(4))
    pools = {"adaptive": jaxcast.hub.AdaptivePool(lower=0.0), "equal_median": jaxcast.hub.QuantileMedian()}
    rows = {row["method"]: row for row in results["rows"]}
    for name, pool in pools.items():
        forecast = np.asarray(jaxcast.hub.pool_forecasts(pool, loaded.forecasts()).forecast)
        wis = jaxcast.scores.weighted_interval_score(forecast, loaded.truth, loaded.levels).wis
        assert rows[name]["wis"] == pytest.approx(np.nanmean(wis), rel=1e-5)
        assert rows[name]["num_tasks"] == np.isfinite(wis).sum()
    assert results["pending"] == {"1": 2}
    weights = (folder / "weights.csv").read_text().splitlines()
    assert weights[0] == "location,reference_date,target_end_date,horizon,model,status,weight"
    assert len(weights) == 1 + 4 * 2 * len(MODELS)
    assert {path.name for path in folder.glob("*.png")} == {"submissions.png", "weights.png"}


@pytest.fixture
def address(hub):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(hub), "/bucket/tiny", recursive=True)
    memory.pipe("/bucket/tiny/target-data/notes.txt", b"not read")
    memory.pipe("/bucket/tiny/.git/objects/x.csv", b"not read")
    yield "memory://bucket/tiny"
    memory.rm("/bucket", recursive=True)


def test_what_is_read_of_a_hub_is_copied(hub, address, tmp_path):
    assert copy_hub(address, tmp_path / "copy") == tmp_path / "copy"
    files = {file.relative_to(tmp_path / "copy") for file in (tmp_path / "copy").rglob("*") if file.is_file()}
    assert files == {file.relative_to(hub) for file in hub.rglob("*") if file.is_file()}
    copy_hub(address, tmp_path / "one", models=MODELS[:1])
    assert [path.name for path in (tmp_path / "one/model-output").iterdir()] == [MODELS[0]]


def test_a_copy_is_whole_or_not_there_and_replaces_nothing(address, tmp_path, monkeypatch):
    (mine := tmp_path / "mine").mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(jaxcast.InputError, match=r"mine holds files, which a copy of memory:.* name a new folder"):
        copy_hub(address, mine)
    fsspec, copies = pytest.importorskip("fsspec"), []

    def fail(self, path, target, **kwargs):
        copies.append(path)
        if len(copies) > 5:
            raise OSError("the line is down")
        Path(target).write_bytes(self.cat_file(path))

    with monkeypatch.context() as patched:
        patched.setattr(type(fsspec.filesystem("memory")), "get_file", fail)
        with pytest.raises(jaxcast.InputError, match=r"cannot be read \(the line is down\)"):
            copy_hub(address, tmp_path / "copy")
    assert len(copies) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (mine / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert (copy_hub(address, tmp_path / "empty") / "hub-config/tasks.json").is_file()


@pytest.mark.slow
def test_a_hub_can_be_given_by_its_address(hub, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parse(["hub", "forecast", address, "--model", "ours-pool", "--method", "equal_median"]).run()
    file = tmp_path / "model-output/ours-pool/2026-01-24-ours-pool.csv"
    assert validate_submission(file, hub).failures == ()
    parse(["hub", "validate", str(file), address]).run()
    assert (tmp_path / "model-metadata/ours-pool.yml").exists()


def test_addresses_that_cannot_be_read_are_refused(address, tmp_path):
    with pytest.raises(jaxcast.InputError, match=r"is not the folder of a hub: it has no hub-config/"):
        copy_hub("memory://bucket/none", tmp_path)
    with pytest.raises(jaxcast.InputError, match=r"nosuch://x cannot be opened .*pip install 'jaxcast\[cloud\]'"):
        copy_hub("nosuch://x", tmp_path)


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_dropped_named_and_counted(hub, tmp_path, capsys):
    shutil.copytree(hub, folder := tmp_path / "hub")
    bad = folder / f"model-output/{MODELS[2]}/2026-01-10-{MODELS[2]}.csv"
    bad.write_text(bad.read_text().replace("location", "place"))
    damaged = folder / f"model-output/{MODELS[2]}/2026-01-03-{MODELS[2]}.csv"
    damaged.write_text('a,"b\n')
    truth = folder / "target-data/time-series.csv"
    message = rf"2026-01-03-{MODELS[2]}\.csv.*; or leave its model out \(--exclude {MODELS[2]}\)"
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        jaxcast.load_hub(folder, truth, target=COUNT, horizon=0)
    assert "\n" not in str(caught.value)
    damaged.unlink()
    with pytest.raises(jaxcast.InputError, match=f"no column location.*--exclude {MODELS[2]}"):
        jaxcast.hub.read_outputs(folder)
    given = {"target": COUNT, "horizon": 0}
    without = jaxcast.load_hub(folder, truth, exclude=[MODELS[2]], **given)
    assert without.models == MODELS[:2]
    assert not any(each.startswith("1 file") for each in without.dropped)
    dropped = jaxcast.load_hub(folder, truth, bad="drop", **given)
    line = f"1 file that cannot be read: {bad} has no column location"
    assert dropped.models == MODELS
    assert [each.startswith(line) for each in dropped.dropped][:2] == [True, False]
    assert jaxcast.hub.read_outputs(folder, bad="drop").dropped[0].startswith(line)
    assert not jaxcast.hub.read_outputs(folder, exclude=[MODELS[2]]).dropped
    with pytest.raises(jaxcast.InputError, match="unknown model 'gamma'; did you mean gamma-three"):
        jaxcast.load_hub(folder, truth, exclude=["gamma"], **given)
    with pytest.raises(jaxcast.InputError, match="no file of forecasts is left"):
        jaxcast.load_hub(folder, truth, exclude=MODELS, **given)
    for extra, is_named in (((), True), (("--exclude", MODELS[2]), False)):
        out = str(tmp_path / "out" / str(len(extra)))
        command = ["hub", "forecast", str(folder), "--targets", COUNT, "--method", "equal_mean", "--out", out]
        parse([*command, *extra]).run()
        printed = " ".join(capsys.readouterr().out.split())
        assert ("1 file that cannot be read" in printed) == is_named


def test_a_target_without_quantiles_is_pooled_by_its_own_types_alone(hub, tmp_path, capsys):
    command = ["hub", "pool", str(hub), "--out", str(tmp_path / "out"), "--target"]
    parse([*command, RATE]).run()
    printed = capsys.readouterr().out
    assert f"{RATE}: no forecasts of the output type quantile or sample" in printed
    assert "equal_weights" in printed
    rows = json.loads((tmp_path / "out/wk-rate-x/results.json").read_text())["output_types"]
    assert {row["output_type"] for row in rows} == {"cdf"}
    with pytest.raises(jaxcast.InputError, match="unknown target 'wk rate y'; did you mean wk rate x"):
        parse([*command, "wk rate y"]).run()


@pytest.mark.slow
def test_ensembles_and_baselines_among_the_pooled_models_are_reported(hub, tmp_path, capsys):
    shutil.copytree(hub, folder := tmp_path / "hub")
    for old, new in ((MODELS[1], "Hub-Baseline"), (MODELS[2], "Hub-mix")):
        (folder / f"model-output/{old}").rename(folder / f"model-output/{new}")
        for file in list((folder / f"model-output/{new}").iterdir()):
            file.rename(file.with_name(file.name.replace(old, new)))
    (folder / "model-metadata").mkdir()
    (folder / "model-metadata/Hub-mix.yml").write_text("ensemble_of_hub_models: true\n")
    (folder / f"model-metadata/{MODELS[0]}.yml").write_text("ensemble_of_hub_models: [\n")  # no YAML
    forecast = ["hub", "forecast", str(folder), "--targets", COUNT, "--method", "equal_mean"]
    pool = ["hub", "pool", str(folder), "--target", COUNT, "--horizon", "0"]
    for command in (forecast, pool):
        for i, (exclude, told) in enumerate((((), "Hub-Baseline Hub-mix"), (("Hub-mix", "Hub-Baseline"), None))):
            out = str(tmp_path / command[1] / str(i))
            parse([*command, "--out", out, *(["--exclude", *exclude] if exclude else [])]).run()
            lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: pooled")]
            assert [line.split("--exclude ")[1] for line in lines] == [told] * (told is not None)

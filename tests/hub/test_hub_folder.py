"""Commands that are given a hub's folder, or its address, in place of tables."""

import json

import numpy as np
import pytest

import jaxcast
from jaxcast.cli.hub import folder as of_folder
from jaxcast.cli.main import parse
from jaxcast.hub.tables.cloud import copy_hub
from jaxcast.hub.validation.report import validate_submission
from tests.hub.tiny_hub import CATEGORY, COUNT, MODELS, RATE, write_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return write_hub(tmp_path_factory.mktemp("hub") / "tiny", num_rounds=4, as_of=True)


@pytest.mark.slow
def test_score_tells_every_target_and_output_type(hub, tmp_path, capsys):
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


def test_pool_and_score_run_for_every_target_and_horizon(hub, tmp_path, monkeypatch, capsys):
    runs = []
    monkeypatch.setattr(of_folder, "_run", lambda command, name: runs.append(command) or True)
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
    parse(["hub", "pool", str(hub), "--horizon", "1", "--target", COUNT, "--bad", "raise"]).run()
    assert [(each.horizon, each.bad) for each in runs] == [(1, "raise")]
    runs.clear()
    parse(["hub", "score", str(hub)]).run()
    assert [(each.target, each.horizons, each.first_horizon) for each in runs] == [
        (target, (-1, 0, 1), -1) for target in sorted((COUNT, RATE, CATEGORY))
    ]
    with pytest.raises(jaxcast.InputError, match="give the folder of a hub or --forecasts, not both"):
        parse(["hub", "score", str(hub), "--forecasts", str(hub)]).run()
    monkeypatch.setattr(of_folder, "_run", lambda command, name: False)
    with pytest.raises(jaxcast.InputError, match=r"nothing in .* can be used"):
        parse(["hub", "score", str(hub)]).run()


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

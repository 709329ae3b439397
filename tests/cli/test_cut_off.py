"""Every command, cut off at every change that it makes to the disk: the same command goes on to the same bytes."""

import json

import numpy as np
import pytest

from experiments.hub.synthetic import write_synthetic_hub
from jaxcast.cli.main import parse
from jaxcast.io.files import write_arrays
from jaxcast.io.run_folder import RunFolder
from tests.cli.cut_off import contents, recorded, restore

pytestmark = pytest.mark.slow

MINE = {
    "out.npz.partial": b"mine",
    "out.zarr.partial.txt": b"mine",
    "run/mine.png": b"mine",
    "run/stages/mine.npz": b"mine",
    "run/notes.txt": b"mine",
}
TRAIN = ["pool", "train", "--trajectory", "in/truth.npz", "--candidates", "lorenz63(rho=[26, 30])", "--out", "run"]
SIMULATE = ["simulate", "--num-samples", 12, "--transient", 0.5]
HUB = ["--forecasts", "in/forecasts.csv", "--truth", "in/truth.csv"]
COMMANDS = {
    "simulate": [*SIMULATE, "--out", "out.npz", "--plot", "new/out.png"],
    "simulate csv over another": [*SIMULATE, "--out", "out.csv", "--plot", "out.png", "--overwrite"],
    "simulate many": [*SIMULATE, "--num-trajectories", 5, "--batch-size", 2, "--out", "out.zarr", "--plot", "out.png"],
    "simulate one into a store": [*SIMULATE, "--out", "out.zarr", "--plot", "out.png"],
    "simulate many over others": [*SIMULATE, "--num-trajectories", 5, "--out", "old.zarr", "--overwrite"],
    "train": [*TRAIN, "--pool", "ridge_regression"],
    "train over another": [*TRAIN, "--pool", "ridge_regression", "--penalty", 2, "--overwrite"],
    "forecast": [
        "pool",
        "forecast",
        "--pool",
        "in/pool",
        "--history",
        "in/truth.npz",
        "--num-leads",
        5,
        "--at",
        5,
        "--out",
        "out.csv",
        "--weights",
        "out.npz",
        "--plot",
        "out.png",
    ],
    "evaluate": [
        "pool",
        "evaluate",
        "--pool",
        "in/pool",
        "--trajectory",
        "in/truth.npz",
        "--out",
        "run",
        "--num-windows",
        2,
        "--num-leads",
        5,
    ],
    "series train": [
        "series",
        "train",
        "--data",
        "in/table.csv",
        "--horizon",
        1,
        "--method",
        "last_value",
        "--out",
        "run",
    ],
    "series forecast": [
        "series",
        "forecast",
        "--data",
        "in/table.csv",
        "--model",
        "in/model",
        "--out",
        "out.csv",
        "--plot",
        "out.png",
    ],
    "series evaluate": ["series", "evaluate", "--data", "in/longer.csv", "--model", "in/model", "--out", "run"],
    "series importance": ["series", "importance", "--data", "in/longer.csv", "--model", "in/model", "--out", "out.csv"],
    "panel train": ["panel", "train", "--data", "in/table.csv", "--horizon", 1, "--out", "run"],
    "panel forecast": [
        "panel",
        "forecast",
        "--data",
        "in/table.csv",
        "--model",
        "in/panel",
        "--out",
        "out.csv",
        "--plot",
        "out.png",
    ],
    "hub score": ["hub", "score", *HUB, "--out", "run"],
    "hub pool": ["hub", "pool", *HUB, "--out", "run"],
    "hub forecast": [
        "hub",
        "forecast",
        *HUB,
        "--model",
        "a-b",
        "--method",
        "equal_mean",
        "--target-name",
        "deaths",
        "--out",
        ".",
        "--plot",
        "out.png",
    ],
}


def run(*args):
    parse([str(arg) for arg in args]).run()


def table(path, rows):
    dates = np.datetime64("2021-01-03") + 7 * np.arange(rows)
    values = np.random.default_rng(0).normal(size=rows).cumsum()
    lines = [f"{date},{value:.3f}" for date, value in zip(dates, values, strict=True)]
    path.write_text("\n".join(["date,north", *lines]) + "\n")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What the commands read, and what others left where they write."""
    folder = tmp_path_factory.mktemp("cut_off")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "in").mkdir()
        run("simulate", "--num-samples", 60, "--transient", 1, "--out", "in/truth.npz")
        run(*TRAIN[:-1], "in/pool", "--pool", "equal_weights")
        table(folder / "in/table.csv", 60)
        table(folder / "in/longer.csv", 64)
        run(*COMMANDS["series train"][:-1], "in/model")
        run(*COMMANDS["panel train"][:-1], "in/panel")
        write_synthetic_hub(folder / "in", num_weeks=10, num_locations=2)
    return folder


def others(name, folder):
    """What stands where a command that overwrites is to write."""
    if name == "simulate csv over another":
        run(*SIMULATE[:-1], 1, "--out", "out.csv", "--plot", "out.png")
    if name == "simulate many over others":
        run(*SIMULATE, "--num-trajectories", 2, "--out", "old.zarr")
    if name == "train over another":
        run(*TRAIN, "--pool", "ridge_regression")
    for file, text in MINE.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        if "/stages/" not in file or "over" in name:  # without a config.json, stages are refused
            (folder / file).write_bytes(text)


def visible(folder):
    return {name: data for name, data in contents(folder).items() if data is not None}


@pytest.mark.parametrize("name", list(COMMANDS)[1::3])
def test_a_command_cut_off_anywhere_goes_on_to_the_same_bytes(inputs, tmp_path, monkeypatch, name):
    if "zarr" in "".join(map(str, COMMANDS[name])):
        pytest.importorskip("zarr", reason="the storage extra is not installed")
    folder = tmp_path / "work"
    folder.mkdir()
    restore(folder, inputs)
    monkeypatch.chdir(folder)
    others(name, folder)
    foreign = {file: data for file, data in visible(folder).items() if data == b"mine" or file.startswith("in/")}
    with recorded(folder, tmp_path / "copies") as recorder:
        run(*COMMANDS[name])
    whole = visible(folder)
    assert not [file for file in whole if ".jaxcast" in file]
    assert len(recorder.taken) > 3
    for copy in recorder.taken:
        restore(folder, copy)
        monkeypatch.chdir(folder)
        is_done = {file: data for file, data in visible(folder).items() if ".jaxcast" not in file} == whole
        if not is_done or "run" in COMMANDS[name]:  # a file that is there whole is refused, as after any end
            run(*COMMANDS[name])
            assert visible(folder) == whole, copy.name
        assert foreign.items() <= visible(folder).items()


def experiment(folder):
    """What an experiment does with its folder: stages, one of them with a checkpoint, results and a picture."""
    from matplotlib.figure import Figure

    run = RunFolder(folder, {"seed": 0}, code="c", outputs=("results.json", "x.png", "table.md"))

    def trained(checkpoint):
        for step in range(3):
            write_arrays(checkpoint, {"step": np.asarray(step)})
        return {"x": np.arange(3)}

    arrays = [run.stage("one", trained), run.stage("two", lambda _: {"x": np.ones(2)})]
    run.write_json("results.json", {"sums": [float(each["x"].sum()) for each in arrays]})
    run.save_figure("x.png", Figure(figsize=(1, 1)))
    run.write_text("table.md", "| x |\n")


def test_an_experiment_cut_off_anywhere_goes_on_to_the_same_bytes(tmp_path):
    folder = tmp_path / "work"
    (folder / "run").mkdir(parents=True)
    (folder / "run/mine.png").write_bytes(b"mine")
    with recorded(folder, tmp_path / "copies") as recorder:
        experiment(folder / "run")
    whole = visible(folder)
    assert json.loads(whole["run/results.json"]) == {"sums": [3.0, 2.0]}
    assert whole["run/mine.png"] == b"mine"
    assert len(recorder.taken) > 15
    for copy in recorder.taken:
        restore(folder, copy)
        experiment(folder / "run")
        assert visible(folder) == whole, copy.name

"""Commands and experiments are killed at random moments, without warning, and started again."""

import multiprocessing
import os
import random
import shutil
import sys
import time

import numpy as np
import pytest

from experiments import frame
from experiments.hub.synthetic import write_synthetic_hub
from experiments.lorenz import __main__ as lorenz
from jaxcast.cli.main import main, parse
from tests.cli.cut_off import contents

NUM_KILLS = int(os.environ.get("JAXCAST_KILLS", "3"))
"""Of each command."""
TRAIN = "pool train --trajectory in/truth.npz --candidates lorenz63(rho=[26,30]) --out run"
HUB = "--forecasts in/forecasts.csv --truth in/truth.csv"
NAMED = "--model a-b --target-name deaths"
COMMANDS = {
    "simulate": "simulate --num-samples 30 --out out.npz --plot out.png",
    "simulate many": "simulate --num-samples 30 --num-trajectories 300 --batch-size 10 --out out.zarr --plot out.png",
    "train": f"{TRAIN} --pool feed_forward --num-epochs 60 --hidden-size 8 --batch-size 16".replace(
        " --candidates lorenz63(rho=[26,30])", ""
    ),
    "train ridge": f"{TRAIN} --pool ridge_regression",
    "series train": "series train --data in/table.csv --horizon 2 --method last_value ridge --out run",
    "forecast": "pool forecast --pool in/pool --history in/truth.npz --num-leads 5 --out out.csv --plot out.png",
    "evaluate": "pool evaluate --pool in/pool --trajectory in/truth.npz --num-leads 5 --out run",
    "hub score": f"hub score {HUB} --out run",
    "hub pool": f"hub pool {HUB} --out run",
    "hub forecast": f"hub forecast {HUB} {NAMED} --method equal_mean --out . --plot out.png",
    "experiments.lorenz": "--preset smoke --num-train 100 --num-windows 6 --num-leads 12 --num-epochs 3 --hidden-budget 10"
    " --feed-forward-epochs 3 --transient 5 --lyapunov-duration 5 --out run",
}


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def run(arguments, folder, errors):
    """Runs a command as the process itself; what it prints goes nowhere, its errors to a file."""
    os.chdir(folder)
    with open(os.devnull, "wb") as nothing, open(errors, "wb") as file:
        os.dup2(nothing.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = arguments
    if arguments[0] == "experiments.lorenz":
        frame.start(lorenz.main, lorenz.Config, lorenz.PRESETS)
    else:
        main()


def start(name, folder):
    """Starts a command in a process of its own, forked from one that has imported what takes seconds to import."""
    process = FORKS.Process(target=run, args=([name, *COMMANDS[name].split()], folder, errors_of(folder)))
    process.start()
    return process


def errors_of(folder):
    return folder.with_name(f"{folder.name}.txt")


def finish(name, folder):
    process = start(name, folder)
    process.join()
    return process.exitcode, errors_of(folder).read_text()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    (folder / "in").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        parse(["simulate", "--num-samples", "80", "--transient", "1", "--out", "in/truth.npz"]).run()
        parse(TRAIN.replace("--out run", "--out in/pool --pool equal_weights").split()).run()
    dates = np.arange("2021-01-01", "2021-02-15", dtype="datetime64[D]")
    rows = [f"{date},{day * 7 % 13 + day / 9:.3f}" for day, date in enumerate(dates)]
    (folder / "in/table.csv").write_text("\n".join(["date,north", *rows]) + "\n")
    write_synthetic_hub(folder / "in", num_weeks=10, num_locations=2)
    (folder / "run").mkdir()
    for file in ("run/mine.png", "out.npz.partial", "mine.txt"):
        (folder / file).write_text("mine")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_that_was_killed_ends_with_the_files_of_one_that_was_not(inputs, tmp_path, name):
    shutil.copytree(inputs, tmp_path / "whole")
    code, errors = finish(name, tmp_path / "whole")
    assert code == 0, errors
    began = time.monotonic()
    shutil.copytree(inputs, tmp_path / "timed")
    finish(name, tmp_path / "timed")  # with what was compiled before, as those that are killed
    duration = time.monotonic() - began
    whole = contents(tmp_path / "whole")
    moments = random.Random()
    for number in range(NUM_KILLS):
        folder = tmp_path / f"killed{number}"
        shutil.copytree(inputs, folder)
        process = start(name, folder)
        moment = moments.uniform(0.05, 1.0) * duration
        time.sleep(moment)
        process.kill()
        process.join()
        if contents(folder) != whole:  # else it was over
            code, errors = finish(name, folder)
            assert code == 0, f"killed after {moment:.2f} s: {errors}"
        found = contents(folder)
        assert found.keys() == whole.keys(), f"killed after {moment:.2f} s: left-overs {found.keys() ^ whole.keys()}"
        assert found == whole, f"killed after {moment:.2f} s"
        shutil.rmtree(folder)

"""A run is killed at random moments, without warning, and started again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUM_KILLS = int(os.environ.get("JAXCAST_KILLS", "3"))


def start(out):
    command = [sys.executable, "-m", "experiments.lorenz", "--preset", "smoke", "--out", str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_runs_that_were_killed_end_with_the_numbers_of_one_that_was_not(tmp_path):
    began = time.monotonic()
    process = start(tmp_path / "whole")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    duration = time.monotonic() - began
    whole = (tmp_path / "whole/results.json").read_bytes()
    moments = random.Random()
    for number in range(NUM_KILLS):
        out = tmp_path / f"killed{number}"
        process = start(out)
        moment = moments.uniform(0.05, 0.95) * duration
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        resumed = start(out)
        _, errors = resumed.communicate()
        assert resumed.returncode == 0, f"killed after {moment:.2f} s: {errors}"
        assert (out / "results.json").read_bytes() == whole, f"killed after {moment:.2f} s"
        kept = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
        expected = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()}
        assert kept == expected, f"killed after {moment:.2f} s: left-overs {kept ^ expected}"

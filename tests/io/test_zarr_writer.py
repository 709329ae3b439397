"""Many trajectories streamed to one store, and what becomes of it when the process is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from jaxcast import InputError, Trajectory
from jaxcast.io import TrajectoryWriter, load_trajectory, save_trajectory
from tests.io.trajectory_files import MANY, RUN, SETTINGS, STATES, TIMES, contents, same, stream


@pytest.mark.slow
def test_streamed_equals_written_at_once(tmp_path):
    stream(tmp_path / "a.zarr")
    stream(tmp_path / "b.zarr", batch_size=20)
    for k in range(7):
        loaded = load_trajectory(tmp_path / "a.zarr", index=k)
        assert loaded.trajectory.states.tobytes() == MANY[k].tobytes()
        assert same(loaded, load_trajectory(tmp_path / "b.zarr", index=k))
    save_trajectory(tmp_path / "c.zarr", Trajectory(TIMES, MANY[6]), components=("x", "y", "z"), attributes=SETTINGS)
    assert same(loaded, load_trajectory(tmp_path / "c.zarr"))


def test_an_abandoned_run_goes_on_where_it_was(tmp_path):
    states = MANY.copy()
    states[3:6] = np.nan  # a batch that diverged is kept too
    stream(tmp_path / "whole.zarr", states)
    path = tmp_path / "a.zarr"
    assert stream(path, states, stop=3) == 0
    with pytest.raises(InputError, match=r"does not exist.*a.zarr.partial is not finished"):
        load_trajectory(path)
    writer = TrajectoryWriter(path, **RUN)
    writer.write(states[3:6])
    writer.__exit__(ZeroDivisionError, None, None)
    assert not path.exists()
    with pytest.raises(InputError, match="not finished"):
        save_trajectory(path, Trajectory(TIMES, STATES))
    assert stream(path, states) == 6
    assert contents(path) == contents(tmp_path / "whole.zarr")
    assert not path.with_name("a.zarr.partial").exists()
    with pytest.raises(InputError, match="exists"):
        TrajectoryWriter(path, **RUN)
    with pytest.raises(InputError, match="18 of 18"):
        load_trajectory(path, index=4)


class Crash(Exception):
    pass


def crash_at(patch, moment):
    """Lets the process's writes to disk fail from the given one on, as for a process that is gone."""
    num_writes = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal num_writes
            num_writes += 1
            if num_writes > moment:
                raise Crash
            return function(*args, **kwargs)

        return call

    for owner, name in [(zarr.storage.LocalStore, "set"), (os, "replace"), (os, "rename"), (shutil, "rmtree")]:
        patch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_cut_off_at_any_write_goes_on_to_the_same_store(tmp_path, monkeypatch, overwrite):
    stream(tmp_path / "whole.zarr")
    expected, path = contents(tmp_path / "whole.zarr"), tmp_path / "a.zarr"
    for moment in range(100):
        if overwrite:
            save_trajectory(path, Trajectory(TIMES, STATES))
        with monkeypatch.context() as patch:
            crash_at(patch, moment)
            try:
                stream(path, overwrite=overwrite)
                break
            except Crash:
                time.sleep(0.05)  # what zarr writes at the same time
        # Under its name there is the old store, none (while they change places), or the new one; each whole.
        there = load_trajectory(path).trajectory.states.tobytes() if path.exists() else None
        assert there in (None, STATES.tobytes(), MANY[0].tobytes()), moment
        if there != MANY[0].tobytes():
            stream(path, overwrite=overwrite)
        assert contents(path) == expected, moment
        for folder in tmp_path.glob("a.zarr*"):
            shutil.rmtree(folder)
    assert 12 < moment < 99


@pytest.mark.slow
def test_a_killed_process_loses_at_most_one_batch(tmp_path):
    path = tmp_path / "a.zarr"
    script = f"""
import numpy as np
from jaxcast.io import TrajectoryWriter
with TrajectoryWriter({str(path)!r}, times=np.arange(50.0), num_trajectories=4000, components=["x"], batch_size=2) as writer:
    while writer.num_done < 4000:
        writer.write(np.full((2, 50, 1), float(writer.num_done)))
        print(writer.num_done, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == 40:
                process.send_signal(signal.SIGKILL)
                last = int(([line, *process.stdout])[-1])
                break
    settings = dict(times=np.arange(50.0), num_trajectories=4000, components=["x"], batch_size=2)
    with TrajectoryWriter(path, **settings) as writer:
        assert 40 <= last <= writer.num_done <= last + 2 < 4000
        states = zarr.open_array(tmp_path / "a.zarr.partial/states", mode="r")[: writer.num_done]
    np.testing.assert_array_equal(
        states, np.broadcast_to(np.arange(last + 2)[: writer.num_done, None, None] // 2 * 2.0, states.shape)
    )


def test_an_unfinished_run_with_other_settings_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    stream(path, stop=3)
    for changes, message in [
        (dict(attributes=SETTINGS | {"seed": 4}), r"\(seed: 3 there, 4 now\)"),
        (dict(attributes=SETTINGS | {"dt": 0.5}), r"\(dt: None there, 0.5 now\)"),
        (dict(batch_size=2), r"\(batch_size: 3 there, 2 now\)"),
        (dict(times=TIMES + 1), r"times: .*6 from 1.0 to 3.5"),
        (dict(dtype="float32", compress=True), "dtype: 'float64' there, 'float32' now, compress: False there"),
        (dict(components=("x", "y")), "components"),
        (dict(time_unit="s"), "time_unit: 'MTU' there, 's' now"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            TrajectoryWriter(path, **RUN | changes)
        assert "\n" not in str(caught.value)
    assert stream(path, stop=3, overwrite=True) == 3
    assert stream(path, batch_size=2, dtype="float32", overwrite=True) == 0
    assert load_trajectory(path, index=5).trajectory.states.tobytes() == MANY[5].astype("f4").tobytes()
    broken = tmp_path / "b.zarr"
    stream(broken, stop=3)
    shutil.rmtree(tmp_path / "b.zarr.partial/states")
    with pytest.raises(InputError, match="not a whole zarr store"):
        TrajectoryWriter(broken, **RUN)
    (tmp_path / "b.zarr.partial/zarr.json").write_text("{")
    with pytest.raises(InputError, match="not a zarr group's"):
        TrajectoryWriter(broken, **RUN)


def test_batches_of_other_sizes_and_bad_settings_are_refused(tmp_path):
    with TrajectoryWriter(tmp_path / "a.zarr", **RUN) as writer:
        for states in (MANY[:2], MANY[:4], MANY[:3, :5], MANY[:3, :, :2]):
            with pytest.raises(InputError, match=r"trajectories 0 to 2, \(batch, time, dim\) = \(3, 6, 3\), got shape"):
                writer.write(states)
        writer.write(MANY[:3])
        writer.write(MANY[3:6])
        writer.write(MANY[6:])
        with pytest.raises(InputError, match="all 7 trajectories are written"):
            writer.write(MANY[:3])
    for changes, message in [
        (dict(batch_size=0), "at least 1"),
        (dict(num_trajectories=0), "at least 1"),
        (dict(times=TIMES**2), "evenly spaced"),
        (dict(components=("x", "x")), "component names"),
        (dict(dtype="int32"), "float64, got int32"),
        (dict(dtype="float33"), "float64, got float33"),
    ]:
        with pytest.raises(InputError, match=message):
            TrajectoryWriter(tmp_path / "b.zarr", **RUN | changes)
    with pytest.raises(InputError, match=r"ending in .zarr"):
        TrajectoryWriter(tmp_path / "b.npz", **RUN)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr"]


def test_only_one_chunk_is_read_and_none_while_writing(tmp_path, monkeypatch):
    read, get = [], zarr.storage.LocalStore.get

    async def recorded(self, key, *args, **kwargs):
        if "states/c/" in str(self.root / key):
            read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", recorded)
    stream(tmp_path / "a.zarr")
    assert not read
    load_trajectory(tmp_path / "a.zarr", index=4)
    assert read == ["states/c/1/0/0"]


def test_what_is_not_ours_is_not_removed(tmp_path):
    for name in ("a.zarr.partial", "a.zarr.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is in the way and was not written by jaxcast"):
        stream(tmp_path / "a.zarr", overwrite=True)
    (tmp_path / "a.zarr.partial").rename(tmp_path / "b")
    stream(tmp_path / "a.zarr")
    stream(tmp_path / "a.zarr", overwrite=True, dtype="float32")
    assert (tmp_path / "b/mine.txt").read_text() == (tmp_path / "a.zarr.old/mine.txt").read_text() == "mine"

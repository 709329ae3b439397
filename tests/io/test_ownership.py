"""What a command may replace: what jaxcast wrote, never what it reads, and never while another command writes it."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxcast
from jaxcast import InputError
from jaxcast.cli.main import parse
from jaxcast.io import TrajectoryWriter
from jaxcast.io.files import save_figure
from jaxcast.io.locks import Lock
from jaxcast.io.outputs import Outputs
from jaxcast.io.ownership import is_ours
from jaxcast.io.run_folder import RunFolder
from tests.cli.cut_off import contents

SIMULATE = ["simulate", "--num-samples", 12, "--transient", 0.5, "--overwrite"]
TRAIN = [
    "pool",
    "train",
    "--trajectory",
    "truth.npz",
    "--candidates",
    "lorenz63(rho=[26, 30])",
    "--pool",
    "equal_weights",
]
EVALUATE = ["pool", "evaluate", "--pool", "pool", "--trajectory", "truth.npz", "--num-leads", 5]
HOLD = """
import sys, time
from pathlib import Path
from jaxcast.io.locks import Lock
lock = Lock(Path(sys.argv[1]), folder=sys.argv[2] == "folder")
print("held", flush=True)
time.sleep(60)
"""


def run(*args):
    parse([str(arg) for arg in args]).run()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A truth, and a pool that was trained on it."""
    folder = tmp_path_factory.mktemp("ownership")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("simulate", "--num-samples", 60, "--transient", 1, "--out", "truth.npz")
        run(*TRAIN, "--out", "pool")
        os.link("truth.npz", "hard.npz")
        os.symlink("truth.npz", "soft.npz")
        np.savez("mine.npz", times=np.arange(3))
        (folder / "mine.csv").write_text("time,x\n0,1\n")
        Figure(figsize=(1, 1)).savefig("mine.png")
        (folder / "mine.zarr").mkdir()
        (folder / "mine.zarr/zarr.json").write_text('{"attributes": {}}')
        (folder / "other.zarr.partial").mkdir()
        (folder / "other.zarr.partial/zarr.json").write_text('{"attributes": {"jaxcast": 1}}')
        (folder / "a_folder.csv").mkdir()
        (folder / "runs").mkdir()
        (folder / "runs/results.json").write_text("{}")
        (folder / "networks").mkdir()
        (folder / "networks/arrays.npz").write_bytes(b"PK")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([*SIMULATE, "--out", "mine.npz"], "mine.npz was not written by jaxcast"),
        ([*SIMULATE, "--out", "mine.csv"], "mine.csv was not written by jaxcast"),
        ([*SIMULATE, "--out", "mine.zarr"], "mine.zarr was not written by jaxcast"),
        ([*SIMULATE, "--out", "x.npz", "--plot", "mine.png"], "mine.png was not written by jaxcast"),
        ([*SIMULATE, "--num-trajectories", 3, "--out", "other.zarr"], "other.zarr.partial is in the way"),
        ([*SIMULATE, "--out", "soft.npz"], "soft.npz is a symbolic link"),
        ([*SIMULATE, "--out", "a_folder.csv"], "a_folder.csv is a folder"),
        ([*SIMULATE, "--out", "truth.npz/x.npz"], "truth.npz is not a folder"),
        ([*SIMULATE, "--out", "x.zarr", "--plot", "x.zarr/x.png"], "--out and --plot must differ"),
        ([*SIMULATE, "--out", "x.npz", "--plot", "x.jpg"], "ending in .png, got x.jpg"),
        ([*TRAIN, "--out", "runs"], "runs/results.json is in the way"),
        ([*TRAIN, "--out", "runs", "--overwrite"], "runs/results.json is in the way"),
        ([*TRAIN, "--out", "networks", "--overwrite"], "networks/arrays.npz is in the way"),
        ([*EVALUATE, "--out", "pool", "--overwrite"], "--out would replace pool, which --pool reads"),
        ([*EVALUATE, "--out", "./pool/../pool"], "which --pool reads"),
        *[
            (["pool", "forecast", "--pool", "pool", "--history", "truth.npz", "--overwrite", *outputs], message)
            for outputs, message in [
                (["--out", "hard.npz"], "--out would replace hard.npz, which --history reads"),
                (["--out", "truth.npz"], "--out would replace truth.npz, which --history reads"),
                (["--out", "pool/arrays.npz"], "which --pool reads"),
                (["--out", "x.npz", "--weights", "pool/../truth.npz"], "--weights would replace"),
                (["--out", "x.npz", "--regime", "./x.npz"], "--out and --regime must differ"),
                (["--out", "x.npz", "--plot", "mine.png"], "not written by jaxcast"),
                (["--out", f"{'x' * 250}.npz"], "too long for a file name"),
                (["--out", "x\0.npz"], "NUL"),
            ]
        ],
    ],
)
def test_what_is_not_ours_or_is_read_is_refused_before_any_work(made, args, message, monkeypatch):
    if ".zarr" in "".join(map(str, args)):
        pytest.importorskip("zarr", reason="the storage extra is not installed")
    monkeypatch.chdir(made)
    before = contents(made)
    with pytest.raises(InputError, match=message) as caught:
        run(*args)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert contents(made) == before


@pytest.mark.slow
def test_what_jaxcast_wrote_is_known(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffix in (".npz", ".csv"):
        run(*SIMULATE, "--out", f"x{suffix}", "--plot", "x.png")
    names = ("x.npz", "x.csv", "x.png")
    assert all(is_ours(tmp_path / name) for name in names)
    assert is_ours(made / "pool/arrays.npz")
    assert not any(is_ours(made / name) for name in ("mine.npz", "mine.csv", "mine.png", "mine.zarr", "none.npz"))
    run(*SIMULATE, "--seed", 1, "--out", "x.npz", "--plot", "x.png")
    for name in names:  # cut off or overwritten, it is not known any more
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
        assert not is_ours(tmp_path / name), name


def test_a_store_with_a_foreign_file_in_it_is_not_deleted(tmp_path):
    pytest.importorskip("zarr", reason="the storage extra is not installed")
    settings = {"times": np.arange(3.0), "num_trajectories": 1, "components": ["x"], "batch_size": 1}
    for seed in (0, 1):
        with TrajectoryWriter(tmp_path / "x.zarr", **settings, overwrite=True) as writer:
            writer.write(np.full((1, 3, 1), seed))
    (tmp_path / "x.zarr/states/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"x.zarr was not written by jaxcast"):
        TrajectoryWriter(tmp_path / "x.zarr", **settings, overwrite=True)
    assert (tmp_path / "x.zarr/states/notes.txt").read_text() == "mine"


def test_overwriting_deletes_what_the_run_lists_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path, {"a": 1}, code="c", outputs=("results.json", "loss.png"))
    folder.write_json("results.json", {})
    folder.save_figure("loss.png", Figure(figsize=(1, 1)))
    folder.stage("one", lambda _: {"x": np.arange(3)})
    Figure(figsize=(1, 1)).savefig(tmp_path / "mine.png")
    (tmp_path / "stages/mine.npz").write_bytes(b"mine")
    del folder
    other = RunFolder(tmp_path, {"a": 2}, code="c", overwrite=True, outputs=("results.json",))
    assert sorted(contents(tmp_path)) == ["config.json", "mine.png", "stages", "stages/mine.npz"]
    for name in ("mine.png", "loss.png"):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=f"{name} is in the way and was not written by this run"):
            other.save_figure(name, Figure(figsize=(1, 1)))


def taken(path, kind):
    """The output, as the command that writes it takes it."""
    if kind == "folder":
        return contextlib.closing(RunFolder(path, {"a": 1}, code="c"))
    return Outputs({}, {"--out": (path, ("",))})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", pytest.param("file", marks=pytest.mark.slow)])
def test_a_second_command_is_refused_in_one_line_and_a_killed_one_leaves_no_lock(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path), kind], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another jaxcast command is writing") as caught:
            taken(path, kind)
        assert "\n" not in str(caught.value)
        process.kill()
    with taken(path, kind):
        pass
    assert [each.name for each in tmp_path.iterdir()] == (["x"] if kind == "folder" else [])


def test_a_lock_is_shared_within_a_process_and_removed_at_the_end(tmp_path):
    first, second = Lock(tmp_path / "x"), Lock(tmp_path / "x")
    first.release()
    assert [path.name for path in tmp_path.iterdir()] == [".x.jaxcast-lock"]
    second.release()
    second.release()
    assert not list(tmp_path.iterdir())


def test_a_pool_is_not_saved_over_foreign_files(tmp_path):
    np.savez(tmp_path / "arrays.npz", weights=np.ones(2))
    with pytest.raises(InputError, match=r"arrays.npz was not written by jaxcast"):
        jaxcast.save_model(tmp_path, jaxcast.equal_weights(2))
    (tmp_path / "arrays.npz").unlink()
    jaxcast.save_model(tmp_path, jaxcast.equal_weights(2))
    jaxcast.save_model(tmp_path, jaxcast.equal_weights(3))
    (tmp_path / "pool.json").unlink()  # as a kill between the two files leaves it
    jaxcast.save_model(tmp_path, jaxcast.equal_weights(2))
    assert jaxcast.load_model(tmp_path).pool.weights.tolist() == [0.5, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirect", "code", "error"),
    [
        (">&-", 2, "error: standard output is closed; send it to a file, or to /dev/null\n"),
        pytest.param(
            ">/dev/full",
            2,
            "error: cannot write to standard output (No space left on device); all files are written",
            marks=pytest.mark.slow,
        ),
        pytest.param("| true", 0, "", marks=pytest.mark.slow),
        pytest.param("2>&- >/dev/null", 0, "", marks=pytest.mark.slow),
    ],
)
def test_output_that_cannot_be_printed_is_one_line(tmp_path, redirect, code, error):
    command = f"set -o pipefail; {sys.executable} -m jaxcast.cli.main --help {redirect}"
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (process.returncode, process.stdout) == (code, "")
    assert process.stderr.startswith(error)
    assert process.stderr.count("\n") == (code > 0)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a command, some of them nested."""

    @dataclasses.dataclass(frozen=True)
    class Inner:
        rate: float = 0.5

    data: Path
    out: Path
    others: tuple[Path, ...] = ()
    shape: Path | None = None
    unused: int = 1
    inner: Inner = Inner()
    overwrite: bool = False


def test_a_run_is_opened_from_the_options_of_a_command(tmp_path):
    """Inputs are no settings, but are protected; their facts are settings."""
    (tmp_path / "data.csv").write_text("1")
    options = Options(tmp_path / "data.csv", tmp_path / "run", (tmp_path / "a", tmp_path / "b"), Path("s.csv"))
    reads = ("data", "others")
    folder = RunFolder.of(options, reads=reads, facts={"table": "abc"}, only=("data", "shape", "rate"))
    assert folder.settings == {"shape": "s.csv", "rate": 0.5, "table": "abc"}
    assert json.loads((tmp_path / "run/config.json").read_text())["settings"] == folder.settings
    folder.close()
    moved = dataclasses.replace(options, data=tmp_path / "other.csv", unused=2)
    RunFolder.of(moved, reads=reads, facts={"table": "abc"}, only=("data", "shape", "rate")).close()
    with pytest.raises(jaxcast.InputError, match=r"holds a run with other settings \(table: abc there, new now\)"):
        RunFolder.of(options, reads=reads, facts={"table": "new"}, only=("shape", "rate"))
    inside = dataclasses.replace(options, others=(tmp_path / "run",))
    with pytest.raises(jaxcast.InputError, match=r"--out would replace .*run, which --others .*run reads"):
        RunFolder.of(inside, reads=reads)


def test_characters_that_the_font_of_a_picture_lacks_are_reported_in_one_line(tmp_path, capsys):
    figure = Figure(figsize=(1, 1))
    figure.text(0.5, 0.5, "\u8fd9 \u90e8 \u8fd9")
    save_figure(tmp_path / "a.png", figure)
    (line,) = capsys.readouterr().err.splitlines()
    assert "lacks 2 characters, such as \u8fd9" in line

    class Odd(Figure):
        def savefig(self, *args, **options):
            warnings.warn("something else", stacklevel=1)
            super().savefig(*args, **options)

    with pytest.warns(UserWarning, match="something else"):
        save_figure(tmp_path / "b.png", Odd(figsize=(1, 1)))

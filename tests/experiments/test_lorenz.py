import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxcast
from experiments.frame import commit_of, parse
from experiments.lorenz import setup as lorenz
from experiments.lorenz.__main__ import main
from jaxcast.io.run_folder import RunFolder
from jaxcast.training import TrainingOptions

ROOT = Path(__file__).parents[2]
TINY = {
    "preset": "smoke",
    "num-train": 100,
    "num-windows": 6,
    "num-leads": 12,
    "num-epochs": 3,
    "feed-forward-epochs": 3,
    "hidden-budget": 10,
    "transient": 5,
    "lyapunov-duration": 5,
    "batch-size": 32,
    "num-data-seeds": 2,
}
METHODS = [
    "persistence",
    "single_candidate",
    "equal_weights",
    "linear_regression",
    "feed_forward",
    "ridge_regression",
    "additive_attention",
    "best_initial_model",
    "fixed_attention",
]
KEYS = {
    "method",
    "delays",
    "num_params",
    "num_data_seeds",
    "num_seeds",
    "valid_time_median",
    "valid_time_ci95",
    "valid_time_median_per_seed",
    "valid_time_as_published",
    "valid_time_lyapunov",
    "num_censored",
    "one_step_mse_train",
    "one_step_mse_valid",
    "published",
}


def run(*flags):
    tiny = [text for name, value in TINY.items() for text in (f"--{name}", str(value))]
    extras = ["--extras", "ridge_regression"]
    command = [sys.executable, "-m", "experiments.lorenz", *tiny, *extras, *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    process = run("--out", str(out))
    assert process.returncode == 0, process.stderr
    return out, process.stdout


@pytest.mark.slow
def test_it_writes_what_it_promises(finished):
    out, stdout = finished
    results = json.loads((out / "results.json").read_text())
    assert [row["method"] for row in results["rows"]] == METHODS
    for row in results["rows"]:
        assert row.keys() >= KEYS
        low, high = row["valid_time_ci95"]
        assert 0 <= low <= row["valid_time_median"] <= high <= 1.2
        medians = np.asarray(row["valid_time_median_per_seed"])
        assert medians.shape == (2, row["num_seeds"])
        assert row["valid_time_median"] == pytest.approx(np.median(medians))
        # One sample less in each window that does not fail at once; a median of six is the mean of two.
        one_less = max(row["valid_time_median"] - 0.1, 0)
        assert one_less - 1e-9 <= row["valid_time_as_published"] <= one_less + 0.05 + 1e-9
        assert row["valid_time_lyapunov"] == pytest.approx(row["valid_time_median"] * results["lyapunov_exponent"])
    by_method = {row["method"]: row for row in results["rows"]}
    assert by_method["linear_regression"]["num_params"] == 3 * 33 + 3
    assert by_method["additive_attention"]["num_params"] == 32 * 2
    assert by_method["ridge_regression"]["penalty"][0] > 0
    for method in METHODS:
        learned = method in METHODS[6:7]  # the pool whose weights change
        assert ("tracking" in by_method[method]) == learned, method
    for part in by_method["additive_attention"]["tracking"].values():
        assert -1 <= part["correlation"] <= 1
        assert 0 < part["mean_distance"] < 20
    assert by_method["additive_attention"]["published"] == 2.6
    config = json.loads((out / "config.json").read_text())
    assert config["settings"]["h"] == 0.01
    assert config["settings"]["data_seed"] == 2
    assert config["settings"]["network_dtype"] == "float32"
    assert {"jax", "jaxcast", "python"} <= config["versions"].keys()
    assert config["dtype"] == "float64"
    assert config["settings"]["seed"] == 0
    assert config["device"].startswith("cpu")
    assert config.get("commit") == commit_of(ROOT)
    assert "as published" in stdout
    for picture in ("trajectory.png", "valid_times.png", "attention.png", "losses.png"):
        assert (out / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "published" in stdout
    assert "additive attention" in stdout


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_to_the_same_numbers(finished, tmp_path):
    out, _ = finished
    (tmp_path / "stages").mkdir()
    (tmp_path / "config.json").write_bytes((out / "config.json").read_bytes())
    for stage in ("linear_regression-data2", "additive_attention-l5-data3"):
        (tmp_path / f"stages/{stage}.npz").write_bytes((out / f"stages/{stage}.npz").read_bytes())
    (tmp_path / "stages/feed_forward-l5-data2.npz.partial").write_bytes(b"half a file")
    process = run("--out", str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "results.json").read_bytes() == (out / "results.json").read_bytes()


@pytest.mark.slow
def test_bad_settings_are_one_line_and_exit_code_2(tmp_path):
    process = run("--dt", "0.105", "--h", "0.02", "--out", str(tmp_path / "run"))
    assert process.returncode == 2
    assert (
        process.stderr == "error: --dt must be a whole multiple of --h, got --dt=0.105, --h=0.02; --h=0.021 would do\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--out", "/dev/null/run"], "choose a folder you can write to", marks=pytest.mark.slow),
        (["--h", "0.1", "--transient", "10"], "the truth diverges with h=0.1; choose a smaller h"),
    ],
)
def test_what_shows_itself_late_leaves_no_folder(flags, message, tmp_path):
    out = [] if "--out" in flags else ["--out", str(tmp_path / "run")]
    settings = parse(lorenz.Config, lorenz.PRESETS, ["--preset", "smoke", "--lyapunov-duration", "5", *flags, *out])
    with pytest.raises(jaxcast.InputError, match=message):
        main(settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"history_size": 5}, "history_size must exceed the 5 delays, got 5"),
        ({"num_train": 20}, "num_train must be at least 70"),
        ({"num_windows": 0}, "num_windows must be at least 1, got 0"),
        ({"dt": float("nan")}, "dt must be finite, got nan"),
        ({"delays": (0, 5)}, "delays of at least 1"),
        ({"candidates": "lorenz63(rho=28)"}, "differ by a list of numbers"),
        ({"candidates": "rossler(c=[4, 5])", "truth": "lorenz96(dim=8)"}, "8 components, its candidates have 3"),
        ({"truth": "lorenz63(rho=piecewise_constant(times=[1.005], values=[28, 30]))"}, "a jump at 1.005"),
        ({"truth": "lorenz63(roh=28)"}, "did you mean rho"),
        ({"num_data_seeds": 0}, "num_data_seeds must be at least 1"),
        ({"transient": 1.005}, "transient must be a whole multiple of h"),
        ({"threshold": -1.0}, "threshold must be positive, got -1.0"),
        ({"lyapunov_duration": float("inf")}, "lyapunov_duration must be finite"),
        ({"delays": (5, 5)}, "delays must differ"),
        ({"seed": 10**20}, "seed must be at most 4294967295"),
        ({"data": Path("here")}, "makes its own data; remove --data"),
    ],
)
def test_settings_that_cannot_run_are_refused_before_anything_is_computed(settings, message):
    with pytest.raises(jaxcast.InputError, match=message):
        lorenz.check(dataclasses.replace(lorenz.QUICK, **settings))


def test_an_unknown_preset_is_refused():
    with pytest.raises(jaxcast.InputError, match=r"^--preset must be one of smoke, quick, paper, got 'huge'$"):
        parse(lorenz.Config, lorenz.PRESETS, ["--preset", "huge"])


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(finished):
    out, _ = finished
    before = (out / "results.json").read_bytes()
    process = run("--out", str(out), "--seed", "1")
    assert process.returncode == 2
    assert "seed: 0 there, 1 now" in process.stderr
    assert process.stderr.count("\n") == 1
    assert (out / "results.json").read_bytes() == before


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"my": "own"}')
    for overwrite in (False, True):
        with pytest.raises(jaxcast.InputError, match="was not written by jaxcast"):
            RunFolder(tmp_path, {"a": 1}, code="c", overwrite=overwrite)
    assert (tmp_path / "config.json").read_text() == '{"my": "own"}'


def test_stages_without_their_config_are_not_taken_over(tmp_path):
    RunFolder(tmp_path, {"a": 1}, code="c").stage("one", lambda _: {"x": np.arange(3)})
    (tmp_path / "config.json").unlink()
    with pytest.raises(jaxcast.InputError, match=r"results without their config.json"):
        RunFolder(tmp_path, {"a": 2}, code="c")


def test_overwriting_starts_afresh(tmp_path):
    RunFolder(tmp_path, {"a": 1}, code="c").stage("one", lambda _: {"x": np.arange(3)})
    with pytest.raises(jaxcast.InputError, match="a: 1 there, 2 now"):
        RunFolder(tmp_path, {"a": 2}, code="c")
    folder = RunFolder(tmp_path, {"a": 2}, code="c", overwrite=True)
    assert folder.stage("one", lambda _: {"x": np.arange(5)})["x"].size == 5
    assert RunFolder(tmp_path, {"a": 2}, code="c").stage("one", lambda _: {})["x"].size == 5


@pytest.mark.slow
@pytest.mark.optimized
def test_the_quick_preset_shows_what_the_paper_shows(tmp_path):
    # By a small process between, for a child's peak begins at that of the one that starts it.
    between = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "experiments.lorenz", "--out", str(tmp_path)]
    printed = subprocess.run([sys.executable, "-c", between, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    rows = {row["method"]: row for row in json.loads((tmp_path / "results.json").read_text())["rows"]}
    medians = {method: row["valid_time_median"] for method, row in rows.items()}
    assert medians["additive_attention"] >= 2.0
    assert medians["linear_regression"] <= 0.5
    assert max(medians["best_initial_model"], medians["fixed_attention"]) <= 0.8
    peak = int(printed.stdout) * (1 if sys.platform == "darwin" else 1024)  # in KiB on Linux, in bytes on macOS
    assert peak < 2 * 2**30


def test_a_broken_stage_is_named(tmp_path):
    folder = RunFolder(tmp_path, {"a": 1}, code="c")
    folder.stage("one", lambda _: {"x": np.arange(3)})
    (tmp_path / "stages/one.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(jaxcast.InputError, match=r"one.npz is missing, cut off or not written by jaxcast; delete it"):
        RunFolder(tmp_path, {"a": 1}, code="c").stage("one", lambda _: {"x": np.arange(3)})


def test_presets_are_flags():
    paper = parse(lorenz.Config, lorenz.PRESETS, ["--preset", "paper", "--num-seeds", "3"])
    assert paper == dataclasses.replace(lorenz.PRESETS["paper"], training=TrainingOptions(num_seeds=3))
    assert paper.delays == (1, 2, 3, 4, 5, 6)
    assert paper.num_data_seeds == 3
    seeds = [p.data_seed + i for p in lorenz.PRESETS.values() for i in range(p.num_data_seeds)]
    assert len(set(seeds)) == 5


@pytest.mark.slow
def test_another_truth_is_judged_by_its_own_saturation_and_lyapunov_time():
    ring = "lorenz96(dim=5, forcing=cosine(mean=8, amplitude=1, period=2))"
    config = dataclasses.replace(
        lorenz.PRESETS["smoke"],
        truth=ring,
        candidates="lorenz96(dim=5, forcing=[7, 8, 9])",
        dt=0.05,
        num_leads=None,
        transient=20.0,
        num_windows=2,
        lyapunov_duration=5.0,
    )
    (task,) = lorenz.make_tasks(config)
    assert task.rules.threshold == pytest.approx(0.175 * float(jaxcast.saturation_error(task.train.states)))
    assert task.rules.num_leads == round(9 / task.rules.exponent / 0.05)
    assert task.windows.truth.shape == (2, task.rules.num_leads, 5)
    name, values, _ = task.hidden
    assert (name, values.tolist()) == ("forcing", [7, 8, 9])
    assert float(task.hidden_at(0.0)) == 9.0
    (paper,) = lorenz.make_tasks(dataclasses.replace(lorenz.PRESETS["smoke"], num_leads=None, num_windows=2))
    assert (paper.rules.threshold, paper.rules.num_leads) == (40.0, 128)


@pytest.mark.slow
def test_a_quiet_truth_needs_a_window():
    config = dataclasses.replace(
        lorenz.PRESETS["smoke"], truth="lorenz63(rho=10)", candidates="lorenz63(rho=[9, 11])", num_leads=None
    )
    with pytest.raises(jaxcast.InputError, match="not chaotic"):
        lorenz.make_tasks(config)

import json
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import EvaluatePool, ForecastPool, Simulate, TrainPool, parse
from jaxcast.cli.pool import networks
from jaxcast.selection import methods as selection_methods
from tests.cli.test_arguments import option_names
from tests.saving.tampering import contents, rewrite

TRUTH = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"
CANDIDATES = "lorenz63(rho=linspace(28, 48, 6))"
PUBLISHED = ["--pool", "additive_attention"]
SMALL = [*PUBLISHED, "--num-delays", "2", "--hidden-size", "8", "--num-epochs", "4", "--batch-size", "32"]


def run(*args):
    parse([str(arg) for arg in args]).run()


COMMAND = [sys.executable, "-m", "jaxcast.cli.main"]


def run_apart(*args):
    """As a user does: another process."""
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A truth, a test trajectory, and a pool trained on the truth."""
    path = tmp_path_factory.mktemp("cli")
    run("simulate", "--system", TRUTH, "--num-samples", 300, "--transient", 10, "--out", path / "truth.npz")
    run(
        "simulate", "--system", TRUTH, "--num-samples", 150, "--transient", 10, "--seed", 1, "--out", path / "test.zarr"
    )
    train(path, "--out", path / "pool", "--num-seeds", 2)
    return path


def train(folder, *more):
    run("pool", "train", "--trajectory", folder / "truth.npz", "--candidates", CANDIDATES, *SMALL, *more)


@pytest.mark.slow
def test_simulate_is_the_library(folder):
    stored = jaxcast.load_trajectory(folder / "truth.npz")
    system = jaxcast.dynamics.parse_system(stored.attributes["system"])
    assert jaxcast.dynamics.describe_system(system) == jaxcast.dynamics.describe_system(
        jaxcast.dynamics.parse_system(TRUTH)
    )
    flow = jaxcast.flow_map(system, dt=stored.attributes["dt"], h=stored.attributes["h"])
    times, states = stored.trajectory
    assert states.shape == (300, 3)
    np.testing.assert_allclose(flow(states[40], times[40]), states[41], rtol=1e-12)
    assert {"solver", "seed", "transient", "versions", "dtype", "start"} <= stored.attributes.keys()


@pytest.mark.slow
def test_many_trajectories_are_streamed_and_each_is_the_same_whatever_the_batch(tmp_path):
    args = ["simulate", "--num-samples", 20, "--transient", 2, "--num-trajectories", 10]
    run(*args, "--batch-size", 4, "--out", tmp_path / "four.zarr")
    run(*args, "--batch-size", 10, "--out", tmp_path / "ten.zarr")
    run("simulate", "--num-samples", 20, "--transient", 2, "--out", tmp_path / "one.npz")
    four, ten = (
        [jaxcast.load_trajectory(tmp_path / name, index=i).trajectory for i in range(10)]
        for name in ("four.zarr", "ten.zarr")
    )
    for a, b in zip(four, ten, strict=True):
        np.testing.assert_allclose(a.states, b.states, rtol=1e-9)
    assert not np.allclose(four[0].states, four[9].states)
    np.testing.assert_allclose(
        four[0].states, jaxcast.load_trajectory(tmp_path / "one.npz").trajectory.states, rtol=1e-9
    )


@pytest.mark.slow
def test_a_start_is_where_the_transient_begins(tmp_path):
    run("simulate", "--start", 1, 2, 20, "--transient", 1, "--num-samples", 5, "--out", tmp_path / "a.csv")
    expected = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 2.0, 20.0], num_samples=5, transient=1.0)
    np.testing.assert_allclose(
        jaxcast.load_trajectory(tmp_path / "a.csv").trajectory.states, expected.states, rtol=1e-12
    )


@pytest.mark.slow
def test_train_is_the_library(folder):
    stored = jaxcast.load_model(folder / "pool")
    results = json.loads((folder / "pool/results.json").read_text())
    assert np.asarray(results["losses"]).shape == (2, 4)
    trajectory = jaxcast.load_trajectory(folder / "truth.npz").trajectory
    samples = jaxcast.one_step_samples(jaxcast.Trajectory(*map(jnp.asarray, trajectory)), 2, stored.forecast_map)
    for seed, error in enumerate(results["one_step_mse"]):
        pool = jax.tree.map(lambda a, seed=seed: a[seed], stored.pool)
        np.testing.assert_allclose(jaxcast.pooling.one_step_errors(pool, samples).mean(), error, rtol=1e-5)
    assert (folder / "pool/loss.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((folder / "pool/config.json").read_text())["settings"]["num_epochs"] == 4


@pytest.mark.slow
def test_corrected_interpolation_is_the_librarys(folder, tmp_path):
    shared = ["--trajectory", folder / "truth.npz", "--candidates", CANDIDATES]
    run("pool", "train", *shared, "--pool", "corrected_interpolation", "--num-delays", 2, "--out", tmp_path / "pool")
    stored = jaxcast.load_model(tmp_path / "pool")
    trajectory = jaxcast.Trajectory(*map(jnp.asarray, jaxcast.load_trajectory(folder / "truth.npz").trajectory))
    samples = jaxcast.one_step_samples(trajectory, 2, stored.forecast_map)
    pool = jaxcast.pooling.fit_correction(samples, pool=jaxcast.pooling.fit_regime_interpolation(samples))
    expected = jaxcast.forecast(jaxcast.Forecaster(pool, stored.forecast_map), trajectory.states[:6], 5)
    found = jaxcast.forecast(stored.cell, trajectory.states[:6], 5)
    np.testing.assert_allclose(found.forecast, expected.forecast, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dt", -0.1), ("dt", "x"), ("dt", 10.0), ("components", ["u1", "u1", "u3"]), ("components", ["u1"]),
        ("num_seeds", None), ("num_seeds", 3), ("num_seeds", "2"), ("num_seeds", 10**9), ("settings", None), ("settings", {}),
    ],
)  # fmt: skip
def test_notes_beside_a_pool_that_train_does_not_write_are_refused(folder, tmp_path, name, value):
    config, arrays = contents(folder / "pool")
    (tmp_path / "pool").mkdir()
    rewrite(tmp_path / "pool", config | {"attributes": config["attributes"] | {name: value}}, arrays)
    given = ["--pool", tmp_path / "pool"]
    for command, trajectory, out in (
        ("forecast", "--history", tmp_path / "f.csv"),
        ("evaluate", "--trajectory", tmp_path / "s"),
    ):
        with pytest.raises(jaxcast.InputError):
            run("pool", command, *given, trajectory, folder / "test.zarr", "--out", out)
        assert not out.exists()


@pytest.mark.slow
def test_candidates_of_another_number_than_the_pool_was_trained_over_are_refused(folder, tmp_path):
    config, _ = contents(folder / "pool")
    (tmp_path / "pool").mkdir()
    weights = {".weights": np.ones((3, 2, 3)), ".bias": np.zeros(3)}
    attributes = config["attributes"] | {"num_seeds": None}
    rewrite(
        tmp_path / "pool", config | {"class": "linear_regression", "arguments": {}, "attributes": attributes}, weights
    )
    with pytest.raises(jaxcast.InputError, match="expected forecasts of 2 candidates"):
        run(
            "pool",
            "forecast",
            "--pool",
            tmp_path / "pool",
            "--history",
            folder / "test.zarr",
            "--out",
            tmp_path / "f.csv",
        )


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["feed_forward", "ridge_regression"])
def test_every_pool_trains_forecasts_and_is_evaluated(folder, tmp_path, pool):
    options = {
        "feed_forward": [*SMALL[2:], "--pool", "feed_forward"],
        "ridge_regression": ["--candidates", CANDIDATES, "--pool", "ridge_regression"],
    }
    run("pool", "train", "--trajectory", folder / "truth.npz", "--out", tmp_path / "pool", *options[pool])
    run(
        "pool",
        "forecast",
        "--pool",
        tmp_path / "pool",
        "--history",
        folder / "test.zarr",
        "--at",
        5,
        "--num-leads",
        7,
        "--out",
        tmp_path / "f.npz",
    )
    assert jaxcast.load_trajectory(tmp_path / "f.npz").trajectory.states.shape == (7, 3)
    run(
        "pool",
        "evaluate",
        "--pool",
        tmp_path / "pool",
        "--trajectory",
        folder / "test.zarr",
        "--num-leads",
        20,
        "--out",
        tmp_path / "scores",
    )
    rows = json.loads((tmp_path / "scores/results.json").read_text())["rows"]
    assert rows[0]["method"] == "pool"
    assert rows[-1]["method"] == "persistence"


@pytest.mark.slow
def test_a_forecast_is_the_librarys(folder, tmp_path):
    run(
        "pool", "forecast", "--pool", folder / "pool", "--history", folder / "test.zarr", "--at", 6.0, "--num-leads", 9, "--seed-index", 1,
        "--out", tmp_path / "f.csv", "--weights", tmp_path / "w.npz", "--plot", tmp_path / "f.png",
    )  # fmt: skip
    stored = jaxcast.load_model(folder / "pool")
    cell = jaxcast.Forecaster(jax.tree.map(lambda a: a[1], stored.pool), stored.forecast_map)
    states = jaxcast.load_trajectory(folder / "test.zarr").trajectory.states
    expected = jaxcast.forecast(cell, jnp.asarray(states[58:61]), 9, jnp.asarray(0.1 * np.arange(58, 69)))
    ours = jaxcast.load_trajectory(tmp_path / "f.csv")
    np.testing.assert_allclose(ours.trajectory.states, expected.forecast, rtol=1e-9)
    np.testing.assert_allclose(ours.trajectory.times, 6.1 + 0.1 * np.arange(9), rtol=1e-12)
    assert ours.components == ("u1", "u2", "u3")
    weights = jaxcast.load_trajectory(tmp_path / "w.npz").trajectory.states
    np.testing.assert_allclose(weights, expected.info["weights"], rtol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert (tmp_path / "f.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_an_evaluation_is_the_librarys(folder, tmp_path, capsys):
    run(
        "pool",
        "evaluate",
        "--pool",
        folder / "pool",
        "--trajectory",
        folder / "test.zarr",
        "--num-leads",
        20,
        "--out",
        tmp_path / "s",
    )
    results = json.loads((tmp_path / "s/results.json").read_text())
    rows = {row["method"]: row for row in results["rows"]}
    trajectory = jaxcast.Trajectory(*map(jnp.asarray, jaxcast.load_trajectory(folder / "test.zarr").trajectory))
    assert results["threshold"] == pytest.approx(0.175 * float(jaxcast.saturation_error(trajectory.states)))
    windows = jaxcast.cut_windows(trajectory, num_windows=7, num_leads=20, history_size=3)
    rolled = jaxcast.forecast_windows(
        jaxcast.Forecaster(jaxcast.equal_weights(6), jaxcast.load_model(folder / "pool").forecast_map), windows
    )
    valid = [
        jaxcast.valid_time(forecast, truth, dt=0.1, threshold=results["threshold"]).time
        for forecast, truth in zip(rolled.forecast, windows.truth, strict=True)
    ]
    np.testing.assert_allclose(rows["equal weights"]["valid_times"][0], valid, atol=1e-8)
    assert rows["equal weights"]["valid_time_median"] == pytest.approx(float(np.median(valid)))
    assert len(rows["pool"]["valid_time_median_per_seed"]) == 2
    assert "its weights held from the start" in rows
    assert "candidate rho = 48 alone" in rows
    assert -1 <= results["tracking"]["correlation"] <= 1
    assert "the highest weight against the true rho" in capsys.readouterr().out


@pytest.mark.slow
def test_foreign_files_are_taken(folder, tmp_path):
    """A csv with other names and a time that does not begin at zero."""
    times, states = jaxcast.load_trajectory(folder / "truth.npz").trajectory
    rows = np.column_stack([times + 7.0, states])
    np.savetxt(tmp_path / "mine.csv", rows, delimiter=",", header="t,a,b,c", comments="")
    run(
        "pool",
        "train",
        "--trajectory",
        tmp_path / "mine.csv",
        "--candidates",
        CANDIDATES,
        *SMALL,
        "--out",
        tmp_path / "pool",
    )
    run(
        "pool",
        "forecast",
        "--pool",
        tmp_path / "pool",
        "--history",
        tmp_path / "mine.csv",
        "--num-leads",
        3,
        "--out",
        tmp_path / "f.csv",
    )
    ours = jaxcast.load_trajectory(tmp_path / "f.csv")
    assert ours.components == ("a", "b", "c")
    assert ours.trajectory.times[0] == pytest.approx(times[-1] + 7.1)


@pytest.mark.slow
def test_a_training_that_was_interrupted_ends_with_the_same_pool(folder, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def fit(*args, on_progress, **kwargs):
        def killed(done, losses):
            on_progress(done, losses)
            if done == 2:
                raise Killed

        return jaxcast.fit(*args, on_progress=killed, **kwargs)

    monkeypatch.setattr(networks, "fit", fit)
    with pytest.raises(Killed):
        train(folder, "--out", tmp_path / "pool", "--num-seeds", 2)
    assert not (tmp_path / "pool/pool.json").exists()
    monkeypatch.setattr(networks, "fit", jaxcast.fit)
    train(folder, "--out", tmp_path / "pool", "--num-seeds", 2)
    with np.load(folder / "pool/arrays.npz") as whole, np.load(tmp_path / "pool/arrays.npz") as resumed:
        assert whole.files == resumed.files
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], resumed[name])


@pytest.mark.slow
def test_a_pool_that_is_trained_again_is_gone_until_it_is_there(folder, tmp_path, monkeypatch):
    train(folder, "--out", tmp_path / "pool")

    def fit(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        train(folder, "--out", tmp_path / "pool", "--seed", 5, "--overwrite")
    assert {path.name for path in (tmp_path / "pool").iterdir()} == {"config.json"}


BAD = [
    (["simulate", "--system", "lorenz36", "--out", "x.npz"], "did you mean lorenz96?"),
    (["simulate", "--dt", "0.105", "--out", "x.npz"], "dt must be a whole multiple of h"),
    (["simulate", "--out", "x.npz", "--system", "lorenz63(rho=piecewise_constant(times=[0.505],values=[28,30]))"], "a jump at 0.505; 0.5 would do"),
    (["simulate", "--out", "x.txt"], "ending in .npz or .csv or .zarr"),
    (["simulate", "--out", "x.npz", "--num-trajectories", "5"], "5 trajectories go into a .zarr"),
    (["simulate", "--out", "truth.npz"], "truth.npz exists"),
    (["simulate", "--out", "x.npz", "--h", "0.2", "--dt", "0.2", "--transient", "2"], "diverges with h=0.2; choose a smaller h"),
    (["simulate", "--out", "x.npz", "--start", "1", "2"], "a state of 3 components"),
    (["simulate", "--out", "x.npz", "--num-samples", "0"], "num_samples must be at least 2, got 0"),
    (["simulate", "--out", "x.npz", "--t0", "nan"], "t0 must be finite"),
    (["simulate", "--out", "x.npz", "--t0", "1e300"], "too far from zero"),
    (["simulate", "--out", "x.npz", "--h", "1e-300"], "choose a larger h"),
    (["simulate", "--out", "x.npz", "--plot", "x.npz"], "ending in .png"),
    (["simulate", "--out", "x.npz", "--plot", "/dev/null/x.png"], "/dev/null is not a folder you can write to"),
    (["simulate", "--out", "x.zarr", "--num-trajectories", "3", "--system", "lorenz63(rho=1e308)", "--num-samples", "10"], "diverges"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", "lorenz63(rho=[1e200, 28])", "--out", "x"], r"NaN or infinity from candidate 0 \(counted from 0\)"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, *PUBLISHED, "--weight-decay", "nan", "--out", "x"], "weight_decay must be finite"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, "--pool", "ridge_regression", "--penalty", "0", "--out", "x"], "penalty must be positive"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, "--hidden-size", "8", "--seed", "1", "--out", "x"], "--hidden-size, --seed have no effect with --pool regime; leave"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, "--pool", "equal_weights", "--num-delays", "2", "--out", "x"], "--num-delays has no effect with --pool equal_weights"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, "--pool", "feed_forward", "--out", "x"], "--candidates has no effect with --pool feed_forward"),
    (["pool", "train", "--trajectory", "slow.npz", "--candidates", CANDIDATES, "--out", "x"], "at least 78 samples, got 20"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", "lorenz63(rho=[28])", "--out", "x"], "at least two candidates, got 1"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", "lorenz63(rho=[28, 28])", "--out", "x"], "must differ, all forecast the same"),
    (["pool", "forecast", "--pool", "pool", "--history", "truth.npz", "--out", "x.npz", "--regime", "r.npz"], "infers no regime; leave out --regime"),
    (["pool", "forecast", "--pool", "pool", "--history", "truth.npz", "--out", "x.npz", "--history-size", "2"], "history_size must be from 3, .* to the 300 samples"),
    (["pool", "evaluate", "--pool", "pool", "--against", "pool", "--trajectory", "test.zarr", "--out", "x"], "must name different folders"),
    (["pool", "forecast", "--pool", "pool", "--history", "truth.npz", "--out", "x.npz", "--weights", "x.npz"], "must differ"),
    (["pool", "forecast", "--pool", "foreign_pool", "--history", "truth.npz", "--out", "x.npz"], "pool.json is not that of a pool"),
    (["pool", "evaluate", "--pool", "pool", "--trajectory", "test.zarr", "--threshold", "inf", "--out", "x"], "threshold must be finite"),
    (["pool", "train", "--trajectory", "nothing.npz", "--candidates", CANDIDATES, "--out", "x"], "nothing.npz does not exist"),
    (["pool", "train", "--trajectory", "truth.npz", "--out", "x"], "needs --candidates"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", "lorenz96(dim=8, forcing=[8, 9])", "--out", "x"], "has 3 components .* the candidates have 8"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, "--h", "0.03", "--out", "x"], "whole multiple of h"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, *PUBLISHED, "--num-delays", "299", "--out", "x"], "299 delays need a trajectory of at least 301 samples, got 300"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, *PUBLISHED, "--batch-size", "999", "--out", "x"], "batch_size must be at most the"),
    (["pool", "train", "--trajectory", "nan.csv", "--candidates", CANDIDATES, "--out", "x"], "nan.csv.*1"),
    (["pool", "train", "--trajectory", "unsorted.csv", "--candidates", CANDIDATES, "--out", "x"], "unsorted.csv.*increas"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, *PUBLISHED, "--learning-rate", "0", "--out", "x"], "positive, finite learning_rate"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, "--out", "/dev/null/x"], "choose a folder you can write to"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, *SMALL, "--seed", "1", "--num-seeds", "2", "--out", "pool"], "seed: 0 there, 1 now"),
    (["pool", "train", "--trajectory", "cut.zarr", "--candidates", CANDIDATES, "--out", "x"], "cut.zarr"),
    (["pool", "train", "--trajectory", "truth.npz", "--candidates", CANDIDATES, *SMALL, "--num-seeds", "2", "--out", "foreign_checkpoint"], "fit.checkpoint is missing, cut off or not written by jaxcast; delete it"),
    (["pool", "forecast", "--pool", "nothing", "--history", "truth.npz", "--out", "x.npz"], "nothing holds no saved model"),
    (["pool", "forecast", "--pool", "cut_pool", "--history", "truth.npz", "--out", "x.npz"], "arrays.npz is missing, cut off"),
    (["pool", "forecast", "--pool", "pool", "--history", "truth.npz", "--at", "1e6", "--out", "x.npz"], "--at must lie in"),
    (["pool", "forecast", "--pool", "pool", "--history", "truth.npz", "--at", "0.1", "--out", "x.npz"], "needs 3 samples up to --at, got 2"),
    (["pool", "forecast", "--pool", "pool", "--history", "truth.npz", "--seed-index", "2", "--out", "x.npz"], "seed_index must be from 0 to 1, got 2"),
    (["pool", "forecast", "--pool", "pool", "--history", "ring.npz", "--out", "x.npz"], "has 8 components .* the pool was trained on 3"),
    (["pool", "forecast", "--pool", "pool", "--history", "slow.npz", "--out", "x.npz"], "sampled every 0.2, the pool was trained on samples every 0.1"),
    (["pool", "evaluate", "--pool", "pool", "--trajectory", "test.zarr", "--num-leads", "500", "--out", "x"], "need at least 503 samples"),
    (["pool", "evaluate", "--pool", "pool", "--trajectory", "test.zarr", "--history-size", "1", "--out", "x"], "history_size must be at least 3"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bad_files(folder):
    """Beside the good files: others that must be refused."""
    run("simulate", "--system", "lorenz96", "--num-samples", 20, "--transient", 1, "--out", folder / "ring.npz")
    run("simulate", "--dt", 0.2, "--num-samples", 20, "--transient", 1, "--out", folder / "slow.npz")
    rows = ["time,x,y,z"] + [f"{0.1 * n},{n},{n},{n}" for n in range(50)]
    (folder / "nan.csv").write_text("\n".join([*rows[:20], "1.9,nan,1,1", *rows[21:]]) + "\n")
    (folder / "unsorted.csv").write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n")
    shutil.copytree(folder / "test.zarr", folder / "cut.zarr")
    chunk = max(
        (path for path in (folder / "cut.zarr").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    shutil.copytree(folder / "pool", folder / "cut_pool")
    arrays = folder / "cut_pool/arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:500])
    shutil.copytree(folder / "pool", folder / "foreign_pool")
    config = json.loads((folder / "pool/pool.json").read_text())
    (folder / "foreign_pool/pool.json").write_text(json.dumps(config | {"candidates": {"systems": ["lorenz63()"]}}))
    shutil.copytree(folder / "pool", folder / "foreign_checkpoint")
    (folder / "foreign_checkpoint/stages/fit.npz").unlink()
    (folder / "foreign_checkpoint/stages/fit.checkpoint").write_bytes(b"something else")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("args", "message"), BAD)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(bad_files, refused_in_one_line, args, message):
    with refused_in_one_line(bad_files, message):
        run(*args)


@pytest.mark.slow
def test_the_process_ends_with_exit_code_2_and_one_line(bad_files):
    for args, message in (bad for bad in BAD if "nothing.npz" in bad[0]):
        process = subprocess.run(COMMAND + args, cwd=bad_files, capture_output=True, text=True)
        assert process.returncode == 2
        assert process.stderr.count("\n") == 1
        assert re.search(message, process.stderr)
    unknown = run_apart("pool", "train", "--trajectory", "t.npz", "--out", "x", "--pool", "nothing")
    assert unknown.returncode == 2
    assert "nothing" in unknown.stderr + unknown.stdout


COMMANDS = {"simulate": Simulate, "pool train": TrainPool, "pool forecast": ForecastPool, "pool evaluate": EvaluatePool}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(command, capsys):
    with pytest.raises(SystemExit) as caught:
        parse([*command.split(), "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    options = re.findall(r"^. (--[a-z0-9-]+)", text, flags=re.MULTILINE)
    assert set(options) >= {f"--{name.replace('_', '-')}" for name in option_names(COMMANDS[command])}
    for block in re.split(r"^. --(?=[a-z])", text, flags=re.MULTILINE)[1:]:
        explained = re.sub(r"\((default|required).*", "", block, flags=re.DOTALL)
        assert len(re.findall(r"[A-Za-z]{3,}", explained)) >= 4, block


@pytest.mark.slow
def test_a_forecast_that_diverges_names_pool_and_lead(tmp_path):
    times = 0.1 * np.arange(40)
    states = np.stack([np.exp(2 * times), 1 + times, np.cos(times)], 1)
    jaxcast.save_trajectory(tmp_path / "x.npz", jaxcast.Trajectory(times, states))
    trained = [
        "--pool",
        "linear_regression",
        "--candidates",
        "rossler(c=[5.7, 6])",
        "--h",
        0.1,
        "--out",
        tmp_path / "pool",
    ]
    run("pool", "train", "--trajectory", tmp_path / "x.npz", *trained)
    forecast = [
        "pool",
        "forecast",
        "--pool",
        tmp_path / "pool",
        "--history",
        tmp_path / "x.npz",
        "--out",
        tmp_path / "f.npz",
    ]
    with pytest.raises(jaxcast.InputError) as caught:
        run(*forecast, "--num-leads", 900)
    found = re.search(
        r"pool in .*pool diverges at lead (\d+), time \S+; ask for --num-leads up to (\d+), or", str(caught.value)
    )
    assert found is not None, caught.value
    assert not (tmp_path / "f.npz").exists()
    assert int(found[1]) == int(found[2]) + 1
    run(*forecast, "--num-leads", found[2])
    assert np.isfinite(jaxcast.load_trajectory(tmp_path / "f.npz").trajectory.states).all()


@pytest.mark.slow
def test_a_pool_is_chosen_with_what_was_compared(folder, capsys, tmp_path, monkeypatch):
    """Few methods, so that it is quick; the chosen one can be loaded and evaluated like any other pool."""
    for name in set(selection_methods.METHODS) - {"persistence", "equal_weights", "best_single", "ridge"}:
        monkeypatch.delitem(selection_methods.METHODS, name)
    out = tmp_path / "chosen"
    given = ["--candidates", CANDIDATES, "--history-size", 8]
    run("pool", "train", "--trajectory", folder / "truth.npz", "--out", out, "--pool", "auto", *given)
    shown = capsys.readouterr().out
    assert shown.startswith("chosen: ")
    results = json.loads((out / "results.json").read_text())
    assert {trial["method"] for trial in results["trials"]} == {"persistence", "equal_weights", "best_single", "ridge"}
    assert results["trials"][0]["method"] == results["chosen"]["method"]
    seconds = [trial["seconds"] for trial in results["trials"]]  # kept, so that no trial is made again
    run("pool", "train", "--trajectory", folder / "truth.npz", "--out", out, "--pool", "auto", *given)
    assert [trial["seconds"] for trial in json.loads((out / "results.json").read_text())["trials"]] == seconds
    assert len(results["one_step_mse"]) == 1
    evaluated = ["--num-windows", 3, "--num-leads", 5, "--out", tmp_path / "scores"]
    run("pool", "evaluate", "--pool", out, "--trajectory", folder / "truth.npz", *evaluated)
    own, spent = tmp_path / "alone", tmp_path / "spent"
    run("pool", "train", "--trajectory", folder / "truth.npz", "--out", own, "--pool", "auto")
    run("pool", "train", "--trajectory", folder / "truth.npz", "--out", spent, "--pool", "auto", "--budget", 0, *given)
    for where, reason in ((own, "it needs candidates"), (spent, "the budget of 0 s was spent")):
        trials = json.loads((where / "results.json").read_text())["trials"]
        assert {trial["method"]: trial["reason"] for trial in trials} == {
            "persistence": "", "equal_weights": reason, "best_single": reason, "ridge": reason
        }  # fmt: skip
    run("pool", "evaluate", "--pool", own, "--trajectory", folder / "truth.npz", *evaluated[:-1], tmp_path / "again")
    with pytest.raises(jaxcast.InputError, match="--history-size has no effect with --pool regime"):
        run("pool", "train", "--trajectory", folder / "truth.npz", "--out", tmp_path / "no", *given)


@pytest.fixture(scope="module")
def gappy(folder, tmp_path_factory):
    """The truth, of which a tenth is not known."""
    path = tmp_path_factory.mktemp("gaps") / "gappy.npz"
    times, states = jaxcast.load_trajectory(folder / "truth.npz").trajectory
    is_gap = np.random.default_rng(0).random(states.shape) < 0.1
    is_gap[[0, -1]] = [[True], [False]]
    np.savez(path, times=times, states=np.where(is_gap, np.nan, states), components=["x", "y", "z"])
    return path


@pytest.mark.slow
def test_pools_learn_from_what_is_known_of_a_trajectory_with_gaps(gappy, tmp_path):
    given = ["--trajectory", gappy, "--candidates", CANDIDATES]
    run("pool", "train", *given, "--pool", "ridge_regression", "--out", tmp_path / "ridge")
    trajectory = jaxcast.load_trajectory(gappy, with_gaps=True).trajectory
    rows = np.isfinite(trajectory.states).all(1)
    num_known = int((rows[:-2] & rows[1:-1] & rows[2:]).sum())
    assert 50 < num_known < 250
    assert json.loads((tmp_path / "ridge/results.json").read_text())["num_samples"] == num_known
    forecast = ["--history", gappy, "--num-leads", 3, "--out", tmp_path / "f.csv"]
    run("pool", "forecast", "--pool", tmp_path / "ridge", *forecast)
    at = trajectory.times[int(np.flatnonzero(rows[:-1] & ~rows[1:])[-1]) + 1]
    with pytest.raises(jaxcast.InputError, match=r"cannot fill gaps, got NaN in 1 of the \d samples that it sees of"):
        run("pool", "forecast", "--pool", tmp_path / "ridge", *forecast, "--overwrite", "--at", at)
    with pytest.raises(
        jaxcast.InputError, match=r"without gaps, .*gappy.npz has NaN in \d+ of 300 samples; --pool auto fills gaps"
    ):
        run("pool", "train", *given, "--out", tmp_path / "regime")
    states = np.where(np.arange(3) < 1, trajectory.states, np.nan)
    np.savez(tmp_path / "x.npz", times=trajectory.times, states=states)
    to_x = ["--trajectory", tmp_path / "x.npz", "--out", tmp_path / "x"]
    with pytest.raises(jaxcast.InputError, match=r"x.npz has gaps: .* in a row, got at most 0; --pool auto fills gaps"):
        run("pool", "train", *to_x, *given[2:], *SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["auto", "feed_forward"])
def test_gaps_that_nothing_can_fill_are_refused_before_anything_is_written(gappy, tmp_path, refused_in_one_line, pool):
    times, states = jaxcast.load_trajectory(gappy, with_gaps=True).trajectory
    to_x = ["--trajectory", tmp_path / "x.npz", "--out", tmp_path / "x", "--pool", pool]
    np.savez(tmp_path / "x.npz", times=times, states=np.full_like(states, np.nan))
    with refused_in_one_line(tmp_path, "must hold numbers, got NaN in all of 300 samples"):
        run("pool", "train", *to_x)
    names = ["x", "y", "z"]
    np.savez(tmp_path / "x.npz", times=times, states=np.where(np.arange(3) == 1, np.nan, states), components=names)
    with refused_in_one_line(tmp_path, "component y is never known, and no filter can fill that: a filter needs cand"):
        run("pool", "train", *to_x)


@pytest.mark.slow
def test_too_short_a_trajectory_with_gaps_is_not_blamed_on_them(gappy, tmp_path, refused_in_one_line):
    given = ["--trajectory", gappy, "--candidates", CANDIDATES, "--pool", "corrected_interpolation"]
    with refused_in_one_line(tmp_path, "^400 delays need a trajectory of at least 402 samples, got 300; give a longer"):
        run("pool", "train", *given, "--num-delays", 400, "--out", tmp_path / "x")
    with refused_in_one_line(
        tmp_path, r"has gaps: corrected_interpolation needs 202 known samples in a row, got at most"
    ):
        run("pool", "train", *given, "--num-delays", 200, "--out", tmp_path / "x")


@pytest.mark.slow
def test_auto_fills_gaps_of_the_trajectory_and_of_histories(gappy, tmp_path, capsys):
    out = tmp_path / "chosen"
    run("pool", "train", "--trajectory", gappy, "--pool", "auto", "--max-methods", 1, "--out", out)
    results = json.loads((out / "results.json").read_text())
    assert results["chosen"] == {"method": "persistence", "setting": {"gaps": "left out"}}
    trajectory = jaxcast.load_trajectory(gappy, with_gaps=True).trajectory
    last = int(np.flatnonzero(np.isnan(trajectory.states[:-1]).any(1))[-1])
    run("pool", "forecast", "--pool", out, "--history", gappy, "--at", trajectory.times[last], "--num-leads", 3,
        "--out", tmp_path / "f.npz")  # fmt: skip
    assert "against the file it stays valid for" in capsys.readouterr().out
    forecast = jaxcast.load_trajectory(tmp_path / "f.npz").trajectory.states[0]
    known = [column[np.isfinite(column)][-1] for column in trajectory.states[: last + 1].T]
    np.testing.assert_allclose(forecast, known)

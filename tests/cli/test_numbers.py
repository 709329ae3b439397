"""Every option of the commands changes the numbers as the same setting does in Python."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.pool import hidden_parameter as hidden
from jaxcast.cli.pool.candidates import sampling_interval
from jaxcast.cli.pool.comparison import exponent_of

pytestmark = pytest.mark.slow

TRUTH = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"
CANDIDATES = "lorenz63(rho=[28, 36, 48])"
SETTINGS = dict(t0=5.5, dt=0.04, h=0.02, transient=2.0)
OPTIONS = ["--t0", 5.5, "--dt", 0.04, "--h", 0.02, "--transient", 2]


def run(*args):
    parse([str(arg) for arg in args]).run()


def load(path, index=0):
    stored = jaxcast.load_trajectory(path, index=index)
    return jaxcast.Trajectory(*map(jnp.asarray, stored.trajectory)), stored.attributes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trajectories that do not begin at zero, and a pool in closed form."""
    path = tmp_path_factory.mktemp("numbers")
    for seed, name in enumerate(["truth.npz", "test.npz"]):
        run("simulate", "--system", TRUTH, "--num-samples", 90, "--seed", seed, *OPTIONS, "--out", path / name)
    pool = ["--pool", "ridge_regression", "--candidates", CANDIDATES, "--h", 0.02, "--penalty", 7.5]
    run("pool", "train", "--trajectory", path / "truth.npz", *pool, "--out", path / "pool")
    return path


def start_of(number, seed, system):
    return jaxcast.dynamics.random_starts(system, 1, key=jax.random.fold_in(jax.random.key(seed), number))[0]


def test_simulate_does_what_each_option_says(folder):
    system = jaxcast.dynamics.parse_system(TRUTH)
    trajectory, attributes = load(folder / "test.npz")
    expected = jaxcast.simulate(system, start_of(0, 1, system), num_samples=90, **SETTINGS)
    np.testing.assert_allclose(trajectory.states, expected.states, rtol=1e-9)
    np.testing.assert_allclose(trajectory.times, 5.5 + 0.04 * np.arange(90), rtol=1e-14)
    assert attributes["system"] == jaxcast.dynamics.describe_system(system)
    told = {name: attributes[name] for name in ("seed", "start", "dtype", "t0", "dt", "h", "transient")}
    assert told == {"seed": 1, "start": "random", "dtype": "float64", **SETTINGS}


@pytest.mark.parametrize(
    "changed", [{"t0": 5.0}, {"dt": 0.06}, {"h": 0.01}, {"transient": 1.0}, {"seed": 2}, {"system": "rossler"}]
)
def test_each_option_of_simulate_alone_changes_the_states(folder, tmp_path, changed):
    own = {"system": TRUTH, "seed": 1, **SETTINGS} | changed
    options = [text for name, value in own.items() for text in (f"--{name}", value)]
    run("simulate", "--num-samples", 90, *options, "--out", tmp_path / "a.npz")
    ours, before = load(tmp_path / "a.npz")[0].states, load(folder / "test.npz")[0].states
    assert abs(ours - before).max() > 1e-6
    system = jaxcast.dynamics.parse_system(own.pop("system"))
    expected = jaxcast.simulate(system, start_of(0, own.pop("seed"), system), num_samples=90, **own)
    np.testing.assert_allclose(ours, expected.states, rtol=1e-7)


def test_float32_and_a_start_are_taken(tmp_path):
    run(
        "simulate", "--dtype", "float32", "--start", 1, 2, 20, "--num-samples", 4, *OPTIONS, "--out", tmp_path / "a.npz"
    )
    trajectory, attributes = load(tmp_path / "a.npz")
    assert trajectory.states.dtype == jnp.float32
    expected = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 2.0, 20.0], num_samples=4, **SETTINGS)
    np.testing.assert_allclose(trajectory.states, expected.states, rtol=1e-3)
    assert (attributes["dtype"], attributes["start"]) == ("float32", [1.0, 2.0, 20.0])


def test_streamed_trajectories_have_starts_of_their_own(tmp_path):
    run(
        "simulate",
        "--num-samples",
        3,
        "--num-trajectories",
        5,
        "--batch-size",
        2,
        "--seed",
        4,
        *OPTIONS,
        "--out",
        tmp_path / "a.zarr",
    )
    for number in (0, 3, 4):
        start = start_of(number, 4, jaxcast.Lorenz63())
        expected = jaxcast.simulate(jaxcast.Lorenz63(), start, num_samples=3, **SETTINGS)
        trajectory, _ = load(tmp_path / "a.zarr", number)
        np.testing.assert_allclose(trajectory.states, expected.states, rtol=1e-9)
        np.testing.assert_allclose(trajectory.times, expected.times)


def candidates_of(folder):
    systems = jaxcast.stack_systems(jaxcast.dynamics.parse_candidates(CANDIDATES))
    return jaxcast.flow_map(systems, dt=0.04, h=0.02)


def test_a_ridge_is_the_librarys(folder):
    samples = jaxcast.one_step_samples(load(folder / "truth.npz")[0], 1, candidates_of(folder))
    expected = jaxcast.pooling.fit_ridge(samples.forecasts, samples.targets, penalty=7.5)
    stored = jaxcast.load_model(folder / "pool")
    for ours, theirs in zip(jax.tree.leaves(stored.pool), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    results = json.loads((folder / "pool/results.json").read_text())
    assert results["num_samples"] == len(samples.targets) == 88
    assert results["one_step_mse"] == [pytest.approx(float(jaxcast.pooling.one_step_errors(expected, samples).mean()))]
    assert stored.attributes["dt"] == 0.04
    assert (stored.forecast_map.dt, stored.forecast_map.num_substeps) == (0.04, 2)


def test_a_network_is_trained_with_every_option(folder, tmp_path):
    """All options at once; one that went astray would give other weights."""
    options = {
        "num-delays": 3, "hidden-size": 6, "num-epochs": 5, "batch-size": 16, "learning-rate": 0.02, "schedule": "cosine",
        "warmup-steps": 3, "weight-decay": 0.1, "clip-norm": 0.5, "num-seeds": 2, "seed": 11, "network-dtype": "float64",
    }  # fmt: skip
    flags = [text for name, value in options.items() for text in (f"--{name}", value)]
    pool = ["--pool", "additive_attention", "--candidates", CANDIDATES, "--h", 0.02, *flags]
    run("pool", "train", "--trajectory", folder / "truth.npz", *pool, "--out", tmp_path / "pool")
    samples = jaxcast.one_step_samples(load(folder / "truth.npz")[0], 3, candidates_of(folder))

    def init(key):
        return jaxcast.AdditiveAttention(dim=3, num_delays=3, hidden_size=6, key=key, dtype=jnp.float64)

    optimizer = jaxcast.training.make_optimizer(
        0.02,
        schedule="cosine",
        num_optimizer_steps=5 * (len(samples.targets) // 16),
        warmup_steps=3,
        weight_decay=0.1,
        clip_norm=0.5,
    )
    keys = jax.random.split(jax.random.key(11), 2)
    fit = jaxcast.fit(
        samples,
        init=init,
        loss=jaxcast.pooling.mean_squared_error,
        keys=keys,
        optimizer=optimizer,
        num_epochs=5,
        batch_size=16,
    )
    for ours, theirs in zip(
        jax.tree.leaves(jaxcast.load_model(tmp_path / "pool").pool), jax.tree.leaves(fit.models), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7)
    results = json.loads((tmp_path / "pool/results.json").read_text())
    np.testing.assert_allclose(results["losses"], fit.losses, rtol=1e-7)
    assert results["num_samples"] == len(samples.targets)


def test_the_sampling_interval_is_that_of_the_whole_file():
    assert sampling_interval(jaxcast.Trajectory(jnp.asarray([7.0, 7.1, 7.2, 7.3]), jnp.zeros((4, 1)))) == 0.1


def test_a_forecast_begins_at_the_given_time(folder, tmp_path):
    stored = jaxcast.load_model(folder / "pool")
    truth, _ = load(folder / "test.npz")
    forecast = ["pool", "forecast", "--pool", folder / "pool", "--history", folder / "test.npz", "--num-leads", 6]
    run(*forecast, "--at", 6.31, "--out", tmp_path / "f.npz", "--weights", tmp_path / "w.npz")
    ours, attributes = load(tmp_path / "f.npz")
    newest = 20  # 5.5 + 20 * 0.04 = 6.3, the nearest
    expected = jaxcast.forecast(stored.cell, truth.states[newest : newest + 1], 6, truth.times[newest : newest + 6])
    np.testing.assert_allclose(ours.states, expected.forecast, rtol=1e-9)
    np.testing.assert_allclose(ours.times, 6.3 + 0.04 * np.arange(1, 7), rtol=1e-12)
    assert attributes["newest_sample_seen"] == pytest.approx(6.3)
    weights, _ = load(tmp_path / "w.npz")
    np.testing.assert_allclose(weights.states, expected.info["weights"], rtol=1e-9)
    run(*forecast, "--out", tmp_path / "last.npz")
    last, attributes = load(tmp_path / "last.npz")
    np.testing.assert_allclose(last.states, jaxcast.forecast(stored.cell, truth.states[-1:], 6, truth.times[-1] + 0.04 * jnp.arange(6)).forecast, rtol=1e-9)  # fmt: skip
    assert (last.times[0], attributes["seed_index"]) == (pytest.approx(5.5 + 0.04 * 90), 0)


@pytest.fixture(scope="module")
def scores(folder):
    """An evaluation with every option set."""
    flags = [
        "--num-windows",
        4,
        "--num-leads",
        12,
        "--history-size",
        5,
        "--threshold",
        3.5,
        "--norm",
        "sum",
        "--lyapunov-exponent",
        0.9,
    ]
    run(
        "pool",
        "evaluate",
        "--pool",
        folder / "pool",
        "--trajectory",
        folder / "test.npz",
        *flags,
        "--out",
        folder / "scores",
    )
    return json.loads((folder / "scores/results.json").read_text())


def test_an_evaluation_does_what_each_option_says(folder, scores):
    truth, _ = load(folder / "test.npz")
    windows = jaxcast.cut_windows(truth, num_windows=4, num_leads=12, history_size=5)
    assert (scores["num_windows"], scores["num_leads"], scores["history_size"], scores["threshold"]) == (
        4,
        12,
        5,
        3.5,
    )
    cells = {
        "pool": jaxcast.load_model(folder / "pool").cell,
        "equal weights": jaxcast.Forecaster(jaxcast.equal_weights(3), candidates_of(folder)),
        "candidate rho = 36 alone": jaxcast.Forecaster(jaxcast.pooling.single_candidate(1, 3), candidates_of(folder)),
        "persistence": jaxcast.Forecaster(jaxcast.pooling.Persistence()),
    }
    rows = {row["method"]: row for row in scores["rows"]}
    assert set(rows) == {*cells, "candidate rho = 28 alone", "candidate rho = 48 alone"}
    for name, cell in cells.items():
        forecasts = jaxcast.forecast_windows(cell, windows).forecast
        valid = [
            jaxcast.valid_time(*pair, dt=0.04, threshold=3.5, norm="sum")
            for pair in zip(forecasts, windows.truth, strict=True)
        ]
        times = [float(one.time) for one in valid]
        np.testing.assert_allclose(rows[name]["valid_times"], [times], atol=1e-8)
        assert rows[name]["valid_time_median"] == pytest.approx(np.median(times))
        assert rows[name]["valid_time_lyapunov"] == pytest.approx(0.9 * np.median(times))
        assert rows[name]["num_censored"] == sum(bool(one.censored) for one in valid)
        assert rows[name]["censored"] == [[bool(one.censored) for one in valid]]
    assert len({row["valid_time_median"] for row in scores["rows"]}) > 3


def test_windows_are_nine_lyapunov_times_by_default(folder, tmp_path, monkeypatch, capsys):
    evaluated = ["pool", "evaluate", "--pool", folder / "pool", "--trajectory", folder / "test.npz"]
    run(*evaluated, "--lyapunov-exponent", 9.0, "--out", tmp_path / "a")
    results = json.loads((tmp_path / "a/results.json").read_text())
    assert (results["num_leads"], results["num_windows"], results["history_size"]) == (25, 3, 1)
    assert results["threshold"] == pytest.approx(0.175 * 2 * np.var(load(folder / "test.npz")[0].states, 0).mean())
    assert "Lyapunov times" in capsys.readouterr().out
    exponent = exponent_of({"system": "lorenz63", "h": 0.01}, load(folder / "test.npz")[0])
    assert exponent == pytest.approx(0.9, abs=0.1)
    assert exponent_of({"system": "a user's"}, load(folder / "test.npz")[0]) is None


def test_what_follows_a_hidden_parameter_is_compared_at_the_step_it_was_weighed_for():
    """Weights that follow the truth exactly, half a step before each lead, have correlation 1 and distance 0."""
    times = jnp.asarray([0.1 * np.arange(7) + 2.0])
    windows = jaxcast.Windows(jnp.zeros((1, 2, 1)), jnp.zeros((1, 5, 1)), times)
    course = lambda t: np.round(10 * np.asarray(t) - 21.5)  # noqa: E731
    truth = course(times[:, 2:] - 0.05)
    values = np.arange(5.0)
    weights = jnp.asarray(truth[..., None] == values, float)
    found = hidden.track(
        jaxcast.Output(None, {"weights": weights}), windows, hidden.HiddenParameter("rho", values, course), 0.1
    )
    assert (found["parameter"], found["by"]) == ("rho", "highest weight")
    assert found["correlation"] == pytest.approx(1)
    assert found["mean_distance"] == pytest.approx(0, abs=1e-12)
    regime = jnp.asarray(2.0 * course(times[:, 1:-1]) + 1)[..., None]
    found = hidden.track(
        jaxcast.Output(None, {"regime": regime}), windows, hidden.HiddenParameter("rho", values, course), 0.1
    )
    assert found["by"] == "regime"
    assert found["correlation"] == pytest.approx(1)
    assert found["mean_distance"] == pytest.approx(np.mean(np.abs(course(times[:, 1:-1]) + 1)))


def test_a_spread_is_the_root_of_its_mean_square_beside_the_error(monkeypatch):
    forecast = jnp.asarray([[[1.0, 2.0], [3.0, jnp.nan]], [[0.0, 0.0], [4.0, 4.0]], [[5.0, 5.0], [1.0, 1.0]]])
    windows = jaxcast.Windows(jnp.zeros((3, 1, 2)), jnp.zeros((3, 2, 2)), jnp.zeros((3, 3)))
    spread = jnp.asarray([[[3.0, 4.0], [1.0, 1.0]], [[0.0, 0.0], [2.0, 2.0]], [[6.0, 8.0], [7.0, 7.0]]])
    found = hidden.spread_by_lead(jaxcast.Output(forecast, {"spread": spread}), windows)
    assert found["spread"] == pytest.approx([12.5**0.5, 2.0])
    assert found["error"] == pytest.approx([2.5**0.5, 4.0])

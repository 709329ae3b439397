"""The default of `jaxcast pool train` in small, in the default run: one fit, and every number that the commands make of it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.pool import regime as regimes
from jaxcast.regime.fit import fit_and_trial

pytestmark = pytest.mark.slow

TRUTH = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"
CANDIDATES = "lorenz63(rho=[28, 38, 48])"


def run(*args):
    parse([str(arg) for arg in args]).run()


def load(path):
    return jaxcast.Trajectory(*map(jnp.asarray, jaxcast.load_trajectory(path).trajectory))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("small")
    for seed, (name, num_samples) in enumerate({"truth.npz": 90, "test.npz": 48}.items()):
        sizes = ["--num-samples", num_samples, "--transient", 10, "--seed", seed, "--t0", 3]
        run("simulate", "--system", TRUTH, *sizes, "--out", path / name)
    with pytest.MonkeyPatch.context() as patch:  # the comparison with other pools has tests of its own
        patch.setattr(regimes, "fit_and_trial", lambda *args, **options: (fit_and_trial(*args, **options)[0], None))
        run("pool", "train", "--trajectory", path / "truth.npz", "--candidates", CANDIDATES, "--out", path / "regime")
    return path


@pytest.fixture(scope="module")
def cell(folder):
    return jaxcast.load_model(folder / "regime").cell


def test_the_regime_is_found_and_reported_in_its_own_units(folder, cell):
    found = json.loads((folder / "regime/results.json").read_text())["regime"]
    (wave,) = found["oscillations"]
    assert found["parameter"] == "rho"
    assert wave["period"] == pytest.approx(1.577132, rel=1e-5)
    assert wave["amplitude"] == pytest.approx([10], rel=1e-4)
    assert found["level"] == pytest.approx([38], rel=1e-4)
    assert found["slope"] == pytest.approx([0], abs=1e-3)
    assert found["unit"] == pytest.approx([np.std([28, 38, 48])], rel=1e-6)
    assert found["value_noise"] == np.asarray(cell.value_noise).tolist()
    assert found["model_noise"] == np.asarray(cell.model_noise).tolist()
    assert found["deviation"] == pytest.approx((cell.emulator.unit * cell.schedule_deviation.level).tolist())


def test_the_largest_oscillation_is_reported_first():
    found = {
        "parameter": None, "level": [1.25], "slope": [0.5], "wander": [0.0], "unit": [2.0], "emulator_error": 0.0123,
        "oscillations": [{"period": 3.0, "amplitude": [4.0]}, {"period": 7.5, "amplitude": [1.0]}],
        "value_noise": [0.2, 0.6], "model_noise": [0.1, 0.1], "is_corrected": True,
    }  # fmt: skip
    first, second, third = regimes.described(found, np.asarray([1.0, 2.0]))
    assert "misfit 0.012 deviations of the state, then corrected by the truth" in first
    assert second == (
        "regime (in a unit of its own): 1.25 halfway, rising by 0.5 a time unit, oscillating with period 3 and amplitude 4, "
        "oscillating with period 7.5 and amplitude 1"
    )
    assert "0.3 of a value, 0.1 of a step" in third
    wandering = regimes.described(found | {"wander": [0.25], "slope": [0.0], "is_corrected": False}, np.ones(2))
    assert wandering[1].endswith("amplitude 1; wanders by 0.25 a step")
    assert "rising" not in wandering[1]
    assert "corrected" not in wandering[0]


def test_the_one_step_error_begins_after_the_first_six_samples(folder, cell):
    results = json.loads((folder / "regime/results.json").read_text())
    truth = load(folder / "truth.npz")
    forecasts = jaxcast.open_loop(cell, truth.states, truth.times).forecast
    errors = (forecasts[5:-1] - truth.states[6:]) ** 2
    assert results["num_samples"] == len(errors) == 84
    assert results["one_step_mse"] == [pytest.approx(float(errors.mean()), rel=1e-6)]


def test_a_forecast_with_its_regime_is_the_librarys(folder, cell, tmp_path):
    files = ["--out", tmp_path / "f.npz", "--weights", tmp_path / "w.npz", "--regime", tmp_path / "r.npz"]
    shared = ["pool", "forecast", "--pool", folder / "regime", "--history", folder / "test.npz", "--num-leads", 7]
    run(*shared, "--at", 6.52, "--history-size", 9, *files)
    newest, size = 35, 9  # the sample at 6.5
    states = load(folder / "test.npz").states[newest + 1 - size : newest + 1]
    times = 3 + 0.1 * jnp.arange(newest + 1 - size, newest + 8)
    expected = jax.jit(jaxcast.forecast, static_argnums=2)(cell, states, 8, times)
    ours, weights, regime = (load(tmp_path / name) for name in ("f.npz", "w.npz", "r.npz"))
    np.testing.assert_allclose(ours.states, expected.forecast[:7], rtol=1e-7)
    np.testing.assert_allclose(ours.times, 3 + 0.1 * (newest + np.arange(1, 8)), rtol=1e-12)
    np.testing.assert_allclose(weights.states, expected.info["weights"][:7], atol=1e-7)
    told = jnp.concatenate(
        [expected.info["regime"][1:], expected.info["regime_deviation"][1:], expected.info["spread"][:7]], 1
    )
    np.testing.assert_allclose(regime.states, told, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(regime.states[:, 0], 38 - 10 * np.cos(2 * np.pi * regime.times / 1.577132), atol=0.05)


def test_a_regime_sees_a_hundred_samples_or_what_there_is(folder, cell):
    command = parse(["pool", "forecast", "--pool", "p", "--history", "h", "--out", "f.npz"])
    assert command.checked_history(cell, 90) == 90
    assert command.checked_history(cell, 300) == 100
    chosen = parse(["pool", "forecast", "--pool", "p", "--history", "h", "--out", "f.npz", "--history-size", "7"])
    assert chosen.checked_history(cell, 90) == 7
    with pytest.raises(jaxcast.InputError, match=r"history_size must be from .* to the 6 samples"):
        chosen.checked_history(cell, 6)


def test_an_evaluation_compares_the_regime_with_the_true_one(folder, cell, tmp_path, capsys):
    run(
        "pool",
        "evaluate",
        "--pool",
        folder / "regime",
        "--trajectory",
        folder / "test.npz",
        "--num-leads",
        9,
        "--out",
        tmp_path / "s",
    )
    results = json.loads((tmp_path / "s/results.json").read_text())
    assert (results["history_size"], results["num_windows"]) == (12, 4)  # a quarter of the file
    windows = jaxcast.cut_windows(load(folder / "test.npz"), num_windows=4, num_leads=9, history_size=12)
    output = jaxcast.forecast_windows(cell, windows)
    valid = [
        jaxcast.valid_time(*pair, dt=0.1, threshold=results["threshold"]).time
        for pair in zip(output.forecast, windows.truth, strict=True)
    ]
    np.testing.assert_allclose(results["rows"][0]["valid_times"], [valid], atol=1e-8)
    hidden = 38 - 10 * np.cos(2 * np.pi * np.asarray(windows.times[:, 11:-1]) / 1.577132)
    followed = np.asarray(output.info["regime"])[..., 0]
    assert results["tracking"]["by"] == "regime"
    assert results["tracking"]["parameter"] == "rho"
    assert results["tracking"]["correlation"] == pytest.approx(
        np.corrcoef(followed.ravel(), hidden.ravel())[0, 1], rel=1e-6
    )
    assert results["tracking"]["mean_distance"] == pytest.approx(abs(followed - hidden).mean(), rel=1e-4)
    error = np.median(np.sqrt((np.asarray(output.forecast - windows.truth) ** 2).mean(-1)), 0)
    np.testing.assert_allclose(results["spread"]["error"], error, rtol=1e-4)
    assert "the regime against the true rho, over the windows: correlation 1.00" in capsys.readouterr().out


def test_a_fit_that_was_interrupted_leaves_no_pool_and_the_command_goes_on(folder, cell, tmp_path, monkeypatch):
    command = [
        "pool",
        "train",
        "--trajectory",
        folder / "truth.npz",
        "--candidates",
        CANDIDATES,
        "--out",
        tmp_path / "pool",
    ]

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxcast.cli.pool.train.fitted_regime", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(*command)
    assert not (tmp_path / "pool/pool.json").exists()
    monkeypatch.setattr("jaxcast.cli.pool.train.fitted_regime", lambda *args: (cell, None))
    run(*command)
    for ours, theirs in zip(
        jax.tree.leaves(jaxcast.load_model(tmp_path / "pool").pool), jax.tree.leaves(cell), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)

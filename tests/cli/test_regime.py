"""The default of `jaxcast pool train`, as a user meets it: train, forecast, evaluate beside the published pool."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.pool import regime as regimes
from jaxcast.cli.pool import train

pytestmark = pytest.mark.slow
TRUTH = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"
CANDIDATES = "lorenz63(rho=linspace(28, 48, 6))"
PNG = b"\x89PNG\r\n\x1a\n"


def run(*args):
    parse([str(arg) for arg in args]).run()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two trajectories, and a pool of either kind trained on the first."""
    path = tmp_path_factory.mktemp("cli")
    for seed, (name, num_samples) in enumerate({"truth.npz": 500, "test.npz": 200}.items()):  # 500: as in test_regime
        run(
            "simulate", "--system", TRUTH, "--num-samples", num_samples, "--transient", 10, "--seed", seed,
            "--out", path / name,
        )  # fmt: skip
    shared = ["pool", "train", "--trajectory", path / "truth.npz", "--candidates", CANDIDATES]
    run(*shared, "--out", path / "regime")
    network = ["--num-delays", 2, "--hidden-size", 8, "--num-epochs", 2, "--num-seeds", 2]
    run(*shared, "--pool", "additive_attention", *network, "--out", path / "attention")
    return path


def test_train_finds_the_regime_and_says_what_it_found(folder):
    results = json.loads((folder / "regime/results.json").read_text())
    found = results["regime"]
    assert found["parameter"] == "rho"
    assert found["emulator_error"] < 1e-12
    (wave,) = found["oscillations"]
    assert wave["period"] == pytest.approx(1.577132, rel=1e-8)
    assert wave["amplitude"] == pytest.approx([10], rel=1e-8)
    assert found["level"] == pytest.approx([38], rel=1e-8)
    assert max(found["value_noise"]) < 1e-8
    (error,) = results["one_step_mse"]
    assert error < 1e-9
    lines = regimes.described(found, np.ones(3))
    assert "oscillating with period 1.57713 and amplitude 10" in lines[1]
    assert json.loads((folder / "regime/config.json").read_text())["settings"]["pool"] == "regime"
    assert {path.name for path in (folder / "regime").iterdir()} == {
        "config.json", "pool.json", "arrays.npz", "results.json",
    }  # fmt: skip


def test_a_forecast_is_the_librarys(folder, tmp_path):
    run(
        "pool", "forecast", "--pool", folder / "regime", "--history", folder / "test.npz", "--at", 6.0, "--num-leads", 9, "--history-size", 8,
        "--out", tmp_path / "f.csv", "--weights", tmp_path / "w.npz", "--regime", tmp_path / "r.csv", "--plot", tmp_path / "f.png",
    )  # fmt: skip
    cell = jaxcast.load_model(folder / "regime").cell
    states = jaxcast.load_trajectory(folder / "test.npz").trajectory.states
    expected = jaxcast.forecast(cell, jnp.asarray(states[53:61]), 10, jnp.asarray(0.1 * np.arange(53, 70)))
    ours, weights, regime = (jaxcast.load_trajectory(tmp_path / name) for name in ("f.csv", "w.npz", "r.csv"))
    np.testing.assert_allclose(ours.trajectory.states, expected.forecast[:9], rtol=1e-9)
    np.testing.assert_allclose(ours.trajectory.states, states[61:70], atol=1e-3)
    np.testing.assert_allclose(weights.trajectory.states, expected.info["weights"][:9], atol=1e-9)
    assert regime.components == ("rho", "rho_deviation", "spread_u1", "spread_u2", "spread_u3")
    hidden = 38 - 10 * np.cos(2 * np.pi * regime.trajectory.times / 1.577132)
    np.testing.assert_allclose(regime.trajectory.states[:, 0], hidden, atol=1e-3)
    np.testing.assert_allclose(regime.trajectory.states[:, 2:], expected.info["spread"][:9], rtol=1e-6)
    assert (tmp_path / "f.png").read_bytes()[:8] == PNG


def test_pools_of_either_kind_forecast_the_same_windows(folder, tmp_path, capsys):
    run(
        "pool", "evaluate", "--pool", folder / "regime", "--against", folder / "attention", "--trajectory", folder / "test.npz",
        "--num-leads", 25, "--out", tmp_path / "scores",
    )  # fmt: skip
    results = json.loads((tmp_path / "scores/results.json").read_text())
    assert results["history_size"] == 50  # a quarter of the file
    rows = {row["method"]: row for row in results["rows"]}
    other = f"pool in {folder / 'attention'}"
    assert list(rows)[:3] == ["pool", other, "equal weights"]
    assert rows["pool"]["valid_time_median"] == 2.5
    assert rows["pool"]["num_censored"] == results["num_windows"] == 6
    assert len(rows[other]["valid_time_median_per_seed"]) == 2
    (test,) = results["paired"]
    assert test["against"] == other
    assert test["num_censored"] == 6
    assert test["difference"] == pytest.approx(2.5 - np.median(np.median(rows[other]["valid_times"], 0)))
    assert results["tracking"]["by"] == "regime"
    assert results["tracking"]["correlation"] > 0.999
    spread, error = (np.asarray(results["spread"][name]) for name in ("spread", "error"))
    assert len(spread) == 25
    assert ((error < 10 * spread) | (error < 1e-6)).all()
    assert "the regime against the true rho, over the windows: correlation 1.00" in capsys.readouterr().out
    for name in ("regime.png", "valid_times.png"):
        assert (tmp_path / "scores" / name).read_bytes()[:8] == PNG
    run(
        "pool", "evaluate", "--pool", folder / "attention", "--against", folder / "regime", "--trajectory", folder / "test.npz",
        "--num-leads", 25, "--out", tmp_path / "turned",
    )  # fmt: skip
    turned = json.loads((tmp_path / "turned/results.json").read_text())
    again = {row["method"]: row for row in turned["rows"]}
    assert again["pool"]["valid_times"] == rows[other]["valid_times"]
    assert turned["paired"][0]["difference"] == -test["difference"]
    assert (tmp_path / "turned/weights.png").read_bytes()[:8] == PNG


def test_a_fit_that_was_interrupted_leaves_no_pool_and_the_command_goes_on(folder, tmp_path, monkeypatch):
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

    monkeypatch.setattr(train, "fitted_regime", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(*command)
    assert {path.name for path in (tmp_path / "pool").iterdir()} == {"config.json"}
    cell = jaxcast.load_model(folder / "regime").cell
    monkeypatch.setattr(train, "fitted_regime", lambda *args: (cell, None))
    run(*command)
    for a, b in zip(*(jax.tree.leaves(jaxcast.load_model(path).pool) for path in (folder / "regime", tmp_path / "pool")), strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


def test_the_numbers_in_which_candidates_differ_are_their_coordinates(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        regimes,
        "fit_and_trial",
        lambda *args, coordinates, **others: asked.append(coordinates) or (jaxcast.load_model(folder / "regime").cell, None),
    )  # fmt: skip
    pairs = "lorenz63(rho=[28, 38], sigma=[10, 11])"  # too few to tell two numbers apart
    for text in ("lorenz63(rho=[28, 38])", pairs, "lorenz63(rho=[28, 38, 33], sigma=[10, 11, 12])"):
        candidates = jaxcast.flow_map(jaxcast.stack_systems(jaxcast.dynamics.parse_candidates(text)))
        regimes.fitted(jaxcast.Trajectory(jnp.arange(2.0), jnp.ones((2, 3))), candidates)
    assert asked[0].tolist() == [[28], [38]]
    assert asked[1] is None
    assert sorted(asked[2].T.tolist()) == [[10, 11, 12], [28, 38, 33]]


class SlowLorenz(jaxcast.System):
    """Lorenz '63 whose rho is 38 + 0.45 X of another, slower one."""

    components = ("x", "y", "z", "X", "Y", "Z")

    rate: jaxcast.dynamics.Parameter = 0.15

    def vector_field(self, t, u):
        x, y, z, slow_x, slow_y, slow_z = u
        fast = 10 * (y - x), x * (38 + 0.45 * slow_x - z) - y, x * y - 8 / 3 * z
        slow = 10 * (slow_y - slow_x), slow_x * (28 - slow_z) - slow_y, slow_x * slow_y - 8 / 3 * slow_z
        return *fast, *(self.rate * part for part in slow)


@pytest.mark.optimized
def test_a_chaotic_regime_is_recommended_corrected_interpolation(tmp_path, capsys):
    truth = jaxcast.simulate(SlowLorenz(), [1.0, 2.0, 20.0, 1.0, 1.0, 20.0], num_samples=1000, transient=60.0)
    np.savez(tmp_path / "truth.npz", time=np.asarray(truth.times), state=np.asarray(truth.states[:, :3]))
    shared = ["pool", "train", "--trajectory", tmp_path / "truth.npz", "--candidates", CANDIDATES]
    run(*shared, "--out", tmp_path / "regime")
    assert "consider --pool corrected_interpolation: " in capsys.readouterr().out
    medians = json.loads((tmp_path / "regime/results.json").read_text())["trial"]["valid_time_median"]
    assert medians["corrected_interpolation"] > 1.25 * medians["regime"]
    run(*shared, "--pool", "corrected_interpolation", "--out", tmp_path / "corrected")
    plain = jaxcast.fit_regime(
        jaxcast.Trajectory(truth.times - truth.times[0], truth.states[:, :3]),
        forecast_map=jaxcast.load_model(tmp_path / "regime").forecast_map,
        coordinates=np.linspace(28, 48, 6),
    )
    own = jaxcast.load_model(tmp_path / "regime").pool
    np.testing.assert_allclose(own.schedule.level, plain.schedule.level, rtol=1e-6)

"""What is learned, chosen or scored from a part of the data is the same, bit for bit, whatever comes after the part."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.regime.harmonic_search import find_schedules

LENGTH, PART = 80, 60
COMMON = {"num_epochs": 1, "batch_size": 16}


def candidates(value, time):
    """Three quick ones that differ, and not in the same direction everywhere."""
    return jnp.stack(
        [0.9 * value + 0.1 * value[::-1], 1.1 * value - 0.02 * value**2, 0.8 * value + 0.3 * jnp.sin(value)]
    )


def trajectory(later=1.0):
    """Values that come after the part are `later` times as large."""
    times = 3 + 0.1 * np.arange(LENGTH)
    states = np.stack([np.sin(3 * times), np.cos(2 * times)], 1) + np.random.default_rng(0).normal(0, 0.1, (LENGTH, 2))
    states[PART:] *= later
    return jaxcast.Trajectory(times, jnp.asarray(states))


def first(tree, number):
    return jax.tree.map(lambda a: a[:number], tree)


def within_part(tree):
    """Of samples one after the other, the last of which ends with the whole, those that end with the part."""
    return first(tree, len(jax.tree.leaves(tree)[0]) - (LENGTH - PART))


def samples_of(whole):
    return within_part(jaxcast.one_step_samples(whole, 2, candidates))


def along(whole):
    forecasts = jaxcast.dynamics.forecasts_along(candidates, whole)
    return forecasts[: PART - 1], whole.states[1:PART]


def recurrent(key):
    return jaxcast.pooling.RecurrentAttention(dim=2, hidden_size=2, key=key)


def trained_over_time(whole):
    chunks = first(jaxcast.pooling.sequence_chunks(whole, candidates, length=8, stride=8), PART // 8)
    return jaxcast.pooling.error_over_time(recurrent(jax.random.key(0)), chunks)


def trained(whole):
    return jaxcast.fit(
        samples_of(whole), init=lambda key: jaxcast.pooling.FeedForward(dim=2, num_delays=2, hidden_size=2, key=key), loss=jaxcast.pooling.mean_squared_error,
        keys=jax.random.key(0)[None], optimizer=jaxcast.training.make_optimizer(1e-2), **COMMON,
    )  # fmt: skip


def best_of_many(whole):
    forecasts, truth = along(whole)
    return jaxcast.training.select_average(jnp.moveaxis(forecasts, 1, 0), truth, sizes=(1, 2))


FITS = {
    "fit": lambda whole: jax.tree.leaves(trained(whole).models),
    "fit_correction": lambda whole: jaxcast.pooling.fit_correction(
        samples_of(whole), pool=jaxcast.equal_weights(3), kind="polynomial", degrees=(1, 2), penalties=(1e-6, 1e-1)
    ),
    "fit_regime_interpolation": lambda whole: jaxcast.pooling.fit_regime_interpolation(samples_of(whole)),
    "fit_linear_regression": lambda whole: jaxcast.pooling.fit_linear_regression(*along(whole)),
    "fit_fixed_share": lambda whole: jaxcast.pooling.fit_fixed_share(*along(whole), num_iterations=2),
    "fit_emulator": lambda whole: jaxcast.regime.fit_emulator(
        whole.states[: PART - 1], forecasts=along(whole)[0], dt=0.1, coordinates=np.arange(3.0), degrees=[(1, 1), (2, 1)],
        num_substeps=1, num_pairs=30,
    ),
    "select_average": best_of_many,
    "input_scales": lambda whole: jaxcast.pooling.input_scales(first(whole, PART), candidates),
    "one_step_errors": lambda whole: jaxcast.pooling.one_step_errors(jaxcast.equal_weights(3), samples_of(whole)),
    "error_over_time": trained_over_time,
}  # fmt: skip


def assert_same_bits(one, other):
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_what_comes_after_the_part_changes_nothing_learned_chosen_or_scored(name):
    assert_same_bits(*(FITS[name](trajectory(later)) for later in (1, 40)))


@pytest.mark.slow
def test_settings_are_chosen_by_fits_that_saw_nothing_of_the_validation_part():
    """And what of that part comes after a window changes neither the forecast of the window nor its score."""
    found = []
    for later in (1, 3):
        seen = []

        def fit(course, seen=seen, **setting):
            seen.append((course, jaxcast.forecasters.fit_nvar(course.states, degree=1, **setting)))
            return seen[-1][1]

        whole = trajectory(later)
        sizes = {"num_leads": 4, "history_size": 3, "num_windows": 3}
        choice = jaxcast.training.grid_search(
            whole, fit=fit, grid={"penalty": (1e-3, 1e3)}, dt=0.1, threshold=0.5, validation_share=0.25, **sizes
        )
        found.append((seen[:2], [score for _, score in choice.scores]))
        assert len(seen[-1][0].times) == LENGTH
    assert_same_bits(found[0][0], found[1][0])
    assert found[0][1] != found[1][1]


@pytest.mark.slow
def test_the_schedule_that_a_trial_judges_saw_nothing_of_the_last_quarter():
    ensemble = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Rossler(c=c) for c in (4.0, 6.0)]), dt=0.4, h=0.1)
    truth = jaxcast.simulate(jaxcast.Rossler(c=5.0), [1.0, 1.0, 0.0], num_samples=80, dt=0.4, h=0.1, transient=20.0)
    forecasts = jaxcast.dynamics.forecasts_along(ensemble, truth)
    emulator = jaxcast.regime.fit_emulator(
        truth.states, forecasts=forecasts, dt=0.4, coordinates=np.asarray([4.0, 6.0]), degrees=[(2, 1)], num_substeps=4
    )
    num_head = 80 - 80 // 4
    found = []
    for factor in (1, 1.5):
        states = truth.states.at[num_head + 1 :].multiply(factor)
        found.append(find_schedules(states, emulator=emulator, most_oscillations=0)[0])
    assert_same_bits(found[0].head, found[1].head)
    assert float(found[0].head.level[0]) != float(found[1].whole.level[0])


def run(*args):
    parse([str(arg) for arg in args]).run()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trajectory, the same with another end, and one of which the second of two trajectories is another."""
    path = tmp_path_factory.mktemp("leaks")
    system = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"
    sizes = ("--num-samples", LENGTH, "--transient", 5, "--t0", 2)
    run("simulate", "--system", system, *sizes, "--out", path / "one.npz")
    stored = jaxcast.load_trajectory(path / "one.npz")
    times, states = map(np.asarray, stored.trajectory)
    names = {"components": stored.components, "attributes": stored.attributes}
    jaxcast.save_trajectory(path / "other.npz", jaxcast.Trajectory(times, later_by(states, PART)), **names)
    for name, second in (("two", states), ("others", 3 * states)):
        with jaxcast.io.TrajectoryWriter(
            path / f"{name}.zarr", times=times, num_trajectories=2, batch_size=2, components=("x", "y", "z")
        ) as writer:
            writer.write(np.stack([states, second]))
    return path


def later_by(states, number, factor=2.0):
    changed = np.array(states)
    changed[number:] *= factor
    return changed


def arrays_in(path):
    with np.load(path / "arrays.npz") as arrays:
        return dict(arrays)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["linear_regression", "corrected_interpolation"])
def test_train_learns_from_its_own_trajectory_alone(folder, tmp_path, pool):
    found = []
    for name in ("two", "others"):
        run(
            "pool", "train", "--trajectory", folder / f"{name}.zarr", "--candidates", "lorenz63(rho=[30, 38, 46])", "--pool", pool,
            "--out", tmp_path / name,
        )  # fmt: skip
        scored = json.loads((tmp_path / name / "results.json").read_text())
        found.append((arrays_in(tmp_path / name), {k: v for k, v in scored.items() if "seconds" not in k}))
    assert_same_bits(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.slow
def test_evaluate_scores_windows_by_nothing_that_comes_after_them(folder, tmp_path):
    run(
        "pool", "train", "--trajectory", folder / "one.npz", "--candidates", "lorenz63(rho=[30, 38, 46])", "--pool",
        "linear_regression", "--out", tmp_path / "pool",
    )  # fmt: skip
    options = ("--num-leads", 10, "--history-size", 3, "--num-windows", 4, "--threshold", 5)
    rows = []
    for name in ("one", "other"):
        run(
            "pool", "evaluate", "--pool", tmp_path / "pool", "--trajectory", folder / f"{name}.npz", *options,
            "--out", tmp_path / name,
        )  # fmt: skip
        found = json.loads((tmp_path / name / "results.json").read_text())["rows"]
        rows.append({row["method"]: np.asarray(row["valid_times"]) for row in found})
    windows = jaxcast.cut_windows(
        jaxcast.load_trajectory(folder / "one.npz").trajectory, num_windows=4, num_leads=10, history_size=3
    )
    before = (
        np.asarray(windows.times)[:, -1]
        < np.asarray(jaxcast.load_trajectory(folder / "one.npz").trajectory.times)[PART]
    )
    assert 0 < before.sum() <= len(before)
    for method, valid in rows[0].items():
        np.testing.assert_array_equal(valid[..., before], rows[1][method][..., before])


@pytest.mark.slow
def test_train_on_a_table_chooses_by_nothing_that_comes_last(tmp_path):
    """Of the three parts the second chooses and the third scores; the third is another."""
    values = np.random.default_rng(0).normal(size=(LENGTH, 2)).cumsum(0) + 20
    dates = np.datetime64("2021-01-03") + 7 * np.arange(LENGTH)
    found = []
    for name, table in (("one", values), ("other", later_by(values, 64, -3))):
        rows = [f"{date},{a!r},{b!r}" for date, (a, b) in zip(dates, table.tolist(), strict=True)]
        Path(tmp_path / f"{name}.csv").write_text("\n".join(["date,a,b", *rows]))
        run(
            "series", "train", "--data", tmp_path / f"{name}.csv", "--horizon", 2, "--history-size", 3, "--season", 0, "--validation-share", 0.2,
            "--method", "last_value", "ridge", "--out", tmp_path / name,
        )  # fmt: skip
        results = json.loads((tmp_path / name / "results.json").read_text())
        assert results["test_from"] == str(dates[64])
        found.append({row["method"]: row for row in results["rows"]})
    for method, row in found[0].items():
        for key in ("setting", "validation_mae", "width_power"):
            assert row[key] == found[1][method][key], (method, key)
        assert row["mae"] != found[1][method]["mae"]

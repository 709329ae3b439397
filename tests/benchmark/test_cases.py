"""The benchmark's cases: their data, and that forecasts are scored as their convention says."""

import dataclasses
import itertools
import json
import textwrap
import types

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxcast
from jaxcast.benchmark import case_arrays, case_names, compare_scores, find_case, make_task, score_forecasts
from jaxcast.benchmark.files import convention, described_case, equations, readme
from jaxcast.benchmark.scoring import read_forecasts, score_against

SIZES = {"num_windows": 3, "num_train": 50}


def small(name, **changes):
    """A case of the same sizes as the others here, so that one program makes the truths of many."""
    return dataclasses.replace(find_case(name), **{"transient": 1.0, "num_leads": 7, "history_size": 6} | changes)


PAPER = small("paper")


def valid_times_by_hand(case, forecasts, truths):
    part = slice(None) if case.seen is None else list(case.seen)
    times = np.empty(forecasts.shape[:2])
    for place in np.ndindex(times.shape):
        errors = ((forecasts[place] - truths[place])[:, part] ** 2).mean(-1)
        bad = [lead for lead, error in enumerate(errors) if not error < case.threshold]
        times[place] = min(case.dt * (bad[0] if bad else case.num_leads), case.longest_valid_time)
    return times


@pytest.mark.slow
def test_every_case_says_what_its_candidates_are_and_can_be_scored():
    assert len(case_names()) > 25
    for name in case_names():
        case = find_case(name)
        truth, candidates = case.truth(0), case.candidate_systems()
        dim = case.dim or truth.dim
        assert {candidate.dim for candidate in candidates} <= {dim}, name
        assert len(case.described_candidates()) == len(set(case.described_candidates())) == len(candidates)
        assert 0 < case.longest_valid_time <= case.window
        assert f"{case.threshold:g}" in convention(case)
        if case.observation_noise:
            assert case.history_size >= 100
    assert find_case("long").longest_valid_time == 14.3
    with pytest.raises(
        jaxcast.InputError, match=r"unknown case 'papr'; did you mean paper.* jaxcast benchmark list shows all"
    ):
        find_case("papr")


@pytest.mark.slow
def test_scores_are_those_of_the_convention_and_a_perfect_forecast_is_valid_as_long_as_counts():
    case = small("paper", threshold=2.0, ground_truth_time=0.6)
    truths = make_task(case, seed=3, **SIZES).windows.truth[None]
    rng = np.random.default_rng(0)
    forecasts = truths + rng.normal(size=truths.shape) * np.linspace(0, 4, 7)[:, None]
    forecasts[0, 2, 2:] = np.nan
    score = score_against(case, forecasts, truths)
    np.testing.assert_allclose(score.valid_times, valid_times_by_hand(case, forecasts, truths))
    assert score.valid_times[0, 2] == pytest.approx(0.2)
    assert np.isinf(score.rmse[2:]).all()
    np.testing.assert_allclose(score.rmse[:2], np.sqrt(((forecasts - truths) ** 2).mean((0, 1, 3)))[:2])
    assert len(np.unique(score.valid_times)) > 1
    assert score.median == pytest.approx(np.median(score.valid_times))
    assert score.low <= score.median <= score.high
    perfect = score_forecasts(case, truths, seed=3)
    assert (perfect.valid_times == 0.6).all()
    assert perfect.share_censored == 1
    assert perfect.rmse.max() == 0
    alone = dataclasses.replace(case, seen=(0,))
    wrong_elsewhere = truths + np.asarray([0.0, 9.0, 9.0])
    assert score_against(alone, wrong_elsewhere, truths).share_censored == 1
    test = compare_scores(score, perfect)
    assert test.difference < 0
    assert test.num_censored == 3


def test_the_median_is_over_windows_and_then_over_truths():
    case = small("paper", num_leads=10, threshold=1.0)
    truths = np.zeros((3, 5, 10, 3))
    ends = np.asarray([[1, 1, 2, 9, 9], [3, 3, 4, 9, 9], [5, 5, 6, 9, 9]])
    forecasts = np.where(np.arange(10) < ends[..., None], 0.0, 2.0)[..., None] * np.ones(3)
    score = score_against(case, forecasts, truths)
    np.testing.assert_allclose(score.median_per_truth, [0.2, 0.4, 0.6])
    assert score.median == pytest.approx(0.4)
    assert score.share_censored == 0


@pytest.mark.slow
def test_noise_falls_on_what_is_seen_and_never_on_the_truth_that_scores():
    noisy = small("noise_10")
    clean = make_task(dataclasses.replace(noisy, observation_noise=0.0), seed=2, **SIZES)
    task = make_task(noisy, seed=2, **SIZES)
    np.testing.assert_array_equal(task.windows.truth, clean.windows.truth)
    for own, other in ((task.train.states, clean.train.states), (task.windows.history, clean.windows.history)):
        error = (own - other) / clean.scale
        np.testing.assert_allclose(error.std(), 0.1, rtol=0.35)
    again = make_task(noisy, seed=2, num_windows=3, num_train=50)
    np.testing.assert_array_equal(again.windows.history, task.windows.history)


@pytest.mark.slow
def test_what_is_not_seen_is_missing_and_hidden_components_stay_hidden():
    alone = small("x_alone")
    task = make_task(alone, seed=2, **SIZES)
    assert np.isnan(task.train.states[:, 1:]).all()
    assert np.isnan(task.windows.history[..., 1:]).all()
    assert np.isfinite(task.windows.truth).all()
    hidden = small("hidden_chaos")
    assert make_task(hidden, seed=2, **SIZES).train.states.shape == (50, 3)


def test_hidden_chaos_is_the_solution_of_its_equations():
    system = jaxcast.benchmark.HiddenChaos()

    def field(t, u):
        x, y, z, *v = u
        rho = 38 + 0.45 * v[0]
        slow = 0.15 * np.asarray([10 * (v[1] - v[0]), v[0] * (28 - v[2]) - v[1], v[0] * v[1] - 8 / 3 * v[2]])
        return [10 * (y - x), x * (rho - z) - y, x * y - 8 / 3 * z, *slow]

    start = [1.0, 2.0, 20.0, 3.0, 3.0, 20.0]
    own = jaxcast.simulate(system, start, num_samples=2, dt=0.5, h=0.005).states[1]
    other = solve_ivp(field, (0, 0.5), start, rtol=1e-10, atol=1e-10).y[:, -1]
    np.testing.assert_allclose(own, other, rtol=1e-3)


@pytest.mark.slow
def test_windows_outside_of_training_have_the_other_schedule():
    drift = small("drift")
    task = make_task(drift, seed=2, **SIZES)
    assert task.train.times[-1] == pytest.approx(4.9)
    assert task.windows.times[0, 0] == pytest.approx(400.0)
    assert float(drift.truth(0).at(400.0).rho) == pytest.approx(28 + 20 * 400 / 6240)
    other = find_case("other_period")
    assert jaxcast.dynamics.describe_system(other.truth(0)) != jaxcast.dynamics.describe_system(other.windows_truth(0))


@pytest.mark.slow
def test_the_files_say_everything_but_the_truth(tmp_path):
    case = PAPER
    arrays = case_arrays(case, seed=4, num_truths=2, **SIZES)
    tasks = [make_task(case, seed=4 + n, **SIZES) for n in range(2)]
    for n, task in enumerate(tasks):
        np.testing.assert_array_equal(arrays["train_states"][n], task.train.states)
        np.testing.assert_array_equal(arrays["history"][n], task.windows.history)
        np.testing.assert_allclose(
            arrays["candidate_forecasts"][n, 5], task.forecast_map(task.train.states[5]), rtol=1e-9
        )
        truth = task.windows.truth.ravel()
        assert not np.isin(truth[:7], np.concatenate([a.ravel() for a in arrays.values()])).all()
    record = json.loads(json.dumps(described_case(case, arrays, seed=4), allow_nan=False))
    assert record["arrays"].keys() == arrays.keys()
    assert record["forecasts"]["shape"] == [2, 3, 7, 3]
    text = readme(record)
    assert all(f"`{name}`" in text for name in arrays)
    assert record["seed"] is None  # whoever knows the seed knows the truth
    assert "benchmark score" not in text
    assert "    jaxcast benchmark score paper forecasts.npz --exported .\n" in readme(described_case(case, arrays))
    np.savez(tmp_path / "one.npz", np.zeros((3, 7, 3)))
    assert read_forecasts(case, tmp_path / "one.npz").shape == (1, 3, 7, 3)
    np.save(tmp_path / "array.npy", np.zeros((2, 3, 7, 3), np.float32))
    assert read_forecasts(case, tmp_path / "array.npy").shape == (2, 3, 7, 3)


def test_the_equations_in_the_files_are_those_of_the_candidates():
    for name in case_names():
        systems = find_case(name).candidate_systems()
        assert "    " in equations(type(systems[0])), name  # a formula or code is indented
    case = find_case("catalogue_Chua")
    found = {"jnp": np, "Any": None}
    exec(textwrap.dedent(equations(type(case.candidate_systems()[0])).split("\n\n")[1]), found)
    system = case.candidate_systems()[0]
    derivative = found["chua"](types.SimpleNamespace(t=0.0, **vars(system)), (0.5, 0.1, -0.2))
    np.testing.assert_allclose(derivative, system(0.0, (0.5, 0.1, -0.2)))


@pytest.mark.parametrize("shape", [(1, 3, 8, 3), (1, 3, 7, 2), (4, 3, 7, 3), (1, 201, 7, 3)])
def test_forecasts_of_another_shape_are_refused(shape):
    with pytest.raises(jaxcast.InputError, match=r"case paper expects forecasts of shape .*1 to 200, 7, 3\), got"):
        score_forecasts(PAPER, np.zeros(shape))


@pytest.mark.slow
def test_twins_agree_with_finer_steps_for_longer_than_they_are_reported():
    assert jaxcast.benchmark.ground_truth_time(find_case("long"), seed=100, num_windows=30) > 14.3


@pytest.mark.slow
def test_no_history_shows_the_truth_of_another_window():
    for name in ("paper", "noise_10"):
        case = small(name)
        times = make_task(case, seed=1, num_windows=3, num_train=50).windows.times
        np.testing.assert_allclose(times[1:, 0] - times[:-1, -1], (1 + case.num_leads // 2) * case.dt)


@pytest.mark.slow
def test_process_noise_has_the_variance_of_its_definition():
    """Over a short time h the truth differs from the noise-free step by scale sqrt(h) in every component."""
    case = small("process_noise_0.5", dt=0.01, num_leads=7)
    task = make_task(case, seed=2, num_windows=3, num_train=2000)
    states, times = task.train.states, task.train.times
    flow = jaxcast.flow_map(case.truth(0), dt=0.01, h=0.01)
    error = np.asarray([states[k + 1] - np.asarray(flow(states[k], times[k])) for k in range(0, 1999, 4)])
    np.testing.assert_allclose(error.std(0), 0.5 * 0.1, rtol=0.1)
    again = make_task(case, seed=2, num_windows=3, num_train=2000)
    np.testing.assert_array_equal(again.train.states, states)


@pytest.mark.slow
def test_systems_of_the_catalogue_stay_on_their_attractors():
    names = [name for name in case_names() if name.startswith("catalogue_")]
    assert len(names) == 20
    for name in names[::6]:
        case = find_case(name)
        task = make_task(case, seed=2, num_windows=2, num_train=500)
        assert 0.3 < 0.35 * (task.scale**2).mean() / case.threshold < 3, name
        assert len(case.candidate_systems()) == 4


def test_fewer_samples_and_windows_are_the_first_of_all():
    few = make_task(small("noise_10"), seed=1, num_windows=2, num_train=20)
    more = make_task(small("noise_10"), seed=1, num_windows=3, num_train=40)
    np.testing.assert_array_equal(few.train.states, more.train.states[:20])
    np.testing.assert_array_equal(few.windows.history, more.windows.history[:2])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in case_names() if name.startswith("catalogue")][::4])
def test_truths_of_a_case_part_before_the_first_sample(name):
    """Training, windows and other truths begin close to each other, and are not to follow one another.

    Two may be close for a while by chance, most may not.
    """
    case = find_case(name)
    tasks = [make_task(case, seed=seed, num_windows=1) for seed in (1, 2, 3)]
    size = min(case.num_leads, case.num_train - case.history_size)
    runs = [task.windows.truth[0, :size] for task in tasks]
    runs += [task.train.states[case.history_size :][:size] for task in tasks]
    errors = [((one - other) ** 2).mean(-1) for one, other in itertools.combinations(runs, 2)]
    assert np.median([(error < case.threshold).mean() for error in errors]) < 0.5


def test_a_table_of_forecasts_is_read_in_any_order_of_rows(tmp_path):
    case = small("paper", num_leads=2)
    array = np.arange(12.0).reshape(1, 2, 2, 3)
    array[0, 1, 0, 2] = np.nan
    rows = [[0, w, n + 1, *array[0, w, n]] for w, n in np.ndindex(2, 2)]
    lines = [",".join("" if value != value else f"{value:g}" for value in row) for row in rows]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["truth,window,lead,x,y,z", *lines[::-1]]))
    np.testing.assert_array_equal(read_forecasts(case, path), array)
    alone = [line.removeprefix("0,") for line in lines]
    path.write_text("\r\n".join(["window,lead,x,y,z", *alone]))
    np.testing.assert_array_equal(read_forecasts(case, path), array)
    for text, message in (
        (["window,x,y,z", "0,1,2,3"], "must have columns window, lead and one for each component, got window, x, y, z"),
        (
            ["window,lead,x,y,z", *alone[:3]],
            r"for 1 truth, 2 windows .* and 2 leads \(from 1\), got 3 rows, none of them for truth 0, window 1, lead 2",
        ),
        (["window,lead,x,y,z", *alone, alone[0]], "got 5 rows, 2 of them for truth 0, window 0, lead 1"),
        (["window,lead,x,y,z", "0,0,1,2,3"], "lead must be a whole number from 1, got 0"),
        (["window,lead,x,y,z", "0,1,1,two,3"], "expected a number in column 'y', got 'two'"),
        (["window,lead,x,y", "0,1,1,2", "0,2,1,2"], r"got \(1, 1, 2, 2\) in"),
    ):
        path.write_text("\n".join(text))
        with pytest.raises(jaxcast.InputError, match=message):
            read_forecasts(case, path)

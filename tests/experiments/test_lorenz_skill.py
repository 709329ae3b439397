"""`experiments.lorenz_skill`: its cases, its rows and its refusals. CI runs the whole of it as a smoke preset."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxcast
from experiments.frame import parse
from experiments.lorenz import setup as lorenz_setup
from experiments.lorenz_skill import __main__ as lorenz_skill
from experiments.lorenz_skill import results as skill_results
from experiments.lorenz_skill import rivals as skill_rivals
from experiments.lorenz_skill.cases import CASES, FIGURE_KNOWN, make_task, windows_without_switch
from experiments.lorenz_skill.scores import spread_and_error
from jaxcast.benchmark import Sawtooth

SMALL = dataclasses.replace(
    lorenz_setup.PRESETS["smoke"], num_windows=4, num_train=60, transient=5.0, lyapunov_duration=5.0
)


@pytest.mark.slow
def test_noise_falls_on_training_and_history_and_not_on_the_truth_that_judges():
    case = dataclasses.replace(CASES["noise_5"], num_leads=20)
    noisy, clean = make_task(case, SMALL, 2), make_task(dataclasses.replace(case, noise=0.0), SMALL, 2)
    np.testing.assert_array_equal(noisy.windows.truth, clean.windows.truth)
    scale = np.asarray(clean.train.states).std(0)
    for own, other in ((noisy.train.states, clean.train.states), (noisy.windows.history, clean.windows.history)):
        np.testing.assert_allclose(
            np.std(np.asarray(own - other), axis=tuple(range(own.ndim - 1))) / scale, 0.05, rtol=0.4
        )
    shown = np.asarray(noisy.shown.states - clean.shown.states) / scale
    np.testing.assert_allclose(np.std(shown[:FIGURE_KNOWN], 0), 0.05, rtol=0.4)
    assert not shown[FIGURE_KNOWN:].any()


@pytest.mark.slow
def test_windows_without_a_switch_are_those_whose_parameter_stays():
    task = make_task(
        dataclasses.replace(CASES["switching"], num_leads=20), dataclasses.replace(SMALL, num_windows=30), 2
    )
    rho = task.truth.schedules["rho"]
    stays = [
        np.ptp([float(rho(t)) for t in np.arange(times[-21] + 0.005, times[-1], 0.01)]) == 0
        for times in np.asarray(task.windows.times)
    ]
    found = windows_without_switch(task)
    assert found.any()
    assert not found.all()
    np.testing.assert_array_equal(found, stays)


@pytest.mark.slow
def test_every_data_seed_has_a_switching_truth_of_its_own_and_cases_share_training_only_where_it_is_the_same():
    case = CASES["switching"]
    assert jaxcast.dynamics.describe_system(case.truth(1)) != jaxcast.dynamics.describe_system(case.truth(2))
    shared = {name for name, other in CASES.items() if other.training == CASES["paper"].training}
    assert shared == {"paper", "spin_up", "long"}
    for case in CASES.values():
        assert {case.truth(0).dim} == {candidate.dim for candidate in case.candidates}
        assert len(case.candidates) >= 9


@pytest.mark.slow
def test_a_sawtooth_is_integrated_as_smooth_pieces():
    """RK4 with a step that the jumps lie on keeps its order: pieces between jumps, each with a linear ramp, agree."""
    whole = jaxcast.Lorenz63(rho=Sawtooth(low=28.0, high=48.0, period=1.6))
    states = jaxcast.simulate(whole, [1.0, 1.0, 20.0], num_samples=49, dt=0.1, h=0.01).states
    state = states[0]
    for tooth in range(3):
        ramp = jaxcast.LinearRamp(start=28.0, stop=48.0, begin=0.0, end=1.6)
        piece = jaxcast.simulate(jaxcast.Lorenz63(rho=ramp), state, num_samples=17, dt=0.1, h=0.01).states
        np.testing.assert_allclose(piece, states[16 * tooth : 16 * tooth + 17], rtol=1e-9)
        state = piece[-1]


@pytest.mark.slow
def test_the_truth_alone_takes_the_finer_step():
    case = dataclasses.replace(CASES["finer_step"], num_leads=20)
    finer = make_task(case, SMALL, 2)
    own = jaxcast.flow_map(jaxcast.stack_systems(list(case.candidates)), dt=0.1, h=0.01)
    np.testing.assert_array_equal(finer.candidates(finer.valid.states[0]), own(finer.valid.states[0]))
    start = finer.valid.states[0]
    again = jaxcast.simulate(finer.truth, start, num_samples=3, dt=0.1, h=0.0025, t0=float(finer.valid.times[0])).states
    np.testing.assert_allclose(again, finer.valid.states[:3], rtol=1e-10)


@pytest.mark.slow
def test_pictures_of_switching_begin_where_the_parameter_jumps_before_and_after_the_truth_is_gone():
    case = dataclasses.replace(CASES["switching"], num_leads=20)
    task = make_task(case, dataclasses.replace(SMALL, num_windows=60), 2)
    rho, times = np.asarray(task.hidden_at(task.shown.times)), np.asarray(task.shown.times)
    assert len(times) > FIGURE_KNOWN
    assert np.ptp(rho[:FIGURE_KNOWN]) > 0
    assert np.ptp(rho[FIGURE_KNOWN:]) > 0


def test_spread_and_error_are_root_mean_squares_without_diverged_windows():
    rng = np.random.default_rng(0)
    size = rng.uniform(0.1, 3.0, (5000, 1))
    error = size * rng.normal(size=(5000, 2))
    found = spread_and_error(
        np.vstack([size**2 * np.ones((1, 2)), [[np.inf, 1.0]]]), np.vstack([error**2, [[1, np.nan]]])
    )
    np.testing.assert_allclose(found["spread"] / found["spread_error"], 1.0, rtol=0.05)


@pytest.mark.slow
def test_one_decomposition_for_all_penalties_is_the_fit_of_each():
    truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=200, dt=0.05, transient=5.0)
    penalties = np.logspace(-6, 2, 3)
    fit = skill_rivals.for_all_penalties(jaxcast.forecasters.fit_nvar, penalties)
    for penalty in penalties:
        cell = fit(truth, penalty=penalty, num_delays=2, degree=2)
        expected = jaxcast.forecasters.fit_nvar(truth.states, penalty=penalty, num_delays=2, degree=2)
        np.testing.assert_allclose(cell.readout.weights, expected.readout.weights, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_a_search_tells_all_that_it_tried_and_what_lies_on_an_edge(monkeypatch):
    case = dataclasses.replace(CASES["paper"], num_leads=20)
    task = make_task(case, dataclasses.replace(SMALL, num_train=200), 2)
    monkeypatch.setattr(skill_rivals, "NVAR_SHAPES", [(1, 1), (2, 1), (2, 2), (7, 1)])
    monkeypatch.setattr(skill_rivals, "NVAR_PENALTIES", np.asarray([1e-3, 1e9]))
    notes = skill_rivals.nvar(task, case, jax.random.key(0)).notes
    setting, tried = json.loads(notes["setting"]), json.loads(notes["tried"])
    assert len(tried) == 6  # seven delays are more than the history has
    best = max(tried, key=lambda one: one["valid_time"])
    assert setting == {name: best[name] for name in ("num_delays", "degree", "penalty")}
    assert "penalty" in skill_rivals.at_edge(setting, tried)
    grid = [{"a": a, "b": b, "valid_time": {1: 2.0, 2: 3.0, 3: 1.0}[a]} for a in (1, 2, 3) for b in (4, 5)]
    assert skill_rivals.at_edge({"a": 2, "b": 4}, grid) == ["b"]
    assert skill_rivals.at_edge({"a": 1, "b": 4}, [one for one in grid if one["a"] != 2]) == ["a", "b"]
    tied = [one | {"valid_time": 3.0} for one in grid]
    assert skill_rivals.at_edge({"a": 1, "b": 4}, tied) == ["b"]  # two is as good as one, and not on the edge


@pytest.mark.slow
def test_a_median_over_seeds_is_censored_where_its_upper_middle_is():
    times, censored = np.asarray([[2.0] * 20, [4.0] * 20]), np.asarray([[False] * 20, [True] * 20])
    longer = {"valid_time": times, "censored": censored}
    shorter = {"valid_time": times - 1, "censored": np.zeros_like(censored)}
    test = skill_results.against([longer], [shorter])
    assert test["num_censored"] == 20
    assert test["num_undecided"] == 0
    assert skill_results.against([shorter], [longer])["num_undecided"] == 0
    assert skill_results.against([longer], [{"valid_time": times + 1, "censored": ~censored}])["num_undecided"] == 20


@pytest.mark.slow
def test_a_row_is_the_median_of_medians_and_the_difference_that_windows_show():
    rng = np.random.default_rng(0)

    def arrays(shift: float) -> dict:
        times = np.round(rng.uniform(1, 3, (2, 40)), 1) + shift
        return {
            "valid_time": times,
            "censored": times > 4.5,
            "square_error": np.ones((2, 40, 50)) * np.arange(1, 51) ** 2,
            "spread": 2 * np.arange(1.0, 51.0),
            "spread_error": np.where(np.arange(50) < 10, 1e-9, np.arange(1.0, 51.0)),
            "samples_seen": np.asarray(6),
            "fit_s": np.asarray(1.0),
        }

    scores = {"attention": [arrays(0.0), arrays(0.0)], "regime": [arrays(2.0), arrays(2.0)]}
    task = SimpleNamespace(
        windows=SimpleNamespace(truth=np.zeros((40, 50, 3))),
        rules=SimpleNamespace(threshold=40.0, exponent=0.7),
        hidden=None,
        train=SimpleNamespace(states=np.zeros((4000, 3))),
    )
    row = skill_results.make_row("paper", "regime", scores, task, None)
    medians = [[np.median(times) for times in part["valid_time"]] for part in scores["regime"]]
    np.testing.assert_allclose(row["valid_time_median_per_seed"], medians)
    assert row["valid_time_median"] == pytest.approx(np.median([np.median(seeds) for seeds in medians]))
    assert row["share_censored"] == pytest.approx(np.mean([part["censored"] for part in scores["regime"]]))
    against = row["against_attention"]
    assert 1.5 < against["low"] < against["difference"] < against["high"] < 2.5
    assert against["wilcoxon"] < 1e-6
    assert skill_results.make_row("paper", "attention", scores, task, None)["published"] == 2.6
    assert row["median_error_at"]["5"] == 50
    assert row["spread_to_error_at"] == {"1.2": 2, "2.5": 2, "5": 2}  # the first leads err by rounding alone
    assert row["samples_seen"] == [6, 6]
    shown = dict(
        zip(*(line.strip("| \n").split(" | ") for line in skill_results.markdown([row]).split("\n")[:3:2]), strict=True)
    )
    assert shown["truths"] == "2"
    assert shown["median valid time"] == f"{row['valid_time_median']:.2f}"
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_windows": 0}, "num_windows must be at least 1"),
        ({"num_train": 10}, "num_train must be at least 200"),
        ({"data": Path("here")}, "makes its own data; remove --data"),
        ({"num_paper_seeds": 1}, "num_paper_seeds must be at least the 2 num_seeds"),
        ({"cases": ("spin_up",), "rivals": True, "num_train": 300}, "num_train must be at least 1000 for spin_up"),
        ({"cases": ("noise_5",), "num_train": 300}, "num_train must be at least 1000 for noise_5"),
        ({"cases": ()}, "expected different cases"),
        ({"cases": ("paper", "paper")}, "expected different cases"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_in_one_line(changed, message):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        lorenz_skill.check(dataclasses.replace(lorenz_skill.QUICK, **changed))
    assert "\n" not in str(caught.value)


def test_presets_are_flags():
    paper = parse(lorenz_skill.Config, lorenz_skill.PRESETS, ["--preset", "paper", "--num-windows", "3"])
    assert set(paper.cases) == set(CASES)
    assert paper.num_windows == 3
    assert paper.num_data_seeds == 3
    first = lorenz_setup.PRESETS["paper"].data_seed
    assert abs(paper.data_seed - first) >= paper.num_data_seeds  # windows of its own
    assert set(lorenz_skill.methods_of("spin_up", paper)) > set(skill_rivals.RIVALS)


def test_methods_can_be_run_alone_beside_attention_and_unknown_ones_are_refused():
    config = dataclasses.replace(lorenz_skill.PRESETS["paper"], methods=("ensemble_kalman_filter",))
    lorenz_skill.check(config)
    has = {name: lorenz_skill.methods_of(name, config) for name in config.cases}
    with_filter = {name for name, methods in has.items() if "ensemble_kalman_filter" in methods}
    assert with_filter == {"paper", "spin_up", "noise_1", "noise_5"}
    assert all(has[name] == ("attention", "ensemble_kalman_filter") for name in with_filter)
    whole = dataclasses.replace(config, methods=())
    assert lorenz_skill.methods_of("paper", whole)[:2] == ("attention", "regime")
    with pytest.raises(jaxcast.InputError, match=r"got \['oracle'\]; choose other --methods"):
        lorenz_skill.check(dataclasses.replace(config, methods=("oracle",)))

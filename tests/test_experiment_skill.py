"""`experiments.lorenz_skill`: its cases, its rows and its refusals. CI runs the whole of it as a smoke preset."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

import jaxcast
from experiments import lorenz_setup, lorenz_skill
from experiments.frame import parse
from experiments.skill_cases import CASES, make_task, windows_without_switch

SMALL = dataclasses.replace(
    lorenz_setup.PRESETS["smoke"], num_windows=4, num_train=60, transient=5.0, lyapunov_duration=5.0
)


def test_noise_falls_on_training_and_history_and_not_on_the_truth_that_judges():
    case = dataclasses.replace(CASES["noise_5"], window_size=20)
    noisy, clean = make_task(case, SMALL, 2), make_task(dataclasses.replace(case, noise=0.0), SMALL, 2)
    np.testing.assert_array_equal(noisy.windows.truth, clean.windows.truth)
    scale = np.asarray(clean.train.states).std(0)
    for own, other in ((noisy.train.states, clean.train.states), (noisy.windows.history, clean.windows.history)):
        np.testing.assert_allclose(
            np.std(np.asarray(own - other), axis=tuple(range(own.ndim - 1))) / scale, 0.05, rtol=0.4
        )


def test_windows_without_a_switch_are_those_whose_parameter_stays():
    task = make_task(
        dataclasses.replace(CASES["switching"], window_size=20), dataclasses.replace(SMALL, num_windows=30), 2
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


def test_every_data_seed_has_a_switching_truth_of_its_own_and_cases_share_training_only_where_it_is_the_same():
    case = CASES["switching"]
    assert case.truth(1) != case.truth(2)
    shared = {name for name, other in CASES.items() if other.training == CASES["paper"].training}
    assert shared == {"paper", "spin_up", "long"}
    for case in CASES.values():
        assert jaxcast.parse_system(case.truth(0)).dim == jaxcast.parse_candidates(case.candidates)[0].dim


def test_a_row_is_the_median_of_medians_and_the_difference_that_windows_show():
    rng = np.random.default_rng(0)

    def arrays(shift: float) -> dict:
        times = np.round(rng.uniform(1, 3, (2, 40)), 1) + shift
        return {
            "valid_time": times,
            "censored": times > 4.5,
            "square_error": np.ones((2, 40, 50)) * np.arange(1, 51) ** 2,
            "spread": 2 * np.arange(1.0, 51.0),
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
    row = lorenz_skill.make_row("paper", "regime", scores, task, None)
    medians = [[np.median(times) for times in part["valid_time"]] for part in scores["regime"]]
    np.testing.assert_allclose(row["valid_time_median_per_seed"], medians)
    assert row["valid_time_median"] == pytest.approx(np.median([np.median(seeds) for seeds in medians]))
    assert row["share_censored"] == pytest.approx(np.mean([part["censored"] for part in scores["regime"]]))
    against = row["against_attention"]
    assert 1.5 < against["low"] < against["difference"] < against["high"] < 2.5
    assert against["wilcoxon"] < 1e-6
    assert lorenz_skill.make_row("paper", "attention", scores, task, None)["published"] == 2.6
    assert row["median_error_at"]["5"] == 50
    assert row["spread_to_error_at"]["5"] == 2
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_windows": 0}, "num_windows must be at least 1"),
        ({"num_train": 10}, "num_train must be at least 200"),
        ({"num_rival_data_seeds": 0}, "num_rival_data_seeds must be at least 1"),
        ({"cases": ("noise_5",), "num_train": 300}, "num_train must be at least 1000 for noise_5"),
        ({"cases": ()}, "expected different cases"),
        ({"cases": ("paper", "paper")}, "expected different cases"),
        ({"seed": -1}, "seed must be from 0"),
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

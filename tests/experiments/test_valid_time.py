"""`experiments.valid_time`: its rows, what counts as below, its page and its refusals."""

import dataclasses
import json

import numpy as np
import pytest

import jaxcast
from experiments.pages import marked
from experiments.valid_time import __main__ as valid_time
from experiments.valid_time import page, pictures
from experiments.valid_time import rows as rows_module
from experiments.valid_time.ceilings import hidden_off
from experiments.valid_time.methods import chosen
from jaxcast.benchmark import find_case, make_task


def arrays(shift, trial_mean, num_windows=40, seed=0):
    times = np.round(np.random.default_rng(seed).uniform(1, 3, num_windows), 1) + shift
    return {
        "valid_times": times,
        "censored": times > 4.5,
        "rmse": np.arange(1.0, 129.0),
        "trial_mean": np.asarray(trial_mean),
        "trial_error": np.asarray(1.0),
        "setting": np.asarray("{}"),
        "cpu_s": np.asarray(1.0),
    }


@pytest.mark.slow
def test_the_default_is_what_its_trials_say_and_may_be_below_on_the_windows():
    case = find_case("paper")
    per_truth = [
        {"ridge": arrays(0.0, 5.0, seed=n), "nvar": arrays(1.0, 4.0, seed=n), "regime": arrays(0.2, 4.5, seed=n)}
        for n in range(2)
    ]
    assert [chosen(scores) for scores in per_truth] == ["ridge", "ridge"]
    rows = rows_module.rows_of(case, per_truth)
    own = {row["method"]: row for row in rows}
    assert own["fit_pool"]["chosen"] == ["ridge", "ridge"]
    assert own["fit_pool"]["valid_time_median"] == own["ridge"]["valid_time_median"]
    assert own["ridge"]["against_default"]["wilcoxon"] == 1
    assert own["nvar"]["against_default"]["difference"] == pytest.approx(1.0)
    medians = [np.median(scores["nvar"]["valid_times"]) for scores in per_truth]
    assert own["nvar"]["valid_time_median"] == pytest.approx(np.median(medians))
    assert rows_module.is_below(rows, "paper")
    assert rows_module.best_alternative(rows, "paper")["method"] == "nvar"
    better = [scores | {"nvar": arrays(-0.5, 4.0, seed=n)} for n, scores in enumerate(per_truth)]
    better = [{name: one for name, one in scores.items() if name != "regime"} for scores in better]
    assert not rows_module.is_below(rows_module.rows_of(case, better), "paper")
    json.dumps(rows, allow_nan=False)
    assert not rows_module.spreads(rows)
    noisy = [{name: one | {"spread": 2 * one["rmse"]} for name, one in scores.items()} for scores in per_truth]
    lines = rows_module.spreads(rows_module.rows_of(find_case("process_noise_1"), noisy))
    assert lines == [("process_noise_1", name, *["2.00"] * 7) for name in ("ridge", "nvar", "regime")]
    assert rows_module.picked({"chosen": ["regime", "hybrid", "regime"]}) == "regime 2, hybrid 1"
    assert len(pictures.draw(rows)["cases.png"].axes[0].lines) == len(pictures.SHOWN)


@pytest.mark.slow
def test_what_is_hidden_starts_off_and_what_is_seen_does_not():
    case = dataclasses.replace(find_case("hidden_chaos"), transient=1.0, num_leads=7)
    task = make_task(case, seed=2, num_windows=3, num_train=50)
    states = np.random.default_rng(0).normal(size=(500, 6))
    off = hidden_off(task, states[:100], states)
    np.testing.assert_array_equal(off[:, :3], states[:100, :3])
    np.testing.assert_allclose((off - states[:100])[:, 3:].std(), 0.01, rtol=0.2)
    scales = task._replace(case=dataclasses.replace(case, group="scales"))
    drawn = hidden_off(scales, states[:100], states)
    assert np.isin(drawn[:, 3:], states[:, 3:]).all()
    assert (drawn[:, 3:] == states[:100, 3:]).all(1).mean() < 0.1


def test_the_tables_are_those_of_the_results():
    text = (page.HERE / "README.md").read_text()
    tables = {"leader board": page.board(), "choices": page.choices(), "spread": page.spread()}
    assert len(rows_module.committed()) > 100
    assert all(marked("valid_time", name, table) in text for name, table in tables.items())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_windows": 0}, "num_windows must be at least 1"),
        ({"cases": ()}, "expected cases and methods"),
        ({"cases": ("papr",)}, "unknown case 'papr'"),
        ({"methods": ("regme",)}, "unknown method 'regme'; did you mean regime"),
        ({"methods": ("perfect_model",)}, "expected a method among which the default can choose"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_in_one_line(changed, message):
    with pytest.raises(jaxcast.InputError, match=message):
        valid_time.check(dataclasses.replace(valid_time.QUICK, **changed))


def test_the_cases_of_the_leader_board_exist():
    assert len(valid_time.MAIN) >= 16
    for name in valid_time.MAIN:
        find_case(name)

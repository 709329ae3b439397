"""`experiments.assimilation`: its baselines against formulas, and a run on small numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from experiments.assimilation import filters
from experiments.assimilation import page as assimilation_page
from experiments.assimilation.baselines import StaticFilter
from experiments.assimilation.settings import METHODS, SETTINGS


def test_static_filters_are_their_formula():
    covariance = np.asarray([[2.0, 0.5], [0.5, 1.0]])
    values = np.asarray([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
    gain = covariance @ np.linalg.inv(covariance + 0.49 * np.eye(2))
    for model, step in ((None, lambda u: np.asarray([0.3, 0.1])), (lambda u: 0.9 * u, lambda u: 0.9 * u)):
        model = None if model is None else jax.tree_util.Partial(model)
        outputs = jaxcast.open_loop(StaticFilter(model, jnp.asarray([0.3, 0.1]), covariance, 0.7), jnp.asarray(values))
        forecast = np.asarray([0.3, 0.1])
        for n, value in enumerate(values):
            analysis = forecast + gain @ (value - forecast)
            np.testing.assert_allclose(outputs.info["analysis"][n], analysis, rtol=1e-9)
            forecast = step(analysis)
        spread = np.sqrt(np.diag(covariance - gain @ covariance))
        np.testing.assert_allclose(outputs.info["analysis_spread"][0], spread, rtol=1e-9)


def test_rows_are_means_over_truths():
    method = next(method for method in METHODS if method.num_members == 10)
    scores = {
        "rmse": np.asarray([0.5, 0.7]),
        "square": np.asarray([0.3, 0.5]),
        "variance": np.asarray([0.2, 0.4]),
        "by_cycle": np.zeros(3),
    }
    row = filters.row_of(method, scores)
    assert (row["rmse"], row["rmse_worst"], row["num_truths"]) == (pytest.approx(0.6), 0.7, 2)
    assert row["rmse_error"] == pytest.approx(np.std([0.5, 0.7], ddof=1) / 2**0.5)
    assert row["spread_to_error"] == pytest.approx(np.sqrt(1.1 * 0.3 / 0.4))


def test_names_and_settings_are_those_of_the_published_table():
    assert len({(method.setting, method.name) for method in METHODS}) == len(METHODS)
    assert {method.setting for method in METHODS} == set(SETTINGS)
    published = {method.name: method.published for method in METHODS if method.setting == "lorenz63"}
    assert published["EnKF, 10 members"] == 0.60
    assert published["iterative smoother, 10 members"] == 0.31


@pytest.mark.slow
def test_analyses_are_better_than_their_baselines():
    setting = SETTINGS["lorenz63"]
    truths = filters.truths_of(setting, 2, 100 + setting.num_burned, 3)
    climatology = filters.climatology_of(setting)
    names = ("optimal interpolation", "3D-Var", "EnKF, finite size, 10 members", "4D-Var, 6 steps")
    chosen = [next(m for m in METHODS if (m.setting, m.name) == ("lorenz63", name)) for name in names]
    errors = [filters.score(method, truths, climatology, 4)["rmse"].mean() for method in chosen]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(1.25, abs=0.2)
    assert errors[2] < 0.65


@pytest.mark.slow
def test_an_experiment_writes_its_rows_and_resumes(tmp_path, capsys):
    from experiments.assimilation import __main__ as assimilation

    with jax.enable_x64(False):
        config = assimilation.Config(
            preset="smoke", cases=("x_alone",), parts=("pools",), num_windows=1, num_train=60, num_members=6,
            num_epochs=1, out=tmp_path / "run",
        )  # fmt: skip
        assimilation.main(config)
        results = (tmp_path / "run/results.json").read_text()
        assert "valid for" in capsys.readouterr().out
        rows = json.loads(results)["rows"]
        assert {row["method"] for row in rows} == set(assimilation.POOLED)
        assert (tmp_path / "run/valid_times.png").is_file()
        assert len(assimilation_page.lines_of(rows, "pools")) == len(rows)
        assimilation.main(config)
        assert (tmp_path / "run/results.json").read_text() == results

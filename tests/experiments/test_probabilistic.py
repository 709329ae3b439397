"""The experiment on many series: data, plain methods against published numbers, and its tables."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.pages import marked
from experiments.probabilistic import methods, page
from experiments.probabilistic.__main__ import PRESETS, Run, compare, main
from experiments.probabilistic.data import made_task, read_task, rolling
from experiments.probabilistic.plain import (
    calibrated_ridge,
    fit_autoregression,
    lags_of,
    recursive_ridge,
    seasonal_naive,
)
from experiments.probabilistic.scores import LEVELS, make_row, scored
from jaxcast import InputError
from jaxcast.series import series_panel
from tests.real_data import real_data


@pytest.fixture(scope="module")
def hourly():
    return read_task(real_data("m4_hourly"), None, None)


@pytest.mark.slow
def test_the_seasonal_naive_row_is_the_published_one(hourly):
    assert len(hourly.panel.names) == 414
    assert hourly.horizon == 48
    found = scored(hourly, seasonal_naive(hourly, LEVELS))
    np.testing.assert_allclose(found["nd"], 0.048309, atol=5e-7)


def test_the_lags_are_those_of_the_source(hourly):
    wanted = [*range(1, 26), 47, 48, 49, 72, 96, 120, 144, 167, 168, 169]
    assert lags_of(hourly, 700).tolist() == wanted


def test_nothing_is_learned_from_the_test_part():
    task = made_task(0)
    later = task.panel.values.copy()
    for offset, length, origin in zip(task.panel.offsets, task.panel.lengths, task.origins[0], strict=True):
        later[offset + origin + 1 : offset + length] = 1e6
    other = task._replace(panel=task.panel._replace(values=later))
    for method in (seasonal_naive, recursive_ridge, calibrated_ridge):
        np.testing.assert_array_equal(method(task, LEVELS)[0], method(other, LEVELS)[0])


def test_an_autoregression_continues_what_it_can_fit():
    values = 3 + np.sin(2 * np.pi * np.arange(60) / 6)
    model = fit_autoregression(values, np.asarray([1, 2, 6]))
    np.testing.assert_allclose(model.roll(values, 9), 3 + np.sin(2 * np.pi * np.arange(60, 69) / 6), atol=0.05)


def test_origins_end_with_the_series():
    panel = series_panel([np.arange(50.0), np.arange(40.0)])
    task = rolling("two", panel, 5, (6,), first=30, lower=None)
    np.testing.assert_array_equal(task.origins, [[29, 29], [34, 34], [39, 39], [44, 44]])
    np.testing.assert_array_equal(task.truth()[-1, 0], np.arange(45, 50))
    assert np.isnan(task.truth()[-1, 1]).all()


def test_an_archive_of_other_data_is_read(tmp_path):
    values = [np.arange(60.0), np.arange(80.0)]
    np.savez(
        tmp_path / "weekly.npz",
        train=np.concatenate(values),
        length=np.asarray([60, 80]),
        test=np.ones((2, 13)),
        series=np.asarray("a\nb"),
    )
    task = read_task(tmp_path, 52, 9)
    assert (task.seasons, task.horizon, task.lower) == ((52,), 9, 0.0)
    assert task.train.lengths.tolist() == [60, 80]
    of_file = read_task(tmp_path / "weekly.npz", 52, 9)
    assert (of_file.name, of_file.origins.tolist()) == ("weekly", task.origins.tolist())
    assert np.isfinite(recursive_ridge(task, LEVELS)).all()
    with pytest.raises(InputError, match="horizon must be from 1 to the 13 steps"):
        read_task(tmp_path, 52, 14)
    (tmp_path / "weekly.npz").rename(tmp_path / "weekly.txt")
    with pytest.raises(InputError, match=r"expected one \.npz of series"):
        read_task(tmp_path, None, None)


def archive(folder, train, test):
    lengths, names = np.asarray([len(one) for one in train]), "\n".join(f"s{k}" for k in range(len(train)))
    np.savez(folder / "data.npz", train=np.concatenate(train), length=lengths, test=test, series=np.asarray(names))
    return folder


def test_missing_values_at_either_end_move_no_origin(tmp_path):
    gaps = np.full(3, np.nan)
    train = [np.arange(20.0), np.concatenate([gaps, np.arange(9.0), gaps]), np.arange(5.0)]
    test = np.arange(12.0).reshape(3, 4)
    test[0, 2:] = test[2] = np.nan
    task = read_task(archive(tmp_path, train, test), 4, None)
    np.testing.assert_array_equal(task.truth()[0], test)
    assert task.train.lengths.tolist() == [20, 12, 5]
    assert task.seen_from(3)[0].tolist() == [19, 8, 4]  # the second saw nothing for three steps
    assert task.seen_from(4)[0].tolist() == [19, 11, 4]
    found = seasonal_naive(task, LEVELS)[0, :, :, LEVELS.index(0.5)]
    np.testing.assert_array_equal(found, [[16, 17, 18, 19], [8] * 4, [4] * 4])


def test_the_least_value_is_that_of_the_training_part(tmp_path):
    folder = archive(tmp_path, [np.arange(20.0)], -np.ones((1, 4)))
    assert read_task(folder, 4, None).lower == 0
    with pytest.raises(InputError, match="no value in test"):
        read_task(archive(tmp_path, [np.arange(20.0)], np.full((1, 4), np.nan)), 4, None)


HARD = {
    "one": [5.0],
    "three": [1.0, 2.0, 4.0],
    "constant": [7.0] * 9,
    "zero": [0.0] * 40,
    "rare": [0.0, 0, 0, 0, 1] * 8,
    "huge": [*(1e12 * np.arange(1, 31)), np.nan],
    "falling": [*-(np.arange(60.0) ** 2)],
}


@pytest.mark.parametrize("season", [12, 1])
@pytest.mark.parametrize("method", [seasonal_naive, recursive_ridge, calibrated_ridge])
def test_plain_methods_forecast_short_constant_and_huge_series(tmp_path, method, season):
    task = read_task(archive(tmp_path, [*map(np.asarray, HARD.values())], np.ones((7, 6))), season, None)
    found = method(task, LEVELS)
    assert found.shape == (1, 7, 6, 13)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) >= 0).all()
    for name, value in (("one", 5), ("constant", 7), ("zero", 0)):
        np.testing.assert_array_equal(found[0, [*HARD].index(name)], value)
    assert np.abs(found[0, [*HARD].index("huge")]).max() < 1e14
    assert method(task._replace(lower=0.5), LEVELS).min() == 0.5


@pytest.mark.slow
def test_recalibrated_intervals_of_short_series_cover_what_they_promise():
    noise = np.random.default_rng(0).normal(5, 1, (150, 46))
    task = rolling("noise", series_panel(list(noise)), 6, (4,), first=40, lower=None)
    plain, moved = (scored(task, method(task, LEVELS)) for method in (recursive_ridge, calibrated_ridge))
    assert plain["coverage95"] < 0.9
    assert moved["coverage95"] == pytest.approx(0.95, abs=0.025)
    assert moved["coverage80"] == pytest.approx(0.8, abs=0.03)
    assert moved["nd"] == pytest.approx(plain["nd"], abs=1e-6)
    assert moved["wql"] < plain["wql"]


@pytest.mark.slow
def test_scores_without_a_value_are_none(tmp_path):
    task = read_task(archive(tmp_path, [np.ones(9), np.arange(3.0)], np.zeros((2, 2))), 8, None)
    row = make_row("seasonal_naive", task, [scored(task, seasonal_naive(task, LEVELS))])
    assert row["wql"] is row["mase"] is row["nd"] is None
    assert 0 <= row["coverage50"] <= 1
    json.dumps(row, allow_nan=False)


@pytest.mark.slow
def test_a_method_that_cannot_forecast_is_left_out(monkeypatch):
    def fails(*_):
        raise InputError("too short")

    monkeypatch.setitem(methods.METHODS, "tft", methods.Method(fails, draws=True))
    config = dataclasses.replace(PRESETS["smoke"], methods=("recursive_ridge", "tft", "average"))
    folder = SimpleNamespace(stage=lambda name, compute: compute(None))
    rows, _, left_out = compare(Run(folder, made_task(0), config), SimpleNamespace(print=lambda *_, **__: None))
    assert left_out == {"tft": "too short"}
    assert [row["method"] for row in rows] == ["recursive_ridge", "average"]
    assert rows[0]["wql"] == rows[1]["wql"]
    with pytest.raises(InputError, match="no method can forecast these data: too short"):
        compare(Run(folder, made_task(0), dataclasses.replace(config, methods=("tft",))), None)


def test_a_run_that_no_method_can_do_leaves_no_folder(tmp_path):
    np.savez(tmp_path / "a.npz", train=np.arange(6.0), length=[6], test=np.ones((1, 3)), series="a")
    config = dataclasses.replace(PRESETS["quick"], data=tmp_path / "a.npz", season=12, methods=("panel_regression",))
    with pytest.raises(InputError, match="no method can forecast these data: every series is too short"):
        main(dataclasses.replace(config, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_tables_are_the_committed_results():
    text = (page.HERE / "README.md").read_text()
    for name in page.DATA:
        assert marked("probabilistic", name, page.table(name)) in text

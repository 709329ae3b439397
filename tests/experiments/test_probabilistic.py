"""The experiment on many series: data, plain methods against published numbers, and its tables."""

import numpy as np
import pytest

from experiments.pages import marked
from experiments.probabilistic import page
from experiments.probabilistic.data import made_task, read_task, rolling
from experiments.probabilistic.plain import fit_autoregression, lags_of, recursive_ridge, seasonal_naive
from experiments.probabilistic.scores import LEVELS, scored
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
    for method in (seasonal_naive, recursive_ridge):
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
    assert np.isfinite(recursive_ridge(task, LEVELS)).all()
    with pytest.raises(InputError, match="horizon must be from 1 to the 13 steps"):
        read_task(tmp_path, 52, 14)
    (tmp_path / "weekly.npz").rename(tmp_path / "weekly.txt")
    with pytest.raises(InputError, match=r"expected one \.npz of series"):
        read_task(tmp_path, None, None)


def test_the_tables_are_the_committed_results():
    text = (page.HERE / "README.md").read_text()
    for name in page.DATA:
        assert marked("probabilistic", name, page.table(name)) in text

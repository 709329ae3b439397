"""Pools of a user's own: what they may look at, and what they must return."""

import dataclasses
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse

DATES = np.datetime64("2024-01-06") + 7 * np.arange(5)


class Returning(jaxcast.hub.MemorylessPool, jaxcast.FrozenPytree, name="returning"):
    """Returns what it is told to."""

    make: object = jaxcast.static(default=lambda forecasts: forecasts.quantiles[:, :, 0, ::-1])
    bare: bool = jaxcast.static(default=False)

    def __call__(self, memory, forecasts):
        made = self.make(forecasts)
        return made if self.bare else jaxcast.Output(made, {})


def made():
    values = np.arange(24.0).reshape(2, 2, 2, 3) + 1
    values[0, 0, 1] = values[1, 1] = np.nan
    return jaxcast.hub.HubForecasts.of(values, np.ones((2, 2)), np.asarray([0.25, 0.5, 0.75]))


@pytest.mark.slow
def test_a_pool_of_ones_own_looks_at_no_absent_model(monkeypatch):
    """Whose quantiles are zero, or any other number."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs/how_to/examples"))
    own = importlib.import_module("my_quantile_pool")
    forecasts = made()
    values, absent = forecasts.quantiles, ~forecasts.present[..., None]
    pool = own.Widest()
    found = jaxcast.hub.pool_forecasts(pool, forecasts).forecast
    np.testing.assert_array_equal(found[0, 0], values[0, 0, 0])
    assert np.isnan(found[1, 1]).all()
    for huge in (1e9, -1e9):
        other = dataclasses.replace(forecasts, quantiles=jnp.where(absent, huge, forecasts.quantiles))
        np.testing.assert_array_equal(jaxcast.hub.pool_forecasts(pool, other).forecast, found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (Returning(lambda f: f.quantiles.mean(2), bare=True), "expected the pool Returning to return a jaxcast.Output"),
        (Returning(lambda f: f.quantiles), r"\(location, time, quantile\), \(2, 2, 3\), .*got \(2, 2, 2, 3\)"),
        (Returning(lambda f: 3.0), r"\(2, 2, 3\), .*got \(\)"),
    ],
)
def test_what_is_no_forecast_is_refused_in_one_line(pool, message):
    for run in (jaxcast.hub.pool_forecasts, lambda pool, forecasts: jaxcast.hub.model_importance(forecasts, pool=pool)):
        with pytest.raises(jaxcast.InputError, match=message) as caught:
            run(pool, made())
        assert "\n" not in str(caught.value)


def test_quantiles_that_cross_are_not_written(tmp_path):
    rows = [f"a,X,{date},1,{level},{10 * level}" for date in DATES for level in (0.25, 0.5, 0.75)]
    (tmp_path / "f.csv").write_text("\n".join(["model,location,target_end_date,horizon,quantile,value", *rows]))
    (tmp_path / "t.csv").write_text("\n".join(["location,date,value", *(f"X,{date},5" for date in DATES[:-1])]))
    given = ["--forecasts", tmp_path / "f.csv", "--truth", tmp_path / "t.csv", "--out", tmp_path / "out"]
    command = ["hub", "forecast", *given, "--target-name", "x", "--method", "returning"]
    with pytest.raises(jaxcast.InputError, match=r"the pool returning gives quantiles that cross at horizon 1.* X on"):
        parse([str(each) for each in command]).run()
    assert not (tmp_path / "out").exists()


def test_what_a_round_cannot_hold_is_refused_and_shown(tmp_path):
    truth, levels, quantiles = np.ones((1, 5)), np.asarray([0.25, 0.5, 0.75]), np.asarray([[1.0, 2.0, 3.0]])
    hub = jaxcast.hub.Hub(np.ones((1, 5, 1, 3)), truth, truth[..., None], ("X",), DATES, ("a",), levels, 1)
    message = "2024-01-17 gives the target date 2024-01-24 at horizon 1, which is not a whole number of steps"
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.hub.write_submission(tmp_path, "a-b", {1: quantiles}, hub, reference_date="2024-01-17", target="x")
    assert not list(tmp_path.iterdir())
    (tmp_path / "f.csv").write_text("model,location,target_end_date,horizon,quantile,value\na,X,2024-01-06,1,0.5,1")
    for rows, message in (
        (["X,01/06/2024,3"], "row 1 has the date '01/06/2024' and the value '3'"),
        (["X,2024-01-06,3", "X,2024-01-06,4"], "keep one release of them by truth_source, or name their days in as_of"),
    ):
        (tmp_path / "t.csv").write_text("\n".join(["location,date,value", *rows]))
        with pytest.raises(jaxcast.InputError, match=message):
            jaxcast.load_hub(tmp_path / "f.csv", tmp_path / "t.csv")


def test_target_data_of_a_time_that_is_not_there_are_refused():
    forecasts = made()
    for time in (2, 1000, -1):
        with pytest.raises(jaxcast.InputError, match=f"expected a time from 0 to 1, got {time}"):
            jaxcast.hub.known_truth(forecasts, time)
    found = jax.jit(jaxcast.hub.known_truth)(forecasts, 1)
    np.testing.assert_array_equal(found, jaxcast.hub.known_truth(forecasts, 1))
    truth = np.ones((2, 5))
    hub = jaxcast.hub.Hub(
        np.ones((2, 5, 1, 1)), truth, truth[..., None], ("a", "b"), DATES, ("m",), np.asarray([0.5]), 1
    )
    np.testing.assert_array_equal(hub.known_truth(-1), hub.known_truth(4))
    for time in (5, -6):
        with pytest.raises(jaxcast.InputError, match=f"expected a time from -5 to 4, got {time}"):
            hub.known_truth(time)

"""`fit_series` in Python: what it chooses, what it returns, and forecasters from outside of the package."""

import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast

LENGTH, LEVELS = 96, (0.1, 0.5, 0.9)
DATES = np.datetime64("2017-01", "M") + np.arange(LENGTH)


def table(values=None, **covariates):
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(LENGTH, 2)), 0) * [1, 10] if values is None else values
    return jaxcast.series.series_table(walk, DATES, names=("north", "south"), **covariates)


def fit(*args, **options):
    return jaxcast.series.fit_series(*args, **{"methods": ("last_value",), "levels": LEVELS, "season": 0} | options)


class Line(jaxcast.series.TrainableForecaster, name="line_in_time"):
    """The mean step of each series, learned from the windows it is given."""

    step: object
    leads: tuple[int, ...] = jaxcast.static()

    @property
    def signature(self):
        return jaxcast.series.WindowSignature(len(self.leads), leads=self.leads, mean=self.step)

    @classmethod
    def fit(cls, windows, *, problem):
        steps = (windows.targets - windows.history[:, None, -1]) / jnp.asarray(problem.leads)[:, None]
        return cls((windows.weights * steps).sum((0, 1)) / windows.weights.sum((0, 1)), problem.leads)

    def __call__(self, history, covariates=None):
        ahead = jnp.asarray(self.leads)[:, None] * self.step
        return jaxcast.Output(history[..., -1:, :] + ahead, {})


@pytest.mark.slow
def test_the_method_with_the_smallest_validation_error_is_chosen_and_all_are_scored():
    straight = np.arange(LENGTH)[:, None] * [1.0, 5.0] + np.random.default_rng(1).normal(size=(LENGTH, 2))
    said = []
    fitted = fit(table(straight), horizon=3, methods=("last_value", "drift"), progress=said.append)
    assert [one.method for one in fitted.scores] == ["drift", "last_value"]
    assert fitted.model.method == "drift"
    assert said == ["training last_value", "training drift", "training drift on all dates"]
    assert (fitted.validation_from, fitted.test_from) == ("2021-11-01", "2023-06-01")
    drift, last = fitted.scores
    assert drift.validation_mae < last.validation_mae
    assert drift.test.wis == 2 * drift.test.pinball
    assert set(drift.test.coverage) == {"0.8"}


class Unable(jaxcast.series.TrainableForecaster, name="unable"):
    """Learns from nothing."""

    signature = None

    @classmethod
    def fit(cls, windows, *, problem):
        raise jaxcast.InputError("expected another table")

    def __call__(self, history, covariates=None):
        return jaxcast.Output(history, {})


@pytest.mark.slow
def test_a_method_that_cannot_learn_is_left_out_with_its_reason():
    fitted = fit(table(), horizon=2, methods=("unable", "last_value"))
    assert [one.method for one in fitted.scores] == ["last_value"]
    assert fitted.left_out == {"unable": "expected another table"}
    with pytest.raises(jaxcast.InputError, match="expected another table"):
        fit(table(), horizon=2, methods=("unable",))


@pytest.mark.slow
def test_the_test_part_is_as_large_as_its_share():
    fitted = fit(table(), horizon=2, validation_share=0.25, test_share=0.125)
    assert (fitted.validation_from, fitted.test_from) == (str(DATES[60]) + "-01", str(DATES[84]) + "-01")
    assert fitted.scores[0].test.num_values == 2 * (12 + 12)


@pytest.mark.slow
def test_a_model_forecasts_saved_and_loaded_alike_and_series_in_any_order(tmp_path):
    own = table()
    model = fit(own, leads=(1, 4), methods=("ridge",)).model
    forecast = model.forecast(own)
    assert (forecast.origin, forecast.dates) == ("2024-12-01", ("2025-01-01", "2025-04-01"))
    np.testing.assert_array_equal(forecast.quantiles[..., 1], forecast.forecast)
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    swapped = jaxcast.series.series_table(own.values[:, ::-1], DATES, names=("south", "north"))
    np.testing.assert_array_equal(loaded.forecast(swapped).quantiles, forecast.quantiles)


@pytest.mark.slow
def test_a_forecast_from_an_earlier_date_sees_nothing_later():
    own = table()
    model = fit(own, horizon=2, methods=("ridge",)).model
    later = table(np.where(np.arange(LENGTH)[:, None] > 80, 99.0, own.values))
    earlier = [model.forecast(one, at=str(DATES[80]) + "-01").quantiles for one in (own, later)]
    np.testing.assert_array_equal(*earlier)


@pytest.mark.slow
def test_covariates_of_arrays_are_those_of_a_file(tmp_path):
    heat = np.random.default_rng(2).normal(size=LENGTH + 2)
    values = np.stack([heat[:LENGTH], 3 * heat[:LENGTH]], 1) + 0.01 * np.random.default_rng(3).normal(size=(LENGTH, 2))
    months = DATES[0] + np.arange(LENGTH + 2).astype("timedelta64[M]")
    rows = [
        f"{month}-01,{v},{w},{heat[n]}"
        for n, (month, (v, w)) in enumerate(zip(months, [*values.tolist(), ["", ""], ["", ""]], strict=True))
    ]
    (tmp_path / "t.csv").write_text("date,north,south,heat\n" + "\n".join(rows) + "\n")
    read = jaxcast.read_series(tmp_path / "t.csv", future_covariates=("heat",))
    made = table(values, future_covariates=np.repeat(heat[:, None, None], 2, 1))
    assert made.covariate_names["future_covariates"] == ("future 1",)
    found = []
    for one in (read, made):
        fitted = fit(one, horizon=2, methods=("ridge",))
        assert fitted.scores[0].test.mae < 0.2  # the covariate tells the targets
        found.append(fitted.model.forecast(one).quantiles)
    np.testing.assert_allclose(*found, rtol=1e-9)


@pytest.mark.slow
def test_a_forecaster_of_a_user_is_fitted_scored_saved_and_loaded(tmp_path):
    straight = np.arange(LENGTH)[:, None] * [1.0, 5.0] + np.random.default_rng(1).normal(size=(LENGTH, 2))
    own = table(straight)
    model = fit(own, horizon=2, methods=("last_value", "line_in_time")).model
    assert model.method == "line_in_time"
    np.testing.assert_allclose(model.forecaster.forecaster.step, [1, 5], atol=0.1)
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(loaded.forecast(own).quantiles, model.forecast(own).quantiles)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either a horizon or leads, got horizon=None and leads=()"),
        ({"horizon": 2, "leads": (1,)}, "give either a horizon or leads"),
        ({"horizon": 0}, "horizon must be from 1 to below the table's 96 dates, got 0"),
        ({"leads": (2, 1)}, "leads must rise"),
        ({"horizon": 2, "methods": ("arima",)}, "unknown method 'arima'; the methods are last_value, .*line_in_time"),
        ({"horizon": 2, "methods": ("drift", "drift")}, "name each method once, got drift, drift"),
        ({"horizon": 2, "methods": ()}, "name each method once"),
        ({"horizon": 2, "methods": ("seasonal_last_value",)}, "seasonal_last_value needs a season"),
        ({"horizon": 2, "validation_share": 0.5}, "validation_share must be above 0 and below 0.5, got 0.5"),
        ({"horizon": 2, "test_share": 0.0}, "test_share must be .*above 0, got 0"),
        ({"horizon": 2, "season": 1}, "season must be at least 2 steps"),
        ({"horizon": 50}, "need at least 68 dates to learn from, got 58 of the table's 96"),
        ({"horizon": 2, "lower": 0.0}, "which is below lower=0; give a smaller lower"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    with pytest.raises(jaxcast.InputError, match=message) as refused:
        fit(table(), **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dates": DATES[::-1]}, "expected 96 rising dates"),
        ({"dates": ["soon"] * LENGTH}, "expected dates that NumPy reads"),
        ({"names": ("a",)}, "expected 2 different names, got"),
        ({"names": ("a", "a")}, "expected 2 different names, got"),
        (
            {"past_covariates": np.zeros((LENGTH, 3, 1))},
            "past_covariates .* has 3 along the axis region, where values has 2",
        ),
        (
            {"future_covariates": np.zeros((9, 2, 1))},
            "expected future_covariates of at least 96 rows, as the values, got 9",
        ),
        (
            {"static_covariates": np.zeros((3, 1))},
            "static_covariates .* has 3 along the axis region, where values has 2",
        ),
    ],
)
def test_bad_tables_are_refused_in_one_line(changes, message):
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.series.series_table(np.zeros((LENGTH, 2)), **{"dates": DATES} | changes)


@pytest.mark.slow
def test_a_table_of_other_covariates_is_refused():
    model = fit(table(past_covariates=np.ones((LENGTH, 2, 1)) * np.arange(LENGTH)[:, None, None]), horizon=2).model
    with pytest.raises(jaxcast.InputError, match=r"past_covariates \(\), expected \('past 1',\)"):
        model.forecast(table())


@pytest.mark.slow
def test_a_forecaster_of_a_user_is_named_on_the_command_line(tmp_path):
    """Its module lies in the current folder, outside of the package."""
    source = (
        "import jax.numpy as jnp\nimport jaxcast\n\n\nclass Zero(jaxcast.series.TrainableForecaster, name='zero'):\n"
        "    num_leads: int = jaxcast.static()\n\n    @property\n    def signature(self):\n"
        "        return jaxcast.series.WindowSignature(self.num_leads)\n\n    @classmethod\n"
        "    def fit(cls, windows, *, problem):\n        return cls(len(problem.leads))\n\n"
        "    def __call__(self, history, covariates=None):\n"
        "        shape = (*history.shape[:-2], self.num_leads, history.shape[-1])\n"
        "        return jaxcast.Output(jnp.zeros(shape), {})\n"
    )
    (tmp_path / "mine.py").write_text(source)
    noise = np.random.default_rng(0).normal(size=LENGTH)
    rows = [f"{DATES[0] + n}-01,{value}" for n, value in enumerate(noise.tolist())]
    (tmp_path / "t.csv").write_text("date,a\n" + "\n".join(rows) + "\n")

    def jaxcast_series(*args):
        command = [sys.executable, "-m", "jaxcast.cli.main", "--import", "mine", "series", *args]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    jaxcast_series("train", "t.csv", "--out", "m", "--method", "last_value", "zero", "--horizon", "2", "--season", "0")
    assert json.loads((tmp_path / "m/results.json").read_text())["method"] == "zero"
    jaxcast_series("forecast", "--model", "m", "--data", "t.csv", "--out", "f.csv")
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 1 + 2 * 7

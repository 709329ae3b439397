"""What the pictures say: the same colours for the same things, units, and what is left out."""

import itertools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import plotting
from jaxcast.cli.hub import output as hub_output
from jaxcast.cli.pool.hidden_parameter import candidate_names
from jaxcast.cli.pool.pictures import draw_valid_times, some_of
from jaxcast.cli.series import forecast as series_forecast
from jaxcast.cli.series.forecast import ForecastSeries
from jaxcast.cli.series.output import Loaded
from jaxcast.plotting import trajectories
from jaxcast.plotting.quantiles import plot_coverage, plot_fan, plot_submissions
from jaxcast.plotting.trajectories import FORECAST, HISTORY, OBSERVED, or_more
from jaxcast.series.baselines import Drift
from jaxcast.series.calibration import CalibratedForecaster
from jaxcast.series.model import SeriesModel

figure = pytest.importorskip("matplotlib.figure")
T = np.arange(5.0)
DATES = np.arange("2023-12-01", "2024-03-01", dtype="datetime64[D]")


def axes():
    return figure.Figure().subplots()


def colours(ax):
    return {line.get_label(): line.get_color() for line in ax.lines}


@pytest.mark.usefixtures("without_type_checks")
def test_history_forecast_and_truth_have_one_colour_each_in_every_picture():
    forecast = colours(plotting.plot_forecast(axes(), (T, T), (T + 5, T), truth=(T + 5, T)))
    assert {name: forecast[name] for name in ("history", "forecast", "observed")} == {
        "history": HISTORY, "forecast": FORECAST, "observed": OBSERVED,
    }  # fmt: skip
    assert colours(plotting.plot_regime(axes(), T, T, T, truth=(T, T))) == {"inferred": FORECAST, "true": OBSERVED}
    series = plotting.plot_series(axes(), T, T, schedule=T, label="u", schedule_label="rho")
    assert colours(series) == {"u": HISTORY, "rho": OBSERVED}
    weights = plotting.plot_weights(axes(), T, np.ones((4, 2)), [1, 2], truth=(T, T), truth_label="t", restarts=[1.0])
    assert colours(weights) == {"t": OBSERVED, "forecast starts from the truth": FORECAST}
    fan = plot_fan(axes(), T, T[:, None] + np.asarray([-1, 0, 1]), [0.25, 0.5, 0.75], truth=(T, T))
    assert colours(fan) == {"forecast, median": FORECAST, "observed": OBSERVED}
    assert len({HISTORY, FORECAST, OBSERVED}) == 3


@pytest.mark.parametrize(
    ("value", "window", "text"),
    [(2.6, 12.8, "2.60"), (12.8, 12.8, "12.80 or more"), (0.1 * 3, 0.3, "0.30 or more"), (12.8, None, "12.80")],
)
def test_a_valid_time_that_reaches_the_end_of_the_window_is_that_or_more(value, window, text):
    assert or_more(value, window) == text
    ax = plotting.plot_valid_times(axes(), ["a"], [value], [(value, value)], window=window, unit="days")
    assert [shown.get_text() for shown in ax.texts] == [text]
    assert ax.get_xlabel() == "median valid time (days)"


def test_candidates_are_named_by_what_they_differ_in():
    systems = [jaxcast.Lorenz63(rho=rho) for rho in (28.0, 31.5)]
    assert candidate_names(jaxcast.flow_map(jaxcast.stack_systems(systems)), 2) == ["rho=28", "rho=31.5"]
    both = [jaxcast.Lorenz63(rho=28.0), jaxcast.Lorenz63(rho=30.0, sigma=11.0)]
    assert candidate_names(jaxcast.flow_map(jaxcast.stack_systems(both)), 2) == ["candidate0", "candidate1"]
    many = plotting.plot_weights(axes(), T, np.ones((4, 40)), np.arange(40.0))
    few = plotting.plot_weights(axes(), T, np.ones((4, 11)), np.arange(11.0))
    assert len(few.get_yticks()) == 11
    assert 5 < len(many.get_yticks()) <= 12


def test_a_title_says_what_is_left_out():
    assert some_of(6, 8, "series") == " (the first 6 of 8 series)"
    assert some_of(6, 6, "series") == ""


@pytest.mark.usefixtures("without_type_checks")
def test_dates_do_not_lie_over_each_other():
    quantiles = np.ones((len(DATES), 1)) * np.asarray([1.0, 2.0, 3.0])
    for ax in (
        plot_fan(axes(), DATES, quantiles, [0.25, 0.5, 0.75]),
        plot_submissions(axes(), DATES, ["a", "b"], np.ones((len(DATES), 2))),
    ):
        drawn = ax.figure
        drawn.set_size_inches(4, 3)
        drawn.draw_without_rendering()
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert len(boxes) >= 3
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_coverage_is_named_as_the_field_does():
    ax = plot_coverage(axes(), [0.5, 0.9], {"mean": [0.4, 0.8]})
    assert [line.get_label() for line in ax.lines] == ["ideal", "mean"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("nominal coverage", "empirical coverage")


@pytest.mark.parametrize("newest", [3, 4, 6])
def test_what_came_after_the_newest_truth_of_a_round_is_no_history(monkeypatch, newest):
    """A round of horizon 2 whose target date is the last of six: it knew the truth up to the fourth."""
    dates = np.arange("2024-01-06", "2024-02-17", 7, dtype="datetime64[D]")
    truth = np.where(np.arange(6) < newest, np.arange(6.0), np.nan)[None]
    quantiles = np.asarray([[7.0, 8.0, 9.0]])
    hub = jaxcast.hub.Hub(
        np.ones((1, 6, 1, 3)), truth, np.ones((1, 6, 1)), ("a",), dates, ("m",), np.asarray([0.25, 0.5, 0.75]), 2
    )  # fmt: skip
    drawn = []
    monkeypatch.setattr(hub_output, "save_figure", lambda path, figure: drawn.append(figure.axes[0]))
    hub_output.draw_fan(Path("fan.png"), {2: quantiles}, hub, dates[-3])
    lines = {line.get_label(): line.get_ydata().tolist() for line in drawn[0].lines}
    known = min(newest, 4)
    assert lines["history"] == list(range(known))
    assert lines["forecast, median"] == [known - 1, 8.0]  # the fan opens from the newest truth that it knew
    assert lines.get("observed", []) == list(range(4, newest))


FORMULA = r"$\frac$"  # matplotlib would read it as mathematics, and fail


@pytest.fixture(scope="module")
def series_model(tmp_path_factory):
    table = tmp_path_factory.mktemp("names") / "table.csv"
    rows = [f"{date},{i},{2 * i}" for i, date in enumerate(DATES[:20])]
    table.write_text("\n".join([f"date,{FORMULA},{'n' * 300}", *rows]) + "\n")
    forecaster = CalibratedForecaster(Drift((1, 2)), jnp.zeros((2, 2, 3)), levels=(0.25, 0.5, 0.75))
    read = jaxcast.read_series(table)
    model = SeriesModel(forecaster, read.names, "1 day", (1, 2), 5, str(DATES[19]), 0.0, "drift")
    return Loaded(model, read)


@pytest.mark.slow
@pytest.mark.usefixtures("without_type_checks")
def test_names_from_files_are_drawn_as_they_are(series_model, tmp_path):
    command = ForecastSeries(Path("m"), Path("t.csv"), Path("f.csv"), plot=tmp_path / "series.png")
    command.draw(series_model, series_model.model.forecast(series_model.table, at=str(DATES[15])), 15)
    row = {"method": FORMULA, "valid_time_median": 1.0, "valid_time_interval": (0.5, 1.5)}
    draw_valid_times(tmp_path / "times.png", [row], "interval", window=2.0, time_unit=FORMULA)
    assert {path.name for path in tmp_path.iterdir()} == {"series.png", "times.png"}
    assert trajectories.label_of("a" * 100, 5) == "aaaaa..."


def test_unknown_series_to_plot_are_refused_in_a_short_line(series_model, monkeypatch):
    monkeypatch.setattr(series_forecast, "load", lambda model, data: series_model)
    command = ForecastSeries(Path("m"), Path("t.csv"), Path("f.csv"), plot_series=("x" * 5000,))
    with pytest.raises(jaxcast.InputError, match="unknown series 'xxx") as refused:
        command.forecast()
    assert len(str(refused.value)) < 550

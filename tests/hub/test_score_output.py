"""What `jaxcast hub` prints and draws of scores says what they are of."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.dates import num2date
from matplotlib.figure import Figure
from rich.console import Console

import jaxcast
from experiments.hub.setup import PRESETS, default_folder, settled
from jaxcast.cli.hub import calibration, output, score_tables
from jaxcast.io.run_folder import RunFolder


@pytest.mark.slow
def test_tables_of_scores_keep_names_whole_and_have_a_common_factor(capsys, monkeypatch):
    names = ("CFA_Pyrenew-Pyrenew_HE_COVID", "CovidHub-ensemble")
    dates = np.datetime64("2024-01-06") + 7 * np.arange(4)
    quantiles = np.tile(np.asarray([1e-4, 2e-4, 4e-4]), (1, 4, 2, 1))
    quantiles[:, 0] = np.nan  # nobody forecast the first date, and the last has no truth yet
    truth = np.asarray([[2e-4, 3e-4, 1e-4, np.nan]])
    hub = jaxcast.hub.Hub(quantiles, truth, truth[..., None], ("US",), dates, names, np.asarray([0.25, 0.5, 0.75]), 1)
    rows = jaxcast.hub.score_hubs([hub])
    assert [row["num_missing"] for row in rows] == [0, 0]
    for width in (110, 80):
        monkeypatch.setattr(score_tables, "make_console", lambda width=width: Console(width=width))
        score_tables.show_scores(rows, [hub], score_tables.scored_dates([hub]))
        printed = capsys.readouterr().out
        assert all(name in printed for name in names)
        text = " ".join(printed.split())
        assert "Mean WIS (x 1e-5) at horizon 1, target dates 2024-01-13 to 2024-01-20, 1 location, 3 levels" in text
        assert f"{rows[0]['wis'] / 1e-5:.2f}" in text
        assert "relative over each pair's common tasks; 2 tasks are common to all" in text
        assert ("is too narrow" in text) == (width < 110)


def test_a_target_below_zero_is_shown_without_logarithms(capsys):
    dates = np.datetime64("2024-01-06") + 7 * np.arange(2)
    truth = np.asarray([[-1.0, 2.0]])
    hub = jaxcast.hub.Hub(
        truth[..., None, None] + 1, truth, truth[..., None], ("US",), dates, ("a",), np.asarray([0.5]), 1
    )
    score_tables.show_scores(jaxcast.hub.score_hubs([hub]), [hub], score_tables.scored_dates([hub]))
    printed = capsys.readouterr().out
    assert "log" not in printed
    assert "underprediction; coverage" in " ".join(printed.split())


def test_dates_that_all_models_share_are_of_models_with_scores():
    dates = np.datetime64("2024-01-06") + 7 * np.arange(4)
    quantiles = np.ones((1, 4, 3, 1))
    quantiles[:, 0, 1] = quantiles[:, :3, 2] = np.nan  # the third forecasts only what has no truth yet
    truth = np.asarray([[1.0, 1.0, 1.0, np.nan]])
    levels = np.asarray([0.5])
    hub = jaxcast.hub.Hub(quantiles, truth, truth[..., None], ("US",), dates, ("a", "b", "new"), levels, 1)
    assert score_tables.scored_dates([hub]) == "2024-01-06 to 2024-01-20"
    assert score_tables.scored_dates([hub], common=True) == "2024-01-13 to 2024-01-20"
    pending = dataclasses.replace(hub, truth=np.full((1, 4), np.nan))
    assert score_tables.scored_dates([hub, pending], common=True) == "2024-01-13 to 2024-01-20"
    assert score_tables.scored_dates([pending], common=True) == "no date"


def test_weights_are_drawn_with_gaps_where_nothing_was_pooled():
    dates = np.datetime64("2024-01-06") + 7 * np.arange(6)
    weights = np.asarray([[0.5, 0.5], [0.4, 0.6], [0, 0], [0, 0], [0.3, 0.7], [0.3, 0.7]], float)
    ax = jaxcast.plotting.plot_model_weights(Figure().subplots(), dates, weights, ["a", "b"])
    paths = ax.collections[0].get_paths()
    runs = sorted((path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in paths for path in path_parts(path))
    days = [[str(num2date(end).date()) for end in run] for run in runs]
    assert days == [["2024-01-02", "2024-01-16"], ["2024-01-30", "2024-02-13"]]
    assert all(path.vertices[:, 1].max() == 1 for path in ax.collections[1].get_paths())


def path_parts(path):
    """The polygons of a path without a break."""
    starts = np.flatnonzero(path.codes == path.MOVETO)
    return [type(path)(part) for part in np.split(path.vertices, starts[1:])]


@pytest.mark.slow
def test_pictures_are_of_all_horizons_and_models(tmp_path, monkeypatch):
    dates = np.datetime64("2024-01-06") + 7 * np.arange(4)
    levels = np.asarray([0.25, 0.5, 0.75])
    quantiles = np.arange(24.0).reshape(1, 4, 2, 3)
    truth = np.arange(4.0)[None]

    def hub(names, dates, horizon):
        values = quantiles[:, :, : len(names)]
        return jaxcast.hub.Hub(values, truth, truth[..., None], ("US",), dates, names, levels, horizon)

    hubs = [hub(("a",), dates - np.timedelta64(7, "D"), 0), hub(("a", "b"), dates, 1)]
    seen = {}
    monkeypatch.setattr(
        calibration, "_draw_panels", lambda _, name, title, panels, draw: seen.update({name: (title, panels)})
    )
    folder = RunFolder(tmp_path / "out", {}, code="")
    calibration.write_calibration(folder, hubs, ["b", "a"])
    for name in ("pit.png", "quantile_coverage.png"):
        title, panels = seen[name]
        assert "over the horizons 0, 1 together" in title
        assert list(panels) == ["b", "a"]
    both = np.concatenate([quantiles[:, :, 0]] * 2)
    histogram = jaxcast.scores.pit_histogram(both, np.concatenate([truth] * 2), levels, num_bins=10)
    np.testing.assert_allclose([row["density"] for row in seen["pit.png"][1]["a"]], histogram.density, rtol=1e-6)

    drawn = {}
    monkeypatch.setattr(
        "jaxcast.plotting.quantiles.plot_submissions",
        lambda ax, dates, models, share, label: drawn.update(models=models, share=share) or ax,
    )
    output.draw_submissions(tmp_path / "s.png", hubs)
    assert drawn["models"] == ["a", "b"]
    np.testing.assert_allclose(drawn["share"], [[1, 0.5]] * 4)


@pytest.mark.parametrize(
    ("preset", "changes", "folder"),
    [
        ("smoke", {}, "runs/hub-smoke"),
        ("quick", {"forecasts": Path("f.csv"), "truth": Path("t.csv")}, "runs/hub-own-quick"),
        ("quick", {"data": Path("data"), "hub": "admissions"}, "runs/hub-admissions-quick"),
    ],
)
def test_the_experiments_folder_is_named_after_the_hub(preset, changes, folder):
    assert default_folder(dataclasses.replace(PRESETS[preset], **changes)) == folder


def test_the_smoke_preset_takes_what_belongs_to_the_synthetic_hub_for_no_other():
    own = settled(dataclasses.replace(PRESETS["smoke"], forecasts=Path("f.csv"), truth=Path("t.csv")))
    assert (own.baseline, own.windows, own.num_models, own.blocked, own.counted) == (None, (), None, (), "")
    made = settled(PRESETS["smoke"])
    assert (made.baseline, len(made.windows), len(made.blocked)) == ("baseline", 2, 3)

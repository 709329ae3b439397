"""`jaxcast panel train | forecast` on series of unequal length, as a user meets them, against NumPy."""

import csv
import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.panel import train
from jaxcast.cli.panel.forecast import ForecastPanel
from jaxcast.cli.panel.importance import PanelImportance
from jaxcast.cli.panel.judging import scored_windows, scores_of, seasonal_naive
from jaxcast.cli.panel.train import TrainPanel
from jaxcast.series import DirectNetwork, series_panel
from jaxcast.series.panel_models.network_settings import PANEL_NETWORKS
from jaxcast.series.panel_models.start import begun

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
SHAPE = ["--horizon", 3, "--levels", *LEVELS]
SMALL = ["--num-epochs", 3, "--num-batches", 4, "--batch-size", 8]
COLUMNS = ["--future-covariates", "price", "--categories", "kind"]
NETWORK = ["--method", "level_of_the_command_line", "--history-size", 7, "--head", "quantiles", *SMALL, *COLUMNS]
LENGTHS = (60, 90, 17, 75, 4, 80)
LEVELS_OF = (1, 2, 5, 10, 20, 50)
DAYS = 100


class Level(DirectNetwork, name="level_of_the_command_line"):
    """Quantiles around the scale of a window, that depend on covariates and categories."""

    def __init__(self, sizes, *, key, **options):
        super().__init__(sizes, key=key, **options)
        size = sizes.history_size + self.static_size + (sizes.history_size + sizes.num_leads) * sizes.num_known
        shape = (size, sizes.num_leads * self.head.num_parameters)
        self.kernel = nnx.Param(0.01 * jax.random.normal(key, shape, self.dtype))

    def raw_outputs(self, inputs, key):
        batch = inputs.values.shape[:-1]
        parts = (inputs.values, inputs.known, inputs.static, inputs.embedded)
        raw = jnp.concatenate([a.reshape(*batch, -1) for a in parts], -1) @ self.kernel[...]
        return raw.reshape(*batch, self.sizes.num_leads, -1), {}

    @property
    def own_config(self):
        return {}


def run(*args):
    parse([str(arg) for arg in args]).run()


def series():
    rng = np.random.default_rng(0)
    wave = 5 + 2 * np.sin(2 * np.pi * np.arange(DAYS) / 7)
    return [float(LEVELS_OF[k]) * rng.poisson(3 * wave[-n:]) for k, n in enumerate(LENGTHS)]


def write(path, *, ahead=0, kinds="abc", named="shop {}", values=None):
    """A long table whose series all end on the same day; `ahead` more rows have prices alone."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["date", "series", "value", "price", "kind"])
        for k, own in enumerate(series() if values is None else values):
            dates = np.datetime64("2025-04-10") + np.arange(-len(own), ahead)
            for t, date in enumerate(dates):
                value = own[t] if t < len(own) else ""
                table.writerow([date, named.format(k), value, round(2 + np.sin(t / 9), 3), kinds[k % len(kinds)]])
    return path


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("panel")
    write(path / "sales.csv", ahead=3)
    run("panel", "train", path / "sales.csv", *SHAPE, "--out", path / "model", "--lower", 0)
    return path


@pytest.fixture(scope="module")
def network(folder):
    """A small network of the user's own."""
    run("panel", "train", folder / "sales.csv", *SHAPE, *NETWORK, "--no-refit", "--out", folder / "network")
    return folder / "network"


def pinball(forecast, truth, levels):
    off = truth[..., None] - forecast
    return np.maximum(np.asarray(levels) * off, (np.asarray(levels) - 1) * off)


@pytest.mark.slow
def test_the_last_windows_of_every_series_judge(folder):
    """wQL, ND, MASE and coverage by hand, of a regression that has not seen these windows."""
    results = json.loads((folder / "model/results.json").read_text())
    naive, regression = results["rows"]
    assert (naive["method"], regression["method"], results["method"]) == ("seasonal_naive", "regression", "regression")
    values = series()
    panel = series_panel(
        [own[:-3] for own in values], names=[f"shop {k}" for k in range(6)],
        dates=[np.datetime64("2025-04-10") + np.arange(-len(own), -3) for own in values],
    )  # fmt: skip
    model = jaxcast.series.fit_panel_regression(panel, num_leads=3, levels=LEVELS, lower=0)
    quantiles, truth = model.forecast(panel).quantiles, np.stack([own[-3:] for own in values])
    wql = (2 * pinball(quantiles, truth, LEVELS).sum((0, 1)) / np.abs(truth).sum()).mean()
    assert regression["wql"] == pytest.approx(wql)
    middle = quantiles[..., 3]
    assert regression["nd"] == pytest.approx(np.abs(truth - middle).sum() / truth.sum())
    scaled = [
        np.abs(own[-3:] - f).mean() / np.abs(own[7:-3] - own[:-10]).mean()
        for own, f in zip(values, middle, strict=True)
        if len(own) > 10
    ]
    assert regression["mase"] == pytest.approx(np.mean(scaled))
    covered = [((quantiles[..., k] <= truth) & (truth <= quantiles[..., -1 - k])).mean() for k in (2, 1, 0)]
    assert [regression["coverage"][name] for name in ("0.5", "0.8", "0.95")] == pytest.approx(covered)
    points = []
    for own in (own[:-3] for own in values):
        last = own[-7:-4] if len(own) > 7 else np.repeat(own[-1], 3)
        points.append(last + (np.median(own[7:] - own[:-7]) if len(own) > 7 else 0))
    assert naive["nd"] == pytest.approx(np.abs(truth - points).sum() / truth.sum())


def test_the_seasonal_naive_is_the_last_season_and_its_errors():
    values = np.asarray([1.0, 2, 3, 4, 6, 5, 3, 8, 2, 7, 4, 9])
    scored = scored_windows(series_panel([values]), 2, 1, seen=3, season=4, levels=(0.1, 0.5, 0.9))
    errors = values[4:10] - values[:6]
    expected = values[6:8, None] + np.quantile(errors, (0.1, 0.5, 0.9))
    np.testing.assert_allclose(seasonal_naive(scored)[0], expected)
    assert scores_of(scored, np.broadcast_to(scored.truth[..., None], (1, 2, 3)))["wql"] == 0


@pytest.mark.slow
def test_a_method_that_cannot_learn_is_left_out_with_its_reason(folder, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise jaxcast.InputError("expected other series")

    monkeypatch.setattr("jaxcast.cli.panel.train.fit_panel_network", refuse)
    options = [*SHAPE, "--method", "deepar", "regression", "--no-refit", "--out", tmp_path / "model"]
    run("panel", "train", folder / "sales.csv", *options)
    results = json.loads((tmp_path / "model/results.json").read_text())
    assert results["left_out"] == {"deepar": "expected other series"}
    assert [row["method"] for row in results["rows"]] == ["seasonal_naive", "regression"]


def test_gaps_and_short_series_do_not_stop_the_seasonal_naive():
    values = [np.asarray([1.0, 2, np.nan, 4, 5, np.nan, 7, 8, 9, 1]), np.asarray([3.0, 5, 6])]
    scored = scored_windows(series_panel(values), 2, 1, seen=3, season=3, levels=(0.25, 0.5, 0.75))
    found = seasonal_naive(scored)
    assert np.isfinite(found).all()
    # The step one season before is missing, as is the one two seasons before.
    np.testing.assert_allclose(found[0, 0, 1] - np.median([3, 3, 3]), 8)
    np.testing.assert_allclose(found[1], 3)


def test_a_forecast_is_the_stored_models_in_a_tidy_table(folder, tmp_path, capsys):
    data = write(tmp_path / "new.csv", named="new {}", kinds="d")
    run(
        "panel", "forecast", "--model", folder / "model", "--data", data, "--out", tmp_path / "f.csv", "--plot",
        tmp_path / "f.png", "--plot-series", "new 1", "new 4",
    )  # fmt: skip
    rows = read(tmp_path / "f.csv")
    model = jaxcast.load_model(folder / "model").pool
    expected = model.forecast(jaxcast.series.read_panel(data)).quantiles
    assert list(rows[0]) == ["series", "origin_date", "target_date", "lead", "quantile", "value"]
    np.testing.assert_allclose([float(row["value"]) for row in rows], expected.ravel(), rtol=1e-8)
    assert [row["series"] for row in rows[::21]] == [f"new {k}" for k in range(6)]
    assert {(row["origin_date"], row["lead"], row["target_date"]) for row in rows} == {
        ("2025-04-09", str(k), f"2025-04-{9 + k:02}") for k in (1, 2, 3)
    }
    assert (tmp_path / "f.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "6 series, 3 leads, 7 quantiles, by regression" in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_after_at_is_seen(folder, tmp_path):
    later = [np.concatenate([own, [1e6, 0.0, 77]]) for own in series()]
    write(tmp_path / "later.csv", values=later)
    args = ["--model", folder / "model", "--at"]
    run("panel", "forecast", *args, "2025-04-06", "--data", tmp_path / "later.csv", "--out", tmp_path / "a.csv")
    run("panel", "forecast", *args, "2025-04-09", "--data", folder / "sales.csv", "--out", tmp_path / "b.csv")
    first, second = read(tmp_path / "a.csv"), read(tmp_path / "b.csv")
    assert len(first) == len(second)
    assert [row["value"] for row in first] == [row["value"] for row in second]
    run("panel", "forecast", *args, "2025-01-15", "--data", folder / "sales.csv", "--out", tmp_path / "c.csv")
    assert {row["series"] for row in read(tmp_path / "c.csv")} == {"shop 1"}  # the only one of more than 85 days


@pytest.mark.slow
def test_networks_are_compared_and_the_best_is_kept(network, folder, tmp_path):
    methods = ["--method", "level_of_the_command_line", "regression"]
    run("panel", "train", folder / "sales.csv", *SHAPE, *NETWORK[2:], *methods, "--num-seeds", 2, "--out", tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    own = {row["method"]: row["wql"] for row in results["rows"][1:]}
    assert list(own) == ["regression", "level_of_the_command_line"]
    assert results["method"] == min(own, key=own.get)
    assert np.shape(results["losses"]["level_of_the_command_line"]) == (2, 3)
    assert not (tmp_path / "stages").exists()


@pytest.mark.slow
def test_a_network_forecasts_new_kinds_and_draws_paths(network, tmp_path, capsys):
    data = write(tmp_path / "new.csv", ahead=3, named="new {}", kinds="ad")
    args = ["panel", "forecast", "--model", network, "--data", data, "--out", tmp_path / "f.csv"]
    run(*args, "--paths", tmp_path / "p.npz", "--num-paths", 50)
    with np.load(tmp_path / "p.npz") as found:
        assert found["paths"].shape == (50, 6, 3)
        assert found["names"].tolist() == [f"new {k}" for k in range(6)]
        medians = np.median(found["paths"], 0).ravel()
    rows = [float(row["value"]) for row in read(tmp_path / "f.csv") if row["quantile"] == "0.5"]
    assert np.corrcoef(medians, rows)[0, 1] > 0.9
    assert "training has not seen kind d; the mean of the others stands in" in capsys.readouterr().out


@pytest.mark.slow
def test_training_goes_on_from_a_network(network, folder, tmp_path):
    run("panel", "train", folder / "sales.csv", "--start-from", network, "--num-epochs", 2, "--out", tmp_path / "more")
    rows = json.loads((tmp_path / "more/results.json").read_text())["rows"]
    assert [row["method"] for row in rows][1:] == [
        "level_of_the_command_line, as it was", "level_of_the_command_line",
    ]  # fmt: skip
    assert rows[1]["wql"] == json.loads((network / "results.json").read_text())["rows"][1]["wql"]
    new, old = jaxcast.load_model(tmp_path / "more").pool, jaxcast.load_model(network).pool
    assert (np.asarray(new.network.kernel[...]) != np.asarray(old.network.kernel[...])).any()
    np.testing.assert_array_equal(new.covariates_std, old.covariates_std)


@pytest.mark.slow
def test_an_interrupted_training_goes_on(folder, network, tmp_path, monkeypatch):
    """Ctrl-C after the first epoch; then the same command, to the bit as one that was not interrupted."""
    args = ["panel", "train", folder / "sales.csv", *SHAPE, *NETWORK, "--no-refit", "--out", tmp_path / "run"]
    fit, calls = train.fit_panel_network, []

    def stopped(panel, *, on_progress, **rest):
        def stop(done, losses):
            calls.append(done)
            if len(calls) == 1:
                raise KeyboardInterrupt

        return fit(panel, on_progress=stop, **rest)

    monkeypatch.setattr(train, "fit_panel_network", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(*args)
    assert not (tmp_path / "run/pool.json").exists()
    run(*args)
    assert calls == [1, 2, 3]
    expected, found = jaxcast.load_model(network).pool, jaxcast.load_model(tmp_path / "run").pool
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)


WRONG = [
    ([], "--horizon is needed"),
    (["--horizon", 0], "horizon must be at least 1, got 0"),
    (["--horizon", 500], "every series is too short to hold out 500 values: the longest has 90"),
    ([*SHAPE, "--method", "deepr"], r"--method must be one of regression, deepar, .*\(did you mean deepar\?\)"),
    ([*SHAPE, "--head", "poisson"], "--head is for networks"),
    ([*SHAPE, "--season", 7, 3], "--season must be rising"),
    ([*SHAPE, "--stream"], "--stream is for .parquet"),
    ([*SHAPE, "--method", "mqrnn", "--future-covariates", "prize"], "no column 'prize' for --future-covariates"),
    ([*SHAPE, "--method", "mqrnn", "--static-covariates", "price"], "static covariate 'price' of 'shop 0' changes"),
    ([*SHAPE, "--method", "deepar", "--head", "poisson"], "expected counts in series 'shop 1', .* got .* at index"),
    ([*SHAPE, "--method", "deepar", "--history-size", 1], "a lag of 1 needs a history of more than 1 steps, got 1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_does_not_fit_is_refused_before_any_work(folder, tmp_path, options, message):
    values = [own + 0.5 * (k == 1) for k, own in enumerate(series())]
    data = write(tmp_path / "sales.csv", values=values) if "poisson" in options else folder / "sales.csv"
    with pytest.raises(jaxcast.InputError, match=message):
        run("panel", "train", "--data", data, "--out", tmp_path / "model", *options)
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_forecast_that_cannot_be_made_writes_nothing(folder, network, tmp_path):
    args = ["--data", write(tmp_path / "now.csv"), "--out", tmp_path / "f.csv"]
    with pytest.raises(jaxcast.InputError, match="covariate 'price' has no value on 2025-04-10 for series 'shop 0'"):
        run("panel", "forecast", "--model", network, *args)
    with pytest.raises(jaxcast.InputError, match="--paths are drawn by networks, and the model is a regression"):
        run("panel", "forecast", "--model", folder / "model", *args, "--paths", tmp_path / "p.npz")
    with pytest.raises(jaxcast.InputError, match="unknown series 'x' to plot; the data have shop 0, shop 1"):
        run("panel", "forecast", "--model", folder / "model", *args, "--plot-series", "x")
    np.savez(tmp_path / "steps.npz", train=np.arange(30.0), length=np.asarray([30]), series="a")
    with pytest.raises(jaxcast.InputError, match="has no dates, the model learned from a date every 1 day"):
        run(
            "panel", "forecast", "--model", folder / "model", "--data", tmp_path / "steps.npz", "--out",
            tmp_path / "f.csv",
        )  # fmt: skip
    assert not (tmp_path / "f.csv").exists()
    with pytest.raises(jaxcast.InputError, match="holds a model of panels; use jaxcast panel with it"):
        run("series", "forecast", "--model", folder / "model", *args)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, r"there is no .*none\.parquet; give a panel"),
        ("bad.parquet", b"nothing", r"bad\.parquet is not a table that can be read"),
        ("bad.csv", b"date,series\n2020", r"bad\.csv: expected 2 columns in every line, line 2 has 1"),
        ("bad.npz", b"PK", r"bad\.npz"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(jaxcast.InputError, match=message):
        run("panel", "train", "--data", tmp_path / name, "--horizon", 3, "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_there_is_kept(folder, tmp_path):
    before = {file.name: file.read_bytes() for file in (folder / "model").iterdir()}
    with pytest.raises(jaxcast.InputError, match=r"holds a run with other settings \(horizon: 3 there, 4 now\)"):
        run("panel", "train", folder / "sales.csv", "--horizon", 4, *SHAPE[2:], "--lower", 0, "--out", folder / "model")
    (tmp_path / "results.json").write_text("mine")
    with pytest.raises(jaxcast.InputError, match="in the way and was not written by this run"):
        run("panel", "train", folder / "sales.csv", *SHAPE, "--out", tmp_path)
    with pytest.raises(jaxcast.InputError, match="holds a regression, which is fitted anew in seconds"):
        run("panel", "train", folder / "sales.csv", "--start-from", folder / "model", "--out", tmp_path / "new")
    assert (tmp_path / "results.json").read_text() == "mine"
    assert {file.name: file.read_bytes() for file in (folder / "model").iterdir()} == before


def test_steps_without_dates_and_parquet_from_disk(folder, tmp_path):
    pl = pytest.importorskip("polars")
    pl.read_csv(folder / "sales.csv", try_parse_dates=True).write_parquet(tmp_path / "sales.parquet")
    run(
        "panel", "train", tmp_path / "sales.parquet", *SHAPE, "--stream", "--lower", 0, "--out", tmp_path / "model"
    )  # fmt: skip
    streamed = json.loads((tmp_path / "model/results.json").read_text())
    assert streamed["rows"] == json.loads((folder / "model/results.json").read_text())["rows"]
    values = series()
    np.savez(
        tmp_path / "m.npz", train=np.concatenate(values), length=np.asarray(LENGTHS), series="\n".join("abcdef")
    )  # fmt: skip
    run("panel", "train", tmp_path / "m.npz", *SHAPE, "--season", 7, "--out", tmp_path / "steps")
    run(
        "panel", "forecast", "--model", tmp_path / "steps", "--data", tmp_path / "m.npz", "--at", 59, "--out",
        tmp_path / "f.csv",
    )  # fmt: skip
    origins = {row["series"]: row["origin_date"] for row in read(tmp_path / "f.csv")}
    assert origins == {"a": "59", "b": "59", "c": "16", "d": "59", "e": "3", "f": "59"}


@pytest.mark.slow
@pytest.mark.parametrize("method", PANEL_NETWORKS)
def test_every_network_gets_the_options(folder, method):
    """What `--method`, `--hidden-size`, `--levels` and `--head` make; nothing is trained."""
    panel = jaxcast.series.read_panel(folder / "sales.csv")
    options = {"horizon": 3, "season": (7, 30), "hidden_size": 8, "head": "normal", "levels": LEVELS}
    command = TrainPanel(folder / "sales.csv", folder / "model", **options)
    found = command.network_settings(method, panel, (7, 30))
    assert found.history_size == (3 + 7 + 1 if method == "deepar" else 7)  # few series hold three months
    network = begun(panel, init=found.init, num_leads=3, history_size=found.history_size).model.network
    assert type(network) is PANEL_NETWORKS[method]
    assert (network.hidden_size, network.levels, network.head_name) == (8, LEVELS, "normal")
    if method == "deepar":
        assert network.lags == (1, 2, 3, 4, 5, 6, 7, 8)
    shorter = dataclasses.replace(command, history_size=5).network_settings(method, panel, (7, 30))
    assert shorter.history_size == 5


@pytest.mark.slow
def test_deepar_is_trained(folder, tmp_path):
    size = ["--hidden-size", 8, "--num-epochs", 1, "--num-batches", 1, "--batch-size", 4, "--no-refit"]
    run("panel", "train", folder / "sales.csv", *SHAPE, *size, "--method", "deepar", "--out", tmp_path / "model")
    args = ["--model", tmp_path / "model", "--data", folder / "sales.csv", "--out", tmp_path / "f.csv"]
    run("panel", "forecast", *args)
    assert len(read(tmp_path / "f.csv")) == 6 * 3 * len(LEVELS)


@pytest.mark.slow
def test_series_train_takes_deepar(tmp_path):
    """The same network by `jaxcast series`, on a table with a covariate that is known ahead."""
    values = np.stack([own[-60:] for own in series() if len(own) >= 60], 1)
    dates = np.datetime64("2025-04-10") + np.arange(-60, 2)
    lines = [f"{date},{','.join(map(str, row))},{t % 5}" for t, (date, row) in enumerate(zip(dates, values))]  # noqa: B905
    lines += [f"{date},,,,,1" for date in dates[60:]]
    (tmp_path / "wide.csv").write_text("\n".join(["date,a,b,c,d,heat", *lines]) + "\n")
    args = ["--horizon", 2, "--history-size", 8, "--future-covariates", "heat", "--levels", 0.1, 0.5, 0.9]
    small = ["--method", "deepar", "--hidden-size", 4, "--num-epochs", 1]
    run("series", "train", tmp_path / "wide.csv", *args, *small, "--out", tmp_path / "model")
    (row,) = json.loads((tmp_path / "model/results.json").read_text())["rows"]
    assert (row["method"], row["setting"]) == ("deepar", "network, 1 epochs")
    run(
        "series",
        "forecast",
        "--model",
        tmp_path / "model",
        "--data",
        tmp_path / "wide.csv",
        "--out",
        tmp_path / "f.csv",
    )
    rows = read(tmp_path / "f.csv")
    assert [(row["series"], row["target_date"]) for row in rows[::3]] == [
        (name, date) for name in "abcd" for date in ("2025-04-10", "2025-04-11")
    ]
    found = np.asarray([float(row["value"]) for row in rows]).reshape(-1, 3)
    assert (np.diff(found) >= 0).all()


@pytest.mark.slow
def test_importance_is_that_of_the_last_windows(network, folder, tmp_path, capsys):
    out = ["--out", tmp_path / "importance.csv", "--num-repeats", 2]
    run("panel", "importance", "--model", network, "--data", folder / "sales.csv", *out)
    assert "may have learned" not in capsys.readouterr().err  # the windows that judged, without a refit
    rows = read(tmp_path / "importance.csv")
    assert [row["kind"] for row in rows] == ["lag"] * 7 + ["known"] * 5 + ["category"]
    assert [row["input"] for row in rows[6:]] == [
        "6", "day_of_week", "day_of_month", "day_of_year", "age", "price", "kind"
    ]  # fmt: skip
    for model, option, message in (
        (folder / "model", [], "holds a regression"),
        (network, ["--plot-weights", tmp_path / "weights.png"], "are those of a tft"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            run("panel", "importance", "--model", model, "--data", folder / "sales.csv", *out, *option, "--overwrite")


@pytest.mark.slow
def test_what_a_tft_looks_at_is_data_and_a_picture(folder, tmp_path):
    options = ["--method", "tft", "--hidden-size", 4, "--history-size", 9, *SMALL, *COLUMNS]
    run("panel", "train", folder / "sales.csv", *SHAPE, *options, "--out", tmp_path / "tft")
    names = {"--out": "importance.csv", "--plot": "importance.png", "--weights": "w.npz", "--plot-weights": "w.png"}
    files = [part for option, name in names.items() for part in (option, tmp_path / name)]
    run("panel", "importance", "--model", tmp_path / "tft", "--data", folder / "sales.csv", *files)
    with np.load(tmp_path / "w.npz") as found:
        assert found["past_names"].tolist()[:2] == ["value", "is known"]
        assert found["past_names"].tolist()[-1] == "price"
        for kind in ("static", "past", "future", "attention"):
            assert found[kind].sum() == pytest.approx(1, abs=1e-5)
        assert found["lags"].tolist() == list(range(12))
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("importance.png", "w.png"))


@pytest.mark.parametrize(
    ("command", "kind"), [("train", TrainPanel), ("forecast", ForecastPanel), ("importance", PanelImportance)]
)
def test_help_explains_every_option(command, kind, capsys):
    with pytest.raises(SystemExit):
        parse(["panel", command, "--help"])
    options = set(re.findall(r"^. (--[a-z0-9-]+)", capsys.readouterr().out, flags=re.MULTILINE))
    assert options >= {f"--{name.replace('_', '-')}" for name in kind.__dataclass_fields__}

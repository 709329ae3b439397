"""`jaxcast series train | forecast | evaluate` on tables of series, as a user meets them, against NumPy."""

import csv
import dataclasses
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.series.evaluate import EvaluateSeries
from jaxcast.cli.series.forecast import ForecastSeries
from jaxcast.cli.series.train import TrainSeries
from jaxcast.series.files.graphs import read_adjacency
from tests.saving.tampering import contents, rewrite

NAMES, WEEKS, LEVELS = ("north", "south", "east"), 120, (0.1, 0.25, 0.5, 0.75, 0.9)
FIRST, SECOND = 72, 96  # where the held-out parts begin
SHAPE = ["--horizon", 2, "--history-size", 4, "--season", 0, "--levels", *LEVELS]
NAN = np.nan


def run(*args):
    parse([str(arg) for arg in args]).run()


def dates(n=WEEKS):
    return np.datetime64("2021-01-03") + 7 * np.arange(n)


def made(n=WEEKS):
    """Three series of unlike sizes that follow a covariate, `heat`, one step later, and a calendar of their own."""
    rng = np.random.default_rng(0)
    heat = rng.normal(size=n)
    noise = np.zeros((n, 3))
    for t in range(1, n):
        noise[t] = 0.6 * noise[t - 1] + rng.normal(size=3)
    season = 3 * np.sin(2 * np.pi * np.arange(n)[:, None] / 13 + np.arange(3))
    return (10 + season + noise + 2 * heat[:, None]) * np.asarray([1, 5, 20.0]), heat


def write(path, values, *, left_out=(), **columns):
    """A wide table; NaN is an empty cell."""
    text = lambda number: "" if np.isnan(number) else repr(float(number))  # noqa: E731
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["date", *NAMES, *columns])
        for t, row in enumerate(np.column_stack([values, *columns.values()])):
            if t not in left_out:
                table.writerow([dates(len(values))[t], *map(text, row)])
    return path


def read(path):
    """Quantiles (series, lead, level), and the columns of a forecast."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return np.asarray([float(row["value"]) for row in rows]).reshape(3, -1, len(LEVELS)), rows


@pytest.fixture(scope="module")
def values():
    table = made()[0]
    table[30:32] = NAN
    table[50, 1] = NAN
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("series")
    write(path / "wide.csv", values, left_out=(30, 31))
    run("series", "train", path / "wide.csv", *SHAPE, "--method", "last_value", "ridge", "--out", path / "model")
    return path


def std_of(values, end=FIRST):
    """Over the windows that have a known target before the end; that of 26 has none."""
    return np.nanstd(np.concatenate([values[t : t + 4] for t in range(end - 4) if t != 26]), 0)


def shifts_of(errors, std):
    """Of (sample, region, lead) errors of points, by loops."""
    found = np.zeros((errors.shape[2], 3, len(LEVELS)))
    for lead in range(errors.shape[2]):
        each = [column[np.isfinite(column)] for column in errors[:, :, lead].T]
        usual = np.concatenate([np.abs(e) / s for e, s in zip(each, std, strict=True)]).mean()
        scale = [(np.abs(e).sum() + 5 * usual * s) / (len(e) + 5) for e, s in zip(each, std, strict=True)]
        pooled = np.sort(np.concatenate([e / s for e, s in zip(each, scale, strict=True)]))
        for q, level in enumerate(LEVELS):
            at = np.interp(level * (len(pooled) + 1), np.arange(1, len(pooled) + 1), pooled)
            found[lead, :, q] = at * np.asarray(scale)
    return found


def last_errors(values, start, stop):
    """Of the last known of four values, for targets from start to before stop: (target, region, lead)."""
    errors = np.full((stop - start, 3, 2), NAN)
    for t in range(start, stop):
        for k in range(2):
            for r in range(3):
                window = values[t - k - 4 : t - k, r]
                known = window[np.isfinite(window)]
                errors[t - start, r, k] = values[t, r] - known[-1] if len(known) else NAN
    return errors


@pytest.mark.slow
def test_train_scores_methods_by_what_none_has_seen(folder, values):
    results = json.loads((folder / "model/results.json").read_text())
    assert results["method"] == "ridge"
    assert (results["validation_from"], results["test_from"]) == (str(dates()[FIRST]), str(dates()[SECOND]))
    rows = {row["method"]: row for row in results["rows"]}
    std = std_of(values)
    judged, scored = last_errors(values, FIRST, SECOND), last_errors(values, SECOND, WEEKS)
    assert rows["last_value"]["validation_mae"] == pytest.approx(np.nanmean(np.abs(judged) / std[:, None]))
    off = scored[..., None] - shifts_of(judged, std).transpose(1, 0, 2)
    assert rows["last_value"]["mae"] == pytest.approx(np.nanmean(np.abs(off[..., 2]) / std[:, None]))
    loss = np.maximum(np.asarray(LEVELS) * off, (np.asarray(LEVELS) - 1) * off) / std[:, None, None]
    assert rows["last_value"]["pinball"] == pytest.approx(np.nanmean(loss))
    covered = ((off[..., 0] >= 0) & (off[..., -1] <= 0)).mean()
    assert rows["last_value"]["coverage"]["0.8"] == pytest.approx(covered)
    assert rows["ridge"]["mae"] < rows["last_value"]["mae"]
    assert "2 dates of 120 are left out, the first 2021-08-01" in results["missing"]
    assert "1 value of 'south' is missing, the first of 2021-12-19" in results["missing"]


@pytest.mark.slow
def test_a_forecast_is_the_stored_models_in_a_tidy_table(folder, values, tmp_path, capsys):
    run(
        "series", "forecast", "--model", folder / "model", "--data", folder / "wide.csv", "--out", tmp_path / "f.csv",
        "--plot", tmp_path / "f.png",
    )  # fmt: skip
    quantiles, rows = read(tmp_path / "f.csv")
    expected = jaxcast.load_model(folder / "model").pool(jnp.asarray(values[-4:])).info["quantiles"]
    np.testing.assert_allclose(quantiles, np.moveaxis(expected, 1, 0), rtol=1e-8)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert list(rows[0]) == ["series", "origin_date", "target_date", "lead", "quantile", "value"]
    assert [row["series"] for row in rows[::10]] == list(NAMES)
    assert {(row["lead"], row["target_date"]) for row in rows} == {("1", "2023-04-23"), ("2", "2023-04-30")}
    assert {row["origin_date"] for row in rows} == {"2023-04-16"}
    assert [float(row["quantile"]) for row in rows[:5]] == list(LEVELS)
    assert (tmp_path / "f.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    printed = capsys.readouterr().out
    assert "missing: 2 dates of 120 are left out, the first 2021-08-01" in printed
    assert "by ridge" in printed


def test_quantiles_come_from_both_held_out_parts(folder, tmp_path, values):
    run("series", "train", folder / "wide.csv", *SHAPE, "--method", "last_value", "--out", tmp_path / "model")
    expected = shifts_of(last_errors(values, FIRST, WEEKS), std_of(values))
    np.testing.assert_allclose(jaxcast.load_model(tmp_path / "model").pool.forecaster.shifts, expected, rtol=1e-9)


def test_nothing_after_the_newest_date_is_seen(folder, values, tmp_path):
    args = ["series", "forecast", "--model", folder / "model", "--at", str(dates()[99])]
    run(*args, "--data", folder / "wide.csv", "--out", tmp_path / "a.csv")
    other = np.array(values)
    other[100:] *= 7
    run(*args, "--data", write(tmp_path / "other.csv", other), "--out", tmp_path / "b.csv")
    np.testing.assert_array_equal(read(tmp_path / "a.csv")[0], read(tmp_path / "b.csv")[0])


@pytest.mark.slow
def test_standardisation_is_of_the_training_part_and_kept(folder, values, tmp_path):
    """What comes last changes what is learned last, but not what chooses; and a file in another unit is not rescaled."""
    model = jaxcast.load_model(folder / "model").pool.forecaster
    np.testing.assert_allclose(model.forecaster.inputs.std, std_of(values, WEEKS), rtol=1e-9)
    other = np.array(values)
    other[SECOND:] *= 7
    run(
        "series",
        "train",
        write(tmp_path / "o.csv", other),
        *SHAPE,
        "--method",
        "last_value",
        "ridge",
        "--out",
        tmp_path / "model",
    )
    chosen = [
        {row["method"]: row["validation_mae"] for row in json.loads((path / "results.json").read_text())["rows"]}
        for path in (folder / "model", tmp_path / "model")
    ]
    assert chosen[0] == pytest.approx(chosen[1], rel=1e-12)


def test_a_long_table_and_a_parquet_are_the_same_as_a_wide_one(folder, tmp_path, values):
    import polars

    with (tmp_path / "long.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["when", "place", "cases"])
        for r in (1, 0, 2):
            table.writerows(
                [dates()[t], NAMES[r], repr(float(values[t, r]))] for t in range(WEEKS) if t not in (30, 31)
            )
    wide = jaxcast.read_series(folder / "wide.csv")
    long = jaxcast.read_series(tmp_path / "long.csv", time="when", series="place", value="cases")
    assert long.names == ("south", "north", "east")
    np.testing.assert_array_equal(long.values[:, [1, 0, 2]], wide.values)
    polars.read_csv(folder / "wide.csv", try_parse_dates=True).write_parquet(tmp_path / "wide.parquet")
    other = jaxcast.read_series(tmp_path / "wide.parquet")
    assert (other.names, other.calendar, other.missing) == (wide.names, wide.calendar, wide.missing)
    np.testing.assert_array_equal(other.values, wide.values)


@pytest.mark.slow
def test_covariates_known_ahead_move_the_forecast_as_they_should(tmp_path):
    """The series are exactly linear in what is known ahead, past and static numbers are of no use."""
    heat = np.random.default_rng(1).normal(size=WEEKS + 2)
    values = np.asarray([3.0, 1.0, 4.0]) + heat[:, None] * np.asarray([2.0, 5.0, 9.0])
    values[WEEKS:] = NAN  # only the covariate goes on
    heat[40] = NAN
    write(tmp_path / "table.csv", values, heat=heat, wind=np.cos(np.arange(WEEKS + 2.0)))
    run(
        "series", "train", "--data", tmp_path / "table.csv", *SHAPE, "--future-covariates", "heat", "--past-covariates", "wind", "--method",
        "ridge_each_series", "last_value", "--out", tmp_path / "model",
    )  # fmt: skip
    args = ["series", "forecast", "--model", tmp_path / "model", "--out", tmp_path / "f.csv", "--overwrite", "--data"]
    run(*args, tmp_path / "table.csv")
    first, _ = read(tmp_path / "f.csv")
    expected = np.asarray([3.0, 1.0, 4.0])[:, None] + np.asarray([2.0, 5.0, 9.0])[:, None] * heat[WEEKS:]
    np.testing.assert_allclose(first[:, :, 2], expected, rtol=1e-2, atol=2e-2)
    heat[WEEKS + 1] = NAN
    write(tmp_path / "unknown.csv", values, heat=heat, wind=np.cos(np.arange(WEEKS + 2.0)))
    with pytest.raises(
        jaxcast.InputError, match=r"covariate 'heat' has no value on 2023-04-30, which the forecast needs"
    ):
        run(*args, tmp_path / "unknown.csv")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["seasonal_last_value", "last_value", "drift"])
def test_naive_forecasts_take_no_notice_of_covariates(method, values, tmp_path):
    write(tmp_path / "plain.csv", values)
    write(tmp_path / "more.csv", values, heat=np.cos(np.arange(float(WEEKS))))
    found = []
    for name, more in (("plain", []), ("more", ["--past-covariates", "heat"])):
        table, model, out = tmp_path / f"{name}.csv", tmp_path / name, tmp_path / f"{name}-f.csv"
        run("series", "train", "--data", table, *SHAPE, *more, "--season", "4", "--method", method, "--out", model)
        run("series", "forecast", "--model", model, "--data", table, "--out", out)
        found.append(read(out)[0])
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_an_evaluation_scores_what_was_not_learned(folder, values, tmp_path):
    later = np.concatenate([values, made(140)[0][WEEKS:]])
    write(tmp_path / "later.csv", later)
    run(
        "series",
        "evaluate",
        "--model",
        folder / "model",
        "--data",
        tmp_path / "later.csv",
        "--out",
        tmp_path / "scores",
    )
    results = json.loads((tmp_path / "scores/results.json").read_text())
    assert results["since"] == str(dates(140)[WEEKS])
    rows = {(row["method"], row["lead"]): row for row in results["rows"]}
    errors = last_errors(later, WEEKS, 140)
    model = jaxcast.load_model(folder / "model").pool
    for k in range(2):
        assert rows["last_value", k + 1]["rmse"] == pytest.approx(np.sqrt((errors[..., k] ** 2).mean()))
        history = np.stack([later[t - k - 4 : t - k] for t in range(WEEKS, 140)])
        quantiles = np.asarray(jax.jit(lambda m, h: m(h))(model, jnp.asarray(history)).info["quantiles"])[:, k]
        truth = later[WEEKS:140]
        assert rows["ridge", k + 1]["mae"] == pytest.approx(np.abs(quantiles[..., 2] - truth).mean())
        last, row = later[WEEKS - k - 1 : 139 - k], rows["last_value", k + 1]
        assert row["wmape"] == pytest.approx(np.abs(last - truth).sum() / truth.sum())
        assert row["cpc"] == pytest.approx(2 * np.minimum(last, truth).sum() / (last + truth).sum())
        inside = (truth >= quantiles[..., 1]) & (truth <= quantiles[..., 3])
        assert rows["ridge", k + 1]["coverage"]["0.5"] == pytest.approx(inside.mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history_size", "x"), ("history_size", 0), ("history_size", 10**15), ("leads", [2, 1]), ("leads", [1]), ("leads", "12"),
        ("names", ["north", "north", "east"]), ("names", [1, 2, 3]), ("past_covariates", [1]), ("learned_until", "soon"),
        ("step", 7), ("method", None), ("lowest", "x"),
    ],
)  # fmt: skip
def test_settings_of_a_model_that_train_does_not_write_are_refused(folder, tmp_path, name, value):
    config, arrays = contents(folder / "model")
    (tmp_path / "model").mkdir()
    rewrite(tmp_path / "model", config | {"arguments": config["arguments"] | {name: value}}, arrays)
    _refused_by_both(tmp_path, folder)


@pytest.mark.parametrize("columns", [{"time": 5, "series": None, "value": None}, []])
def test_columns_that_train_does_not_write_are_refused(folder, tmp_path, columns):
    config, arrays = contents(folder / "model")
    (tmp_path / "model").mkdir()
    rewrite(tmp_path / "model", config | {"attributes": config["attributes"] | {"columns": columns}}, arrays)
    _refused_by_both(tmp_path, folder)


def _refused_by_both(tmp_path, folder):
    options = ["--model", tmp_path / "model", "--data", folder / "wide.csv"]
    for command, out in (("forecast", tmp_path / "f.csv"), ("evaluate", tmp_path / "scores")):
        with pytest.raises(jaxcast.InputError, match=r"train and save it again|not saved by|a forecast needs"):
            run("series", command, *options, "--out", out)
        assert not out.exists()


def test_a_lower_bound_above_what_was_learned_from_is_refused(folder, tmp_path):
    """As `series train --lower` refuses it."""
    config, arrays = contents(folder / "model")
    (tmp_path / "model").mkdir()
    arguments = config["arguments"]
    lower = {"forecaster": arguments["forecaster"] | {"lower": 4.0}}
    rewrite(tmp_path / "model", config | {"arguments": arguments | lower}, arrays)
    lowest = arguments["lowest"]
    assert lowest < 4.0
    options = ["--model", tmp_path / "model", "--data", folder / "wide.csv", "--out", tmp_path / "f.csv"]
    with pytest.raises(jaxcast.InputError, match=f"lower, 4, is above {lowest:g}, which it has learned from"):
        run("series", "forecast", *options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kernel", "global", "season"])  # attention: see the slow tests
def test_every_forecaster_can_be_kept(kind, values, tmp_path):
    samples = jaxcast.series.series_windows(
        np.nan_to_num(values), history_size=6, leads=(1, 3), newest_covariates=np.ones((WEEKS, 2))
    )
    options = dict(hidden_size=3, levels=LEVELS, key=jax.random.key(0), kind="gru")
    if kind == "kernel":
        inputs = jaxcast.series.lag_inputs(samples, lags=(0, 2), num_components=2)
        expansion = jaxcast.series.random_fourier_features(inputs.num_features, 8, bandwidth=0.5, key=jax.random.key(0))
        inner = jaxcast.series.LagRegression(inputs, expansion, jnp.ones((2, 14)), jnp.ones(2), True, True)
    elif kind == "season":
        inner = jaxcast.series.SeasonalLastValue((1, 3), 5)
    else:
        inner = jaxcast.series.GlobalNetwork(samples, **options)
    shifts = jnp.broadcast_to(jnp.arange(5.0), (2, 3, 5))
    widths = {} if kind == "season" else {"usual_change": jnp.ones(3), "width_power": 0.5}
    model = jaxcast.series.CalibratedForecaster(inner, shifts, jnp.zeros(2), jnp.ones(2), LEVELS, 0.0, **widths)
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    assert jax.tree.structure(loaded) == jax.tree.structure(model)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
    config, arrays = contents(tmp_path / "model")
    rewrite(tmp_path / "model", config, arrays | {".shifts": arrays[".shifts"][:1]})
    with pytest.raises(jaxcast.InputError, match=r"leads, as the forecaster.*; train and save it again"):
        jaxcast.load_model(tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize("network", ["global_network", "attention_network"])
def test_a_network_is_trained_kept_and_forecasts(network, values, tmp_path):
    table = write(tmp_path / "wide.csv", values)
    run(
        "series",
        "train",
        table,
        *SHAPE,
        "--method",
        network,
        "last_value",
        "--num-epochs",
        60,
        "--out",
        tmp_path / "model",
    )
    rows = {row["method"]: row for row in json.loads((tmp_path / "model/results.json").read_text())["rows"]}
    assert rows[network]["mae"] < rows["last_value"]["mae"]
    run("series", "forecast", "--model", tmp_path / "model", "--data", table, "--out", tmp_path / "f.csv")
    assert (np.diff(read(tmp_path / "f.csv")[0], axis=-1) >= 0).all()


def test_an_adjacency_is_brought_to_the_order_of_the_series(tmp_path):
    (tmp_path / "a.csv").write_text("name,south,north\nsouth,1,0.5\nnorth,0.25,1\n")
    np.testing.assert_array_equal(read_adjacency(tmp_path / "a.csv", ("north", "south")), [[1, 0.25], [0.5, 1]])


@pytest.mark.slow
def test_quantiles_follow_what_a_series_moved_lately_where_that_tells_its_errors(tmp_path):
    """Steps four times as large in every other stretch: intervals of one width cover too little there, and too much elsewhere."""
    rng = np.random.default_rng(0)
    loud = np.arange(900) // 30 % 2 == 1
    walk = np.cumsum(rng.normal(size=(900, 3)) * np.where(loud, 4, 1)[:, None], 0)
    table = write(tmp_path / "wide.csv", walk[:720])
    run(
        "series",
        "train",
        table,
        "--horizon",
        "1",
        "--season",
        "0",
        "--method",
        "last_value",
        "--out",
        tmp_path / "model",
    )
    stored = jaxcast.load_model(tmp_path / "model")
    assert stored.pool.forecaster.width_power > 0
    samples = jaxcast.series.series_windows(walk, history_size=20, leads=(1,), start=720)
    moving = loud[np.asarray(samples.rows)[:, 0]]
    settled = np.arange(180) % 30 >= 10  # some steps after the change, when it shows
    apart = []
    own = stored.pool.forecaster
    for model in (own, dataclasses.replace(own, width_power=0.0)):
        quantiles = np.asarray(model(samples.history).info["quantiles"])[:, 0]
        truth = np.asarray(samples.targets)[:, 0]
        covered = (truth >= quantiles[..., 1]) & (truth <= quantiles[..., -2])
        apart.append(covered[~moving & settled].mean() - covered[moving & settled].mean())
    assert 0 < apart[0] < 0.7 * apart[1]


BAD = [
    (["series", "train", "unsorted.csv", "--out", "x"], r"unsorted.csv, line 119: 2021-01-10 comes after"),
    (["series", "train", "twice.csv", "--out", "x"], r"twice.csv, line 4: 2021-01-10 comes twice; keep one row"),
    (["series", "train", "off.csv", "--out", "x"], r"off.csv, line 4: 2021-01-18 is off the grid of a date every 1 week"),
    (["series", "train", "wide.csv", "--horizon", "100", "--out", "x"], "need at least 121 dates to learn from, got 72 of the table's 120"),
    (["series", "train", "constant.csv", "--out", "x"], "series 'south' never changes in the 72 dates before"),
    (["series", "train", "late.csv", "--out", "x"], "series 'south' has no value in the 72 dates before"),
    (["series", "train", "wide.csv", "--levels", "0.5", "1.0", "--out", "x"], r"levels must increase within \(0, 1\), got \(0.5, 1.0\)"),
    (["series", "train", "wide.csv", "--levels", "0.9", "0.5", "--out", "x"], "levels must increase"),
    (["series", "train", "wide.csv", "--adjacency", "adjacency.csv", "--out", "x"], "for other series than the data: it lacks east; it also has west"),
    (["series", "train", "none.csv", "--out", "x"], "there is no table none.csv"),
    (["series", "train", "--data", "truth.npz", "--out", "x"], "truth.npz has no dates; give --first-date"),
    (["pool", "train", "--trajectory", "wide.csv", "--candidates", "lorenz63(rho=[28, 30])", "--out", "x"], "a table with dates is for jaxcast series"),
    (["series", "train", "text.csv", "--out", "x"], r"text.csv, line 2: expected a number in column 'north', got 'many'"),
    (["series", "train", "day.csv", "--out", "x"], r"day.csv, line 2, column 'date': expected a date such as 2024-01-31, got '31.01.2021'"),
    (["series", "train", "wide.csv", "--past-covariates", "rain", "--out", "x"], "has no column 'rain' for --past-covariates"),
    (["series", "train", "wide.csv", "--validation-share", "0.6", "--out", "x"], "validation_share must be above 0 and below 0.5"),
    (["series", "train", "wide.csv", "--method", "seasonal_last_value", "--season", "0", "--out", "x"], "needs a season"),
    (["series", "train", "wide.csv", *SHAPE, "--out", "model"], "holds a run with other settings .method"),
    (["series", "train", "wide.csv", "--lower", "nan", "--out", "x"], "lower must be finite"),
    (["series", "train", "wide.csv", "--lower", "1000", "--out", "x"], "which is below lower=1000"),
    (["series", "train", "wide.csv", "--past-covariates", "north", "--future-covariates", "north", "--out", "x"], "name each column once among covariates"),
    (["series", "train", "wide.csv", "--validation-share", "0.001", "--out", "x"], "the validation part must have at least 2 dates, 0.001 of the table's 120"),
    (["series", "train", "gap.csv", *SHAPE, "--out", "x"], "the validation part, rows 73 to 96, has no known value"),
    (["series", "forecast", "--model", "none", "--data", "wide.csv", "--out", "f.csv"], "none holds no saved model"),
    (["series", "forecast", "--model", "pool", "--data", "wide.csv", "--out", "f.csv"], "holds no forecaster of series; a pool of candidate models is for jaxcast pool"),
    (["pool", "forecast", "--pool", "model", "--history", "truth.npz", "--out", "f.csv"], "forecaster of series; use jaxcast series"),
    (["series", "forecast", "--model", "model", "--data", "two.csv", "--out", "f.csv"], "other series than the forecaster: it lacks 'east' and it also has 'west'"),
    (["series", "forecast", "--model", "model", "--data", "daily.csv", "--out", "f.csv"], "has a date every 1 day, the forecaster learned from one every 1 week"),
    (["series", "forecast", "--model", "model", "--data", "wide.csv", "--at", "2021-01-04", "--out", "f.csv"], "at must be a date of wide.csv from 2021-01-24"),
    (["series", "forecast", "--model", "model", "--data", "ended.csv", "--out", "f.csv"], "series 'south' has no value in the 4 dates up to"),
    (["series", "forecast", "--model", "model", "--data", "wide.csv", "--out", "f.txt"], "ending in .csv"),
    (["series", "evaluate", "--model", "model", "--data", "wide.csv", "--out", "x"], "nothing to score from 2023-04-23 on"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bad_files(folder, values):
    good = (folder / "wide.csv").read_text().splitlines()
    mended = {
        "unsorted": [*good[:2], *good[3:], *good[2:3]],
        "twice": [*good[:3], good[2], *good[3:]],
        "off": [*good[:3], good[3].replace("2021-01-17", "2021-01-18"), *good[4:]],
        "text": [good[0], "2021-01-03,many,1,2", *good[2:]],
        "day": [good[0], "31.01.2021,1,1,2", *good[2:]],
        "two": [good[0].replace("east", "west"), *good[1:]],
        "daily": [good[0], *(f"2021-01-{d:02d},{d},{d},{d}" for d in range(1, 20))],
        "adjacency": ["north,south,west", "1,0,0", "0,1,0", "0,0,1"],
    }
    for name, lines in mended.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    for name, rows, number in (
        ("constant", slice(None), 3.0),
        ("late", slice(0, 80), NAN),
        ("ended", slice(100, None), NAN),
    ):
        other = np.array(values)
        other[rows, 1] = number
        write(folder / f"{name}.csv", other)
    write(folder / "gap.csv", np.where(np.arange(WEEKS)[:, None] // 24 == 3, NAN, values))  # rows 73 to 96
    times = 0.1 * np.arange(30.0)
    jaxcast.save_trajectory(folder / "truth.npz", jaxcast.Trajectory(times, np.stack([np.sin(times)] * 3, 1)))
    jaxcast.save_model(folder / "pool", jaxcast.equal_weights(2))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("args", "message"), BAD)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(bad_files, refused_in_one_line, args, message):
    with refused_in_one_line(bad_files, message):
        run(*args)


def test_a_parquet_names_the_extra_that_reads_it(tmp_path, monkeypatch):
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(jaxcast.InputError, match=r"\.parquet files need polars: pip install 'jaxcast\[hub\]'"):
        jaxcast.read_series(tmp_path / "table.parquet")


@pytest.mark.slow  # as in test_cli, of every command
def test_the_process_ends_with_exit_code_2_and_one_line(tmp_path):
    command = [sys.executable, "-m", "jaxcast.cli.main", "series", "train", "none.csv", "--out", "x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: there is no table none.csv; give a .csv or .parquet\n"


@pytest.mark.parametrize(("command", "kind"), [("train", TrainSeries), ("forecast", ForecastSeries), ("evaluate", EvaluateSeries)])  # fmt: skip
def test_help_explains_every_option(command, kind, capsys):
    with pytest.raises(SystemExit):
        parse(["series", command, "--help"])
    options = set(re.findall(r"^. (--[a-z0-9-]+)", capsys.readouterr().out, flags=re.MULTILINE))
    assert options >= {f"--{name.replace('_', '-')}" for name in kind.__dataclass_fields__}


def test_months_are_equal_steps_and_their_ends_stay_ends(tmp_path):
    lines = ["ds,x", "2023-01-31,1", "2023-02-28,2", "2023-03-31,3", "2023-06-30,4"]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    table = jaxcast.read_series(tmp_path / "m.csv")
    assert table.calendar.step == "1 month"
    assert [table.date(n) for n in (3, 5, 13)] == ["2023-04-30", "2023-06-30", "2024-02-29"]
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 3, NAN, NAN, 4])

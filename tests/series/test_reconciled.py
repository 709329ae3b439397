"""Forecasts of a table that add up, in Python and by the command."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.hierarchy import fit_reconciliation, hierarchy_from_parents

LENGTH, LEVELS = 96, (0.1, 0.5, 0.9)
DATES = np.datetime64("2017-01", "M") + np.arange(LENGTH)
TREE = hierarchy_from_parents({"a": "north", "b": "north", "c": "all", "north": "all"})


def parts():
    rng = np.random.default_rng(0)
    season = np.sin(2 * np.pi * np.arange(LENGTH) / 12)[:, None] * [1, 2, 3]
    return 20 + season + np.cumsum(rng.normal(size=(LENGTH, 3)), 0) / 3 + rng.normal(size=(LENGTH, 1))


@pytest.fixture(scope="module")
def table():
    return jaxcast.series.table_with_sums(jaxcast.series.series_table(parts(), DATES, names=tuple("abc")), TREE)


@pytest.fixture(scope="module")
def model(table):
    fitted = jaxcast.series.fit_series(
        table, horizon=2, methods=("last_value",), history_size=4, season=0, levels=LEVELS
    )
    return fitted.model


def test_sums_are_added_to_a_table_that_lacks_them(table):
    assert table.names == ("a", "b", "c", "all", "north")
    np.testing.assert_allclose(table.values[:, 3], parts().sum(1))
    np.testing.assert_allclose(table.values[:, 4], parts()[:, :2].sum(1))
    assert jaxcast.series.table_with_sums(table, TREE).names == table.names
    heat = np.repeat(np.arange(LENGTH, dtype=float)[:, None, None], 3, 1)
    own = jaxcast.series.series_table(parts(), DATES, names=tuple("abc"), past_covariates=heat)
    added = jaxcast.series.table_with_sums(own, TREE)
    np.testing.assert_array_equal(added.past_covariates[:, 4], heat[:, 0])
    with pytest.raises(jaxcast.InputError, match="of the members of 'all' differ"):
        jaxcast.series.table_with_sums(own._replace(past_covariates=heat * np.arange(3)[:, None]), TREE)
    static = jaxcast.series.series_table(parts(), DATES, names=tuple("abc"), static_covariates=np.ones((3, 1)))
    with pytest.raises(jaxcast.InputError, match="static covariates but not the series 'all'"):
        jaxcast.series.table_with_sums(static, TREE)
    with pytest.raises(jaxcast.InputError, match="the table has no series 'c' of the hierarchy, it has a, b; leave"):
        jaxcast.series.table_with_sums(jaxcast.series.series_table(parts()[:, :2], DATES, names=("a", "b")), TREE)


def test_sums_that_are_not_those_of_their_members_are_refused(model, table):
    lacking = hierarchy_from_parents({"a": "north", "c": "all", "north": "all"})
    share = parts()[:, 1].sum() / parts()[:, :2].sum()
    message = f"'north' of the table is not the sum of its 1 member in the hierarchy: they differ by {share:.0%} of it"
    for call in (
        lambda: jaxcast.series.table_with_sums(table, lacking),
        lambda: jaxcast.series.reconcile_forecast(model, table, hierarchy=lacking),
    ):
        with pytest.raises(jaxcast.InputError, match="is not the sum of its"):
            call()
    north = hierarchy_from_parents({"a": "north"})
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.series.table_with_sums(table, north)
    none = table._replace(values=table.values * (np.arange(5) != 4))
    with pytest.raises(jaxcast.InputError, match=f"they differ by {parts()[:, :2].sum(1).mean():.3g} on average;"):
        jaxcast.series.table_with_sums(none, TREE)
    cancelling = jaxcast.series.series_table(np.tile([0.1, 0.2, -0.3, 0.0], (9, 1)), DATES[:9], names=(*"abc", "all"))
    of_flows = hierarchy_from_parents({"a": "all", "b": "all", "c": "all"})
    assert jaxcast.series.table_with_sums(cancelling, of_flows).names == cancelling.names
    rounded = table._replace(values=np.where(np.arange(LENGTH)[:, None] % 9 == 4, np.nan, table.values.round(0)))
    assert jaxcast.series.table_with_sums(rounded, TREE).names == table.names


def errors_of(model, table):
    """What came minus what was forecast, from every date with a whole history and known targets."""
    rows = np.arange(3, LENGTH - 2)
    histories = table.values[rows[:, None] + np.arange(-3, 1)]
    targets = table.values[rows[:, None] + np.asarray([1, 2])]
    return targets - model(jnp.asarray(histories)).forecast


@pytest.mark.slow
def test_paths_are_those_of_the_models_quantiles_reconciled_by_its_errors(model, table):
    found = jaxcast.series.reconcile_forecast(model, table, hierarchy=TREE, num_paths=400)
    assert found.names == ("all", "north", "a", "b", "c")
    assert found.info["paths"].shape == (400, 2, 5)
    assert TREE.is_coherent(found.info["paths"], tolerance=1e-9)
    assert TREE.is_coherent(found.info["mean"], tolerance=1e-9)
    order = [3, 4, 0, 1, 2]
    own = model.forecast(table)
    errors = errors_of(model, table)[..., order]
    reconciliation = fit_reconciliation(TREE, residuals=errors)
    base = jaxcast.hierarchy.shuffled_paths(
        own.quantiles[:, order], levels=LEVELS, template=errors, num_paths=400, key=jax.random.key(0)
    )  # fmt: skip
    np.testing.assert_allclose(found.info["paths"], reconciliation(base), rtol=1e-6)
    np.testing.assert_allclose(found.info["mean"], reconciliation(base.mean(0)), rtol=1e-6)
    np.testing.assert_array_equal(found.quantiles[..., 1], found.forecast)


@pytest.mark.slow
def test_later_values_change_no_reconciled_forecast(model, table):
    at = table.date(70)
    later = table.values.copy()
    later[71:] = 1e3
    one, other = (
        jaxcast.series.reconcile_forecast(model, each, hierarchy=TREE, at=at, num_paths=50)
        for each in (table, table._replace(values=later))
    )
    np.testing.assert_array_equal(one.info["paths"], other.info["paths"])


@pytest.mark.slow
def test_series_outside_of_the_hierarchy_stay(model, table):
    small = hierarchy_from_parents({"a": "north", "b": "north"})
    found = jaxcast.series.reconcile_forecast(model, table, hierarchy=small, method="ols", num_paths=50)
    assert found.names == ("north", "a", "b", "c", "all")
    np.testing.assert_array_equal(found.quantiles[:, 3:], model.forecast(table).quantiles[:, [2, 3]])
    with pytest.raises(jaxcast.InputError, match="has no series 'x' of the hierarchy"):
        jaxcast.series.reconcile_forecast(model, table, hierarchy=hierarchy_from_parents({"x": "all"}))


def run(*args):
    parse([str(arg) for arg in args]).run()


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


COMMON = ["--horizon", 2, "--history-size", 4, "--season", 0, "--method", "last_value", "--lower", 0]


@pytest.fixture
def files(tmp_path):
    data, tree = tmp_path / "data.csv", tmp_path / "tree.csv"
    months = [f"{month}-01" for month in DATES]
    lines = [",".join([month, *map(repr, row)]) for month, row in zip(months, np.abs(parts()).tolist(), strict=True)]
    data.write_text("date,a,b,c\n" + "\n".join(lines) + "\n")
    tree.write_text("child,parent\na,north\nb,north\nc,all\nnorth,all\n")
    return tmp_path


def values_of(path):
    rows = [row for row in rows_of(path) if row["series"] in "abc"]
    return np.asarray([float(row["value"]) for row in rows])


@pytest.mark.slow
def test_the_command_reconciles(files):
    run("series", "train", files / "data.csv", *COMMON, "--out", files / "model")
    forecast = ["series", "forecast", files / "data.csv", "--model", files / "model", "--out"]
    for options, message in (
        (["--reconcile", "mint"], "--reconcile needs --hierarchy"),
        (["--paths", files / "q.npz"], "--paths are those of reconciled"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            run(*forecast, files / "x.csv", *options)
    assert not (files / "x.csv").exists()
    tree = ["--hierarchy", files / "tree.csv"]
    run(*forecast, files / "mint.csv", *tree, "--paths", files / "paths.npz", "--plot", files / "p.png")
    assert [row["series"] for row in rows_of(files / "mint.csv")][:: 2 * 7] == ["all", "north", "a", "b", "c"]
    with np.load(files / "paths.npz") as arrays:
        assert arrays["names"].tolist() == ["all", "north", "a", "b", "c"]
        assert (arrays["paths"] >= 0).all()
        assert TREE.is_coherent(arrays["paths"], tolerance=1e-9)
    run(*forecast, files / "up.csv", *tree, "--reconcile", "bottom_up")
    run(*forecast, files / "plain.csv")
    np.testing.assert_allclose(values_of(files / "up.csv"), values_of(files / "plain.csv"), rtol=0.02)


@pytest.mark.slow
def test_the_command_adds_sums_to_what_is_trained_forecast_and_scored(files):
    data = files / "data.csv"
    run("series", "train", data, *COMMON, "--hierarchy", files / "tree.csv", "--out", files / "model")
    run("series", "forecast", data, "--model", files / "model", "--reconcile", "mint", "--out", files / "f.csv")
    assert {row["series"] for row in rows_of(files / "f.csv")} == {"all", "north", "a", "b", "c"}
    run("series", "evaluate", data, "--model", files / "model", "--since", "2024-06-01", "--out", files / "scores")

"""Networks of grids and of trips as methods of `series train`: they see all regions and forecast some."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.series.methods import chosen_methods
from jaxcast.series.problem import series_problem
from jaxcast.series.whole_regions import PartOfRegions, WholeRegions

KEPT, FILL = (1, 2, 4), np.asarray([7.0, 0, 0, 5, 0])


class Sums:
    """Forecasts the sum over all regions, and tells each region's covariate."""

    num_regions = 5
    signature = jaxcast.series.WindowSignature(1, levels=(0.5,), mean=np.arange(5.0))

    def __call__(self, history, covariates=None, *, lags=None):
        forecast = history.sum((-1, -2))[..., None, None] + history[..., -1:, :]
        return jaxcast.Output(forecast, {"quantiles": forecast[..., None], "seen": covariates, "gate": lags})


@pytest.mark.slow
def test_regions_that_are_no_series_have_their_value_and_no_weight():
    values = np.arange(30.0).reshape(10, 3)
    covariates = np.arange(60.0).reshape(10, 3, 2)
    windows = jaxcast.series.series_windows(values, history_size=2, leads=(1,), newest_covariates=covariates)
    whole = WholeRegions("grid", 1, FILL, KEPT).spread(windows)
    for name in ("history", "targets", "weights", "covariates"):
        axis = 1 if name == "covariates" else -1
        np.testing.assert_array_equal(jnp.take(getattr(whole, name), jnp.asarray(KEPT), axis), getattr(windows, name))
    assert (whole.history[..., 0] == 7).all()
    assert (whole.targets[..., 3] == 5).all()
    assert not whole.weights[..., [0, 3]].any()
    # The calendar, the first covariate, is read off the first region, a series or not.
    np.testing.assert_array_equal(whole.covariates[:, 0], windows.covariates[:, 0])


def test_a_part_of_the_regions_is_forecast_from_all():
    model = PartOfRegions(Sums(), jnp.asarray(FILL), KEPT)
    history = jnp.asarray([[1.0, 2, 3], [4, 5, 6]])
    output = model(history, jnp.asarray([[1.0], [2], [3]]), lags="lags")
    np.testing.assert_array_equal(output.forecast, 21 + 2 * 12 + np.asarray([[4, 5, 6]]))
    np.testing.assert_array_equal(output.info["quantiles"][..., 0], output.forecast)
    assert output.info["seen"][:, 0].tolist() == [1, 1, 2, 1, 3]
    assert output.info["gate"] == "lags"
    assert model.signature.mean.tolist() == [1, 2, 4]


@pytest.mark.parametrize(("method", "form"), [("od_ced", "of trips.*`od`"), ("st_resnet", r"grid.*\(time, row")])
def test_other_data_are_refused(method, form):
    rng = np.random.default_rng(0)
    dates = np.arange("2024-01-01", "2024-06-01", dtype="datetime64[D]")
    problem = series_problem(jaxcast.series.series_table(rng.normal(size=(len(dates), 4)), dates), leads=(1,))
    other = WholeRegions("grid" if method == "od_ced" else "trips", 2, np.zeros(4), (0, 1, 2, 3))
    for whole in (None, other):
        with pytest.raises(jaxcast.InputError, match=form):
            chosen_methods((method,), problem._replace(whole=whole))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["od_ced", "geml", "st_resnet", "dmvst_net"])
def test_it_is_trained_saved_and_forecast_from_by_the_command_line(method, tmp_path):
    rng = np.random.default_rng(0)
    rate = 4 + 3 * np.sin(2 * np.pi * np.arange(200) / 24)[:, None, None]
    values = rng.poisson(rate, (200, 3, 3)).astype(float)
    values[:, 1, 2] = 0  # nobody, never
    is_grid = method in ("st_resnet", "dmvst_net")
    np.savez(tmp_path / "data.npz", **({"data": values[..., None]} if is_grid else {"od": values}))
    np.save(tmp_path / "zones.npy", np.ones((3, 3)))
    adjacency = () if is_grid else ("--adjacency", tmp_path / "zones.npy")

    def run(*args):
        parse([str(arg) for arg in args]).run()

    data, model, out = tmp_path / "data.npz", tmp_path / "model", tmp_path / "forecast.csv"
    options = ("--first-date", "2024-01-01", "--minutes", 60, "--horizon", 2, "--history-size", 4, "--lower", 0)
    sizes = ("--hidden-size", 4, "--num-epochs", 2)
    run("series", "train", "--data", data, "--out", model, *options, *sizes, *adjacency, "--method", method)
    kept = jaxcast.load_model(model).pool.forecaster.forecaster
    assert kept.kept == (0, 1, 2, 3, 4, 6, 7, 8)
    assert kept.network.num_regions == 9
    run("series", "forecast", "--model", model, "--data", data, "--out", out)
    rows = [row.split(",") for row in out.read_text().splitlines()[1:]]
    assert len({row[0] for row in rows}) == 8 or is_grid
    assert all(np.isfinite(float(row[-1])) and float(row[-1]) >= 0 for row in rows)
    with pytest.raises(jaxcast.InputError, match="is not refitted"):
        run("series", "train", "--data", data, "--warm-start", model, "--out", tmp_path / "newer")

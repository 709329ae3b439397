"""Networks of panels as forecasters of a table: the same numbers as on a panel, and by name in fit_series."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.errors import InputError
from jaxcast.series.panel_methods import PanelForecaster, window_covariates
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.refit import _of_network

HISTORY, LEADS, LEVELS = 8, 3, (0.1, 0.5, 0.9)
FEATURES = ("month_of_year",)
RNG = np.random.default_rng(0)


def made_table(with_covariates):
    length = 60
    dates = np.arange("2018-01", "2023-01", dtype="datetime64[M]")
    later = np.concatenate([RNG.normal(size=(length, 2, 1)), RNG.normal(size=(LEADS, 2, 1))])
    covariates = {
        "past_covariates": RNG.normal(5, 2, (length, 2, 2)),
        "future_covariates": later,
        "static_covariates": RNG.normal(size=(2, 1)),
    }
    values = 10 + np.cumsum(RNG.normal(size=(length, 2)), 0)
    return jaxcast.series.series_table(values, dates, **(covariates if with_covariates else {}))


def made_model(table):
    counts = [a.shape[-1] for a in (table.past_covariates, table.future_covariates, table.static_covariates)]
    sizes = jaxcast.series.PanelSizes(HISTORY, LEADS, counts[0], len(FEATURES) + counts[1], counts[2])
    network = jaxcast.series.Seq2Seq(sizes, hidden_size=3, levels=LEVELS, key=jax.random.key(1))
    return PanelModel(
        network,
        np.zeros((LEADS, len(LEVELS))),
        RNG.normal(size=sum(counts)),
        RNG.uniform(1, 2, sum(counts)),
        **table.covariates._asdict(),
        time_features=FEATURES,
        step=table.calendar.step,
    )


@pytest.mark.slow
@pytest.mark.parametrize("with_covariates", [False, True])
def test_a_table_is_forecast_as_the_panel_of_its_series(with_covariates):
    table = made_table(with_covariates)
    model = made_model(table)
    wanted = model.forecast(jaxcast.series.panel_of_table(table)).quantiles
    forecaster = PanelForecaster(model, np.nanmean(table.values, 0)[:2], (1, 3))
    newest = np.asarray([59])
    covariates = window_covariates(table, newest, history_size=HISTORY, num_leads=LEADS, features=FEATURES)
    history = jnp.asarray(table.values[60 - HISTORY : 60])
    found = forecaster(history, covariates[0]).info["quantiles"]
    np.testing.assert_allclose(found, np.swapaxes(wanted, 0, 1)[[0, 2]], rtol=1e-5)
    assert forecaster.signature.num_covariates == covariates.shape[-1]
    both = forecaster(jnp.stack([history, history[::-1]]), np.repeat(covariates, 2, 0)).forecast
    np.testing.assert_allclose(both[0], found[..., 1], rtol=1e-6)


@pytest.mark.slow
def test_a_forecaster_with_other_leads_is_refused():
    table = made_table(False)
    with pytest.raises(InputError, match="expected a model of 4 leads"):
        PanelForecaster(made_model(table), np.ones(2), (1, 4)).check()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["deepar", "mqrnn"])  # the others take the same way, and minutes to compile
def test_a_network_of_panels_is_a_method_and_can_be_saved(method, tmp_path):
    table = made_table(True)
    options = {"history_size": HISTORY, "season": 0, "hidden_size": 4, "num_epochs": 2}
    fitted = jaxcast.series.fit_series(table, horizon=2, methods=(method,), **options)
    assert _of_network(fitted.model)["hidden_size"] == 4  # a refit makes a network of the same size
    jaxcast.save_model(tmp_path / "model", fitted.model)
    again = jaxcast.load_model(tmp_path / "model").pool
    first, second = (model.forecast(table).quantiles for model in (fitted.model, again))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()
    assert (np.diff(first, axis=-1) >= 0).all()


def counts(share=0.0):
    dates = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
    values = np.random.default_rng(0).poisson([0.4, 3.0], (len(dates), 2)) + share
    return jaxcast.series.series_table(values, dates, names=("rare", "often"))


@pytest.mark.slow
def test_a_head_of_counts_is_learned_and_kept_by_a_refit():
    options = {"history_size": HISTORY, "hidden_size": 4, "num_epochs": 2, "head": "negative_binomial"}
    model = jaxcast.series.fit_series(counts(), horizon=2, methods=("deepar",), **options).model
    assert _of_network(model) == {"hidden_size": 4, "head": "negative_binomial"}
    assert model.forecast(counts()).quantiles.min() >= 0


def test_a_head_that_fits_no_method_or_no_value_is_refused():
    with pytest.raises(InputError, match="a head is for the networks deepar, seq2seq"):
        jaxcast.series.fit_series(counts(), horizon=2, head="poisson")
    with pytest.raises(InputError, match="head must be one of quantiles, normal"):
        jaxcast.series.fit_series(counts(), horizon=2, head="gamma", methods=("deepar",))
    with pytest.raises(InputError, match=r"expected counts in series 'rare', whole numbers from 0 on, got 0\.25"):
        jaxcast.series.fit_series(counts(0.25), horizon=2, head="poisson", methods=("deepar",))

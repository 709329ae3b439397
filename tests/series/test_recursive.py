"""Forecasters of several series in closed loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output

pytestmark = pytest.mark.slow

VALUES = jnp.asarray(np.random.default_rng(0).normal(size=(80, 3)).cumsum(0) * 0.1 + 3)
WINDOW = 5


class Walk(jaxcast.series.WindowForecaster, FrozenPytree):
    """A random walk's quantiles one step ahead."""

    levels: tuple = static()

    @property
    def signature(self):
        return jaxcast.series.WindowSignature(1, levels=self.levels)

    def __call__(self, history, covariates=None):
        steps = jnp.sqrt(2.0) * jax.scipy.special.erfinv(2 * jnp.asarray(self.levels) - 1)
        newest = history[..., -1:, :]
        return Output(newest, {"quantiles": newest[..., None] + steps})


def one_step(covariates=None):
    samples = jaxcast.series.series_windows(VALUES, history_size=WINDOW, leads=(1,), newest_covariates=covariates)
    inputs = jaxcast.series.lag_inputs(samples, lags=range(WINDOW))
    return jaxcast.series.fit_lag_regression(
        samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalty=1e-3
    )


def looped(model, window, num_leads, covariates=None):
    """A plain loop that appends each forecast to the window."""
    found = []
    for n in range(num_leads):
        output = model(window) if covariates is None else model(window, covariates[n])
        found.append(output.forecast[0])
        window = jnp.concatenate([window[1:], output.forecast])
    return jnp.stack(found)


@pytest.mark.parametrize("kind", ["regression", "network"])
def test_it_is_a_loop_that_appends_its_forecasts(kind):
    samples = jaxcast.series.series_windows(VALUES, history_size=WINDOW, leads=(1,))
    model = (
        one_step()
        if kind == "regression"
        else jaxcast.series.GlobalNetwork(samples, hidden_size=3, key=jax.random.key(0))
    )
    ours = jaxcast.series.RecursiveForecaster(model, (1, 2, 6))(VALUES[:WINDOW])
    theirs = looped(model, VALUES[:WINDOW], 6)[jnp.asarray([0, 1, 5])]
    np.testing.assert_allclose(ours.forecast, theirs, rtol=1e-10)
    assert ours.info == {}


def test_one_step_ahead_is_the_forecaster_itself():
    model, histories = one_step(), jnp.stack([VALUES[:WINDOW], VALUES[9 : 9 + WINDOW]])
    ours = jaxcast.series.RecursiveForecaster(model, (1,))(histories)
    np.testing.assert_allclose(ours.forecast, model(histories).forecast, rtol=1e-12)


def test_windows_go_by_themselves_and_see_what_is_given_at_each_step():
    covariates = jnp.sin(0.5 * jnp.arange(80.0))[:, None]
    model, num_leads = one_step(covariates), 4
    starts = np.arange(6).reshape(2, 3)
    histories = jnp.asarray([[VALUES[s : s + WINDOW] for s in row] for row in starts])
    at_steps = jnp.asarray([[covariates[s + WINDOW - 1 : s + WINDOW - 1 + num_leads] for s in row] for row in starts])
    ours = jaxcast.series.RecursiveForecaster(model, (2, num_leads))(histories, at_steps).forecast
    assert ours.shape == (2, 3, 2, 3)
    for i, j in np.ndindex(2, 3):
        theirs = looped(model, histories[i, j], num_leads, at_steps[i, j])[jnp.asarray([1, 3])]
        np.testing.assert_allclose(ours[i, j], theirs, rtol=1e-10)


def test_missing_values_are_what_the_forecaster_makes_of_them():
    window = VALUES[:WINDOW].at[2, 1].set(jnp.nan)
    ours = jaxcast.series.RecursiveForecaster(jaxcast.series.LastValue((1,)), (1, 3))(
        window.at[-1, 0].set(jnp.nan)
    ).forecast
    np.testing.assert_array_equal(ours, np.broadcast_to([window[-2, 0], *window[-1, 1:]], (2, 3)))


@pytest.mark.parametrize(
    "levels",
    [
        (0.1586553, 0.5, 0.8413447),
        pytest.param(tuple(np.linspace(0.005, 0.995, 199).tolist()), marks=pytest.mark.slow),
    ],
)
def test_the_quantiles_of_a_random_walk_widen_with_the_square_root_of_the_lead(levels):
    model = jaxcast.series.RecursiveForecaster(Walk(levels), (1, 4, 9), num_paths=4000)
    output = model(jnp.asarray([[[0.0], [2.0]], [[0.0], [50.0]]]), key=jax.random.key(0))
    quantiles = output.info["quantiles"]
    assert quantiles.shape == (2, 3, 1, len(levels))
    np.testing.assert_allclose(output.forecast[:, :, 0], [[2] * 3, [50] * 3], atol=0.2)
    low, high = (int(np.argmin(abs(np.asarray(levels) - share))) for share in (0.1586553, 0.8413447))
    width = np.asarray(quantiles[:, :, 0, high] - quantiles[:, :, 0, low]) / 2  # of one deviation to either side
    np.testing.assert_allclose(width, np.broadcast_to([1, 2, 3], (2, 3)), rtol=0.06)


def test_counts_are_forecast_with_their_fractions():
    model, counts = one_step(), jnp.asarray(np.arange(15).reshape(5, 3))
    ours = jaxcast.series.RecursiveForecaster(model, (1, 3))(counts).forecast
    np.testing.assert_allclose(ours, looped(model, counts.astype(float), 3)[jnp.asarray([0, 2])], rtol=1e-12)
    cell = jaxcast.series.WindowCell(model, WINDOW)
    np.testing.assert_allclose(
        jaxcast.forecast(cell, counts, num_leads=3).forecast[jnp.asarray([0, 2])], ours, rtol=1e-12
    )


def test_histories_that_do_not_fit_are_refused(without_type_checks):
    model = one_step()
    for history in (VALUES[:3], VALUES[:WINDOW, :1], VALUES[:WINDOW, 0]):
        for forecaster in (model, jaxcast.series.RecursiveForecaster(model, (1, 2))):
            with pytest.raises(jaxcast.InputError, match=r"expected histories|history of 5 consecutive steps"):
                forecaster(history)


def test_bad_input_is_one_line(without_type_checks):
    with pytest.raises(jaxcast.InputError, match="whose first lead is 1"):
        jaxcast.series.RecursiveForecaster(jaxcast.series.Drift((3,)), (1, 2))
    with pytest.raises(jaxcast.InputError, match="whose first lead is 1"):
        jaxcast.series.WindowCell(jaxcast.series.Drift((3,)), 2)
    with pytest.raises(jaxcast.InputError, match="history_size must be at least 1, got 0"):
        jaxcast.series.WindowCell(jaxcast.series.Drift((1,)), 0)
    for leads, num_paths in (((0, 2), 1), ((), 1), ((1,), 0), (5, 1), ((1.5,), 1)):
        reason = "leads and num_paths must be at least 1|leads of RecursiveForecaster must be a list of whole numbers"
        with pytest.raises(jaxcast.InputError, match=reason):
            jaxcast.series.RecursiveForecaster(one_step(), leads, num_paths)
    with pytest.raises(jaxcast.InputError, match="draws from quantiles, which this forecaster has none of"):
        jaxcast.series.RecursiveForecaster(one_step(), (2,))(VALUES[:WINDOW], key=jax.random.key(0))

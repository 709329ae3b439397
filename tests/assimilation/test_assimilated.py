"""A pool that sees analyses: what it sees, and where its own forecasts take over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import jaxcast
from jaxcast.assimilation import AssimilatedCell, DirectInsertion, EnsembleKalmanFilter, ObservedComponents
from jaxcast.pytrees import FrozenPytree
from tests.assimilation.linear import NOISE, SEEN, record, step

KEY = jax.random.key(0)
ENSEMBLE = np.random.default_rng(3).normal(size=(6, 3))
FILTER = EnsembleKalmanFilter(
    step, NOISE, KEY, operator=jaxcast.assimilation.ObservationMatrix(SEEN), num_members=6, initial_ensemble=ENSEMBLE
)


def candidates(value, exogenous):
    return jnp.stack([0.9 * value, 1.1 * value])


def forecaster():
    weights = jaxcast.pooling.FixedWeights(jnp.asarray([0.25, 0.75]))
    return jaxcast.Forecaster(weights, candidates)


@pytest.mark.slow
def test_the_pool_sees_analyses_and_then_its_own_forecasts():
    values = jnp.asarray(record(8))
    cell = AssimilatedCell(FILTER, forecaster())
    analyses = jaxcast.open_loop(FILTER, values).info["analysis"]
    outputs = jaxcast.open_loop(cell, values)
    np.testing.assert_allclose(outputs.info["analysis"], analyses, rtol=1e-12)
    np.testing.assert_allclose(outputs.forecast[cell.warmup :], 1.05 * analyses[cell.warmup :], rtol=1e-9)
    ahead = jaxcast.forecast(cell, values, 3)
    np.testing.assert_allclose(ahead.forecast, analyses[-1] * 1.05 ** np.arange(1, 4)[:, None], rtol=1e-9)
    np.testing.assert_allclose(ahead.info["weights"], np.tile([0.25, 0.75], (3, 1)))


@pytest.mark.slow
def test_a_gap_in_a_rollout_is_the_cells_own_forecast_and_the_filter_goes_on():
    values = jnp.nan_to_num(jnp.asarray(record(8)), nan=0.5)
    known = np.asarray([True] * 4 + [False] * 2 + [True] * 2)
    cell = AssimilatedCell(FILTER, forecaster())
    _, outputs = jaxcast.roll(cell, jaxcast.Input(values, jnp.asarray(known)))
    _, alone = jaxcast.roll(FILTER, jaxcast.Input(values, jnp.asarray(known)))
    np.testing.assert_allclose(outputs.info["analysis"], alone.info["analysis"], rtol=1e-9)
    seen = np.asarray(alone.info["analysis"]).copy()
    for n in (4, 5):
        seen[n] = outputs.forecast[n - 1]
    np.testing.assert_allclose(outputs.forecast, 1.05 * seen, rtol=1e-9)


class Deviation(FrozenPytree, jaxcast.DeterministicCell):
    """Reports how sure it is told that its input is."""

    warmup = 0

    def init_carry(self, value, exogenous=None):
        return None

    def __call__(self, carry, x):
        return carry, jaxcast.Output(x.value, {"spread": jnp.zeros(3) if x.deviation is None else x.deviation})


def test_an_analysis_is_handed_on_with_its_spread():
    outputs = jaxcast.open_loop(AssimilatedCell(FILTER, Deviation()), jnp.asarray(record(8)))
    assert (np.asarray(outputs.info["spread"]) > 0).all()
    np.testing.assert_array_equal(outputs.info["spread"], outputs.info["analysis_spread"])
    deviations = jnp.arange(6.0).reshape(2, 3)
    _, told = jaxcast.roll(Deviation(), jaxcast.Input(jnp.ones((2, 3)), jnp.ones(2, bool), None, deviations))
    np.testing.assert_array_equal(told.info["spread"], deviations)


def test_what_is_no_filter_is_refused():
    with pytest.raises(jaxcast.InputError, match="reports its analysis, got a Forecaster"):
        jaxcast.open_loop(AssimilatedCell(forecaster(), forecaster()), jnp.ones((4, 3)))


@pytest.mark.slow
def test_attention_after_assimilation_forecasts_from_x_alone():
    """Half a unit of noise, y and z unseen, every third value missing: as good as from the truth for a few steps."""
    system = jaxcast.Lorenz63()
    model = jaxcast.flow_map(system)
    truth = jaxcast.simulate(system, [1.0, 2.0, 20.0], num_samples=60, transient=20.0).states
    noisy = truth[:, :1] + 0.4 * jax.random.normal(KEY, (60, 1))
    noisy = noisy.at[2::3].set(jnp.nan)
    around = truth.mean(0) + truth.std(0) * jax.random.normal(KEY, (40, 3))
    settings = dict(num_members=40, initial_ensemble=around, operator=ObservedComponents((0,)))
    inner = jaxcast.Forecaster(jaxcast.pooling.FixedWeights(jnp.asarray([1.0])), lambda u: model(u)[None])
    cell = AssimilatedCell(EnsembleKalmanFilter(model, 0.4, KEY, **settings), inner)
    windows = jaxcast.Windows(noisy[None, :50], truth[None, 50:], 0.1 * jnp.arange(60.0)[None])
    forecast = jaxcast.forecast_windows(cell, windows).forecast[0]
    assert np.sqrt(((forecast[:5] - truth[50:55]) ** 2).mean()) < 1.0


@pytest.mark.slow
def test_devices_change_no_forecast_of_a_filter():
    assert len(jax.devices()) > 1
    times = jnp.tile(0.1 * jnp.arange(6), (3, 1))
    windows = jaxcast.Windows(1 + 0.1 * jnp.arange(18.0).reshape(3, 3, 2), jnp.ones((3, 3, 2)), times)
    one = Mesh(np.asarray(jax.devices()[:1]), ("device",))
    for cell in (FILTER, AssimilatedCell(FILTER, forecaster())):
        found, alone = (jaxcast.forecast_windows(cell, windows, mesh=mesh).forecast for mesh in (None, one))
        assert len(found.sharding.device_set) == len(jax.devices())
        np.testing.assert_allclose(found, alone, rtol=1e-9)


@pytest.mark.slow
def test_direct_insertion_takes_forecasts_for_gaps():
    values = jnp.asarray([[np.nan, 4.0], [2.0, np.nan], [np.nan, np.nan], [1.0, 1.0]])
    cell = DirectInsertion(forecaster(), jnp.asarray([3.0, 3.0]))
    # Fed is 1.05 times the last value, or the value itself until the memory is full.
    outputs = jaxcast.open_loop(cell, values)
    seen, full = [np.asarray([3.0, 4.0])], cell.warmup
    for n in (1, 2, 3):
        fed = seen[-1] * (1.05 if n > full else 1.0)
        seen.append(np.where(np.isnan(values[n]), fed, values[n]))
    np.testing.assert_allclose(outputs.forecast[full:], 1.05 * np.asarray(seen)[full:], rtol=1e-6)
    whole = jnp.nan_to_num(values, nan=2.0)
    np.testing.assert_array_equal(
        jaxcast.forecast(cell, whole, 3).forecast, jaxcast.forecast(forecaster(), whole, 3).forecast
    )
    with pytest.raises(jaxcast.InputError, match="expected a cell of real numbers, got int"):
        DirectInsertion(3, jnp.zeros(2))
    with pytest.raises(jaxcast.InputError, match="expected a start"):
        jaxcast.open_loop(DirectInsertion(forecaster(), jnp.zeros(3)), values)

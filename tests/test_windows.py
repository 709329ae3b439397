import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast


def test_delay_embedding_is_newest_first():
    values = np.arange(20.0).reshape(10, 2)
    embedded = jaxcast.dynamics.delay_embed(jnp.asarray(values), 3)
    expected = np.stack([values[[n + 2, n + 1, n]] for n in range(8)])
    np.testing.assert_array_equal(embedded, expected)


def test_windows_are_consecutive_with_their_history(truth):
    trajectory = jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=6 + 4 * 8)
    windows = jaxcast.cut_windows(trajectory, num_windows=4, num_leads=8, history_size=6)
    np.testing.assert_array_equal(windows.truth.reshape(-1, 3), trajectory.states[6:])
    for n in range(4):
        np.testing.assert_array_equal(windows.history[n], trajectory.states[8 * n : 8 * n + 6])
        np.testing.assert_array_equal(windows.times[n], trajectory.times[8 * n : 8 * n + 14])
    assert jaxcast.forecast_times(windows).shape == (4, 13)


def test_too_little_data_is_refused(trajectory, candidates):
    short = jaxcast.Trajectory(trajectory.times[:6], trajectory.states[:6])
    with pytest.raises(jaxcast.InputError, match="5 delays need a trajectory of at least 7 samples, got 6"):
        jaxcast.one_step_samples(short, 5, candidates)
    assert len(jaxcast.one_step_samples(short, 4, candidates).targets) == 1
    with pytest.raises(jaxcast.InputError, match="need at least 406 samples"):
        jaxcast.cut_windows(trajectory, num_windows=4, num_leads=100, history_size=6)
    with pytest.raises(jaxcast.InputError, match="num_delays must be from 1 to the 400 values"):
        jaxcast.dynamics.delay_embed(trajectory.states, 0)


def test_nan_is_refused_before_training(trajectory, candidates):
    broken = jaxcast.Trajectory(trajectory.times, trajectory.states.at[7, 1].set(jnp.nan))
    with pytest.raises(jaxcast.InputError, match="must be finite, got NaN or infinity in 1 sample, first in 7 "):
        jaxcast.one_step_samples(broken, 5, candidates)


@pytest.mark.slow
def test_samples_can_be_made_under_every_transform(trajectory, candidates):
    states = trajectory.states[:20].reshape(2, 10, 3)
    times = trajectory.times[:20].reshape(2, 10)

    def errors(states, times):
        samples = jaxcast.one_step_samples(jaxcast.Trajectory(times, states), 2, candidates)
        return samples.memory.errors

    one_by_one = np.stack([errors(states[i], times[i]) for i in range(2)])
    np.testing.assert_allclose(jax.jit(jax.vmap(errors))(states, times), one_by_one, rtol=1e-9, atol=1e-12)
    gradient = jax.grad(lambda states: errors(states, times[0])[-1, 0, 0, 0])(states[0])
    assert gradient[-2, 0] == -1  # the newest error is the forecast less the newest state


@pytest.mark.slow
def test_forecasting_all_windows_is_forecasting_each(trajectory, candidates):
    windows = jaxcast.cut_windows(trajectory, num_windows=3, num_leads=5, history_size=2)
    cell = jaxcast.Forecaster(jaxcast.equal_weights(11), candidates)
    together = jaxcast.forecast_windows(cell, windows)
    for i in range(3):
        alone = jaxcast.forecast(cell, windows.history[i], 5, windows.times[i, :-1])
        np.testing.assert_allclose(together.forecast[i], alone.forecast, rtol=1e-9)
        np.testing.assert_allclose(together.info["weights"][i], alone.info["weights"])


@pytest.mark.slow
def test_one_step_forecasts_are_the_pools_whatever_the_batch(trajectory, candidates, attention):
    samples = jaxcast.one_step_samples(trajectory, 5, candidates)
    whole = attention(samples.memory, samples.forecasts)
    for batch_size in (7, 512):
        parts = jaxcast.pooling.one_step_forecasts(attention, samples, batch_size=batch_size)
        np.testing.assert_allclose(parts.forecast, whole.forecast, rtol=1e-10)
        np.testing.assert_allclose(parts.info["weights"], whole.info["weights"], atol=1e-12)


def with_gaps(windows, *places):
    history = np.array(windows.history)
    for window, time, component in places:
        history[window, time, component] = np.nan
    return windows._replace(history=jnp.asarray(history))


@pytest.mark.slow
def test_windows_whose_history_has_nan_are_named(trajectory, candidates):
    windows = jaxcast.cut_windows(trajectory, num_windows=4, num_leads=3, history_size=4)
    cell = jaxcast.Forecaster(jaxcast.equal_weights(11), candidates)
    for places, named in (
        ([(1, 3, 0), (3, 3, 2)], r"2 of 4 windows: \[1, 3\];"),
        ([(0, 3, 1)], r"1 of 4 windows: \[0\];"),
    ):
        with pytest.raises(jaxcast.InputError, match=named):
            jaxcast.forecast_windows(cell, with_gaps(windows, *places))
    many = jaxcast.cut_windows(trajectory, num_windows=90, num_leads=1, history_size=1)
    with pytest.raises(jaxcast.InputError, match=r"90 of 90 windows: \[0, 1, .*more characters"):
        jaxcast.forecast_windows(cell, with_gaps(many, *((n, 0, 0) for n in range(90))))


@pytest.mark.slow
def test_gaps_that_a_cell_does_without_are_no_fault(trajectory, candidates):
    """Those older than its memory, those it fills, and any where there are no numbers to look at."""
    windows = jaxcast.cut_windows(trajectory, num_windows=4, num_leads=3, history_size=4)
    cell = jaxcast.Forecaster(jaxcast.equal_weights(11), candidates)
    expected = jaxcast.forecast_windows(cell, windows).forecast
    np.testing.assert_array_equal(jaxcast.forecast_windows(cell, with_gaps(windows, (1, 0, 0))).forecast, expected)
    filling = jaxcast.series.WindowCell(jaxcast.series.LastValue((1,)), history_size=4)
    gaps = with_gaps(windows, (1, 3, 0), (2, 3, 1))
    filled = jaxcast.forecast_windows(filling, gaps).forecast
    np.testing.assert_array_equal(filled[1, :, 0], np.full(3, windows.history[1, 2, 0]))
    traced = jax.jit(lambda gaps: jaxcast.forecast_windows(cell, gaps).forecast)(gaps)
    np.testing.assert_array_equal(np.isnan(traced[:, 0]).any(1), [False, True, True, False])


def test_a_window_whose_forecast_diverges_is_a_failure_of_that_window():
    """Its gaps are no fault, where the cell fills gaps; infinity in a history is refused as before."""
    pool = jaxcast.Forecaster(jaxcast.equal_weights(1), lambda u: jnp.where(u > 5, jnp.nan, u)[None])
    cell = jaxcast.assimilation.DirectInsertion(pool, jnp.ones(1))
    history = np.full((3, 4, 1), np.nan)
    history[:, 0, 0] = 2.0
    history[1, 3, 0] = 9.0
    windows = jaxcast.Windows(jnp.asarray(history), jnp.zeros((3, 2, 1)), jnp.tile(jnp.arange(6.0), (3, 1)))
    forecast = jaxcast.forecast_windows(cell, windows).forecast
    np.testing.assert_array_equal(np.isnan(forecast).any((1, 2)), [False, True, False])
    with pytest.raises(jaxcast.InputError, match=r"1 of 3 windows: \[1\]"):
        jaxcast.forecast_windows(cell, windows._replace(history=windows.history.at[1, 3].set(jnp.inf)))


@pytest.mark.parametrize(("times", "states"), [((9,), (9,)), ((9,), (2, 9, 3)), ((8,), (9, 3))])
def test_a_trajectory_of_other_shapes_is_refused_with_both(times, states):
    trajectory = jaxcast.Trajectory(0.1 * np.arange(float(*times)), np.ones(states))
    with pytest.raises(
        jaxcast.InputError, match=rf"one trajectory, got shapes {re.escape(str(times))} and {re.escape(str(states))}"
    ):
        jaxcast.fit_pool(trajectory)

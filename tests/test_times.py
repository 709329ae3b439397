"""Times: every state gets its own in whatever meets a forecast map, and a step that does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.sampling import check_sampling


@pytest.fixture(scope="module")
def scheduled():
    """A system whose schedule changes much in one step, candidates of which the second is the truth, and its course from
    a time other than 0."""

    def system(mean):
        return jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=mean, amplitude=-10.0, period=1.3))

    flow = jaxcast.flow_map(jaxcast.stack([system(34.0), system(38.0), system(41.0)]), dt=0.2, h=0.02)
    truth = jaxcast.simulate(system(38.0), [1.0, 2.0, 20.0], num_samples=40, dt=0.2, h=0.02, t0=3.0, transient=2.0)
    return truth, flow, jaxcast.FixedWeights(jnp.asarray([0.0, 1.0, 0.0]))


def test_gathered_samples_give_each_state_its_own_time(scheduled):
    truth, flow, pool = scheduled
    np.testing.assert_allclose(jaxcast.forecasts_along(flow, truth)[:-1, 1], truth.states[1:], rtol=1e-10)
    for samples in (jaxcast.one_step_samples(truth, 2, flow), jaxcast.samples_for(pool, truth, flow)):
        np.testing.assert_allclose(samples.forecasts[:, 1], samples.targets, rtol=1e-10)
    gathered, rolled = jaxcast.one_step_samples(truth, 1, flow), jaxcast.samples_for(jaxcast.Persistence(), truth, flow)
    np.testing.assert_allclose(gathered.memory.errors[:, 0, 1], 0, atol=1e-9)
    np.testing.assert_allclose(gathered.forecasts, rolled.forecasts[-len(gathered.forecasts) :], rtol=1e-10)
    chunks = jaxcast.sequence_chunks(truth, flow, length=5, stride=3)
    np.testing.assert_allclose(chunks.forecasts[:, :, 1], chunks.targets, rtol=1e-10)
    np.testing.assert_allclose(chunks.errors[:, :, 1], 0, atol=1e-9)


def test_windows_give_each_state_its_own_time(scheduled):
    truth, flow, pool = scheduled
    windows = jaxcast.cut_windows(truth, num_windows=4, window_size=5, history_size=3)
    np.testing.assert_allclose(windows.times[:, 0], 3.0 + 0.2 * 5 * np.arange(4), rtol=1e-12)
    np.testing.assert_array_equal(jaxcast.forecast_times(windows), windows.times[:, :-1])
    forecaster = jaxcast.Forecaster(pool, flow)
    best = jaxcast.Forecaster(jaxcast.BestCandidate(pool), flow)
    for cell in (forecaster, jaxcast.HeldWeights(forecaster), best):
        np.testing.assert_allclose(jaxcast.forecast_windows(cell, windows).forecast, windows.truth, rtol=1e-7)
    along = jaxcast.open_loop(forecaster, truth.states, truth.times).forecast
    np.testing.assert_allclose(along[forecaster.warmup : -1], truth.states[forecaster.warmup + 1 :], rtol=1e-10)
    state = jaxcast.spin_up(forecaster, truth.states[:4], truth.times[:4])
    _, later = jaxcast.closed_loop(forecaster, state, 5, truth.times[4:9])
    np.testing.assert_allclose(later.forecast, truth.states[5:10], rtol=1e-7)


def test_training_windows_give_each_state_its_own_time(scheduled):
    truth, flow, pool = scheduled
    windows = jaxcast.loop_windows(truth, horizon=4, history_size=3, stride=4)
    begins = 3.0 + 0.2 * 4 * np.arange(len(windows.truth))
    np.testing.assert_allclose(windows.times, begins[:, None] + 0.2 * np.arange(6), rtol=1e-12)
    assert len(windows.truth) == 9
    np.testing.assert_array_equal(windows.truth[-1], truth.states[35:39])  # the last window that fits

    def make_cell(pool):
        return jaxcast.Forecaster(pool, flow)

    assert jaxcast.closed_loop_loss(make_cell)(pool, windows) < 1e-10
    late = windows._replace(times=windows.times + 0.2)
    assert jaxcast.closed_loop_loss(make_cell)(pool, late) > 0.1


def test_the_last_window_is_cut(scheduled):
    truth, _, _ = scheduled
    windows = jaxcast.cut_windows(truth, num_windows=5, window_size=7, history_size=5)
    np.testing.assert_array_equal(windows.truth[-1], truth.states[-7:])
    np.testing.assert_array_equal(windows.times[-1], truth.times[-12:])


def fits_of_a_trajectory(flow, pool):
    """Everything in which a trajectory, or windows of it, meet a forecast map."""
    cell = jaxcast.Forecaster(pool, flow)

    def of_windows(cell):
        def forecast(trajectory):
            windows = jaxcast.cut_windows(trajectory, num_windows=2, window_size=5, history_size=4)
            return jaxcast.forecast_windows(cell, windows)

        return forecast

    models = jax.tree.map(lambda a: jnp.asarray(a)[None], pool)
    kalman = jaxcast.EnsembleKalmanFilter(
        jaxcast.parameter_map(jaxcast.Lorenz63(), ["rho"], dt=0.2, h=0.02), low=[25.0], high=[40.0],
        observation_noise=0.1, parameter_noise=0.05, num_members=5, key=jax.random.key(0),
    )  # fmt: skip
    return {
        "one_step_samples": lambda t: jaxcast.one_step_samples(t, 2, flow),
        "samples_for": lambda t: jaxcast.samples_for(pool, t, flow),
        "sequence_chunks": lambda t: jaxcast.sequence_chunks(t, flow, length=4),
        "forecasts_along": lambda t: jaxcast.forecasts_along(flow, t),
        "input_scales": lambda t: jaxcast.input_scales(t, flow),
        "fit_regime": lambda t: jaxcast.fit_regime(t, flow, coordinates=np.asarray([1.0, 2.0, 3.0])),
        "forecast_windows": of_windows(cell),
        "held weights": of_windows(jaxcast.HeldWeights(cell)),
        "best candidate": of_windows(jaxcast.Forecaster(jaxcast.BestCandidate(pool), flow)),
        "Kalman filter": of_windows(kalman),
        "open_loop": lambda t: jaxcast.open_loop(cell, t.states, t.times),
        "spin_up": lambda t: jaxcast.spin_up(cell, t.states, t.times),
        "forecast": lambda t: jaxcast.forecast(cell, t.states[:25], 3, t.times[:27]),
        "fine_tune": lambda t: jaxcast.fine_tune(
            models, t, lambda pool: jaxcast.Forecaster(pool, flow), keys=jax.random.split(jax.random.key(0), 1)
        ),
        "choose_setting": lambda t: jaxcast.choose_setting(
            lambda t: cell, {}, t, dt=0.2, threshold=1.0, window_size=4, history_size=4, validation_share=0.5
        ),
    }


def test_another_step_than_the_candidates_is_refused(scheduled):
    truth, flow, pool = scheduled
    double = jaxcast.Trajectory(truth.times * 2, truth.states)  # samples 0.4 apart
    gap = truth._replace(times=truth.times.at[20:].add(0.2))
    long = jaxcast.Trajectory(0.4 * jnp.arange(100), jnp.tile(truth.states, (3, 1))[:100])
    for name, fit in fits_of_a_trajectory(flow, pool).items():
        given = long if name == "fit_regime" else double
        with pytest.raises(jaxcast.InputError, match=r"every 0\.4, but a step of 0\.2"):
            fit(given)
        if name != "fit_regime":
            with pytest.raises(jaxcast.InputError, match=r"evenly spaced, got a step of 0\.4 before sample 20"):
                fit(gap)


def test_irregular_times_are_refused_without_candidates_too(scheduled):
    truth, _, _ = scheduled
    for bad in (truth.times.at[7].add(0.01), truth.times[::-1], jnp.zeros(40), truth.times.at[3].set(jnp.nan)):
        uneven = truth._replace(times=bad)
        for use in (
            lambda t: jaxcast.one_step_samples(t, 2),
            lambda t: jaxcast.loop_windows(t, 4, 3),
            lambda t: jaxcast.cut_windows(t, num_windows=1, window_size=30, history_size=5),
        ):
            with pytest.raises(jaxcast.InputError, match="times of the trajectory must"):
                use(uneven)


@pytest.mark.parametrize("t0", [0.0, 1e4, 1e5, 1e6])
def test_times_that_float32_rounds_are_no_fault(scheduled, t0):
    _, flow, _ = scheduled
    times = np.asarray(t0 + 0.2 * np.arange(40), np.float32)
    check_sampling(times, flow)
    check_sampling(times[:3], flow)
    if t0 < 1e6:
        with pytest.raises(jaxcast.InputError, match="but a step of 0.2"):
            check_sampling(np.asarray(t0 + 0.25 * np.arange(40), np.float32), flow)

"""Times: every state gets its own in whatever meets a forecast map, and a step that does not fit is refused."""

import contextlib
import os
import subprocess
import sys
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.pool.hidden_parameter import HiddenParameter, track
from jaxcast.clock import after_steps, joined, split, turns
from jaxcast.pytrees import FrozenPytree
from jaxcast.sampling import check_sampling

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scheduled():
    """A system whose schedule changes much in one step, candidates of which the second is the truth, and its course from
    a time other than 0."""

    def system(mean):
        return jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=mean, amplitude=-10.0, period=1.3))

    flow = jaxcast.flow_map(jaxcast.stack_systems([system(34.0), system(38.0), system(41.0)]), dt=0.2, h=0.02)
    truth = jaxcast.simulate(system(38.0), [1.0, 2.0, 20.0], num_samples=40, dt=0.2, h=0.02, t0=3.0, transient=2.0)
    return truth, flow, jaxcast.pooling.FixedWeights(jnp.asarray([0.0, 1.0, 0.0]))


def test_gathered_samples_give_each_state_its_own_time(scheduled):
    truth, flow, pool = scheduled
    np.testing.assert_allclose(jaxcast.dynamics.forecasts_along(flow, truth)[:-1, 1], truth.states[1:], rtol=1e-10)
    for samples in (jaxcast.one_step_samples(truth, 2, flow), jaxcast.pooling.rolled_samples(pool, truth, flow)):
        np.testing.assert_allclose(samples.forecasts[:, 1], samples.targets, rtol=1e-10)
    gathered, rolled = (
        jaxcast.one_step_samples(truth, 1, flow),
        jaxcast.pooling.rolled_samples(jaxcast.pooling.Persistence(), truth, flow),
    )
    np.testing.assert_allclose(gathered.memory.errors[:, 0, 1], 0, atol=1e-9)
    np.testing.assert_allclose(gathered.forecasts, rolled.forecasts[-len(gathered.forecasts) :], rtol=1e-10)
    chunks = jaxcast.pooling.sequence_chunks(truth, flow, length=5, stride=3)
    np.testing.assert_allclose(chunks.forecasts[:, :, 1], chunks.targets, rtol=1e-10)
    np.testing.assert_allclose(chunks.errors[:, :, 1], 0, atol=1e-9)


def test_windows_give_each_state_its_own_time(scheduled):
    truth, flow, pool = scheduled
    windows = jaxcast.cut_windows(truth, num_windows=4, num_leads=5, history_size=3)
    np.testing.assert_allclose(windows.times[:, 0], 3.0 + 0.2 * 5 * np.arange(4), rtol=1e-12)
    np.testing.assert_array_equal(jaxcast.forecast_times(windows), windows.times[:, :-1])
    forecaster = jaxcast.Forecaster(pool, flow)
    best = jaxcast.Forecaster(jaxcast.pooling.BestCandidate(pool), flow)
    for cell in (forecaster, jaxcast.pooling.HeldWeights(forecaster), best):
        np.testing.assert_allclose(jaxcast.forecast_windows(cell, windows).forecast, windows.truth, rtol=1e-7)
    along = jaxcast.open_loop(forecaster, truth.states, truth.times).forecast
    np.testing.assert_allclose(along[forecaster.warmup : -1], truth.states[forecaster.warmup + 1 :], rtol=1e-10)
    state = jaxcast.spin_up(forecaster, truth.states[:4], truth.times[:4])
    _, later = jaxcast.closed_loop(forecaster, state, 5, truth.times[4:9])
    np.testing.assert_allclose(later.forecast, truth.states[5:10], rtol=1e-7)


def test_training_windows_give_each_state_its_own_time(scheduled):
    truth, flow, pool = scheduled
    windows = jaxcast.training.training_windows(truth, num_leads=4, history_size=3, stride=3)
    begins = 3.0 + 0.2 * 3 * np.arange(len(windows.truth))
    np.testing.assert_allclose(windows.times, begins[:, None] + 0.2 * np.arange(6), rtol=1e-12)
    assert len(windows.truth) == 12
    np.testing.assert_array_equal(windows.truth[-1], truth.states[36:])  # the last window that fits

    def make_cell(pool):
        return jaxcast.Forecaster(pool, flow)

    assert jaxcast.training.closed_loop_loss(make_cell)(pool, windows) < 1e-10
    late = windows._replace(times=windows.times + 0.2)
    assert jaxcast.training.closed_loop_loss(make_cell)(pool, late) > 0.1


def test_the_last_window_is_cut(scheduled):
    truth, _, _ = scheduled
    windows = jaxcast.cut_windows(truth, num_windows=5, num_leads=7, history_size=5)
    np.testing.assert_array_equal(windows.truth[-1], truth.states[-7:])
    np.testing.assert_array_equal(windows.times[-1], truth.times[-12:])


def fits_of_a_trajectory(flow, pool):
    """Everything in which a trajectory, or windows of it, meet a forecast map."""
    cell = jaxcast.Forecaster(pool, flow)

    def of_windows(cell):
        def forecast(trajectory):
            windows = jaxcast.cut_windows(trajectory, num_windows=2, num_leads=5, history_size=4)
            return jaxcast.forecast_windows(cell, windows)

        return forecast

    models = jax.tree.map(lambda a: jnp.asarray(a)[None], pool)
    kalman = jaxcast.assimilation.EnsembleKalmanFilter(
        jaxcast.assimilation.parameter_map(jaxcast.Lorenz63(), ["rho"], dt=0.2, h=0.02), observation_noise=0.1,
        parameters=[jaxcast.assimilation.RandomWalk(25.0, 40.0, 0.05)], num_members=5, key=jax.random.key(0),
    )  # fmt: skip
    return {
        "one_step_samples": lambda t: jaxcast.one_step_samples(t, 2, flow),
        "rolled_samples": lambda t: jaxcast.pooling.rolled_samples(pool, t, flow),
        "sequence_chunks": lambda t: jaxcast.pooling.sequence_chunks(t, flow, length=4),
        "forecasts_along": lambda t: jaxcast.dynamics.forecasts_along(flow, t),
        "input_scales": lambda t: jaxcast.pooling.input_scales(t, flow),
        "fit_regime": lambda t: jaxcast.fit_regime(t, forecast_map=flow, coordinates=np.asarray([1.0, 2.0, 3.0])),
        "forecast_windows": of_windows(cell),
        "held weights": of_windows(jaxcast.pooling.HeldWeights(cell)),
        "best candidate": of_windows(jaxcast.Forecaster(jaxcast.pooling.BestCandidate(pool), flow)),
        "Kalman filter": of_windows(kalman),
        "open_loop": lambda t: jaxcast.open_loop(cell, t.states, t.times),
        "spin_up": lambda t: jaxcast.spin_up(cell, t.states, t.times),
        "forecast": lambda t: jaxcast.forecast(cell, t.states[:25], 3, t.times[:27]),
        "fine_tune": lambda t: jaxcast.training.fine_tune(
            t,
            models=models,
            make_cell=lambda pool: jaxcast.Forecaster(pool, flow),
            keys=jax.random.split(jax.random.key(0), 1),
        ),
        "grid_search": lambda t: jaxcast.training.grid_search(
            t, fit=lambda t: cell, grid={}, dt=0.2, threshold=1.0, num_leads=4, history_size=4, validation_share=0.5
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
            lambda t: jaxcast.training.training_windows(t, num_leads=4, history_size=3),
            lambda t: jaxcast.cut_windows(t, num_windows=1, num_leads=30, history_size=5),
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
        with pytest.raises(jaxcast.InputError, match=r"but a step of 0\.2"):
            check_sampling(np.asarray(t0 + 0.25 * np.arange(40), np.float32), flow)


PERIOD = 1.577132


def systems_far_from_zero(t0):
    """One for each kind of schedule, all of which change within the samples from t0 on."""
    values = dict(
        cosine=jaxcast.Cosine(38.0, -10.0, PERIOD, 0.4),
        sum=jaxcast.SumOfCosines(38.0, [6.0, 4.0], [1.6, 2.7], [0.0, 1.0]),
        ramp=jaxcast.LinearRamp(28.0, 48.0, t0 + 0.05, t0 + 0.33),
        jump=jaxcast.PiecewiseConstant([t0 + 0.1, t0 + 0.3], [28.0, 40.0, 33.0]),
        function=lambda t: 38 - 10 * jnp.cos(2 * jnp.pi * t / PERIOD),
    )
    return {name: jaxcast.Lorenz63(rho=rho) for name, rho in values.items()}


START = np.asarray([1.0, 2.0, 20.0], np.float32)  # the same number in both widths


@pytest.mark.parametrize("t0", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("name", ["cosine", "sum", "ramp", "jump", "function"])
def test_float32_knows_the_phase_at_any_time(name, t0):
    system = systems_far_from_zero(t0)[name]

    def run(dtype):
        u = jnp.asarray(START, dtype)
        times, states = jaxcast.simulate(system, u, num_samples=6, t0=t0, transient=0.1)
        np.testing.assert_allclose(times, t0 + 0.1 * np.arange(6), rtol=1e-14)
        if name != "cosine":  # the others take the same way through the other functions
            return (states,)
        flow = jaxcast.flow_map(system, dt=0.1)(u, t0 + 0.2)
        many = jaxcast.simulate_ensemble(system, u[None].repeat(20, 0), num_samples=6, t0=t0, tile_size=16)
        last = jaxcast.final_states(system, u[None], duration=0.5, t0=t0)
        np.testing.assert_allclose(many.times, times, rtol=1e-14)
        return states, flow, many.states, last

    for single, double in zip(run(jnp.float32), run(jnp.float64), strict=True):
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, double, atol=1e-4)


def test_float32_knows_the_phase_after_many_steps():
    """In a system without chaos, whose state follows its schedule."""

    class Relaxation(jaxcast.System):
        components = ("x",)
        target: jaxcast.dynamics.Parameter = 0.0

        def vector_field(self, t, u):
            return (self.target - u[0],)

    system = Relaxation(jaxcast.Cosine(0.0, 1.0, 0.37))
    starts = np.zeros((1, 1), np.float32)
    single = jaxcast.final_states(system, jnp.asarray(starts), duration=20_000.0, h=0.02)
    double = jaxcast.final_states(system, jnp.asarray(starts, float), duration=20_000.0, h=0.02)
    np.testing.assert_allclose(single, double, atol=2e-6)


@pytest.mark.parametrize("t0", [0.0, 7.0, 1e4])
def test_times_begin_at_t0_everywhere(t0):
    system, u = jaxcast.Lorenz63(rho=jaxcast.Cosine(38.0, -10.0, PERIOD)), jnp.asarray(START, float)
    expected = t0 + 0.1 * np.arange(5)
    one = jaxcast.simulate(system, u, num_samples=5, t0=t0)
    many = jaxcast.simulate_ensemble(system, jnp.stack([u, u + 1]), num_samples=5, t0=t0)
    for found in (one.times, many.times):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_allclose(many.states[0], one.states, rtol=1e-10)
    last = jaxcast.final_states(system, u[None], duration=0.4, t0=t0)
    np.testing.assert_allclose(last[0], one.states[-1], rtol=1e-10)


@pytest.mark.usefixtures("without_type_checks")
def test_gradients_by_time_and_period_are_those_of_float64():
    def last(period, t0, dtype):
        system = jaxcast.Lorenz63(rho=jaxcast.Cosine(38.0, -10.0, period))
        return jaxcast.simulate(system, jnp.asarray(START, dtype), num_samples=3, t0=t0).states[-1].sum()

    found = (jax.grad(last, (0, 1))(1.6, 50.0, dtype) for dtype in (jnp.float32, jnp.float64))
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-4)


FAR = """
import jax.numpy as jnp, numpy as np, jaxcast
def system(mean): return jaxcast.Lorenz63(rho=jaxcast.Cosine(mean, -10.0, 1.577132))
truth = jaxcast.simulate(system(38.0), [1.0, 2.0, 20.0], num_samples=24, t0=1e6, transient=1.0)
assert truth.states.dtype == jnp.float32 and len(np.unique(truth.times)) == 24
flow = jaxcast.flow_map(jaxcast.stack_systems([system(35.0), system(38.0)]))
pool = jaxcast.pooling.FixedWeights(jnp.asarray([0.0, 1.0]))
cell = jaxcast.Forecaster(pool, flow)
samples, chunks = jaxcast.one_step_samples(truth, 2, flow), jaxcast.pooling.sequence_chunks(truth, flow, length=4)
rolled = jaxcast.pooling.rolled_samples(pool, truth, flow)
windows = jaxcast.cut_windows(truth, num_windows=4, num_leads=5, history_size=3)
loss = jaxcast.training.closed_loop_loss(lambda pool: jaxcast.Forecaster(pool, flow))
off = [
    samples.forecasts[:, 1] - samples.targets, chunks.errors[:, :, 1], rolled.forecasts[:, 1] - rolled.targets,
    jaxcast.forecast_windows(cell, windows).forecast - windows.truth,
    jaxcast.open_loop(cell, truth.states, truth.times).forecast[2:-1] - truth.states[3:],
    jaxcast.forecast(cell, truth.states[:6], 4, truth.times[:9]).forecast - truth.states[6:10],
    loss(pool, jaxcast.training.training_windows(truth, num_leads=4, history_size=3)),
]
print(max(float(abs(a).max()) for a in off))
"""


@pytest.mark.slow
def test_the_phase_lasts_from_simulation_to_forecasts_without_float64():
    """In a process of its own, because the tests are set to float64."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    done = subprocess.run([sys.executable, "-c", FAR], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-3


def test_an_instant_is_the_number_it_was_made_of():
    for number in (1e6 + 0.013, -123456.789, 0.1, 0.0):
        pair = split(number, jnp.float32)
        assert abs(float(joined(pair)) - number) <= abs(number) * 2.0**-47
        for steps in (-7, 0, 12_345_678):
            found = after_steps(pair, steps, split(0.01, jnp.float32))
            np.testing.assert_allclose(float(joined(found)), number + steps * 0.01, rtol=1e-13, atol=1e-10)
        phase = float(turns(pair, split(PERIOD, jnp.float32)))
        assert abs((phase - number / PERIOD + 0.5) % 1 - 0.5) < 1e-6


def test_the_hidden_parameter_is_compared_at_the_middle_of_each_step():
    values = np.arange(40.0)
    windows = jaxcast.Windows(jnp.zeros((2, 3, 1)), jnp.zeros((2, 5, 1)), jnp.arange(16.0).reshape(2, 8))
    hidden = HiddenParameter(
        "rho", values, lambda times: 2 * np.asarray(times)
    )  # at the middle of the step to t: 2 t - 1
    best = (2 * windows.times[:, 3:] - 1).astype(int)
    found = track(jaxcast.Output(None, {"weights": jax.nn.one_hot(best, 40)}), windows, hidden, 1.0)
    assert found["mean_distance"] == 0
    regime = {"regime": 2.0 * windows.times[:, 2:-1, None]}  # which is told of the state forecast from
    assert track(jaxcast.Output(None, regime), windows, hidden, 1.0)["mean_distance"] == 0


class Shy(FrozenPytree, jaxcast.DeterministicCell):
    """A cell that forecasts `guess`, and NaN from values above 1.5."""

    guess: Any
    warmup: ClassVar[int] = 0

    def init_carry(self, value, exogenous=None):
        return ()

    def __call__(self, carry, x):
        return (), jaxcast.Output(self.guess + 1e-3 * jnp.sqrt(1.5 - x.value), {})


def shy_cell(guess):
    return Shy(guess)


def test_a_window_that_has_diverged_goes_on_from_the_truth():
    states = jnp.where(jnp.arange(12) % 2, 1.0, -1.0)[:, None]
    windows = jaxcast.training.training_windows(
        jaxcast.Trajectory(jnp.arange(12.0), states), num_leads=4, history_size=1
    )
    loss, gradient = jax.value_and_grad(jaxcast.training.closed_loop_loss(shy_cell))(50.0, windows)
    assert np.isfinite(gradient)
    far = 4 * 0.3  # squared, in standard deviations; only the first of four leads is scored
    np.testing.assert_allclose(loss, np.log1p(far / 0.03**2) / 4, rtol=1e-9)


@pytest.mark.parametrize(
    ("factor", "is_refused"), [(1 + 1e-8, False), (1 - 1e-8, False), (1 + 1e-5, True), (0.999, True)]
)
def test_a_step_is_the_sampling_interval_to_a_millionth(factor, is_refused):
    times = 7 + 0.1 * np.arange(50)
    with pytest.raises(jaxcast.InputError, match="both must be equal") if is_refused else contextlib.nullcontext():
        check_sampling(times, dt=0.1 * factor)
    uneven = times.copy()
    uneven[20] += 0.1 * (factor - 1)
    with pytest.raises(jaxcast.InputError, match="evenly spaced") if is_refused else contextlib.nullcontext():
        check_sampling(uneven)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("name", "jumps", "is_refused"),
    [("on", [0.505, 1.005], False), ("off", [0.5], True), ("twice", [0.505, 0.505], True)],
)
def test_jumps_of_ensembles_lie_on_the_grid_that_begins_at_t0(name, jumps, is_refused, dtype):
    system = jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant(jumps, np.arange(28.0, 29.0 + len(jumps))))
    starts = np.ones((2, 3), dtype)
    for run in (
        lambda: jaxcast.simulate_ensemble(system, starts, num_samples=2, t0=0.005),
        lambda: jaxcast.simulate(system, starts[0], num_samples=2, t0=0.005),
    ):
        with pytest.raises(jaxcast.InputError, match="jump") if is_refused else contextlib.nullcontext():
            run()

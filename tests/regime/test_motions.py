"""Motions of a regime that is no sum of oscillations: profiles, delays, the inferred regime, and beliefs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.stats import multivariate_normal

import jaxcast
from jaxcast.regime import Emulator, PolynomialSystem
from jaxcast.regime.delays import RIDGE, DelayMotion, choose_delays, closed_loop_errors, delay_vectors, fit_delays
from jaxcast.regime.filtering import Beliefs
from jaxcast.regime.harmonics import HarmonicSchedule, Steps
from jaxcast.regime.inferred import infer_regime
from jaxcast.regime.motions import path_through
from jaxcast.regime.oscillations import Changes, Clock, HarmonicMotion
from jaxcast.regime.profile import ProfileMotion, ProfilePath, find_period, fit_profile, starting_phases

DT = 0.1
FACTORS = ((0,), (1,))
FREQUENCY = 2.0


def linear():
    """du/dt = -u / 2 + c, exactly solved to rounding by small steps."""
    theta = jnp.asarray([[[0.0], [1.0]], [[-0.5], [0.0]]])
    one = jnp.ones(1)
    system = PolynomialSystem(theta, 0 * one, one, jnp.asarray([[-1.0], [1.0]]), FACTORS, FACTORS)
    return Emulator(system, 0 * one, one, jnp.asarray(DT), jnp.asarray(0.0), num_substeps=10)


def driven(values):
    """States and steps of the linear system under paths, one for each step."""
    emulator, states = linear(), [jnp.asarray([0.3])]
    for path in values:
        states.append(emulator(states[-1], path))
    states = jnp.stack(states)
    num = len(values)
    time = DT * (jnp.arange(num) - num // 2)
    return emulator, states, Steps(time, states[:-1], states[1:], jnp.ones(num))


def test_a_step_is_the_cubic_through_four_values():
    knots = np.random.default_rng(0).normal(size=(4, 2))
    path = path_through(jnp.asarray(knots), DT)
    for t in (0.0, 0.03, 0.1):
        for c in range(2):
            cubic = np.polyfit([-2, -1, 0, 1], knots[:, c], 3)
            np.testing.assert_allclose(path(t)[c], np.polyval(cubic, t / DT), rtol=1e-9, atol=1e-12)


def test_a_profile_is_read_in_the_middle_of_an_integrators_step():
    levels, slopes = jnp.asarray([[1.0], [5.0]]), jnp.asarray([[2.0], [0.0]])
    path = ProfilePath(0.0, 0.4, levels, slopes)
    np.testing.assert_allclose([path(t)[0] for t in (0.05, 0.15, 0.25, 0.45)], [0.9, 1.1, 5.0, 0.9], rtol=1e-9)
    ends = path.over_step(0.18, 0.19, 0.2)
    np.testing.assert_allclose(np.ravel(ends), [1.16, 1.18, 1.2], rtol=1e-9)


@pytest.mark.slow
def test_a_regime_is_inferred_from_its_steps():
    def regime(t):
        return np.sin(1.3 * t) + 0.5 * np.cos(2.1 * t)

    waves = [(1.3, 0.0, 1.0), (2.1, 0.5, 0.0)]

    def path(begin):
        schedule = HarmonicSchedule(
            jnp.zeros(1), jnp.zeros(1), *(jnp.asarray([wave[k] for wave in waves]) for k in (0,)),
            *(jnp.asarray([[wave[k]] for wave in waves]) for k in (1, 2)),
        )  # fmt: skip
        return schedule.later(begin)

    times = DT * np.arange(81)
    emulator, _, steps = driven([path(t) for t in times[:-1]])
    inferred = infer_regime(emulator, steps, np.zeros((80, 1)))
    np.testing.assert_allclose(inferred.values[3:-3, 0], regime(times)[3:-3], atol=1e-3)
    assert np.abs(inferred.misfits).max() < 1e-5


def test_delays_are_fitted_as_the_penalised_normal_equations_say():
    values = np.random.default_rng(1).normal(size=(60, 1)).cumsum(0)
    fits = fit_delays(values, num_delays=2, stride=2, power=1.0, length=1.5, dt=DT)
    motion, left = fits[1.0]
    x = delay_vectors(values[:-1], 2, 2)
    np.testing.assert_array_equal(x[0], [values[2, 0], values[0, 0]])
    z = (x - np.asarray(motion.mean)) @ np.asarray(motion.whitening)
    np.testing.assert_allclose(z.std(0), 1 / 1.5, rtol=1e-9)

    def kernel(a, b):
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 2)

    centres = np.asarray(motion.centres)
    rows = np.concatenate([np.ones((len(z), 1)), z, kernel(z, centres)], 1)
    penalty = np.zeros((rows.shape[1],) * 2)
    penalty[3:, 3:] = kernel(centres, centres) + RIDGE * np.eye(len(centres))
    target = (values[1:] - values[:-1])[2:]
    weights = np.linalg.solve(rows.T @ rows + penalty, rows.T @ target)
    np.testing.assert_allclose(rows @ np.asarray(motion.weights), rows @ weights, atol=1e-8)
    np.testing.assert_allclose(left, np.sqrt(np.mean((rows @ weights - target) ** 2)), rtol=1e-8)
    numbers = jnp.asarray(values[10:7:-1, 0])
    expected = values[10] + np.concatenate([[1], z[8], kernel(z[8:9], centres)[0]]) @ weights
    np.testing.assert_allclose(motion.later(numbers), [expected[0], *values[[10, 9], 0]], atol=1e-8)


@pytest.mark.slow
def test_settings_are_those_that_go_on_longest():
    """A logistic map, in which one value tells the next."""
    values = [0.3]
    for _ in range(399):
        values.append(3.7 * values[-1] * (1 - values[-1]))
    values = np.asarray(values)[:, None]
    settings = choose_delays(values, DT)
    penalty = settings.pop("penalty")
    motion, _ = fit_delays(values[:300], dt=DT, **settings)[penalty]
    starts = delay_vectors(values, motion.memory, 1)[np.arange(320, 380) - motion.memory + 1]
    truth = values[np.arange(320, 380)[:, None] + 1 + np.arange(5)]
    errors = np.sqrt(closed_loop_errors(motion, jnp.asarray(starts), jnp.asarray(truth)))
    assert errors[0] < 0.01 * values.std()
    assert errors[4] < 0.3 * values.std()
    assert settings["stride"] == 1


@pytest.mark.slow
def test_a_profile_and_its_period_are_found_to_rounding():
    levels = jnp.asarray([[1.0], [1.0], [-1.0], [-1.0], [0.5]])
    slopes = jnp.asarray([[2.0], [0.0], [0.0], [1.0], [0.0]])
    emulator, _, steps = driven([ProfilePath(t, 5 * DT, levels, slopes) for t in DT * (np.arange(60) - 30)])
    means = np.resize(np.asarray(levels), (60, 1))
    still = HarmonicSchedule(*map(jnp.zeros, (1, 1, 0)), jnp.zeros((0, 1)), jnp.zeros((0, 1)))
    period = find_period(means, np.ones((60, 1)), still, DT)
    assert period == pytest.approx(5 * DT)
    motion, misfits = fit_profile(emulator, steps, means, period)
    # One value a step tells a level, and of a slope only what it adds to it.
    assert np.abs(misfits).max() < 1e-13
    starts = starting_phases(motion)
    np.testing.assert_allclose(starts.mean[:, 0], DT * np.arange(5))


@pytest.mark.slow
def test_weights_of_beliefs_are_the_densities_of_what_was_seen():
    emulator, motion = linear(), ProfileMotion(*map(jnp.asarray, (0.2, [[1.0], [-1.0]], [[0.0], [0.0]], DT, 0.0)))
    starts = Beliefs(jnp.asarray([[0.0], [0.1]]), jnp.full((2, 1, 1), 1e-9), jnp.log(jnp.asarray([0.3, 0.7])))
    noise, small, weights = jnp.asarray([0.2]), jnp.asarray([0.1]), jnp.asarray([[0.5, 0.5], [-0.5, 0.5]])
    cell = jaxcast.regime.LearnedRegimeForecaster(emulator, motion, starts, 1e-9 * noise, noise, small, weights)
    values = np.asarray([[0.4], [0.45], [0.4]])
    carry, _ = jaxcast.roll(cell, jaxcast.Input(jnp.asarray(values), jnp.ones(3, bool)))
    decay = np.exp(-DT / 2)
    logs = []
    for first, share in ((1.0, 0.3), (-1.0, 0.7)):
        pushes = [first, -first]
        # The values are normal: each is the state, which steps with noise, seen with noise.
        start = np.asarray([1, decay, decay**2])
        mean = 0.4 * start
        for n, push in enumerate(pushes, 1):
            mean[n:] += push * 2 * (1 - decay) * decay ** np.arange(3 - n)
        covariance = 0.04 * np.outer(start, start)
        for n in (1, 2):
            later = np.where(np.arange(3) >= n, decay ** (np.arange(3.0) - n), 0)
            covariance += 0.01 * np.outer(later, later)
        covariance = (covariance + 0.04 * np.eye(3))[1:, 1:]
        logs.append(np.log(share) + multivariate_normal.logpdf(values[1:, 0], mean[1:], covariance))
    found = np.asarray(carry.carry.log_weights)
    np.testing.assert_allclose(found - found.max(), np.asarray(logs) - max(logs), atol=1e-10)


SCHEDULE = HarmonicSchedule(
    jnp.asarray([0.3]), jnp.asarray([0.1]), jnp.asarray([FREQUENCY]), jnp.asarray([[0.4]]), jnp.asarray([[-0.2]])
)


@pytest.mark.slow
def test_a_clock_says_what_the_schedule_is_now_and_how_surely():
    deviation = HarmonicSchedule(
        jnp.asarray([0.01]), jnp.asarray([0.02]), jnp.asarray([0.03]), jnp.asarray([[0.04]]), jnp.asarray([[0.05]])
    )
    motion = HarmonicMotion(SCHEDULE, jnp.asarray(DT))
    mean, root = Clock(SCHEDULE, deviation, jnp.asarray(1.0)).at(jnp.asarray(1.7), motion)
    np.testing.assert_allclose(motion.path(mean)(0.4), SCHEDULE(1.1), rtol=1e-6)
    # By central differences: the numbers of another time are a smooth function of the schedule's.
    flat, unravel = ravel_pytree(SCHEDULE)
    numbers = jax.jit(lambda flat: motion.numbers(unravel(flat).later(0.7)))
    shifts = 1e-5 * np.eye(len(flat))
    slope = np.stack([(numbers(flat + shift) - numbers(flat - shift)) / 2e-5 for shift in shifts], 1)
    scaled = slope * np.asarray(ravel_pytree(deviation)[0])
    np.testing.assert_allclose(root @ root.T, scaled @ scaled.T, rtol=1e-7, atol=1e-9)


def harmonic_cell(**options):
    still = jax.tree.map(jnp.zeros_like, SCHEDULE)
    broad = jax.tree.map(lambda a: 0 * a + 0.5, SCHEDULE)
    begin = dataclasses.replace(still, frequencies=SCHEDULE.frequencies)
    tiny = jax.tree.map(lambda a: 0 * a + 1e-7, SCHEDULE)
    return jaxcast.RegimeForecaster(
        linear(), begin, broad, tiny, jnp.asarray([1e-7]), jnp.asarray([1e-7]), jnp.asarray([[0.5, 0.5], [-0.5, 0.5]]),
        None, **options,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("frequency", [FREQUENCY, 2.6])
def test_another_period_than_in_training_is_found_where_it_may_have_changed(frequency):
    schedule = dataclasses.replace(SCHEDULE, slope=0 * SCHEDULE.slope, frequencies=jnp.asarray([frequency]))
    _, states, _ = driven([schedule.later(DT * n) for n in range(100)])
    changes = Changes(jax.tree.map(lambda a: 0 * a + 0.5, SCHEDULE))
    errors = {}
    for name, cell in {"fixed": harmonic_cell(), "free": harmonic_cell(changes=changes)}.items():
        output = jaxcast.forecast(cell, states[:70], 30)
        errors[name] = float(jnp.abs(output.forecast - states[70:100]).max())
    assert errors["free"] < 1e-2
    if frequency != FREQUENCY:
        assert errors["fixed"] > 10 * errors["free"]


@pytest.mark.slow
def test_a_clock_needs_no_spin_up_and_a_wrong_one_is_dropped():
    tiny = jax.tree.map(lambda a: 0 * a + 1e-6, SCHEDULE)
    cell = harmonic_cell(clock=Clock(SCHEDULE, tiny, jnp.asarray(0.0)))
    _, states, _ = driven([SCHEDULE.later(DT * n) for n in range(60)])
    times = DT * jnp.arange(60)
    for shift, size, bound in ((0.0, 2, 1e-3), (1.0, 30, 1e-2)):
        output = jaxcast.forecast(cell, states[:size], 20, times[: size + 19] + shift)
        np.testing.assert_allclose(output.forecast, states[size : size + 20], atol=bound)
    # Without times nothing is known of the phases.
    blind = jaxcast.forecast(cell, states[:2], 20)
    assert jnp.abs(blind.forecast - states[2:22]).max() > 0.02


@pytest.mark.slow
def test_a_learned_regime_is_saved_with_its_motion(tmp_path):
    values = np.sin(0.3 * np.arange(80))[:, None]
    motion = fit_delays(values, num_delays=3, stride=1, power=1.0, length=1.0, dt=DT)[1e-3][0]
    assert isinstance(motion, DelayMotion)
    starts = Beliefs(jnp.asarray(values[2::-1].T), jnp.eye(3)[None], jnp.zeros(1))
    small, weights = jnp.asarray([0.1]), jnp.asarray([[0.5, 0.5], [-0.5, 0.5]])
    cell = jaxcast.regime.LearnedRegimeForecaster(linear(), motion, starts, 1e-3 * jnp.ones(3), small, small, weights)
    jaxcast.save_model(tmp_path / "cell", cell)
    again = jaxcast.load_model(tmp_path / "cell").pool
    history = jnp.asarray([[0.1], [0.2], [0.25]])
    one, other = (jaxcast.forecast(each, history, 5).forecast for each in (cell, again))
    np.testing.assert_array_equal(one, other)
    with pytest.raises(jaxcast.InputError, match="wander must have shape"):
        jaxcast.save_model(tmp_path / "other", dataclasses.replace(cell, wander=jnp.ones(2)))


@pytest.mark.slow
def test_a_filter_that_leaves_the_range_of_the_emulator_begins_again():
    """After one absurd value it forecasts as one that has seen only what follows."""
    theta = jnp.asarray([[[0.0], [1.0]], [[-0.5], [0.0]], [[0.1], [0.0]]])  # du/dt = -u / 2 + c + u^2 / 10
    one, factors = jnp.ones(1), ((0, 0), (0, 1), (1, 1))
    system = PolynomialSystem(theta, 0 * one, one, jnp.asarray([[-1.0], [1.0]]), factors, FACTORS)
    emulator = Emulator(system, 0 * one, one, jnp.asarray(DT), jnp.asarray(0.0), num_substeps=4)
    levels = jnp.asarray([[0.5], [-0.5]])
    motion = ProfileMotion(jnp.asarray(0.4), levels, 0 * levels, jnp.asarray(DT), jnp.asarray(0.0))
    starts = Beliefs(DT * jnp.arange(4.0)[:, None], jnp.full((4, 1, 1), 1e-4), jnp.zeros(4))
    cell = jaxcast.regime.LearnedRegimeForecaster(
        emulator, motion, starts, 1e-4 * one, 0.01 * one, 0.01 * one, jnp.asarray([[0.5, 0.5], [-0.5, 0.5]])
    )
    values = np.random.default_rng(0).normal(0.3, 0.05, (12, 1))
    values[4] = 1e8
    outputs = jaxcast.open_loop(cell, jnp.asarray(values))
    anew = jaxcast.open_loop(cell, jnp.asarray(np.roll(values, -5, axis=0)))
    first = 4 + cell.warmup
    np.testing.assert_allclose(outputs.forecast[first + 1 :], anew.forecast[cell.warmup : 7], rtol=1e-9)
    np.testing.assert_allclose(outputs.info["spread"][first + 1 :], anew.info["spread"][cell.warmup : 7], rtol=1e-9)


@pytest.mark.slow
def test_the_deviation_of_a_value_adds_to_its_noise():
    motion = ProfileMotion(
        jnp.asarray(0.4), jnp.asarray([[0.5], [-0.5]]), jnp.zeros((2, 1)), jnp.asarray(DT), jnp.zeros(())
    )
    starts = Beliefs(DT * jnp.arange(2.0)[:, None], jnp.full((2, 1, 1), 1e-4), jnp.zeros(2))
    one, weights = jnp.ones(1), jnp.asarray([[0.5, 0.5], [-0.5, 0.5]])
    cell = jaxcast.regime.LearnedRegimeForecaster(linear(), motion, starts, 1e-4 * one, 0.03 * one, 0.01 * one, weights)
    values, known = jnp.asarray(np.random.default_rng(0).normal(0.3, 0.2, (6, 1))), jnp.ones(6, bool)
    _, uncertain = jaxcast.roll(cell, jaxcast.Input(values, known, None, 0.04 * jnp.ones((6, 1))))
    _, noisier = jaxcast.roll(dataclasses.replace(cell, value_noise=0.05 * one), jaxcast.Input(values, known))
    np.testing.assert_allclose(uncertain.forecast, noisier.forecast, rtol=1e-9)
    np.testing.assert_allclose(uncertain.info["spread"], noisier.info["spread"], rtol=1e-9)
    # A filter that has diverged tells no deviation.
    _, untold = jaxcast.roll(cell, jaxcast.Input(values, known, None, jnp.full((6, 1), jnp.nan)))
    _, plain = jaxcast.roll(cell, jaxcast.Input(values, known))
    np.testing.assert_allclose(untold.forecast, plain.forecast, rtol=1e-9)

"""The regime forecaster: an emulator of the ensemble, the regime's schedule, and a filter over state and regime."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.regime import kalman
from jaxcast.regime.cells import make_forecaster
from jaxcast.regime.emulator import fit_emulator
from jaxcast.regime.harmonic_search import find_schedules, fit_harmonics
from jaxcast.regime.harmonics import HarmonicSchedule, Steps, steps_of
from jaxcast.regime.kalman import GaussianState, observe, predict, root_of
from jaxcast.regime.noise import Residuals, explanations

pytestmark = pytest.mark.slow

PERIOD = 1.577132
TRUTH = f"lorenz63(rho=cosine(mean=38, amplitude=-10, period={PERIOD}))"
CANDIDATES = "lorenz63(rho=linspace(28, 48, 6))"


@cache
def make(truth: str = TRUTH, num_samples: int = 500, num_windows: int = 5) -> tuple:
    """Truth, candidates, a training trajectory and windows of another one with six true samples each."""
    system, candidates = jaxcast.dynamics.parse_system(truth), jaxcast.dynamics.parse_candidates(CANDIDATES)
    starts = jaxcast.dynamics.random_starts(system, 2, key=jax.random.key(3))
    train = jaxcast.simulate(system, starts[0], num_samples=num_samples, transient=20.0)
    later = jaxcast.simulate(system, starts[1], num_samples=6 + num_windows * 100, transient=20.3)
    windows = jaxcast.cut_windows(later, num_windows=num_windows, num_leads=100, history_size=6)
    return system, jaxcast.flow_map(jaxcast.stack_systems(candidates)), train, windows


RHO = np.linspace(28, 48, 6)


@cache
def fitted(with_coordinates: bool = True) -> jaxcast.RegimeForecaster:
    _, candidates, train, _ = make()
    return jaxcast.fit_regime(
        train, forecast_map=candidates, coordinates=RHO if with_coordinates else None, num_substeps=10
    )


def valid_times(cell: jaxcast.RegimeForecaster, windows: jaxcast.Windows) -> np.ndarray:
    outputs = jaxcast.forecast_windows(cell, windows)
    score = lambda forecast, truth: jaxcast.valid_time(forecast, truth, dt=0.1, threshold=40.0)  # noqa: E731
    return np.asarray(jax.vmap(score)(outputs.forecast, windows.truth).time)


@pytest.mark.parametrize("with_coordinates", [pytest.param(True, marks=pytest.mark.slow), False])
def test_emulator_forecasts_as_the_candidates_and_as_the_truth_that_none_of_them_is(with_coordinates):
    system, candidates, train, _ = make()
    forecasts = jaxcast.dynamics.forecasts_along(candidates, train)
    emulator = fit_emulator(train.states, forecasts=forecasts, dt=0.1, coordinates=RHO if with_coordinates else None)
    assert emulator.num_substeps == 10
    assert emulator.is_exact
    u = train.states[7]
    again = jax.vmap(emulator, (None, 0))(u, emulator.system.coordinates)
    np.testing.assert_allclose(again, forecasts[7], rtol=0, atol=1e-11)
    if with_coordinates:
        np.testing.assert_allclose(emulator.offset + emulator.unit * emulator.system.coordinates[:, 0], RHO)
        rho = system.schedules["rho"]
        scaled = lambda t: (rho(train.times[7] + t) - emulator.offset) / emulator.unit  # noqa: E731
        np.testing.assert_allclose(emulator(u, scaled), train.states[8], rtol=0, atol=1e-10)


@pytest.mark.slow
def test_emulator_of_candidates_that_are_no_polynomial_says_by_how_much_it_misses():
    class Saturating(jaxcast.System):
        components = ("x", "y")
        drive: jaxcast.dynamics.Parameter

        def vector_field(self, t, u):
            x, y = u
            return y, self.drive * jnp.sin(x) - 0.3 * y

    ensemble = jaxcast.stack_systems([Saturating(drive) for drive in (-1.0, -2.0, -3.0)])
    states = jax.random.uniform(jax.random.key(0), (400, 2), minval=-3.0, maxval=3.0)
    forecasts = jax.vmap(jaxcast.flow_map(ensemble, dt=0.2, h=0.02))(states)
    coordinates = np.array([1.0, 2.0, 3.0])
    emulator = fit_emulator(
        states, forecasts=forecasts, dt=0.2, coordinates=coordinates, degrees=((3, 1), (5, 1)), num_substeps=10
    )
    missed = jax.vmap(jax.vmap(emulator, (None, 0)), (0, None))(states, emulator.system.coordinates) - forecasts
    actual = float(jnp.sqrt(jnp.mean((missed / states.std(0)) ** 2)))
    assert not emulator.is_exact
    assert 1e-5 < emulator.error < 0.05
    np.testing.assert_allclose(emulator.error, actual, rtol=0.3)


@pytest.mark.parametrize(
    ("schedule", "periods", "slope"),
    [
        pytest.param(
            "sum_of_cosines(mean=38, amplitudes=[-6, 4], periods=[1.577132, 2.2303], phases=[0, 1])",
            [1.577132, 2.2303],
            0,
            marks=pytest.mark.slow,
        ),
        pytest.param("linear_ramp(start=30, stop=46, begin=0, end=100)", [], 0.16, marks=pytest.mark.slow),
    ],
)
def test_schedule_is_found_without_its_shape_being_given(schedule, periods, slope):
    _, candidates, train, _ = make(f"lorenz63(rho={schedule})")
    forecasts = jaxcast.dynamics.forecasts_along(candidates, train)
    emulator = fit_emulator(train.states, forecasts=forecasts, dt=0.1, coordinates=RHO, num_substeps=10)
    schedule = fit_harmonics(train.states, emulator=emulator).trimmed()
    np.testing.assert_allclose(np.sort(2 * np.pi / np.asarray(schedule.frequencies)), periods, rtol=1e-8)
    np.testing.assert_allclose(emulator.unit * schedule.slope, slope, atol=1e-9)


@pytest.mark.slow
def test_regime_that_nobody_can_foresee_is_a_level_that_wanders():
    times = np.cumsum(np.random.default_rng(0).integers(20, 60, 20)) / 10
    values = np.random.default_rng(1).uniform(28, 48, 21)
    schedule = f"piecewise_constant(times={times.tolist()}, values={values.tolist()})"
    _, candidates, train, _ = make(f"lorenz63(rho={schedule})")
    cell = jaxcast.fit_regime(train, forecast_map=candidates, coordinates=RHO, num_substeps=10)
    assert not len(cell.schedule.frequencies)
    spread = float(cell.emulator.unit[0] * cell.schedule_deviation.level[0])
    assert 0.5 * values.std() < spread < 2 * values.std()
    assert float(cell.wander.level[0]) > 1e-3


def test_schedule_fitted_from_a_later_start_is_the_same():
    rng = np.random.default_rng(0)
    schedule = HarmonicSchedule(*map(jnp.asarray, (rng.normal(size=2), rng.normal(size=2), rng.uniform(1, 3, 3))),
                    *map(jnp.asarray, rng.normal(size=(2, 3, 2))))  # fmt: skip
    np.testing.assert_allclose(schedule.later(1.7)(0.4), schedule(2.1), rtol=1e-12)


def test_filter_of_a_linear_system_is_the_kalman_filter():
    rng = np.random.default_rng(0)
    matrix, noise, value_noise = rng.normal(size=(3, 3)) / 2, np.diag([0.1, 0.2, 0.3]), np.array([0.4, 0.5])
    belief = GaussianState(jnp.asarray(rng.normal(size=3)), jnp.asarray(np.tril(rng.normal(size=(3, 3)))))
    mean, covariance = np.asarray(belief.mean), np.asarray(belief.root @ belief.root.T)
    for known in ([True, True], [False, True], [False, False], [True, True]):
        value = rng.normal(size=2)
        belief = observe(
            lambda u: jnp.asarray(matrix) @ u, belief, jnp.asarray(value), jnp.asarray(known), jnp.asarray(noise),
            jnp.asarray(value_noise),
        )[0]  # fmt: skip
        mean, covariance = matrix @ mean, matrix @ covariance @ matrix.T + noise @ noise.T
        seen = np.eye(2, 3)[known]
        gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + np.diag(value_noise[known] ** 2))
        mean, covariance = mean + gain @ (value[known] - seen @ mean), covariance - gain @ seen @ covariance
        np.testing.assert_allclose(belief.mean, mean, rtol=1e-10)
        np.testing.assert_allclose(belief.root @ belief.root.T, covariance, rtol=1e-9, atol=1e-12)


def test_roots_keep_what_squares_would_lose():
    tiny = jnp.diag(jnp.asarray([1.0, 1e-12]))
    np.testing.assert_allclose(jnp.abs(jnp.diagonal(root_of(tiny, 0 * tiny))), [1.0, 1e-12], rtol=1e-12)
    ahead = predict(lambda u: 2 * u, GaussianState(jnp.ones(2), tiny), 0 * tiny)
    np.testing.assert_allclose(ahead.deviation, [2.0, 2e-12], rtol=1e-12)


def quadratic(curvature):
    """(x, c) -> (x + c + curvature c^2 / 2, c)."""
    return lambda n: jnp.stack([n[0] + n[1] + curvature / 2 * n[1] ** 2, n[1]])


def looked_once(curvature, num_draws=2000, noise=0.01):
    """The belief about c, normal and broad before, after one look at x, and the c of every draw."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=num_draws)
    values = drawn + curvature / 2 * drawn**2 + noise * rng.normal(size=num_draws)
    before = GaussianState(jnp.zeros(2), jnp.diag(jnp.asarray([noise, 1.0])))

    def look(value):
        known, nothing = jnp.asarray([True]), 1e-9 * jnp.eye(2)
        return observe(quadratic(curvature), before, value[None], known, nothing, jnp.asarray([noise]))[0]

    beliefs = jax.jit(jax.vmap(look))(jnp.asarray(values))
    return np.asarray(beliefs.mean[:, 1]), np.asarray(beliefs.deviation[:, 1]), drawn


def test_what_curvature_adds_over_a_belief_counts_as_noise():
    """Its mean square, c of deviation s: E[(k c^2 / 2)^2], here by a rule of Gauss that is exact for it."""
    deviation, curvature = 0.7, 0.4
    before = GaussianState(jnp.zeros(2), jnp.diag(jnp.asarray([0.1, deviation])))
    ahead, _ = observe(
        quadratic(curvature), before, jnp.ones(1), jnp.asarray([False]), 1e-9 * jnp.eye(2), jnp.asarray([1.0])
    )
    points, weights = np.polynomial.hermite_e.hermegauss(5)
    added = weights @ (curvature / 2 * (deviation * points) ** 2) ** 2 / weights.sum()
    covariance = np.asarray(ahead.root @ ahead.root.T)
    np.testing.assert_allclose(covariance[0, 0], 0.1**2 + deviation**2 + added, rtol=1e-9)
    np.testing.assert_allclose(covariance[1], [deviation**2, deviation**2], rtol=1e-9)


@pytest.mark.parametrize("curvature", [0.1, 0.3])
def test_a_broad_belief_covers_the_truth_after_one_look(curvature):
    mean, deviation, drawn = looked_once(curvature)
    assert 0.5 < np.sqrt(np.mean(((mean - drawn) / deviation) ** 2)) < 1.1
    assert np.mean(np.abs(mean - drawn) < 2 * deviation) > 0.95


def test_a_start_far_off_is_found_in_as_many_iterations_as_there_are(monkeypatch):
    mean, _, drawn = looked_once(0.3)
    far = np.abs(drawn) > 1.5
    monkeypatch.setattr(kalman, "NUM_ITERATIONS", 30)
    limit, *_ = looked_once(0.3)
    errors = [np.sqrt(np.mean((found - drawn)[far] ** 2)) for found in (mean, limit)]
    assert errors[0] < 1.1 * errors[1]
    assert errors[1] < 0.1


@pytest.mark.slow
def test_the_spread_of_a_long_closed_loop_is_bounded_by_that_of_the_state():
    _, _, train, _ = make()
    cell = fitted()
    scale = np.asarray(cell.emulator.system.scale)
    unsure = dataclasses.replace(cell, value_noise=0.3 * cell.emulator.system.scale)
    known = (np.arange(330) < 3) | (np.arange(330) >= 303)
    inputs = jaxcast.Input(train.states[:330], jnp.asarray(known), train.times[:330])
    _, output = jaxcast.roll(unsure, inputs)
    spread = np.asarray(output.info["spread"]) / scale
    assert np.isfinite(np.asarray(output.forecast)).all()
    assert np.isfinite(spread).all()
    carry, _ = jaxcast.roll(unsure, jax.tree.map(lambda a: a[:303], inputs))
    beliefs = np.asarray(carry.carry.ahead.deviation)[:, : len(scale)] / scale  # after 300 steps of closed loop
    assert 0.99 * 3.0 < beliefs.max() <= 3.0 * (1 + 1e-9)
    # And from there values are still learned from.
    assert spread[-1].max() < 0.5


NOWHERE = Residuals(*np.zeros((2, 1)), *np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("slope", "waves"), [(0.02, []), (0.0, [(0.7, 0.4, 1.3)]), (-0.01, [(0.5, 0.0, 2.0), (0.2, 0.3, 3.1)])]
)
def test_the_belief_before_anything_is_seen_is_as_broad_as_the_schedule_is_along_the_training(slope, waves):
    emulator, num_steps = fitted().emulator, 2000
    cosines, sines, frequencies = (np.asarray([wave[k] for wave in waves], float) for k in range(3))
    schedule = HarmonicSchedule(
        jnp.asarray([0.1]), jnp.asarray([slope]), jnp.asarray(frequencies), jnp.asarray(cosines)[:, None],
        jnp.asarray(sines)[:, None],
    )  # fmt: skip
    cell = make_forecaster(emulator, schedule, NOWHERE, num_steps=num_steps, forecast_map=make()[1], degree=3)
    times = emulator.dt * (np.arange(num_steps) - num_steps // 2)
    values = np.asarray(jax.vmap(schedule)(jnp.asarray(times)))[:, 0]
    deviation = cell.schedule_deviation
    variance = deviation.level[0] ** 2 + ((deviation.cosines**2 + deviation.sines**2) / 2).sum()
    np.testing.assert_allclose(variance, 0.5**2 + values.var(), rtol=0.02)


@pytest.mark.parametrize("kind", ["value", "model"])
def test_noise_of_values_is_separated_from_noise_of_steps(kind):
    _, _, train, _ = make()
    cell = fitted()
    scale, rng = np.asarray(cell.emulator.system.scale), np.random.default_rng(0)
    steps = steps_of(cell.emulator, train.states)
    noise = 0.02 * scale * rng.normal(size=train.states.shape)
    if kind == "value":
        steps = steps_of(cell.emulator, train.states + noise)
    else:
        steps = steps._replace(after=steps.after + noise[1:])
    schedule = find_schedules(train.states, emulator=cell.emulator)[0].whole
    told = explanations(cell.emulator, schedule, steps)[0]
    own, other = (told.value, told.model) if kind == "value" else (told.model, told.value)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(own))), 0.02, rtol=0.2)
    assert np.sqrt(np.mean(np.square(other))) < 0.01


@pytest.mark.slow
def test_six_true_samples_are_enough_for_the_whole_window():
    *_, windows = make()
    assert (valid_times(fitted(), windows) == 10.0).all()


@pytest.mark.slow
def test_without_coordinates_too():
    *_, windows = make()
    cell = fitted(with_coordinates=False)
    assert np.median(valid_times(cell, windows)) == 10.0
    np.testing.assert_allclose(2 * np.pi / cell.schedule.frequencies, [PERIOD], rtol=1e-6)


def test_uncertainty_shrinks_with_truth_and_grows_without():
    _, _, train, _ = make()
    known = np.ones(40, bool)
    known[15:25] = False
    _, outputs = jaxcast.roll(fitted(), jaxcast.Input(train.states[:40], jnp.asarray(known), train.times[:40]))
    spread = np.asarray(outputs.info["spread"]).max(1)
    regime = np.asarray(outputs.info["regime_deviation"])[:, 0]
    assert regime[0] > 1
    assert regime[1] < 1
    assert regime[10] < 1e-8
    assert spread[24] > 2 * spread[14]
    assert spread[39] < spread[24]
    hidden = 38 - 10 * np.cos(2 * np.pi * np.asarray(train.times[:40]) / PERIOD)
    np.testing.assert_allclose(outputs.info["regime"][3:, 0], hidden[3:], atol=1e-5)


@pytest.mark.optimized
def test_observation_noise_is_found_and_filtered_out():
    """Rounding decides between explanations that forecast alike: of 12 draws, 3 to 6 attribute part of the noise to the
    model, and 1 or 2 forecast worse than the rest. Hence the medians of six draws."""
    _, candidates, train, _ = make()
    scale = np.asarray(train.states).std(0)
    noises, model_noises, errors = [], [], []
    for seed in range(6):
        drawn = np.random.default_rng(seed).normal(size=train.states.shape)
        noisy = train._replace(states=train.states + 0.03 * scale * drawn)
        cell = jaxcast.fit_regime(noisy, forecast_map=candidates, coordinates=RHO, num_substeps=10)
        np.testing.assert_allclose(2 * np.pi / cell.schedule.frequencies, [PERIOD], rtol=3e-4)
        forecast = jaxcast.open_loop(cell, noisy.states, noisy.times).forecast
        noises.append(np.asarray(cell.value_noise) / scale)
        model_noises.append(np.asarray(cell.model_noise) / scale)
        errors.append(np.asarray(forecast[20:-1] - train.states[21:]) / scale)
    np.testing.assert_allclose(noises, 0.03, rtol=0.35)
    np.testing.assert_allclose(np.median(noises, 0), 0.03, rtol=0.15)
    assert (np.median(model_noises, 0) < 1e-6).all()  # there is none
    assert np.max(model_noises) < 0.03
    # Forecasts of the next state are nearer to it than an observation of it would be.
    assert np.median(np.sqrt(np.mean(np.square(errors), (1, 2)))) < 0.8 * 0.03


def test_a_level_that_has_changed_since_is_found_again():
    *_, windows = make("lorenz63(rho=cosine(mean=40, amplitude=-9, period=1.577132))")
    assert (valid_times(fitted(), windows) == 10.0).all()


@pytest.mark.slow
def test_a_truth_that_no_candidate_could_be_corrects_the_emulator():
    _, candidates, train, windows = make(TRUTH.replace("(", "(sigma=11, ", 1))
    cell = jaxcast.fit_regime(train, forecast_map=candidates, coordinates=RHO, num_substeps=10)
    assert cell.is_corrected
    assert (valid_times(cell, windows) == 10.0).all()
    np.testing.assert_allclose(cell.periods, [PERIOD], rtol=1e-8)


@pytest.mark.optimized
def test_two_coordinates_are_distinguished():
    truth = jaxcast.dynamics.parse_system(
        "lorenz63(sigma=cosine(mean=10, amplitude=1, period=2.3), rho=cosine(mean=38, amplitude=-8, period=1.577132))"
    )
    pairs = [(sigma, rho) for sigma in (8.0, 12.0) for rho in (30.0, 38.0, 46.0)]
    candidates = jaxcast.flow_map(
        jaxcast.stack_systems([jaxcast.Lorenz63(sigma=sigma, rho=rho) for sigma, rho in pairs])
    )
    train = jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=500, transient=20.0)
    cell = jaxcast.fit_regime(train, forecast_map=candidates, coordinates=np.array(pairs), num_substeps=10)
    np.testing.assert_allclose(np.sort(cell.periods), [1.577132, 2.3], rtol=1e-8)
    np.testing.assert_allclose(np.max(cell.amplitudes, 0), [1.0, 8.0], rtol=1e-6)


def test_weights_interpolate_the_candidates():
    _, _, train, _ = make()
    outputs = jaxcast.open_loop(fitted(), train.states[:20], train.times[:20])
    weights = np.asarray(outputs.info["weights"])[5:]
    halfway = 38 - 10 * np.cos(2 * np.pi * (np.asarray(train.times[5:20]) + 0.05) / PERIOD)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-9)
    np.testing.assert_allclose(weights @ RHO, halfway, atol=1e-5)


@pytest.mark.slow
def test_a_truth_of_which_nothing_at_all_is_left_over_has_no_nan():
    emulator = fitted().emulator
    pushed = jnp.zeros_like(emulator.system.theta).at[0, 1].set(1.0)  # du/dt = c, which is zero
    emulator = dataclasses.replace(emulator, system=dataclasses.replace(emulator.system, theta=pushed))
    _, _, train, _ = make()
    steps = Steps(train.times, train.states, train.states, jnp.ones(len(train.times)))
    still = jnp.zeros(1)
    nothing = HarmonicSchedule(still, still, jnp.zeros(0), jnp.zeros((0, 1)), jnp.zeros((0, 1)))
    for left in explanations(emulator, nothing, steps):
        np.testing.assert_array_equal(np.concatenate(left), np.zeros(8))


@pytest.mark.slow
@pytest.mark.parametrize("rho", [36.0, 33.0])  # a candidate's, and none's
def test_a_regime_that_stands_still_is_forecast_too(rho):
    _, candidates, train, windows = make(f"lorenz63(rho={rho})")
    cell = jaxcast.fit_regime(train, forecast_map=candidates, coordinates=RHO, num_substeps=10)
    assert not len(cell.schedule.frequencies)
    assert (valid_times(cell, windows) == 10.0).all()


@pytest.mark.slow
def test_order_of_candidates_does_not_matter():
    _, candidates, train, windows = make()
    order = np.array([3, 0, 5, 1, 4, 2])
    shuffled = jaxcast.fit_regime(
        train,
        forecast_map=lambda value, exogenous: candidates(value, exogenous)[order],
        coordinates=RHO[order],
        num_substeps=10,
    )
    ours, theirs = (jaxcast.forecast_windows(cell, windows).forecast for cell in (fitted(), shuffled))
    np.testing.assert_allclose(ours[:, :30], theirs[:, :30], atol=1e-6)


@pytest.mark.slow
def test_derivative_through_spin_up_and_closed_loop_is_the_difference_quotient():
    _, _, train, _ = make()
    cell = dataclasses.replace(fitted(), changes=None)  # which belief is the most probable is no smooth function

    def far(scale):
        return jaxcast.forecast(cell, train.states[:4] * scale, 6, train.times[:9]).forecast[-1].sum()

    step = 1e-5
    expected = (far(1 + step) - far(1 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jvp(far, (1.0,), (1.0,))[1], expected, rtol=1e-4)


def diverging(value, exogenous):
    return jnp.stack([value, value * jnp.where(exogenous > 1.0, jnp.inf, 1.0)])


BAD = [
    (dict(states=lambda u: u.at[3].set(jnp.nan)), "states must be finite, .* row 3"),
    (dict(states=lambda u: u.at[:, 1].set(2.0)), "component 1 does not"),
    (dict(times=lambda t: t.at[40:].add(0.03)), "times must be evenly spaced"),
    (dict(times=lambda t: t[::-1]), "times must increase"),
    (dict(keep=77), "at least 78 samples, got 77"),
    (dict(keep=1), "at least two samples"),
    (dict(coordinates=RHO[:4]), "coordinates for each of 6 candidates"),
    (dict(coordinates=np.ones((6, 1, 1))), r"coordinates for each of 6 candidates.* got shape \(6, 1, 1\)"),
    (dict(coordinates=np.where(RHO > 40, np.nan, RHO)), "with NaN or infinity"),
    (dict(coordinates=np.ones(6)), "must differ"),
    (dict(coordinates=np.random.default_rng(0).normal(size=(6, 6))), "fewer coordinates than the 6 candidates"),
    (dict(forecast_map=lambda value: value[None]), "at least two candidates, got 1"),
    (dict(forecast_map=lambda value: value), r"must return \(model, dim\)"),
    (dict(forecast_map=lambda value: jnp.stack([value, value])), "all forecast the same"),
    (dict(forecast_map=diverging), "candidate 1 diverges from the state of sample 11"),
    (dict(num_pairs=10), "num_pairs must be at least 20 for 3 components, got 10"),
    (dict(degrees=()), "degrees must name at least one"),
    (dict(degrees=[(8, 3)]), "needs at least 220 states, got 90"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_refused_in_one_line(change, message, without_type_checks):
    _, candidates, train, _ = make()
    change = dict(change)
    keep = change.pop("keep", 90)
    times, states = train.times[:keep], train.states[:keep]
    trajectory = jaxcast.Trajectory(change.pop("times", jnp.asarray)(times), change.pop("states", jnp.asarray)(states))
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        jaxcast.fit_regime(trajectory, forecast_map=change.pop("forecast_map", candidates), **change)
    assert "\n" not in str(caught.value)


def test_bad_input_of_the_parts_is_refused_too(without_type_checks):
    _, candidates, train, _ = make()
    forecasts = jaxcast.dynamics.forecasts_along(candidates, train)
    for states, rows, message in (
        (train.states[:-1], forecasts, "expected states"),
        (train.states, forecasts[:, :1], "at least two candidates"),
        (train.states, forecasts.at[5, 2].set(jnp.inf), "candidate 2 diverges from the state of sample 5"),
        (train.states.at[4, 0].set(jnp.nan), forecasts, "first in sample 4"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            fit_emulator(states, forecasts=rows, dt=0.1)
    emulator = fitted().emulator
    for states, message in (
        (train.states[:, :2], "as the emulator's"),
        (train.states[:77], "at least 78 samples, got 77"),
        (train.states.at[4, 0].set(jnp.nan), "first in sample 4"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            fit_harmonics(states, emulator=emulator)


@pytest.mark.slow
def test_the_shortest_trajectory_that_is_taken_is_enough():
    _, candidates, train, _ = make()
    cell = jaxcast.fit_regime(
        jaxcast.Trajectory(*(part[:78] for part in train)), forecast_map=candidates, coordinates=RHO, num_substeps=10
    )
    np.testing.assert_allclose(cell.periods, [PERIOD], rtol=1e-6)
    np.testing.assert_allclose(cell.amplitudes, [[10.0]], rtol=1e-6)

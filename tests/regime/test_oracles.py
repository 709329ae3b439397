"""The parts of the regime forecaster against linear algebra: a linear emulator, of which every number can be told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import jaxcast
from jaxcast.cli.pool.regime import findings
from jaxcast.numerics.least_squares import _normal_equations
from jaxcast.numerics.polynomials import monomials
from jaxcast.regime import fit as fitting
from jaxcast.regime import trials
from jaxcast.regime.cells import make_forecaster, make_learned
from jaxcast.regime.harmonic_search import Candidate, FittedHarmonics, Search
from jaxcast.regime.harmonics import (
    Allowed,
    HarmonicSchedule,
    Steps,
    certain,
    revealed,
    steps_of,
)
from jaxcast.regime.kalman import observe
from jaxcast.regime.noise import Residuals, explanations

pytestmark = pytest.mark.slow

DT = 0.4
DECAY = np.asarray([[-1.0, 0.3], [0.5, -0.5]])
PUSH = np.asarray([1.0, 2.0])
CANDIDATES = np.asarray([[-1.0], [1.0]])
OFFSET, UNIT, FREQUENCY = 10.0, 3.0, 2.0


def linear(scale=(2.0, 5.0), decay=DECAY, num_candidates=2):
    """du/dt = decay u + push c, written as the emulator wants it: in u / scale, and in units of scale."""
    scale = np.asarray(scale)
    theta = np.zeros((3, 2, 2))
    theta[1:, 0] = (decay * scale / scale[:, None]).T
    theta[0, 1] = PUSH / scale
    coordinates = np.linspace(-1, 1, num_candidates)[:, None]
    system = jaxcast.regime.PolynomialSystem(
        jnp.asarray(theta), jnp.zeros(2), jnp.asarray(scale), jnp.asarray(coordinates), monomials(2, 1), monomials(1, 1)
    )
    number = lambda value: jnp.asarray([value])  # noqa: E731
    return jaxcast.regime.Emulator(
        system, number(OFFSET), number(UNIT), jnp.asarray(DT), jnp.asarray(0.0), num_substeps=20
    )


def schedule_of(level, slope=0.0, cosine=(), sine=()):
    waves = [jnp.asarray(values, float).reshape(-1, 1) for values in (cosine, sine)]
    return HarmonicSchedule(jnp.asarray([level]), jnp.asarray([slope]), jnp.full(len(cosine), FREQUENCY), *waves)


def transition(dt):
    """Of (state, level, slope, cosine, sine), a linear system whose push is level + cosine."""
    matrix = np.zeros((6, 6))
    matrix[:2, :2], matrix[:2, 2], matrix[:2, 4] = DECAY, PUSH, PUSH
    matrix[2, 3], matrix[4, 5], matrix[5, 4] = 1, FREQUENCY, -FREQUENCY
    return expm(matrix * dt)


def cell_of(forecast_map=None, **options):
    return jaxcast.RegimeForecaster(
        linear(), schedule_of(0.3, 0.1, [0.0], [0.0]), schedule_of(0.7, 0.2, [0.4], [0.6]), schedule_of(0.05, 0.01, [0.02], [0.03]),
        jnp.asarray([0.3, 0.2]), jnp.asarray([0.1, 0.15]), jnp.asarray([[0.5, 0.5], [-0.5, 0.5]]), forecast_map, **options,
    )  # fmt: skip


def kalman(values, known):
    """The plain filter: what is believed now, and one step ahead, after each value."""
    step = transition(DT)
    noise = np.diag(np.square([0.1, 0.15, 0.05, 0.01, 0.02, 0.03]))
    seen_noise = np.square([0.3, 0.2])
    mean = np.concatenate([values[0], [0.3, 0.1, 0, 0]])
    covariance = np.diag(np.square([0.3, 0.2, 0.7, 0.2, 0.4, 0.6]))
    found = []
    for n, (value, is_known) in enumerate(zip(values, known, strict=True)):
        if n:
            mean, covariance = found[-1][2:]
            if is_known.any():
                seen = np.eye(2, 6)[is_known]
                gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + np.diag(seen_noise[is_known]))
                mean = mean + gain @ (value[is_known] - seen @ mean)
                covariance = covariance - gain @ seen @ covariance
        found.append((mean, covariance, step @ mean, step @ covariance @ step.T + noise))
    return found


def test_a_linear_regime_is_filtered_as_kalman_says():
    """Whole values, single components, none: forecast, regime in the user's units, and how sure both are."""
    values = np.random.default_rng(0).normal(size=(9, 2)) * 2
    known = np.asarray([[1, 1], [1, 1], [0, 1], [0, 0], [0, 0], [1, 0], [1, 1], [0, 0], [1, 1]], bool)
    cell = cell_of()
    _, outputs = jaxcast.roll(cell, jaxcast.Input(jnp.asarray(values), jnp.asarray(known)))
    look = np.asarray([0, 0, 1, 0, 1, 0])  # the regime now
    for n, (now, now_covariance, ahead, ahead_covariance) in enumerate(kalman(values, known)):
        info = {name: np.asarray(array[n]) for name, array in outputs.info.items()}
        np.testing.assert_allclose(outputs.forecast[n], ahead[:2], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(info["regime"], [OFFSET + UNIT * look @ now], rtol=1e-6)
        np.testing.assert_allclose(info["regime_deviation"], [UNIT * np.sqrt(look @ now_covariance @ look)], rtol=1e-5)
        np.testing.assert_allclose(info["spread"], np.sqrt(np.diag(ahead_covariance)[:2]), rtol=1e-5)
        halfway = look @ transition(DT / 2) @ now
        np.testing.assert_allclose(info["weights"], [0.5 - halfway / 2, 0.5 + halfway / 2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("is_corrected", [False, True])
def test_what_the_emulator_misses_of_the_candidates_is_weighed_in_unless_the_truth_corrected_it(is_corrected):
    cell = cell_of(lambda u: jnp.stack([u + 1, 2 * u]), is_corrected=is_corrected)
    value = np.asarray([1.5, -2.0])
    _, output = cell(cell.init_carry(jnp.asarray(value)), jaxcast.Input(jnp.asarray(value), jnp.asarray(True)))
    flows = []
    for (coordinate,) in CANDIDATES:
        flows.append((transition(DT) @ [*value, coordinate, 0, 0, 0])[:2])
    missed = np.stack([value + 1, 2 * value]) - flows
    expected = (transition(DT) @ [*value, 0.3, 0.1, 0, 0])[:2]
    if not is_corrected:
        expected = expected + np.asarray(output.info["weights"]) @ missed
    np.testing.assert_allclose(output.forecast, expected, rtol=1e-6)


def test_what_stands_where_a_value_is_unknown_changes_no_belief():
    cell = cell_of()
    carry = cell.init_carry(jnp.asarray([1.5, -2.0]))
    noise = jnp.diag(jnp.concatenate([cell.model_noise, cell.regime_wander]))
    known, now = jnp.asarray([True, False]), jax.tree.map(lambda a: a[0], carry.now)
    one, other = (
        observe(cell._step, now, jnp.asarray([0.5, unknown]), known, noise, cell.value_noise)[0]
        for unknown in (7.0, np.nan)
    )
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.root, other.root)


def simulated(schedule, num_steps, start=(1.0, 2.0)):
    """States of the linear system under a schedule that is told from the middle of the steps."""
    states, numbers = [np.asarray(start)], schedule.later(-DT * (num_steps // 2))
    numbers = np.concatenate([np.ravel(getattr(numbers, name)) for name in ("level", "slope", "cosines", "sines")])
    for _ in range(num_steps):
        both = transition(DT) @ np.concatenate([states[-1], numbers])
        states.append(both[:2])
        numbers = both[2:]
    return jnp.asarray(np.stack(states))


def test_steps_are_dated_at_their_middle_and_count_in_their_first_three_quarters():
    steps = steps_of(linear(), jnp.arange(42.0).reshape(21, 2))
    np.testing.assert_allclose(steps.time, DT * (np.arange(20) - 10))
    np.testing.assert_array_equal(steps.weight, np.arange(20) < 15)
    np.testing.assert_array_equal(steps.before + 2, steps.after)


def tried(tail):
    return Candidate(None, None, 0.0, np.asarray(tail))


def test_a_gain_is_more_than_three_standard_errors_of_twenty_blocks_and_a_hundredth():
    rng = np.random.default_rng(0)
    gains = rng.normal(size=20)
    gains = (gains - gains.mean()) / gains.std(ddof=1)
    search = Search.__new__(Search)
    for size, is_gain in ((2.95, False), (3.05, True), (-3.05, False)):
        by_block = gains + size / np.sqrt(20)
        assert search.is_gain(tried(np.full(60, 5.0)), tried(5.0 - np.repeat(by_block, 3))) == is_gain
    assert search.is_gain(tried(np.full(60, 5.0)), tried(np.full(60, 4.94)))
    assert not search.is_gain(tried(np.full(60, 5.0)), tried(np.full(60, 4.96)))
    # Rounding alone is left: a gain, though one block makes up all that was wrong before.
    wrong, right = tried(np.repeat(np.eye(20)[3], 3)), tried(np.full(60, 1e-29))
    assert search.is_gain(wrong, right)
    assert not search.is_gain(right, tried(np.full(60, 1e-30)))


@pytest.fixture(scope="module")
def emulator():
    return linear()


def blank(num_oscillations):
    zeros = jnp.zeros((num_oscillations, 1))
    return HarmonicSchedule(jnp.zeros(1), jnp.zeros(1), jnp.zeros(num_oscillations), zeros, zeros)


def test_a_schedule_is_fitted_to_the_head_and_finished_on_all(emulator):
    """The level is 1 in the head and 2 in the tail: the head alone says 1, all of it 1.25, as every step tells as much."""
    states = [np.asarray([1.0, 2.0])]
    for n in range(80):
        states.append((transition(DT) @ [*states[-1], 1.0 if n < 60 else 2.0, 0, 0, 0])[:2])
    search = Search(emulator, steps_of(emulator, jnp.asarray(np.stack(states))))
    found = search.refine(blank(1), Allowed(jnp.asarray(0.0), jnp.zeros(1)))
    np.testing.assert_allclose(found.schedule.level, [1.0], rtol=1e-6)
    assert found.tail.shape == (20,)
    assert found.tail.min() > 1e-3
    finished = search.finished(found)
    np.testing.assert_allclose(finished.head.level, [1.0], rtol=1e-6)
    np.testing.assert_allclose(finished.whole.level, [1.25], rtol=1e-6)
    assert not finished.is_exact


def test_the_highest_peak_is_the_oscillation_with_its_phase(emulator):
    schedule = schedule_of(0.2, 0.0, [0.5], [-0.8])
    search = Search(emulator, steps_of(emulator, simulated(schedule, 160)))
    (first, *_) = search.with_peaks(schedule_of(0.2, 0.0, [0.0], [0.0]), 0)
    np.testing.assert_allclose(first.frequencies, [FREQUENCY], rtol=5e-3)
    at = DT * jnp.arange(-60.0, 60.0)
    off = jax.vmap(first)(at) - jax.vmap(schedule)(at)
    assert np.sqrt(np.mean(off**2)) < 0.15  # half a step late alone is 0.27
    # What has less than a period in the trajectory is a trend, of which a ramp is most.
    ramp = Search(emulator, steps_of(emulator, simulated(schedule_of(0.2, 0.1, [0.0], [0.0]), 160)))
    peaks = ramp.with_peaks(schedule_of(0.2, 0.0, [0.0], [0.0]), 0)
    assert all(float(peak.frequencies[0]) >= 2 * np.pi / (160 * DT) * (1 - 1e-9) for peak in peaks)


def test_what_steps_say_is_weighed_by_what_is_typical_and_held_to_twenty_medians():
    shift = np.asarray([1.0, -2.0, 3.0, 1e4, -1.0])[:, None]
    information = np.asarray([4.0, 4.0, 12.0, 4.0, 0.0])[:, None, None]
    shrunk, weight = certain(jnp.asarray(shift), jnp.asarray(information))
    np.testing.assert_allclose(weight[:, 0, 0], [0.5, 0.5, 0.75, 0.5, 0.0])
    np.testing.assert_allclose(shrunk[:, 0], [0.5, -1.0, 2.25, 20.0, 0.0])


def of_line(params, constants, sample):
    x, y = sample
    return constants * (params[0] + params[1] * x - y)[None]


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_every_sample_counts_once_in_the_normal_equations(batch_size):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 10))
    params = jnp.asarray([0.5, -2.0])
    squares, gradient, hessian = _normal_equations(of_line, params, 3.0, (jnp.asarray(x), jnp.asarray(y)), batch_size)
    jacobian, residual = 3 * np.c_[np.ones(10), x], 3 * (0.5 - 2 * x - y)
    np.testing.assert_allclose(squares, residual @ residual, rtol=1e-12)
    np.testing.assert_allclose(gradient, jacobian.T @ residual, rtol=1e-12)
    np.testing.assert_allclose(hessian, jacobian.T @ jacobian, rtol=1e-12)


def seen_under(levels, rng, error=0.2):
    """States of the linear system under a level of its own at each step, seen with some error."""
    step, states = transition(DT), np.zeros((len(levels) + 1, 2))
    for n, level in enumerate(levels):
        states[n + 1] = step[:2, :2] @ states[n] + step[:2, 2] * level
    return jnp.asarray(states + error * rng.normal(size=states.shape))


def test_a_wandering_regime_is_recognised_by_its_persistence(emulator):
    """An autoregression of known deviation; values are wrong too, which neighbouring steps share."""
    rng = np.random.default_rng(0)
    num_steps, deviation, persistence = 6000, 0.8, 0.9
    levels = np.zeros(num_steps)
    for n in range(1, num_steps):
        levels[n] = persistence * levels[n - 1] + deviation * np.sqrt(1 - persistence**2) * rng.normal()
    steps = steps_of(emulator, seen_under(levels, rng))
    told, of_steps, _ = explanations(emulator, schedule_of(0.0), steps)
    np.testing.assert_allclose(told.regime, [deviation], rtol=0.09)
    np.testing.assert_allclose(told.wander, [deviation * np.sqrt(1 - persistence**2)], rtol=0.09)

    # One of two directions is explained by the regime; the farthest twentieth may be jumps.
    _, _, unexplained = revealed(schedule_of(0.0), emulator, steps)
    missed = np.asarray(unexplained) * np.sqrt(2)
    norms = np.linalg.norm(missed, axis=1)
    ordinary = missed[norms <= np.quantile(norms, 0.95)]
    np.testing.assert_allclose(of_steps.model, np.sqrt((ordinary**2).mean(0)), rtol=1e-6)
    # What stays where it is counts as nearly so: no regime is held for ever.
    still = explanations(
        emulator, schedule_of(0.0), steps_of(emulator, seen_under(np.full(num_steps, 0.8), rng, 1e-3))
    )[0]
    np.testing.assert_allclose(still.regime, [0.8], rtol=0.02)
    np.testing.assert_allclose(still.wander, still.regime * np.sqrt(1 - 0.999**2), rtol=1e-6)


def quadratic():
    """du/dt = decay u + push c, and the square of the first component."""
    system = linear().system
    theta = jnp.zeros((6, 2, 2)).at[jnp.asarray([0, 1, 2])].set(system.theta).at[3, 0].set(jnp.asarray([-0.4, 0.3]))
    assert monomials(2, 2)[:4] == ((0, 0), (0, 1), (0, 2), (1, 1))
    return dataclasses.replace(
        linear(), system=dataclasses.replace(system, theta=theta, state_factors=monomials(2, 2)), num_substeps=2
    )


def test_what_is_left_over_follows_from_its_moments():
    """Without a wandering regime: values by what is missed twice, steps by the rest; then all of it to either."""
    rng = np.random.default_rng(1)
    emulator, scale, num_steps = quadratic(), np.asarray([2.0, 5.0]), 400
    run = jax.jit(lambda u: emulator(u, schedule_of(0.0)))
    states = [scale]
    for _ in range(num_steps):
        states.append(np.asarray(run(states[-1])) + 0.3 * scale * rng.normal(size=2))
    seen = np.stack(states) + 0.3 * scale * rng.normal(size=(num_steps + 1, 2))
    steps = steps_of(emulator, jnp.asarray(seen))
    slope = np.asarray(jax.vmap(jax.jacfwd(run))(steps.before)) * scale / scale[:, None]
    missed = np.asarray(steps.after - jax.vmap(run)(steps.before)) / scale
    squares, total = (slope**2).mean(0), (missed**2).mean(0)
    twice = -(missed[:-1] * np.einsum("ned,ne->nd", slope[1:], missed[1:])).sum(0) / num_steps
    value = np.maximum(twice / squares.sum(0), 0)
    model = np.maximum(total - value - squares @ value, 0)
    assert (value > 0).all()
    if_values = value * total.sum() / (value + squares @ value).sum()
    readings = explanations(emulator, schedule_of(0.0), steps)
    of_all = ((value, model), (0 * value, total), (if_values, 0 * value))
    for told, (of_values, of_steps) in zip(readings, of_all, strict=True):
        # Neighbouring pairs are one fewer than the steps.
        np.testing.assert_allclose(told.value, np.sqrt(of_values), rtol=4 / num_steps, atol=1e-9)
        np.testing.assert_allclose(told.model, np.sqrt(of_steps), rtol=4 / num_steps, atol=1e-9)
        assert not np.asarray(told.regime).any()
        assert not np.asarray(told.wander).any()


def made(left, schedule=None, num_candidates=2, degree=3):
    schedule = schedule_of(0.3, 0.05, [0.4], [0.3]) if schedule is None else schedule
    return make_forecaster(
        linear(num_candidates=num_candidates), schedule, left, num_steps=100, forecast_map=lambda u: jnp.stack([u, u]),
        degree=degree,
    )  # fmt: skip


def test_a_forecaster_is_as_unsure_as_what_was_left_over():
    """Noise in the state's units; waves of unknown phase begin at zero; the level may have changed by half a unit."""
    left = Residuals(*(jnp.asarray([value]) for value in (0.6, 0.2)), jnp.asarray([0.1, 0.2]), jnp.asarray([0.3, 0.4]))
    cell = made(left)
    np.testing.assert_allclose(cell.value_noise, [0.2, 1.0], rtol=1e-9)
    np.testing.assert_allclose(cell.model_noise, [0.6, 2.0], rtol=1e-9)
    np.testing.assert_allclose(cell.wander.level, [0.2], rtol=1e-9)
    along = 0.05 * 100 * DT / np.sqrt(12)
    np.testing.assert_allclose(cell.schedule_deviation.level, [np.sqrt(0.6**2 + 0.5**2 + along**2)], rtol=1e-9)
    np.testing.assert_allclose(cell.schedule_deviation.cosines, [[0.5 / np.sqrt(2)]], rtol=1e-9)
    np.testing.assert_allclose((cell.schedule.level, cell.schedule.slope), ([0.3], [0.05]))
    assert not np.asarray(cell.schedule.cosines).any()
    assert not np.asarray(cell.schedule.sines).any()
    for rest in (cell.wander.slope, cell.wander.cosines, cell.wander.sines, cell.schedule_deviation.slope):
        assert (np.asarray(rest) < 1e-9).all()


NOTHING = Residuals(jnp.zeros(1), jnp.zeros(1), jnp.zeros(2), jnp.zeros(2))


@pytest.mark.parametrize(("num_candidates", "degree"), [(2, 1), (3, 2), (4, 3), (9, 3)])
def test_weights_are_polynomials_with_no_more_terms_than_candidates(num_candidates, degree):
    """They give back every polynomial of that degree in the coordinate, and so the coordinate itself."""
    cell = made(NOTHING, num_candidates=num_candidates)
    assert cell.interpolation_degree == degree
    at = np.linspace(-1, 1, num_candidates)
    for power in range(degree + 1):
        found = np.asarray(cell.interpolation) @ at**power
        np.testing.assert_allclose(found, np.arange(degree + 1) == power, atol=1e-9)


def test_explanations_are_judged_by_the_last_quarter_alone():
    """And lost: e^2 / (e^2 + 0.35) of the error in deviations of the state; what is not finite counts as one."""
    states = simulated(schedule_of(0.3, 0.0, [0.0], [0.0]), 199)
    trajectory = jaxcast.Trajectory(DT * jnp.arange(200.0), states)
    windows = trials.trial_windows(trajectory)
    assert windows.times.min() == pytest.approx(DT * 150)
    assert windows.times.max() == pytest.approx(DT * 199)
    off = windows._replace(truth=windows.truth + jnp.asarray([2.0, 10.0]))
    right = dataclasses.replace(made(NOTHING, schedule_of(0.3)), forecast_map=None)
    lost = dataclasses.replace(right, emulator=linear(decay=np.diag([2e9, 2e9])))
    losses = trials.losses_of([right, lost], off)
    errors = (1 + 4) / 2  # (2 / 2)^2 and (10 / 5)^2
    np.testing.assert_allclose(losses, [errors / (errors + 0.35), 1], rtol=1e-4)


@pytest.mark.parametrize("best", [0, 1])
def test_the_trial_knows_the_head_and_what_is_kept_knows_all(monkeypatch, best):
    """What forecasts the last quarter was fitted to what comes before it; the chosen reading is then that of all."""
    emulator = dataclasses.replace(linear(), error=jnp.asarray(1.0))
    states = simulated(schedule_of(0.3, 0.0, [0.0], [0.0]), 119)
    trajectory = jaxcast.Trajectory(DT * jnp.arange(120.0), states)
    nothing = Allowed(jnp.asarray(0.0), jnp.zeros(0))
    found = [FittedHarmonics(schedule_of(0.1 + k), schedule_of(0.2 + k), nothing, False) for k in range(2)]
    seen, told = [], []
    monkeypatch.setattr(fitting, "find_schedules", lambda *_, **__: found)
    monkeypatch.setattr(fitting, "_corrected", lambda *_: None)
    monkeypatch.setattr(fitting, "explanations", lambda _, schedule, steps: told.append(schedule) or [NOTHING])
    monkeypatch.setattr(
        fitting,
        "losses_of",
        lambda cells, windows: seen.append((cells, windows)) or [float(k != best) for k in range(2)],
    )

    def make(emulator, schedule, left, is_corrected=False):
        return make_forecaster(
            emulator, schedule, left, is_corrected, num_steps=119, forecast_map=lambda u: jnp.stack([u, u]), degree=1
        )

    cell, trial = fitting._read(trajectory, emulator, make, make_learned)
    np.testing.assert_allclose([float(c.level[0]) for c in told], [0.1, 1.1])
    np.testing.assert_allclose([float(one.schedule.level[0]) for one in seen[0][0]], [0.1, 1.1])
    assert float(cell.schedule.level[0]) == pytest.approx(0.2 + best)
    assert float(trial.cell.schedule.level[0]) == pytest.approx(0.1 + best)
    assert trial.num_samples == 90
    assert seen[0][1].times.min() >= trajectory.times[trial.num_samples]
    assert isinstance(steps_of(emulator, states), Steps)


def test_oscillations_are_ordered_by_their_size_in_the_users_units():
    schedule = HarmonicSchedule(
        jnp.asarray([0.5]), jnp.asarray([0.01]), jnp.asarray([1.0, 4.0, 2.0]), jnp.asarray([[0.3], [0.6], [0.0]]),
        jnp.asarray([[0.0], [-0.8], [0.5]]),
    )  # fmt: skip
    found = findings(dataclasses.replace(made(NOTHING, schedule), forecast_map=None))
    told = [(wave["period"], wave["amplitude"]) for wave in found["oscillations"]]
    expected = [(2 * np.pi / 4, [UNIT * 1.0]), (2 * np.pi / 2, [UNIT * 0.5]), (2 * np.pi, [UNIT * 0.3])]
    for (period, amplitude), (wanted, size) in zip(told, expected, strict=True):
        assert period == pytest.approx(wanted)
        assert amplitude == pytest.approx(size, rel=1e-9)
    assert found["level"] == pytest.approx([OFFSET + UNIT * 0.5])
    assert found["slope"] == pytest.approx([UNIT * 0.01])
    assert found["unit"] == [UNIT]
    assert found["parameter"] is None

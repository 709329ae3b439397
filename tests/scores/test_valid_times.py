from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

import jaxcast

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("errors", "expected", "censored"),
    [
        ([0, 0, 0, 0], 0.4, True),
        ([0, 0, 7, 0], 0.2, False),  # the lucky return at the last lead does not count
        ([7, 0, 0, 0], 0.0, False),
        ([0, 0, 0, 7], 0.3, False),
        ([0, 40**0.5, 0, 0], 0.1, False),  # reaching the threshold is a failure
        ([0, 40**0.5 - 1e-9, 0, 0], 0.4, True),
        ([0, NAN, 0, 0], 0.1, False),
        ([0, 0, -INF, NAN], 0.2, False),
    ],
)
def test_valid_time_ends_before_the_first_failure(errors, expected, censored):
    truth = jnp.arange(8.0).reshape(4, 2)
    result = jaxcast.valid_time(truth + jnp.asarray(errors, float)[:, None], truth, dt=0.1, threshold=40.0)
    assert result.time == pytest.approx(expected)
    assert bool(result.censored) == censored


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([7, 0, 0, 0], 0.0),  # nothing lies below zero
        ([0, 7, 0, 0], 0.0),
        ([0, 0, 7, 0], 0.1),
        ([0, 0, 0, 7], 0.2),
        ([0, 0, 0, 0], 0.3),  # censored: the last lead is the last valid one
        ([0, 0, NAN, 0], 0.1),
        ([0, 0, INF, 0], 0.1),
        ([0, 0, 40**0.5, 0], 0.1),
    ],
)
def test_the_published_convention_counts_to_the_last_valid_lead(errors, expected):
    truth = jnp.arange(8.0).reshape(4, 2)
    forecast = truth + jnp.asarray(errors, float)[:, None]
    published = jax.jit(partial(jaxcast.valid_time, dt=0.1, threshold=40.0, convention="last_valid"))
    by_default = jaxcast.valid_time(forecast, truth, dt=0.1, threshold=40.0)
    assert published(forecast, truth).time == pytest.approx(expected)
    assert published(forecast, truth).time == pytest.approx(max(float(by_default.time) - 0.1, 0.0))
    assert published(forecast, truth).censored == by_default.censored
    named = jaxcast.valid_time(forecast, truth, dt=0.1, threshold=40.0, convention="first_invalid")
    assert named == by_default


def test_the_convention_is_in_lyapunov_times_has_gradients_and_no_other_names(without_type_checks):
    truth = jnp.zeros((5, 1))
    forecast = jnp.asarray([1.0, 2.0, 3.0, 9.0, 1.0])[:, None]

    def time(dt, forecast):
        arguments = {"dt": dt, "threshold": 40.0, "lyapunov_exponent": 0.9, "convention": "last_valid"}
        return jaxcast.valid_time(forecast, truth, **arguments).time

    assert time(0.5, forecast) == pytest.approx(2 * 0.5 * 0.9)
    by_dt, by_forecast = jax.grad(time, argnums=(0, 1))(0.5, forecast)
    assert by_dt == pytest.approx(2 * 0.9)
    assert not by_forecast.any()
    with pytest.raises(jaxcast.InputError, match="convention must be 'first_invalid' or 'last_valid', got 'last'"):
        jaxcast.valid_time(forecast, truth, dt=0.1, threshold=40.0, convention="last")


def test_norm_scale_threshold_and_unit_are_options(without_type_checks):
    truth = jnp.zeros((5, 2))
    forecast = jnp.asarray([[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]], float)
    assert jaxcast.valid_time(forecast, truth, dt=1.0, threshold=9.0).time == 2
    assert jaxcast.valid_time(forecast, truth, dt=1.0, threshold=9.0, norm="sum").time == 2
    assert jaxcast.valid_time(forecast, truth, dt=1.0, threshold=8.0, norm="sum").time == 1
    scaled = jaxcast.valid_time(forecast, truth, dt=1.0, threshold=2.0, norm="sum", scale=jnp.asarray([2.0, 1e9]))
    assert scaled.time == 2
    in_lyapunov_times = jaxcast.valid_time(forecast, truth, dt=1.0, threshold=9.0, lyapunov_exponent=0.9)
    assert in_lyapunov_times.time == pytest.approx(1.8)
    with pytest.raises(jaxcast.InputError, match="norm must be 'mean' or 'sum'"):
        jaxcast.scores.squared_error(forecast, truth, norm="max")


def exact_coverage(n, low, high):
    """P(X_(low) <= median <= X_(high)): at least low and at most high - 1 of n values lie below the median."""
    return binom.cdf(high - 1, n, 0.5) - binom.cdf(low - 1, n, 0.5)


@pytest.mark.parametrize("n", [6, 7, 20, 199, 200, 1000])
def test_the_interval_has_at_least_its_exact_coverage_and_none_is_shorter(n):
    interval = jaxcast.median_interval(np.random.default_rng(n).permutation(n) + 1)
    low, high = round(interval.low), round(interval.high)
    assert interval.coverage == pytest.approx(exact_coverage(n, low, high), abs=1e-12)
    assert interval.coverage >= 0.95
    assert interval.median == (n + 1) / 2
    shorter = [exact_coverage(n, start, start + high - low - 1) for start in range(1, n - (high - low) + 2)]
    assert max(shorter) < 0.95


def test_the_interval_of_200_windows_is_the_papers():
    interval = jaxcast.median_interval(np.arange(1, 201))
    assert (interval.low, interval.high) == (86, 114)
    assert exact_coverage(200, 87, 114) < 0.95


def test_too_few_values_give_their_range():
    assert jaxcast.median_interval(np.asarray([3.0, 1.0, 2.0])) == (2.0, 1.0, 3.0, 0.75)
    with pytest.raises(jaxcast.InputError, match="non-empty"):
        jaxcast.median_interval(np.asarray([]))
    with pytest.raises(jaxcast.InputError, match="without NaN"):
        jaxcast.median_interval(np.asarray([1.0, NAN]))


@pytest.mark.slow
def test_saturation_is_the_error_between_states_far_apart(truth):
    states = jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=20000, transient=20.0).states
    apart = jnp.mean((states - np.random.default_rng(0).permutation(states)) ** 2)
    assert jaxcast.saturation_error(states) == pytest.approx(float(apart), rel=0.05)
    assert jaxcast.saturation_error(states) == pytest.approx(228, rel=0.03)  # as measured for the specification


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rho", "published"),
    [
        (28.0, 0.9056),
        pytest.param(38.0, 1.105, marks=pytest.mark.slow),
        pytest.param(48.0, 1.259, marks=pytest.mark.slow),
        pytest.param(jaxcast.Cosine(38.0, -10.0, 1.577132), 0.711, marks=pytest.mark.slow),
    ],
)
def test_lyapunov_exponents(rho, published):
    system = jaxcast.Lorenz63(rho=rho)
    starts = jax.random.normal(jax.random.key(0), (256, 3)) + jnp.asarray([0, 0, 25.0])
    keys = jax.random.split(jax.random.key(1), 256)
    exponents = jax.vmap(lambda u0, key: jaxcast.dynamics.lyapunov_exponent(system, u0, duration=150.0, key=key))(
        starts, keys
    )
    assert float(exponents.std()) / 16 < 0.006, "the estimate must be sharper than what it is compared with"
    assert float(exponents.mean()) == pytest.approx(published, abs=0.02)


@pytest.mark.slow
def test_one_step_errors_are_those_of_the_pool(trajectory, candidates):
    samples = jaxcast.one_step_samples(trajectory, 1, candidates)
    errors = jaxcast.pooling.one_step_errors(jaxcast.equal_weights(11), samples, batch_size=37)
    expected = ((samples.forecasts.mean(1) - samples.targets) ** 2).mean(1)
    np.testing.assert_allclose(errors, expected, rtol=1e-10)


def test_windows_are_not_mistaken_for_leads(without_type_checks):
    forecasts, truth = jnp.zeros((2, 50, 1)).at[1, 2].set(9.0), jnp.zeros((2, 50, 1))
    with pytest.raises(jaxcast.InputError, match=r"both \(lead, dim\), got \(2, 50, 1\).*use jax.vmap over windows"):
        jaxcast.valid_time(forecasts, truth, dt=0.1, threshold=40.0)
    by_window = jax.vmap(lambda f, t: jaxcast.valid_time(f, t, dt=0.1, threshold=40.0).time)(forecasts, truth)
    np.testing.assert_allclose(by_window, [5.0, 0.2])
    with pytest.raises(jaxcast.InputError, match=r"scale must be a number or one for each of 1 components, got \(3,\)"):
        jaxcast.scores.squared_error(truth[0], truth[0], scale=jnp.ones(3))


def test_times_off_the_grid_name_their_grid():
    with pytest.raises(jaxcast.InputError, match=r"duration must be a whole multiple of dt, got duration=0.25, dt=0.1"):
        jaxcast.dynamics.lyapunov_exponent(jaxcast.Lorenz63(), [1.0, 2.0, 20.0], duration=0.25, key=jax.random.key(0))


@pytest.mark.slow
def test_tracking_is_correlation_and_distance_of_the_attended_coordinate():
    rng = np.random.default_rng(0)
    coordinates = np.asarray([28.0, 31.0, 40.0, 47.0])
    attended = rng.integers(0, 4, size=(5, 30))
    weights = 0.1 * rng.random((5, 30, 4)) + np.eye(4)[attended]
    truth = coordinates[attended] + rng.normal(size=(5, 30))
    correlation, distance = jaxcast.scores.parameter_tracking(jnp.asarray(weights), coordinates, truth)
    expected = np.corrcoef(coordinates[attended].ravel(), truth.ravel())[0, 1]
    np.testing.assert_allclose(correlation, expected, rtol=1e-12)
    np.testing.assert_allclose(distance, np.abs(coordinates[attended] - truth).mean(), rtol=1e-12)
    perfect = jaxcast.scores.parameter_tracking(jnp.asarray(weights), coordinates, coordinates[attended])
    np.testing.assert_allclose(perfect, (1, 0), atol=1e-12)
    assert np.isnan(jaxcast.scores.parameter_tracking(jnp.ones((3, 2)), [1.0, 2.0], [1.0, 2.0, 1.0]).correlation)


def test_tracking_refuses_what_does_not_match(without_type_checks):
    with pytest.raises(jaxcast.InputError, match=r"got shapes \(3, 2\), \(2,\) and \(4,\)"):
        jaxcast.scores.parameter_tracking(jnp.ones((3, 2)), jnp.ones(2), jnp.ones(4))


class Growing(jaxcast.System):
    """Its errors grow at the rate that it is given."""

    components = ("x",)
    rate: jaxcast.dynamics.Parameter

    def vector_field(self, t, u):
        return (self.rate * u[0],)


@pytest.mark.parametrize(("t0", "transient"), [(0.0, 0.0), (3.0, 0.0), (3.0, 2.0)])
def test_an_exponent_is_the_mean_rate_from_t0_on(t0, transient):
    """The rate at time t is t: over two time units from t0 on it is t0 + 1, whatever came before."""
    growing = Growing(jaxcast.LinearRamp(-50.0, 50.0, begin=-50.0, end=50.0))
    found = jaxcast.dynamics.lyapunov_exponent(
        growing, [1.0], duration=2.0, t0=t0, transient=transient, key=jax.random.key(0)
    )
    assert float(found) == pytest.approx(t0 + 1, rel=1e-6)

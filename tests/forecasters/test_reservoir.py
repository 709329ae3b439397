import itertools
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.forecasters.reservoir import excite, random_network
from jaxcast.numerics.polynomials import chebyshev_terms, monomials, products
from jaxcast.numerics.ridge import ridge

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lorenz():
    return jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 2.0, 20.0], num_samples=9100, dt=0.025, h=0.005, transient=20.0)


@pytest.fixture(scope="module")
def nvar(lorenz):
    return jaxcast.forecasters.fit_nvar(lorenz.states[:800], num_delays=2, degree=2, penalty=1e-5)


@pytest.fixture(scope="module")
def reservoir(lorenz):
    return jaxcast.forecasters.fit_reservoir(
        lorenz.states[:2000], num_nodes=100, leak=0.7, penalty=1e-5, key=jax.random.key(1)
    )


@pytest.mark.parametrize("penalty", [1e-8, 1.0, 1e3])
def test_ridge_is_least_squares_with_rows_of_penalty(penalty):
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(60, 10)), rng.normal(size=(60, 3))
    rows = np.vstack([features, np.sqrt(penalty) * np.eye(10)])
    expected = np.linalg.lstsq(rows, np.vstack([targets, np.zeros((10, 3))]))[0]
    np.testing.assert_allclose(ridge(jnp.asarray(features), jnp.asarray(targets), penalty), expected, rtol=1e-8)


@pytest.mark.parametrize(("size", "degree"), [(1, 1), (3, 1), (6, 2), (2, 4), (3, 3)])
def test_monomials_are_all_products_each_once(size, degree):
    values = np.random.default_rng(0).normal(size=(2, size))
    ours = products(jnp.asarray(values), monomials(size, degree))
    assert ours.shape == (2, comb(size + degree, degree))
    expected = [
        values[:, list(chosen)].prod(1)
        for p in range(degree + 1)
        for chosen in itertools.combinations_with_replacement(range(size), p)
    ]
    np.testing.assert_allclose(ours, np.stack(expected, 1), rtol=1e-12)
    chebyshev = [
        np.prod(
            [np.cos(list(chosen).count(n) * np.arccos(np.clip(values[:, n] / 4, -1, 1))) for n in range(size)], axis=0
        )
        for p in range(degree + 1)
        for chosen in itertools.combinations_with_replacement(range(size), p)
    ]
    np.testing.assert_allclose(chebyshev_terms(jnp.asarray(values / 4), degree), np.stack(chebyshev, 1), atol=1e-12)


@pytest.mark.parametrize(("num_delays", "skip"), [(1, 1), (3, 1), (2, 4)])
def test_nvar_is_the_regression_of_the_paper(lorenz, num_delays, skip):
    values = np.asarray(lorenz.states[:300])
    cell = jaxcast.forecasters.fit_nvar(lorenz.states[:300], num_delays=num_delays, skip=skip, degree=2, penalty=1e-3)
    z = (values - values.mean(0)) / values.std(0)
    first = (num_delays - 1) * skip
    lags = np.concatenate([z[first - k * skip : len(z) - 1 - k * skip] for k in range(num_delays)], 1)
    features = np.asarray(products(jnp.asarray(lags), monomials(lags.shape[1], 2)[1:]))
    targets = np.diff(z, axis=0)[first:]
    # The bias bears no penalty: a column of ones that the extra rows leave out.
    rows = np.vstack([features, np.sqrt(1e-3) * np.eye(features.shape[1])])
    ones = np.r_[np.ones(len(features)), np.zeros(features.shape[1])][:, None]
    weights = np.linalg.lstsq(np.hstack([rows, ones]), np.vstack([targets, np.zeros((features.shape[1], 3))]))[0]
    one_step = values[first:-1] + values.std(0) * (features @ weights[:-1] + weights[-1])
    np.testing.assert_allclose(jaxcast.open_loop(cell, lorenz.states[:300]).forecast[first:-1], one_step, rtol=1e-6)
    assert np.isnan(jaxcast.open_loop(cell, lorenz.states[:300]).forecast[:first]).all()


def test_nvar_forecasts_lorenz_for_several_lyapunov_times(lorenz, nvar):
    rest = jaxcast.Trajectory(lorenz.times[2000:], lorenz.states[2000:])
    windows = jaxcast.cut_windows(rest, num_windows=20, num_leads=350, history_size=2)
    outputs = jaxcast.forecast_windows(nvar, windows)
    times = [
        jaxcast.valid_time(forecast, truth, dt=0.025, threshold=0.09 * 3, norm="sum", scale=lorenz.states.std(0)).time
        for forecast, truth in zip(outputs.forecast, windows.truth, strict=True)
    ]
    # Gauthier et al. (2021), with the same k, s, degree and dt, forecast about five Lyapunov times.
    assert 0.9056 * np.median(times) > 4


def test_a_polynomial_map_is_recovered_exactly():
    def step(u):
        return jnp.asarray([1 - 1.4 * u[0] ** 2 + u[1], 0.3 * u[0]])

    values = [jnp.asarray([0.1, 0.1])]
    for _ in range(199):
        values.append(step(values[-1]))
    values = jnp.stack(values)
    cell = jaxcast.forecasters.fit_nvar(values, num_delays=1, degree=2, penalty=1e-20)
    np.testing.assert_allclose(jaxcast.forecast(cell, values[:100], 15).forecast, values[100:115], atol=1e-6)


def test_the_reservoir_has_its_spectral_radius():
    for key, radius in ((0, 0.4), (1, 1.2)):
        network = random_network(3, 80, connections=4, spectral_radius=radius, input_scale=0.3, key=jax.random.key(key))
        matrix = np.zeros((80, 80))
        for node in range(80):
            assert len(set(network.sources[node].tolist())) == 4
            matrix[node, network.sources[node]] = network.strengths[node]
        assert max(abs(np.linalg.eigvals(matrix))) == pytest.approx(radius, rel=1e-9)
        assert 0.25 < abs(network.inputs).max() <= 0.3
        nodes, value = np.linspace(-1, 1, 80), np.asarray([1.0, -2.0, 0.5])
        expected = 0.4 * nodes + 0.6 * np.tanh(matrix @ nodes + network.inputs @ value + network.bias)
        np.testing.assert_allclose(excite(network, 0.6, jnp.asarray(nodes), jnp.asarray(value)), expected, rtol=1e-9)


def test_the_reservoir_forgets_how_it_started(lorenz, reservoir):
    starts = jax.random.uniform(jax.random.key(0), (2, 100), minval=-1)
    scaled = reservoir.standardizer.apply(lorenz.states[:300])

    def end(start):
        step = lambda nodes, one: (excite(reservoir.network, reservoir.leak, nodes, one), None)  # noqa: E731
        return jax.lax.scan(step, start, scaled)[0]

    ends = jax.jit(jax.vmap(end))(starts)
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)


def test_the_reservoir_forecasts_lorenz(lorenz, reservoir):
    rest = jaxcast.Trajectory(lorenz.times[2000:], lorenz.states[2000:])
    windows = jaxcast.cut_windows(rest, num_windows=20, num_leads=300, history_size=50)
    forecasts = jaxcast.forecast_windows(reservoir, windows).forecast
    times = [
        jaxcast.valid_time(forecast, truth, dt=0.025, threshold=20.0).time
        for forecast, truth in zip(forecasts, windows.truth, strict=True)
    ]
    assert np.median(times) > 3


@pytest.mark.parametrize("which", ["nvar", "reservoir"])
def test_the_scan_is_a_python_loop(request, lorenz, which):
    cell, values = request.getfixturevalue(which), lorenz.states[:12]
    known = np.arange(12) < 8
    _, outputs = jaxcast.roll(cell, jaxcast.Input(values, jnp.asarray(known)))
    carry, forecast = cell.init_carry(values[0]), None
    for n in range(12):
        carry, (forecast, _) = cell(carry, jaxcast.Input(values[n] if known[n] else forecast, known[n]))
        np.testing.assert_allclose(outputs.forecast[n], forecast, rtol=1e-9)
    assert outputs.forecast.dtype == values.dtype


@pytest.mark.parametrize("which", ["nvar", "reservoir"])
def test_other_numbers_compile_nothing(lorenz, which, count_compilations):
    def run(penalty):
        fit = jaxcast.forecasters.fit_nvar if which == "nvar" else jaxcast.forecasters.fit_reservoir
        more = (
            {} if which == "nvar" else {"key": jax.random.key(0), "num_nodes": 20, "spectral_radius": 1 / penalty**0.1}
        )
        return jaxcast.forecast(fit(lorenz.states[:300], penalty=penalty, **more), lorenz.states[:50], 5)

    run(1e-2)
    count_compilations()
    run(1e-3)
    assert count_compilations() == 0


def test_a_constant_component_is_no_division_by_zero():
    wave = jnp.sin(0.3 * jnp.arange(300.0))
    values = jnp.stack([wave, jnp.full(300, 7.0)], 1)
    for cell in (
        jaxcast.forecasters.fit_nvar(values, degree=1, penalty=1e-9),
        jaxcast.forecasters.fit_reservoir(values, num_nodes=40, penalty=1e-6, key=jax.random.key(0)),
    ):
        forecast = jaxcast.forecast(cell, values[:200], 20).forecast
        np.testing.assert_allclose(forecast, values[200:220], atol=0.05)


def test_what_cannot_be_fitted_is_refused(without_type_checks):
    with pytest.raises(jaxcast.InputError, match="skip must be at least 1, got 0"):
        jaxcast.forecasters.fit_nvar(jnp.ones((9, 1)), skip=0)
    with pytest.raises(jaxcast.InputError, match=r"at least 5 values, got shape \(4, 1\)"):
        jaxcast.forecasters.fit_nvar(jnp.ones((4, 1)), num_delays=4)
    with pytest.raises(jaxcast.InputError, match="penalty must be zero or more"):
        jaxcast.forecasters.fit_nvar(jnp.ones((9, 1)), penalty=-1.0)
    with pytest.raises(
        jaxcast.InputError,
        match="finite numbers to learn from, got NaN or infinity in 9 of 9 times of values, first in time 0",
    ):
        jaxcast.forecasters.fit_nvar(jnp.full((9, 1), jnp.nan))
    with pytest.raises(jaxcast.InputError, match="got 6 connections, 5 nodes"):
        jaxcast.forecasters.fit_reservoir(jnp.ones((900, 1)), num_nodes=5, key=jax.random.key(0))
    with pytest.raises(jaxcast.InputError, match=r"values of shape \(1,\), got \(2,\)"):
        jaxcast.forecast(jaxcast.forecasters.fit_nvar(jnp.arange(20.0)[:, None]), jnp.ones((5, 2)), 3)

"""Filters and smoothers of a linear system against the Kalman filter and smoother in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.assimilation import (
    ConstantParameter,
    EnsembleKalmanFilter,
    IterativeEnsembleSmoother,
    LocalEnsembleTransform,
    Localisation,
    ObservationMatrix,
    ParticleFilter,
    VariationalFilter,
    reanalyse,
)
from tests.assimilation.linear import NOISE, SEEN, STEP, deviations, kalman, record, step

KEY = jax.random.key(0)
VALUES = record()
ENSEMBLE = np.random.default_rng(3).normal(size=(6, 3)) * [1.0, 2.0, 1.5] + [0.5, 0.0, 0.0]
MEAN, COV = ENSEMBLE.mean(0), np.cov(ENSEMBLE.T)
SETTINGS = dict(observation_noise=NOISE, key=KEY, operator=ObservationMatrix(SEEN))


def members(num_members=6, ensemble=ENSEMBLE):
    return SETTINGS | dict(num_members=num_members, initial_ensemble=ensemble)


@pytest.mark.slow
@pytest.mark.parametrize("lag", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_the_ensemble_smoother_of_a_linear_model_is_the_kalman_smoother(lag):
    cell = IterativeEnsembleSmoother(step, lag=lag, num_iterations=2, **members())
    outputs = jaxcast.open_loop(cell, jnp.asarray(VALUES))
    (before, _), (after, covariances), _ = kalman(MEAN, COV, VALUES)
    np.testing.assert_allclose(outputs.info["analysis"], after, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(outputs.info["analysis_spread"], deviations(covariances), rtol=1e-6)
    np.testing.assert_allclose(outputs.forecast[:-1], before[1:], rtol=1e-6, atol=1e-9)
    for n in (lag, 8):  # the state lag steps before has seen the values up to now
        smooth, covariances = kalman(MEAN, COV, VALUES[: n + 1])[2]
        np.testing.assert_allclose(outputs.info["reanalysis"][n], smooth[n - lag], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(outputs.info["reanalysis_spread"][n], deviations(covariances)[n - lag], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("lag", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_variational_analyses_of_a_linear_model_are_the_kalman_smoother(lag):
    cell = VariationalFilter(step, NOISE, MEAN, COV, operator=ObservationMatrix(SEEN), lag=lag, num_iterations=2)
    outputs = jaxcast.open_loop(cell, jnp.asarray(VALUES))
    (before, prior), (after, covariances), _ = kalman(MEAN, COV, VALUES)
    np.testing.assert_allclose(outputs.info["analysis"], after, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(outputs.forecast[:-1], before[1:], rtol=1e-7, atol=1e-9)
    seen = ~np.isnan(VALUES).all(1)
    np.testing.assert_allclose(outputs.info["analysis_spread"][seen], deviations(covariances)[seen], rtol=1e-7)
    np.testing.assert_allclose(outputs.info["spread"][:-1][seen[:-1]], deviations(prior)[1:][seen[:-1]], rtol=1e-7)
    for n in (lag, 8) if lag < 8 else (8, 11):
        smooth, covariances = kalman(MEAN, COV, VALUES[: n + 1])[2]
        start = max(n - lag, 0)
        np.testing.assert_allclose(outputs.info["reanalysis"][n], smooth[start], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(outputs.info["reanalysis_spread"][n], deviations(covariances)[start], rtol=1e-7)


@pytest.mark.slow
def test_a_reanalysis_of_a_linear_model_is_the_kalman_smoother():
    found = reanalyse(EnsembleKalmanFilter(step, **members()), jnp.asarray(VALUES))
    _, (after, _), (smooth, covariances) = kalman(MEAN, COV, VALUES)
    np.testing.assert_allclose(found.analyses, after, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.states, smooth, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.spread, deviations(covariances), rtol=1e-6)
    assert found.parameters.shape == (len(VALUES), 0)
    masked = reanalyse(EnsembleKalmanFilter(step, **members()), np.nan_to_num(VALUES, nan=9.0), known=~np.isnan(VALUES))
    np.testing.assert_allclose(masked.states, found.states, rtol=1e-9)
    with pytest.raises(jaxcast.InputError, match="known must be a boolean mask"):
        reanalyse(EnsembleKalmanFilter(step, **members()), VALUES, known=np.ones(3, bool))


def wholes():
    """Every cell that has a reanalysis, with settings under which it is exact for a linear model."""
    everywhere = Localisation(np.ones((3, 3)), np.ones((3, 3)))
    local = members() | dict(operator=None, observation_noise=0.4, analysis=LocalEnsembleTransform(everywhere))
    return {
        "local": EnsembleKalmanFilter(step, **local),
        "smoother": IterativeEnsembleSmoother(step, lag=3, num_iterations=2, **members()),
        "variational": VariationalFilter(
            step, NOISE, MEAN, COV, operator=ObservationMatrix(SEEN), lag=3, num_iterations=2
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["variational", *(pytest.param(n, marks=pytest.mark.slow) for n in ("local", "smoother"))]
)
def test_every_smoother_makes_the_reanalysis_of_rauch_tung_and_striebel(name, monkeypatch):
    values = VALUES
    if name == "local":
        values = np.random.default_rng(4).normal(size=(12, 3))
        values[3:5, 1] = np.nan
        monkeypatch.setattr("jaxcast.assimilation.smoothing.LOCAL_ROOT", 1e-12)  # all directions count
        monkeypatch.setattr("tests.assimilation.linear.SEEN", np.eye(3))
        monkeypatch.setattr("tests.assimilation.linear.NOISE", np.full(3, 0.4))
    found = reanalyse(wholes()[name], jnp.asarray(values))
    _, (after, _), (smooth, covariances) = kalman(MEAN, COV, values)
    np.testing.assert_allclose(found.analyses, after, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.states, smooth, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.spread, deviations(covariances), rtol=1e-6)
    short = reanalyse(wholes()[name], jnp.asarray(values[:2]))  # shorter than the window
    np.testing.assert_allclose(short.states, kalman(MEAN, COV, values[:2])[2][0], rtol=1e-6, atol=1e-8)


def test_cells_without_a_reanalysis_say_which_have_one():
    with pytest.raises(jaxcast.InputError, match="a ParticleFilter has no reanalysis; take an EnsembleKalmanFilter"):
        reanalyse(ParticleFilter(step, **members()), jnp.asarray(VALUES))
    tapers = Localisation(np.ones((3, 2)), np.ones((2, 2)))
    with pytest.raises(jaxcast.InputError, match="observe the whole state"):
        reanalyse(EnsembleKalmanFilter(step, **members(), analysis=LocalEnsembleTransform(tapers)), jnp.asarray(VALUES))


@pytest.mark.slow
def test_localised_reanalyses_of_a_field_are_better_than_analyses():
    system = jaxcast.Lorenz96()
    dim = system.dim
    truth = jaxcast.simulate(system, 8.0 + jax.random.normal(KEY, (dim,)), num_samples=200, dt=0.05, transient=20.0)
    values = truth.states + jax.random.normal(jax.random.key(1), truth.states.shape)
    analysis = LocalEnsembleTransform(jaxcast.assimilation.localise_ring(dim, radius=4.0), inflation=1.05)
    cell = EnsembleKalmanFilter(jaxcast.flow_map(system, dt=0.05), 1.0, KEY, num_members=10, analysis=analysis)
    found = reanalyse(cell, values)
    analysed, smooth = (((states - truth.states)[50:-20] ** 2).mean() for states in (found.analyses, found.states))
    assert smooth < 0.8 * analysed


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_particle_filter_of_a_linear_model_is_the_kalman_filter(share):
    rng, number = np.random.default_rng(5), 40_000
    ensemble = rng.multivariate_normal(MEAN, COV, number)
    settings = members(number, ensemble) | dict(resampling_share=share, jitter=0.2)
    outputs = jaxcast.open_loop(ParticleFilter(step, **settings), jnp.asarray(VALUES))
    _, (after, covariances), _ = kalman(ensemble.mean(0), np.cov(ensemble.T), VALUES)
    wide = deviations(covariances)
    # Four standard errors at the effective sizes, which lie above a tenth of the members.
    assert np.abs(np.asarray(outputs.info["analysis"]) - after).max() < 0.15 * wide.max()
    np.testing.assert_allclose(outputs.info["analysis_spread"], wide, rtol=0.15, atol=0.01)
    sizes = np.asarray(outputs.info["effective_size"])
    assert (sizes <= number).all()
    assert (sizes[~np.isnan(VALUES).all(1)] > 100).all()


@pytest.mark.slow
def test_resampling_keeps_the_mean_and_widens_by_the_jitter():
    rng = np.random.default_rng(0)
    points, number = rng.normal(size=(20_000, 2)) * [1.0, 3.0], 20_000
    cell = ParticleFilter(lambda u: u, 1.0, KEY, num_members=number, resampling_share=1.0, jitter=0.5)
    observed = jnp.asarray(points[:, :1])
    moved, log_weights, info = cell.analyse(jnp.asarray(points), jnp.zeros(number), observed, jnp.asarray([0.7]), KEY)
    shares = np.exp(-((0.7 - points[:, 0]) ** 2) / 2)
    shares = shares / shares.sum()
    mean = shares @ points
    cov = (points - mean).T * shares @ (points - mean)
    width = 0.5 * number ** (-1 / 6)
    np.testing.assert_allclose(moved.mean(0), mean, atol=0.06)
    np.testing.assert_allclose(np.cov(moved.T), cov * (1 + width**2), atol=0.2)
    np.testing.assert_array_equal(log_weights, np.zeros(number))
    assert float(info["effective_size"]) == pytest.approx(1 / (shares**2).sum(), rel=1e-9)


def cells():
    """A cell of each kind for Lorenz '63, seen in x and z every 0.1."""
    model = jaxcast.flow_map(jaxcast.Lorenz63())
    around = np.random.default_rng(1).normal(size=(8, 3)) * 3 + [1.0, 1.0, 22.0]
    settings = dict(observation_noise=0.5, key=KEY, num_members=8, initial_ensemble=around)
    return {
        "smoother": IterativeEnsembleSmoother(model, lag=2, num_iterations=3, **settings),
        "variational": VariationalFilter(model, 0.5, around.mean(0), np.cov(around.T), lag=2, num_iterations=3),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smoother", "variational"])
def test_gradients_are_finite_and_a_gap_is_a_free_forecast(name, trajectory):
    cell = cells()[name]
    truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 22.0], num_samples=12).states
    gaps = truth.at[:, 1].set(jnp.nan).at[8:].set(jnp.nan)

    def error(values):
        return ((jaxcast.open_loop(cell, values).info["analysis"] - truth) ** 2).mean()

    value, slope = jax.value_and_grad(error)(gaps)
    assert value < 1.0
    assert np.isfinite(np.asarray(slope)).all()
    assert np.abs(slope[:8, 0]).min() > 0
    outputs = jaxcast.open_loop(cell, gaps)
    np.testing.assert_allclose(outputs.info["analysis"][8:], outputs.forecast[7:-1], rtol=1e-6)
    ahead = jaxcast.forecast(cell, gaps[:8], 4)
    np.testing.assert_allclose(ahead.forecast, outputs.forecast[7:11], rtol=1e-6)


@pytest.mark.slow
def test_a_variational_filter_finds_a_constant_parameter_as_the_kalman_filter():
    """A constant drive of a linear model, unknown: the state with it is linear too."""
    drive, values = np.asarray([0.5, 0.1, -0.2]), np.nan_to_num(VALUES, nan=0.3)
    augmented = np.block([[STEP, drive[:, None]], [np.zeros((1, 3)), np.eye(1)]])
    cell = VariationalFilter(
        lambda u, p: step(u) + jnp.asarray(drive) * p, NOISE, MEAN, COV, operator=ObservationMatrix(SEEN), lag=3,
        parameters=[ConstantParameter(-1.0, 2.0)], num_iterations=2,
    )  # fmt: skip
    outputs = jaxcast.open_loop(cell, jnp.asarray(values))
    start = cell.init_carry(jnp.asarray(values[0]))
    mean, root = np.asarray(start.guess), np.asarray(start.roots[0])
    assert mean[3] == pytest.approx(0.5, abs=0.2)
    assert root[3, 3] ** 2 == pytest.approx(9 / 12, rel=0.2)
    cov, seen = root @ root.T, np.concatenate([SEEN, np.zeros((2, 1))], 1)
    for n, value in enumerate(values):
        gain = cov @ seen.T @ np.linalg.inv(seen @ cov @ seen.T + np.diag(NOISE**2))
        mean, cov = mean + gain @ (value - seen @ mean), cov - gain @ seen @ cov
        np.testing.assert_allclose(outputs.info["analysis"][n], mean[:3], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(outputs.info["regime"][n], mean[3:], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(outputs.info["regime_deviation"][n], np.sqrt(cov[3:, 3]), rtol=1e-6)
        mean, cov = augmented @ mean, augmented @ cov @ augmented.T

"""Filters of a linear system with model noise, sparse observations and gaps, against the Kalman filter in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.assimilation import (
    EnsembleKalmanFilter,
    IterativeEnsembleSmoother,
    ObservationMatrix,
    ParticleFilter,
    RandomWalk,
    reanalyse,
)
from tests.assimilation.linear import NOISE, SEEN, STEP, deviations, kalman, record, step

KEY = jax.random.key(0)
MODEL_NOISE = np.asarray([0.5, 0.2, 0.3])
NUM_LEADS = 8


def sparse(num_steps=12):
    """Observations with gaps of several steps, one at the start."""
    values = record(num_steps)
    values[[0, 3, 4, 5, 6, 9, 10]] = np.nan
    return values


def noisy(kind, num_members, **changes):
    ensemble = np.random.default_rng(3).normal(size=(num_members, 3)) * [1.0, 2.0, 1.5]
    settings = dict(observation_noise=NOISE, operator=ObservationMatrix(SEEN), model_noise=MODEL_NOISE)
    return kind(step, key=KEY, num_members=num_members, initial_ensemble=ensemble, **settings, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EnsembleKalmanFilter, ParticleFilter])
def test_noise_acts_at_every_step_of_history_and_forecast(kind):
    """Steps without an observation, and leads, have the variance of Kalman's filter."""
    values, number = sparse(), 20_000
    cell = noisy(kind, number)
    inputs = jnp.asarray(np.concatenate([values, np.full((NUM_LEADS, 2), np.nan)]))
    _, outputs = jaxcast.roll(cell, jaxcast.Input(inputs, jnp.arange(len(inputs)) < len(values)))
    start = cell.initial_ensemble
    (before, prior), (after, covariances), _ = kalman(start.mean(0), np.cov(start.T), inputs, MODEL_NOISE)
    scale = deviations(prior).mean(0)
    # Five standard errors of a mean, and of a deviation, of this many members.
    few = 10 if kind is ParticleFilter else 1
    tolerance = 5 * np.sqrt(few / number)
    np.testing.assert_allclose((outputs.info["analysis"] - after) / scale, 0, atol=2 * tolerance)
    np.testing.assert_allclose((outputs.forecast[:-1] - before[1:]) / scale, 0, atol=2 * tolerance)
    np.testing.assert_allclose(outputs.info["analysis_spread"], deviations(covariances), rtol=tolerance)
    np.testing.assert_allclose(outputs.info["spread"][:-1], deviations(prior)[1:], rtol=tolerance)


@pytest.mark.parametrize(
    ("kind", "number", "changes"),
    [
        (EnsembleKalmanFilter, 2000, {}),
        pytest.param(IterativeEnsembleSmoother, 200, dict(lag=3, num_iterations=2), marks=pytest.mark.slow),
    ],
)
def test_the_spread_of_a_forecast_grows_as_its_errors_at_all_leads_and_its_mean_has_no_noise(kind, number, changes):
    cell = noisy(kind, number, **changes)
    ahead = jaxcast.forecast(cell, jnp.asarray(record(7)), NUM_LEADS)
    carry = jaxcast.spin_up(cell, jnp.asarray(record(7))).carry
    members = carry.ahead if kind is IterativeEnsembleSmoother else carry.states
    mean, cov = members.mean(0), np.cov(members.T)
    for forecast, spread in zip(ahead.forecast, ahead.info["spread"], strict=True):
        np.testing.assert_allclose(forecast, mean, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(spread, np.sqrt(np.diag(cov)), rtol=3.5 / np.sqrt(number))
        mean, cov = STEP @ mean, STEP @ cov @ STEP.T + np.diag(MODEL_NOISE**2)


@pytest.mark.slow
def test_a_reanalysis_with_model_noise_is_the_kalman_smoother_across_gaps():
    values, number = sparse(), 5000
    cell = noisy(EnsembleKalmanFilter, number)
    start = cell.initial_ensemble
    _, _, (smooth, covariances) = kalman(start.mean(0), np.cov(start.T), values, MODEL_NOISE)
    found = reanalyse(cell, np.nan_to_num(values, nan=9.0), known=~np.isnan(values))
    np.testing.assert_allclose(found.states, smooth, atol=0.1)
    np.testing.assert_allclose(found.spread, deviations(covariances), rtol=0.08)


@pytest.mark.slow
def test_a_random_walk_goes_on_in_gaps_and_rests_in_closed_loop():
    """Its variance grows by one step's at every step of a history without observations."""
    cell = EnsembleKalmanFilter(
        lambda u, p: u, 1.0, KEY, parameters=[RandomWalk(0.0, 0.0, deviation=0.5)], num_members=5000,
        initial_ensemble=np.zeros((5000, 1)),
    )  # fmt: skip
    known = np.arange(9) < 6
    _, outputs = jaxcast.roll(cell, jaxcast.Input(jnp.full((9, 1), jnp.nan), jnp.asarray(known)))
    expected = 0.5 * np.sqrt(np.minimum(np.arange(1, 10), 6))
    np.testing.assert_allclose(outputs.info["regime_deviation"][:, 0], expected, rtol=0.05)
    np.testing.assert_array_equal(outputs.info["regime"][6:, 0], np.repeat(outputs.info["regime"][6, 0], 3))

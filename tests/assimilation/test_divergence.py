"""Filters whose model leaves its range begin anew at the next value from which they can start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import assimilation as da

KEY = jax.random.key(0)
ENSEMBLE = np.random.default_rng(0).normal(size=(8, 2)) + 10.0
BROKEN = 5


def model(u, time):
    """Every member leaves the range of the model in one step."""
    return jnp.where(time == BROKEN, jnp.nan, 0.9 * u + 1.0)


SETTINGS = dict(observation_noise=0.5, key=KEY, num_members=8)
CELLS = {
    "kalman": da.EnsembleKalmanFilter(model, **SETTINGS),
    "particles": da.ParticleFilter(model, **SETTINGS),
    "particles of an ensemble": da.ParticleFilter(model, initial_ensemble=ENSEMBLE, **SETTINGS),
    "smoother": da.IterativeEnsembleSmoother(model, lag=2, num_iterations=2, **SETTINGS),
    "variational": da.VariationalFilter(model, 0.5, np.full(2, 10.0), np.eye(2), lag=2, num_iterations=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_what_follows_is_that_of_a_new_filter(name):
    cell, values = CELLS[name], 10 + 0.5 * np.random.default_rng(1).normal(size=(14, 2))
    # A window holds the broken step once more.
    first = BROKEN + (2 if name == "variational" else 1)
    forecast = jaxcast.open_loop(cell, jnp.asarray(values), jnp.arange(14.0)).forecast
    assert np.isnan(forecast[BROKEN:first]).all()
    moved = np.roll(values, -first, axis=0)
    anew = jaxcast.open_loop(cell, jnp.asarray(moved), jnp.full(14, 100.0)).forecast
    np.testing.assert_allclose(forecast[first:], anew[: 14 - first], rtol=1e-10)


@pytest.mark.slow
def test_an_observation_too_far_from_every_particle_says_nothing():
    members = jnp.asarray([[1.0], [2.0], [3.0]])
    absurd = jnp.asarray([1e200])  # whose square is infinite
    log_weights = jnp.log(jnp.asarray([0.5, 0.3, 0.2]))
    cell = da.ParticleFilter(lambda u: u, **SETTINGS)
    _, found, _ = cell.analyse(members, log_weights, members, absurd, KEY)
    np.testing.assert_allclose(jax.nn.softmax(found), [0.5, 0.3, 0.2], rtol=1e-12)

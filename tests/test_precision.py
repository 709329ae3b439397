"""Products of matrices by the precision that programs ask for: the highest, or in networks what the user says."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.numerics.lasso import lasso_of_moments
from jaxcast.numerics.moments import Moments, ridge_of_moments
from jaxcast.numerics.ridge import gaussian_gram, ridge
from jaxcast.regime.kalman import GaussianState, observe

KEY = jax.random.key(0)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape))


def products(function, *args):
    """Returns the precision of each product in the lowered program: HIGHEST or DEFAULT."""
    text = jax.jit(lambda *args: function(*args)).lower(*args).as_text()  # a pool cannot be hashed
    found = [
        re.findall("HIGHEST|DEFAULT", line) for line in text.splitlines() if re.search("dot_general|convolut", line)
    ]
    assert all(len(set(both)) == 1 for both in found)
    return [both[0] for both in found]


def moments():
    x, y = normal(9, 3).at[:, -1].set(1), normal(9, 2)
    return Moments(x.T @ x, x.T @ y, (y**2).sum(0))


def filtered(filter_of, loss=False):
    """Filters a short series; with `loss`, it returns the derivative by the observation noise."""
    values = normal(4, 2)

    def run(noise):
        cell = filter_of(lambda u: u / 2, noise)
        return jaxcast.open_loop(cell, values).forecast

    return (jax.grad(lambda noise: run(noise).sum()) if loss else run), jnp.ones(2)


def ensemble_filter(forecast_map, noise):
    return jaxcast.assimilation.EnsembleKalmanFilter(forecast_map, noise, KEY, num_members=4)


def kalman_step():
    state = GaussianState(normal(3), jnp.eye(3))
    return lambda value: observe(jnp.sin, state, value, jnp.ones(2, bool), jnp.eye(3), jnp.ones(2)), normal(2)


def harmonics():
    one = jnp.ones((1, 1))
    return jaxcast.regime.HarmonicSchedule(jnp.ones(1), jnp.zeros(1), jnp.ones(1), one, one), 0.5


CLOSED_FORMS = {
    "ridge": lambda: (ridge, normal(9, 3), normal(9, 2), 0.1),
    "ridge_of_moments": lambda: (ridge_of_moments, moments(), 0.1),
    "lasso": lambda: (lasso_of_moments, moments(), jnp.asarray([0.5, 0.1])),
    "gaussian_process": lambda: (gaussian_gram, normal(5, 2), normal(4, 2), 1.0),
    "average": lambda: (jaxcast.equal_weights(3), None, normal(4, 3, 2)),
    "fit_ridge": lambda: (lambda f, y: jaxcast.pooling.fit_ridge(f, y, penalty=0.1), normal(9, 3, 2), normal(9, 2)),
    "sliced_wasserstein_distance": lambda: (
        lambda a, b: jaxcast.scores.sliced_wasserstein_distance(a, b, key=KEY),
        normal(9, 2),
        normal(8, 2),
    ),
    "harmonics": harmonics,
    "kalman_filter": kalman_step,
    "derivative_of_ridge": lambda: (jax.grad(lambda x: ridge(x, normal(9, 2), 0.1).sum()), normal(9, 3)),
}
SLOW = {
    "fit_nvar": lambda: (lambda v: jaxcast.forecasters.fit_nvar(v, penalty=0.1), normal(20, 2)),
    "ensemble_kalman_filter": lambda: filtered(ensemble_filter),
    "derivative_of_a_filter": lambda: filtered(ensemble_filter, loss=True),
    "fit_interacting_models": lambda: (jaxcast.pooling.fit_interacting_models, normal(9, 3, 2), normal(9, 2)),
    "simplex": lambda: (
        jaxcast.pooling.SimplexLeastSquares(2),
        jaxcast.pooling.Memory(normal(2, 2), normal(2, 4, 2)),
        normal(4, 2),
    ),
    "kernel_ridge": lambda: (
        lambda v: jaxcast.forecasters.fit_delay_kernel_ridge(v, lag_weights=np.ones(2), penalty=0.1),
        normal(20, 2),
    ),
    "spectrum_distance": lambda: (jaxcast.scores.spectrum_distance, normal(64, 2), normal(64, 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLOSED_FORMS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_closed_forms_ask_for_the_highest_precision(name):
    found = products(*(CLOSED_FORMS | SLOW)[name]())
    assert found
    assert set(found) == {"HIGHEST"}


def test_scores_of_tasks_have_no_products_at_all():
    levels = np.asarray([0.25, 0.5, 0.75])
    assert not products(lambda q, y: jaxcast.scores.weighted_interval_score(q, y, levels), normal(4, 3), normal(4))
    assert not products(lambda f, y: jaxcast.valid_time(f, y, dt=0.1, threshold=1.0), normal(4, 2), normal(4, 2))


NETWORKS = {
    "lstm": lambda: (jaxcast.nn.LSTM(input_size=2, hidden_size=3, key=KEY, dtype=jnp.float64), normal(5, 2)),
    "self_attention": lambda: (jaxcast.nn.SelfAttention(size=4, key=KEY), normal(5, 4)),
    "attention": lambda: (
        jaxcast.AdditiveAttention(dim=2, num_delays=1, hidden_size=3, key=KEY, dtype=jnp.float64).weigh,
        jaxcast.pooling.Memory(normal(1, 2), normal(1, 4, 2)),
        normal(4, 2),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_leave_the_precision_to_the_user(name):
    network = NETWORKS[name]()
    assert set(products(*network)) == {"DEFAULT"}
    with jax.default_matmul_precision("highest"):
        assert set(products(*network)) == {"HIGHEST"}


@pytest.mark.slow
def test_a_network_in_a_filter_keeps_its_precision():
    network = jaxcast.nn.SelfAttention(size=2, key=KEY)

    def run(noise):
        cell = ensemble_filter(lambda u: network(u[None])[0][0].astype(u.dtype), noise)
        return jaxcast.open_loop(cell, normal(4, 2)).forecast

    assert set(products(run, jnp.ones(2))) == {"DEFAULT", "HIGHEST"}

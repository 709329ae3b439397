"""Saved filters: the same bits after loading, and code that cannot be saved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast import assimilation as da
from jaxcast.pytrees import FrozenPytree

KEY = jax.random.key(7)
ENSEMBLE = np.random.default_rng(3).normal((1.0, 1.0, 20.0), size=(6, 3))
VALUES = jnp.asarray(ENSEMBLE[:4])


class Halving(FrozenPytree, name="halving_of_a_test"):
    """A model of a user."""

    factor: float

    def __call__(self, u, exogenous=None):
        return self.factor * u


def cells():
    """A cell of each kind, with models, operators, parameters and analyses of each kind."""
    model = jaxcast.flow_map(jaxcast.Lorenz63(rho=28.3))
    rho = da.parameter_map(jaxcast.Lorenz63(sigma=10.1), ["rho"])
    settings = dict(observation_noise=0.3, key=KEY, num_members=6, initial_ensemble=ENSEMBLE)
    ring = da.localise_ring(3, radius=1.0)
    filters = {
        "finite": da.EnsembleKalmanFilter(model, **settings, analysis=da.EnsembleTransform(is_finite_size=True)),
        "walk": da.EnsembleKalmanFilter(
            rho, **settings, parameters=[da.RandomWalk(25.1, 40.3, 0.1)], operator=da.ObservedComponents((0, 1, 2)),
            model_noise=0.1, analysis=da.LocalEnsembleTransform(ring, inflation=1.03),
        ),
        "perturbed": da.EnsembleKalmanFilter(
            Halving(0.5), **settings, operator=da.ObservationMatrix(np.eye(3)),
            analysis=da.PerturbedObservations(1.1, ring),
        ),
        "particles": da.ParticleFilter(rho, **settings, parameters=[da.ConstantParameter(25.1, 40.3)], jitter=0.7),
        "smoother": da.IterativeEnsembleSmoother(
            rho, **settings, parameters=[da.HarmonicParameter(30.1, 32.3, 2.0, 5.0, 9.7, 0.1)], inflation=1.03
        ),
        "variational": da.VariationalFilter(model, 0.3, ENSEMBLE.mean(0), np.cov(ENSEMBLE.T), lag=2, inflation=1.1),
    }  # fmt: skip
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
    pool = jaxcast.Forecaster(jaxcast.equal_weights(2), candidates)
    return filters | {
        "assimilated": da.AssimilatedCell(filters["finite"], pool),
        "insertion": da.DirectInsertion(pool, ENSEMBLE.mean(0)),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["finite", "particles"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("walk", "perturbed", "assimilated", "insertion", "smoother", "variational")
    ],
)
def test_a_saved_filter_has_the_same_bits(name, tmp_path):
    cell = cells()[name]
    jaxcast.save_model(tmp_path, cell)
    loaded = jaxcast.load_model(tmp_path).cell
    assert jax.tree.structure(loaded) == jax.tree.structure(cell)
    ours, theirs = (jaxcast.forecast(one, VALUES, 3) for one in (cell, loaded))
    assert np.isfinite(ours.forecast).all()
    jax.tree.map(np.testing.assert_array_equal, theirs, ours)


def test_a_filter_of_a_python_function_is_not_saved(tmp_path):
    with pytest.raises(jaxcast.InputError, match=r"its model is a function, .*lambda.*, and code is not saved"):
        jaxcast.save_model(tmp_path, da.EnsembleKalmanFilter(lambda u, _: u, 1.0, KEY, num_members=4))

"""Lyapunov exponents and covariant vectors, against linear algebra and published figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.dynamics import covariant_lyapunov_vectors, kaplan_yorke_dimension, lyapunov_spectrum

MATRIX = np.asarray([[0.3, 0.2, 0.1], [0.0, -0.4, 0.5], [0.0, 0.0, -1.5]])
"""Its eigenvalues are its diagonal."""


class Linear(jaxcast.System):
    """du/dt = A u, whose exponents and vectors are the eigenvalues and eigenvectors of A."""

    components = ("x", "y", "z")
    rate: jaxcast.dynamics.Parameter = 1.0

    def vector_field(self, t, u):
        return tuple(self.rate * sum(a * v for a, v in zip(row, u, strict=True)) for row in MATRIX)


START = [1e-3, 2e-3, 3e-3]


@pytest.fixture(scope="module")
def along_lorenz():
    return covariant_lyapunov_vectors(
        jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=60, transient=15.0, key=jax.random.key(1)
    )


@pytest.mark.slow
def test_a_linear_system_has_its_eigenvalues():
    found = lyapunov_spectrum(Linear(), START, duration=20.0, transient=30.0, key=jax.random.key(0))
    np.testing.assert_allclose(found, np.diag(MATRIX), atol=1e-7)
    first = lyapunov_spectrum(Linear(rate=2.0), START, duration=20.0, transient=30.0, num=1, key=jax.random.key(0))
    np.testing.assert_allclose(first, [0.6], atol=1e-7)


@pytest.mark.slow
def test_the_vectors_of_a_linear_system_are_its_eigenvectors():
    found = covariant_lyapunov_vectors(Linear(), START, num_samples=3, transient=30.0, key=jax.random.key(0))
    values, vectors = np.linalg.eig(MATRIX)
    expected = vectors[:, np.argsort(-values)]
    for n in range(3):
        np.testing.assert_allclose(np.abs((found.vectors[n] * expected).sum(0)), 1, atol=1e-8)
    np.testing.assert_allclose(found.exponents, np.diag(MATRIX), atol=1e-7)


def test_the_flow_carries_each_covariant_vector_into_the_next(along_lorenz):
    flow = jaxcast.flow_map(jaxcast.Lorenz63())
    tangent = jax.jit(jax.jacfwd(lambda u: flow(u)))
    for n in (0, 30):
        moved = tangent(along_lorenz.states[n]) @ along_lorenz.vectors[n]
        moved = moved / jnp.linalg.norm(moved, axis=0)
        np.testing.assert_allclose(np.abs((moved * along_lorenz.vectors[n + 1]).sum(0)), 1, atol=1e-8)
    np.testing.assert_allclose(along_lorenz.times[:3], [0, 0.1, 0.2])


def test_one_covariant_vector_of_a_flow_is_its_velocity(along_lorenz):
    velocity = np.stack(jax.vmap(jaxcast.Lorenz63().vector_field, (None, 1))(0.0, along_lorenz.states.T), -1)
    velocity = velocity / np.linalg.norm(velocity, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs((velocity * along_lorenz.vectors[:, :, 1]).sum(1)), 1, atol=1e-3)


@pytest.mark.slow
def test_lorenz_has_the_published_spectrum():
    starts = jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 12, key=jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 12)
    found = jax.vmap(lambda u, key: lyapunov_spectrum(jaxcast.Lorenz63(), u, duration=150.0, transient=20.0, key=key))(
        starts, keys
    )
    mean, error = found.mean(0), found.std(0) / 12**0.5
    assert (error < 0.01).all()
    np.testing.assert_allclose(mean, [0.9056, 0.0, -14.5723], atol=0.02)
    np.testing.assert_allclose(found.sum(1), -(10 + 1 + 8 / 3), atol=1e-3)
    assert float(kaplan_yorke_dimension(mean)) == pytest.approx(2.062, abs=0.002)


@pytest.mark.slow
def test_lorenz_96_of_40_sites_has_the_published_exponent():
    system = jaxcast.Lorenz96(dim=40)
    starts = jaxcast.dynamics.random_starts(system, 8, key=jax.random.key(0))
    found = jax.vmap(
        lambda u: lyapunov_spectrum(system, u, duration=60.0, transient=20.0, num=14, key=jax.random.key(1))
    )(starts)
    assert float(found.mean(0)[0]) == pytest.approx(1.67, abs=0.06)
    assert int((found.mean(0) > 0.02).sum()) == 13  # of 40, Karimi and Paul, Chaos 20, 043105 (2010)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([-1.0, -2.0], 0.0),
        ([0.0, -1.0], 1.0),
        ([1.0, -4.0, 0.5], 2 + 1.5 / 4),
        ([0.5, -0.25, -0.25], 3.0),
        ([0.5, 0.1, -0.25], 3.0),
    ],
)
def test_the_dimension_is_that_at_which_volumes_stay(exponents, dimension):
    assert float(kaplan_yorke_dimension(exponents)) == pytest.approx(dimension)


def test_what_cannot_be_is_refused():
    with pytest.raises(jaxcast.InputError, match="from 1 to the 3 components, got 4"):
        lyapunov_spectrum(Linear(), START, duration=1.0, num=4, key=jax.random.key(0))
    with pytest.raises(jaxcast.InputError, match="num_samples must be at least 1, got 0"):
        covariant_lyapunov_vectors(Linear(), START, num_samples=0, key=jax.random.key(0))

"""Emulators of fields on a ring, with one polynomial of neighbours for all sites."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.regime.emulator import fit_emulator, neighbours
from jaxcast.regime.fields import emulated, tried

FORCINGS = np.asarray([6.0, 8.0, 10.0])


@pytest.fixture(scope="module")
def ring():
    candidates = jaxcast.flow_map(
        jaxcast.stack_systems([jaxcast.Lorenz96(dim=16, forcing=forcing) for forcing in FORCINGS]), dt=0.05, h=0.025
    )
    states = 3 + 3 * jax.random.normal(jax.random.key(0), (20, 16))
    return candidates, states, jax.vmap(lambda u: candidates(u, None))(states)


def test_neighbours_are_the_sites_around_each():
    around = neighbours(jnp.arange(5.0), 1)
    np.testing.assert_array_equal(around, [[4, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]])


def test_a_field_is_recognised_by_turning_it(ring):
    candidates, states, _ = ring
    assert tried(candidates, states)[0] == 2
    pinned = lambda u: candidates(u, None).at[:, 3].multiply(1.1)  # noqa: E731
    assert tried(pinned, states) == (None,)
    assert tried(candidates, states[:, :8]) == (None,)  # few sites have a polynomial of all


@pytest.mark.slow
def test_one_polynomial_of_neighbours_is_lorenz_96(ring):
    _, states, forecasts = ring
    emulator = fit_emulator(
        states, forecasts=forecasts, dt=0.05, coordinates=FORCINGS, degrees=[(2, 1)], num_substeps=2, num_pairs=20,
        neighbourhood=2,
    )  # fmt: skip
    assert emulator.is_exact
    assert emulator.system.theta.shape == (21, 2, 1)
    system = dataclasses.replace(emulator.system, coordinates=jnp.asarray([1.0]))
    forcing = float(emulator.offset[0] + emulator.unit[0])
    expected = jaxcast.Lorenz96(dim=16, forcing=forcing)(0.0, states[0])
    np.testing.assert_allclose(system(0.0, states[0]), expected, rtol=1e-8)


@pytest.mark.slow
def test_candidates_that_no_neighbours_explain_are_refused(ring, without_type_checks):
    _, states, _ = ring
    mixed = lambda u: jnp.stack([jnp.roll(u, 8) ** 2, jnp.roll(u, 8) ** 2 + 1])  # noqa: E731
    forecasts = jax.vmap(mixed)(states)
    with pytest.raises(jaxcast.InputError, match="no polynomial of neighbours"):
        emulated(mixed, states, forecasts=forecasts, dt=0.05, degrees=[(1, 1)], num_substeps=1)


def test_what_an_emulator_needs_is_checked_before_it_is_fitted(ring, without_type_checks):
    _, states, forecasts = ring
    for neighbourhood, message in ((8, "neighbourhood must be at most 7"), (0, "neighbourhood must be at least 1")):
        with pytest.raises(jaxcast.InputError, match=message):
            fit_emulator(states, forecasts=forecasts, dt=0.05, neighbourhood=neighbourhood)
    many = np.random.default_rng(0).normal(size=(4, 400))
    message = r"64480800 coefficients \(a field .* neighbourhood=2\) would need .* of memory"
    with pytest.raises(jaxcast.InputError, match=message):
        fit_emulator(many, forecasts=np.stack([many, many + 1], 1), dt=0.05)

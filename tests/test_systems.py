import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast


class FourWing(jaxcast.System):
    """A user's system: four components, one of them driven."""

    components = ("x", "y", "z", "w")
    a: jaxcast.Parameter = 1.5
    b: jaxcast.Parameter = 0.3

    def vector_field(self, t, u):
        x, y, z, w = u
        return self.a * (y - x), x * z - self.b * y, -z + x * y, w * jnp.sin(t) - x


class Sawtooth(jaxcast.Schedule):
    """A user's schedule with a differentiable number."""

    period: jaxcast.Parameter

    def __call__(self, t):
        return t / self.period - jnp.floor(t / self.period)


def test_the_vector_field_is_the_equation():
    x, y, z = u = (1.0, 2.0, 3.0)
    rho = 38 - 10 * np.cos(2 * np.pi * 0.4 / 1.577132)
    system = jaxcast.Lorenz63(rho=jaxcast.Cosine(38.0, -10.0, 1.577132))
    expected = (10 * (y - x), x * (rho - z) - y, x * y - 8 / 3 * z)
    np.testing.assert_allclose(system(0.4, u), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (jaxcast.Constant(3.0), lambda t: 3.0),
        (jaxcast.Cosine(1.0, 2.0, 5.0, phase=0.3), lambda t: 1 + 2 * np.cos(2 * np.pi * t / 5 + 0.3)),
        (lambda t: 2 + t**2, lambda t: 2 + t**2),
        (Sawtooth(2.0), lambda t: t / 2 % 1),
    ],
)
def test_any_parameter_takes_any_schedule(schedule, expected):
    for name in ("sigma", "rho", "beta"):
        system = jaxcast.Lorenz63(**{name: schedule})
        assert not system.is_autonomous
        for t in (0.0, 0.7, 3.1):
            np.testing.assert_allclose(getattr(system.at(t), name), expected(t), rtol=1e-14)


@pytest.mark.parametrize("system", [jaxcast.Lorenz63(rho=lambda t: 30 + t), FourWing(b=Sawtooth(2.0))])
def test_the_same_field_runs_on_one_state_and_on_a_tile(system):
    tile = np.random.default_rng(0).normal(size=(system.dim, 5000))
    on_tile = np.stack(system(0.3, tuple(jnp.asarray(tile))))
    one_by_one = jax.vmap(lambda u: jnp.stack(system(0.3, tuple(u))), in_axes=1, out_axes=1)(jnp.asarray(tile))
    np.testing.assert_allclose(on_tile, one_by_one, rtol=1e-14)


def test_every_number_is_a_leaf():
    system = jaxcast.Lorenz63(rho=jaxcast.Cosine(38.0, -10.0, 1.5))
    assert jax.tree.leaves(system) == [10.0, 38.0, -10.0, 1.5, 0.0, 8 / 3]
    assert jax.tree.leaves(jaxcast.Lorenz63(rho=lambda t: t)) == [10.0, 8 / 3]


def test_a_state_of_the_wrong_length_is_refused(without_type_checks):
    with pytest.raises(jaxcast.InputError, match=r"Lorenz63 expects a state of 3 components .* got 2"):
        jaxcast.Lorenz63()(0.0, (1.0, 2.0))
    with pytest.raises(jaxcast.InputError, match="got 4"):
        jaxcast.simulate(jaxcast.Lorenz63(), np.zeros(4), num_samples=2)
    with pytest.raises(jaxcast.InputError, match=r"shape \(2, 3\); use jax.vmap"):
        jaxcast.simulate(jaxcast.Lorenz63(), np.zeros((2, 3)), num_samples=2)

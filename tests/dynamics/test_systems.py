import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast


class FourWing(jaxcast.System):
    """A user's system: four components, one of them driven."""

    components = ("x", "y", "z", "w")
    a: jaxcast.dynamics.Parameter = 1.5
    b: jaxcast.dynamics.Parameter = 0.3

    def vector_field(self, t, u):
        x, y, z, w = u
        return self.a * (y - x), x * z - self.b * y, -z + x * y, w * jnp.sin(t) - x


class Sawtooth(jaxcast.dynamics.SmoothSchedule):
    """A user's schedule with a differentiable number."""

    period: jaxcast.dynamics.Parameter

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
        (jaxcast.dynamics.Constant(3.0), lambda t: 3.0),
        (jaxcast.Cosine(1.0, 2.0, 5.0, phase=0.3), lambda t: 1 + 2 * np.cos(2 * np.pi * t / 5 + 0.3)),
        (lambda t: 2 + t**2, lambda t: 2 + t**2),
        (Sawtooth(2.0), lambda t: t / 2 % 1),
        (
            jaxcast.SumOfCosines(1.0, [2.0, 0.5], [5.0, 0.7], [0.3, -1.0]),
            lambda t: 1 + 2 * np.cos(2 * np.pi * t / 5 + 0.3) + 0.5 * np.cos(2 * np.pi * t / 0.7 - 1),
        ),
        (jaxcast.LinearRamp(2.0, 5.0, begin=0.5, end=2.5), lambda t: np.interp(t, [0.5, 2.5], [2.0, 5.0])),
        (jaxcast.PiecewiseConstant([0.5, 1.0], [3.0, -1.0, 4.0]), lambda t: 3.0 if t < 0.5 else -1.0 if t < 1 else 4.0),
    ],
)
def test_any_parameter_takes_any_schedule(schedule, expected):
    for name in ("sigma", "rho", "beta"):
        system = jaxcast.Lorenz63(**{name: schedule})
        assert not system.is_autonomous
        for t in (0.0, 0.7, 3.1):
            np.testing.assert_allclose(getattr(system.at(t), name), expected(t), rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize(
    "system",
    [
        jaxcast.Lorenz63(rho=lambda t: 30 + t),
        FourWing(b=Sawtooth(2.0)),
        jaxcast.Rossler(c=jaxcast.LinearRamp(4.0, 6.0, 0.0, 1.0)),
        jaxcast.Lorenz96(dim=7, forcing=jaxcast.PiecewiseConstant([0.2], [8.0, 9.0])),
    ],
)
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


@pytest.mark.parametrize("dim", [4, 8, 41])
def test_lorenz96_is_the_equation_on_a_ring(dim):
    u = np.random.default_rng(0).normal(size=dim)
    expected = (np.roll(u, -1) - np.roll(u, 2)) * np.roll(u, 1) - u + 8.5
    system = jaxcast.Lorenz96(dim=dim, forcing=8.5)
    np.testing.assert_allclose(system(0.0, tuple(u)), expected, rtol=1e-13)
    assert system.components[-1] == f"u{dim}"


def test_lorenz96_does_not_grow_with_its_dimension():
    sizes = [
        len(
            jax.make_jaxpr(lambda u, dim=dim: jaxcast.flow_map(jaxcast.Lorenz96(dim=dim))(u))(
                np.zeros(dim)
            ).pretty_print()
        )
        for dim in (8, 800)
    ]
    assert sizes[1] < 1.3 * sizes[0]


def test_rossler_is_the_equation():
    x, y, z = u = (1.0, 2.0, 3.0)
    expected = (-y - z, x + 0.3 * y, 0.4 + z * (x - 5.0))
    np.testing.assert_allclose(jaxcast.Rossler(a=0.3, b=0.4, c=5.0)(0.0, u), expected, rtol=1e-14)


@pytest.mark.parametrize("num_jumps", [1, 3, 64, 65])
def test_pieces_are_looked_up_and_few_of_them_leave_a_time_loop_one_kernel(num_jumps):
    times, values = np.arange(num_jumps) * 0.5, np.random.default_rng(0).normal(size=num_jumps + 1)
    schedule = jaxcast.PiecewiseConstant(times, values)
    at = np.arange(-1.0, 0.5 * num_jumps + 1.0, 0.25)
    expected = values[np.searchsorted(times, at, side="right")]
    np.testing.assert_array_equal(jax.vmap(schedule)(at), expected)
    assert ("gather" in str(jax.make_jaxpr(schedule)(0.3))) == (num_jumps > 64)


def test_impossible_schedules_and_sizes_are_refused():
    with pytest.raises(jaxcast.InputError, match="one value more than times"):
        jaxcast.PiecewiseConstant([1.0], [1.0])(0.0)
    with pytest.raises(jaxcast.InputError, match="an amplitude, a period and a phase for each"):
        jaxcast.SumOfCosines(0.0, [1.0, 2.0], [1.0], [0.0])(0.0)
    with pytest.raises(jaxcast.InputError, match="at least 4 sites, got 3"):
        jaxcast.Lorenz96(dim=3)


def test_random_starts_differ_and_lie_about_the_centre():
    starts = jaxcast.dynamics.random_starts(jaxcast.Lorenz63(), 4000, key=jax.random.key(0))
    np.testing.assert_allclose(starts.mean(0), [0, 0, 25], atol=0.1)
    np.testing.assert_allclose(starts.std(0), 1, atol=0.1)


def test_the_numbers_of_the_systems_are_the_published_ones():
    np.testing.assert_allclose(jaxcast.Lorenz63()(0.0, (1.0, 2.0, 3.0)), (10, 23, 2 - 8), rtol=1e-14)
    np.testing.assert_allclose(jaxcast.Rossler()(0.0, (1.0, 2.0, 3.0)), (-5, 1.4, 0.2 + 3 * (1 - 5.7)), rtol=1e-14)
    assert float(jaxcast.Lorenz96().forcing) == 8
    phase = jaxcast.Cosine(1.0, 2.0, 5.0)
    assert float(phase(0.0)) == 3

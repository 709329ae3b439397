"""Kuramoto-Sivashinsky by exponential steps, and the two-scale Lorenz '96 equations."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.dynamics.exponential import coefficients_of, functions_of_matrix, functions_of_numbers

X = np.arange(32) * 22 / 32
START = np.cos(2 * np.pi * X / 22) * (1 + np.sin(2 * np.pi * X / 22))


def kuramoto_sivashinsky(u: np.ndarray, viscosity: float) -> np.ndarray:
    """The equation by NumPy's complex transform."""
    k = 2j * np.pi * np.fft.fftfreq(32, 22 / 32)
    odd = np.where(np.arange(32) == 16, 0, k)
    linear = np.fft.ifft(-(k**2 + viscosity * k**4) * np.fft.fft(u)).real
    return linear - 0.5 * np.fft.ifft(odd * np.fft.fft(u**2)).real


def two_scale(u: np.ndarray, forcing: float, h: float, c: float, b: float, num_slow: int) -> np.ndarray:
    """The two-scale equations by rolls."""
    x, y = u[:num_slow], u[num_slow:]
    sums = y.reshape(num_slow, -1).sum(1)
    dx = -np.roll(x, 1) * (np.roll(x, 2) - np.roll(x, -1)) - x + forcing - h * c / b * sums
    dy = -c * b * np.roll(y, -1) * (np.roll(y, -2) - np.roll(y, 1)) - c * y
    return np.concatenate([dx, dy + h * c / b * np.repeat(x, len(y) // num_slow)])


@pytest.mark.slow
def test_the_fields_are_their_equations():
    system = jaxcast.KuramotoSivashinsky(viscosity=0.7)
    np.testing.assert_allclose(system(0.0, jnp.asarray(START)), kuramoto_sivashinsky(START, 0.7), atol=1e-10)
    u = np.random.default_rng(0).normal(size=4 + 12)
    system = jaxcast.dynamics.TwoScaleLorenz96(4, 3, 9.0, 0.5, 4.0, 2.0)
    np.testing.assert_allclose(system(0.0, jnp.asarray(u)), two_scale(u, 9.0, 0.5, 4.0, 2.0, 4), atol=1e-10)


@pytest.mark.slow
def test_a_stack_of_fields_is_each_of_them_and_bounded():
    systems = [jaxcast.KuramotoSivashinsky(viscosity=viscosity) for viscosity in (0.8, 0.9, 1.1, 1.2)]
    together = jaxcast.simulate(jaxcast.stack_systems(systems), START, num_samples=100, dt=1.0, h=0.25).states
    assert together.shape == (100, 4, 32)
    for i, system in enumerate(systems[:1]):
        alone = jaxcast.simulate(system, START, num_samples=100, dt=1.0, h=0.25).states
        np.testing.assert_allclose(together[:10, i], alone[:10], atol=1e-8)
    assert float(abs(together).max()) < 5
    np.testing.assert_allclose(together.mean(-1), START.mean(), atol=1e-10)
    step = jaxcast.flow_map(jaxcast.stack_systems(systems), dt=1.0, h=0.25)
    np.testing.assert_allclose(step(together[5, 0])[0], together[6, 0], atol=1e-8)


@pytest.mark.parametrize("num_points", [6, 9])
def test_bad_grids_are_refused(num_points):
    for sizes in ({"length": -22.0}, {"viscosity": 0.0}, {"length": float("nan")}):
        with pytest.raises(jaxcast.InputError, match=f"{next(iter(sizes))} must be positive"):
            jaxcast.KuramotoSivashinsky(**sizes)
    with pytest.raises(jaxcast.InputError, match="even number of at least 8"):
        jaxcast.KuramotoSivashinsky(num_points=num_points)
    with pytest.raises(jaxcast.InputError, match="at least 4 slow variables"):
        jaxcast.dynamics.TwoScaleLorenz96(num_slow=3)


SLOW = pytest.mark.slow
CHANGING = jaxcast.Cosine(mean=1.0, amplitude=0.1, period=7.0)


class Stiff(jaxcast.dynamics.SemilinearSystem):
    components = ("slow", "fast")
    rate: jaxcast.dynamics.Parameter = 200.0

    def linear_part(self):
        return jnp.stack([jnp.stack([-1.0, 0.5]), jnp.stack([self.rate, -self.rate])])

    def nonlinear_part(self, t, u):
        return jnp.stack([jnp.cos(t) - u[1] ** 2, 0 * u[0]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "start"),
    [
        pytest.param(jaxcast.KuramotoSivashinsky(), START, id="field"),
        pytest.param(jaxcast.KuramotoSivashinsky(viscosity=CHANGING), START, id="changing field", marks=SLOW),
        pytest.param(Stiff(rate=20.0), np.asarray([1.0, 0.5]), id="matrix", marks=SLOW),
        pytest.param(Stiff(rate=CHANGING), np.asarray([1.0, 0.5]), id="changing matrix", marks=SLOW),
    ],
)
@pytest.mark.parametrize(("solver", "order"), [("etdrk4", 4), ("imex", 3)])
def test_methods_for_a_linear_part_have_their_orders(system, start, solver, order):
    exact = jaxcast.dynamics.reference_solution(system, start, [0.0, 2.0], rtol=1e-11, atol=1e-12)[-1]
    errors = [
        float(abs(jaxcast.simulate(system, start, num_samples=2, dt=2.0, h=h, solver=solver).states[-1] - exact).max())
        for h in (1 / 64, 1 / 256)
    ]
    assert errors[0] < 1e-4
    assert 4 ** (order - 0.7) < errors[0] / errors[1] < 4 ** (order + 0.7)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["etdrk4", "imex"])
def test_a_stack_of_stiff_systems_is_each_of_them(solver):
    systems = [Stiff(rate=rate) for rate in (10.0, 1e4)]
    options = {"num_samples": 3, "dt": 0.5, "h": 0.1, "solver": solver}
    together = jaxcast.simulate(jaxcast.stack_systems(systems), [1.0, 0.0], **options).states
    for i, system in enumerate(systems):
        alone = jaxcast.simulate(system, [1.0, 0.0], **options).states
        np.testing.assert_allclose(together[:, i], alone, rtol=1e-8)
    many = jaxcast.simulate_ensemble(systems[1], jnp.asarray([[1.0, 0.0]] * 3), **options).states
    np.testing.assert_allclose(many[2], alone, rtol=1e-8)


def test_the_coefficients_are_those_of_kassam_and_trefethen():
    h, rates = 0.3, np.concatenate([-np.logspace(-6, 3, 40), [0.0, 1e-9, 0.2, 3.3, -3.4]])
    z = h * rates[:, None] + np.exp(1j * np.pi * (np.arange(32) + 0.5) / 32)
    expected = [
        (np.exp(z / 2) - 1) / z,
        (-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3,
        2 * (2 + z + np.exp(z) * (z - 2)) / z**3,
        (-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3,
    ]
    found = coefficients_of(jaxcast.KuramotoSivashinsky(), jnp.asarray(rates), jnp.asarray(h))[3:]
    for numbers, formula in zip(found, expected, strict=True):
        np.testing.assert_allclose(numbers, h * formula.mean(1).real, rtol=1e-10, atol=1e-15)


@pytest.mark.slow
def test_functions_of_a_matrix_are_those_of_its_eigenvalues():
    turning = functions_of_numbers(jnp.asarray([2.0j, 0.5j, -3.0 + 1j]))
    matrices = [functions_of_matrix(jnp.asarray([[z.real, -z.imag], [z.imag, z.real]])) for z in (2j, 0.5j, -3 + 1j)]
    for i, function in enumerate(turning):
        np.testing.assert_allclose([m[i][0, 0] + 1j * m[i][1, 0] for m in matrices], function, rtol=1e-12)

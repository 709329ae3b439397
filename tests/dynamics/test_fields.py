"""Kuramoto-Sivashinsky by exponential steps, and the two-scale Lorenz '96 equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast

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


def test_the_fields_are_their_equations():
    system = jaxcast.KuramotoSivashinsky(viscosity=0.7)
    np.testing.assert_allclose(system(0.0, jnp.asarray(START)), kuramoto_sivashinsky(START, 0.7), atol=1e-10)
    u = np.random.default_rng(0).normal(size=4 + 12)
    system = jaxcast.dynamics.TwoScaleLorenz96(4, 3, 9.0, 0.5, 4.0, 2.0)
    np.testing.assert_allclose(system(0.0, jnp.asarray(u)), two_scale(u, 9.0, 0.5, 4.0, 2.0, 4), atol=1e-10)


@pytest.mark.parametrize("viscosity", [1.0, jaxcast.Cosine(mean=1.0, amplitude=0.1, period=7.0)])
def test_exponential_steps_are_of_order_four(viscosity):
    system = jaxcast.KuramotoSivashinsky(viscosity=viscosity)
    exact = jaxcast.dynamics.reference_solution(system, START, [0.0, 3.0], rtol=1e-11, atol=1e-11)[-1]
    errors = [
        float(abs(jaxcast.simulate(system, START, num_samples=2, dt=3.0, h=h).states[-1] - exact).max())
        for h in (1 / 16, 1 / 64)
    ]
    assert errors[0] < 1e-5
    assert 4**3.3 < errors[0] / errors[1] < 4**4.5


def test_a_stack_of_fields_is_each_of_them_and_bounded():
    systems = [jaxcast.KuramotoSivashinsky(viscosity=viscosity) for viscosity in (0.8, 0.9, 1.1, 1.2)]
    together = jaxcast.simulate(jaxcast.stack_systems(systems), START, num_samples=100, dt=1.0, h=0.25).states
    assert together.shape == (100, 4, 32)
    for i, system in enumerate(systems[:2]):
        alone = jaxcast.simulate(system, START, num_samples=100, dt=1.0, h=0.25).states
        np.testing.assert_allclose(together[:10, i], alone[:10], atol=1e-8)
    assert float(abs(together).max()) < 5
    np.testing.assert_allclose(together.mean(-1), START.mean(), atol=1e-10)
    windows = jax.vmap(jaxcast.flow_map(jaxcast.stack_systems(systems), dt=1.0, h=0.25))(together[:5, 0])
    np.testing.assert_allclose(windows[:, 0], together[1:6, 0], atol=1e-8)


@pytest.mark.parametrize("num_points", [6, 9])
def test_bad_grids_are_refused(num_points):
    with pytest.raises(jaxcast.InputError, match="even number of at least 8"):
        jaxcast.KuramotoSivashinsky(num_points=num_points)
    with pytest.raises(jaxcast.InputError, match="at least 4 slow variables"):
        jaxcast.dynamics.TwoScaleLorenz96(num_slow=3)

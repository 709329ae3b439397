"""Regimes that are given by values or move like another system."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import jaxcast

START = [1.0, 1.0, 20.0, 2.0, 2.0, 25.0]
HIDDEN = jaxcast.dynamics.DrivenSystem(
    jaxcast.Lorenz63(), jaxcast.Lorenz63(), parameter="rho", offset=38.0, gain=0.45, time_scale=0.15
)


def test_a_driven_system_is_the_equations():
    u1, u2, u3, v1, v2, v3 = START
    rho = 38.0 + 0.45 * v1
    slow = [10 * (v2 - v1), v1 * (28 - v3) - v2, v1 * v2 - 8 / 3 * v3]
    fast = [10 * (u2 - u1), u1 * (rho - u3) - u2, u1 * u2 - 8 / 3 * u3]
    np.testing.assert_allclose(HIDDEN(0.0, tuple(START)), fast + [0.15 * x for x in slow], rtol=1e-12)


@pytest.mark.slow
def test_schedules_within_a_driven_system_are_followed():
    rossler = jaxcast.Rossler(c=jaxcast.Cosine(mean=5.0, amplitude=1.0, period=4.0))
    system = jaxcast.dynamics.DrivenSystem(jaxcast.Lorenz96(dim=4), rossler, parameter="forcing", gain=0.3)
    assert list(system.schedules) == ["driver.c"]
    assert not system.is_autonomous
    start = jnp.arange(1.0, 8.0)
    exact = jaxcast.dynamics.reference_solution(system, start, [0.0, 1.0])[-1]
    found = jaxcast.simulate(system, start, num_samples=2, dt=1.0, h=0.005).states[-1]
    np.testing.assert_allclose(found, exact, rtol=1e-6)


@pytest.mark.slow
def test_schedules_within_keep_their_digits_in_float32():
    rossler = jaxcast.Rossler(c=jaxcast.Cosine(mean=5.0, amplitude=1.0, period=4.0))
    system = jaxcast.dynamics.DrivenSystem(jaxcast.Lorenz63(), rossler, parameter="rho", offset=28.0)
    options = {"num_samples": 2, "dt": 0.5, "t0": 400_000.0}
    narrow = jaxcast.simulate(system, jnp.asarray(START, jnp.float32), **options).states[-1]
    np.testing.assert_allclose(narrow, jaxcast.simulate(system, START, **options).states[-1], rtol=1e-4)


@pytest.mark.slow
def test_a_sampled_schedule_is_the_spline_and_moves_like_the_driver():
    dt, scale = 0.02, 0.15
    whole = jaxcast.simulate(HIDDEN, START, num_samples=11, dt=0.1).states
    slow = jaxcast.simulate(jaxcast.Lorenz63(), START[3:], num_samples=40, dt=dt)
    rho = jaxcast.dynamics.sampled_schedule(slow.times / scale, 38.0 + 0.45 * slow.states[:, 0])
    spline = CubicSpline(slow.times / scale, 38.0 + 0.45 * slow.states[:, 0])
    for t in (0.0, 0.07, 1.234, 5.19):
        np.testing.assert_allclose(rho(t), spline(t), rtol=1e-10)
    assert float(rho(-3.0)) == float(rho(0.0))
    assert float(rho(1e3)) == pytest.approx(float(spline(39 * dt / scale)))
    states = jaxcast.simulate(jaxcast.Lorenz63(rho=rho), START[:3], num_samples=11, dt=0.1).states
    np.testing.assert_allclose(states, whole[:, :3], atol=1e-3)


@pytest.mark.slow
def test_a_sampled_schedule_keeps_its_digits_far_from_zero():
    times = 100_000.0 + 0.01 * np.arange(400)
    rho = jaxcast.dynamics.sampled_schedule(times, 38 + np.sin(7 * times))
    far = jaxcast.Lorenz63(rho=rho)
    near = jaxcast.Lorenz63(rho=jaxcast.dynamics.sampled_schedule(times - 100_000.0, 38 + np.sin(7 * times)))
    start = jnp.asarray(START[:3], jnp.float32)
    options = {"num_samples": 6, "dt": 0.1}
    found = jaxcast.simulate(far, start, t0=100_000.0, **options).states
    np.testing.assert_allclose(found, jaxcast.simulate(near, start, **options).states, rtol=1e-4)


@pytest.mark.slow
def test_sampled_schedules_are_stacked():
    times = 0.1 * np.arange(30)
    systems = [
        jaxcast.Lorenz63(rho=jaxcast.dynamics.sampled_schedule(times, mean + np.sin(times))) for mean in (28.0, 38.0)
    ]
    found = jax.vmap(jaxcast.flow_map(jaxcast.stack_systems(systems)))(jnp.asarray([START[:3]]), jnp.asarray([0.5]))
    for i, system in enumerate(systems):
        np.testing.assert_allclose(found[0, i], jaxcast.flow_map(system)(START[:3], 0.5), rtol=1e-10)


def test_driven_systems_are_written_and_read():
    text = jaxcast.dynamics.describe_system(HIDDEN)
    assert text.startswith("driven(system=lorenz63(")
    assert "parameter=rho" in text
    assert jaxcast.dynamics.parse_system(text) == HIDDEN
    assert jaxcast.dynamics.parse_system("driven(system=lorenz63, driver=rossler(), parameter=beta)").dim == 6
    for bad, message in (
        ("driven(system=lorenz63, driver=rossler, parameter=c)", "one of sigma, rho, beta of Lorenz63, got 'c'"),
        ("driven(system=lorenz63, driver=rossler, parameter=rho, component=3)", "from 0 to 2, got 3"),
        ("driven(system=3, driver=rossler, parameter=rho)", "expected name"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            jaxcast.dynamics.parse_system(bad)
    with pytest.raises(jaxcast.InputError, match="evenly spaced"):
        jaxcast.dynamics.sampled_schedule([0.0, 1.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    for times, values in (([0.0, 1.0, np.nan, 3.0], np.ones(4)), (np.arange(4.0), [1.0, np.nan, 1.0, 1.0])):
        with pytest.raises(jaxcast.InputError, match="must be finite"):
            jaxcast.dynamics.sampled_schedule(times, values)


def test_nested_drivers_have_names_of_their_own():
    twice = jaxcast.dynamics.DrivenSystem(HIDDEN, jaxcast.Lorenz63(), parameter="gain")
    assert len(set(twice.components)) == twice.dim == 9
    assert twice.components[6:] == ("driver2_u1", "driver2_u2", "driver2_u3")

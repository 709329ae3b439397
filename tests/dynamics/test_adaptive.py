"""Adaptive solvers as a choice of `simulate`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxcast
from jaxcast.cli.simulate import Simulate
from jaxcast.dynamics.adaptive import adaptive_states

START = np.asarray([1.0, 1.0, 20.0])
JUMPING = jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant(times=[1.0333], values=[28.0, 38.0]))


class VanDerPol(jaxcast.System):
    components = ("x", "v")
    damping: jaxcast.dynamics.Parameter = 1000.0

    def vector_field(self, t, u):
        return u[1], self.damping * (1 - u[0] ** 2) * u[1] - u[0]


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["dopri5", pytest.param("tsit5", marks=pytest.mark.slow)])
def test_an_adaptive_solver_is_the_fine_solution_also_across_a_jump(solver):
    times, states = jaxcast.simulate(
        JUMPING, START, num_samples=4, dt=0.5, t0=0.3, transient=0.2, solver=solver, rtol=1e-9, atol=1e-9
    )
    exact = jaxcast.dynamics.reference_solution(JUMPING, START, [0.1, 0.3, 0.8, 1.3, 1.8])
    np.testing.assert_allclose(times, [0.3, 0.8, 1.3, 1.8])
    np.testing.assert_allclose(states, exact[1:], rtol=1e-5)


@pytest.mark.slow
def test_the_implicit_one_solves_a_stiff_system():
    states = jaxcast.simulate(
        VanDerPol(), [2.0, 0.0], num_samples=3, dt=100.0, t0=5.0, solver="kvaerno5", rtol=1e-6, atol=1e-8
    ).states
    field = lambda t, u: [u[1], 1000.0 * (1 - u[0] ** 2) * u[1] - u[0]]  # noqa: E731
    exact = solve_ivp(field, (0, 200), [2.0, 0.0], method="Radau", rtol=1e-9, atol=1e-11, t_eval=[0, 100, 200]).y.T
    np.testing.assert_allclose(states[:, 0], exact[:, 0], rtol=1e-4)


@pytest.mark.slow
def test_many_at_once_in_float32_and_their_gradients():
    def last(rho, start):
        return jaxcast.simulate(jaxcast.Lorenz63(rho=rho), start, num_samples=2, dt=0.2, solver="dopri5").states[-1]

    starts = jnp.asarray([START, START + 1], jnp.float32)
    found = jax.vmap(lambda start: last(28.0, start))(starts)
    fixed = jaxcast.simulate_ensemble(jaxcast.Lorenz63(), starts, num_samples=2, dt=0.2, h=0.002).states[:, -1]
    np.testing.assert_allclose(found, fixed, rtol=1e-4)
    slope = (last(28.01, START) - last(27.99, START)) / 0.02
    np.testing.assert_allclose(jax.jacrev(last)(28.0, START), slope, rtol=1e-4)


def test_bad_choices_are_refused():
    with pytest.raises(jaxcast.InputError, match=r"rtol is for adaptive solvers, tsit5.*, got no solver"):
        jaxcast.simulate(JUMPING, START, num_samples=2, rtol=1e-3)
    with pytest.raises(jaxcast.InputError, match="must be one of rk4, tsit5, dopri5, dopri8, kvaerno5, got 'imex'"):
        jaxcast.simulate(JUMPING, START, num_samples=2, solver="imex")
    with pytest.raises(jaxcast.InputError, match="atol must be a finite number and above 0, got 0"):
        jaxcast.simulate(JUMPING, START, num_samples=2, solver="tsit5", atol=0)
    with pytest.raises(jaxcast.InputError, match="got a stack"):
        jaxcast.simulate(jaxcast.stack_systems([JUMPING] * 2), START, num_samples=2, solver="tsit5")
    with pytest.raises(jaxcast.InputError, match="must be one of rk4, got 'tsit5'"):
        jaxcast.final_states(jaxcast.Lorenz63(), START[None], duration=0.1, solver="tsit5")


class Explosion(jaxcast.System):
    components = ("x",)

    def vector_field(self, t, u):
        return (u[0] ** 2,)


@pytest.mark.slow
def test_divergence_is_nan_from_there_on():
    """The solution 1 / (1 - t) has a pole at 1."""
    ts = jnp.asarray([0.0, 0.5, 0.9, 1.2, 1.5])
    states = adaptive_states(Explosion(), jnp.asarray([1.0]), ts, "dopri5", rtol=1e-6, atol=1e-6, max_steps=2000)
    np.testing.assert_allclose(states[:3, 0], [1, 2, 10], rtol=1e-4)
    assert np.isnan(states[3:]).all()
    both = jax.vmap(
        lambda u: adaptive_states(Explosion(), u, ts, "dopri5", rtol=1e-6, atol=1e-6, max_steps=2000),
    )(jnp.asarray([[1.0], [0.5]]))
    np.testing.assert_array_equal(np.isnan(both[..., 0]), [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])


@pytest.mark.slow
def test_the_command_says_that_an_adaptive_solver_gave_up(tmp_path, capsys):
    file = tmp_path / "a.npz"
    command = Simulate(out=file, num_samples=3, dt=0.123, transient=0.0, solver="tsit5", start=(1e150, 1.0, 1.0))
    with pytest.raises(jaxcast.InputError, match="lorenz63 diverges or needs too many steps of tsit5; choose another"):
        command.run()  # dt is no multiple of h, which is ignored
    assert "as many steps as tsit5 needs" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.slow
def test_the_command_writes_which_solver_it_used(tmp_path):
    file = tmp_path / "a.npz"
    Simulate(out=file, num_samples=3, transient=0.5, solver="dopri5", rtol=1e-8, start=(1.0, 1.0, 20.0)).run()
    stored = jaxcast.load_trajectory(file)
    assert stored.attributes["solver"] == "Dopri5 of diffrax, adaptive, rtol 1e-08, atol default"
    exact = jaxcast.simulate(jaxcast.Lorenz63(), START, num_samples=3, transient=0.5, h=0.002).states
    np.testing.assert_allclose(stored.trajectory.states, exact, rtol=1e-5)
    with pytest.raises(jaxcast.InputError, match="rtol is for adaptive"):
        Simulate(out=Path(tmp_path / "b.npz"), rtol=1e-3).run()

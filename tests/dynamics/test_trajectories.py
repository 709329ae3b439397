import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxcast

SCHEDULED = jaxcast.Lorenz63(
    sigma=lambda t: 10 + jnp.sin(3 * t),
    rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132),
    beta=jaxcast.Cosine(mean=8 / 3, amplitude=0.2, period=0.9),
)


def lorenz_field(t, u, rho):
    x, y, z = u
    return np.array([10.0 * (y - x), x * (rho(t) - z) - y, x * y - 8 / 3 * z])


def numpy_rk4(u, t0, num_steps, h, rho):
    """Written apart from the library: the same method on (dim, n) arrays of float64."""
    for n in range(num_steps):
        t = t0 + n * h
        k1 = lorenz_field(t, u, rho)
        k2 = lorenz_field(t + h / 2, u + h / 2 * k1, rho)
        k3 = lorenz_field(t + h / 2, u + h / 2 * k2, rho)
        k4 = lorenz_field(t + h, u + h * k3, rho)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return u


LORENZ_STARTS = [[-5.0, -7.0, 22.0], [1.0, 2.0, 20.0]]
LORENZ = [
    jaxcast.Lorenz63(),
    jaxcast.Lorenz63(rho=48.0),
    SCHEDULED,
    jaxcast.Lorenz63(rho=jaxcast.SumOfCosines(38.0, [6.0, 4.0], [1.6, 0.37], [0.0, 1.0])),
    jaxcast.Lorenz63(rho=jaxcast.LinearRamp(28.0, 48.0, begin=0.05, end=0.15)),
    jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant([0.05, 0.15], [28.0, 48.0, 33.0])),
]
FORCED_RING = jaxcast.Lorenz96(dim=6, forcing=jaxcast.Cosine(8.0, 2.0, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "u0"),
    [
        (LORENZ[-1], LORENZ_STARTS[0]),
        *(pytest.param(system, LORENZ_STARTS[0], marks=pytest.mark.slow) for system in LORENZ[:-1]),
        *(pytest.param(system, u0, marks=pytest.mark.slow) for system in LORENZ[:3] for u0 in LORENZ_STARTS[1:]),
        (FORCED_RING, [1.0, 3.0, -2.0, 5.0, 0.0, 4.0]),
        pytest.param(
            jaxcast.Rossler(a=0.3, b=1.0, c=jaxcast.Cosine(3.0, 2.0, 0.4)), [1.0, 4.0, 6.0], marks=pytest.mark.slow
        ),
    ],
)
def test_rk4_has_order_four(system, u0):
    exact = jaxcast.dynamics.reference_solution(system, u0, [0.0, 0.2], rtol=1e-13, atol=1e-13)[-1]
    steps = np.array([40, 80, 160, 320])
    errors = [np.linalg.norm(jaxcast.flow_map(system, dt=0.2, h=0.2 / n)(u0, 0.0) - exact) for n in steps]
    slope = np.polyfit(np.log(0.2 / steps), np.log(errors), 1)[0]
    assert abs(slope - 4) <= 0.1, (slope, errors)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "rho"),
    [
        (jaxcast.Lorenz63(), lambda t: 28.0),
        (
            jaxcast.Lorenz63(rho=jaxcast.Cosine(38.0, -10.0, 1.577132)),
            lambda t: 38 - 10 * np.cos(2 * np.pi * t / 1.577132),
        ),
    ],
)
def test_rk4_agrees_with_an_independent_numpy_one(system, rho):
    starts = jaxcast.simulate(system, [1.0, 2.0, 20.0], num_samples=1000, transient=20.0).states
    # Sums of other orders are rounded otherwise, and chaos makes more of it.
    for num_steps, share, most in ((10, 1.0, 1e-12), (100, 0.99, 3e-12)):
        flow = jaxcast.flow_map(system, dt=num_steps * 0.01, h=0.01)
        ours = jax.vmap(flow, in_axes=(0, None))(starts, 0.3)
        theirs = numpy_rk4(np.asarray(starts).T, 0.3, num_steps, 0.01, rho).T
        differences = np.abs(ours - theirs).max(axis=1)
        assert np.mean(differences <= most) >= share, np.quantile(differences, [0.5, 0.99, 1.0])


@pytest.mark.slow
def test_a_fine_step_agrees_with_diffrax_and_scipy(truth):
    u0, times = [1.0, 2.0, 20.0], np.linspace(0.0, 2.0, 21)
    ours = jaxcast.simulate(truth, u0, num_samples=21, dt=0.1, h=0.0005).states
    by_diffrax = jaxcast.dynamics.reference_solution(truth, u0, times)
    rho = lambda t: 38 - 10 * np.cos(2 * np.pi * t / 1.577132)  # noqa: E731
    by_scipy = solve_ivp(
        lorenz_field, (0, 2), u0, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12, args=(rho,)
    ).y.T
    np.testing.assert_allclose(ours, by_diffrax, atol=1e-7)
    np.testing.assert_allclose(by_diffrax, by_scipy, atol=1e-8)


def test_a_trajectory_is_the_flow_map_over_and_over(truth):
    trajectory = jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=8, t0=0.7)
    flow = jaxcast.flow_map(truth, dt=0.1, h=0.01)
    u = trajectory.states[0]
    for n in range(7):
        u = flow(u, trajectory.times[n])
        np.testing.assert_allclose(u, trajectory.states[n + 1], rtol=1e-12)
    np.testing.assert_allclose(trajectory.times, 0.7 + 0.1 * np.arange(8), rtol=1e-15)


@pytest.mark.slow
def test_the_transient_ends_at_t0(truth):
    long = jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=40, t0=-2.0)
    late = jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=20, t0=0.0, transient=2.0)
    np.testing.assert_allclose(late.states, long.states[20:], rtol=1e-9)
    assert late.times[0] == 0


@pytest.mark.slow
def test_gradients_by_state_and_by_every_parameter_agree_with_differences():
    def end(system, u0):
        return jaxcast.simulate(system, u0, num_samples=4).states[-1].sum()

    system = jaxcast.Lorenz63(rho=jaxcast.Cosine(38.0, -10.0, 1.577132, 0.2))
    u0 = jnp.asarray([1.0, 2.0, 20.0])
    flat, unravel = jax.flatten_util.ravel_pytree((jax.tree.map(jnp.asarray, system), u0))
    gradient = jax.grad(lambda x: end(*unravel(x)))(flat)
    eps = 1e-6
    differences = [
        (end(*unravel(flat + eps * e)) - end(*unravel(flat - eps * e))) / (2 * eps) for e in np.eye(len(flat))
    ]
    assert len(flat) == 9
    np.testing.assert_allclose(gradient, differences, rtol=1e-6)


@pytest.mark.slow
def test_many_trajectories_by_vmap_and_a_stack_are_the_single_ones():
    starts = np.random.default_rng(0).normal(size=(3, 3)) + np.array([0, 0, 25])
    rhos = (28.0, 35.0, 48.0)
    stacked = jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in rhos])
    together = jax.vmap(lambda u0: jaxcast.simulate(stacked, u0, num_samples=5).states)(jnp.asarray(starts))
    assert together.shape == (3, 5, 3, 3)
    for i, u0 in enumerate(starts):
        for m, rho in enumerate(rhos):
            alone = jaxcast.simulate(jaxcast.Lorenz63(rho=rho), u0, num_samples=5).states
            np.testing.assert_allclose(together[i, :, m], alone, rtol=1e-12)


@pytest.mark.slow
def test_float32_stays_float32(truth):
    trajectory = jaxcast.simulate(truth, np.array([1, 2, 20], np.float32), num_samples=5)
    assert trajectory.states.dtype == jnp.float32
    assert trajectory.times.dtype == np.float64  # float32 could not tell samples far from 0 apart
    double = jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=5)
    np.testing.assert_allclose(trajectory.states, double.states, rtol=1e-4)


def test_divergence_is_data():
    states = jaxcast.simulate(jaxcast.Lorenz63(rho=1e9), [1.0, 2.0, 20.0], num_samples=10).states
    assert np.isfinite(states[0]).all()
    assert np.isnan(states[-1]).all()


def test_other_numbers_compile_nothing(count_compilations):
    def run(rho, dt, h, t0):
        system = jaxcast.Lorenz63(rho=jaxcast.Cosine(rho, -10.0, 1.5))
        u0 = np.array([1.0, rho, 20.0])
        return jaxcast.simulate(system, u0, num_samples=9, dt=dt, h=h, t0=t0).states.block_until_ready()

    run(38.0, 0.1, 0.01, 0.0)
    assert count_compilations() > 0
    run(35.0, 0.2, 0.02, 1.0)
    assert count_compilations() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(num_samples=5, dt=0.1, h=0.03), r"dt must be a whole multiple of h, got dt=0.1, h=0.03; h=0.0333333"),
        (dict(num_samples=5, dt=-0.1), "dt and h must be positive"),
        (dict(num_samples=5, h=float("nan")), "dt and h must be positive"),
        (dict(num_samples=0), "num_samples must be a whole number of at least 1, got 0"),
        (dict(num_samples=5, transient=0.015), "transient must be a whole multiple of h"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 2.0, 20.0], **settings)
    assert "\n" not in str(error.value)


def test_a_scheduled_flow_map_wants_the_time(truth):
    with pytest.raises(jaxcast.InputError, match="give the time t"):
        jaxcast.flow_map(truth)([1.0, 2.0, 20.0])


def test_stacking_different_kinds_is_refused(truth):
    with pytest.raises(jaxcast.InputError, match="at least one system, got none"):
        jaxcast.stack_systems([])
    with pytest.raises(jaxcast.InputError, match="same kinds of parameters, got 2 kinds"):
        jaxcast.stack_systems([truth, jaxcast.Lorenz63()])


class DriverFirst(jaxcast.System):
    """Its first component does not feel the parameter."""

    components = ("x", "y")
    a: jaxcast.dynamics.Parameter

    def vector_field(self, t, u):
        x, y = u
        return -x, self.a * (x - y)


@pytest.mark.slow
def test_a_stack_may_differ_in_later_components_only():
    rates, u0 = (1.0, 2.0), [1.0, 0.0]
    together = jaxcast.simulate(jaxcast.stack_systems([DriverFirst(a=a) for a in rates]), u0, num_samples=4)
    for m, a in enumerate(rates):
        alone = jaxcast.simulate(DriverFirst(a=a), u0, num_samples=4)
        np.testing.assert_allclose(together.states[:, m], alone.states, rtol=1e-12)
    times = np.asarray(together.times)
    np.testing.assert_allclose(together.states[:, 0, 1], times * np.exp(-times), atol=1e-9)  # the closed form at a = 1


class Jump(jaxcast.dynamics.JumpingSchedule):
    """A regime that switches between two steps, held over each."""

    at_time: jaxcast.dynamics.Parameter

    @property
    def jumps(self):
        return (self.at_time,)

    def __call__(self, t):
        return jnp.where(t < self.at_time, 28.0, 48.0)


@pytest.mark.slow
def test_a_jump_between_steps_costs_no_order_where_it_is_held():
    u0, t0, jump = [-5.0, -7.0, 22.0], 0.7, 0.8
    first = jaxcast.dynamics.reference_solution(jaxcast.Lorenz63(rho=28.0), u0, [0.0, 0.1], rtol=1e-13, atol=1e-13)[-1]
    exact = jaxcast.dynamics.reference_solution(jaxcast.Lorenz63(rho=48.0), first, [0.0, 0.1], rtol=1e-13, atol=1e-13)[
        -1
    ]
    steps = np.array([40, 80, 160, 320])

    def slope(rho):
        system = jaxcast.Lorenz63(rho=rho)
        errors = [np.linalg.norm(jaxcast.flow_map(system, dt=0.2, h=0.2 / n)(u0, t0) - exact) for n in steps]
        return np.polyfit(np.log(0.2 / steps), np.log(errors), 1)[0]

    assert abs(slope(Jump(jump)) - 4) <= 0.1
    assert slope(lambda t: jnp.where(t < jump, 28.0, 48.0)) < 1.5  # what holding is for


@pytest.mark.slow
def test_the_reference_compiles_once_for_all_numbers(count_compilations):
    def run(rho, end):
        return jaxcast.dynamics.reference_solution(
            jaxcast.Lorenz63(rho=rho), [1.0, rho, 20.0], [0.0, end]
        ).block_until_ready()

    run(28.0, 0.1)
    count_compilations()
    run(30.0, 0.2)
    assert count_compilations() == 0


def test_what_is_no_system_is_refused():
    class Short(jaxcast.System):
        components = ("x", "y")

        def vector_field(self, t, u):
            return (u[0],)

    with pytest.raises(jaxcast.InputError, match="vector field of Short returns 1 of 2 components"):
        jaxcast.simulate(Short(), [1.0, 2.0], num_samples=3)
    with pytest.raises(jaxcast.InputError, match="got a stack"):
        jaxcast.dynamics.reference_solution(jaxcast.stack_systems([jaxcast.Lorenz63()]), [1.0, 2.0, 3.0], [0.0, 0.1])


@pytest.mark.slow
def test_jumps_off_the_steps_are_refused_and_looked_up_naively_they_cost_three_orders():
    u0, steps = [1.0, 2.0, 20.0], np.array([40, 80, 160, 320])
    exact = jaxcast.dynamics.reference_solution(LORENZ[-1], u0, [0.0, 0.2], rtol=1e-13, atol=1e-13)[-1]
    naive = jaxcast.Lorenz63(rho=lambda t: jaxcast.PiecewiseConstant([0.05, 0.15], [28.0, 48.0, 33.0])(t))
    errors = [np.linalg.norm(jaxcast.flow_map(naive, dt=0.2, h=0.2 / n)(u0, 0.0) - exact) for n in steps]
    assert np.polyfit(np.log(0.2 / steps), np.log(errors), 1)[0] < 1.5

    off_grid = jaxcast.Lorenz63(beta=jaxcast.PiecewiseConstant([0.05, 0.155], [2.0, 3.0, 2.0]))
    for run in (
        lambda: jaxcast.flow_map(off_grid, dt=0.1, h=0.01),
        lambda: jaxcast.simulate(off_grid, u0, num_samples=2),
        lambda: jaxcast.flow_map(jaxcast.stack_systems([off_grid, off_grid])),
    ):
        with pytest.raises(
            jaxcast.InputError, match=r"beta must jump on the integrator's steps .* got a jump at 0.155"
        ):
            run()
    jaxcast.simulate(off_grid, u0, num_samples=2, h=0.005)
    unsorted = jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant([0.2, 0.1], [28.0, 30.0, 32.0]))
    with pytest.raises(jaxcast.InputError, match=r"must increase, got \[0.2, 0.1\]"):
        jaxcast.flow_map(unsorted)


def test_the_grid_of_jumps_begins_at_t0():
    system = jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant([1.005], [28.0, 40.0]))
    jaxcast.simulate(system, [1.0, 2.0, 20.0], num_samples=2, t0=0.005)
    with pytest.raises(jaxcast.InputError, match=r"n 0\.01, got a jump at 1\.005"):
        jaxcast.simulate(system, [1.0, 2.0, 20.0], num_samples=2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [jaxcast.SumOfCosines, jaxcast.PiecewiseConstant, jaxcast.LinearRamp])
def test_stacks_of_scheduled_systems_are_the_single_ones(kind):
    def system(x):
        return jaxcast.Lorenz63(
            rho={
                jaxcast.SumOfCosines: lambda: jaxcast.SumOfCosines(38.0, [x, 2.0], [1.0, 2.0], [0.0, 0.5]),
                jaxcast.PiecewiseConstant: lambda: jaxcast.PiecewiseConstant([0.3, 0.5], [28.0, x, 40.0]),
                jaxcast.LinearRamp: lambda: jaxcast.LinearRamp(28.0, x, 0.2, 0.9),
            }[kind]()
        )

    systems = [system(x) for x in (30.0, 35.0, 45.0)]
    together = jaxcast.flow_map(jaxcast.stack_systems(systems), dt=0.4)([1.0, 2.0, 20.0], 0.2)
    alone = [jaxcast.flow_map(one, dt=0.4)([1.0, 2.0, 20.0], 0.2) for one in systems]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert not np.allclose(together[0], together[1])


@pytest.mark.slow
def test_a_stack_of_rings_is_the_single_ones_and_differentiable():
    rings = [jaxcast.Lorenz96(dim=9, forcing=forcing) for forcing in (7.0, 8.0, 9.5)]
    u0 = jnp.arange(9.0)
    together = jaxcast.flow_map(jaxcast.stack_systems(rings), dt=0.05)(u0)
    np.testing.assert_allclose(together, [jaxcast.flow_map(ring, dt=0.05)(u0) for ring in rings], rtol=1e-12)
    gradient = jax.grad(lambda forcing: jaxcast.flow_map(jaxcast.Lorenz96(9, forcing), dt=0.05)(u0).sum())(8.0)
    ends = [jaxcast.flow_map(jaxcast.Lorenz96(9, 8.0 + d), dt=0.05)(u0).sum() for d in (1e-5, -1e-5)]
    np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize(("dt", "h"), [(0.1, 0.03), (1 / 3, 0.1), (0.7, 0.06)])
def test_the_step_that_a_message_suggests_is_taken(dt, h):
    system = jaxcast.Lorenz63()
    with pytest.raises(jaxcast.InputError, match="would do") as refused:
        jaxcast.simulate(system, [1.0, 2.0, 3.0], num_samples=2, dt=dt, h=h)
    suggested = float(re.search(r"; h=(\S+) would do", str(refused.value))[1])
    assert jaxcast.simulate(system, [1.0, 2.0, 3.0], num_samples=2, dt=dt, h=suggested).states.shape == (2, 3)

"""Many trajectories at once: each is what it is alone, whatever the tiles, the devices and the layout inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jaxcast
from jaxcast.backends import cpu as kernels
from jaxcast.dynamics.plan import SolvePlan
from jaxcast.dynamics.solve import solve_reference


class Matrix(jaxcast.System):
    """One array, and a product that no single kernel of XLA for CPU can hold."""

    components = ("a", "b", "c")
    coupling: jaxcast.dynamics.Parameter = 0.3

    def vector_field(self, t, u):
        u = jnp.asarray(u)
        return jnp.asarray([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.5], [0.2, 0.0, -1.0]], u.dtype) @ u * self.coupling


class Rolling(jaxcast.System):
    """Lorenz '96 as one writes it for one state: on two side by side, a roll without an axis is another field."""

    components = ("a", "b", "c", "d", "e")
    forcing: jaxcast.dynamics.Parameter = 8.0

    def vector_field(self, t, u):
        u = jnp.asarray(u)
        return (jnp.roll(u, -1) - jnp.roll(u, 2)) * jnp.roll(u, 1) - u + self.forcing


class Heavy(jaxcast.System):
    """So much arithmetic that XLA would spread a tile of ordinary size over threads."""

    components = ("a", "b")
    scale: jaxcast.dynamics.Parameter = 1.0

    def vector_field(self, t, u):
        a, b = u
        for _ in range(25):
            a, b = jnp.sin(a + self.scale * b), 0.9 * b + jnp.exp(-a * a)
        return a - u[0], b - u[1]


SYSTEMS = {
    "lorenz63": jaxcast.Lorenz63(),
    "ramp": jaxcast.Lorenz63(rho=jaxcast.LinearRamp(28.0, 30.0, 0.0, 100.0)),
    "piecewise": jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant([0.3, 0.6], [28.0, 30.0, 40.0])),
    "cosines": jaxcast.Lorenz63(rho=jaxcast.SumOfCosines(38.0, [1.0, 2.0], [3.0, 1.5], [0.0, 0.0])),
    "function": jaxcast.Lorenz63(rho=lambda t: 28.0 + t),
    "lorenz96": jaxcast.Lorenz96(dim=6),
    "rossler": jaxcast.Rossler(),
    "matrix": Matrix(),
    "rolling": Rolling(),
}
# A program each; CI compiles them all.
MORE = {"ramp", "cosines", "function", "lorenz96", "rossler"}
SIZES = {"num_samples": 4, "dt": 0.1, "h": 0.01, "transient": 0.2}


def starts(system, num=75, dtype=float):
    center = np.asarray(system.center or np.zeros(system.dim))
    return jnp.asarray((np.random.default_rng(0).normal(size=(num, system.dim)) + center).astype(dtype))


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def slow_if(condition, value):
    return pytest.param(value, marks=pytest.mark.slow if condition else ())


@pytest.fixture(params=[slow_if(name in MORE, name) for name in SYSTEMS])
def system(request):
    return SYSTEMS[request.param]


@pytest.mark.slow
def test_each_trajectory_is_what_it_is_alone(system):
    u0 = starts(system)
    times, states = jaxcast.simulate_ensemble(system, u0, tile_size=32, **SIZES)
    alone = jaxcast.simulate(system, u0[70], **SIZES)
    close(states[70], alone.states)
    close(times, alone.times)
    plan = SolvePlan(20, 4, 10)
    plain = jax.vmap(lambda u: solve_reference(plan, system, u, jnp.asarray(0.0), jnp.asarray(0.01)))(u0)
    close(states, plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ramp", "lorenz96"])
def test_vmap_of_simulate_is_the_ensemble(name):
    system = SYSTEMS[name]
    u0 = starts(system)
    mapped = jax.vmap(lambda u: jaxcast.simulate(system, u, **SIZES).states)(u0)
    close(mapped, jaxcast.simulate_ensemble(system, u0, **SIZES).states)


@pytest.mark.slow
@pytest.mark.parametrize("tile_size", [7, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 64, 75, 1000))])
def test_tiles_change_nothing(tile_size):
    system, u0 = SYSTEMS["ramp"], starts(SYSTEMS["ramp"])
    close(
        jaxcast.simulate_ensemble(system, u0, tile_size=tile_size, **SIZES).states,
        jaxcast.simulate_ensemble(system, u0, **SIZES).states,
    )
    own = jaxcast.Lorenz63(rho=jnp.linspace(28.0, 48.0, len(u0)))
    close(
        jaxcast.final_states(own, u0, duration=0.3, tile_size=tile_size),
        jaxcast.final_states(own, u0, duration=0.3),
    )


@pytest.mark.slow
def test_many_tiles_in_a_shard_map_of_the_user_s():
    system, u0 = jaxcast.Lorenz63(), starts(jaxcast.Lorenz63(), 2000)
    mesh = Mesh(np.asarray(jax.devices()[:2]), ("d",))
    for run in (
        jax.vmap(jaxcast.flow_map(system)),
        jax.vmap(lambda u: jaxcast.simulate(system, u, num_samples=2).states),
    ):
        spread = jax.shard_map(run, mesh=mesh, in_specs=PartitionSpec("d"), out_specs=PartitionSpec("d"))
        close(jax.jit(spread)(u0), run(u0))


@pytest.mark.slow
def test_starting_times_differ_across_tiles():
    system = SYSTEMS["ramp"]
    u0 = starts(system, 1000)
    t0 = jnp.linspace(0.0, 2.0, len(u0))
    step = jaxcast.flow_map(system)
    many = jax.vmap(step)(u0, t0)
    for n in (0, 499, 999):
        close(many[n], step(u0[n], t0[n]))


@pytest.mark.slow
@pytest.mark.parametrize("num", [slow_if(num < 75, num) for num in (1, 2, 75)])
def test_devices_change_nothing(num):
    system, u0 = SYSTEMS["ramp"], starts(SYSTEMS["ramp"], num)
    one = Mesh(np.asarray(jax.devices()[:1]), ("x",))
    two = Mesh(np.asarray(jax.devices()[:2]).reshape(2, 1), ("x", "y"))
    on_one = jaxcast.simulate_ensemble(system, u0, mesh=one, **SIZES).states
    close(jaxcast.simulate_ensemble(system, u0, mesh=two, **SIZES).states, on_one)
    close(jaxcast.simulate_ensemble(system, u0, **SIZES).states, on_one)
    close(
        jaxcast.final_states(system, u0, duration=0.3, mesh=two, tile_size=16),
        jaxcast.final_states(system, u0, duration=0.3, mesh=one),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["piecewise", "lorenz96"])
def test_final_states_are_the_last_of_those_recorded(name):
    system = SYSTEMS[name]
    u0 = starts(system)
    recorded = jaxcast.simulate_ensemble(system, u0, num_samples=4, dt=0.1, t0=-0.1).states
    close(jaxcast.final_states(system, u0, duration=0.3, t0=-0.1), recorded[:, -1])


@pytest.mark.slow
def test_a_stack_gives_each_trajectory_its_own_parameters_and_schedules():
    u0 = starts(SYSTEMS["lorenz63"], 40)
    phases = np.linspace(0.0, 6.0, 40)
    each = [jaxcast.Lorenz63(rho=jaxcast.Cosine(38.0, -10.0, 1.5, phase)) for phase in phases]
    states = jaxcast.simulate_ensemble(jaxcast.stack_systems(each), u0, tile_size=32, **SIZES).states
    for i in (0, 17, 39):
        close(states[i], jaxcast.simulate(each[i], u0[i], **SIZES).states)
    rhos = jaxcast.Lorenz63(rho=jnp.linspace(28.0, 48.0, 40))
    close(
        jaxcast.final_states(rhos, u0, duration=0.5)[7],
        jaxcast.final_states(jaxcast.Lorenz63(rho=float(rhos.rho[7])), u0, duration=0.5)[7],
    )
    forcings = jaxcast.Lorenz96(dim=6, forcing=jnp.linspace(7.0, 9.0, 40))
    u6 = starts(forcings, 40)
    close(
        jaxcast.final_states(forcings, u6, duration=0.5)[7],
        jaxcast.final_states(jaxcast.Lorenz96(dim=6, forcing=float(forcings.forcing[7])), u6, duration=0.5)[7],
    )


@pytest.mark.slow
def test_float32_stays_float32_and_close():
    system = SYSTEMS["ramp"]
    exact = jaxcast.final_states(system, starts(system), duration=0.1)
    single = jaxcast.final_states(system, starts(system, dtype=np.float32), duration=0.1)
    assert single.dtype == np.float32
    close(single, exact, 1e-5)


@pytest.mark.slow
def test_candidates_are_the_same_one_by_one_batched_and_doubly_batched(candidates):
    u = starts(SYSTEMS["lorenz63"], 60)
    one_by_one = jnp.stack([candidates(x) for x in u])
    close(jax.vmap(candidates)(u), one_by_one)
    close(jax.vmap(jax.vmap(candidates))(u.reshape(6, 10, 3)).reshape(60, 11, 3), one_by_one)
    moving = jaxcast.flow_map(
        jaxcast.stack_systems([jaxcast.Lorenz63(rho=jaxcast.Cosine(r, 1.0, 2.0)) for r in (28.0, 30.0)])
    )
    times = jnp.linspace(0.0, 3.0, 60)
    close(jax.vmap(moving)(u, times), jnp.stack([moving(x, t) for x, t in zip(u, times, strict=True)]))


@pytest.mark.slow
def test_parameters_steps_and_times_can_be_batched_too():
    u = starts(SYSTEMS["lorenz63"], 12)
    values = jnp.linspace(0.5, 1.5, 12)

    def run(u, v):
        system = jaxcast.Lorenz63(rho=jaxcast.Cosine(28.0 * v, 1.0, 2.0))
        return jaxcast.dynamics.FlowMap(system, 0.1 * v, 10)(u, v)

    one_by_one = jnp.stack([run(x, v) for x, v in zip(u, values, strict=True)])
    close(jax.vmap(run)(u, values), one_by_one)
    twice = jax.vmap(jax.vmap(run, in_axes=(0, None)), in_axes=(None, 0))(u, values)
    close(twice[jnp.arange(12), jnp.arange(12)], one_by_one)
    rhos = jax.vmap(jax.vmap(lambda r, x: jaxcast.flow_map(jaxcast.Lorenz63(rho=r))(x), (None, 0)), (0, None))(
        values, u
    )
    close(rhos[3, 5], jaxcast.flow_map(jaxcast.Lorenz63(rho=float(values[3])))(u[5]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [slow_if(name in MORE, name) for name in ("ramp", "lorenz96", "rolling")])
def test_derivatives_are_those_of_the_plain_program(name):
    system = SYSTEMS[name]
    u0 = starts(system, 5)
    plan = SolvePlan(0, None, 10)

    def fast(scale):
        return (jaxcast.final_states(system, u0 * scale, duration=0.1) ** 2).sum()

    def plain(scale):
        solve = jax.vmap(lambda u: solve_reference(plan, system, u, jnp.asarray(0.0), jnp.asarray(0.01)))
        return (solve(u0 * scale) ** 2).sum()

    expected = jax.grad(plain)(1.1)
    close(jax.grad(fast)(1.1), expected)
    close(jax.jvp(fast, (1.1,), (1.0,))[1], expected)
    close(jax.jacrev(jax.jit(fast))(1.1), expected)


@pytest.mark.slow
@pytest.mark.parametrize("num", [slow_if(num != 9, num) for num in (5, 6, 9)])
def test_derivatives_pass_a_mesh(num):
    system, u0 = SYSTEMS["ramp"], starts(SYSTEMS["ramp"], num)
    two = Mesh(np.asarray(jax.devices()[:2]), ("x",))

    def total(scale, u0, mesh):
        return (jaxcast.final_states(system, u0 * scale, duration=0.1, mesh=mesh) ** 2).sum()

    close(jax.grad(total)(1.1, u0, two), jax.grad(total)(1.1, u0, None))
    close(jax.jit(jax.grad(total), static_argnums=2)(1.1, u0, two), jax.grad(total)(1.1, u0, None))


@pytest.mark.slow
def test_gradients_reach_the_parameters_of_each_trajectory():
    u0 = starts(SYSTEMS["lorenz63"], 6)
    rhos = jnp.linspace(28.0, 33.0, 6)

    def total(rhos):
        return jaxcast.final_states(jaxcast.Lorenz63(rho=rhos), u0, duration=0.2).sum()

    gradient = jax.grad(total)(rhos)
    step = 1e-5
    close(gradient[2], (total(rhos.at[2].add(step)) - total(rhos.at[2].add(-step))) / (2 * step), 1e-7)


@pytest.mark.slow
def test_other_numbers_compile_nothing(count_compilations):
    u0 = starts(SYSTEMS["ramp"])
    others = u0 + 1.0
    first = jaxcast.Lorenz63(rho=jaxcast.LinearRamp(28.0, 30.0, 0.0, 9.0))
    jax.block_until_ready(jaxcast.simulate_ensemble(first, u0, **SIZES))
    count_compilations()
    other = jaxcast.Lorenz63(sigma=9.0, rho=jaxcast.LinearRamp(29.0, 31.0, 1.0, 8.0))
    jax.block_until_ready(
        jaxcast.simulate_ensemble(other, others, num_samples=4, dt=0.2, h=0.02, transient=0.4, t0=1.0)
    )
    assert count_compilations() == 0


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u0": np.ones(3)}, "expected states of shape (trajectory, 3), got (3,)"),
        ({"u0": np.ones((0, 3))}, "expected states of shape (trajectory, 3), got (0, 3)"),
        ({"u0": np.ones((5, 4))}, "expects a state of 3 components"),
        ({"system": jaxcast.Lorenz63(rho=np.ones(4))}, "a stack of one for each of 5 states, got 4 systems"),
        ({"tile_size": 0}, "tile_size must be at least 1, got 0"),
        ({"num_samples": 0}, "num_samples must be a whole number of at least 1, got 0"),
        ({"dt": 0.105}, "dt must be a whole multiple of h"),
    ],
)
def test_bad_input_is_one_line(change, message):
    arguments = {"system": jaxcast.Lorenz63(), "u0": np.ones((5, 3)), "num_samples": 3} | change
    with pytest.raises(jaxcast.InputError) as error:
        jaxcast.simulate_ensemble(arguments.pop("system"), arguments.pop("u0"), **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_one_loop_is_the_identity():
    arrays = tuple(jnp.asarray(a) for a in np.random.default_rng(0).normal(size=(3, 4, 5)))
    arrays = (arrays[0].at[0, 0].set(jnp.nan), arrays[1].at[1, 1].set(jnp.inf), arrays[2])
    for result, array in zip(jax.jit(kernels.one_loop)(arrays), arrays, strict=True):
        np.testing.assert_array_equal(result, array)
    zeros = (jnp.asarray([-0.0, 0.0]),) * 2
    np.testing.assert_array_equal(jnp.signbit(jax.jit(kernels.one_loop)(zeros)[0]), [True, False])
    gradient = jax.grad(lambda x: kernels.one_loop((x**2, x**3))[1])(2.0)
    assert gradient == 12.0


@pytest.mark.slow
def test_a_heavy_field_is_known_before_xla_refuses_it():
    """At ordinary tile sizes the one loop would be spread over threads, which XLA cannot compile; see `one_loop`."""
    scalar = jnp.zeros(())
    heavy = kernels.num_operations(lambda u: jaxcast.dynamics.rk4_step(Heavy(), scalar, u, 0.01), (scalar, scalar))
    light = kernels.num_operations(
        lambda u: jaxcast.dynamics.rk4_step(Matrix(), scalar, u, 0.01), (scalar, scalar, scalar)
    )
    assert heavy * 256 > kernels.MOST_WORK > light * 256
    system, u0 = Heavy(), starts(Heavy(), 300)
    alone = jaxcast.simulate(system, u0[7], num_samples=2, dt=0.02).states[-1]
    close(jaxcast.final_states(system, u0, duration=0.02)[7], alone)


def test_systems_of_like_structure_are_distinguished():
    """Were they not, jit could run the program of another class; see `jaxcast.pytrees.FrozenPytree`."""
    ramp, cosine = jaxcast.LinearRamp(28.0, 30.0, 0.0, 9.0), jaxcast.Cosine(28.0, 30.0, 1.0, 9.0)
    for a, b in (
        (ramp, cosine),
        (jaxcast.Lorenz63(ramp), jaxcast.Lorenz63(cosine)),
        (jaxcast.Lorenz63(), jaxcast.Rossler()),
    ):
        assert jax.tree.structure(a) != jax.tree.structure(b)

"""Kernels of GPU and TPU against the plain program, in Pallas' interpret mode; and which of them is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.backends.components import as_components, evaluate, num_kernel_operations
from jaxcast.clock import split
from jaxcast.dynamics import solve as programs
from jaxcast.dynamics.kernels.gpu import solve_on_gpu
from jaxcast.dynamics.kernels.steps import filled, make_kernel_step
from jaxcast.dynamics.kernels.tpu import solve_on_tpu
from jaxcast.dynamics.plan import SolvePlan, in_dtype

OLD_JAX = jax.__version_info__ < (0, 11)


class Reservoir(jaxcast.System):
    """A user's system of four variables: an array, a product, conditions, and the time."""

    components = ("a", "b", "c", "d")
    gain: jaxcast.dynamics.Parameter = 0.3

    def vector_field(self, t, u):
        u = jnp.asarray(u)
        mixed = jnp.asarray([[0, 1, 0, 0], [-1, 0, 0.5, 0], [0.2, 0, -1, 0], [0, 0.1, 0, -1]], u.dtype) @ u
        kick = jax.lax.cond(u[0] > 0, lambda: jnp.sin(t).astype(u.dtype) * u[1], lambda: jnp.round(3 * u[2]))
        return jnp.tanh(mixed) * self.gain + jnp.stack([kick, u.sum(), jnp.where(u[3] > 0, u[3], -u[3]), u.max()])


COSINE = jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132)
SYSTEMS = {
    "lorenz63": jaxcast.Lorenz63(rho=COSINE),
    "reservoir": Reservoir(),
    "lorenz96": jaxcast.Lorenz96(dim=5),
    "rossler": jaxcast.Rossler(a=jaxcast.LinearRamp(0.2, 0.3, 0.0, 0.3)),
    "piecewise": jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant([0.1, 0.2], [28.0, 30.0, 40.0])),
    "cosines": jaxcast.Lorenz63(rho=jaxcast.SumOfCosines(38.0, [1.0, 2.0], [3.0, 1.5], [0.0, 0.0])),
    "function": jaxcast.Lorenz63(rho=lambda t: 28.0 + t),
}
QUICK = {"lorenz63", "reservoir"}
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SYSTEMS]


def starts(system, num, dtype=float):
    return jnp.asarray((np.random.default_rng(0).normal(size=(num, system.dim)) + 1).astype(dtype))


def close(actual, expected, tolerance=1e-13):
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def both(system, plan, u0, t0=0.5, h=0.01, solve_many=solve_on_gpu):
    """Returns what the kernel computes, and the plain program."""
    numbers = system if u0.dtype == jnp.float64 else system.with_all_digits()
    numbers, t0, h = in_dtype(numbers, u0.dtype), split(t0, u0.dtype), split(h, u0.dtype)
    is_own = jax.tree.map(lambda _: False, numbers)
    kernel = jax.jit(lambda system, u0: solve_many(plan, system, is_own, u0, t0, h, interpret=True))(numbers, u0)
    return kernel, jax.vmap(lambda u: programs.solve_reference(plan, numbers, u, t0, h))(u0)


@pytest.fixture
def in_kernels(monkeypatch):
    """Makes ensembles run in kernels on a CPU; returns the shapes of those that did."""
    seen = []

    def run(plan, system, is_own, u0, t0, h):
        states = solve_on_gpu(plan, system, is_own, u0, t0, h, interpret=True)
        seen.append(states.shape)
        return states

    monkeypatch.setattr(programs, "solve_tiles", run)
    jax.clear_caches()
    yield seen
    jax.clear_caches()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_recorded_states_are_those_of_the_plain_program(name):
    system = SYSTEMS[name]
    close(*both(system, SolvePlan(3, 3, 2), starts(system, 130)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_the_same_to_rounding(name):
    system = SYSTEMS[name]
    close(*both(system, SolvePlan(0, None, 5), starts(system, 5, np.float32)), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_on_a_tpu_they_are_the_same_too(name):
    system = SYSTEMS[name]
    u0 = starts(system, 5, np.float32)
    close(*both(system, SolvePlan(3, 3, 2), u0, solve_many=solve_on_tpu), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("num", "num_steps"), [(1025, 2), (9000, 1), (3, 1025)])
def test_on_a_tpu_there_may_be_many_blocks_and_chunks_of_steps(num, num_steps):
    system, u0 = SYSTEMS["lorenz63"], starts(SYSTEMS["lorenz63"], num, np.float32)
    close(*both(system, SolvePlan(0, None, num_steps), u0, h=1e-4, solve_many=solve_on_tpu), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("num", [1, 2, 255, 256, 257, 600])
def test_any_number_of_states(num):
    system = SYSTEMS["lorenz63"]
    close(*both(system, SolvePlan(0, None, 5), starts(system, num)))


@pytest.mark.slow
@pytest.mark.parametrize("name", jaxcast.dynamics.catalogue_names()[::8])
def test_systems_of_the_catalogue(name):
    system = jaxcast.dynamics.catalogue_entry(name).system
    close(*both(system, SolvePlan(0, None, 3), starts(system, 3), h=1e-4))


@pytest.mark.slow
def test_ensembles_have_parameters_batches_and_gradients_of_their_own(in_kernels):
    u0, rhos = starts(SYSTEMS["lorenz63"], 6), jnp.linspace(28.0, 33.0, 6)

    def total(rhos, u0):
        return jaxcast.final_states(jaxcast.Lorenz63(rho=jaxcast.Cosine(rhos, 1.0, 2.0)), u0, duration=0.05)

    plan = SolvePlan(0, None, 5)
    each = jax.vmap(
        lambda rho, u: programs.solve_reference(
            plan, jaxcast.Lorenz63(rho=jaxcast.Cosine(rho, 1.0, 2.0)), u, jnp.asarray(0.0), jnp.asarray(0.01)
        )
    )
    close(total(rhos, u0), each(rhos, u0))
    assert in_kernels == [(3, 3)]  # on each of two devices
    close(jax.grad(lambda r: total(r, u0).sum())(rhos), jax.grad(lambda r: each(r, u0).sum())(rhos))
    step = jaxcast.flow_map(SYSTEMS["lorenz63"], dt=0.05)
    twice = jax.vmap(jax.vmap(step, (0, None)), (None, 0))(u0, jnp.asarray([0.0, 0.7]))
    assert in_kernels[-1] == (12, 3)
    jax.clear_caches()
    close(twice[1, 2], step(u0[2], 0.7))


def lowered(platform, run, *args):
    return jax.jit(run).trace(*args).lower(lowering_platforms=(platform,)).as_text()


CALLS = {"cuda": "xla.gpu.triton", "tpu": "tpu_custom_call"}
needs_lowering = pytest.mark.skipif(not OLD_JAX, reason="later ones lower a kernel only where there is the device")


def final(rho=28.0, dim=None, **options):
    system = jaxcast.Lorenz63(rho=rho) if dim is None else jaxcast.Lorenz96(dim=dim)
    return lambda u, *args: jaxcast.final_states(system, u, *args, duration=0.05, **options)


def recorded(u):
    return jaxcast.simulate_ensemble(jaxcast.Lorenz63(), u, num_samples=3, dt=0.02, h=0.01).states


def own_times(u):
    step = jaxcast.flow_map(jaxcast.Lorenz63(rho=COSINE), dt=0.05)
    return jax.vmap(step)(u, jnp.linspace(0.0, 1.0, len(u), dtype=u.dtype))


def stack(u):
    systems = jaxcast.stack_systems([jaxcast.Lorenz63(rho=r) for r in (28.0, 30.0)])
    return jax.vmap(jaxcast.flow_map(systems, dt=0.05))(u)


PROGRAMS = {
    "own_parameters": (final(jaxcast.Cosine(jnp.linspace(20.0, 30.0, 6, dtype=np.float32), 1.0, 2.0)), 3, np.float32),
    "own_times": (own_times, 3, np.float32),
    "stack": (stack, 3, np.float32),
    "recorded": (recorded, 3, np.float32),
    "sites": (final(dim=40), 40, np.float32),
    "float64": (final(), 3, np.float64),
}


@pytest.mark.slow
@needs_lowering
@pytest.mark.parametrize("platform", CALLS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "sites" else ()) for name in PROGRAMS]
)
def test_other_ensembles_are_one_kernel_too(name, platform):
    run, dim, dtype = PROGRAMS[name]
    u0 = jnp.ones((6, dim), dtype)
    if (name, platform) == ("float64", "tpu"):
        with pytest.raises(jaxcast.InputError, match="float32"):
            lowered(platform, run, u0)
        return
    text = lowered(platform, run, u0)
    assert text.count(CALLS[platform]) == 1
    assert "stablehlo.while" not in text


@pytest.mark.slow
@needs_lowering
@pytest.mark.parametrize(("platform", "call"), CALLS.items())
def test_an_ensemble_is_one_kernel_of_the_platform(platform, call):
    u0 = starts(SYSTEMS["lorenz63"], 300, np.float32)
    final = lowered(platform, lambda u: jaxcast.final_states(SYSTEMS["lorenz63"], u, duration=0.1), u0)
    assert final.count(call) == 1
    assert "stablehlo.while" not in final
    noise = jaxcast.dynamics.AdditiveNoise(0.1)
    noisy = lowered(
        platform,
        lambda u: jaxcast.final_states(SYSTEMS["lorenz63"], u, duration=0.1, noise=noise, key=jax.random.key(0)),
        u0,
    )
    assert call not in noisy
    assert "stablehlo.while" in noisy
    assert call not in lowered("cpu", lambda u: jaxcast.final_states(SYSTEMS["lorenz63"], u, duration=0.1), u0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_halves_are_rounded_to_even_and_large_numbers_stay(dtype):
    large = 2.0 ** np.finfo(dtype).nmant
    x = np.array(
        [0.5, -0.5, 1.5, 2.5, -2.5, 0.3, -1.7, np.nextafter(dtype(0.5), dtype(0)), large + 1, -large - 3, 1e30]
    )
    x = x.astype(dtype)
    closed = jax.make_jaxpr(jnp.round)(x[0])
    found = jax.jit(lambda x: evaluate(closed, filled((), lambda _: x))[0][()])(x)
    np.testing.assert_array_equal(found, np.round(x))
    closed = jax.make_jaxpr(jax.lax.round)(x[0])
    with pytest.raises(NotImplementedError, match="even"):
        jax.jit(lambda x: evaluate(closed, filled((), lambda _: x))[0][()])(x)


def test_a_long_schedule_is_not_read_in_a_kernel_and_else_refused():
    system = jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant(np.arange(1.0, 1500.0), np.arange(1500.0)))
    system = in_dtype(system, jnp.float64)
    is_own = jax.tree.map(lambda _: False, system)
    u0, h = jnp.ones((2, 3)), jnp.asarray(0.01)
    kernel_step = make_kernel_step(None, system, is_own, u0, jnp.asarray(0.5), h, range(5))
    assert sum(leaf.size for leaf in kernel_step.shared) < 10
    with pytest.raises(NotImplementedError, match="too many"):
        make_kernel_step(None, system, is_own, u0, jnp.asarray([0.5, 0.6]), h, range(5))


def test_products_are_counted_by_their_terms():
    a, b = jnp.ones((2, 3)), jnp.ones((5, 3))
    assert num_kernel_operations(jax.make_jaxpr(lambda a, b: a @ b.T)(a, b)) == 2 * 2 * 3 * 5
    assert num_kernel_operations(jax.make_jaxpr(lambda a, b: jnp.einsum("ij,kj->ik", a, b))(a, b)) == 2 * 2 * 3 * 5


def test_programs_are_evaluated_number_by_number():
    def program(a, b):
        table = jnp.concatenate([a[::-1], jnp.zeros(2), a]).reshape(2, 4).T
        return jnp.pad(table @ b, ((1, 2), (0, 0))), a.min(), jnp.split(table, [1])[1], jnp.stack([a, b[0]], 1)

    a, b = np.arange(3.0) - 1, np.arange(6.0).reshape(2, 3)
    expected = program(a, b)
    closed = jax.make_jaxpr(program)(a, b)
    for found, wanted in zip(evaluate(closed, as_components(a), as_components(b)), expected, strict=True):
        np.testing.assert_array_equal(found.astype(float), wanted)
    with pytest.raises(NotImplementedError, match="sort"):
        evaluate(jax.make_jaxpr(jnp.sort)(a), as_components(a))


def test_sums_with_products_are_fused_on_a_gpu_and_mean_the_same():
    """The instruction is in the kernel; what it means is tried with a function in its place."""
    seen = []

    def fused(a, b, c):
        seen.append(c.dtype)
        return a * b + c

    def program(a, b, c):
        return a * b + c, c + a * b, a * b - c, c - a * b, a * b + b * c, (a * b) * c, a + b

    def run(*args):
        return [result[()] for result in evaluate(closed, *[filled((), lambda _, a=a: a) for a in args], fused=fused)]

    args = [np.random.default_rng(n).normal(size=3) for n in range(3)]
    closed = jax.make_jaxpr(program)(0.1, 0.2, 0.3)
    for found, wanted in zip(jax.jit(run)(*args), program(*args), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    assert len(seen) == 5


@pytest.mark.slow
def test_a_stack_starts_each_model_from_each_state():
    betas = jnp.asarray([2.0, 8 / 3, 3.0])
    stack = jaxcast.Lorenz63(rho=COSINE, beta=betas)
    plan, u0 = SolvePlan(0, None, 10), jnp.asarray(np.random.default_rng(0).normal(25.0, 1.0, (70, 3)))
    t0, h = jnp.linspace(0.0, 1.0, 70), jnp.asarray(0.01)
    stack = in_dtype(stack, u0.dtype)
    is_own = jax.tree.map(lambda leaf: jnp.ndim(leaf) > 0, stack)
    states = solve_on_gpu(plan, stack, is_own, u0, t0, h, models=3, interpret=True)
    for n, system in enumerate(in_dtype(jaxcast.Lorenz63(rho=stack.rho, beta=b), u0.dtype) for b in betas):
        expected = jax.vmap(lambda u, t, system=system: programs.solve_reference(plan, system, u, t, h))(u0, t0)
        np.testing.assert_allclose(states[:, n], expected, rtol=1e-12)

"""Stochastic systems: orders on shared Brownian paths, moments, closed forms, and diffrax on the same path."""

from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest

import jaxcast
from jaxcast.cli.simulate import Simulate
from jaxcast.dynamics import AdditiveNoise, MultiplicativeNoise, noisy_steps
from jaxcast.dynamics.gaussian import normal_pair, seeded
from jaxcast.dynamics.noise import NoisySystem
from jaxcast.dynamics.noisy_steps import Noisy
from jaxcast.dynamics.solvers import stepper_of

KEY = jax.random.key(7)
SLOW = pytest.mark.slow
PAPER = jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))


class Growth(jaxcast.System):
    components = ("x",)
    rate: jaxcast.dynamics.Parameter = -1.0

    def vector_field(self, t, u):
        return (self.rate * u[0],)


class DoubleWell(jaxcast.System):
    components = ("x",)

    def vector_field(self, t, u):
        return (u[0] - u[0] ** 3 + jnp.sin(t),)


def paths(num, num_steps, h):
    """Changes and areas of Brownian paths, (step, path), drawn by NumPy."""
    rng = np.random.default_rng(0)
    return (
        rng.normal(0, np.sqrt(h), (num_steps, num)),
        rng.normal(0, np.sqrt(h / 12), (num_steps, num)),
    )


def coarser(change, area):
    """The same paths with steps twice as long."""
    first, second = change[::2], change[1::2]
    return first + second, (first - second) / 4 + (area[::2] + area[1::2]) / 2


def solved(system, noise, solver, start, path, h):
    """The states (step, path) of a system of one component on given paths."""
    steps = stepper_of(NoisySystem(system, noise, (0, 0)), solver, jnp.asarray(h))

    def step(u, given):
        n, *increments = given
        carried = steps.step_after(jnp.asarray(0.0), n, Noisy((u,), increments), jnp.asarray(h))
        return carried.state[0], carried.state[0]

    return jax.lax.scan(step, jnp.full(path[0].shape[1], start), (jnp.arange(len(path[0])) * 1.0, *path))[1]


@pytest.fixture
def from_path(monkeypatch):
    """Steps take their increments from what they carry in the place of a generator."""
    monkeypatch.setattr(noisy_steps, "increments", lambda given, u, variance: (given[1:], (given[0],)))


@pytest.mark.slow
def test_normal_numbers_are_normal():
    words = jax.random.bits(KEY, (2,), jnp.uint32)

    def draw(generator, _):
        generator, first, second = normal_pair(generator)
        return generator, jnp.stack([first, second])

    z = np.asarray(jax.lax.scan(draw, seeded(tuple(words), jnp.arange(500)), None, length=400)[1], float)
    scale = np.sqrt(z.size)
    assert abs(z.mean()) < 4 / scale
    for power, moment, variance in ((2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((z**power).mean() - moment) < 4 * np.sqrt(variance) / scale
    pairs = [(z[:, 0], z[:, 1]), (z[1:], z[:-1]), (z[..., 1:], z[..., :-1]), (z[1:, 0], z[:-1, 1])]
    for a, b in pairs:
        for power in (1, 2):
            x, y = a**power - a.var() * (power == 2), b**power - b.var() * (power == 2)
            assert abs((x * y).mean()) < 4 * x.var() / np.sqrt(x.size)
    for level, share in ((1.0, 0.15865525), (3.0, 0.00134990)):
        assert abs((z > level).mean() - share) < 4 * np.sqrt(share) / scale


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "dtype"),
    [
        (AdditiveNoise(0.0), jnp.float32),
        pytest.param(MultiplicativeNoise([0.0, 0.0, 0.0]), jnp.float64, marks=SLOW),
    ],
)
def test_without_amplitude_the_numbers_are_those_without_noise(noise, dtype):
    """To rounding: the two are compiled apart, and a compiler may contract products and sums."""
    start, rtol = jnp.asarray([1.0, 1.0, 20.0], dtype), 100 * float(jnp.finfo(dtype).eps)
    plain = jaxcast.simulate(PAPER, start, num_samples=20).states
    noisy = jaxcast.simulate(PAPER, start, num_samples=20, noise=noise, key=KEY).states
    np.testing.assert_allclose(noisy, plain, rtol=rtol)
    starts = jnp.stack([start] * 40)
    many = jaxcast.simulate_ensemble(PAPER, starts, num_samples=20, noise=noise, key=KEY).states
    np.testing.assert_allclose(many, jaxcast.simulate_ensemble(PAPER, starts, num_samples=20).states, rtol=rtol)


@pytest.mark.slow
def test_each_trajectory_has_its_own_path_whatever_runs_beside_it():
    noise, keys = AdditiveNoise(0.5), jax.random.split(KEY, 40)
    starts = jnp.tile(jnp.asarray([1.0, 1.0, 20.0]), (40, 1))
    options = {"num_samples": 6, "noise": noise, "transient": 0.2}
    many = jaxcast.simulate_ensemble(PAPER, starts, key=KEY, **options).states
    alone = jaxcast.simulate(PAPER, starts[3], key=keys[3], **options).states
    # Normal numbers have the digits of float32.
    np.testing.assert_allclose(alone, many[3], rtol=1e-5)
    assert float(jnp.std(many[:, -1], axis=0).min()) > 0.1


@pytest.mark.slow
def test_each_trajectory_of_many_components_has_its_own_path():
    system, keys = jaxcast.Lorenz96(dim=5), jax.random.split(KEY, 40)
    starts = jnp.tile(jnp.arange(1.0, 6.0), (40, 1))
    options = {"num_samples": 4, "noise": AdditiveNoise(0.5)}
    many = jaxcast.simulate_ensemble(system, starts, key=KEY, **options).states
    mapped = jax.vmap(lambda key: jaxcast.simulate(system, starts[0], key=key, **options).states)(keys)
    np.testing.assert_allclose(mapped, many, rtol=1e-5)
    np.testing.assert_allclose(jnp.corrcoef(many[:, 1].T) - np.eye(5), 0, atol=0.6)
    last = jaxcast.final_states(system, starts, duration=0.3, noise=AdditiveNoise(0.5), key=keys)
    np.testing.assert_allclose(last, many[:, -1], rtol=1e-5)
    tiles = jaxcast.simulate_ensemble(system, starts, key=keys, tile_size=16, **options).states
    np.testing.assert_allclose(tiles, many, rtol=1e-5)


@pytest.mark.slow
def test_all_models_of_a_stack_have_the_same_path():
    systems = [jaxcast.Lorenz63(rho=rho) for rho in (28.0, 32.0)]
    options = {"num_samples": 5, "noise": AdditiveNoise([0.5, 0.0, 1.0]), "key": KEY}
    together = jaxcast.simulate(jaxcast.stack_systems(systems), [1.0, 1.0, 20.0], **options).states
    for i, system in enumerate(systems):
        alone = jaxcast.simulate(system, [1.0, 1.0, 20.0], **options).states
        np.testing.assert_allclose(together[:, i], alone, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [
        None,
        pytest.param("sra", marks=SLOW),
        pytest.param("euler_maruyama", marks=SLOW),
        pytest.param("milstein", marks=SLOW),
    ],
)
def test_an_ornstein_uhlenbeck_process_has_its_moments(solver):
    last = jaxcast.final_states(
        Growth(), jnp.ones((4000, 1)), duration=1.0, noise=AdditiveNoise(0.5), key=KEY, solver=solver
    )[:, 0]
    variance = 0.25 / 2 * (1 - np.exp(-2))
    slack = 4 if solver != "euler_maruyama" and solver != "milstein" else 5.5  # Euler's own error at h = 0.01
    assert abs(float(last.mean()) - np.exp(-1)) < slack * np.sqrt(variance / 4000)
    assert abs(float(last.var()) / variance - 1) < slack * np.sqrt(2 / 4000)


@pytest.mark.parametrize(("solver", "order"), [("euler_maruyama", 0.5), ("milstein", 1.0), (None, 1.0)])
def test_strong_orders_of_geometric_brownian_motion(from_path, solver, order):
    rate, scale, h = 0.5, 0.8, 1 / 256
    path = paths(2000, 256, h)
    exact = np.exp((rate - scale**2 / 2) + scale * path[0].sum(0))
    errors = []
    for level in range(4):
        if level % 3 == 0:
            last = solved(Growth(rate), MultiplicativeNoise(scale), solver, 1.0, path, h * 2**level)[-1]
            errors.append(np.sqrt(((last - exact) ** 2).mean()))
        path = coarser(*path)
    found = np.log2(errors[1] / errors[0]) / 3
    assert order - 0.15 < found < order + 0.2


@pytest.mark.parametrize(("solver", "order"), [("sra", 1.5), (None, 1.0)])
def test_strong_orders_with_additive_noise(from_path, solver, order):
    h = 1 / 1024
    path = paths(500, 1024, h)
    exact = solved(DoubleWell(), AdditiveNoise(0.7), "sra", 0.3, path, h)[-1]
    errors = []
    for level in range(1, 9):
        path = coarser(*path)
        if level in (5, 8):
            last = solved(DoubleWell(), AdditiveNoise(0.7), solver, 0.3, path, h * 2**level)[-1]
            errors.append(np.sqrt(((last - exact) ** 2).mean()))
    found = np.log2(errors[1] / errors[0]) / 3
    assert order - 0.2 < found < order + 0.3


class GivenPath(diffrax.AbstractBrownianPath):
    """One of the paths above, for diffrax."""

    changes: jax.Array
    areas: jax.Array
    h: float
    levy_area: type = diffrax.SpaceTimeLevyArea

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return self.h * len(self.changes)

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        n = jnp.round(t0 / self.h).astype(int)
        if not use_levy:
            return self.changes[n]
        return diffrax.SpaceTimeLevyArea(dt=jnp.asarray(self.h), W=self.changes[n], H=self.areas[n])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "peer", "noise"),
    [
        pytest.param("euler_maruyama", diffrax.Euler(), MultiplicativeNoise(0.5), marks=SLOW),
        ("milstein", diffrax.ItoMilstein(), MultiplicativeNoise(0.5)),
        ("sra", diffrax.ShARK(), AdditiveNoise(0.5)),
    ],
)
def test_diffrax_on_the_same_path(from_path, solver, peer, noise):
    h = 1 / 512
    path = paths(1, 512, h)
    ours = solved(DoubleWell(), noise, solver, 0.3, path, h)[-1, 0]
    system = DoubleWell()

    def amplitude(t, y, args):
        return lineax.DiagonalLinearOperator(jnp.reshape(noise.amplitude((y[0],))[0], (1,)))

    terms = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, y, args: jnp.stack(system(t, (y[0],)))),
        diffrax.ControlTerm(amplitude, GivenPath(*map(jnp.asarray, path), h)),
    )
    theirs = diffrax.diffeqsolve(terms, peer, t0=0.0, t1=1.0, dt0=h, y0=jnp.asarray([0.3]), max_steps=600).ys[-1, 0]
    # Of the two methods of order 1.5 each has errors of its own.
    assert abs(float(ours - theirs)) < (1e-4 if solver == "sra" else 1e-12)


@pytest.mark.slow
def test_a_noisy_field_has_the_variance_of_its_modes():
    system = jaxcast.KuramotoSivashinsky(length=4.0, num_points=8, viscosity=1.0)  # all modes decay
    last = jaxcast.final_states(system, jnp.zeros((2000, 8)), duration=4.0, h=0.02, noise=AdditiveNoise(0.01), key=KEY)
    modes = np.abs(np.fft.fft(last, axis=-1)) ** 2 / 8
    q = 2 * np.pi * np.arange(5) / 4.0
    rates = q**4 - q**2
    variance = 1e-4 * np.where(rates == 0, 4.0, (1 - np.exp(-8 * rates)) / np.where(rates == 0, 1, 2 * rates))
    np.testing.assert_allclose(modes.mean(0)[:2], variance[:2], rtol=0.15)


@pytest.mark.slow
def test_gradients_follow_the_path():
    def last(scale):
        noise = AdditiveNoise(scale)
        return jaxcast.simulate(Growth(), [1.0], num_samples=2, dt=0.1, noise=noise, key=KEY).states[-1, 0]

    slope = (last(0.6) - last(0.4)) / 0.2  # the state is linear in the scale
    np.testing.assert_allclose(jax.grad(last)(0.5), slope, rtol=1e-5)


def test_bad_input_is_refused():
    start = [1.0, 1.0, 20.0]
    for bad in (-0.5, float("nan"), [0.1, -0.1, 0.2]):
        with pytest.raises(jaxcast.InputError, match="scale of the noise must be finite and at least 0"):
            jaxcast.dynamics.AdditiveNoise(bad)
    with pytest.raises(jaxcast.InputError, match="expected one key for one trajectory, got 2"):
        jaxcast.simulate(
            jaxcast.Lorenz63(),
            [1.0, 1.0, 20.0],
            num_samples=2,
            noise=jaxcast.dynamics.AdditiveNoise(0.5),
            key=jax.random.split(jax.random.key(0), 2),
        )
    with pytest.raises(jaxcast.InputError, match="noise needs a key"):
        jaxcast.simulate(PAPER, start, num_samples=2, noise=AdditiveNoise(0.5))
    with pytest.raises(jaxcast.InputError, match=r"a system without noise must be one of rk4.*, got 'milstein'"):
        jaxcast.final_states(PAPER, [start], duration=0.1, solver="milstein")
    with pytest.raises(jaxcast.InputError, match="one of rk4, euler_maruyama, milstein, got 'sra'"):
        jaxcast.simulate(PAPER, start, num_samples=2, solver="sra", noise=MultiplicativeNoise(0.5), key=KEY)
    with pytest.raises(jaxcast.InputError, match="a scale of the noise for each of 3 components, got 2"):
        jaxcast.simulate(PAPER, start, num_samples=2, noise=AdditiveNoise([0.5, 0.1]), key=KEY)
    with pytest.raises(jaxcast.InputError, match="one for each of 2 trajectories, got 3"):
        jaxcast.final_states(PAPER, [start] * 2, duration=0.1, noise=AdditiveNoise(0.5), key=jax.random.split(KEY, 3))


@pytest.mark.slow
def test_a_batch_of_the_command_has_the_same_noise(tmp_path):
    command = {"system": "rossler", "num_samples": 4, "transient": 1.0, "noise": "additive(scale=0.5)"}
    Simulate(out=tmp_path / "a.npz", **command).run()
    Simulate(out=tmp_path / "b.zarr", num_trajectories=3, batch_size=2, **command).run()
    one, many = (jaxcast.load_trajectory(tmp_path / name).trajectory.states for name in ("a.npz", "b.zarr"))
    np.testing.assert_allclose(many, one, rtol=1e-5)


@pytest.mark.slow
def test_the_command_writes_the_same_noise_for_the_same_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = {"system": "rossler", "num_samples": 4, "transient": 1.0, "noise": "additive(scale=[0.5, 0, 1])"}
    for name, seed in (("a.npz", 3), ("b.npz", 3), ("c.npz", 4)):
        Simulate(out=Path(name), seed=seed, **command).run()
    a, b, c = (np.asarray(jaxcast.load_trajectory(f"{name}.npz").trajectory.states) for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01
    stored = jaxcast.load_trajectory("a.npz").attributes
    assert stored["noise"] == "additive(scale=[0.5, 0.0, 1.0])"
    for changes, message in (
        ({"noise": "additive(scale=[1, 2])"}, "each of 3 components, got 2"),
        ({"noise": "aditive(scale=1)"}, "did you mean additive"),
        ({"noise": "additive(0.5)"}, r"by name, as in additive\(scale=0.5\)"),
        ({"noise": "additive("}, r"a text such as additive\(scale=0.5\)"),
        ({"noise": "multiplicative(scale=1)", "solver": "sra"}, "must be one of rk4, euler_maruyama, milstein"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            Simulate(out=Path("bad.npz"), **(command | changes)).run()
    assert not Path("bad.npz").exists()

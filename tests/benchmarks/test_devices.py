"""Programs for several devices, compiled: what they have to tell each other."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxcast
from benchmarks.targets import TARGETS
from jaxcast.sharding import devices_for, map_shards, with_repeated, without_repeated
from jaxcast.training.run import FitSettings, run_epochs, started_run

WHOLE = PartitionSpec()
CLIMATE = jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))
DTYPE = jnp.float32


def messages(lowered):
    """Counts the operations of a compiled program that move numbers between devices."""
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|collective-broadcast"
    found = [re.search(rf" ({kinds})(-start)?\(", line) for line in lowered.compile().as_text().splitlines()]
    return sorted(match[1] for match in found if match)


def on(mesh, spec, tree):
    """Returns what stands for arrays on the devices of a mesh."""
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)


def ensemble(mesh, **options):
    parts = PartitionSpec(mesh.axis_names)
    u0 = on(mesh, parts, jnp.ones((4 * mesh.size, 3), DTYPE))
    rho = on(mesh, parts, jnp.ones(4 * mesh.size, DTYPE))

    def run(u0, rho):
        system = jaxcast.Lorenz63(rho=rho) if options.get("stack") else CLIMATE
        if options.get("recorded"):
            return jaxcast.simulate_ensemble(system, u0, num_samples=3, dt=0.1, mesh=mesh)
        return jaxcast.final_states(system, u0, duration=0.5, mesh=mesh)

    return jax.jit(run).lower(u0, rho)


def windows(mesh):
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=r) for r in (28.0, 32.0)]))
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=4, key=jax.random.key(3), dtype=DTYPE)
    truth = jaxcast.Trajectory(0.1 * np.arange(12 * mesh.size), np.ones((12 * mesh.size, 3), DTYPE))
    cut = jaxcast.cut_windows(truth, num_windows=2 * mesh.size, num_leads=2, history_size=3)
    times = cut.times

    def run(history, target):
        whole = jaxcast.Windows(history, target, times)
        return jaxcast.forecast_windows(jaxcast.Forecaster(pool, candidates), whole, mesh=mesh).forecast

    parts = on(mesh, PartitionSpec(mesh.axis_names), (cut.history, cut.truth))
    return jax.jit(run).lower(*parts)


def seeds(mesh):
    def init(key):
        return jaxcast.pooling.FeedForward(dim=2, num_delays=1, hidden_size=3, key=key, dtype=DTYPE)

    optimizer = jaxcast.training.make_optimizer(1e-2)
    keys = jax.random.split(jax.random.key(0), mesh.size)
    graph, run = started_run(init, None, keys, optimizer, 2, False)
    loss = lambda model, batch: jnp.mean((model.hidden(batch) - 1) ** 2)  # noqa: E731
    settings = dict(graph=graph, optimizer=optimizer, settings=FitSettings(loss, 4, 2), mesh=mesh)
    data = on(mesh, WHOLE, jnp.ones((8, 2), DTYPE))
    return run_epochs.lower(on(mesh, PartitionSpec("seed"), run), data, None, 0, 2, **settings)


def recurrent(mesh, kind):
    """Gradient descent on a batch that the devices share."""
    parts = PartitionSpec(mesh.axis_names)

    def train(layer, xs, targets):
        def step(layer, _):
            loss = lambda layer: jnp.mean((layer(xs)[1] - targets) ** 2)  # noqa: E731
            value, gradient = jax.lax.pmean(jax.value_and_grad(loss)(layer), mesh.axis_names)
            return jax.tree.map(lambda a, b: a - 0.1 * b, layer, gradient), value

        return jax.lax.scan(step, layer, length=3)

    layer = kind(input_size=2, hidden_size=4, key=jax.random.key(0), dtype=DTYPE)
    batch = jnp.ones((2 * mesh.size, 5, 2), DTYPE), jnp.ones((2 * mesh.size, 5, 4), DTYPE)
    specs = dict(in_specs=(WHOLE, parts, parts), out_specs=WHOLE, check_vma=False)
    return jax.jit(jax.shard_map(train, mesh=mesh, **specs)).lower(on(mesh, WHOLE, layer), *on(mesh, parts, batch))


ALONE = {
    "final states": ensemble,
    "recorded ensemble": lambda mesh: ensemble(mesh, recorded=True),
    "ensemble of systems": lambda mesh: ensemble(mesh, stack=True),
    "windows": windows,
    "seeds": lambda mesh: seeds(Mesh(mesh.devices, ("seed",))),
}
TOGETHER = {
    "LSTM": lambda mesh: recurrent(mesh, jaxcast.nn.LSTM),
    "GRU": lambda mesh: recurrent(mesh, jaxcast.nn.GRU),
}


def check(mesh, names=(*ALONE, *TOGETHER)):
    """Checks that devices work alone, or send one message a training step."""
    for name in names:
        found = messages((ALONE | TOGETHER)[name](mesh))
        assert found == (["all-reduce"] if name in TOGETHER else []), (name, found)


def mesh_of_all():
    return Mesh(np.asarray(jax.devices()), ("device",))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALONE, *TOGETHER])
def test_two_devices(name):
    check(mesh_of_all(), [name])


@pytest.mark.slow
def test_eight_devices():
    script = (
        "import tests.conftest, tests.fixtures, jax; jax.config.update('jax_num_cpu_devices', 8); from tests.benchmarks.test_devices "
        "import check, mesh_of_all; assert len(jax.devices()) == 8; check(mesh_of_all())"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.aot
@pytest.mark.parametrize("name", [*ALONE, *TOGETHER])
def test_a_tpu_v5e_of_four(name):
    check(TARGETS["v5e"].mesh(4), [name])


@pytest.mark.parametrize("length", [1, 5, 6])
def test_parts_of_any_length_are_computed_by_their_device(length):
    mesh, values = mesh_of_all(), jnp.arange(3.0 * length).reshape(length, 3)
    run = jax.jit(lambda values: map_shards(lambda own, times: own * times, values, 2.0, mesh))
    np.testing.assert_array_equal(without_repeated(run(values), length), 2 * values)
    assert messages(run.lower(values)) == []


@pytest.mark.parametrize("length", [1, 5, 6])
def test_a_device_gets_its_part_alone_of_any_length(length):
    mesh, values = mesh_of_all(), jnp.arange(3.0 * length).reshape(length, 3)
    run = jax.jit(lambda values: map_shards(lambda own, times: own * times, values, 2.0, mesh))
    evenly = with_repeated(values, mesh)
    (sharding,), _ = run.lower(evenly).compile().input_shardings
    assert sharding.shard_shape(evenly.shape) == (-(-length // mesh.size), 3)
    np.testing.assert_array_equal(without_repeated(run(evenly), length), 2 * values)


@pytest.mark.slow
def test_ensembles_and_windows_of_odd_numbers_are_spread_evenly(monkeypatch):
    from jaxcast import windows
    from jaxcast.dynamics import ensembles

    spread = []

    def watched(function, split, shared, mesh):
        spread.append(len(jax.tree.leaves(split)[0]))
        return map_shards(function, split, shared, mesh)

    monkeypatch.setattr(ensembles, "map_shards", watched)
    monkeypatch.setattr(windows, "map_shards", watched)
    starts = jnp.ones((7, 3)) + jnp.arange(7.0)[:, None]
    system = jaxcast.Lorenz63(rho=jnp.arange(7.0))
    ends = jaxcast.final_states(system, starts, duration=0.02)
    np.testing.assert_allclose(ends[6], jaxcast.flow_map(jaxcast.Lorenz63(rho=6.0), dt=0.02)(starts[6]), rtol=1e-12)
    truth = jaxcast.Trajectory(0.1 * np.arange(15), np.arange(15.0)[:, None])
    cut = jaxcast.cut_windows(truth, num_windows=3, num_leads=2, history_size=2)
    forecasts = jaxcast.forecast_windows(jaxcast.Forecaster(jaxcast.pooling.Persistence()), cut).forecast
    np.testing.assert_array_equal(forecasts, np.repeat(cut.history[:, -1:], 2, axis=1))
    assert spread == [8, 4]


@pytest.mark.slow
def test_an_odd_number_costs_a_program_of_the_users_no_further_message():
    """Arrays that a program closes over are not traced, but what is made of them in it is."""
    mesh, starts = mesh_of_all(), jnp.ones((3, 3))
    cut = jaxcast.cut_windows(
        jaxcast.Trajectory(0.1 * np.arange(15), np.ones((15, 1))), num_windows=3, num_leads=2, history_size=2
    )
    assert with_repeated(starts, mesh).shape == (4, 3)
    assert devices_for(None, starts).size == mesh.size

    def seen(unused):
        assert with_repeated(starts, mesh) is starts
        assert devices_for(None, starts).size == 1
        return jaxcast.final_states(jaxcast.Lorenz63(rho=unused), starts, duration=0.02, mesh=mesh)

    assert messages(jax.jit(seen).lower(28.0)) == ["all-gather"]
    cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
    run = jax.jit(lambda cell: jaxcast.forecast_windows(cell, cut, mesh=mesh).forecast)
    assert messages(run.lower(cell)) == ["all-gather"]


@pytest.mark.slow
def test_an_odd_number_traces_the_vector_field_once():
    seen = []

    class Watched(jaxcast.dynamics.System):
        components = ("x",)
        rate: jaxcast.dynamics.Parameter = 1.0

        def vector_field(self, t, u):
            seen.append(t)
            return (-self.rate * u[0],)

    for system in (Watched(), Watched(rate=jnp.ones(3))):
        jaxcast.final_states(system, jnp.ones((3, 1)), duration=0.02)
        assert seen
        seen.clear()
        jaxcast.final_states(system, jnp.ones((3, 1)), duration=0.02)
        assert not seen

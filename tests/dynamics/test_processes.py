"""Two real processes of two virtual CPU devices each, joined by jax.distributed, against one process."""

import json
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast

SYSTEM = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"

LIBRARY = """
import json, sys
import jax, jax.numpy as jnp, numpy as np, optax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
import jaxcast
from jaxcast.sharding import everywhere, start_process
start_process(sys.argv[1], 2, int(sys.argv[2]))
assert jax.device_count() == 4 and jax.local_device_count() == 2
system = jaxcast.Lorenz63(rho=jaxcast.LinearRamp(28.0, 30.0, 0.0, 9.0))
u0 = np.random.default_rng(0).normal(size=(51, 3)) + [0.0, 0.0, 25.0]
final = everywhere(jaxcast.final_states(system, u0, duration=0.5))
truth = jaxcast.simulate(system, u0[0], num_samples=120)
windows = jaxcast.cut_windows(truth, num_windows=5, num_leads=10, history_size=6)
samples = jaxcast.one_step_samples(truth, num_delays=2)
def init(key): return jaxcast.pooling.FeedForward(dim=3, num_delays=2, hidden_size=8, key=key, dtype=jnp.float64)
keys = jax.random.split(jax.random.key(0), 3)
fit = jaxcast.fit(samples, init=init, loss=jaxcast.pooling.mean_squared_error, keys=keys, optimizer=optax.adam(1e-2), num_epochs=3, batch_size=32)
cell = jaxcast.Forecaster(jax.tree.map(lambda a: a[0], fit.models))
forecasts = everywhere(jaxcast.forecast_windows(cell, windows).forecast)
print("RESULT" + json.dumps([final.tolist(), np.asarray(fit.losses).tolist(), forecasts.tolist()]))
"""


def free_address():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return f"localhost:{s.getsockname()[1]}"


def run_all(commands):
    """Starts all at once and returns what each printed."""
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    outputs = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [printed for printed, _ in outputs]


@pytest.mark.slow
def test_the_library_gives_the_same_on_one_process_and_on_two():
    address = free_address()
    printed = run_all([[sys.executable, "-c", LIBRARY, address, str(i)] for i in range(2)])
    results = [json.loads(text.split("RESULT")[1].splitlines()[0]) for text in printed]
    assert results[0] == results[1]
    final, losses, forecasts = (np.asarray(part) for part in results[0])

    system = jaxcast.Lorenz63(rho=jaxcast.LinearRamp(28.0, 30.0, 0.0, 9.0))
    u0 = np.random.default_rng(0).normal(size=(51, 3)) + np.asarray([0.0, 0.0, 25.0])
    np.testing.assert_allclose(final, jaxcast.final_states(system, u0, duration=0.5), rtol=1e-12, atol=1e-11)
    truth = jaxcast.simulate(system, u0[0], num_samples=120)
    windows = jaxcast.cut_windows(truth, num_windows=5, num_leads=10, history_size=6)
    samples = jaxcast.one_step_samples(truth, num_delays=2)
    import optax

    def init(key):
        return jaxcast.pooling.FeedForward(dim=3, num_delays=2, hidden_size=8, key=key, dtype=jnp.float64)

    keys = jax.random.split(jax.random.key(0), 3)
    fit = jaxcast.fit(
        samples,
        init=init,
        loss=jaxcast.pooling.mean_squared_error,
        keys=keys,
        optimizer=optax.adam(1e-2),
        num_epochs=3,
        batch_size=32,
    )
    np.testing.assert_allclose(losses, fit.losses, rtol=1e-12)
    cell = jaxcast.Forecaster(jax.tree.map(lambda a: a[0], fit.models))
    expected = jaxcast.forecast_windows(cell, windows).forecast
    np.testing.assert_allclose(forecasts, expected, rtol=1e-12, atol=1e-11)


def simulate(out, *options):
    return [sys.executable, "-m", "jaxcast.cli.main", "simulate", "--system", SYSTEM, "--out", str(out), *options]


def together(out, *options):
    """The same command for each of two processes."""
    joined = ["--processes", "2", "--coordinator", free_address(), "--process-id"]
    return [simulate(out, *options, *joined, str(i)) for i in range(2)]


def states_in(store):
    import zarr

    return zarr.open_array(store / "states", mode="r")[:]


@pytest.mark.slow
def test_the_command_writes_the_same_store_from_one_process_and_from_two(tmp_path):
    pytest.importorskip("zarr", reason="the storage extra is not installed")
    sizes = ["--num-trajectories", "23", "--num-samples", "8", "--batch-size", "5", "--transient", "1"]
    run_all(together(tmp_path / "two.zarr", *sizes))
    run_all([simulate(tmp_path / "one.zarr", *sizes)])
    one, two = (states_in(tmp_path / name) for name in ("one.zarr", "two.zarr"))
    assert np.isfinite(one).all()
    np.testing.assert_allclose(two, one, rtol=1e-12, atol=1e-11)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zarr", "two.zarr"]


@pytest.mark.slow
def test_where_one_of_two_is_killed_the_other_ends_and_the_same_commands_go_on(tmp_path):
    pytest.importorskip("zarr", reason="the storage extra is not installed")
    sizes = ["--num-trajectories", "150", "--num-samples", "8", "--batch-size", "2", "--transient", "1"]
    out, log = tmp_path / "two.zarr", tmp_path / "log"
    with log.open("w") as errors:
        first, second = (subprocess.Popen(c, stdout=errors, stderr=errors) for c in together(out, *sizes))
    mark = tmp_path / "two.zarr.partial" / "zarr.json"
    while first.poll() is None and not (mark.exists() and re.search(r'"num_done": [1-9]', mark.read_text())):
        time.sleep(0.01)
    second.kill()
    assert second.wait() == -signal.SIGKILL, log.read_text()
    assert first.wait(timeout=60) == 2, log.read_text()
    assert "error: another process of this run has ended" in log.read_text()
    assert mark.exists()
    assert not out.exists()
    log.unlink()

    run_all(together(out, *sizes))
    run_all([simulate(tmp_path / "one.zarr", *sizes)])
    np.testing.assert_array_equal(states_in(out), states_in(tmp_path / "one.zarr"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zarr", "two.zarr"]

"""Fixtures, and how JAX computes in tests; for the processes that run tests."""

import contextlib
import gc
import os
import re

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

import jaxcast

jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
# What the suite compiles stays; looking through all of it for garbage again and again is a tenth of its time.
gc.freeze()
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="session")
def truth():
    """The paper's non-stationary system."""
    return jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))


@pytest.fixture(scope="session")
def trajectory(truth):
    return jaxcast.simulate(truth, [1.0, 2.0, 20.0], num_samples=400, transient=20.0)


@pytest.fixture(scope="session")
def candidates():
    """The paper's eleven models."""
    ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in range(28, 50, 2)])
    return jaxcast.flow_map(ensemble, dt=0.1, h=0.01)


@pytest.fixture(scope="session")
def attention():
    """An untrained pool of the paper's size, in float64, with weights far from equal."""
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=120, key=jax.random.key(3), dtype=jnp.float64)
    pool.score.kernel[...] *= 10
    return pool


@pytest.fixture(autouse=True)
def the_users_precision():
    """Commands that ran in this process have asked for the highest; the library leaves the choice to the user."""
    jax.config.update("jax_default_matmul_precision", None)


@pytest.fixture
def without_type_checks():
    """Lets wrong shapes through to the library's own checks, as for a user, who runs without beartype."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def refused_in_one_line(monkeypatch):
    """In a folder: what follows raises InputError with one line like the message, and leaves every file as it was."""

    @contextlib.contextmanager
    def refused(folder, message):
        monkeypatch.chdir(folder)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        with pytest.raises(jaxcast.InputError) as caught:
            yield
        assert re.search(message, str(caught.value)), str(caught.value)
        assert "\n" not in str(caught.value)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    return refused


@pytest.fixture
def count_compilations():
    """Returns a function that counts the programs compiled since it was last called."""
    compiled = []

    def listen(event, duration, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)

    def count():
        number = len(compiled)
        compiled.clear()
        return number

    yield count
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Lets go of a file's compiled programs: those of all files together fill gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()

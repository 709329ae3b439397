"""Many trajectories: final states, samples in memory, and a store on disk larger than memory.

The peers are C with SIMD and OpenMP (the machine's limit), the textbook program under `jax.vmap`,
diffrax with fixed steps under `jax.vmap`, torch on arrays of all trajectories, and heyoka's batch
integrator, which takes its own Taylor steps to a tolerance. The system is Lorenz '63 with
rho(t) = 28 + 0.02 t, by RK4 with h = 0.01.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from benchmarks import frame, limit
from benchmarks.single import RATE, RHO0, H, Linear, diffrax_solve

CENTER = np.asarray([0.0, 0.0, 25.0])


class Coupled(jaxcast.System):
    """A user's own system: Lorenz '63 coupled both ways to a fourth variable."""

    components = ("x", "y", "z", "w")
    rho: jaxcast.dynamics.Parameter = 28.0
    coupling: jaxcast.dynamics.Parameter = 0.5

    def vector_field(self, t: Any, u: Any) -> Any:
        x, y, z, w = u
        return 10.0 * (y - x) + w, x * (self.rho - z) - y, x * y - 8.0 / 3.0 * z, -self.coupling * w - 0.1 * x * z


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures all cases for one number of cores."""
    for dtype in ("float64", "float32"):
        for num in (1_000,) if quick else (100_000, 1_000_000):
            yield from final_rows(num, dtype, threads, quick)
    yield from recorded_rows(threads, quick)
    if threads == 1:
        yield from other_systems(quick)
    else:
        yield from streamed_rows(threads, quick)


def final_rows(num: int, dtype: str, threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures the state after 100 steps; for slow peers with a million states, after 20."""
    u0 = starts(num, CENTER, dtype)
    system = jaxcast.Lorenz63(rho=Linear(RHO0, RATE))

    def cases(num_steps: int) -> dict[str, Callable[[], Any]]:
        functions: frame.Functions = {frame.OURS: lambda: jaxcast.final_states(system, u0, duration=num_steps * H, h=H)}
        if limit.library(dtype) is not None:
            ensemble = limit.Ensemble(np.asarray(u0), RHO0)
            functions["C, SIMD and OpenMP"] = lambda: ensemble.run(num_steps, H, RATE)
        return functions

    def slow(num_steps: int) -> dict[str, Callable[[], Any]]:
        run = jax.jit(jax.vmap(lambda u: jnp.stack(diffrax_solve(u, diffrax.SaveAt(t1=True), num_steps), -1)[0]))
        return {"diffrax under vmap": lambda: run(u0)} | torch_peer(np.asarray(u0), num_steps, threads)

    plain = jax.jit(jax.vmap(lambda u: textbook(system, u, 100)))
    last = cases(100) | {"plain vmap": lambda: plain(u0)}
    check(last, u0)
    case = f"final state of {num} after"
    repeats = 20 if num < 1_000_000 else 8
    yield from frame.rows_against(f"{case} 100 steps", dtype, threads, last, repeats=repeats, quick=quick)
    num_steps = 100 if num < 1_000_000 else 20
    functions = {frame.OURS: cases(num_steps)[frame.OURS]} | slow(num_steps)
    yield from frame.rows_against(f"{case} {num_steps} steps", dtype, threads, functions, repeats=8, quick=quick)
    if dtype == "float64" and num <= 100_000:
        functions = {frame.OURS: cases(100)[frame.OURS]} | heyoka_peer(np.asarray(u0), 100 * H, threads)
        check(functions, u0)
        yield from frame.rows_against(f"{case} 1 unit of time", dtype, threads, functions, repeats=8, quick=quick)


def recorded_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Records every tenth step in memory, 24 MB of float32; C in its fastest order of axes."""
    num = 1_024 if quick else 98_304
    u0 = starts(num, CENTER, "float32")
    system = jaxcast.Lorenz63(rho=Linear(RHO0, RATE))
    functions = {frame.OURS: lambda: jaxcast.simulate_ensemble(system, u0, num_samples=21, dt=10 * H, h=H).states}
    if limit.library("float32") is not None:
        ensemble = limit.Ensemble(np.asarray(u0), RHO0)
        record = ensemble.new_record(20)
        functions["C, SIMD and OpenMP"] = lambda: ensemble.run(200, H, RATE, record, 10)
    yield from frame.rows_against(f"{num} recorded 20 times", "float32", threads, functions, quick=quick)


def other_systems(quick: bool) -> Iterator[frame.Row]:
    """Measures other systems against the textbook program under vmap."""
    num = 1_000 if quick else 100_000
    systems = {
        "Lorenz '96, 8 sites": jaxcast.Lorenz96(dim=8),
        "Lorenz '96, 40 sites": jaxcast.Lorenz96(dim=40),
        "Roessler": jaxcast.Rossler(),
        "a user's own, 4 variables": Coupled(),
    }
    for name, system in systems.items():
        for dtype in ("float64", "float32"):
            yield from other_rows(name, system, num, dtype, quick)


def other_rows(name: str, system: jaxcast.System, num: int, dtype: str, quick: bool) -> Iterator[frame.Row]:
    """Measures one system."""
    u0 = starts(num, np.asarray(system.center or np.zeros(system.dim)), dtype)
    plain = jax.jit(jax.vmap(lambda u: textbook(system, u, 50)))
    functions = {
        frame.OURS: lambda: jaxcast.final_states(system, u0, duration=50 * H, h=H),
        "plain vmap": lambda: plain(u0),
    }
    check(functions, u0)
    yield from frame.rows_against(f"{name}, {num} after 50 steps", dtype, 1, functions, repeats=8, quick=quick)


def textbook(system: jaxcast.System, u: Any, num_steps: int) -> Any:
    """Runs the program that one writes first: one array, Runge-Kutta in four lines, a scan."""

    def field(t: Any, u: Any) -> Any:
        if isinstance(system, jaxcast.Lorenz96):
            return (jnp.roll(u, -1) - jnp.roll(u, 2)) * jnp.roll(u, 1) - u + system.forcing
        return jnp.stack(system(t, tuple(u)))

    def step(u: Any, n: Any) -> Any:
        t = n * jnp.asarray(H, u.dtype)
        k1 = field(t, u)
        k2 = field(t + H / 2, u + H / 2 * k1)
        k3 = field(t + H / 2, u + H / 2 * k2)
        k4 = field(t + H, u + H * k3)
        return u + H / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    return jax.lax.scan(step, u, jnp.arange(num_steps))[0]


def torch_peer(u0: np.ndarray, num_steps: int, threads: int) -> dict[str, Callable[[], Any]]:
    """Returns torch's program: separate components, in place if that saves memory traffic, eager."""
    try:
        import torch
    except ImportError:
        print("no torch here: its rows are left out", file=sys.stderr)
        return {}
    torch.set_num_threads(threads)
    start = [torch.tensor(c) for c in u0.T.copy()]

    def field(t: float, u: list[Any]) -> list[Any]:
        x, y, z = u
        return [10.0 * (y - x), x * ((RHO0 + RATE * t) - z) - y, torch.addcmul(z * (-8.0 / 3.0), x, y)]

    def run() -> list[Any]:
        u = start
        with torch.inference_mode():
            for n in range(num_steps):
                t = n * H
                k1 = field(t, u)
                k2 = field(t + H / 2, [a.add(k, alpha=H / 2) for a, k in zip(u, k1, strict=True)])
                k3 = field(t + H / 2, [a.add(k, alpha=H / 2) for a, k in zip(u, k2, strict=True)])
                k4 = field(t + H, [a.add(k, alpha=H) for a, k in zip(u, k3, strict=True)])
                slopes = [(a + d).add_(b + c, alpha=2) for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
                u = [a.add(s, alpha=H / 6) for a, s in zip(u, slopes, strict=True)]
        return u

    return {"torch on all at once": run}


def heyoka_peer(u0: np.ndarray, duration: float, threads: int) -> dict[str, Callable[[], Any]]:
    """Returns heyoka's program: batches of the size that it recommends, one integrator a thread.

    At this tolerance its median error after one unit of time is a fifth of that of RK4 with
    h = 0.01, and its largest error is twice as large; its time hardly depends on the tolerance. Its
    own ensembles copy the integrator for every batch, which takes a hundred times as long as such
    short integrations.
    """
    try:
        import heyoka
    except ImportError:
        print("no heyoka here: its rows are left out", file=sys.stderr)
        return {}
    x, y, z = heyoka.make_vars("x", "y", "z")
    slopes = [10.0 * (y - x), x * (RHO0 + RATE * heyoka.time - z) - y, x * y - 8.0 / 3.0 * z]
    size = heyoka.recommended_simd_size()
    system = list(zip((x, y, z), slopes, strict=True))
    integrators = [heyoka.taylor_adaptive_batch(system, np.zeros((3, size)), tol=1e-5) for _ in range(threads)]
    padded = np.pad(u0.T, ((0, 0), (0, -len(u0) % size)), mode="edge")
    end = np.empty_like(padded)
    batches = np.array_split(np.arange(0, padded.shape[1], size), threads)

    def some(integrator: Any, batches: np.ndarray) -> None:
        for first in batches:
            integrator.set_time(0.0)
            integrator.state[:] = padded[:, first : first + size]
            integrator.propagate_until(duration)
            end[:, first : first + size] = integrator.state

    def run() -> np.ndarray:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, integrators, batches))
        return end

    return {"heyoka in batches, tolerance 1e-5": run}


def check(functions: dict[str, Callable[[], Any]], u0: Any) -> None:
    """Checks that nine tenths of the trajectories agree."""
    ours = np.asarray(functions[frame.OURS]())
    for name, function in functions.items():
        theirs = np.asarray(function())
        theirs = theirs[:, : len(ours)].T if theirs.shape != ours.shape else theirs
        close = np.isclose(theirs, ours, rtol=1e-2, atol=1e-2).all(-1) | ~np.isfinite(ours).all(-1)
        if close.mean() < 0.9:
            raise AssertionError(f"{name} solves another problem: {close.mean():.0%} of the trajectories agree")


def starts(num: int, center: np.ndarray, dtype: str) -> Any:
    """Draws random states, always the same."""
    return jnp.asarray((np.random.default_rng(0).normal(size=(num, len(center))) + center).astype(dtype))


def streamed_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures `jaxcast simulate` into an uncompressed zarr store, in a process of its own."""
    num, num_samples = (2_000, 20) if quick else (1_000_000, 167)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs.zarr"
        options = ["--num-trajectories", num, "--num-samples", num_samples, "--transient", 0, "--dtype", "float32"]
        command = ["simulate", "--out", store, "--seed", 0, "--batch-size", 8192, *options]
        ours, peak = in_child([str(part) for part in command])
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        case = f"{size / 1e9:.2g} GB streamed to zarr, peak memory {peak / 2**20:.0f} MiB"
        peer, peer_s = (
            (None, None)
            if limit.library("float32") is None
            else ("C to a file", c_to_file(Path(folder) / "runs.bin", num, num_samples))
        )
        yield frame.make_row(case, "float32", threads, ours, peer, peer_s, None)


def in_child(arguments: list[str]) -> tuple[float, int]:
    """Returns the seconds of a whole command, with its start, and its peak memory in bytes."""
    # VmHWM, because getrusage includes the memory of the process that started this one.
    program = (
        "import json, sys, time; began = time.perf_counter(); from jaxcast.cli.main import main; "
        "sys.argv[0] = 'jaxcast'; main(); seconds = time.perf_counter() - began; "
        "(peak,) = [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')]; "
        "print(json.dumps([seconds, int(peak) * 1024]))"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def c_to_file(path: Path, num: int, num_samples: int) -> float:
    """Writes the same bytes from C, chunk by chunk; returns the seconds."""
    chunk = 8192
    ensemble = limit.Ensemble(np.asarray(starts(chunk, CENTER, "float32")), RHO0)
    record = ensemble.new_record(num_samples - 1)
    began = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(-(-num // chunk)):
            ensemble.start.tofile(file)
            ensemble.run(10 * (num_samples - 1), H, 0.0, record, 10)
            record.tofile(file)
        file.flush()
    return time.perf_counter() - began


if __name__ == "__main__":
    frame.run("benchmarks.ensembles", make_rows)

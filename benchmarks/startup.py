"""Time before anything runs: the import, and the compilation of a first forecast's programs.

Imports are timed in fresh processes, in turn with their peer; programs by lowering and compiling them anew, apart
from the median of their runs.
"""

import dataclasses
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jaxcast
from benchmarks.frame import check_report, command, write_report


@dataclasses.dataclass(frozen=True)
class Options:
    """Times the import of jaxcast and the compilation of a forecast and of a gradient through a closed loop."""

    out: Path | None = None
    """JSON file for the rows; they are printed as well."""


def main() -> None:
    """Runs the benchmark."""
    command(Options, "benchmarks.startup", lambda options: measure(options.out))


def measure(out: Path | None) -> None:
    """Prints the rows, and writes them to a file if there is one."""
    check_report(out)
    jax.config.update("jax_enable_x64", True)
    rows = [import_row(), *program_rows()]
    for row in rows:
        print("  ".join(f"{key} {value:.3g}" if isinstance(value, float) else str(value) for key, value in row.items()))
    if out is not None:
        machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "jax": jax.__version__}
        write_report(out, {"machine": machine, "rows": rows})


def import_row(repeats: int = 5) -> dict[str, Any]:
    """Measures `import jaxcast` against importing its libraries."""
    names = ("jaxcast", "jax, flax.nnx, optax")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            seconds[name].append(time.perf_counter() - began)
    ours, peer = (statistics.median(seconds[name]) for name in names)
    return row("import", None, ours, names[1], peer, None)


def program_rows() -> list[dict[str, Any]]:
    """Measures the programs of a first forecast, of the paper's size, in float64."""
    rho = jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132)
    truth = jaxcast.simulate(jaxcast.Lorenz63(rho=rho), [1.0, 2.0, 20.0], num_samples=134, transient=10.0)
    ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in range(28, 50, 2)])
    candidates = jaxcast.flow_map(ensemble)
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=5, hidden_size=120, key=jax.random.key(0), dtype=jnp.float64)

    def forecast(pool: Any, history: Any) -> Any:
        return jaxcast.forecast(jaxcast.Forecaster(pool, candidates), history, 128).forecast

    def loss(pool: Any, history: Any, targets: Any) -> Any:
        forecasts = jaxcast.forecast(jaxcast.Forecaster(pool, candidates), history, 20).forecast
        return jnp.mean((forecasts - targets) ** 2)

    history, targets = truth.states[:6], truth.states[6:26]
    cases: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "forecast of 128 leads": (forecast, (pool, history)),
        "gradient through a closed loop of 20 steps": (jax.grad(loss), (pool, history, targets)),
    }
    rows = []
    for case, (function, arguments) in cases.items():
        began = time.perf_counter()
        compiled = jax.jit(function).lower(*arguments).compile()
        compile_s = time.perf_counter() - began
        jax.block_until_ready(compiled(*arguments))
        seconds = []
        for _ in range(20):
            began = time.perf_counter()
            jax.block_until_ready(compiled(*arguments))
            seconds.append(time.perf_counter() - began)
        rows.append(row(case, "float64", statistics.median(seconds), None, None, compile_s))
    return rows


def row(
    case: str, dtype: str | None, ours: float, peer: str | None, peer_s: float | None, compile_s: float | None
) -> dict[str, Any]:
    """Makes a row in the common format of the benchmarks; ratio = ours / peer."""
    return {
        "case": case,
        "dtype": dtype,
        "threads": os.cpu_count(),
        "ours_s": ours,
        "peer": peer,
        "peer_s": peer_s,
        "ratio": None if peer_s is None else ours / peer_s,
        "compile_s": compile_s,
    }


if __name__ == "__main__":
    main()

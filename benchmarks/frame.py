"""The frame of all benchmarks: a process for each number of threads, peers in turn, medians, rows."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax

from jaxcast.cli.arguments import check_options, parse_arguments
from jaxcast.cli.command import ending_well, take_flags
from jaxcast.cli.streams import printing_safely
from jaxcast.errors import InputError, shown
from jaxcast.io.files import check_output, whole_file
from jaxcast.io.ownership import refuse_replacing
from jaxcast.progress import reporting

Functions = dict[str, Callable[[], Any]]
Row = dict[str, Any]
Kind = TypeVar("Kind")
OURS = "jaxcast"
_SLOW_S = 1.0
_CHILD = "JAXCAST_BENCHMARK_CHILD"


@dataclasses.dataclass(frozen=True)
class Options:
    """Times jaxcast against its peers; every row is a median, and ratio = ours / peer."""

    out: Path | None = None
    """JSON file for the rows; they are printed as well."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of cores, each run in a process of its own; on n cores jax has n devices."""
    quick: bool = False
    """Use small sizes and few repetitions, only to check that everything runs."""


def run(
    module: str,
    make_rows: Callable[[int, bool], Iterator[Row]],
    environments: Mapping[str, Mapping[str, str]] | None = None,
    draw: Callable[[list[Row], Path], None] | None = None,
) -> None:
    """Runs the command line of a benchmark.

    Args:
        module: its name. make_rows: (threads, quick) -> rows, called in a process bound to that many cores.
        environments: variables that must be set before a process starts, under what is added to the names of its
            cases; everything is measured once in each.
        draw: makes a picture of the rows, beside the JSON file.
    """
    command(Options, module, lambda options: _run(options, module, make_rows, environments or {"": {}}, draw))


def command(kind: type[Kind], module: str, function: Callable[[Kind], None]) -> None:
    """Calls a function with the options of the command line.

    Args:
        kind: the dataclass of the options.
        module: its name.
        function: of the options.
    """
    with printing_safely(), ending_well():
        args, level = take_flags(sys.argv[1:])
        prog = f"python -m {module}"
        check_options(kind, args, prog)
        options = parse_arguments(kind, args, prog=prog, description=sys.modules["__main__"].__doc__)
        with reporting("quiet" if _CHILD in os.environ else level):
            function(options)


def _run(
    options: Options,
    module: str,
    make_rows: Callable[[int, bool], Iterator[Row]],
    environments: Mapping[str, Mapping[str, str]],
    draw: Callable[[list[Row], Path], None] | None,
) -> None:
    if _CHILD in os.environ:
        (threads,) = options.threads
        jax.config.update("jax_num_cpu_devices", threads)
        jax.config.update("jax_enable_x64", True)
        for row in make_rows(threads, options.quick):
            print(json.dumps(row), flush=True)
        return
    cores = _cores()
    check_report(options.out, draws=draw is not None)
    if not options.threads or not 1 <= min(options.threads) <= max(options.threads) <= len(cores):
        raise InputError(f"--threads must be from 1 to the {len(cores)} cores there are, got {options.threads}")
    rows: list[Row] = []
    for threads in options.threads:
        for name, variables in environments.items():
            for row in _child_rows(module, threads, cores[:threads], options.quick, variables):
                row["case"] += name
                rows.append(row)
                print(as_text(row), flush=True)
    if options.out is not None:
        write_report(options.out, {"machine": machine(), "rows": rows})
        if draw is not None:
            draw(rows, options.out.with_suffix(".png"))


def check_report(out: Path | None, *, draws: bool = False) -> None:
    """Refuses a report that cannot be written or would replace another kind of file.

    Raises:
        InputError: saying why.
    """
    if out is None:
        return
    if not out.parent.is_dir():
        raise InputError(f"--out must lie in an existing folder, got {shown(out)}")
    check_output(out, (".json",), overwrite=True)
    if draws:
        check_output(out.with_suffix(".png"), (".png",), overwrite=True)


def write_report(out: Path, report: dict[str, Any]) -> None:
    """Writes a report in one piece."""
    with whole_file(out, partial(refuse_replacing, out, overwrite=True)) as growing:
        growing.write_text(json.dumps(report, indent=1) + "\n")


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def _child_rows(
    module: str, threads: int, cores: list[int], quick: bool, variables: Mapping[str, str]
) -> Iterator[Row]:
    command = [sys.executable, "-m", module, "--threads", str(threads), *["--quick"] * quick]
    # Libraries read these when they are loaded, so they cannot be set in the process that measures.
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | {name: str(threads) for name in names} | {"OMP_WAIT_POLICY": "passive", _CHILD: "1"}
    environment.update(variables)
    before = _cores()
    os.sched_setaffinity(0, cores)  # inherited by the child
    try:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            try:
                for line in child.stdout or ():
                    yield json.loads(line)
            except BaseException:  # SIGTERM reaches this process alone
                child.terminate()
                raise
    finally:
        os.sched_setaffinity(0, before)
    if child.returncode:
        sys.exit(child.returncode)


def in_turn(functions: Functions, *, repeats: int = 20, quick: bool = False) -> tuple[dict[str, float], float]:
    """Returns the median seconds of each function, and the compile time of the first.

    Each is called once unmeasured, which compiles it, whatever ran before; then all are called in turn, so that a
    disturbance of the machine affects all. One that takes more than a second runs in every fourth round.
    """
    jax.clear_caches()
    first: dict[str, float] = {name: _seconds(function) for name, function in functions.items()}
    if quick:
        repeats = 2
    slow = {name: _seconds(function) > _SLOW_S for name, function in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for n in range(repeats):
        for name, function in functions.items():
            if not slow[name] or n % 4 == 0:
                seconds[name].append(_seconds(function))
    medians = {name: statistics.median(all_seconds) for name, all_seconds in seconds.items()}
    ours = next(iter(functions))
    return medians, max(0.0, first[ours] - medians[ours])


def rows_against(
    case: str, dtype: str, threads: int, functions: Functions, *, repeats: int = 20, quick: bool = False
) -> Iterator[Row]:
    """Yields a row for each peer; the first function is ours."""
    medians, compile_s = in_turn(functions, repeats=repeats, quick=quick)
    ours = medians.pop(next(iter(functions)))
    for peer, peer_s in medians.items():
        yield make_row(case, dtype, threads, ours, peer, peer_s, compile_s)
    if not medians:
        yield make_row(case, dtype, threads, ours, None, None, compile_s)


def make_row(
    case: str,
    dtype: str | None,
    threads: int,
    ours_s: float,
    peer: str | None,
    peer_s: float | None,
    compile_s: float | None,
) -> Row:
    """Makes a row in the common format of the benchmarks."""
    return {
        "case": case,
        "dtype": dtype,
        "threads": threads,
        "ours_s": ours_s,
        "peer": peer,
        "peer_s": peer_s,
        "ratio": None if peer_s is None else ours_s / peer_s,
        "compile_s": compile_s,
    }


def as_text(row: Row) -> str:
    """Formats a row as one line."""
    ratio = "" if row["ratio"] is None else f"{row['ratio']:8.3f} x {row['peer']}"
    compile_s = "" if row["compile_s"] is None else f"  (compile {row['compile_s']:.2f} s)"
    return f"{row['case']:50s} {row['dtype'] or '':8s} {row['threads']} thr {row['ours_s']:10.3g} s {ratio}{compile_s}"


def machine() -> dict[str, Any]:
    """Describes the machine and the versions."""
    versions = {}
    for name in ("jax", "jaxlib", "flax", "numpy", "numba", "diffrax", "scipy", "torch", "heyoka"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_name(),
        "cores": len(_cores()),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - began

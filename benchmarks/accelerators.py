"""The hot programs on GPU and TPU: kernels, bytes and operations of each step, and the bound that follows.

They are compiled for a device that need not be there (the extra `aot`), by the compiler that would compile them on it.
Where such a device is present they are run as well, and what was measured stands beside the bound.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.frame import OURS, Row, check_report, command, machine, write_report
from benchmarks.hlo import Cost, Module
from benchmarks.ptx import operations, resources
from benchmarks.table import loops_note
from benchmarks.targets import TARGETS, Program, Target, compiled
from jaxcast.errors import InputError
from jaxcast.io.reading import read_json


@dataclasses.dataclass(frozen=True)
class Options:
    """Compiles the hot programs for accelerators, and counts what they do; runs them where there is one."""

    target: tuple[str, ...] = ()
    """Names of devices: h100, h200, v5e. By default the one that is present; where none is, h100 and v5e."""
    out: Path | None = None
    """JSON file for the rows, in which they replace those of the same programs; they are printed as well."""
    quick: bool = False
    """Use small sizes and leave out the plain programs, only to check that everything compiles."""
    only: str = ""
    """Part of the names of the programs to compile; by default all."""


def main() -> None:
    """Runs the command line."""
    command(Options, "benchmarks.accelerators", run)


def run(options: Options) -> None:
    """Compiles the programs, prints their rows, and writes them to a file if there is one."""
    check_report(options.out)
    # A program of a device that is not there can be written to the cache, but not be read from it.
    jax.config.update("jax_enable_compilation_cache", False)
    present = present_target()
    names = options.target or ((present,) if present else ("h100", "v5e"))
    for name in names:
        if name not in TARGETS:
            raise InputError(f"--target must be of {', '.join(TARGETS)}, got {name}")
    old = options.out is not None and options.out.exists()
    rows = {key(row): row for row in read_json(options.out)["rows"]} if options.out is not None and old else {}
    for name in names:
        for row in make_all(name, options.quick, options.only, is_present=name == present):
            rows[key(row)] = row
            print(as_text(row), flush=True)
            if options.out is not None:
                write_report(options.out, {"machine": machine(), "rows": list(rows.values())})


def key(row: Row) -> tuple[str, ...]:
    """Returns what tells a row from others."""
    return row["target"], row["case"], row["path"]


def present_target() -> str | None:
    """Returns the name of the device that jax finds here; None for a CPU."""
    kind = jax.devices()[0].device_kind
    return next((name for name, target in TARGETS.items() if kind.startswith(target.kind)), None)


def make_all(name: str, quick: bool, only: str, *, is_present: bool) -> Iterator[Row]:
    """Yields a row for every program on a device, and one for its plain path."""
    from benchmarks.programs import programs  # with the peers of other benchmarks, which take seconds to load

    target = TARGETS[name]
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("device",)) if is_present else target.mesh()
    for program in programs(quick, mesh):
        if only in program.name:
            ways = {OURS: program.function} | ({"plain": program.plain} if program.plain and not quick else {})
            for path, function in ways.items():
                yield {"path": path} | make_row(
                    dataclasses.replace(program, function=function), name, is_present=is_present
                )


def make_row(program: Program, name: str, *, is_present: bool) -> Row:
    """Compiles a program, counts what it does, and runs it if the device is present."""
    target = TARGETS[name]

    def lower_for(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(function).lower if is_present else partial(target.lower, function)

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        program_of_device: Any = compiled(lower_for(program.function)(*program.args), folder)
        compile_s = time.perf_counter() - began
        used = resources(Path(folder)) if target.platform == "cuda" else None
        module = Module(program_of_device.as_text())
        called = operations(module.kernels(), Path(folder))
    operations_called = called.instructions
    cost = module.cost + Cost(operations=operations_called, unknown=-module.cost.unknown if operations_called else 0.0)
    written = Module(lower_for(program.plain or program.function)(*program.args).as_text(dialect="hlo")).cost
    if not program.plain:
        written += Cost(operations=operations_called)
    if cost.unknown:  # at least what is written
        cost += Cost(operations=written.operations)
    bound_s, bound_by = bound(cost, target)
    memory = program_of_device.memory_analysis()
    return {
        "case": program.name,
        "target": name,
        "launches": cost.kernels,
        "launches_per_step": cost.kernels / program.num_steps,
        "bytes_per_step": cost.bytes / program.num_steps,
        "operations_per_step": cost.operations / program.num_steps,
        "product_flops_per_step": cost.product_flops / program.num_steps,
        "opaque_kernels": cost.unknown,
        "unknown_loops": module.unknown_loops + called.unknown_loops,
        "registers": None if used is None else used.registers,
        "spill_bytes": None if used is None else used.spill_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "bound_s": bound_s,
        "bound_by": bound_by,
        "steps_per_s": program.num_steps * program.width / bound_s,
        "share": arithmetic_s(written, target) / bound_s,
        "compile_s": compile_s,
        "measured_s": measure(program_of_device, program) if is_present else None,
    }


def bound(cost: Cost, target: Target) -> tuple[float, str]:
    """Returns the least time that a program takes on a device, and what takes it."""
    parts = {
        "memory": cost.bytes / target.bandwidth,
        "arithmetic": arithmetic_s(cost, target),
        "launches": cost.kernels * target.launch_s,
        "cycles": cost.cycles / target.clock,
    }
    by = max(parts, key=lambda part: parts[part])
    return parts[by], by


def arithmetic_s(cost: Cost, target: Target) -> float:
    """Returns the least time for a program's operations: products and other arithmetic overlap."""
    return max(cost.operations / target.operations, cost.product_flops / target.product_flops)


def measure(compiled: Any, program: Program, repeats: int = 10) -> float:
    """Returns the median seconds of a run on the device that is present."""
    args = jax.tree.map(
        lambda a: jnp.ones(a.shape, a.dtype) if isinstance(a, jax.ShapeDtypeStruct) else a, program.args
    )
    args = jax.device_put(args)
    jax.block_until_ready(compiled(*args))
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def as_text(row: Row) -> str:
    """Formats a row as one line."""
    used = "" if row["registers"] is None else f", {row['registers']} registers, {row['spill_bytes']} B spilled"
    measured = "not run" if row["measured_s"] is None else f"measured {row['measured_s']:.3g} s"
    case = row["case"] + ", plain" * (row["path"] != OURS) + loops_note(row)
    return (
        f"{row['target']:5s} {case:60s} {row['launches_per_step']:8.3g} launches/step, "
        f"{row['bytes_per_step']:9.3g} B/step, {row['operations_per_step']:9.3g} op/step{used}, "
        f"bound {row['bound_s']:.3g} s by {row['bound_by']} ({row['share']:.0%} of the limit), {measured}"
    )


if __name__ == "__main__":
    main()

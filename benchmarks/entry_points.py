"""Compiles what public names compute, for a GPU and a TPU that need not be there.

The example in the docstring of each name is run on the CPU. Every program that it starts is compiled again for both
devices, with arguments of the same shapes. Single operations of jax.numpy are no programs: jax compiles each by itself.
"""

import dataclasses
import doctest
import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class _NothingToCompileError(Exception):
    pass


class Recorder:
    """Stands for `jax.jit`, and records the calls of the outermost programs."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._jit = jax.jit

    def __call__(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        program = self._jit(function, **options)
        # Only the outermost program may have options, and each becomes a part of one of another device.
        inner = self._jit(function, **{name: value for name, value in options.items() if name != "compiler_options"})

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            # Inside another program even a new array is a tracer.
            if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs, jnp.zeros(())))):
                self.calls.append((inner, args, kwargs))
            return program(*args, **kwargs)

        return call

    def take(self) -> list[Call]:
        """Returns the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


RECORDER = Recorder()
# Modules of the library call `jax.jit` when they are imported.
with mock.patch.object(jax, "jit", RECORDER):
    import jaxcast
    from benchmarks.frame import machine, write_report
    from benchmarks.targets import TARGETS, Target
    from jaxcast.cli.arguments import check_options, parse_arguments
    from jaxcast.cli.command import ending_well, take_flags
    from jaxcast.cli.streams import printing_safely
    from jaxcast.io.reading import read_json
    from jaxcast.progress import reporting

PROG = "python -m benchmarks.entry_points"


@dataclasses.dataclass(frozen=True)
class Options:
    """Compiles what public names compute for an H100 and a TPU v5e."""

    wings: tuple[str, ...] = ("jaxcast", "dynamics", "training", "pooling", "regime", "hub", "series")
    """Namespaces whose names are tried; `jaxcast` is the flat one."""
    out: Path | None = None
    """JSON file for the rows, to which those of more namespaces can be added; they are printed as well."""


def main() -> None:
    """Runs the command line."""
    with printing_safely(), ending_well():
        args, level = take_flags(sys.argv[1:])
        check_options(Options, args, PROG)
        options = parse_arguments(Options, args, prog=PROG, description=__doc__)
        with reporting(level):
            run(options)


def run(options: Options) -> None:
    """Tries the names, prints their rows, and writes them to a file if there is one."""
    rows = read_json(options.out)["rows"] if options.out is not None and options.out.exists() else []
    done = {(row["wing"], row["name"]) for row in rows}
    for wing, name, thing in public_names(options.wings):
        if (wing, name) in done:
            continue
        rows.append(make_row(wing, name, thing))
        print(json.dumps(rows[-1]), flush=True)
        if options.out is not None:
            write_report(options.out, {"machine": machine(), "rows": rows})


def public_names(wings: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Yields the functions of namespaces that have an example, each once."""
    seen: set[Any] = set()
    for wing in wings:
        namespace = jaxcast if wing == "jaxcast" else vars(jaxcast)[wing]
        for name, thing in vars(namespace).items():
            is_ours = inspect.isfunction(thing) and thing.__module__.startswith("jaxcast.")
            if is_ours and not name.startswith("_") and thing not in seen and ">>>" in (inspect.getdoc(thing) or ""):
                seen.add(thing)
                yield wing, name, thing


def make_row(wing: str, name: str, thing: Any) -> dict[str, Any]:
    """Runs an example, and compiles what it called for both devices.

    A function is compiled whole, as in a program of a user's. One that needs values is left to the host; then the
    programs that it starts are compiled.
    """
    whole: list[Call] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        whole.append((thing, args, kwargs))
        return thing(*args, **kwargs)

    namespace = jaxcast if wing == "jaxcast" else vars(jaxcast)[wing]
    RECORDER.take()
    with mock.patch.object(namespace, name, noted):
        run_example(name, inspect.getdoc(thing) or "")
    programs, whole = distinct(RECORDER.take()), whole[:1]
    row: dict[str, Any] = {"wing": wing, "name": name, "num_programs": len(programs)}
    for target_name in ("h100", "v5e"):
        target = TARGETS[target_name]
        refused = [error_of(call, target) for call in whole]
        if whole and not any(refused):
            row[target_name] = "whole"
        elif programs:
            row[target_name] = "; ".join(filter(None, (error_of(call, target) for call in programs))) or "programs"
        else:
            row[target_name] = f"host: {refused[0] if refused else 'its example starts no program'}"
    return row


def run_example(name: str, text: str) -> None:
    """Runs the example in a docstring."""
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, name, None, 0)
    doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None, clear_globs=False)


def distinct(calls: list[Call]) -> list[Call]:
    """Returns one call of each program with arguments of the same shapes."""
    found = {}
    for program, args, kwargs in calls:
        leaves, structure = jax.tree.flatten((args, kwargs))
        shapes = tuple(f"{leaf.shape}{leaf.dtype}" if is_array(leaf) else str(leaf)[:200] for leaf in leaves)
        found[id(program), structure, shapes] = (program, args, kwargs)
    return list(found.values())


def error_of(call: Call, target: Target) -> str:
    """Returns why a program does not compile for a device, in a line, or ""."""
    program, args, kwargs = call
    if "mesh" in kwargs and kwargs["mesh"] is None:  # all devices, and here those of the target
        kwargs = kwargs | {"mesh": target.mesh()}
    structure: Any
    leaves, structure = jax.tree.flatten((args, kwargs))
    leaves = [Mesh(target.mesh().devices, leaf.axis_names) if isinstance(leaf, Mesh) else leaf for leaf in leaves]

    def of_arrays(arrays: list[Any]) -> Any:
        given = iter(arrays)
        args, kwargs = structure.unflatten([next(given) if is_array(leaf) else leaf for leaf in leaves])
        made = [leaf for leaf in jax.tree.leaves(program(*args, **kwargs)) if isinstance(leaf, jax.core.Tracer)]
        if not made:
            raise _NothingToCompileError("it makes no arrays of jax")
        return made

    try:
        target.compile(of_arrays, [leaf for leaf in leaves if is_array(leaf)])
    except _NothingToCompileError as error:
        return str(error)
    except Exception as error:  # whatever a compiler says
        by_value = jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError
        if isinstance(error, by_value) or "on what JAX traces" in str(error):
            return "it looks at values, or works in NumPy"
        return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
    return ""


def is_array(leaf: Any) -> bool:
    """Tells whether a leaf is an argument of a compiled program."""
    return isinstance(leaf, jax.Array | np.ndarray)


if __name__ == "__main__":
    main()

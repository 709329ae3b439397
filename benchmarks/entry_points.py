"""Compiles what public names compute, for a GPU and a TPU that need not be there.

The example in the docstring of each function and class is run on the CPU. What it called is compiled again for both
devices, with arguments of the same shapes: the function, or the methods of the class, as parts of a larger program;
where these need values, every program that the example started. Single operations of jax.numpy are no programs: jax
compiles each by itself.
"""

import contextlib
import dataclasses
import doctest
import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

# A program is compiled for a look, and run once at most: quickly rather than well.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


_NO_ARRAYS = "it makes no arrays of jax"
_BY_VALUE = "it looks at values, works in NumPy or with files"
_CALLS_BACK = "it calls Python from a program, which compiles for a GPU only where there is one"
_OF_THE_HOST = (_NO_ARRAYS, _BY_VALUE, _CALLS_BACK)
NOT_TRIED = "not tried"


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
    from benchmarks.frame import check_report, command, machine, write_report
    from benchmarks.targets import TARGETS, Target
    from jaxcast.checks import check_names
    from jaxcast.errors import InputError, shown
    from jaxcast.io.reading import read_json


@dataclasses.dataclass(frozen=True)
class Options:
    """Compiles what public names compute for an H100 and a TPU v5e."""

    wings: tuple[str, ...] = ()
    """Namespaces whose names are tried; `jaxcast` is the flat one. By default all."""
    out: Path | None = None
    """JSON file for the rows, to which those of more namespaces can be added; they are printed as well."""


def main() -> None:
    """Runs the command line."""
    command(Options, "benchmarks.entry_points", run)


def run(options: Options) -> None:
    """Tries the names, prints their rows, and writes them to a file if there is one."""
    check_report(options.out)
    # A program of a device that is not there can be written to the cache, but not be read from it.
    jax.config.update("jax_enable_compilation_cache", False)
    check_names("namespace", options.wings, namespaces())
    rows = rows_of(options.out) if options.out is not None and options.out.exists() else []
    done = {(row["wing"], row["name"]) for row in rows}
    for wing, name, thing in public_names(options.wings or tuple(namespaces())):
        if (wing, name) in done:
            continue
        rows.append(make_row(wing, name, thing))
        print(json.dumps(rows[-1]), flush=True)
        if options.out is not None:
            write_report(options.out, {"machine": machine(), "rows": rows})


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Reads the rows that this command wrote.

    Raises:
        InputError: if another one wrote them.
    """
    rows: list[dict[str, Any]] = read_json(path)["rows"]
    if not all({"wing", "name"} <= row.keys() for row in rows):
        raise InputError(f"expected rows of benchmarks.entry_points, got {shown(path)}; give --out another name")
    return rows


def namespaces() -> dict[str, Any]:
    """Returns the namespaces that have public names; `jaxcast` is the flat one."""
    packages = {
        name: part
        for name, part in vars(jaxcast).items()
        if inspect.ismodule(part) and part.__name__.startswith("jaxcast.") and "__path__" in vars(part)
    }
    return {"jaxcast": jaxcast} | packages


def public_names(wings: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Yields the functions and classes of namespaces that have an example, each once."""
    seen: set[Any] = set()
    for wing in wings:
        for name, thing in vars(namespaces()[wing]).items():
            is_one = inspect.isfunction(thing) or inspect.isclass(thing)
            is_ours = is_one and thing.__module__.startswith("jaxcast.") and not name.startswith("_")
            if is_ours and thing not in seen and ">>>" in (inspect.getdoc(thing) or ""):
                seen.add(thing)
                yield wing, name, thing


class Watch:
    """Records the first call of each watched function that another watched one does not make."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self._depth = 0

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function that does the same, and records its first call."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._depth:
                given: Any = jax.tree.map(as_given, (args, kwargs))
                self.calls.setdefault(name, (function, given[0], given[1]))
            self._depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1

        return call

    @contextlib.contextmanager
    def watching(self, places: Iterable[Any], name: str, thing: Any) -> Iterator[None]:
        """Watches a function wherever an example can import it from, or the public methods of a class."""
        with contextlib.ExitStack() as stack:
            if inspect.isclass(thing):
                for method_name, method in methods_of(thing):
                    stack.enter_context(mock.patch.object(thing, method_name, self.watched(method_name, method)))
            else:
                watched = self.watched(name, thing)
                for place in places:
                    if vars(place).get(name) is thing:
                        stack.enter_context(mock.patch.object(place, name, watched))
            yield


def methods_of(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yields the public methods that the library wrote for a class."""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        is_public = not name.startswith("_") or name == "__call__"
        if is_public and inspect.isfunction(member) and inspect.unwrap(member).__module__.startswith("jaxcast."):
            yield name, member


def as_given(leaf: Any) -> Any:
    """Returns an argument; of one that is traced, what there is to know of it."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, jax.core.Tracer) else leaf


def make_row(wing: str, name: str, thing: Any) -> dict[str, Any]:
    """Runs an example, and compiles what it called for both devices.

    A function is compiled whole, as in a program of a user's, and so is each method of a class that the example calls.
    What needs values is left to the host; then the programs that the example starts are compiled.
    """
    watch = Watch()
    RECORDER.take()
    with watch.watching([*namespaces().values(), sys.modules[thing.__module__]], name, thing):
        run_example(name, inspect.getdoc(thing) or "")
    programs = distinct(RECORDER.take())
    row: dict[str, Any] = {"wing": wing, "name": name, "num_programs": len(programs)}
    for target_name in ("h100", "v5e"):
        row[target_name] = verdict(list(watch.calls.values()), programs, TARGETS[target_name])
    return row


def verdict(whole: list[Call], programs: list[Call], target: Target) -> str:
    """Returns "whole", "programs", "host: REASON", "not tried: REASON", or what a compiler said."""
    said = [error_of(call, target) for call in whole]
    failed = [error for error in said if error and error not in _OF_THE_HOST]
    if failed or "" in said:
        return "; ".join(failed) or "whole"
    of_programs = [error_of(call, target) for call in programs]
    failed = [error for error in of_programs if error and error not in _OF_THE_HOST]
    if failed or "" in of_programs:
        return "; ".join(failed) or "programs"
    said += of_programs
    return f"host: {said[0]}" if said else f"{NOT_TRIED}: the example does not call it"


def run_example(name: str, text: str) -> None:
    """Runs the example in a docstring."""
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, name, None, 0)
    said: list[str] = []
    if doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False).failed:
        raise InputError(f"the example of {name} fails: {' '.join(said)[-300:]!r}")


def distinct(calls: list[Call]) -> list[Call]:
    """Returns one call of each program with arguments of the same shapes."""
    return list({key_of(call): call for call in calls}.values())


def key_of(call: Call) -> Any:
    """Returns what is equal for calls of one program with arguments of the same shapes."""
    program, args, kwargs = call
    leaves, structure = jax.tree.flatten((args, kwargs))
    shapes = tuple(f"{leaf.shape}{leaf.dtype}" if is_array(leaf) else str(leaf)[:200] for leaf in leaves)
    return program, structure, shapes


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
            raise _NothingToCompileError
        return made

    arrays = [leaf for leaf in leaves if is_array(leaf)]
    try:
        jax.eval_shape(of_arrays, arrays)
    except _NothingToCompileError:
        return _NO_ARRAYS
    except Exception:  # it ran with values, and cannot be traced
        return _BY_VALUE
    try:
        target.compile(of_arrays, arrays)
    except Exception as error:  # whatever a compiler says
        if "no platforms that are instances of gpu are present" in str(error):
            return _CALLS_BACK
        return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
    return ""


def is_array(leaf: Any) -> bool:
    """Tells whether a leaf is an argument of a compiled program."""
    return isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


if __name__ == "__main__":
    main()

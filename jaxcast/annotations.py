"""Reads values by their annotations.

Each becomes what its annotation names, or an `Unusable` that says why it cannot.
"""

import functools
import math
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import AbstractArray
from optax import GradientTransformation

from jaxcast.clock import Instant
from jaxcast.conversion import (
    Unusable,
    as_array,
    as_floats,
    is_no_number,
    kind_of,
    read_key,
    read_number,
    read_tokens,
    read_truth,
    read_whole,
)
from jaxcast.errors import shown
from jaxcast.tracing import is_traced

_HOW_TO_MAKE = {
    "System": "make one, such as jaxcast.Lorenz63(), or read a text by jaxcast.dynamics.parse_system",
    "Trajectory": "give jaxcast.Trajectory(times, states)",
    "SeriesPanel": "read one by jaxcast.series.read_panel, or make one by jaxcast.series.series_panel",
    "SeriesWindows": "make them by jaxcast.series.series_windows",
    "OneStepSamples": "make them by jaxcast.one_step_samples",
    "HubForecasts": "make one by Hub.forecasts() or jaxcast.hub.HubForecasts.of",
    "GradientTransformation": "make one by jaxcast.training.make_optimizer or optax",
    "Windows": "make them by jaxcast.cut_windows",
}


def read_as(annotation: Any, value: Any) -> Any:
    """Reads the value of an argument.

    Args:
        annotation: of its parameter.
        value: what the user gave.

    Returns:
        The value, with lists and whole numbers in floating point where the annotation wants
        that, or an `Unusable`.
    """
    parts = _parts_of(annotation)
    if value is None:
        return None if type(None) in parts or Any in parts else Unusable("is missing, got None", late=True)
    if isinstance(value, Instant) and Instant in parts:
        return value
    if arrays := _arrays_in(annotation):
        return _read_array(arrays, value)
    found = None
    for part in parts:
        if part is type(None):
            continue
        if isinstance(reader := _reader_of(part), type(None)):
            return value
        result = reader(value)
        if not isinstance(result, Unusable):
            return result
        found = result if found is None or (result.late and not found.late) else found
    return found


def read_static(annotation: Any, value: Any) -> Any:
    """Reads a static field of a dataclass: like an argument, but hashable.

    Args:
        annotation: of the field.
        value: what the user gave.

    Returns:
        The value, with an array of one number as that number, or an `Unusable`.
    """
    if isinstance(annotation, str):
        return value
    result = read_as(annotation, value)
    is_one = isinstance(result, np.ndarray | np.generic | jax.Array) and not is_traced(result)
    return result.item() if is_one and np.ndim(result) == 0 and _reader_of(annotation) is read_number else result


def read_leaf(annotation: Any, value: Any) -> Any:
    """Reads a field of a dataclass that is a leaf.

    Placeholders of a tree's structure, such as None and axis numbers, stay as they are.

    Args:
        annotation: of the field.
        value: what the user gave.

    Returns:
        The value, with lists and whole numbers in floating point, or an `Unusable`.
    """
    arrays = _arrays_in(annotation)
    is_looked_at = isinstance(value, np.ndarray | np.generic | jax.Array | list | tuple | str) or is_no_number(value)
    if not is_looked_at or {array.dtype.__name__ for array in arrays} not in ({"Float"}, {"Shaped"}):
        return value
    return as_floats(value, in_jax={array.array_type for array in arrays} == {jax.Array})


def _read_array(arrays: tuple[Any, ...], value: Any) -> Any:
    kinds = {array.dtype.__name__ for array in arrays}
    if kinds == {"Key"}:
        return read_key(arrays[0], value)
    whole = kinds == {"Int"}
    wants_floats = kinds == {"Float"} or (kinds == {"Shaped"} and len(arrays) > 1)
    if not wants_floats and not whole:
        return as_array(value)
    result = read_tokens(value) if whole else as_floats(value, in_jax={a.array_type for a in arrays} == {jax.Array})
    if isinstance(result, Unusable):
        return result
    return _with_axes(arrays, result)


def _with_axes(arrays: tuple[Any, ...], value: Any) -> Any:
    """Refuses other axes than the annotation names, empty axes, and a number that is not finite."""
    wanted = arrays[0].dim_str.split()
    shape = np.shape(value)
    if not wanted and not shape:
        if not is_traced(value) and not math.isfinite(value):
            return Unusable(f"must be a finite number, got {value}", late=True)
        return value
    at_least = [name for name in wanted if name != "..." and not name.startswith("*")]
    is_open = len(at_least) < len(wanted)
    if len(shape) < len(at_least) or (len(shape) > len(at_least) and not is_open):
        words = f"have the shape ({', '.join(wanted)})" if wanted else "be one number"
        return Unusable(f"must {words}, got the shape {shape}", late=True)
    before = next((i for i, name in enumerate(wanted) if name == "..." or name.startswith("*")), len(at_least))
    lengths = shape[:before] + shape[len(shape) - (len(at_least) - before) :]
    # A pool without delays has no lags in its memory; a family may have no unknown parameters.
    if any(length == 0 and name not in ("lag", "parameter") for name, length in zip(at_least, lengths, strict=True)):
        return Unusable(f"must not be empty, got the shape {shape}", late=True)
    return value


def size_conflict(
    annotation: Any, value: Any, name: str, sizes: dict[str, tuple[str, int]], *, first_only: bool = False
) -> Unusable | None:
    """Compares the axes of an array with earlier axes of the same names.

    Args:
        annotation: of the array.
        value: the array.
        name: of the argument.
        sizes: the first argument with each axis, and its size there; new axes are added.
        first_only: compares the first axis alone. The arrays of a record share only that one:
            values and quantiles may both have an axis called dim.

    Returns:
        None, or an `Unusable` for a size that differs.
    """
    arrays = _arrays_in(annotation)
    shape = getattr(value, "shape", None)
    if not arrays or not shape:
        return None
    axes = arrays[0].dim_str.split()
    is_named = [axis.isidentifier() for axis in axes]
    before = is_named.index(False) if False in is_named else len(axes)
    pairs = [*zip(axes[:before], shape, strict=False)][: 1 if first_only else None]
    if before < len(axes) and not first_only:  # counted from the end
        after = len(axes) - 1 - is_named[::-1].index(False)
        pairs += zip(axes[:after:-1], shape[::-1], strict=False)
    for axis, size in pairs:
        other, known = sizes.setdefault(axis, (name, size))
        if known != size:
            return Unusable(f"has {size} along the axis {axis}, where {other} has {known}", late=True)
    return None


def _read_sequence(of: Any, value: Any, is_tuple: bool) -> Any:
    """Reads a tuple or list, member by member; a single text is not a sequence."""
    has_axes = getattr(value, "ndim", 1) != 1
    if (
        isinstance(value, str | bytes | Mapping | type)
        or not hasattr(value, "__iter__")
        or (has_axes and of in (int, float))
    ):
        return Unusable(f"must be a list of {_words_of(of)}, got {kind_of(value)}")
    if isinstance(value, np.ndarray | jax.Array):
        if is_traced(value) or of not in (int, float):
            return value
        value = value.tolist()
    members = [read_as(of, member) for member in value]
    for member in members:
        if isinstance(member, Unusable):
            return member._replace(reason=f"must be a list of {_words_of(of)}, one member {member.reason}")
    return members if isinstance(value, list) and not is_tuple else tuple(members)


def _read_record(kind: Any, value: Any) -> Any:
    """Reads a named tuple: its arrays become floating point."""
    if not isinstance(value, kind):
        return _not_a(kind, value)
    changed = {}
    sizes: dict[str, tuple[str, int]] = {}
    for name, annotation in kind.__annotations__.items():
        given = getattr(value, name)
        if isinstance(annotation, str):
            continue
        if annotation is Any and (isinstance(given, str | bytes) or callable(given)):
            return Unusable(f"holds {name} that must be numbers, got {kind_of(given)}")
        result = read_as(annotation, given)
        if isinstance(result, Unusable) and result.late and 0 in getattr(given, "shape", ()):
            continue  # a memory without delays, a rollout of no steps
        unusable = (
            result if isinstance(result, Unusable) else size_conflict(annotation, result, name, sizes, first_only=True)
        )
        if unusable is not None:
            return unusable._replace(reason=f"holds {name} that {unusable.reason}")
        if result is not given:
            changed[name] = result
    return value._replace(**changed) if changed else value


@functools.cache
def _reader_of(annotation: Any) -> Callable[[Any], Any] | None:
    """Returns a function from a value to the value read or an `Unusable`; None if any value will do."""
    origin = typing.get_origin(annotation)
    simple = {float: read_number, int: read_whole, bool: read_truth, Path: _read_path, os.PathLike: _read_path}
    if annotation in simple or origin in simple:
        return simple.get(annotation) or simple[origin]
    if origin is Literal:
        options = typing.get_args(annotation)
        return lambda value: value if isinstance(value, str) and value in options else _no_option(options, value)
    if origin in (Sequence, tuple, list) and (members := typing.get_args(annotation)):
        if origin is tuple and members[-1] is not Ellipsis:
            return None
        return functools.partial(_read_sequence, members[0], is_tuple=origin is tuple)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Callable):  # type: ignore[arg-type]
        return lambda value: value if callable(value) else Unusable(f"must be a function, got {kind_of(value)}")
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return lambda value: value if isinstance(value, Mapping) else Unusable(f"must be a dict, got {kind_of(value)}")
    if annotation is str:
        return lambda value: value if isinstance(value, str) else Unusable(f"must be a text, got {kind_of(value)}")
    if isinstance(annotation, type) and annotation.__module__.startswith("jaxcast"):
        if issubclass(annotation, tuple) and annotation.__name__ not in ("Input", "Output", "FitResult"):
            return functools.partial(_read_record, annotation)
        return lambda value: value if isinstance(value, annotation) else _not_a(annotation, value)
    if annotation is GradientTransformation:
        return lambda value: value if isinstance(value, annotation) else _not_a(annotation, value)
    return None


def _read_path(value: Any) -> Any:
    return value if isinstance(value, str | os.PathLike) else Unusable(f"must be a path, got {kind_of(value)}")


def _no_option(options: tuple[Any, ...], value: Any) -> Unusable:
    return Unusable(f"must be {' or '.join(map(repr, options))}, got {shown(repr(value))}", late=isinstance(value, str))


def _not_a(kind: type, value: Any) -> Unusable:
    hint = _HOW_TO_MAKE.get(kind.__name__)
    return Unusable(f"must be a {kind.__name__}, got {kind_of(value)}" + (f"; {hint}" if hint else ""))


def _words_of(annotation: Any) -> str:
    return {int: "whole numbers", float: "numbers", str: "texts"}.get(
        annotation, getattr(annotation, "__name__", "values")
    )


@functools.cache
def _parts_of(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


@functools.cache
def _arrays_in(annotation: Any) -> tuple[Any, ...]:
    """Returns the members of an annotation that are jaxtyping's arrays."""
    return tuple(part for part in _parts_of(annotation) if isinstance(part, type) and issubclass(part, AbstractArray))

"""Checks of arguments, by their annotations: numbers become floating point, what cannot be used is refused in one line."""

import functools
import inspect
import math
import numbers
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray
from optax import GradientTransformation

from jaxcast.clock import Instant
from jaxcast.errors import InputError, shown

P = ParamSpec("P")
R = TypeVar("R")

_HOW_TO_MAKE = {
    "System": "make one, such as jaxcast.Lorenz63(), or read a text by jaxcast.dynamics.parse_system",
    "Trajectory": "give jaxcast.Trajectory(times, states)",
    "SeriesWindows": "make them by jaxcast.series.series_windows",
    "OneStepSamples": "make them by jaxcast.one_step_samples",
    "HubForecasts": "make one by Hub.course() or jaxcast.hub.HubForecasts.of",
    "GradientTransformation": "make one by jaxcast.training.make_optimizer or optax",
    "Windows": "make them by jaxcast.cut_windows",
}
_IN_JAX = (
    "a function given to jaxcast uses float(), int(), bool(), if or NumPy on what JAX traces; write it in jax.numpy, with "
    "jnp.where for if; a simulator outside of JAX is wrapped: jaxcast.dynamics.ExternalCandidates"
)
_OUTSIDE = re.compile(r"(external function raised [^\n]*|expected forecasts [^\n]* of the external function[^\n]*)")


class _Unusable(NamedTuple):
    """Why a value cannot be what its annotation says. late: the function's own message, if it has one, comes first."""

    reason: str
    late: bool = False


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a public function read its arguments by their annotations, and refuse those that it cannot use.

    - `Float[...]` and `Shaped[ArrayLike, ...]`: lists, whole numbers and truth values of any width become floating point, so
      that they give what floats give; floats of any width stay as they are.
    - `float`, `int`, `Scalar`: one number; NaN and infinity are refused, and fractions where whole numbers are wanted.
    - tuples of jaxcast, such as a `Trajectory`: their arrays alike.
    - other classes of jaxcast, callables, texts and keys: nothing else than those.

    A wrong number of axes, an empty array, None, NaN and an unknown option are refused after the function had its say, whose
    own message knows more. Traced values are looked at as far as they can be.

    Args:
        function: whose parameters are annotated.

    Returns:
        The function, which raises InputError in place of an accident deep inside.

    Example:
        >>> from jaxtyping import Array, Float
        >>> from jaxcast.arguments import checked
        >>> @checked
        ... def mean(values: Float[Array, " time"]) -> Float[Array, ""]:
        ...     return values.mean()
        >>> float(mean([1, 2])), mean.__name__
        (1.5, 'mean')
    """
    parameters = inspect.signature(function).parameters
    positional = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    annotations = {
        name: (parameter.annotation, parameter.default)
        for name, parameter in parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.annotation is not parameter.empty
        and not isinstance(parameter.annotation, str)
    }
    name_of_it = function.__qualname__.removesuffix(".__init__").removesuffix(".__call__")

    @functools.wraps(function)
    def with_checks(*args: P.args, **kwargs: P.kwargs) -> R:
        late = None
        found: dict[str, Any] = {}
        sizes: dict[str, tuple[str, int]] = {}
        for name, value in (*zip(positional, args, strict=False), *kwargs.items()):
            annotation, default = annotations.get(name, (Any, value))
            if value is default:
                continue
            read = _read(annotation, value)
            if not isinstance(read, _Unusable):
                found[name] = read
                read = _of_other_size(annotation, read, name, sizes)
            if isinstance(read, _Unusable):
                message = f"{name} of {name_of_it} {read.reason}"
                if not read.late:
                    raise InputError(message)
                late = late or message
        values = [found.get(name, value) for name, value in zip(positional, args, strict=False)]
        return _called(
            function,
            (*values, *args[len(positional) :]),
            {name: found.get(name, value) for name, value in kwargs.items()},
            late,
        )

    return with_checks


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], late: str | None) -> Any:
    try:
        result = function(*args, **kwargs)
        if any(map(_is_outside, jax.tree.leaves((args, kwargs), is_leaf=_is_outside))):
            jax.block_until_ready(result)  # else what it raises comes later, somewhere else
    except InputError:
        raise
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise InputError(late or _IN_JAX) from error
    except jax.errors.JaxRuntimeError as error:
        if found := _OUTSIDE.search(str(error)):
            raise InputError(shown(found[0])) from None
        if (words := _beyond_the_machine(error)) is None:
            raise
        raise InputError(words) from error
    except Exception as error:
        if late is None:
            late = _beyond_the_machine(error)
        if late is None:
            raise
        raise InputError(late) from error
    if late is not None:
        raise InputError(late)
    return result


def _beyond_the_machine(error: Exception) -> str | None:
    """What to say of memory that is not there, and of numbers too short for linear algebra."""
    text = str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return f"this needs more memory than there is ({shown(text.splitlines()[0] if text else 'no more is said')}); ask for less"
    if isinstance(error, NotImplementedError) and "Unsupported dtype" in text:
        return "numbers of 16 bits are too short for linear algebra; give float32 or float64"
    return None


def _is_outside(leaf: Any) -> bool:
    return getattr(type(leaf), "is_outside_jax", False)


def _read(annotation: Any, value: Any) -> Any:
    """The value as the annotation wants it, or why it cannot be."""
    parts = _parts_of(annotation)
    if value is None:
        return None if type(None) in parts or Any in parts else _Unusable("is missing, got None", late=True)
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
        read = reader(value)
        if not isinstance(read, _Unusable):
            return read
        found = read if found is None or (read.late and not found.late) else found
    return found


@functools.cache
def _parts_of(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


@functools.cache
def _arrays_in(annotation: Any) -> tuple[Any, ...]:
    """The members of an annotation that are jaxtyping's arrays."""
    return tuple(part for part in _parts_of(annotation) if isinstance(part, type) and issubclass(part, AbstractArray))


def _read_array(arrays: tuple[Any, ...], value: Any) -> Any:
    kinds = {array.dtype.__name__ for array in arrays}
    if kinds == {"Key"}:
        return _read_key(arrays[0], value)
    whole = kinds == {"Int"}
    wants_floats = kinds == {"Float"} or (kinds == {"Shaped"} and len(arrays) > 1)
    if not wants_floats and not whole:
        return _listed(value)
    read = _read_tokens(value) if whole else as_floats(value, in_jax={a.array_type for a in arrays} == {jax.Array})
    if isinstance(read, _Unusable):
        return read
    return _with_axes(arrays, read)


def _with_axes(arrays: tuple[Any, ...], value: Any) -> Any:
    """The value, or that it has another number of axes than the annotation names, or is one number that is not finite."""
    wanted = arrays[0].dim_str.split()
    shape = np.shape(value)
    if not wanted and not shape:
        if not isinstance(value, jax.core.Tracer) and not math.isfinite(value):
            return _Unusable(f"must be a finite number, got {value}", late=True)
        return value
    at_least = [name for name in wanted if name != "..." and not name.startswith("*")]
    is_open = len(at_least) < len(wanted)
    if len(shape) < len(at_least) or (len(shape) > len(at_least) and not is_open):
        words = f"have the shape ({', '.join(wanted)})" if wanted else "be one number"
        return _Unusable(f"must {words}, got the shape {shape}", late=True)
    before = next((i for i, name in enumerate(wanted) if name == "..." or name.startswith("*")), len(at_least))
    lengths = shape[:before] + shape[len(shape) - (len(at_least) - before) :]
    # A pool without delays has a memory of no lags, a family whose parameters are all known has none to be given.
    if any(length == 0 and name not in ("lag", "parameter") for name, length in zip(at_least, lengths, strict=True)):
        return _Unusable(f"must not be empty, got the shape {shape}", late=True)
    return value


def _of_other_size(
    annotation: Any, value: Any, name: str, sizes: dict[str, tuple[str, int]], *, first_only: bool = False
) -> _Unusable | None:
    """Compares the axes of an array with those of the same names before it; they are added to `sizes`.

    Of records the first axes alone, which count the same; values and quantiles may both be called dim there.
    """
    arrays = _arrays_in(annotation)
    shape = getattr(value, "shape", None)
    if not arrays or not shape:
        return None
    axes = arrays[0].dim_str.split()
    is_named = [axis.isidentifier() for axis in axes]
    before = is_named.index(False) if False in is_named else len(axes)
    pairs = [*zip(axes[:before], shape, strict=False)][: 1 if first_only else None]
    if before < len(axes) and not first_only:  # behind an open number of axes counted from the end
        after = len(axes) - 1 - is_named[::-1].index(False)
        pairs += zip(axes[:after:-1], shape[::-1], strict=False)
    for axis, size in pairs:
        other, known = sizes.setdefault(axis, (name, size))
        if known != size:
            return _Unusable(f"has {size} along the axis {axis}, where {other} has {known}", late=True)
    return None


def check_finite(data: Any, axis: str = "sample", weights: Any = None) -> None:
    """Refuses NaN and infinity in what is to be learned from.

    Args:
        data: a tree of arrays with a leading axis, such as a tuple or a dict; only floating-point leaves are looked at, and none
            that are traced.
        axis: what the leading axis counts.
        weights: of every number of the leaves; where one is 0 anything may stand.

    Raises:
        InputError: that names the array and its first bad sample.

    Example:
        >>> import numpy as np
        >>> from jaxcast.arguments import check_finite
        >>> check_finite({"targets": np.asarray([[1.0], [np.nan]])})
        Traceback (most recent call last):
            ...
        jaxcast.errors.InputError: expected finite numbers to learn from, got NaN or infinity in 1 of 2 samples of targets, first in sample 1; drop or fill them
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        if isinstance(leaf, jax.core.Tracer) or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            continue
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        finite = np.isfinite(np.asarray(leaf))  # of numpy: inside of a program that is compiled those of JAX are traced
        if weights is not None and not isinstance(weights, jax.core.Tracer):
            finite = finite | (np.asarray(weights) == 0)
        if finite.all():
            continue
        bad = np.flatnonzero(~finite.reshape(len(finite), -1).all(1))
        raise InputError(
            f"expected finite numbers to learn from, got NaN or infinity in {len(bad)} of {len(finite)} {axis}s of "
            f"{name or 'the data'}, first in {axis} {bad[0]}; drop or fill them"
        )


def is_zero(penalty: Any) -> bool:
    """Whether a penalty is known to be 0, which asks for plain least squares."""
    return not isinstance(penalty, jax.core.Tracer) and float(np.asarray(penalty)) == 0


def check_penalty(penalty: Any) -> None:
    """Raises InputError for a penalty below zero or none at all; one that is traced is not looked at."""
    if not isinstance(penalty, jax.core.Tracer) and not 0 <= float(np.asarray(penalty)) < math.inf:
        raise InputError(f"penalty must be zero or more, and finite, got {penalty}")


def as_floats(value: Any, *, in_jax: bool = False) -> Any:
    """The value in floating point: arrays and numbers that are so already as they are, whole numbers and lists converted.

    Args:
        value: numbers, an array or nested lists.
        in_jax: whether lists and arrays of NumPy's whole numbers become arrays of JAX.

    Returns:
        The numbers, or an `_Unusable`, for what is not numbers.
    """
    if isinstance(value, bool | int | np.integer | np.bool):
        return float(value)
    if isinstance(value, float | np.floating):
        return value
    array = _listed(value)
    if isinstance(array, _Unusable):
        return array
    if isinstance(array, jax.core.Tracer | jax.Array):
        if jnp.issubdtype(array.dtype, jnp.floating):
            return array
        if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool:
            return array.astype(jnp.result_type(float))
    elif jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 8:
        return array if isinstance(value, np.ndarray) or not in_jax else jnp.asarray(array)
    elif array.dtype.kind in "iub":
        return jnp.asarray(array, jnp.result_type(float)) if in_jax else array.astype(float)
    return _Unusable(f"must be real numbers, got {_kind_of(value)}")


def as_parameter(name: str, value: Any) -> Any:
    """A parameter of a system or a schedule: whole numbers and lists in floating point, anything else as it is.

    Raises:
        InputError: for texts, and for lists and arrays that are not numbers.
    """
    is_read = isinstance(value, bool | int | np.generic | np.ndarray | jax.Array | list | tuple | str)
    if not is_read and not _is_no_number(value):
        return value
    read = as_floats(value)
    if isinstance(read, _Unusable):
        raise InputError(f"{name} {read.reason}")
    return read


def checked_fields(made: Callable[..., None], fields: Mapping[str, Any], static: Sequence[str]) -> Callable[..., None]:
    """Makes the `__init__` of a dataclass read its fields by their annotations.

    Of the fields that are leaves, numbers that stand for an axis, None and other placeholders of a tree's structure stay.

    Args:
        made: the `__init__`.
        fields: the annotation of each field.
        static: the fields that are no leaves, which are read as the arguments of functions are; arrays of one number become
            numbers, and lists tuples, since they are hashed.

    Returns:
        The `__init__`, which raises InputError for what a field cannot be.
    """
    positional = list(inspect.signature(made).parameters)[1:]

    @functools.wraps(made)
    def init(instance: Any, *args: Any, **kwargs: Any) -> None:
        late = None
        given = dict(zip(positional, args, strict=False)) | kwargs
        for name, value in given.items():
            if name not in fields:
                continue
            read = _read_static(fields[name], value) if name in static else _read_leaf(fields[name], value)
            if isinstance(read, _Unusable):
                message = f"{name} of {type(instance).__name__} {read.reason}"
                if not read.late:
                    raise InputError(message)
                late = late or message
            else:
                given[name] = read
        values = [given.pop(name) for name in positional[: len(args)]]
        try:
            made(instance, *values, *args[len(positional) :], **given)
        except InputError:
            raise
        except Exception as error:
            if late is None:
                raise
            raise InputError(late) from error
        if late is not None:
            raise InputError(late)

    return init


def _read_static(annotation: Any, value: Any) -> Any:
    if isinstance(annotation, str):
        return value
    read = _read(annotation, value)
    is_one = isinstance(read, np.ndarray | np.generic | jax.Array) and not isinstance(read, jax.core.Tracer)
    return read.item() if is_one and np.ndim(read) == 0 and _reader_of(annotation) is _read_number else read


def _read_leaf(annotation: Any, value: Any) -> Any:
    arrays = _arrays_in(annotation)
    is_looked_at = isinstance(value, np.ndarray | np.generic | jax.Array | list | tuple | str) or _is_no_number(value)
    if not is_looked_at or {array.dtype.__name__ for array in arrays} not in ({"Float"}, {"Shaped"}):
        return value
    return as_floats(value, in_jax={array.array_type for array in arrays} == {jax.Array})


def _is_no_number(value: Any) -> bool:
    return isinstance(value, bytes | Mapping | set | complex) or callable(value)


def _read_tokens(value: Any) -> Any:
    """The value as an array of whole numbers, such as tokens."""
    array = _listed(value)
    if not isinstance(array, _Unusable) and not jnp.issubdtype(array.dtype, jnp.integer) and array.size:
        return _Unusable(f"must be whole numbers, got {_kind_of(value)}", late=True)
    return array


def _listed(value: Any) -> Any:
    """Lists and numbers as an array of their own kind; arrays as they are."""
    if isinstance(value, np.ma.MaskedArray):
        return _Unusable("must be a plain array, got a masked one; fill it, with NaN where a value may be missing")
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        return value
    if isinstance(value, str | bytes | Mapping | set) or callable(value):
        return _Unusable(f"must be numbers, got {_kind_of(value)}")
    try:
        leaves = jax.tree.leaves(value) if isinstance(value, list | tuple) else []
        array = jnp.asarray(value) if any(isinstance(a, jax.Array) for a in leaves) else np.asarray(value)
    except (ValueError, TypeError):
        return _Unusable(f"must be an array of numbers with rows of one length, got {_kind_of(value)}")
    return array if array.dtype.kind in "fiubcV" else _Unusable(f"must be numbers, got {_kind_of(value)}")


def _read_key(annotation: Any, value: Any) -> Any:
    dtype: Any = getattr(value, "dtype", None)
    if isinstance(value, jax.Array) and (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        return value
    example = "jax.random.key(0)" if not annotation.dim_str else "jax.random.split(jax.random.key(0), num_seeds)"
    return _Unusable(f"must be a key of jax.random, such as {example}, got {_kind_of(value)}")


def _read_number(value: Any) -> Any:
    """One finite number."""
    read = as_floats(value)
    if isinstance(read, _Unusable) or np.ndim(read):
        return _Unusable(f"must be a number, got {_kind_of(value)}")
    if isinstance(read, jax.core.Tracer):
        return read
    if not math.isfinite(read):
        return _Unusable(f"must be a finite number, got {value}", late=True)
    return read.item() if isinstance(read, np.ndarray | jax.Array) else read  # what is hashed must be a plain number


def _read_whole(value: Any) -> Any:
    """One whole number, as Python's int."""
    if isinstance(value, bool | int | np.integer | np.bool):
        return (
            int(value) if not isinstance(value, bool | np.bool) else _Unusable(f"must be a whole number, got {value}")
        )
    number = _read_number(value)
    if isinstance(number, jax.core.Tracer):
        return number
    if isinstance(number, _Unusable) or not math.isfinite(number) or number != int(number):
        return _Unusable(
            f"must be a whole number, got {shown(value) if isinstance(value, numbers.Real) else _kind_of(value)}"
        )
    return int(number)


def _read_truth(value: Any) -> Any:
    is_one = isinstance(value, bool | np.bool) or (isinstance(value, int | np.integer) and value in (0, 1))
    return bool(value) if is_one else _Unusable(f"must be True or False, got {_kind_of(value)}")


def _read_path(value: Any) -> Any:
    return value if isinstance(value, str | os.PathLike) else _Unusable(f"must be a path, got {_kind_of(value)}")


def _read_sequence(of: Any, value: Any, is_tuple: bool) -> Any:
    """A tuple or list whose members are read one by one; a single text is no sequence."""
    has_axes = getattr(value, "ndim", 1) != 1
    if (
        isinstance(value, str | bytes | Mapping | type)
        or not hasattr(value, "__iter__")
        or (has_axes and of in (int, float))
    ):
        return _Unusable(f"must be a list of {_words_of(of)}, got {_kind_of(value)}")
    if isinstance(value, np.ndarray | jax.Array):
        if isinstance(value, jax.core.Tracer) or of not in (int, float):
            return value
        value = value.tolist()
    members = [_read(of, member) for member in value]
    for member in members:
        if isinstance(member, _Unusable):
            return member._replace(reason=f"must be a list of {_words_of(of)}, one member {member.reason}")
    return members if isinstance(value, list) and not is_tuple else tuple(members)


def _read_record(kind: Any, value: Any) -> Any:
    """A named tuple with its arrays in floating point."""
    if not isinstance(value, kind):
        return _not_a(kind, value)
    changed = {}
    sizes: dict[str, tuple[str, int]] = {}
    for name, annotation in kind.__annotations__.items():
        given = getattr(value, name)
        if isinstance(annotation, str):
            continue
        if annotation is Any and (isinstance(given, str | bytes) or callable(given)):
            return _Unusable(f"holds {name} that must be numbers, got {_kind_of(given)}")
        read = _read(annotation, given)
        if isinstance(read, _Unusable) and read.late and 0 in getattr(given, "shape", ()):
            continue  # a memory of no delays, a course of no steps
        unusable = (
            read if isinstance(read, _Unusable) else _of_other_size(annotation, read, name, sizes, first_only=True)
        )
        if unusable is not None:
            return unusable._replace(reason=f"holds {name} that {unusable.reason}")
        if read is not given:
            changed[name] = read
    return value._replace(**changed) if changed else value


def _not_a(kind: type, value: Any) -> _Unusable:
    hint = _HOW_TO_MAKE.get(kind.__name__)
    return _Unusable(f"must be a {kind.__name__}, got {_kind_of(value)}" + (f"; {hint}" if hint else ""))


@functools.cache
def _reader_of(annotation: Any) -> Callable[[Any], Any] | None:
    """value -> value or `_Unusable`; None for annotations that say nothing."""
    origin = typing.get_origin(annotation)
    simple = {float: _read_number, int: _read_whole, bool: _read_truth, Path: _read_path, os.PathLike: _read_path}
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
        return lambda value: value if callable(value) else _Unusable(f"must be a function, got {_kind_of(value)}")
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return lambda value: (
            value if isinstance(value, Mapping) else _Unusable(f"must be a dict, got {_kind_of(value)}")
        )
    if annotation is str:
        return lambda value: value if isinstance(value, str) else _Unusable(f"must be a text, got {_kind_of(value)}")
    if isinstance(annotation, type) and annotation.__module__.startswith("jaxcast"):
        if issubclass(annotation, tuple) and annotation.__name__ not in ("Input", "Output", "FitResult"):
            return functools.partial(_read_record, annotation)
        return lambda value: value if isinstance(value, annotation) else _not_a(annotation, value)
    if annotation is GradientTransformation:
        return lambda value: value if isinstance(value, annotation) else _not_a(annotation, value)
    return None


def _no_option(options: tuple[Any, ...], value: Any) -> _Unusable:
    return _Unusable(
        f"must be {' or '.join(map(repr, options))}, got {shown(repr(value))}", late=isinstance(value, str)
    )


def _words_of(annotation: Any) -> str:
    return {int: "whole numbers", float: "numbers", str: "texts"}.get(
        annotation, getattr(annotation, "__name__", "values")
    )


def _kind_of(value: Any) -> str:
    """What came, in a few words."""
    if isinstance(value, np.ndarray | jax.Array):
        return f"an array of {value.dtype} and shape {value.shape}"
    if isinstance(value, str | numbers.Number | None):
        return shown(repr(value))
    return f"a {type(value).__name__}"

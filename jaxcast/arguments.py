"""Checks arguments by their annotations.

Numbers become floating point; what cannot be used is refused in one line.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar

import jax

from jaxcast.annotations import read_as, read_leaf, read_static, size_conflict
from jaxcast.conversion import Unusable
from jaxcast.errors import InputError, shown
from jaxcast.tracing import OutsideJax

P = ParamSpec("P")
R = TypeVar("R")

_IN_JAX = (
    "a function given to jaxcast uses float(), int(), bool(), if or NumPy on what JAX traces; write it in jax.numpy, "
    "with jnp.where for if; a simulator outside of JAX is wrapped: jaxcast.dynamics.ExternalCandidates"
)
_ACCIDENTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a function may raise when its arguments cannot be used."""
_SHORT_FLOATS = re.compile("Unsupported dtype|does not accept dtype b?float16")
_OUTSIDE = re.compile(r"(external function raised [^\n]*|expected forecasts [^\n]* of the external function[^\n]*)")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a public function read its arguments by their annotations.

    - `Float[...]` and `Shaped[ArrayLike, ...]`: lists, whole numbers and truth values become
      floating point; floats of any width stay as they are.
    - `float`, `int`, `Scalar`: one number. NaN and infinity are refused, and fractions where
      whole numbers are wanted.
    - tuples of jaxcast, such as a `Trajectory`: the same holds for their arrays.
    - other classes of jaxcast, callables, text and keys: nothing else is accepted.

    A wrong number of axes, an empty array, None, NaN and an unknown option are refused only after
    the function has run, as its own message may say more. Traced values are checked as far as
    possible.

    Args:
        function: one whose parameters are annotated.

    Returns:
        The function, which raises InputError instead of an exception from deep inside.

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
            read = read_as(annotation, value)
            if not isinstance(read, Unusable):
                found[name] = read
                read = size_conflict(annotation, read, name, sizes)
            if isinstance(read, Unusable):
                message = f"{name} of {name_of_it} {read.reason}"
                if not read.late:
                    raise InputError(message)
                late = late or message
        values = [found.get(name, value) for name, value in zip(positional, args, strict=False)]
        all_args = (*values, *args[len(positional) :])
        all_kwargs = {name: found.get(name, value) for name, value in kwargs.items()}
        if late is not None:
            _refuse(function, all_args, all_kwargs, late)
        result: R = _called(function, all_args, all_kwargs)
        return result

    return with_checks


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls a function; explains in one line what went wrong outside of it."""
    try:
        result = function(*args, **kwargs)
        if any(map(_is_outside, jax.tree.leaves((args, kwargs), is_leaf=_is_outside))):
            jax.block_until_ready(result)  # otherwise its exceptions come later, elsewhere
        return result
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise InputError(_IN_JAX) from error
    except jax.errors.JaxRuntimeError as error:
        if found := _OUTSIDE.search(str(error)):
            raise InputError(shown(found[0])) from None
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(_out_of_memory(error)) from error
    except MemoryError as error:
        raise InputError(_out_of_memory(error)) from error
    except (NotImplementedError, TypeError) as error:  # which one depends on jax's version
        if not _SHORT_FLOATS.search(str(error)):
            raise
        raise InputError("numbers of 16 bits are too short for linear algebra; give float32 or float64") from error


def _refuse(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> NoReturn:
    """Raises InputError for arguments that cannot be used: with the function's own message, or this one."""
    try:
        function(*args, **kwargs)
    except InputError:
        raise
    except _ACCIDENTS as error:
        raise InputError(message) from error
    raise InputError(message)


def _out_of_memory(error: Exception) -> str:
    first = str(error).partition("\n")[0] or "no more is known"
    return f"this needs more memory than there is ({shown(first)}); ask for less"


def _is_outside(node: Any) -> bool:
    return isinstance(node, OutsideJax)


def checked_fields(made: Callable[..., None], fields: Mapping[str, Any], static: Sequence[str]) -> Callable[..., None]:
    """Makes the `__init__` of a dataclass read its fields by their annotations.

    Args:
        made: the `__init__`.
        fields: the annotation of each field.
        static: the fields that are not leaves. They are hashed, so arrays of one number become
            numbers, and lists become tuples.

    Returns:
        The `__init__`, which raises InputError for a value that a field cannot hold.
    """
    positional = list(inspect.signature(made).parameters)[1:]

    @functools.wraps(made)
    def init(instance: Any, *args: Any, **kwargs: Any) -> None:
        late = None
        given = dict(zip(positional, args, strict=False)) | kwargs
        for name, value in given.items():
            if name not in fields:
                continue
            read = read_static(fields[name], value) if name in static else read_leaf(fields[name], value)
            if isinstance(read, Unusable):
                message = f"{name} of {type(instance).__name__} {read.reason}"
                if not read.late:
                    raise InputError(message)
                late = late or message
            else:
                given[name] = read
        values = [given.pop(name) for name in positional[: len(args)]]
        arguments = (instance, *values, *args[len(positional) :])
        if late is not None:
            _refuse(made, arguments, given, late)
        made(*arguments, **given)

    return init

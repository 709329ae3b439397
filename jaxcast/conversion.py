"""Converts what a user gave to numbers, or says why it cannot be done."""

import math
import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced


class Unusable(NamedTuple):
    """The reason why a value cannot be used.

    Args:
        reason: the end of the message: "must be ..., got ...".
        late: whether the function's own message, if it has one, says more.
    """

    reason: str
    late: bool = False


def as_floats(value: Any, *, in_jax: bool = False) -> Any:
    """Converts lists and whole numbers to floating point; floating-point values stay as they are.

    Args:
        value: numbers, an array or nested lists.
        in_jax: whether lists and NumPy's whole numbers become arrays of JAX.

    Returns:
        The numbers, or an `Unusable` for anything else.
    """
    if isinstance(value, bool | int | np.integer | np.bool):
        return float(value)
    if isinstance(value, float | np.floating):
        return value
    array = as_array(value)
    if isinstance(array, Unusable):
        return array
    if isinstance(array, jax.Array):
        if jnp.issubdtype(array.dtype, jnp.floating):
            return array
        if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool:
            return array.astype(jnp.result_type(float))
    elif jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 8:
        return array if isinstance(value, np.ndarray) or not in_jax else jnp.asarray(array)
    elif array.dtype.kind in "iub":
        return jnp.asarray(array, jnp.result_type(float)) if in_jax else array.astype(float)
    return Unusable(f"must be real numbers, got {kind_of(value)}")


def as_parameter(name: str, value: Any) -> Any:
    """Converts a parameter of a system or a schedule to floating point.

    Args:
        name: the parameter, for a message.
        value: a number, list or array; anything else, such as a schedule, stays as it is.

    Returns:
        The parameter.

    Raises:
        InputError: for text, and for lists and arrays that are not numbers.
    """
    is_read = isinstance(value, bool | int | np.generic | np.ndarray | jax.Array | list | tuple | str)
    if not is_read and not is_no_number(value):
        return value
    result = as_floats(value)
    if isinstance(result, Unusable):
        raise InputError(f"{name} {result.reason}")
    return result


def as_array(value: Any) -> Any:
    """Converts lists and numbers to an array of their own kind; arrays stay as they are.

    Args:
        value: what the user gave.

    Returns:
        An array of NumPy or JAX, or an `Unusable`.
    """
    if isinstance(value, np.ma.MaskedArray):
        return Unusable("must be a plain array, got a masked one; fill it, with NaN where a value may be missing")
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        return value
    if isinstance(value, str | bytes | Mapping | set) or callable(value):
        return Unusable(f"must be numbers, got {kind_of(value)}")
    try:
        leaves = jax.tree.leaves(value) if isinstance(value, list | tuple) else []
        array = jnp.asarray(value) if any(isinstance(a, jax.Array) for a in leaves) else np.asarray(value)
    except (ValueError, TypeError):
        return Unusable(f"must be an array of numbers with rows of one length, got {kind_of(value)}")
    return array if array.dtype.kind in "fiubcV" else Unusable(f"must be numbers, got {kind_of(value)}")


def read_tokens(value: Any) -> Any:
    """Reads an array of whole numbers, such as tokens.

    Args:
        value: what the user gave.

    Returns:
        The array, or an `Unusable`.
    """
    array = as_array(value)
    if not isinstance(array, Unusable) and not jnp.issubdtype(array.dtype, jnp.integer) and array.size:
        return Unusable(f"must be whole numbers, got {kind_of(value)}", late=True)
    return array


def read_key(annotation: Any, value: Any) -> Any:
    """Reads a key of `jax.random`.

    Args:
        annotation: jaxtyping's, with axes for several keys.
        value: what the user gave.

    Returns:
        The key, or an `Unusable`.
    """
    dtype: Any = getattr(value, "dtype", None)
    if isinstance(value, jax.Array) and (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        return value
    example = "jax.random.key(0)" if not annotation.dim_str else "jax.random.split(jax.random.key(0), num_seeds)"
    return Unusable(f"must be a key of jax.random, such as {example}, got {kind_of(value)}")


def read_number(value: Any) -> Any:
    """Reads one finite number.

    Args:
        value: what the user gave.

    Returns:
        A plain number, which can be hashed; a traced one as it is; or an `Unusable`.
    """
    result = as_floats(value)
    if isinstance(result, Unusable) or np.ndim(result):
        return Unusable(f"must be a number, got {kind_of(value)}")
    if is_traced(result):
        return result
    if not math.isfinite(result):
        return Unusable(f"must be a finite number, got {value}", late=True)
    return result.item() if isinstance(result, np.ndarray | jax.Array) else result


def read_whole(value: Any) -> Any:
    """Reads one whole number.

    Args:
        value: what the user gave; 2.0 will do, True will not.

    Returns:
        Python's int; a traced number as it is; or an `Unusable`.
    """
    if isinstance(value, bool | int | np.integer | np.bool):
        return int(value) if not isinstance(value, bool | np.bool) else Unusable(f"must be a whole number, got {value}")
    number = read_number(value)
    if is_traced(number):
        return number
    if isinstance(number, Unusable) or not math.isfinite(number) or number != int(number):
        return Unusable(
            f"must be a whole number, got {shown(value) if isinstance(value, numbers.Real) else kind_of(value)}"
        )
    return int(number)


def read_truth(value: Any) -> Any:
    """Reads True or False.

    Args:
        value: what the user gave; 0 and 1 will do.

    Returns:
        Python's bool, or an `Unusable`.
    """
    is_one = isinstance(value, bool | np.bool) or (isinstance(value, int | np.integer) and value in (0, 1))
    return bool(value) if is_one else Unusable(f"must be True or False, got {kind_of(value)}")


def is_no_number(value: Any) -> bool:
    """Tells whether a value is of a kind that can never be read as numbers.

    Args:
        value: what the user gave.

    Returns:
        True for bytes, mappings, sets, functions and complex numbers.
    """
    return isinstance(value, bytes | Mapping | set | complex) or callable(value)


def kind_of(value: Any) -> str:
    """Describes a value in a few words, for a message.

    Args:
        value: what the user gave.

    Returns:
        Its kind; for numbers and text the value itself.
    """
    if isinstance(value, np.ndarray | jax.Array):
        return f"an array of {value.dtype} and shape {value.shape}"
    if isinstance(value, str | numbers.Number | None):
        return shown(repr(value))
    return f"a {type(value).__name__}"

"""Checks of settings and arrays, the same where a model is made, saved and loaded."""

import difflib
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.pytrees import named_leaves
from jaxcast.tracing import is_traced

MOST = 2**31 - 1
"""The largest whole number that is accepted as a count."""


class Checked(ABC):
    """Base of models that know what their settings and arrays can be; both saving and loading look."""

    @abstractmethod
    def check(self) -> None:
        """Refuses settings and arrays that no such model can have.

        Raises:
            InputError: with what is wrong.
        """


def check_model(model: Any) -> None:
    """Refuses a model that no fit could have made.

    Args:
        model: any that can be saved.

    Raises:
        InputError: for numbers that are not finite or of another kind, and for other shapes or
            settings than the model can have.
    """
    for name, leaf in named_leaves(model).items():
        array = np.asarray(leaf) if isinstance(leaf, int | float | complex) else leaf
        if np.dtype(array.dtype).kind not in "fiu" or array.dtype.itemsize > 8:
            raise InputError(f"{name} must hold numbers of float16 to float64 or integers, got {array.dtype}")
        bad = ~np.isfinite(np.asarray(array, float))
        if bad.any():
            raise InputError(f"{name} must be finite, got {bad.sum()} of {bad.size} numbers that are NaN or infinite")
    if isinstance(model, Checked):
        model.check()


def check_whole(name: str, value: Any, *, least: int = 1, most: int = MOST) -> None:
    """Refuses what is not a whole number in a range.

    Args:
        name: of the value, for a message.
        value: what was given.
        least: the smallest value allowed.
        most: the largest value allowed.

    Raises:
        InputError: also for True, 2.0 and text.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number, got {shown(repr(value))}") from None
    if isinstance(value, bool):
        raise InputError(f"{name} must be a whole number, got {value}")
    if number < least:
        raise InputError(f"{name} must be at least {least}, got {shown(number)}")
    if number > most:
        raise InputError(f"{name} must be at most {most}, got {shown(number)}")


def check_number(
    name: str,
    value: Any,
    *,
    least: float | int = -math.inf,
    most: float | int = math.inf,
    above: float | int = -math.inf,
    below: float | int = math.inf,
) -> None:
    """Refuses a setting that is not a finite number in a range.

    Args:
        name: of the value, for a message.
        value: what was given.
        least: the smallest value allowed.
        most: the largest value allowed.
        above: a bound that the value must exceed.
        below: a bound that must exceed the value.

    Raises:
        InputError: also for True, NaN and text.
    """
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not least <= value <= most or not above < value < below:
        named = (("at least", least), ("above", above), ("at most", most), ("below", below))
        bounds = [f"{word} {bound:g}" for word, bound in named if math.isfinite(bound)]
        wanted = " and ".join(["a finite number", *bounds])
        raise InputError(f"{name} must be {wanted}, got {shown(repr(value))}")


def check_flag(name: str, value: Any) -> None:
    """Refuses anything but True and False.

    Args:
        name: of the value, for a message.
        value: what was given.

    Raises:
        InputError: also for 0 and 1.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, got {shown(repr(value))}")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuses anything but some words.

    Args:
        name: of the value, for a message.
        value: what was given.
        choices: the words.

    Raises:
        InputError: with the words.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} must be one of {shown(', '.join(choices))}, got {shown(repr(value))}")


def check_leads(leads: Any) -> None:
    """Refuses leads that are not increasing whole numbers from 1 on.

    Args:
        leads: what was given.

    Raises:
        InputError: also for no leads.
    """
    if not isinstance(leads, tuple | list) or not leads:
        raise InputError(f"leads must be at least one whole number, got {shown(repr(leads))}")
    for lead in leads:
        check_whole("every lead", lead)
    if any(one >= other for one, other in pairwise(leads)):
        raise InputError(f"leads must rise, got {shown(tuple(leads))}")


def check_texts(name: str, texts: Any, *, least: int = 1) -> None:
    """Refuses anything but a list of different texts.

    Args:
        name: of the list, for a message.
        texts: what was given.
        least: the smallest number of texts.

    Raises:
        InputError: also for an empty text.
    """
    are_texts = isinstance(texts, tuple | list) and all(isinstance(text, str) and text for text in texts)
    if not are_texts or len(texts) < least or len(set(texts)) < len(texts):
        raise InputError(f"{name} must be at least {least} different texts, got {shown(texts)}")


def check_names(kind: str, wanted: Iterable[str], known: Iterable[str], *, listed_by: str = "") -> list[str]:
    """Returns the wanted names, each of which must be known.

    Args:
        kind: what they name, for a message, such as "method".
        wanted: names that the user gave.
        known: all names that exist.
        listed_by: command that lists them, for a message.

    Returns:
        The wanted names, in their order.

    Raises:
        InputError: for a name that is unknown, with those most like it, or given twice.

    Example:
        >>> from jaxcast.checks import check_names
        >>> check_names("model", ["b"], {"a", "b"})
        ['b']
    """
    wanted, known = list(wanted), sorted(known)
    for n, name in enumerate(wanted):
        if name in wanted[:n]:
            raise InputError(f"{kind} {shown(name)!r} is named twice")
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.4) or known[:5]
            listed = f" {listed_by} shows all" if listed_by else ""
            raise InputError(f"unknown {kind} {shown(name)!r}; did you mean {shown(' or '.join(near))}?{listed}")
    return wanted


def sizes_of(
    tree: Any, shapes: Mapping[str, str], *, seeds: bool = False, may_be_empty: Sequence[str] = ()
) -> dict[str, int]:
    """Finds the sizes of the axes that the arrays of a model share.

    Args:
        tree: the model.
        shapes: the axes of each array by its path: `{".weights": "model dim"}`. A number stands
            for itself.
        seeds: whether all arrays may have the same additional axes in front.
        may_be_empty: axes that may have size 0.

    Returns:
        The size of each named axis.

    Raises:
        InputError: if an array is missing, unexpected, or does not fit the others.
    """
    arrays = named_leaves(tree)
    if arrays.keys() != shapes.keys():
        names = ", ".join(sorted(arrays.keys() ^ shapes.keys()))
        raise InputError(f"expected the arrays {shown(', '.join(shapes))}; missing or unexpected: {shown(names)}")
    found: dict[str, int] = {}
    leads = set()
    for name, axes in shapes.items():
        wanted, shape = axes.split(), np.shape(arrays[name])
        extra = len(shape) - len(wanted)
        leads.add(shape[: max(extra, 0)])
        sizes = shape[max(extra, 0) :]
        fits = extra >= 0 and (seeds or extra == 0) and 0 not in shape[: max(extra, 0)]
        for axis, size in zip(wanted, sizes, strict=False):
            known = int(axis) if axis.isdigit() else found.setdefault(axis, size)
            fits = fits and size == known and (size > 0 or axis in may_be_empty)
        if not fits or len(leads) > 1:
            raise InputError(f"{name} must be ({shown(', '.join(wanted))}) beside the other arrays, got shape {shape}")
    return found


def check_positive(**arrays: Any) -> None:
    """Refuses arrays or numbers that are not positive everywhere.

    Args:
        arrays: by the names that a message gives them.

    Raises:
        InputError: with the smallest number.
    """
    for name, array in arrays.items():
        if not (np.asarray(array, float) > 0).all():
            raise InputError(f"{name} must be positive, got {float(np.asarray(array, float).min()):g}")


def check_floats(tree: Any, *, whole: Sequence[str] = ()) -> None:
    """Refuses arrays of whole numbers where floating point is meant, and the reverse.

    Args:
        tree: the arrays.
        whole: the paths of those that must hold whole numbers.

    Raises:
        InputError: with the array and its dtype.
    """
    for name, leaf in named_leaves(tree).items():
        is_whole = not jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        if is_whole != (name in whole):
            kind = "whole numbers" if name in whole else "floating-point numbers"
            raise InputError(f"{name} must hold {kind}, got {jnp.result_type(leaf)}")


def check_sizes(**sizes: int) -> None:
    """Refuses sizes that are not whole numbers of at least one.

    Args:
        sizes: by the names that a message gives them.

    Raises:
        InputError: with the size.
    """
    for name, size in sizes.items():
        check_whole(name, size)


def check_finite(data: Any, axis: str = "sample", weights: Any = None) -> None:
    """Refuses NaN and infinity in training data.

    Args:
        data: a tree of arrays with a leading axis, such as a tuple or a dict. Only floating-point
            leaves are checked; traced ones pass.
        axis: what the leading axis counts, for a message.
        weights: of each number; one with weight 0 may be anything.

    Raises:
        InputError: with the array and its first bad sample.

    Example:
        >>> import numpy as np
        >>> from jaxcast.checks import check_finite
        >>> check_finite({"targets": np.asarray([[1.0], [np.nan]])})
        Traceback (most recent call last):
            ...
        jaxcast.errors.InputError: expected finite numbers to learn from, got NaN or infinity in 1 of 2 samples of targets, first in sample 1; drop or fill them
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        if is_traced(leaf) or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            continue
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        # NumPy's function: inside a compiled program JAX's result would be traced.
        finite = np.isfinite(np.asarray(leaf))
        if weights is not None and not is_traced(weights):
            finite = finite | (np.asarray(weights) == 0)
        if finite.all():
            continue
        bad = np.flatnonzero(~finite.reshape(len(finite), -1).all(1))
        raise InputError(
            f"expected finite numbers to learn from, got NaN or infinity in {len(bad)} of {len(finite)} {axis}s of "
            f"{name or 'the data'}, first in {axis} {bad[0]}; drop or fill them"
        )


def is_zero(penalty: Any) -> bool:
    """Tells whether a penalty is known to be 0, which means plain least squares.

    Args:
        penalty: a number.

    Returns:
        False for a traced one.
    """
    return not is_traced(penalty) and float(np.asarray(penalty)) == 0


def check_penalty(penalty: Any) -> None:
    """Refuses a penalty that is negative or not finite; a traced one passes.

    Args:
        penalty: a number.

    Raises:
        InputError: with the penalty.
    """
    if not is_traced(penalty) and not 0 <= float(np.asarray(penalty)) < math.inf:
        raise InputError(f"penalty must be zero or more, and finite, got {penalty}")


def check_seed(seed: int, name: str = "seed") -> None:
    """Checks that a number can be the seed of a key.

    Args:
        seed: what was given.
        name: what to call it in a message.

    Raises:
        InputError: unless it is a whole number from 0 to 2^32 - 1.
    """
    check_whole(name, seed, least=0, most=2**32 - 1)

"""Dataclasses of dataclasses and named tuples as named arrays and static fields, and back."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, get_type_hints

import jax
import jax.numpy as jnp

from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import named_leaves


def static_fields(tree: Any) -> dict[str, Any]:
    """The static fields of a dataclass and, by the name of their field, of the dataclasses in it."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if field.metadata.get("static"):
            found[field.name] = value
        elif dataclasses.is_dataclass(value) and (inner := static_fields(value)):
            found[field.name] = inner
    return found


def rebuilt(kind: Any, static: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    """The dataclass that has these `static_fields`, as JSON gives them back, and these `named_leaves`.

    Raises:
        TypeError, KeyError: where they are not those of the class.
    """
    types = get_type_hints(kind)
    if issubclass(kind, tuple):
        given = {name.removeprefix("."): array for name, array in arrays.items()}
        return kind(**given)
    values: dict[str, Any] = {}
    arrays, static = dict(arrays), dict(static)
    for field in dataclasses.fields(kind):
        path = f".{field.name}"
        if _has_parts(types[field.name]):
            inner = {name: arrays.pop(name) for name in list(arrays) if name.startswith(f"{path}.")}
            inner = {name.removeprefix(path): array for name, array in inner.items()}
            values[field.name] = rebuilt(types[field.name], static.pop(field.name, {}), inner)
        elif field.metadata.get("static"):
            values[field.name] = _as_tuples(static.pop(field.name))
        elif path in arrays:
            values[field.name] = arrays.pop(path)
    if arrays or static:
        raise TypeError(f"{kind.__name__} has no {', '.join([*arrays, *static])}")
    return kind(**values)


def _has_parts(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


UNBOUNDED = ("num_warmup",)
"""Sizes of which a network has no arrays."""


def check_bounds(arguments: Any, arrays: Mapping[str, Any]) -> None:
    """Refuses sizes of a network that its arrays cannot have, before anything of these sizes is made.

    Raises:
        InputError: with the size.
    """
    most = {"num_layers": len(arrays), "default": max((array.size for array in arrays.values()), default=0)}
    for name, value in arguments.items():
        if isinstance(value, dict):
            check_bounds(value, arrays)
        for size in value if isinstance(value, list) else [value]:
            if isinstance(size, int) and not isinstance(size, bool) and name not in UNBOUNDED:
                check_whole(name, size, least=0, most=most.get(name, most["default"]))


def check_settings(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuses settings that are not, value for value and type for type, those that a model would be saved with.

    Raises:
        InputError: with the settings that differ.
    """
    ours, theirs = ({name: json.dumps(value) for name, value in each.items()} for each in (own, given))
    if different := [name for name in ours | theirs if ours.get(name) != theirs.get(name)]:
        raise InputError(f"the settings {shown(', '.join(different))} are not those of such a network")


def filled_in(like: Any, arrays: Mapping[str, Any], *, seeds: bool = False) -> Any:
    """Puts arrays into a network.

    Args:
        like: the network, of shapes without numbers.
        arrays: by their paths.
        seeds: whether all may have further axes in front, the same ones.

    Returns:
        The network.

    Raises:
        InputError: for arrays that are missing, left over, of another shape or another kind of number.
    """
    expected = named_leaves(like)
    if arrays.keys() != expected.keys():
        names = ", ".join(sorted(arrays.keys() ^ expected.keys()))
        raise InputError(f"expected the arrays {shown(', '.join(expected))}, not alike in {shown(names)}")
    leads = {array.shape[: max(0, array.ndim - expected[name].ndim)] for name, array in arrays.items()}
    lead = min(leads)
    if len(leads) > 1 or (lead and not seeds) or 0 in lead:
        raise InputError(f"expected arrays with the same axes of seeds in front, got {sorted(leads)}")
    for name, array in arrays.items():
        if array.shape != (*lead, *expected[name].shape):
            raise InputError(f"{name} must have the shape {shown((*lead, *expected[name].shape))}, got {array.shape}")
        if not _same_kind(array.dtype, expected[name].dtype):
            raise InputError(f"{name} must hold {expected[name].dtype}, got {array.dtype}")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in expected])


def _same_kind(ours: Any, theirs: Any) -> bool:
    """Whether they are the same, or both of the two precisions in which a program computes."""
    precisions = (jnp.float32, jnp.float64)
    return bool(ours == theirs or (ours in precisions and theirs in precisions))

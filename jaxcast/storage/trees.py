"""Dataclasses of dataclasses and named tuples as named arrays and static fields, and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints


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
        TypeError: where they are not those of the class.
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
        elif field.metadata.get("static") and field.name in static:
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

"""Dataclasses as pytrees."""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

from jaxcast.arguments import checked_fields

Class = TypeVar("Class", bound=type)


def static(**kwargs: Any) -> Any:
    """Returns a dataclass field that is part of a pytree's structure, not one of its leaves.

    Such a value must be hashable: `jax.jit` compiles a program for each.

    Args:
        kwargs: options of `dataclasses.field`, such as `default`.

    Returns:
        The field.

    Example:
        >>> import jax
        >>> from jaxcast.pytrees import FrozenPytree, static
        >>> class Power(FrozenPytree):
        ...     scale: float
        ...     exponent: int = static(default=2)
        >>> jax.tree.leaves(Power(3.0))
        [3.0]
    """
    return dataclasses.field(metadata={"static": True}, **kwargs)


def register(cls: Class) -> Class:
    """Makes a dataclass a pytree whose fields are leaves unless marked `metadata={"static": True}`.

    Not `jax.tree_util.register_dataclass`: there the structures of two classes with as many fields compare equal (up
    to jax 0.11.2 at least), and `jax.jit`, which looks programs up by structure, can run that of another class.
    """
    fields = dataclasses.fields(cls)
    static = tuple(field.name for field in fields if field.metadata.get("static"))
    dynamic = tuple(field.name for field in fields if field.name not in static)
    keys = tuple(map(jax.tree_util.GetAttrKey, dynamic))

    annotations = {field.name: field.type for field in fields}
    cls.__init__ = checked_fields(cls.__init__, annotations, static)  # type: ignore[misc]

    def flatten(instance: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(instance, name) for name in dynamic), tuple(getattr(instance, name) for name in static)

    def flatten_with_keys(instance: Any) -> tuple[tuple[tuple[Any, Any], ...], tuple[Any, ...]]:
        children, auxiliary = flatten(instance)
        return tuple(zip(keys, children, strict=True)), auxiliary

    def unflatten(auxiliary: tuple[Any, ...], children: Iterable[Any]) -> Any:
        instance: Any = object.__new__(cls)
        for name, value in zip(static + dynamic, (*auxiliary, *children), strict=True):
            object.__setattr__(instance, name, value)
        return instance

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static))
class FrozenPytree:
    """Base class that makes every subclass a frozen dataclass and a pytree.

    Its fields are the leaves; those given by `static()` belong to the structure. Nothing else is
    to be written: no decorator, no registration.

    Example:
        >>> import jax
        >>> from jaxcast.pytrees import FrozenPytree
        >>> class Point(FrozenPytree):
        ...     x: float
        ...     y: float = 0.0
        >>> jax.tree.map(lambda leaf: 2 * leaf, Point(1.0, y=3.0))
        Point(x=2.0, y=6.0)
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(dataclasses.dataclass(frozen=True)(cls))


def named_leaves(tree: Any) -> dict[str, Any]:
    """Names the leaves of a tree by their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def fingerprint(tree: Any) -> str:
    """A short hash of all numbers of a tree of arrays, and of their shapes and dtypes."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()[:16]

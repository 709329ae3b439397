"""Dataclasses as pytrees."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, dataclass_transform, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray, Key

from jaxcast.arguments import checked_fields
from jaxcast.errors import InputError
from jaxcast.registry import Saveable, described, is_described, is_saved_alone, rebuilt

Frozen = TypeVar("Frozen", bound="FrozenPytree")
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


def _register(cls: Class) -> Class:
    """Makes a dataclass a pytree whose fields are leaves unless they are `static()`.

    Not `jax.tree_util.register_dataclass`: there the structures of two classes with equally many
    fields compare equal (at least up to jax 0.11.2), and `jax.jit`, which looks programs up by
    structure, can run the program of another class.
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
class FrozenPytree(Saveable):
    """Base class that makes every subclass a frozen dataclass and a pytree.

    Its fields are the leaves; those given by `static()` belong to the structure. Nothing else is
    to be written, no decorator and no registration. With a name in the head of the class, as in
    `class Point(FrozenPytree, name="point")`, instances can be saved.

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
        _register(dataclasses.dataclass(frozen=True)(cls))

    @property
    def config(self) -> dict[str, Any]:
        """The static fields, and those of its parts by the name of the part's field."""
        return _config_of(self)

    @classmethod
    def from_config(cls: type[Frozen], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> Frozen:
        """Makes an instance from its settings and arrays.

        Args:
            config: of the saved instance, as JSON returns it.
            arrays: all of them, by the names that `named_leaves` gives them.

        Returns:
            The instance.

        Raises:
            TypeError, ValueError, LookupError: if they do not fit the class.
        """
        made: Frozen = _made(cls, config, arrays)
        return made


def _config_of(tree: Any) -> dict[str, Any]:
    hints, found = get_type_hints(type(tree)), dict[str, Any]()
    for field in dataclasses.fields(tree):
        value = vars(tree)[field.name]
        if field.metadata.get("static"):
            found[field.name] = value
        elif is_saved_alone(value):
            found[field.name] = described(value)
        elif _is_of_parts(hints[field.name]):
            if dataclasses.is_dataclass(value) and (inner := _config_of(value)):
                found[field.name] = inner
        elif isinstance(value, Saveable):  # only the value knows its class
            found[field.name] = described(value)
        elif isinstance(value, tuple) and value and all(isinstance(part, Saveable) for part in value):
            found[field.name] = [described(part) for part in value]
        elif isinstance(value, jax.tree_util.Partial):
            raise InputError(
                f"cannot save a {type(tree).__name__}: its {field.name} is a function, {value.func.__qualname__}, and "
                "code is not saved; give a flow map, or an instance of class Mine(FrozenPytree, name='mine')"
            )
    return found


def _made(cls: Any, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    """Makes the dataclass or named tuple with this config and these arrays."""
    if issubclass(cls, tuple):
        return cls(**{name.removeprefix("."): array for name, array in arrays.items()})
    hints, values = get_type_hints(cls), dict[str, Any]()
    arrays, config = dict(arrays), dict(config)
    for field in dataclasses.fields(cls):
        path = f".{field.name}"
        if field.metadata.get("static"):
            values[field.name] = _as_tuples(config.pop(field.name))
        elif path in arrays:
            is_key = _is_of_keys(hints[field.name])
            values[field.name] = jax.random.wrap_key_data(arrays.pop(path)) if is_key else arrays.pop(path)
        elif is_described(config.get(field.name)):
            values[field.name] = rebuilt(config.pop(field.name), _within(path, arrays))
        elif isinstance(parts := config.get(field.name), list):
            config.pop(field.name)
            made = (rebuilt(part, _within(f"{path}[{n}]", arrays)) for n, part in enumerate(parts))
            values[field.name] = tuple(made)
        elif _is_of_parts(hints[field.name]):
            values[field.name] = _made(hints[field.name], config.pop(field.name, {}), _within(path, arrays))
    if arrays or config:
        raise TypeError(f"{cls.__name__} has no {', '.join([*arrays, *config])}")
    return cls(**values)


def _within(path: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Removes and returns the arrays of one part."""
    names = [name for name in arrays if name.startswith((f"{path}.", f"{path}["))]
    return {name.removeprefix(path): arrays.pop(name) for name in names}


def _is_of_parts(hint: Any) -> bool:
    """Tells whether an annotation is one concrete class of fields."""
    return dataclasses.is_dataclass(hint) or (isinstance(hint, type) and issubclass(hint, tuple))


def _is_of_keys(hint: Any) -> bool:
    if not (isinstance(hint, type) and issubclass(hint, AbstractArray)):
        return False
    dtype: Any = hint.dtype
    return dtype is Key


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def named_leaves(tree: Any) -> dict[str, Any]:
    """Names the leaves of a tree by their paths.

    Args:
        tree: any pytree.

    Returns:
        Each leaf by its path, such as ".weights"; of random keys, the numbers that they hold.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): _without_key(leaf) for path, leaf in leaves}


def _without_key(leaf: Any) -> Any:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def fingerprint(tree: Any) -> str:
    """Hashes the numbers, shapes and dtypes of a tree of arrays.

    Args:
        tree: any pytree.

    Returns:
        Sixteen hexadecimal digits.
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()[:16]

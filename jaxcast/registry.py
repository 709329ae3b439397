"""Names of classes: how saved folders, system texts and the command line name them, the package's own and a user's."""

import importlib
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxcast.errors import InputError, shown

S = TypeVar("S", bound="Saveable")
_PACKAGE = __name__.partition(".")[0]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARTS = {"class", "module", "arguments"}
_CLASSES: dict[str, type] = {}
_NAMES: dict[type, str] = {}

Base = TypeVar("Base")


class Saveable(ABC):
    """Base of all classes whose instances can be saved and whose names can be written in texts and on the command line.

    `class Mine(..., name="mine")` registers a class where it is defined; nothing else is needed, inside of jaxcast or
    outside. A class without a name works everywhere but in files, texts and on the command line.

    Args:
        name: letters, digits and underscores, given in the head of the class; no other class may have it.

    Raises:
        InputError: for a name that is taken, when the class is defined.

    Example:
        >>> import jaxcast
        >>> class Decay(jaxcast.System, name="decay"):
        ...     components = ("x",)
        ...     rate: jaxcast.dynamics.Parameter = 1.0
        ...     def vector_field(self, t, u):
        ...         return (-self.rate * u[0],)
        >>> jaxcast.dynamics.describe_system(jaxcast.dynamics.parse_system("decay(rate=2)"))
        'decay(rate=2.0)'
    """

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            _register(name, cls)

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON values that `from_config` needs, beside the arrays, to make the instance again."""

    @classmethod
    @abstractmethod
    def from_config(cls: type[S], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> S:
        """Makes an instance from a `config`, as JSON gives it back, and from all arrays by their paths in the pytree.

        Args:
            config: of the instance that was saved.
            arrays: of that instance, by the names that `jaxcast.pytrees.named_leaves` gives them.

        Returns:
            The instance.

        Raises:
            InputError, TypeError, ValueError, LookupError: where they are not those of such an instance.
        """


def _register(name: str, cls: type) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"the name of a class must be letters, digits and underscores, got {shown(repr(name))}")
    other = _CLASSES.get(name)
    # A module that is loaded again, or a notebook's cell that is run again, defines the same class anew.
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise InputError(
            f"the name {name!r} is taken by {other.__module__}.{other.__qualname__}; give {cls.__qualname__} another one"
        )
    _CLASSES[name] = cls
    _NAMES[cls] = name


def names_of(base: type[Base]) -> dict[str, type[Base]]:
    """Returns the registered classes of one kind.

    Args:
        base: the class that they derive from.

    Returns:
        Each class by its name, in the order in which they were defined.
    """
    return {name: cls for name, cls in _CLASSES.items() if issubclass(cls, base)}


def name_of(cls: type) -> str | None:
    """Returns the name of a class.

    Args:
        cls: any class.

    Returns:
        Its name; None where it has none of its own.
    """
    return _NAMES.get(cls)


def module_of(cls: type) -> str | None:
    """Returns the module that must be imported before a class can be named.

    Args:
        cls: a registered class.

    Returns:
        The module's name; None for a class of jaxcast itself.
    """
    module = cls.__module__
    if module == "__main__" and (file := vars(sys.modules["__main__"]).get("__file__")):
        return Path(file).stem
    return None if module.partition(".")[0] == _PACKAGE else module


def described(model: Saveable) -> dict[str, Any]:
    """Describes what must be known beside its arrays to make a model again.

    Args:
        model: of a registered class.

    Returns:
        The class, the module that defines it where that is not jaxcast's, and its `config`.

    Raises:
        InputError: for a class without a name.
    """
    cls = type(model)
    if (name := name_of(cls)) is None:
        raise InputError(
            f"cannot save a {cls.__name__}: its class has no name; define it as class {cls.__name__}(..., name='...')"
        )
    return {"class": name, "module": module_of(cls), "arguments": model.config}


def is_described(value: Any) -> bool:
    """Returns whether a value is what `described` returns, as JSON gives it back."""
    return isinstance(value, dict) and value.keys() == _PARTS and isinstance(value["class"], str)


def rebuilt(description: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    """Makes the model that a description and arrays are of.

    Args:
        description: what `described` returned.
        arrays: of the model, by their paths.

    Returns:
        The model.

    Raises:
        InputError, TypeError, ValueError, LookupError: where they do not fit each other.
    """
    cls = _CLASSES[description["class"]]
    if not issubclass(cls, Saveable) or module_of(cls) != description["module"]:
        raise ValueError("class")
    return cls.from_config(description["arguments"], arrays)


def check_imported(description: Any, holder: str) -> None:
    """Refuses a description of classes, in any depth, that no imported module defines.

    Args:
        description: JSON values.
        holder: what holds it, for the message.

    Raises:
        InputError: naming the module to import.
    """
    if isinstance(description, list | dict):
        for part in description.values() if isinstance(description, dict) else description:
            check_imported(part, holder)
    if not is_described(description) or not isinstance(module := description["module"], str):
        return
    cls = _CLASSES.get(description["class"])
    if cls is None or module_of(cls) != module:
        raise InputError(
            f"{shown(holder)} holds a {shown(description['class'])} of the module {shown(module)}, which is not imported; "
            f"import it first, on the command line with --import {shown(module)}"
        )


def import_module(name: str) -> None:
    """Imports a user's module, whose classes then have their names; it may lie in the current folder.

    Args:
        name: as in an import statement, such as "my_package.my_module".

    Raises:
        InputError: for a module that there is not, or that fails when it is imported.
    """
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        importlib.import_module(name)
    except InputError as error:
        raise InputError(f"cannot import {shown(name)}: {error}") from error
    except Exception as error:
        raise InputError(
            f"cannot import {shown(name)} ({type(error).__name__}: {shown(error)}); give a module that Python finds from "
            f"{shown(here)}, as in an import statement"
        ) from error

"""Names of classes, in saved folders, in texts of systems and on the command line."""

import abc
import importlib
import inspect
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxcast.errors import InputError, shown

S = TypeVar("S", bound="Saveable")
_PACKAGE = __name__.partition(".")[0]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARTS = {"class", "module", "arguments"}
_CLASSES: dict[str, type] = {}
_NAMES: dict[type, str] = {}
_IMPORTED: dict[str, Path] = {}
_WRITERS: dict[type, tuple[Callable[[Any], dict[str, Any]], Callable[[Mapping[str, Any]], Any]]] = {}
_FINDERS: list[Callable[[str], type | None]] = []


class Saveable(ABC):
    """Base of all classes that can be saved and named.

    `class Mine(..., name="mine")` registers a class where it is defined, in jaxcast or in your own
    module; nothing else is needed. A class without a name works everywhere except in files, texts
    and on the command line.

    Args:
        name: letters, digits and underscores, given in the head of the class; unique.

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
        """The JSON values that `from_config` needs, besides the arrays."""

    @classmethod
    @abstractmethod
    def from_config(cls: type[S], config: Mapping[str, Any], arrays: Mapping[str, Any]) -> S:
        """Makes an instance from its settings and arrays.

        Args:
            config: of the saved instance, as JSON returns it.
            arrays: all of them, by the names that `jaxcast.pytrees.named_leaves` gives them.

        Returns:
            The instance.

        Raises:
            InputError, TypeError, ValueError, LookupError: if they do not fit the class.
        """


def _register(name: str, cls: type) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"the name of a class must be letters, digits and underscores, got {shown(repr(name))}")
    other = _CLASSES.get(name)
    # A reloaded module, or a notebook's cell run again, defines the same class again.
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise InputError(
            f"the name {name!r} is taken by {other.__module__}.{other.__qualname__}; give {cls.__qualname__} another "
            "one"
        )
    _CLASSES[name] = cls
    _NAMES[cls] = name


def find_with(finder: Callable[[str], type | None]) -> None:
    """Registers a function that makes classes when their names are first used.

    Args:
        finder: returns the class of a name, or None where it knows none.
    """
    _FINDERS.append(finder)


def give_name(name: str, cls: type) -> None:
    """Names a class that a finder made; it is not among `names_of`.

    Args:
        name: under which the finder returns the class.
        cls: the class.
    """
    _NAMES[cls] = name


def save_by(
    cls: type,
    name: str,
    *,
    describe: Callable[[Any], dict[str, Any]],
    make: Callable[[Mapping[str, Any]], Any],
) -> None:
    """Registers a class whose instances are saved as JSON values alone, with all digits.

    Args:
        cls: the class.
        name: of it, unique.
        describe: returns the JSON values of an instance.
        make: makes an instance from them.
    """
    _register(name, cls)
    _WRITERS[cls] = (describe, make)


def is_saved_alone(value: Any) -> bool:
    """Tells whether a value is of a class that `save_by` registered.

    Args:
        value: anything.

    Returns:
        Whether it is.
    """
    return type(value) in _WRITERS


def class_named(name: str) -> type | None:
    """Returns the class of a name.

    Args:
        name: as it was registered, or known to one of the finders.

    Returns:
        The class; None where there is none.
    """
    if name in _CLASSES:
        return _CLASSES[name]
    return next((cls for finder in _FINDERS if (cls := finder(name)) is not None), None)


def names_of(base: type) -> dict[str, Any]:
    """Returns the registered classes of one kind.

    Args:
        base: the class that they derive from.

    Returns:
        Each class by its name, in the order in which they were defined.
    """
    return {name: cls for name, cls in _CLASSES.items() if issubclass(cls, base) and not inspect.isabstract(cls)}


def undefined_of(name: str) -> list[str]:
    """Returns what a registered class must still define before it can be used.

    Args:
        name: of the class.

    Returns:
        Names of abstract members; none for a class that is complete, or that there is not.
    """
    cls = _CLASSES.get(name)
    return sorted(cls.__abstractmethods__) if isinstance(cls, abc.ABCMeta) else []


def name_of(cls: type) -> str | None:
    """Returns the name of a class.

    Args:
        cls: any class.

    Returns:
        Its name; None for a class without a name of its own.
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
    """Describes a model apart from its arrays.

    Args:
        model: of a registered class.

    Returns:
        The class, the module that defines it if that is not jaxcast's, and its `config`.

    Raises:
        InputError: for a class without a name.
    """
    cls = type(model)
    if (name := name_of(cls)) is None:
        raise InputError(
            f"cannot save a {cls.__name__}: its class has no name; define it as class {cls.__name__}(..., name='...')"
        )
    arguments = _WRITERS[cls][0](model) if cls in _WRITERS else model.config
    return {"class": name, "module": module_of(cls), "arguments": arguments}


def is_described(value: Any) -> bool:
    """Tells whether a value is what `described` returns, read back from JSON.

    Args:
        value: JSON values.

    Returns:
        Whether it has the three parts of a description.
    """
    return isinstance(value, dict) and value.keys() == _PARTS and isinstance(value["class"], str)


def rebuilt(description: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    """Makes a model from its description and arrays.

    Args:
        description: what `described` returned.
        arrays: of the model, by their paths.

    Returns:
        The model.

    Raises:
        InputError, TypeError, ValueError, LookupError: if they do not fit each other.
    """
    cls = class_named(description["class"])
    if cls is None or not issubclass(cls, Saveable) or module_of(cls) != description["module"]:
        raise ValueError("class")
    if cls in _WRITERS:
        return _WRITERS[cls][1](description["arguments"])
    return cls.from_config(description["arguments"], arrays)


def check_imported(description: Any, holder: str) -> None:
    """Refuses a description of classes that no imported module defines, at any depth.

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
    cls = class_named(description["class"])
    if cls is None or module_of(cls) != module:
        raise InputError(
            f"{shown(holder)} needs the class {shown(repr(description['class']))} of the module {shown(module)}, "
            f"which is not imported; import it first, on the command line by --import {shown(module)}"
        )


def import_module(name: str) -> None:
    """Imports a user's module, which registers its classes.

    Args:
        name: as in an import statement, such as "my_package.my_module"; the current folder is
            searched too.

    Raises:
        InputError: for a module that does not exist, or that fails when it is imported.
    """
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(name)
    except InputError as error:
        raise InputError(f"cannot import {shown(name)}: {error}") from error
    except Exception as error:
        raise InputError(
            f"cannot import {shown(name)} ({type(error).__name__}: {shown(error)}); give a module that Python finds "
            f"from {shown(here)}, as in an import statement"
        ) from error
    if module.__file__ is not None:
        _IMPORTED[name] = Path(module.__file__)


def imported_files() -> list[Path]:
    """Returns the files of the modules that `import_module` imported."""
    return [_IMPORTED[name] for name in sorted(_IMPORTED)]

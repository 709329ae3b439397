"""Prepares jaxcast's docstrings and classes for mkdocstrings."""

import re
from typing import Any

import griffe

RECORDS = ("typing.NamedTuple", "jaxcast.pytrees.FrozenPytree")
"""Base classes that make a constructor from annotated fields."""
FIELD_FUNCTIONS = ("dataclasses.field", "jaxcast.pytrees.static")


class JaxcastDocstrings(griffe.Extension):
    """Gives records their constructors, and examples the heading that griffe knows."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Visits every object of the package once it is loaded."""
        classes: dict[str, griffe.Class] = {}
        for thing in objects(pkg):
            if thing.docstring:
                thing.docstring.value = re.sub("^Example:$", "Examples:", thing.docstring.value, flags=re.M)
            if isinstance(thing, griffe.Class):
                classes[thing.path] = thing
        for cls in classes.values():
            if "__init__" not in cls.members and is_record(cls, classes):
                add_constructor(cls, fields(cls, classes))


def objects(parent: griffe.Object) -> list[griffe.Object]:
    """Returns an object and everything defined inside it."""
    children = [member for member in parent.members.values() if not member.is_alias]
    return [parent, *(thing for child in children for thing in objects(child))]


def parents(cls: griffe.Class, classes: dict[str, griffe.Class]) -> list[griffe.Class]:
    """Returns the base classes of the package, nearest first."""
    paths = [base.canonical_path for base in cls.bases if isinstance(base, griffe.Expr)]
    return [classes[path] for path in paths if path in classes]


def is_record(cls: griffe.Class, classes: dict[str, griffe.Class]) -> bool:
    """Returns whether a class is a NamedTuple or a pytree, itself or by inheritance."""
    paths = [base.canonical_path for base in cls.bases if isinstance(base, griffe.Expr)]
    return any(path in RECORDS for path in paths) or any(is_record(base, classes) for base in parents(cls, classes))


def fields(cls: griffe.Class, classes: dict[str, griffe.Class]) -> dict[str, griffe.Attribute]:
    """Returns the annotated fields of a class, those of its bases first."""
    found: dict[str, griffe.Attribute] = {}
    for base in reversed(parents(cls, classes)):
        if is_record(base, classes):  # annotations of other bases are declarations, not fields
            found |= fields(base, classes)
    for name, member in cls.members.items():
        is_field = isinstance(member, griffe.Attribute) and member.annotation and "property" not in member.labels
        if is_field and not str(member.annotation).startswith("ClassVar") and not name.startswith("_"):
            found[name] = member
    return found


def default(value: Any) -> Any:
    """Returns a field's default as a signature shows it, or None where it has none."""
    if isinstance(value, griffe.ExprCall) and value.canonical_path in FIELD_FUNCTIONS:
        given = {argument.name: argument.value for argument in value.arguments if hasattr(argument, "name")}
        return given.get("default", "..." if "default_factory" in given else None)
    return value


def add_constructor(cls: griffe.Class, attributes: dict[str, griffe.Attribute]) -> None:
    """Adds the `__init__` that the fields stand for."""
    kind = griffe.ParameterKind.positional_or_keyword
    first = griffe.Parameter("self", kind=kind)
    rest = [
        griffe.Parameter(name, annotation=field.annotation, kind=kind, default=default(field.value))
        for name, field in attributes.items()
    ]
    init = griffe.Function("__init__", parameters=griffe.Parameters(first, *rest), parent=cls)
    cls.set_member("__init__", init)

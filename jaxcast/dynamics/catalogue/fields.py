"""The table of vector fields that the modules of the catalogue fill."""

from collections.abc import Callable
from typing import Any, NamedTuple

Rule = Callable[[Any, Any], Any]
"""Computes du/dt from the parameters, by name, and the components of a state."""


class Field(NamedTuple):
    """The equations of a system, without its numbers.

    Args:
        components: the names of the components of a state.
        rule: the vector field.
    """

    components: tuple[str, ...]
    rule: Rule


FIELDS: dict[str, Field] = {}


def field(*names: str, components: str = "x y z") -> Callable[[Rule], Rule]:
    """Enters a vector field into the table.

    Args:
        names: of the systems that have these equations, each with parameters of its own.
        components: the names of the components, separated by spaces.

    Returns:
        The decorator.
    """

    def enter(rule: Rule) -> Rule:
        FIELDS.update({name: Field(tuple(components.split()), rule) for name in names})
        return rule

    return enter

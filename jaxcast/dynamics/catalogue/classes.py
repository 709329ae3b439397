"""Classes of systems, made from the table of vector fields and the file of their numbers."""

import functools
import inspect
import json
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from jaxcast.dynamics.catalogue import convection, hyperchaos, life, mixing, oscillators, sprott
from jaxcast.dynamics.catalogue.fields import FIELDS
from jaxcast.dynamics.schedules import Parameter
from jaxcast.dynamics.systems import Components, Lorenz63, Lorenz96, Rossler, System
from jaxcast.registry import find_with, give_name
from jaxcast.types import Scalar

MODULES = (convection, hyperchaos, life, mixing, oscillators, sprott)
"""All that fill the table when they are imported."""
OWN: dict[str, type[System]] = {"Lorenz": Lorenz63, "Lorenz96": Lorenz96, "Rossler": Rossler}
"""Systems that are classes of jaxcast already."""


@functools.cache
def numbers() -> dict[str, dict[str, Any]]:
    """Reads the numbers of all systems.

    Returns:
        For each name in alphabetical order what the file holds of it.
    """
    systems: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "systems.json").read_text())["systems"]
    return systems


def parameters_of(name: str) -> dict[str, Any]:
    """Returns the parameters of a system of the catalogue.

    Args:
        name: of the system; for another one there are none.

    Returns:
        A number for each field of its class; a matrix w has the fields w_1_1, w_1_2, ...
    """
    return dict(_flat(numbers()[name]["parameters"])) if name in numbers() else {}


def _flat(parameters: dict[str, Any]) -> Any:
    for name, value in parameters.items():
        for index, number in np.ndenumerate(np.asarray(value)):
            yield "_".join([name, *(str(i + 1) for i in index)]), number.item()


def _nested(shape: tuple[int, ...], values: Any, name: str) -> Any:
    if not shape:
        return values[name]
    return [_nested(shape[1:], values, f"{name}_{i + 1}") for i in range(shape[0])]


class CatalogueSystem(System):
    """Base class of the systems of the catalogue.

    Each of them is a class of its own, whose fields are the parameters of its equations.
    """

    shapes: ClassVar[dict[str, tuple[int, ...]]] = {}
    """Of the parameters as the equations use them."""

    def vector_field(self, t: Scalar, u: Components) -> Components:
        parameters = {name: _nested(shape, vars(self), name) for name, shape in self.shapes.items()}
        derivative: Components = FIELDS[type(self).__name__].rule(SimpleNamespace(t=t, **parameters), u)
        return derivative

    @classmethod
    def equations(cls) -> str:
        """Returns the vector field as lines of Python, with parameters p, time p.t and state u."""
        lines = inspect.getsource(FIELDS[cls.__name__].rule).splitlines()
        return "\n".join(lines[[line.startswith("def ") for line in lines].index(True) :])


@functools.cache
def class_of(name: str) -> type[System] | None:
    """Makes the class of a system.

    Args:
        name: of the system.

    Returns:
        The class; None for a name that is not in the catalogue.
    """
    if name in OWN or name not in FIELDS:
        return OWN.get(name)
    found = numbers()[name]
    defaults = parameters_of(name)

    def fill(members: dict[str, Any]) -> None:
        members |= {
            "__annotations__": dict.fromkeys(defaults, Parameter),
            "__doc__": found["source"],
            "__module__": __name__,
            "components": FIELDS[name].components,
            "center": tuple(found["start"]),
            "spread": tuple(0.01 * scale for scale in found["scale"]),
            "shapes": {key: np.shape(value) for key, value in found["parameters"].items()},
            **defaults,
        }

    cls = types.new_class(name, (CatalogueSystem,), {}, fill)
    give_name(name, cls)
    return cls


find_with(class_of)

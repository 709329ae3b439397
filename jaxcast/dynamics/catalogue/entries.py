"""What the catalogue knows of each system."""

import difflib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.dynamics.catalogue.classes import class_of, numbers, parameters_of
from jaxcast.dynamics.systems import System
from jaxcast.errors import InputError, shown


class CatalogueEntry(NamedTuple):
    """A chaotic system with its numbers.

    Args:
        name: of the system, as in dysts.
        system: with its usual parameters, which are its fields.
        start: a state on the attractor or near it.
        scale: standard deviation of each component over 100 periods; one for angles and times,
            which grow without bound.
        drifting: whether a component is such an angle or time.
        period: the dominant one of its spectrum, in its own unit of time.
        steps_per_period: Runge-Kutta steps that are fine enough, a multiple of 300.
        exponents: the Lyapunov exponents, measured here; NaN where it was not possible.
        exponent_error: standard error of the largest.
        dimension: the Kaplan-Yorke dimension that follows from them.
        remark: what is out of the ordinary, such as that it settles on a cycle; often empty.
        published_exponent: the largest exponent as dysts estimates it.
        published_spectrum: all exponents as dysts estimates them; NaN where it does not.
        source: where the equations come from.
    """

    name: str
    system: System
    start: Float[np.ndarray, " dim"]
    scale: Float[np.ndarray, " dim"]
    drifting: np.ndarray
    period: float
    steps_per_period: int
    exponents: Float[np.ndarray, " dim"]
    exponent_error: float
    dimension: float
    remark: str
    published_exponent: float
    published_spectrum: Float[np.ndarray, " dim"]
    source: str

    @property
    def h(self) -> float:
        """The Runge-Kutta step that is fine enough; `period / 15`, 20, 30, 50, 60 and 100 are multiples."""
        return self.period / self.steps_per_period


@checked
def catalogue_names() -> list[str]:
    """Returns the names of the systems in the catalogue: those of dysts without delays.

    Returns:
        The names in alphabetical order.

    Source:
        Gilpin, Chaos as an interpretable benchmark, NeurIPS Datasets and Benchmarks (2021).

    Example:
        >>> import jaxcast
        >>> len(jaxcast.dynamics.catalogue_names())
        129
    """
    return list(numbers())


@checked
def catalogue_entry(name: str) -> CatalogueEntry:
    """Returns a chaotic system with what is known of it.

    The system is an instance of a class of its own, made when its name is first used; its
    parameters are fields, to be replaced, scheduled and stacked. `parse_system` and the command
    line know the same names.

    Args:
        name: of the system, as in dysts; `catalogue_names` lists them.

    Returns:
        The system and its numbers.

    Raises:
        InputError: for a name that is not in the catalogue, with the nearest one.

    Source:
        Gilpin, Chaos as an interpretable benchmark, NeurIPS Datasets and Benchmarks (2021); its
        parameters, starts and periods, from github.com/williamgilpin/dysts (Apache-2.0).

    Example:
        >>> import dataclasses, jaxcast
        >>> aizawa = jaxcast.dynamics.catalogue_entry("Aizawa")
        >>> other = dataclasses.replace(aizawa.system, a=0.9)
        >>> times, states = jaxcast.simulate(
        ...     other, aizawa.start, num_samples=300, dt=aizawa.period / 30, h=aizawa.h
        ... )
        >>> states.shape
        (300, 3)
    """
    if name not in numbers():
        close = difflib.get_close_matches(name[:100], numbers(), 1)
        raise InputError(
            f"expected the name of a system in the catalogue, got {shown(repr(name))}"
            + (f"; did you mean {close[0]}?" if close else "; jaxcast simulate --list shows them")
        )
    found, cls = numbers()[name], class_of(name)
    assert cls is not None  # every name with numbers has equations
    parameters: dict[str, Any] = parameters_of(name)
    dim = len(found["start"])
    drifting = np.zeros(dim, bool)
    drifting[found["drifting"]] = True
    unknown = [float("nan")] * dim
    return CatalogueEntry(
        name=name,
        system=cls(**parameters),
        start=np.asarray(found["start"]),
        scale=np.asarray(found["scale"]),
        drifting=drifting,
        period=found["period"],
        steps_per_period=found["steps_per_period"],
        exponents=np.asarray(found["exponents"] or unknown),
        exponent_error=_or_nan(found["exponent_error"]),
        dimension=_or_nan(found["dimension"]),
        remark=found["remark"],
        published_exponent=found["published_exponent"],
        published_spectrum=np.asarray(found["published_spectrum"] or unknown),
        source=found["source"],
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value

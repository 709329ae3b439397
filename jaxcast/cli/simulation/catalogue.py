"""Prints the systems of the catalogue."""

import dataclasses
from collections.abc import Sequence

from jaxcast.dynamics.catalogue.entries import CatalogueEntry, catalogue_entry, catalogue_names
from jaxcast.errors import InputError

HEAD = f"{'system':24}{'components':>10}{'period':>11}{'step':>11}{'exponent':>11}{'dimension':>10}"


@dataclasses.dataclass(frozen=True)
class ListSystems:
    """Print the chaotic systems of the catalogue."""

    def run(self) -> None:
        """Runs the command."""
        print(HEAD)
        for name in catalogue_names():
            print(line_of(catalogue_entry(name)))


def parse_list(args: Sequence[str]) -> ListSystems:
    """Reads the arguments of `jaxcast simulate --list`.

    Args:
        args: after the name of the command, with --list.

    Returns:
        The command.

    Raises:
        InputError: for other options.
    """
    if len(args) > 1:
        raise InputError("jaxcast simulate --list takes no other options; leave out either")
    return ListSystems()


def line_of(entry: CatalogueEntry) -> str:
    """Formats a system as a line of the list.

    Args:
        entry: what the catalogue knows of it.

    Returns:
        The line.
    """
    numbers = f"{entry.period:11.4g}{entry.h:11.3g}{entry.exponents[0]:11.4g}{entry.dimension:10.3f}"
    return f"{entry.name:24}{entry.system.dim:10d}{numbers}"

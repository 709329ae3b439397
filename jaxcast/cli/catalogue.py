"""Systems of the catalogue on the command line: their list, and steps that suit them."""

import dataclasses
import math
import re

from jaxcast.dynamics.catalogue.entries import CatalogueEntry, catalogue_entry, catalogue_names
from jaxcast.registry import names_of

SAMPLES_PER_PERIOD = 100
PERIODS_BEFORE = 10
"""Defaults of --dt and --transient, in periods of the system."""
HEAD = f"{'system':24}{'components':>10}{'period':>11}{'step':>11}{'exponent':>11}{'dimension':>10}"


@dataclasses.dataclass(frozen=True)
class ListSystems:
    """Print the chaotic systems of the catalogue."""

    def run(self) -> None:
        """Runs the command."""
        print(HEAD)
        for name in catalogue_names():
            print(line_of(catalogue_entry(name)))


def line_of(entry: CatalogueEntry) -> str:
    """Formats a system as a line of the list.

    Args:
        entry: what the catalogue knows of it.

    Returns:
        The line.
    """
    numbers = f"{entry.period:11.4g}{entry.h:11.3g}{entry.exponents[0]:11.4g}{entry.dimension:10.3f}"
    return f"{entry.name:24}{entry.system.dim:10d}{numbers}"


def with_steps(args: list[str]) -> list[str]:
    """Adds the interval, step and transient of a system of the catalogue, where they are not given.

    Args:
        args: of `jaxcast simulate`.

    Returns:
        The arguments.
    """
    given = {arg.split("=")[0].replace("_", "-"): i for i, arg in enumerate(args) if arg.startswith("--")}
    if "--system" not in given or "--h" in given:
        return args
    place = given["--system"]
    text = args[place].partition("=")[2] or (args[place + 1] if place + 1 < len(args) else "")
    name = re.match(r"\s*(\w*)", text)
    if name is None or name[1] not in catalogue_names() or name[1] in names_of(object):
        return args
    entry = catalogue_entry(name[1])
    dt = entry.period / SAMPLES_PER_PERIOD
    if "--dt" in given:
        place = given["--dt"]
        try:
            dt = float(args[place].partition("=")[2] or args[place + 1])
        except (IndexError, ValueError):
            return args  # refused where options are read
    if not dt > 0 or not math.isfinite(dt):
        return args
    added = [] if "--dt" in given else ["--dt", repr(dt)]
    added += ["--h", repr(dt / math.ceil(dt / entry.h * (1 - 1e-9)))]
    if "--transient" not in given:
        added += ["--transient", repr(math.ceil(PERIODS_BEFORE * entry.period / dt * (1 - 1e-9)) * dt)]
    return [*args, *added]

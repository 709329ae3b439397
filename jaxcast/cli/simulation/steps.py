"""Intervals and steps that suit a system, where the options of `jaxcast simulate` do not say them."""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from jaxcast.dynamics.catalogue.entries import catalogue_entry, catalogue_names
from jaxcast.registry import names_of

SAMPLES_PER_PERIOD = 100
PERIODS_BEFORE = 10
"""Defaults of --dt and --transient for systems of the catalogue, in periods."""


class UsualSteps(NamedTuple):
    """Times that suit a system, in its time unit.

    Args:
        dt: the interval between samples.
        h: the longest step that is fine enough.
        transient: time before the first sample.
    """

    dt: float
    h: float
    transient: float


OWN: Mapping[str, UsualSteps] = MappingProxyType(
    {
        "two_scale_lorenz96": UsualSteps(dt=0.05, h=0.005, transient=20.0),
        "kuramoto_sivashinsky": UsualSteps(dt=1.0, h=0.25, transient=250.0),
    }
)
"""Of jaxcast's own systems for which the defaults of the options are too long or too short."""


def usual_steps(name: str) -> UsualSteps | None:
    """Returns the times that suit a system.

    Args:
        name: of its class; one of the user's goes before one of the catalogue.

    Returns:
        The times; None where the defaults of the options suit it, as far as is known.
    """
    if name in OWN or name in names_of(object) or name not in catalogue_names():
        return OWN.get(name)
    entry = catalogue_entry(name)
    return UsualSteps(entry.period / SAMPLES_PER_PERIOD, entry.h, PERIODS_BEFORE * entry.period)


def with_steps(args: list[str]) -> list[str]:
    """Adds the interval, step and transient that suit a system, where they are not given.

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
    usual = None if name is None else usual_steps(name[1])
    if usual is None:
        return args
    dt = usual.dt
    if "--dt" in given:
        place = given["--dt"]
        try:
            dt = float(args[place].partition("=")[2] or args[place + 1])
        except (IndexError, ValueError):
            return args  # refused where options are read
    if not dt > 0 or not math.isfinite(dt):
        return args
    added = [] if "--dt" in given else ["--dt", repr(dt)]
    added += ["--h", repr(dt / math.ceil(dt / usual.h * (1 - 1e-9)))]
    if "--transient" not in given:
        added += ["--transient", repr(math.ceil(usual.transient / dt * (1 - 1e-9)) * dt)]
    return [*args, *added]

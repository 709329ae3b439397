"""Flow maps as JSON values: the texts of their systems, which hold all digits."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcast.checks import check_number
from jaxcast.dynamics.candidates import stack_systems, unstack_systems
from jaxcast.dynamics.parse import describe_system, parse_system
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import FlowMap, flow_map
from jaxcast.errors import InputError
from jaxcast.registry import module_of, name_of, save_by

MOST_SUBSTEPS = 1_000_000
"""Runge-Kutta steps between two samples."""


def describe_flow(flow: FlowMap) -> dict[str, Any]:
    """Describes a flow map.

    Args:
        flow: of one system or a stack, whose class has a name.

    Returns:
        JSON values: the text of the system, or those of a stack, dt and h.

    Raises:
        InputError: for a class without a name.
    """
    dt, system = float(flow.dt), flow.system
    if name_of(type(system)) is None:
        raise InputError(
            f"cannot save a flow map of a {type(system).__name__}: its class has no name; define it as "
            f"class {type(system).__name__}(..., name='...')"
        )
    leaves = jax.tree.leaves(system)
    if leaves and all(np.ndim(leaf) for leaf in leaves):
        texts: dict[str, Any] = {"systems": [describe_system(one) for one in unstack_systems(system)]}
    else:
        texts = {"system": describe_system(system)}
    return texts | {"dt": dt, "h": dt / flow.num_substeps, "classes": _classes_of(system)}


def make_flow(stored: Mapping[str, Any]) -> FlowMap:
    """Makes a flow map from what `describe_flow` returned.

    Args:
        stored: the JSON values.

    Returns:
        The flow map.

    Raises:
        InputError: for numbers or texts that it cannot have.
    """
    for name in ("dt", "h"):
        check_number(name, stored[name], above=0)
    if stored["dt"] > MOST_SUBSTEPS * stored["h"]:
        raise InputError(f"dt={stored['dt']:g} is more than {MOST_SUBSTEPS} steps of h={stored['h']:g}")
    if "system" in stored:
        system = parse_system(stored["system"])
    else:
        system = stack_systems([parse_system(text) for text in stored["systems"]])
    return flow_map(system, dt=stored["dt"], h=stored["h"])


save_by(FlowMap, "flow_map", describe=describe_flow, make=make_flow)


def _classes_of(system: System) -> list[dict[str, Any]]:
    """The user's own classes that the texts of a system name."""
    kinds = dict.fromkeys(map(type, (system, *system.schedules.values())))
    own = [(kind, module) for kind in kinds if name_of(kind) and (module := module_of(kind)) is not None]
    return [{"class": name_of(kind), "module": module, "arguments": {}} for kind, module in own]

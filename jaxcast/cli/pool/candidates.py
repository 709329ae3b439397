"""Candidates of a pool as they were typed, for the trajectory of a file."""

from pathlib import Path

import numpy as np

from jaxcast.dynamics.candidates import stack_systems
from jaxcast.dynamics.parse import parse_candidates
from jaxcast.dynamics.trajectories import FlowMap, Trajectory, flow_map
from jaxcast.dynamics.trajectory_checks import StoredTrajectory
from jaxcast.errors import InputError, shown
from jaxcast.io.conventions import in_order
from jaxcast.progress import note


def as_the_candidates(text: str, stored: StoredTrajectory, path: Path) -> StoredTrajectory:
    """Puts the columns of a file in the order of the candidates' components, if it has these names.

    Args:
        text: The candidates as they were typed.
        stored: Trajectory of the file.
        path: The file.

    Returns:
        The trajectory in that order.

    Raises:
        InputError: where some of the names, but not all, are the candidates'.
    """
    wanted, own = parse_candidates(text)[0].components, stored.components
    if len(own) != len(wanted) or set(own).isdisjoint(wanted):
        if len(own) == len(wanted):
            note(f"note: the columns {shown(', '.join(own))} are taken as the candidates' {shown(', '.join(wanted))}")
        return stored
    return in_order(stored, wanted, path, "the candidates have")


def candidates_for(text: str, stored: StoredTrajectory, path: Path, h: float) -> FlowMap:
    """Returns the candidates as a flow map over the file's sampling interval.

    Args:
        text: The candidates as they were typed.
        stored: Trajectory of the file.
        path: The file.
        h: Step of the integrator.

    Raises:
        InputError: for a file of another dimension, or an interval that is not a whole multiple of
            h.
    """
    systems = parse_candidates(text)
    dim = stored.trajectory.states.shape[1]
    if systems[0].dim != dim:
        raise InputError(
            f"{shown(path)} has {dim} components ({shown(', '.join(stored.components))}), the candidates have "
            f"{systems[0].dim} ({shown(', '.join(systems[0].components))}); give candidates of the file's dimension"
        )
    return flow_map(stack_systems(list(systems)), dt=sampling_interval(stored.trajectory), h=h)


def sampling_interval(trajectory: Trajectory) -> float:
    """Returns the interval between samples, without the rounding of the file's times.

    Args:
        trajectory: The trajectory.
    """
    times = np.asarray(trajectory.times, float)
    return float(f"{(times[-1] - times[0]) / (len(times) - 1):.9g}")

"""Checks of the input of regime fits, before anything is compiled."""

from typing import Any

import numpy as np

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import default_components, stored
from jaxcast.errors import InputError

NUM_BLOCKS = 20
"""Blocks of the last quarter of a trajectory, whose spread decides what forecasts it better."""
# The shortest trajectory with a step in each block.
MIN_SAMPLES = 4 * NUM_BLOCKS - 2


def check_trajectory(trajectory: Trajectory) -> None:
    """Checks that a trajectory is evenly sampled, finite and long enough.

    Args:
        trajectory: of the truth.

    Raises:
        InputError: for any other trajectory.
    """
    dim = np.atleast_1d(np.asarray(trajectory.states)).shape[-1]
    stored("the trajectory", trajectory.times, trajectory.states, default_components(dim))
    check_length(trajectory.states)


def check_length(states: Any) -> None:
    """Checks that there are enough states.

    Args:
        states: of the truth.

    Raises:
        InputError: for fewer states.
    """
    if len(states) < MIN_SAMPLES:
        raise InputError(
            f"a regime is found in a trajectory of at least {MIN_SAMPLES} samples, got {len(states)}; give a longer one"
        )


def check_forecasts(states: Any, forecasts: Any) -> None:
    """Checks forecasts of two or more different candidates.

    Args:
        states: from which they start.
        forecasts: of the candidates.

    Raises:
        InputError: for forecasts that are not finite, do not match the states or do not differ.
    """
    states, forecasts = np.asarray(states), np.asarray(forecasts)
    if states.ndim != 2 or forecasts.ndim != 3 or forecasts.shape[::2] != states.shape:
        raise InputError(
            f"expected states (time, dim) and forecasts (time, model, dim), got {states.shape} and {forecasts.shape}"
        )
    if forecasts.shape[1] < 2:
        raise InputError(f"expected at least two candidates, got {forecasts.shape[1]}; give more of them")
    check_states(states)
    bad = np.argwhere(~np.isfinite(forecasts).all(-1))
    if len(bad):
        state, model = bad[0]
        raise InputError(
            f"candidate forecasts must be finite, candidate {model} diverges from the state of sample {state} (counted "
            f"from 0), {len(bad)} of {forecasts.shape[0] * forecasts.shape[1]} forecasts are not; give it a smaller "
            "step, or leave it out"
        )
    if not np.ptp(forecasts, axis=1).any():
        raise InputError("the candidates must differ, all forecast the same from every state; give others")


def check_states(states: Any) -> None:
    """Checks that all states are finite and every component varies.

    Args:
        states: of the truth.

    Raises:
        InputError: for other states.
    """
    states = np.asarray(states)
    bad = np.flatnonzero(~np.isfinite(states).all(-1))
    if len(bad):
        raise InputError(
            f"states must be finite, got NaN or infinity in {len(bad)} of {len(states)}, first in sample {bad[0]} "
            "(counted from 0); cut the series there, or fill the gap"
        )
    still = np.flatnonzero(np.ptp(states, axis=0) == 0)
    if len(still):
        raise InputError(f"every component of the states must vary, component {still[0]} does not; leave it out")


def check_coordinates(coordinates: Any, num_models: int) -> None:
    """Checks the coordinates of candidates.

    Args:
        coordinates: a row for each candidate, or None.
        num_models: candidates.

    Raises:
        InputError: unless there are fewer coordinates than candidates, all finite, and different in
            every column.
    """
    if coordinates is None:
        return
    values = np.asarray(coordinates)
    if values.ndim not in (1, 2) or len(values) != num_models or not np.isfinite(values).all():
        raise InputError(
            f"expected finite coordinates for each of {num_models} candidates, (model,) or (model, coordinate), "
            f"got shape {values.shape}" + ("" if np.isfinite(values).all() else " with NaN or infinity")
        )
    columns = values.reshape(num_models, -1)
    if not np.ptp(columns, axis=0).all():
        raise InputError("the candidates' coordinates must differ in every column; leave out the constant ones")
    if not 0 < columns.shape[1] < num_models:
        raise InputError(
            f"expected fewer coordinates than the {num_models} candidates and at least one, got {columns.shape[1]}; "
            "give more candidates, or fewer coordinates"
        )

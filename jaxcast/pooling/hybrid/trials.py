"""Trials in which settings forecast the last part of a trajectory in closed loop."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.forecasters.readout import Readout
from jaxcast.sampling import exact_times, with_all_digits
from jaxcast.sharding import devices_for
from jaxcast.windows import Windows, run_windows, windows_at

MOST_WINDOWS = 32
MOST_LEADS = 200
TOLERABLE = 0.35
"""Mean squared error, in deviations of the state, at which a forecast is half lost.

It is 0.175 of the error between two states drawn at random.
"""


def late_windows(trajectory: Trajectory, first: int, *, history_size: int, num_leads: int | None) -> Windows:
    """Cuts overlapping windows out of the end of a trajectory.

    Args:
        trajectory: evenly sampled.
        first: its first sample that no fit has seen.
        history_size: known samples before lead 1; they may be older.
        num_leads: leads of each; None for a third of the end, at most 200.

    Returns:
        The windows, at most 32.

    Raises:
        InputError: for an end that is shorter than one window.
    """
    length = len(trajectory.states)
    leads = max(1, min((length - first) // 3, MOST_LEADS)) if num_leads is None else num_leads
    earliest, last = max(0, first - history_size), length - history_size - leads
    if last < earliest:
        raise InputError(f"expected at least {history_size + leads} samples to validate with, got {length - first}")
    starts = np.unique(np.linspace(earliest, last, MOST_WINDOWS).astype(int))
    return windows_at(trajectory, starts, history_size=history_size, num_leads=leads)


def lost_shares(cell: Any, readouts: Sequence[Readout], windows: Windows) -> Float[np.ndarray, " readout"]:
    """Computes which share of the leads a cell loses with each readout.

    It is the mean of e^2 / (e^2 + TOLERABLE) over windows and leads, e in standard deviations;
    what is not finite counts as 1. Like a valid time it is bounded, but it changes smoothly.

    Args:
        cell: the forecaster.
        readouts: to try in it.
        windows: to forecast.

    Returns:
        The shares.
    """
    windows = windows._replace(times=exact_times(windows.times, cell))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *readouts)
    return np.asarray(_lost_shares(with_all_digits(cell), stacked, windows))


@jax.jit
def _lost_shares(cell: Any, readouts: Readout, windows: Windows) -> Float[Array, " readout"]:
    def one(readout: Readout) -> Array:
        forecaster = dataclasses.replace(cell, readout=readout)
        forecasts = run_windows(forecaster, windows, mesh=devices_for(None, forecaster, windows)).forecast
        squares = jnp.mean(((forecasts - windows.truth) / cell.channels.std) ** 2, -1)
        return jnp.mean(jnp.where(jnp.isfinite(squares), squares / (squares + TOLERABLE), 1))

    return jax.lax.map(one, readouts)

"""Trajectories with gaps: which stretches of samples are known throughout."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError


def filled(trajectory: Trajectory, known: Any) -> tuple[Trajectory, np.ndarray]:
    """Fills the samples that are not known in whole, so that models can run along a trajectory.

    Args:
        trajectory: with any numbers, NaN too, where it is not known.
        known: which states or components are known, (time,) or (time, dim); None for all.

    Returns:
        The trajectory, with the first known state in the place of unknown ones, and which samples
        are known in whole, (time,).

    Raises:
        InputError: for a mask of another shape or dtype, or one without any known sample.
    """
    if known is None:
        return trajectory, np.ones(len(trajectory.states), bool)
    states, rows = filled_rows(jnp.asarray(trajectory.states), known)
    return trajectory._replace(states=states), rows


def filled_rows(states: Array, known: Any) -> tuple[Array, np.ndarray]:
    """Fills the states that are not known in whole with the first that is.

    Args:
        states: with any numbers where they are not known, (time, dim).
        known: which are known, (time,) or (time, dim).

    Returns:
        The states, and which are known in whole, (time,).

    Raises:
        InputError: for a mask of another shape or dtype, or one without any known sample.
    """
    shape, mask = states.shape, np.asarray(known)
    if mask.dtype != bool or mask.shape not in (shape[:1], shape):
        raise InputError(f"known must be a boolean mask of shape {shape[:1]} or {shape}, got {mask.dtype}{mask.shape}")
    rows: np.ndarray = mask if mask.ndim == 1 else np.all(mask, axis=-1)
    if not rows.any():
        raise InputError("known must hold a sample that is known in whole, got none")
    return jnp.where(rows[:, None], states, states[int(np.argmax(rows))]), rows


def longest_stretch(rows: np.ndarray) -> slice:
    """Finds the longest run of known samples, the first of several.

    Args:
        rows: which samples are known, (time,).

    Returns:
        Where it lies; empty where nothing is known.
    """
    ends = np.flatnonzero(np.diff(np.concatenate([[0], rows, [0]])))
    starts, lengths = ends[::2], ends[1::2] - ends[::2]
    if not lengths.size:
        return slice(0, 0)
    best = int(np.argmax(lengths))
    return slice(int(starts[best]), int(starts[best] + lengths[best]))


def known_throughout(rows: np.ndarray, length: int, *, stride: int = 1) -> np.ndarray:
    """Finds the stretches of samples that are all known.

    Args:
        rows: which samples are known, (time,).
        length: samples of a stretch.
        stride: samples from the start of one stretch to the next.

    Returns:
        The numbers of these stretches among all, counted by their starts.

    Raises:
        InputError: where there is none.
    """
    counts = np.concatenate([[0], np.cumsum(rows)])
    found = np.flatnonzero((counts[length:] - counts[:-length])[::stride] == length)
    if not found.size:
        raise InputError(
            f"expected {length} consecutive samples that are known, got none; assimilate the record first "
            "(jaxcast.assimilation.reanalyse), or use fewer delays"
        )
    return found

"""Closed loops over the last quarter of a trajectory, by which explanations of it are compared."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.sampling import exact_times, with_all_digits
from jaxcast.scores.valid_times import lost_share
from jaxcast.sharding import devices_for
from jaxcast.windows import Windows, late_windows, run_windows

MOST_WINDOWS = 32


def num_late(trajectory: Trajectory) -> int:
    """Returns how many samples the last quarter has.

    Args:
        trajectory: the whole.
    """
    return len(trajectory.states) // 4


def trial_windows(trajectory: Trajectory) -> Windows:
    """Cuts overlapping windows, histories included, out of the last quarter, to which nothing was fitted.

    Args:
        trajectory: the whole.
    """
    tail = num_late(trajectory)
    history_size, num_leads = max(3, tail // 20), max(3, tail // 20 + min(tail // 10, 20))
    num_fit = len(trajectory.states) - tail + history_size
    return late_windows(trajectory, num_fit, history_size=history_size, num_windows=MOST_WINDOWS, num_leads=num_leads)


def losses_of(cells: Sequence[Any], windows: Windows) -> list[float]:
    """Computes the `lost_share` of each cell, of errors in standard deviations.

    Args:
        cells: of regimes; those of one structure run in one program.
        windows: to forecast.
    """
    windows = windows._replace(times=exact_times(windows.times, cells[0]))
    cells = [with_all_digits(cell) for cell in cells]
    alike = defaultdict(list)
    for n, cell in enumerate(cells):
        alike[jax.tree.structure(cell)].append(n)
    losses = [np.inf] * len(cells)
    for numbers in alike.values():
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(cells[n] for n in numbers))
        for n, loss in zip(numbers, np.asarray(_lost(stacked, windows)), strict=True):
            losses[n] = float(loss)
    return losses


@jax.jit
def _lost(cells: Any, windows: Windows) -> Float[Array, " cell"]:
    def one(cell: Any) -> Array:
        scale = cell.emulator.system.scale
        forecasts = run_windows(cell, windows, mesh=devices_for(None, cell, windows)).forecast
        squares = jnp.mean(((forecasts - windows.truth) / scale) ** 2, -1)
        return lost_share(squares)

    return jax.lax.map(one, cells)

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
from jaxcast.sharding import devices_for
from jaxcast.windows import Windows, run_windows, windows_at

MOST_WINDOWS = 32
TOLERABLE = 0.35
"""Mean squared error, in deviations of the state, at which a forecast is half lost.

It is 0.175 of the error between two states drawn at random.
"""


def num_late(trajectory: Trajectory) -> int:
    """Returns how many samples the last quarter has.

    Args:
        trajectory: the whole.
    """
    return len(trajectory.states) // 4


def late_windows(trajectory: Trajectory) -> Windows:
    """Cuts overlapping windows out of the last quarter, to which no schedule was fitted.

    Args:
        trajectory: the whole.
    """
    tail = num_late(trajectory)
    history_size, num_leads = max(3, tail // 20), max(3, tail // 20 + min(tail // 10, 20))
    last = len(trajectory.states) - history_size - num_leads
    first = len(trajectory.states) - tail
    starts = np.unique(np.linspace(first, last, MOST_WINDOWS).astype(int))
    return windows_at(trajectory, starts, history_size=history_size, num_leads=num_leads)


def losses_of(cells: Sequence[Any], windows: Windows) -> list[float]:
    """Computes the mean of e^2 / (e^2 + TOLERABLE), e in standard deviations; NaN counts as 1.

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
        return jnp.mean(jnp.where(jnp.isfinite(squares), squares / (squares + TOLERABLE), 1))

    return jax.lax.map(one, cells)

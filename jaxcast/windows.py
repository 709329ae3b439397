"""From a trajectory to what training and evaluation consume: delay embeddings, one-step samples, forecast windows."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.rollout import Cell, Output, forecast
from jaxcast.sampling import check_sampling, exact_times, with_all_digits
from jaxcast.sharding import devices_for, map_shards
from jaxcast.tracing import is_traced
from jaxcast.xla_cpu import wide_jit


class Windows(NamedTuple):
    """Forecast windows: what is known before each, and the truth at leads 1, 2, ...

    history: (window, time, dim), oldest first. truth: (window, lead, dim). times: of both, (window, time + lead).
    """

    history: Float[Array, "window time dim"]
    truth: Float[Array, "window lead dim"]
    times: Float[Any, "window time_and_lead"]


@checked
def cut_windows(trajectory: Trajectory, *, num_windows: int, num_leads: int, history_size: int) -> Windows:
    """Consecutive windows of num_leads leads, each with the history_size samples before it.

    The first window begins after the first history_size samples, and the newest of a window's history is the sample
    just before its lead 1. Histories of later windows overlap the windows before them.

    Raises:
        InputError: for a trajectory that is too short or not evenly sampled.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=26)
        >>> windows = jaxcast.cut_windows(truth, num_windows=2, num_leads=10, history_size=6)
        >>> windows.history.shape, windows.truth.shape
        ((2, 6, 3), (2, 10, 3))
    """
    needed = history_size + num_windows * num_leads
    if min(num_windows, num_leads, history_size) < 1 or len(trajectory.states) < needed:
        raise InputError(
            f"{num_windows} windows of {num_leads} with a history of {history_size} need at least {needed} samples "
            f"and sizes of at least 1, got {len(trajectory.states)} samples"
        )
    check_sampling(trajectory.times)
    shape = (num_windows, history_size + num_leads, *jnp.shape(trajectory.states)[1:])
    check_arrays(f"{num_windows} windows of {num_leads} with a history of {history_size}", shape)
    windows = _cut_windows(trajectory, num_windows, num_leads, history_size)
    if not isinstance(trajectory.times, np.ndarray):
        return windows
    # NumPy's times may have digits that JAX would cut off.
    first_lead = history_size + num_leads * np.arange(num_windows)
    return windows._replace(times=trajectory.times[first_lead[:, None] + np.arange(-history_size, num_leads)])


@partial(jax.jit, static_argnames=("num_windows", "num_leads", "history_size"))
def _cut_windows(trajectory: Trajectory, num_windows: int, num_leads: int, history_size: int) -> Windows:
    first_lead = history_size + num_leads * jnp.arange(num_windows)
    index = first_lead[:, None] + jnp.arange(-history_size, num_leads)
    states = trajectory.states[index]
    return Windows(states[:, :history_size], states[:, history_size:], trajectory.times[index])


@checked
def forecast_times(windows: Windows) -> Float[Any, "window step"]:
    """The times that `forecast` is given: those of the history and of all leads but the last.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=26)
        >>> windows = jaxcast.cut_windows(truth, num_windows=2, num_leads=10, history_size=6)
        >>> jaxcast.forecast_times(windows).shape
        (2, 15)
    """
    return windows.times[:, :-1]


@checked
def forecast_windows(cell: Cell, windows: Windows, *, mesh: Mesh | None = None) -> Output:
    """Forecasts every window in closed loop from its history: forecast (window, lead, dim), info alike.

    Args:
        cell: the forecaster.
        windows: as `cut_windows` makes them; NaN in a history only for cells that can do without what is missing.
        mesh: the devices to spread the windows over; by default all.

    Returns:
        The outputs at leads 1, 2, ..., with a leading window axis.

    Raises:
        InputError: for histories that do not fill the cell's memory, or with NaN from which it cannot forecast, and for
            times that are not evenly spaced by the dt of the cell's flow map.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=26)
        >>> windows = jaxcast.cut_windows(truth, num_windows=2, num_leads=10, history_size=6)
        >>> jaxcast.forecast_windows(jaxcast.Forecaster(jaxcast.pooling.Persistence()), windows).forecast.shape
        (2, 10, 3)
    """
    check_sampling(windows.times, cell, what="every window")
    timed_windows = windows._replace(times=exact_times(windows.times, cell))
    output = run_windows(with_all_digits(cell), timed_windows, mesh=devices_for(mesh, cell, windows))
    _check_histories(windows.history, output.forecast)
    return output


def _check_histories(history: Array, forecast: Array) -> None:
    """Raises InputError for windows with NaN or infinity in their history and in their forecast of lead 1.

    A cell may do without what is missing; then its forecast is finite. Traced arrays and those of other hosts pass.
    """
    if any(is_traced(a) or not a.is_fully_addressable for a in map(jnp.asarray, (history, forecast))):
        return
    bad = ~np.isfinite(history).reshape(len(history), -1).all(1)
    if bad.any():
        bad &= ~np.isfinite(forecast[:, 0]).reshape(len(history), -1).all(1)
    if (found := np.flatnonzero(bad)).size:
        raise InputError(
            f"expected histories from which the cell can forecast, got NaN or infinity in those of {found.size} of "
            f"{len(history)} windows: {shown(found.tolist())}; leave these windows out, fill their gaps, or use a cell "
            "that does without what is missing"
        )


@partial(wide_jit, static_argnames="mesh")
def run_windows(cell: Cell, windows: Windows, *, mesh: Mesh) -> Output:
    """`forecast_windows` without checks, of windows whose times may be instants."""
    num_leads = windows.truth.shape[1]

    def on_one_device(own: tuple[Array, Any], cell: Cell) -> Output:
        return jax.vmap(lambda history, times: forecast(cell, history, num_leads, times))(*own)

    return map_shards(on_one_device, (windows.history, windows.times[:, :-1]), cell, mesh)


def _windows_at(trajectory: Trajectory, starts: np.ndarray, history_size: int, num_leads: int) -> Windows:
    index = starts[:, None] + np.arange(history_size + num_leads)
    states = trajectory.states[index]
    return Windows(states[:, :history_size], states[:, history_size:], trajectory.times[index])

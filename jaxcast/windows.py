"""Forecast windows: cut from a trajectory, and forecast by a cell."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.backends.dispatch import wide_jit
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.rollout import Cell, FillsGaps, Output, forecast
from jaxcast.sampling import check_sampling, exact_times, with_all_digits
from jaxcast.sharding import devices_for, map_shards, with_repeated, without_repeated
from jaxcast.tracing import is_traced

MOST_LEADS = 200
"""Leads of windows that choose, unless others are asked for."""


class Windows(NamedTuple):
    """Forecast windows, each with its history and its truth.

    Args:
        history: the known samples before lead 1, oldest first.
        truth: the samples at leads 1, 2, ...
        times: of the history and the truth.
    """

    history: Float[Array, "window time dim"]
    truth: Float[Array, "window lead dim"]
    times: Float[Any, "window time_and_lead"]


@checked
def cut_windows(
    trajectory: Trajectory,
    *,
    num_windows: int,
    num_leads: int,
    history_size: int,
    observations: Float[Any, "time observation"] | None = None,
) -> Windows:
    """Cuts consecutive windows from a trajectory.

    The first window starts after the first history_size samples. The newest sample of a window's
    history is the one before its lead 1. Histories overlap the windows before them.

    Args:
        trajectory: evenly sampled.
        num_windows: how many windows.
        num_leads: leads in each.
        history_size: known samples before each.
        observations: what the histories hold instead of the trajectory's states, such as states
            with noise; NaN where nothing is observed.

    Returns:
        The windows.

    Raises:
        InputError: for a trajectory that is too short or not evenly sampled, and observations of
            another length.

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
    if observations is not None and len(observations) != len(trajectory.states):
        raise InputError(f"expected observations of all {len(trajectory.states)} samples, got {len(observations)}")
    check_sampling(trajectory.times)
    shape = (num_windows, history_size + num_leads, *jnp.shape(trajectory.states)[1:])
    check_arrays(f"{num_windows} windows of {num_leads} with a history of {history_size}", shape)
    windows = _cut_windows(trajectory, num_windows, num_leads, history_size)
    if observations is not None:
        seen = _cut_windows(trajectory._replace(states=jnp.asarray(observations)), num_windows, num_leads, history_size)
        windows = windows._replace(history=seen.history)
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
    """Returns the times that `forecast` needs: those of the history and of all leads but the last.

    Args:
        windows: as `cut_windows` makes them.

    Returns:
        The times.

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
    """Forecasts every window from its history, in closed loop.

    Args:
        cell: the forecaster.
        windows: as `cut_windows` makes them. Only some cells accept NaN in a history. Where the
            forecast of such a cell diverges, it is NaN.
        mesh: the devices to spread the windows over; by default all.

    Returns:
        The outputs at leads 1, 2, ..., with a leading window axis.

    Raises:
        InputError: for histories that do not fill the cell's memory or contain NaN that it cannot
            handle, and for times that are not spaced by the dt of the cell's flow map.

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
    _check_histories(cell, windows.history, output.forecast)
    return output


def _check_histories(cell: Cell, history: Array | np.ndarray, forecast: Array) -> None:
    """Refuses windows with NaN or infinity both in the history and in the forecast of lead 1.

    A cell that can handle gaps returns a finite forecast, unless it diverges: then the window is a
    failure, and the gaps are no fault. Traced arrays and those on other hosts pass.
    """
    if any(is_traced(a) or not a.is_fully_addressable for a in map(jnp.asarray, (history, forecast))):
        return
    is_usable = np.isfinite(history) | (np.isnan(history) & isinstance(cell, FillsGaps))
    bad = ~is_usable.reshape(len(history), -1).all(1)
    if bad.any():
        bad &= ~np.isfinite(forecast[:, 0]).reshape(len(history), -1).all(1)
    if (found := np.flatnonzero(bad)).size:
        raise InputError(
            f"expected histories from which the cell can forecast, got NaN or infinity in those of {found.size} of "
            f"{len(history)} windows: {shown(found.tolist())}; leave these windows out, fill their gaps, or use a cell "
            "that can handle gaps"
        )


def run_windows(cell: Cell, windows: Windows, *, mesh: Mesh) -> Output:
    """Runs `forecast_windows` without its checks; times may be instants.

    Args:
        cell: the forecaster.
        windows: as `cut_windows` makes them.
        mesh: the devices to spread the windows over.

    Returns:
        The outputs, with a leading window axis.
    """
    history, times = with_repeated((windows.history, windows.times), mesh)
    spread = _run_windows(cell, history, times, num_leads=windows.truth.shape[1], mesh=mesh)
    output: Output = without_repeated(spread, len(windows.history))
    return output


@partial(wide_jit, static_argnames=("num_leads", "mesh"))
def _run_windows(cell: Cell, history: Array, times: Any, *, num_leads: int, mesh: Mesh) -> Output:
    def on_one_device(own: tuple[Array, Any], cell: Cell) -> Output:
        return jax.vmap(lambda history, times: forecast(cell, history, num_leads, times))(*own)

    return map_shards(on_one_device, (history, times[:, :-1]), cell, mesh)


def windows_at(trajectory: Trajectory, starts: np.ndarray, *, history_size: int, num_leads: int) -> Windows:
    """Cuts windows that may overlap.

    Args:
        trajectory: evenly sampled.
        starts: the number of the first sample of each history.
        history_size: known samples before each.
        num_leads: leads in each.

    Returns:
        The windows.
    """
    index = starts[:, None] + np.arange(history_size + num_leads)
    states = trajectory.states[index]
    return Windows(states[:, :history_size], states[:, history_size:], trajectory.times[index])


def validation_leads(num_late: int) -> int:
    """Returns the usual leads of windows that choose: a third of the samples at the end, at most 200.

    Args:
        num_late: samples at the end.
    """
    return max(1, min(MOST_LEADS, num_late // 3))


def late_windows(
    trajectory: Trajectory, num_fit: int, *, history_size: int, num_windows: int, num_leads: int | None = None
) -> Windows:
    """Cuts overlapping windows, whose truth no fit has seen, from the end of a trajectory.

    Args:
        trajectory: evenly sampled.
        num_fit: samples before the truth of the first window.
        history_size: samples before the truth of each window; they may be among those.
        num_windows: the most windows.
        num_leads: leads of each; by default as `validation_leads`.

    Returns:
        The windows.

    Raises:
        InputError: for an end that is shorter than a window, or a history that is too long.
    """
    size = len(trajectory.states)
    num_leads = validation_leads(size - num_fit) if num_leads is None else num_leads
    first, last = max(0, num_fit - history_size), size - history_size - num_leads
    if size - num_fit < num_leads:
        raise InputError(
            f"expected at least {num_leads} samples after the first {num_fit}, for windows of {num_leads} leads, got "
            f"{size - num_fit}; give a longer trajectory or fewer num_leads"
        )
    if last < 0:
        raise InputError(
            f"history_size must be at most {size - num_leads}, as windows need {num_leads} of the {size} samples for "
            f"their leads, got {history_size}"
        )
    starts = np.unique(np.linspace(first, last, min(num_windows, last - first + 1)).astype(int))
    return windows_at(trajectory, starts, history_size=history_size, num_leads=num_leads)

"""From a trajectory to what training and evaluation consume: delay embeddings, one-step samples, forecast windows."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.candidates import ForecastMap, as_forecast_map, run_along, timed
from jaxcast.errors import InputError, shown
from jaxcast.forecasters import Forecaster, Pool
from jaxcast.integrate import Trajectory
from jaxcast.kernels import wide_jit
from jaxcast.limits import check_arrays
from jaxcast.pooling.memory import Memory
from jaxcast.rollout import Cell, Input, Output, forecast
from jaxcast.sampling import check_sampling, exact_times, with_all_digits
from jaxcast.sharding import devices_for, map_shards


class Samples(NamedTuple):
    """One-step forecasting samples with a leading sample axis, independent of each other and so free to shuffle.

    memory: what a delay memory holds after the newest value. forecasts: the candidates' forecasts of the next value,
    (sample, model, dim), or None. targets: that next value, (sample, dim).
    """

    memory: Memory
    forecasts: Float[Any, "sample model dim"] | Any  # Any for None, so that mypy asks no user to test for it
    targets: Float[Array, "sample dim"]


class Chunks(NamedTuple):
    """Runs of consecutive one-step samples, (chunk, step, ...), for training over time.

    values: the newest state, (chunk, step, dim). errors: of the candidates at it, (chunk, step, model, dim). forecasts:
    theirs of the next value, alike. targets: that next value.
    """

    values: Float[Array, "chunk step dim"]
    errors: Float[Array, "chunk step model dim"]
    forecasts: Float[Array, "chunk step model dim"]
    targets: Float[Array, "chunk step dim"]


class Windows(NamedTuple):
    """Forecast windows: what is known before each, and the truth at leads 1, 2, ...

    history: (window, time, dim), oldest first. truth: (window, lead, dim). times: of both, (window, time + lead).
    """

    history: Float[Array, "window time dim"]
    truth: Float[Array, "window lead dim"]
    times: Float[Any, "window time_and_lead"]


@checked
def delay_embed(values: Float[Array, "time ..."], num_delays: int) -> Float[Array, "sample lag ..."]:
    """Every run of num_delays consecutive values, newest first: row n holds values n + l - 1, ..., n.

    Raises:
        InputError: for less than one delay, or more than there are values.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.delay_embed(jnp.arange(4.0), num_delays=3).tolist()
        [[2.0, 1.0, 0.0], [3.0, 2.0, 1.0]]
    """
    length = len(values)
    if not 1 <= num_delays <= length:
        raise InputError(f"num_delays must be from 1 to the {length} values there are, got {num_delays}")
    shape = (length - num_delays + 1, num_delays, *jnp.shape(values)[1:])
    check_arrays(f"{num_delays} delays of {length} values", shape, dtype=values.dtype)
    newest = jnp.arange(num_delays - 1, length)
    return values[newest[:, None] - jnp.arange(num_delays)]


@checked
def one_step_samples(trajectory: Trajectory, num_delays: int, forecast_map: ForecastMap | None = None) -> Samples:
    """Every one-step sample of a trajectory, with the memory that a rolled `DelayMemory` would hold at each.

    Raises:
        InputError: for a trajectory that is too short for the delays, holds NaN, is not evenly sampled, or is sampled by
            another step than the dt of the forecast map.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> samples = jaxcast.one_step_samples(truth, num_delays=3, forecast_map=candidates)
        >>> samples.memory.errors.shape, samples.targets.shape
        ((6, 3, 2, 3), (6, 3))
    """
    if num_delays < 1:
        raise InputError(f"num_delays must be at least 1, got {num_delays}")
    check_trajectory(trajectory)
    check_sampling(trajectory.times, forecast_map)
    states = trajectory.states
    needed = num_delays + (1 if forecast_map is None else 2)
    if len(states) < needed:
        raise InputError(
            f"{num_delays} delays need a trajectory of at least {needed} samples, got {len(states)}; "
            "give a longer one or fewer delays"
        )
    checked = with_all_digits(as_forecast_map(forecast_map))
    return _one_step_samples(timed(trajectory, checked), checked, num_delays=num_delays)


def check_trajectory(trajectory: Trajectory) -> None:
    """Raises InputError unless it is a trajectory of finite numbers."""
    if not isinstance(trajectory, Trajectory):
        raise InputError(f"expected a Trajectory(times, states), got {type(trajectory).__name__}")
    # Under jit, grad or vmap there are no numbers to look at.
    is_traced = isinstance(trajectory.states, jax.core.Tracer)
    bad = np.flatnonzero(~np.isfinite(np.zeros((0, 1)) if is_traced else trajectory.states).all(-1))
    if bad.size:
        raise InputError(f"the trajectory must be finite, got NaN or infinity in {bad.size} samples, first in {bad[0]}")


@partial(jax.jit, static_argnames="num_delays")
def _one_step_samples(trajectory: Trajectory, forecast_map: ForecastMap | None, num_delays: int) -> Samples:
    states = trajectory.states
    if forecast_map is None:
        return Samples(Memory(delay_embed(states[:-1], num_delays), None), None, states[num_delays:])
    forecasts = run_along(forecast_map, trajectory)
    errors = forecasts[:-1] - states[1:, None]
    memory = Memory(delay_embed(states[1:-1], num_delays), delay_embed(errors[:-1], num_delays))
    return Samples(memory, forecasts[num_delays:-1], states[num_delays + 1 :])


@checked
def samples_for(pool: Pool, trajectory: Trajectory, forecast_map: ForecastMap | None = None) -> Samples:
    """Every one-step sample of a trajectory, with the memory that this pool has when it is rolled along it, in order.

    For pools with any memory, and for those with a `DelayMemory` what `one_step_samples` gathers at once. The first
    samples, during which the memory fills, are left out.

    Raises:
        InputError: for a trajectory that is too short to fill the memory, holds NaN, is not evenly sampled, or is sampled
            by another step than the dt of the forecast map.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> pool = jaxcast.RecurrentAttention(dim=3, hidden_size=4, key=jax.random.key(0))
        >>> samples = jaxcast.samples_for(pool, truth, candidates)
        >>> samples.memory.hidden.shape, samples.targets.shape
        ((24, 2, 4), (24, 3))
    """
    check_trajectory(trajectory)
    check_sampling(trajectory.times, pool, forecast_map)
    warmup = pool.memory.warmup(with_errors=forecast_map is not None)
    if len(trajectory.states) < warmup + 2:
        raise InputError(
            f"the pool's memory needs a trajectory of at least {warmup + 2} samples, got {len(trajectory.states)}"
        )
    cell = with_all_digits(Forecaster(pool, forecast_map))
    memory, forecasts = _rolled_memory(cell, timed(trajectory, forecast_map))
    return jax.tree.map(lambda a: a[warmup:], Samples(memory, forecasts, trajectory.states[1:]))


@jax.jit
def _rolled_memory(cell: Forecaster, trajectory: Trajectory) -> Any:
    def step(carry: Any, x: tuple[Array, Array]) -> tuple[Any, Any]:
        carry = cell.observe(carry, Input(x[0], jnp.asarray(True), x[1]))
        return carry, tuple(carry)

    steps = (trajectory.states[:-1], trajectory.times[:-1])
    start = cell.init_carry(trajectory.states[0], trajectory.times[0])
    return jax.lax.scan(step, start, steps)[1]


@checked
def sequence_chunks(trajectory: Trajectory, forecast_map: ForecastMap, *, length: int, stride: int = 1) -> Chunks:
    """Runs of `length` consecutive one-step samples, one beginning every `stride` samples; they may overlap.

    What a pool with a recurrent memory is trained on: chunks are independent of each other and free to shuffle. A chunk's
    first value is the second that a rolled cell sees, the first for which errors of the candidates are known.

    Raises:
        InputError: for a trajectory shorter than one chunk and two samples more, or with NaN, times that are not evenly
            spaced by the dt of the forecast map, or sizes below one.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> jaxcast.sequence_chunks(truth, candidates, length=8, stride=4).errors.shape
        (6, 8, 2, 3)
    """
    check_trajectory(trajectory)
    check_sampling(trajectory.times, forecast_map)
    if min(length, stride) < 1 or len(trajectory.states) < length + 2:
        raise InputError(
            f"chunks of {length} samples, one every {stride}, need sizes of at least 1 and a trajectory of at least "
            f"{length + 2} samples, got {len(trajectory.states)}"
        )
    checked = with_all_digits(as_forecast_map(forecast_map))
    return _sequence_chunks(timed(trajectory, checked), checked, length=length, stride=stride)


@partial(jax.jit, static_argnames=("length", "stride"))
def _sequence_chunks(trajectory: Trajectory, forecast_map: ForecastMap, length: int, stride: int) -> Chunks:
    samples = _one_step_samples(trajectory, forecast_map, num_delays=1)
    assert samples.memory.errors is not None
    every = Chunks(samples.memory.states[:, 0], samples.memory.errors[:, 0], samples.forecasts, samples.targets)
    starts = jnp.arange(0, len(samples.targets) - length + 1, stride)
    shapes = ((len(starts), length, *a.shape[1:]) for a in every)
    check_arrays(f"{len(starts)} chunks of {length} samples", *shapes, dtype=every.values.dtype)
    index = starts[:, None] + jnp.arange(length)
    return jax.tree.map(lambda a: a[index], every)


@checked
def cut_windows(trajectory: Trajectory, *, num_windows: int, window_size: int, history_size: int) -> Windows:
    """Consecutive windows of window_size leads, each with the history_size samples before it.

    The first window begins after the first history_size samples, and the newest of a window's history is the sample
    just before its lead 1. Histories of later windows overlap the windows before them.

    Raises:
        InputError: for a trajectory that is too short or not evenly sampled.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=26)
        >>> windows = jaxcast.cut_windows(truth, num_windows=2, window_size=10, history_size=6)
        >>> windows.history.shape, windows.truth.shape
        ((2, 6, 3), (2, 10, 3))
    """
    needed = history_size + num_windows * window_size
    if min(num_windows, window_size, history_size) < 1 or len(trajectory.states) < needed:
        raise InputError(
            f"{num_windows} windows of {window_size} with a history of {history_size} need at least {needed} samples "
            f"and sizes of at least 1, got {len(trajectory.states)} samples"
        )
    check_sampling(trajectory.times)
    shape = (num_windows, history_size + window_size, *jnp.shape(trajectory.states)[1:])
    check_arrays(f"{num_windows} windows of {window_size} with a history of {history_size}", shape)
    windows = _cut_windows(trajectory, num_windows, window_size, history_size)
    if not isinstance(trajectory.times, np.ndarray):
        return windows
    # NumPy's times may have digits that JAX would cut off.
    first_lead = history_size + window_size * np.arange(num_windows)
    return windows._replace(times=trajectory.times[first_lead[:, None] + np.arange(-history_size, window_size)])


@partial(jax.jit, static_argnames=("num_windows", "window_size", "history_size"))
def _cut_windows(trajectory: Trajectory, num_windows: int, window_size: int, history_size: int) -> Windows:
    first_lead = history_size + window_size * jnp.arange(num_windows)
    index = first_lead[:, None] + jnp.arange(-history_size, window_size)
    states = trajectory.states[index]
    return Windows(states[:, :history_size], states[:, history_size:], trajectory.times[index])


@checked
def forecast_times(windows: Windows) -> Float[Any, "window step"]:
    """The times that `forecast` is given: those of the history and of all leads but the last.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=26)
        >>> windows = jaxcast.cut_windows(truth, num_windows=2, window_size=10, history_size=6)
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
        >>> windows = jaxcast.cut_windows(truth, num_windows=2, window_size=10, history_size=6)
        >>> jaxcast.forecast_windows(jaxcast.Forecaster(jaxcast.Persistence()), windows).forecast.shape
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
    if any(isinstance(a, jax.core.Tracer) or not a.is_fully_addressable for a in map(jnp.asarray, (history, forecast))):
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


@checked
def one_step_forecasts(pool: Any, samples: Samples, *, batch_size: int = 512) -> Output:
    """What a pool forecasts for every one-step sample: forecast (sample, dim), info alike.

    batch_size samples at a time, so that memory stays bounded.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> samples = jaxcast.one_step_samples(truth, num_delays=1)
        >>> jaxcast.one_step_forecasts(jaxcast.Persistence(), samples).forecast.shape
        (9, 3)
    """
    return jax.lax.map(lambda sample: pool(sample.memory, sample.forecasts), samples, batch_size=batch_size)

"""One-step samples of a trajectory, and the forecasts of pools for them."""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.dynamics.candidates import ForecastMap, as_forecast_map, run_along, timed
from jaxcast.dynamics.gaps import filled, known_throughout
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import check_trajectory
from jaxcast.errors import InputError, counted, shown
from jaxcast.limits import check_arrays
from jaxcast.numerics.delay_embedding import delay_embed
from jaxcast.pooling.cell import Forecaster
from jaxcast.pooling.memory import Memory
from jaxcast.pooling.pool import Pool
from jaxcast.rollout import Input, Output
from jaxcast.sampling import check_sampling, with_all_digits
from jaxcast.scores.valid_times import squared_error


class OneStepSamples(NamedTuple):
    """One-step forecasting samples, independent of each other and so free to shuffle.

    Args:
        memory: the memory of a pool after the newest value, with a leading sample axis.
        forecasts: of the next value by the candidates, (sample, model, dim); None without
            candidates.
        targets: the next value.
    """

    memory: Memory
    forecasts: Float[Any, "sample model dim"] | Any  # Any for None, so that mypy asks no user to test for it
    targets: Float[Array, "sample dim"]


class SequenceChunks(NamedTuple):
    """Chunks of consecutive one-step samples, for training over time.

    Args:
        values: the newest state.
        errors: of the candidates at it.
        forecasts: of the next value by the candidates.
        targets: the next value.
    """

    values: Float[Array, "chunk step dim"]
    errors: Float[Array, "chunk step model dim"]
    forecasts: Float[Array, "chunk step model dim"]
    targets: Float[Array, "chunk step dim"]


@checked
def one_step_samples(
    trajectory: Trajectory,
    num_delays: int,
    forecast_map: ForecastMap | None = None,
    *,
    known: Bool[Any, "..."] | None = None,
) -> OneStepSamples:
    """Makes every one-step sample of a trajectory.

    Each sample has the memory of a `DelayMemory` that is rolled along the trajectory.

    Args:
        trajectory: to forecast one step of.
        num_delays: past states and errors in the memory.
        forecast_map: of the candidates; None for pools that see states only.
        known: which states or components are known, (time,) or (time, dim); by default all. Samples
            whose memory or target holds an unknown one are left out.

    Raises:
        InputError: for a trajectory that is too short for the delays, has NaN where it is known, is
            not evenly sampled, or is sampled by another step than the dt of the forecast map; for a
            mask of another shape, or one without any sample.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> samples = jaxcast.one_step_samples(truth, num_delays=3, forecast_map=candidates)
        >>> samples.memory.errors.shape, samples.targets.shape
        ((6, 3, 2, 3), (6, 3))
    """
    if num_delays < 1:
        raise InputError(f"num_delays must be at least 1, got {num_delays}")
    trajectory, rows = filled(trajectory, known)
    check_trajectory(trajectory)
    check_sampling(trajectory.times, forecast_map)
    states = trajectory.states
    needed = least_samples(num_delays, forecast_map)
    if len(states) < needed:
        raise InputError(
            f"{num_delays} delays need a trajectory of at least {needed} samples, got {len(states)}; "
            "give a longer one or fewer delays"
        )
    checked = with_all_digits(as_forecast_map(forecast_map))
    samples = _one_step_samples(timed(trajectory, checked), checked, num_delays=num_delays)
    return samples if known is None else jax.tree.map(lambda a: a[known_throughout(rows, needed)], samples)


def least_samples(num_delays: int, forecast_map: ForecastMap | None) -> int:
    """Returns how many states in a row one sample takes: its memory, the state it forecasts from, its target.

    Args:
        num_delays: past states and errors in the memory.
        forecast_map: of the candidates, whose errors take one state more; None without.
    """
    return num_delays + (1 if forecast_map is None else 2)


def check_candidates(forecasts: Float[Any, "sample model dim"]) -> None:
    """Refuses candidates that return NaN or infinity.

    Args:
        forecasts: theirs along a trajectory.

    Raises:
        InputError: with the candidates, counted from 0.
    """
    is_bad = ~np.isfinite(np.asarray(forecasts)).all(2)
    if not is_bad.any():
        return
    models = np.flatnonzero(is_bad.any(0))
    names = f"candidate {models[0]}" if len(models) == 1 else f"candidates {shown(', '.join(map(str, models)), 60)}"
    raise InputError(
        f"expected finite forecasts, got NaN or infinity from {names} (counted from 0) in {is_bad.any(1).sum()} of "
        f"{counted(len(is_bad), 'sample')}; leave out such candidates, or choose a smaller h"
    )


@partial(jax.jit, static_argnames="num_delays")
def _one_step_samples(trajectory: Trajectory, forecast_map: ForecastMap | None, num_delays: int) -> OneStepSamples:
    states = trajectory.states
    if forecast_map is None:
        return OneStepSamples(Memory(delay_embed(states[:-1], num_delays), None), None, states[num_delays:])
    forecasts = run_along(forecast_map, trajectory)
    errors = forecasts[:-1] - states[1:, None]
    memory = Memory(delay_embed(states[1:-1], num_delays), delay_embed(errors[:-1], num_delays))
    return OneStepSamples(memory, forecasts[num_delays:-1], states[num_delays + 1 :])


@checked
def rolled_samples(pool: Pool, trajectory: Trajectory, forecast_map: ForecastMap | None = None) -> OneStepSamples:
    """Makes every one-step sample of a trajectory, with the memory of a given pool.

    The pool is rolled along the trajectory, so it may have any memory. For a `DelayMemory` the
    result is that of `one_step_samples`. The first samples, during which the memory fills, are left
    out.

    Args:
        pool: whose memory is used.
        trajectory: to forecast one step of.
        forecast_map: of the candidates; None for pools that see states only.

    Raises:
        InputError: for a trajectory that is too short to fill the memory, has NaN, is not evenly
            sampled, or is sampled by another step than the dt of the forecast map.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> pool = jaxcast.pooling.RecurrentAttention(dim=3, hidden_size=4, key=jax.random.key(0))
        >>> samples = jaxcast.pooling.rolled_samples(pool, truth, candidates)
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
    return jax.tree.map(lambda a: a[warmup:], OneStepSamples(memory, forecasts, trajectory.states[1:]))


@jax.jit
def _rolled_memory(cell: Forecaster, trajectory: Trajectory) -> Any:
    def step(carry: Any, x: tuple[Array, Array]) -> tuple[Any, Any]:
        carry = cell.observe(carry, Input(x[0], jnp.asarray(True), x[1]))
        return carry, tuple(carry)

    steps = (trajectory.states[:-1], trajectory.times[:-1])
    start = cell.init_carry(trajectory.states[0], trajectory.times[0])
    return jax.lax.scan(step, start, steps)[1]


@checked
def sequence_chunks(
    trajectory: Trajectory,
    forecast_map: ForecastMap,
    *,
    length: int,
    stride: int = 1,
    known: Bool[Any, "..."] | None = None,
) -> SequenceChunks:
    """Cuts a trajectory into chunks of consecutive one-step samples, which may overlap.

    Pools with a recurrent memory are trained on them. Chunks are independent of each other and free
    to shuffle. The first value of a chunk is the second that a rolled cell sees, the first for
    which errors of the candidates are known.

    Args:
        trajectory: to forecast one step of.
        forecast_map: of the candidates.
        length: samples of a chunk.
        stride: samples from the start of one chunk to the next.
        known: which states or components are known, (time,) or (time, dim); by default all. Chunks
            with an unknown one are left out.

    Raises:
        InputError: for a trajectory with NaN where it is known or shorter than one chunk and two
            more samples, times that are not evenly spaced by the dt of the forecast map, or sizes
            below one; for a mask of another shape, or one without any chunk.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> jaxcast.pooling.sequence_chunks(truth, candidates, length=8, stride=4).errors.shape
        (6, 8, 2, 3)
    """
    trajectory, rows = filled(trajectory, known)
    check_trajectory(trajectory)
    check_sampling(trajectory.times, forecast_map)
    if min(length, stride) < 1 or len(trajectory.states) < length + 2:
        raise InputError(
            f"chunks of {length} samples, one every {stride}, need sizes of at least 1 and a trajectory of at least "
            f"{length + 2} samples, got {len(trajectory.states)}"
        )
    checked = with_all_digits(as_forecast_map(forecast_map))
    chunks = _sequence_chunks(timed(trajectory, checked), checked, length=length, stride=stride)
    if known is None:
        return chunks
    return jax.tree.map(lambda a: a[known_throughout(rows, length + 2, stride=stride)], chunks)


@partial(jax.jit, static_argnames=("length", "stride"))
def _sequence_chunks(trajectory: Trajectory, forecast_map: ForecastMap, length: int, stride: int) -> SequenceChunks:
    samples = _one_step_samples(trajectory, forecast_map, num_delays=1)
    assert samples.memory.errors is not None
    every = SequenceChunks(samples.memory.states[:, 0], samples.memory.errors[:, 0], samples.forecasts, samples.targets)
    starts = jnp.arange(0, len(samples.targets) - length + 1, stride)
    shapes = ((len(starts), length, *a.shape[1:]) for a in every)
    check_arrays(f"{len(starts)} chunks of {length} samples", *shapes, dtype=every.values.dtype)
    index = starts[:, None] + jnp.arange(length)
    return jax.tree.map(lambda a: a[index], every)


@checked
def one_step_forecasts(pool: Any, samples: OneStepSamples, *, batch_size: int = 512) -> Output:
    """Forecasts every one-step sample by a pool.

    Args:
        pool: that forecasts.
        samples: to forecast.
        batch_size: samples that are forecast at once, which bounds the memory.

    Returns:
        The forecasts, (sample, dim), and the pool's info, with a leading sample axis.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> samples = jaxcast.one_step_samples(truth, num_delays=1)
        >>> jaxcast.pooling.one_step_forecasts(jaxcast.pooling.Persistence(), samples).forecast.shape
        (9, 3)
    """
    return jax.lax.map(lambda sample: pool(sample.memory, sample.forecasts), samples, batch_size=batch_size)


@checked
def one_step_errors(
    pool: Pool, samples: OneStepSamples, *, norm: Literal["mean", "sum"] = "mean", batch_size: int = 512
) -> Float[Array, " sample"]:
    """Computes the squared one-step error of a pool for every sample.

    Args:
        pool: that forecasts.
        samples: to forecast.
        norm: over components, the "mean" or the "sum" of the squared differences.
        batch_size: samples that are forecast at once, which bounds the memory.

    Returns:
        The errors, in the squared unit of the state.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> samples = jaxcast.one_step_samples(truth, num_delays=1)
        >>> jaxcast.pooling.one_step_errors(jaxcast.pooling.Persistence(), samples).shape
        (9,)
    """

    forecasts = one_step_forecasts(pool, samples, batch_size=batch_size).forecast
    return squared_error(forecasts, samples.targets, norm=norm)

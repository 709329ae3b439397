"""Attention with and without assimilation, on noisy and partial cases of the benchmark of valid time."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from jaxcast.assimilation import (
    AssimilatedCell,
    DirectInsertion,
    EnsembleKalmanFilter,
    EnsembleTransform,
    HarmonicParameter,
    RandomWalk,
    VariationalFilter,
    parameter_map,
    reanalyse,
)
from jaxcast.benchmark.task import Task

NUM_DELAYS = 5
HIDDEN_SIZE = 120
LOW, HIGH = 28.0, 48.0
"""Of rho, as the candidates have it."""
WALKS = (0.5, 1.0, 2.0)
DRIFTS = (0.0, 0.01, 0.05)
"""Deviations of the random steps of rho, and of its mean and phase, that are tried."""

LAG = 20
"""Steps of the window of 4D-Var."""


@dataclasses.dataclass(frozen=True)
class Learned:
    """What a method has learned from the training record of a task.

    Args:
        cell: that forecasts.
        note: the setting that was chosen.
    """

    cell: Any
    note: str = ""


def _starts(num_members: int, seed: int) -> Any:
    """Draws states of the middle candidate, the belief before any value."""
    system = jaxcast.Lorenz63(rho=(LOW + HIGH) / 2)
    return jaxcast.dynamics.random_starts(system, num_members, key=jax.random.key(seed))


def _filter(task: Task, parameter: Any, config: Any) -> EnsembleKalmanFilter:
    """Makes a filter that knows the candidates' family, with rho unknown."""
    case = task.case
    return EnsembleKalmanFilter(
        parameter_map(jaxcast.Lorenz63(), ["rho"], dt=case.dt, h=case.h),
        case.observation_noise * task.scale,
        jax.random.key(config.seed),
        parameters=[parameter],
        num_members=config.num_members,
        initial_ensemble=_starts(config.num_members, config.seed),
        analysis=EnsembleTransform(is_finite_size=True),
    )


def _surprise(task: Task, cell: Any) -> float:
    """Returns the error of one-step forecasts on the last quarter of the training record, as far as it is seen."""
    values = jnp.asarray(task.train.states)
    forecasts = jaxcast.open_loop(cell, values).forecast[:-1]
    first = 3 * len(values) // 4
    off = (forecasts - values[1:])[first:] / task.scale
    return float(jnp.sqrt(jnp.nanmean(off**2)))


def walking_filter(task: Task, config: Any) -> Learned:
    """Chooses the random walk of rho that forecasts the training record best."""
    cells = {walk: _filter(task, RandomWalk(LOW, HIGH, walk), config) for walk in WALKS}
    best = min(WALKS, key=lambda walk: _surprise(task, cells[walk]))
    return Learned(cells[best], f"deviation {best:g}")


def harmonic_filter(task: Task, config: Any) -> Learned:
    """Finds mean, amplitude and period of rho on the training record; windows begin with any phase."""
    broad = {
        drift: _filter(task, HarmonicParameter(LOW, HIGH, 12.0, 8.0, 40.0, deviation=drift), config) for drift in DRIFTS
    }
    best = min(DRIFTS, key=lambda drift: _surprise(task, broad[drift]))
    state = jaxcast.spin_up(broad[best], jnp.asarray(task.train.states))
    mean, c, s, log_omega = np.asarray(state.carry.parameters).T
    size, period = np.hypot(c, s), 2 * np.pi / np.exp(log_omega)

    def ends(values: Any, least: float) -> tuple[float, float]:
        half = max(2 * float(values.std()), least)
        return float(values.mean()) - half, float(values.mean()) + half

    (low, high), (small, large), (short, long) = ends(mean, 0.5), ends(size, 0.5), ends(period, 0.1)
    found = HarmonicParameter(low, high, large, short, long, deviation=best, least_amplitude=max(small, 0.0))
    return Learned(_filter(task, found, config), f"deviation {best:g}, period {period.mean():.2f} steps")


def harmonic_variational(task: Task, config: Any, learned: Learned) -> Learned:
    """Makes 4D-Var from what the harmonic filter found on the training record."""
    found, starts = learned.cell, np.asarray(_starts(400, config.seed))
    cell = VariationalFilter(
        found.model,
        found.observation_noise,
        starts.mean(0),
        np.cov(starts.T),
        parameters=found.parameters,
        lag=LAG,
        inflation=1.1,
        num_iterations=4,
    )
    return Learned(cell, learned.note)


def _attention(states: Any, task: Task, config: Any) -> Any:
    """Fits the published pool to a record."""
    record = jaxcast.Trajectory(task.train.times, states)
    samples = jaxcast.one_step_samples(record, NUM_DELAYS, task.forecast_map)

    def init(key: Any) -> Any:
        return jaxcast.AdditiveAttention(dim=3, num_delays=NUM_DELAYS, hidden_size=HIDDEN_SIZE, key=key)

    fitted = jaxcast.fit(
        samples,
        init=init,
        loss=jaxcast.pooling.mean_squared_error,
        keys=jax.random.key(config.seed)[None],
        optimizer=jaxcast.training.make_optimizer(1e-3),
        num_epochs=config.num_epochs,
        batch_size=32,
    )
    pool = jax.tree.map(lambda a: a[0], fitted.models)
    return jaxcast.Forecaster(pool, task.forecast_map)


def raw_attention(task: Task, config: Any) -> Learned:
    """Fits attention to the record as it is; unseen components are those of the equally weighted candidates."""
    states = jnp.asarray(task.train.states)
    if not bool(jnp.isnan(states).any()):
        return Learned(_attention(states, task, config))
    assert task.forecast_map is not None
    mean = _starts(400, 0).mean(0)
    equal = DirectInsertion(jaxcast.Forecaster(jaxcast.equal_weights(11), task.forecast_map), mean)
    fed = jnp.concatenate([mean[None], jaxcast.open_loop(equal, states, task.train.times).forecast[:-1]])
    cell = _attention(jnp.where(jnp.isnan(states), fed, states), task, config)
    return Learned(DirectInsertion(cell, mean), "direct insertion")


def assimilated_attention(task: Task, config: Any, learned: Learned) -> Learned:
    """Fits attention to the reanalysis of the record by a filter, which then spins it up."""
    states = reanalyse(learned.cell, jnp.asarray(task.train.states)).states
    return Learned(AssimilatedCell(learned.cell, _attention(states, task, config)), learned.note)


def forecast(task: Task, learned: Learned) -> np.ndarray:
    """Forecasts every window, (window, lead, dim); NaN where a filter has lost its ensemble."""
    return np.asarray(jaxcast.forecast_windows(learned.cell, jax.tree.map(jnp.asarray, task.windows)).forecast)

"""The ensemble Kalman filter, which knows the true family: the parameter is a part of its state."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from jaxcast.assimilation import EnsembleKalmanFilter, parameter_map
from jaxcast.benchmark.scoring import score_against
from jaxcast.benchmark.task import Task
from jaxcast.selection.filters import NUM_MEMBERS, parameter_filter
from jaxcast.windows import late_windows, validation_leads

NOISE = 0.03
"""Of a value that has none, in deviations: a filter needs some."""
DEVIATIONS = (1 / 40, 1 / 5)
NUM_TRIALS = 20


def ensemble_kalman_filter(task: Task) -> np.ndarray:
    """Forecasts windows by a filter whose settings were chosen on the end of the training trajectory.

    The parameter takes a random walk or oscillates; two deviations of its steps are tried with each.

    Args:
        task: the case's data.

    Returns:
        The forecasts of the windows.

    Raises:
        InputError: where the candidates do not differ in one parameter alone.
    """
    systems = list(task.case.candidate_systems())
    found = jaxcast.dynamics.candidate_coordinates(systems) if systems else None
    if found is None:
        raise jaxcast.InputError("the candidates do not differ in one parameter alone")
    name, values = found
    model = parameter_map(systems[0], [name], dt=task.case.dt, h=task.case.h)
    noise = (task.case.observation_noise or NOISE) * jnp.asarray(task.scale)
    ensemble = initial(task) if task.case.seen is not None else None
    cells = [
        parameter_filter(
            model,
            values,
            observation_noise=noise,
            deviation=deviation,
            is_harmonic=is_harmonic,
            key=jax.random.key(0),
            initial_ensemble=ensemble,
        )
        for deviation, is_harmonic in itertools.product(DEVIATIONS, (False, True))
    ]
    num_fit = round(0.75 * len(task.train.states))
    train = jax.tree.map(jnp.asarray, task.train)
    leads = min(validation_leads(len(train.states) - num_fit), task.case.num_leads)
    windows = late_windows(train, num_fit, history_size=task.case.history_size, num_windows=NUM_TRIALS, num_leads=leads)
    ranks = [trial(cell, windows, task) for cell in cells]
    best = cells[int(np.argmax(ranks))]
    return forecasts(best, jax.tree.map(jnp.asarray, task.windows))


def forecasts(cell: EnsembleKalmanFilter, windows: jaxcast.Windows) -> np.ndarray:
    """Forecasts windows.

    Args:
        cell: the filter.
        windows: to forecast.
    """
    return np.asarray(jaxcast.forecast_windows(cell, windows).forecast)


def trial(cell: Any, windows: jaxcast.Windows, task: Task) -> float:
    """Returns the mean valid time of a cell on held-out windows, by the components that are seen."""
    forecast = forecasts(cell, windows)[None]
    case = dataclasses.replace(task.case, num_leads=forecast.shape[2], ground_truth_time=None)
    return float(score_against(case, forecast, np.asarray(windows.truth)[None]).valid_times.mean())


def initial(task: Task) -> Any:
    """Returns states of a candidate's own climate, for a first value that is not known in full."""
    system = task.case.candidate_systems()[0]
    start = jaxcast.dynamics.random_starts(system, 1, key=jax.random.key(0))[0]
    run = jaxcast.simulate(
        system, start, num_samples=20 * NUM_MEMBERS, dt=task.case.dt, h=task.case.h, transient=task.case.transient
    )
    return run.states[::20]

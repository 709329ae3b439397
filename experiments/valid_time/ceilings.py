"""The perfect model: the truth's own equations from the best start that its observations allow."""

import dataclasses
from typing import Any

import numpy as np

import jaxcast
from jaxcast.benchmark.task import Task, clean_trajectories

OFF = 0.01
"""Error of the hidden state, in deviations."""


def perfect_model(task: Task) -> np.ndarray:
    """Forecasts windows by the truth's own equations, without process noise.

    What is hidden starts off: a hidden regime by 1 % of its deviation; fast variables are drawn from another time.

    Args:
        task: the case's data.

    Returns:
        The forecasts of the windows.

    Raises:
        InputError: for cases with noisy or missing observations, whose start is itself a forecast.
    """
    case = task.case
    if case.observation_noise or case.seen is not None:
        raise jaxcast.InputError("its start is not known where observations are noisy")
    num_windows = len(task.windows.truth)
    _, valid = clean_trajectories(dataclasses.replace(case, dim=None), task.seed, num_windows)
    first = case.history_size - 1 + case.samples_per_window * np.arange(num_windows)
    starts = hidden_off(task, valid.states[first], valid.states)
    truth = (case.windows_truth or case.truth)(task.seed)
    h = case.truth_h or case.h
    sizes: dict[str, Any] = {"num_samples": case.num_leads + 1, "dt": case.dt, "h": h}
    solved = [
        np.asarray(jaxcast.simulate(truth, start, t0=float(t), **sizes).states)
        for start, t in zip(starts, valid.times[first], strict=True)
    ]
    return np.stack([states[1:, : case.dim] for states in solved])


def hidden_off(task: Task, starts: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Returns starts whose hidden components are not known exactly.

    Args:
        task: the case's data.
        starts: true states, (window, dim of the truth).
        states: the trajectory that they come from.
    """
    case = task.case
    if case.dim is None or case.dim == starts.shape[1]:
        return starts
    rng = np.random.default_rng([task.seed, 2])
    hidden = starts[:, case.dim :]
    if case.group == "scales":
        hidden = states[rng.integers(0, len(states), len(starts)), case.dim :]
    else:
        hidden = hidden + OFF * states[:, case.dim :].std(0) * rng.normal(size=hidden.shape)
    return np.concatenate([starts[:, : case.dim], hidden], 1)

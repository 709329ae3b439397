"""Classical rivals of `experiments.lorenz_skill`; their settings are chosen on the training trajectory."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.lorenz_skill.cases import Case, SkillTask
from experiments.lorenz_skill.scores import Trained, pooled, single

VALIDATION_WINDOWS = 30
MOST_MONOMIALS = 1400
"""With more, one decomposition takes minutes."""
NVAR_SHAPES = [(k, p) for k in (1, 2, 3, 4, 5, 6, 8, 12, 16) for p in (1, 2, 3, 4)]
NVAR_PENALTIES = np.logspace(-10, 4, 15)
RESERVOIR = {"spectral_radius": [0.1, 0.5, 0.9, 1.3], "input_scale": [0.03, 0.1, 0.3]}
RESERVOIR_SIZES = [100, 300, 1000]
RESERVOIR_PENALTIES = np.logspace(-9, 3, 13)
FILTER = {
    "observation_noise": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3],
    "parameter_noise": [1 / 80, 1 / 40, 1 / 20, 1 / 10, 1 / 5, 2 / 5],
    "inflation": [1.0, 1.03, 1.1, 1.3],
}
"""Observation noise is in deviations of the values, parameter noise in ranges of the candidates."""
HARMONIC_FILTER = FILTER | {"parameter_noise": [0.0, 1 / 800, 1 / 200, 1 / 50], "inflation": [1.0, 1.03]}
PERIODS = (5.0, 100.0)
"""Shortest and longest period at the start, in samples."""


def fixed_share(task: SkillTask, case: Case, key: Any) -> Trained:
    """Fits the switching weights of Herbster and Warmuth."""
    samples = jaxcast.one_step_samples(task.train, 1, task.candidates)
    return single(pooled(jaxcast.pooling.fit_fixed_share(samples.forecasts, samples.targets), task.candidates))


def interacting_models(task: SkillTask, case: Case, key: Any) -> Trained:
    """Fits a Markov chain over the candidates."""
    samples = jaxcast.one_step_samples(task.train, 1, task.candidates)
    return single(pooled(jaxcast.pooling.fit_interacting_models(samples.forecasts, samples.targets), task.candidates))


def nvar(task: SkillTask, case: Case, key: Any) -> Trained:
    """Fits next-generation reservoir computing to the truth alone."""
    dim = task.truth.dim
    shapes = [
        {"num_delays": k, "degree": p}
        for k, p in NVAR_SHAPES
        if k <= case.history_size and math.comb(k * dim + p, p) <= MOST_MONOMIALS
    ]
    fit = for_all_penalties(jaxcast.forecasters.fit_nvar, NVAR_PENALTIES)
    cell, notes = search(fit, {"shape": shapes, "penalty": NVAR_PENALTIES.tolist()}, task, case)
    return single(cell, cell.num_delays, **notes)


def reservoir(task: SkillTask, case: Case, key: Any) -> Trained:
    """Fits an echo state network to the truth alone: radius and input scale at 300 nodes, then the number of nodes."""

    def fit_one(states: Any, **setting: Any) -> Any:
        return jaxcast.forecasters.fit_reservoir(states, key=key, **setting)

    fit = for_all_penalties(fit_one, RESERVOIR_PENALTIES)
    penalties = {"penalty": RESERVOIR_PENALTIES.tolist()}
    _, notes = search(fit, {"num_nodes": [300]} | RESERVOIR | penalties, task, case)
    first = json.loads(notes["setting"])
    sizes = {"num_nodes": RESERVOIR_SIZES} | {name: [first[name]] for name in RESERVOIR} | penalties
    cell, last = search(fit, sizes, task, case)
    of_300 = [one for one in json.loads(notes["tried"]) if one not in json.loads(last["tried"])]
    return single(cell, setting=last["setting"], tried=json.dumps(json.loads(last["tried"]) + of_300))


def ensemble_kalman_filter(task: SkillTask, case: Case, key: Any) -> Trained:
    """Fits a filter that knows the true family, which no pool does, with the parameter as part of its state."""
    found = jaxcast.dynamics.candidate_coordinates(task.ensemble)
    assert found is not None
    name, values = found
    low, high = min(values), max(values)
    model = jaxcast.assimilation.parameter_map(task.ensemble[0], [name], dt=case.dt, h=case.h)
    deviation = np.asarray(task.train.states).std(0)

    def make(_: Any, observation_noise: float, parameter_noise: float, inflation: float) -> Any:
        return jaxcast.assimilation.EnsembleKalmanFilter(
            model,
            observation_noise=observation_noise * deviation,
            parameters=[jaxcast.assimilation.RandomWalk(low, high, parameter_noise * (high - low))],
            analysis=jaxcast.assimilation.EnsembleTransform(inflation=inflation),
            key=key,
        )

    cell, notes = search(make, FILTER, task, case)
    return single(cell, **notes)


def harmonic_ensemble_kalman_filter(task: SkillTask, case: Case, key: Any) -> Trained:
    """Fits that filter with a parameter that oscillates, whose period, amplitude and phase it estimates."""
    found = jaxcast.dynamics.candidate_coordinates(task.ensemble)
    assert found is not None
    name, values = found
    low, high = min(values), max(values)
    quarter = (high - low) / 4
    model = jaxcast.assimilation.parameter_map(task.ensemble[0], [name], dt=case.dt, h=case.h)
    deviation = np.asarray(task.train.states).std(0)

    def make(_: Any, observation_noise: float, parameter_noise: float, inflation: float) -> Any:
        parameter = jaxcast.assimilation.HarmonicParameter(
            low + quarter, high - quarter, 2 * quarter, *PERIODS, parameter_noise * (high - low)
        )
        return jaxcast.assimilation.EnsembleKalmanFilter(
            model,
            observation_noise=observation_noise * deviation,
            parameters=[parameter],
            analysis=jaxcast.assimilation.EnsembleTransform(inflation=inflation),
            key=key,
        )

    cell, notes = search(make, HARMONIC_FILTER, task, case)
    return single(cell, **notes)


RIVALS: dict[str, Callable[[SkillTask, Case, Any], Trained]] = {
    function.__name__: function
    for function in (
        fixed_share,
        interacting_models,
        nvar,
        reservoir,
        ensemble_kalman_filter,
        harmonic_ensemble_kalman_filter,
    )
}


def search(fit: Callable[..., Any], grid: dict[str, Any], task: SkillTask, case: Case) -> tuple[Any, dict[str, Any]]:
    """Finds the setting that forecasts the last quarter of the training trajectory longest.

    A dictionary among the values of the grid stands for several arguments.

    Returns:
        The cell of that setting, and notes: the setting, and the score of every setting.
    """
    rules = task.rules
    choice = jaxcast.training.grid_search(
        task.train,
        fit=lambda trajectory, **setting: fit(trajectory, **_flat(setting)),
        grid=grid,
        dt=case.dt,
        threshold=rules.threshold,
        num_leads=max(1, min(rules.num_leads // 2, len(task.train.states) // 8)),
        history_size=case.history_size,
        num_windows=VALIDATION_WINDOWS,
    )
    tried = [_flat(setting) | {"valid_time": round(score, 4)} for setting, score in choice.scores]
    return choice.cell, {"setting": json.dumps(_flat(choice.setting)), "tried": json.dumps(tried)}


def _flat(setting: dict[str, Any]) -> dict[str, Any]:
    parts = [value if isinstance(value, dict) else {name: value} for name, value in setting.items()]
    return {name: value for part in parts for name, value in part.items()}


def at_edge(setting: dict[str, Any], tried: Sequence[dict[str, Any]]) -> list[str]:
    """Lists the chosen values at the edge of their grid that beat all inner ones, other values as chosen."""
    edges = []
    for name in setting:
        beside = [one for one in tried if all(one[k] == v for k, v in setting.items() if k != name)]
        best = max(one["valid_time"] for one in beside)
        values = [one[name] for one in beside]
        inside = any(one["valid_time"] == best and min(values) < one[name] < max(values) for one in beside)
        if len({one[name] for one in tried}) > 1 and not inside:
            edges.append(name)
    return edges


def for_all_penalties(fit: Callable[..., Any], penalties: np.ndarray) -> Callable[..., Any]:
    """Returns (trajectory, penalty, ...) -> cell, which decomposes once for all penalties."""
    fitted: dict[tuple[Any, ...], Any] = {}

    def fit_one(trajectory: jaxcast.Trajectory, *, penalty: float, **setting: Any) -> Any:
        known = (len(trajectory.states), *setting.items())
        if known not in fitted:
            fitted.clear()  # one after the other: the cells of all penalties are large
            fitted[known] = jax.vmap(lambda p: fit(trajectory.states, penalty=p, **setting))(jnp.asarray(penalties))
        index = int(np.argmin(abs(np.log(penalties / penalty))))
        return jax.tree.map(lambda a: a[index], fitted[known])

    return fit_one

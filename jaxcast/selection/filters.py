"""Ensemble Kalman filters of state and parameter, whose settings are chosen on held-out windows."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.assimilation.analyses import EnsembleTransform
from jaxcast.assimilation.ensemble_kalman import EnsembleKalmanFilter
from jaxcast.assimilation.parameters import HarmonicParameter, RandomWalk, parameter_map
from jaxcast.dynamics.candidates import unstack_systems
from jaxcast.dynamics.coordinates import coordinates_of
from jaxcast.dynamics.systems import System, random_starts
from jaxcast.dynamics.trajectories import FlowMap, Trajectory, simulate
from jaxcast.errors import InputError
from jaxcast.selection.noise import estimate_noise

NUM_MEMBERS = 30
NOISES: tuple[float | Literal["estimated"], ...] = (0.03, 0.1, "estimated")
"""Of observations, in standard deviations of the state, without noise of the model; or both estimated."""
LEAST_NOISE = 0.003
"""Of observations where noise is estimated: a filter needs some."""
MOTIONS = ((1 / 40, False), (1 / 5, False), (1 / 40, True))
"""Deviation of the parameter's steps, and whether it oscillates."""
MOST_FOR_MEMBERS = 16
"""Components of a state for which that many members are enough."""
APART = 20
"""Samples from one member of the first ensemble to the next."""
SHORTEST, LONGEST = 5.0, 60.0
"""Periods of the first guess of a parameter that oscillates, in samples."""


def parameter_filter(
    model: Callable[..., Any],
    values: Shaped[ArrayLike, " model"],
    *,
    observation_noise: Float[Array, " dim"],
    deviation: float,
    is_harmonic: bool,
    key: Key[Array, ""],
    initial_ensemble: Float[Array, "member dim"] | None = None,
    model_noise: Float[Array, " dim"] | float = 0.0,
) -> EnsembleKalmanFilter:
    """Makes a filter whose parameter lies between the candidates' and takes a random walk or oscillates.

    Args:
        model: forecasts a state with a parameter, as of `parameter_map`.
        values: of the parameter, of all candidates.
        observation_noise: standard deviations of observed values.
        deviation: of the parameter's steps, as a share of the range of the values; a tenth of it
            where the parameter oscillates.
        is_harmonic: whether it oscillates.
        key: random key.
        initial_ensemble: states to start from; None where the first value is known in full.
        model_noise: standard deviations of the model error at each step.

    Returns:
        The filter.
    """
    low, high = float(np.min(values)), float(np.max(values))
    step, quarter = deviation * (high - low), (high - low) / 4
    parameter: Any = RandomWalk(low, high, step)
    if is_harmonic:
        parameter = HarmonicParameter(low + quarter, high - quarter, 2 * quarter, SHORTEST, LONGEST, step / 10)
    return EnsembleKalmanFilter(
        model,
        observation_noise=observation_noise,
        key=key,
        parameters=[parameter],
        num_members=NUM_MEMBERS,
        analysis=EnsembleTransform(inflation=1.02),
        initial_ensemble=initial_ensemble,
        model_noise=model_noise,
    )


def filter_settings() -> list[dict[str, Any]]:
    """Returns the settings that are tried."""
    return [
        {"observation_noise": noise, "deviation": deviation, "is_harmonic": is_harmonic}
        for noise, (deviation, is_harmonic) in itertools.product(NOISES, MOTIONS)
    ]


def fit_filter(
    trajectory: Trajectory,
    forecast_map: Any,
    *,
    observation_noise: float | Literal["estimated"],
    deviation: float,
    is_harmonic: bool,
    seed: int,
) -> EnsembleKalmanFilter:
    """Makes a filter with the candidates' family as its model.

    Args:
        trajectory: of the truth, for its scale; NaN where it is not known.
        forecast_map: of the candidates.
        observation_noise: in standard deviations of the state, with a model without noise; or
            "estimated" for both noises as `estimate_noise` finds them.
        deviation: of the parameter's steps, as in `parameter_filter`.
        is_harmonic: whether the parameter oscillates.
        seed: of what is random.

    Returns:
        The filter. For a trajectory with gaps it starts anywhere on a candidate's attractor.

    Raises:
        InputError: where the candidates do not differ in one parameter alone, a state has too many
            components for the members, a component is constant, or noise cannot be estimated.
    """
    name, values = find_family(forecast_map, trajectory.states.shape[1])
    systems, dt = unstack_systems(forecast_map.system), float(forecast_map.dt)
    h = dt / forecast_map.num_substeps
    constant = np.flatnonzero(np.asarray(jnp.nanmax(trajectory.states, 0) == jnp.nanmin(trajectory.states, 0)))
    if constant.size:
        raise InputError(f"a filter takes components that vary, component {constant[0]} is constant")
    scale, ensemble = trajectory.states.std(0), None
    if bool(jnp.isnan(scale).any()):
        ensemble = _climate(systems[len(systems) // 2], dt, h, seed)
        scale = jnp.where(jnp.isnan(trajectory.states).all(0), ensemble.std(0), jnp.nanstd(trajectory.states, 0))
    model, step_noise = parameter_map(systems[0], [name], dt=dt, h=h), 0.0
    if isinstance(observation_noise, str):
        value_noise, step_noise = estimate_noise(trajectory.states, model, values, scale)
        observation_noise = max(value_noise, LEAST_NOISE)
    return parameter_filter(
        model,
        values,
        observation_noise=observation_noise * scale,
        deviation=deviation,
        is_harmonic=is_harmonic,
        key=jax.random.key(seed),
        initial_ensemble=ensemble,
        model_noise=step_noise * scale,
    )


def find_family(forecast_map: Any, dim: int) -> tuple[str, Any]:
    """Finds the parameter in which candidates differ, of which a filter takes their family as its model.

    Args:
        forecast_map: of the candidates; None without.
        dim: components of a state.

    Returns:
        The parameter's name and the candidates' values.

    Raises:
        InputError: where no filter takes them.
    """
    if forecast_map is None:
        raise InputError("a filter needs candidates")
    if dim > MOST_FOR_MEMBERS:
        raise InputError(
            f"a filter of {NUM_MEMBERS} members takes states of at most {MOST_FOR_MEMBERS} components, got {dim}"
        )
    found = coordinates_of(forecast_map)
    if found is None or not isinstance(forecast_map, FlowMap):
        raise InputError("the candidates do not differ in one parameter alone")
    return found


def never_known(states: Any, components: Sequence[str] | None = None) -> str:
    """Says which components are NaN in all samples.

    Args:
        states: (time, dim).
        components: their names; by default numbers from 0.

    Returns:
        Such as "component y is never known"; empty where there is none.
    """
    found = np.flatnonzero(np.isnan(np.asarray(states)).all(0)).tolist()
    names = [str(k) if components is None else components[k] for k in found]
    if not names:
        return ""
    return (
        f"component {names[0]} is never known" if len(names) == 1 else f"components {', '.join(names)} are never known"
    )


def check_fillable(states: Any, forecast_map: Any, components: Sequence[str] | None = None) -> None:
    """Refuses components that are never known, where no filter can fill them.

    Args:
        states: (time, dim), with NaN in gaps.
        forecast_map: of the candidates; None without.
        components: names of the components; by default numbers from 0.

    Raises:
        InputError: with the components and the reason.
    """
    if never := never_known(states, components):
        try:
            find_family(forecast_map, np.shape(states)[1])
        except InputError as error:
            raise InputError(f"{never}, and no filter can fill that: {error}") from None


def _climate(system: System, dt: float, h: float, seed: int) -> Any:
    """Returns states of a system's attractor that are far apart in time."""
    start = random_starts(system, 1, key=jax.random.key(seed))[0]
    return simulate(system, start, num_samples=(NUM_MEMBERS + 20) * APART, dt=dt, h=h).states[20 * APART :: APART]

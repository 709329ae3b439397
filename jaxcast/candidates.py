"""An ensemble of candidate models as one system with stacked parameters: one state -> (model, dim) forecasts.

A *forecast map* is any function (value, given) -> forecasts: the flow map of a stacked system is one, and so is a
function that returns rows which somebody else forecast. `given` is whatever comes with that step; here, the time.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.errors import InputError
from jaxcast.integrate import Trajectory
from jaxcast.systems import System

ForecastMap: TypeAlias = Callable[[Any, Any], Any]
"""(value (dim,), given) -> forecasts (model, dim) of the next value."""


def stack(systems: Sequence[System]) -> System:
    """One system whose every parameter has a leading model axis; its flow map gives (model, dim).

    Raises:
        InputError: for an empty list, or systems of different kinds or with different kinds of parameters.

    Example:
        >>> import jaxcast
        >>> ensemble = jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in (28.0, 30.0, 32.0)])
        >>> candidates = jaxcast.flow_map(ensemble, dt=0.1, h=0.01)
        >>> candidates([1.0, 1.0, 20.0]).shape
        (3, 3)
    """
    if not systems or not all(isinstance(system, System) for system in systems):
        kinds_given = ", ".join(sorted({type(system).__name__ for system in systems})) or "none"
        raise InputError(f"stack expects at least one system, got {kinds_given}")
    kinds = {jax.tree.structure(system) for system in systems}
    if len(kinds) > 1:
        raise InputError(
            f"stack expects systems of one kind with the same kinds of parameters, got {len(kinds)} kinds: "
            + ", ".join(sorted({type(system).__name__ for system in systems}))
            + "; give every system the same kind of schedule for a parameter, or none (plain functions of time are "
            "different kinds: subclass Schedule)"
        )
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *systems)


def as_forecast_map(forecast_map: ForecastMap | None) -> Any:
    """The forecast map as a pytree, so that it can be an argument of a compiled function."""
    if forecast_map is not None and jax.tree_util.all_leaves([forecast_map]) and callable(forecast_map):
        return jax.tree_util.Partial(forecast_map)
    return forecast_map


def forecasts_along(forecast_map: ForecastMap, trajectory: Trajectory) -> Float[Array, "time model dim"]:
    """What the candidates forecast from every sample of a trajectory: row n is their forecast of sample n + 1.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=4)
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in (28.0, 30.0)]))
        >>> forecasts = jaxcast.forecasts_along(candidates, truth)
        >>> bool(abs(forecasts[0, 0] - truth.states[1]).max() < 1e-5)  # the first candidate is the truth
        True
    """
    return _forecasts_along(as_forecast_map(forecast_map), trajectory)


@jax.jit
def _forecasts_along(forecast_map: ForecastMap, trajectory: Trajectory) -> Array:
    return jax.vmap(forecast_map)(trajectory.states, trajectory.times)

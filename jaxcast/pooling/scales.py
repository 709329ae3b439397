"""Standardisation of the inputs of networks."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_finite, check_positive
from jaxcast.dynamics.candidates import ForecastMap, forecasts_along
from jaxcast.dynamics.gaps import filled, known_throughout
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.nn.layers import Buffer
from jaxcast.nn.standardizer import Standardizer


@checked
def input_scales(
    trajectory: Trajectory, forecast_map: ForecastMap, *, known: Bool[Any, "..."] | None = None
) -> Standardizer:
    """Measures the scales of a network's inputs.

    Args:
        trajectory: to measure on.
        forecast_map: of the candidates.
        known: which states or components are known, (time,) or (time, dim); by default all. Other
            states count nowhere.

    Returns:
        Mean and standard deviation of the states, and the root mean square of the candidates'
        one-step errors; 1 for components that never change or that every candidate forecasts
        exactly.

    Raises:
        InputError: for a trajectory of fewer than two samples, a mask of another shape, or one
            without two known samples in a row.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=100)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> scales = jaxcast.pooling.input_scales(truth, candidates)
        >>> bool((scales.error < scales.std).all())
        True
    """
    trajectory, rows = filled(trajectory, known)
    states = trajectory.states
    if len(states) < 2:
        raise InputError(f"expected a trajectory of at least 2 samples, got {len(states)}")
    check_finite({"states": states})
    errors = forecasts_along(forecast_map, trajectory)[:-1] - states[1:, None]
    if known is not None:
        errors, states = errors[known_throughout(rows, 2)], states[rows]
    size = jnp.sqrt((errors**2).mean((0, 1)))
    std = states.std(0)
    return Standardizer(states.mean(0), jnp.where(std > 0, std, 1), jnp.where(size > 0, size, 1))


class StandardizedInputs(nnx.Module):
    """The `Standardizer` of a network, stored with its parameters.

    Args:
        scales: the statistics; None for mean 0 and size 1.
        dim: components of a state.

    Raises:
        InputError: for statistics of another number of components.
    """

    def __init__(self, scales: Standardizer | None, dim: int):
        given = Standardizer(jnp.zeros(dim), jnp.ones(dim), jnp.ones(dim)) if scales is None else scales
        for name, values in given._asdict().items():
            if jnp.shape(values) != (dim,):
                raise InputError(f"expected {name} of the scales for {dim} components, got shape {jnp.shape(values)}")
        self.mean, self.std, self.error = (Buffer(jnp.asarray(values, jnp.result_type(float))) for values in given)

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_positive(**{"std of the scales": self.std[...], "error of the scales": self.error[...]})

    def states(self, values: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Standardises states.

        Args:
            values: the states.
        """
        return (values - self.mean[...]) / self.std[...]

    def errors(self, values: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Scales errors of candidates.

        Args:
            values: the errors.
        """
        return values / self.error[...]

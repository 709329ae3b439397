"""How large the inputs of a network are, so that it sees numbers of order one."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_finite, check_positive
from jaxcast.dynamics.candidates import ForecastMap, forecasts_along
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.nn.layers import Buffer
from jaxcast.nn.standardizer import Standardizer


@checked
def input_scales(trajectory: Trajectory, forecast_map: ForecastMap) -> Standardizer:
    """Mean and standard deviation of the states, and the root mean square of the candidates' one-step errors.

    Components that never change, or that every candidate forecasts exactly, count as of size one.

    Raises:
        InputError: for a trajectory of less than two samples.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=100)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> scales = jaxcast.pooling.input_scales(truth, candidates)
        >>> bool((scales.error < scales.std).all())
        True
    """
    states = trajectory.states
    if len(states) < 2:
        raise InputError(f"expected a trajectory of at least 2 samples, got {len(states)}")
    check_finite({"states": states})
    errors = forecasts_along(forecast_map, trajectory)[:-1] - states[1:, None]
    size = jnp.sqrt((errors**2).mean((0, 1)))
    std = states.std(0)
    return Standardizer(states.mean(0), jnp.where(std > 0, std, 1), jnp.where(size > 0, size, 1))


class StandardizedInputs(nnx.Module):
    """The `Standardizer` of a network, kept with its parameters."""

    def __init__(self, scales: Standardizer | None, dim: int):
        given = Standardizer(jnp.zeros(dim), jnp.ones(dim), jnp.ones(dim)) if scales is None else scales
        for name, values in given._asdict().items():
            if jnp.shape(values) != (dim,):
                raise InputError(f"expected {name} of the scales for {dim} components, got shape {jnp.shape(values)}")
        self.mean, self.std, self.error = (Buffer(jnp.asarray(values, jnp.result_type(float))) for values in given)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a part of a network."""
        check_positive(**{"std of the scales": self.std[...], "error of the scales": self.error[...]})

    def states(self, values: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        return (values - self.mean[...]) / self.std[...]

    def errors(self, values: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        return values / self.error[...]

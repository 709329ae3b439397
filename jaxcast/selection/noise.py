"""Noise of values and of steps, estimated from one-step residuals about a family of models."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxcast.errors import InputError
from jaxcast.precision import highest

MOST_STEPS = 2000
"""Steps that are looked at, the last."""
LEAST_PAIRS = 20


def estimate_noise(
    states: Float[Array, "time dim"],
    model: Callable[..., Any],
    values: Shaped[Any, " model"],
    scale: Float[Array, " dim"],
) -> tuple[float, float]:
    """Splits the residuals of single steps into noise of the values and noise of the steps.

    In standard deviations of the state, P_j takes out of the residual of step j the direction in
    which the parameter moves the forecast, since the best parameter of each step is not known.
    What is left, r_j, holds the errors of two values and the noise of a step, of the same deviation
    in every component. An error of a value appears in two residuals, so with the slope J_j of a step

        E[r_j-1 . J_j^T r_j] = -value^2 E[tr P_j-1 J_j^T P_j J_j]
        E[r_j^2] = value^2 E[tr P_j (1 + J_j J_j^T)] + step^2 (dim - 1)

    Args:
        states: along a trajectory; NaN where they are not known.
        model: (state, parameters) -> the next state, with one parameter.
        values: of it, between which the best of each step is sought.
        scale: standard deviation of each component.

    Returns:
        Deviations of values and of steps, in standard deviations of the state.

    Raises:
        InputError: for a single component, or too few known samples in a row.
    """
    states = states[-MOST_STEPS - 1 :]
    known = ~jnp.isnan(states).any(1)
    steps = known[:-1] & known[1:]
    pairs = steps[:-1] & steps[1:]
    if states.shape[1] < 2 or int(pairs.sum()) < LEAST_PAIRS:
        raise InputError("noise is estimated from two components or more, each known three times in a row")
    filled = jnp.where(known[:, None], states, states[jnp.argmax(known)])
    ends = jnp.asarray([jnp.min(values), jnp.max(values)], filled.dtype)
    value, step = _moments(model, ends, filled, scale, steps, pairs)
    return float(value), float(step)


@jax.jit
@highest
def _moments(model: Any, ends: Array, states: Array, scale: Array, steps: Array, pairs: Array) -> tuple[Array, Array]:
    dim = states.shape[1]

    def forecast(before: Array, parameter: Array) -> Array:
        return jnp.asarray(model(scale * before, parameter) / scale)

    def residual(before: Array, after: Array) -> tuple[Array, Array, Array]:
        parameter = ends.mean(keepdims=True)
        for _ in range(2):
            slope = jax.jacfwd(forecast, 1)(before, parameter)[:, 0]
            change = slope @ (after - forecast(before, parameter)) / (slope @ slope)
            parameter = jnp.clip(parameter + change, *ends)  # where it moves next to nothing, the best is far off
        direction = slope / jnp.linalg.norm(slope)
        others = jnp.eye(dim) - jnp.outer(direction, direction)
        return others @ (after - forecast(before, parameter)), others, jax.jacfwd(forecast)(before, parameter)

    left, others, slopes = jax.vmap(residual)(states[:-1] / scale, states[1:] / scale)
    back = jnp.einsum("ned,ne->nd", slopes, left)
    twice = -((left[:-1] * back[1:]).sum(1) * pairs).sum()
    crossed = jnp.einsum("nab,ncb,ncd,nda->n", others[:-1], slopes[1:], others[1:], slopes[1:])
    value = jnp.maximum(twice / (crossed * pairs).sum(), 0)
    once = dim - 1 + jnp.einsum("nab,nbc,nac->n", others, slopes, slopes)
    step = (((left**2).sum(1) - value * once) * steps).sum() / (steps.sum() * (dim - 1))
    return jnp.sqrt(value), jnp.sqrt(jnp.maximum(step, 0))

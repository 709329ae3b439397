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
        InputError: for a single component, or too few known samples in a row whose forecasts the
            parameter moves.
    """
    states = states[-MOST_STEPS - 1 :]
    known = ~jnp.isnan(states).any(1)
    if states.shape[1] < 2:
        raise InputError("noise is estimated from the residuals of two components or more, got 1")
    filled = jnp.where(known[:, None], states, states[jnp.argmax(known)])
    ends = jnp.asarray([jnp.min(values), jnp.max(values)], filled.dtype)
    value, step, num_pairs = _moments(model, ends, filled, scale, known[:-1] & known[1:])
    if num_pairs < LEAST_PAIRS:
        raise InputError(
            f"noise is estimated from at least {LEAST_PAIRS} runs of three samples that are known in whole and whose "
            f"forecasts the parameter moves, got {int(num_pairs)}; give a longer trajectory"
        )
    return float(value), float(step)


@jax.jit
@highest
def _moments(model: Any, ends: Array, states: Array, scale: Array, steps: Array) -> tuple[Array, Array, Array]:
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

    found = jax.vmap(residual)(states[:-1] / scale, states[1:] / scale)
    # Where the parameter moves nothing, no value of it is the best, and a model may diverge.
    usable = steps & jnp.all(jnp.asarray([jnp.isfinite(a).reshape(len(a), -1).all(1) for a in found]), axis=0)
    residuals, others, slopes = (jnp.where(usable.reshape(-1, *[1] * (a.ndim - 1)), a, 0) for a in found)
    pairs = usable[:-1] & usable[1:]
    pulled_back = jnp.einsum("ned,ne->nd", slopes, residuals)
    cross_moment = -((residuals[:-1] * pulled_back[1:]).sum(1) * pairs).sum()
    traces = jnp.einsum("nab,ncb,ncd,nda->n", others[:-1], slopes[1:], others[1:], slopes[1:])
    value = jnp.maximum(cross_moment, 0) / jnp.maximum((traces * pairs).sum(), jnp.finfo(states.dtype).tiny)
    of_values = dim - 1 + jnp.einsum("nab,nbc,nac->n", others, slopes, slopes)
    step = (((residuals**2).sum(1) - value * of_values) * usable).sum() / (usable.sum() * (dim - 1))
    return jnp.sqrt(value), jnp.sqrt(jnp.maximum(step, 0)), pairs.sum()

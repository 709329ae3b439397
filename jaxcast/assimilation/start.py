"""Where an ensemble starts: checks of what it starts from, and draws around the first value."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxcast.assimilation.checks import check_all, check_noise_fits
from jaxcast.assimilation.observation import WholeState
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced


def check_settings(initial_ensemble: Any, operator: Any, observation_noise: Any, model_noise: Any) -> None:
    """Refuses a filter that cannot start from any first value, and noise that none can have.

    Args:
        initial_ensemble: states of the members; None for none.
        operator: what of a state is observed.
        observation_noise: standard deviations, above 0.
        model_noise: standard deviations, at least 0.

    Raises:
        InputError: with what is missing or wrong.
    """
    check_all("observation_noise", observation_noise, above=0)
    check_all("model_noise", model_noise, least=0)
    if initial_ensemble is None and not isinstance(operator, WholeState):
        raise InputError(
            "without an initial ensemble the filter starts from a state that is observed in whole; give "
            "initial_ensemble (member, dim) beside the observation operator"
        )


def check_known(initial_ensemble: Any, value: Any, known: Any) -> None:
    """Refuses a first value that is not known in whole where there is no initial ensemble.

    Args:
        initial_ensemble: states of the members; None for none.
        value: the first value.
        known: whether it is the truth, () or (observation,).

    Raises:
        InputError: with the components that are unknown.
    """
    if initial_ensemble is not None or is_traced(value, known):
        return
    unknown = np.flatnonzero(~np.broadcast_to(known, np.shape(value)) | np.isnan(value))
    if unknown.size:
        raise InputError(
            "without an initial ensemble the first value must be wholly known, got components "
            f"{shown(unknown.tolist())} unknown or NaN; give initial_ensemble (member, dim), whose spread says "
            "how little is known of each component, or begin at a value that is known"
        )


def check_operator(operator: Any, observation_noise: Any, state: Array, value: Array) -> None:
    """Refuses an operator that does not return values like those given, or noise that does not fit them.

    Args:
        operator: what of a state is observed.
        observation_noise: standard deviations of that.
        state: any state, for its shape and dtype.
        value: any value, for its shape.

    Raises:
        InputError: with both shapes.
    """
    check_noise_fits("observation_noise", observation_noise, value)
    returned = jax.eval_shape(operator, state)
    found = returned.shape if isinstance(returned, jax.ShapeDtypeStruct) else returned
    if found != value.shape:
        raise InputError(
            f"the observation operator must return values like those given, of shape {value.shape}, got {shown(found)}"
        )


def around_value(value: Array, noise: Any, num_members: int, key: Key[Array, ""]) -> Array:
    """Draws states of members around a first value, which is all that is known of the state.

    Args:
        value: the first value.
        noise: standard deviations of it.
        num_members: number of members.
        key: of the draws.

    Returns:
        States (member, dim).
    """
    noise = jnp.broadcast_to(jnp.asarray(noise, value.dtype), value.shape)
    return value + noise * jax.random.normal(key, (num_members, *value.shape), value.dtype)

"""Where an ensemble starts: an initial ensemble, or around the first value."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxcast.assimilation.members import MemberModel
from jaxcast.assimilation.observation import WholeState
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced


def check_start(initial_ensemble: Any, operator: Any) -> None:
    """Raises InputError for a filter that cannot start from any first value."""
    if initial_ensemble is None and not isinstance(operator, WholeState):
        raise InputError(
            "without an initial ensemble the filter starts from a state that is observed in whole; give "
            "initial_ensemble (member, dim) beside the observation operator"
        )


def check_known(initial_ensemble: Any, value: Any, known: Any) -> None:
    """Raises InputError for a first value that is not known in whole where there is no initial ensemble."""
    if initial_ensemble is not None or is_traced(value, known):
        return
    unknown = np.flatnonzero(~np.broadcast_to(known, np.shape(value)) | np.isnan(value))
    if unknown.size:
        raise InputError(
            "without an initial ensemble the first value must be wholly known, got components "
            f"{shown(unknown.tolist())} unknown or NaN; give initial_ensemble (member, dim), whose spread says "
            "how little is known of each component, or begin at a value that is known"
        )


def check_operator(operator: Any, state: Array, value: Array) -> None:
    """Raises InputError unless the operator makes values like those given."""
    returned = jax.eval_shape(operator, state)
    found = returned.shape if isinstance(returned, jax.ShapeDtypeStruct) else returned
    if found != value.shape:
        raise InputError(
            f"the observation operator must return values like those given, of shape {value.shape}, got {shown(found)}"
        )


def start_members(
    member_model: MemberModel,
    initial_ensemble: Any,
    operator: Any,
    value: Array,
    exogenous: Any,
    num_members: int,
    key: Key[Array, ""],
) -> tuple[Array, Array]:
    """Returns the members before any value, zeros without an initial ensemble, and their parameters' variables.

    Raises:
        InputError: for states, a model or an operator of another size.
    """
    states = initial_ensemble
    if states is not None and isinstance(operator, WholeState) and states.shape[1:] != value.shape:
        raise InputError(
            f"expected an initial ensemble {(num_members, *value.shape)}, as the values are, "
            f"got one of shape {states.shape}"
        )
    states = jnp.zeros((num_members, *value.shape)) if states is None else states
    states = states.astype(value.dtype)
    member_model.check_model(states[0], exogenous)
    check_operator(operator, states[0], value)
    return states, member_model.draw(key, num_members, value.dtype)


def around_value(value: Array, noise: Any, num_members: int, key: Key[Array, ""]) -> Array:
    """Draws states of members around a first value, which is all that is known of the state."""
    noise = jnp.broadcast_to(jnp.asarray(noise, value.dtype), value.shape)
    return value + noise * jax.random.normal(key, (num_members, *value.shape), value.dtype)

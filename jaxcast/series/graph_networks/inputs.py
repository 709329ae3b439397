"""Inputs that the networks on graphs share."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import check_number
from jaxcast.errors import InputError

CALENDAR_SIZE = 4


def with_calendar(
    inputs: Float[Array, "*batch time node feature"], slots: Any, slots_per_day: int
) -> Float[Array, "*batch time node more"]:
    """Adds sine and cosine of the time of the day and of the week to the features of each step.

    Args:
        inputs: features of each step.
        slots: slot of the week of each step, (*batch, time); None without a calendar.
        slots_per_day: steps of a day.

    Returns:
        The inputs, with four more features where there is a calendar.
    """
    if slots is None:
        return inputs
    angles = 2 * math.pi * jnp.asarray(slots, inputs.dtype)[..., None] / (slots_per_day * jnp.asarray([1, 7]))
    features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1).astype(inputs.dtype)
    shape = (*inputs.shape[:-1], CALENDAR_SIZE)
    return jnp.concatenate([inputs, jnp.broadcast_to(features[..., None, :], shape)], -1)


def with_covariates(states: Float[Array, "*batch node state"], covariates: Any) -> Float[Array, "*batch node more"]:
    """Joins the states of nodes to their covariates.

    Args:
        states: of each node.
        covariates: of each node, (*batch, node, covariate); None for none.

    Returns:
        Both.
    """
    return states if covariates is None else jnp.concatenate([states, covariates.astype(states.dtype)], -1)


def by_lead(numbers: Float[Array, "*batch node number"], num_leads: int) -> Float[Array, "*batch lead node output"]:
    """Splits the numbers of each node by leads, which come first.

    Args:
        numbers: of each node, lead by lead.
        num_leads: how many leads there are.

    Returns:
        The outputs of each lead and node.
    """
    return jnp.moveaxis(numbers.reshape(*numbers.shape[:-1], num_leads, -1), -2, -3)


def check_dropout(dropout: Any) -> None:
    """Checks a share that training drops.

    Args:
        dropout: the share.

    Raises:
        InputError: for anything but a number from 0 to below 1.
    """
    check_number("dropout", dropout, least=0)
    if dropout >= 1:
        raise InputError(f"dropout must be a share from 0 to below 1, got {dropout}")

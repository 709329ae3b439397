"""The window of a smoother: its steps, oldest first, of which the last ones have passed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def empty_window(leaves: Any, length: int) -> Any:
    """Returns a window in which nothing has passed.

    Args:
        leaves: what comes at one step, for shapes and dtypes.
        length: steps of the window.

    Returns:
        The same with a leading axis of steps.
    """
    return jax.tree.map(lambda a: jnp.broadcast_to(jnp.asarray(a), (length, *jnp.shape(a))), leaves)


def push(window: Any, newest: Any) -> Any:
    """Returns a window one step later.

    Args:
        window: with a leading axis of steps, oldest first.
        newest: what comes at the new step.

    Returns:
        The window without its oldest step.
    """
    return jax.tree.map(
        lambda all_, new: jnp.concatenate([all_[1:], jnp.asarray(new, all_.dtype)[None]]), window, newest
    )


def along_window(
    step: Callable[[Array, Any], Array], start: Array, exogenous: Any, length: int, num_steps: Array
) -> Array:
    """Runs a model through a window.

    Args:
        step: (u, exogenous) -> u one step later.
        start: u at the start of the window.
        exogenous: of each step, with a leading axis of steps.
        length: steps of the window.
        num_steps: how many of the last steps have passed; before them u stays as it is.

    Returns:
        u before each step and after the last, (length + 1, ...).
    """

    def move(u: Array, x: tuple[Array, Any]) -> tuple[Array, Array]:
        number, given = x
        later = jnp.where(number >= length - num_steps, step(u, given), u)
        return later, later

    _, states = jax.lax.scan(move, start, (jnp.arange(length), exogenous), length=length)
    return jnp.concatenate([start[None], states])

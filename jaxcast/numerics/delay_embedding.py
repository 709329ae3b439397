"""Delay embedding of a series."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays


@checked
def delay_embed(values: Float[Array, "time ..."], num_delays: int) -> Float[Array, "sample lag ..."]:
    """Embeds a series in its delays: each row holds num_delays consecutive values, newest first.

    Args:
        values: the series, oldest first.
        num_delays: l, values in a row; row n holds values n + l - 1, ..., n.

    Returns:
        The rows, one for each run of values.

    Raises:
        InputError: for no delays, or more delays than values.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.dynamics.delay_embed(jnp.arange(4.0), num_delays=3).tolist()
        [[2.0, 1.0, 0.0], [3.0, 2.0, 1.0]]
    """
    length = len(values)
    if not 1 <= num_delays <= length:
        raise InputError(f"num_delays must be from 1 to the {length} values there are, got {num_delays}")
    shape = (length - num_delays + 1, num_delays, *jnp.shape(values)[1:])
    check_arrays(f"{num_delays} delays of {length} values", shape, dtype=values.dtype)
    newest = jnp.arange(num_delays - 1, length)
    return values[newest[:, None] - jnp.arange(num_delays)]

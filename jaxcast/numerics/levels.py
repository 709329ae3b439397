"""Levels of quantiles: checks, the middle one, pinball loss, and quantiles that never cross."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.errors import InputError


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Returns levels as a tuple of floats once they are known to be valid.

    Args:
        levels: the levels.

    Returns:
        The levels.

    Raises:
        InputError: for no level, or levels that do not increase within (0, 1).
    """
    levels = tuple(map(float, levels))
    if not levels or not all(0 < level < 1 for level in levels) or sorted(set(levels)) != list(levels):
        raise InputError(f"levels must increase within (0, 1), got {levels}")
    return levels


def middle_of(levels: Sequence[float]) -> int:
    """Returns the index of the level nearest to 0.5.

    Args:
        levels: the levels.

    Returns:
        Its index; the first of two that are equally near.
    """
    return min(range(len(levels)), key=lambda k: abs(levels[k] - 0.5))


def pinball_of(
    errors: Float[Array, "*batch quantile"], levels: Float[Array, " quantile"]
) -> Float[Array, "*batch quantile"]:
    """Returns the pinball loss of errors that are known already, without checks.

    Args:
        errors: truth minus quantile.
        levels: level of each quantile.

    Returns:
        The loss of each quantile.
    """
    return jnp.maximum(levels * errors, (levels - 1) * errors)


def rising_quantiles(raw: Float[Array, "*batch level"], middle: int) -> Float[Array, "*batch level"]:
    """Makes quantiles that never cross: the middle one, and softplus of the others as distances.

    Args:
        raw: any numbers.
        middle: index of the number that is a quantile itself.

    Returns:
        The quantiles, each at least as large as the one before.
    """
    centre = raw[..., middle, None]
    gaps = jax.nn.softplus(raw)
    below = jnp.flip(jnp.cumsum(jnp.flip(gaps[..., :middle], -1), -1), -1)
    above = jnp.cumsum(gaps[..., middle + 1 :], -1)
    return jnp.concatenate([centre - below, centre, centre + above], -1)


def row_quantiles(values: Float[np.ndarray, "row value"], levels: Sequence[float]) -> Float[np.ndarray, "row level"]:
    """Returns the quantiles of the known values of each row; 0 where there is none.

    Args:
        values: NaN where one is missing.
        levels: of the quantiles.

    Returns:
        The quantiles, between two values as by `numpy.quantile`.
    """
    ordered = np.sort(values, 1)  # NaN last
    places = np.asarray(levels) * np.maximum(np.isfinite(values).sum(1) - 1, 0)[:, None]
    below, above = (np.take_along_axis(ordered, part(places).astype(int), 1) for part in (np.floor, np.ceil))
    return np.nan_to_num(below + (places - np.floor(places)) * (above - below))

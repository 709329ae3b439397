"""Scales and levels of series."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.errors import InputError
from jaxcast.series.features import flat
from jaxcast.series.samples import SeriesWindows

Level = Literal["series", "window"]
Scaling = Literal["series", "all"]

LEVELS = get_args(Level)


def series_scale(
    samples: SeriesWindows, *, may_be_constant: bool = False
) -> tuple[Float[Array, " region *feature"], Float[Array, " region *feature"]]:
    """Finds the mean and the standard deviation of each series over the histories of samples.

    Args:
        samples: training samples.
        may_be_constant: whether a series that never changes is taken, with a deviation of 1.

    Returns:
        The means and the standard deviations, of each feature where there are several; the
        deviation of a feature that is not forecast and never changes is 1.

    Raises:
        InputError: for a series that never changes, is never known, or is too large or moves too
            little to square.
    """
    # Of numpy, for a model's scale is a number also where its making is traced.
    series = samples.history.shape[2:]
    history = np.asarray(samples.history).reshape(-1, int(np.prod(series)))
    history = history if np.issubdtype(history.dtype, np.floating) else history.astype(float)

    def name(bad: Any) -> str:
        where = np.unravel_index(int(np.argmax(bad)), series)
        return f"series number {where[0]}" + "".join(f", feature {feature}," for feature in where[1:])

    is_known = np.isfinite(history).any(0)
    if not is_known.all():
        raise InputError(f"{name(~is_known)} has no known value to learn from")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, std = np.nanmean(history, 0), np.nanstd(history, 0)
    constant = np.nanmin(history, 0) == np.nanmax(history, 0)
    if may_be_constant:
        std, constant = np.where(constant, 1, std).astype(history.dtype), constant & False
    seen_only = np.ones(series[-1], bool)
    if samples.features is not None:
        seen_only[list(samples.features.numbers)] = False
        std = np.where(constant & np.tile(seen_only, series[0]), 1, std).astype(history.dtype)
        constant &= ~np.tile(seen_only, series[0])
    if constant.any():
        raise InputError(f"{name(constant)} never changes in the training part; leave it out")
    usable = np.isfinite(std) & (std > np.sqrt(np.finfo(history.dtype).tiny))
    if not usable.all():
        largest = np.nanmax(np.abs(history[:, int(np.argmin(usable))]))
        raise InputError(
            f"{name(~usable)} reaches {largest:g}, whose square {history.dtype} cannot hold; give it in another unit"
        )
    return jnp.asarray(mean.reshape(series)), jnp.asarray(std.reshape(series))


def common_scale(
    samples: SeriesWindows,
) -> tuple[Float[Array, " region *feature"], Float[Array, " region *feature"]]:
    """Finds one mean and one standard deviation of all series together, of each feature.

    Args:
        samples: training samples.

    Returns:
        The mean and the standard deviation, the same for every series.

    Raises:
        InputError: for values that are all the same, or of which none is known.
    """
    series = samples.history.shape[2:]
    values = np.asarray(samples.history)
    values = values.reshape(-1, *series[1:])
    is_target = np.zeros(series[1:], bool)
    is_target[... if samples.features is None else list(samples.features.numbers)] = True
    if not np.isfinite(values).any(0).all():
        raise InputError("no value of any series is known, so there is nothing to learn from; give series with values")
    mean, std = np.nanmean(values, 0, dtype=float), np.nanstd(values, 0, dtype=float)
    if (is_target & ~(std > 0)).any():
        raise InputError(
            f"all series have the same value, {mean.ravel()[0]:g}, throughout the training part; leave them out"
        )
    std = np.where(std > 0, std, 1)
    dtype = samples.history.dtype
    return jnp.broadcast_to(jnp.asarray(mean, dtype), series), jnp.broadcast_to(jnp.asarray(std, dtype), series)


def filled(history: Float[Array, "..."], first: Float[Array, " region *feature"]) -> Float[Array, "..."]:
    """Fills missing values by the last known value of the same series.

    Args:
        history: (*batch, time, region) or (*batch, time, region, feature).
        first: the values where nothing is known before.

    Returns:
        The histories without missing values.
    """
    if first.ndim > 1:
        return filled(flat(history), first.ravel()).reshape(history.shape)
    known = jnp.isfinite(history)
    steps = jnp.arange(history.shape[-2])[:, None]
    last = jax.lax.cummax(jnp.where(known, steps, -1), axis=history.ndim - 2)
    values = jnp.take_along_axis(jnp.where(known, history, 0), jnp.maximum(last, 0), -2)
    return jnp.where(last >= 0, values, first)

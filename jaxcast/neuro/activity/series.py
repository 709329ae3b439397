"""Checks of BOLD series."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError, counted
from jaxcast.tracing import is_traced

MIN_SCANS = 12
"""The impulse response and the wavelet need about as many."""
MOST_MEAN = 3
"""In standard deviations; a mean beyond it is taken for one that was not removed."""


def check_series(series: Any) -> None:
    """Refuses series that are too short or not finite; traced ones pass the second check.

    Args:
        series: (time, ...).

    Raises:
        InputError: with the first voxel that is not finite.
    """
    shape = np.shape(series)
    if len(shape) == 0 or shape[0] < MIN_SCANS:
        raise InputError(f"expected series (time, voxel) of at least {MIN_SCANS} scans, got shape {shape}")
    if 0 in shape:
        raise InputError(f"expected at least one voxel, got shape {shape}")
    if is_traced(series):
        return
    bad = ~np.isfinite(np.asarray(series)).reshape(shape[0], -1).all(0)
    if bad.any():
        raise InputError(
            f"expected finite series, got NaN or infinity in {counted(bad.sum(), 'voxel')} of {bad.size}, "
            f"first in voxel {np.flatnonzero(bad)[0]}; leave them out of the mask or fill the gaps"
        )


def check_not_constant(series: Any) -> None:
    """Refuses series without any variation; traced ones pass.

    Args:
        series: (time, ...).

    Raises:
        InputError: with the first voxel that is constant.
    """
    if is_traced(series):
        return
    values = np.asarray(series).reshape(len(series), -1)
    constant = values.max(0) == values.min(0)
    if constant.any():
        raise InputError(
            f"expected series that vary, got {counted(constant.sum(), 'constant voxel')} of {constant.size}, "
            f"the first is voxel {np.flatnonzero(constant)[0]}; leave constant voxels out of the mask"
        )


def check_centred(series: Any) -> None:
    """Refuses series whose mean was not removed; traced ones pass.

    The mean of a scanner's raw signal is many times its variation. That of activity may be as large
    as its own.

    Args:
        series: (time, ...).

    Raises:
        InputError: with the first voxel whose mean is far from zero.
    """
    if is_traced(series):
        return
    values = np.asarray(series, float).reshape(len(series), -1)
    off = np.abs(values.mean(0)) > MOST_MEAN * values.std(0)
    if off.any():
        raise InputError(
            f"expected series with their mean removed, got a mean of more than {MOST_MEAN} standard deviations in "
            f"{counted(off.sum(), 'voxel')} of {off.size}, first in voxel {np.flatnonzero(off)[0]}; subtract it, or "
            "use masked_series"
        )


def checked_noise_level(noise_level: Any, series: Any, shape: tuple[int, ...]) -> Any:
    """Returns the noise level of each voxel.

    Args:
        noise_level: of each voxel, or of all.
        series: (time, voxel).
        shape: of the voxels, as the user gave them.

    Returns:
        One number for each voxel, of the dtype of the series.

    Raises:
        InputError: for another shape, or a level that is not positive.
    """
    level = jnp.asarray(noise_level, series.dtype)
    if level.shape not in ((), shape):
        raise InputError(f"expected one noise level or one for each voxel, {shape}, got shape {level.shape}")
    level = jnp.broadcast_to(level, shape).reshape(-1)
    if not is_traced(level) and not (np.isfinite(np.asarray(level)) & (np.asarray(level) > 0)).all():
        bad = np.flatnonzero(~(np.asarray(level) > 0))
        first = f"voxel {bad[0]} has {float(level[bad[0]]):g}" if len(bad) else "one is infinite"
        raise InputError(f"noise levels must be positive and finite, {first}; give noise_level by hand")
    return level

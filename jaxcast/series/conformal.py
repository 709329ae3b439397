"""Split conformal prediction: shifts of quantiles from held-out windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.numerics.levels import check_levels, middle_of
from jaxcast.series.samples import SeriesWindows

# Errors of the usual size that are added to those of each series, which may be few, or none.
PRIOR_COUNT = 5


@checked
def conformal_shifts(
    base: Float[Any, "sample lead region *target one_or_level"],
    samples: SeriesWindows,
    *,
    levels: Sequence[float],
    std: Float[Any, " region *target"],
    widths: Float[Any, "sample region *target"] | None = None,
) -> Float[np.ndarray, "lead region *target level"]:
    """Finds the shift of each level after which its share of held-out values lies below it.

        shift_(h,r)(tau) = s_(h,r) Q_(h,tau)( (y - base(tau)) / s_(h,r) )
        s_(h,r) = mean over samples of |y - base(1/2)|

    Q_(h,tau) is the tau-quantile over all samples and regions of a lead. The k-th smallest of n
    values is that of k / (n + 1), so that a further value lies below it with probability tau. Only
    the size of errors is each region's own: five errors of the usual size, in units of std, are
    added to its mean. Where no region has a known value at a lead, shifts are NaN. Several targets
    of a region are calibrated one by one.

    Args:
        base: quantiles of windows that the forecaster has not learned from; a single level stands
            for all.
        samples: the same windows.
        levels: quantile levels, rising.
        std: of each series.
        widths: errors are first divided by them, where they are larger at some times than at
            others; a shift is then that of a width of one.

    Returns:
        The shifts, in the unit of the series.

    Raises:
        InputError: for levels that do not rise within (0, 1), a base of other levels, or widths of
            another shape or not positive.

    Source:
        Split conformal prediction, after Romano, Patterson and Candes (2019), each level by itself.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).normal(size=(2000, 1))
        >>> samples = jaxcast.series.series_windows(values, history_size=1, leads=(1,))
        >>> shifts = jaxcast.series.conformal_shifts(
        ...     np.zeros((1999, 1, 1, 1)), samples, levels=(0.1, 0.9), std=np.ones(1)
        ... )
        >>> bool(abs(shifts - np.asarray([-1.28, 1.28])).max() < 0.1)
        True
    """
    levels, base, std = check_levels(levels), np.asarray(base), np.asarray(std)
    targets, weights = np.asarray(samples.targets), np.asarray(samples.weights)
    if base.shape[-1] not in (1, len(levels)) or base.shape[:-1] != targets.shape:
        raise InputError(f"expected base (*{targets.shape}, level) with one or {len(levels)} levels, got {base.shape}")
    shape = (len(targets), *targets.shape[2:])
    widths = np.ones(shape) if widths is None else np.asarray(widths)
    if widths.shape != shape or not (widths > 0).all():
        raise InputError(f"expected positive widths {shape}, got shape {widths.shape}")
    if std.shape != shape[1:]:
        raise InputError(f"expected std {shape[1:]}, one for each series, got shape {std.shape}")
    if samples.features is None:
        return _shifts_of(base, targets, weights, levels, std, widths)
    own = [
        _shifts_of(base[..., k, :], targets[..., k], weights[..., k], levels, std[:, k], widths[..., k])
        for k in range(targets.shape[-1])
    ]
    return np.stack(own, -2)


def _shifts_of(
    base: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    levels: tuple[float, ...],
    std: np.ndarray,
    widths: np.ndarray,
) -> Float[np.ndarray, "lead region level"]:
    base = np.broadcast_to(base, (*base.shape[:-1], len(levels)))
    known = weights > 0
    errors = np.where(known[..., None], targets[..., None] - base, 0) / widths[:, None, :, None]
    off = np.abs(errors[..., middle_of(levels)])
    usual = (off / std).sum((0, 2)) / np.maximum(known.sum((0, 2)), 1)
    scale = (off.sum(0) + PRIOR_COUNT * usual[:, None] * std) / (known.sum(0) + PRIOR_COUNT)
    scale = np.where(scale > 0, scale, 1)
    shifts = np.full((*scale.shape, len(levels)), np.nan)
    for lead, mask in enumerate(known.transpose(1, 0, 2)):
        if mask.any():
            relative = (errors[:, lead] / scale[lead, :, None])[mask]
            found = [np.quantile(relative[:, k], level, method="weibull") for k, level in enumerate(levels)]
            shifts[lead] = scale[lead, :, None] * np.asarray(found)
    return shifts

"""What a training on a panel holds out, and the scale of what it learns from."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.windows import PanelWindows

LEAST_WINDOWS = 200
"""Windows that are held out by default, where a fifth of the series suffices."""
LEAST_OF_EACH = 3
"""Windows of each series; a single one may be an unusual day of the week for all of them."""
MOST_WINDOWS = 4096
"""Held-out windows of which the loss is computed after every epoch."""
LARGEST_SHARE = 0.2


def held_out_windows(
    panel: SeriesPanel, num_leads: int, num_windows: int | None
) -> tuple[SeriesPanel, tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]]:
    """Holds out the last windows of every series.

    Args:
        panel: with the series.
        num_leads: steps of targets.
        num_windows: how many of each series, one after another; None for enough to calibrate by.

    Returns:
        The panel without the targets of these windows, and the series and the newest step of each.

    Raises:
        InputError: where no series is long enough.
    """
    if num_windows is None:
        typical = float(np.median(panel.lengths))
        wanted = max(-(-LEAST_WINDOWS // len(panel.names)), LEAST_OF_EACH)
        num_windows = max(1, min(wanted, int(LARGEST_SHARE * typical / num_leads)))
    check_whole("num_validation_windows", num_windows)
    newest = panel.lengths[:, None] - 1 - num_leads * np.arange(num_windows, 0, -1)
    series, column = np.nonzero(newest >= 0)
    if not len(series):
        raise InputError(
            f"every series is too short to hold out {num_leads} values: the longest has {panel.lengths.max()}; give "
            "longer series, or fewer leads"
        )
    if len(series) > MOST_WINDOWS:
        some = np.sort(np.random.default_rng(0).choice(len(series), MOST_WINDOWS, replace=False))
        series, column = series[some], column[some]
    train = panel.without_last(num_leads * num_windows)
    return train, (series, newest[series, column])


def weighted(windows: PanelWindows, scales: Float[np.ndarray, " window"]) -> PanelWindows:
    """Lets the targets of windows count in proportion to the scale of their series.

    Args:
        windows: with the same weight for all known targets.
        scales: of each window's series.

    Returns:
        The windows; their weights are 1 on average.
    """
    weights: Any = (windows.weights * (scales / scales.mean())[:, None]).astype(windows.weights.dtype)
    return windows._replace(weights=weights)


def training_scale(
    panel: SeriesPanel, lengths: Int[np.ndarray, " series"]
) -> tuple[Float[np.ndarray, " covariate"], Float[np.ndarray, " covariate"]]:
    """Computes the mean and the standard deviation of past, future and static covariates.

    Args:
        panel: with the covariates.
        lengths: the rows of each series that are learned from.

    Returns:
        Both; 0 and 1 where nothing is known, or nothing changes.
    """

    def rows(flat: np.ndarray) -> Iterator[np.ndarray]:
        for offset, length in zip(panel.offsets, lengths, strict=True):
            yield np.asarray(flat[offset : offset + length])

    found = [_scale(partial(rows, flat), flat.shape[1]) for flat in (panel.past_covariates, panel.future_covariates)]
    found.append(_scale(lambda: iter([panel.static_covariates]), panel.static_covariates.shape[1]))
    mean, std = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return mean, std


def _scale(blocks: Callable[[], Iterator[np.ndarray]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes mean and standard deviation of columns, block by block."""
    mean = _mean(blocks, size, lambda block: block, np.zeros(size))
    variance = _mean(blocks, size, lambda block: (block - mean) ** 2, np.ones(size))
    return mean, np.where(variance > 0, np.sqrt(variance), 1)


def _mean(
    blocks: Callable[[], Iterator[np.ndarray]],
    size: int,
    function: Callable[[np.ndarray], np.ndarray],
    otherwise: np.ndarray,
) -> np.ndarray:
    total, count = np.zeros(size), np.zeros(size)
    if not size:
        return total
    for block in blocks():
        known = np.isfinite(block)
        total += np.where(known, function(np.where(known, block, 0)), 0).sum(0)
        count += known.sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)

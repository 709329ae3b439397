"""Cuts windows out of a panel: all, the newest, or some drawn at random."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.time_features import AGE, check_time_features, time_features
from jaxcast.series.panels.windows import PanelWindows

Weighting = Literal["value", "series", "scale"]


@checked
def panel_windows(
    panel: SeriesPanel,
    *,
    history_size: int,
    num_leads: int,
    newest: Any = None,
    series: Any = None,
    stride: int = 1,
    time_features: Sequence[str] = (),
    cyclic: bool = False,
    dtype: Any = float,
) -> PanelWindows:
    """Cuts windows out of the series of a panel.

    By default there is a window at every stride whose targets all lie in its series, counted from
    the last one. Steps before a series begins are NaN, so a series may be shorter than the history.
    `newest=panel.newest` gives the windows from which to forecast.

    Args:
        panel: with the series.
        history_size: steps of a history.
        num_leads: steps of targets.
        newest: the newest step of each window's history, counted from 0 at the first value of its
            series. Targets that lie after the last value have a weight of 0.
        series: the number of the series of each window, or with no `newest` those of which windows
            are cut; by default all, each once.
        stride: steps between two windows of a series.
        time_features: see `time_features`, and "age", which is log10(2 + steps since the first
            value); they come before the covariates that are known in advance.
        cyclic: whether each of them becomes a sine and a cosine.
        dtype: of the windows.

    Returns:
        The windows, series by series where `newest` is not given, oldest first.

    Raises:
        InputError: for sizes out of range, numbers of series or steps that are not there, or
            features of dates in a panel without dates.

    Example:
        >>> import jaxcast, numpy as np
        >>> panel = jaxcast.series.series_panel([np.arange(6.0), np.arange(10.0, 12.0)])
        >>> jaxcast.series.panel_windows(panel, history_size=3, num_leads=2, stride=2).history.tolist()
        [[nan, 0.0, 1.0], [1.0, 2.0, 3.0]]
        >>> jaxcast.series.panel_windows(panel, history_size=3, num_leads=2, newest=panel.newest).history.tolist()
        [[3.0, 4.0, 5.0], [nan, 10.0, 11.0]]
    """
    for name, size in (("history_size", history_size), ("num_leads", num_leads), ("stride", stride)):
        check_whole(name, size)
    own = np.arange(len(panel.names)) if series is None else whole_numbers("series", series)
    if ((own < 0) | (own >= len(panel.names))).any():
        raise InputError(f"expected numbers of series from 0 to {len(panel.names) - 1}, got {shown(own)}")
    if newest is None:
        own, newest = _every(panel.lengths[own], own, num_leads, stride)
    else:
        newest = whole_numbers("newest", newest)
    if newest.shape != own.shape:
        raise InputError(f"expected newest steps of {len(own)} windows, got shape {newest.shape}")
    bad = (newest < 0) | (newest >= panel.lengths[own])
    if bad.any():
        at = int(np.argmax(bad))
        raise InputError(
            f"expected a newest step from 0 to {panel.lengths[own[at]] - 1} in series "
            f"{shown(repr(panel.names[own[at]]))}, got {newest[at]}"
        )
    check_time_features([name for name in time_features if name != AGE], panel.calendar)
    return gathered(
        panel, own, newest, sizes=(history_size, num_leads), features=tuple(time_features), cyclic=cyclic, dtype=dtype
    )


def whole_numbers(name: str, numbers: Any) -> Int[np.ndarray, " window"]:
    """Reads whole numbers, one for each window or series.

    Args:
        name: of the numbers, for a message.
        numbers: what was given.

    Returns:
        The numbers.

    Raises:
        InputError: for fractions, and other shapes than a list.
    """
    array = np.asarray(numbers)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"expected {name} as a list of whole numbers, got {shown(numbers)}")
    return array.astype(int)


def _every(lengths: np.ndarray, series: np.ndarray, num_leads: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns series and newest step of all windows whose targets lie in their series."""
    last = lengths - 1 - num_leads
    counts = np.where(last >= 0, last // stride + 1, 0)
    ends = np.cumsum(counts)
    own = np.repeat(np.arange(len(series)), counts)
    after = ends[own] - 1 - np.arange(len(own))
    return series[own], last[own] - stride * after


@checked
def draw_windows(
    panel: SeriesPanel,
    *,
    num: int,
    history_size: int,
    num_leads: int,
    seed: int | Sequence[int] = 0,
    weighting: Weighting = "value",
    least_history: int = 1,
    time_features: Sequence[str] = (),
    cyclic: bool = False,
    dtype: Any = float,
) -> PanelWindows:
    """Draws windows of a panel at random, to train on.

    Args:
        panel: with the series.
        num: how many windows.
        history_size: steps of a history.
        num_leads: steps of targets.
        seed: of NumPy's generator; the same seed draws the same windows.
        weighting: "value" draws every window of the panel equally often, "series" every series, and
            "scale" windows in proportion to the mean absolute value of their series, which then
            counts as it does in scores such as the weighted quantile loss.
        least_history: values that a history has at least, where its series is long enough.
        time_features: see `panel_windows`.
        cyclic: see `panel_windows`.
        dtype: of the windows.

    Returns:
        The windows.

    Raises:
        InputError: for sizes out of range, or series of single values only.

    Source:
        Salinas et al., Int. J. Forecast. 36, 1181-1191 (2020), section 3.3, for "scale".

    Example:
        >>> import jaxcast, numpy as np
        >>> panel = jaxcast.series.series_panel([np.arange(6.0), np.arange(10.0, 12.0)])
        >>> windows = jaxcast.series.draw_windows(panel, num=4, history_size=3, num_leads=2)
        >>> windows.history.shape, windows.targets.shape
        ((4, 3), (4, 2))
    """
    for name, size in (("num", num), ("history_size", history_size), ("num_leads", num_leads)):
        check_whole(name, size)
    check_whole("least_history", least_history)
    check_choice("weighting", weighting, ("value", "series", "scale"))
    check_time_features([name for name in time_features if name != AGE], panel.calendar)
    own, newest = drawn(
        panel.lengths,
        np.random.default_rng(seed),
        num,
        num_leads=num_leads,
        frequencies=draw_frequencies(panel, weighting),
        least=least_history,
    )
    return gathered(
        panel, own, newest, sizes=(history_size, num_leads), features=tuple(time_features), cyclic=cyclic, dtype=dtype
    )


def drawn(
    lengths: Int[np.ndarray, " series"],
    generator: np.random.Generator,
    num: int,
    *,
    num_leads: int,
    frequencies: Float[np.ndarray, " series"] | None,
    least: int,
) -> tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]:
    """Draws the series and the newest step of windows.

    All targets lie in the series where it is long enough; else at least one does.

    Args:
        lengths: of the series.
        generator: of random numbers.
        num: how many windows.
        num_leads: steps of targets.
        frequencies: how often each series is drawn, relative to others; None for as often as it has
            windows.
        least: values of a history, where the series is long enough.

    Returns:
        Both, (window,).

    Raises:
        InputError: where no series has two values.
    """
    most = np.where(lengths > num_leads, lengths - num_leads, np.minimum(lengths - 1, 1))
    first = np.clip(most - 1, 0, least - 1)
    counts = np.maximum(most - first, 0)
    ends = np.cumsum(counts if frequencies is None else np.where(counts > 0, frequencies, 0), dtype=float)
    if not len(ends) or ends[-1] == 0:
        raise InputError("no series has two values, so there is nothing to learn; give longer series")
    series = np.searchsorted(ends, generator.random(num) * ends[-1], side="right")
    return series, first[series] + generator.integers(0, counts[series])


def draw_frequencies(panel: SeriesPanel, weighting: Weighting) -> Float[np.ndarray, " series"] | None:
    """Returns how often each series is drawn; see `drawn`.

    Args:
        panel: with the series.
        weighting: see `draw_windows`.
    """
    if weighting == "value":
        return None
    if weighting == "series":
        return np.ones(len(panel.names))
    return panel.lengths * series_scales(panel)


def series_scales(panel: SeriesPanel) -> Float[np.ndarray, " series"]:
    """Returns the mean absolute value of each series; 1 for one of zeros only.

    Args:
        panel: with the series.
    """
    scales = np.ones(len(panel.names))
    for number, (offset, length) in enumerate(zip(panel.offsets, panel.lengths, strict=True)):
        own = np.abs(panel.values[offset : offset + length])
        mean = np.nansum(own) / max(np.isfinite(own).sum(), 1)
        scales[number] = mean if mean > 0 else 1
    return scales


def gathered(
    panel: SeriesPanel,
    series: Int[np.ndarray, " window"],
    newest: Int[np.ndarray, " window"],
    *,
    sizes: tuple[int, int],
    features: tuple[str, ...],
    cyclic: bool,
    dtype: Any,
) -> PanelWindows:
    """Gathers windows, whose series and steps are known to be there.

    Args:
        panel: with the series.
        series: the number of each window's series.
        newest: its newest step.
        sizes: steps of histories and of targets.
        features: see `panel_windows`.
        cyclic: whether each becomes a sine and a cosine.
        dtype: of the windows.

    Returns:
        The windows.
    """
    history_size, num_leads = sizes
    steps = newest[:, None] + np.arange(1 - history_size, num_leads + 1)
    offsets, lengths, num_rows = (a[series][:, None] for a in (panel.offsets, panel.lengths, panel.num_rows))
    places = offsets + np.clip(steps, 0, num_rows - 1)
    is_value, is_row = (steps >= 0) & (steps < lengths), (steps >= 0) & (steps < num_rows)
    values = np.where(is_value, panel.values[places], np.nan)
    past, own = places[:, :history_size], is_value[:, :history_size, None]
    history, targets = values[:, :history_size].astype(dtype), values[:, history_size:]
    is_known = np.isfinite(targets)
    known = _known(panel, series, steps, features, cyclic)
    if panel.future_covariates.shape[1]:
        future = np.where(is_row[..., None], panel.future_covariates[places], np.nan)
        known = np.concatenate([known, future], -1)
    arrays: Any = (
        history,
        np.where(is_known, targets, 0).astype(dtype),
        is_known.astype(dtype),
        np.where(own, panel.past_covariates[past], np.nan).astype(dtype),
        known.astype(dtype),
        panel.static_covariates[series].astype(dtype),
        panel.categories[series],
    )
    return PanelWindows._make(arrays)


def _known(
    panel: SeriesPanel, series: np.ndarray, steps: np.ndarray, features: tuple[str, ...], cyclic: bool
) -> Float[np.ndarray, "window time feature"]:
    """Computes the features of time, of each row of the calendar once."""
    own = tuple(name for name in features if name != AGE)
    parts = []
    if own and steps.size:
        rows = panel.starts[series][:, None] + steps
        first, last = int(rows.min()), int(rows.max())
        options: dict[str, Any] = {"names": own, "calendar": panel.calendar, "cyclic": cyclic}
        if last - first < rows.size:
            parts.append(time_features(np.arange(first, last + 1), **options)[rows - first])
        else:
            parts.append(time_features(rows, **options))
    if AGE in features:
        parts.append(np.log10(2.0 + np.maximum(steps, 0))[..., None])
    return np.concatenate(parts, -1) if parts else np.empty((*steps.shape, 0))


def num_time_features(features: Sequence[str], cyclic: bool) -> int:
    """Returns how many numbers features of time are.

    Args:
        features: their names.
        cyclic: whether each but the age is a sine and a cosine.
    """
    return sum(2 if cyclic and name != AGE else 1 for name in features)

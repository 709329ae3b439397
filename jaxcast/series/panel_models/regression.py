"""A regression of every series of a panel, drawn to one that all share."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_number, check_positive, check_texts, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.numerics.levels import check_levels, middle_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.series.panel_models.aligned import (
    LONGEST_SHARE,
    AlignedSeries,
    PastValues,
    aligned,
    filled_steps,
    mean_and_std,
    own_weights,
    shared_weights,
)
from jaxcast.series.panel_models.held_out import held_out_windows
from jaxcast.series.panel_models.model import PanelForecast
from jaxcast.series.panel_models.recalibration import recalibrated, spread_shifts
from jaxcast.series.panels.cutting import gathered
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.time_features import default_seasons
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.probabilistic_networks.abstract import LEVELS

OWN_PENALTIES = (10.0, 100.0, 1000.0)
NUM_CYCLES = (8, 2)
"""Past cycles that are seen: of the shortest season, and of others."""
NUM_ERRORS = 14
"""Seasons of errors whose quantiles are the spread of a series."""


class PanelRegression(Checked, FrozenPytree, name="panel_regression"):
    """Regressions of every series of a panel on its own past; made by `fit_panel_regression`.

    A series that it has not learned from is forecast by the regression that all share, with the
    mean and the scale of the history at hand.

    Args:
        weights: of each series and lead; inputs that a lead does not see have the weight 0.
        shared: those of all series together.
        mean: of each series.
        std: of each series.
        spread: quantiles of the errors of each series, in units of its standard deviation.
        shared_spread: those of all series together.
        shifts: of quantiles, in units of a forecast's spread, by which they are recalibrated.
        names: of the series.
        lags: steps back from a target, of past seasons.
        num_recent: newest values that are seen.
        levels: quantile levels, rising.
        lower: the least value of a quantile; None for none.

    Raises:
        InputError: when saved, loaded or called, for arrays or a panel that do not fit it.

    Example:
        >>> import jaxcast, numpy as np
        >>> wave = 2 + np.sin(np.arange(120) * np.pi / 6)
        >>> panel = jaxcast.series.series_panel([k * wave[k:] for k in range(1, 5)])
        >>> model = jaxcast.series.fit_panel_regression(panel, num_leads=3, seasons=(12,))
        >>> new = jaxcast.series.series_panel([50 * wave[5:100]], names=["new"])
        >>> bool((abs(model.forecast(new).forecast - 50 * wave[100:103]) < 2).all())
        True
    """

    weights: Float[Any, "series lead input"]
    shared: Float[Any, "lead input"]
    mean: Float[Any, " series"]
    std: Float[Any, " series"]
    spread: Float[Any, "series lead level"]
    shared_spread: Float[Any, "lead level"]
    shifts: Float[Any, "lead level"]
    names: tuple[str, ...] = static()
    lags: tuple[int, ...] = static()
    num_recent: int = static()
    levels: tuple[float, ...] = static()
    lower: float | None = static(default=None)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a model."""
        own = (self.weights, self.shared, self.spread, self.shared_spread)
        arrays = dict(zip(("weights", "shared", "spread", "shared_spread"), map(np.asarray, own), strict=True))
        check_floats(arrays | {"mean": self.mean, "shifts": self.shifts})
        check_positive(std=self.std)
        check_texts("names", self.names)
        check_levels(self.levels)
        check_whole("num_recent", self.num_recent, least=0)
        for lag in self.lags:
            check_whole("every lag", lag)
        if self.lower is not None:
            check_number("lower", self.lower)
        num_leads, num_inputs = arrays["shared"].shape
        shapes = {
            "weights": (len(self.names), num_leads, num_inputs),
            "spread": (len(self.names), num_leads, len(self.levels)),
            "shared_spread": (num_leads, len(self.levels)),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise InputError(f"{name} must have the shape {shape}, got {arrays[name].shape}")
        if num_inputs < len(PastValues(self.num_recent, self.lags).steps(1)) + 1:
            raise InputError(f"{num_inputs} inputs are fewer than num_recent and lags make")

    @property
    def num_leads(self) -> int:
        """The number of leads."""
        return int(self.shared.shape[0])

    def forecast(self, panel: SeriesPanel, *, newest: Any = None) -> PanelForecast:
        """Forecasts all series of a panel, also such as it has not learned from.

        Args:
            panel: with the series.
            newest: the newest step that is seen of each series, counted from its first value; by
                default its last value.

        Returns:
            The forecasts, recalibrated.

        Raises:
            InputError: for a series without any value that is seen.
        """
        newest = panel.newest if newest is None else np.asarray(newest)
        features = PastValues(self.num_recent, self.lags)
        history = _histories(panel, newest, features.size)
        raw = self.raw_quantiles(panel.names, history)
        quantiles = recalibrated(raw, history, np.asarray(self.shifts), self.lower)
        rows = (panel.starts + newest)[:, None] + np.arange(1, self.num_leads + 1)
        dates = rows if panel.calendar is None else panel.calendar.dates(rows)
        middle = quantiles[..., middle_of(self.levels)]
        return PanelForecast(panel.names, newest, dates, self.levels, middle, quantiles, None, {})

    def raw_quantiles(
        self, names: tuple[str, ...], history: Float[np.ndarray, "series time"]
    ) -> Float[np.ndarray, "series lead level"]:
        """Returns quantiles before they are recalibrated.

        Args:
            names: of the series.
            history: their newest steps; NaN where a value is missing.

        Raises:
            InputError: for a new series without any value.
        """
        features, numbers = PastValues(self.num_recent, self.lags), {name: k for k, name in enumerate(self.names)}
        own = np.asarray([numbers.get(name, -1) for name in names])
        is_new = own < 0
        mean, std = np.asarray(self.mean)[own], np.asarray(self.std)[own]
        if is_new.any():
            mean[is_new], std[is_new] = mean_and_std(history[is_new], [names[k] for k in np.flatnonzero(is_new)])
        table = filled_steps((history - mean[:, None]) / std[:, None])
        newest = np.asarray([table.shape[1] - 1])
        found = np.zeros((len(names), self.num_leads, len(self.levels)))
        for k in range(self.num_leads):
            inputs = features(table, newest, k + 1)[:, 0]
            size = inputs.shape[1]
            weights = np.where(is_new[:, None], np.asarray(self.shared)[k], np.asarray(self.weights)[own, k])
            spread = np.where(is_new[:, None], np.asarray(self.shared_spread)[k], np.asarray(self.spread)[own, k])
            found[:, k] = (inputs * weights[:, :size]).sum(-1)[:, None] + spread
        return mean[:, None, None] + std[:, None, None] * found


@checked
def fit_panel_regression(
    panel: SeriesPanel,
    *,
    num_leads: int,
    seasons: Sequence[int] | None = None,
    num_recent: int | None = None,
    levels: Sequence[float] = LEVELS,
    lower: float | int | None = None,
) -> PanelRegression:
    """Fits a regression of every series on its own past, drawn to one that all series share.

    Each lead h has its own weights. With x_s,t the newest values of series s at step t and those
    one or more seasons before the target, all standardised,

        w*  = argmin_w  sum_(s,t) ( y_s,(t+h) - w . x_s,t )^2 + n c |w|^2
        w_s = argmin_w  sum_t ( y_s,(t+h) - w . x_s,t )^2 + b |w - w*|^2

    so a short series is forecast as the others are, and a long one by its own past. The penalty b
    is chosen by the last `num_leads` values of every series, which also recalibrate the quantiles;
    those are quantiles of each series' errors. Both fits are then made again on all values.

    Args:
        panel: with the series; covariates are not seen.
        num_leads: steps to forecast.
        seasons: steps of the seasons, rising, such as (24, 168); by default those that are usual
            for the calendar.
        num_recent: newest values that are seen; by default a season, at most 60, or 20 without one.
        levels: quantile levels, rising.
        lower: the least value of a quantile, such as 0.

    Returns:
        The regressions.

    Raises:
        InputError: for options out of range, and series that are all too short.

    Source:
        Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), section 3.4,
        for ridge regression.

    Example:
        >>> import jaxcast, numpy as np
        >>> wave = 2 + np.sin(np.arange(120) * np.pi / 6)
        >>> panel = jaxcast.series.series_panel([k * wave[k:] for k in range(1, 5)])
        >>> model = jaxcast.series.fit_panel_regression(panel, num_leads=3, seasons=(12,))
        >>> model.forecast(panel).quantiles.shape
        (4, 3, 11)
    """
    check_whole("num_leads", num_leads)
    levels = check_levels(levels)
    seasons = default_seasons(panel.calendar) if seasons is None else tuple(seasons)
    features = _features_of(panel, num_leads, seasons, num_recent)
    panel = _with_values(panel)
    train, (series, newest) = held_out_windows(panel, num_leads, 1)
    train = _with_values(train)
    windows = _windows(panel, series, newest, features.size, num_leads)
    history = np.asarray(windows.history)
    early, whole = aligned(train, features), aligned(panel, features)
    shared = shared_weights(early, features, num_leads)
    names = tuple(panel.names[k] for k in series)
    tried = [
        _model(early, features, shared, weights, train.names, levels)
        for weights in own_weights(early, features, shared, OWN_PENALTIES)
    ]
    best = int(np.argmin([_error(model.raw_quantiles(names, history), windows, levels) for model in tried]))
    judged = _with_spread(tried[best], early, features)
    shifts = spread_shifts(judged.raw_quantiles(names, history), windows, levels)
    shared = shared_weights(whole, features, num_leads)
    (weights,) = own_weights(whole, features, shared, OWN_PENALTIES[best : best + 1])
    model = _with_spread(_model(whole, features, shared, weights, panel.names, levels), whole, features)
    # What all series have missed at the same dates is chance: the middle level stays where it is.
    shifts = shifts - shifts[:, middle_of(levels), None]
    return dataclasses.replace(model, shifts=shifts, lower=None if lower is None else float(lower))


def _with_values(panel: SeriesPanel) -> SeriesPanel:
    """Leaves out series of which no value is left to learn from, such as those that begin in a later part."""
    parts = zip(panel.offsets, panel.lengths, strict=True)
    kept = [k for k, (offset, size) in enumerate(parts) if np.isfinite(panel.values[offset : offset + size]).any()]
    if not kept:
        raise InputError("expected a series with values to learn from, got none: give more steps, or hold out fewer")
    return panel.select(np.asarray(kept))


def _features_of(panel: SeriesPanel, num_leads: int, seasons: tuple[int, ...], num_recent: int | None) -> PastValues:
    """Returns what is seen, as far as the typical series is long enough for it."""
    if num_recent is None:
        num_recent = min(seasons[0], 60) if seasons else 20
    check_whole("num_recent", num_recent, least=0)
    longest = max(1, int(LONGEST_SHARE * float(np.median(panel.lengths))))
    lags: set[int] = set()
    for k, season in enumerate(seasons):
        check_whole("every season", season, least=2)
        # The first cycles that all leads see, and the steps beside the nearest of them.
        least = -(-num_leads // season)
        cycles = range(1, least + NUM_CYCLES[min(k, 1)])
        lags |= {season * cycle + near for cycle in cycles for near in (-1, 0, 1) if near == 0 or cycle <= least + 1}
    own = tuple(sorted(lag for lag in lags if lag <= longest))
    if not own and not num_recent:
        raise InputError("there is nothing to see; give num_recent or seasons that are shorter than half a series")
    return PastValues(min(num_recent, longest), own)


def _windows(
    panel: SeriesPanel, series: np.ndarray, newest: np.ndarray, history_size: int, num_leads: int
) -> PanelWindows:
    return gathered(panel, series, newest, sizes=(history_size, num_leads), features=(), cyclic=False, dtype=np.float64)


def _histories(panel: SeriesPanel, newest: np.ndarray, size: int) -> Float[np.ndarray, "series time"]:
    """Returns the last steps of every series, NaN before it begins."""
    history = np.asarray(_windows(panel, np.arange(len(panel.names)), newest, size, 1).history)
    unseen = ~np.isfinite(history).any(1)
    if unseen.any():
        name = panel.names[int(np.argmax(unseen))]
        raise InputError(
            f"series {shown(repr(name))} has no value in the {size} steps that a forecast sees; leave it out"
        )
    return history


def _model(
    table: AlignedSeries,
    features: PastValues,
    shared: Float[np.ndarray, "lead input"],
    weights: Float[np.ndarray, "series lead input"],
    names: tuple[str, ...],
    levels: tuple[float, ...],
) -> PanelRegression:
    """Returns the regressions, without a spread."""
    num_series, num_leads, num_levels = len(table.values), len(shared), len(levels)
    return PanelRegression(
        weights,
        shared,
        table.mean,
        table.std,
        np.zeros((num_series, num_leads, num_levels)),
        np.zeros((num_leads, num_levels)),
        np.zeros((num_leads, num_levels)),
        names,
        features.lags,
        features.num_recent,
        levels,
    )


def _with_spread(model: PanelRegression, table: AlignedSeries, features: PastValues) -> PanelRegression:
    """Returns the regressions with quantiles of their newest errors."""
    levels, weights = model.levels, np.asarray(model.weights)
    spread, pooled = (np.zeros(np.shape(a)) for a in (model.spread, model.shared_spread))
    kept = NUM_ERRORS * max(model.num_recent, 1)
    for k in range(model.num_leads):
        size, errors = len(features.steps(k + 1)) + 1, []
        for own, inputs, targets, known in table.inputs(features, k + 1):
            off = targets - (inputs @ weights[own, k, :size, None])[..., 0]
            errors.append(np.where(known, off, np.nan)[:, -kept:])
        off = np.concatenate(errors)
        pooled[k] = np.nanquantile(off, levels)
        seen = np.isfinite(off).sum(1)[:, None]
        own_spread = np.nanquantile(np.where(seen > 0, off, 0), levels, axis=1).T
        # Of few errors the outer quantiles are not known: those of all series count as ten more.
        spread[:, k] = (seen * own_spread + 10 * pooled[k]) / (seen + 10)
    return dataclasses.replace(model, spread=spread, shared_spread=pooled)


def _error(quantiles: np.ndarray, windows: PanelWindows, levels: tuple[float, ...]) -> float:
    """Returns the absolute errors of the middle level over the absolute values, of all series together."""
    targets, weights = np.asarray(windows.targets), np.asarray(windows.weights)
    off = weights * np.abs(targets - quantiles[..., middle_of(levels)])
    return float(off.sum() / max(float((weights * np.abs(targets)).sum()), 1e-300))

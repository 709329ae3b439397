"""The series of a panel side by side, and regressions of each of them on its own past."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError, shown
from jaxcast.series.panels.panel import SeriesPanel

SHARED_PENALTY = 1e-2
BLOCK = 64
"""Series whose products are held at once."""
LONGEST_SHARE = 0.5
"""The largest share of a series that may come before the first value that is learned from."""


class PastValues(NamedTuple):
    """Inputs of a forecast from a standardised series: its newest values, and those of past seasons.

    Args:
        num_recent: newest values.
        lags: steps back from the target.
    """

    num_recent: int
    lags: tuple[int, ...]

    def steps(self, lead: int) -> np.ndarray:
        """Returns the steps back from the newest value of all that a lead sees."""
        past = [lag - lead for lag in self.lags if lag >= lead]
        return np.asarray([*range(self.num_recent), *past])

    @property
    def size(self) -> int:
        """The steps of history that the first lead sees."""
        return max(self.num_recent, *self.lags, 1)

    def __call__(self, table: Float[np.ndarray, "series time"], newest: np.ndarray, lead: int) -> np.ndarray:
        """Returns the inputs of windows, (series, window, input); the last one is 1."""
        seen = table[:, newest[:, None] - self.steps(lead)]
        return np.concatenate([seen, np.ones((*seen.shape[:2], 1))], -1)


class AlignedSeries(NamedTuple):
    """The standardised series of a panel, side by side, aligned at their ends.

    Args:
        values: 0, the mean, before a series begins; the last known value where one is missing.
        is_known: whether there is a value.
        first: the first step at which enough history is seen to learn from.
        mean: of each series.
        std: of each series.
    """

    values: Float[np.ndarray, "series time"]
    is_known: Any
    first: Any
    mean: Float[np.ndarray, " series"]
    std: Float[np.ndarray, " series"]

    def inputs(self, features: PastValues, lead: int) -> Iterator[tuple[slice, Any, Any, Any]]:
        """Yields, block by block, the series, their inputs, targets, and the weights of these."""
        length = self.values.shape[1]
        newest = np.arange(max(0, min(int(self.first.min()), length - lead)), length - lead)
        for start in range(0, len(self.values), BLOCK):
            own = slice(start, start + BLOCK)
            inputs = features(np.pad(self.values[own], ((0, 0), (features.size, 0))), newest + features.size, lead)
            weights = self.is_known[own][:, newest + lead] & (newest >= self.first[own, None])
            yield own, inputs * weights[..., None], self.values[own][:, newest + lead] * weights, weights


def mean_and_std(table: Float[np.ndarray, "series time"], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the standard deviation of each series; 1 for one that never changes.

    Args:
        table: the series side by side; NaN where a value is missing.
        names: of the series, for a message.

    Raises:
        InputError: for a series without any value.
    """
    known = np.isfinite(table)
    count = known.sum(1)
    if not count.all():
        raise InputError(f"series {shown(repr(names[int(np.argmin(count))]))} has no value to learn from; leave it out")
    mean = np.where(known, table, 0).sum(1) / count
    std = np.sqrt(np.where(known, (table - mean[:, None]) ** 2, 0).sum(1) / count)
    return mean, np.where(std > 1e-12 * np.abs(mean), std, 1)


def filled_steps(table: Float[np.ndarray, "series time"]) -> Float[np.ndarray, "series time"]:
    """Fills what is missing by the last known value, and by 0 before the first.

    Args:
        table: the series side by side; NaN where a value is missing.
    """
    known = np.isfinite(table)
    last = np.maximum.accumulate(np.where(known, np.arange(table.shape[1]), -1), 1)
    values = np.take_along_axis(np.where(known, table, 0), np.maximum(last, 0), 1)
    return np.where(last >= 0, values, 0)


def aligned(panel: SeriesPanel, features: PastValues) -> AlignedSeries:
    """Puts the series of a panel side by side, standardised.

    Args:
        panel: with the series.
        features: what a forecast sees.

    Raises:
        InputError: for a series without any value.
    """
    length = int(panel.lengths.max())
    values = np.full((len(panel.names), length), np.nan)
    for row, offset, size in zip(values, panel.offsets, panel.lengths, strict=True):
        row[length - size :] = panel.values[offset : offset + size]
    mean, std = mean_and_std(values, panel.names)
    scaled = (values - mean[:, None]) / std[:, None]
    first = length - panel.lengths + np.minimum(features.size, (LONGEST_SHARE * panel.lengths).astype(int))
    return AlignedSeries(filled_steps(scaled), np.isfinite(values), first, mean, std)


def shared_weights(table: AlignedSeries, features: PastValues, num_leads: int) -> Float[np.ndarray, "lead input"]:
    """Returns the weights of each lead that all series share.

    Args:
        table: the series.
        features: what a forecast sees.
        num_leads: steps to forecast.

    Raises:
        InputError: for a lead that every series is too short to learn.
    """
    found = np.zeros((num_leads, max(len(features.steps(lead)) for lead in range(1, num_leads + 1)) + 1))
    for k in range(num_leads):
        size = len(features.steps(k + 1)) + 1
        products, ends, count = np.zeros((size, size)), np.zeros(size), 0
        for _, inputs, targets, weights in table.inputs(features, k + 1):
            flat = inputs.reshape(-1, size)
            products += flat.T @ flat
            ends += flat.T @ targets.ravel()
            count += int(weights.sum())
        if not count:
            raise InputError(f"every series is too short to learn lead {k + 1}; give longer series, or fewer leads")
        found[k, :size] = np.linalg.solve(products + SHARED_PENALTY * count * np.eye(size), ends)
    return found


def own_weights(
    table: AlignedSeries, features: PastValues, shared: Float[np.ndarray, "lead input"], penalties: Sequence[float]
) -> Float[np.ndarray, "penalty series lead input"]:
    """Fits every series around the shared weights, with each penalty.

    Args:
        table: the series.
        features: what a forecast sees.
        shared: the weights that all series share.
        penalties: of departures from them.
    """
    found = np.zeros((len(penalties), len(table.values), *shared.shape))
    for k in range(len(shared)):
        size = len(features.steps(k + 1)) + 1
        start = shared[k, :size]
        for own, inputs, targets, _ in table.inputs(features, k + 1):
            across = np.swapaxes(inputs, 1, 2)
            products = across @ inputs
            rest = across @ targets[..., None] - (products @ start)[..., None]
            for number, penalty in enumerate(penalties):
                change = np.linalg.solve(products + penalty * np.eye(size), rest)
                found[number, own, k, :size] = start + change[..., 0]
    return found

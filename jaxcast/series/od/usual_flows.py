"""The usual trips between each pair of zones, by slot of the week, of the training part only."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int

from jaxcast.nn.layers import Buffer
from jaxcast.series.samples import SeriesWindows

SMALLEST_SHARE = 1e-4
"""Of the mean of all pairs: the least usual trips of a pair, so that ratios are numbers."""


class UsualFlows(nnx.Module):
    """A table of usual trips, U = A B, with A (slot, factor) and B (factor, pair); not trained.

    Args:
        means: of each slot and pair, see `slot_means`.
        rank: factors besides the product of margins, see `low_rank_flows`.
        dtype: of the table.
    """

    def __init__(self, means: Float[np.ndarray, "slot pair"], *, rank: int, dtype: DTypeLike):
        of_slots, of_pairs = low_rank_flows(means, rank)
        self.of_slots, self.of_pairs = (Buffer(jnp.asarray(factors, dtype)) for factors in (of_slots, of_pairs))
        self.least = Buffer(jnp.asarray(max(SMALLEST_SHARE * means.mean(), 1e-12), dtype))

    def __call__(self, slots: Int[Array, "*batch"]) -> Float[Array, "*batch pair"]:
        """Returns the usual trips in slots of the week.

        Args:
            slots: numbers of slots, of which multiples of a week are left out.
        """
        factors = self.of_slots[...][slots % self.of_slots.shape[-2]]
        return jnp.maximum(factors @ self.of_pairs[...], self.least[...])

    @property
    def mean(self) -> Float[Array, " pair"]:
        """The mean over all slots of the week."""
        return jnp.maximum(self.of_slots[...].mean(0) @ self.of_pairs[...], self.least[...])


def slot_means(samples: SeriesWindows, num_slots: int) -> Float[np.ndarray, "slot region"]:
    """Returns the mean of each series in each slot, over the rows of the histories, each row once.

    Args:
        samples: training samples; where there are several slots, their first covariate is that of
            the newest step.
        num_slots: slots after which a calendar repeats.

    Returns:
        The means; that over all slots where a slot is unknown, and 0 for a series that is.
    """
    history: Any = np.asarray(samples.history)
    totals, counts = np.zeros((num_slots, history.shape[2])), np.zeros((num_slots, history.shape[2]))
    newest, slots = np.asarray(samples.rows)[:, 0], _newest_slots(samples, num_slots)
    lags = range(history.shape[1])[::-1] if samples.lags is None else samples.lags.steps
    seen = np.zeros(0, newest.dtype)
    for step in reversed(range(history.shape[1])):
        rows, first = np.unique(newest - lags[step], return_index=True)
        new = first[~np.isin(rows, seen)]
        seen = np.concatenate([seen, rows])
        if len(new):
            _add_by_slot(totals, counts, (slots[new] - lags[step]) % num_slots, history[new, step])
    overall = totals.sum(0) / np.maximum(counts.sum(0), 1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), overall)


def low_rank_flows(
    means: Float[np.ndarray, "slot pair"], rank: int
) -> tuple[Float[np.ndarray, "slot factor"], Float[np.ndarray, "factor pair"]]:
    """Smooths means of counts by correspondence analysis: the factors A, B of U = A B.

        E_sp = row_s column_p / total,    U = E + sqrt(E) * [ (M - E) / sqrt(E) ]_rank

    with [.]_rank the nearest matrix of that rank. The division makes the noise of counts alike in
    all entries.

    Args:
        means: M, not negative.
        rank: of the correction of E; at most the number of slots or pairs.

    Returns:
        A, B with one factor more than the rank.

    Source:
        Greenacre (1984), Theory and Applications of Correspondence Analysis, section 4.1.
    """
    rows, columns = means.sum(1), means.sum(0)
    rows = rows / max(rows.sum(), np.finfo(float).tiny)
    expected = rows[:, None] * columns
    roots = np.sqrt(expected)
    deviations = np.divide(means - expected, roots, out=np.zeros_like(means), where=roots > 0)
    rank = min(rank, *means.shape)
    left, values, right = np.linalg.svd(deviations, full_matrices=False)
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    of_slots = np.concatenate([rows[:, None], np.sqrt(rows)[:, None] * left * values], 1)
    return of_slots, np.concatenate([columns[None], np.sqrt(columns) * right])


def _newest_slots(samples: SeriesWindows, num_slots: int) -> np.ndarray:
    if num_slots == 1:
        return np.zeros(len(samples.rows), int)
    covariates: Any = np.asarray(samples.covariates)
    first = covariates[:, 0] if covariates.ndim == 2 else covariates[:, 0, 0]
    return np.rint(first).astype(int) % num_slots


def _add_by_slot(totals: np.ndarray, counts: np.ndarray, slots: np.ndarray, values: np.ndarray) -> None:
    order = np.argsort(slots, kind="stable")
    found, starts = np.unique(slots[order], return_index=True)
    values = values[order]
    known = np.isfinite(values)
    totals[found] += np.add.reduceat(np.where(known, values, 0), starts, axis=0, dtype=float)
    counts[found] += np.add.reduceat(known, starts, axis=0, dtype=float)

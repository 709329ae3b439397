"""Makes seasonal features from the values of a training part."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_leads, check_whole
from jaxcast.errors import InputError
from jaxcast.series.seasonal.inputs import NUM_LAGS, SeasonalFeatures

MOST_RECENT = 48
"""Most steps of a day for all of a day to be seen by default."""
SMALLEST_UNIT = 0.02
"""Least standard deviation of a series that changes, in means over all series."""


@checked
def seasonal_features(
    values: Float[Any, "time region"],
    *,
    slots_per_day: int,
    leads: Sequence[int],
    num_recent: int | None = None,
    num_days: int | None = None,
    num_weeks: int | None = None,
    num_neighbours: int = 6,
    first_slot: int = 0,
    history_size: int | None = None,
) -> SeasonalFeatures:
    """Makes seasonal features from a training part.

    The neighbours of a series are those whose value one step before correlates most with its own,
    less what is usual in each slot.

    Args:
        values: of the training part, NaN where one is missing.
        slots_per_day: steps of a day.
        leads: steps ahead, rising.
        num_recent: recent steps that are seen, 12 at least; by default a day of up to 48
            steps, otherwise 12.
        num_days: past days that are seen; by default 7, fewer where the data are short. With 0
            only recent values and the mean of the training part in each slot are seen.
        num_weeks: past weeks that are seen; by default 12, fewer where the data are short,
            and 0 for less than three weeks.
        num_neighbours: neighbours of each series.
        first_slot: slot of the week of the first row.
        history_size: steps that a window may have, 12 at least; fewer days and weeks are seen where
            it is short. By default any number.

    Returns:
        The features.

    Raises:
        InputError: for values without enough days, no series, or numbers out of range.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).poisson(5.0, (300, 3)).astype(float)
        >>> jaxcast.series.seasonal_features(values, slots_per_day=8, leads=(1,)).num_weeks
        5
    """
    check_whole("slots_per_day", slots_per_day)
    check_leads(tuple(leads))
    if num_recent is None:
        num_recent = max(slots_per_day, NUM_LAGS) if slots_per_day <= MOST_RECENT else NUM_LAGS
    if history_size is not None:
        check_whole("history_size", history_size, least=NUM_LAGS)
        num_recent = min(num_recent, history_size)
    table = np.asarray(values, np.float32)
    num_rows, num_series = table.shape
    if num_rows < max(2 * slots_per_day, 2 * num_recent) or not num_series:
        raise InputError(
            f"seasonal features need two days of values or more, got {num_rows} steps of {num_series} series and "
            f"{slots_per_day} steps a day; give a longer training part"
        )
    week = 7 * slots_per_day
    most_days = min(7, num_rows // slots_per_day - 2 + (num_rows < 3 * slots_per_day))
    num_days = most_days if num_days is None else num_days
    if num_weeks is None:
        num_weeks = min(12, num_rows // week) if num_rows > 3 * week and num_days else 0
    if history_size is not None:
        num_weeks = min(num_weeks, (history_size - num_recent) // week)
        num_days = num_days if num_weeks else min(num_days, (history_size - num_recent) // slots_per_day)
    std = np.nan_to_num(np.nanstd(table, 0))
    # A series that never changed may later: in a unit of its own it would drown the means of all.
    typical = std.mean() or 1.0
    std = np.where(std > 0, np.maximum(std, SMALLEST_UNIT * typical), typical)
    mean = np.nan_to_num(np.nanmean(table, 0))
    z = (table - mean) / std
    period = week if num_rows > 3 * week else slots_per_day
    slots = (first_slot + np.arange(num_rows)) % period
    usual = np.stack([np.nan_to_num(np.nanmean(z[slots == slot], 0)) for slot in range(period)])
    nearest = _nearest(np.nan_to_num(z - usual[slots]), min(num_neighbours, num_series))
    made = SeasonalFeatures(
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(std, jnp.float32),
        jnp.asarray(nearest),
        jnp.asarray(usual, jnp.float32),
        slots_per_day,
        tuple(leads),
        num_recent,
        num_days,
        num_weeks,
    )
    made.check()
    return made


def _nearest(off: Float[np.ndarray, "time region"], number: int) -> Int[np.ndarray, "region neighbour"]:
    """Returns the series whose value a step before correlates most with each one's own, itself last."""
    off = (off - off.mean(0)) / np.maximum(off.std(0), 1e-6)
    going = off[1:].T @ off[:-1] / len(off)
    np.fill_diagonal(going, -np.inf)
    return np.argsort(-going, 1, kind="stable")[:, :number]

"""Windows of a city for CausalTrans and ridge regression, and the effects of slots of the week and holidays."""

from typing import Any

import numpy as np
from jaxtyping import Int

import jaxcast
from experiments.causal.city_data import NUM_STEPS, City

LEADS = tuple(range(1, NUM_STEPS + 1))
Arrays = dict[str, np.ndarray]
PENALTY = 3000.0
"""Pairs with a departure of 0 that draw the effects of a slot of the week to those of its hour."""


def lags_of(city: City) -> tuple[int, ...]:
    """Returns the last steps, and the slots of all leads yesterday and a week ago."""
    days = [back * city.slots_per_day - lead for back in (1, 7) for lead in LEADS]
    return tuple(sorted({*range(NUM_STEPS), *days}))


def windows(city: City, start: int, stop: int | None) -> jaxcast.series.SeriesWindows:
    """Cuts windows of square roots of trips, with slots of the week and holidays as treatments."""
    off = city.holidays[:, None].astype(np.float32)
    return jaxcast.series.series_windows(
        np.sqrt(city.trips).astype(np.float32),
        lags=lags_of(city),
        leads=LEADS,
        start=start,
        stop=stop,
        targets=range(city.trips.shape[-1]),
        past_covariates=off,
        newest_covariates=city.slots[:, None].astype(np.float32),
        future_covariates=off,
    )


def at(windows: jaxcast.series.SeriesWindows, newest: Int[np.ndarray, " sample"]) -> jaxcast.series.SeriesWindows:
    """Returns the windows with these newest rows."""
    rows = np.asarray(windows.rows)[:, 0] - LEADS[0]
    kept = np.searchsorted(rows, newest)
    if len(rows) == 0 or (rows[np.minimum(kept, len(rows) - 1)] != newest).any():
        raise jaxcast.InputError("some windows are asked for that no history reaches")
    some: dict[str, Any] = {
        name: array[kept] for name, array in windows._asdict().items() if name not in ("features", "lags")
    }
    return windows._replace(**some)


def effects_of(city: City) -> Arrays:
    """Estimates effects by Algorithm 1 before the validation part: of the hour, the slot and holidays.

    A slot of the week has few weeks. So its effect is that of its hour on a working day or at a
    weekend, and a departure from it that is drawn to 0.

    Returns:
        On the square root of trips, "slots" (slot, cell, channel), "holidays" (0 or 1, cell,
        channel), and "num_pairs" that compare each slot with others.
    """
    values, slots = np.sqrt(city.trips[: city.middle]), city.slots[: city.middle]
    off, weekend = (a[: city.middle].astype(int) for a in (city.holidays, city.weekend))
    lengths = (max(8, city.slots_per_day // 2), 7 * city.slots_per_day // 2)
    hours = weekend * city.slots_per_day + slots % city.slots_per_day
    estimate = jaxcast.series.estimate_treatment_effects
    first = estimate(values, hours, num_levels=2 * city.slots_per_day, others=off[:, None], lengths=lengths).effects
    rest = values - first[hours]
    own = estimate(
        rest, slots, num_levels=7 * city.slots_per_day, others=off[:, None], lengths=lengths, penalty=PENALTY
    )
    level = np.zeros(7 * city.slots_per_day, int)
    level[slots] = hours
    of_slots = first[level] + own.effects
    holidays = np.zeros((2, *values.shape[1:]))
    if off.any():
        found = estimate(values, off, num_levels=2, others=slots[:, None], lengths=lengths).effects
        holidays = found - found[:1]
    return {"slots": of_slots, "holidays": holidays, "num_pairs": own.num_pairs.sum((1, 2))}

"""Plain methods of the part "city": points with quantiles of their errors, and ridge regression."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

import jaxcast
from experiments.causal.city_data import NUM_STEPS, City
from experiments.causal.city_windows import LEADS, lags_of
from jaxcast.series.features import TargetFeatures

Forecast = Float[np.ndarray, "sample lead cell channel"]
Quantiles = Float[np.ndarray, "sample lead cell channel level"]
LEVELS = (0.1, 0.5, 0.9)
PENALTIES = np.logspace(-4, 1, 6)
CHUNK = 64


def last_value(city: City, newest: Int[np.ndarray, " sample"], stop: int) -> Forecast:
    """Repeats the newest value."""
    return np.repeat(city.trips[newest][:, None], NUM_STEPS, 1)


def same_slot(days: int, city: City, newest: Int[np.ndarray, " sample"], stop: int) -> Forecast:
    """Repeats the value of the same slot some days before."""
    return city.trips[newest[:, None] + np.asarray(LEADS) - days * city.slots_per_day]


def slot_mean(city: City, newest: Int[np.ndarray, " sample"], stop: int) -> Forecast:
    """Forecasts the mean of each slot of the week before a row."""
    slots = city.slots
    mean = np.stack([city.trips[:stop][slots[:stop] == slot].mean(0) for slot in range(7 * city.slots_per_day)])
    return mean[slots[newest[:, None] + np.asarray(LEADS)]]


POINTS: dict[str, Callable[..., Forecast]] = {
    "last value": last_value,
    "same slot yesterday": partial(same_slot, 1),
    "same slot last week": partial(same_slot, 7),
    "mean of the slot of the week": slot_mean,
}


def of_points(name: str, city: City) -> Quantiles:
    """Returns the points of the test windows, with quantiles of their errors in the validation part.

    The slot mean of the validation part does not know that part, and that of the test part does.
    """
    method = POINTS[name]
    return with_quantiles(city, method(city, city.validation(), city.middle), method(city, city.newest, city.stop))


def with_quantiles(city: City, validation: Forecast, test: Forecast) -> Quantiles:
    """Adds quantiles of the errors of validation windows to points, by split conformal prediction.

    The points stay as they are, as medians, for errors are about them.
    """
    newest = city.validation()
    truth = city.truth(newest)
    shown, known = jnp.asarray(truth), jnp.ones_like(jnp.asarray(truth))
    rows, features = jnp.asarray(newest[:, None] + np.asarray(LEADS)), TargetFeatures(tuple(range(truth.shape[-1])))
    windows = jaxcast.series.SeriesWindows(shown[:, :1], shown, known, rows, features=features)
    std = np.maximum(city.trips[: city.middle].std(0), 0.1)
    shifts = jaxcast.series.conformal_shifts(validation[..., None], windows, levels=LEVELS, std=std)
    shifts[..., LEVELS.index(0.5)] = 0
    return np.maximum(np.sort(test[..., None] + shifts, -1), 0)


def ridge(city: City) -> dict[str, Forecast]:
    """Fits a ridge regression to each cell and channel on recent values, yesterday and a week ago.

    Returns:
        Forecasts of the validation windows, without having seen that part, and of the test windows.
    """
    values = city.trips.reshape(len(city.trips), -1).astype(np.float32)
    before = values[: city.middle]
    changing = np.flatnonzero(before.max(0) > before.min(0))
    num_series = len(changing)
    weights = jaxcast.series.neighbour_weights(num_series, everyone=True)

    def cut(start: int, stop: int | None) -> Any:
        return jaxcast.series.series_windows(
            values[:, changing], lags=lags_of(city), leads=LEADS, start=start, stop=stop
        )

    paths = []
    for stop in (city.middle, city.stop):
        part = cut(0, stop)
        inputs = jaxcast.series.lag_inputs(
            part, lags=range(part.history.shape[1]), neighbour_weights=weights, neighbour_lags=range(2)
        )
        paths.append(
            jaxcast.series.fit_regression_path(
                part,
                inputs=inputs,
                expansion=jaxcast.series.LinearFeatures(),
                penalties=PENALTIES,
                each_region=True,
                nonnegative=True,
                chunk_size=CHUNK,
            )
        )
    validation = cut(city.middle, city.stop)
    first = np.asarray(paths[0].forecasts(validation, chunk_size=CHUNK))
    best = jaxcast.series.best_by_lead(first, validation)
    second = np.asarray(paths[1].forecasts(cut(city.stop, None), chunk_size=CHUNK))
    found = []
    for forecasts, part, newest in (
        (first, validation, city.validation()),
        (second, cut(city.stop, None), city.newest),
    ):
        rows = np.asarray(part.rows)[:, 0] - LEADS[0]
        chosen = np.stack([forecasts[number, :, k] for k, number in enumerate(best)], 1)
        whole = np.repeat(values[newest][:, None], NUM_STEPS, 1)
        whole[..., changing] = chosen[np.searchsorted(rows, newest)]
        found.append(whole.reshape(len(newest), NUM_STEPS, *city.trips.shape[1:]))
    return dict(zip(("validation", "test"), found, strict=True))

"""Networks of the part "city": CausalTrans on the grid, and networks of single series."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

import jaxcast
from experiments.causal.city_data import DEMAND, NUM_STEPS, SUPPLY, City
from experiments.causal.city_plain import LEVELS, Quantiles
from experiments.causal.city_windows import Arrays, at, windows
from jaxcast.series.panel_models.recalibration import recalibrated
from jaxcast.training import make_optimizer

STRIDE, BATCH_SIZE, LEARNING_RATE = 3, 8, 4e-3
"""Every third window is learned from: two that follow each other share all but a few values."""
PIECE = 32
CONTEXT = 16
"""Steps that networks of single series see besides yesterday and a week ago."""
NUM_BATCHES, PANEL_BATCH = 50, 64


def causal_trans(city: City, effects: Arrays, seed: int, num_epochs: int) -> Arrays:
    """Trains CausalTrans before the validation part, and forecasts the test windows.

    Values are square roots of trips, whose quantiles are the roots of their quantiles. Cells count
    by the size of their trips' errors, so that the loss is about that of trips. The validation part
    chooses the epoch, and shifts the quantiles, as it does for networks of single series.

    Returns:
        Quantiles, validation losses, and of the last windows of a week what the network tells.
    """
    early, validation, rest = (
        windows(city, *part) for part in ((0, city.middle), (city.middle, city.stop), (city.stop, None))
    )
    weights = _weights(city)
    some = jaxcast.series.SeriesWindows(*(_every(STRIDE, a) for a in _weighted(early, weights)))
    held = jaxcast.series.SeriesWindows(*(_every(4, a) for a in _weighted(validation, weights)))
    num_steps = num_epochs * (len(some.history) // BATCH_SIZE)
    found = jaxcast.fit(
        some,
        init=partial(
            _made,
            some,
            city.graph,
            city.slots_per_day,
            *(effects[name].astype(np.float32) for name in ("slots", "holidays")),
        ),
        loss=jaxcast.series.WindowLoss(),
        keys=jax.random.key(seed)[None],
        optimizer=make_optimizer(
            LEARNING_RATE, schedule="cosine", num_optimizer_steps=num_steps, weight_decay=1e-4, clip_norm=1.0
        ),
        num_epochs=num_epochs,
        batch_size=BATCH_SIZE,
        validation=held,
    )
    model = jax.tree.map(lambda a: a[0], found.models)
    test = at(rest, city.newest)
    std = np.sqrt(city.trips[: city.middle]).std(0)
    shifts = jaxcast.series.conformal_shifts(
        _forecast(model, validation), validation, levels=LEVELS, std=np.where(std > 0, std, 1)
    )
    forecast = np.sort(_forecast(model, test) + shifts, -1)
    told = jax.jit(lambda some: model(some.history, some.covariates, lags=some.lags).info)(
        test._replace(**{name: test._asdict()[name][:PIECE] for name in ("history", "covariates")})
    )
    weights_of = [model.of_demand, model.of_supply]
    return {
        "quantiles": (np.maximum(forecast, 0) ** 2).astype(np.float32),
        "validation_losses": np.asarray(found.validation_losses),
        "demand_attention": np.asarray(told["demand"]["attention"]),
        "supply_attention": np.asarray(told["supply"]["attention"]),
        "clusters": np.asarray(told["demand"]["clusters"]).mean(0),
        "effect_weights": np.stack([np.asarray(one.attentions[0].effect_weights[...]) for one in weights_of]),
    }


def _made(samples: Any, graph: Any, slots_per_day: int, slots: Any, holidays: Any, key: Any) -> Any:
    return jaxcast.series.CausalTrans(
        samples,
        graphs=graph,
        effects=[slots, holidays],
        demand=DEMAND,
        supply=SUPPLY,
        treatments=(4,),
        levels=LEVELS,
        hidden_size=16,
        scaling="all",
        slots_per_day=slots_per_day,
        key=key,
    )


def _weights(city: City) -> Float[np.ndarray, "cell channel"]:
    """Returns the size of errors in trips that an error of one standard deviation of a channel's roots makes."""
    early = city.trips[: city.middle]
    weights = np.sqrt(early).std((0, 1)) * np.sqrt(early.mean(0) + 0.05)
    return (weights / weights.mean()).astype(np.float32)


def _weighted(samples: Any, weights: Float[np.ndarray, "cell channel"]) -> Any:
    return samples._replace(weights=samples.weights * weights)


def _every(step: int, value: Any) -> Any:
    """Returns every n-th sample; lags and features have none."""
    return jax.tree.map(lambda a: a[::step], value)


def _forecast(model: Any, some: Any) -> Quantiles:
    """Returns the quantiles of roots."""
    run = jax.jit(lambda history, covariates, lags: model(history, covariates, lags=lags).info["quantiles"])
    count = len(some.history)
    numbers = np.minimum(np.arange(-(-count // PIECE) * PIECE), count - 1).reshape(-1, PIECE)
    found = [np.asarray(run(some.history[own], some.covariates[own], some.lags)) for own in numbers]
    return np.concatenate(found)[:count]


def panel_network(name: str, city: City, seed: int, num_epochs: int) -> Arrays:
    """Trains a network that all cells and channels share, each by itself; forecasts the test windows.

    It sees the last steps, and as covariates known in advance the hour, the weekday, holidays, and
    the value of the same slot yesterday and a week ago, over the mean of the series.

    Returns:
        Quantiles and validation losses.
    """
    panel, series = city_panel(city, city.stop), np.arange(city.trips.shape[1] * city.trips.shape[2])
    fitted = jaxcast.series.fit_panel_network(
        panel,
        init=NETWORKS[name],
        num_leads=NUM_STEPS,
        history_size=CONTEXT,
        time_features=(),
        num_epochs=num_epochs,
        num_batches=NUM_BATCHES,
        batch_size=PANEL_BATCH,
        optimizer=make_optimizer(5e-3, schedule="cosine", num_optimizer_steps=num_epochs * NUM_BATCHES, clip_norm=10.0),
        num_validation_windows=(city.stop - city.middle) // NUM_STEPS,
        lower=0,
        seeds=(seed,),
    )
    model, whole = fitted.model, city_panel(city, None)
    found = []
    for newest in city.newest - first_row(city):
        cut = model.windows(whole, series, np.full(len(series), newest))
        raw = model.raw_quantiles(cut, batch_size=len(series))
        found.append(recalibrated(raw, np.asarray(cut.history, float), np.asarray(model.shifts, float), 0))
    quantiles = np.stack(found).reshape(len(found), *city.trips.shape[1:], NUM_STEPS, -1)
    return {
        "quantiles": np.moveaxis(quantiles, 3, 1).astype(np.float32),
        "validation_losses": np.asarray(fitted.validation_losses),
    }


def first_row(city: City) -> int:
    """Returns the first row of which a week ago is known."""
    return 7 * city.slots_per_day


def city_panel(city: City, stop: int | None) -> Any:
    """Makes a panel of all cells and channels from the second week to before a row, with covariates known ahead."""
    first, num_rows = first_row(city), len(city.trips)
    last = num_rows if stop is None else stop
    rows = np.arange(first, min(last + NUM_STEPS, num_rows))
    values = city.trips.reshape(num_rows, -1)
    size = values[: city.middle].mean(0) + 0.1
    hour, day = (2 * np.pi * city.slots[rows] / (city.slots_per_day * n) for n in (1, 7))
    calendar = np.stack([f(angle) for angle in (hour, day) for f in (np.sin, np.cos)] + [city.holidays[rows]], -1)
    usual = np.stack([values[rows - back * city.slots_per_day] / size for back in (1, 7)], -1)
    known = [np.concatenate([calendar, usual[:, n]], -1) for n in range(values.shape[1])]
    kept: Int[np.ndarray, " row"] = np.arange(first, last)
    return jaxcast.series.series_panel(
        list(values[kept].T), future_covariates=known, static_covariates=np.log(size)[:, None]
    )


NETWORKS: dict[str, Any] = {
    "DeepAR": partial(
        jaxcast.series.DeepAR, hidden_size=24, num_layers=1, num_paths=30, head="student_t", levels=LEVELS
    ),
    "MQRNN": partial(jaxcast.series.MQRNN, hidden_size=32, levels=LEVELS),
    "TFT": partial(jaxcast.series.TFT, hidden_size=16, num_heads=2, dropout=0.0, levels=LEVELS),
}

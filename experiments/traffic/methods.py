"""Naive methods, ridge regressions and kernels of `experiments.traffic`."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import jaxcast
from jaxcast import InputError

WINDOW = 12
DAY = 288
PENALTIES = np.logspace(-6, -1, 6)
CHUNK = 16


class Learned(NamedTuple):
    """The windows that a method learns from and those that it forecasts, by their newest rows.

    Args:
        stop: the row after the last that is known.
        train: newest rows of the windows that are learned from.
        asked: newest rows of the windows that are forecast.
    """

    stop: int
    train: Int[np.ndarray, " window"]
    asked: Int[np.ndarray, " window"]


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """The data, and two ways to learn from them.

    Args:
        config: the settings.
        speeds: of the sensors.
        adjacency: how close sensors are.
        early: learns from the first part of the training rows, forecasts the rest of them.
        whole: learns from all training rows, forecasts the test rows.
    """

    config: Any
    speeds: Float[np.ndarray, "time sensor"]
    adjacency: Float[np.ndarray, "sensor sensor"]
    early: Learned
    whole: Learned

    @classmethod
    def of(cls, speeds: np.ndarray, adjacency: np.ndarray, config: Any) -> "Setup":
        end = int(config.train_share * len(speeds))
        middle = int((1 - config.validation_share) * end)
        farthest, nearest = max(config.horizons), min(config.horizons)
        parts = {"training": middle, "validation": end - middle, "test": len(speeds) - end}
        for name, length in parts.items():
            if length < WINDOW + farthest + 1:
                raise InputError(
                    f"the {name} part has {length} of {len(speeds)} rows, and {farthest} steps ahead need {WINDOW + farthest + 1} or "
                    "more; change the horizons, train_share or validation_share"
                )
        # As published, windows lie inside of the test rows, and the last one is left out.
        test = np.arange(end + WINDOW - 1, len(speeds) - nearest - 1)
        early = Learned(
            middle, np.arange(WINDOW - 1, middle - farthest), np.arange(middle + WINDOW - 1, end - farthest)
        )
        return cls(config, speeds, adjacency, early, Learned(end, np.arange(WINDOW - 1, end - farthest), test))

    @property
    def leads(self) -> np.ndarray:
        return np.arange(1, max(self.config.horizons) + 1)

    @property
    def some_leads(self) -> Int[Array, " some"]:
        """The leads at which the usual speed of the day is a feature."""
        return jnp.asarray(sorted({*self.leads[:3].tolist(), *self.leads[2::3].tolist()}))

    def targets(self, newest: np.ndarray) -> Float[np.ndarray, "window lead sensor"]:
        """Returns the speeds at all leads; NaN beyond the last row."""
        longer = np.concatenate([self.speeds, np.full((max(self.leads), self.speeds.shape[1]), np.nan)])
        return longer[newest[:, None] + self.leads]


def usual_day(speeds: np.ndarray, stop: int, weekend: tuple[int, ...], length: int) -> Float[np.ndarray, "time sensor"]:
    """Returns the mean speed on other working days at the same time, smoothed over 35 minutes.

    Only days before row `stop` count, and never a row's own day, so that what is learned from
    training rows holds for rows whose day is not over.
    """
    usual = np.empty((length, speeds.shape[1]))
    for day in range(-(-length // DAY)):
        total, count = np.zeros((DAY, speeds.shape[1])), np.zeros((DAY, 1))
        for other in set(range(-(-stop // DAY))) - {day, *weekend}:
            rows = np.arange(other * DAY, min((other + 1) * DAY, stop))
            total[rows % DAY] += speeds[rows]
            count[rows % DAY] += 1
        mean = np.where(count > 0, total / np.maximum(count, 1), speeds[:stop].mean(0))
        smooth = np.mean([np.roll(mean, shift, 0) for shift in range(-3, 4)], 0)
        own = slice(day * DAY, min((day + 1) * DAY, length))
        usual[own] = smooth[: own.stop - own.start]
    return usual


Sight = Literal["own", "neighbours", "hour", "time"]


@cache
def windows(setup: Setup, stop: int) -> jaxcast.series.SeriesWindows:
    """Cuts the window that ends at each row, with a target at each lead.

    The features of a sensor are its speed, the standardised speed, the mean of that over its
    neighbours, and its difference from the usual speed of a working day at that time. Covariates
    are that usual speed now and at each lead. All is standardised by, and the usual speed is the
    mean of, the rows before `stop`."""
    speeds, leads = setup.speeds, setup.leads.tolist()
    mean, scale = speeds[:stop].mean(0), speeds[:stop].std(0).mean()
    usual = usual_day(speeds, stop, setup.config.weekend, len(speeds) + max(leads))
    z, daily = (speeds - mean) / scale, jnp.asarray((usual - mean) / scale, jnp.float32)
    around = z @ jaxcast.series.neighbour_weights(speeds.shape[1], setup.adjacency)[:, 1].T
    raw, z, around = (jnp.asarray(a, jnp.float32) for a in (speeds, z, around))
    features = jnp.stack([raw, z, around, z - daily[: len(z)]], -1)
    # Rows to come, whose usual speed is known.
    features = jnp.pad(features, ((0, max(leads)), (0, 0), (0, 0)), constant_values=jnp.nan)
    return jaxcast.series.series_windows(
        features,
        history_size=WINDOW,
        leads=leads,
        targets=(0,),
        newest_covariates=daily[..., None],
        future_covariates=daily[..., None],
    )


def windows_at(setup: Setup, stop: int, newest: np.ndarray) -> jaxcast.series.SeriesWindows:
    """Returns the windows that end at some rows."""
    return jax.tree.map(lambda a: a[newest - (WINDOW - 1)], windows(setup, stop))


class RoadInputs(jaxcast.series.RegressionInputs):
    """Features of the last hour for a regression.

    "own" are speeds at the sensor; "neighbours" also the means of its neighbours; "hour" those as
    changes from the newest value, and the nearest sensors; "time" also the usual speed of a working
    day.

    Args:
        nearest: the nearest sensors of each.
        usual: the standardised mean speed of each sensor.
        mean: taken off the features.
        std: the features are then divided by.
        sight: what is seen.
        leads: leads at which the usual speed is a feature, numbered from 0.
        target_features: the speed.
    """

    nearest: Int[Array, "sensor nearest"]
    usual: Float[Array, " sensor"]
    mean: Float[Array, "*sensor feature"]
    std: Float[Array, "*sensor feature"]
    sight: Sight = jaxcast.pytrees.static()
    leads: tuple[int, ...] = jaxcast.pytrees.static()
    target_features: tuple[int, ...] = jaxcast.pytrees.static(default=(0,))

    def __call__(self, history: Any, covariates: Any = None) -> jaxcast.series.Window:
        newest = history[..., -1, :, :1]
        features = (self.features(history, covariates) - self.mean) / self.std
        return jaxcast.series.Window(features, newest, jnp.ones_like(newest), 0)

    def of_region(self, history: Any, covariates: Any, region: Any) -> jaxcast.series.Window:
        """Returns the window of one sensor."""
        return jax.tree.map(lambda a: a[..., region, :][..., None, :], self(history, covariates))

    def features(self, history: Any, covariates: Any) -> Float[Array, "window sensor feature"]:
        """Returns the features before they are standardised."""
        speeds, around, off = (jnp.moveaxis(history[..., k], -1, -2) for k in (1, 2, 3))  # (window, sensor, step)
        lagged = lambda series, lags: series[..., [WINDOW - 1 - lag for lag in lags]]  # noqa: E731
        if self.sight in ("own", "neighbours"):
            seen = (speeds,) if self.sight == "own" else (speeds, around)
            return jnp.concatenate([lagged(series, range(WINDOW)) for series in seen], -1)
        now = speeds[..., -1:]
        near = lagged(speeds, (0, 1, 3))[:, self.nearest].reshape(*now.shape[:2], -1)
        changes = [lagged(speeds, (1, 2, 3, 4, 5, 6, 8, 11)), lagged(around, (0, 1, 2, 3, 5, 8, 11)), near]
        parts = [now, jnp.broadcast_to(self.usual[:, None], now.shape), *(one - now for one in changes)]
        if self.sight == "time":
            daily = covariates.astype(now.dtype)
            parts += [daily[..., [1 + lead for lead in self.leads]] - daily[..., :1], lagged(off, (0, 3))]
        return jnp.concatenate(parts, -1)


def road_inputs(setup: Setup, stop: int, sight: Sight, sample: np.ndarray, *, each_sensor: bool) -> RoadInputs:
    """Makes the inputs, standardised by the windows of a sample."""
    speeds, num_sensors = setup.speeds, setup.speeds.shape[1]
    order = np.argsort(-setup.adjacency * (1 - np.eye(num_sensors)), axis=1, kind="stable")
    usual = speeds[:stop].mean(0) / speeds[:stop].std(0).mean()
    none = jnp.zeros(1)
    leads = tuple(int(lead) - 1 for lead in setup.some_leads)
    inputs = RoadInputs(
        jnp.asarray(order[:, : setup.config.num_nearest]), jnp.asarray(usual, jnp.float32), none, none, sight, leads
    )
    return _standardised(inputs, windows_at(setup, stop, sample), each_sensor=each_sensor)


@partial(jax.jit, static_argnames="each_sensor")
def _standardised(inputs: RoadInputs, sample: jaxcast.series.SeriesWindows, *, each_sensor: bool) -> RoadInputs:
    features, over = inputs.features(sample.history, sample.covariates), 0 if each_sensor else (0, 1)
    std = jnp.maximum(features.std(over), 1e-3)
    return dataclasses.replace(inputs, mean=features.mean(over), std=std)


def regressions(
    setup: Setup,
    learned: Learned,
    sight: Sight,
    make_expansion: Callable[[int], Any],
    *,
    each_sensor: bool,
    every: int = 1,
) -> Float[np.ndarray, "penalty window lead sensor"]:
    """Fits ridge regressions of the change of speed with every penalty, in closed form.

    They learn from whole chunks of windows, and are standardised by an eighth of them.
    """
    train = learned.train[::every]
    train = train[: len(train) // CHUNK * CHUNK]
    chunks = train.reshape(-1, CHUNK)
    sample = chunks[:: max(1, len(chunks) // 8)].ravel()
    inputs = road_inputs(setup, learned.stop, sight, sample, each_sensor=each_sensor)
    path = jaxcast.series.fit_regression_path(
        windows_at(setup, learned.stop, train),
        inputs=inputs,
        expansion=make_expansion(inputs.mean.shape[-1]),
        penalties=PENALTIES,
        error_weighting=0.0,
        each_region=each_sensor,
        predict_change=True,
        chunk_size=CHUNK,
    )
    asked = windows_at(setup, learned.stop, learned.asked)
    forecasts = np.asarray(path.forecasts(asked, chunk_size=CHUNK))[..., 0]
    return np.clip(forecasts, 0, np.float32(setup.speeds[: learned.stop].max()))


@cache
def ridge(setup: Setup, sight: Sight) -> tuple[np.ndarray, np.ndarray]:
    """Fits a regression for each sensor; forecasts both parts with every penalty."""
    linear = lambda size: jaxcast.series.LinearFeatures()  # noqa: E731
    return (
        regressions(setup, setup.early, sight, linear, each_sensor=True),
        regressions(setup, setup.whole, sight, linear, each_sensor=True),
    )


@cache
def kernel(setup: Setup, sight: Sight, bandwidth: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fits kernel ridge regression, one for all sensors; otherwise as `ridge`."""

    def waves(size: int) -> Any:
        key = jax.random.key(seed)
        made = jaxcast.series.random_fourier_features(size, setup.config.num_cosines, bandwidth=bandwidth, key=key)
        return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), made)

    run = partial(regressions, setup, sight=sight, make_expansion=waves, each_sensor=False, every=setup.config.every)
    return run(setup.early), run(setup.whole)


def best_penalty(candidates: tuple[np.ndarray, np.ndarray], setup: Setup) -> np.ndarray:
    """Returns the test forecasts of the best penalty on the validation part, at each lead."""
    valid = windows_at(setup, setup.early.stop, setup.early.asked)
    best = jaxcast.series.best_by_lead(jnp.asarray(candidates[0])[..., None], valid)
    return np.stack([candidates[1][number, :, k] for k, number in enumerate(best)], 1)


def _average(sight: Sight, setup: Setup, seed: int) -> np.ndarray:
    """Averages, at each lead, the regressions that forecast the validation part best."""
    many = [ridge(setup, "own"), ridge(setup, "neighbours"), ridge(setup, sight)]
    many += [kernel(setup, sight, bandwidth, seed) for bandwidth in setup.config.bandwidths]
    valid, test = (np.concatenate(parts) for parts in zip(*many, strict=True))
    truth = setup.targets(setup.early.asked)
    chosen = [jaxcast.training.select_average(valid[:, :, k], truth[:, k]) for k in range(len(setup.leads))]
    return np.stack([test[members, :, k].mean(0) for k, members in enumerate(chosen)], 1)


def last_value(setup: Setup, seed: int) -> np.ndarray:
    return np.repeat(setup.speeds[setup.whole.asked][:, None], len(setup.leads), 1)


def mean_of_other_days(setup: Setup, seed: int) -> np.ndarray:
    length = len(setup.speeds) + max(setup.leads)
    usual = usual_day(setup.speeds, setup.whole.stop, setup.config.weekend, length)
    return usual[setup.whole.asked[:, None] + setup.leads]


class Method(NamedTuple):
    """A method of the experiment.

    Args:
        forecast: (setup, seed) -> forecasts of the test part, (window, lead, sensor).
        sees: what a forecast is made from, for a table.
        draws: whether the seed matters.
    """

    forecast: Callable[[Setup, int], np.ndarray]
    sees: str = "the last hour"
    draws: bool = False


def _ridge(sight: Sight, setup: Setup, seed: int) -> np.ndarray:
    return best_penalty(ridge(setup, sight), setup)


def _kernel(sight: Sight, setup: Setup, seed: int) -> np.ndarray:
    return best_penalty(kernel(setup, sight, setup.config.bandwidths[0], seed), setup)


TIME = "the last hour and the time of day"
METHODS = {
    "last_value": Method(last_value),
    "mean_of_other_days": Method(mean_of_other_days, "the time of day alone"),
    "ridge_own": Method(partial(_ridge, "own")),
    "ridge_neighbours": Method(partial(_ridge, "neighbours")),
    "ridge_nearest": Method(partial(_ridge, "hour")),
    "ridge_nearest_and_time": Method(partial(_ridge, "time"), TIME),
    "kernel": Method(partial(_kernel, "hour"), draws=True),
    "average": Method(partial(_average, "hour"), draws=True),
    "kernel_and_time": Method(partial(_kernel, "time"), TIME, draws=True),
    "average_and_time": Method(partial(_average, "time"), TIME, draws=True),
}

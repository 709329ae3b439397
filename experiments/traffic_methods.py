"""The forecasters of `experiments.traffic`: naive ones, ridge regressions of each sensor, and kernels for all sensors together."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import jaxcast

WINDOW = 12
DAY = 288
PENALTIES = np.logspace(-6, -1, 6)
BLOCK = 16


class Learned(NamedTuple):
    """From which windows a method learns, and which it forecasts, by the numbers of their newest rows."""

    stop: int
    train: Int[np.ndarray, " window"]
    asked: Int[np.ndarray, " window"]


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """The data, and two ways to learn. early: from the first part of the training rows, asked about the rest of them.
    whole: from all training rows, asked about the test rows."""

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
        # As published, windows lie inside of the test rows, and the last one is left out.
        test = np.arange(end + WINDOW - 1, len(speeds) - nearest - 1)
        early = Learned(
            middle, np.arange(WINDOW - 1, middle - farthest), np.arange(middle + WINDOW - 1, end - farthest)
        )
        return cls(config, speeds, adjacency, early, Learned(end, np.arange(WINDOW - 1, end - farthest), test))

    @property
    def leads(self) -> np.ndarray:
        return np.arange(1, max(self.config.horizons) + 1)

    def targets(self, newest: np.ndarray) -> Float[np.ndarray, "window lead sensor"]:
        """NaN beyond the last row."""
        longer = np.concatenate([self.speeds, np.full((max(self.leads), self.speeds.shape[1]), np.nan)])
        return longer[newest[:, None] + self.leads]


def daily_course(
    speeds: np.ndarray, stop: int, weekend: tuple[int, ...], length: int
) -> Float[np.ndarray, "time sensor"]:
    """The mean speed on the other working days before row `stop` at the same time of day, smoothed over 35 minutes.

    A row's own day never counts, so that what is learned from training rows holds for rows whose day is not over.
    """
    course = np.empty((length, speeds.shape[1]))
    for day in range(-(-length // DAY)):
        total, count = np.zeros((DAY, speeds.shape[1])), np.zeros((DAY, 1))
        for other in set(range(-(-stop // DAY))) - {day, *weekend}:
            rows = np.arange(other * DAY, min((other + 1) * DAY, stop))
            total[rows % DAY] += speeds[rows]
            count[rows % DAY] += 1
        mean = np.where(count > 0, total / np.maximum(count, 1), speeds[:stop].mean(0))
        smooth = np.mean([np.roll(mean, shift, 0) for shift in range(-3, 4)], 0)
        own = slice(day * DAY, min((day + 1) * DAY, length))
        course[own] = smooth[: own.stop - own.start]
    return course


Sight = Literal["own", "neighbours", "hour", "time"]


def make_features(setup: Setup, learned: Learned, sight: Sight) -> Callable[[Array], Array]:
    """newest rows -> (window, sensor, feature).

    own: the last hour at the sensor. neighbours: and the mean of its neighbours. hour: that as changes from the newest
    value, and the nearest sensors. time: and the usual course of a working day.
    """
    speeds, closeness = setup.speeds, setup.adjacency * (1 - np.eye(len(setup.adjacency)))
    mean, scale = speeds[: learned.stop].mean(0), speeds[: learned.stop].std(0).mean()
    nearest = np.argsort(-closeness, axis=1, kind="stable")[:, : setup.config.num_nearest]
    around = jaxcast.mixtures(len(closeness), setup.adjacency)[:, 1]
    course = daily_course(speeds, learned.stop, setup.config.weekend, len(speeds) + max(setup.leads))
    z, daily, usual = (
        jnp.asarray(a, jnp.float32) for a in ((speeds - mean) / scale, (course - mean) / scale, mean / scale)
    )
    mixed = z @ jnp.asarray(around.T, jnp.float32)
    ahead = jnp.asarray(sorted({1, 2, 3, *setup.leads[2::3].tolist()}))

    def lagged(series: Array, newest: Array, lags: Sequence[int]) -> Array:
        return jnp.moveaxis(series[newest[:, None] - jnp.asarray(lags)], 1, -1)

    def plain(newest: Array) -> Array:
        seen = (z,) if sight == "own" else (z, mixed)
        return jnp.concatenate([lagged(series, newest, range(WINDOW)) for series in seen], -1)

    def relative(newest: Array) -> Array:
        now = z[newest][..., None]
        changes = [lagged(z, newest, (1, 2, 3, 4, 5, 6, 8, 11)), lagged(mixed, newest, (0, 1, 2, 3, 5, 8, 11))]
        changes += [lagged(z[:, sensors], newest, (0, 1, 3)) for sensors in nearest.T]
        parts = [now, jnp.broadcast_to(usual[:, None], now.shape), *(one - now for one in changes)]
        if sight == "time":
            to_come = jnp.moveaxis(daily[newest[:, None] + ahead], 1, -1) - daily[newest][..., None]
            parts += [to_come, lagged(z - daily[: len(z)], newest, (0, 3))]
        return jnp.concatenate(parts, -1)

    return plain if sight in ("own", "neighbours") else relative


class Moments(NamedTuple):
    """Sums over samples of products of features with each other and with targets, and how many samples they are of."""

    features: Float[Array, "*sensor feature feature"]
    targets: Float[Array, "*sensor feature lead"]


def regressions(
    setup: Setup, learned: Learned, features: Callable[[Array], Array], expansion: Any, *, each_sensor: bool, every: int
) -> Float[np.ndarray, "penalty window lead sensor"]:
    """Ridge regressions of the change of speed, with every penalty (a share of the mean eigenvalue), in closed form.

    Moments are summed block by block, so that memory holds the features of few windows.
    """
    train = learned.train[::every]
    train = jnp.asarray(train[: len(train) // BLOCK * BLOCK].reshape(-1, BLOCK))
    speeds, leads = jnp.asarray(setup.speeds, jnp.float32), jnp.asarray(setup.leads)
    sample = features(train[:: max(1, len(train) // 8)].ravel())
    over = 0 if each_sensor else (0, 1)
    mean, std = sample.mean(over), jnp.maximum(sample.std(over), 1e-3)

    def expand(newest: Array) -> Array:
        phi = expansion((features(newest) - mean) / std)
        return jnp.concatenate([phi, jnp.ones_like(phi[..., :1])], -1)

    subscripts = "nsf,nsg->sfg" if each_sensor else "nsf,nsg->fg"

    def add(sums: Moments, newest: Array) -> tuple[Moments, None]:
        phi = expand(newest)
        change = jnp.moveaxis(speeds[newest[:, None] + leads] - speeds[newest][:, None], 1, -1)
        new = Moments(jnp.einsum(subscripts, phi, phi), jnp.einsum(subscripts, phi, change))
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), sums, new), None

    size = expand(train[0, :1]).shape[-1]
    shape = (setup.speeds.shape[1],) if each_sensor else ()
    zero = Moments(jnp.zeros((*shape, size, size)), jnp.zeros((*shape, size, len(leads))))
    weights = jnp.asarray(solved(jax.jit(partial(jax.lax.scan, add))(zero, train)[0]), jnp.float32)

    @jax.jit
    def forecast(newest: Array) -> Array:
        change = jnp.einsum("nsf,psfl->pnls" if each_sensor else "nsf,pfl->pnls", expand(newest), weights)
        return jnp.clip(speeds[newest][:, None] + change, 0, speeds.max())

    return np.concatenate([forecast(jnp.asarray(part)) for part in np.array_split(learned.asked, 8)], 1)


def solved(moments: Moments) -> Float[np.ndarray, "penalty *sensor feature lead"]:
    """By eigenvalues, found once for all penalties; the last feature is the constant, and has none."""
    gram, targets = (np.asarray(a, np.float64) for a in moments)
    count, sums, middle = gram[..., -1:, -1:], gram[..., :-1, -1:], targets[..., -1:, :]
    centred = gram[..., :-1, :-1] - sums @ np.swapaxes(sums, -1, -2) / count
    values, vectors = np.linalg.eigh(centred)
    projected = np.swapaxes(vectors, -1, -2) @ (targets[..., :-1, :] - sums @ middle / count)
    penalised = [np.maximum(values, 0) + p * values.mean(-1, keepdims=True) for p in PENALTIES]
    weights = [vectors @ (projected / one[..., None]) for one in penalised]
    return np.stack([np.concatenate([w, (middle - np.swapaxes(sums, -1, -2) @ w) / count], -2) for w in weights])


@cache
def ridge(setup: Setup, sight: Sight) -> tuple[np.ndarray, np.ndarray]:
    """A regression of each sensor's own, asked about the validation and about the test part, with every penalty."""
    parts = setup.early, setup.whole
    make = partial(regressions, expansion=jaxcast.Identity(), each_sensor=True, every=1)
    first, last = (make(setup, part, make_features(setup, part, sight)) for part in parts)
    return first, last


@cache
def kernel(setup: Setup, sight: Sight, bandwidth: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ridge regression, one for all sensors; otherwise as `ridge`."""

    def of(part: Learned) -> np.ndarray:
        features = make_features(setup, part, sight)
        size = features(jnp.asarray(part.train[:1])).shape[-1]
        expansion = jaxcast.random_fourier(
            size, setup.config.num_cosines, bandwidth=bandwidth, key=jax.random.key(seed)
        )
        expansion = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), expansion)
        return regressions(setup, part, features, expansion, each_sensor=False, every=setup.config.every)

    return of(setup.early), of(setup.whole)


def best_penalty(candidates: tuple[np.ndarray, np.ndarray], setup: Setup) -> np.ndarray:
    """The test forecasts of the penalty with the lowest squared error on the validation part, for each lead."""
    squares = ((candidates[0] - setup.targets(setup.early.asked)) ** 2).mean((1, 3))
    return np.stack([candidates[1][best, :, k] for k, best in enumerate(squares.argmin(0))], 1)


def _average(sight: Sight, setup: Setup, seed: int) -> np.ndarray:
    """At each lead the average of those regressions that forecast the validation part best."""
    many = [ridge(setup, "own"), ridge(setup, "neighbours"), ridge(setup, sight)]
    many += [kernel(setup, sight, bandwidth, seed) for bandwidth in setup.config.bandwidths]
    valid, test = (np.concatenate(parts) for parts in zip(*many, strict=True))
    truth = setup.targets(setup.early.asked)
    chosen = [jaxcast.best_average(valid[:, :, k], truth[:, k]) for k in range(len(setup.leads))]
    return np.stack([test[members, :, k].mean(0) for k, members in enumerate(chosen)], 1)


def last_value(setup: Setup, seed: int) -> np.ndarray:
    return np.repeat(setup.speeds[setup.whole.asked][:, None], len(setup.leads), 1)


def mean_of_other_days(setup: Setup, seed: int) -> np.ndarray:
    length = len(setup.speeds) + max(setup.leads)
    course = daily_course(setup.speeds, setup.whole.stop, setup.config.weekend, length)
    return course[setup.whole.asked[:, None] + setup.leads]


class Method(NamedTuple):
    """forecast: (setup, seed) -> forecasts of the test part, (window, lead, sensor). draws: whether the seed matters."""

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

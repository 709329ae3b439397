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
from jaxcast import InputError

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
        """Those at which the usual course of a day is a feature."""
        return jnp.asarray(sorted({*self.leads[:3].tolist(), *self.leads[2::3].tolist()}))

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


class Road(NamedTuple):
    """What a regression sees: speeds, the means of neighbours, the usual course of a working day, standardised; nearest sensors;
    the speeds themselves, and the highest of those that are learned from."""

    speeds: Float[Array, "time sensor"]
    around: Float[Array, "time sensor"]
    daily: Float[Array, "time+lead sensor"]
    usual: Float[Array, " sensor"]
    nearest: Int[Array, "sensor nearest"]
    raw: Float[Array, "time sensor"]
    highest: Float[Array, ""]


def make_road(setup: Setup, learned: Learned) -> Road:
    """Standardised by, and with the daily course of, the rows that are learned from."""
    speeds, num_sensors = setup.speeds, setup.speeds.shape[1]
    mean, scale = speeds[: learned.stop].mean(0), speeds[: learned.stop].std(0).mean()
    order = np.argsort(-setup.adjacency * (1 - np.eye(num_sensors)), axis=1, kind="stable")
    course = daily_course(speeds, learned.stop, setup.config.weekend, len(speeds) + max(setup.leads))
    z = (speeds - mean) / scale
    around = z @ jaxcast.series.neighbour_weights(num_sensors, setup.adjacency)[:, 1].T
    z, around, daily, usual, raw = (
        jnp.asarray(a, jnp.float32) for a in (z, around, (course - mean) / scale, mean / scale, speeds)
    )
    nearest = jnp.asarray(order[:, : setup.config.num_nearest])
    return Road(z, around, daily, usual, nearest, raw, raw[: learned.stop].max())


def features(
    road: Road, newest: Int[Array, " window"], leads: Array, sight: Sight
) -> Float[Array, "window sensor feature"]:
    """own: the last hour at the sensor. neighbours: and the mean of its neighbours. hour: that as changes from the newest
    value, and the nearest sensors. time: and the usual course of a working day."""

    def lagged(series: Array, lags: Sequence[int]) -> Array:
        return jnp.moveaxis(series[newest[:, None] - jnp.asarray(lags)], 1, -1)

    if sight in ("own", "neighbours"):
        seen = (road.speeds,) if sight == "own" else (road.speeds, road.around)
        return jnp.concatenate([lagged(series, range(WINDOW)) for series in seen], -1)
    now = road.speeds[newest][..., None]
    near = lagged(road.speeds, (0, 1, 3))[:, road.nearest].reshape(*now.shape[:2], -1)
    changes = [lagged(road.speeds, (1, 2, 3, 4, 5, 6, 8, 11)), lagged(road.around, (0, 1, 2, 3, 5, 8, 11)), near]
    parts = [now, jnp.broadcast_to(road.usual[:, None], now.shape), *(one - now for one in changes)]
    if sight == "time":
        to_come = jnp.moveaxis(road.daily[newest[:, None] + leads], 1, -1) - road.daily[newest][..., None]
        parts += [to_come, lagged(road.speeds - road.daily[: len(road.speeds)], (0, 3))]
    return jnp.concatenate(parts, -1)


class Inputs(NamedTuple):
    """How features are standardised and expanded. some_leads: those at which the usual course is a feature."""

    mean: Float[Array, "*sensor feature"]
    std: Float[Array, "*sensor feature"]
    expansion: Any
    leads: Int[Array, " lead"]
    some_leads: Int[Array, " some"]


class Moments(NamedTuple):
    """Sums over samples of products of features with each other and with targets; the last feature is 1."""

    features: Float[Array, "*sensor feature feature"]
    targets: Float[Array, "*sensor feature lead"]


def _expanded(road: Road, inputs: Inputs, newest: Array, sight: Sight) -> Array:
    phi = inputs.expansion((features(road, newest, inputs.some_leads, sight) - inputs.mean) / inputs.std)
    return jnp.concatenate([phi, jnp.ones_like(phi[..., :1])], -1)


@partial(jax.jit, static_argnames=("sight", "each_sensor"))
def _scales(road: Road, newest: Array, leads: Array, *, sight: Sight, each_sensor: bool) -> tuple[Array, Array]:
    sample, over = features(road, newest, leads, sight), 0 if each_sensor else (0, 1)
    return sample.mean(over), jnp.maximum(sample.std(over), 1e-3)


@partial(jax.jit, static_argnames=("sight", "each_sensor"))
def _moments(road: Road, inputs: Inputs, blocks: Array, *, sight: Sight, each_sensor: bool) -> Moments:
    """Summed block by block, so that memory holds the features of few windows."""
    subscripts = "nsf,nsg->sfg" if each_sensor else "nsf,nsg->fg"

    def of_block(newest: Array) -> Moments:
        phi = _expanded(road, inputs, newest, sight)
        change = jnp.moveaxis(road.raw[newest[:, None] + inputs.leads] - road.raw[newest][:, None], 1, -1)
        sums = Moments(jnp.einsum(subscripts, phi, phi), jnp.einsum(subscripts, phi, change))
        return jax.tree.map(lambda a: a.astype(jnp.float64), sums)

    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(of_block, blocks[0]))
    return jax.lax.scan(lambda sums, newest: (jax.tree.map(jnp.add, sums, of_block(newest)), None), zero, blocks)[0]


@partial(jax.jit, static_argnames=("sight", "each_sensor"))
def _forecasts(
    road: Road, inputs: Inputs, weights: Array, blocks: Array, *, sight: Sight, each_sensor: bool
) -> Float[Array, "block penalty window lead sensor"]:
    subscripts = "nsf,psfl->pnls" if each_sensor else "nsf,pfl->pnls"

    def of_block(newest: Array) -> Array:
        change = jnp.einsum(subscripts, _expanded(road, inputs, newest, sight), weights)
        return jnp.clip(road.raw[newest][:, None] + change, 0, road.highest)

    return jax.lax.map(of_block, blocks)


def regressions(
    setup: Setup, learned: Learned, sight: Sight, expansion: Any, *, each_sensor: bool, every: int = 1
) -> Float[np.ndarray, "penalty window lead sensor"]:
    """Ridge regressions of the change of speed, with every penalty (a share of the mean eigenvalue), in closed form."""
    road, leads = make_road(setup, learned), jnp.asarray(setup.leads)
    options: dict[str, Any] = {"sight": sight, "each_sensor": each_sensor}
    blocks = in_blocks(learned.train[::every], drop=True)
    mean, std = _scales(road, jnp.asarray(blocks[:: max(1, len(blocks) // 8)].ravel()), setup.some_leads, **options)
    inputs = Inputs(mean, std, expansion, leads, setup.some_leads)
    weights = jnp.asarray(solved(_moments(road, inputs, jnp.asarray(blocks), **options)), jnp.float32)
    forecasts = np.asarray(_forecasts(road, inputs, weights, jnp.asarray(in_blocks(learned.asked)), **options))
    return np.concatenate(list(forecasts), 1)[:, : len(learned.asked)]


def in_blocks(newest: np.ndarray, *, drop: bool = False) -> Int[np.ndarray, "block window"]:
    """What is left after the last full block is dropped, or filled up by repetition."""
    full = newest[: len(newest) // BLOCK * BLOCK] if drop else np.pad(newest, (0, -len(newest) % BLOCK), mode="edge")
    return full.reshape(-1, BLOCK)


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
    run = partial(regressions, setup, sight=sight, expansion=jaxcast.series.LinearFeatures(), each_sensor=True)
    return run(setup.early), run(setup.whole)


@cache
def kernel(setup: Setup, sight: Sight, bandwidth: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ridge regression, one for all sensors; otherwise as `ridge`."""
    see = partial(features, make_road(setup, setup.early), leads=setup.some_leads, sight=sight)
    size = jax.eval_shape(see, jnp.asarray(setup.early.train[:1])).shape[-1]
    expansion = jaxcast.series.random_fourier_features(
        size, setup.config.num_cosines, bandwidth=bandwidth, key=jax.random.key(seed)
    )
    expansion = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), expansion)
    run = partial(regressions, setup, sight=sight, expansion=expansion, each_sensor=False, every=setup.config.every)
    return run(setup.early), run(setup.whole)


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
    chosen = [jaxcast.training.select_average(valid[:, :, k], truth[:, k]) for k in range(len(setup.leads))]
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

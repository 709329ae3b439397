"""The forecasters of `experiments.regions`: naive ones, regressions on lags, networks, and averages of the best of many."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxcast
from experiments.regions_networks import NETWORKS, networks
from jaxcast.regions.tables import Folder

PENALTIES = np.logspace(-6, -0.5, 8)
BANDWIDTHS = ((0.3, 1.0), (0.8, 0.3), (1.5, 0.0))
"""Of kernels, with the share of the features themselves."""
SETTINGS: tuple[tuple[Any, Any, str, int, bool, int], ...] = (
    ("none", "series", "neighbours", 2, True, 0),
    ("log", "window", "everyone", 1, True, 0),
    ("log", "series", "neighbours", 2, True, 5),
    ("none", "window", "neighbours", 4, True, 0),
    ("sqrt", "series", "everyone", 1, True, 5),
    ("none", "series", "everyone", 4, False, 5),
    ("sqrt", "series", "neighbours", 2, False, 0),
    ("log", "series", "own", 4, True, 0),
)
"""Of inputs: transform, level, which other series, the newest 1/n of the window, difference, principal components."""


class Parts(NamedTuple):
    """Training, validation and test samples; targets do not overlap."""

    train: jaxcast.LeadSamples
    valid: jaxcast.LeadSamples
    test: jaxcast.LeadSamples


Seen = Literal["window", "calendar", "last_year"]


@dataclasses.dataclass(frozen=True)
class Setup:
    """The data, and their parts by what is seen: the published window alone, or also at which part of the season it ends, or
    the values one season before the targets."""

    config: Any
    data: Folder
    by_seen: dict[Seen, Parts]

    @property
    def parts(self) -> Parts:
        return self.by_seen["window"]

    @classmethod
    def of(cls, data: Folder, config: Any) -> "Setup":
        values = jnp.asarray(data.values)
        first, second = (int(share * len(values)) for share in config.split)
        bounds = ((0, first), (first, second), (second, len(values)))

        angles = 2 * np.pi / config.season_length * np.arange(len(values))[:, None] * np.asarray([1, 2])
        calendar = np.concatenate([np.cos(angles), np.sin(angles)], 1)

        def parts(window_size: int, given: np.ndarray | None = None) -> Parts:
            cut = partial(jaxcast.lead_samples, values, window_size=window_size, leads=config.leads, given=given)
            return Parts(*(cut(start=start, stop=stop) for start, stop in bounds))

        far = max(config.window_size, config.season + 2 - min(config.leads))
        by_seen: dict[Seen, Parts] = {
            "window": parts(config.window_size),
            "calendar": parts(config.window_size, calendar),
            "last_year": parts(far),
        }
        return cls(config, data, by_seen)


@dataclasses.dataclass(frozen=True)
class Method:
    """forecast: (setup, parts, seeds) -> forecasts of the test part, (seed, sample, lead, region), and what else was learned.
    draws: whether the seed matters."""

    forecast: Callable[[Setup, Parts, Sequence[int]], tuple[Any, dict[str, Any]]]
    draws: bool = False
    seen: Seen = "window"

    def sees(self, config: Any) -> str:
        further = {"window": "", "calendar": "and the week of the year", "last_year": f"and {config.season} weeks back"}
        return f"{config.window_size} weeks {further[self.seen]}".strip()


def one_by_one(forecast: Callable[[Setup, Parts, int], Array]) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """A method that takes one seed as one that takes all."""
    return lambda setup, parts, seeds: (np.stack([forecast(setup, parts, seed) for seed in seeds]), {})


def score(method: Method, setup: Setup) -> dict[str, np.ndarray]:
    """Test errors of every seed, the first seed's forecasts on the rows that all methods share, and what else was learned."""
    parts = setup.by_seen[method.seen]
    seeds = range(setup.config.seed, setup.config.seed + (setup.config.num_seeds if method.draws else 1))
    forecasts, learned = method.forecast(setup, parts, seeds)
    scores = [jaxcast.lead_scores(forecast, parts.test) for forecast in forecasts]
    return {name: np.stack([getattr(one, name) for one in scores]) for name in ("rmse", "mae", "pcc")} | {
        "forecast": forecasts[0][-len(setup.parts.test.targets) :],
        **learned,
    }


def naive(make: Callable[[tuple[int, ...]], Any], setup: Setup, parts: Parts, seed: int) -> Array:
    return make(setup.config.leads)(parts.test.history).forecast


def seasonal(setup: Setup, parts: Parts, seed: int) -> Array:
    values, rows = jnp.asarray(setup.data.values), parts.test.rows
    return values[jnp.clip(rows - setup.config.season, 0, len(values) - 1)]


@partial(jax.jit, static_argnames=("each_region", "difference"))
def choose(
    parts: Parts, inputs: jaxcast.LagInputs, expansion: Any, power: Any, *, each_region: bool, difference: bool
) -> tuple[Array, Array]:
    """Forecasts of the validation and the test part for every penalty: (penalty, sample, lead, region) each."""
    fit = partial(
        jaxcast.fit_lag_regression, parts.train, inputs, expansion, scale_power=power, each_region=each_region,
        difference=difference, nonnegative=True,
    )  # fmt: skip
    many = jax.vmap(lambda penalty: fit(penalty=penalty))(PENALTIES)
    one = jax.tree.map(lambda a: a[0], many)

    def forecasts(samples: jaxcast.LeadSamples) -> Array:
        # Only weights differ: the features are computed once for all penalties.
        with_weights = lambda w, b: dataclasses.replace(one, weights=w, bias=b)(samples.history, samples.given).forecast  # noqa: E731
        return jax.vmap(with_weights)(many.weights, many.bias)

    return forecasts(parts.valid), forecasts(parts.test)


def best_penalty(
    parts: Parts, inputs: jaxcast.LagInputs, expansion: Any, *, each_region: bool = False, difference: bool = False
) -> Array:
    """The test forecasts of the penalty with the lowest validation error at each lead."""
    valid, test = choose(parts, inputs, expansion, 1.0, each_region=each_region, difference=difference)
    best = jnp.argmin(jax.vmap(lambda f: validation_error(f, parts, inputs.std))(valid), 0)
    return jnp.stack([test[b, :, k] for k, b in enumerate(best)], 1)


def validation_error(forecasts: Array, parts: Parts, std: Array) -> Float[Array, " lead"]:
    """The mean squared error at each lead in units of each series' standard deviation, in which no single one rules."""
    squares = parts.valid.weights * ((forecasts - parts.valid.targets) / std) ** 2
    return squares.sum((0, 2)) / parts.valid.weights.sum((0, 2))


def ridge(setup: Setup, parts: Parts, seed: int) -> Array:
    inputs = jaxcast.lag_inputs(parts.train, lags=range(setup.config.window_size))
    return best_penalty(parts, inputs, jaxcast.Identity(), each_region=True)


def polynomial(setup: Setup, parts: Parts, seed: int) -> Array:
    lags = [lag for lag in (0, 1, 2, 4, 8) if lag < setup.config.window_size]
    inputs = jaxcast.lag_inputs(parts.train, lags=lags, mixing=_mixing(setup, "neighbours"))
    return best_penalty(parts, inputs, jaxcast.Monomials(2), difference=True)


def kernel_ridge(setup: Setup, parts: Parts, seed: int) -> Array:
    inputs = jaxcast.lag_inputs(parts.train, lags=range(setup.config.window_size), mixing=_mixing(setup, "neighbours"))
    expansion = jaxcast.random_fourier(
        inputs.num_features, setup.config.num_cosines, bandwidth=0.4, key=jax.random.key(seed)
    )
    return best_penalty(parts, inputs, expansion, difference=True)


def reservoir(setup: Setup, parts: Parts, seed: int) -> Array:
    """A fixed random recurrent layer runs over the window of a region and of its neighbours' mean; ridge regression reads it."""
    num_lags = setup.config.window_size
    inputs = jaxcast.lag_inputs(parts.train, lags=range(num_lags), mixing=_mixing(setup, "neighbours"))
    sizes = {"num_features": inputs.num_features, "num_lags": num_lags, "num_nodes": setup.config.num_nodes}
    expansion = jaxcast.random_echoes(**sizes, key=jax.random.key(seed))
    return best_penalty(parts, inputs, expansion, difference=True)


def average_of_kernels(setup: Setup, parts: Parts, seed: int) -> Array:
    """Kernel ridge regressions with many settings; at each lead the average of those that forecast the validation part best."""
    valid, test, std = many_kernels(setup, parts, seed)
    weights, truth = np.asarray(parts.valid.weights), np.asarray(parts.valid.targets)
    chosen = []
    for k in range(len(setup.config.leads)):
        known = weights[:, k].any(-1)
        members = jaxcast.best_average(valid[:, known, k] / std, truth[known, k] / std, weights[known, k])
        chosen.append(test[members, :, k].mean(0))
    return jnp.stack(chosen, 1)


def many_kernels(setup: Setup, parts: Parts, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forecasts of the validation and the test part by kernel ridge regressions with all settings, and the series' scales."""
    window = setup.config.window_size
    far = parts.train.history.shape[1] - window
    season_lags = {setup.config.season - lead + k for lead in setup.config.leads for k in (-1, 0, 1)} if far else set()
    valid, test = [], []
    for number, setting in enumerate(SETTINGS[: setup.config.num_settings]):
        transform, level, seen, part, difference, num_components = setting
        lags = sorted({*range(max(window // part, 1)), *(lag for lag in season_lags if 0 <= lag < far + window)})
        inputs = jaxcast.lag_inputs(
            parts.train, lags=lags, mixing=_mixing(setup, seen), transform=transform, level=level,
            num_components=num_components,
        )  # fmt: skip
        key = jax.random.fold_in(jax.random.key(seed), number)
        expansion = jaxcast.random_fourier(inputs.num_features, setup.config.num_cosines, bandwidth=1.0, key=key)
        for (bandwidth, linear), power in itertools.product(BANDWIDTHS, (0.5, 1.0)):
            expansion = dataclasses.replace(expansion, bandwidth=jnp.asarray(bandwidth), linear=jnp.asarray(linear))
            forecasts = choose(parts, inputs, expansion, power, each_region=False, difference=difference)
            valid.append(np.asarray(forecasts[0]))
            test.append(np.asarray(forecasts[1]))
    return np.concatenate(valid), np.concatenate(test), np.asarray(inputs.std)


def _mixing(setup: Setup, seen: str) -> np.ndarray:
    adjacency = None if seen == "own" else setup.data.adjacency
    return jaxcast.mixtures(setup.data.values.shape[1], adjacency, everyone=seen == "everyone")


def network(name: str, setup: Setup, parts: Parts, seeds: Sequence[int]) -> tuple[Any, dict[str, Any]]:
    return networks(name, setup.config, parts, seeds)


METHODS = {
    "last_value": Method(one_by_one(partial(naive, jaxcast.LastValue))),
    "mean_of_window": Method(one_by_one(partial(naive, jaxcast.HistoryMean))),
    "drift": Method(one_by_one(partial(naive, jaxcast.Drift))),
    "same_week_of_last_year": Method(one_by_one(seasonal), seen="last_year"),
    "ridge_each_region": Method(one_by_one(ridge)),
    "polynomial": Method(one_by_one(polynomial)),
    "reservoir": Method(one_by_one(reservoir), draws=True),
    "kernel_ridge": Method(one_by_one(kernel_ridge), draws=True),
    **{name: Method(partial(network, name), draws=True) for name in NETWORKS},
    "average_of_kernels": Method(one_by_one(average_of_kernels), draws=True),
    "average_of_kernels_and_calendar": Method(one_by_one(average_of_kernels), draws=True, seen="calendar"),
    "average_of_kernels_and_last_year": Method(one_by_one(average_of_kernels), draws=True, seen="last_year"),
}

"""Averages of the best of many kernel regressions and networks, and the list of all forecasters of `experiments.regions`."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.regions_methods import PLAIN, Method, Parts, Seen, Setup, choose, mixing_of
from experiments.regions_networks import NETWORKS, Trained, networks

KERNELS = ((0.3, 1.0, 0.5), (0.6, 0.3, 1.0), (1.0, 0.0, 0.0), (1.5, 0.3, 0.5))
"""Bandwidths, shares of the features themselves, and powers of the scale in the error that is minimised; every kind
of inputs is tried with every other one."""
INPUTS: tuple[tuple[Any, Any, str, int, bool, int], ...] = (
    ("none", "series", "neighbours", 2, True, 0),
    ("log", "window", "everyone", 1, True, 0),
    ("log", "series", "neighbours", 2, True, 5),
    ("none", "window", "neighbours", 4, True, 0),
    ("sqrt", "series", "everyone", 1, True, 5),
    ("none", "series", "everyone", 4, False, 5),
    ("sqrt", "series", "neighbours", 2, False, 0),
    ("log", "series", "own", 4, True, 0),
)
"""Of kernels: transform, level, which other series, the newest 1/n of the window, difference, principal components."""
SIZES = (10, 20, 40, 80, 160)
"""Of averages."""
NETWORK_SHARE = 1 / 3
"""Of networks beside kernels."""


class Candidates(NamedTuple):
    """Forecasts (candidate, sample, lead, region) of the validation and the test part, learned from the training part; and of
    the test part by the same candidates learned from training and validation part."""

    valid: np.ndarray
    test: np.ndarray
    refitted: np.ndarray


def average(
    kernels: tuple[Seen, ...], with_networks: bool, refitted: bool, setup: Setup, parts: Parts, seeds: Sequence[int]
) -> tuple[np.ndarray, dict[str, Any]]:
    """For each seed the mean of the best kernel regressions of each kind, and, the same for all, of the best networks."""

    def of_seed(seed: int) -> np.ndarray:
        return np.mean([best(kernel_candidates(setup, seen, seed), parts, refitted=refitted) for seen in kernels], 0)

    forecasts = np.stack([of_seed(seed) for seed in seeds])
    if with_networks:
        trained = [network(name, setup, seeds) for name in setup.config.networks]
        valid, test = (np.stack([getattr(one, at).mean(0) for one in trained]) for at in ("valid", "test"))
        ours = best(Candidates(valid, test, test), parts, refitted=False, sizes=(1, 2, 3, 5))
        forecasts = NETWORK_SHARE * ours + (1 - NETWORK_SHARE) * forecasts
    return forecasts, {}


def best(candidates: Candidates, parts: Parts, *, refitted: bool, sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """At each lead the average of those that forecast the validation part best, in units of each series' deviation."""
    std = np.asarray(jaxcast.lag_inputs(parts.train, lags=[0]).std)
    weights, truth = np.asarray(parts.valid.weights), np.asarray(parts.valid.targets)
    sizes = tuple(size for size in sizes if size <= len(candidates.valid)) or (1,)
    chosen = []
    for k in range(truth.shape[1]):
        known = weights[:, k].any(-1)
        members = jaxcast.best_average(
            candidates.valid[:, known, k] / std, truth[known, k] / std, weights[known, k], sizes=sizes
        )
        chosen.append((candidates.refitted if refitted else candidates.test)[members, :, k].mean(0))
    return np.stack(chosen, 1)


def kernel_candidates(setup: Setup, seen: Seen, seed: int) -> Candidates:
    """Kernel ridge regressions with all settings; computed once for all methods."""
    if (seen, seed) not in setup.found:
        setup.found[seen, seed] = _kernel_candidates(setup, seen, setup.by_seen[seen], seed)
    return setup.found[seen, seed]


def _kernel_candidates(setup: Setup, seen: Seen, parts: Parts, seed: int) -> Candidates:
    window, season = setup.config.window_size, setup.config.season
    near = {season - lead + k for lead in setup.config.leads for k in (-1, 0, 1)} if seen == "last_year" else set()
    far = parts.train.history.shape[1]
    found = []
    for number, (transform, level, others, part, difference, num_components) in enumerate(
        INPUTS[: setup.config.num_settings]
    ):
        lags = sorted({*range(max(window // part, 1)), *(lag for lag in near if 0 <= lag < far)})
        see = partial(
            jaxcast.lag_inputs, lags=lags, mixing=mixing_of(setup, others), transform=transform, level=level,
            num_components=num_components,
        )  # fmt: skip
        inputs = see(parts.train), see(parts.known)
        key = jax.random.fold_in(jax.random.key(seed), number)
        waves = jaxcast.random_fourier(inputs[0].num_features, setup.config.num_cosines, bandwidth=1.0, key=key)
        for bandwidth, linear, power in KERNELS[number % 2 :: 2]:
            expansion = dataclasses.replace(waves, bandwidth=jnp.asarray(bandwidth), linear=jnp.asarray(linear))
            (valid, test), (_, again) = (
                choose(parts, learned, seen_of, expansion, power, each_region=False, difference=difference)
                for learned, seen_of in zip((setup.only_training(parts), parts.known), inputs, strict=True)
            )
            found.append([np.asarray(a, np.float32) for a in (valid, test, again)])
    return Candidates(*(np.concatenate(each) for each in zip(*found, strict=True)))


def network(name: str, setup: Setup, seeds: Sequence[int]) -> Trained:
    """Of every seed's network what it forecasts and has learned; trained once for all methods."""
    if (name, *seeds) not in setup.found:
        setup.found[name, *seeds] = networks(name, setup.config, setup.parts, seeds)
    return setup.found[name, *seeds]


def network_row(name: str, setup: Setup, parts: Parts, seeds: Sequence[int]) -> tuple[np.ndarray, dict[str, Any]]:
    trained = network(name, setup, seeds)
    return trained.test, trained.learned


def _averages() -> dict[str, Method]:
    kinds: dict[str, tuple[tuple[Seen, ...], bool]] = {
        "average_of_kernels": (("window",), False),
        "average_of_kernels_and_networks": (("window",), True),
        "average_of_kernels_and_last_year": (("window", "last_year"), False),
    }
    return {
        name + "_refitted" * refitted: Method(
            partial(average, kernels, with_networks, refitted), draws=True, seen=kernels[-1], refitted=refitted,
            with_calendar=kernels[-1] == "last_year",
        )
        for refitted in (False, True)
        for name, (kernels, with_networks) in kinds.items()
    }  # fmt: skip


METHODS = {**PLAIN, **{name: Method(partial(network_row, name), draws=True) for name in NETWORKS}, **_averages()}

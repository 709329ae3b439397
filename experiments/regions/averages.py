"""Averages of kernel regressions and networks, and all methods of `experiments.regions`."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.regions.methods import PLAIN, Method, Parts, Seen, Setup, by_penalty, weights_of
from experiments.regions.networks import NETWORKS, Trained, networks

KERNELS = ((0.3, 1.0, 0.5), (0.6, 0.3, 1.0), (1.0, 0.0, 0.0), (1.5, 0.3, 0.5))
"""Bandwidth, factor of the features themselves, and error_weighting; every kind of inputs is tried
with every second one."""
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
"""Transform, level, other series that are seen, newest 1/n of the window, predict_change, principal
components."""
SIZES = (10, 20, 40, 80, 160)
"""Sizes of averages."""
Kernels = Literal["window", "recursive", "last_year"]
"""Regressions that see the published window and learn each horizon directly; that learn one step
and run in closed loop; that see the season before too."""
NetworkShare = Literal["a_third", "by_validation"]
"""Share of networks beside kernels: a third, or at each horizon what forecasts the validation part
best."""
NETWORK_SHARES = np.arange(6) / 6
NUM_BLOCKS = 3
"""Blocks of the validation part, each forecast by what the others choose."""


class Candidates(NamedTuple):
    """Forecasts of candidates, (candidate, sample, lead, region).

    Args:
        valid: of the validation part, learned from the training part.
        test: of the test part, learned from the training part.
        refitted: of the test part, learned from training and validation part.
    """

    valid: np.ndarray
    test: np.ndarray
    refitted: np.ndarray


def average(
    kernels: tuple[Kernels, ...],
    with_networks: NetworkShare | None,
    refitted: bool,
    setup: Setup,
    parts: Parts,
    seeds: Sequence[int],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Averages the best kernel regressions of each kind and, if wanted, the best networks.

    Args:
        kernels: kinds of kernel regressions.
        with_networks: the share of networks; None for none.
        refitted: whether candidates are refitted with the validation part.
        setup: with the data.
        parts: with the windows.
        seeds: of all that is drawn.

    Returns:
        The forecasts of each seed, and the shares of networks.
    """
    own = [[kernel_candidates(setup, kind, seed) for kind in kernels] for seed in seeds]
    forecasts = [np.mean([best(one, parts, refitted=refitted) for one in kinds], 0) for kinds in own]
    if with_networks is None:
        return np.stack(forecasts), {}
    trained = [network(name, setup, seeds) for name in setup.config.networks]
    ours = Candidates(*(np.stack([getattr(one, at).mean(0) for one in trained]) for at in Candidates._fields))
    num_leads = len(setup.config.leads)
    shares = [
        np.full(num_leads, 1 / 3) if with_networks == "a_third" else network_shares(kinds, ours, parts) for kinds in own
    ]
    of_networks = best(ours, parts, refitted=refitted)
    mixed = [
        (1 - share[:, None]) * forecast + share[:, None] * of_networks
        for forecast, share in zip(forecasts, shares, strict=True)
    ]
    return np.stack(mixed), {"network_shares": np.stack(shares)}


def best(candidates: Candidates, parts: Parts, *, refitted: bool) -> np.ndarray:
    """Averages, at each lead, the candidates that forecast the validation part best.

    Args:
        candidates: to choose from.
        parts: with the validation part.
        refitted: whether the refitted forecasts are averaged.
    """
    made = candidates.refitted if refitted else candidates.test
    return np.stack([made[_chosen(candidates, parts, k, rows), :, k].mean(0) for k, rows in _known(parts)], 1)


def network_shares(kernels: Sequence[Candidates], ours: Candidates, parts: Parts) -> np.ndarray:
    """Chooses the share of the best networks beside the best kernels at each lead.

    It is the share with the smallest error over all blocks of the validation part, each forecast by
    what the other blocks choose.

    Args:
        kernels: candidates of each kind.
        ours: candidates of networks.
        parts: with the validation part.
    """
    std, weights, truth = _std(parts), np.asarray(parts.valid.weights), np.asarray(parts.valid.targets)
    shares = []
    for k, rows in _known(parts):
        errors = np.zeros(len(NETWORK_SHARES))
        for block in np.array_split(rows, NUM_BLOCKS):
            others = np.setdiff1d(rows, block)
            *kinds, of_networks = (c.valid[_chosen(c, parts, k, others)][:, block, k].mean(0) for c in (*kernels, ours))
            for n, share in enumerate(NETWORK_SHARES):
                miss = ((1 - share) * np.mean(kinds, 0) + share * of_networks - truth[block, k]) / std
                errors[n] += (weights[block, k] * miss**2).sum()
        shares.append(NETWORK_SHARES[np.argmin(errors)])
    return np.asarray(shares)


def _chosen(candidates: Candidates, parts: Parts, k: int, rows: np.ndarray) -> np.ndarray:
    """Returns the candidates to average at a lead, by some rows of the validation part."""
    weights, std = np.asarray(parts.valid.weights)[rows, k], _std(parts)
    truth = np.asarray(parts.valid.targets)[rows, k] / std
    sizes = SIZES if len(candidates.valid) >= SIZES[0] else tuple(range(1, len(candidates.valid) + 1))
    return jaxcast.training.select_average(candidates.valid[:, rows, k] / std, truth, weights, sizes=sizes)


def _known(parts: Parts) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each lead's number and the samples of the validation part with a target there."""
    is_known = np.asarray(jnp.any(parts.valid.weights > 0, -1))
    return ((k, np.flatnonzero(is_known[:, k])) for k in range(is_known.shape[1]))


def _std(parts: Parts) -> np.ndarray:
    return np.asarray(jaxcast.series.lag_inputs(parts.train, lags=[0]).std)


def kernel_candidates(setup: Setup, kind: Kernels, seed: int) -> Candidates:
    """Fits kernel ridge regressions with all settings, once for all methods."""
    if (kind, seed) not in setup.found:
        seen: Seen = "last_year" if kind == "last_year" else "window"
        setup.found[kind, seed] = _kernel_candidates(setup, kind, setup.by_seen[seen], seed)
    return setup.found[kind, seed]


def _kernel_candidates(setup: Setup, kind: Kernels, parts: Parts, seed: int) -> Candidates:
    window, season, leads = setup.config.history_size, setup.config.season, setup.config.leads
    near = {season - lead + k for lead in leads for k in (-1, 0, 1)} if kind == "last_year" else set()
    far = parts.train.history.shape[1]
    known = setup.one_step_ahead() if kind == "recursive" else parts.known
    ask: Any = partial(by_penalty, parts, leads=leads if kind == "recursive" else ())
    found = []
    for number, (transform, level, others, part, predict_change, num_components) in enumerate(
        INPUTS[: setup.config.num_settings]
    ):
        lags = sorted({*range(max(window // part, 1)), *(lag for lag in near if 0 <= lag < far)})
        see = partial(
            jaxcast.series.lag_inputs,
            lags=lags,
            neighbour_weights=weights_of(setup, others),
            transform=transform,
            level=level,
            centred=False,
            num_components=num_components,
        )
        inputs = see(parts.train), see(parts.known)
        key = jax.random.fold_in(jax.random.key(seed), number)
        waves = jaxcast.series.random_fourier_features(
            inputs[0].num_features, setup.config.num_cosines, bandwidth=1.0, key=key
        )
        for bandwidth, linear, power in KERNELS[number % 2 :: 2]:
            expansion = dataclasses.replace(waves, bandwidth=jnp.asarray(bandwidth), linear=jnp.asarray(linear))
            (valid, test), (_, again) = (
                ask(learned, seen_of, expansion, power, predict_change=predict_change)
                for learned, seen_of in zip((setup.only_training(known), known), inputs, strict=True)
            )
            found.append([np.asarray(a, np.float32) for a in (valid, test, again)])
    return Candidates(*(np.concatenate(each) for each in zip(*found, strict=True)))


def network(name: str, setup: Setup, seeds: Sequence[int]) -> Trained:
    """Trains the networks of all seeds, once for all methods."""
    if (name, *seeds) not in setup.found:
        setup.found[name, *seeds] = networks(name, setup.config, setup.parts, seeds)
    return setup.found[name, *seeds]


def network_row(name: str, setup: Setup, parts: Parts, seeds: Sequence[int]) -> tuple[np.ndarray, dict[str, Any]]:
    trained = network(name, setup, seeds)
    return trained.test, trained.learned


def _averages() -> dict[str, Method]:
    kinds: dict[str, tuple[tuple[Kernels, ...], NetworkShare | None]] = {
        "average_of_kernels": (("window",), None),
        "average_of_kernels_and_networks": (("window",), "a_third"),
        "average_of_kernels_both_ways": (("window", "recursive"), None),
        "kernels_both_ways_and_networks": (("window", "recursive"), "by_validation"),
        "average_of_kernels_and_last_year": (("window", "last_year"), None),
    }
    return {
        name + "_refitted" * refitted: Method(
            partial(average, kernels, with_networks, refitted),
            draws=True,
            refitted=refitted,
            seen="last_year" if "last_year" in kernels else "window",
            with_calendar="last_year" in kernels,
        )
        for refitted in (False, True)
        for name, (kernels, with_networks) in kinds.items()
    }


METHODS = {**PLAIN, **{name: Method(partial(network_row, name), draws=True) for name in NETWORKS}, **_averages()}

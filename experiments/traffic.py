"""Speeds on the roads of Los Angeles: 207 sensors, up to an hour ahead, in the protocol of T-GCN."""

import dataclasses
import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxcast
from experiments import rows
from experiments.frame import open_folder, start
from experiments.regions_methods import Parts, choose
from experiments.traffic_pictures import errors
from jaxcast import InputError
from jaxcast.cli.entry import make_console


@dataclasses.dataclass(frozen=True)
class Config:
    """Forecast the speed at every sensor from the last hour, and compare errors over all sensors with published ones."""

    preset: Literal["smoke", "quick", "paper"] = "quick"
    """smoke: for tests, on made series; quick: 15 minutes ahead; paper: 15, 30, 45 and 60 minutes ahead."""
    data: Path | None = None
    """The folder of los_speed.csv.gz and los_adj.csv.gz."""
    out: Path | None = None
    """Folder for config.json, results.json and the pictures; by default runs/traffic- and the preset's name."""
    overwrite: bool = False
    """Start afresh where the folder holds a run with other settings."""
    seed: int = 0
    """Of random features."""
    num_seeds: int = 1
    """Repetitions of what draws anything; the table shows medians."""
    horizons: tuple[int, ...] = (3,)
    """Forecasts of 1 to so many steps of five minutes; errors are over all of them, as published."""
    num_cosines: int = 300
    """Random features of each kernel ridge regression."""
    every: int = 4
    """Regressions for all sensors together learn from every so many windows."""


PRESETS = {
    "smoke": Config(preset="smoke", horizons=(2,), num_cosines=10, every=2),
    "quick": Config(),
    "paper": Config(preset="paper", horizons=(3, 6, 9, 12), num_seeds=5),
}
WINDOW = 12
TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.2
# (RMSE, MAE) by horizon; T-GCN's first is checked against its stored forecasts, the others are the paper's as remembered.
PUBLISHED = {
    "T-GCN": {3: (5.1264, 3.1802), 6: (6.0598, 3.7466), 9: (6.7065, 4.1158), 12: (7.2677, 4.6021)},
    "GRU": {3: (5.2182, 3.0602), 6: (6.2802, 3.6505), 9: (7.0343, 4.0915), 12: (7.6621, 4.5186)},
}
EACH = ("own", "neighbours", "nearest_4", "nearest_10")
POOLED = tuple(itertools.product(("neighbours", "nearest_4"), ((0.3, 1.0), (0.8, 0.3), (1.5, 0.3))))
"""Kernels for all sensors together: what is seen, and bandwidth with the share of the features themselves."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """early: learns from the first part of the training rows and is judged on the rest. whole: learns from all of them."""

    config: Config
    adjacency: np.ndarray
    early: Parts
    whole: Parts
    num_test: int

    @classmethod
    def of(cls, speeds: np.ndarray, adjacency: np.ndarray, config: Config) -> "Setup":
        end = int(TRAIN_SHARE * len(speeds))
        middle = int((1 - VALIDATION_SHARE) * end)
        cut = partial(jaxcast.lead_samples, window_size=WINDOW, leads=tuple(range(1, max(config.horizons) + 1)))
        train, first, last = (cut(speeds[a:b]) for a, b in ((0, end), (0, middle), (middle, end)))
        # As published, windows lie inside of the test rows.
        test = cut(speeds[end:])
        return cls(config, adjacency, Parts(first, last, test), Parts(train, last, test), len(speeds) - end)


Forecasts = tuple[np.ndarray, np.ndarray]


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    setup = Setup.of(*_read(config), config)
    folder = open_folder(config, f"runs/traffic-{config.preset}")
    methods: dict[str, tuple[Callable[[Setup, int], Array], bool]] = {
        "last_value": (_last_value, False),
        **{f"ridge_{seen}": (partial(_best_ridge, seen), False) for seen in EACH},
        "average_of_the_best": (_average, True),
    }
    results: list[dict[str, Any]] = []
    for name, (forecast, draws) in methods.items():

        def compute(_: Path, forecast: Any = forecast, draws: bool = draws) -> dict[str, np.ndarray]:
            seeds = range(config.seed, config.seed + (config.num_seeds if draws else 1))
            return _scores([np.asarray(forecast(setup, seed)) for seed in seeds], setup)

        arrays = folder.stage(name, compute)
        results += rows.make_rows(name, config.horizons, arrays)
        console.print(
            f"{name}: RMSE {np.median(arrays['rmse'], 0)}, MAE {np.median(arrays['mae'], 0)}", highlight=False
        )
    for name, by_horizon in PUBLISHED.items():
        table = {horizon: by_horizon[horizon] for horizon in config.horizons if horizon in by_horizon}
        results += [
            row | {"published_mae": table[row["horizon"]][1]}
            for row in rows.published_rows(name, {horizon: pair[0] for horizon, pair in table.items()})
        ]
    folder.write_json("results.json", {"rows": results})
    folder.save_figure("errors.png", errors(results))
    console.print(rows.table(results, "RMSE (miles per hour) over all steps up to h", ".4g"))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _scores(forecasts: list[np.ndarray], setup: Setup) -> dict[str, np.ndarray]:
    """Over the published windows of each horizon and all its steps: (seed, horizon)."""
    truth = np.asarray(setup.whole.test.targets)
    scores: dict[str, list[list[float]]] = {"rmse": [], "mae": [], "pcc": []}
    num_rows = setup.num_test
    for forecast in forecasts:
        for values in scores.values():
            values.append([])
        for horizon in setup.config.horizons:
            own = slice(0, num_rows - WINDOW - horizon)
            off = (forecast - truth)[own, :horizon]
            pair = np.corrcoef(forecast[own, :horizon].ravel(), truth[own, :horizon].ravel())
            for name, value in (("rmse", np.sqrt((off**2).mean())), ("mae", np.abs(off).mean()), ("pcc", pair[0, 1])):
                scores[name][-1].append(float(value))
    return {name: np.asarray(values) for name, values in scores.items()}


def _last_value(setup: Setup, seed: int) -> Array:
    leads = tuple(range(1, max(setup.config.horizons) + 1))
    return jaxcast.LastValue(leads)(setup.whole.test.history).forecast


def _mixing(setup: Setup, seen: str) -> np.ndarray:
    num_sensors = len(setup.adjacency)
    kind, _, number = seen.partition("_")
    if kind == "own":
        return jaxcast.mixtures(num_sensors)
    return jaxcast.mixtures(num_sensors, setup.adjacency, nearest=min(int(number or 0), num_sensors - 1))


def _ridge(seen: str, setup: Setup) -> Forecasts:
    """Of the validation part, learned from what is before it, and of the test part, learned from all: every penalty."""
    valid, test = [
        choose(
            parts, jaxcast.lag_inputs(parts.train, lags=range(WINDOW), mixing=_mixing(setup, seen)), jaxcast.Identity(),
            0.0, each_region=True, difference=True,
        )[which]
        for which, parts in enumerate((setup.early, setup.whole))
    ]  # fmt: skip
    return np.asarray(valid), np.asarray(test)


def _best_ridge(seen: str, setup: Setup, seed: int) -> Array:
    valid, test = _ridge(seen, setup)
    known = np.asarray(setup.early.valid.weights)
    squares = (known * (valid - np.asarray(setup.early.valid.targets)) ** 2).sum((1, 3))
    best = squares.argmin(0)
    return jnp.stack([test[b, :, k] for k, b in enumerate(best)], 1)


def _kernel(seen: str, width: tuple[float, float], setup: Setup, key: Any) -> Forecasts:
    def run(parts: Parts, which: int) -> np.ndarray:
        rare = jax.tree.map(lambda a: a[:: setup.config.every], parts.train)
        inputs = jaxcast.lag_inputs(rare, lags=(0, 1, 2, 3, 5, 8, 11), mixing=_mixing(setup, seen))
        expansion = jaxcast.random_fourier(
            inputs.num_features, setup.config.num_cosines, bandwidth=width[0], linear=width[1], key=key
        )
        return np.asarray(
            choose(parts._replace(train=rare), inputs, expansion, 1.0, each_region=False, difference=True)[which]
        )

    return run(setup.early, 0), run(setup.whole, 1)


def _average(setup: Setup, seed: int) -> Array:
    """At each lead the average of those regressions that forecast the validation part best."""
    many = [_ridge(seen, setup) for seen in EACH]
    many += [
        _kernel(seen, width, setup, jax.random.fold_in(jax.random.key(seed), number))
        for number, (seen, width) in enumerate(POOLED)
    ]
    valid, test = (np.concatenate(parts) for parts in zip(*many, strict=True))
    truth, known = np.asarray(setup.early.valid.targets), np.asarray(setup.early.valid.weights)
    chosen = [jaxcast.best_average(valid[:, :, k], truth[:, k], known[:, k]) for k in range(truth.shape[1])]
    return jnp.stack([test[members, :, k].mean(0) for k, members in enumerate(chosen)], 1)


def _read(config: Config) -> tuple[np.ndarray, np.ndarray]:
    if config.data is None:
        if config.preset != "smoke":
            raise InputError("give --data the folder of los_speed.csv.gz, such as ../shared/data/los_loop")
        speeds = 50 + 10 * np.sin(0.1 * np.arange(200)[:, None] + np.arange(5))
        return speeds + np.random.default_rng(config.seed).normal(size=speeds.shape), np.ones((5, 5))
    try:
        speeds = np.loadtxt(config.data / "los_speed.csv.gz", delimiter=",", skiprows=1)
        return speeds, np.loadtxt(config.data / "los_adj.csv.gz", delimiter=",")
    except (OSError, ValueError) as error:
        raise InputError(f"{config.data} holds no tables los_speed.csv.gz and los_adj.csv.gz ({error})") from None


if __name__ == "__main__":
    start(main, Config, PRESETS)

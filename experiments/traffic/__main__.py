"""Forecasts of traffic speeds in Los Angeles, in the protocol of T-GCN (Zhao et al., 2019)."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group

from experiments import rows
from experiments.frame import Settings, check_settings, open_folder, start, with_data
from experiments.traffic import pictures as traffic_pictures
from experiments.traffic.methods import DAY, METHODS, Method, Setup
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Forecast the speed at every sensor from the last hour, and compare errors with published ones.
    Presets: smoke, generated series; quick, 15 minutes ahead; paper, 15, 30, 45 and 60 minutes."""

    data: Path | None = None
    """Folder of los_speed.csv and los_adj.csv, gzipped or not. By default los_loop in the folder
    that JAXCAST_DATA names, or in shared/data beside the checkout."""
    num_seeds: int = 1
    """Repetitions of every method that draws anything; the table shows medians."""
    horizons: tuple[int, ...] = (3,)
    """Steps of five minutes; errors are over all steps up to each horizon, as published."""
    train_share: float = 0.8
    """Share of the rows in the training part; the rest is the test part."""
    validation_share: float = 0.2
    """Share of the training rows that chooses penalties and members of averages, which are then
    refitted on all."""
    weekend: tuple[int, ...] = (2, 3)
    """Days of the table that are not working days; it begins on a Thursday."""
    num_nearest: int = 4
    """Nearest sensors whose speeds a regression sees."""
    num_cosines: int = 800
    """Random features of each kernel ridge regression."""
    bandwidths: tuple[float, ...] = (1.0, 0.6)
    """Bandwidths of the kernels in averages; the first is that of the single kernel."""
    every: int = 3
    """Kernels learn from every n-th window."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to run."""


PRESETS = {
    "smoke": Config(preset="smoke", horizons=(2, 3), num_cosines=10, num_nearest=2),
    "quick": Config(),
    "paper": Config(preset="paper", horizons=(3, 6, 9, 12)),
}
# (RMSE, MAE) by horizon, of the authors' stored forecasts; their other numbers are unverified.
PUBLISHED = {"T-GCN": {3: (5.1264, 3.1802)}}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config, may_be_zero=("weekend",))
    check_names("method", config.methods, METHODS)
    config = with_data(config, "los_loop", "experiments/traffic/README.md")
    setup = Setup.of(*(_made(config) if config.data is None else _read(config.data)), config)
    folder = open_folder(
        config,
        f"runs/traffic-{config.preset}",
        ("errors.png", "forecasts.png"),
        leave_out=("out", "overwrite", "data", "methods"),
    )
    results: list[dict[str, Any]] = []
    forecasts: dict[str, np.ndarray] = {}
    for name in (name for name in METHODS if name in config.methods):  # naive ones first

        def compute(_: Path, method: Method = METHODS[name]) -> dict[str, np.ndarray]:
            return score(method, setup)

        arrays = folder.stage(name, compute)
        results += rows.make_rows(name, config.horizons, arrays, sees=METHODS[name].sees)
        forecasts[name] = arrays["forecast"]
        console.print(f"{name.replace('_', ' ')}: {np.round(np.median(arrays['rmse'], 0), 3)}", highlight=False)
    results += _published(config) if config.preset != "smoke" else []
    folder.write_json("results.json", {"rows": results, "errors": where_errors_sit(forecasts, setup)})
    folder.save_figure("errors.png", traffic_pictures.errors(results))
    folder.save_figure("forecasts.png", traffic_pictures.forecasts(forecasts, setup))
    table = rows.table(results, "RMSE (miles per hour) over all steps up to h", ".4g")
    console.print(Group(table, rows.table(results, "MAE", ".4g", of="mae")))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _published(config: Config) -> list[dict[str, Any]]:
    found = []
    for name, by_horizon in PUBLISHED.items():
        known = {horizon: by_horizon[horizon] for horizon in config.horizons if horizon in by_horizon}
        one = rows.published_rows(name, {horizon: pair[0] for horizon, pair in known.items()})
        found += [row | {"published_mae": known[row["horizon"]][1]} for row in one]
    return found


def score(method: Method, setup: Setup) -> dict[str, np.ndarray]:
    """Scores a method over the published windows and all steps of each horizon, (seed, horizon)."""
    truth, horizons = setup.targets(setup.whole.asked), setup.config.horizons
    seeds = range(setup.config.seed, setup.config.seed + (setup.config.num_seeds if method.draws else 1))
    forecasts = [method.forecast(setup, seed) for seed in seeds]
    scores: dict[str, list[list[float]]] = {"rmse": [], "mae": [], "pcc": []}
    for forecast in forecasts:
        cut = [(forecast[:n, :h], truth[:n, :h]) for h in horizons for n in (len(truth) - h + min(horizons),)]
        scores["rmse"].append([float(np.sqrt(((a - b) ** 2).mean())) for a, b in cut])
        scores["mae"].append([float(np.abs(a - b).mean()) for a, b in cut])
        scores["pcc"].append([float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in cut])
    return {name: np.asarray(values) for name, values in scores.items()} | {"forecast": forecasts[0].astype(np.float32)}


def where_errors_sit(forecasts: dict[str, np.ndarray], setup: Setup) -> dict[str, Any]:
    """Returns the sensors and hours with the largest shares of each method's squared error."""
    horizon = min(setup.config.horizons)
    rows_of_targets = setup.whole.asked[:, None] + setup.leads[:horizon]
    hours = rows_of_targets % DAY // 12
    shares = {}
    for name, forecast in forecasts.items():
        squares = (forecast[:, :horizon] - setup.targets(setup.whole.asked)[:, :horizon]) ** 2
        by_sensor = squares.sum((0, 1)) / squares.sum()
        by_hour = np.bincount(hours.ravel(), squares.sum(-1).ravel(), 24) / squares.sum()
        shares[name] = {
            part: {str(n): round(float(values[n]), 3) for n in np.argsort(-values)[:count]}
            for part, values, count in (("sensors", by_sensor, 5), ("hours", by_hour, 6))
        }
    return shares


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    files = [file for name in ("los_speed", "los_adj") for file in sorted(folder.glob(f"{name}.csv*"))[:1]]
    if len(files) < 2:
        raise InputError(f"expected los_speed.csv and los_adj.csv, or both gzipped, in {folder}")
    try:
        speeds = np.loadtxt(files[0], delimiter=",", skiprows=1, ndmin=2)
        adjacency = np.loadtxt(files[1], delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{folder} holds no tables of numbers los_speed.csv and los_adj.csv ({first})") from None
    if adjacency.shape != (speeds.shape[1],) * 2:
        raise InputError(f"los_adj.csv is for {adjacency.shape} sensors, los_speed.csv has {speeds.shape[1]}")
    return speeds, adjacency


def _made(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Makes five roads for five days, for tests of the experiment itself."""
    phase = 2 * np.pi * np.arange(5 * DAY)[:, None] / DAY + 0.2 * np.arange(5)
    return 50 + 10 * np.sin(phase) + np.random.default_rng(config.seed).normal(size=phase.shape), np.ones((5, 5))


if __name__ == "__main__":
    start(main, Config, PRESETS)

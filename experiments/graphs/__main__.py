"""Forecasts of charging piles, speeds, pedestrians, bicycles, taxis, or of counts in any folder."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group

from experiments.datasets import find_folder
from experiments.frame import Settings, check_settings, open_folder, start
from experiments.graphs import pictures as graph_pictures
from experiments.graphs.data import PAGE, READERS, Problem, make_counts, read_counts, read_set
from experiments.graphs.methods import METHODS, Arrays, Method
from experiments.graphs.networks import RECIPES
from experiments.graphs.scoring import compare, make_rows, published_rows, table, where_errors_sit
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.io.run_folder import RunFolder
from jaxcast.pytrees import fingerprint


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Forecast series on graphs by plain methods, published networks and our own; compare errors.
    Presets: smoke, generated counts; quick, one data set; paper, all of them with five seeds."""

    data: Path | None = None
    """Folder with one .npz of counts (time, node), and where known latitude, longitude and
    graph_NAME (node, node), which is forecast instead of the data sets."""
    slots_per_day: int = 24
    """Steps of a day of --data."""
    train_share: float = 0.9
    """Share of the steps of --data in the training part, of which the last tenth validates."""
    leads: int = 1
    """Steps ahead of --data: from 1 to this number."""
    sets: tuple[str, ...] = ("pedestrians_melbourne",)
    """Data sets, where there is no --data."""
    num_seeds: int = 1
    """Networks of our own forecaster."""
    num_network_seeds: int = 1
    """Repetitions of ST-MGCN."""
    num_slow_seeds: int = 1
    """Repetitions of D2STGNN, of which one takes a quarter of an hour."""
    num_rival_seeds: int = 1
    """Repetitions of the other networks."""
    num_epochs: tuple[int, ...] = (3, 6, 12)
    """Passes over the data of our own networks, to choose from on the validation part."""
    num_network_epochs: int = 20
    """Most passes of the published networks; their own numbers are in networks.py."""
    methods: tuple[str, ...] = tuple(name for name in METHODS if name not in RECIPES)
    """Methods to run."""
    counts: str = ""
    """Fingerprint of the counts of --data, for the record; the run finds it."""


PRESETS = {
    "smoke": Config(preset="smoke", num_epochs=(1,), num_network_epochs=1, methods=tuple(METHODS)),
    "quick": Config(),
    "paper": Config(
        preset="paper", sets=tuple(READERS), num_seeds=5, num_network_seeds=5, num_slow_seeds=5, methods=tuple(METHODS)
    ),
}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config)
    check_names("method", config.methods, METHODS)
    check_names("data set", config.sets, READERS)
    if config.data is not None:
        config = dataclasses.replace(config, data=find_folder(config.data, "ev_beijing", PAGE))
    each, label = problems(config), str(config.preset)
    if config.data is not None:
        own = next(each)
        each, label = iter([own]), f"{own.name}-{config.preset}"
        config = dataclasses.replace(config, counts=fingerprint((own.values, own.graphs, own.places, own.weather)))
    pictures = ("errors.png", "forecasts.png", "graph.png")
    folder = open_folder(config, f"runs/graphs-{label}", pictures, leave_out=("out", "overwrite", "data", "methods"))
    results: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    places: dict[str, Any] = {}
    shown: dict[str, dict[str, Arrays]] = {}
    for problem in each:
        for note in problem.notes:
            console.print(note, highlight=False)
        found, rows = _run_methods(problem, config, folder, console)
        if not found:
            raise InputError(
                f"none of --methods forecasts {problem.name}: networks on grids need cells, and --sets "
                "have networks of their own"
            )
        results += rows + published_rows(problem)
        comparisons += compare(problem, {name: [one["forecast"] for one in stages] for name, stages in found.items()})
        places[problem.name] = where_errors_sit(problem, {name: one[0]["forecast"] for name, one in found.items()})
        shown[problem.name] = {name: one[-1] for name, one in found.items()}
        last = problem
    folder.write_json("results.json", {"rows": results, "comparisons": comparisons, "errors": places})
    folder.save_figure("errors.png", graph_pictures.errors(results))
    folder.save_figure("forecasts.png", graph_pictures.forecasts(shown[last.name], last))
    folder.save_figure("graph.png", graph_pictures.graph(shown, last))
    tables = [table(results, name) for name in dict.fromkeys(row["data"] for row in results)]
    console.print(Group(*tables))
    if config.data is not None and not {*config.methods} & {*RECIPES}:
        console.print(
            f"published networks, which take minutes: --methods {' '.join(map(repr, RECIPES))}", highlight=False
        )
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _run_methods(
    problem: Problem, config: Config, folder: RunFolder, console: Any
) -> tuple[dict[str, list[Arrays]], list[dict[str, Any]]]:
    """Returns what each method found on one data set, seed by seed, and its rows of the table."""
    found: dict[str, list[Arrays]] = {}
    results: list[dict[str, Any]] = []
    for name, method in METHODS.items():
        is_for_others = method.on is not None and config.data is None and problem.name not in method.on
        if name not in config.methods or is_for_others:
            continue
        stages = []
        for seed in range(config.seed, config.seed + _num_seeds(method, config)):

            def compute(_: Path, method: Method = method, seed: int = seed) -> Arrays:
                return {key: np.asarray(a) for key, a in method.forecast(problem, seed, config).items()}

            stages.append(folder.stage(f"{problem.name} {name} {seed}".replace(" ", "_").replace(",", ""), compute))
        if "forecast" in stages[0]:
            found[name] = stages
            rows = make_rows(name, problem, [stage["forecast"] for stage in stages])
            results += rows
            console.print(
                f"{problem.name}, {name}: RMSE {rows[0]['rmse']:.4g}, MAE {rows[0]['mae']:.4g}", highlight=False
            )
    return found, results


def _num_seeds(method: Method, config: Config) -> int:
    kinds = {
        "plain": 1,
        "own": config.num_seeds,
        "network": config.num_network_seeds,
        "slow": config.num_slow_seeds,
        "rival": config.num_rival_seeds,
    }
    return kinds[method.kind]


def problems(config: Config) -> Iterator[Problem]:
    """Yields the data sets one after the other."""
    if config.data is not None:
        yield read_counts(
            config.data, slots_per_day=config.slots_per_day, train_share=config.train_share, num_leads=config.leads
        )
    elif config.preset == "smoke":
        yield make_counts(config.seed)
    else:
        for name in config.sets:
            yield read_set(name)


if __name__ == "__main__":
    start(main, Config, PRESETS)

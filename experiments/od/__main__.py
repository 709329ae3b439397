"""Forecasts of trips between zones: on one folder, or learned from one and tested on another."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.datasets import find_folder
from experiments.frame import Settings, check_settings, open_folder, start, with_data
from experiments.od import pictures, scores
from experiments.od.data import Setup, made_trips, read_trips
from experiments.od.methods import METHODS, Forecasts, members, num_seeds_of
from experiments.od.networks import NETWORKS
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.pytrees import fingerprint

PAGE = "experiments/od/README.md"
PLAIN = tuple(name for name in METHODS if name not in NETWORKS)


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Forecast the trips between all zones of a folder with plain methods, networks and our models.
    Presets: smoke, generated trips; quick, all without networks; paper, all, five seeds."""

    data: Path | None = None
    """Folder with one .npz of trips, `od` (time, origin, destination), and perhaps a .csv of
    adjacency. By default nyc_taxi_od in the folder that JAXCAST_DATA names, or in shared/data
    beside the checkout."""
    train: Path | None = None
    """Folder of other trips between the same zones to learn from; all of `data` but its first week
    is then tested."""
    slots_per_day: int | None = None
    """Rows of a day of `data` and `train`; by default 48, half hours, or those of known data."""
    methods: tuple[str, ...] = PLAIN
    """Methods to run."""
    num_factors: int = 64
    """Factors of our models."""
    hidden_size: int = 32
    """Hidden units of OD-CED and STGCN."""
    num_seeds: int = 1
    """OD-CEDs and averages; the table shows medians over them."""
    num_network_seeds: int = 1
    """Networks of each kind but OD-CED and MRSTN; where they are fewer, no average has them."""
    num_slow_seeds: int = 1
    """MRSTNs, of which one takes minutes."""
    num_optimizer_steps: int = 500
    """Steps of the optimizer of each network, which keeps its best epoch on the validation part."""
    batch_size: int = 32
    """Windows of a minibatch."""
    learning_rate: float = 2e-3
    """Adam's learning rate, which falls to zero along a half cosine."""
    trips: str = ""
    """Fingerprint of the trips, for the record; the run finds it."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        methods=(*(name for name in METHODS if name not in NETWORKS), "od_ced"),
        num_factors=4,
        hidden_size=4,
        num_optimizer_steps=6,
    ),
    "quick": Config(),
    "paper": Config(preset="paper", methods=tuple(METHODS), num_seeds=5, num_network_seeds=5),
}


class Run:
    """One run: the methods, their forecasts by seed, and what was scored.

    Args:
        folder: of the results.
        setup: the data.
    """

    def __init__(self, folder: Any, setup: Setup):
        self.folder, self.setup = folder, setup

    def found(self, name: str, seed: int) -> Forecasts:
        """Returns the forecasts of a method, from the folder where they are finished.

        Args:
            name: of the method.
            seed: for methods that draw.
        """
        method = METHODS[name]

        def compute(_: Path) -> dict[str, np.ndarray]:
            return dict(method.forecast(self.setup, seed, self.found))

        arrays: Forecasts = self.folder.stage(self.stage(name, seed), compute)
        return arrays

    def stage(self, name: str, seed: int) -> str:
        """Returns the name of a method's stage; an average has one for each set of members."""
        parts = [name, *[str(seed)] * METHODS[name].draws, *(members(self.setup) if name == "average" else ())]
        return "-".join(parts)

    def scores(self, name: str, seed: int) -> dict[str, dict[str, np.ndarray]]:
        """Returns the scores of both forms of a method's forecasts.

        Args:
            name: of the method.
            seed: for methods that draw.
        """

        def compute(_: Path) -> dict[str, np.ndarray]:
            arrays = self.found(name, seed)
            forms = scores.both_forms(self.setup, arrays["valid"], arrays["test"])
            each = {form: scores.scored(self.setup, forecast) for form, forecast in forms.items()}
            return {f"{form}_{key}": values for form, found in each.items() for key, values in found.items()}

        flat = self.folder.stage(f"{self.stage(name, seed)}-scores", compute)
        return {
            form: {key.removeprefix(f"{form}_"): values for key, values in flat.items() if key.startswith(form)}
            for form in scores.FORMS
        }

    def seeds(self, name: str) -> list[int]:
        """Returns the seeds of a method."""
        first = self.setup.config.seed
        return list(range(first, first + num_seeds_of(name, self.setup.config)))


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config)
    check_names("method", config.methods, METHODS)
    config = with_data(config, "nyc_taxi_od", PAGE)
    trips = made_trips(config.seed) if config.data is None else read_trips(config.data, config.slots_per_day)
    other = (
        None
        if config.train is None
        else read_trips(find_folder(config.train, "nyc_taxi_od", PAGE), config.slots_per_day)
    )
    setup = Setup.of(config, trips, other)
    asked = _methods_of(setup)
    config = dataclasses.replace(config, trips=fingerprint(setup.values))
    folder = open_folder(
        config,
        f"runs/od-{trips.name}-{config.preset}",
        ("errors.png", "week.png", "clusters.png"),
        leave_out=("out", "overwrite", "data", "train", "methods"),
    )
    for note in (*trips.notes, *(() if other is None else other.notes)):
        console.print(note, highlight=False)
    results, first = _run_methods(Run(folder, setup), asked, console)
    results += scores.published_rows(setup)
    record = {
        "rows": results,
        "num_windows": len(setup.truths["test"]),
        "errors": {name: scores.where_errors_sit(setup, forecast) for name, forecast in first.items()},
    }
    folder.write_json("results.json", record)
    folder.save_figure("errors.png", pictures.errors(results, first, setup))
    folder.save_figure("week.png", pictures.week(first, setup))
    folder.save_figure("clusters.png", pictures.clusters(setup))
    console.print(scores.table(results, f"{setup.name}: {len(setup.truths['test'])} windows"))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _methods_of(setup: Setup) -> list[str]:
    """Returns the methods that are asked for and make sense for the data, naive ones first.

    Raises:
        InputError: for none, and for an average of nothing.
    """
    config, has_days = setup.config, setup.protocol.slots_per_day >= 7
    asked = [name for name in METHODS if name in config.methods and (METHODS[name].daily or has_days)]
    if not asked:
        raise InputError("none of --methods is for rows that are days; give others, such as last_week")
    if "average" in asked and not members(setup):
        raise InputError(
            "average needs regressions, our models or networks with --num-seeds seeds among --methods, such as ridge; "
            "add one"
        )
    return asked


def _run_methods(run: Run, asked: list[str], console: Any) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Returns the rows of all methods, and the forecasts of their first seeds."""
    setup = run.setup
    results: list[dict[str, Any]] = []
    squares: dict[str, np.ndarray] = {}
    first: dict[str, np.ndarray] = {}
    for name in asked:
        each = [run.scores(name, seed) for seed in run.seeds(name)]
        arrays = run.found(name, setup.config.seed)
        first[name] = arrays["test"]
        for form in scores.FORMS:
            own = [one[form] for one in each]
            row = scores.make_row(name, form, setup, own)
            squares[row["method"]] = np.mean([one["squares"] for one in own], 0)
            results.append(row)
        chosen = {str(k) for k in arrays.get("chosen", ())}
        if chosen:
            results[-2]["members_of_first_seed"] = sorted(chosen)
        console.print(
            f"{scores.label_of(name)}: "
            + ", ".join(f"{k} {results[-2][k]:.4f}" for k in scores.SCORES if results[-2][k] is not None),
            highlight=False,
        )
    for row in results:
        if "ridge" in squares and row["method"] != "ridge":
            found = scores.against(setup, squares[row["method"]], squares["ridge"], "ridge")
            row |= {} if found is None else {"rmse_against_ridge": found}
    return results, first


if __name__ == "__main__":
    start(main, Config, PRESETS)

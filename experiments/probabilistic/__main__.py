"""Probabilistic forecasts of many series: plain methods, published networks, and their average."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.frame import Settings, check_settings, open_folder, start, with_data
from experiments.probabilistic import pictures, scores
from experiments.probabilistic.data import NUM_ORIGINS, Task, made_task, read_task
from experiments.probabilistic.methods import METHODS, NETWORKS, seeds_of
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.errors import counted
from jaxcast.progress import note
from jaxcast.pytrees import fingerprint

PAGE = "experiments/probabilistic/README.md"
PLAIN = ("seasonal_naive", "recursive_ridge", "calibrated_ridge", "panel_regression")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Forecast many series with quantiles, by plain methods, published networks and their average.
    Presets: smoke, made series; quick, plain methods; paper, all, five seeds."""

    data: Path | None = None
    """An .npz of the form of m4_hourly (`train`, `length`, `test`, `series`), or the folder of one, or
    one of pedestrians_melbourne and etth. By default m4_hourly in the folder that JAXCAST_DATA names, or in
    shared/data beside the checkout."""
    season: int | None = None
    """Steps of a season, 0 or 1 for none; by default a day and a week of hours."""
    horizon: int | None = None
    """Steps ahead; by default all of `test`."""
    methods: tuple[str, ...] = PLAIN
    """Methods to run."""
    hidden_size: int = 40
    """Hidden units of networks."""
    num_seeds: int = 1
    """Networks of each kind; the table shows medians over them."""
    num_direct_seeds: int = 1
    """As many of Seq2Seq, MQRNN and TFT, which forecast all leads at once and take longer to train."""
    num_epochs: int = 60
    """Epochs of each network, which keeps its best one on the validation part."""
    num_batches: int = 50
    """Minibatches of an epoch."""
    batch_size: int = 32
    """Windows of a minibatch."""
    learning_rate: float = 2e-3
    """Adam's learning rate, which falls to zero along a half cosine."""
    series: str = ""
    """Fingerprint of the series, for the record; the run finds it."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        methods=(*PLAIN, "deepar", "mqrnn", "deepar_ensemble", "average"),
        hidden_size=4,
        num_epochs=2,
        num_batches=4,
    ),
    "quick": Config(),
    "paper": Config(preset="paper", methods=tuple(METHODS), num_seeds=5, num_direct_seeds=5),
}


class Run:
    """One run: the methods and their forecasts by seed.

    Args:
        folder: of the results.
        task: the data.
        config: the settings.
    """

    def __init__(self, folder: Any, task: Task, config: Config):
        self.folder, self.task, self.config = folder, task, config

    def found(self, name: str, seed: int) -> np.ndarray:
        """Returns the quantiles of a method, from the folder where they are finished.

        Args:
            name: of the method.
            seed: for methods that draw.
        """

        def compute(_: Path) -> dict[str, np.ndarray]:
            return {"quantiles": METHODS[name].forecast(self.task, self.config, seed, self.found)}

        if name in ("deepar_ensemble", "average"):
            return compute(Path())["quantiles"]
        stage = "-".join([name, *[str(seed)] * METHODS[name].draws])
        quantiles: np.ndarray = self.folder.stage(stage, compute)["quantiles"]
        return quantiles


def compare(run: Run, console: Any) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], dict[str, str]]:
    """Scores all methods; one that cannot forecast the data is left out.

    Args:
        run: with the methods.
        console: to print on.

    Returns:
        The rows, the quantiles of each method's first seed, and the reasons of methods left out.

    Raises:
        InputError: if none is left.
    """
    task, rows, first, left_out = run.task, [], {}, {}
    for name in (name for name in METHODS if name in run.config.methods):  # plain ones first
        try:
            each = [run.found(name, seed) for seed in seeds_of(name, run.config)]
        except InputError as error:  # such as series too short for a network, which others can forecast
            left_out[name] = str(error)
            run.config = dataclasses.replace(run.config, methods=tuple({*run.config.methods} - {name}))
            note(f"{scores.label_of(name)} is left out: {error}")
            continue
        first[name] = each[0]
        rows.append(scores.make_row(name, task, [scores.scored(task, quantiles) for quantiles in each]))
        wql, nd = (scores.text_of(rows[-1][score]) for score in ("wql", "nd"))
        console.print(f"{scores.label_of(name)}: wQL {wql}, ND {nd}", highlight=False)
    if not rows:
        raise InputError("no method can forecast these data: " + "; ".join(left_out.values()))
    return rows, first, left_out


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config, may_be_zero=("season",))
    check_names("method", config.methods, METHODS)
    if config.data is None or config.data.suffix != ".npz" or not config.data.is_file():
        config = with_data(config, "m4_hourly", PAGE)
    task = made_task(config.seed) if config.data is None else read_task(config.data, config.season, config.horizon)
    step = max(1, len(task.origins) // NUM_ORIGINS[config.preset])
    task = task._replace(origins=task.origins[::step])
    config = dataclasses.replace(config, series=fingerprint(task.panel.values))
    folder = open_folder(
        config,
        f"runs/probabilistic-{task.name}-{config.preset}",
        ("scores.png", "fans.png"),
        leave_out=("out", "overwrite", "data", "methods", "num_seeds", "num_direct_seeds"),
    )
    run = Run(folder, task, config)
    with folder.leaving_nothing():
        rows, first, left_out = compare(run, console)
    rows += scores.published_rows(task)
    record = {"rows": rows, "num_origins": len(task.origins), "networks": list(NETWORKS), "left_out": left_out}
    folder.write_json("results.json", record)
    folder.save_figure("scores.png", pictures.of_scores(rows, task))
    folder.save_figure("fans.png", pictures.fans(first, task))
    origins, shown_series = counted(len(task.origins), "origin"), len(task.panel.names)
    shape = f"{shown_series} series, {counted(task.horizon, 'step')} ahead, {origins}"
    console.print(scores.table(rows, f"{task.name}: {shape}"))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


if __name__ == "__main__":
    start(main, Config, PRESETS)

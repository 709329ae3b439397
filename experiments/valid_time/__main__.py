"""Valid times of every method on the cases of jaxcast.benchmark, and of the default that chooses among them."""

import dataclasses
import time

from experiments.frame import OwnData, open_folder, start
from experiments.valid_time import pictures
from experiments.valid_time.methods import PERFECT, Methods
from experiments.valid_time.rows import rows_of, spread_table, spreads, table
from jaxcast import InputError
from jaxcast.benchmark import find_case
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.selection.comparison import NUM_WINDOWS
from jaxcast.selection.methods import METHODS

METHOD_NAMES = (PERFECT, *METHODS)
MAIN = (
    "paper",
    "noise_10",
    "x_alone",
    "hidden_chaos",
    "hidden_chaos_100",
    "process_noise_0.5",
    "two_scale_10",
    "two_scale_4",
    "kuramoto_sivashinsky_22",
    "square_wave",
    "sawtooth",
    "thomas",
    "other_period",
    "drift",
    "three_parameters",
    "lorenz96_40",
)
"""Cases of the leader board."""


@dataclasses.dataclass(frozen=True)
class Config(OwnData):
    """Run methods on cases of jaxcast.benchmark. Every setting, and what the default takes, is chosen on the last
    quarter of the training trajectory; the windows are scored once. Times are in the unit of each system."""

    cases: tuple[str, ...] = ("paper", "square_wave")
    """Cases to run, as jaxcast benchmark list names them."""
    methods: tuple[str, ...] = METHOD_NAMES
    """Methods to run."""
    num_windows: int = 60
    """Windows of each truth to score."""
    num_train: int = 4000
    """The most training samples."""
    num_trials: int = 60
    """Windows of the last quarter of training that choose."""


QUICK = Config(data_seed=100)
PRESETS = {
    "smoke": dataclasses.replace(
        QUICK,
        preset="smoke",
        cases=("paper",),
        methods=(PERFECT, "persistence", "equal_weights", "ridge"),
        num_windows=4,
        num_train=200,
        num_trials=8,
    ),
    "quick": QUICK,
    "paper": dataclasses.replace(
        QUICK,
        preset="paper",
        data_seed=3000,
        num_data_seeds=3,
        cases=MAIN,
        num_windows=200,
        num_trials=NUM_WINDOWS,
    ),
}


def main(config: Config) -> None:
    """Runs the experiment case by case."""
    began = time.perf_counter()
    check(config)
    console = make_console()
    folder = open_folder(config, f"runs/valid_time-{config.preset}", pictures.NAMES)
    rows = []
    for name in config.cases:
        case = find_case(name)
        seeds = range(config.data_seed, config.data_seed + min(config.num_data_seeds, case.num_truths))
        per_truth = [Methods(case, seed, config, folder, console).run(config.methods) for seed in seeds]
        rows += rows_of(case, per_truth)
        folder.write_json("results.json", {"rows": rows})
    for name, figure in pictures.draw(rows).items():
        folder.save_figure(name, figure)
    console.print(table(rows))
    if spreads(rows):
        console.print(spread_table(rows))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def check(config: Config) -> None:
    """Raises InputError for settings that cannot run, before anything is computed or written."""
    config.check()
    for name in ("num_windows", "num_train", "num_trials"):
        if vars(config)[name] < 1:
            raise InputError(f"{name} must be at least 1, got {vars(config)[name]}")
    if not config.cases or not config.methods:
        raise InputError("expected cases and methods, at least one of each")
    check_names("method", config.methods, METHOD_NAMES)
    if not {*config.methods} & {*METHODS}:
        raise InputError("expected a method among which the default can choose, such as equal_weights")
    for name in config.cases:
        find_case(name)


if __name__ == "__main__":
    start(main, Config, PRESETS)

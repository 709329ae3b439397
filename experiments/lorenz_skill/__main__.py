"""Valid times beyond the paper: regimes inferred from the candidates' errors, compared with every rival."""

import dataclasses
import time
from typing import Literal, get_args

from rich.console import Group

from experiments.frame import OwnData, open_folder, start
from experiments.lorenz import setup as lorenz_setup
from experiments.lorenz_skill import pictures as skill_pictures
from experiments.lorenz_skill.cases import CASES, make_task, windows_without_switch
from experiments.lorenz_skill.methods import Methods
from experiments.lorenz_skill.results import edges, make_row, markdown, table
from experiments.lorenz_skill.rivals import RIVALS
from jaxcast import InputError
from jaxcast.cli.command import make_console
from jaxcast.errors import shown

POOLS = (
    "component_attention",
    "recurrent_attention",
    "fine_tuned_attention",
    "interpolation",
    "corrected_interpolation",
)
CORE = ("attention", "regime")
TOLD_NOTHING = ("regime_without_coordinates",)
CaseName = Literal[
    "paper",
    "spin_up",
    "long",
    "period_0.9",
    "period_2.7",
    "period_5",
    "two_cosines",
    "ramp",
    "switching",
    "square_wave",
    "square_wave_100",
    "sawtooth",
    "sigma_11",
    "finer_step",
    "rossler",
    "lorenz96",
    "thomas",
    "noise_1",
    "noise_5",
    "samples_500",
    "samples_1000",
]


@dataclasses.dataclass(frozen=True)
class Config(OwnData):
    """Forecast a chaotic system with a varying parameter from candidates with a constant one: on the paper's protocol,
    with other schedules and systems, with noise and with little data. Times are in model time units (MTU)."""

    cases: tuple[CaseName, ...] = ("paper", "noise_5")
    """Cases to run."""
    methods: tuple[str, ...] = ()
    """Methods to run in the cases that have them, besides the published attention that all are compared with.
    Default: all."""
    rivals: bool = False
    """Also run the other pools and classical methods: all on the paper's protocol, those that need a long history
    with 100 true samples too, and those made for it on random switching."""
    num_windows: int = 200
    """Windows to score, after the history of the first."""
    num_train: int = 4000
    """Samples of a training trajectory; some cases use fewer."""
    num_epochs: int = 500
    """Training epochs of the attention pools."""
    num_seeds: int = 2
    """Training seeds of the methods that draw random numbers."""
    num_paper_seeds: int = 2
    """Training seeds of the published method on the paper's protocol; with three or more, their spread is compared
    with their error."""


QUICK = Config()
PRESETS = {
    "smoke": dataclasses.replace(
        QUICK, preset="smoke", data_seed=2, cases=("paper",), num_windows=10, num_train=300, num_epochs=5
    ),
    "quick": QUICK,
    "paper": dataclasses.replace(
        QUICK,
        preset="paper",
        data_seed=2000,
        num_data_seeds=3,
        cases=get_args(CaseName),
        rivals=True,
        num_paper_seeds=4,
    ),
}


def main(config: Config) -> None:
    """Runs the experiment case by case."""
    began = time.perf_counter()
    check(config)
    console = make_console()
    outputs = ("table.md", *skill_pictures.names(config.cases))
    folder = open_folder(config, f"runs/lorenz_skill-{config.preset}", outputs)
    rows, scores = [], {}
    for name in config.cases:
        methods = methods_of(name, config)
        if config.methods and not set(methods) & set(config.methods):
            continue
        case = CASES[name]
        first = next(other for other in CASES if CASES[other].training == case.training)
        tasks = [make_task(case, settings(config), config.data_seed + n) for n in range(config.num_data_seeds)]
        per_task = [Methods(config, case, name, first, task, folder, console).run(methods) for task in tasks]
        scores[name] = {method: [arrays[method] for arrays in per_task] for method in methods}
        calm = [windows_without_switch(task) for task in tasks] if name == "switching" else None
        rows += [make_row(name, method, scores[name], tasks[0], calm) for method in methods]
        skill_pictures.draw_case(folder, name, case, tasks[0], scores[name])
        folder.write_json("results.json", {"rows": rows})
    skill_pictures.draw_all(folder, rows)
    folder.write_text("table.md", markdown(rows))
    console.print(Group(table(rows)))
    for line in edges(rows):
        console.print(f"chosen at the edge of the grid: {line}", highlight=False, markup=False)
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def settings(config: Config) -> lorenz_setup.Config:
    """Returns the settings that truths and rules of `experiments.lorenz` need."""
    return dataclasses.replace(
        lorenz_setup.PRESETS["paper"],
        num_windows=config.num_windows,
        num_train=config.num_train,
        lyapunov_duration=20.0 if config.preset == "smoke" else 200.0,
    )


def methods_of(name: str, config: Config) -> tuple[str, ...]:
    """Returns the methods to compare in a case: those of --methods, and always attention."""
    methods = _all_methods_of(name, config)
    return tuple(method for method in methods if not config.methods or method in (*config.methods, "attention"))


def _all_methods_of(name: str, config: Config) -> tuple[str, ...]:
    methods = (*CORE, *TOLD_NOTHING) if name in ("paper", "lorenz96") or CASES[name].noise else CORE
    if CASES[name].noise:
        methods = (*methods, "ensemble_kalman_filter", "harmonic_ensemble_kalman_filter")
    if config.rivals and name == "switching":
        methods = (*methods, "fixed_share", "interacting_models")
    if config.rivals and name == "paper":
        methods = (*methods, *POOLS, *RIVALS)
    if config.rivals and name == "spin_up":
        methods = (*methods, "recurrent_attention", *RIVALS)
    return methods


def check(config: Config) -> None:
    """Raises InputError for settings that cannot run, before anything is computed or written."""
    config.check()
    for name in ("num_windows", "num_epochs", "num_seeds", "num_paper_seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} must be at least 1, got {getattr(config, name)}")
    if config.num_paper_seeds < config.num_seeds:
        raise InputError(
            f"num_paper_seeds must be at least the {config.num_seeds} num_seeds, got {config.num_paper_seeds}"
        )
    if config.num_train < 200:
        raise InputError(f"num_train must be at least 200, got {config.num_train}")
    if not config.cases or len(set(config.cases)) < len(config.cases):
        raise InputError(f"expected different cases, at least one, got {config.cases}")
    known = {method for name in config.cases for method in _all_methods_of(name, config)}
    if unknown := [method for method in config.methods if method not in known]:
        raise InputError(
            f"expected methods of these cases, {shown(', '.join(sorted(known)))}, got {shown(unknown)}; "
            "choose other --methods, or add --rivals or the --cases that have them"
        )
    tuned = [
        name for name in config.cases if CASES[name].history_size > 6 and RIVALS.keys() & set(methods_of(name, config))
    ]
    if tuned and config.num_train < 1000:
        raise InputError(
            f"num_train must be at least 1000 for {shown(', '.join(tuned))}, where methods are tuned on the last quarter, "
            f"got {config.num_train}"
        )


if __name__ == "__main__":
    start(main, Config, PRESETS)

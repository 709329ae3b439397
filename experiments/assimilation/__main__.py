"""Data assimilation: analysis errors in the literature's settings, and attention after assimilation.

Source:
    Settings and published errors: Raanes and others, DAPPER, a platform to benchmark data
    assimilation; Sakov, Oliver and Bertino (2012); Sakov and Oke (2008).
"""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxcast
from experiments.assimilation import filters, pictures, pools
from experiments.assimilation.page import table
from experiments.assimilation.settings import METHODS, SETTINGS
from experiments.frame import OwnData, check_settings, open_folder, start
from jaxcast.benchmark.scoring import score_against
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.io.run_folder import RunFolder

PARTS: tuple[Literal["filters", "pools"], ...] = ("filters", "pools")
CASES = ("noise_5", "noise_10", "x_alone")
POOLED = (
    "attention, raw values",
    "filter, random walk",
    "filter, harmonic",
    "4D-Var, harmonic",
    "attention after random walk",
    "attention after harmonic",
)


@dataclasses.dataclass(frozen=True)
class Config(OwnData):
    """Run every filter and smoother in the two settings of the literature, every component observed
    at each cycle, and compare the errors of their analyses with published ones. Then forecast the
    noisy and partial cases of jaxcast's benchmark of valid time by attention on raw values and on
    analyses. Presets: smoke, for tests; quick, 3 truths; paper, 10 truths of 1000 cycles."""

    parts: tuple[Literal["filters", "pools"], ...] = PARTS
    """Which parts to run."""
    num_truths: int = 3
    """Truths of each setting."""
    num_cycles: int = 300
    """Cycles of each truth that count."""
    cases: tuple[str, ...] = CASES
    """Cases of jaxcast.benchmark."""
    num_windows: int = 60
    """Windows of each truth of a case."""
    num_train: int = 1500
    """Samples of its training record."""
    num_members: int = 50
    """Members of the filters before a pool."""
    num_epochs: int = 10
    """Of the training of attention."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        num_truths=1,
        num_cycles=20,
        cases=("x_alone",),
        num_windows=2,
        num_train=60,
        num_members=10,
        num_epochs=1,
    ),
    "quick": Config(),
    "paper": Config(
        preset="paper", num_truths=10, num_cycles=1000, num_windows=200, num_train=2000, num_epochs=10, num_data_seeds=3
    ),
}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config)
    config.check()
    check_names("part", config.parts, PARTS)
    check_names("case", config.cases, CASES)
    folder = open_folder(config, f"runs/assimilation-{config.preset}", pictures.NAMES)
    rows: list[dict[str, Any]] = []
    if "filters" in config.parts:
        rows += _filters(config, folder, console)
    if "pools" in config.parts:
        rows += _pools(config, folder, console)
    folder.write_json("results.json", {"rows": rows})
    for name, figure in pictures.draw(rows).items():
        folder.save_figure(name, figure)
    for part in config.parts:
        console.print(table(rows, part))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _filters(config: Config, folder: RunFolder, console: Any) -> list[dict[str, Any]]:
    """Runs the methods in the settings of the literature."""
    rows = []
    for name, setting in SETTINGS.items():
        num_cycles = setting.num_burned + config.num_cycles
        truths = filters.truths_of(setting, config.num_truths, num_cycles, config.data_seed)
        climatology = filters.climatology_of(setting)
        for number, method in enumerate(METHODS):
            if method.setting != name:
                continue

            def compute(
                _: Path, method: Any = method, truths: Any = truths, of: Any = climatology
            ) -> dict[str, np.ndarray]:
                return filters.score(method, truths, of, config.seed)

            rows.append(filters.row_of(method, folder.stage(f"filter-{number}", compute)))
            console.print(f"{name}, {method.name}: {rows[-1]['rmse']:.3f}", highlight=False)
    return rows


def _pools(config: Config, folder: RunFolder, console: Any) -> list[dict[str, Any]]:
    """Forecasts the windows of the cases."""
    rows = []
    for name in config.cases:
        case = jaxcast.benchmark.find_case(name)
        made = [folder.stage(f"{name}-{seed}", partial(_forecasts, config, name, seed)) for seed in _seeds(config)]
        truths = np.stack([each["truth"] for each in made])
        scores = {method: score_against(case, np.stack([each[method] for each in made]), truths) for method in POOLED}
        for method, score in scores.items():
            tested = jaxcast.benchmark.compare_scores(score, scores[POOLED[0]]) if method != POOLED[0] else None
            rows.append(
                {
                    "part": "pools",
                    "case": name,
                    "method": method,
                    "num_truths": len(truths),
                    "num_windows": truths.shape[1],
                    "valid_time": score.median,
                    "valid_time_ci95": [score.low, score.high],
                    "valid_time_per_truth": list(score.median_per_truth),
                    # None where a filter has lost its ensemble in some window.
                    "rmse_first": float(score.rmse[0]) if np.isfinite(score.rmse[0]) else None,
                    "p_value": None if tested is None else float(tested.wilcoxon),
                    "published": None,
                }
            )
            console.print(f"{name}, {method}: valid for {score.median:.2f}", highlight=False)
    return rows


def _seeds(config: Config) -> range:
    return range(config.data_seed, config.data_seed + config.num_data_seeds)


def _forecasts(config: Config, name: str, seed: int, _: Path) -> dict[str, np.ndarray]:
    """Returns the forecasts of all methods for one truth of a case."""
    task = jaxcast.benchmark.make_task(
        jaxcast.benchmark.find_case(name), seed=seed, num_windows=config.num_windows, num_train=config.num_train
    )
    walk, harmonic = pools.walking_filter(task, config), pools.harmonic_filter(task, config)
    learned = (
        pools.raw_attention(task, config),
        walk,
        harmonic,
        pools.harmonic_variational(task, config, harmonic),
        pools.assimilated_attention(task, config, walk),
        pools.assimilated_attention(task, config, harmonic),
    )
    found = dict(zip(POOLED, learned, strict=True))
    forecasts = {method: pools.forecast(task, learned) for method, learned in found.items()}
    return forecasts | {"truth": np.asarray(task.windows.truth)}


if __name__ == "__main__":
    start(main, Config, PRESETS)

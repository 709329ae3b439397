"""How long forecasts stay true beyond the paper: regimes inferred from the candidates' errors, against every rival."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table

import jaxcast
from experiments import lorenz_setup, skill_pictures
from experiments.frame import open_folder, start
from experiments.skill_cases import CASES, Case, make_task, windows_without_switch
from experiments.skill_methods import FIGURE_KNOWN, Methods, label_of
from jaxcast import InputError
from jaxcast.cli.entry import make_console
from jaxcast.storage.folder import Arrays

PUBLISHED = {("paper", "attention"): 2.60}
POOLS = (
    "component_attention",
    "recurrent_attention",
    "fine_tuned_attention",
    "interpolation",
    "corrected_interpolation",
)
RIVALS = ("fixed_share", "interacting_models", "nvar", "reservoir", "ensemble_kalman_filter")
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
    "rossler",
    "lorenz96",
    "noise_1",
    "noise_5",
    "samples_500",
    "samples_1000",
]


@dataclasses.dataclass(frozen=True)
class Config:
    """Forecast a chaotic system whose parameter varies, from candidates with a constant one: on the paper's protocol, on
    other courses of the parameter, other systems, with noise and with little data. Times are in model time units (MTU)."""

    preset: Literal["smoke", "quick", "paper"] = "quick"
    """smoke: for tests; quick: the paper's protocol, a minute or two; paper: all cases on three truths."""
    out: Path | None = None
    """Folder for config.json, results.json and the pictures; by default runs/lorenz_skill- and the preset's name."""
    overwrite: bool = False
    """Start afresh where the folder holds a run with other settings."""
    seed: int = 0
    """Of training: initial parameters and shuffling."""
    data_seed: int = 1
    """Of the truths: where their trajectories start, noise, and the random switching."""
    num_data_seeds: int = 1
    """Truths of each case: data_seed, data_seed + 1, ..."""
    data: Path | None = None
    """Not used: this experiment makes its own data."""
    cases: tuple[CaseName, ...] = ("paper", "noise_5")
    """Which questions to ask."""
    rivals: bool = False
    """Also fit the other pools and the classical rivals on the paper's protocol."""
    num_rival_data_seeds: int = 1
    """On how many of the truths these are fitted."""
    num_windows: int = 200
    """Windows that judge, after the history of the first."""
    num_train: int = 4000
    """Most samples of a training trajectory; cases with fewer have fewer."""
    num_epochs: int = 500
    """Of the attention pools."""
    num_seeds: int = 2
    """Training seeds of methods that have any."""
    num_paper_seeds: int = 2
    """The same, on the paper's protocol; from three on the spread between them is compared with their error."""


QUICK = Config()
PRESETS = {
    "smoke": dataclasses.replace(
        QUICK, preset="smoke", data_seed=2, cases=("paper",), num_windows=10, num_train=300, num_epochs=5
    ),
    "quick": QUICK,
    "paper": dataclasses.replace(
        QUICK, preset="paper", data_seed=100, num_data_seeds=3, cases=get_args(CaseName), rivals=True, num_paper_seeds=4
    ),
}


def main(config: Config) -> None:
    """Runs the experiment, case by case."""
    began = time.perf_counter()
    check(config)
    console = make_console()
    folder = open_folder(config, f"runs/lorenz_skill-{config.preset}")
    rows, scores = [], {}
    for name in config.cases:
        case = CASES[name]
        first = next(other for other in CASES if CASES[other].training == case.training)
        tasks = [make_task(case, settings(config), config.data_seed + n) for n in range(config.num_data_seeds)]
        per_task = [
            Methods(config, case, name, first, task, folder, console).run(methods_of(name, n, config))
            for n, task in enumerate(tasks)
        ]
        methods = methods_of(name, 0, config)
        scores[name] = {method: [arrays[method] for arrays in per_task if method in arrays] for method in methods}
        calm = [windows_without_switch(task) for task in tasks] if name == "switching" else None
        rows += [make_row(name, method, scores[name], tasks[0], calm) for method in methods]
        skill_pictures.draw_case(folder, name, case, tasks[0], scores[name], config)
        folder.write_json("results.json", {"rows": rows})
    skill_pictures.draw_all(folder, rows, config)
    console.print(Group(table(rows)))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def settings(config: Config) -> lorenz_setup.Config:
    """What the truths and the rules of `experiments.lorenz` need."""
    return dataclasses.replace(
        lorenz_setup.PRESETS["paper"], num_windows=config.num_windows, num_train=config.num_train,
        lyapunov_duration=20.0 if config.preset == "smoke" else 200.0,
    )  # fmt: skip


def methods_of(name: str, n: int, config: Config) -> tuple[str, ...]:
    """What is compared on the n-th truth of a case."""
    if name == "paper" and config.rivals and n < config.num_rival_data_seeds:
        return (*CORE, *TOLD_NOTHING, *POOLS, *RIVALS)
    if CASES[name].noise:
        return (*CORE, *TOLD_NOTHING, "ensemble_kalman_filter")
    return (*CORE, *TOLD_NOTHING) if name in ("paper", "lorenz96") else CORE


def make_row(name: str, method: str, scores: dict[str, list[Arrays]], task: Any, calm: Any) -> dict[str, Any]:
    """A method's results in a case, over all truths and training seeds, and how it differs from the published method."""
    own, theirs = scores[method], scores["attention"]
    medians = [[round(float(np.median(times)), 9) for times in arrays["valid_time"]] for arrays in own]
    row: dict[str, Any] = {
        "case": name,
        "method": method,
        "samples_seen": int(own[0]["samples_seen"]),
        "num_data_seeds": len(own),
        "num_seeds": len(own[0]["valid_time"]),
        "valid_time_median": _tidy(np.median([np.median(seeds) for seeds in medians])),
        "valid_time_median_per_seed": medians,
        "num_windows": own[0]["valid_time"].shape[1],
        "share_censored": _tidy(np.mean([arrays["censored"].mean() for arrays in own])),
        "window": _tidy(task.windows.truth.shape[1] * CASES[name].dt),
        "threshold": _tidy(task.rules.threshold),
        "lyapunov_exponent": _tidy(task.rules.exponent),
        "published": PUBLISHED.get((name, method)) if task.train.states.shape[0] == 4000 else None,
        "fit_s": round(float(np.median([arrays["fit_s"] for arrays in own])), 1),
    }
    squares = np.concatenate([arrays["square_error"].reshape(-1, arrays["square_error"].shape[-1]) for arrays in own])
    errors = np.sqrt(np.median(squares, 0))
    row["median_error_at"] = {f"{CASES[name].dt * (lead + 1):g}": _tidy(errors[lead]) for lead in _leads(len(errors))}
    if "spread" in own[0]:
        expected = np.median([arrays["spread"] for arrays in own], 0)
        found = np.median([arrays["ensemble_error"] for arrays in own], 0) if "ensemble_error" in own[0] else errors
        row["spread_to_error_at"] = {
            f"{CASES[name].dt * (lead + 1):g}": _tidy(expected[lead] / found[lead]) for lead in _leads(len(errors))
        }
    if method in CORE and (followed := tracked(own[0], task, CASES[name])) is not None:
        row["tracking"] = followed
    if calm is not None:
        row["valid_time_median_without_switch"] = [
            _tidy(np.median(arrays["valid_time"][:, keep])) if keep.any() else None
            for arrays, keep in zip(own, calm, strict=True)
        ]
        row["num_windows_without_switch"] = [int(keep.sum()) for keep in calm]
    for note in ("periods", "emulator_error", "value_noise"):
        if note in own[0]:
            row[note] = [np.ravel(arrays[note]).tolist() for arrays in own]
    if method != "attention":
        both = [
            np.concatenate([np.median(arrays[field], 0) for arrays in group])
            for field in ("valid_time", "censored")
            for group in (own, theirs[: len(own)])
        ]
        test = jaxcast.paired_test(
            both[0], both[1], first_censored=both[2] > 0.5, second_censored=both[3] > 0.5, key=jax.random.key(0)
        )
        row["against_attention"] = {k: float(v) for k, v in test._asdict().items()}
    return row


def _leads(num_leads: int) -> tuple[int, ...]:
    """The first lead, and a twelfth, a quarter, a half and all of the window."""
    return tuple(sorted({0, num_leads // 12, num_leads // 4 - 1, num_leads // 2 - 1, num_leads - 1}))


def tracked(arrays: Arrays, task: Any, case: Case) -> dict[str, Any] | None:
    """How the hidden parameter is followed along the trajectory of the picture: correlation and mean distance, while the
    truth is seen, from its sixth sample on, and after."""
    if task.hidden is None or not {"figure_regime", "figure_weights"} & arrays.keys():
        return None
    values = task.hidden[1]
    if "figure_regime" in arrays:
        found, delay = arrays["figure_regime"][:, 0], 0.0
    elif arrays["figure_weights"].shape[1] == len(values):
        found, delay = values[np.argmax(arrays["figure_weights"], -1)], case.dt / 2
    else:
        return None
    truth = np.asarray(task.hidden_at(task.valid.times[: len(found)] + delay))
    parts = {"open_loop": slice(5, FIGURE_KNOWN), "closed_loop": slice(FIGURE_KNOWN, None)}
    return {
        name: {
            "correlation": _tidy(np.corrcoef(found[part], truth[part])[0, 1]),
            "mean_distance": _tidy(np.abs(found[part] - truth[part]).mean()),
        }
        for name, part in parts.items()
        if np.ptp(found[part]) > 0 and np.ptp(truth[part]) > 0
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Every case and method; published and own numbers side by side."""
    result = Table(
        title="Median valid time over windows (MTU)",
        caption="seen: true samples before each window. seeds: lowest and highest median. whole: share of windows valid to "
        "their end. p: paired Wilcoxon test against attention",
        box=box.SIMPLE,
    )
    for name in ("method", "seen", "published", "ours", "seeds", "whole", "p"):
        result.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    last = None
    for row in rows:
        seeds = np.ravel(row["valid_time_median_per_seed"])
        against = row.get("against_attention")
        if row["case"] != last:
            result.add_section()
            result.add_row(f"[bold]{CASES[row['case']].title}[/]")
        result.add_row(
            f"  {label_of(row['method'])}",
            str(row["samples_seen"]),
            "" if row["published"] is None else f"{row['published']:.2f}",
            f"{row['valid_time_median']:.2f}",
            f"{min(seeds):.2f}-{max(seeds):.2f}" if len(seeds) > 1 else "",
            f"{row['share_censored']:.0%}",
            "" if against is None else f"{against['wilcoxon']:.0e}" if against["wilcoxon"] > 1e-99 else "0",
        )
        last = row["case"]
    return result


def check(config: Config) -> None:
    """Raises InputError for settings that cannot be run, before anything is computed or written."""
    for name in ("num_data_seeds", "num_windows", "num_epochs", "num_seeds", "num_paper_seeds", "num_rival_data_seeds"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} must be at least 1, got {getattr(config, name)}")
    if config.num_train < 200:
        raise InputError(f"num_train must be at least 200, got {config.num_train}")
    tuned = [name for name in config.cases if CASES[name].noise]
    if tuned and config.num_train < 1000:
        raise InputError(
            f"num_train must be at least 1000 for {', '.join(tuned)}, whose ensemble Kalman filter is tuned on the last "
            f"quarter, got {config.num_train}"
        )
    if not config.cases or len(set(config.cases)) < len(config.cases):
        raise InputError(f"expected different cases, at least one, got {config.cases}")
    for name in ("seed", "data_seed"):
        if not 0 <= getattr(config, name) < 2**32:
            raise InputError(f"{name} must be from 0 to 2^32 - 1, got {getattr(config, name)}")


def _tidy(value: Any) -> float | None:
    """Without the rounding noise of a multiple of dt; JSON knows no infinity."""
    return round(float(value), 12) if math.isfinite(value) else None


if __name__ == "__main__":
    start(main, Config, PRESETS)

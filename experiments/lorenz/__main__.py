"""Pooling eleven imperfect models of a non-stationary Lorenz system: Patel and Wikner (2023), section 3.1."""

import time
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table

import jaxcast
from experiments.frame import open_folder, start
from experiments.lorenz import pictures as lorenz_pictures
from experiments.lorenz.methods import CLOSED_LOOP_TIME, Methods, label_of
from experiments.lorenz.setup import PRESETS, Config, Rules, make_tasks
from jaxcast.cli.command import make_console
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import values_of

PUBLISHED_WITH = (
    "truth",
    "candidates",
    "h",
    "dt",
    "threshold",
    "learning_rate",
    "schedule",
    "weight_decay",
    "clip_norm",
)
HELD = ("best_initial_model", "fixed_attention")
PUBLISHED = {
    ("linear_regression", None): 0.20,
    ("feed_forward", 5): 0.40,
    ("additive_attention", 1): 0.30,
    ("additive_attention", 5): 2.60,
    ("best_initial_model", 5): 0.30,
    ("fixed_attention", 5): 0.30,
}
PICTURES = ("trajectory.png", "valid_times.png", "attention.png", "losses.png")
TRACKING = {"open_loop": "track_open", "closed_loop": "track_closed", "closed_loop_whole_window": "track_window"}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    tasks = make_tasks(config)
    folder = open_folder(config, f"runs/lorenz-{config.preset}", PICTURES)
    all_methods = [Methods(config, task, folder, console) for task in tasks]
    pools = [methods.run() for methods in all_methods]
    task, rules = tasks[0], tasks[0].rules
    rows = [
        make_row(method, delays, [methods.results[method, delays] for methods in all_methods], rules, config)
        for method, delays in all_methods[0].results
    ]
    results = {
        "rows": rows,
        "lyapunov_exponent": rules.exponent,
        "saturation_error": rules.saturation,
        "threshold": rules.threshold,
        "num_leads": rules.num_leads,
    }
    folder.write_json("results.json", results)
    shown = 5 if 5 in config.delays else max(config.delays)
    folder.save_figure("trajectory.png", lorenz_pictures.trajectory(task, config.h))
    bars = [row for row in rows if not (row["method"] in HELD and row["delays"] != shown)]
    folder.save_figure(
        "valid_times.png", lorenz_pictures.valid_times(bars, label_of, task.windows.truth.shape[1] * config.dt)
    )
    (attended,) = (row for row in rows if (row["method"], row["delays"]) == ("additive_attention", shown))
    correlation = attended.get("tracking", {}).get("closed_loop", {}).get("correlation")
    folder.save_figure("attention.png", lorenz_pictures.attention(task, config, pools[0][shown], shown, correlation))
    folder.save_figure("losses.png", lorenz_pictures.losses(all_methods[0].results, label_of))
    console.print(Group(table(results, config), tracking_table(results)))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def make_row(method: str, delays: int | None, per_truth: list[Arrays], rules: Rules, config: Config) -> dict[str, Any]:
    """Summarises a method over all truths and training seeds by medians of medians over windows."""
    valid_times = np.concatenate([arrays["valid_time"] for arrays in per_truth])
    intervals = [jaxcast.median_interval(times) for times in valid_times]
    median, low, high = (
        float(np.median([getattr(interval, name) for interval in intervals])) for name in ("median", "low", "high")
    )
    ours, paper = values_of(config), values_of(PRESETS["paper"])
    published = all(ours[name] == paper[name] for name in PUBLISHED_WITH)
    row: dict[str, Any] = {
        "method": method,
        "delays": delays,
        "num_params": int(per_truth[0].get("num_params", 0)),
        "num_data_seeds": len(per_truth),
        "num_seeds": len(per_truth[0]["valid_time"]),
        "valid_time_median": _tidy(median),
        "valid_time_ci95": [_tidy(low), _tidy(high)],
        "valid_time_median_per_seed": [
            [_tidy(np.median(times)) for times in arrays["valid_time"]] for arrays in per_truth
        ],
        "valid_time_as_published": _tidy(
            np.median([np.median(arrays["valid_time_as_published"], axis=1) for arrays in per_truth])
        ),
        "valid_time_lyapunov": _tidy(median * rules.exponent),
        "num_censored": int(sum(arrays["censored"].sum() for arrays in per_truth)),
        "one_step_mse_train": _finite(np.median([arrays["mse_train"] for arrays in per_truth])),
        "one_step_mse_valid": _finite(np.median([arrays["mse_valid"] for arrays in per_truth])),
        "published": PUBLISHED.get((method, delays)) if published else None,
    }
    if "track_open" in per_truth[0]:
        row["tracking"] = {
            name: {
                "correlation": _finite(np.median([arrays[key][:, 0] for arrays in per_truth])),
                "mean_distance": _finite(np.median([arrays[key][:, 1] for arrays in per_truth])),
            }
            for name, key in TRACKING.items()
        }
    if "best" in per_truth[0]:
        row["candidate"] = [int(arrays["best"]) for arrays in per_truth]
        row["valid_time_median_per_candidate"] = [
            _tidy(value) for value in np.median([arrays["medians"] for arrays in per_truth], axis=0)
        ]
    if "penalty" in per_truth[0]:
        row["penalty"] = [float(arrays["penalty"]) for arrays in per_truth]
    return row


def table(results: dict[str, Any], config: Config) -> Table:
    """Shows published and own valid times side by side."""
    lyapunov_time = 1 / results["lyapunov_exponent"]
    result = Table(
        title=f"Median valid time over {config.num_windows} windows (MTU)",
        caption=(
            "as published: ours by the published code's convention, one sample less; seeds: lowest and highest "
            f"median; one Lyapunov time is {lyapunov_time:.2f} MTU"
        ),
        box=box.SIMPLE,
    )
    for name in ("method", "l", "published", "as published", "ours", "95 %", "seeds", "mse"):
        result.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in results["rows"]:
        low, high = row["valid_time_ci95"]
        seeds = np.ravel(row["valid_time_median_per_seed"])
        result.add_row(
            label_of(row["method"]),
            str(row["delays"] or ""),
            "" if row["published"] is None else f"{row['published']:.2f}",
            f"{row['valid_time_as_published']:.2f}",
            f"{row['valid_time_median']:.2f}",
            f"{low:.2f}-{high:.2f}",
            f"{min(seeds):.2f}-{max(seeds):.2f}" if len(seeds) > 1 else "",
            "diverges" if row["one_step_mse_valid"] is None else f"{row['one_step_mse_valid']:.3g}",
        )
    return result


def tracking_table(results: dict[str, Any]) -> Table | str:
    """Shows how well the highest weight follows the hidden parameter."""
    rows = [row for row in results["rows"] if "tracking" in row and row["method"] not in HELD]
    if not rows:
        return ""
    result = Table(
        title="Candidate with the highest weight against the true parameter: correlation (mean distance)",
        caption=f"closed loop: the first {CLOSED_LOOP_TIME:g} time units without truth",
        box=box.SIMPLE,
    )
    for name in ("method", "l", "open loop", "closed loop", "whole window"):
        result.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in rows:
        cells = (
            "constant" if part["correlation"] is None else f"{part['correlation']:.2f} ({part['mean_distance']:.1f})"
            for part in row["tracking"].values()
        )
        result.add_row(label_of(row["method"]), str(row["delays"] or ""), *cells)
    return result


def _finite(value: Any) -> float | None:
    """Returns None for a forecast that diverged: JSON has no NaN."""
    return float(value) if np.isfinite(value) else None


def _tidy(value: Any) -> float:
    """Removes the rounding noise from a multiple of dt."""
    return round(float(value), 9)


if __name__ == "__main__":
    start(main, Config, PRESETS)

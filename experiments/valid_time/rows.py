"""Rows of `experiments.valid_time`: a method on a case, over all truths, beside the method that was chosen."""

from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich import box
from rich.table import Table

from experiments.pages import load_rows
from experiments.valid_time.methods import CHOICE, PERFECT, chosen
from jaxcast.benchmark import Case
from jaxcast.benchmark.scoring import interval_of_median
from jaxcast.io.reading import Arrays
from jaxcast.scores.paired import paired_test

SINGLE = (PERFECT, CHOICE)
"""Rows that are no alternative of the default's."""
LEADS = (1, 5, 10, 20, 40, 80, 128)
"""Leads at which spread is shown over error."""


def committed() -> list[dict[str, Any]]:
    """Returns the committed rows: those of results.json, but for cases that a later run made again."""
    folder = Path(__file__).parent
    rows = load_rows(folder / "results.json")
    for file in sorted(folder.glob("results-*.json")):
        later = load_rows(file)
        made_again = {row["case"] for row in later}
        rows = [row for row in rows if row["case"] not in made_again] + later
    return rows


def rows_of(case: Case, per_truth: list[dict[str, Arrays]]) -> list[dict[str, Any]]:
    """Returns the rows of a case; the last is that of the default, which takes another method for each truth.

    Args:
        case: the case.
        per_truth: scores of each method for each truth.
    """
    names = [name for name in per_truth[0] if all(name in scores for scores in per_truth)]
    picks = [chosen(scores) for scores in per_truth]
    default = [scores[pick] for scores, pick in zip(per_truth, picks, strict=True)]
    rows = [row_of(case, name, [scores[name] for scores in per_truth], default) for name in names]
    return [*rows, row_of(case, CHOICE, default, default) | {"chosen": picks}]


def row_of(case: Case, name: str, own: list[Arrays], default: list[Arrays]) -> dict[str, Any]:
    """Summarises a method in a case.

    Args:
        case: the case.
        name: of the method.
        own: its scores for each truth.
        default: those of the method that was chosen.
    """
    times, censored = (np.stack([arrays[key] for arrays in own]) for key in ("valid_times", "censored"))
    low, high = interval_of_median(times)
    others, bounds = (np.stack([arrays[key] for arrays in default]) for key in ("valid_times", "censored"))
    test = paired_test(
        times.ravel(),
        others.ravel(),
        first_censored=censored.ravel(),
        second_censored=bounds.ravel(),
        key=jax.random.key(0),
        num_resamples=2000,
    )
    with np.errstate(over="ignore"):
        rmse = np.sqrt(np.mean([arrays["rmse"] ** 2 for arrays in own], 0))
    row: dict[str, Any] = {
        "case": case.name,
        "group": case.group,
        "method": name,
        "num_truths": len(own),
        "num_windows": times.shape[1],
        "valid_time_median": float(np.median(np.median(times, 1))),
        "ci95": [low, high],
        "valid_time_median_per_truth": [float(np.median(each)) for each in times],
        "share_censored": float(censored.mean()),
        "longest": float(case.longest_valid_time),
        "rmse_at_lead_1": finite(rmse[0]),
        "rmse_at_lead_10": finite(rmse[min(9, len(rmse) - 1)]),
        "against_default": {key: test._asdict()[key] for key in ("difference", "low", "high", "wilcoxon")},
        "cpu_s": round(float(np.mean([arrays["cpu_s"] for arrays in own])), 1),
    }
    if all("spread" in arrays for arrays in own):
        spread = np.sqrt(np.mean([arrays["spread"] ** 2 for arrays in own], 0))
        row["spread_over_error"] = [finite(ratio) for ratio in spread / rmse]
    if "setting" in own[0]:
        row["settings"] = [str(arrays["setting"]) for arrays in own]
        row["trial_mean"] = [float(arrays["trial_mean"]) for arrays in own]
    return row


def finite(value: Any) -> float | None:
    """Returns None for what JSON lacks."""
    return float(value) if np.isfinite(value) else None


def best_alternative(rows: list[dict[str, Any]], case: str) -> dict[str, Any]:
    """Returns the row of the method among which the default chooses that was best on the windows.

    Args:
        rows: all rows.
        case: name of the case.
    """
    return max(
        (row for row in rows if row["case"] == case and row["method"] not in SINGLE),
        key=lambda row: row["valid_time_median"],
    )


def default_of(rows: list[dict[str, Any]], case: str) -> dict[str, Any]:
    """Returns the row of the default.

    Args:
        rows: all rows.
        case: name of the case.
    """
    return next(row for row in rows if row["case"] == case and row["method"] == CHOICE)


def is_below(rows: list[dict[str, Any]], case: str) -> bool:
    """Returns whether some method is better than the default on the windows, by more than noise.

    Args:
        rows: all rows.
        case: name of the case.
    """
    return any(
        row["against_default"]["wilcoxon"] < 0.01 and row["against_default"]["difference"] > 0
        for row in rows
        if row["case"] == case and row["method"] not in SINGLE
    )


def picked(row: dict[str, Any]) -> str:
    """Describes what the default took, such as "regime" or "regime 2, hybrid 1".

    Args:
        row: of the default.
    """
    counts = Counter(row["chosen"])
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{name} {n}" for name, n in counts.most_common())


def spreads(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Returns spread over error of the methods that forecast a spread, in cases with noise.

    Args:
        rows: all rows.

    Returns:
        Case, method, and the ratio at each of `LEADS`.
    """
    found = [row for row in rows if row["group"] == "noise" and "spread_over_error" in row]
    return [
        (
            row["case"],
            row["method"],
            *("" if (ratio := row["spread_over_error"][lead - 1]) is None else f"{ratio:.2f}" for lead in LEADS),
        )
        for row in found
        if row["method"] not in SINGLE
    ]


def spread_table(rows: list[dict[str, Any]]) -> Table:
    """Shows spread over error; one is a spread that matches the error.

    Args:
        rows: all rows.
    """
    result = Table(title="spread / error, by lead", box=box.SIMPLE)
    for name in ("case", "method", *map(str, LEADS)):
        result.add_column(name, justify="left" if name in ("case", "method") else "right")
    for line in spreads(rows):
        result.add_row(*line)
    return result


def table(rows: list[dict[str, Any]]) -> Table:
    """Shows all cases: the default, and the best method it could have taken.

    Args:
        rows: all rows.
    """
    result = Table(title="median valid time", box=box.SIMPLE)
    for name in ("case", "default", "95 %", "took", "best alternative", "", "below it", "longest"):
        result.add_column(name, justify="left" if name in ("case", "took", "best alternative") else "right")
    for case in dict.fromkeys(row["case"] for row in rows):
        own, best = default_of(rows, case), best_alternative(rows, case)
        result.add_row(
            case,
            f"{own['valid_time_median']:.2f}",
            "{:.2f} to {:.2f}".format(*own["ci95"]),
            picked(own),
            best["method"],
            f"{best['valid_time_median']:.2f}",
            "yes" if is_below(rows, case) else "no",
            f"{own['longest']:g}",
        )
    return result

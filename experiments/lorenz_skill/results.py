"""Rows of `experiments.lorenz_skill`, which summarise a method in a case, and their tables."""

import json
import math
from typing import Any

import jax
import numpy as np
from rich import box
from rich.table import Table

import jaxcast
from experiments.lorenz.methods import label_of
from experiments.lorenz_skill.cases import CASES, FIGURE_KNOWN, Case
from experiments.lorenz_skill.rivals import at_edge
from jaxcast.benchmark import find_case
from jaxcast.io.reading import Arrays
from jaxcast.scores.paired import median_over_seeds

PUBLISHED = {("paper", "attention"): 2.60}
ROUNDING = 1e-6
"""Errors below it, in deviations, are rounding and cannot be compared with a spread."""
NOTES = ("periods", "emulator_error", "value_noise")


def make_row(name: str, method: str, scores: dict[str, list[Arrays]], task: Any, calm: Any) -> dict[str, Any]:
    """Summarises a method in a case over all truths and training seeds, and compares it with the published one.

    Args:
        name: the case.
        method: the method.
        scores: arrays of each method for each truth.
        task: task of the first truth.
        calm: for each truth, which windows have no switch; None for cases without switches.
    """
    own, dt = scores[method], CASES[name].dt
    medians = [[round(float(np.median(times)), 9) for times in arrays["valid_time"]] for arrays in own]
    row: dict[str, Any] = {
        "case": name,
        "method": method,
        "samples_seen": [int(arrays["samples_seen"]) for arrays in own],
        "num_data_seeds": len(own),
        "num_seeds": len(own[0]["valid_time"]),
        "valid_time_median": tidy(np.median([np.median(seeds) for seeds in medians])),
        "valid_time_median_per_seed": medians,
        "valid_time_as_published": tidy(np.median([np.median(_as_published(arrays, dt)) for arrays in own])),
        "num_windows": own[0]["valid_time"].shape[1],
        "share_censored": tidy(np.mean([arrays["censored"].mean() for arrays in own])),
        "window": tidy(task.windows.truth.shape[1] * dt),
        "threshold": tidy(task.rules.threshold),
        "lyapunov_exponent": tidy(task.rules.exponent),
        "published": PUBLISHED.get((name, method)) if task.train.states.shape[0] == 4000 else None,
        "fit_s": round(float(np.median([arrays["fit_s"] for arrays in own])), 1),
        "median_error_at": _at_leads(_median_errors(own), dt),
    }
    if "spread" in own[0]:
        spread, error = (np.sqrt(np.mean([arrays[k] ** 2 for arrays in own], 0)) for k in ("spread", "spread_error"))
        ratio = np.where(error > ROUNDING, spread / np.maximum(error, ROUNDING), np.nan)
        row["spread_to_error_at"] = {lead: value for lead, value in _at_leads(ratio, dt).items() if value is not None}
    if method in ("attention", "regime") and (followed := tracked(own[0], task, CASES[name])) is not None:
        row["tracking"] = followed
    if calm is not None:
        row["valid_time_median_without_switch"] = [
            tidy(np.median(arrays["valid_time"][:, keep])) if keep.any() else None
            for arrays, keep in zip(own, calm, strict=True)
        ]
        row["num_windows_without_switch"] = [int(keep.sum()) for keep in calm]
    if "tried" in own[0]:
        row |= settings_of(own)
    row |= {note: [np.ravel(arrays[note]).tolist() for arrays in own] for note in NOTES if note in own[0]}
    return row if method == "attention" else row | {"against_attention": against(own, scores["attention"])}


def _as_published(arrays: Arrays, dt: float) -> np.ndarray:
    """Returns each seed's median of the valid times that the published convention gives, one sample less."""
    return np.asarray(np.median(np.maximum(arrays["valid_time"] - dt, 0), axis=-1))


def settings_of(own: list[Arrays]) -> dict[str, Any]:
    """Returns for each truth the chosen settings, those at the edge of their grid, and all that were tried.

    Settings are chosen on the training trajectory, by their mean valid time there.
    """
    settings, tried = ([json.loads(str(arrays[key])) for arrays in own] for key in ("setting", "tried"))
    edges = [at_edge(setting, all_tried) for setting, all_tried in zip(settings, tried, strict=True)]
    return {"setting": settings, "setting_at_edge": edges, "tried": tried}


def against(own: list[Arrays], theirs: list[Arrays]) -> dict[str, float]:
    """Runs the paired test over the windows of all truths."""
    times, censored = zip(*(_over_truths(group) for group in (own, theirs)), strict=True)
    test = jaxcast.scores.paired_test(
        *times, first_censored=censored[0], second_censored=censored[1], key=jax.random.key(0)
    )
    return {key: float(value) for key, value in test._asdict().items()}


def _over_truths(group: list[Arrays]) -> tuple[np.ndarray, np.ndarray]:
    both = [median_over_seeds(arrays["valid_time"], arrays["censored"]) for arrays in group]
    return np.concatenate([times for times, _ in both]), np.concatenate([censored for _, censored in both])


def _median_errors(own: list[Arrays]) -> np.ndarray:
    squares = np.concatenate([arrays["square_error"].reshape(-1, arrays["square_error"].shape[-1]) for arrays in own])
    return np.asarray(np.sqrt(np.median(squares, 0)))


def _at_leads(values: np.ndarray, dt: float) -> dict[str, float | None]:
    """Picks values at the first lead and at a twelfth, a quarter, a half and the end of the window."""
    num = len(values)
    leads = sorted({0, num // 12, max(0, num // 4 - 1), max(0, num // 2 - 1), num - 1})
    return {f"{dt * (lead + 1):g}": tidy(values[lead]) for lead in leads}


def tracked(arrays: Arrays, task: Any, case: Case) -> dict[str, Any] | None:
    """Measures how the hidden parameter is followed along the trajectory of the picture.

    Returns:
        Correlation and mean distance, with truth (from its sixth sample on) and without.
    """
    if task.hidden is None or not {"figure_regime", "figure_weights"} & arrays.keys():
        return None
    values = task.hidden[1]
    if "figure_regime" in arrays:
        found, delay = arrays["figure_regime"][:, 0], 0.0
    elif arrays["figure_weights"].shape[1] == len(values):
        found, delay = values[np.argmax(arrays["figure_weights"], -1)], case.dt / 2
    else:
        return None
    truth = np.asarray(task.hidden_at(task.shown.times + delay))
    parts = {"open_loop": slice(5, FIGURE_KNOWN), "closed_loop": slice(FIGURE_KNOWN, None)}
    return {
        name: {
            "correlation": tidy(np.corrcoef(found[part], truth[part])[0, 1]),
            "mean_distance": tidy(np.abs(found[part] - truth[part]).mean()),
        }
        for name, part in parts.items()
        if found[part].size and np.ptp(found[part]) > 0 and np.ptp(truth[part]) > 0
    }


def cells_of(row: dict[str, Any]) -> dict[str, str]:
    """Returns the cells of a row in both tables."""
    seeds, test = np.ravel(row["valid_time_median_per_seed"]), row.get("against_attention")
    p = "" if test is None else f"{test['wilcoxon']:.0e}" if test["wilcoxon"] > 1e-99 else "<1e-99"
    seen = sorted({min(row["samples_seen"]), max(row["samples_seen"])})
    return {
        "case": CASES[row["case"]].title,
        "method": label_of(row["method"]),
        "true samples": " to ".join(map(str, seen)),
        "truths": str(row["num_data_seeds"]),
        "published": "" if row["published"] is None else f"{row['published']:.2f}",
        "as published": "" if row["published"] is None else f"{row['valid_time_as_published']:.2f}",
        "median valid time": f"{row['valid_time_median']:.2f}",
        "seeds": f"{min(seeds):.2f} to {max(seeds):.2f}" if len(seeds) > 1 else "",
        "valid to the end": shown_share(row["share_censored"]),
        "difference to attention": ""
        if test is None
        else f"{test['difference']:.2f} [{test['low']:.2f}, {test['high']:.2f}]",
        "Wilcoxon p": p,
    }


def reported(row: dict[str, Any]) -> float:
    """Returns a median valid time as it is shown: beyond the valid ground truth time it says nothing.

    Args:
        row: of results.json.
    """
    return min(float(row["valid_time_median"]), find_case(row["case"]).longest_valid_time)


def shown_share(share: float) -> str:
    """Formats a share in whole per cent; only a share of one is 100%."""
    return f"{math.floor(100 * share) if share > 0.99 else round(100 * share)}%"


def table(rows: list[dict[str, Any]]) -> Table:
    """Shows every case and method, published and own numbers side by side."""
    result = Table(
        title="Median valid time over windows (time units of each system)",
        caption="seen: true samples used before each window. seeds: lowest and highest median. whole: share of windows "
        "valid to their end. p: paired Wilcoxon test against attention",
        box=box.SIMPLE,
    )
    names = {"method": "method", "seen": "true samples", "published": "published", "as published": "as published"}
    names |= {"ours": "median valid time", "seeds": "seeds", "whole": "valid to the end", "p": "Wilcoxon p"}
    for name in names:
        result.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    last = None
    for row in rows:
        cells = cells_of(row)
        if row["case"] != last:
            result.add_section()
            result.add_row(f"[bold]{cells['case']}[/]")
        short = {name: cells[key].replace(" to ", "-") for name, key in names.items()}
        result.add_row(*(short | {"method": f"  {short['method']}"}).values())
        last = row["case"]
    return result


def edges(rows: list[dict[str, Any]]) -> list[str]:
    """Lists the methods whose chosen setting lies at the edge of its grid on some truth, one a line."""
    lines = []
    for row in rows:
        named = sorted({name for names in row.get("setting_at_edge", []) for name in names})
        shown = [f"{name} {', '.join(f'{setting[name]:g}' for setting in row['setting'])}" for name in named]
        if shown:
            lines.append(f"{CASES[row['case']].title}, {label_of(row['method'])}: {'; '.join(shown)}")
    return lines


def markdown(rows: list[dict[str, Any]]) -> str:
    """Formats the table in Markdown."""
    cells = [cells_of(row) for row in rows]
    lines = [list(cells[0]), ["---"] * len(cells[0]), *(list(one.values()) for one in cells)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def tidy(value: Any) -> float | None:
    """Removes rounding noise from a multiple of dt; None for infinity, which JSON lacks."""
    return round(float(value), 12) if math.isfinite(value) else None

"""Printed tables and pictures of the commands of a forecast hub."""

from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from jaxcast.cli.command import make_console
from jaxcast.cli.figures import figure_of
from jaxcast.errors import InputError, shown
from jaxcast.hub.arrays import Hub
from jaxcast.io.files import save_figure

FINAL_TRUTH = "final truth: as the table has it now, revisions are not replayed"


def show_scores(rows: list[dict[str, Any]], hub: Hub, dates: str) -> None:
    """Prints a table of scores.

    Args:
        rows: Rows of `score_forecasters`.
        hub: The hub.
        dates: The dates in words.
    """
    covered = [name for name in rows[0] if name.startswith("coverage")]
    table = Table(
        title=f"Mean WIS at horizon {hub.horizon}, {dates}, {len(hub.locations)} locations, "
        f"{len(hub.levels)} levels, final truth",
        caption="WIS, its dispersion, over- and underprediction, on counts and on their logarithm; coverage. "
        "Over a model's own tasks; WIS relative to the others over common ones, of which there are "
        f"{rows[0]['num_common']}; miss.: tasks without a forecast. {FINAL_TRUTH[0].upper()}{FINAL_TRUTH[1:]}",
        box=box.SIMPLE,
    )
    heads = (
        "model",
        "WIS",
        "disp.",
        "over",
        "under",
        "log",
        *(f"{name[8:]} %" for name in covered),
        "rel.",
        "tasks",
        "miss.",
    )
    for head in heads:
        is_name = head == "model"
        table.add_column(head, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
    for row in sorted(rows, key=lambda row: row["relative_wis"] or np.inf):
        parts = (row[name] for name in ("wis", "dispersion", "overprediction", "underprediction"))
        table.add_row(
            Text(shown(row["method"])),
            *("" if part is None else f"{part:.2f}" for part in parts),
            "" if row["log_wis"] is None else f"{row['log_wis']:.3f}",
            *("" if row[name] is None else f"{row[name]:.0%}" for name in covered),
            "" if row["relative_wis"] is None else f"{row['relative_wis']:.3f}",
            str(row["num_tasks"]),
            str(row["num_missing"]),
        )
    make_console().print(table)


def say(*lines: str) -> None:
    """Prints lines as they are: names in them are neither markup nor emoji.

    Args:
        lines: The lines.
    """
    make_console().print("\n".join(lines), highlight=False, markup=False, emoji=False, soft_wrap=True)


def draw_submissions(path: Path, hub: Hub) -> None:
    """Draws who submitted when, where matplotlib is installed.

    Args:
        path: Name of the picture.
        hub: The hub.
    """
    from jaxcast.plotting.quantiles import plot_submissions

    try:
        figure = figure_of(height=0.9 + 0.32 * len(hub.models))
    except InputError:
        return
    plot_submissions(figure.subplots(), hub.dates, hub.models, hub.present.mean(0)).set_title(
        "Share of locations forecast by each model"
    )
    save_figure(path, figure)


def draw_weights(path: Path, hub: Hub, weights: np.ndarray) -> None:
    """Draws the weights of the adaptive pool over time, where matplotlib is installed.

    Args:
        path: Name of the picture.
        hub: The hub.
        weights: Weight of each model at each date.
    """
    from jaxcast.plotting.quantiles import plot_model_weights

    try:
        figure = figure_of()
    except InputError:
        return
    ax = plot_model_weights(figure.subplots(), hub.dates, weights, hub.models)
    ax.set_title("Weights of the adaptive pool, mean over locations, learned from earlier dates")
    save_figure(path, figure)


def draw_fan(path: Path, newest: dict[int, np.ndarray], hub: Hub, reference: np.datetime64) -> None:
    """Draws the forecast of the location with the largest median.

    Args:
        path: Name of the picture.
        newest: Quantiles of every location by horizon.
        hub: The hub.
        reference: Reference date of the round.
    """
    from jaxcast.plotting.quantiles import plot_fan
    from jaxcast.plotting.trajectories import HISTORY, label_of

    middle = len(hub.levels) // 2
    horizons = sorted(newest)
    place = int(np.nan_to_num(newest[horizons[0]][:, middle], nan=-np.inf).argmax())
    dates = reference + np.asarray(horizons) * hub.step
    figure = figure_of()
    ax = figure.subplots()
    values = np.stack([newest[horizon][place] for horizon in horizons])
    known = np.isfinite(hub.truth[place])
    # A round that is replayed has truth after the newest that it was made from.
    is_history = known & (hub.dates <= hub.dates[-1] - hub.steps_ahead * hub.step)
    later = known & ~is_history & (hub.dates <= dates[-1])
    seen = (hub.dates[is_history][-20:], hub.truth[place, is_history][-20:])
    truth = (hub.dates[later], hub.truth[place, later]) if later.any() else None
    if len(horizons) == 1:  # a fan needs a width: it opens from what was seen last, if anything was
        start = (seen[0][-1], np.full_like(values, seen[1][-1])) if len(seen[0]) else (reference, values)
        dates, values = np.append(start[0], dates), np.concatenate([start[1], values])
    ax.plot(*seen, color=HISTORY, lw=1.1, marker=".", ms=4, label="history")
    plot_fan(ax, dates, values, hub.levels, truth=truth)
    count = len(hub.locations)
    chosen = f", the largest of {count}" if count > 1 else ""
    ax.set_title(f"Forecast from {reference} for location {label_of(hub.locations[place])}{chosen}")
    ax.set(xlabel="date", ylabel=label_of(hub.target or "value"))
    save_figure(path, figure)

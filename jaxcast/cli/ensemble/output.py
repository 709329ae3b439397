"""Printed tables, files and pictures of the commands of an ensemble."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from jaxcast.cli.command import make_console
from jaxcast.cli.figures import figure_of
from jaxcast.distributions.normal import Normal
from jaxcast.ensemble.spread import category_probabilities
from jaxcast.ensemble.tables import Ensemble
from jaxcast.errors import shown

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def show_scores(rows: Sequence[dict[str, Any]], ensemble: Ensemble, title: str) -> None:
    """Prints a table of scores, the best first.

    Args:
        rows: Rows of `score_ensemble`.
        ensemble: The ensemble.
        title: Title of the table.
    """
    leads = _shown_leads(ensemble.leads)
    heads = [f"lead {ensemble.leads[k]}" for k in leads]
    heads += ["RMSE", "ratio", "95 %", "CRPS", "50 %", "90 %", "cases"]
    table = empty_table(
        title,
        heads,
        "RMSE by lead, its mean over leads, and that relative to the equally weighted mean over the same cases (95 % "
        "interval by a bootstrap over years)",
    )
    for row in sorted(rows, key=lambda row: (row["ratio"] is None, row["ratio"])):
        table.add_row(
            Text(shown(row["method"])),
            *(_cell(row["rmse_by_lead"][k]) for k in leads),
            _cell(row["rmse"]),
            _cell(row["ratio"]),
            interval_of(row),
            _cell(row["crps"]),
            *("" if row[name] is None else f"{row[name]:.1%}" for name in ("coverage50", "coverage90")),
            str(row["num_cases"]),
        )
    make_console().print(table)


def empty_table(title: str, heads: Sequence[str], caption: str) -> Table:
    """Makes a table of scores without rows, whose first column is the name of a forecast.

    Args:
        title: Title of the table.
        heads: Heads of the columns with numbers.
        caption: What the numbers are.

    Returns:
        The table.
    """
    table = Table(title=title, box=box.SIMPLE, caption=caption)
    table.add_column("", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def interval_of(row: Mapping[str, Any]) -> str:
    """Returns the interval of a row's ratio as text; nothing where there is none.

    Args:
        row: A row of `score_ensemble`.
    """
    ends = row["ratio_ci95"]
    return "" if ends is None or None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _shown_leads(leads: Sequence[int]) -> list[int]:
    """Returns the places of a few leads: the first, the last and one between."""
    return sorted({0, len(leads) // 2, len(leads) - 1})


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"


def forecast_table(
    ensemble: Ensemble,
    pooled: np.ndarray,
    spread: np.ndarray,
    issues: Sequence[int],
    *,
    levels: Sequence[float] = LEVELS,
    thresholds: tuple[float, ...] = (),
) -> str:
    """Writes pooled forecasts as a table in CSV, with quantiles and probabilities of categories.

    Args:
        ensemble: The ensemble.
        pooled: Pooled forecasts.
        spread: Their standard deviations.
        issues: The issues to write.
        levels: Levels of the quantiles.
        thresholds: Bounds between categories.

    Returns:
        The text.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    probabilities = [f"p_below_{thresholds[0]:g}"] if thresholds else []
    probabilities += [f"p_{low:g}_to_{high:g}" for low, high in pairwise(thresholds)]
    probabilities += [f"p_above_{thresholds[-1]:g}"] if thresholds else []
    writer.writerow(["issue", "lead", "target", "mean", "spread", *(f"q{level:g}" for level in levels), *probabilities])
    loc, scale = jnp.asarray(pooled), jnp.asarray(np.where(np.isfinite(spread), spread, np.nan))
    quantiles = np.asarray(Normal(loc, scale).quantiles(jnp.asarray(levels)))
    chances = np.asarray(category_probabilities(loc, scale, thresholds)) if thresholds else np.zeros((*pooled.shape, 0))
    for issue in issues:
        for place, lead in enumerate(ensemble.leads):
            if not np.isfinite(pooled[issue, place]):
                continue
            numbers = [pooled[issue, place], spread[issue, place], *quantiles[issue, place], *chances[issue, place]]
            cells = ["" if np.isnan(number) else f"{number:.6g}" for number in numbers]
            writer.writerow([ensemble.issues[issue], lead, ensemble.targets[issue][place], *cells])
    return text.getvalue()


def weight_table(ensemble: Ensemble, weights: np.ndarray) -> str:
    """Writes the weights of the models as a table in CSV.

    Args:
        ensemble: The ensemble.
        weights: Weights (issue, model, lead).

    Returns:
        The text.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["issue", "lead", "model", "weight"])
    for issue, model, place in np.argwhere(weights > 0):
        names = (ensemble.issues[issue], ensemble.leads[place], ensemble.models[model])
        writer.writerow([*names, f"{weights[issue, model, place]:.6g}"])
    return text.getvalue()


def plume_figure(ensemble: Ensemble, pooled: np.ndarray, spread: np.ndarray, issue: int) -> Any:
    """Draws the models' forecasts of an issue, and the pool's with its 50 and 90 % band.

    Args:
        ensemble: The ensemble.
        pooled: Pooled forecasts.
        spread: Their standard deviations.
        issue: The issue.

    Returns:
        The figure.
    """
    from jaxcast.plotting.plumes import plot_plume

    figure = figure_of()
    forecasts = ensemble.forecasts
    values = np.where(np.asarray(forecasts.present[issue]), np.asarray(forecasts.values[issue]), np.nan)
    truth = np.asarray(forecasts.truth[issue])
    ax = plot_plume(figure.subplots(), ensemble.targets[issue], values, pooled[issue], spread[issue], truth=truth)
    ax.set_title(f"Forecasts issued in {ensemble.issues[issue]}")
    return figure

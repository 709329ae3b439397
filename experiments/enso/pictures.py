"""The pictures of `experiments.enso`."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.enso.data import Official
from experiments.enso.methods import BEST, EQUAL, JOINED, Forecasts
from experiments.enso.rows import THRESHOLDS
from jaxcast.ensemble import Ensemble, categories_of, category_probabilities
from jaxcast.plotting import plot_plume

matplotlib.use("Agg")
SHOWN = {
    "persistence": "0.7",
    "climatology": "0.85",
    EQUAL: "black",
    "equal_median": "tab:red",
    "dynamical_mean": "tab:orange",
    "attention": "tab:green",
    BEST: "tab:blue",
    JOINED: "tab:purple",
}
"""Methods in the picture of errors by lead, with their colours."""
BINS = np.linspace(0, 1, 6)[1:-1]
"""Bounds between the bins of probabilities."""
NUM_MODELS = 12
"""Models whose weights are shown, those with the largest."""


def draw(
    ensemble: Ensemble,
    made: Forecasts,
    rows: Sequence[dict[str, Any]],
    official: Sequence[Official],
    is_scored: np.ndarray,
) -> dict[str, Figure]:
    """Draws all pictures.

    Args:
        ensemble: The ensemble.
        made: Forecasts of all methods.
        rows: Rows of results.json.
        official: The official probabilities.
        is_scored: Whether an issue is scored.

    Returns:
        Figures by name of the file.
    """
    return {
        "plume": plume(ensemble, made, is_scored),
        "weights": weights(ensemble, made.weights, is_scored),
        "skill": skill(ensemble, rows),
        "reliability": reliability(ensemble, made, official, is_scored),
    }


def plume(ensemble: Ensemble, made: Forecasts, is_scored: np.ndarray) -> Figure:
    """Draws the scored issue with the largest targets, all of them observed."""
    truth = np.asarray(ensemble.forecasts.truth)
    whole = is_scored & np.isfinite(truth).all(1) & np.isfinite(made.pooled[BEST]).all(1)
    size = np.where(whole, np.abs(np.nan_to_num(truth)).max(1), -1)
    issue = int(size.argmax())
    values = np.where(
        np.asarray(ensemble.forecasts.present[issue]), np.asarray(ensemble.forecasts.values[issue]), np.nan
    )
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    ax = plot_plume(
        figure.subplots(),
        ensemble.targets[issue],
        values,
        made.pooled[BEST][issue],
        made.spreads[BEST][issue],
        truth=truth[issue],
    )
    for bound in THRESHOLDS:
        ax.axhline(bound, color="0.8", lw=0.8, zorder=0)
    ax.set(title=f"Forecasts issued in {ensemble.issues[issue]}", xlabel="first month of the season", ylabel="°C")
    return figure


def weights(ensemble: Ensemble, found: np.ndarray, is_scored: np.ndarray) -> Figure:
    """Draws the mean weight of models by lead, and that of the first group by lead and season."""
    scored = found[is_scored]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    present = np.asarray(ensemble.forecasts.present)[is_scored].any(2)
    count = np.maximum(present.sum(0), 1)
    mean = np.where(present[:, :, None], scored, 0).sum(0) / count[:, None]
    often = present.mean(0) > 0.5 if (present.mean(0) > 0.5).any() else present.any(0)
    order = [place for place in np.argsort(-mean.mean(1)) if often[place]][:NUM_MODELS]
    picture = left.imshow(mean[order], aspect="auto", cmap="viridis")
    left.set_yticks(range(len(order)), [ensemble.models[place] for place in order])
    left.set_title("mean weight of a model, where it is present")
    figure.colorbar(picture, ax=left)
    group = np.asarray(ensemble.forecasts.groups) == 0
    share = scored[:, group].sum(1)
    season = np.asarray(ensemble.forecasts.season)[is_scored]
    by_season = np.full((ensemble.forecasts.num_seasons, share.shape[1]), np.nan)
    for number in range(len(by_season)):
        for lead in range(share.shape[1]):
            cases = season[:, lead] == number
            by_season[number, lead] = share[cases, lead].mean() if cases.any() else np.nan
    picture = right.imshow(by_season, aspect="auto", cmap="viridis")
    right.set_yticks(range(len(by_season)), [f"{number + 1}" for number in range(len(by_season))])
    right.set(title=f"share of {ensemble.groups[0]} models", ylabel="first month of the season")
    figure.colorbar(picture, ax=right)
    for ax in (left, right):
        ax.set_xticks(range(len(ensemble.leads)), [str(lead) for lead in ensemble.leads])
        ax.set_xlabel("lead")
    return figure


def skill(ensemble: Ensemble, rows: Sequence[dict[str, Any]]) -> Figure:
    """Draws RMSE by lead, and relative to the equally weighted mean."""
    by_method = {row["method"]: row for row in rows}
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    equal = np.asarray(by_method[EQUAL]["rmse_by_lead"], float)
    for name, color in SHOWN.items():
        if name not in by_method:
            continue
        errors = np.asarray(by_method[name]["rmse_by_lead"], float)
        style = {"lw": 2.4 if name in (BEST, JOINED) else 1.3, "color": color}
        left.plot(ensemble.leads, errors, label=name.replace("_", " "), **style)
        if name not in ("persistence", "climatology"):
            right.plot(ensemble.leads, errors / equal, **style)
    left.set(xlabel="lead", ylabel="RMSE, °C", ylim=(0, None))
    right.set(xlabel="lead", ylabel="RMSE / that of the mean")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def reliability(ensemble: Ensemble, made: Forecasts, official: Sequence[Official], is_scored: np.ndarray) -> Figure:
    """Draws the observed share of a category for each forecast probability, on the official cells."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    truth = np.asarray(categories_of(ensemble.forecasts.truth, THRESHOLDS))
    loc, scale = (np.asarray(each[BEST]) for each in (made.pooled, made.spreads))
    shares = np.asarray(category_probabilities(np.nan_to_num(loc), np.nan_to_num(scale, nan=1.0), THRESHOLDS))
    axes = figure.subplots(1, max(len(official), 1), squeeze=False)[0]
    for ax, each in zip(axes, official, strict=False):
        cells = is_scored[each.issue] & np.isfinite(truth[each.issue, each.lead] + loc[each.issue, each.lead])
        observed = truth[each.issue, each.lead][cells]
        ours, theirs = shares[each.issue, each.lead][cells], each.probabilities[cells]
        for label, given in (("adaptive pool", ours), (f"official, {each.source}", theirs)):
            for category, name in ((0, "La Niña"), (2, "El Niño")):
                bins = np.digitize(given[:, category], BINS)
                points = [
                    (given[inside, category].mean(), (observed[inside] == category).mean())
                    for number in range(len(BINS) + 1)
                    if (inside := bins == number).sum() >= 10
                ]
                if points:
                    ax.plot(*zip(*points, strict=True), marker="o", ms=4, label=f"{label}, {name}")
        ax.plot([0, 1], [0, 1], color="0.7", lw=0.8, zorder=0)
        ax.set(xlabel="probability", ylabel="observed share", title=f"{int(cells.sum())} cells")
        ax.legend(frameon=False)
    return figure


NAMES = ("plume.png", "weights.png", "skill.png", "reliability.png")

"""Pictures of `experiments.lorenz_skill`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from experiments.lorenz.methods import label_of
from experiments.lorenz_skill.cases import CASES, FIGURE_KNOWN, Case
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder
from jaxcast.plotting.trajectories import or_more

if TYPE_CHECKING:
    from experiments.lorenz_skill.cases import SkillTask

matplotlib.use("Agg")
MOST_SHOWN = 5.0
DASHES = {"regime": (0, (4, 2))}
COLORS = {"regime": "#c2410c", "regime_without_coordinates": "#f59e0b", "attention": "#2563eb"}


def draw_case(folder: RunFolder, name: str, case: Case, task: "SkillTask", scores: dict[str, list[Arrays]]) -> None:
    """Draws valid times and errors of the paper's protocol, and the inferred parameter wherever it varies."""
    if name in ("paper", "noise_5"):
        folder.save_figure(f"valid_times_{name}.png", valid_times(case, task, scores))
        folder.save_figure(f"errors_{name}.png", errors(case, task, scores))
    if task.hidden is not None and task.truth.schedules and {"regime", "attention"} <= scores.keys():
        folder.save_figure(f"regime_{name}.png", regime(case, task, scores))


def names(cases: Iterable[str]) -> list[str]:
    """Returns the names of all pictures that these cases may draw."""
    return ["cases.png", *(f"{kind}_{case}.png" for case in cases for kind in ("valid_times", "errors", "regime"))]


def draw_all(folder: RunFolder, rows: list[dict[str, Any]]) -> None:
    """Draws all cases at a glance."""
    folder.save_figure("cases.png", cases(rows))


def valid_times(case: Case, task: "SkillTask", scores: dict[str, list[Arrays]]) -> Figure:
    """Draws the share of windows that are still valid, over lead time."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    ax = figure.subplots()
    end = task.windows.truth.shape[1] * case.dt
    leads = np.linspace(0, end, 400)
    for method, per_task in _by_median(scores):
        times = np.concatenate([arrays["valid_time"].ravel() for arrays in per_task])
        median = np.median([np.median(np.median(arrays["valid_time"], -1)) for arrays in per_task])
        share = (times[:, None] >= leads).mean(0)
        ax.plot(
            leads,
            100 * share,
            color=COLORS.get(method),
            lw=2.2 if method in COLORS else 1.2,
            ls=DASHES.get(method, "-"),
            zorder=3 if method in DASHES else 2,
            label=f"{label_of(method)} ({or_more(median, end)})",
        )
    ax.axhline(50, color="0.7", lw=0.8, zorder=0)
    ax.set(xlabel="lead time (MTU)", ylabel="forecasts still valid (%)", xlim=(0, end), ylim=(0, 103))
    figure.suptitle(f"How long forecasts stay valid: {case.title} (median in brackets)")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def errors(case: Case, task: "SkillTask", scores: dict[str, list[Arrays]]) -> Figure:
    """Draws the median error over lead time, and the spread of methods that have one."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    ax = figure.subplots()
    leads = case.dt * np.arange(1, task.windows.truth.shape[1] + 1)
    for method, per_task in _by_median(scores):
        squares = np.concatenate([arrays["square_error"].reshape(-1, len(leads)) for arrays in per_task])
        line = ax.plot(
            leads,
            np.sqrt(np.median(squares, 0)),
            color=COLORS.get(method),
            lw=2.2 if method in COLORS else 1.2,
            ls=DASHES.get(method, "-"),
            zorder=3 if method in DASHES else 2,
            label=label_of(method),
        )
        if "median_spread" in per_task[0] and method in ("regime", "attention"):
            spread = np.median([arrays["median_spread"] for arrays in per_task], 0)
            kind = "predicted spread" if "figure_regime" in per_task[0] else "spread of its seeds"
            ax.plot(leads, spread, ":", color=line[0].get_color(), lw=1.6, label=f"{label_of(method)}: {kind}")
    threshold = np.sqrt(task.rules.threshold / np.mean(task.scale**2))
    ax.axhline(threshold, color="k", lw=1, ls=(0, (1, 1)), zorder=4, label="threshold of a valid forecast")
    ax.set(xlabel="lead time (MTU)", ylabel="median error (standard deviations)", yscale="log", xlim=(0, leads[-1]))
    # Forecasts that diverge leave the picture: beyond a few deviations all are equally wrong.
    ax.set_ylim(top=MOST_SHOWN)
    figure.suptitle(f"Error against lead time: {case.title}")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def regime(case: Case, task: "SkillTask", scores: dict[str, list[Arrays]]) -> Figure:
    """Draws the hidden parameter as the regime forecaster and attention's highest weight infer it."""
    assert task.hidden is not None
    name, values, _ = task.hidden
    symbol = rf"$\{name}$" if name in ("rho", "sigma", "beta") else name
    own, theirs = scores["regime"][0], scores["attention"][0]
    inferred, deviation = own["figure_regime"][:, 0], own["figure_regime_deviation"][:, 0]
    times = np.asarray(task.shown.times)
    elapsed = times - times[FIGURE_KNOWN - 1]
    fine = np.linspace(times[0], times[-1], 2000)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(elapsed[0], 0, color="0.93", zorder=0)
    ax.plot(fine - times[FIGURE_KNOWN - 1], task.hidden_at(fine), "k", lw=1, label=f"true {symbol}(t), never shown")
    attended = values[np.argmax(theirs["figure_weights"], -1)]
    ax.plot(elapsed + case.dt / 2, attended, ".", color=COLORS["attention"], ms=4, label="attention: highest weight")
    ax.plot(elapsed, inferred, color=COLORS["regime"], lw=2.5, alpha=0.75, label="regime forecaster")
    ax.fill_between(
        elapsed, inferred - 2 * deviation, inferred + 2 * deviation, color=COLORS["regime"], alpha=0.2, lw=0
    )
    low, high = min(values), max(values)
    ax.set(xlim=(elapsed[0], elapsed[-1]), ylim=(low - 0.15 * (high - low), high + 0.15 * (high - low)))
    ax.set(xlabel="time since the last true sample (MTU)", ylabel=symbol)
    for x, text, side in ((0, "history ", "right"), (0, " forecast", "left")):
        ax.annotate(text, (x, 0.98), xycoords=("data", "axes fraction"), ha=side, va="top", color="0.35")
    ax.set_title(f"The hidden regime, inferred and carried forward: {case.title}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def cases(rows: list[dict[str, Any]]) -> Figure:
    """Draws valid times of the published method and the regime forecaster in all cases, as shares of the window."""
    names = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(10, 1.6 + 0.5 * len(names)), layout="constrained")
    ax = figure.subplots()
    shown = ("attention", "ensemble_kalman_filter", "regime_without_coordinates", "regime")
    for k, method in enumerate(shown):
        found = {row["case"]: row for row in rows if row["method"] == method}
        places = [n for n, name in enumerate(names) if name in found]
        shares = [found[names[n]]["valid_time_median"] / found[names[n]]["window"] for n in places]
        bars = ax.barh(
            [n + 0.2 * (k - 1.5) for n in places], shares, 0.19, color=COLORS.get(method, "0.6"), label=label_of(method)
        )
        rows_shown = [found[names[n]] for n in places]
        numbers = [or_more(row["valid_time_median"], row["window"]) for row in rows_shown]
        ax.bar_label(bars, numbers, padding=2, fontsize=7)
    ax.set_yticks(range(len(names)), [CASES[name].title for name in names])
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
    ax.set(xlabel="median valid time, share of the window (numbers: in time units)", xlim=(0, 1.16))
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    ax.set_title("How much of each window is forecast")
    return figure


def _by_median(scores: dict[str, list[Arrays]]) -> list[tuple[str, list[Arrays]]]:
    def median(item: tuple[str, list[Arrays]]) -> float:
        return -float(np.median([np.median(arrays["valid_time"]) for arrays in item[1]]))

    return sorted(scores.items(), key=median)

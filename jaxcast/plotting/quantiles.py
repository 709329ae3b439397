"""Pictures of quantile forecasts: each function draws arrays on an axes and returns it.

matplotlib is imported only when one is called.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.plotting.trajectories import BLUE, FORECAST, OBSERVED, ORANGE, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("black", BLUE, ORANGE, "#5a9a4a", "#8e5aa8")
"""Colours of the forecasters in a picture, in their order."""


def plot_submissions(
    ax: "Axes",
    dates: Shaped[ArrayLike, " time"],
    models: Sequence[str],
    share: Shaped[ArrayLike, "time model"],
    *,
    label: str = "share of locations",
) -> "Axes":
    """Draws the share of locations that each model forecast at each time, the largest on top.

    Args:
        ax: to draw on.
        dates: of the forecasts.
        models: their names.
        share: of the locations, from 0 to 1.
        label: of the colour bar.

    Returns:
        The axes.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_submissions
        >>> from matplotlib.figure import Figure
        >>> dates = np.arange("2021-01-02", "2021-01-23", 7, dtype="datetime64[D]")
        >>> ax = plot_submissions(Figure().subplots(), dates, ["a", "b"], np.asarray([[1, 0], [1, 1], [1, 0]]))
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['b', 'a']
    """
    share, dates = np.asarray(share, float), np.asarray(dates)
    order = np.argsort(share.mean(0), kind="stable")
    step = dates[1] - dates[0] if len(dates) > 1 else np.timedelta64(7, "D")
    mesh = ax.pcolormesh(
        np.append(dates, dates[-1] + step),
        np.arange(len(models) + 1) - 0.5,
        share[:, order].T,
        cmap="Blues",
        vmin=0,
        vmax=1,
    )
    ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.015)
    ax.set_yticks(range(len(models)), [label_of(models[i]) for i in order])
    ax.set_xlabel("date")
    date_axis(ax, dates)
    return ax


def plot_scores_by_week(
    ax: "Axes",
    dates: Shaped[ArrayLike, " time"],
    scores: Mapping[str, Shaped[ArrayLike, " time"]],
    truth: Shaped[ArrayLike, " time"],
    *,
    windows: Sequence[tuple[str, str]] = (),
    truth_label: str = "observed",
) -> "Axes":
    """Draws the WIS of forecasters over time, with the truth in grey on an axis of its own.

    Args:
        ax: to draw on.
        dates: of the forecasts.
        scores: the WIS of each forecaster, by its name.
        truth: at the same dates.
        windows: (first, last) dates of periods to shade.
        truth_label: of the truth's axis.

    Returns:
        The axes.

    Source:
        After figure 5 of Patel and Wikner (2023).

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_scores_by_week
        >>> from matplotlib.figure import Figure
        >>> dates = np.arange("2021-01-02", "2021-01-23", 7, dtype="datetime64[D]")
        >>> ax = plot_scores_by_week(Figure().subplots(), dates, {"mean": np.ones(3)}, np.arange(3.0))
        >>> [line.get_label() for line in ax.lines]
        ['mean']
    """
    from matplotlib.dates import date2num

    dates = np.asarray(dates)
    behind = ax.twinx()
    behind.fill_between(dates, np.asarray(truth, float), color="0.85", lw=0)
    behind.set_ylabel(truth_label, color="0.4")
    behind.set_ylim(bottom=0)
    behind.tick_params(axis="y", colors="0.4")
    ax.set_zorder(behind.get_zorder() + 1)
    ax.patch.set_visible(False)
    for (name, values), color in zip(scores.items(), COLORS, strict=False):
        ax.plot(dates, np.asarray(values, float), label=label_of(name), color=color, lw=1.4)
    for first, last in windows:
        ax.axvspan(*date2num([np.datetime64(first), np.datetime64(last)]), color=BLUE, alpha=0.08, lw=0)
    ax.set(ylabel="WIS (lower is better)", xlim=(dates[0], dates[-1]), ylim=(0, None))
    ax.legend(frameon=False, fontsize=9)
    date_axis(ax, dates)
    for axes in (ax, behind):
        axes.spines[["top"]].set_visible(False)
    return ax


def plot_relative_scores(
    ax: "Axes",
    relative: Shaped[ArrayLike, "model location"],
    models: Sequence[str],
    locations: Sequence[str],
    *,
    label: str = "WIS relative to the baseline",
) -> "Axes":
    """Draws relative WIS by model and location as a heat map, the best model on top.

    Blue is better than the baseline, red is worse, and grey has no score.

    Args:
        ax: to draw on.
        relative: the WIS relative to the baseline; NaN without a score.
        models: their names.
        locations: their names.
        label: of the colour bar.

    Returns:
        The axes.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_relative_scores
        >>> from matplotlib.figure import Figure
        >>> ax = plot_relative_scores(Figure().subplots(), np.asarray([[0.8, 1.0], [2.0, 1.5]]), ["a", "b"], ["X", "Y"])
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['b', 'a']
    """
    relative = np.asarray(relative, float)
    order = np.argsort(-np.nanmean(np.log(relative), axis=1), kind="stable")
    logs = np.log2(relative[order])
    mesh = ax.pcolormesh(np.ma.masked_invalid(logs), cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_facecolor("0.75")  # no score
    bar = ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.015, ticks=[-1, -0.5, 0, 0.5, 1], extend="both")
    bar.ax.set_yticklabels(["0.5", "0.71", "1", "1.4", "2"])
    ax.set_yticks(np.arange(len(models)) + 0.5, [label_of(models[i]) for i in order])
    ax.set_xticks(np.arange(len(locations)) + 0.5, [label_of(name) for name in locations], rotation=90, fontsize=7)
    return ax


def plot_model_weights(
    ax: "Axes",
    dates: Shaped[ArrayLike, " time"],
    weights: Shaped[ArrayLike, "time model"],
    models: Sequence[str],
) -> "Axes":
    """Draws each model's share of a pool over time, stacked, the largest at the bottom.

    A model's colour follows from its place in `models`, so that several pictures agree. Dates
    without any weight are gaps.

    Args:
        ax: to draw on.
        dates: of the weights.
        weights: of each model at each date; all 0 or NaN where there is no pool.
        models: their names.

    Returns:
        The axes.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_model_weights
        >>> from matplotlib.figure import Figure
        >>> dates = np.arange("2021-01-02", "2021-01-23", 7, dtype="datetime64[D]")
        >>> ax = plot_model_weights(Figure().subplots(), dates, np.full((3, 2), 0.5), ["a", "b"])
        >>> ax.get_ylim() == (0.0, 1.0)
        True
    """
    from matplotlib import colormaps

    dates, weights = np.asarray(dates), np.asarray(weights, float)
    order = np.argsort(-np.nan_to_num(weights).mean(0), kind="stable")
    colors = colormaps["tab20"](order % 20)
    places, stacked = _with_gaps(dates, weights)
    ax.stackplot(places, stacked[:, order].T, labels=[label_of(models[i]) for i in order], colors=colors, lw=0)
    ax.set(ylim=(0, 1), xlim=(places[0], places[-1]), xlabel="date", ylabel="weight")
    date_axis(ax, dates)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _with_gaps(dates: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns dates and weights that end half a step beyond each run of dates with weights, then NaN."""
    dates = dates.astype("datetime64[h]")
    half = (np.diff(dates).min() if len(dates) > 1 else np.timedelta64(7 * 24, "h")) // 2
    is_there = np.nan_to_num(weights).sum(1) > 0
    places, rows = [], []
    for i, date in enumerate(dates):
        begins, ends = i == 0 or not is_there[i - 1], i == len(dates) - 1 or not is_there[i + 1]
        row = weights[i] if is_there[i] else np.full(weights.shape[1], np.nan)
        found = [date - half] * begins + [date] + [date + half] * ends
        places += found
        rows += [row] * len(found)
    return np.asarray(places), np.asarray(rows)


def plot_coverage(ax: "Axes", nominal: Sequence[float], coverage: Mapping[str, Sequence[float]]) -> "Axes":
    """Draws empirical against nominal coverage of central intervals.

    On the diagonal coverage is ideal; below it intervals are too narrow.

    Args:
        ax: to draw on.
        nominal: the nominal coverage of each interval.
        coverage: the empirical coverage of each interval, by forecaster.

    Returns:
        The axes.

    Example:
        >>> from jaxcast.plotting import plot_coverage
        >>> from matplotlib.figure import Figure
        >>> ax = plot_coverage(Figure().subplots(), [0.5, 0.95], {"mean": [0.4, 0.8]})
        >>> [line.get_label() for line in ax.lines]
        ['ideal', 'mean']
    """
    ax.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--", label="ideal")
    for (name, values), color in zip(coverage.items(), COLORS, strict=False):
        ax.plot(nominal, values, marker="o", ms=4, lw=1.4, color=color, label=label_of(name))
    ax.set(xlabel="nominal coverage", ylabel="empirical coverage", aspect="equal")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    for x, y, side in ((0.3, 0.62, "intervals too wide"), (0.62, 0.3, "intervals too narrow")):
        ax.text(x, y, side, color="0.6", ha="center", fontsize=9, style="italic")
    ax.legend(frameon=False, fontsize=9, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_fan(
    ax: "Axes",
    dates: Shaped[ArrayLike, " time"],
    quantiles: Shaped[ArrayLike, "time quantile"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    truth: tuple[Shaped[ArrayLike, " other"], Shaped[ArrayLike, " other"]] | None = None,
    truth_label: str = "observed",
) -> "Axes":
    """Draws a fan chart: the median and the central 50, 80 and 95 % intervals of a forecast.

    Args:
        ax: to draw on.
        dates: of the forecasts.
        quantiles: of each date.
        levels: of the quantiles; without any of these intervals, the widest is drawn.
        truth: (dates, values), as dots.
        truth_label: of the dots, for the legend.

    Returns:
        The axes.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_fan
        >>> from matplotlib.figure import Figure
        >>> dates = np.arange("2021-01-02", "2021-01-23", 7, dtype="datetime64[D]")
        >>> quantiles = np.arange(3.0)[:, None] + np.asarray([-1.0, 0.0, 1.0])
        >>> ax = plot_fan(Figure().subplots(), dates, quantiles, np.asarray([0.25, 0.5, 0.75]))
        >>> [line.get_label() for line in ax.lines]
        ['forecast, median']
    """
    dates, quantiles, levels = np.asarray(dates), np.asarray(quantiles, float), np.asarray(levels, float)
    usual = ((0.95, "#fbe8d3"), (0.8, "#f6cfa3"), (0.5, "#eeae68"))  # tints of FORECAST
    has_usual = any(np.isclose(levels, (1 + nominal) / 2, atol=1e-6).any() for nominal, _ in usual)
    for nominal, tint in usual if has_usual else ((float(levels[-1] - levels[0]), "#f6cfa3"),):
        index = [int(np.abs(levels - (1 + sign * nominal) / 2).argmin()) for sign in (-1, 1)]
        if np.allclose(levels[index], [(1 - nominal) / 2, (1 + nominal) / 2], atol=1e-6):
            bounds = quantiles[:, index[0]], quantiles[:, index[1]]
            ax.fill_between(dates, *bounds, color=tint, lw=0, label=f"{nominal:.0%} interval")
    ax.plot(dates, quantiles[:, len(levels) // 2], color=FORECAST, lw=1.6, label="forecast, median")
    if truth is not None:
        ax.plot(*truth, ls="", marker="o", ms=3.5, color=OBSERVED, label=truth_label)
    ax.legend(frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    date_axis(ax, dates)
    return ax


def date_axis(ax: "Axes", dates: Shaped[ArrayLike, " time"]) -> None:
    """Labels the horizontal axis with dates that do not overlap; numbers stay as they are.

    Args:
        ax: the axes.
        dates: what is drawn along it.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting.quantiles import date_axis
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> dates = np.arange("2021-01-02", "2021-01-23", 7, dtype="datetime64[D]")
        >>> line = ax.plot(dates, np.ones(3))
        >>> date_axis(ax, dates)
        >>> type(ax.xaxis.get_major_formatter()).__name__
        'ConciseDateFormatter'
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if np.issubdtype(np.asarray(dates).dtype, np.datetime64):
        locator = AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))

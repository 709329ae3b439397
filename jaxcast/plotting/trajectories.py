"""Pictures of trajectories and forecasts: each function draws arrays on an axes and returns it.

matplotlib is imported only when one is called.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.errors import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, PALE_BLUE, ORANGE = "#3f7fc4", "#b8c9dd", "#e07b00"
HISTORY, FORECAST, OBSERVED = "black", ORANGE, BLUE
"""Colours, the same in every picture: the history, what is forecast or inferred, and the truth."""


def label_of(name: str, most: int = 60) -> str:
    """Makes a label from a name in a file: one short line, with dollar signs as plain text.

    Args:
        name: of a component, series, location, model or unit.
        most: characters to keep.

    Returns:
        The label.

    Example:
        >>> from jaxcast.plotting.trajectories import label_of
        >>> label_of("US$ per t")
        'US\\\\$ per t'
    """
    cut = name if len(name) <= most else f"{name[:most]}..."
    return shown(cut).replace("$", r"\$")


def plot_series(
    ax: "Axes",
    times: Shaped[ArrayLike, " time"],
    values: Shaped[ArrayLike, " time"],
    *,
    schedule: Shaped[ArrayLike, " time"] | None = None,
    label: str = "",
    schedule_label: str = "",
) -> "Axes":
    """Draws one component over time, with a parameter's schedule dashed on the same scale.

    Args:
        ax: to draw on.
        times: of the values.
        values: of the component.
        schedule: of the parameter, at the same times.
        label: of the vertical axis and of the line.
        schedule_label: of the dashed line.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> times = np.linspace(0, 1, 20)
        >>> ax = jaxcast.plotting.plot_series(Figure().subplots(), times, np.sin(times), schedule=times)
        >>> len(ax.lines)
        2
    """
    ax.plot(times, values, color=HISTORY, lw=1.2, label=label)
    if schedule is not None:
        ax.plot(times, schedule, color=OBSERVED, lw=1.8, ls="--", label=schedule_label)
    return _framed(ax, times, label)


def plot_phase_portrait(
    ax: "Axes",
    x: Shaped[ArrayLike, " time"],
    y: Shaped[ArrayLike, " time"],
    *,
    color: Shaped[ArrayLike, " time"],
    color_label: str,
) -> "Axes":
    """Draws two components against each other as one line, coloured by a third quantity.

    Args:
        ax: to draw on.
        x: the component on the horizontal axis.
        y: the component on the vertical axis.
        color: the third quantity.
        color_label: of the colour bar.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> t = np.linspace(0, 6, 50)
        >>> ax = Figure().subplots()
        >>> ax = jaxcast.plotting.plot_phase_portrait(ax, np.cos(t), np.sin(t), color=t, color_label="time")
        >>> ax.collections[0].get_array().size
        49
    """
    from matplotlib.collections import LineCollection

    points = np.column_stack([x, y])
    segments = list(np.stack([points[:-1], points[1:]], 1))
    line = LineCollection(segments, array=np.asarray(color)[:-1], cmap="viridis", lw=0.9)
    ax.add_collection(line)
    ax.autoscale_view()
    ax.figure.colorbar(line, ax=ax, label=color_label)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_valid_times(
    ax: "Axes",
    labels: Sequence[str],
    medians: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    *,
    published: Sequence[float | None] | None = None,
    published_label: str = "published",
    highlight: Sequence[bool] | None = None,
    unit: str = "model time units",
    interval_label: str = "95 % interval of the median over windows",
    window: float | None = None,
) -> "Axes":
    """Draws bars of median valid times with intervals, the best on top.

    Args:
        ax: to draw on.
        labels: names of the forecasters.
        medians: of each.
        intervals: (low, high) of each.
        published: published values, drawn as diamonds, or None.
        published_label: of the diamonds, for the legend.
        highlight: which bars are dark; by default none.
        unit: of time, for the axis.
        interval_label: of the intervals, for the legend.
        window: the duration of the windows; a median that reaches it is labelled "or more".

    Returns:
        The axes.

    Example:
        >>> import jaxcast
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_valid_times(
        ...     Figure().subplots(), ["a", "b"], [2.6, 0.3], [(2.4, 2.8), (0.2, 0.3)], published=[2.6, None]
        ... )
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['b', 'a']
    """
    order = np.argsort(medians, kind="stable")
    longest = max(0.1, *(high for _, high in intervals), *(value or 0.0 for value in published or ()))
    for row, i in enumerate(order):
        strong = highlight is not None and highlight[i]
        ax.barh(row, medians[i], height=0.65, color=BLUE if strong else PALE_BLUE)
        low, high = intervals[i]
        whisker = [[medians[i] - low], [high - medians[i]]]
        ax.errorbar(medians[i], row, xerr=whisker, color="black", lw=1.4, capsize=3, zorder=3)
        reference = None if published is None else published[i]
        if reference is not None:
            ax.plot(reference, row, marker="D", color=ORANGE, ms=6, mec="white", zorder=4)
        end = max(high, reference or 0.0)
        ax.text(end + 0.02 * longest, row, or_more(medians[i], window), va="center", fontsize=9)
    ax.set_yticks(range(len(order)), [labels[i] for i in order])
    is_censored = window is not None and max(medians, default=0.0) >= window * (1 - 1e-9)
    ax.set_xlim(0, (1.3 if is_censored else 1.12) * longest)
    ax.set_xlabel(f"median valid time ({unit})")
    ax.spines[["top", "right"]].set_visible(False)
    ax.plot([], [], color="black", lw=1.4, label=interval_label)
    if published is not None and any(value is not None for value in published):
        ax.plot([], [], marker="D", ls="", color=ORANGE, ms=6, mec="white", label=published_label)
    ax.legend(loc="lower right", frameon=False, fontsize=9)
    return ax


def or_more(valid_time: float, window: float | None, form: str = ".2f") -> str:
    """Formats a valid time, with "or more" if it reaches the end of the window.

    Args:
        valid_time: of a forecast, or a median of several.
        window: the duration of the window; None if it is not known.
        form: the format of the number.

    Returns:
        The text.

    Example:
        >>> from jaxcast.plotting.trajectories import or_more
        >>> or_more(2.6, 12.8), or_more(12.8, 12.8)
        ('2.60', '12.80 or more')
    """
    more = window is not None and valid_time >= window * (1 - 1e-9)
    return f"{valid_time:{form}}" + (" or more" if more else "")


def plot_weights(
    ax: "Axes",
    edges: Shaped[ArrayLike, " step_edge"],
    weights: Shaped[ArrayLike, "step model"],
    coordinates: Shaped[ArrayLike, " model"],
    *,
    truth: tuple[Shaped[ArrayLike, " time"], Shaped[ArrayLike, " time"]] | None = None,
    restarts: Sequence[float] = (),
    coordinate_label: str = "candidate",
    truth_label: str = "truth",
) -> "Axes":
    """Draws a pool's weights over time as a heat map, with the candidates on the vertical axis.

    Args:
        ax: to draw on.
        edges: the times between which each row of weights held.
        weights: of each candidate at each step.
        coordinates: of the candidates, such as their parameter values, evenly spaced.
        truth: (times, the true value of the coordinate), dashed over the map.
        restarts: times at which the forecast started again from the truth.
        coordinate_label: of the vertical axis.
        truth_label: of the dashed line, for the legend.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> ax = jaxcast.plotting.plot_weights(ax, np.arange(4), np.eye(3), np.asarray([28.0, 30.0, 32.0]))
        >>> ax.get_ylim() == (27.0, 33.0)
        True
    """
    coordinates = np.asarray(coordinates, float)
    half = (coordinates[1] - coordinates[0]) / 2 if len(coordinates) > 1 else 0.5
    bounds = np.append(coordinates - half, coordinates[-1] + half)
    mesh = ax.pcolormesh(edges, bounds, np.asarray(weights).T, cmap="Greys", vmin=0, vmax=1, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="weight", pad=0.015)
    if truth is not None:
        ax.plot(*truth, color=OBSERVED, lw=2, ls="--", label=truth_label)
    for i, time in enumerate(restarts):
        ax.axvline(time, color=FORECAST, lw=1.6, label="forecast starts from the truth" if i == 0 else None)
    ax.set_xlim(float(np.min(edges)), float(np.max(edges)))
    ax.set_ylim(bounds[0], bounds[-1])
    ax.set_yticks(coordinates[:: max(1, -(-len(coordinates) // 12))])
    ax.set_ylabel(coordinate_label)
    return ax


def plot_losses(
    ax: "Axes", losses: Mapping[str, Shaped[ArrayLike, "seed epoch"]], *, loss_label: str = "loss"
) -> "Axes":
    """Draws the median over seeds of each run's loss by epoch, on logarithmic axes.

    Args:
        ax: to draw on.
        losses: of each run, by its name for the legend.
        loss_label: of the vertical axis, with its unit.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_losses(Figure().subplots(), {"a": np.ones((3, 10)), "b": np.ones((3, 5))})
        >>> [line.get_label() for line in ax.lines]
        ['a', 'b']
    """
    for name, values in losses.items():
        median = np.median(values, axis=0)
        ax.plot(np.arange(1, len(median) + 1), median, lw=1.3, label=name)
    ax.set(xscale="log", yscale="log", xlabel="epoch", ylabel=loss_label)
    if len(ax.lines) and all(np.ptp(np.log10(line.get_ydata())) < 1 for line in ax.lines):
        ax.set_yscale("linear")  # within one decade a logarithmic axis has no readable ticks
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def plot_forecast(
    ax: "Axes",
    history: tuple[Shaped[ArrayLike, " time"], Shaped[ArrayLike, " time"]],
    forecast: tuple[Shaped[ArrayLike, " lead"], Shaped[ArrayLike, " lead"]],
    *,
    truth: tuple[Shaped[ArrayLike, " later"], Shaped[ArrayLike, " later"]] | None = None,
    spread: Shaped[ArrayLike, " lead"] | None = None,
    label: str = "",
) -> "Axes":
    """Draws one component: its history, the forecast, and what was observed later.

    Args:
        ax: to draw on.
        history: (times, values) that the forecaster knows.
        forecast: (times, values) at the leads.
        truth: (times, values) observed after the history.
        spread: the standard deviation of the forecast, drawn as a band of two deviations.
        label: of the vertical axis.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> t = np.arange(5.0)
        >>> ax = jaxcast.plotting.plot_forecast(Figure().subplots(), (t, np.sin(t)), (t + 5, np.sin(t + 5)))
        >>> [line.get_label() for line in ax.lines[:2]]
        ['history', 'forecast']
    """
    ax.plot(*history, color=HISTORY, lw=1.2, label="history")
    ax.plot(*forecast, color=FORECAST, lw=1.5, label="forecast")
    if truth is not None and len(np.asarray(truth[0])) > 1:
        ax.plot(*truth, color=OBSERVED, lw=1.2, ls="--", label="observed")
    if spread is not None:
        plot_band(ax, *forecast, spread)
    ax.axvline(float(np.asarray(history[0])[-1]), color="grey", lw=0.8)
    ax.set_xlim(float(np.asarray(history[0])[0]), float(np.asarray(forecast[0])[-1]))
    ax.set_ylabel(label)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_regime(
    ax: "Axes",
    times: Shaped[ArrayLike, " time"],
    regime: Shaped[ArrayLike, " time"],
    deviation: Shaped[ArrayLike, " time"],
    *,
    truth: tuple[Shaped[ArrayLike, " later"], Shaped[ArrayLike, " later"]] | None = None,
    label: str = "",
) -> "Axes":
    """Draws a hidden regime over time with a band of two deviations, and the true one dashed.

    Args:
        ax: to draw on.
        times: of the regime.
        regime: as inferred.
        deviation: the standard deviation of the regime.
        truth: times and the true regime at them.
        label: of the vertical axis.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> t = np.arange(5.0)
        >>> ax = jaxcast.plotting.plot_regime(Figure().subplots(), t, np.sin(t), 0.1 * t, truth=(t, np.sin(t)))
        >>> [line.get_label() for line in ax.lines]
        ['inferred', 'true']
    """
    ax.plot(times, regime, color=FORECAST, lw=1.5, label="inferred")
    if truth is not None:
        ax.plot(*truth, color=OBSERVED, lw=1.5, ls="--", label="true")
    plot_band(ax, times, regime, deviation)
    ax.legend(frameon=False, fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    return _framed(ax, times, label)


def plot_band(
    ax: "Axes",
    times: Shaped[ArrayLike, " time"],
    values: Shaped[ArrayLike, " time"],
    deviation: Shaped[ArrayLike, " time"],
) -> "Axes":
    """Draws a band of two deviations around a line; the axis keeps its limits.

    Args:
        ax: to draw on.
        times: of the line.
        values: of the line.
        deviation: the standard deviation at each time.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> ax = jaxcast.plotting.plot_band(ax, np.arange(3.0), np.zeros(3), np.ones(3))
        >>> ax.get_ylim() == (0.0, 1.0)
        True
    """
    limits = ax.get_ylim()
    values, deviation = np.asarray(values), np.asarray(deviation)
    ax.fill_between(np.asarray(times), values - 2 * deviation, values + 2 * deviation, color=FORECAST, alpha=0.2, lw=0)
    ax.set_ylim(limits)
    return ax


def _framed(ax: "Axes", times: Shaped[ArrayLike, " time"], label: str) -> "Axes":
    """Fits the axes to the times, and removes the frame at the top and the right."""
    ax.set_xlim(float(np.min(times)), float(np.max(times)))
    ax.set_ylabel(label)
    ax.spines[["top", "right"]].set_visible(False)
    return ax

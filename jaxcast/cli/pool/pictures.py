"""Pictures of the pool commands."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.hidden_parameter import HiddenParameter
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import StoredTrajectory
from jaxcast.io.files import save_figure
from jaxcast.plotting.trajectories import label_of
from jaxcast.rollout import Output
from jaxcast.windows import Windows

MOST_COMPONENTS = 6
"""Of a state in one picture, which says so where there are more."""


def some_of(num_shown: int, num_all: int, what: str) -> str:
    """Says in a title that not all are drawn.

    Args:
        num_shown: Number drawn.
        num_all: Number there is.
        what: What they are.

    Returns:
        A few words; "" where all are drawn.
    """
    return "" if num_shown >= num_all else f" (the first {num_shown} of {num_all} {what})"


def draw_valid_times(
    path: Path, rows: list[dict[str, Any]], interval_label: str, *, window: float, time_unit: str
) -> None:
    """Draws a bar of the valid time of every row.

    Args:
        path: Name of the picture.
        rows: Rows of an evaluation.
        interval_label: Description of the intervals.
        window: Duration of a window.
        time_unit: Unit of the times.
    """
    from jaxcast.plotting.trajectories import plot_valid_times

    figure = figure_of(width=8.0, height=1.4 + 0.4 * len(rows))
    plot_valid_times(
        figure.subplots(),
        [label_of(row["method"]) for row in rows],
        [row["valid_time_median"] for row in rows],
        [tuple(row["valid_time_interval"]) for row in rows],
        interval_label=interval_label,
        highlight=[row["method"] == "pool" for row in rows],
        unit=label_of(time_unit),
        window=window,
    )
    figure.suptitle("How long the forecast stays accurate")
    save_figure(path, figure)


def draw_weights(
    path: Path,
    output: Output,
    windows: Windows,
    coordinates: tuple[str, np.ndarray] | None,
    hidden: HiddenParameter | None,
    *,
    time_unit: str,
) -> None:
    """Draws the weights in the first window, and the hidden parameter where it is known.

    Args:
        path: Name of the picture.
        output: Forecasts of the windows.
        windows: The windows.
        coordinates: Parameter in which the candidates differ, and its values.
        hidden: The hidden parameter.
        time_unit: Unit of the times.
    """
    from jaxcast.plotting.trajectories import plot_weights

    times = np.asarray(windows.times[0, windows.history.shape[1] - 1 :])
    weights = np.asarray(output.info["weights"][0])
    values = np.arange(weights.shape[1], dtype=float) if coordinates is None else coordinates[1]
    order = np.argsort(values)
    figure = figure_of()
    ax = plot_weights(
        figure.subplots(),
        times,
        weights[:, order],
        values[order],
        truth=None if hidden is None else (times, hidden.value_at(times)),
        coordinate_label="candidate" if coordinates is None else f"{coordinates[0]} of the candidate",
        truth_label="" if hidden is None else f"true {hidden.name}",
    )
    ax.set(xlabel=f"time ({label_of(time_unit)})")
    ax.set_title("Weights in closed loop, first window" + (f", true {hidden.name} dashed" if hidden else ""))
    save_figure(path, figure)


def draw_regime(
    path: Path, output: Output, windows: Windows, name: str, hidden: HiddenParameter | None, *, time_unit: str
) -> None:
    """Draws the regime in the first window, with the true parameter where it is known.

    Args:
        path: Name of the picture.
        output: Forecasts of the windows.
        windows: The windows.
        name: Name of the regime.
        hidden: The hidden parameter.
        time_unit: Unit of the times.
    """
    from jaxcast.plotting.trajectories import plot_regime

    times = np.asarray(windows.times[0, windows.history.shape[1] - 1 : -1])
    figure = figure_of()
    ax = plot_regime(
        figure.subplots(),
        times,
        output.info["regime"][0, :, 0],
        output.info["regime_deviation"][0, :, 0],
        truth=None if hidden is None else (times, hidden.value_at(times)),
        label=name,
    )
    ax.set(xlabel=f"time ({label_of(time_unit)})")
    ax.set_title("Regime in closed loop, first window; band: two standard deviations", loc="left")
    save_figure(path, figure)


def draw_forecast(
    path: Path,
    result: Trajectory,
    output: Output,
    stored: StoredTrajectory,
    newest: int,
    hidden: HiddenParameter | None,
    regime_name: str,
) -> None:
    """Draws history, forecast and observed values of up to six components, and the inferred regime.

    Args:
        path: Name of the picture.
        result: The forecast.
        output: What the pool reports.
        stored: The history, with later samples where there are any.
        newest: Index of the newest sample that the pool has seen.
        hidden: The hidden parameter, where it is known.
        regime_name: Name of the regime.
    """
    from jaxcast.plotting.trajectories import plot_forecast, plot_regime

    shown = list(stored.components)[:MOST_COMPONENTS]
    has_regime = "regime" in output.info
    num_rows, num_leads = len(shown) + has_regime, len(result.times)
    figure = figure_of(height=1.4 * num_rows + 1.2)
    axes = np.atleast_1d(figure.subplots(num_rows, 1, sharex=True))
    seen = slice(max(0, newest - num_leads // 3), newest + 1)
    later = slice(newest, newest + 1 + num_leads)
    times, states = stored.trajectory
    for i, name in enumerate(shown):
        plot_forecast(
            axes[i],
            (times[seen], states[seen, i]),
            (result.times, result.states[:, i]),
            truth=(times[later], states[later, i]),
            spread=output.info["spread"][:, i] if "spread" in output.info else None,
            label=label_of(name, 20),
        )
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    spread = ", band: two standard deviations" if "spread" in output.info else ""
    what = f"Forecast from time {float(times[newest]):g}{spread}"
    axes[0].set_title(what + some_of(len(shown), len(stored.components), "components"), fontsize=10)
    if has_regime:
        at = np.asarray(result.times)
        plot_regime(
            axes[-1],
            at,
            output.info["regime"][:, 0],
            output.info["regime_deviation"][:, 0],
            truth=None if hidden is None else (at, hidden.value_at(at)),
            label=regime_name,
        )
        axes[-1].set_xlim(float(times[seen][0]), float(result.times[-1]))
    axes[-1].set_xlabel(f"time ({label_of(stored.time_unit or 'MTU')})")
    save_figure(path, figure)

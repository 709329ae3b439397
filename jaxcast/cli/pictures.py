"""Figures of the commands: matplotlib is asked for by name where it is missing."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.cli.hidden import Hidden
from jaxcast.errors import InputError
from jaxcast.integrate import Trajectory
from jaxcast.rollout import Output
from jaxcast.storage.checks import StoredTrajectory
from jaxcast.storage.files import save_figure
from jaxcast.windows import Windows


def figure_of(*, width: float = 10.0, height: float = 4.4) -> Any:
    """An empty figure, in inches.

    Raises:
        InputError: where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'jaxcast[experiments]', or leave --plot out") from None
    return Figure(figsize=(width, height), layout="constrained")


def draw_valid_times(path: Path, rows: list[dict[str, Any]], interval_label: str) -> None:
    """A bar for every row of an evaluation."""
    from jaxcast.plotting import plot_valid_times

    figure = figure_of(width=8.0, height=1.4 + 0.4 * len(rows))
    plot_valid_times(
        figure.subplots(),
        [row["method"] for row in rows],
        [row["valid_time_median"] for row in rows],
        [tuple(row["valid_time_interval"]) for row in rows],
        interval_label=interval_label,
        highlight=[row["method"] == "pool" for row in rows],
        unit="time units",
    )
    figure.suptitle("How long the forecast stays true")
    save_figure(path, figure)


def draw_weights(path: Path, output: Output, windows: Windows, hidden: Hidden | None) -> None:
    """The weights in the first window, over the hidden parameter where it is known."""
    from jaxcast.plotting import plot_weights

    times = np.asarray(windows.times[0, windows.history.shape[1] - 1 :])
    weights = np.asarray(output.info["weights"][0])
    values = np.arange(weights.shape[1], dtype=float) if hidden is None else hidden.values
    order = np.argsort(values)
    figure = figure_of()
    ax = plot_weights(
        figure.subplots(),
        times,
        weights[:, order],
        values[order],
        truth=None if hidden is None else (times, hidden.course(times)),
        coordinate_label="candidate" if hidden is None else f"{hidden.name} of the candidate",
        truth_label="" if hidden is None else f"true {hidden.name}",
    )
    ax.set(xlabel="time", title="Weights in closed loop, first window" + (", truth dashed" if hidden else ""))
    save_figure(path, figure)


def draw_regime(path: Path, output: Output, windows: Windows, name: str, hidden: Hidden | None) -> None:
    """The regime in the first window with its deviation, over the hidden parameter where it is known."""
    from jaxcast.plotting import plot_regime

    times = np.asarray(windows.times[0, windows.history.shape[1] - 1 : -1])
    figure = figure_of()
    ax = plot_regime(
        figure.subplots(),
        times,
        output.info["regime"][0, :, 0],
        output.info["regime_deviation"][0, :, 0],
        truth=None if hidden is None else (times, hidden.course(times)),
        label=name,
    )
    ax.set(xlabel="time", title="Regime in closed loop, first window" + (", truth dashed" if hidden else ""))
    save_figure(path, figure)


def draw_forecast(
    path: Path,
    result: Trajectory,
    output: Output,
    stored: StoredTrajectory,
    newest: int,
    hidden: Hidden | None,
    regime_name: str,
) -> None:
    """Every component, up to six: what was seen, what was forecast, what came; below them the regime, where one is inferred."""
    from jaxcast.plotting import plot_forecast, plot_regime

    shown = list(stored.components)[:6]
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
            label=name,
        )
    axes[0].legend(loc="upper left", bbox_to_anchor=(0, 1.35), ncols=3, frameon=False)
    if has_regime:
        at = np.asarray(result.times)
        plot_regime(
            axes[-1],
            at,
            output.info["regime"][:, 0],
            output.info["regime_deviation"][:, 0],
            truth=None if hidden is None else (at, hidden.course(at)),
            label=regime_name,
        )
        axes[-1].set_xlim(float(times[seen][0]), float(result.times[-1]))
    axes[-1].set_xlabel(f"time ({stored.time_unit or 'MTU'})")
    save_figure(path, figure)

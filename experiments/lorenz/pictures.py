"""The three figures of Patel and Wikner (2023), section 3.1, redrawn."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import matplotlib
import numpy as np
from matplotlib.figure import Figure

import jaxcast
from jaxcast import plotting

if TYPE_CHECKING:
    from experiments.lorenz.setup import Config, Task

matplotlib.use("Agg")


def trajectory(task: "Task", h: float) -> Figure:
    """Draws two components over time with the hidden parameter, and in the plane, coloured by it."""
    steps = round(25 / h)
    fine = jaxcast.simulate(task.truth, task.train.states[0], num_samples=steps, dt=h, h=h)
    shown = slice(0, round(12 / h))
    names = [f"${name[0]}_{{{name[1:]}}}$" if name[1:] else f"${name}$" for name in task.truth.components]
    hidden = task.hidden_at(fine.times)
    symbol = _symbol(task)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplot_mosaic([["last", "plane"], ["first", "plane"]], width_ratios=(1.7, 1))
    plotting.plot_series(
        axes["last"],
        fine.times[shown],
        fine.states[shown, -1],
        schedule=None if hidden is None else hidden[shown],
        label=names[-1],
        schedule_label=f"{symbol}(t)",
    )
    axes["last"].legend(loc="upper right", frameon=False, ncols=2)
    low, high = axes["last"].get_ylim()
    axes["last"].set_ylim(low, high + 0.3 * (high - low))
    plotting.plot_series(axes["first"], fine.times[shown], fine.states[shown, 0], label=names[0])
    axes["first"].set_xlabel("time (MTU)")
    color, color_label = (fine.times, "time (MTU)") if hidden is None else (hidden, f"{symbol}(t)")
    plotting.plot_phase_portrait(
        axes["plane"], fine.states[:, 0], fine.states[:, -1], color=color, color_label=color_label
    )
    axes["plane"].set(xlabel=names[0], ylabel=names[-1], title=f"the same states, coloured by {color_label}")
    figure.suptitle(
        "The truth" if hidden is None else f"The truth: a {type(task.truth).__name__} system with a varying {symbol}"
    )
    return figure


def valid_times(rows: Sequence[dict[str, Any]], label: Callable[..., str], window: float) -> Figure:
    """Draws bars of median valid time over windows of this duration, the published values beside them."""
    figure = Figure(figsize=(9, 1.2 + 0.38 * len(rows)), layout="constrained")
    ax = figure.subplots()
    plotting.plot_valid_times(
        ax,
        [label(row["method"], row["delays"]) for row in rows],
        [row["valid_time_median"] for row in rows],
        [tuple(row["valid_time_ci95"]) for row in rows],
        published=[row["published"] for row in rows],
        published_label="published (counted one sample less)",
        highlight=[row["method"] == "additive_attention" for row in rows],
        unit="MTU",
        window=window,
    )
    ax.set_title("How long the forecast stays accurate")
    return figure


def attention(task: "Task", config: "Config", pools: Any, delays: int, correlation: float | None) -> Figure:
    """Draws the first seed's weights in closed loop, restarted from the truth every 3 MTU, and the true parameter."""
    longest = (len(task.valid.states) - config.history_size) // 5
    leads = max(1, min(round(3 / config.dt), longest))
    count = 5 if longest else 1
    windows = jaxcast.cut_windows(task.valid, num_windows=count, num_leads=leads, history_size=config.history_size)
    cell = jaxcast.Forecaster(jax.tree.map(lambda a: a[0], pools), task.candidates)
    outputs = jaxcast.forecast_windows(cell, windows)
    found = jaxcast.dynamics.candidate_coordinates(task.ensemble)
    values = np.arange(len(task.ensemble)) if found is None else found[1]
    order = np.argsort(values)
    weights = np.asarray(outputs.info["weights"]).reshape(count * leads, -1)[:, order]
    begin = float(windows.times[0, config.history_size - 1])
    edges = config.dt * np.arange(count * leads + 1)
    fine = np.linspace(0, edges[-1], 2000)
    symbol = _symbol(task)

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    ax = figure.subplots()
    plotting.plot_weights(
        ax,
        edges,
        weights,
        values[order],
        truth=None if task.hidden is None else (fine, task.hidden_at(begin + fine)),
        restarts=[float(edges[i * leads]) for i in range(count)],
        coordinate_label=f"{symbol} of the candidate" if found else "candidate",
        truth_label=f"true {symbol}(t), never shown to the pool",
    )
    ax.set_xlabel("time (MTU)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    title = f"Attention in closed loop, l = {delays}: no truth is seen after each solid line"
    if correlation is not None:
        title += f"; correlation of the highest weight with {symbol}(t): {correlation:.2f}"
    ax.set_title(title, fontsize=11)
    return figure


def losses(results: "dict[tuple[str, int | None], Any]", label: Callable[..., str]) -> Figure:
    """Draws the training loss of each trained method, the median over seeds."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    ax = figure.subplots()
    trained = {label(*name): arrays["losses"] for name, arrays in results.items() if "losses" in arrays}
    plotting.plot_losses(ax, trained, loss_label="mean squared error (squared unit of the state)")
    ax.set_title("Training loss of one-step forecasts, median over seeds")
    return figure


def _symbol(task: "Task") -> str:
    """Returns the hidden parameter's symbol."""
    found = jaxcast.dynamics.candidate_coordinates(task.ensemble)
    name = found[0] if found else ""
    return rf"$\{name}$" if name in ("rho", "sigma", "beta") else name

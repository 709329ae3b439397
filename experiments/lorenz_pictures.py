"""The three figures of Patel and Wikner (2023), section 3.1, redrawn; `experiments.lorenz` calls them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

import jaxcast
from jaxcast import plotting

if TYPE_CHECKING:
    from experiments.lorenz_setup import Config, Task

matplotlib.use("Agg")


def trajectory(task: "Task", h: float) -> Figure:
    """Two components over time with rho(t), and the states in the plane coloured by rho."""
    steps = round(25 / h)
    fine = jaxcast.simulate(task.truth, task.train.states[0], num_samples=steps, dt=h, h=h)
    rho = _rho(task, fine.times)
    shown = slice(0, round(12 / h))
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplot_mosaic([["u3", "plane"], ["u1", "plane"]], width_ratios=(1.7, 1))
    plotting.plot_series(
        axes["u3"],
        fine.times[shown],
        fine.states[shown, 2],
        schedule=rho[shown],
        label="$u_3$",
        schedule_label=r"$\rho(t)$: $u_3$ turns around $\rho - 1$",
    )
    axes["u3"].legend(loc="upper right", frameon=False, ncols=2)
    axes["u3"].set_ylim(top=1.3 * float(fine.states[shown, 2].max()))
    plotting.plot_series(axes["u1"], fine.times[shown], fine.states[shown, 0], label="$u_1$")
    axes["u1"].set_xlabel("time (MTU)")
    plotting.plot_phase_portrait(
        axes["plane"], fine.states[:, 0], fine.states[:, 2], color=rho, color_label=r"$\rho(t)$"
    )
    axes["plane"].set(xlabel="$u_1$", ylabel="$u_3$", title=r"the same states, coloured by $\rho(t)$")
    figure.suptitle(r"The truth: a Lorenz '63 system whose parameter $\rho$ never rests")
    return figure


def valid_times(rows: Sequence[dict[str, Any]], label: Callable[..., str]) -> Figure:
    """Bars of median valid time, the published values beside them."""
    figure = Figure(figsize=(9, 1.2 + 0.38 * len(rows)), layout="constrained")
    ax = figure.subplots()
    plotting.plot_valid_times(
        ax,
        [label(row["method"], row["delays"]) for row in rows],
        [row["valid_time_median"] for row in rows],
        [tuple(row["valid_time_ci95"]) for row in rows],
        published=[row["published"] for row in rows],
        highlight=[row["method"] == "additive_attention" for row in rows],
        unit="MTU",
    )
    ax.set_title("How long the forecast stays true")
    return figure


def attention(task: "Task", config: "Config", pools: Any, delays: int) -> Figure:
    """The first seed's weights in closed loop, started again from the truth every 3 MTU, rho(t) dashed over them."""
    longest = (len(task.valid.states) - config.history_size) // 5
    leads = max(1, min(round(3 / config.dt), longest))
    count = 5 if longest else 1
    windows = jaxcast.cut_windows(task.valid, num_windows=count, window_size=leads, history_size=config.history_size)
    cell = jaxcast.Forecaster(jax.tree.map(lambda a: a[0], pools), task.candidates)
    outputs = jax.vmap(lambda history, times: jaxcast.forecast(cell, history, leads, times))(
        windows.history, jaxcast.forecast_times(windows)
    )
    order = np.argsort(config.candidate_rho)
    weights = np.asarray(outputs.info["weights"]).reshape(count * leads, -1)[:, order]
    begin = float(windows.times[0, config.history_size - 1])
    edges = config.dt * np.arange(count * leads + 1)
    fine = np.linspace(0, edges[-1], 2000)

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    ax = figure.subplots()
    plotting.plot_weights(
        ax,
        edges,
        weights,
        np.asarray(config.candidate_rho)[order],
        truth=(fine, _rho(task, begin + fine)),
        restarts=[float(edges[i * leads]) for i in range(count)],
        coordinate_label=r"$\rho$ of the candidate",
        truth_label=r"true $\rho(t)$, never shown to the pool",
    )
    ax.set_xlabel("time (MTU)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    ax.set_title(rf"Attention in closed loop (l = {delays}): with the truth gone, the weight still follows $\rho(t)$")
    return figure


def _rho(task: "Task", times: Any) -> np.ndarray:
    return np.asarray(jax.vmap(lambda t: task.rho(t))(jnp.asarray(times)))

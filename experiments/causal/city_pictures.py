"""Pictures of the part "city"."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.causal.city_data import CHANNELS, NUM_STEPS, City
from experiments.causal.city_plain import Quantiles
from experiments.causal.city_windows import Arrays

matplotlib.use("Agg")
COLORS = ("#c2410c", "#2563eb")
LEAD = NUM_STEPS
DAYS = ("Sat", "Sun", "Mon", "Tue", "Wed", "Thu", "Fri")


def effects(city: City, found: Arrays) -> Figure:
    """Draws the effects of the slots of the week, of each channel, and those of holidays on a map.

    Args:
        city: the data.
        found: effects on the square root of trips.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    top, bottom = _parts(figure, (2, 1), height_ratios=(1.1, 1))
    days = np.arange(7 * city.slots_per_day) / city.slots_per_day
    axes = top.subplots()
    for number, channel in enumerate(CHANNELS):
        axes.plot(days, found["slots"][..., number].mean(1), label=channel, lw=1.3)
    axes.axhline(0, color="0.7", lw=0.8)
    axes.set_xticks(np.arange(7) + 0.5, DAYS)
    axes.set(
        xlim=(0, 7), ylabel="effect on the root of trips", title="effects of the slots of the week, means over cells"
    )
    axes.legend(ncols=4, fontsize=8)
    for axes, number in zip(bottom.subplots(1, 4), range(len(CHANNELS)), strict=True):
        values = found["holidays"][1, :, number]
        most = max(np.abs(values).max(), 1e-6)
        image = axes.imshow(_map(city, values), cmap="RdBu_r", vmin=-most, vmax=most)
        axes.set_title(f"holiday, {CHANNELS[number]}", fontsize=9)
        axes.axis("off")
        bottom.colorbar(image, ax=axes, shrink=0.8)
    return figure


def _parts(figure: Figure, shape: tuple[int, int], **options: Any) -> tuple[Any, Any]:
    found: Any = figure.subfigures(*shape, **options)
    return tuple(found)


def _map(city: City, values: np.ndarray) -> np.ndarray:
    grid = np.full(city.cells.max(0) + 1, np.nan)
    grid[tuple(city.cells.T)] = values
    return grid.T  # the grid is higher than wide


def forecasts(city: City, shown: Mapping[str, Quantiles], methods: Sequence[str]) -> Figure:
    """Draws forecasts of the last lead through the days apart, summed over cells and for the busiest one.

    Args:
        city: the data.
        shown: quantiles of each method.
        methods: which of them to draw.
    """
    figure = Figure(figsize=(12, 7), layout="constrained")
    rows = city.newest + LEAD
    special = np.flatnonzero(city.special[rows])
    middle = special.mean() if len(special) else len(rows) / 2
    span = 3 * city.slots_per_day
    kept = np.arange(max(0, int(middle - span)), min(len(rows), int(middle + span)))
    days = (rows[kept] - rows[kept][0]) / city.slots_per_day
    busiest = int(city.trips[..., 0].mean(0).argmax())
    for axes, number in zip(figure.subplots(2, 2, sharex=True).T.ravel(), (0, 1, 2, 3), strict=True):
        axes.plot(days, city.trips[rows[kept], busiest, number], color="black", lw=1.2, label="observed")
        for method, color in zip(methods, COLORS, strict=True):
            low, mid, high = np.moveaxis(shown[method][kept, LEAD - 1, busiest, number], -1, 0)
            axes.fill_between(days, low, high, color=color, alpha=0.2, lw=0)
            axes.plot(days, mid, color=color, lw=1, label=f"{method}, 10 to 90 %")
        inside = days[city.special[rows[kept]]]
        if len(inside):
            axes.axvspan(inside[0], inside[-1], color="0.9", zorder=0)
        axes.set_title(f"{CHANNELS[number]}, busiest cell, {LEAD / city.slots_per_day * 24:g} hours ahead", fontsize=10)
        axes.set_ylabel("trips")
    figure.axes[0].legend(fontsize=8)
    for axes in figure.axes[1::2]:
        axes.set_xlabel("days")
    return figure


def attention(city: City, told: Arrays) -> Figure:
    """Draws the weights of steps of each head, and the cluster of each cell.

    Args:
        city: the data.
        told: of a run of CausalTrans.
    """
    kinds = ("demand", "supply")
    num_heads, num_steps = told["demand_attention"].shape[1], told["demand_attention"].shape[3]
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = _parts(figure, (1, 2), width_ratios=(3.2, 1))
    grid = left.subplots(2, num_heads, sharex=True, sharey=True, squeeze=False)
    ticks = np.arange(0, num_steps, 4)
    for row, kind in enumerate(kinds):
        for head in range(num_heads):
            axes = grid[row, head]
            axes.imshow(told[f"{kind}_attention"][:, head].mean(0), vmin=0, cmap="Blues", aspect="auto")
            axes.set_title(f"{kind}, head {head + 1}, w = {told['effect_weights'][row, head]:.2f}", fontsize=9)
            axes.set_xticks(ticks, [str(n - (num_steps - NUM_STEPS) + 1) for n in ticks])
    for axes in grid[-1]:
        axes.set_xlabel("step seen")
    for axes in grid[:, 0]:
        axes.set_ylabel("lead")
        axes.set_yticks(np.arange(0, NUM_STEPS, 2), np.arange(1, NUM_STEPS + 1, 2))
    axes = right.subplots()
    axes.imshow(_map(city, told["clusters"].argmax(-1).astype(float)), cmap="tab10", vmin=0, vmax=9)
    axes.set_title("cluster of each cell, demand", fontsize=9)
    axes.axis("off")
    return figure

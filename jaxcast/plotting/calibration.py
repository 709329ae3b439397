"""Pictures of calibration: histograms of the PIT, quantile coverage, coverage by horizon.

matplotlib is imported only when one is drawn.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.plotting.quantiles import COLORS
from jaxcast.plotting.trajectories import BLUE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ends = tuple[Shaped[ArrayLike, " quantile"], Shaped[ArrayLike, " quantile"]]


def plot_pit_histogram(ax: "Axes", edges: Shaped[ArrayLike, " edge"], density: Shaped[ArrayLike, " bin"]) -> "Axes":
    """Draws a histogram of the probability integral transform (PIT).

    It is flat, at the dashed line, where forecasts are calibrated; high at both ends where
    intervals are too narrow.

    Args:
        ax: to draw on.
        edges: ends of the bins, from 0 to 1.
        density: of each bin.

    Returns:
        The axes.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_pit_histogram
        >>> from matplotlib.figure import Figure
        >>> ax = plot_pit_histogram(Figure().subplots(), np.asarray([0, 0.5, 1]), np.asarray([1.2, 0.8]))
        >>> [float(bar.get_height()) for bar in ax.patches]
        [1.2, 0.8]
    """
    edges, density = np.asarray(edges, float), np.asarray(density, float)
    ax.bar(edges[:-1], density, np.diff(edges), align="edge", color=BLUE, edgecolor="white", lw=0.5)
    ax.axhline(1, color="0.3", lw=1, ls="--")
    ax.set(xlim=(0, 1), ylim=(0, max(2.0, 1.05 * float(density.max()))), xlabel="PIT", ylabel="density")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_quantile_coverage(
    ax: "Axes",
    levels: Shaped[ArrayLike, " quantile"],
    share: Shaped[ArrayLike, " quantile"],
    *,
    interval: Ends | None = None,
    band: Ends | None = None,
) -> "Axes":
    """Draws the share of the truths at or below each quantile against its level.

    On the diagonal it is ideal. Above it on the left and below it on the right, intervals are too
    narrow; above it everywhere, forecasts are too high.

    Args:
        ax: to draw on.
        levels: of the quantiles.
        share: of the truths at or below each quantile.
        interval: lower and upper ends of the confidence interval of the share, drawn as a band
            around it.
        band: lower and upper ends of what a calibrated forecaster would show, in grey.

    Returns:
        The axes.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_quantile_coverage
        >>> from matplotlib.figure import Figure
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> ax = plot_quantile_coverage(Figure().subplots(), levels, np.asarray([0.3, 0.5, 0.6]))
        >>> [line.get_label() for line in ax.lines]
        ['ideal', 'share']
    """
    levels = np.asarray(levels, float)
    if band is not None:
        ax.fill_between(levels, np.asarray(band[0], float), np.asarray(band[1], float), color="0.8", lw=0)
    ax.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--", label="ideal")
    if interval is not None:
        low, high = (np.asarray(end, float) for end in interval)
        ax.fill_between(levels, low, high, color=BLUE, alpha=0.3, lw=0)
    ax.plot(levels, np.asarray(share, float), color=BLUE, lw=1.4, label="share")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="quantile level", ylabel="share at or below")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_coverage_by_horizon(ax: "Axes", horizons: Sequence[int], coverage: Mapping[float, Sequence[float]]) -> "Axes":
    """Draws the empirical coverage of central intervals by horizon, with their nominal coverage.

    Args:
        ax: to draw on.
        horizons: the horizons.
        coverage: the empirical coverage at each horizon, by nominal coverage; NaN where there is
            none.

    Returns:
        The axes.

    Example:
        >>> from jaxcast.plotting import plot_coverage_by_horizon
        >>> from matplotlib.figure import Figure
        >>> ax = plot_coverage_by_horizon(Figure().subplots(), [0, 1], {0.5: [0.45, 0.5], 0.95: [0.9, 0.92]})
        >>> [line.get_label() for line in ax.lines]
        ['nominal', '50 %', '_nolegend_', '95 %']
    """
    for i, (nominal, values) in enumerate(coverage.items()):
        color = COLORS[1:][i % (len(COLORS) - 1)]
        ax.axhline(nominal, color=color, lw=1, ls="--", label="_nolegend_" if i else "nominal")
        shown = np.asarray(values, float)
        ax.plot(
            horizons,
            shown,
            color=color,
            marker="o",
            ms=4,
            lw=1.4,
            label=f"{nominal * 100:g} %",
            clip_on=False,
            zorder=3,
        )
    ends = min(horizons) - 0.2, max(horizons) + 0.2
    ax.set(xlabel="horizon", ylabel="coverage", xlim=ends, ylim=(0, 1.02))
    ax.set_xticks(list(horizons))
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return ax

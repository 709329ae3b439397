"""Plumes: the forecasts of many models of one issue, and the pool's with its band."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = ((1.645, 0.18, "90 %"), (0.674, 0.35, "50 %"))
COLOR = "tab:blue"


def plot_plume(
    ax: "Axes",
    names: Sequence[str],
    values: Shaped[np.ndarray, "model lead"],
    pooled: Shaped[np.ndarray, " lead"],
    spread: Shaped[np.ndarray, " lead"],
    *,
    truth: Shaped[np.ndarray, " lead"] | None = None,
) -> "Axes":
    """Draws the forecasts of the models, the pool with its 50 and 90 % band, and the truth.

    Args:
        ax: to draw on.
        names: dates of the targets.
        values: forecasts of the models; NaN where there is none.
        pooled: forecast of the pool, the centre of a normal distribution.
        spread: standard deviation of that distribution, in the unit of the forecasts.
        truth: observed values; NaN where one is not known, None to draw none.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> values = np.asarray([[0.1, 0.4], [0.3, 0.8]])
        >>> ax = jaxcast.plotting.plot_plume(ax, ["2024-01", "2024-02"], values, values.mean(0), np.ones(2))
        >>> len(ax.lines)
        3
    """
    places: Float[np.ndarray, " lead"] = np.arange(len(names), dtype=float)
    for number, line in enumerate(values):
        ax.plot(places, line, color="0.6", lw=0.7, label="models" if number == 0 else None)
    for width, alpha, label in BANDS:
        ends = (pooled - width * spread, pooled + width * spread)
        ax.fill_between(places, *ends, color=COLOR, alpha=alpha, lw=0, label=label)
    ax.plot(places, pooled, color=COLOR, lw=2, label="pool")
    if truth is not None and np.isfinite(truth).any():
        ax.plot(places, truth, color="black", lw=0, marker="o", ms=4, label="observed")
    ax.set_xticks(places, names, rotation=45 if len(names) > 6 else 0)
    ax.legend(frameon=False, ncols=2)
    return ax

"""Plumes: the forecasts of many models of one issue, and the pool's with its band."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

BANDS = ((1.645, 0.18, "90 %"), (0.674, 0.35, "50 %"))
COLOR = "tab:blue"


def plot_plume(
    ax: Any,
    names: Sequence[str],
    values: Shaped[np.ndarray, "model lead"],
    pooled: Shaped[np.ndarray, " lead"],
    spread: Shaped[np.ndarray, " lead"],
    *,
    truth: Shaped[np.ndarray, " lead"] | None = None,
) -> Any:
    """Draws the forecasts of the models, the pool with its 50 and 90 % band, and the truth.

    Args:
        ax: Axes of matplotlib.
        names: Dates of the targets.
        values: Forecasts of the models, NaN where there is none.
        pooled: Forecast of the pool.
        spread: Its standard deviation.
        truth: Observed values, NaN where they are not known; None to leave them out.

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

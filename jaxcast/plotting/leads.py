"""Pictures of errors by lead; matplotlib is imported only when one is drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.plotting.quantiles import COLORS
from jaxcast.plotting.trajectories import label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_errors_by_lead(
    ax: "Axes",
    leads: Shaped[ArrayLike, " lead"] | Sequence[float | int],
    errors: Mapping[str, Shaped[ArrayLike, " lead"] | Sequence[float | int]],
    *,
    published: Sequence[str] = (),
    label: str = "RMSE",
    lead_label: str = "lead",
) -> "Axes":
    """Draws the errors of forecasters by lead.

    Args:
        ax: to draw on.
        leads: how far ahead.
        errors: of each forecaster, by its name; NaN where there is none.
        published: names of those whose errors are from publications; they are dashed.
        label: of the errors.
        lead_label: of the leads, with their unit.

    Returns:
        The axes.

    Example:
        >>> import jaxcast
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_errors_by_lead(Figure().subplots(), [1, 2, 3], {"ridge": [0.5, 0.7, 0.8]})
        >>> [line.get_label() for line in ax.lines]
        ['ridge']
    """
    from matplotlib import colormaps

    whole = np.asarray(leads)
    colors = COLORS if len(errors) <= len(COLORS) else [colormaps["tab20"](n) for n in range(20)]
    for n, (name, values) in enumerate(errors.items()):
        style: dict[str, Any] = {"ls": "--", "marker": "s"} if name in published else {"ls": "-", "marker": "o"}
        color = colors[n % len(colors)]
        ax.plot(whole, np.asarray(values, float), ms=4, lw=1.4, color=color, label=label_of(name), **style)
    ax.set(xlabel=lead_label, ylabel=label)
    if len(whole) <= 12:
        ax.set_xticks(whole)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return ax

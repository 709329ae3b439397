"""Pictures of a recording that is cut into segments; matplotlib is imported only when one is drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.errors import InputError
from jaxcast.plotting.trajectories import BLUE, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 0.15
"""Between weights and colours, in rows."""


def plot_segments(
    ax: "Axes",
    starts: Shaped[ArrayLike, " segment"] | Sequence[float | int],
    lengths: Shaped[ArrayLike, " segment"] | Sequence[float | int],
    values: Shaped[ArrayLike, "row segment"],
    *,
    weights: Shaped[ArrayLike, " segment"] | Sequence[float | int] | None = None,
    names: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    label: str = "mean correlation",
    weight_label: str = "weight",
    time_label: str = "scan",
) -> "Axes":
    """Draws a number for each row and segment as a colour over time, and weights above it.

    Segments that overlap are drawn up to the start of the next one.

    Args:
        ax: to draw on.
        starts: of the segments, rising; those of length 0 are left out.
        lengths: of the segments.
        values: of each row, such as a module, in each segment.
        weights: of the segments, drawn as bars above the colours, from zero to the largest.
        names: of the rows; by default their numbers.
        limits: numbers at the two ends of the colours, such as to compare two pictures; by default
            those of the values.
        label: of the colours.
        weight_label: of the weights.
        time_label: of the time axis.

    Returns:
        The axes.

    Raises:
        InputError: for arrays of other segments, names of other rows, or starts that do not rise.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_segments(
        ...     Figure().subplots(), [0, 20, 35], [20, 15, 25], np.asarray([[0.1, 0.4, -0.2], [0.3, 0.2, 0.0]]),
        ...     weights=[0.2, 0.7, 0.1], names=["visual", "motor"],
        ... )
        >>> [text.get_text() for text in ax.get_yticklabels()][1:]
        ['visual', 'motor']
    """
    first, length, colors = np.asarray(starts, float), np.asarray(lengths, float), np.asarray(values, float)
    heights = None if weights is None else np.asarray(weights, float)
    rows = [str(n) for n in range(len(colors))] if names is None else [label_of(name) for name in names]
    shapes = {first.shape, length.shape, colors.shape[1:]} | ({heights.shape} if heights is not None else set())
    present = length > 0
    if len(shapes) != 1 or colors.ndim != 2 or len(rows) != len(colors) or not present.any():
        raise InputError(
            f"expected values (row, segment) with a name for each row, and starts, lengths and weights of the same "
            f"segments, got shapes {sorted(shapes)} and {len(rows)} names"
        )
    first, length, colors = first[present], length[present], colors[:, present]
    if (np.diff(first) <= 0).any():
        raise InputError("the starts of segments must rise; sort them")
    edges = np.append(first, first[-1] + length[-1])
    mesh = ax.pcolormesh(edges, np.arange(len(colors) + 1), colors, **_color_scale(colors, limits))
    ax.vlines(edges[1:-1], 0, len(colors), color="white", lw=1.2)
    places = list(np.arange(len(colors)) + 0.5)
    if heights is not None:
        # In a row of its own above the others, where the y axis points down.
        largest = max(float(heights[present].max()), np.finfo(float).tiny)
        shares = heights[present] / largest
        ax.bar(first, -shares, np.diff(edges), -GAP, align="edge", color=BLUE, ec="white", lw=1.2)
        places, rows = [-GAP - 0.5, *places], [f"{label_of(weight_label)}\n(0 to {largest:.2g})", *rows]
    ax.set_yticks(places, rows)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=time_label, xlim=(edges[0], edges[-1]), ylim=(len(colors), places[0] - 0.5))
    ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def _color_scale(values: Shaped[np.ndarray, "row segment"], limits: tuple[float, float] | None) -> dict[str, Any]:
    """Returns colours; around zero where there are numbers of both signs."""
    low, high = limits or (float(values.min()), float(values.max()))
    if low < 0 < high:
        largest = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    return {"cmap": "viridis", "vmin": low, "vmax": high}

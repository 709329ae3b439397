"""Pictures of graphs: each function draws arrays on an axes and returns it.

matplotlib is imported only when one is called.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.errors import InputError
from jaxcast.plotting.trajectories import BLUE, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers: TypeAlias = Shaped[ArrayLike, " node"] | Sequence[float | int]
"""A number for each node."""
MOST_NAMES = 40
"""Nodes or groups whose names fit beside a picture."""
KM_PER_DEGREE = 111.195


def plot_graph(
    ax: "Axes",
    graph: Shaped[ArrayLike, "node node"],
    *,
    longitude: Numbers | None = None,
    latitude: Numbers | None = None,
    names: Sequence[str] | None = None,
    most_edges: int = 300,
    ordered: bool = True,
    label: str = "weight",
) -> "Axes":
    """Draws a graph: a map where positions are given, else a matrix of its weights.

    On a map the strongest edges are drawn, wider for larger weights. Those of a graph that is not
    symmetric taper from the node that is listened to towards the node that listens. Nodes without
    any neighbour are hollow. In a matrix a row listens to the columns.

    Args:
        ax: to draw on.
        graph: A_ij >= 0, the weight with which node i listens to node j. Loops are not drawn on a
            map.
        longitude: of the nodes, in degrees.
        latitude: of the nodes, in degrees.
        names: of the nodes; shown for up to 40.
        most_edges: how many edges a map shows at most.
        ordered: whether a matrix brings nodes together that are connected (by the second
            eigenvector of the Laplacian) instead of keeping their order.
        label: of the weights.

    Returns:
        The axes.

    Raises:
        InputError: for a graph that is not square, or positions of other nodes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> graph = np.asarray([[0.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, 0.5, 0.0]])
        >>> ax = jaxcast.plotting.plot_graph(
        ...     Figure().subplots(), graph, longitude=[2.1, 2.2, 2.3], latitude=[48.8, 48.9, 48.8]
        ... )
        >>> [collection.get_label() for collection in ax.collections]
        ['edges', 'nodes']
    """
    weights = np.asarray(graph, float)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise InputError(f"expected a graph (node, node), got shape {weights.shape}")
    if longitude is None or latitude is None:
        return _matrix(ax, weights, names, label, ordered=ordered)
    places = _places(longitude, latitude, len(weights))
    edges = np.where(np.eye(len(weights)) > 0, 0, weights)
    _edges(ax, edges, places, most_edges)
    alone = ~((edges > 0) | (edges.T > 0)).any(1)
    size = _marker_size(len(weights))
    ax.scatter(
        places[:, 0],
        places[:, 1],
        s=size,
        c=np.where(alone, "white", "black"),
        ec="black",
        lw=0.6,
        zorder=3,
        label="nodes",
    )
    if names is not None and len(names) <= MOST_NAMES:
        for place, name in zip(places, names, strict=True):
            ax.annotate(label_of(name, 24), place, xytext=(4, 3), textcoords="offset points", fontsize=7, color="0.3")
    return _as_map(ax, places)


def plot_node_values(
    ax: "Axes",
    longitude: Numbers,
    latitude: Numbers,
    values: Numbers,
    *,
    groups: Sequence[str] | None = None,
    label: str = "",
) -> "Axes":
    """Draws a map of the nodes, coloured by a value or by the group that each belongs to.

    Values of both signs get a scale whose middle is 0; a node without a value (NaN) is hollow. From
    50 nodes on, colours span 96 % of the values, and the colour bar shows by arrows where there are
    values beyond.

    Args:
        ax: to draw on.
        longitude: of the nodes, in degrees.
        latitude: of the nodes, in degrees.
        values: of the nodes; with `groups`, the number of each node's group, from 0.
        groups: names of groups, such as communities.
        label: of the colour bar, or of the legend.

    Returns:
        The axes.

    Raises:
        InputError: for positions of other nodes, or a group without a name.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_node_values(
        ...     Figure().subplots(), [2.1, 2.2, 2.3], [48.8, 48.9, 48.8], [0, 1, 0], groups=["centre", "suburb"]
        ... )
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['centre', 'suburb']
    """
    found = np.asarray(values, float)
    places = _places(longitude, latitude, len(found))
    size, known = 1.6 * _marker_size(len(found)), np.isfinite(found)
    if groups is None:
        low, high, scale = _color_scale(found[known])
        dots = ax.scatter(
            places[known, 0], places[known, 1], s=size, c=found[known], ec="0.3", lw=0.3, label="nodes", **scale
        )
        extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[low, high]
        ax.figure.colorbar(dots, ax=ax, label=label, pad=0.02, shrink=0.8, extend=extend)
    else:
        _groups(ax, places, np.where(known, found, -1).astype(int), groups, size)
    if not known.all():
        ax.scatter(places[~known, 0], places[~known, 1], s=size, c="white", ec="0.6", lw=0.6, label="no value")
    if groups is not None and len(groups) <= MOST_NAMES // 2:
        ax.legend(frameon=False, fontsize=8, title=label, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1.3)
    return _as_map(ax, places)


def _places(longitude: Numbers, latitude: Numbers, num_nodes: int) -> Shaped[np.ndarray, "node 2"]:
    x, y = np.asarray(longitude, float), np.asarray(latitude, float)
    if x.shape != (num_nodes,) or y.shape != (num_nodes,):
        raise InputError(f"expected the positions of {num_nodes} nodes, got shapes {x.shape} and {y.shape}")
    return np.stack([x, y], 1)


def _marker_size(num_nodes: int) -> float:
    return float(np.clip(3000 / max(num_nodes, 1), 6, 40))


def _edges(ax: "Axes", edges: Shaped[np.ndarray, "node node"], places: Shaped[np.ndarray, "node 2"], most: int) -> None:
    """Draws the strongest edges, the weak ones first; says how many there are."""
    from matplotlib.collections import LineCollection, PolyCollection

    directed = bool((np.abs(edges - edges.T) > 1e-6 * np.abs(edges).max(initial=0)).any())
    receivers, senders = np.nonzero(edges if directed else np.triu(np.maximum(edges, edges.T)))
    weights = edges[receivers, senders]
    drawn = np.argsort(weights, kind="stable")[max(len(weights) - most, 0) :]
    receivers, senders, weights = receivers[drawn], senders[drawn], weights[drawn]
    shares = weights / weights.max(initial=0) if len(weights) else weights
    ends = np.stack([places[senders], places[receivers]], 1)
    widest = float(np.clip(40 / math.sqrt(len(weights) + 1), 0.7, 2.5))
    colors = np.column_stack([np.tile(_rgb(BLUE), (len(shares), 1)), 0.25 + 0.6 * shares])
    if directed:
        ax.add_collection(
            PolyCollection(list(_tapered(ends, widest * shares, places)), fc=colors, ec="none", label="edges")
        )
    else:
        ax.add_collection(LineCollection(list(ends), colors=colors, linewidths=0.2 + widest * shares, label="edges"))
    number = int((edges > 0).sum()) if directed else int((np.maximum(edges, edges.T) > 0).sum()) // 2
    notes = [f"the {len(drawn)} strongest of {number} edges"] * (number > len(drawn))
    notes += ["wide end: listened to"] * directed
    ax.text(0.99, 0.01, "\n".join(notes), transform=ax.transAxes, ha="right", va="bottom", fontsize=8, color="0.4")


def _color_scale(values: Shaped[np.ndarray, " node"]) -> tuple[bool, bool, dict[str, Any]]:
    """Returns whether there are values below and above the colours, and the colours with their limits."""
    if not len(values):
        return False, False, {"cmap": "viridis"}
    low, high = np.percentile(values, [2, 98] if len(values) >= 50 else [0, 100])
    cmap = "viridis"
    if values.min() < 0 < values.max():
        cmap, high = "RdBu_r", max(-low, high)
        low = -high
    return bool(values.min() < low), bool(values.max() > high), {"cmap": cmap, "vmin": low, "vmax": high}


def _rgb(color: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def _tapered(
    ends: Shaped[np.ndarray, "edge 2 2"], widths: Shaped[np.ndarray, " edge"], places: Shaped[np.ndarray, "node 2"]
) -> Shaped[np.ndarray, "edge 3 2"]:
    """Returns triangles: wide at the sender, a point at the receiver."""
    stretch = np.asarray([math.cos(math.radians(float(places[:, 1].mean()))), 1.0])
    along = (ends[:, 1] - ends[:, 0]) * stretch
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    length = np.sqrt((across**2).sum(1, keepdims=True))
    extent = float(((places.max(0) - places.min(0)) * stretch).max())
    offset = across / np.where(length > 0, length, 1) * (0.001 + 0.003 * widths[:, None]) * extent / stretch
    return np.stack([ends[:, 0] + offset, ends[:, 0] - offset, ends[:, 1]], 1)


def _groups(
    ax: "Axes",
    places: Shaped[np.ndarray, "node 2"],
    group: Shaped[np.ndarray, " node"],
    names: Sequence[str],
    size: float,
) -> None:
    from matplotlib import colormaps

    if group.max(initial=0) >= len(names):
        raise InputError(f"expected a name for each of {group.max() + 1} groups, got {len(names)}")
    palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
    for number, name in enumerate(names):
        own = places[group == number]
        ax.scatter(
            own[:, 0], own[:, 1], s=size, color=palette(number % palette.N), ec="0.3", lw=0.3, label=label_of(name, 24)
        )


def _as_map(ax: "Axes", places: Shaped[np.ndarray, "node 2"]) -> "Axes":
    """Gives a degree east and north their true lengths, and adds a bar of a round number of kilometres."""
    stretch = math.cos(math.radians(float(places[:, 1].mean())))
    ax.set_aspect(1 / max(stretch, 0.01))
    low, high = places.min(0), places.max(0)
    # Places along a road leave no room for the bar and the notes.
    sides = (high - low) * [stretch, 1]
    missing = np.maximum(0.5 * sides.max() - sides, 0) / [max(stretch, 0.01), 1] / 2
    low, high = low - missing, high + missing
    margin = np.maximum(0.05 * (high - low), 1e-3 + 0.02 * (high - low).max())
    ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - 2 * margin[1], high[1] + margin[1]))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.8")
    width_km = float(high[0] - low[0] + 2 * margin[0]) * KM_PER_DEGREE * stretch
    digits = 10 ** math.floor(math.log10(width_km / 3))
    bar_km = max(step * digits for step in (1, 2, 5) if step * digits <= width_km / 3)
    left, height = low[0] - 0.5 * margin[0], low[1] - 1.5 * margin[1]
    right = left + bar_km / (KM_PER_DEGREE * stretch)
    ax.plot([left, right], [height, height], color="0.3", lw=2, solid_capstyle="butt")
    text: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8, "color": "0.3"}
    ax.annotate(f"{bar_km:g} km", ((left + right) / 2, height), xytext=(0, 2), textcoords="offset points", **text)
    return ax


def _matrix(
    ax: "Axes", weights: Shaped[np.ndarray, "node node"], names: Sequence[str] | None, label: str, *, ordered: bool
) -> "Axes":
    order = _spectral_order(weights) if ordered else np.arange(len(weights))
    image = ax.imshow(weights[np.ix_(order, order)], cmap="Blues", vmin=0, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)
    ax.set(xlabel="node listened to", ylabel="listening node")
    if names is not None and len(names) <= MOST_NAMES:
        shown = [label_of(names[n], 24) for n in order.tolist()]
        ax.set_xticks(range(len(shown)), shown, rotation=90, fontsize=7)
        ax.set_yticks(range(len(shown)), shown, fontsize=7)
    elif ordered:  # places in the order would be taken for numbers of nodes
        ax.set(xticks=[], yticks=[])
    return ax


def _spectral_order(weights: Shaped[np.ndarray, "node node"]) -> Shaped[np.ndarray, " node"]:
    both = np.maximum(weights, weights.T) * (1 - np.eye(len(weights)))
    degree = both.sum(1)
    root = 1 / np.sqrt(np.where(degree > 0, degree, 1))
    vectors = np.linalg.eigh(np.diag((degree > 0).astype(float)) - root[:, None] * both * root)[1]
    second = root * vectors[:, min(int((degree == 0).sum()) + 1, len(weights) - 1)]
    return np.lexsort((second, degree == 0))

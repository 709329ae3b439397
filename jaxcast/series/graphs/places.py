"""Graphs of places: from distances, positions and grids."""

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError

EARTH_RADIUS_KM = 6371.0088
"""The mean radius of the Earth."""


@checked
def graph_from_distances(
    distances: Float[Any, "node node"],
    *,
    within: float | int | None = None,
    width: float | int | None = None,
    least: float | int = 0.1,
) -> Float[np.ndarray, "node node"]:
    """Returns the graph of nodes that are close: a Gaussian kernel, or 1 within a distance.

        A_ij = exp(-d_ij^2 / width^2)  if that is at least `least`, else 0

    Args:
        distances: d_ij from node j to node i, in any unit; infinite where there is no way.
        within: if given, A_ij = 1 where d_ij is below it, and 0 elsewhere.
        width: of the kernel; by default the standard deviation of the finite distances between
            different nodes, or their mean where the kernel would leave no edge, as for places that
            are about equally far apart.
        least: the smallest weight that is kept.

    Returns:
        The graph. No node is its own neighbour; add `np.eye(len(graph))` for loops.

    Raises:
        InputError: for distances that are not square, negative or NaN, for settings out of range,
            and where these leave no edge though there are ways.

    Source:
        Li, Yu, Shahabi and Liu (2018), section 4.1, where `least` is 0.1.

    Example:
        >>> import jaxcast
        >>> distances = [[0.0, 1.0, 9.0], [1.0, 0.0, 9.0], [9.0, 9.0, 0.0]]
        >>> jaxcast.series.graph_from_distances(distances, width=2.0).round(4).tolist()
        [[0.0, 0.7788, 0.0], [0.7788, 0.0, 0.0], [0.0, 0.0, 0.0]]
        >>> jaxcast.series.graph_from_distances(distances, within=5.0).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    found = _checked(distances)
    others = ~np.eye(len(found), dtype=bool)
    finite = found[others & np.isfinite(found)]
    if within is not None:
        check_number("within", within, above=0)
        graph = ((found < within) & others).astype(float)
        return _with_an_edge(graph, finite, f"within={within:g} leaves no edge", "a larger one")
    check_number("least", least, least=0, most=1)
    if width is None:
        mean, spread = (float(finite.mean()), float(finite.std())) if finite.size else (0.0, 0.0)
        graph = _kernel(found, spread, least) if spread > 1e-9 * mean else np.zeros_like(found)
        graph = graph if graph.any() else _kernel(found, mean or 1.0, least)
        return _with_an_edge(graph, finite, f"least={least:g} leaves no edge", "a smaller one")
    check_number("width", width, above=0)
    about = f"a kernel of width={width:g} and least={least:g} leaves no edge"
    return _with_an_edge(_kernel(found, width, least), finite, about, "a larger width")


def _checked(distances: Any) -> Float[np.ndarray, "node node"]:
    found = np.asarray(distances, float)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise InputError(f"expected distances (node, node), got shape {found.shape}")
    if not (found >= 0).all():
        raise InputError("expected distances that are not negative, and inf where there is no way; fix them")
    return found


def _kernel(distances: Float[np.ndarray, "node node"], width: float, least: float) -> Float[np.ndarray, "node node"]:
    weights = np.exp(-((distances / width) ** 2))
    return np.where(~np.eye(len(distances), dtype=bool) & (weights >= least), weights, 0.0)


def _with_an_edge(graph: np.ndarray, finite: np.ndarray, what: str, fix: str) -> Float[np.ndarray, "node node"]:
    """Refuses a graph without edges where distances between different nodes are finite."""
    if finite.size and not graph.any():
        raise InputError(
            f"{what}: the smallest distance between two nodes is {finite.min():g}; give {fix}, or use "
            "nearest_neighbours_graph"
        )
    return graph


@checked
def great_circle_distances(
    latitude: Float[Any, " node"], longitude: Float[Any, " node"]
) -> Float[np.ndarray, "node node"]:
    """Returns the distances between positions along great circles, in kilometres.

    Args:
        latitude: in degrees, -90 to 90.
        longitude: in degrees, -180 to 360.

    Returns:
        The distances on a sphere with the Earth's mean radius.

    Raises:
        InputError: for positions that are not finite or out of range, or of different numbers.

    Source:
        The haversine formula, Sinnott (1984), which is accurate for short distances too.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.great_circle_distances([0.0, 0.0], [0.0, 90.0]).round(1).tolist()
        [[0.0, 10007.6], [10007.6, 0.0]]
    """
    degrees = [np.asarray(angle, float) for angle in (latitude, longitude)]
    if degrees[0].ndim != 1 or degrees[0].shape != degrees[1].shape:
        raise InputError(
            f"expected a latitude and a longitude of each node, got shapes {degrees[0].shape} and {degrees[1].shape}"
        )
    for name, angle, low, high in (("latitude", degrees[0], -90, 90), ("longitude", degrees[1], -180, 360)):
        wrong = ~((angle >= low) & (angle <= high))
        if wrong.any():
            node = int(wrong.argmax())
            raise InputError(
                f"expected {name}s from {low} to {high} degrees, got {angle[node]:g} at node {node}; fix it"
            )
    phi, lam = np.radians(degrees)
    square = np.sin((phi[:, None] - phi) / 2) ** 2
    square += np.cos(phi[:, None]) * np.cos(phi) * np.sin((lam[:, None] - lam) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(square, 1)))


@checked
def graph_from_coordinates(
    latitude: Float[Any, " node"],
    longitude: Float[Any, " node"],
    *,
    within: float | int | None = None,
    width: float | int | None = None,
    least: float | int = 0.1,
) -> Float[np.ndarray, "node node"]:
    """Returns the graph of positions that are close, in kilometres along great circles.

    Args:
        latitude: in degrees, -90 to 90.
        longitude: in degrees, -180 to 360.
        within: in kilometres, see `graph_from_distances`.
        width: in kilometres, see `graph_from_distances`.
        least: the smallest weight that is kept.

    Returns:
        The graph. No node is its own neighbour; add `np.eye(len(graph))` for loops.

    Raises:
        InputError: for positions that are not finite or out of range, or of different numbers.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.graph_from_coordinates([40.0, 40.0, 41.0], [116.0, 116.01, 116.0], within=1).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    distances = great_circle_distances(latitude, longitude)
    return graph_from_distances(distances, within=within, width=width, least=least)


@checked
def nearest_neighbours_graph(
    distances: Float[Any, "node node"], num_neighbours: int, *, either: bool = False
) -> Float[np.ndarray, "node node"]:
    """Returns the graph in which each node listens to the nodes nearest to it, all with weight 1.

    Args:
        distances: d_ij from node j to node i; infinite where there is no way.
        num_neighbours: to how many others a node listens; fewer where fewer have a finite
            distance. Among equal distances the earlier node comes first.
        either: whether a neighbour listens back, which makes the graph symmetric.

    Returns:
        The graph.

    Raises:
        InputError: for distances that are not square, negative or NaN, or for no neighbours or as
            many as nodes.

    Example:
        >>> import jaxcast
        >>> distances = [[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]]
        >>> jaxcast.series.nearest_neighbours_graph(distances, 1).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    found = _checked(distances)
    check_whole("num_neighbours", num_neighbours, most=max(len(found) - 1, 1))
    reachable = np.isfinite(found) & ~np.eye(len(found), dtype=bool)
    graph = nearest(np.where(reachable, -found, -np.inf), num_neighbours)
    return np.maximum(graph, graph.T) if either else graph


def nearest(closeness: Float[np.ndarray, "node node"], num_neighbours: int) -> Float[np.ndarray, "node node"]:
    """Returns 1 for the closest others of each node, and 0 elsewhere.

    Args:
        closeness: of each node's others; -inf for those that it cannot listen to.
        num_neighbours: how many to take.
    """
    order = np.argsort(-closeness, axis=1, kind="stable")[:, :num_neighbours]
    graph = np.zeros_like(closeness)
    np.put_along_axis(graph, order, 1.0, axis=1)
    return np.where(closeness > -np.inf, graph, 0.0)


@checked
def grid_graph(rows: int, columns: int, *, corners: bool = False) -> Float[np.ndarray, "node node"]:
    """Returns the graph of a grid's adjacent cells: 1 if they share an edge, else 0.

    Args:
        rows: of the grid.
        columns: of the grid. The cell at (r, c) is node r * columns + c.
        corners: whether cells that share only a corner are adjacent too.

    Returns:
        The graph.

    Raises:
        InputError: for sizes below one.

    Source:
        Geng et al. (2019), section 3.1. Some texts print the two cases swapped.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.grid_graph(1, 3).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
        >>> jaxcast.series.grid_graph(2, 2, corners=True).sum().item()
        12.0
    """
    check_whole("rows", rows)
    check_whole("columns", columns)
    row, column = np.divmod(np.arange(rows * columns), columns)
    apart = [np.abs(place[:, None] - place) for place in (row, column)]
    return ((np.maximum(*apart) == 1) if corners else (apart[0] + apart[1] == 1)).astype(float)

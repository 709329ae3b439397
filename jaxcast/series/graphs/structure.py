"""Graphs of series: checks, a report, neighbours at each distance, and weights of neighbours."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError, counted


@checked
def check_graphs(
    graphs: Float[Any, "*graph node node"], *, num_nodes: int | None = None, symmetric: bool = False
) -> Float[np.ndarray, "graph node node"]:
    """Checks graphs, and returns them as one array.

    Args:
        graphs: (node, node), or several, (graph, node, node).
        num_nodes: how many nodes there must be; by default as many as there are.
        symmetric: whether they must be symmetric, up to rounding.

    Returns:
        The graphs, (graph, node, node).

    Raises:
        InputError: for graphs of another shape, negative, not finite or, where asked, asymmetric,
            with the first pair of nodes where it is so.

    Example:
        >>> import jaxcast, numpy as np
        >>> jaxcast.series.check_graphs(np.ones((3, 3))).shape
        (1, 3, 3)
    """
    found = np.asarray(graphs, float)
    of_nodes = "" if num_nodes is None else f" of {num_nodes} nodes"
    size = found.shape[-1] if num_nodes is None and found.ndim else num_nodes
    if found.ndim not in (2, 3) or found.shape[-2:] != (size, size) or not found.size:
        raise InputError(f"expected graphs (node, node) or (graph, node, node){of_nodes}, got shape {found.shape}")
    found = found.reshape(-1, *found.shape[-2:])
    faults = [(~np.isfinite(found), "finite weights"), (found < 0, "weights that are not negative")]
    if symmetric:
        apart = np.abs(found - found.swapaxes(1, 2))
        faults.append((apart > 1e-6 * np.abs(found).max(), "a symmetric graph"))
    for wrong, wanted in faults:
        if wrong.any():
            graph, i, j = map(int, np.argwhere(wrong)[0])
            of_graph = f" of graph {graph}" if len(found) > 1 else ""
            values = f"{found[graph, i, j]:g}" + (f" and {found[graph, j, i]:g} back" if "symmetric" in wanted else "")
            fix = "; np.maximum(graph, graph.T) makes it so" if "symmetric" in wanted else "; fix it"
            raise InputError(f"expected {wanted}, got {values} from node {j} to node {i}{of_graph}{fix}")
    return found


@checked
def describe_graph(graph: Float[Any, "node node"]) -> str:
    """Describes a graph in one line: its edges, isolated nodes and connected components.

    Args:
        graph: A. Loops do not count as edges; those of a symmetric graph count once.

    Returns:
        The line. Nodes are connected if there is a way between them, in whatever direction.

    Raises:
        InputError: for another shape, or weights that are negative or not finite.

    Example:
        >>> import jaxcast
        >>> print(jaxcast.series.describe_graph([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
        3 nodes, 1 edge (33 % of pairs), 1 isolated node, 2 connected components, the largest of 2 nodes
    """
    (weights,) = check_graphs(np.asarray(graph)[None])
    num = len(weights)
    edges = (weights > 0) & ~np.eye(num, dtype=bool)
    directed = bool((edges != edges.T).any())
    number = int(edges.sum()) // (1 if directed else 2)
    share = edges.mean() * num / max(num - 1, 1)
    isolated = int((~(edges | edges.T).any(1)).sum())
    sizes = np.unique(_components(edges | edges.T), return_counts=True)[1]
    found = [
        counted(num, "node"),
        f"{counted(number, 'directed edge' if directed else 'edge')} ({100 * share:.2g} % of pairs)",
        counted(isolated, "isolated node"),
        counted(len(sizes), "connected component"),
    ]
    return ", ".join(found) + (f", the largest of {counted(int(sizes.max()), 'node')}" if len(sizes) > 1 else "")


def _components(edges: Bool[np.ndarray, "node node"]) -> np.ndarray:
    """Returns the least node of each node's component, for symmetric edges."""
    labels = np.arange(len(edges))
    while True:
        among = np.where(edges, labels, len(edges)).min(1)
        lower = np.minimum(labels, among)
        lower = lower[lower]  # a node's label is a node too, whose own may be lower already
        if (lower == labels).all():
            return labels
        labels = lower


@checked
def hop_graphs(graph: Float[Any, "node node"], most: int) -> Float[np.ndarray, "hop node node"]:
    """Returns the mean over the neighbours at each distance, for space-time autoregressions.

    Args:
        graph: A; node i reaches j in one step if A_ij > 0.
        most: the largest number of steps.

    Returns:
        For each number of steps from 0, the matrix that weighs alike all nodes that are reached in
        exactly so many steps and no fewer. The first is the identity; a row without any such node
        is zero.

    Raises:
        InputError: for another shape, weights that are negative or not finite, or `most` below
            zero.

    Source:
        Pfeifer and Deutsch (1980), section 2.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.hop_graphs(jaxcast.series.grid_graph(1, 3), 2)[2].tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    (weights,) = check_graphs(np.asarray(graph)[None])
    check_whole("most", most, least=0)
    step = (weights > 0).astype(float)
    newest = np.eye(len(step))
    seen, found = newest > 0, [newest]
    for _ in range(most):
        fresh = (newest @ step > 0) & ~seen
        seen, newest = seen | fresh, fresh.astype(float)
        found.append(newest / np.maximum(newest.sum(1, keepdims=True), 1))
    return np.stack(found)


@checked
def connectivity_graph(
    connections: Float[Any, "node node"], neighbourhood: Float[Any, "node node"]
) -> Float[np.ndarray, "node node"]:
    """Returns the graph of nodes that are connected, by a road or a line, and not adjacent anyway.

        A_C = max(0, connections - A_N)

    Args:
        connections: how well connected nodes are, in [0, 1].
        neighbourhood: A_N, 1 for adjacent nodes, as `grid_graph` returns it.

    Returns:
        The graph. No node is its own neighbour.

    Raises:
        InputError: for other shapes, or weights that are negative or not finite.

    Source:
        Geng et al. (2019), eq. 3.

    Example:
        >>> import jaxcast, numpy as np
        >>> jaxcast.series.connectivity_graph(np.ones((3, 3)), jaxcast.series.grid_graph(1, 3)).tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    (found,) = check_graphs(np.asarray(connections)[None])
    (adjacent,) = check_graphs(np.asarray(neighbourhood)[None], num_nodes=len(found))
    return np.where(np.eye(len(found)) > 0, 0, np.maximum(found - adjacent, 0))


@checked
def neighbour_weights(
    num_regions: int, adjacency: Float[Any, "region region"] | None = None, *, everyone: bool = False, nearest: int = 0
) -> Float[np.ndarray, "region group source"]:
    """Weighs the series that the forecast of each region sees, in groups: its own first.

    Args:
        num_regions: how many regions there are.
        adjacency: how close regions are, not negative. Without `nearest`, the mean of all others,
            weighted by it, is one group.
        everyone: whether the mean of all series is another group.
        nearest: how many of the closest others are a group each.

    Returns:
        The weights.

    Raises:
        InputError: for an adjacency of another shape, negative or not finite, or with fewer others
            than nearest ones.

    Example:
        >>> import jaxcast, numpy as np
        >>> jaxcast.series.neighbour_weights(2, np.ones((2, 2)), everyone=True)[0].tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    """
    own = np.eye(num_regions)
    parts = [own[:, None]]
    if adjacency is not None:
        closeness = np.asarray(adjacency, float)
        if closeness.shape != own.shape or nearest >= num_regions:
            raise InputError(
                f"expected an adjacency of {num_regions} regions and fewer nearest ones, got {closeness.shape} and "
                f"{nearest}"
            )
        if not (np.isfinite(closeness) & (closeness >= 0)).all():
            raise InputError("expected an adjacency of finite numbers that are not negative; fix it")
        others = np.where(own > 0, 0, closeness)
        if nearest:
            parts.append(own[np.argsort(-others, axis=1, kind="stable")[:, :nearest]])
        else:
            # A region without any neighbour sees itself once more.
            others = np.where(others.sum(1, keepdims=True) > 0, others, own)
            parts.append((others / others.sum(1, keepdims=True))[:, None])
    if everyone:
        parts.append(np.full((num_regions, 1, num_regions), 1 / num_regions))
    return np.concatenate(parts, 1)

"""Similarity of demand patterns by dynamic time warping, and what a network sees of it."""

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError


@checked
def demand_similarity_graph(
    values: Float[Any, "time node"], *, season: int, alpha: float | int = 1.0
) -> Float[np.ndarray, "node node"]:
    """Weighs pairs of nodes by how alike the patterns of their mean season are.

        A_ij = exp(-alpha DTW(p_i, p_j) / season),    A_ii = 0

    with p_i the mean of node i at each slot of a season, less its mean and over its standard
    deviation, and DTW the smallest sum of |p_i(s) - p_j(t)| along a path of slots (s, t) that goes
    from the first pair to the last, one slot ahead in one or both at a time. It takes season^2
    steps, each for all pairs of nodes.

    Args:
        values: of the TRAINING part; NaN where one is missing.
        season: steps of a season, such as the slots of a week.
        alpha: how fast the weight falls with the distance.

    Returns:
        The graph, symmetric.

    Raises:
        InputError: for fewer values than a season, nodes whose pattern is not known or never
            changes, or an alpha below zero.

    Source:
        Yao et al. (2018), eq. 7; there without the division by the season.

    Example:
        >>> import jaxcast, numpy as np
        >>> slots = 2 * np.pi * np.arange(24) / 12
        >>> values = np.stack([np.sin(slots), 3 + 2 * np.sin(slots), np.cos(2 * slots)], 1)
        >>> jaxcast.series.demand_similarity_graph(values, season=12).round(2).tolist()
        [[0.0, 1.0, 0.52], [1.0, 0.0, 0.52], [0.52, 0.52, 0.0]]
    """
    check_whole("season", season)
    check_number("alpha", alpha, least=0)
    values = np.asarray(values, float)
    length, num_nodes = values.shape
    if length < season:
        raise InputError(f"expected at least a season of {season} steps, got {length}")
    known = np.isfinite(values)
    slots = np.arange(length) % season
    sums, counts = np.zeros((2, season, num_nodes))
    np.add.at(sums, slots, np.where(known, values, 0))
    np.add.at(counts, slots, known)
    patterns = sums / np.where(counts > 0, counts, np.nan)
    spread = patterns.std(0)
    if (bad := ~(spread > 0)).any():
        raise InputError(
            f"node number {int(np.argmax(bad))} has no value at some slot of the season, or the same at all; leave it "
            "out"
        )
    patterns = (patterns - patterns.mean(0)) / spread
    first, second = np.triu_indices(num_nodes, 1)
    graph = np.zeros((num_nodes, num_nodes))
    graph[first, second] = np.exp(-alpha * _warped(patterns[:, first], patterns[:, second]) / season)
    return graph + graph.T


def _warped(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the distances by dynamic time warping of patterns (slot, pair)."""
    size, num_pairs = first.shape
    row = np.full((size + 1, num_pairs), np.inf)
    row[0] = 0
    for pattern in first:
        costs = np.abs(pattern - second)
        above, row = row, np.full_like(row, np.inf)
        best = np.minimum(above[:-1], above[1:])
        for slot in range(size):
            row[slot + 1] = costs[slot] + np.minimum(best[slot], row[slot])
    return np.asarray(row[-1])


def laplacian_embedding(graph: Float[np.ndarray, "node node"], size: int) -> Float[np.ndarray, "node number"]:
    """Returns the smoothest patterns on a graph: eigenvectors of its normalised Laplacian.

    Args:
        graph: not negative; it is made symmetric by max(A, A^T).
        size: how many, from the second smallest eigenvalue on.

    Returns:
        Each node's numbers, of mean square 1 over the nodes; the largest is positive. Zeros where
        there are fewer eigenvectors than asked for.
    """
    weights = np.maximum(graph, graph.T).astype(float)
    degree = weights.sum(1)
    root = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    vectors = np.linalg.eigh(np.eye(len(weights)) - root[:, None] * weights * root)[1][:, 1 : size + 1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    embedding = np.zeros((len(weights), size))
    embedding[:, : vectors.shape[1]] = vectors * np.sign(largest) * np.sqrt(len(weights))
    return embedding

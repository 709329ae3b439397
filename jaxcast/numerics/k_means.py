"""k-means clustering."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_finite, check_seed, check_sizes
from jaxcast.errors import InputError
from jaxcast.numerics.distances import squared_distances


class Clusters(NamedTuple):
    """Clusters of samples.

    Args:
        labels: number of the cluster of each sample.
        centres: mean of the samples of each cluster.
        squared_error: sum of the squared distances of all samples to their centre.
    """

    labels: Int[np.ndarray, " sample"]
    centres: Float[np.ndarray, "cluster feature"]
    squared_error: float


@checked
def k_means(
    values: Float[np.ndarray, "sample feature"],
    num_clusters: int,
    *,
    seed: int = 0,
    num_starts: int = 10,
    max_steps: int = 100,
) -> Clusters:
    """Finds clusters with the least squared distances to their means, by Lloyd's algorithm.

    The first centres are samples, each drawn with a probability proportional to the squared
    distance from those before (k-means++). Of several starts the best is kept. No cluster is empty.

    Args:
        values: the samples.
        num_clusters: k.
        seed: of the first centres.
        num_starts: times that centres are drawn.
        max_steps: of one start; it ends earlier once no sample changes its cluster.

    Returns:
        The best clusters. They are numbered in the order in which they first occur.

    Raises:
        InputError: for numbers below one, values that are not finite, or fewer different samples
            than clusters.

    Source:
        Lloyd (1982); Arthur and Vassilvitskii (2007) for the first centres.

    Example:
        >>> import numpy as np
        >>> from jaxcast.numerics.k_means import k_means
        >>> k_means(np.asarray([[0.0], [10.0], [1.0], [11.0]]), 2).labels.tolist()
        [0, 1, 0, 1]
    """
    check_sizes(num_clusters=num_clusters, num_starts=num_starts, max_steps=max_steps)
    check_seed(seed)
    check_finite(values)
    values = np.asarray(values, float)
    if (different := len(np.unique(values, axis=0))) < num_clusters:
        raise InputError(f"expected at least {num_clusters} different samples for as many clusters, got {different}")
    rng = np.random.default_rng(seed)
    starts = [_lloyd(values, _first_centres(values, num_clusters, rng), max_steps) for _ in range(num_starts)]
    return min(starts, key=lambda clusters: clusters.squared_error)


def _first_centres(values: np.ndarray, num_clusters: int, rng: np.random.Generator) -> np.ndarray:
    chosen = [int(rng.integers(len(values)))]
    nearest = np.full(len(values), np.inf)
    while len(chosen) < num_clusters:
        # Of differences: exactly zero at a centre, so none is drawn twice.
        nearest = np.minimum(nearest, np.square(values - values[chosen[-1]]).sum(1))
        chosen.append(int(rng.choice(len(values), p=nearest / nearest.sum())))
    return values[chosen]


def _lloyd(values: np.ndarray, centres: np.ndarray, max_steps: int) -> Clusters:
    num_clusters = len(centres)
    labels = np.full(len(values), -1)
    for _ in range(max_steps):
        distances = squared_distances(values, centres)
        before, labels = labels, _without_empty(distances.argmin(1), distances, num_clusters)
        if (labels == before).all():
            break
        members = np.eye(num_clusters)[labels]
        centres = members.T @ values / members.sum(0)[:, None]
    _, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.argsort(order)
    error = float(np.square(values - centres[labels]).sum())
    return Clusters(rank[numbers], centres[order], error)


def _without_empty(labels: np.ndarray, distances: np.ndarray, num_clusters: int) -> np.ndarray:
    """Gives each empty cluster the sample that is farthest from its centre and not alone in its cluster."""
    labels, own = labels.copy(), distances[np.arange(len(labels)), labels].copy()
    for empty in np.setdiff1d(np.arange(num_clusters), labels):
        shared = np.bincount(labels, minlength=num_clusters)[labels] > 1
        moved = np.where(shared, own, -1).argmax()
        labels[moved], own[moved] = empty, 0
    return labels

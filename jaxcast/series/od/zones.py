"""Shapes of origin-destination matrices whose pairs of zones are the regions of forecasters."""

import math
from typing import Any

import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.series.samples import SeriesWindows


def num_zones_of(samples: SeriesWindows) -> int:
    """Returns N of samples whose regions are the pairs origin * N + destination.

    Args:
        samples: of a network.

    Raises:
        InputError: for a number of regions that is not a square, or several features.
    """
    if samples.features is not None:
        raise InputError("expected trips (time, pair) without an axis of features; leave past_covariates out")
    return num_zones_of_pairs(samples.history.shape[2])


def num_zones_of_pairs(num_pairs: int) -> int:
    """Returns N, the number of zones of N x N pairs.

    Args:
        num_pairs: of origin and destination.

    Raises:
        InputError: for a number that is not a square.
    """
    num_zones = math.isqrt(num_pairs)
    if num_zones**2 != num_pairs:
        raise InputError(
            f"expected every pair of zones as a region, origin * N + destination, got {num_pairs} regions, which is "
            "not a square number; give all pairs"
        )
    return num_zones


def check_trips(samples: SeriesWindows) -> None:
    """Checks that no trips are negative.

    Args:
        samples: of a network.

    Raises:
        InputError: for negative trips.
    """
    for values in (np.asarray(samples.history), np.asarray(samples.targets)):
        if (values < 0).any():
            raise InputError(f"expected trips that are not negative, got {np.nanmin(values):g}; fix the data")


def check_clusters(clusters: Any, num_zones: int) -> tuple[int, ...]:
    """Checks the numbers of the clusters of zones.

    Args:
        clusters: one for each zone.
        num_zones: number of zones.

    Returns:
        The clusters as a tuple of integers.

    Raises:
        InputError: for other numbers than 0 to M - 1, or another number of zones.
    """
    labels = np.asarray(clusters)
    if labels.shape != (num_zones,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"expected the cluster of each of {num_zones} zones, got {shown(repr(clusters))}")
    if set(labels.tolist()) != set(range(int(labels.max()) + 1)):
        raise InputError(f"clusters must be numbered from 0 on without gaps, got {shown(sorted(set(labels.tolist())))}")
    return tuple(labels.tolist())


def zone_graph(adjacency: Any, num_zones: int) -> np.ndarray:
    """Checks which zones touch.

    Args:
        adjacency: (zone, zone), not negative; None for none.
        num_zones: number of zones.

    Returns:
        The adjacency, zeros for none.

    Raises:
        InputError: for an adjacency of other zones, negative or not symmetric.
    """
    if adjacency is None:
        return np.zeros((num_zones, num_zones))
    edges = np.array(adjacency, float)
    if edges.shape != (num_zones, num_zones):
        raise InputError(f"expected an adjacency of {num_zones} zones, got shape {edges.shape}")
    if (bad := ~(np.isfinite(edges) & (edges >= 0) & (edges == edges.T))).any():
        i, j = map(int, np.argwhere(bad)[0])
        raise InputError(
            "expected an adjacency that is symmetric, finite and not negative, got "
            f"{edges[i, j]:g} and {edges[j, i]:g} back between zones number {i} and {j}; give max(A, A^T)"
        )
    np.fill_diagonal(edges, 0)
    return edges

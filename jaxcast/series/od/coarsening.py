"""Coarsening of the zones of origin-destination matrices: connected clusters of similar zones."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_seed, check_sizes
from jaxcast.errors import InputError
from jaxcast.series.od.zones import zone_graph

MOST_SWEEPS = 50


@checked
def coarsen_zones(
    flows: Shaped[Any, "time origin destination"],
    adjacency: Shaped[Any, "zone other"],
    *,
    max_cluster_size: int,
    least_share: float | int = 0.0,
    seed: int = 0,
) -> Int[np.ndarray, " zone"]:
    """Finds connected clusters of zones with similar in- and outflows, by seeded label propagation.

        w_ij = adjacency_ij cos(profile_i, profile_j)

    with a zone's profile its outflow and its inflow at each time. In random order, a zone takes the
    label of the largest summed weight among its neighbours, if that is more than its own label's,
    the cluster has room and the one that it leaves stays connected. That ends when no label
    changes, or after 50 sweeps. Then clusters with less than a share of all trips are merged with
    the neighbour of the largest weight, if both together are small enough.

    The clusters for a maximum size start from those for one zone less. So there are never more of
    them than for a smaller maximum.

    Args:
        flows: mean trips of the training part, such as of each slot of the week.
        adjacency: symmetric and not negative; 0 where two zones do not touch.
        max_cluster_size: the most zones of a cluster.
        least_share: the least share of all trips that start or end in a cluster, where a neighbour
            is small enough to be merged with.
        seed: of the order of the zones.

    Returns:
        The number of each zone's cluster, from 0 on without gaps.

    Raises:
        InputError: for flows that are negative or not finite, an adjacency of other zones, negative
            or not symmetric, or a size below one.

    Source:
        Raghavan, Albert and Kumara (2007) for label propagation.

    Example:
        >>> import numpy as np, jaxcast
        >>> chain = np.eye(4, k=1) + np.eye(4, k=-1)
        >>> flows = np.ones((2, 4, 4))
        >>> flows[0, :2] = flows[1, 2:] = 5
        >>> jaxcast.series.coarsen_zones(flows, chain, max_cluster_size=2).tolist()
        [0, 0, 1, 1]
    """
    check_sizes(max_cluster_size=max_cluster_size)
    check_number("least_share", least_share, least=0, most=1)
    check_seed(seed)
    trips: Any = np.asarray(flows, float)
    if not (np.isfinite(trips).all() and (trips >= 0).all()):
        raise InputError("expected flows that are finite and not negative, the mean trips of the training part")
    edges = zone_graph(adjacency, trips.shape[1])
    profiles = np.concatenate([trips.sum(2), trips.sum(1)]).T
    norms = np.linalg.norm(profiles, axis=1, keepdims=True)
    units = profiles / np.where(norms > 0, norms, 1)
    demand = profiles.sum(1) / max(profiles.sum(), 1e-300)
    clusters = _Clusters(edges, edges * (units @ units.T), demand)
    for size in range(2, min(max_cluster_size, len(edges)) + 1):
        order = np.random.default_rng((seed, size))
        clusters.propagate(size, order)
        clusters.merge(size, least_share)
    return np.unique(clusters.labels, return_inverse=True)[1].astype(np.int32)


@checked
def merge_flows(flows: Shaped[Any, "*batch zone zone"], clusters: Int[Any, " zone"]) -> Float[Array, "*batch c c"]:
    """Sums the trips between zones to trips between their clusters, S^T X S.

    Args:
        flows: trips, the origins as rows, with any leading axes.
        clusters: the number of each zone's cluster, from 0 on.

    Returns:
        The trips between clusters.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> flows = jnp.asarray([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0], [5.0, 6.0, 0.0]])
        >>> jaxcast.series.merge_flows(flows, jnp.asarray([0, 0, 1])).tolist()
        [[4.0, 6.0], [11.0, 0.0]]
    """
    array = jnp.asarray(flows, float)
    return merged(array, jnp.asarray(assignment_of(clusters), array.dtype))


def merged(flows: Float[Array, "*batch zone zone"], assignment: Float[Array, "zone c"]) -> Float[Array, "*batch c c"]:
    """Returns S^T X S.

    Args:
        flows: X.
        assignment: S, one-hot.
    """
    return jnp.einsum("im,...ib->...mb", assignment, flows @ assignment)


def assignment_of(clusters: Any) -> Float[np.ndarray, "zone cluster"]:
    """Returns S, the one-hot clusters of zones.

    Args:
        clusters: the number of each zone's cluster.
    """
    labels = np.asarray(clusters)
    return np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]


class _Clusters:
    """Labels of zones while they change."""

    def __init__(self, edges: np.ndarray, weights: np.ndarray, demand: np.ndarray):
        self.labels = np.arange(len(edges))
        self.weights, self.demand = weights, demand
        self.neighbours = [np.flatnonzero(row) for row in edges]

    def propagate(self, size: int, order: np.random.Generator) -> None:
        for _ in range(MOST_SWEEPS):
            moved = [self._move(zone, size) for zone in order.permutation(len(self.labels)).tolist()]
            if not any(moved):
                return

    def merge(self, size: int, least_share: float) -> None:
        shares = np.bincount(self.labels, self.demand, len(self.labels))
        for label in np.argsort(shares, kind="stable").tolist():
            members = np.flatnonzero(self.labels == label)
            if not len(members) or self.demand[members].sum() >= least_share:
                continue
            weights: dict[int, float] = {}
            for zone in members.tolist():
                _add(weights, self._weights_of(zone))
            weights.pop(label, None)
            if best := self._best(weights, size - len(members)):
                self.labels[members] = best[0]

    def _move(self, zone: int, size: int) -> bool:
        own = self.labels[zone]
        weights = self._weights_of(zone)
        kept = weights.pop(own, 0.0)
        best = self._best(weights, size - 1)
        if best is None or best[1] <= kept or not self._stays_connected(zone):
            return False
        self.labels[zone] = best[0]
        return True

    def _weights_of(self, zone: int) -> dict[int, float]:
        """Returns the summed weight of each label among a zone's neighbours."""
        weights: dict[int, float] = {}
        for other in self.neighbours[zone]:
            _add(weights, {int(self.labels[other]): float(self.weights[zone, other])})
        return weights

    def _best(self, weights: Mapping[int, float], room: int) -> tuple[int, float] | None:
        """Returns the label of the largest weight whose cluster has no more zones than `room`."""
        sizes = np.bincount(self.labels, minlength=len(self.labels))
        fitting = [(label, weight) for label, weight in weights.items() if sizes[label] <= room]
        return max(fitting, key=lambda item: item[1], default=None)

    def _stays_connected(self, zone: int) -> bool:
        """Returns whether the rest of a zone's cluster is connected without it."""
        rest = set(np.flatnonzero(self.labels == self.labels[zone]).tolist()) - {int(zone)}
        reached = {min(rest)} if rest else set()
        front = list(reached)
        while front:
            new = (set(self.neighbours[front.pop()].tolist()) & rest) - reached
            reached |= new
            front += new
        return reached == rest


def _add(weights: dict[int, float], more: Mapping[int, float]) -> None:
    for label, weight in more.items():
        weights[label] = weights.get(label, 0.0) + weight

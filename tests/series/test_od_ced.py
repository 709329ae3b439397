"""OD-CED and its coarsening: clusters, masses, equations, permutations, and what is refused."""

import numpy as np
import pytest

import jaxcast
from jaxcast.series.od_networks.coarsening import assignment_of


def grid(rows, columns):
    """Returns the adjacency of a grid, edges and corners."""
    at = np.stack(np.divmod(np.arange(rows * columns), columns), -1)
    return (np.abs(at[:, None] - at).max(-1) == 1).astype(float)


def random_flows(num_cells, seed=0):
    return np.random.default_rng(seed).poisson(3, (6, num_cells, num_cells)).astype(float)


def is_connected(members, edges):
    reach = np.linalg.matrix_power(np.eye(len(members)) + edges[np.ix_(members, members)], len(members))
    return (reach > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_connected_small_and_never_more_for_a_larger_size(seed):
    edges = grid(4, 6)
    edges[:, 23] = edges[23] = 0  # an island
    flows = random_flows(24, seed)
    flows[:, 3] = flows[:, :, 3] = 0  # a cell without trips
    numbers = []
    for size in range(1, 9):
        clusters = jaxcast.series.coarsen_cells(flows, edges, max_cluster_size=size, least_share=0.05, seed=seed)
        members = [np.flatnonzero(clusters == label) for label in range(clusters.max() + 1)]
        assert all(1 <= len(cells) <= size and is_connected(cells, edges) for cells in members)
        numbers.append(len(members))
    assert numbers[0] == 24
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-1] < 10


def test_clusters_are_the_same_for_the_same_seed_and_follow_planted_profiles():
    edges, flows = grid(4, 4), np.zeros((2, 16, 16))
    left = np.arange(16) % 4 < 2
    flows[0][np.ix_(left, left)] = flows[1][np.ix_(~left, ~left)] = 5
    flows += 0.1
    make = lambda seed: jaxcast.series.coarsen_cells(flows, edges, max_cluster_size=8, seed=seed)  # noqa: E731
    np.testing.assert_array_equal(make(0), make(0))
    for seed in range(3):
        assert all(len(set(left[make(seed) == label])) == 1 for label in set(make(seed)))


def test_merged_flows_keep_every_trip():
    flows = random_flows(24)
    clusters = jaxcast.series.coarsen_cells(flows, grid(4, 6), max_cluster_size=4)
    one_hot = assignment_of(clusters)
    expected = np.einsum("ia,tij,jb->tab", one_hot, flows, one_hot)
    merged = np.asarray(jaxcast.series.merge_flows(flows, clusters))
    np.testing.assert_array_equal(merged, expected)
    np.testing.assert_array_equal(merged.sum((1, 2)), flows.sum((1, 2)))

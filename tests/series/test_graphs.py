"""Graphs of series against SciPy's graph routines and loops over pairs of nodes."""

import numpy as np
import pytest
from scipy.sparse import csgraph

import jaxcast
from jaxcast import series

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.uniform([40.0, 116.0], [40.3, 116.5], (7, 2))


def off_diagonal(a):
    return a[~np.eye(len(a), dtype=bool)]


def test_great_circles_are_those_of_vectors():
    latitude, longitude = RANDOM.uniform(-90, 90, 9), RANDOM.uniform(-180, 180, 9)
    phi, lam = np.radians([latitude, longitude])
    unit = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], 1)
    angles = np.arctan2(np.linalg.norm(np.cross(unit[:, None], unit), axis=-1), unit @ unit.T)
    np.testing.assert_allclose(series.great_circle_distances(latitude, longitude), 6371.0088 * angles, rtol=1e-9)
    paris_to_london = series.great_circle_distances([48.8566, 51.5074], [2.3522, -0.1278])[0, 1]
    assert abs(paris_to_london - 343.5) < 0.5


def test_kernel_and_threshold_of_distances():
    distances = series.great_circle_distances(*POINTS.T)
    graph = series.graph_from_coordinates(*POINTS.T)
    width = off_diagonal(distances).std()
    for i, j in np.ndindex(7, 7):
        weight = np.exp(-(distances[i, j] ** 2) / width**2)
        assert graph[i, j] == pytest.approx(weight if i != j and weight >= 0.1 else 0)
    assert 0 < (off_diagonal(graph) == 0).mean() < 1
    near = series.graph_from_coordinates(*POINTS.T, within=20)
    np.testing.assert_array_equal(off_diagonal(near), off_diagonal(distances) < 20)
    assert not np.diag(near).any()


def test_ways_that_do_not_exist_have_no_weight_and_no_part_in_the_width():
    distances = np.asarray([[0, 1, np.inf], [2, 0, np.inf], [4, np.inf, 0]])
    graph = series.graph_from_distances(distances, least=0)
    expected = np.exp(-((distances / np.std([1, 2, 4])) ** 2)) * (1 - np.eye(3))
    np.testing.assert_allclose(graph, expected)
    nowhere = np.where(np.eye(3) > 0, 0, np.inf)
    for found in (
        series.graph_from_distances(nowhere),
        series.graph_from_distances(np.zeros((1, 1))),
        series.nearest_neighbours_graph(nowhere, 2),
    ):
        assert not found.any()
    # Three places about equally far apart: the spread of distances alone would leave no edge.
    apart = np.asarray([[0, 10, 11], [10, 0, 10.5], [11, 10.5, 0]])
    np.testing.assert_allclose(series.graph_from_distances(apart)[0, 1], np.exp(-((10 / 10.5) ** 2)))
    assert (off_diagonal(series.graph_from_distances(np.zeros((3, 3)))) == 1).all()
    for apart in (0.3, 500.0):  # all equal, as between two nodes
        equal = series.graph_from_distances(apart * (1 - np.eye(3)))
        np.testing.assert_allclose(off_diagonal(equal), np.exp(-1))


@pytest.mark.parametrize("either", [False, True])
def test_nearest_neighbours(either):
    distances = series.great_circle_distances(*POINTS.T)
    expected = np.zeros((7, 7))
    for node, row in enumerate(distances):
        others = sorted((distance, j) for j, distance in enumerate(row) if j != node)
        expected[node, [j for _, j in others[:2]]] = 1
    expected = np.maximum(expected, expected.T) if either else expected
    np.testing.assert_array_equal(series.nearest_neighbours_graph(distances, 2, either=either), expected)


@pytest.mark.parametrize("corners", [False, True])
def test_cells_of_a_grid(corners):
    graph = series.grid_graph(3, 4, corners=corners)
    for i, j in np.ndindex(12, 12):
        steps = abs(i // 4 - j // 4), abs(i % 4 - j % 4)
        assert graph[i, j] == (steps in ((0, 1), (1, 0)) or (corners and steps == (1, 1)))
    connected = series.connectivity_graph(np.ones((12, 12)), graph)
    np.testing.assert_array_equal(connected, 1 - graph - np.eye(12))


def test_correlations_are_those_of_common_rows_of_the_training_part():
    values = RANDOM.normal(size=(60, 5)) + RANDOM.normal(size=(60, 1)) + 1e6
    values[RANDOM.random(values.shape) < 0.2] = np.nan
    values[40:] = RANDOM.normal(size=(20, 5)) * 1e9  # the test part changes nothing
    graph = series.graph_from_correlation(values, stop=40)
    above = series.graph_from_correlation(values, stop=40, threshold=0.4)
    nearest = series.graph_from_correlation(values, stop=40, num_neighbours=2)
    for i, j in np.ndindex(5, 5):
        both = values[:40][np.isfinite(values[:40, [i, j]]).all(1)]
        correlation = np.corrcoef(both[:, i], both[:, j])[0, 1]
        assert graph[i, j] == pytest.approx(0 if i == j else max(correlation, 0), abs=1e-8)
        assert above[i, j] == (i != j and correlation > 0.4)
        assert nearest[i, j] == (graph[i, j] >= np.sort(graph[i])[-2])


def test_series_without_variation_are_isolated():
    values = RANDOM.normal(size=(20, 6)) + np.sin(np.arange(20.0))[:, None]
    values[:, 1] = 0.1
    values[:, 2] = np.nan
    values[2:, 3] = np.nan  # two values
    values[:, 4] = 7e8 + 1 / 3
    for options in ({}, {"threshold": 0}, {"num_neighbours": 3}):
        graph = series.graph_from_correlation(values, stop=20, **options)
        assert np.isfinite(graph).all()
        assert not graph[1:5].any()
        assert not graph[:, 1:5].any()
        assert graph[0, 5] > 0
    assert not series.graph_from_correlation(values, stop=20, threshold=1).any()


def test_cosines_of_attributes():
    attributes = np.asarray([[1.0, 2, 0], [2, 4, 0], [0, 0, 3], [0, 0, 0], [-1, -2, 0], [1e-200, 0, 1e-200]])
    graph = series.similarity_graph(attributes)
    assert graph[0, 1] == pytest.approx(1)
    assert graph[0, 4] == graph[0, 2] == 0
    assert graph[2, 5] == pytest.approx(0.5**0.5)
    assert not graph[3].any()


def test_trips():
    trips = RANDOM.integers(0, 9, (10, 4, 4)).astype(float)
    total = trips[:6].sum(0) * (1 - np.eye(4))
    found = series.graph_from_trips(trips, stop=6, both_ways=False)
    np.testing.assert_allclose(found, total.T / total.max())
    both = series.graph_from_trips(trips, stop=6, threshold=60)
    np.testing.assert_array_equal(both, (total + total.T > 60).astype(float))
    np.testing.assert_array_equal(series.graph_from_trips(trips[:6].sum(0)), series.graph_from_trips(trips, stop=6))
    assert not series.graph_from_trips(np.zeros((3, 3))).any()


@pytest.mark.parametrize("seed", range(3))
def test_hops_and_components_are_scipys(seed):
    random = np.random.default_rng(seed)
    graph = np.where(random.random((15, 15)) < 0.08, random.random((15, 15)), 0)
    hops = csgraph.shortest_path(graph, unweighted=True)
    for number, found in enumerate(series.hop_graphs(graph, 4)):
        there = (hops == number).astype(float)
        np.testing.assert_allclose(found, there / np.maximum(there.sum(1, keepdims=True), 1))
    components, labels = csgraph.connected_components(graph, connection="weak")
    isolated = (np.maximum(graph, graph.T) * (1 - np.eye(15)) == 0).all(1).sum()
    line = series.describe_graph(graph)
    edges = (off_diagonal(graph) > 0).sum()
    assert line.startswith(f"15 nodes, {edges} directed edges ({edges / 2.1:.2g} % of pairs), {isolated} isolated node")
    assert f"{components} connected component" in line
    assert f"the largest of {np.bincount(labels).max()} nodes" in line


def test_a_long_chain_is_one_component():
    order = np.random.default_rng(0).permutation(300)
    chain = series.grid_graph(1, 300)[np.ix_(order, order)]
    assert (
        series.describe_graph(chain)
        == "300 nodes, 299 edges (0.67 % of pairs), 0 isolated nodes, 1 connected component"
    )


def graph_with(value, back=0.0):
    graph = np.zeros((2, 3, 3))
    graph[1, 0, 2], graph[1, 2, 0] = value, back
    return graph


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (r"of 4 nodes, got shape \(3, 3\)", lambda: series.check_graphs(np.ones((3, 3)), num_nodes=4)),
        (r"got shape \(2, 3\)", lambda: series.check_graphs(np.ones((2, 3)))),
        ("not negative, got -1 from node 2 to node 0 of graph 1", lambda: series.check_graphs(graph_with(-1))),
        ("finite weights, got nan from node 2", lambda: series.check_graphs(graph_with(np.nan))),
        (
            "symmetric graph, got 2 and 1 back from node 2 to node 0 of graph 1; np.maximum",
            lambda: series.check_graphs(graph_with(2, 1), symmetric=True),
        ),
        ("distances that are not negative", lambda: series.graph_from_distances(-np.ones((2, 2)))),
        (r"distances \(node, node\)", lambda: series.graph_from_distances(np.ones((2, 3)))),
        ("width must be", lambda: series.graph_from_distances(np.ones((2, 2)), width=0)),
        ("within must be", lambda: series.graph_from_distances(np.ones((2, 2)), within=-1)),
        (
            "within=0.5 leaves no edge: the smallest distance between two nodes is 1; give a larger one",
            lambda: series.graph_from_distances(np.ones((2, 2)), within=0.5),
        ),
        ("width=0.1 and least=0.1 leaves no edge", lambda: series.graph_from_distances(np.ones((2, 2)), width=0.1)),
        (
            "latitudes from -90 to 90 degrees, got 116 at node 1",
            lambda: series.graph_from_coordinates([0, 116], [0, 40]),
        ),
        ("num_neighbours must be at most 1", lambda: series.nearest_neighbours_graph(np.ones((2, 2)), 2)),
        ("rows must be", lambda: series.grid_graph(0, 3)),
        ("stop must be at most 5", lambda: series.graph_from_correlation(np.ones((5, 2)), stop=6)),
        ("stop must be at least 3", lambda: series.graph_from_correlation(np.ones((5, 2)), stop=2)),
        ("finite, and NaN where missing", lambda: series.graph_from_correlation(np.full((5, 2), np.inf), stop=4)),
        (
            "both; leave one out",
            lambda: series.graph_from_correlation(np.ones((5, 2)), stop=4, threshold=0.1, num_neighbours=1),
        ),
        ("not negative", lambda: series.graph_from_trips(-np.ones((2, 2)))),
        ("need stop", lambda: series.graph_from_trips(np.ones((3, 2, 2)))),
        ("leave it out", lambda: series.graph_from_trips(np.ones((2, 2)), stop=1)),
        ("all finite", lambda: series.similarity_graph(np.full((2, 2), np.nan))),
        ("most must be", lambda: series.hop_graphs(np.ones((2, 2)), -1)),
    ],
)
def test_wrong_input_is_refused_in_one_line(message, call, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)

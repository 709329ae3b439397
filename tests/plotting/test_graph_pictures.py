"""Pictures of graphs: which edges are drawn, which way they point, and what is said of those left out."""

import numpy as np
import pytest

import jaxcast
from jaxcast import plotting

figure = pytest.importorskip("matplotlib.figure")
PLACES = {"longitude": [2.0, 2.1, 2.2, 2.3], "latitude": [48.8, 48.9, 48.8, 48.9]}


def axes():
    return figure.Figure().subplots()


def named(ax, label):
    (found,) = [collection for collection in ax.collections if collection.get_label() == label]
    return found


def notes(ax):
    return " | ".join(text.get_text() for text in ax.texts)


def test_the_strongest_edges_of_a_symmetric_graph_are_lines_by_weight():
    graph = np.zeros((4, 4))
    graph[0, 1] = graph[1, 0] = 1.0
    graph[1, 2] = graph[2, 1] = 3.0
    graph[2, 0] = graph[0, 2] = 2.0
    graph[0, 0] = 9.0  # a loop is not drawn
    ax = plotting.plot_graph(axes(), graph, **PLACES, most_edges=2)
    edges = named(ax, "edges")
    drawn = [{tuple(end) for end in path.vertices} for path in edges.get_paths()]
    assert drawn == [{(2.0, 48.8), (2.2, 48.8)}, {(2.1, 48.9), (2.2, 48.8)}]
    assert np.argsort(edges.get_linewidths()).tolist() == [0, 1]
    assert "the 2 strongest of 3 edges" in notes(ax)
    assert [tuple(color[:3]) == (1, 1, 1) for color in named(ax, "nodes").get_facecolors()] == [False] * 3 + [True]
    assert "strongest" not in notes(plotting.plot_graph(axes(), graph, **PLACES))


def test_edges_of_a_directed_graph_are_wide_where_they_come_from():
    graph = np.zeros((4, 4))
    graph[3, 0] = 1.0  # node 3 listens to node 0
    ax = plotting.plot_graph(axes(), graph, **PLACES)
    (wedge,) = named(ax, "edges").get_paths()
    np.testing.assert_allclose(wedge.vertices[2], [2.3, 48.9])
    np.testing.assert_allclose(wedge.vertices[:2].mean(0), [2.0, 48.8], atol=1e-9)
    assert np.ptp(wedge.vertices[:2], 0).max() > 1e-4
    assert "wide end: listened to" in notes(ax)


def test_the_bar_of_a_map_is_as_long_as_it_says():
    ax = plotting.plot_graph(axes(), np.zeros((4, 4)), **PLACES)
    (bar,) = ax.lines
    (left, right), (height, _) = bar.get_data()
    length = jaxcast.series.great_circle_distances([height, height], [left, right])[0, 1]
    said = [text.get_text() for text in ax.texts if text.get_text().endswith(" km")]
    assert float(said[0].split()[0]) == pytest.approx(length, rel=0.01)
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.radians(48.85)))


def test_a_matrix_brings_neighbours_together():
    order = np.random.default_rng(0).permutation(12)
    chain = jaxcast.series.grid_graph(1, 12)[np.ix_(order, order)]
    names = [str(n) for n in range(12)]
    ax = plotting.plot_graph(axes(), chain, names=names)
    shown = np.asarray(ax.images[0].get_array())
    receivers, senders = np.nonzero(shown)
    assert np.abs(receivers - senders).max() == 1
    rows = [int(label.get_text()) for label in ax.get_yticklabels()]
    np.testing.assert_array_equal(shown, chain[np.ix_(rows, rows)])
    plain = plotting.plot_graph(axes(), chain, ordered=False).images[0].get_array()
    np.testing.assert_array_equal(plain, chain)


def test_a_matrix_puts_isolated_nodes_last():
    graph = np.zeros((5, 5))
    graph[1, 3] = graph[3, 1] = 1.0
    shown = np.asarray(plotting.plot_graph(axes(), graph).images[0].get_array())
    assert shown[0, 1] == shown[1, 0] == 1
    assert not shown[2:].any()


def test_colours_of_values_and_groups():
    signed = plotting.plot_node_values(axes(), **PLACES, values=[-1.0, 3.0, np.nan, 0.0])
    assert named(signed, "nodes").get_clim() == (-3.0, 3.0)
    assert len(named(signed, "nodes").get_offsets()) == 3
    assert len(named(signed, "no value").get_offsets()) == 1
    places = {name: np.linspace(40, 41, 100) for name in ("longitude", "latitude")}
    values = np.append(np.linspace(0, 1, 99), 1000.0)
    low, high = named(plotting.plot_node_values(axes(), **places, values=values), "nodes").get_clim()
    assert low > 0
    assert high < 1
    grouped = plotting.plot_node_values(axes(), **PLACES, values=[0, 1, 1, 0], groups=["a", "b"])
    np.testing.assert_array_equal(named(grouped, "b").get_offsets()[:, 0], [2.1, 2.2])


def test_published_errors_are_dashed():
    errors = {"ours": [1.0, 2.0], "theirs": [2.0, np.nan]}
    ax = plotting.plot_errors_by_lead(axes(), [1, 12], errors, published=["theirs"], lead_label="minutes")
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]
    assert ax.get_xticks().tolist() == [1, 12]


def test_wrong_sizes_are_refused(without_type_checks):
    with pytest.raises(jaxcast.InputError, match="positions of 3 nodes"):
        plotting.plot_graph(axes(), np.ones((3, 3)), **PLACES)
    with pytest.raises(jaxcast.InputError, match="graph"):
        plotting.plot_graph(axes(), np.ones((3, 2)))
    with pytest.raises(jaxcast.InputError, match="a name for each of 3 groups, got 2"):
        plotting.plot_node_values(axes(), **PLACES, values=[0, 1, 2, 0], groups=["a", "b"])


def test_a_map_of_places_along_a_road_has_room_beside_them():
    latitude, longitude = np.linspace(39, 40, 6), np.full(6, 116.0)
    ax = jaxcast.plotting.plot_graph(axes(), np.eye(6, k=1), latitude=latitude, longitude=longitude)
    east, north = np.ptp(ax.get_xlim()) * np.cos(np.radians(39.5)), np.ptp(ax.get_ylim())
    assert 0.4 < east / north < 0.6

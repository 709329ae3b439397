"""Segments, change points against all partitions, and the graph of each segment against NumPy."""

import itertools

import numpy as np
import pytest

import jaxcast
from jaxcast.neuro import (
    Segments,
    activity_segments,
    change_point_segments,
    change_points,
    correlation_graphs,
    module_strengths,
    subject_series,
    uniform_segments,
)


def draw(*lengths, num_regions=6, seed=0):
    rng = np.random.default_rng(seed)
    return subject_series(
        [rng.normal(size=(length, num_regions)) @ rng.normal(size=(num_regions, num_regions)) for length in lengths],
        np.arange(len(lengths)) % 2,
    )


def cost_of(signals, starts, penalty):
    pieces = np.split(signals, starts[1:])
    variance = np.square(signals - signals.mean(0)).sum(1).mean()
    return sum(np.square(piece - piece.mean(0)).sum() for piece in pieces) + penalty * variance * (len(starts) - 1)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 4.0])
def test_change_points_are_the_best_of_all_partitions(penalty):
    signals = np.random.default_rng(1).normal(size=(14, 2)) + np.repeat([[0, 1], [2, 1], [2, -2]], [5, 4, 5], axis=0)
    sizes = {"min_size": 3, "max_size": 6}
    partitions = [
        (0, *cuts)
        for number in range(5)
        for cuts in itertools.combinations(range(1, 14), number)
        if all(3 <= size <= 6 for size in np.diff((0, *cuts, 14)))
    ]
    best = min(partitions, key=lambda starts: cost_of(signals, starts, penalty))
    assert change_points(signals, penalty=penalty, **sizes).tolist() == list(best)


def test_planted_jumps_are_found_in_noise_and_none_where_there_is_none():
    rng = np.random.default_rng(0)
    planted = [0, 40, 75, 130]
    levels = np.repeat(rng.normal(size=(4, 5)) * 2, np.diff([*planted, 170]), axis=0)
    found = change_points(levels + rng.normal(size=levels.shape), max_size=100)
    assert len(found) == 4
    np.testing.assert_allclose(found, planted, atol=1)
    assert change_points(levels, max_size=100).tolist() == planted
    assert change_points(rng.normal(size=(90, 5)), penalty=20, max_size=100).tolist() == [0]
    assert change_points(np.ones((70, 3))).tolist() == [0, 20]  # as long as no piece exceeds 60


def test_changes_are_those_of_the_means_of_modules():
    activity = np.zeros((60, 4))
    activity[:, 0], activity[:, 1] = 1.0, -1.0
    activity[30:, :2] *= -1  # cancels within the first module
    activity[25:, 2] = 1.0
    segments = change_point_segments([activity, activity[:45]], modules=np.asarray([0, 0, 1, 1]))
    assert segments.starts.tolist() == [[0, 25], [0, 25]]
    assert segments.lengths.tolist() == [[25, 35], [25, 20]]
    each = np.asarray([[0, 0, 1, 1], [0, 1, 1, 1]])
    assert change_point_segments([activity, activity], modules=each).starts.tolist() == [[0, 25], [0, 30]]


def test_uniform_windows_lie_within_each_series():
    segments = uniform_segments(draw(30, 61), size=20, step=10)
    assert segments.starts.tolist() == [[0, 10, 0, 0, 0], [0, 10, 20, 30, 40]]
    assert segments.lengths.tolist() == [[20, 20, 0, 0, 0], [20] * 5]


def test_a_segment_has_the_correlations_of_numpy_and_its_highest_as_edges():
    subjects = draw(30, 61)
    segments = Segments(np.asarray([[0, 12], [5, 0]]), np.asarray([[12, 18], [40, 0]]))
    graphs = correlation_graphs(subjects, segments, edge_share=0.2)
    pairs = np.triu_indices(6, 1)
    for n, k, window in ((0, 0, slice(0, 12)), (0, 1, slice(12, 30)), (1, 0, slice(5, 45))):
        expected = np.corrcoef(subjects.series[n][window].T)
        np.testing.assert_allclose(graphs.correlations[n, k], expected, atol=1e-6)
        highest = np.sort(expected[pairs])[-3]  # a fifth of the 15 pairs
        assert (np.asarray(graphs.edges[n, k])[pairs] == (expected[pairs] >= highest - 1e-6)).all()
    assert graphs.present.tolist() == [[True, True], [True, False]]
    assert not graphs.scans[1, 1].any()
    everything = correlation_graphs(subjects, segments, edge_share=1.0)
    assert np.asarray(everything.edges[0]).all()


def test_the_strength_of_a_module_is_the_mean_of_its_pairs():
    subjects = draw(30, 61)
    graphs = correlation_graphs(subjects, uniform_segments(subjects, size=20, step=10))
    strengths = module_strengths(graphs, np.asarray([0, 1, 0, 0, 2, 1]))
    correlations = np.asarray(graphs.correlations)
    pairs = [((0, 0, 2), (2, 3, 3)), ((1,), (5,))]
    expected = [correlations[..., rows, columns].mean(-1) for rows, columns in pairs]
    np.testing.assert_allclose(strengths, np.stack([*expected, np.zeros_like(expected[0])], -1), atol=1e-6)


def test_a_region_that_is_constant_in_a_segment_has_no_edges():
    subjects = draw(40, 40)
    subjects.series[0][:20, 2] = 0.1
    graphs = correlation_graphs(subjects, uniform_segments(subjects, size=20, step=20))
    assert not graphs.edges[0, 0, 2].any()
    assert graphs.edges[0, 1, 2, 2]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: uniform_segments(draw(30, 20), size=25), "subject 1 has 20 scans"),
        (lambda: uniform_segments(draw(30, 20), size=2), "at least 3 scans"),
        (lambda: change_points(np.ones((9, 2)), min_size=20), "at least min_size = 20 scans, got 9"),
        (lambda: change_points(np.ones((90, 2)), min_size=20, max_size=30), "at least 2"),
        (lambda: change_points(np.ones((90, 2)), penalty=-1.0), "penalty"),
        (lambda: change_point_segments([np.ones((50, 3))], modules=np.zeros(2, int)), "modules of the same regions"),
        (lambda: change_point_segments([], modules=np.zeros(2, int)), "one array for each subject"),
        (lambda: correlation_graphs(draw(30, 30), uniform_segments(draw(30))), "at least two subjects"),
        (lambda: correlation_graphs(draw(30, 30), uniform_segments(draw(60, 60))), "within the series"),
        (lambda: correlation_graphs(draw(30, 30), uniform_segments(draw(30, 30)), edge_share=0.0), "edge_share"),
        (lambda: correlation_graphs(draw(9, 9), Segments(np.zeros((2, 1), int), np.zeros((2, 1), int))), "no segment"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(refused, message):
    with pytest.raises(jaxcast.InputError, match=message) as found:
        refused()
    assert "\n" not in str(found.value)


@pytest.mark.slow
def test_segments_change_where_the_activity_of_a_module_does():
    rng = np.random.default_rng(0)
    activity = np.zeros((120, 6))
    activity[40:, :3], activity[80:, 3:] = 1.0, -1.0
    response = np.asarray(jaxcast.neuro.haemodynamic_response(repetition_time=1.0, num_scans=30))
    signal = np.apply_along_axis(lambda one: np.convolve(one, response)[:120], 0, activity)
    series = signal / signal.std(0) + 0.4 * rng.normal(size=(2, 120, 6))
    series[1, :, 2] = 0.0  # constant
    subjects = subject_series(series, [0, 1])
    segments = activity_segments(subjects, repetition_time=1.0, num_modules=3, noise_share=0.4)
    assert (segments.lengths.sum(1) == 120).all()
    for n in range(2):
        starts = segments.starts[n, segments.lengths[n] > 0]
        for change in (40, 80):
            assert np.abs(starts - change).min() <= 2

import numpy as np
import pytest

import jaxcast
from jaxcast.neuro import constant_regions, correlations, partial_correlations, subject_series

GAP = np.zeros((2, 9, 3))
GAP[1, 4, 2] = np.nan


@pytest.fixture(scope="module")
def subjects():
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(length, 4)) @ rng.normal(size=(4, 4)) for length in (20, 35, 50)]
    series[1][:, 2] = 0.1
    return subject_series(series, [0, 1, 1], site=["a", "b", "b"], age=[20, 30.5, 40])


def test_correlations_are_those_of_numpy(subjects):
    expected = np.corrcoef(subjects.series[0].T)
    np.testing.assert_allclose(correlations(subjects)[0], expected, atol=1e-6)


def test_a_constant_region_correlates_with_nothing(subjects):
    found = correlations(subjects)[1]
    assert (found[2] == np.eye(4)[2]).all()
    assert (partial_correlations(subjects)[1][2] == np.eye(4)[2]).all()
    assert constant_regions(subjects).sum() == 1
    assert constant_regions(subjects)[1, 2]


def test_partial_correlation_is_that_of_residuals(subjects):
    series = subjects.series[2] - subjects.series[2].mean(0)
    others = series[:, 2:]
    left = series[:, :2] - others @ np.linalg.lstsq(others, series[:, :2], rcond=None)[0]
    found = partial_correlations(subjects, shrinkage=1e-12)[2, 0, 1]
    assert found == pytest.approx(np.corrcoef(left.T)[0, 1], abs=1e-5)


def test_a_subset_keeps_subjects_together(subjects):
    some = subjects.subset([2, 0])
    assert some.labels.tolist() == [1, 0]
    assert some.site.tolist() == ["b", "a"]
    assert some.series[0] is subjects.series[2]
    assert some.sex is None
    assert subjects.subset(np.array([False, True, True])).age.tolist() == [30.5, 40]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([1, 2, 1], (1, 2)),
        ([-1.0, 1.0, -1.0], (-1, 1)),
        ([False, True, False], (0, 1)),
        (np.asarray(["a", "b", "a"], object), ("a", "b")),
        ([b"a", b"b", b"a"], ("a", "b")),
    ],
)
def test_labels_are_numbered_and_their_names_kept(labels, classes):
    found = subject_series(np.zeros((3, 9, 3)), labels)
    assert found.labels.tolist() == [0, 1, 0]
    assert found.classes == classes
    assert found.subset([0]).num_classes == 2
    # Further subjects, of whom all may be of one class, are numbered alike.
    assert subject_series(np.zeros((3, 9, 3)), [labels[1]] * 3, classes=found.classes).labels.tolist() == [1, 1, 1]


def test_scans_and_regions_that_were_never_recorded_are_left_out():
    series = np.random.default_rng(0).normal(size=(3, 20, 4))
    padded = series.copy()
    padded[0, :2], padded[0, 15:], padded[1, :, 3] = np.nan, np.nan, np.nan
    found = subject_series(padded, [0, 1, 1])
    np.testing.assert_array_equal(found.series[0], series[0, 2:15])
    np.testing.assert_array_equal(found.series[1], series[1] * [1, 1, 1, 0])
    np.testing.assert_array_equal(found.series[2], series[2])
    assert np.argwhere(constant_regions(found)).tolist() == [[1, 3]]


@pytest.mark.parametrize(
    ("series", "labels", "options", "message"),
    [
        (np.zeros((2, 2, 3)), [0, 1], {}, "at least 3 scans"),
        ([np.zeros((9, 3)), np.zeros((9, 4))], [0, 1], {}, "same regions"),
        (np.zeros((2, 9, 3)), [1, 1], {}, "two classes"),
        (np.zeros((2, 9, 3)), [0, 2], {"classes": [0, 1]}, "none of the classes"),
        (np.zeros((2, 9, 3)), [0, 1], {"classes": [0, 0]}, "two different"),
        (np.zeros((2, 9, 3)), [0, np.inf], {}, "infinite"),
        (np.zeros((2, 9, 3)), [0, [1, 2]], {}, "lists in a list"),
        (np.zeros((2, 9, 3)), ["a", None], {}, "label of subject 1 is missing"),
        (np.zeros((2, 9, 3)), [0, 1, 1], {}, "one label for each of the 2"),
        (np.zeros((2, 9, 3)), [0.5, 1], {}, "whole numbers"),
        (np.zeros((2, 9, 3)), [0, 1], {"site": ["a", None]}, "site of subject 1 is missing"),
        (np.zeros((2, 9, 3)), [0, 1], {"sex": [np.nan, 1]}, "sex of subject 0 is missing"),
        (np.zeros((2, 9, 3)), [0, 1], {"age": ["8", "9"]}, "age must"),
        (np.full((2, 9, 3), np.nan), [0, 1], {}, "all NaN"),
        ([np.full((9, 3), np.inf)] * 2, [0, 1], {}, "subject 0 hold NaN or infinite"),
        (GAP, [0, 1], {}, "subject 1 hold NaN or infinite numbers at some scans"),
        (np.where(np.arange(9)[:, None] < 2, GAP, np.nan), [0, 1], {}, "at least 3 scans of each subject, got 2"),
        (np.zeros((2, 9, 3)), [0, 1], {"site": ["a"]}, "one site"),
        (np.zeros((2, 9, 3)), [0, 1], {"age": [1, np.nan]}, "age"),
        (3, [0, 1], {}, "one for each subject"),
        (np.zeros((2, 9)), [0, 1], {}, "time, region"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(series, labels, options, message):
    with pytest.raises(jaxcast.InputError, match=message) as found:
        subject_series(series, labels, **options)
    assert "\n" not in str(found.value)

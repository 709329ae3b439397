"""Folds of a cross-validation: classes spread evenly, groups kept together."""

import numpy as np
import pytest

import jaxcast
from jaxcast.training import stratified_folds, stratified_split
from jaxcast.training.folds import checked_labels


def test_every_sample_is_tested_once_and_classes_are_spread_evenly():
    labels = np.random.default_rng(0).choice(["x", "y", "z"], 200, p=[0.6, 0.3, 0.1])
    folds = stratified_folds(labels, 7, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(200))
    for train, test in folds:
        assert not set(train) & set(test)
        assert len(train) + len(test) == 200
        for name in "xyz":
            expected = (labels == name).sum() / 7
            assert abs((labels[test] == name).sum() - expected) < 1
    again, other = stratified_folds(labels, 7, seed=3), stratified_folds(labels, 7, seed=4)
    assert all((one[1] == two[1]).all() for one, two in zip(folds, again, strict=True))
    assert any(set(one[1]) != set(two[1]) for one, two in zip(folds, other, strict=True))


def test_groups_stay_in_one_fold_and_classes_are_nearly_even():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), rng.integers(1, 5, 60))
    labels = (np.arange(60) % 3 == 0)[groups].astype(int)
    folds = stratified_folds(labels, 5, seed=0, groups=groups)
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert abs(labels[test].mean() - labels.mean()) < 0.08
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(groups)))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.75])
def test_a_split_holds_the_share_out_of_every_class(share):
    labels = np.random.default_rng(0).choice(["x", "y", "z"], 203, p=[0.6, 0.3, 0.1])
    kept, held_out = stratified_split(labels, share, seed=1)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(203))
    assert len(held_out) == round(203 * share)
    for name in "xyz":
        assert abs((labels[held_out] == name).sum() - share * (labels == name).sum()) < 1
    assert (stratified_split(labels, share, seed=1)[1] == held_out).all()
    assert set(stratified_split(labels, share, seed=2)[1]) != set(held_out)


def test_a_rare_class_stays_and_takes_nothing_from_the_others():
    labels = np.asarray([0] * 100 + [1] * 2 + [2])
    for seed in range(5):
        kept, held_out = stratified_split(labels, 0.1, seed=seed)
        assert len(held_out) == 10
        assert set(labels[kept]) == {0, 1, 2}
    kept, held_out = stratified_split([0, 0, 1], 0.9, seed=0)
    assert (len(kept), len(held_out)) == (2, 1)


def test_labels_of_data_frames_and_bytes_are_read():
    texts, numbers = np.asarray(["a", "b"], object), np.asarray([1, np.int32(2)], object)
    assert checked_labels("labels", texts).tolist() == ["a", "b"]
    assert checked_labels("labels", numbers).tolist() == [1, 2]
    assert checked_labels("labels", [b"a", b"b"]).tolist() == ["a", "b"]
    assert checked_labels("labels", np.asarray([b"\xc3\xa9"])).tolist() == ["\u00e9"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stratified_folds([0, 0, 1], 2, seed=0), "got 1 of 1; give fewer folds"),
        (lambda: stratified_folds([0, 0, 1, 1], 1, seed=0), "num_folds"),
        (lambda: stratified_folds([0, 0, 1, 1], 2, seed=0, groups=["a"] * 4), "groups"),
        (lambda: stratified_folds([0, np.nan, 1, 1], 2, seed=0), "NaN"),
        (lambda: stratified_folds([0, np.inf, 1, 1], 2, seed=0), "infinite"),
        (lambda: stratified_folds(["a", None, "b", "b"], 2, seed=0), "missing, got None"),
        (lambda: stratified_folds(["a", np.nan, "b", "b"], 2, seed=0), "missing, got nan"),
        (lambda: stratified_folds([[0], [0, 1], [1]], 2, seed=0), "all texts or all numbers"),
        (lambda: stratified_folds([0, 0, 1, 1], 2, seed=0, groups=[1, 2, 3]), "for each of the 4 samples, got 3"),
        (lambda: stratified_folds([b"\xff", b"a"] * 2, 2, seed=0), "UTF-8"),
        (lambda: stratified_split(["a", "b"], 0.5, seed=0), "at least two samples"),
        (lambda: stratified_split([0, 0, 1, 1], 1.0, seed=0), "below 1"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)

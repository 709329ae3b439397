"""Folds of a cross-validation: classes spread evenly, groups kept together."""

import numpy as np
import pytest

import jaxcast
from jaxcast.training import stratified_folds


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stratified_folds([0, 0, 1], 2, seed=0), "got 1 of 1; give fewer folds"),
        (lambda: stratified_folds([0, 0, 1, 1], 1, seed=0), "num_folds"),
        (lambda: stratified_folds([0, 0, 1, 1], 2, seed=0, groups=["a"] * 4), "groups"),
        (lambda: stratified_folds([0, np.nan, 1, 1], 2, seed=0), "NaN"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)

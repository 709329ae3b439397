"""Scores of classifiers against scikit-learn, and their edge cases."""

import numpy as np
import pytest
import sklearn.metrics

import jaxcast
from jaxcast.scores import accuracy, balanced_accuracy, classification_scores, confusion_table, roc_auc
from jaxcast.scores.classification import class_numbers


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_scores_are_those_of_scikit_learn(num_classes):
    rng = np.random.default_rng(num_classes)
    labels = rng.integers(0, num_classes, 80)
    raw = np.round(rng.dirichlet(np.ones(num_classes), 80), 1) + 0.05  # rounded: ties occur
    shares = raw / raw.sum(-1, keepdims=True)
    found, predicted = classification_scores(labels, shares), shares.argmax(-1)
    assert found.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    assert found.balanced_accuracy == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, predicted))
    assert found.cross_entropy == pytest.approx(sklearn.metrics.log_loss(labels, shares))
    if num_classes > 2:
        expected = sklearn.metrics.roc_auc_score(labels, shares, multi_class="ovr")
    else:
        expected = sklearn.metrics.roc_auc_score(labels, np.round(shares[:, 1] - shares[:, 0], 9))
    assert roc_auc(labels, np.round(shares, 9)) == pytest.approx(expected, abs=1e-3)
    np.testing.assert_array_equal(
        confusion_table(labels, predicted, num_classes), sklearn.metrics.confusion_matrix(labels, predicted)
    )


def test_ties_count_half_and_classes_that_are_absent_do_not_count():
    assert roc_auc([0, 1, 1], [0.5, 0.5, 0.9]) == 0.75
    assert np.isnan(roc_auc([1, 1], [0.1, 0.2]))
    assert balanced_accuracy([2, 2, 0], [2, 0, 0]) == 0.75
    three = np.asarray([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    assert roc_auc([0, 1], three) == 1.0
    assert classification_scores([1, 1], np.asarray([[1.0, 0.0], [0.5, 0.5]])).cross_entropy == np.inf


def test_a_large_number_of_a_class_costs_no_memory():
    assert balanced_accuracy([0, 0, 10**9], [0, 1, 10**9]) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy([0, 1], [0]), "sample|each of 2"),
        (lambda: accuracy([0, 1.5], [0, 1]), "whole numbers"),
        (lambda: class_numbers("labels", [[0], [0, 1]]), "lists of different lengths"),
        (lambda: class_numbers("labels", [0.0, np.inf]), "whole numbers"),
        (lambda: class_numbers("labels", [0.0, 1e300]), "whole numbers"),
        (lambda: balanced_accuracy([], []), "must not be empty"),
        (lambda: roc_auc([0, 2], [0.1, 0.2]), "below 2"),
        (lambda: roc_auc([0, 1], [0.1, np.nan]), "NaN"),
        (lambda: confusion_table([0, 3], [0, 1], 3), "below 3"),
        (lambda: classification_scores([0, 1], np.ones((2, 2))), "sum to 1"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)

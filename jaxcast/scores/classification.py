"""Scores of classifiers: accuracy, area under the ROC curve, confusion table."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown

MOST = 2**31
"""Classes are numbers below this."""


class ClassificationScores(NamedTuple):
    """Scores of a classifier on some samples.

    Args:
        accuracy: share of samples whose most probable class is the true one.
        balanced_accuracy: mean of this share over the classes that occur.
        auc: area under the ROC curve, see `roc_auc`; NaN where the samples are all of one class.
        cross_entropy: mean of -log p of the true class, in nats.
    """

    accuracy: float
    balanced_accuracy: float
    auc: float
    cross_entropy: float


@checked
def accuracy(labels: Shaped[ArrayLike, " sample"], predicted: Shaped[ArrayLike, " sample"]) -> float:
    """Returns the share of samples whose class is predicted.

    Args:
        labels: true class of each sample, counted from 0.
        predicted: predicted class of each sample.

    Raises:
        InputError: for no samples, other numbers of them, or classes that are not whole numbers.

    Example:
        >>> import jaxcast
        >>> jaxcast.scores.accuracy([0, 1, 1, 0], [0, 1, 0, 0])
        0.75
    """
    labels, predicted = _pair(labels, predicted)
    return float((labels == predicted).mean())


@checked
def balanced_accuracy(labels: Shaped[ArrayLike, " sample"], predicted: Shaped[ArrayLike, " sample"]) -> float:
    """Returns the mean over the classes of the share of their samples whose class is predicted.

    A classifier that always predicts one of K classes has 1/K, whichever class is common. Classes
    without a sample do not count.

    Args:
        labels: true class of each sample, counted from 0.
        predicted: predicted class of each sample.

    Raises:
        InputError: for no samples, other numbers of them, or classes that are not whole numbers.

    Example:
        >>> import jaxcast
        >>> jaxcast.scores.balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
        0.5
    """
    labels, predicted = _pair(labels, predicted)
    _, classes = np.unique(labels, return_inverse=True)
    return float((np.bincount(classes, weights=labels == predicted) / np.bincount(classes)).mean())


@checked
def roc_auc(labels: Shaped[ArrayLike, " sample"], scores: Shaped[ArrayLike, "sample ..."]) -> float:
    """Returns the area under the ROC curve.

        AUC = P(score of a sample of class 1 > score of one of class 0) + P(both are equal) / 2

    Of more than two classes it is the mean over the classes of each against the rest, in which a
    class that no sample or that every sample has does not count.

    Args:
        labels: true class of each sample, counted from 0.
        scores: of two classes, a number for each sample that is larger the more probable class 1
            is; of any number of classes, a number for each of them, (sample, class).

    Returns:
        The area; NaN where all samples have one class.

    Raises:
        InputError: for no samples, other numbers of them, or scores that are NaN.

    Source:
        Hanley and McNeil, Radiology 143, 29-36 (1982).

    Example:
        >>> import jaxcast
        >>> jaxcast.scores.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    found = class_numbers("labels", labels)
    table = np.asarray(scores)
    if table.ndim not in (1, 2) or len(table) != len(found) or np.isnan(table).any():
        raise InputError(
            f"expected a score of each of {len(found)} samples without NaN, (sample,) or (sample, class), got shape "
            f"{table.shape}"
        )
    if table.ndim == 1 or table.shape[1] == 2:
        _check_most(found, 2)
        return _binary_auc(found == 1, table if table.ndim == 1 else table[:, 1] - table[:, 0])
    _check_most(found, table.shape[1])
    areas = [_binary_auc(found == number, column) for number, column in enumerate(table.T)]
    areas = [area for area in areas if not np.isnan(area)]
    return float(np.mean(areas)) if areas else float("nan")


def _binary_auc(is_one: np.ndarray, scores: np.ndarray) -> float:
    zeros, ones = np.sort(scores[~is_one]), scores[is_one]
    if not len(zeros) or not len(ones):
        return float("nan")
    below, not_above = (np.searchsorted(zeros, ones, side) for side in ("left", "right"))
    return float((below.mean() + not_above.mean()) / 2 / len(zeros))


@checked
def confusion_table(
    labels: Shaped[ArrayLike, " sample"], predicted: Shaped[ArrayLike, " sample"], num_classes: int
) -> Int[np.ndarray, "true predicted"]:
    """Counts the samples of each true class that are predicted as each class.

    Args:
        labels: true class of each sample, counted from 0.
        predicted: predicted class of each sample.
        num_classes: number of classes.

    Returns:
        The counts; rows are true classes, columns predicted ones.

    Raises:
        InputError: for no samples, other numbers of them, or classes that are not below
            `num_classes`.

    Example:
        >>> import jaxcast
        >>> jaxcast.scores.confusion_table([0, 1, 1, 0], [0, 1, 0, 0], 2).tolist()
        [[2, 0], [1, 1]]
    """
    pair = _pair(labels, predicted)
    for numbers in pair:
        _check_most(numbers, num_classes)
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, pair, 1)
    return counts


@checked
def classification_scores(
    labels: Shaped[ArrayLike, " sample"], probabilities: Float[Any, "sample class"]
) -> ClassificationScores:
    """Scores the probabilities of a classifier.

    Args:
        labels: true class of each sample, counted from 0.
        probabilities: of each class, summing to 1.

    Returns:
        The scores. Of equally probable classes the first is the predicted one.

    Raises:
        InputError: for no samples, other numbers of them, or classes and probabilities that do not
            fit.

    Example:
        >>> import jaxcast, numpy as np
        >>> scores = jaxcast.scores.classification_scores([0, 1], np.asarray([[0.5, 0.5], [0.25, 0.75]]))
        >>> scores.accuracy, scores.auc, round(scores.cross_entropy, 3)
        (1.0, 1.0, 0.49)
    """
    found, shares = class_numbers("labels", labels), np.asarray(probabilities, float)
    is_share = shares.ndim == 2 and (shares >= 0).all() and np.allclose(shares.sum(-1), 1, atol=1e-3)
    if not is_share or len(shares) != len(found):
        raise InputError(
            f"expected probabilities (sample, class) of {len(found)} samples that sum to 1, got shape {shares.shape}"
        )
    _check_most(found, shares.shape[1])
    predicted = shares.argmax(-1)
    with np.errstate(divide="ignore"):
        losses = -np.log(shares[np.arange(len(found)), found])
    return ClassificationScores(
        accuracy(found, predicted), balanced_accuracy(found, predicted), roc_auc(found, shares), float(losses.mean())
    )


def class_numbers(name: str, labels: Any) -> Int[np.ndarray, " sample"]:
    """Returns classes as whole numbers.

    Args:
        name: of the classes, for a message.
        labels: one for each sample.

    Raises:
        InputError: for no samples, or classes that are not whole numbers from 0 on.
    """
    try:
        array = np.asarray(labels)
    except ValueError:
        raise InputError(f"{name} must hold a class for each sample, got lists of different lengths") from None
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold a class for each sample, got shape {array.shape} of {array.dtype}")
    if not (np.isfinite(array) & (array == np.floor(array)) & (array >= 0) & (array < MOST)).all():
        raise InputError(f"{name} must be classes, whole numbers from 0 on, got {shown(np.unique(array).tolist())}")
    return array.astype(int)


def _pair(labels: Any, predicted: Any) -> tuple[np.ndarray, np.ndarray]:
    found, guessed = class_numbers("labels", labels), class_numbers("predicted", predicted)
    if found.shape != guessed.shape:
        raise InputError(f"expected a prediction for each of {len(found)} labels, got {len(guessed)}")
    return found, guessed


def _check_most(numbers: np.ndarray, num_classes: int) -> None:
    if num_classes < 1 or numbers.max() >= num_classes:
        raise InputError(f"expected classes below {num_classes}, got {numbers.max()}")

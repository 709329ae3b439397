"""Kernel ridge regression to class indicators, and the choice of its settings by inner folds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast.errors import InputError
from jaxcast.scores.classification import roc_auc
from jaxcast.training.folds import stratified_folds

NUM_INNER_FOLDS = 5

Kernel = Float[np.ndarray, "subject other"]


class KernelChoice(NamedTuple):
    """The kernels that are averaged and the penalty.

    Args:
        kernels: names of the kernels.
        penalty: strength of the regularisation.
    """

    kernels: tuple[str, ...]
    penalty: float


def class_targets(labels: Int[np.ndarray, " subject"], num_classes: int) -> Float[np.ndarray, "subject class"]:
    """Returns 1 for the class of each subject and -1 for all others.

    Args:
        labels: class of each subject.
        num_classes: number of classes.
    """
    return 2.0 * (labels[:, None] == np.arange(num_classes)) - 1


def averaged(kernels: Mapping[str, Kernel], names: Sequence[str]) -> Kernel:
    """Returns the mean of some kernels.

    Args:
        kernels: by their names.
        names: of those to average.
    """
    total: Any = sum(kernels[name] for name in names)
    return total / len(names)


def ridge_coefficients(
    kernel: Kernel, targets: Float[np.ndarray, "subject class"], penalty: float
) -> Float[np.ndarray, "subject class"]:
    """Returns (K + penalty I)^-1 (y - mean of y).

    Args:
        kernel: K, of the training subjects.
        targets: y.
        penalty: strength of the regularisation.
    """
    found: Any = np.linalg.solve(kernel + penalty * np.eye(len(kernel)), targets - targets.mean(0))
    return found


def choose_kernel(
    kernels: Mapping[str, Kernel],
    labels: Int[np.ndarray, " subject"],
    *,
    num_classes: int,
    penalties: Sequence[float],
    sets: Sequence[tuple[str, ...]],
    groups: np.ndarray | None = None,
) -> KernelChoice:
    """Chooses kernels and penalty by the area under the ROC curve over inner folds.

    Args:
        kernels: of the training subjects, by their names.
        labels: of the training subjects.
        num_classes: number of classes.
        penalties: to choose from.
        sets: names of the kernels to average, to choose from.
        groups: of the training subjects; inner folds keep each together, where there are several.

    Returns:
        The best setting; the first of equally good ones.

    Raises:
        InputError: where there are settings to choose from, but too few subjects of a class for
            inner folds.
    """
    settings = [KernelChoice(names, penalty) for names in sets for penalty in penalties]
    if len(settings) == 1:
        return settings[0]
    num_folds = min(NUM_INNER_FOLDS, int(np.bincount(labels, minlength=num_classes).min()))
    if num_folds < 2:
        raise InputError("a choice of settings needs at least two subjects of each class to learn from")
    if groups is not None and len(np.unique(groups)) == 1:
        groups = None  # nothing to keep apart
    if groups is not None:
        num_folds = min(num_folds, len(np.unique(groups)))
    folds = stratified_folds(labels, num_folds, seed=0, groups=groups)
    targets = class_targets(labels, num_classes)
    scores = [_inner_score(averaged(kernels, names), targets, labels, penalty, folds) for names, penalty in settings]
    return settings[int(np.argmax(scores))]


def _inner_score(
    kernel: Kernel, targets: np.ndarray, labels: np.ndarray, penalty: float, folds: Sequence[Any]
) -> float:
    held_out = np.empty_like(targets)
    for train, test in folds:
        coefficients = ridge_coefficients(kernel[np.ix_(train, train)], targets[train], penalty)
        held_out[test] = kernel[np.ix_(test, train)] @ coefficients + targets[train].mean(0)
    return roc_auc(labels, held_out)

"""Folds for the cross-validation of classifiers: every class in every fold, every group in one."""

from typing import Any

import numpy as np
from jaxtyping import Int

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown

Fold = tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]


@checked
def stratified_folds(labels: Any, num_folds: int, *, seed: int, groups: Any = None) -> list[Fold]:
    """Splits samples into folds with nearly the same shares of all classes.

    The samples of each class are shuffled and dealt to the folds in turn. Groups, such as the scans
    of one subject, stay together: they are shuffled and, the largest first, each goes to the fold
    that has the fewest samples of the group's commonest class.

    Args:
        labels: class of each sample: numbers or texts.
        num_folds: number of folds.
        seed: of the shuffling; the same seed gives the same folds on every machine.
        groups: group of each sample, numbers or texts; by default every sample is its own.

    Returns:
        For each fold, the samples to train on and those to test, in rising order. Every sample is
        tested once.

    Raises:
        InputError: for fewer than two folds, a class with fewer samples than folds, fewer groups
            than folds, or groups of another number of samples.

    Example:
        >>> from jaxcast.training import stratified_folds
        >>> folds = stratified_folds(["a"] * 6 + ["b"] * 3, 3, seed=0)
        >>> [(len(train), len(test), int((test >= 6).sum())) for train, test in folds]
        [(6, 3, 1), (6, 3, 1), (6, 3, 1)]
    """
    check_whole("num_folds", num_folds, least=2)
    check_whole("seed", seed, least=0)
    classes = _numbered("labels", labels)
    counts = np.bincount(classes)
    if counts.min() < num_folds:
        name = np.unique(np.asarray(labels))[counts.argmin()]
        raise InputError(
            f"expected at least {num_folds} samples of every class for {num_folds} folds, got {counts.min()} of "
            f"{shown(repr(name.item()))}; give fewer folds"
        )
    rng = np.random.default_rng(seed)
    if groups is None:
        fold = _dealt(classes, num_folds, rng)
    else:
        numbers = _numbered("groups", groups)
        if len(numbers) != len(classes):
            raise InputError(f"expected a group for each of the {len(classes)} samples, got {len(numbers)} groups")
        fold = _grouped(classes, numbers, num_folds, rng)
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(num_folds)]


def _numbered(name: str, labels: Any) -> Int[np.ndarray, " sample"]:
    try:
        array = np.asarray(labels)
    except ValueError:
        raise InputError(f"{name} must hold a number or text for each sample, got lists in a list") from None
    if array.dtype.kind == "O" and all(isinstance(one, str) for one in array.ravel()):
        array = array.astype(str)  # as pandas holds texts
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biufUSM":
        raise InputError(f"{name} must hold a number or text for each sample, got shape {array.shape} of {array.dtype}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f"{name} must not be NaN, got {np.isnan(array).sum()} of {array.size}; drop these samples")
    return np.unique(array, return_inverse=True)[1].reshape(-1)


def _dealt(classes: np.ndarray, num_folds: int, rng: np.random.Generator) -> Int[np.ndarray, " sample"]:
    """Deals the samples class by class, and goes on with the next fold at the next class."""
    order = rng.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    fold = np.empty(len(classes), int)
    fold[order] = np.arange(len(classes)) % num_folds
    return fold


def _grouped(
    classes: np.ndarray, groups: np.ndarray, num_folds: int, rng: np.random.Generator
) -> Int[np.ndarray, " sample"]:
    num_groups = groups.max() + 1
    if num_groups < num_folds:
        raise InputError(f"expected at least as many groups as the {num_folds} folds, got {num_groups}")
    members = np.zeros((num_groups, classes.max() + 1), int)
    np.add.at(members, (groups, classes), 1)
    order = rng.permutation(num_groups)
    order = order[np.argsort(-members.sum(1)[order], kind="stable")]
    held, fold_of = np.zeros((num_folds, members.shape[1]), int), np.empty(num_groups, int)
    for group in order:
        commonest = members[group].argmax()
        best = np.lexsort((held.sum(1), held[:, commonest]))[0]
        fold_of[group] = best
        held[best] += members[group]
    return fold_of[groups]

"""Folds and parts for classifiers: every class in every fold, every group in one."""

from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_seed, check_whole
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
            than folds, groups of another number of samples, or labels or groups that are missing.

    Example:
        >>> from jaxcast.training import stratified_folds
        >>> folds = stratified_folds(["a"] * 6 + ["b"] * 3, 3, seed=0)
        >>> [(len(train), len(test), int((test >= 6).sum())) for train, test in folds]
        [(6, 3, 1), (6, 3, 1), (6, 3, 1)]
    """
    check_whole("num_folds", num_folds, least=2)
    check_whole("seed", seed, least=0)
    names, classes = _numbered("labels", labels)
    counts = np.bincount(classes)
    if counts.min() < num_folds:
        raise InputError(
            f"expected at least {num_folds} samples of every class for {num_folds} folds, got {counts.min()} of "
            f"{shown(repr(names[counts.argmin()].item()))}; give fewer folds"
        )
    rng = np.random.default_rng(seed)
    if groups is None:
        fold = _dealt(classes, num_folds, rng)
    else:
        _, numbers = _numbered("groups", groups)
        if len(numbers) != len(classes):
            raise InputError(f"expected a group for each of the {len(classes)} samples, got {len(numbers)} groups")
        fold = _grouped(classes, numbers, num_folds, rng)
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(num_folds)]


@checked
def stratified_split(labels: Any, share: float, *, seed: int) -> Fold:
    """Holds a share of the samples out, of every class nearly the same share.

    Of n samples, `round(share n)` are held out, at least one. Each class gives a whole number next
    to its share, and always keeps a sample to learn from: a class of one or two samples holds out
    none where the share is small.

    Args:
        labels: class of each sample: numbers or texts.
        share: of the samples, from above 0 to below 1.
        seed: of the shuffling; the same seed gives the same parts on every machine.

    Returns:
        The samples that are kept and those that are held out, in rising order.

    Raises:
        InputError: for a share outside of (0, 1), labels that are missing, or no class with two
            samples.

    Example:
        >>> from jaxcast.training import stratified_split
        >>> kept, held_out = stratified_split(["a"] * 12 + ["b"] * 6, 1 / 3, seed=0)
        >>> len(kept), len(held_out), int((held_out >= 12).sum())
        (12, 6, 2)
    """
    check_number("share", share, above=0)
    if share >= 1:
        raise InputError(f"share must be below 1, got {share}")
    check_seed(seed)
    _, classes = _numbered("labels", labels)
    counts = np.bincount(classes)
    if counts.max() < 2:
        raise InputError("expected a class with at least two samples, so that one can be held out, got one of each")
    held = np.minimum((share * counts + 1e-9).astype(int), counts - 1)
    num_left = max(1, round(share * len(classes))) - held.sum()
    # The classes with the largest remainders give one more.
    order = np.argsort(held - share * counts, kind="stable")
    order = order[(counts - 1 - held)[order] > 0]
    held[order[: max(0, num_left)]] += 1
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    shuffled = shuffled[np.argsort(classes[shuffled], kind="stable")]
    starts = np.cumsum(counts) - counts
    is_held = np.arange(len(classes)) < np.repeat(starts + held, counts)
    return np.sort(shuffled[~is_held]), np.sort(shuffled[is_held])


def checked_labels(name: str, labels: Any) -> Shaped[np.ndarray, " sample"]:
    """Returns labels as an array of numbers or texts, also those of a column of a data frame.

    Args:
        name: of the labels, for a message.
        labels: one for each sample; bytes are read as UTF-8.

    Raises:
        InputError: for no labels, or some that are missing, not finite, or neither numbers nor
            texts.
    """
    # A list is taken apart by _plain: NumPy would make the text "nan" of a missing one among texts.
    array = np.asarray(labels, object if isinstance(labels, list | tuple) else None)
    if array.dtype.kind == "O" and array.ndim == 1 and array.size:
        array = _plain(name, array)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biufUSM":
        raise InputError(f"{name} must hold a number or text for each sample, got shape {array.shape} of {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = (~np.isfinite(array)).sum()
        raise InputError(f"{name} must not be NaN or infinite, got {count} of {array.size}; drop these samples")
    if array.dtype.kind == "M" and np.isnat(array).any():
        raise InputError(f"{name} must not be missing, got {np.isnat(array).sum()} of {array.size}")
    if array.dtype.kind != "S":
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{name} must be texts in UTF-8, got bytes in another encoding; decode them") from None


def _plain(name: str, array: np.ndarray) -> Shaped[np.ndarray, " sample"]:
    """Returns an array of objects as one of texts or of numbers."""
    for kind in (str, bytes, bool | np.bool_, int | np.integer, int | float | np.number):
        if all(isinstance(value, kind) for value in array):
            return np.asarray(array.tolist())
    for value in array:
        if value is None or isinstance(value, float):
            raise InputError(f"{name} must not be missing, got {value} among them; drop these samples")
    raise InputError(f"{name} must be all texts or all numbers, got {shown(array[:3].tolist())}; convert them")


def _numbered(name: str, labels: Any) -> tuple[Shaped[np.ndarray, " class"], Int[np.ndarray, " sample"]]:
    names, numbers = np.unique(checked_labels(name, labels), return_inverse=True)
    return names, numbers.reshape(-1)


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

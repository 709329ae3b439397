"""Cross-validation of classifiers by subject, with the choice of settings inside the training folds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, rows_of
from jaxcast.neuro.subjects import SubjectSeries, known
from jaxcast.scores.classification import accuracy, balanced_accuracy, roc_auc
from jaxcast.training.folds import Fold, stratified_folds


class CrossValidation(NamedTuple):
    """Scores of subjects by classifiers that have not seen them.

    Args:
        scores: of each subject's classes; NaN for a subject that no fold tests.
        labels: true class of each subject.
        fold: number of the fold that tests each subject; -1 for none.
        chosen: for each fold, the number of the method that its inner folds chose.
        explanations: for each fold, what the decisions on its test subjects rest on.
    """

    scores: Float[np.ndarray, "subject class"]
    labels: Int[np.ndarray, " subject"]
    fold: Int[np.ndarray, " subject"]
    chosen: Int[np.ndarray, " fold"]
    explanations: tuple[Explanation, ...]

    @property
    def predicted(self) -> Int[np.ndarray, " subject"]:
        """The class with the highest score."""
        return self.scores.argmax(-1)

    @property
    def accuracy(self) -> float:
        """The share of tested subjects whose class is predicted."""
        tested = self.fold >= 0
        return accuracy(self.labels[tested], self.predicted[tested])

    @property
    def balanced_accuracy(self) -> float:
        """The mean of this share over the classes."""
        tested = self.fold >= 0
        return balanced_accuracy(self.labels[tested], self.predicted[tested])

    @property
    def auc(self) -> float:
        """The area under the ROC curve, of the scores of all folds together."""
        tested = self.fold >= 0
        return roc_auc(self.labels[tested], self.scores[tested])


@checked
def leave_one_site_out(subjects: SubjectSeries) -> list[Fold]:
    """Makes one fold of each site: a classifier of it has never seen the site.

    Args:
        subjects: with their sites.

    Returns:
        For each site, in the order of their names, the subjects to train on and those to test.

    Raises:
        InputError: for subjects without sites, with a missing site, or all of one site.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(4, 30, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1, 0, 1], site=["b", "b", "a", "a"])
        >>> [test.tolist() for train, test in jaxcast.neuro.leave_one_site_out(subjects)]
        [[2, 3], [0, 1]]
    """
    if subjects.site is None:
        raise InputError("to leave one site out, the subjects must have sites; give site to subject_series")
    of_subjects = known("site", np.asarray(subjects.site))
    sites = np.unique(of_subjects)
    if len(sites) < 2:
        raise InputError(f"to leave one site out, there must be at least two, got only {sites[0]}")
    return [(np.flatnonzero(of_subjects != site), np.flatnonzero(of_subjects == site)) for site in sites]


@checked
def cross_validate(
    subjects: SubjectSeries,
    methods: ClassifierMethod | Sequence[ClassifierMethod],
    *,
    folds: Sequence[Fold],
    num_inner_folds: int = 5,
    inner_groups: Any = None,
    inputs: Sequence[Inputs] | None = None,
    key: Key[jax.Array, ""],
) -> CrossValidation:
    """Scores every subject by a classifier that was fitted without it.

    Of several methods, or one method with several settings, each fold takes that with the largest
    area under the ROC curve over inner folds of its own training subjects, and fits it to all of
    them. Test subjects choose nothing.

    Args:
        subjects: with labels.
        methods: one method, or several to choose from.
        folds: subjects to train on and to test, from `training.stratified_folds` or
            `leave_one_site_out`.
        num_inner_folds: inner folds of the choice.
        inner_groups: label of each subject's group, such as its site, which stays in one inner
            fold, and in one part where a method chooses or stops by a validation part.
        inputs: what `inputs` of each method returned for these subjects, to compute it once for
            several calls; by default it is computed.
        key: random key; each fold has its own.

    Returns:
        The scores of all subjects, what was chosen, and explanations of the decisions.

    Raises:
        InputError: for no folds or methods, folds that overlap, of other subjects or whose training
            part lacks a class, groups of other subjects, or settings that do not fit the subjects.

    Source:
        Varma and Simon (2006), BMC Bioinformatics 7, 91, for the inner folds.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(60, num_regions=8, num_scans=80, key=jax.random.key(0))
        >>> folds = jaxcast.training.stratified_folds(data.subjects.labels, 5, seed=0)
        >>> methods = [jaxcast.neuro.MajorityMethod(), jaxcast.neuro.RidgeMethod()]
        >>> found = jaxcast.neuro.cross_validate(data.subjects, methods, folds=folds, key=jax.random.key(1))
        >>> found.chosen.tolist(), found.accuracy > 0.9
        ([1, 1, 1, 1, 1], True)
    """
    candidates = (methods,) if isinstance(methods, ClassifierMethod) else tuple(methods)
    check_whole("num_inner_folds", num_inner_folds, least=2)
    _check_folds(folds, subjects)
    if not candidates or (inputs is not None and len(inputs) != len(candidates)):
        raise InputError(f"expected at least one method and the inputs of each, got {len(candidates)} methods")
    of_subjects = None if inner_groups is None else np.asarray(inner_groups)
    if of_subjects is not None and of_subjects.shape != subjects.labels.shape:
        raise InputError(
            f"expected a group for each of the {len(subjects.labels)} subjects, got inner_groups of shape "
            f"{of_subjects.shape}"
        )
    # What a method computes from one subject alone needs computing only once.
    inputs = [method.inputs(subjects) for method in candidates] if inputs is None else inputs
    scores = np.full((len(subjects.labels), subjects.num_classes), np.nan)
    fold = np.full(len(subjects.labels), -1)
    chosen, explanations = [], []
    for number, (train, test) in enumerate(folds):
        of_fold = jax.random.fold_in(key, number)
        groups = None if of_subjects is None else of_subjects[train]
        best = _chosen(candidates, inputs, subjects, train, num_inner_folds, groups, number, of_fold)
        classifier = candidates[best].fit(
            rows_of(inputs[best], train),
            subjects.labels[train],
            num_classes=subjects.num_classes,
            key=of_fold,
            groups=groups,
        )
        held_out = rows_of(inputs[best], test)
        scores[test], fold[test] = classifier.class_scores(held_out), number
        chosen.append(best)
        explanations.append(classifier.explain(held_out))
    return CrossValidation(scores, subjects.labels, fold, np.asarray(chosen), tuple(explanations))


def _chosen(
    candidates: Sequence[ClassifierMethod],
    inputs: Sequence[Inputs],
    subjects: SubjectSeries,
    train: np.ndarray,
    num_folds: int,
    groups: np.ndarray | None,
    seed: int,
    key: jax.Array,
) -> int:
    """Returns the number of the best method over inner folds of the training subjects."""
    if len(candidates) == 1:
        return 0
    labels = subjects.labels[train]
    folds = stratified_folds(labels, num_folds, seed=seed, groups=groups)
    areas = []
    for n, (method, own) in enumerate(zip(candidates, inputs, strict=True)):
        held_out = np.empty((len(train), subjects.num_classes))
        for number, (inner, validation) in enumerate(folds):
            of_fit = jax.random.fold_in(jax.random.fold_in(key, n), number)
            fitted = method.fit(
                rows_of(own, train[inner]),
                labels[inner],
                num_classes=subjects.num_classes,
                key=of_fit,
                groups=None if groups is None else groups[inner],
            )
            held_out[validation] = fitted.class_scores(rows_of(own, train[validation]))
        areas.append(roc_auc(labels, held_out))
    return int(np.argmax(areas))


def _check_folds(folds: Sequence[Fold], subjects: SubjectSeries) -> None:
    if not folds:
        raise InputError("expected at least one fold, got none")
    num_subjects = len(subjects.labels)
    for number, fold in enumerate(folds):
        for index in map(np.asarray, fold):
            if index.ndim != 1 or index.dtype.kind not in "iu" or not index.size:
                raise InputError(
                    f"fold {number} must hold numbers of subjects to train on and to test, got shape {index.shape} of "
                    f"{index.dtype}"
                )
            if index.min() < 0 or index.max() >= num_subjects:
                raise InputError(
                    f"fold {number} has subjects {index.min()} to {index.max()}, but there are {num_subjects}, "
                    "numbered from 0 on"
                )
    tested = np.concatenate([np.asarray(test) for _, test in folds])
    if len(np.unique(tested)) < len(tested):
        raise InputError(f"expected folds that test each of the {num_subjects} subjects at most once")
    for number, (train, test) in enumerate(folds):
        if len(np.intersect1d(train, test)):
            raise InputError(f"fold {number} trains on subjects that it tests")
        if missing := set(range(subjects.num_classes)) - set(subjects.labels[np.asarray(train)].tolist()):
            raise InputError(f"the training subjects of fold {number} lack the class {min(missing)}")

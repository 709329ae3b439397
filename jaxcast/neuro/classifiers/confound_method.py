"""Classification by confounds alone, and the balance of classes by site."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.errors import InputError
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, SubjectClassifier
from jaxcast.neuro.classifiers.confounds import CONFOUNDS, categories_of, confound_inputs, design_of
from jaxcast.neuro.classifiers.kernel_choice import class_targets
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.pytrees import FrozenPytree, static


@checked
def class_balance(subjects: SubjectSeries) -> dict[str, tuple[int, ...]]:
    """Counts the subjects of each class, at each site and at all.

    Args:
        subjects: with labels, and sites where they are known.

    Returns:
        The counts of each class by site, in the order of their names, and those of "all" sites.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(4, 30, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1, 0, 0], site=["a", "a", "b", "b"])
        >>> jaxcast.neuro.class_balance(subjects)
        {'a': (1, 1), 'b': (2, 0), 'all': (3, 1)}
    """
    sites = () if subjects.site is None else np.unique(subjects.site)
    members: dict[str, Any] = {str(site): subjects.site == site for site in sites}
    members["all"] = np.ones(len(subjects.labels), bool)
    count = subjects.num_classes
    return {site: tuple(np.bincount(subjects.labels[own], minlength=count).tolist()) for site, own in members.items()}


class ConfoundMethod(ClassifierMethod, FrozenPytree, name="confounds"):
    """Ridge regression to class indicators from site, age and sex, without any signal of the brain.

    What it reaches is what a classifier of the series can reach by reading confounds from them.

    Args:
        confounds: of "site", "age" and "sex", those to use; () for those that are known.
        penalty: strength of regularisation, in subjects.

    Raises:
        InputError: for subjects without any of them, or a penalty below zero, when it is fitted.

    Example:
        >>> import jax, numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(8, 30, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1] * 4, site=["a", "b"] * 4)
        >>> classifier = jaxcast.neuro.fit_subject_classifier(subjects, method="confounds", key=jax.random.key(0))
        >>> classifier.predict(subjects).tolist()
        [0, 1, 0, 1, 0, 1, 0, 1]
    """

    confounds: tuple[str, ...] = static(default=())
    penalty: float = static(default=1.0)

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        columns = {"site": subjects.site, "age": subjects.age, "sex": subjects.sex}
        names = self.confounds or [name for name in CONFOUNDS if columns[name] is not None]
        if not names:
            raise InputError("the subjects have no confounds; give site, age or sex to subject_series")
        return confound_inputs(subjects, names)

    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> "ConfoundClassifier":
        check_number("penalty", self.penalty, least=0)
        names = tuple(inputs)
        categories = categories_of(inputs, names)
        design = design_of(inputs, names, categories, len(labels))
        middle = design[:, 1:].mean(0)
        centred = design[:, 1:] - middle
        targets = class_targets(labels, num_classes)
        gram = centred.T @ centred + self.penalty * np.eye(centred.shape[1])
        weights = np.linalg.pinv(gram) @ (centred.T @ (targets - targets.mean(0)))
        return ConfoundClassifier(weights, targets.mean(0) - middle @ weights, self, names, categories)


class ConfoundClassifier(SubjectClassifier, FrozenPytree, name="confound_classifier"):
    """A linear function of the confounds for each class.

    Args:
        weights: of the encoded confounds.
        offset: added to every score.
        method: the settings of the fit.
        names: of the confounds that are used.
        categories: values of each confound among the training subjects.

    Example:
        >>> import jax, numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(8, 30, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1] * 4, age=[9, 40] * 4)
        >>> classifier = jaxcast.neuro.fit_subject_classifier(subjects, method="confounds", key=jax.random.key(0))
        >>> classifier.names
        ('age',)
    """

    weights: Float[Array | np.ndarray, "column class"]
    offset: Float[Array | np.ndarray, " class"]
    method: ConfoundMethod
    names: tuple[str, ...] = static()
    categories: tuple[tuple[str, ...], ...] = static()

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return confound_inputs(subjects, self.names)

    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        size = len(next(iter(inputs.values())))
        design = design_of(inputs, self.names, self.categories, size)[:, 1:]
        scores: np.ndarray = design @ np.asarray(self.weights) + np.asarray(self.offset)
        return scores

    def explain(self, inputs: Inputs) -> Explanation:
        return {}

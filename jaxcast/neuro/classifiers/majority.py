"""The majority class, the plainest classifier."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, SubjectClassifier
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.pytrees import FrozenPytree


class MajorityClassifier(SubjectClassifier, FrozenPytree, name="majority_classifier"):
    """The shares of the classes among the training subjects, whoever is to be classified.

    Args:
        shares: share of each class.

    Example:
        >>> import jax, jaxcast
        >>> subjects = jaxcast.neuro.simulate_subjects(9, num_regions=4, num_scans=20, key=jax.random.key(0)).subjects
        >>> classifier = jaxcast.neuro.fit_subject_classifier(
        ...     subjects, method=jaxcast.neuro.MajorityMethod(), key=jax.random.key(0)
        ... )
        >>> classifier.predict(subjects)[:3].tolist()
        [0, 0, 0]
    """

    shares: Float[Array | np.ndarray, " class"]

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return MajorityMethod().inputs(subjects)

    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        return np.tile(np.asarray(self.shares), (len(inputs["subject"]), 1))

    def explain(self, inputs: Inputs) -> Explanation:
        return {}


class MajorityMethod(ClassifierMethod, FrozenPytree, name="majority"):
    """Counts the classes of the training subjects.

    Example:
        >>> import jaxcast
        >>> jaxcast.neuro.MajorityMethod().config
        {}
    """

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return {"subject": np.arange(len(subjects.series))}

    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> MajorityClassifier:
        return MajorityClassifier(np.bincount(labels, minlength=num_classes) / len(labels))

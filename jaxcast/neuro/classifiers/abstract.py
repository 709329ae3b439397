"""Base classes of classifiers of subjects, and of the methods that fit them."""

from abc import abstractmethod
from typing import Any, TypedDict

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.registry import Saveable

Inputs = dict[str, Any]
"""Arrays with a leading subject axis, each row computed from that subject alone."""


class Explanation(TypedDict, total=False):
    """Explanation of a classifier's decisions; a classifier fills the entries that it has.

    Args:
        regions: importance of each region, the larger the more it matters.
        edges: importance of each pair of regions.
        region_scores: score of each region for each subject.
        communities: share of each community in each region's kernel.
        weights: further weights, by their name, such as those over modules or segments.
    """

    regions: Float[np.ndarray, " region"]
    edges: Float[np.ndarray, "region other_region"]
    region_scores: Float[np.ndarray, "subject region"]
    communities: Float[np.ndarray, "region community"]
    weights: dict[str, Any]


class SubjectClassifier(Saveable):
    """Base of fitted classifiers of subjects.

    A classifier is a `FrozenPytree` with a name, so it can be saved by `save_model`.
    """

    @abstractmethod
    def inputs(self, subjects: SubjectSeries) -> Inputs:
        """Computes what the classifier sees of each subject, from that subject alone.

        Args:
            subjects: the subjects; their labels are not looked at.

        Returns:
            Arrays with a leading subject axis.
        """

    @abstractmethod
    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        """Scores the classes of each subject.

        Args:
            inputs: what `inputs` returned.

        Returns:
            A number for each class, the larger the more probable. Of a network they are
            probabilities.
        """

    @abstractmethod
    def explain(self, inputs: Inputs) -> Explanation:
        """Tells what the decisions rest on.

        Args:
            inputs: of the subjects whose decisions are to be explained.

        Returns:
            What the classifier has of: "regions" (region,) and "edges" (region, region), the
            larger the more important; "region_scores" (subject, region); "communities" (region,
            community); "weights", any others by their names.
        """

    def scores(self, subjects: SubjectSeries) -> Float[np.ndarray, "subject class"]:
        """Scores the classes of each subject.

        Args:
            subjects: the subjects.

        Returns:
            As `class_scores`.
        """
        return self.class_scores(self.inputs(subjects))

    def predict(self, subjects: SubjectSeries) -> Int[np.ndarray, " subject"]:
        """Predicts the class of each subject.

        Args:
            subjects: the subjects.

        Returns:
            The class with the highest score.
        """
        return self.scores(subjects).argmax(-1)


class ClassifierMethod(Saveable):
    """Base of methods that fit a classifier: a frozen set of settings.

    A subclass is a `FrozenPytree` of static fields with a name. What it computes from one subject
    alone is in `inputs`, which cross-validation calls once for all subjects; whatever is estimated
    over subjects belongs in `fit`.
    """

    @abstractmethod
    def inputs(self, subjects: SubjectSeries) -> Inputs:
        """Computes what the classifier sees of each subject, from that subject alone.

        Args:
            subjects: the subjects; their labels must not be looked at.

        Returns:
            Arrays with a leading subject axis.
        """

    @abstractmethod
    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> SubjectClassifier:
        """Fits a classifier.

        Args:
            inputs: of the training subjects.
            labels: their classes.
            num_classes: number of classes, also where the training subjects lack one.
            key: random key.
            groups: label of each subject's group, such as its site. Inner folds and validation
                parts keep groups together.

        Returns:
            The fitted classifier.
        """


def rows_of(inputs: Inputs, index: Any) -> Inputs:
    """Returns the inputs of some subjects.

    Args:
        inputs: of all subjects.
        index: numbers of the subjects.
    """
    taken: Inputs = jax.tree.map(lambda array: array[index], inputs)
    return taken

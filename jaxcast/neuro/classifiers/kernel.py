"""Kernel classifiers on correlations."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.checks import check_choice, check_number
from jaxcast.errors import InputError, shown
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, SubjectClassifier
from jaxcast.neuro.classifiers.features import FEATURES, pair_features
from jaxcast.neuro.classifiers.kernel_choice import choose_kernel, class_targets, ridge_coefficients
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.numerics.distances import squared_distances
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.types import Scalar


class KernelMethod(ClassifierMethod, FrozenPytree, name="kernel"):
    """Kernel ridge regression to class indicators, with a Gaussian kernel on correlations.

        K_ij = exp( -|x_i - x_j|^2 / (2 w^2 m) )

    m is the mean squared distance of two training subjects. With a wide kernel it comes near to
    `RidgeMethod`, which is the same with a linear kernel.

    Args:
        features: kind of features, see `RidgeMethod`.
        widths: w; of several, the best over inner folds of the training subjects.
        penalties: strengths of regularisation, to choose from alike.
        shrinkage: of correlations towards the identity, for "partial" and "logarithm".

    Raises:
        InputError: for settings out of range, when it is fitted.

    Source:
        Saunders, Gammerman and Vovk (1998).

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(60, num_regions=8, num_scans=80, key=jax.random.key(0))
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method="kernel", key=jax.random.key(1))
        >>> bool((classifier.predict(data.subjects) == data.subjects.labels).mean() > 0.9)
        True
    """

    features: str = static(default="fisher_z")
    widths: tuple[float, ...] = static(default=(1.0,))
    penalties: tuple[float, ...] = static(default=(0.1,))
    shrinkage: float = static(default=0.5)

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        check_choice("features", self.features, FEATURES)
        check_number("shrinkage", self.shrinkage, above=0, most=1)
        return {"vectors": pair_features(subjects, self.features, self.shrinkage)}

    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> "KernelClassifier":
        if not self.widths or not self.penalties:
            raise InputError(f"expected at least one width and penalty, got {shown((self.widths, self.penalties))}")
        for name, numbers in (("width", self.widths), ("penalty", self.penalties)):
            for number in numbers:
                check_number(f"every {name}", number, above=0)
        vectors = inputs["vectors"]
        squares = squared_distances(vectors, vectors)
        mean = float(squares.sum()) / max(len(labels) * (len(labels) - 1), 1)
        if not mean > 0:
            raise InputError("the features are the same for all training subjects")
        kernels = {str(width): np.exp(-squares / (2 * width**2 * mean)) for width in self.widths}
        sets = [(name,) for name in kernels]
        chosen = choose_kernel(
            kernels, labels, num_classes=num_classes, penalties=self.penalties, sets=sets, groups=groups
        )
        (name,) = chosen.kernels
        targets = class_targets(labels, num_classes)
        coefficients = ridge_coefficients(kernels[name], targets, chosen.penalty)
        length = np.asarray(float(name) * mean**0.5)
        return KernelClassifier(vectors, coefficients, targets.mean(0), length, self)


class KernelClassifier(SubjectClassifier, FrozenPytree, name="kernel_classifier"):
    """A sum of Gaussian kernels around the training subjects, for each class.

    Args:
        points: features of the training subjects.
        coefficients: of each training subject.
        offset: added to every score.
        length: standard deviation of the kernel.
        method: the settings of the fit.

    Raises:
        InputError: for subjects with other regions, when it scores them.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(40, num_regions=6, num_scans=60, key=jax.random.key(0))
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method="kernel", key=jax.random.key(1))
        >>> classifier.points.shape
        (40, 15)
    """

    points: Float[Array | np.ndarray, "training_subject feature"]
    coefficients: Float[Array | np.ndarray, "training_subject class"]
    offset: Float[Array | np.ndarray, " class"]
    length: Scalar
    method: KernelMethod

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return self.method.inputs(subjects)

    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        vectors, points = inputs["vectors"], np.asarray(self.points)
        if vectors.shape[1] != points.shape[1]:
            raise InputError(
                f"expected {points.shape[1]} features of pairs of regions, got {vectors.shape[1]}; give subjects with "
                "the regions that the classifier was fitted to"
            )
        kernel = np.exp(-squared_distances(vectors, points) / (2 * np.square(np.asarray(self.length, float))))
        scores: np.ndarray = kernel @ np.asarray(self.coefficients) + np.asarray(self.offset)
        return scores

    def explain(self, inputs: Inputs) -> Explanation:
        return {}

"""Ridge classifiers on correlations."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.checks import check_choice, check_names, check_number, check_texts
from jaxcast.errors import InputError, shown
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, Explanation, Inputs, SubjectClassifier
from jaxcast.neuro.classifiers.confounds import categories_of, confound_inputs, design_of
from jaxcast.neuro.classifiers.features import FEATURES, as_matrix, pair_features
from jaxcast.neuro.classifiers.kernel_choice import averaged, choose_kernel, class_targets, ridge_coefficients
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.pytrees import FrozenPytree, static

Combination = Literal["average", "best"]


class RidgeMethod(ClassifierMethod, FrozenPytree, name="ridge"):
    """Ridge regression from features of pairs of regions to class indicators.

        minimise  sum_n |y_n - b - W^T x_n|^2 + penalty |W|^2

    y is 1 for the subject's class and -1 for the others. The features x are centred and scaled so
    that their mean squared length is 1; several kinds of features then count alike. It is solved as
    kernel ridge regression with the linear kernel, since there are fewer subjects than pairs.

    Args:
        features: kinds of features: "correlation", "fisher_z", "partial" for the Fisher z of
            partial correlations, "logarithm" for `matrix_logarithms`, "lagged" for
            `lagged_correlations`.
        penalties: strengths of regularisation; of several, the best over inner folds of the
            training subjects.
        combination: "average" for all kinds together, "best" for each kind alone or all together,
            whichever is best over inner folds.
        shrinkage: of correlations towards the identity, for "partial" and "logarithm".
        confounds: of "site", "age" and "sex", those that are regressed out of the features; the
            regression is that of the training subjects.

    Raises:
        InputError: for settings out of range, when it is fitted.

    Source:
        Varoquaux and Craddock (2013), NeuroImage 80, 405-415, for correlations as features.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(60, num_regions=8, num_scans=80, key=jax.random.key(0))
        >>> method = jaxcast.neuro.RidgeMethod(features=("fisher_z", "logarithm"), penalties=(0.3, 1.0))
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method=method, key=jax.random.key(1))
        >>> bool((classifier.predict(data.subjects) == data.subjects.labels).mean() > 0.9)
        True
    """

    features: tuple[str, ...] = static(default=("fisher_z",))
    penalties: tuple[float, ...] = static(default=(1.0,))
    combination: str = static(default="average")
    shrinkage: float = static(default=0.5)
    confounds: tuple[str, ...] = static(default=())

    def check_settings(self) -> None:
        """Checks the settings.

        Raises:
            InputError: with the setting that is out of range.
        """
        check_texts("features", self.features)
        check_names("kind of features", self.features, FEATURES)
        check_choice("combination", self.combination, get_args(Combination))
        check_number("shrinkage", self.shrinkage, above=0, most=1)
        if not self.penalties:
            raise InputError(f"penalties must be at least one number, got {shown(self.penalties)}")
        for penalty in self.penalties:
            check_number("every penalty", penalty, above=0)

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        self.check_settings()
        found = {kind: pair_features(subjects, kind, self.shrinkage) for kind in self.features}
        return found | confound_inputs(subjects, self.confounds)

    def fit(
        self,
        inputs: Inputs,
        labels: Int[np.ndarray, " subject"],
        *,
        num_classes: int,
        key: Key[jax.Array, ""],
        groups: np.ndarray | None = None,
    ) -> "RidgeClassifier":
        categories = categories_of(inputs, self.confounds)
        design = design_of(inputs, self.confounds, categories, len(labels))
        inverse = np.linalg.pinv(design)
        left = np.eye(len(labels)) - design @ inverse
        kernels, scales = {}, {}
        for kind in self.features:
            kernel = left @ np.asarray(inputs[kind] @ inputs[kind].T, float) @ left
            scales[kind] = float(np.trace(kernel)) / len(labels)
            if not scales[kind] > 0:
                raise InputError(f"the {kind} features are the same for all training subjects; leave them out")
            kernels[kind] = kernel / scales[kind]
        sets = [self.features]
        if self.combination == "best" and len(self.features) > 1:
            sets = [*((kind,) for kind in self.features), self.features]
        chosen = choose_kernel(
            kernels, labels, num_classes=num_classes, penalties=self.penalties, sets=sets, groups=groups
        )
        targets = class_targets(labels, num_classes)
        coefficients = left @ ridge_coefficients(averaged(kernels, chosen.kernels), targets, chosen.penalty)
        weights = [inputs[kind].T @ coefficients / (scales[kind] * len(chosen.kernels)) for kind in chosen.kernels]
        slopes: Any = sum(
            inverse @ (inputs[kind] @ weight) for kind, weight in zip(chosen.kernels, weights, strict=True)
        )
        return RidgeClassifier(
            np.concatenate(weights).astype(np.float32),
            slopes,
            targets.mean(0),
            self,
            chosen.kernels,
            chosen.penalty,
            categories,
        )


class RidgeClassifier(SubjectClassifier, FrozenPytree, name="ridge_classifier"):
    """A linear function of features of pairs of regions, for each class.

        score = W^T x - C^T d + b

    d are the confounds that are regressed out, encoded, with a constant.

    Args:
        weights: W, for the chosen kinds of features one after another.
        confound_weights: C.
        offset: b.
        method: the settings of the fit.
        features: kinds of features that were chosen.
        penalty: that was chosen.
        categories: values of each confound among the training subjects.

    Raises:
        InputError: for subjects with other regions, when it scores them.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(40, num_regions=6, num_scans=60, key=jax.random.key(0))
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method="ridge", key=jax.random.key(1))
        >>> classifier.features, classifier.weights.shape
        (('fisher_z',), (15, 2))
    """

    weights: Float[Array | np.ndarray, "feature class"]
    confound_weights: Float[Array | np.ndarray, "column class"]
    offset: Float[Array | np.ndarray, " class"]
    method: RidgeMethod
    features: tuple[str, ...] = static()
    penalty: float = static()
    categories: tuple[tuple[str, ...], ...] = static()

    def inputs(self, subjects: SubjectSeries) -> Inputs:
        return self.method.inputs(subjects)

    def class_scores(self, inputs: Inputs) -> Float[np.ndarray, "subject class"]:
        vectors = np.concatenate([inputs[kind] for kind in self.features], -1)
        if vectors.shape[1] != len(self.weights):
            raise InputError(
                f"expected {len(self.weights)} features of pairs of regions, got {vectors.shape[1]}; give subjects "
                "with the regions that the classifier was fitted to"
            )
        design = design_of(inputs, self.method.confounds, self.categories, len(vectors))
        scores: np.ndarray = vectors @ np.asarray(self.weights) - design @ np.asarray(self.confound_weights)
        return scores + np.asarray(self.offset)

    def explain(self, inputs: Inputs) -> Explanation:
        """Correlates each feature with the score, over subjects (Haufe et al., 2014).

        The weights themselves would also be large where a feature only cancels the noise of others.

        Args:
            inputs: of the subjects over whom to correlate.

        Returns:
            The absolute correlation of each edge with the scores, the mean over kinds of features
            and classes; of a region, the mean of its edges.
        """
        scores = _standardized(self.class_scores(inputs))
        edges: Any = sum(_pattern(inputs, kind, scores) for kind in self.features)
        return {"edges": edges / len(self.features), "regions": edges.mean(1) / len(self.features)}


def _standardized(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(0)
    spread = centred.std(0)
    return centred / np.where(spread > 0, spread, 1)


def _pattern(inputs: Mapping[str, Any], kind: str, scores: np.ndarray) -> np.ndarray:
    found = np.abs(_standardized(inputs[kind]).T @ scores).mean(1) / len(scores)
    size = len(found)
    num_regions = round(size**0.5) if kind == "lagged" else round((1 + (1 + 8 * size) ** 0.5) / 2)
    return as_matrix(found, kind, num_regions)

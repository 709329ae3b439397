"""Fits a classifier of subjects."""

import jax
from jaxtyping import Key

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.neuro.classifiers.abstract import ClassifierMethod, SubjectClassifier
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.registry import name_of, names_of


@checked
def fit_subject_classifier(
    subjects: SubjectSeries, *, method: str | ClassifierMethod = "ridge", key: Key[jax.Array, ""]
) -> SubjectClassifier:
    """Fits a classifier of subjects to their series and labels.

    Args:
        subjects: with labels.
        method: a method with its settings, such as `RidgeMethod(penalties=(1.0,))`, or the name of
            one, which then has its default settings.
        key: random key, for initial weights and the validation part of networks.

    Returns:
        The classifier, which `save_model` can write.

    Raises:
        InputError: for an unknown method, or settings that do not fit the subjects.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_subjects(40, num_regions=6, num_scans=60, key=jax.random.key(0))
        >>> classifier = jaxcast.neuro.fit_subject_classifier(data.subjects, method="ridge", key=jax.random.key(1))
        >>> classifier.scores(data.subjects).shape
        (40, 2)
    """
    method = method_named(method) if isinstance(method, str) else method
    return method.fit(method.inputs(subjects), subjects.labels, num_classes=subjects.num_classes, key=key)


def method_named(name: str) -> ClassifierMethod:
    """Returns the method of a name with its default settings.

    Args:
        name: of the method.

    Raises:
        InputError: for an unknown name.
    """
    methods = names_of(ClassifierMethod)
    if name not in methods:
        raise InputError(f"unknown method {shown(repr(name))}; expected one of {', '.join(methods)}")
    method: ClassifierMethod = methods[name]()
    return method


def label_of(method: ClassifierMethod) -> str:
    """Returns the name of a method, of its class where it has none.

    Args:
        method: the method.
    """
    return name_of(type(method)) or type(method).__name__

"""Confounds of subjects: their encoding, how well they alone predict the label, class balance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.checks import check_names
from jaxcast.errors import InputError
from jaxcast.neuro.classifiers.abstract import Inputs
from jaxcast.neuro.subjects import SubjectSeries, known

CONFOUNDS = ("site", "age", "sex")


def confound_inputs(subjects: SubjectSeries, names: Sequence[str]) -> Inputs:
    """Returns the columns of some confounds.

    Args:
        subjects: the subjects.
        names: of the confounds.

    Raises:
        InputError: for a confound that is unknown, or that the subjects or some of them lack.
    """
    columns = {"site": subjects.site, "age": subjects.age, "sex": subjects.sex}
    check_names("confound", names, columns)
    if missing := [name for name in names if columns[name] is None]:
        raise InputError(f"the subjects have no {', '.join(missing)}; give it to subject_series, or leave it out")
    return {name: known(name, np.asarray(columns[name])).astype(float if name == "age" else str) for name in names}


def categories_of(inputs: Inputs, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Returns the values that each confound takes among the training subjects; none for age.

    Args:
        inputs: with the columns of the confounds.
        names: of the confounds.
    """
    return tuple(() if name == "age" else tuple(np.unique(inputs[name]).tolist()) for name in names)


def design_of(
    inputs: Inputs, names: Sequence[str], categories: Sequence[Sequence[str]], num_subjects: int
) -> Float[np.ndarray, "subject column"]:
    """Encodes confounds as columns: the constant, indicators of categories, and age.

    A category that no training subject has, such as a new site, counts as the mean of all.

    Args:
        inputs: with the columns of the confounds.
        names: of the confounds.
        categories: of each confound, see `categories_of`.
        num_subjects: number of subjects.
    """
    columns: list[Any] = [np.ones((num_subjects, 1))]
    for name, values in zip(names, categories, strict=True):
        if name == "age":
            columns.append(np.asarray(inputs[name], float)[:, None] / 10)  # of the size of the indicators
            continue
        is_value = inputs[name][:, None] == np.asarray(values)
        columns.append(np.where(is_value.any(-1, keepdims=True), is_value, 1 / len(values)))
    return np.concatenate(columns, -1)

"""Series of regions of many subjects, with their labels and confounds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcast.arguments import checked
from jaxcast.errors import InputError, counted, shown
from jaxcast.tracing import is_traced

LEAST_SCANS = 3
"""Scans below which a correlation says nothing: of two, it is always 1 or -1."""


class SubjectSeries(NamedTuple):
    """The series of the regions of each subject, with what is known about the subject.

    Args:
        series: one array (time, region) for each subject; the lengths may differ, the regions not.
        labels: class of each subject, from 0 on.
        site: of each subject; None where it is not known.
        age: of each subject; None where it is not known.
        sex: of each subject; None where it is not known.
    """

    series: tuple[Float[np.ndarray, "time region"], ...]
    labels: Int[np.ndarray, " subject"]
    site: Any = None
    age: Any = None
    sex: Any = None

    @property
    def num_regions(self) -> int:
        """The number of regions."""
        return int(self.series[0].shape[1])

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return int(self.labels.max()) + 1

    def subset(self, index: Any) -> "SubjectSeries":
        """Returns some of the subjects.

        Args:
            index: numbers of the subjects, or whether to take each of them.

        Returns:
            Their series, labels and confounds.
        """
        numbers = np.arange(len(self.series))[np.asarray(index)]
        columns = [None if column is None else column[numbers] for column in (self.site, self.age, self.sex)]
        return SubjectSeries(tuple(self.series[n] for n in numbers), self.labels[numbers], *columns)


@checked
def subject_series(
    series: Any,
    labels: Any,
    *,
    site: Sequence[Any] | np.ndarray | None = None,
    age: Sequence[Any] | np.ndarray | None = None,
    sex: Sequence[Any] | np.ndarray | None = None,
    least_scans: int = LEAST_SCANS,
) -> SubjectSeries:
    """Checks the series and labels of subjects and puts them together.

    Args:
        series: one array (subject, time, region), or an array (time, region) for each subject.
        labels: class of each subject, whole numbers from 0 on.
        site: of each subject, numbers or texts.
        age: of each subject, numbers.
        sex: of each subject, numbers or texts.
        least_scans: scans that every subject must have.

    Returns:
        The subjects. A region that is constant is kept; `constant_regions` finds it, and its
        correlations are 0.

    Raises:
        InputError: for series of other shapes or of different regions, too few scans, numbers that
            are not finite, labels of another length, of one class or with a class missing, and
            confounds of another length.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(4, 30, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1, 0, 1], site=["a", "a", "b", "b"])
        >>> len(subjects.series), subjects.num_regions, subjects.num_classes
        (4, 5, 2)
    """
    if is_traced(series):
        raise InputError("series of subjects cannot be traced; give NumPy arrays from outside of jax.jit and jax.vmap")
    arrays = _checked_series(series, least_scans)
    found = _checked_labels(labels, len(arrays))
    columns = [
        _checked_column(name, column, len(arrays)) for name, column in (("site", site), ("age", age), ("sex", sex))
    ]
    if columns[1] is not None and (columns[1].dtype.kind not in "iuf" or not np.isfinite(columns[1]).all()):
        raise InputError("age must hold a finite number for each subject; leave it out where it is not known")
    return SubjectSeries(arrays, found, *columns)


@checked
def constant_regions(subjects: SubjectSeries) -> Bool[np.ndarray, "subject region"]:
    """Finds regions without signal, as those outside of a scan's field of view.

    Args:
        subjects: the subjects.

    Returns:
        Whether all scans of a region are equal.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(2, 30, 3))
        >>> series[1, :, 2] = 0.0
        >>> jaxcast.neuro.constant_regions(jaxcast.neuro.subject_series(series, [0, 1])).tolist()
        [[False, False, False], [False, False, True]]
    """
    return np.stack([one.max(0) == one.min(0) for one in subjects.series])


def _checked_series(series: Any, least_scans: int) -> tuple[np.ndarray, ...]:
    try:
        arrays = tuple(np.asarray(one) for one in series)
    except (TypeError, ValueError) as error:
        raise InputError(f"series must be arrays (time, region), one for each subject ({shown(error)})") from None
    if len(arrays) < 2:
        raise InputError(f"expected series of at least two subjects, got {len(arrays)}")
    for n, one in enumerate(arrays):
        if one.ndim != 2 or one.dtype.kind not in "fiu" or one.shape[1] != arrays[0].shape[-1]:
            raise InputError(
                f"expected numbers (time, region) of the same regions for each subject, got shape {one.shape} of "
                f"{one.dtype} for subject {n} and {arrays[0].shape} for subject 0"
            )
        if len(one) < least_scans:
            raise InputError(
                f"expected at least {counted(least_scans, 'scan')} of each subject, got {len(one)} of subject {n}; "
                "leave it out"
            )
        if not np.isfinite(one).all():
            raise InputError(f"the series of subject {n} hold NaN or infinite numbers; fill them or leave it out")
    if arrays[0].shape[1] < 2:
        raise InputError(f"expected at least 2 regions, got {arrays[0].shape[1]}")
    return tuple(one if one.dtype.kind == "f" else one.astype(np.float32) for one in arrays)


def _checked_labels(labels: Any, num_subjects: int) -> Int[np.ndarray, " subject"]:
    array = np.asarray(labels)
    if array.shape != (num_subjects,):
        raise InputError(
            f"expected one label for each of the {num_subjects} subjects, got labels of shape {array.shape}"
        )
    if array.dtype.kind not in "biuf" or not (array == np.round(array)).all() or array.min() < 0:
        raise InputError(f"labels must be whole numbers from 0 on, got {shown(array.tolist()[:5])}")
    array = array.astype(np.int64)
    classes = np.unique(array)
    if len(classes) < 2:
        raise InputError(f"expected labels of at least two classes, got only the class {classes[0]}")
    if classes[-1] != len(classes) - 1:
        raise InputError(f"labels must number the classes from 0 on without gaps, got the classes {shown(classes)}")
    return array


def _checked_column(name: str, column: Any, num_subjects: int) -> Any:
    if column is None:
        return None
    array = np.asarray(column)
    if array.shape != (num_subjects,):
        raise InputError(f"expected one {name} for each of the {num_subjects} subjects, got shape {array.shape}")
    return array

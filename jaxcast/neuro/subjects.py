"""Series of regions of many subjects, with their labels and confounds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcast.arguments import checked
from jaxcast.errors import InputError, counted, shown
from jaxcast.tracing import is_traced

MIN_SCANS = 3
"""Scans below which a correlation says nothing: of two, it is always 1 or -1."""


class SubjectSeries(NamedTuple):
    """The series of the regions of each subject, with what is known about the subject.

    Args:
        series: one array (time, region) for each subject; the lengths may differ, the regions not.
        labels: number of each subject's class, from 0 on.
        site: of each subject; None where it is not known.
        age: of each subject; None where it is not known.
        sex: of each subject; None where it is not known.
        classes: name of each class, a number or a text; none where they have none.
    """

    series: tuple[Float[np.ndarray, "time region"], ...]
    labels: Int[np.ndarray, " subject"]
    site: Any = None
    age: Any = None
    sex: Any = None
    classes: tuple[int | str, ...] = ()

    @property
    def num_regions(self) -> int:
        """The number of regions."""
        return int(self.series[0].shape[1])

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes) or int(self.labels.max()) + 1

    def subset(self, index: Any) -> "SubjectSeries":
        """Returns some of the subjects.

        Args:
            index: numbers of the subjects, or whether to take each of them.

        Returns:
            Their series, labels and confounds.
        """
        numbers = np.arange(len(self.series))[np.asarray(index)]
        site, age, sex = (None if column is None else column[numbers] for column in (self.site, self.age, self.sex))
        series = tuple(self.series[n] for n in numbers)
        return SubjectSeries(series, self.labels[numbers], site, age, sex, self.classes)


@checked
def subject_series(
    series: Any,
    labels: Any,
    *,
    site: Sequence[Any] | np.ndarray | None = None,
    age: Sequence[Any] | np.ndarray | None = None,
    sex: Sequence[Any] | np.ndarray | None = None,
    classes: Sequence[int | str] | None = None,
    min_scans: int = MIN_SCANS,
) -> SubjectSeries:
    """Checks the series and labels of subjects and puts them together.

    Scans that are NaN in all regions, before or after the others, are left out: so one array holds
    recordings of different lengths. A region that is NaN throughout is taken as one without signal.

    Args:
        series: one array (subject, time, region), or an array (time, region) for each subject.
        labels: class of each subject, whole numbers or texts. They are numbered from 0 on.
        site: of each subject, numbers or texts.
        age: of each subject, numbers.
        sex: of each subject, numbers or texts.
        classes: names of the classes in the order of their numbers; by default the different
            labels, rising. Give those of the training subjects for further subjects.
        min_scans: scans that every subject must have.

    Returns:
        The subjects. A region that is constant is kept; `constant_regions` finds it, and its
        correlations are 0.

    Raises:
        InputError: for series of other shapes or of different regions, too few scans, infinite
            numbers, NaN at some scans of a region, labels of another length, of one class or of
            none of the classes, and confounds of another length or with missing values.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(4, 30, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1, 0, 1], site=["a", "a", "b", "b"])
        >>> len(subjects.series), subjects.num_regions, subjects.num_classes
        (4, 5, 2)
        >>> subjects = jaxcast.neuro.subject_series(series, ["patient", "control", "patient", "control"])
        >>> subjects.labels.tolist(), subjects.classes
        ([1, 0, 1, 0], ('control', 'patient'))
        >>> series[0, 20:] = np.nan
        >>> jaxcast.neuro.subject_series(series, [0, 1, 0, 1]).series[0].shape
        (20, 5)
    """
    if is_traced(series):
        raise InputError("series of subjects cannot be traced; give NumPy arrays from outside of jax.jit and jax.vmap")
    arrays = _checked_series(series, min_scans)
    found, names = _numbered(_column("label", labels, len(arrays)), classes)
    sites, ages, sexes = (
        None if column is None else _column(name, column, len(arrays))
        for name, column in (("site", site), ("age", age), ("sex", sex))
    )
    if ages is not None and ages.dtype.kind not in "iuf":
        raise InputError(f"age must hold a number for each subject, got {shown(repr(ages[0].item()))}")
    return SubjectSeries(arrays, found, sites, ages, sexes, names)


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


def _checked_series(series: Any, min_scans: int) -> tuple[np.ndarray, ...]:
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
    if arrays[0].shape[1] < 2:
        raise InputError(f"expected at least 2 regions, got {arrays[0].shape[1]}")
    recorded = tuple(_recorded(one, n) for n, one in enumerate(arrays))
    for n, one in enumerate(recorded):
        if len(one) < min_scans:
            raise InputError(
                f"expected at least {counted(min_scans, 'scan')} of each subject, got {len(one)} of subject {n}; "
                "leave it out"
            )
    return recorded


def _recorded(series: np.ndarray, number: int) -> np.ndarray:
    """Returns the scans of one subject from the first to the last, with 0 for a region that is never known."""
    if series.dtype.kind != "f" or series.dtype.itemsize < 4:
        series = series.astype(np.float32)
    is_known = ~np.isnan(series)
    if not is_known.all():
        scans = np.flatnonzero(is_known.any(1))
        if not scans.size:
            raise InputError(f"the series of subject {number} are all NaN; leave it out")
        series, is_known = (array[scans[0] : scans[-1] + 1] for array in (series, is_known))
        series = np.where(is_known.any(0), series, 0)
    if not np.isfinite(series).all():
        raise InputError(
            f"the series of subject {number} hold NaN or infinite numbers at some scans; fill them or leave it out"
        )
    return series


def _numbered(
    labels: np.ndarray, classes: Sequence[int | str] | None
) -> tuple[Int[np.ndarray, " subject"], tuple[int | str, ...]]:
    """Returns the number of each subject's class, and the names of the classes."""
    if labels.dtype.kind == "f":
        raise InputError(f"labels must be whole numbers or texts, got {shown(labels.tolist()[:5])}")
    present, numbers = np.unique(labels, return_inverse=True)
    if classes is None:
        if len(present) < 2:
            raise InputError(f"expected labels of at least two classes, got only the class {shown(present[0])}")
        return numbers.astype(np.int64), tuple(present.tolist())
    names = tuple(classes)
    if len(set(names)) < max(len(names), 2):
        raise InputError(f"classes must be at least two different names, got {shown(names)}")
    if unknown := [one for one in present.tolist() if one not in names]:
        raise InputError(f"the label {shown(repr(unknown[0]))} is none of the classes {shown(names)}")
    return np.asarray([names.index(one) for one in present.tolist()])[numbers], names


def _column(name: str, column: Any, num_subjects: int) -> np.ndarray:
    """Returns what is known of each subject as whole numbers, other numbers or texts."""
    try:
        array = np.asarray(column)
    except ValueError:
        raise InputError(f"expected one {name} for each of the {num_subjects} subjects, got lists in a list") from None
    if array.shape != (num_subjects,):
        raise InputError(f"expected one {name} for each of the {num_subjects} subjects, got shape {array.shape}")
    return known(name, array)


def known(name: str, column: np.ndarray) -> np.ndarray:
    """Returns a column without missing values: whole numbers, other numbers or texts.

    Numbers that are all whole become integers, so that 1, 1.0 and True are the same category.

    Args:
        name: of the column, for messages.
        column: of each subject.

    Raises:
        InputError: for missing values, infinity, or anything but numbers and texts.
    """
    array = column
    if array.dtype.kind == "O":
        missing = [n for n, one in enumerate(array.tolist()) if one is None or one != one]
        if missing:
            raise InputError(f"the {name} of subject {missing[0]} is missing; leave the subject or the {name} out")
        kinds = {type(one) for one in array.tolist()}
        if not (kinds <= {str} or kinds <= {int, float, bool}):
            raise InputError(
                f"expected a {name} for each subject that is a number, or a text for each, got "
                f"{shown(', '.join(sorted(kind.__name__ for kind in kinds)))}"
            )
        array = np.asarray(array.tolist())
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "biufU":
        raise InputError(f"expected a {name} for each subject, a number or a text, got {array.dtype}")
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            first = int(np.argmin(np.isfinite(array)))
            raise InputError(
                f"the {name} of subject {first} is missing or infinite; leave the subject or the {name} out"
            )
        if not (array == np.round(array)).all():
            return array
    return array.astype(np.int64)

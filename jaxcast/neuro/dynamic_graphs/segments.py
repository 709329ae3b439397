"""Segments of the series of subjects: windows of one length, or pieces between change points."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.neuro.dynamic_graphs.change_points import change_points
from jaxcast.neuro.subjects import SubjectSeries


class Segments(NamedTuple):
    """Segments of the series of each subject.

    Args:
        starts: the first scan of each segment.
        lengths: its number of scans; 0 for a segment that a subject does not have.

    Example:
        >>> import numpy as np, jaxcast
        >>> segments = jaxcast.neuro.Segments(np.asarray([[0, 40]]), np.asarray([[40, 25]]))
        >>> int(segments.lengths.max())
        40
    """

    starts: Int[np.ndarray, "subject segment"]
    lengths: Int[np.ndarray, "subject segment"]


@checked
def uniform_segments(subjects: SubjectSeries, *, size: int = 30, step: int = 15) -> Segments:
    """Cuts the series of each subject into sliding windows of one length.

    Args:
        subjects: their series.
        size: scans of a window.
        step: scans from the start of one window to that of the next.

    Returns:
        The windows that lie within the series of each subject.

    Raises:
        InputError: for sizes below 1, windows of fewer than 3 scans, or a series that is shorter
            than a window.

    Example:
        >>> import numpy as np, jaxcast
        >>> subjects = jaxcast.neuro.subject_series([np.zeros((60, 2)), np.zeros((45, 2))], [0, 1])
        >>> jaxcast.neuro.uniform_segments(subjects).starts.tolist()
        [[0, 15, 30], [0, 15, 0]]
    """
    check_sizes(step=step)
    check_segment_size("size", size)
    check_long_enough(subjects.series, size)
    starts = [np.arange(0, len(one) - size + 1, step) for one in subjects.series]
    return _padded([(each, np.full(len(each), size)) for each in starts])


@checked
def change_point_segments(
    activity: Sequence[Any],
    *,
    modules: Int[np.ndarray, "..."],
    penalty: float | int = 5.0,
    min_size: int = 20,
    max_size: int = 60,
) -> Segments:
    """Cuts the series of each subject where the mean activity of its modules changes.

    The segments are the pieces that `change_points` finds. Unlike sliding windows they do not
    overlap, and they cover the whole series.

    Args:
        activity: of each subject, (time, region), a signal whose level changes in steps, such as
            the activity that Total Activation finds.
        modules: number of the module of each region, as from `region_modules`, (region,), or
            (subject, region) where each subject has its own.
        penalty: of a change; see `change_points`.
        min_size: scans of the shortest segment.
        max_size: scans of the longest segment.

    Returns:
        The segments.

    Raises:
        InputError: for modules of other regions, sizes that do not fit, or activity that is shorter
            than a segment or not finite.

    Example:
        >>> import numpy as np, jaxcast
        >>> activity = np.zeros((80, 3))
        >>> activity[35:, 1:] = 1.0
        >>> jaxcast.neuro.change_point_segments([activity], modules=np.asarray([0, 1, 1])).starts.tolist()
        [[0, 35]]
    """
    arrays = [np.asarray(one) for one in activity]
    own = np.tile(modules, (len(arrays), 1)) if modules.ndim == 1 else modules
    if not arrays or any(one.ndim != 2 or own.shape != (len(arrays), one.shape[1]) for one in arrays):
        raise InputError(
            f"expected activity (time, region) and modules of the same regions, one array for each subject, got shapes "
            f"{shown([one.shape for one in arrays][:3])} and modules of shape {modules.shape}"
        )
    check_segment_size("min_size", min_size)
    check_long_enough(arrays, min_size)
    pieces = []
    for one, numbers in zip(arrays, own, strict=True):
        means = module_means(np.unique(numbers, return_inverse=True)[1])
        starts = change_points(one @ means, penalty=penalty, min_size=min_size, max_size=max_size)
        pieces.append((starts, np.diff(starts, append=len(one))))
    return _padded(pieces)


def module_means(modules: Int[np.ndarray, " region"]) -> Float[np.ndarray, "region module"]:
    """Returns the matrix that averages the regions of each module.

    Args:
        modules: number of the module of each region, from 0 on without gaps.
    """
    members = np.eye(int(modules.max()) + 1)[modules]
    return members / members.sum(0)


def check_segment_size(name: str, size: int) -> None:
    """Checks that correlations of a segment say something.

    Args:
        name: of the size, for the message.
        size: scans of a segment.

    Raises:
        InputError: for fewer than 3 scans.
    """
    if size < 3:
        raise InputError(f"{name} must be at least 3 scans, of which correlations can be computed, got {size}")


def check_long_enough(series: Sequence[np.ndarray], size: int) -> None:
    """Checks that each subject has scans for a segment.

    Args:
        series: of each subject.
        size: scans of the shortest segment.

    Raises:
        InputError: with the subject that has the fewest.
    """
    shortest = int(np.argmin([len(one) for one in series]))
    if len(series[shortest]) < size:
        raise InputError(
            f"subject {shortest} has {len(series[shortest])} scans, fewer than a segment of {size}; take shorter "
            "segments or leave it out"
        )


def _padded(pieces: Sequence[tuple[np.ndarray, np.ndarray]]) -> Segments:
    """Puts starts and lengths of all subjects together, with zeros after the last segment of each."""
    shape = (len(pieces), max(len(starts) for starts, _ in pieces))
    segments = Segments(np.zeros(shape, np.int32), np.zeros(shape, np.int32))
    for n, (starts, lengths) in enumerate(pieces):
        segments.starts[n, : len(starts)] = starts
        segments.lengths[n, : len(lengths)] = lengths
    return segments

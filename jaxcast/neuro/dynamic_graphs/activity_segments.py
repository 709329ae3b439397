"""Segments between the changes of the activity that Total Activation finds."""

import numpy as np

from jaxcast.arguments import checked
from jaxcast.checks import check_positive
from jaxcast.neuro.activity.total_activation import total_activation
from jaxcast.neuro.connectivity import correlations
from jaxcast.neuro.dynamic_graphs.segments import Segments, change_point_segments, check_long_enough, check_segment_size
from jaxcast.neuro.modules import region_modules
from jaxcast.neuro.subjects import SubjectSeries, constant_regions


@checked
def activity_segments(
    subjects: SubjectSeries,
    *,
    repetition_time: float | int,
    num_modules: int = 7,
    noise_share: float | int = 0.5,
    penalty: float | int = 5.0,
    min_size: int = 20,
    max_size: int = 60,
) -> Segments:
    """Cuts the series of each subject where the activity of its functional modules changes.

    Total Activation finds the activity of each region, whose level changes in steps. It is averaged
    over each module, and `change_point_segments` finds the jumps. Modules are those of the
    subject's own correlations, so that nothing of other subjects is used.

    Args:
        subjects: their series.
        repetition_time: TR, seconds from scan to scan.
        num_modules: modules of a subject.
        noise_share: standard deviation of the noise, as a share of that of each region. It cannot
            be estimated from series that were filtered, as most published ones are.
        penalty: of a change; see `change_points`.
        min_size: scans of the shortest segment.
        max_size: scans of the longest segment.

    Returns:
        The segments.

    Raises:
        InputError: for settings out of range, subjects with fewer scans than a segment, or regions
            that are too few or too alike for as many modules.

    Source:
        Karahanoglu et al. (2013) for Total Activation; see `total_activation`.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.neuro.simulate_dynamic_subjects(
        ...     2, num_regions=4, num_scans=60, module_size=2, key=jax.random.key(0)
        ... )
        >>> segments = jaxcast.neuro.activity_segments(data.subjects, repetition_time=2.0, num_modules=2)
        >>> segments.lengths.sum(1).tolist()
        [60, 60]
    """
    check_positive(repetition_time=repetition_time, noise_share=noise_share)
    check_segment_size("min_size", min_size)
    check_long_enough(subjects.series, min_size)
    modules = np.stack([region_modules(one[None], num_modules) for one in correlations(subjects)])
    activity = []
    for series, constant in zip(subjects.series, constant_regions(subjects), strict=True):
        centred = series - series.mean(0)
        # A constant region takes the place of another one, so that all subjects have the same program.
        filled = np.where(constant, centred[:, [constant.argmin()]], centred)
        found = total_activation(
            filled, repetition_time=float(repetition_time), noise_level=noise_share * filled.std(0)
        ).activity
        activity.append(np.where(constant, 0, found))
    return change_point_segments(activity, modules=modules, penalty=penalty, min_size=min_size, max_size=max_size)

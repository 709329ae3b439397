"""Simulated subjects whose classes differ only in the order in which connections change."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.neuro.subjects import SubjectSeries, subject_series


class SimulatedDynamics(NamedTuple):
    """Simulated subjects whose connections change half way.

    Args:
        subjects: the series and labels.
        modules: 0 and 1 for the regions that are connected in one half each, 2 for the others.
    """

    subjects: SubjectSeries
    modules: Int[np.ndarray, " region"]


@checked
def simulate_dynamic_subjects(
    num_subjects: int,
    *,
    num_regions: int,
    num_scans: int,
    module_size: int = 4,
    strength: float | int = 1.0,
    key: Key[Array, ""],
) -> SimulatedDynamics:
    """Simulates two classes whose correlations over the whole recording are alike.

        x_r(t) = e_r(t) + strength p_r(t)

    e and p are white noise of variance 1. In one half of the scans p is common to all regions of
    module 0, in the other half to all of module 1; otherwise each region has its own. In class 0
    module 0 comes first, in class 1 module 1. The correlations of all scans together do not depend
    on the class, nor do variances; only the order in time does.

    Args:
        num_subjects: number of subjects; every second one is of class 1.
        num_regions: number of regions.
        num_scans: scans of each subject.
        module_size: regions of each of the two modules.
        strength: weight of the planted signals.
        key: random key.

    Returns:
        The subjects, and the module of each region.

    Raises:
        InputError: for sizes out of range.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> found = jaxcast.neuro.simulate_dynamic_subjects(
        ...     4, num_regions=6, num_scans=2000, module_size=2, key=jax.random.key(0)
        ... )
        >>> first = found.subjects.series[0][:1000]
        >>> (np.abs(np.corrcoef(first.T)[0, [1, 2]]) > 0.2).tolist(), found.modules.tolist()
        ([True, False], [0, 0, 1, 1, 2, 2])
    """
    check_whole("num_subjects", num_subjects, least=2)
    check_whole("num_scans", num_scans, least=6)
    check_whole("module_size", module_size, least=2)
    check_whole("num_regions", num_regions, least=2 * module_size)
    check_number("strength", strength, least=0)
    # NumPy, as nothing is worth compiling here.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    modules = np.minimum(np.arange(num_regions) // module_size, 2)
    half = np.arange(num_scans) * 2 // num_scans
    labels = np.arange(num_subjects) % 2
    series = []
    for label in labels:
        own, separate = rng.normal(size=(2, num_scans, num_regions))
        common = rng.normal(size=(num_scans, 1))
        is_connected = modules == (half ^ label)[:, None]
        series.append((own + strength * np.where(is_connected, common, separate)).astype(np.float32))
    return SimulatedDynamics(subject_series(series, labels), modules)

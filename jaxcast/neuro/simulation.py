"""Simulated subjects whose classes differ in known regions or in one known edge."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.neuro.subjects import SubjectSeries

NUM_COMMUNITIES = 4
LOADING = 0.5
"""Weight of a community's common signal in the series of its regions."""


class SimulatedSubjects(NamedTuple):
    """Simulated subjects and the regions in which their classes differ.

    Args:
        subjects: the series and labels.
        regions: numbers of the planted regions, rising.
    """

    subjects: SubjectSeries
    regions: Int[np.ndarray, " planted"]


@checked
def simulate_subjects(
    num_subjects: int,
    *,
    num_regions: int,
    num_scans: int,
    planted: Sequence[int] | int = 2,
    strength: float | int = 1.0,
    persistence: float | int = 0.5,
    key: Key[Array, ""],
) -> SimulatedSubjects:
    """Simulates subjects of two classes that differ in how some regions go together.

        x_r(t) = 0.5 c_k(r)(t) + e_r(t) + strength p_r(t)

    c are the signals of four communities of regions, e is the regions' own noise. In planted
    regions, p is one signal common to all of them in class 1 and a separate one for each in
    class 0, so that only their correlations differ, not their variances. Two planted regions are
    a planted edge. All signals are autoregressive of first order with variance 1.

    Args:
        num_subjects: number of subjects; every second one is of class 1.
        num_regions: number of regions.
        num_scans: scans of each subject.
        planted: numbers of the planted regions, or how many of them to draw.
        strength: weight of the planted signals; 0 for classes without a difference.
        persistence: correlation of each signal with itself one scan later, at least 0 and below 1.
        key: random key.

    Returns:
        The subjects and the planted regions.

    Raises:
        InputError: for sizes out of range, or planted regions that do not exist.

    Example:
        >>> import jax, jaxcast
        >>> found = jaxcast.neuro.simulate_subjects(
        ...     20, num_regions=10, num_scans=50, planted=(3, 7), key=jax.random.key(0)
        ... )
        >>> found.subjects.series[0].shape, found.subjects.labels[:4].tolist(), found.regions.tolist()
        ((50, 10), [0, 1, 0, 1], [3, 7])
    """
    check_whole("num_subjects", num_subjects, least=2)
    check_whole("num_regions", num_regions, least=2)
    check_whole("num_scans", num_scans, least=3)
    check_number("strength", strength, least=0)
    check_number("persistence", persistence, least=0, most=0.999)
    # NumPy, as nothing is worth compiling here.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    regions = _planted(planted, num_regions, rng)
    labels = np.arange(num_subjects) % 2
    series = [_series(label, rng, num_regions, num_scans, regions, strength, persistence) for label in labels.tolist()]
    return SimulatedSubjects(SubjectSeries(tuple(series), labels), regions)


def _planted(planted: Sequence[int] | int, num_regions: int, rng: np.random.Generator) -> Int[np.ndarray, " planted"]:
    if isinstance(planted, int):
        check_whole("planted", planted, least=2, most=num_regions)
        return np.sort(rng.permutation(num_regions)[:planted])
    numbers = np.unique(np.asarray(planted, int))
    if len(numbers) < 2 or len(numbers) < len(planted) or numbers[0] < 0 or numbers[-1] >= num_regions:
        raise InputError(f"planted must be at least two different regions below {num_regions}, got {shown(planted)}")
    return numbers


def _series(
    label: int,
    rng: np.random.Generator,
    num_regions: int,
    num_scans: int,
    regions: np.ndarray,
    strength: float | int,
    persistence: float | int,
) -> Float[np.ndarray, "time region"]:
    """Simulates one subject."""
    num_signals = NUM_COMMUNITIES + num_regions + 1 + len(regions)
    signals = _autoregression(rng.normal(size=(num_scans, num_signals)), persistence)
    ends = np.cumsum((NUM_COMMUNITIES, num_regions, 1))
    communities, own, common, separate = np.split(signals, ends, -1)
    series = own + LOADING * communities[:, np.arange(num_regions) % NUM_COMMUNITIES]
    series[:, regions] += strength * (common if label else separate)
    return series.astype(np.float32)


def _autoregression(noise: np.ndarray, persistence: float | int) -> np.ndarray:
    """Returns stationary signals of variance 1."""
    signals = noise.copy()
    for n in range(1, len(noise)):
        signals[n] = persistence * signals[n - 1] + (1 - persistence**2) ** 0.5 * noise[n]
    return signals

"""The graph of each segment: regions joined where their correlation is among the highest."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.neuro.connectivity import unit_series
from jaxcast.neuro.dynamic_graphs.segments import Segments, check_segment_size
from jaxcast.neuro.subjects import SubjectSeries
from jaxcast.precision import highest


class DynamicGraphs(NamedTuple):
    """A graph of regions for each segment of each subject.

    The series are kept instead of their correlations, which are their products and take more
    memory.

    Args:
        scans: the series of each region within a segment, with mean 0 and sum of squares 1; zeros
            after its last scan and for constant regions.
        thresholds: correlation above which two regions have an edge.
        present: which segments exist.
    """

    scans: Float[Any, "subject segment scan region"]
    thresholds: Float[Any, "subject segment"]
    present: Bool[Any, "subject segment"]

    @property
    @highest
    def correlations(self) -> Float[Array, "subject segment region other_region"]:
        """The correlations of each segment, zero for constant regions."""
        scans = jnp.asarray(self.scans)
        return jnp.swapaxes(scans, -1, -2) @ scans

    @property
    def edges(self) -> Bool[Array, "subject segment region other_region"]:
        """Which regions have an edge; each has one to itself, unless it is constant."""
        return self.correlations > jnp.asarray(self.thresholds)[..., None, None]


@checked
def correlation_graphs(subjects: SubjectSeries, segments: Segments, *, edge_share: float | int = 0.1) -> DynamicGraphs:
    """Makes the correlation graph of each segment.

    Args:
        subjects: their series.
        segments: as from `uniform_segments` or `change_point_segments`.
        edge_share: share of the pairs of regions that have an edge, those with the highest
            correlations; above 0 and at most 1.

    Returns:
        The graphs, in single precision.

    Raises:
        InputError: for a share out of range, or segments of other subjects, of fewer than 3 scans
            or beyond the end of a series.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(4, 60, 5))
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1, 0, 1])
        >>> segments = jaxcast.neuro.uniform_segments(subjects)
        >>> graphs = jaxcast.neuro.correlation_graphs(subjects, segments, edge_share=0.3)
        >>> graphs.edges.shape, int((graphs.edges[0, 0].sum() - 5) / 2)
        ((4, 3, 5, 5), 3)
    """
    check_number("edge_share", edge_share, above=0, most=1)
    _check_segments(subjects, segments)
    num_subjects, num_segments = segments.starts.shape
    shape = (num_subjects, num_segments, int(segments.lengths.max()), subjects.num_regions)
    check_arrays(f"{num_subjects} subjects of {num_segments} segments", shape, dtype=np.float32)
    scans = np.zeros(shape, np.float32)
    for n, k in np.argwhere(segments.lengths):
        start, length = segments.starts[n, k], segments.lengths[n, k]
        scans[n, k, :length] = unit_series(subjects.series[n][start : start + length])
    thresholds = np.stack([_thresholds(one, edge_share) for one in scans])
    return DynamicGraphs(scans, thresholds, segments.lengths > 0)


@checked
def module_strengths(
    graphs: DynamicGraphs, modules: Int[np.ndarray, " region"]
) -> Float[np.ndarray, "subject segment module"]:
    """Computes how strongly each module is connected within itself in each segment.

    Args:
        graphs: of the segments.
        modules: number of the module of each region, from 0 on, as from `region_modules`.

    Returns:
        The mean correlation of each two regions of a module; 0 for modules of one region and for
        segments that do not exist.

    Raises:
        InputError: for modules of other regions.

    Example:
        >>> import numpy as np, jaxcast
        >>> series = np.random.default_rng(0).normal(size=(2, 60, 4))
        >>> series[0, :30, 1] = series[0, :30, 0]
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1])
        >>> segments = jaxcast.neuro.uniform_segments(subjects, size=30, step=30)
        >>> graphs = jaxcast.neuro.correlation_graphs(subjects, segments)
        >>> found = jaxcast.neuro.module_strengths(graphs, np.asarray([0, 0, 1, 1]))
        >>> found.shape, bool(found[0, 0, 0] > 0.99), bool(found[0, 1, 0] < 0.5)
        ((2, 2, 2), True, True)
    """
    scans = np.asarray(graphs.scans)
    if modules.shape != scans.shape[-1:]:
        raise InputError(f"expected a module for each of {scans.shape[-1]} regions, got shape {modules.shape}")
    members = np.eye(int(modules.max()) + 1, dtype=scans.dtype)[modules]
    # The square of a sum of series holds all pairs twice, and each region with itself.
    total = np.square(scans @ members).sum(2)
    own = np.square(scans).sum(2) @ members
    sizes = members.sum(0)
    strengths: np.ndarray = (total - own) / np.maximum(sizes * (sizes - 1), 1)
    return strengths


def _check_segments(subjects: SubjectSeries, segments: Segments) -> None:
    starts, lengths = segments
    if starts.shape != lengths.shape or starts.ndim != 2 or len(starts) != len(subjects.series):
        raise InputError(
            f"expected segments (subject, segment) of {len(subjects.series)} subjects, got starts of shape "
            f"{starts.shape} and lengths of shape {lengths.shape}"
        )
    if not (lengths > 0).any(1).all():
        raise InputError(f"subject {int((lengths > 0).any(1).argmin())} has no segment; leave it out")
    check_segment_size("lengths of segments", int(lengths[lengths > 0].min()))
    num_scans = np.asarray([len(one) for one in subjects.series])[:, None]
    if (starts < 0).any() or (starts + lengths > num_scans).any():
        raise InputError("segments must lie within the series of their subject; cut them from the same series")


def _thresholds(scans: np.ndarray, edge_share: float | int) -> np.ndarray:
    """Returns a number between the least correlation with an edge and the highest without, for each segment."""
    num_regions = scans.shape[-1]
    pairs = np.triu_indices(num_regions, 1)
    num_edges = max(1, round(edge_share * len(pairs[0])))
    found = (np.swapaxes(scans, -1, -2) @ scans)[:, *pairs]
    if num_edges == len(pairs[0]):
        return np.full(len(found), -2.0, np.float32)
    at = found.shape[1] - num_edges
    ordered = np.partition(found, (at - 1, at), -1)
    # Half way, so that rounding elsewhere changes no edge.
    return ordered[:, at - 1 : at + 1].mean(-1)

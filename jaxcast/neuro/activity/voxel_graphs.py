"""Which voxels or regions are neighbours, and the Laplacian of that graph."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_flag
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static


class VoxelGraph(FrozenPytree):
    """The neighbours of each voxel or region.

    The Laplacian of a signal is sum_n w_vn (x_n - x_v): zero wherever all neighbours agree.

    Args:
        neighbours: the neighbours n of each voxel, itself where it has fewer.
        weights: w_vn, 0 where there is none.
        regions: number of the region of each voxel, from 0 on.
        bound: at least the largest eigenvalue of the Laplacian: twice the largest sum of weights.
        num_regions: how many regions there are.

    Example:
        >>> import jaxcast, numpy as np
        >>> graph = jaxcast.neuro.grid_graph(np.ones((2, 2, 2)))
        >>> graph.laplacian(np.arange(8.0)[:, None])[:, 0].tolist()
        [7.0, 5.0, 3.0, 1.0, -1.0, -3.0, -5.0, -7.0]
    """

    neighbours: Int[Array, "neighbour voxel"]
    weights: Float[Array, "neighbour voxel"]
    regions: Int[Array, " voxel"]
    bound: Float[Array, ""]
    num_regions: int = static()

    @property
    def num_voxels(self) -> int:
        """The number of voxels."""
        return int(self.neighbours.shape[1])

    def laplacian(self, signal: Float[Any, "voxel time"]) -> Float[Array, "voxel time"]:
        """Returns the Laplacian of a signal.

        Args:
            signal: of each voxel, over time.

        Returns:
            The Laplacian; it is its own transpose.
        """
        signal = jnp.asarray(signal)
        total = jnp.zeros_like(signal)
        for senders, weights in zip(self.neighbours, self.weights, strict=True):
            total = total + weights.astype(signal.dtype)[:, None] * (signal[senders] - signal)
        return total

    def sums_by_region(self, values: Float[Any, "voxel time"]) -> Float[Array, "region time"]:
        """Returns the sums over the voxels of each region.

        Args:
            values: of each voxel.

        Returns:
            The sums.
        """
        return jax.ops.segment_sum(jnp.asarray(values), self.regions, self.num_regions)


@checked
def grid_graph(labels: Any, *, periodic: bool = False, across_regions: bool = False) -> VoxelGraph:
    """Joins each voxel of a mask or an atlas with its up to six neighbours in space.

    At the border of the mask a neighbour is missing, which makes the Laplacian that of Neumann's
    condition: no flow across the border. By default borders between regions count as well.

    Args:
        labels: an array of two or three axes: a mask of 0 and 1, or an atlas with the label of each
            voxel's region, 0 outside. Voxels are numbered as `labels != 0` selects them.
        periodic: whether the two ends of each axis are neighbours, as in the original code, where
            it is an artefact of the Fourier transform.
        across_regions: whether voxels of different regions are neighbours.

    Returns:
        The graph.

    Raises:
        InputError: for other axes, labels that are not whole numbers of zero or more, or nothing
            but zeros.

    Source:
        Karahanoglu et al., NeuroImage 73, 121-134 (2013); the borders are our own.

    Example:
        >>> import jaxcast, numpy as np
        >>> graph = jaxcast.neuro.grid_graph(np.asarray([[1, 1, 0], [2, 2, 2]]))
        >>> graph.num_voxels, graph.weights.sum(0).tolist()
        (5, [1.0, 1.0, 1.0, 2.0, 1.0])
    """
    check_flag("periodic", periodic)
    check_flag("across_regions", across_regions)
    found = checked_labels(labels)
    inside = found != 0
    numbers = np.full(found.shape, -1)
    numbers[inside] = np.arange(inside.sum())
    neighbours, weights = [], []
    for axis in range(found.ndim):
        for step in (1, -1):
            other, label = (_shifted(values, axis, step, periodic) for values in (numbers, found))
            joined = (other >= 0) & (numbers >= 0) & (across_regions | (label == found))
            joined &= other != numbers  # a periodic axis of one voxel
            neighbours.append(np.where(joined, other, numbers)[inside])
            weights.append(joined[inside].astype(float))
    _, regions = np.unique(found[inside], return_inverse=True)
    return _graph(np.stack(neighbours), np.stack(weights), regions)


def checked_labels(labels: Any) -> Int[np.ndarray, "*volume"]:
    """Returns the labels of a mask or an atlas as whole numbers.

    Args:
        labels: what was given.

    Raises:
        InputError: as `grid_graph` says.
    """
    found = np.asarray(labels)
    if found.dtype.kind not in "biuf" or found.ndim not in (2, 3):
        raise InputError(f"expected a mask or an atlas of 2 or 3 axes of numbers, got shape {found.shape}")
    if not np.isfinite(found).all() or (found < 0).any() or (found != np.round(found)).any():
        raise InputError("labels of an atlas must be whole numbers, 0 outside and from 1 on for its regions")
    if not (found != 0).any():
        raise InputError("the mask or atlas is 0 everywhere; give one with voxels inside")
    return found.astype(int)


def _shifted(values: np.ndarray, axis: int, step: int, periodic: bool) -> np.ndarray:
    """Returns what lies one step along an axis; -1 beyond the border."""
    moved = np.roll(values, -step, axis)
    if not periodic:
        end: list[Any] = [slice(None)] * values.ndim
        end[axis] = -1 if step == 1 else 0
        moved[tuple(end)] = -1
    return moved


@checked
def region_graph(
    weights: Float[np.ndarray, "region region"], *, modules: Int[np.ndarray, " region"] | None = None
) -> VoxelGraph:
    """Makes a graph of any nodes, such as the regions of an atlas, from the weights between them.

    Args:
        weights: symmetric, zero or more, such as the adjacency of regions or their correlations cut
            at a threshold. The diagonal does not count.
        modules: number of each region's module, whose innovations the spatial term takes together;
            by default all are one.

    Returns:
        The graph.

    Raises:
        InputError: for weights that are not square, symmetric, finite and zero or more, without any
            edge, or modules of another length.

    Example:
        >>> import jaxcast, numpy as np
        >>> line = np.eye(4, k=1) + np.eye(4, k=-1)
        >>> graph = jaxcast.neuro.region_graph(line)
        >>> graph.laplacian(np.asarray([[0.0], [0.0], [1.0], [0.0]]))[:, 0].tolist()
        [0.0, 1.0, -2.0, 1.0]
    """
    edges = np.array(weights, float)
    if edges.ndim != 2 or edges.shape[0] != edges.shape[1]:
        raise InputError(f"expected weights (region, region), got shape {edges.shape}")
    if not np.isfinite(edges).all() or (edges < 0).any() or not np.allclose(edges, edges.T):
        raise InputError("weights between regions must be finite, zero or more, and symmetric")
    np.fill_diagonal(edges, 0.0)
    if not edges.any():
        raise InputError("expected at least one edge between two regions, got none")
    groups = np.zeros(len(edges), int) if modules is None else np.asarray(modules)
    if groups.shape != (len(edges),):
        raise InputError(f"expected the module of each of {len(edges)} regions, got {shown(groups.shape)}")
    most = int((edges != 0).sum(1).max())
    order = np.argsort(edges == 0, axis=1, kind="stable")[:, :most].T
    chosen = np.take_along_axis(edges, order.T, 1).T
    neighbours = np.where(chosen != 0, order, np.arange(len(edges)))
    _, regions = np.unique(groups, return_inverse=True)
    return _graph(neighbours, chosen, regions)


def _graph(neighbours: np.ndarray, weights: np.ndarray, regions: np.ndarray) -> VoxelGraph:
    bound = max(2 * weights.sum(0).max(), 1.0)
    return VoxelGraph(
        jnp.asarray(neighbours, jnp.int32),
        jnp.asarray(weights, float),
        jnp.asarray(regions.reshape(-1), jnp.int32),
        jnp.asarray(bound, float),
        int(regions.max()) + 1,
    )

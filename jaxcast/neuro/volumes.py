"""Series of the voxels of an image, and averages over the regions of an atlas."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_flag
from jaxcast.errors import InputError, counted
from jaxcast.neuro.activity.voxel_graphs import checked_labels
from jaxcast.neuro.images import BrainImage

MOST_APART = 0.1
"""Share of a voxel by which two images may lie apart: affines are stored rounded."""


@checked
def masked_series(image: Any, mask: Any, *, standardise: bool = True) -> Float[np.ndarray, "time voxel"]:
    """Returns the series of the voxels inside a mask, as `total_activation` takes them.

    Args:
        image: (x, y, z, time): an array, or a `BrainImage`.
        mask: (x, y, z): 0 outside; an atlas will do. Of two `BrainImage`s, both must lie in the
            same space. Voxels come in the order of `mask != 0`, which
            is that of `grid_graph`.
        standardise: whether each series loses its mean and gets a standard deviation of 1.

    Returns:
        The series.

    Raises:
        InputError: for a mask of another shape, in another space or without voxels, NaN inside it,
            or, where series are standardised, voxels that never change.

    Example:
        >>> import jaxcast, numpy as np
        >>> image = np.random.default_rng(0).normal(size=(2, 2, 2, 30))
        >>> mask = np.zeros((2, 2, 2))
        >>> mask[0] = 1
        >>> jaxcast.neuro.masked_series(image, mask).shape
        (30, 4)
    """
    check_flag("standardise", standardise)
    _check_same_space(image, mask)
    values, labels = _volume(image), _labels(mask, _volume(image).shape[:3])
    series = values[labels != 0].T
    _check_finite(series)
    if not standardise:
        return series
    deviations = series.std(0, dtype=float)
    constant = series.max(0) == series.min(0)
    if constant.any():
        raise InputError(
            f"expected series that vary, got {counted(constant.sum(), 'constant voxel')} of {constant.size}, the first "
            f"at {tuple(np.argwhere(labels != 0)[constant.argmax()].tolist())}; leave constant voxels out of the mask"
        )
    return (series - series.mean(0, dtype=float)) / deviations


@checked
def masked_volume(series: Any, mask: Any) -> Float[np.ndarray, "x y z *time"]:
    """Puts the series of voxels back into the volume: the reverse of `masked_series`.

    Args:
        series: (time, voxel), or (voxel,) for one number of each voxel.
        mask: (x, y, z), the one that the series were taken with.

    Returns:
        (x, y, z, time) or (x, y, z), zero outside of the mask.

    Raises:
        InputError: for series of another number of voxels.

    Example:
        >>> import jaxcast, numpy as np
        >>> mask = np.zeros((2, 2, 2))
        >>> mask[0, 0] = 1
        >>> jaxcast.neuro.masked_volume(np.asarray([[1.0, 2.0]]), mask)[0, 0, :, 0].tolist()
        [1.0, 2.0]
    """
    labels, values = _labels(mask, None), np.asarray(series)
    number = int((labels != 0).sum())
    if values.ndim not in (1, 2) or values.shape[-1] != number:
        raise InputError(f"expected series (time, {number}) of the voxels in the mask, got shape {values.shape}")
    found = np.zeros((*labels.shape, *values.shape[:-1]), values.dtype)
    found[labels != 0] = values.T
    return found


@checked
def atlas_averages(image: Any, atlas: Any, *, labels: Any = None) -> Float[np.ndarray, "time region"]:
    """Averages an image over the regions of an atlas.

    Args:
        image: (x, y, z, time): an array, or a `BrainImage`.
        atlas: (x, y, z): label of each voxel's region, 0 outside. Of two `BrainImage`s, both must
            lie in the same space.
        labels: of the regions, in the order of their columns; by default those that the atlas
            holds, rising. Name them where an atlas may lack some, so that the columns of all
            subjects mean the same.

    Returns:
        The mean series of each region. A region without voxels is 0, a constant region.

    Raises:
        InputError: for an atlas of another shape, in another space, of anything but whole numbers,
            NaN inside it, or labels that are not different whole numbers.

    Example:
        >>> import jaxcast, numpy as np
        >>> image = np.arange(8.0).reshape(2, 2, 2)[..., None] * np.ones(3)
        >>> atlas = np.asarray([[[1, 1], [1, 1]], [[0, 7], [7, 0]]])
        >>> jaxcast.neuro.atlas_averages(image, atlas)[0].tolist()
        [1.5, 5.5]
        >>> jaxcast.neuro.atlas_averages(image, atlas, labels=[1, 4, 7])[0].tolist()
        [1.5, 0.0, 5.5]
    """
    _check_same_space(image, atlas)
    values = _volume(image)
    numbers = _labels(atlas, values.shape[:3])
    names = np.unique(numbers[numbers != 0]) if labels is None else _region_labels(labels)
    is_named = np.isin(numbers, names)
    inside = values[is_named]
    _check_finite(inside.T)
    rising = np.argsort(names)
    regions = rising[np.searchsorted(names, numbers[is_named], sorter=rising)]
    sums = np.zeros((len(names), values.shape[3]))
    np.add.at(sums, regions, inside)
    return (sums / np.maximum(np.bincount(regions, minlength=len(names)), 1)[:, None]).T


def _region_labels(labels: Any) -> Int[np.ndarray, " region"]:
    names = np.asarray(labels)
    if names.ndim != 1 or names.dtype.kind not in "iu" or not names.size or (names == 0).any():
        raise InputError(
            f"labels must be whole numbers, one for each region and none 0, got shape {names.shape} of {names.dtype}"
        )
    if len(np.unique(names)) < len(names):
        raise InputError(f"labels must be different, got {len(np.unique(names))} of {len(names)}; give each once")
    return names


def _check_same_space(image: Any, mask: Any) -> None:
    """Refuses two images whose voxels of the same index lie at different places."""
    if not (isinstance(image, BrainImage) and isinstance(mask, BrainImage)):
        return
    voxel = np.linalg.norm(image.affine[:3, :3], axis=0).min()
    ends = np.asarray([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*image.values.shape[:3], 1]
    apart = float(np.linalg.norm((ends @ (image.affine - mask.affine).T)[:, :3], axis=1).max())
    if apart > MOST_APART * voxel:
        raise InputError(
            f"the image and the mask or atlas lie in different spaces: their affines are {apart:.3g} mm apart; "
            "resample one to the grid of the other, or give arrays if the affines are wrong"
        )


def _volume(image: Any) -> np.ndarray:
    values = np.asarray(image.values if isinstance(image, BrainImage) else image)
    if values.ndim != 4 or values.dtype.kind not in "biuf":
        raise InputError(f"expected an image (x, y, z, time) of numbers, got shape {values.shape}")
    return values


def _labels(mask: Any, shape: tuple[int, ...] | None) -> Int[np.ndarray, "x y z"]:
    found = np.asarray(mask.values if isinstance(mask, BrainImage) else mask)
    found = found[..., 0] if found.ndim == 4 and found.shape[3] == 1 else found
    if found.ndim != 3 or (shape is not None and found.shape != shape):
        wanted = "(x, y, z)" if shape is None else f"{shape} as the image has"
        raise InputError(
            f"expected a mask or an atlas of shape {wanted}, got {found.shape}; resample it to the grid of the image"
        )
    return checked_labels(found)


def _check_finite(series: np.ndarray) -> None:
    bad: Bool[np.ndarray, " voxel"] = ~np.isfinite(series).all(0)
    if bad.any():
        raise InputError(
            f"expected finite values inside the mask, got NaN or infinity in {counted(bad.sum(), 'voxel')} "
            f"of {bad.size}; leave them out of the mask"
        )

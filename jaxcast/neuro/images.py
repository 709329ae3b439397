"""Brain images as NIfTI files."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_number
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.files import check_place, whole_file
from jaxcast.io.ownership import refuse_existing
from jaxcast.limits import check_memory

SUFFIXES = (".nii", ".gz")
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
LEAST_VOLUME = 1e-9
"""Of a voxel in cubic millimetres; the affine of a smaller one cannot be inverted."""


class BrainImage(NamedTuple):
    """An image of the brain, at one time or over time.

    Args:
        values: (x, y, z) or (x, y, z, time).
        affine: from indices of voxels to millimetres in space.
        repetition_time: seconds from scan to scan; None where the file does not say.
    """

    values: Float[np.ndarray, "x y z *time"]
    affine: Float[np.ndarray, "4 4"]
    repetition_time: float | None = None


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise InputError("NIfTI images need the package nibabel, not installed; pip install 'jaxcast[neuro]'") from None
    return nibabel


@checked
def read_image(path: Path | str, *, affine: Any = None) -> BrainImage:
    """Reads a NIfTI image.

    Args:
        path: a .nii or .nii.gz file.
        affine: what to take in place of the file's own, (4, 4), for a file without one.

    Returns:
        The image, in the precision that its scaling needs.

    Raises:
        InputError: without nibabel, for a file that cannot be read, an image of other axes than
            (x, y, z) or (x, y, z, time), without an affine, with one that is not finite or cannot
            be inverted, or too large for the memory.

    Example:
        >>> import jaxcast, numpy as np, pathlib, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "bold.nii"
        >>> jaxcast.neuro.write_image(path, np.ones((2, 2, 2, 9)), affine=np.eye(4), repetition_time=2.0)
        >>> image = jaxcast.neuro.read_image(path)
        >>> image.values.shape, image.repetition_time
        ((2, 2, 2, 9), 2.0)
        >>> folder.cleanup()
    """
    nibabel, path = _nibabel(), Path(path)
    try:
        file = nibabel.load(path)
    except FileNotFoundError:
        raise InputError(f"there is no image {shown(path)}") from None
    except Exception as error:  # nibabel, gzip, zlib and NumPy raise errors of many kinds on damaged files
        raise _unreadable(path, error) from None
    if not isinstance(file, nibabel.Nifti1Pair):
        raise InputError(f"expected a NIfTI image, got {type(file).__name__} in {shown(path)}; convert it")
    if len(file.shape) not in (3, 4):
        raise InputError(f"{shown(path)}: expected axes (x, y, z) or (x, y, z, time), got shape {file.shape}")
    found = _affine_of(file, path) if affine is None else _checked_affine(affine, "affine")
    check_memory(8 * int(np.prod(file.shape, dtype=float)), f"{shown(path)}: an image of shape {file.shape}")
    try:
        values = np.asarray(file.dataobj)
    except Exception as error:  # as above: the values are read here only
        raise _unreadable(path, error) from None
    if values.dtype.kind not in "biuf":
        raise InputError(f"{shown(path)}: expected real numbers, got {values.dtype}; write real ones")
    if values.dtype.kind != "f" or not values.dtype.isnative or values.dtype.itemsize not in (4, 8):
        values = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    return BrainImage(values, found, _repetition_time(file))


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{shown(path)} cannot be read as NIfTI ({shown(error)}); write it again")


def _affine_of(file: Any, path: Path) -> Float[np.ndarray, "4 4"]:
    """Returns the affine that the header holds; nibabel makes one up where it holds none."""
    header = file.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise InputError(
            f"{shown(path)} has no affine (its sform and qform codes are 0); write it with one, or give affine="
        )
    return _checked_affine(file.affine, f"the affine of {shown(path)}")


def _checked_affine(affine: Any, name: str) -> Float[np.ndarray, "4 4"]:
    try:
        found = np.asarray(affine, float)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers (4, 4), got {shown(type(affine).__name__)}") from None
    if found.shape != (4, 4) or not np.isfinite(found).all():
        raise InputError(f"{name} must be finite and (4, 4), got {shown(found.tolist())}; give affine=")
    if abs(np.linalg.det(found[:3, :3])) < LEAST_VOLUME or not np.allclose(found[3], [0, 0, 0, 1]):
        raise InputError(f"{name} cannot be inverted, got {shown(found.tolist())}; give affine=")
    return found


def _repetition_time(file: Any) -> float | None:
    """Returns the seconds from scan to scan, None where the header says nothing."""
    if len(file.shape) < 4:
        return None
    step, unit = float(file.header.get_zooms()[3]), file.header.get_xyzt_units()[1]
    # Without a unit of time the number is a default of the program that wrote it, or no time at all.
    seconds = step * SECONDS.get(unit, 0.0)
    return seconds if np.isfinite(seconds) and seconds > 0 else None


@checked
def write_image(
    path: Path | str,
    values: Float[np.ndarray, "x y z *time"],
    *,
    affine: Any,
    repetition_time: float | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a NIfTI image, whole or not at all.

    Args:
        path: a .nii or .nii.gz file.
        values: (x, y, z) or (x, y, z, time).
        affine: from indices of voxels to millimetres in space, (4, 4), such as that of the image
            that was read.
        repetition_time: seconds from scan to scan; by default the file does not say.
        overwrite: whether a file of that name may be replaced.

    Raises:
        InputError: without nibabel, for another suffix, a file that exists, other axes, values that
            are not finite real numbers, an affine that cannot be inverted, or a repetition time
            that is not positive.

    Example:
        >>> import jaxcast, numpy as np, pathlib, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name) / "mask.nii.gz"
        >>> jaxcast.neuro.write_image(path, np.ones((2, 2, 2)), affine=np.diag([3.0, 3.0, 3.0, 1.0]))
        >>> jaxcast.neuro.read_image(path).affine[0, 0].item()
        3.0
        >>> folder.cleanup()
    """
    path = Path(path)
    check_flag("overwrite", overwrite)
    if repetition_time is not None:
        check_number("repetition_time", repetition_time, above=0)
    array = np.asarray(values)
    if array.ndim not in (3, 4):
        raise InputError(f"expected values (x, y, z) or (x, y, z, time), got shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise InputError(f"expected real numbers, got {array.dtype}; write the real part")
    if not np.isfinite(array).all():
        raise InputError(
            f"expected finite values, got NaN or infinity in {counted((~np.isfinite(array)).sum(), 'value')}"
        )
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"expected a name ending in .nii or .nii.gz, got {shown(path)}")
    check_place(path, SUFFIXES)
    found = _checked_affine(affine, "affine")
    nibabel = _nibabel()
    image = nibabel.Nifti1Image(_storable(array), found)
    image.header.set_xyzt_units("mm", "sec")
    if array.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], repetition_time or 0.0))
    suffix = ".nii.gz" if path.name.endswith(".gz") else ".nii"
    with whole_file(path, lambda: None if overwrite else refuse_existing(path)) as growing:
        # nibabel compresses by the name.
        beside = growing.with_name(f"{growing.name}{suffix}")
        try:
            nibabel.save(image, beside)
            beside.replace(growing)
        finally:
            beside.unlink(missing_ok=True)


def _storable(array: np.ndarray) -> np.ndarray:
    """Returns the values in a type that NIfTI has and all programs read, without rounding where one can."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64)
    if array.dtype.itemsize < 8:
        return array
    # Whole numbers of 64 bits are read by few programs.
    fits = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
    return array.astype(np.int32 if fits else np.float64)

"""Hidden truths in an export: the numbers by which its forecasts are scored on any machine."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxcast.benchmark.case import Case
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import check_is_file
from jaxcast.io.reading import checksum_of, read_arrays

FIX = "export the case again"
"""Advice where a file cannot be used."""
FILE, DATA = "truth.npz", "data.npz"
"""Names in the folder of an export: the truths, and what a tool may see."""


def sealed(case: Case, truths: np.ndarray, data: Mapping[str, np.ndarray], *, seed: int) -> dict[str, np.ndarray]:
    """Seals the truths of the windows, so that no tool reads them by mistake.

    Their bits are mixed with random ones that the case and the seed determine. That is no secret
    to whoever has both: they can also make the truths.

    Args:
        case: the case.
        truths: (truth, window, lead, dim).
        data: what a tool may see; its checksum is kept beside them.
        seed: of the first truth.

    Returns:
        Arrays to write.
    """
    bits = np.ascontiguousarray(truths, np.float64).view(np.uint64)
    return {
        "sealed": bits ^ _mask(case, bits.shape, seed),
        "checksum": np.asarray(_checksum(bits)),
        "data": np.asarray(checksum_of(data)),
    }


def unsealed(case: Case, folder: Path, *, seed: int) -> np.ndarray:
    """Reads the truths of an export, which do not depend on the machine that reads them.

    Args:
        case: the case.
        folder: as `jaxcast benchmark export` writes it.
        seed: of the first truth.

    Returns:
        The truths, (truth, window, lead, dim).

    Raises:
        InputError: for another case or seed, a folder without truths, and files of other exports.
    """
    path, data = folder / FILE, folder / DATA
    check_is_file(path, "a folder that jaxcast benchmark export wrote")
    arrays = read_arrays(path, FIX)
    mixed = arrays.get("sealed")
    if mixed is None or mixed.dtype != np.uint64 or mixed.ndim != 4 or not {"checksum", "data"} <= arrays.keys():
        raise InputError(f"{shown(path)} holds no sealed truths; {FIX}")
    if checksum_of(read_arrays(data, FIX)) != str(arrays["data"]):
        raise InputError(f"{shown(data)} is not of the same export as {shown(path)}; {FIX}")
    bits = mixed ^ _mask(case, mixed.shape, seed)
    if _checksum(bits) != str(arrays["checksum"]):
        raise InputError(
            f"the truths in {shown(path)} are not those of {case.name} with seed {seed}; give the case and the seed of "
            "the export"
        )
    return bits.view(np.float64)


def _checksum(bits: np.ndarray) -> str:
    return hashlib.sha256(bits.astype("<u8").tobytes()).hexdigest()


def _mask(case: Case, shape: tuple[int, ...], seed: int) -> np.ndarray:
    # The raw bits of a generator are the same in every version of NumPy; its distributions are not.
    key = int.from_bytes(hashlib.sha256(f"{case.name} {seed}".encode()).digest()[:16], "little")
    return np.random.Philox(key=key).random_raw(int(np.prod(shape))).reshape(shape)

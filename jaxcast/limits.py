"""Estimates of memory and disk, checked before either is used."""

import functools
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcast.errors import InputError, shown

UNCHECKED = 2**26
"""Sizes in bytes that are never checked."""
UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB")


def as_size(num_bytes: float | int) -> str:
    """Formats a number of bytes for people.

    Args:
        num_bytes: the number.

    Returns:
        Three digits and a unit, in powers of 1000.

    Example:
        >>> from jaxcast.limits import as_size
        >>> as_size(8e12), as_size(532)
        ('8 TB', '532 bytes')
    """
    size, unit = float(num_bytes), 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {UNITS[unit]}"


def check_memory(num_bytes: int, what: str) -> None:
    """Refuses what cannot fit into memory, before it is allocated.

    Args:
        num_bytes: the estimate: what is certainly needed at once, not an upper bound.
        what: what needs it, for the message, with its sizes.

    Raises:
        InputError: with the estimate and the machine's memory.
    """
    if num_bytes < UNCHECKED:
        return
    there_is, where = memory()
    if num_bytes > there_is:
        raise InputError(
            f"{what} would need {as_size(num_bytes)} of memory, {where} has {as_size(there_is)}; ask for less"
        )


def check_arrays(what: str, *shapes: Sequence[int], dtype: Any = float) -> None:
    """Refuses arrays that cannot fit into memory together, before they are made.

    Args:
        what: what they are, for the message.
        shapes: of each array.
        dtype: of their numbers; any of NumPy or JAX.

    Raises:
        InputError: with the estimate and the machine's memory.

    Example:
        >>> from jaxcast.limits import check_arrays
        >>> check_arrays("1000 samples of 3 components", (1000, 3))
    """
    itemsize = jnp.dtype(dtype).itemsize
    check_memory(sum(math.prod(map(int, shape)) for shape in shapes) * itemsize, what)


def check_disk(path: Path, num_bytes: int, what: str) -> None:
    """Refuses what cannot fit onto a disk, before it is written.

    Args:
        path: where it will be written; it need not exist.
        num_bytes: the estimate.
        what: what needs it, for the message, with its sizes.

    Raises:
        InputError: with the estimate and the free space.
    """
    if num_bytes < UNCHECKED:
        return
    free = free_disk(path)
    if free is not None and num_bytes > free:
        raise InputError(
            f"{what} would need {as_size(num_bytes)} of disk, {shown(path)} has {as_size(free)} left; "
            "ask for less, or write to another disk"
        )


def free_disk(path: Path) -> int | None:
    """Returns the free space of the disk that a path is on.

    Args:
        path: a file or folder, which need not exist.

    Returns:
        Bytes; None if they cannot be found.
    """
    for folder in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None


@functools.cache
def memory() -> tuple[int, str]:
    """Returns the memory for arrays of this process, and whose it is.

    Returns:
        Bytes, and "the GPU" or "this machine".
    """
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        limit = (device.memory_stats() or {}).get("bytes_limit")
        if limit:
            return int(limit) * jax.local_device_count(), f"the {device.platform.upper()}"
    limits = [limit for limit in (_physical(), _of_group()) if limit]
    return (min(limits) if limits else 2**63), "this machine"


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _of_group() -> int | None:
    """Returns the limit of a container."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(name).read_text())
        except (OSError, ValueError):
            continue
    return None

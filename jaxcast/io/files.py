"""Files that appear whole or not at all."""

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.errors import InputError, counted, shown
from jaxcast.io.locks import Lock, is_held
from jaxcast.io.ownership import SOFTWARE, note_written, refuse_replacing
from jaxcast.io.reading import CHECKSUM, checksum_of
from jaxcast.progress import note

_NO_GLYPH = re.compile(r"Glyph (\d+) .*missing from font", re.DOTALL)
"""How matplotlib warns of a character that its font lacks, once for each."""


def partial_path(path: Path) -> Path:
    """Returns the name under which a store grows until it is whole.

    Args:
        path: Name of the store.
    """
    return path.with_name(f"{path.name}.partial")


def check_name(path: Path) -> None:
    """Checks that a file can have this name.

    Args:
        path: The name.

    Raises:
        InputError: for a NUL, a name of more than 255 bytes, or one of more than 4095 with its
            folders.
    """
    try:
        parts = [os.fsencode(part) for part in path.parts]
    except ValueError:
        raise InputError(f"{shown(path)} holds characters that no file name can; give another name") from None
    if any(b"\0" in part for part in parts):
        raise InputError(f"{shown(path)} holds a NUL, which no file name can; give another name")
    if any(len(part) > 255 for part in parts) or sum(len(part) + 1 for part in parts) > 4095:
        raise InputError(f"{shown(path)} is too long for a file name; give a shorter one")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns errors of the disk into one line.

    Args:
        path: File that is being written.

    Raises:
        InputError: for an error of the operating system.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {shown(path)} ({error.strerror or error}); make room, or choose a place you can write to"
        ) from None


@contextmanager
def whole_file(path: Path, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Gives a path to write to; the file gets its name when the block ends, or not at all.

    Args:
        path: Name of the file.
        check: Raises where the file of that name may not be replaced; called before and after the
            block.

    Raises:
        InputError: for an error of the disk, or where another process is writing that file.
    """
    growing = unfinished(path)
    with writing(path):
        check_name(growing)
        check()
        path.parent.mkdir(parents=True, exist_ok=True)
        # A command holds the lock of its output, or of the folder around it; a call from Python
        # holds none.
        lock = None if is_held(path) else Lock(path)
        try:
            yield growing
            with growing.open("r+b") as file:
                os.fsync(file.fileno())
            check()
            if lock is None:
                note_written(path, growing)
            os.replace(growing, path)
        finally:
            with suppress(OSError):
                growing.unlink()
            if lock is not None:
                lock.release()


def unfinished(path: Path) -> Path:
    """Returns the name under which a file grows until it is whole.

    Args:
        path: Name of the file.
    """
    return path.with_name(f".{path.name}.jaxcast-partial")


def check_place(path: Path, suffixes: tuple[str, ...]) -> None:
    """Checks, before any work is done, that a file can be written in its place.

    Args:
        path: Name of the file.
        suffixes: Suffixes that it may have.

    Raises:
        InputError: for another suffix, a name that no file can have, or a place that cannot be
            written to.
    """
    if path.suffix not in suffixes:
        raise InputError(f"expected a name ending in {' or '.join(suffixes)}, got {shown(path)}")
    check_name(path)
    check_name(unfinished(path))
    if path.suffix != ".zarr" and path.is_dir():
        raise InputError(f"{shown(path)} is a folder, expected the name of a file; choose another name")
    place = path.absolute().parent
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(
            f"cannot write {shown(path)}: {shown(place)} is not a folder you can write to; choose another place"
        )


def check_output(path: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Checks, before any work is done, that a file can be written under a name.

    Args:
        path: Name of the file.
        suffixes: Suffixes that it may have.
        overwrite: Whether a file of jaxcast may be replaced.

    Raises:
        InputError: for another suffix, a file that may not be replaced, or a place that cannot be
            written to.
    """
    check_place(path, suffixes)
    refuse_replacing(path, overwrite=overwrite)


def save_figure(path: Path, figure: Any, check: Callable[[], None] | None = None) -> None:
    """Writes a matplotlib figure as .png, whole and marked as jaxcast's.

    Args:
        path: Name of the file.
        figure: The figure.
        check: Raises where the file of that name may not be replaced; by default only pictures of
            jaxcast are replaced.
    """
    with (
        whole_file(path, check or partial(refuse_replacing, path, overwrite=True)) as growing,
        _noting_glyphs(path),
    ):
        figure.savefig(growing, dpi=110, format="png", metadata={"Software": SOFTWARE})


@contextmanager
def _noting_glyphs(path: Path) -> Iterator[None]:
    """Reports characters that the font of a picture lacks in one line; other warnings stay as they are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    found = [(warning, _NO_GLYPH.search(str(warning.message))) for warning in caught]
    if lacking := sorted({int(match[1]) for _, match in found if match}):
        note(
            f"{shown(path)}: the font of the picture lacks {counted(len(lacking), 'character')}, such as "
            f"{chr(lacking[0])}, and shows boxes; put one that has them first in its matplotlibrc"
        )
    for warning, match in found:
        if not match:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def write_json(path: Path, record: Any, check: Callable[[], None] = lambda: None) -> None:
    """Writes a whole JSON file.

    Args:
        path: Name of the file.
        record: JSON values.
        check: Raises where the file of that name may not be replaced.
    """
    with whole_file(path, check) as unfinished:
        unfinished.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> str:
    """Writes named arrays as a whole .npz archive.

    Args:
        path: Name of the file.
        arrays: The arrays by name.

    Returns:
        Their checksum, which is in the file too.
    """
    written: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    checksum = checksum_of(written)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **written | {CHECKSUM: checksum})
    return checksum

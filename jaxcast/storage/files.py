"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jaxcast.errors import InputError


def partial_path(path: Path) -> Path:
    """Where a file or store grows until it is whole."""
    return path.with_name(f"{path.name}.partial")


def refuse_existing(path: Path) -> None:
    """Raises InputError where there is something of that name."""
    if path.exists():
        raise InputError(f"{path} exists; choose another name, or ask for it to be overwritten")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into one line."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}); make room, or choose a place you can write to"
        ) from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to; the file appears under its name when the block ends, or not at all."""
    partial = partial_path(path)
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            with suppress(OSError):
                partial.unlink()


def check_output(path: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Looks, before any work is done, whether a file can be written under a name.

    Raises:
        InputError: for another suffix, a file that exists, or a place that cannot be written to.
    """
    if path.suffix not in suffixes:
        raise InputError(f"expected a name ending in {' or '.join(suffixes)}, got {path}")
    if not overwrite:
        refuse_existing(path)
    place = path.absolute().parent
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"cannot write {path}: {place} is no folder you can write to; choose another place")


def save_figure(path: Path, figure: Any) -> None:
    """Writes a matplotlib figure as .png, in one piece."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110, format="png")

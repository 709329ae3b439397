"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxcast.errors import InputError


def partial_path(path: Path) -> Path:
    """Where a file or store grows until it is whole."""
    return path.with_name(f"{path.name}.partial")


def refuse_existing(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path} exists; choose another name, or say overwrite=True")


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

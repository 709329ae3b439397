"""Files that appear whole or not at all, and the one rule of what may be replaced.

jaxcast replaces and deletes only what it wrote itself. It knows its own files by a mark inside them (`is_ours`): the names of
the arrays in .npz archives, an entry in .png pictures and .zarr stores, the first line of .csv tables. The files of a run's
folder are listed in its config.json (see `jaxcast.io.run_folder`). Names that end in `.jaxcast-partial`, `.jaxcast-old` and
`.jaxcast-lock` are its own.
"""

import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.io.locks import Lock, is_held, note_of, write_note
from jaxcast.io.reading import CHECKSUM, checksum_of

SERIES_HEADER = ("series", "origin_date", "target_date", "lead", "quantile", "value")
SUBMISSION_HEADER = (
    "reference_date",
    "target",
    "horizon",
    "target_end_date",
    "location",
    "output_type",
    "output_type_id",
    "value",
)
SOFTWARE = "jaxcast"
"""The entry of our pictures that says what wrote them."""
STORE_MARK = "jaxcast_storage"
"""The attribute of our zarr stores that says how far they are written."""
_OF_TRAJECTORY = {f"{name}.npy" for name in ("times", "states", "components", "attributes", "time_unit")}
_OF_TABLE = {"attributes", "time_unit", "num_samples", "dtypes"}
# The last alternative: what zarr has not finished.
_OF_STORE = re.compile(
    r"zarr\.json|(states|time|component)(/(zarr\.json|c(/\d+)*))?|(.*/)?[^/]*\.[0-9a-f]{32}\.partial|"
    r"\.zarr\.json\.jaxcast-partial"
)
_MOST_READ = 1 << 16


def partial_path(path: Path) -> Path:
    """Where a store grows until it is whole."""
    return path.with_name(f"{path.name}.partial")


def check_name(path: Path) -> None:
    """Refuses a name that no file can have.

    Raises:
        InputError: for a NUL, and for a name that is longer than 255 bytes or has more than 4095 with its folders.
    """
    try:
        parts = [os.fsencode(part) for part in path.parts]
    except ValueError:
        raise InputError(f"{shown(path)} holds characters that no file name can; give another name") from None
    if any(b"\0" in part for part in parts):
        raise InputError(f"{shown(path)} holds a NUL, which no file name can; give another name")
    if any(len(part) > 255 for part in parts) or sum(len(part) + 1 for part in parts) > 4095:
        raise InputError(f"{shown(path)} is too long for a file name; give a shorter one")


def refuse_existing(path: Path) -> None:
    """Raises InputError where there is something of that name."""
    if os.path.lexists(path):
        raise InputError(f"{shown(path)} exists; choose another name, or overwrite it (--overwrite, overwrite=True)")


def refuse_replacing(path: Path, *, overwrite: bool) -> None:
    """Refuses to replace what may not be replaced.

    A file that this very command wrote before it was killed may be, and with `overwrite` whatever jaxcast wrote.

    Raises:
        InputError: for anything else of that name.
    """
    if not was_written_before(path):
        refuse_foreign(path, overwrite=overwrite)


def refuse_foreign(path: Path, *, overwrite: bool) -> None:
    """Refuses to replace what jaxcast did not write, and without `overwrite` anything.

    Raises:
        InputError: saying which.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        refuse_existing(path)
    if path.is_symlink():
        raise InputError(f"{shown(path)} is a symbolic link, which is not replaced; name the file that it points to")
    if not is_ours(path):
        raise InputError(
            f"{shown(path)} was not written by jaxcast, which replaces only its own files; move it, or choose another name"
        )


def is_ours(path: Path) -> bool:
    """Whether jaxcast wrote a file or a store, by the mark in it; False for what cannot be read."""
    try:
        return path.suffix in _RECOGNISERS and _RECOGNISERS[path.suffix](path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile, RecursionError):
        return False


def is_marked(path: Path) -> bool:
    """Whether a file is an .npz archive, whatever its suffix, that jaxcast wrote."""
    try:
        return not path.is_symlink() and _is_our_archive(path)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _is_our_archive(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        return names == _OF_TRAJECTORY or "__checksum__.npy" in names


def software_of(path: Path) -> str:
    """The program that wrote a .png, by its entry, "" for none."""
    with path.open("rb") as file:
        start = file.read(_MOST_READ)
    if not start.startswith(b"\x89PNG\r\n\x1a\n"):
        return ""
    at = start.find(b"tEXtSoftware\0")
    length = int.from_bytes(start[at - 4 : at], "big") if at > 4 else 0
    chunk = start[at : at + 4 + length]
    if at < 0 or zlib.crc32(chunk) != int.from_bytes(start[at + 4 + length : at + 8 + length], "big"):
        return ""
    return chunk[len(b"tEXtSoftware\0") :].decode("latin-1")


def _is_our_picture(path: Path) -> bool:
    return software_of(path) == SOFTWARE


def _is_our_table(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(_MOST_READ * 16).decode("utf-8").rstrip("\r\n")
    if first in (",".join(SERIES_HEADER), ",".join(SUBMISSION_HEADER)):
        return True
    return first.startswith("# {") and json.loads(first[1:]).keys() == _OF_TABLE


def _is_our_store(path: Path) -> bool:
    """Whether a folder is a zarr store of ours, whole or begun, without anything else in it."""
    if path.is_symlink() or not path.is_dir():
        return False
    for folder, names, files in os.walk(path):
        inside = Path(folder).relative_to(path)
        if not all(_OF_STORE.fullmatch((inside / name).as_posix()) for name in names + files):
            return False
    file = path / "zarr.json"
    return STORE_MARK in json.loads(file.read_text())["attributes"] if file.exists() else _is_begun(path)


def _is_begun(path: Path) -> bool:
    """Whether a folder holds nothing yet, or only what zarr had not finished."""
    return all(is_unfinished(entry) for entry in path.iterdir())


def is_unfinished(path: Path) -> bool:
    """Whether a file in a store is one that zarr, or `mark`, was writing."""
    return bool(re.search(r"\.[0-9a-f]{32}\.partial$|^\..*\.jaxcast-partial$", path.name))


def _is_our_report(path: Path) -> bool:
    return set(json.loads(path.read_text())) == {"machine", "rows"}


_RECOGNISERS: dict[str, Callable[[Path], bool]] = {
    ".npz": _is_our_archive,
    ".png": _is_our_picture,
    ".csv": _is_our_table,
    ".zarr": _is_our_store,
    ".partial": _is_our_store,
    ".jaxcast-old": _is_our_store,
    ".json": _is_our_report,
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into one line."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {shown(path)} ({error.strerror or error}); make room, or choose a place you can write to"
        ) from None


@contextmanager
def whole_file(path: Path, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Gives a path to write to; the file appears under its name when the block ends, or not at all.

    Args:
        path: the file.
        check: raises where what has that name may not be replaced; called before the block and once more after it.

    Raises:
        InputError: where the disk refuses, or another process is writing that file.
    """
    growing = unfinished(path)
    with writing(path):
        check_name(growing)
        check()
        path.parent.mkdir(parents=True, exist_ok=True)
        # A command holds the lock of its output, or of the folder around it; a call from Python holds none.
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
    """Where a file grows until it is whole."""
    return path.with_name(f".{path.name}.jaxcast-partial")


def signature(path: Path) -> list[int]:
    """What tells a file, or a store, from another that later takes its name, and stays as it is when it is renamed."""
    found = os.stat(path / "zarr.json" if path.is_dir() else path)
    return [found.st_size, found.st_mtime_ns]


def note_written(path: Path, growing: Path) -> None:
    """Notes what is about to get its name, where a command holds the lock of that name."""
    if (note := note_of(path)) is not None:
        before = [signature(path)] if was_written_before(path) else []
        write_note(path, note | {"written": [*before, signature(growing)]})


def was_written_before(path: Path) -> bool:
    """Whether this command, before it was killed, wrote what has that name: its lock holds a note of it."""
    note = note_of(path) or {}
    try:
        return "written" in note and signature(path) in note["written"]
    except OSError:
        return False


def check_place(path: Path, suffixes: tuple[str, ...]) -> None:
    """Looks, before any work is done, whether there can be a file of that name.

    Raises:
        InputError: for another suffix, a name that no file can have, or a place that cannot be written to.
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
            f"cannot write {shown(path)}: {shown(place)} is no folder you can write to; choose another place"
        )


def check_output(path: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Looks, before any work is done, whether a file can be written under a name.

    Raises:
        InputError: for another suffix, a file that exists and may not be replaced, or a place that cannot be written to.
    """
    check_place(path, suffixes)
    refuse_replacing(path, overwrite=overwrite)


def save_figure(path: Path, figure: Any, check: Callable[[], None] | None = None) -> None:
    """Writes a matplotlib figure as .png, in one piece, marked as ours; by default it replaces no picture but ours."""
    with whole_file(path, check or partial(refuse_replacing, path, overwrite=True)) as growing:
        figure.savefig(growing, dpi=110, format="png", metadata={"Software": SOFTWARE})


def write_json(path: Path, record: Any, check: Callable[[], None] = lambda: None) -> None:
    """Writes a JSON file in one piece."""
    with whole_file(path, check) as unfinished:
        unfinished.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> str:
    """Writes named arrays as one .npz, in one piece.

    Args:
        path: of the file.
        arrays: by name.

    Returns:
        Their checksum, which is in the file too.
    """
    written: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    checksum = checksum_of(written)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **written | {CHECKSUM: checksum})
    return checksum

"""Recognises files that jaxcast wrote, and may therefore replace.

jaxcast replaces and deletes only its own files. It knows them by a mark inside: the names of the
arrays in .npz archives, an entry in .png pictures and .zarr stores, the first line of .csv tables.
In a submission to a hub, `value` is the only quoted name of the first line. The files of a run's
folder are listed in its config.json (see `jaxcast.io.run_folder`). Names that end in
`.jaxcast-partial`, `.jaxcast-old` and `.jaxcast-lock` are its own.
"""

import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxcast.errors import InputError, shown
from jaxcast.io.locks import note_of, write_note
from jaxcast.io.tables import polars

SERIES_HEADER = ("series", "origin_date", "target_date", "lead", "quantile", "value")
IMPORTANCE_HEADER = ("kind", "input", "mean", "spread")
TEXT_HEADER = ("row", "text", "predicted", "probability", "known")
"""The first columns of predicted classes; those of the classes follow."""
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
MARKED_VALUE = '"value"'
"""The last column of the submissions that jaxcast writes: the only cell of the header in quotes.

Readers of CSV see no difference, and a header that another program wrote has all of its cells in
quotes or none. Everything else in a submission is as every team writes it.
"""
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


def refuse_existing(path: Path) -> None:
    """Refuses a name that is taken.

    Args:
        path: The name.

    Raises:
        InputError: where there is something of that name.
    """
    if os.path.lexists(path):
        raise InputError(f"{shown(path)} exists; choose another name, or overwrite it (--overwrite, overwrite=True)")


def refuse_replacing(path: Path, *, overwrite: bool) -> None:
    """Refuses to replace what may not be replaced.

    A file that this command wrote before it was killed may be replaced; with `overwrite`, so may
    whatever jaxcast wrote.

    Args:
        path: The file.
        overwrite: Whether files of jaxcast may be replaced.

    Raises:
        InputError: for anything else of that name.
    """
    if not was_written_before(path):
        refuse_foreign(path, overwrite=overwrite)


def refuse_foreign(path: Path, *, overwrite: bool) -> None:
    """Refuses to replace what jaxcast did not write, and without `overwrite` anything.

    Args:
        path: The file.
        overwrite: Whether files of jaxcast may be replaced.

    Raises:
        InputError: with the reason.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        refuse_existing(path)
    if path.is_symlink():
        raise InputError(f"{shown(path)} is a symbolic link, which is not replaced; name the file that it points to")
    if not is_ours(path):
        raise InputError(
            f"{shown(path)} was not written by jaxcast, which replaces only its own files; move it, or choose "
            "another name"
        )


def is_ours(path: Path) -> bool:
    """Returns whether jaxcast wrote a file or a store, by its mark; False for what cannot be read.

    Args:
        path: The file or store.
    """
    try:
        return path.suffix in _RECOGNISERS and _RECOGNISERS[path.suffix](path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile, RecursionError):
        return False


def is_marked(path: Path) -> bool:
    """Returns whether a file is an .npz archive of jaxcast, whatever its suffix.

    Args:
        path: The file.
    """
    try:
        return not path.is_symlink() and _is_our_archive(path)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _is_our_archive(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        return names == _OF_TRAJECTORY or "__checksum__.npy" in names


def software_of(path: Path) -> str:
    """Reads which program wrote a .png picture.

    Args:
        path: The picture.

    Returns:
        The name; "" where there is none.
    """
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


def submission_header(names: Sequence[str]) -> str:
    """Returns the header of a submission, with the mark by which `is_ours` knows it.

    Args:
        names: Names of its columns, of which the last is "value".
    """
    assert names[-1] == SUBMISSION_HEADER[-1]
    return ",".join([*names[:-1], MARKED_VALUE]) + "\n"


def _is_our_table(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(_MOST_READ * 16).decode("utf-8").rstrip("\r\n")
    if first in map(",".join, (SERIES_HEADER, IMPORTANCE_HEADER)):
        return True
    if first.endswith(f",{','.join(SUBMISSION_HEADER[-3:-1])},{MARKED_VALUE}") and first.count('"') == 2:
        return True
    if first.startswith(f"{','.join(TEXT_HEADER)},probability of "):
        return True
    return first.startswith("# {") and json.loads(first[1:]).keys() == _OF_TABLE


def _is_our_parquet(path: Path) -> bool:
    pl = polars()
    try:
        return bool(pl.read_parquet_metadata(path).get("software") == SOFTWARE)
    except pl.exceptions.PolarsError:
        return False


def _is_our_store(path: Path) -> bool:
    """Returns whether a folder is a zarr store of ours, whole or begun, and nothing else."""
    if path.is_symlink() or not path.is_dir():
        return False
    for folder, names, files in os.walk(path):
        inside = Path(folder).relative_to(path)
        if not all(_OF_STORE.fullmatch((inside / name).as_posix()) for name in names + files):
            return False
    file = path / "zarr.json"
    return STORE_MARK in json.loads(file.read_text())["attributes"] if file.exists() else _is_begun(path)


def _is_begun(path: Path) -> bool:
    """Returns whether a folder is empty, or holds only what zarr had not finished."""
    return all(is_unfinished(entry) for entry in path.iterdir())


def is_unfinished(path: Path) -> bool:
    """Returns whether a file in a store was still being written, by zarr or by `mark`.

    Args:
        path: The file.
    """
    return bool(re.search(r"\.[0-9a-f]{32}\.partial$|^\..*\.jaxcast-partial$", path.name))


def _is_our_report(path: Path) -> bool:
    return set(json.loads(path.read_text())) == {"machine", "rows"}


_RECOGNISERS: dict[str, Callable[[Path], bool]] = {
    ".npz": _is_our_archive,
    ".png": _is_our_picture,
    ".csv": _is_our_table,
    ".parquet": _is_our_parquet,
    ".zarr": _is_our_store,
    ".partial": _is_our_store,
    ".jaxcast-old": _is_our_store,
    ".json": _is_our_report,
}


def signature(path: Path) -> list[int]:
    """Returns numbers that tell a file or store from later ones of its name; renaming keeps them.

    Args:
        path: The file or store.
    """
    found = os.stat(path / "zarr.json" if path.is_dir() else path)
    return [found.st_size, found.st_mtime_ns]


def note_written(path: Path, growing: Path) -> None:
    """Notes in a lock which file is about to get the locked name.

    Args:
        path: The name; without a lock on it nothing is noted.
        growing: The file or store.
    """
    if (note := note_of(path)) is not None:
        before = [signature(path)] if was_written_before(path) else []
        write_note(path, note | {"written": [*before, signature(growing)]})


def was_written_before(path: Path) -> bool:
    """Returns whether this command wrote a file before it was killed, by the note in its lock.

    Args:
        path: The file.
    """
    note = note_of(path) or {}
    try:
        return "written" in note and signature(path) in note["written"]
    except OSError:
        return False

"""Reads JSON and arrays that may be damaged, foreign or hostile, in memory no larger than the file."""

import hashlib
import json
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.errors import InputError, shown

Arrays = dict[str, np.ndarray]
MOST_JSON = 64 * 2**20
"""Bytes of a JSON file; ours hold some names for each series."""
CHECKSUM = "__checksum__"
"""The member of an .npz that holds the checksum of the others."""
MOST_NESTED = 50
"""Lists and objects within each other; ours have six."""
# All that numpy and zipfile were seen to raise on files that are cut off or overwritten.
BROKEN_ARCHIVE = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    OverflowError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def parse_json(text: str | bytes) -> Any:
    """Parses strict JSON: no NaN, no name twice, no number beyond float64, no deep nesting.

    Args:
        text: JSON; bytes are UTF-8.

    Returns:
        The value.

    Raises:
        ValueError: with the reason.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused, parse_float=_finite)
        _check_nesting(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it holds a name twice")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"it holds {constant}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it holds a number beyond the range of float64")
    return number


def _check_nesting(value: Any, depth: int = 0) -> None:
    if depth > MOST_NESTED:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_text(name)
            _check_nesting(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_nesting(inner, depth + 1)
    elif isinstance(value, str):
        _check_text(value)


def _check_text(text: str) -> None:
    text.encode()  # half of a surrogate pair can be neither printed nor saved: UnicodeEncodeError, a ValueError


def read_json(path: Path) -> Any:
    """Reads a JSON file with `parse_json`.

    Args:
        path: A regular file, or a link to one.

    Returns:
        The value.

    Raises:
        ValueError: for a file that is missing, no file, too large, not UTF-8, or not strict JSON.
    """
    try:
        if not path.is_file():
            raise ValueError("it is not a file")
        if path.stat().st_size > MOST_JSON:
            raise ValueError(f"it is larger than {MOST_JSON} bytes")
        return parse_json(path.read_bytes())
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None


def read_arrays(path: Path, fix: str = "delete it, and the same command computes it again") -> Arrays:
    """Reads the arrays of an .npz archive of `write_arrays`, in memory no larger than the file.

    Args:
        path: The file.
        fix: Advice on a file that cannot be used.

    Returns:
        The arrays by name.

    Raises:
        InputError: for a file that is cut off, foreign or changed, or that holds other things than
            arrays of numbers or text.
    """
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise OSError
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or sum(member.file_size for member in members) > path.stat().st_size:
                raise ValueError
            arrays = {name.removesuffix(".npy"): _array_of(archive, name) for name in names}
        kept = str(arrays.pop(CHECKSUM))
    except BROKEN_ARCHIVE:
        raise InputError(f"{shown(path)} is missing, cut off or not written by jaxcast; {fix}") from None
    if kept != checksum_of(arrays):
        raise InputError(f"{shown(path)} was changed after it was written: its arrays have another checksum; {fix}")
    return arrays


def _array_of(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Reads one array, after comparing its header with the bytes that are there."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or not name.endswith(".npy"):
        raise ValueError
    with archive.open(name) as content:
        check_header(content, member.file_size)
    with archive.open(name) as content:
        return np.asarray(np.lib.format.read_array(content, allow_pickle=False))


def check_header(content: Any, size: int) -> None:
    """Compares what the header of an .npy promises with the bytes that are there.

    Args:
        content: The opened file, at its beginning.
        size: Bytes of the file.

    Raises:
        ValueError: for a header that promises another number of bytes, or Python objects.
    """
    promised = promised_bytes(content)
    if promised is None or promised != size - content.tell():
        raise ValueError("its header promises another number of bytes than there are")


def promised_bytes(content: Any) -> int | None:
    """Reads how many bytes of numbers the header of an .npy promises.

    Args:
        content: The opened file, at its beginning.

    Returns:
        The number; None for Python objects and other formats.
    """
    version = np.lib.format.read_magic(content)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        return None
    shape, _, dtype = readers[version](content)
    if dtype.hasobject or min(shape, default=0) < 0:
        return None
    return math.prod(map(int, shape)) * dtype.itemsize


def checksum_of(arrays: Mapping[str, Any]) -> str:
    """Computes the SHA-256 of named arrays: of their names, dtypes, shapes and bytes.

    Args:
        arrays: The arrays by name.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name!r}{array.dtype.str}{np.shape(arrays[name])}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def checksum_of_json(record: Mapping[str, Any]) -> str:
    """Computes the SHA-256 of JSON values, whatever their order and spacing in a file.

    Args:
        record: The values by name.
    """
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""Arrays in .npz and .npy files of other programs; nothing pickled is ever read."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.io.reading import BROKEN_ARCHIVE, check_header, promised_bytes


class Archive(NamedTuple):
    """The arrays of a file.

    Args:
        path: The file, for messages.
        arrays: The arrays of numbers and text by name; a .npy holds one, called "array".
        pickled: Names of those that hold Python objects, which are not read.
    """

    path: Path
    arrays: dict[str, Any]
    pickled: tuple[str, ...] = ()

    @property
    def listing(self) -> str:
        """The names and shapes of its arrays, for a message."""
        named = [f"{name} {values.shape}" for name, values in self.arrays.items()]
        return ", ".join([*named, *(f"{name} (pickled, not read)" for name in self.pickled)]) or "no arrays"

    def refuse_pickled(self, names: Sequence[str]) -> None:
        """Refuses arrays of Python objects.

        Args:
            names: Of arrays, whether they are there or not.

        Raises:
            InputError: for the first of them that is pickled.
        """
        if pickled := [name for name in names if name in self.pickled]:
            raise InputError(
                f"{shown(self.path)}: {shown(repr(pickled[0]))} is pickled Python objects, which could run code; save "
                "it as an array of numbers or texts"
            )

    def named(self, key: str) -> Any:
        """Returns one array of numbers.

        Args:
            key: Its name.

        Raises:
            InputError: where there is none, with the names there are, or it is no array of numbers.
        """
        self.refuse_pickled([key])
        if key not in self.arrays:
            raise InputError(f"{shown(self.path)} has no array {shown(repr(key))}; it holds {shown(self.listing)}")
        if self.arrays[key].dtype.kind not in "biuf":
            raise InputError(
                f"{shown(self.path)}: expected numbers in {shown(repr(key))}, got {self.arrays[key].dtype}; save it as "
                "an array of numbers"
            )
        return self.arrays[key]

    def chosen(self, key: str | None, usual: Sequence[str], num_axes: Sequence[int]) -> str:
        """Returns the name of the array that was asked for, has a usual name, or is the only one.

        Args:
            key: The name that was asked for, or None.
            usual: Names to look for otherwise.
            num_axes: How many axes it may have.

        Raises:
            InputError: where there is none or several, with the names there are, or it has another
                number of axes.
        """
        fits = [name for name, a in self.arrays.items() if a.ndim in num_axes and a.dtype.kind in "biuf"]
        named = [name for name in usual if name in self.arrays or name in self.pickled]
        only = list(self.arrays) if len(self.arrays) == 1 else []  # `named` says what is wrong with it
        found = [key] if key is not None else named[:1] or fits or only
        axes = " or ".join(map(str, num_axes))
        if len(found) != 1:
            raise InputError(
                f"{shown(self.path)}: expected one array of {axes} axes called {', '.join(usual)}, found "
                f"{shown(self.listing)}; call it {usual[0]}, or name it with key= in Python"
            )
        if self.named(found[0]).ndim not in num_axes:
            raise InputError(
                f"{shown(self.path)}: expected {axes} axes in {shown(repr(found[0]))}, got shape "
                f"{self.arrays[found[0]].shape}; reshape it"
            )
        return found[0]


def check_is_file(path: Path, what: str) -> None:
    """Raises InputError unless there is such a file.

    Args:
        path: The file.
        what: What it should be, for the message.
    """
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        raise InputError(f"there is no file {shown(path)}; give {what}")


def refuse_pickle(path: Path) -> None:
    """Raises InputError for a pickle, such as METR-LA's adj_mx.pkl.

    Args:
        path: The file.
    """
    if path.suffix in (".pkl", ".pickle"):
        raise InputError(
            f"{shown(path)} is a pickle, which can run code when it is read; give distances as a .csv of from,to,cost "
            "(read_distances) or weights as a .csv or .npy"
        )


def read_archive(path: Path) -> Archive:
    """Reads the arrays of a .npz or .npy, but nothing pickled, which could run a stranger's code.

    Args:
        path: The file.

    Returns:
        Its arrays.

    Raises:
        InputError: for a file that is cut off.
    """
    try:
        return _read_npy(path) if path.suffix == ".npy" else _read_npz(path)
    except BROKEN_ARCHIVE:
        what = f"a whole {'.npy file' if path.suffix == '.npy' else '.npz archive'}"
        raise InputError(f"{shown(path)} is not {what}; write it again, or copy it again") from None


def _read_npy(path: Path) -> Archive:
    try:
        with path.open("rb") as file:
            check_header(file, path.stat().st_size)
    except ValueError:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            if np.lib.format.read_array_header_1_0(file)[2].hasobject:
                return Archive(path, {}, ("array",))
        raise
    with path.open("rb") as file:
        return Archive(path, {"array": np.lib.format.read_array(file, allow_pickle=False)})


def _read_npz(path: Path) -> Archive:
    arrays, pickled = {}, []
    _check_sizes(path)
    with path.open("rb") as file, np.load(file) as archive:
        for name in archive.files:
            try:
                values = archive[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                pickled.append(name)
            else:
                if isinstance(values, np.ndarray):  # a member of another kind comes as bytes
                    arrays[name] = values
    return Archive(path, arrays, tuple(pickled))


def _check_sizes(path: Path) -> None:
    """Raises ValueError where a header promises more numbers than there are, before reading them."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as content:
                promised = promised_bytes(content)
                if promised is not None and promised != member.file_size - content.tell():
                    raise ValueError

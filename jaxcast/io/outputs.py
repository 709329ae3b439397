"""The files of one command: checked before any work, locked while it runs, its own after a kill."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxcast.errors import InputError, shown
from jaxcast.io.files import check_place
from jaxcast.io.locks import Lock, note_of, write_note
from jaxcast.io.ownership import refuse_foreign, refuse_replacing, was_written_before

DATA = (".npz", ".csv", ".zarr")
PICTURE = (".png",)


class Outputs:
    """The single files of one command; a context manager around its work.

    All names are checked before any work. While the block runs, no other command can write these
    files. After a kill the same command may replace what it had written, without `overwrite`.

    Args:
        settings: Options of the command; another command has others.
        files: Options with the files that they name, None where left out, and the suffixes allowed.
        inputs: Options with the files and folders that the command reads.
        own: A folder within the inputs that holds the command's own files, which it does not read.
        overwrite: Whether other files of these names may be replaced, if jaxcast wrote them.

    Raises:
        InputError: for a name that cannot be written, exists, is named twice or is an input.

    Example:
        >>> import tempfile, pathlib
        >>> from jaxcast.io.outputs import DATA, Outputs
        >>> out = pathlib.Path(tempfile.mkdtemp()) / "truth.npz"
        >>> with Outputs({"seed": 0}, {"--out": (out, DATA)}) as outputs:
        ...     outputs.is_done("--out")
        False
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        files: Mapping[str, tuple[Path | None, tuple[str, ...]]],
        *,
        inputs: Mapping[str, Path | None] | None = None,
        own: Path | None = None,
        overwrite: bool = False,
    ):
        self.files = {option: path for option, (path, _) in files.items() if path is not None}
        self.overwrite = overwrite
        text = json.dumps({name: str(value) for name, value in settings.items() if name != "overwrite"}, sort_keys=True)
        self._run = hashlib.sha256(f"{Path.cwd()}{text}".encode()).hexdigest()
        self._locks: list[Lock] = []
        self._made: list[Path] = []
        for option, path in self.files.items():
            check_place(path, files[option][1])
        refuse_same(self.files)
        for option, path in self.files.items():
            refuse_inputs(option, [path], inputs or {}, own=own)
        try:
            for path in self.files.values():
                self._take(path)
        except BaseException:
            self._leave(finished=False)
            raise

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(finished=kind is None)

    def is_done(self, option: str) -> bool:
        """Returns whether this command wrote a file before it was killed.

        Args:
            option: Option that names the file.
        """
        return was_written_before(self.files[option])

    def _take(self, path: Path) -> None:
        """Locks a file, and refuses it where what has its name may not be replaced."""
        self._make_parents(path)
        self._locks.append(Lock(path))
        if (note_of(path) or {}).get("run") != self._run:
            refuse_foreign(path, overwrite=self.overwrite)
            write_note(path, {"run": self._run})
        refuse_replacing(path, overwrite=self.overwrite)

    def _leave(self, *, finished: bool) -> None:
        """Releases the locks; notes on files written before an error, and of other runs, stay."""
        for lock, path in zip(self._locks, self.files.values(), strict=False):
            note = note_of(path) or {}
            ours = note.get("run", self._run) == self._run
            lock.release(keep_note=not finished and was_written_before(path) if ours else True)
        self._locks = []
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()
        self._made = []

    def _make_parents(self, path: Path) -> None:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            try:
                folder.mkdir()
            except OSError as error:
                raise InputError(
                    f"cannot write {shown(path)} ({error.strerror}); choose a place you can write to"
                ) from None
            self._made.append(folder)


def refuse_same(files: Mapping[str, Path]) -> None:
    """Refuses two options that name one file, or a file inside another's store.

    Args:
        files: Files by option.

    Raises:
        InputError: with both options.
    """
    found: list[tuple[str, Path]] = []
    for option, path in files.items():
        for other, earlier in found:
            if is_same(path, earlier) or is_inside(path, earlier) or is_inside(earlier, path):
                raise InputError(f"{shown(other)} and {option} must differ, got {shown(earlier)} and {shown(path)}")
        found.append((option, path))


def refuse_inputs(
    option: str, targets: Iterable[Path], inputs: Mapping[str, Path | None], *, own: Path | None = None
) -> None:
    """Refuses to write what the command reads, through links and inside folders too.

    Args:
        option: Option that names the output.
        targets: Files and folders that would be replaced; those that do not exist replace nothing.
        inputs: Files and folders that are read, by option.
        own: A folder within them that is not read.

    Raises:
        InputError: with both options.
    """
    targets = list(targets)
    there = {_identity(path): path for path in targets if path.exists()}
    for name, source in inputs.items():
        if source is None:
            continue
        clash = [path for path in targets if source.suffix == ".zarr" and is_inside(path, source)]
        clash += [there[found] for found in _files_of(source, own) if found in there] if there else []
        if clash:
            raise InputError(f"{option} would replace {shown(clash[0])}, which {name} reads; choose another {option}")


def is_same(first: Path, second: Path) -> bool:
    """Returns whether two names are of one file, through links too.

    Args:
        first: One name.
        second: The other.
    """
    with suppress(OSError):
        if first.samefile(second):
            return True
    return first.resolve() == second.resolve()


def is_inside(path: Path, folder: Path) -> bool:
    """Returns whether a name lies in a folder, once links are followed.

    Args:
        path: The name.
        folder: The folder.
    """
    return folder.resolve() in path.resolve().parents


def _files_of(source: Path, own: Path | None) -> Iterable[tuple[int, int]]:
    """Yields the identity of a file or folder, and of every file in it."""
    if source.exists():
        yield _identity(source)
    for folder, _, names in os.walk(source):
        for name in () if own is not None and is_same(Path(folder), own) else names:
            with suppress(OSError):
                yield _identity(Path(folder) / name)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino

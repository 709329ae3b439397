"""Exclusive use of an output, by a lock that the operating system drops when its process ends.

The lock of a file or store is a hidden file beside it. It is removed at the end. What a killed
process leaves is locked by nobody, and the next one takes it over. A folder is locked itself. Disks
without locks, and folders on network disks, offer no protection: there a second command is not
noticed.
"""

import errno
import json
import os
import sys
import weakref
from pathlib import Path
from typing import Any

from jaxcast.errors import InputError, shown

_NOTE_SIZE = 1024
_UNSUPPORTED = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_held: dict[Path, "_OpenLock"] = {}


class _OpenLock:
    """An open lock file of this process, which several holders share."""

    def __init__(self, descriptor: int):
        self.descriptor, self.num_holders = descriptor, 0


class Lock:
    """Exclusive use of a file, store or folder, until `release` or the end of the process.

    The lock of a file can hold a note, which survives a kill and is there when the lock is taken
    again.

    Args:
        path: The output.
        folder: Whether it is a folder, which must exist, and is locked itself.

    Raises:
        InputError: where another process holds it, or the place cannot be written to.
    """

    def __init__(self, path: Path, *, folder: bool = False):
        if sys.platform == "win32" and folder:  # where folders cannot be opened
            path, folder = path / "run", False
        key = path.resolve() if folder else lock_file(path)
        opened = _held.get(key)
        if opened is None:
            opened = _held[key] = _OpenLock(_open_locked(key, path, folder=folder))
        opened.num_holders += 1
        self._let_go = weakref.finalize(self, _let_go, key, opened, not folder)

    def release(self, *, keep_note: bool = False) -> None:
        """Releases the lock.

        Args:
            keep_note: Whether to leave the lock file for its note.
        """
        if keep_note and (found := self._let_go.detach()):
            _, _, (key, opened, _), _ = found
            _let_go(key, opened, False)
        self._let_go()


def lock_file(path: Path) -> Path:
    """Returns the name of the lock file of a file or store.

    Args:
        path: The file or store.
    """
    return path.parent.resolve() / f".{path.name}.jaxcast-lock"


def is_held(path: Path) -> bool:
    """Returns whether this process holds the lock of an output, or of a folder around it.

    Args:
        path: The output.
    """
    if lock_file(path) in _held:
        return True
    return any(folder in _held for folder in path.resolve().parents)


def note_of(path: Path) -> dict[str, Any] | None:
    """Reads the note in the lock of a file or store.

    Args:
        path: The file or store.

    Returns:
        The note, {} for none; None where this process does not hold the lock.
    """
    file = lock_file(path)
    if file not in _held:
        return None
    try:
        note = json.loads(file.read_bytes().strip() or b"{}")
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def write_note(path: Path, note: dict[str, Any]) -> None:
    """Replaces the note in a lock of this process.

    The write has a constant length, so that a kill leaves the old note or the new one.

    Args:
        path: The locked file or store.
        note: JSON values.
    """
    descriptor = _held[lock_file(path)].descriptor
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(note).encode().ljust(_NOTE_SIZE))


def _open_locked(file: Path, path: Path, *, folder: bool) -> int:
    """Opens and locks a folder, or a lock file that is still there once it is locked."""
    kind = os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        try:
            descriptor = os.open(file, kind, 0o644)
        except OSError as error:
            raise InputError(
                f"cannot write {shown(path)} ({error.strerror}); choose a place you can write to"
            ) from None
        try:
            if not _lock(descriptor):
                raise InputError(
                    f"another jaxcast command is writing {shown(path)}; wait until it ends, or choose another name"
                )
            if _is_current(descriptor, file):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it at the same moment: the next one to be opened is another file


def _is_current(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    """Takes a lock, and returns whether it was free."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _UNSUPPORTED
    return True


def _let_go(key: Path, opened: _OpenLock, remove: bool) -> None:
    opened.num_holders -= 1
    if opened.num_holders:
        return
    if _held.get(key) is opened:
        del _held[key]
    try:
        if remove:
            key.unlink(missing_ok=True)  # while it is locked, so that no other's is removed
    except OSError:
        pass
    finally:
        os.close(opened.descriptor)

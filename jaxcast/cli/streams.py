"""Keeps a command working where its output cannot be printed, and says so in one line."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

HOW = "send it to a file, or to /dev/null"


class _Sink(io.FileIO):
    """A file that keeps the first error of writing to it, and drops what it cannot write."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes what can be written."""
        if self.error is None:
            try:
                return super().write(data) or 0
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes


@contextlib.contextmanager
def printing_safely() -> Iterator[None]:
    """Keeps a command working where nobody reads its output, as after `| head -1`.

    A reader that has seen enough is no error. Any other error, such as a full disk, ends the
    command with one line and exit code 2, once its files are written. Standard output that is
    closed ends it before it begins.
    """
    if sys.stdout is None:
        _take_numbers()
        _end(f"standard output is closed; {HOW}")
    if sys.stderr is None:
        _take_numbers()
    outputs = {name: _guarded(name) for name in ("stdout", "stderr")}
    try:
        yield
    except SystemExit as end:
        if end.code in (None, 0):
            _check(outputs["stdout"])
        raise
    _check(outputs["stdout"])


def _take_numbers() -> None:
    """Opens the numbers of closed streams, so that none of our files gets one and what is printed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(2 if name == "stderr" else 1, "w", closefd=False))  # noqa: SIM115


def _guarded(name: str) -> _Sink | None:
    """Puts a sink under a stream of the system; one that a program put there is left alone."""
    stream: TextIO = getattr(sys, name)
    if stream is not getattr(sys, f"__{name}__"):
        return None
    sink = _Sink(stream.fileno(), "w", closefd=False)
    buffer = io.BufferedWriter(sink)
    guarded = io.TextIOWrapper(
        buffer, stream.encoding, stream.errors, line_buffering=name == "stderr" or stream.isatty()
    )
    setattr(sys, name, guarded)
    return sink


def _check(sink: _Sink | None) -> None:
    """Ends the command where its output was lost to an error other than a reader that left."""
    sys.stdout.flush()
    if sink is not None and sink.error is not None and sink.error.errno != errno.EPIPE:
        _end(f"cannot write to standard output ({sink.error.strerror}); all files are written, but not all was printed")


def _end(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)

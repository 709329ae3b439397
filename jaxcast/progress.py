"""Reports of a command on stderr: notes, progress, and with --verbose each step and its time."""

import contextlib
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, TextIO

import jax
from rich.console import Console
from rich.progress import Progress

Level = Literal["quiet", "normal", "verbose"]
EVERY_S = 30.0
"""Between two lines of progress without a terminal."""
LEAST_S = 5.0
"""At least between two lines that report a tenth of the work."""
_COMPILED = "/jax/core/compile/backend_compile_duration"


class Reporter:
    """Reports on one command.

    Args:
        level: "quiet" for nothing, "normal" for notes and progress, "verbose" for each step and
            its seconds as well.
        stream: where to write; by default stderr.
        clock: returns seconds; another one for tests.
    """

    def __init__(
        self,
        level: Level = "normal",
        stream: TextIO | io.TextIOBase | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.level, self.stream, self.clock = level, stream, clock
        self.began = self.last = clock()
        self.doing = "working"
        self.share = 0.0
        self.has_bar = False
        self.num_compiled, self.compile_s = 0, 0.0

    def note(self, text: str) -> None:
        """Prints something that the user should know, unless --quiet.

        Args:
            text: one line.
        """
        if self.level != "quiet":
            self._print(text)

    def detail(self, text: str) -> None:
        """Prints what is being done, only with --verbose.

        Args:
            text: one line.
        """
        if self.level == "verbose":
            self._print(text)

    def beat(self) -> None:
        """Prints what is being done, after a while without output."""
        now = self.clock()
        if self.level != "quiet" and not self.has_bar and now - self.last >= EVERY_S:
            self._print(f"{self.doing}, {now - self.began:.0f} s so far")

    def advance(self, what: str, done: float | int, total: float | int | None, text: str = "") -> None:
        """Records progress, and prints it after each tenth.

        Args:
            what: the part of the work.
            done: how much is done.
            total: how much there is to do; None if nobody knows.
            text: more about the current state.
        """
        share = done / total if total else 0.0
        numbers = f"{done:g} of {total:g}" if total else ""
        self.doing = f"{what}: " + ", ".join(part for part in (numbers, text) if part) if numbers or text else what
        is_due = share - self.share > 0.0999 and self.clock() - self.last >= LEAST_S
        if is_due and self.level != "quiet" and not self.has_bar:
            self.share = share
            self._print(f"{self.doing}, {self.clock() - self.began:.0f} s so far")

    def count_compilation(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Counts a compilation that JAX reports.

        Args:
            event: the name of JAX's event.
            duration_secs: its duration.
            kwargs: more about it, not used.
        """
        if event == _COMPILED:
            self.num_compiled, self.compile_s = self.num_compiled + 1, self.compile_s + duration_secs

    def _print(self, text: str) -> None:
        self.last = self.clock()
        with contextlib.suppress(OSError, ValueError):  # for a closed stderr
            print(text, file=self.stream or sys.stderr, flush=True)


_reporter = Reporter()


def note(text: str) -> None:
    """Prints something that the user should know on stderr, unless --quiet.

    Args:
        text: one line.
    """
    _reporter.note(text)


def detail(text: str) -> None:
    """Prints what is being done on stderr, only with --verbose.

    Args:
        text: one line.
    """
    _reporter.detail(text)


def doing(what: str) -> None:
    """Sets what is being done from here on, for lines of progress; --verbose prints it.

    Args:
        what: a few words.
    """
    _reporter.doing = what
    _reporter.detail(what)


def announce(text: str) -> None:
    """Prints where a result is on stdout, unless --quiet.

    Args:
        text: one line.
    """
    if _reporter.level != "quiet":
        print(text, flush=True)


@contextlib.contextmanager
def phase(what: str, total: float | int | None = None, *, is_shown: bool = True) -> Iterator[Callable[..., None]]:
    """Shows a part of the work: a bar on a terminal, otherwise a line now and then.

    Args:
        what: a few words, such as "training ridge".
        total: how much there is to do; None if nobody knows.
        is_shown: False in all but one of several processes.

    Yields:
        update(done, text=""), to call with how much is done.
    """
    reporter, began = _reporter, _reporter.clock()
    before = reporter.doing
    reporter.doing, reporter.share = what, 0.0
    console = Console(stderr=True)
    has_bar = is_shown and console.is_terminal and reporter.level != "quiet" and not reporter.has_bar
    with Progress(console=console, disable=not has_bar, transient=True) as progress:
        bar = progress.add_task(what, total=total)
        reporter.has_bar = reporter.has_bar or has_bar

        def update(done: float | int, text: str = "") -> None:
            if is_shown:
                progress.update(bar, completed=done, description=f"{what} {text}".rstrip())
                reporter.advance(what, done, total, text)

        try:
            yield update
        finally:
            reporter.has_bar = reporter.has_bar and not has_bar
    reporter.doing = before
    if is_shown:
        reporter.detail(f"{what}: {reporter.clock() - began:.2f} s")


@contextlib.contextmanager
def reporting(level: Level) -> Iterator[Reporter]:
    """Sets the level of reports inside a block; a line appears at least every half minute.

    Args:
        level: of the reports.

    Yields:
        The reporter.
    """
    global _reporter
    before, _reporter = _reporter, Reporter(level)
    reporter, stop = _reporter, threading.Event()

    def beat() -> None:
        while not stop.wait(1.0):
            reporter.beat()

    jax.monitoring.register_event_duration_secs_listener(reporter.count_compilation)
    thread = threading.Thread(target=beat, daemon=True)
    if level != "quiet":
        thread.start()
    try:
        yield reporter
        compiled = f"{reporter.num_compiled} programs compiled or read from the cache in {reporter.compile_s:.2f} s"
        reporter.detail(f"finished in {reporter.clock() - reporter.began:.2f} s; {compiled}")
    finally:
        stop.set()
        jax.monitoring.unregister_event_duration_listener(reporter.count_compilation)
        _reporter = before

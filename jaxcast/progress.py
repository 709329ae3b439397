"""What a command says while it works, on stderr: notes, progress, and with --verbose what it does and how long that took."""

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
"""Between two lines of progress where there is no terminal."""
LEAST_S = 5.0
"""Between two lines that each tenth of the work prints."""
_COMPILED = "/jax/core/compile/backend_compile_duration"


class Reporter:
    """Lines on stderr about one command: when it began, what it is at, and when it last said so.

    Args:
        level: what is said: "quiet" nothing, "normal" notes and progress, "verbose" each step and its seconds as well.
        stream: where to; by default stderr.
        clock: seconds, for tests.
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
        """Says something that the user should know, unless --quiet."""
        if self.level != "quiet":
            self._print(text)

    def detail(self, text: str) -> None:
        """Says what is done, with --verbose only."""
        if self.level == "verbose":
            self._print(text)

    def beat(self) -> None:
        """Says what the command is at, where it has said nothing for a while."""
        now = self.clock()
        if self.level != "quiet" and not self.has_bar and now - self.last >= EVERY_S:
            self._print(f"{self.doing}, {now - self.began:.0f} s so far")

    def advance(self, what: str, done: float | int, total: float | int | None, text: str = "") -> None:
        """Takes in how far the work is, and says so after each tenth."""
        share = done / total if total else 0.0
        numbers = f"{done:g} of {total:g}" if total else ""
        self.doing = f"{what}: " + ", ".join(part for part in (numbers, text) if part) if numbers or text else what
        is_due = share - self.share > 0.0999 and self.clock() - self.last >= LEAST_S
        if is_due and self.level != "quiet" and not self.has_bar:
            self.share = share
            self._print(f"{self.doing}, {self.clock() - self.began:.0f} s so far")

    def count_compilation(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Listens to JAX."""
        if event == _COMPILED:
            self.num_compiled, self.compile_s = self.num_compiled + 1, self.compile_s + duration_secs

    def _print(self, text: str) -> None:
        self.last = self.clock()
        with contextlib.suppress(OSError, ValueError):  # of a stderr that is closed
            print(text, file=self.stream or sys.stderr, flush=True)


_reporter = Reporter()


def note(text: str) -> None:
    """Says something that the user should know, on stderr, unless --quiet."""
    _reporter.note(text)


def detail(text: str) -> None:
    """Says what is done, on stderr, with --verbose only."""
    _reporter.detail(text)


def doing(what: str) -> None:
    """Says with --verbose what is done from here on, and lets later lines of progress say so too."""
    _reporter.doing = what
    _reporter.detail(what)


def announce(text: str) -> None:
    """Says on stdout where a result is, unless --quiet."""
    if _reporter.level != "quiet":
        print(text, flush=True)


@contextlib.contextmanager
def phase(what: str, total: float | int | None = None, *, is_shown: bool = True) -> Iterator[Callable[..., None]]:
    """Shows a part of the work: as a bar on a terminal, else as a line now and then.

    Args:
        what: a few words, such as "training ridge".
        total: how much there is to do; None where nobody knows.
        is_shown: False in all but one of several processes.

    Yields:
        update(done, text=""): tells how far it is.
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
    """Everything inside speaks at this level; a line comes every half minute, however long a part takes."""
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

"""Registers, spills and floating-point instructions of a GPU's kernels, from the PTX that XLA writes."""

import dataclasses
import importlib.util
import math
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.hlo import Kernel

_ARCHITECTURE = "sm_90a"
_FLOAT = re.compile(
    r"\s+(?:@!?%p\d+ )?(fma|add|sub|mul|div|min|max|abs|neg|sqrt|rsqrt|rcp|sin|cos|ex2|lg2|tanh)\.\S*f(32|64)\b"
)


@dataclasses.dataclass(frozen=True)
class Resources:
    """What the kernels of a program use."""

    registers: int
    """The most that a thread of any kernel has."""
    spill_bytes: int
    """Written to memory for want of registers, by all kernels."""


def resources(folder: Path) -> Resources | None:
    """Returns what the assembler says of all kernels; None where there is no assembler or no kernel.

    Args:
        folder: what XLA wrote, with `xla_dump_to`.
    """
    files = [str(path) for path in sorted(folder.glob("*.ptx")) if ".entry" in path.read_text()]
    assembler = find_assembler()
    if assembler is None or not files:
        return None
    said = ""
    for file in files:  # several at once end it now and then
        command = [assembler, "-v", f"-arch={_ARCHITECTURE}", "-o", "/dev/null", file]
        said += subprocess.run(command, capture_output=True, text=True).stderr
    return Resources(
        registers=max((int(n) for n in re.findall(r"Used (\d+) registers", said)), default=0),
        spill_bytes=sum(int(n) for n in re.findall(r"(\d+) bytes spill stores", said)),
    )


def find_assembler() -> str | None:
    """Returns the path of ptxas, of the CUDA toolkit or of the package nvidia-cuda-nvcc-cu12; None without either."""
    found = shutil.which("ptxas")
    spec = importlib.util.find_spec("nvidia") if found is None else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / "cuda_nvcc/bin/ptxas"
        if path.exists():
            return str(path)
    return found


@dataclasses.dataclass(frozen=True)
class Executed:
    """Floating-point instructions that are executed."""

    instructions: float = 0.0
    """A multiply-add is one."""
    unknown_loops: int = 0
    """Loops with such instructions that count as one pass, as the text does not tell how often they run."""


def executed(ptx: str) -> dict[str, Executed]:
    """Returns what one thread of each kernel executes.

    A loop is what lies between a label and the last jump back to it. It is passed through as often as the constant says
    that its counter is compared with. Both sides of a branch count.

    Args:
        ptx: text with any number of kernels.
    """
    kernels = re.findall(r"\.entry (\w+)\((.*?)^\}", ptx, flags=re.DOTALL | re.MULTILINE)
    return {name: _executed(body.splitlines()) for name, body in kernels}


def operations(kernels: Iterable[Kernel], folder: Path) -> Executed:
    """Returns what kernels that a program calls by name execute, by all threads and launches.

    Args:
        kernels: of the program; those that XLA made itself count nothing.
        folder: what XLA wrote, with `xla_dump_to`.
    """
    of_thread = executed("\n".join(path.read_text() for path in folder.glob("*.ptx")))
    total = 0.0
    called: set[str] = set()
    for kernel in kernels:
        sizes = {name: int(n) for name, n in re.findall(r"\b(grid_[xyz]|num_warps) = (\d+)", kernel.text)}
        name = re.search(r'\bname = "(\w+)"', kernel.text)
        if name and sizes and name[1] in of_thread:
            called.add(name[1])
            total += of_thread[name[1]].instructions * 32 * math.prod(sizes.values()) * kernel.launches
    return Executed(total, sum(of_thread[name].unknown_loops for name in called))


def _executed(lines: list[str]) -> Executed:
    labels = {line.rstrip(":"): n for n, line in enumerate(lines) if re.fullmatch(r"\$\w+:", line)}
    ends: dict[int, int] = {}
    for n, line in enumerate(lines):
        jump = re.search(r"\bbra(?:\.uni)?\s+(\$\w+);", line)
        if jump and labels[jump[1]] < n:
            ends[labels[jump[1]]] = n
    passes = [1.0] * len(lines)
    unknown = {begin for begin, end in ends.items() if any(map(_FLOAT.match, lines[begin:end]))}
    for n, line in enumerate(lines):
        limit = re.match(r"\s+setp\.\w+\.[bsu]32\s+%p\d+, (%r\d+), (\d+);", line)
        around = [(begin, end) for begin, end in ends.items() if begin <= n < end]
        if limit and around:
            begin, end = min(around, key=lambda loop: loop[1] - loop[0])
            number = _passes(limit[1], int(limit[2]), lines[:begin], lines[begin:end])
            if number is not None:
                unknown.discard(begin)
                passes[begin:end] = [number * a for a in passes[begin:end]]
    total = sum(number for number, line in zip(passes, lines, strict=True) if _FLOAT.match(line))
    return Executed(total, len(unknown))


def _passes(register: str, limit: int, before: list[str], loop: list[str]) -> float | None:
    """Returns how often a loop runs until its counter, or the low half of it, reaches a limit that is written down."""
    for line in loop:
        if found := re.match(rf"\s+cvt\.u32\.u64\s+{register}, (%rd\d+);", line):
            register = found[1]
    added = [re.match(rf"\s+add\.[su](?:32|64)\s+{register}, %\w+, (-?\d+);", line) for line in loop]
    started = [re.match(rf"\s+mov\.b(?:32|64)\s+{register}, (\d+);", line) for line in before]
    steps, starts = ([int(found[1]) for found in every if found] for every in (added, started))
    return (limit - starts[-1]) / steps[0] if steps and starts else None

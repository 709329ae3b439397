"""Writes the tables of benchmarks/README.md from the JSON files in benchmarks/results."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
SUMMARY_BEGIN, SUMMARY_END = "<!-- summary, made by python -m benchmarks.table -->", "<!-- end of the summary -->"
COMPILED_BEGIN, COMPILED_END = (
    "<!-- accelerators, made by python -m benchmarks.table -->",
    "<!-- end of accelerators -->",
)
OURS = "jaxcast"
BEGIN, END = "<!-- tables, made by python -m benchmarks.table -->", "<!-- end of the tables -->"


def tables() -> str:
    """Returns a section for each file."""
    parts = []
    for path, run in runs():
        machine = run["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        lines = [
            f"## {path.stem}",
            "",
            textwrap.fill(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {versions}.", 100),
            "",
        ]
        lines += ["| case | dtype | threads | peer | ours / peer |", "|---|---|---|---|---|"]
        lines += [line(row) for row in run["rows"] if row["ratio"] is not None]
        if path.with_suffix(".png").exists():
            lines += ["", f"![How cost grows with every size, log-log](results/{path.stem}.png)"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def runs() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields the files with times of peers, and what is in them."""
    for path in sorted((HERE / "results").glob("*.json")):
        run = json.loads(path.read_text())
        if "ratio" in run["rows"][0]:
            yield path, run


def accelerators() -> str:
    """Returns a table of what the hot programs do on accelerators, compiled or run."""
    run = json.loads((HERE / "results/accelerators.json").read_text())
    lines = [
        "| program | device | launches / step | bytes / step | operations / step "
        "| registers, bytes spilled | memory, MB "
        "| bound, steps / s | set by | of the limit | measured, steps / s |",
        f"|---|---|{'---:|' * 6}---|---:|---:|",
    ]
    return "\n".join([*lines, *map(accelerator_line, run["rows"])])


def accelerator_line(row: dict[str, Any]) -> str:
    """Returns a row; steps are those of all trajectories, windows or sequences."""
    used = "unknown" if row["registers"] is None else f"{row['registers']}, {row['spill_bytes']}"
    seconds = row["measured_s"]
    parts = [
        row["case"] + ("" if row["path"] == OURS else f", {row['path']}") + loops_note(row),
        row["target"],
        f"{row['launches_per_step']:.3g}",
        f"{row['bytes_per_step']:.2g}",
        "unknown" if row["opaque_kernels"] else f"{row['operations_per_step']:.2g}",
        used,
        f"{row['temporary_bytes'] / 1e6:.2g}",
        f"{row['steps_per_s']:.2g}",
        row["bound_by"],
        f"{row['share']:.1%}",
        "compiled, not run" if seconds is None else f"{row['steps_per_s'] * row['bound_s'] / seconds:.2g}",
    ]
    return f"| {' | '.join(parts)} |"


def loops_note(row: dict[str, Any]) -> str:
    """Returns what makes the bound of a row too good: loops that are counted as one pass."""
    number = row["unknown_loops"]
    return f" (loops of unknown length: {number})" if number else ""


def ratios_by_peer() -> dict[tuple[str, str], list[float]]:
    """Returns the ratios of every case, of any dtype and number of threads, by file and peer."""
    found: dict[tuple[str, str], list[float]] = {}
    for path, run in runs():
        for row in run["rows"]:
            if row["ratio"] is not None:
                found.setdefault((path.stem, row["peer"]), []).append(row["ratio"])
    return found


def summary() -> str:
    """Returns a table with the median and the range of the ratios to each peer."""
    lines = ["| benchmark | peer | median | from | to |", "|---|---|---:|---:|---:|"]
    for (name, peer), ratios in ratios_by_peer().items():
        shown = [f"{float(format(value, '.2g')):g}" for value in (median(ratios), min(ratios), max(ratios))]
        lines.append(f"| {name} | {peer} | {' | '.join(shown)} |")
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    """Returns a row, with the ratio to two digits."""
    ratio = float(format(row["ratio"], ".2g"))
    return f"| {row['case']} | {row['dtype']} | {row['threads']} | {row['peer']} | {ratio:g} |"


def main() -> None:
    """Replaces the text between the marks."""
    readme = HERE / "README.md"
    text = readme.read_text()
    for begin, end, new in (
        (SUMMARY_BEGIN, SUMMARY_END, summary()),
        (COMPILED_BEGIN, COMPILED_END, accelerators()),
        (BEGIN, END, tables()),
    ):
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{new}\n\n{end}{rest.split(end)[1]}"
    readme.write_text(text)


if __name__ == "__main__":
    main()

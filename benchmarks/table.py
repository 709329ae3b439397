"""Writes the tables of benchmarks/README.md from the JSON files in benchmarks/results."""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- tables, made by python -m benchmarks.table -->", "<!-- end of the tables -->"


def tables() -> str:
    """Returns a section for each file."""
    parts = []
    for path in sorted((HERE / "results").glob("*.json")):
        run = json.loads(path.read_text())
        machine = run["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        lines = [
            f"## {path.stem}",
            "",
            f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {versions}.",
            "",
        ]
        lines += ["| case | dtype | threads | peer | ours / peer |", "|---|---|---|---|---|"]
        lines += [line(row) for row in run["rows"] if row["ratio"] is not None]
        if path.with_suffix(".png").exists():
            lines += ["", f"![How cost grows with every size, log-log](results/{path.stem}.png)"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def line(row: dict[str, Any]) -> str:
    """Returns a row, with the ratio to two digits."""
    ratio = float(format(row["ratio"], ".2g"))
    return f"| {row['case']} | {row['dtype']} | {row['threads']} | {row['peer']} | {ratio:g} |"


def main() -> None:
    """Replaces the text between the marks."""
    readme = HERE / "README.md"
    text = readme.read_text()
    readme.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{tables()}\n\n{END}", text, flags=re.DOTALL))


if __name__ == "__main__":
    main()

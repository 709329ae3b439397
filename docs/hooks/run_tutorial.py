"""Runs one tutorial and writes its page: `python run_tutorial.py SCRIPT FOLDER`."""

import ast
import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt


def cells(source: str) -> list[tuple[str, str]]:
    """Returns the header and the body of every cell of a script."""
    parts = re.split(r"^# %%(.*)\n", source, flags=re.MULTILINE)
    return list(zip(map(str.strip, parts[1::2]), parts[2::2], strict=True))


def without_comment_marks(body: str) -> str:
    """Returns the text of a cell of comments."""
    return re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)


def run_cell(body: str, names: dict[str, Any]) -> str:
    """Runs the code of one cell and returns what it prints, its last value included."""
    module = ast.parse(body)
    last = module.body.pop() if module.body and isinstance(module.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(module, "<tutorial>", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<tutorial>", "eval"), names)
            if value is not None:
                print(value if isinstance(value, str) else repr(value))
    return printed.getvalue().rstrip()


def main(script: Path, folder: Path) -> None:
    """Runs the cells in turn, in one namespace."""
    names: dict[str, Any] = {"__name__": "__main__"}
    parts: list[str] = []
    for header, body in cells(script.read_text()):
        if header == "[markdown]":
            parts.append(without_comment_marks(body))
            continue
        parts.append(f"```python\n{body.strip()}\n```")
        if printed := run_cell(body, names):
            parts.append(f'<div class="output" markdown>\n\n```text\n{printed}\n```\n\n</div>')
        for number in plt.get_fignums():
            name = f"{script.stem}_{len(list(folder.glob('*.png'))) + 1}.png"
            plt.figure(number).savefig(folder / name, dpi=120, bbox_inches="tight")
            parts.append(f"![{header}]({name})")
        plt.close("all")
    (folder / "page.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

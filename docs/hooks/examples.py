"""Shows the files of docs/how_to/examples, which tests run, on their pages."""

import re

from sources import ROOT

EXAMPLES = ROOT / "docs" / "how_to" / "examples"


def with_examples(markdown: str) -> str:
    """Returns a page with each line `[FILE](examples/FILE)` replaced by that file as code."""
    return re.sub(r"^\[([\w.]+)\]\(examples/\1\)$", lambda found: code(found[1]), markdown, flags=re.MULTILINE)


def code(name: str) -> str:
    """Returns a file as a block of code with its name above it."""
    language = "python" if name.endswith(".py") else "sh"
    return f'```{language} title="{name}"\n{(EXAMPLES / name).read_text().strip()}\n```'

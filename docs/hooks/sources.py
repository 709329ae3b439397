"""Brings files that live elsewhere in the repository into the site: notebooks, pictures, results.

Every page links to files where they lie in the repository, so that it can be read there. The site redirects the links.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
PAGES = {
    "benchmarks/README.md": "results/benchmarks/index.md",
    "CHANGELOG.md": "development/changelog.md",
    "CONTRIBUTING.md": "development/contributing.md",
    "experiments/README.md": "results/experiments.md",
}
"""Files of the repository that are pages of the site."""


def origins() -> dict[str, str]:
    """Returns where each borrowed file lies, in the repository and in the site."""
    found = {source: target for source, target in PAGES.items() if (ROOT / source).exists()}
    for notebook in sorted(ROOT.glob("experiments/*/README.md")):
        name = notebook.parent.name
        found[f"experiments/{name}/README.md"] = f"results/{name}/notebook.md"
    for path in sorted([*ROOT.glob("experiments/*/results*.json"), *ROOT.glob("experiments/*/figures/*.png")]):
        source = path.relative_to(ROOT).as_posix()
        found[source] = source.replace("experiments/", "results/", 1)
    for path in sorted([*ROOT.glob("benchmarks/results/*.png"), *ROOT.glob("benchmarks/lorenz.c")]):
        source = path.relative_to(ROOT).as_posix()
        found[source] = f"results/{source}"
    return found


def borrowed_files(config: MkDocsConfig) -> Iterator[File]:
    """Yields the borrowed files as mkdocs knows files; those of Markdown with their links redirected."""
    for source, target in origins().items():
        if source.endswith(".md"):
            yield File.generated(config, target, content=redirected((ROOT / source).read_text(), source))
        else:
            yield File.generated(config, target, abs_src_path=str(ROOT / source))


def places() -> dict[str, str]:
    """Returns where files lie in the site whose path there differs from that in the repository."""
    scripts = (ROOT / "docs" / "tutorials").glob("*.py")
    tutorials = {f"docs/tutorials/{script.name}": f"tutorials/{script.stem}.md" for script in scripts}
    return {"README.md": "index.md"} | tutorials | origins()


def redirected(text: str, source: str) -> str:
    """Returns a page's text with its relative links pointing at where files lie in the site.

    Links to files that are not part of the site become plain text. Links to files that do not exist stay, so that
    mkdocs warns of them. Blocks of code stay too.
    """
    here, known = (ROOT / source).parent, places()

    def place(inside: str) -> str | None:
        return known.get(inside) or (inside.removeprefix("docs/") if inside.startswith("docs/") else None)

    folder = posixpath.dirname(place(source) or "")

    def moved(address: str) -> str | None:
        if re.match(r"[a-z]+:|#", address):
            return address
        path, _, anchor = address.partition("#")
        file = (here / path).resolve()
        if not file.exists():
            return address
        target = place(file.relative_to(ROOT).as_posix())
        return target and f"{posixpath.relpath(target, folder)}{'#' + anchor if anchor else ''}"

    def redirect(found: re.Match[str]) -> str:
        label, address = found[1], moved(found[2])
        return f"{label}({address})" if address else label.removeprefix("!")[1:-1]

    parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.M | re.S)
    for number, part in enumerate(parts[::2]):
        part = re.sub(r"^(\[\w+\]): (\S+)$", lambda found: f"{found[1]}: {moved(found[2])}", part, flags=re.M)
        parts[2 * number] = re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", redirect, part)
    return "".join(parts)

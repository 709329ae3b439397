"""Brings files that live elsewhere in the repository into the site: notebooks, pictures, results."""

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
    targets = origins()
    for source, target in targets.items():
        if source.endswith(".md"):
            content = redirected((ROOT / source).read_text(), source, targets)
            yield File.generated(config, target, content=content)
        else:
            yield File.generated(config, target, abs_src_path=str(ROOT / source))


def redirected(text: str, source: str, targets: dict[str, str]) -> str:
    """Returns a page's text with its relative links pointing at where files lie in the site.

    Links to files that are not part of the site become plain text.
    """
    here = (ROOT / source).parent
    targets = targets | {"README.md": "index.md"}

    def moved(address: str) -> str | None:
        if re.match(r"[a-z]+:|#", address):
            return address
        path, _, anchor = address.partition("#")
        inside = (here / path).resolve().relative_to(ROOT).as_posix()
        target = inside.removeprefix("docs/") if inside.startswith("docs/") else targets.get(inside)
        up = "../" * targets[source].count("/")
        return target and f"{up}{target}{'#' + anchor if anchor else ''}"

    def redirect(found: re.Match[str]) -> str:
        label, address = found[1], moved(found[2])
        return f"{label}({address})" if address else label[1:-1]

    text = re.sub(r"^(\[\w+\]): (\S+)$", lambda found: f"{found[1]}: {moved(found[2])}", text, flags=re.M)
    return re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", redirect, text)

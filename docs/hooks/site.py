"""Hooks of mkdocs: what the site takes from the code and the results when it is built."""

from pathlib import Path
from typing import Any

from commands import with_help_texts
from examples import with_examples
from mathematics import with_mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from notebooks import tutorial_files
from sources import ROOT, borrowed_files, redirected
from tables import with_tables


def on_files(files: Files, config: MkDocsConfig, **kwargs: Any) -> Files:
    """Adds the pages and pictures that do not lie in docs/."""
    for file in (*borrowed_files(config), *tutorial_files(config)):
        if file.src_uri in files.src_uris:
            files.remove(files.src_uris[file.src_uri])
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """Redirects the links of a page of docs/, then fills in tables of results, help texts of commands, and examples."""
    source = Path(page.file.abs_src_path or "")
    if source.is_relative_to(ROOT / "docs"):  # not a page that was made: its links are redirected already
        markdown = redirected(markdown, source.relative_to(ROOT).as_posix())
    return with_examples(with_help_texts(with_tables(markdown)))


def on_page_content(html: str, page: Page, **kwargs: Any) -> str:
    """Draws equations."""
    return with_mathml(html)

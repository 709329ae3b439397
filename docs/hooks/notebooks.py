"""Runs the tutorials, plain Python scripts, and writes them as pages with what they print and draw."""

from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File


def tutorial_files(config: MkDocsConfig) -> Iterator[File]:
    yield from ()
